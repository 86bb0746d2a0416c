"""What looks like nondeterminism, or like consistency, and is neither: from records to verdict and claim."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from evidence import attempt, run_of
from exchanging import MAP, row, take_in, write_jsonl
from tempzero import claims
from tempzero.analysis import analyse
from tempzero.claims import Accusation
from tempzero.errors import UsageError
from tempzero.records import Run
from tempzero.types.recorded import Attempt
from tempzero.verdict.gate import judge

PROMPTS = [f"p{i}" for i in range(6)]
Script = Callable[[str], Iterator[Attempt]]


def cached_replays(prompt: str) -> Iterator[Attempt]:
    yield attempt("a", prompt, 0, "computed")
    yield from (attempt("a", prompt, r, f"replayed {r}", kind="cached") for r in (1, 2, 3))


def a_retry(prompt: str) -> Iterator[Attempt]:
    yield attempt("a", prompt, 0, "first try")
    yield attempt("a", prompt, 0, "second try", number=2)


def an_unpinned_router(prompt: str) -> Iterator[Attempt]:
    yield from (attempt("a", prompt, r, f"from {b}", backend=b) for r, b in enumerate("WXYZ"))


def a_truncated_text(prompt: str) -> Iterator[Attempt]:
    said = "one two three four"
    yield from (attempt("a", prompt, r, said[: 4 * r + 4], tokens=r + 1, kind="length") for r in range(3))
    yield attempt("a", prompt, 3, "one two three four")


def another_seed_each_time(prompt: str) -> Iterator[Attempt]:
    yield from (attempt("a", prompt, r, f"text {r}", fields={"seed": r}) for r in range(4))


def withheld_only(prompt: str) -> Iterator[Attempt]:
    yield from (attempt("a", prompt, r, "", kind="content_filter") for r in range(4))


def answered(folder: Path, script: Script) -> Run:
    given = [a for p in PROMPTS for a in script(p)]
    return run_of(folder, given, prompts=6, pinned=script is not an_unpinned_router)


ALL = (cached_replays, a_retry, an_unpinned_router, a_truncated_text, another_seed_each_time, withheld_only)


@pytest.mark.parametrize("script", ALL, ids=lambda s: s.__name__)
def test_nothing_is_found_that_was_not_shown(script: Script, tmp_path: Path) -> None:
    """None of these is two texts for one request from one system, whatever the texts look like."""
    opened = answered(tmp_path, script)
    analysis = analyse(opened)
    assert not {"nondeterministic", "identity_changed"} & {f.rule for f in analysis.findings}
    told = [note for note in analysis.notes if "4 different upstreams answered; it is not pinned" in note]
    assert bool(told) is (script is an_unpinned_router)


@pytest.mark.parametrize("script", [s for s in ALL if s is not an_unpinned_router], ids=lambda s: s.__name__)
def test_nothing_is_claimed_that_was_not_shown(script: Script, tmp_path: Path) -> None:
    """No bundle is made of it either; of a router one is made that says so (see the tests of claims)."""
    with pytest.raises(UsageError, match="not claimed"):
        claims.make_bundle(answered(tmp_path, script), Accusation(rule="nondeterministic", subject="a"), environ={})


@pytest.mark.parametrize(
    "script", [cached_replays, a_retry, another_seed_each_time, withheld_only], ids=lambda s: s.__name__
)
def test_silence_is_not_consistency(script: Script, tmp_path: Path) -> None:
    """No divergence among answers that were never compared has no agreement rate, and passes nothing."""
    opened = answered(tmp_path, script)
    analysis = analyse(opened)
    rates = [f.estimate.value for f in analysis.figures if f.metric in ("emr", "tarr")]
    assert set(rates) == {None}
    assert {p.provider: p.outcome for p in judge(analysis, opened.config.gates).providers}["a"] == "inconclusive"


def test_fifty_refusals_in_a_table_are_not_consistency(tmp_path: Path) -> None:
    """A refusal that another tool wrote down as an ordinary text is known by its words."""
    rows = [row(question=f"q{i // 10}", answer="I'm sorry, but I can't help with that.", run=i % 10) for i in range(49)]
    run = take_in(write_jsonl(tmp_path / "x.jsonl", [*rows, row(question="q9", run=0)]), f"{MAP},repeat=run")
    analysis = analyse(run)
    assert [f.estimate.value for f in analysis.figures if (f.metric, f.family) == ("emr", None)] == [None]
    assert judge(analysis, run.config.gates).outcome == "inconclusive"
