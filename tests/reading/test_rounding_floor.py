"""How much rounding an honest host is allowed: measured, of its family, or assumed, and never silently."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tempzero.reading.rounding_floor import DEFAULT_FLOOR, find_rounding_floor, load_rounding_profiles


@pytest.mark.parametrize("name", ["SmolLM2-135M-Instruct", "HuggingFaceTB/SmolLM2-135M", "smollm2_135m-instruct"])
def test_a_family_is_found_however_its_name_is_spelled(name: str) -> None:
    """Hosts spell one model in many ways; its profile must not depend on that."""
    assert find_rounding_floor(name).model == "SmolLM2-135M"


@pytest.mark.parametrize("name", ["SmolLM2-1.7B", "Llama-3.1-8B-Instruct", ""])
def test_another_model_has_the_default_and_it_says_so(name: str) -> None:
    """Logits of another model are of another size: a neighbour's profile would accuse or acquit wrongly."""
    floor = find_rounding_floor(name)
    assert floor is DEFAULT_FLOOR
    assert floor.basis == "default"


def test_what_was_measured_goes_before_what_is_shipped() -> None:
    """A user's own honest server is the best evidence of how honest servers round, and the roughest of them counts."""
    own = [replace(DEFAULT_FLOOR, basis="measured", rms=rms, model="SmolLM2-135M") for rms in (0.05, 0.3)]
    assert find_rounding_floor("SmolLM2-135M", own) == own[1]


def test_every_shipped_profile_is_whole() -> None:
    """A profile without its source or size is a guess."""
    for _, floor in load_rounding_profiles():
        assert floor.tokens > 0
        assert 0 < floor.rms < floor.clear_margin
        assert 0 < floor.missed_share < 1
        assert floor.source
