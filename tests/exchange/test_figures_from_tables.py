"""Foreign tables of which a careless reading gives a false figure: what import, analysis and report make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from exchanging import MAP, row, take_in, write_jsonl
from tempzero.analysis import analyse
from tempzero.records import Run
from tempzero.reports import write_reports
from tempzero.types.concluded import Analysis
from tempzero.verdict.gate import judge


def figure(analysis: Analysis, metric: str, k: int | None = None) -> tuple[float | None, int]:
    """Value and n of the one provider's figure."""
    found = [f for f in analysis.figures if (f.metric, f.k, f.family) == (metric, k, None)]
    assert len(found) == 1, f"{metric}@{k}: {len(found)} figures"
    return found[0].estimate.value, found[0].estimate.n


def page(run: Run, folder: Path) -> str:
    analysis = analyse(run)
    write_reports(analysis, judge(analysis, run.config.gates), folder)
    return (folder / "report.md").read_text(encoding="utf-8")


def repeats(question: str, *answers: str, **more: Any) -> list[dict[str, Any]]:
    return [row("m", question, answer, run=number, **more) for number, answer in enumerate(answers)]


# --- when asking stopped ---------------------------------------------------------------------


def test_a_prompt_that_lacks_a_repeat_is_no_stopped_sampling(tmp_path: Path) -> None:
    """All others were asked on after their first divergence, those with all repeats too: the figures are shown."""
    rows = [r for q in range(9) for r in repeats(f"q{q}", f"x{q}0", f"x{q}1", f"x{q}2")]
    rows += [row("m", "q9", "x90", run=0), row("m", "q9", "x92", run=2)]
    for number, maps in enumerate((MAP, f"{MAP},repeat=run")):
        notes: list[str] = []
        run = take_in(write_jsonl(tmp_path / f"{number}" / "x.jsonl", rows), maps, notes=notes)
        assert not any("sampling" in note for note in notes)
        assert figure(analyse(run), "emr") == (0.0, 10)


def test_sampling_that_stopped_at_another_answer_is_known_by_the_answers(tmp_path: Path) -> None:
    """Its texts differ from the start, and were asked on; with the answers read, the agreement is refused."""
    asked = {"q0": "AAAA", "q1": "AAB", "q2": "AB", "q3": "AAAA", "q4": "AAB"}
    rows = [
        row("m", question, f"For reason {number}.\nAnswer: {letter}", run=number)
        for question, letters in asked.items()
        for number, letter in enumerate(letters)
    ]
    source = write_jsonl(tmp_path / "x.jsonl", rows)
    read = take_in(source, f"{MAP},repeat=run", extractor="answer_line")
    assert figure(analyse(read), "emr") == (None, 0)
    assert figure(analyse(read), "survivors", 3) == (2, 5)
    assert "refused: sampling stopped at the first other answer" in page(read, tmp_path)
    assert figure(analyse(take_in(source, f"{MAP},repeat=run")), "emr") == (0.0, 5)


def test_agreement_that_rises_with_the_repeats_is_noted(tmp_path: Path) -> None:
    """Where the answers cannot be read the figures stand, with a sign that they may be false."""
    rows = [r for q in range(6) for r in repeats(f"p{q}", "x", "x", "y", "y")]
    rows += [r for q in range(6) for r in repeats(f"q{q}", *["x"] * 8)]
    notes: list[str] = []
    take_in(write_jsonl(tmp_path / "x.jsonl", rows), f"{MAP},repeat=run", notes=notes)
    assert [n.partition(": m: ")[0] for n in notes if "sampling" in n] == ["sampling: perhaps stopped"]


def test_agreement_leads_with_a_k_that_most_prompts_have(tmp_path: Path) -> None:
    """One prompt was asked ten times and never differed; the provider's agreement is that of all the others."""
    rows = [r for q in range(9) for r in repeats(f"q{q}", "x", "y", "x")]
    rows += repeats("q9", *["x"] * 10)
    run = take_in(write_jsonl(tmp_path / "x.jsonl", rows), f"{MAP},repeat=run")
    lines = page(run, tmp_path).splitlines()
    own = next(line for line in lines if line.startswith("| m ") and "k=3" in line)
    assert "k=10" not in own.split("|")[3]
    assert "k=3" in own.split("|")[3]


# --- what nobody recorded --------------------------------------------------------------------


def test_not_known_is_never_not_sent(tmp_path: Path) -> None:
    """A table without a temperature does not say that none was sent, nor how many requests were under way."""
    rows = [r for q in range(12) for r in repeats(f"q{q}", "x", "y")]
    run = take_in(write_jsonl(tmp_path / "x.jsonl", rows), f"{MAP},repeat=run")
    text = page(run, tmp_path)
    assert "no one temperature recorded" in text
    assert "left out of the request" not in text
    assert "no temperature sent" not in text
    assert "(not recorded)" in text
