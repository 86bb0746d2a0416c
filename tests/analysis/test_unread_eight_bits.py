"""That a host rounds honestly is shown where 8-bit weights were tried as well: their rounding is hardly larger."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from analysis.test_reading import _run
from attribute.simulated import REFERENCE, Choice, greedy, rounding
from numeric_hosts import PACK, PROMPTS, answer, serve
from tempzero import config
from tempzero.analysis import analyse, precision_reading
from tempzero.analysis.declared_forms import NO_EIGHT_BITS
from tempzero.precision.hosts import FingerprintReport, conclude_host
from tempzero.types.concluded import Diagnosis, Level

HONEST = rounding(0.2)
FAR = 3.0
SERVER = "http://127.0.0.1:9/v1"


def configured(**claims: str) -> config.Config:
    """As elsewhere, with a server of coarser weights that reads; `claims`: what it says of itself."""
    read: dict[str, Any] = {"base_url": SERVER, "model": "m", "repeats": 2, "temperature": 0}
    coarse = {**read, "name": "own", "reads": "vllm", "tokenizer": "t", "enabled": False}
    return config.parse_config(
        {
            "version": 1,
            "run": {"reference": REFERENCE},
            "score": {"forms": ["coarser:own"]},
            "providers": [
                *({**read, "name": name} for name in (REFERENCE, "x")),
                {**coarse, "claims": {"model": "m", **claims}},
            ],
        },
        source="test",
    )


def conclude(folder: Path, choose: Choice, **what: Any) -> tuple[Diagnosis, Level]:
    found = analyse(_run(folder, choose, off_by=FAR, **what))
    assert found.reading is not None
    (one,) = (d for d in found.reading.diagnoses if d.provider == "x")
    (level,) = (one for one in found.levels if one.provider == "x")
    assert one.cause == "faithful"
    return one, level


@pytest.mark.parametrize(
    ("read", "shown"),
    [
        ({}, False),
        ({"q8_0": FAR}, True),
        ({"cache=q8_0": FAR}, False),
        ({"q5_1": FAR}, False),
    ],
)
def test_honest_rounding_is_shown_only_beside_eight_bits_that_were_read(
    tmp_path: Path, read: dict[str, float], shown: bool
) -> None:
    """A q8_0 host misses as many tokens as an honest one: where nobody read it by q8_0 "faithful, shown" says too
    much, and four bits, or a coarse cache, that are refuted say nothing of it."""
    one, level = conclude(tmp_path, HONEST, also=read)
    assert one.strength == ("shown" if shown else "likely")
    assert level.name == "rounding"
    assert [words.endswith(NO_EIGHT_BITS) for words in (one.message, level.message)] == [not shown, not shown]


@pytest.mark.parametrize(
    ("claims", "shown"),
    [
        ({"precision": "fp8"}, True),
        ({"precision": "q8_0"}, True),
        ({"precision": "int4"}, False),
        ({"precision": "our own quant"}, False),
        ({}, False),
    ],
)
def test_a_server_of_coarser_weights_counts_by_what_it_declares(
    tmp_path: Path, claims: dict[str, str], shown: bool
) -> None:
    """Behind a hosted reader only other servers can be read by; which have 8 bits their entries say."""
    one, _ = conclude(tmp_path, HONEST, settings=configured(**claims), also={"coarser:own": FAR})
    assert (one.strength == "shown", NO_EIGHT_BITS in one.message) == (shown, not shown)


def test_where_no_token_is_missed_nothing_is_left_to_explain(tmp_path: Path) -> None:
    """Every token is the reference's choice: that is shown by itself."""
    one, level = conclude(tmp_path, greedy)
    assert (one.strength, one.message, level.name) == ("shown", "every token is the reference's choice", "identical")


def test_a_text_that_was_cut_otherwise_misses_nothing(tmp_path: Path) -> None:
    """Read in the tokens that the host wrote every one is the reference's choice: no 8 bits are needed for that."""
    one, level = conclude(tmp_path, HONEST, also={"unchanged": 0.0})  # of two readings the last counts
    assert (one.strength, one.message) == ("shown", "every token is the reference's choice")
    assert NO_EIGHT_BITS not in level.message


@pytest.mark.parametrize(("read", "standing"), [({}, "untested"), ({"q8_0": FAR}, "confirmed")])
def test_sixteen_bits_are_confirmed_by_texts_only_beside_eight_that_were_read(
    tmp_path: Path, read: dict[str, float], standing: str
) -> None:
    """Told from four bits is not told from eight."""
    _, level = conclude(tmp_path, HONEST, also=read, declared="bf16")
    assert level.standing == standing
    assert ("no 8-bit form of the weights read its answers" in level.because) == (standing == "untested")


def test_first_tokens_that_rule_eight_bits_out_show_it_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Log-probabilities see 8 bits where texts do not: who has been told from them by these is not kept open."""
    host = conclude_host(PACK, "x", None, answer(serve(), prompts=PROMPTS))
    report = FingerprintReport(pack=PACK, hosts=(host,), pairs=())
    told = precision_reading.PrecisionEvidence(report=report, beside=True)
    for seen, shown in ((told, True), (replace(told, report=None), False)):
        monkeypatch.setattr("tempzero.analysis.read_precision", lambda run, seen=seen: seen)
        one, _ = conclude(tmp_path / str(shown), HONEST)
        assert (one.strength == "shown", NO_EIGHT_BITS in one.message) == (shown, not shown)
