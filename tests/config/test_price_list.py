"""A price that nobody wrote down comes from a list that says of which day it is, or from nowhere."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from making import make_config
from tempzero.config import Price, Provider
from tempzero.config.price_list import add_listed_prices, describe_listed_prices

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def provider(**fields: Any) -> Provider:
    return make_config(("a",), **fields).providers[0]


def test_a_known_endpoint_has_its_list_price_with_source_and_day() -> None:
    """The run's manifest keeps where a price is from; what the file says goes before any list."""
    pytest.importorskip("genai_prices")
    known = provider(base_url="https://api.openai.com/v1", model="gpt-4o")
    own = known.model_copy(update={"price": Price(input_per_mtok=1, output_per_mtok=2)})
    unknown = provider(base_url="http://127.0.0.1:9/v1", model="gpt-4o")
    listed, kept, none = add_listed_prices((known, own, unknown), now=NOON)
    assert listed.price is not None
    assert 0 < listed.price.input_per_mtok < listed.price.output_per_mtok < 100
    assert (listed.price.as_of, (listed.price.source or "").split(" ")[0]) == ("2026-11-23", "genai-prices")
    assert (kept, none.price) == (own, None)
    (line,) = describe_listed_prices((listed, kept, none))
    assert "a: $" in line
    assert "of 2026-11-23" in line


def test_without_the_list_nothing_has_a_price(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is optional, and no price is never a price of nothing."""
    monkeypatch.setitem(__import__("sys").modules, "genai_prices", None)
    known = provider(base_url="https://api.openai.com/v1", model="gpt-4o")
    assert add_listed_prices((known,), now=NOON) == (known,)
