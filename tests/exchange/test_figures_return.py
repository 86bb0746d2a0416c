"""Figures of a run and of the same run after a way out and back: an export that changes a figure is a false record."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from evidence import attempt, run_of
from exchanging import take_in
from tempzero import exchange
from tempzero.analysis import analyse
from tempzero.records import Run
from tempzero.types.asked import ToolCall
from tempzero.types.concluded import Analysis
from tempzero.types.recorded import Attempt

PROMPTS, REPEATS = 6, 4
# Coverage, lengths and identities also rest on answers that are missing, for which other tools' formats have no line.
EVERYWHERE = ("repeat", "cross", "repetition")
ENDINGS = {"csv": ".csv", "parquet": ".parquet", "lm-eval": "", "vendor-verifier": ""}


def noisy() -> list[Attempt]:
    """Two providers that vary, with cut, filtered and replayed answers, and calls of tools."""
    dice = random.Random(5)
    given = []
    for provider in "ab":
        for prompt in range(PROMPTS):
            for repeat in range(REPEATS):
                text = dice.choice(("one two three", "one two four", "one six", "seven"))
                kind = dice.choice(("complete",) * 6 + ("length", "content_filter", "cached"))
                text = text[: dice.randint(4, len(text))] if kind == "length" else text
                given.append(_named(attempt(provider, f"p{prompt}", repeat, text, kind=kind)))
    return given


def _named(made: Attempt) -> Attempt:
    """With a response id of its own: the same one twice is refused, and rightly so."""
    outcome = made.exchange.outcome
    assert outcome.completion is not None
    said = replace(outcome.completion, response_id=f"{made.trial.provider}-{made.trial.prompt}-{made.trial.repeat}")
    if said.text == "seven":  # some answers call a tool instead, not always spelled alike
        spelled = '{"a": 1, "n": 7}' if made.trial.repeat % 2 else '{"n":7.0,"a":1}'
        said = replace(said, text="", tool_calls=(ToolCall(name="f", arguments=spelled, id=said.response_id),))
    return replace(made, exchange=replace(made.exchange, outcome=replace(outcome, completion=said)))


def figures(analysis: Analysis, kinds: tuple[str, ...]) -> dict[tuple[object, ...], tuple[object, ...]]:
    return {
        (f.kind, f.metric, f.left, f.right, f.condition, f.family, f.k): (f.estimate.value, f.estimate.n)
        for f in analysis.figures
        if f.kind in kinds
    }


def back(run: Run, form: str, folder: Path) -> Run:
    path = folder / f"out{ENDINGS.get(form, '.jsonl')}"
    exchange.export_run(run, path, form=form)
    return take_in(path)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "openai-batch", "vendor-verifier", "lm-eval"])
def test_figures_return_as_they_went(form: str, tmp_path: Path) -> None:
    """Agreement, divergence and repetition are the same figures with the same n; tables bring coverage back too."""
    if form == "parquet":
        pytest.importorskip("pyarrow", reason="needs the extra parquet")
    run = run_of(tmp_path / "own", noisy(), prompts=PROMPTS)
    kinds = (*EVERYWHERE, "coverage", "identity", "answers") if form in ("csv", "jsonl", "parquet") else EVERYWHERE
    there = figures(analyse(run), kinds)
    here = figures(analyse(back(run, form, tmp_path)), kinds)
    assert {k: v for k, v in here.items() if v != there.get(k)} == {}
    assert there.keys() - here.keys() == set()
