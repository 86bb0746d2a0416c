"""How providers stand to a reference or to each other: what is accused, what is told of the set, and what is open."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from analysis.test_analyse import MANY, analysed, answers, everywhere, findings, prompt, settings, suite
from analysis.test_reading import SETTINGS, _run
from attribute.simulated import rounding
from rich.console import Console
from tempzero import reports
from tempzero.analysis import analyse
from tempzero.claims import accuse_by_finding
from tempzero.config import Gates
from tempzero.reports.brief_screen import print_brief
from tempzero.reports.lookup import View
from tempzero.types.concluded import Analysis, Verdict
from tempzero.verdict import gate

ODD = ("e007", "e045")


def judge(found: Analysis, **gates: object) -> tuple[Verdict, dict[str, str]]:
    verdict = gate.judge(found, Gates(**gates))  # type: ignore[arg-type]
    return verdict, {p.provider: p.outcome for p in verdict.providers}


def peers(folder: Path, *texts: str, repeats: int = 3) -> Analysis:
    """Endpoints a, b, c … of one model without a reference; each gives one text to every prompt."""
    names = "abcdefgh"[: len(texts)]
    attempts = [a for name, text in zip(names, texts, strict=True) for a in everywhere(name, *[text] * repeats)]
    return analysed(folder, settings(*names, reference=None), MANY, attempts)


def test_one_odd_endpoint_is_accused_once_and_the_others_are_not(tmp_path: Path) -> None:
    """One odd one of five is one finding, not four."""
    found = peers(tmp_path, "x", "x", "x", "x", "y")
    (odd,) = findings(found, "odd_one")
    assert odd.subject == "e"
    assert odd.evidence
    assert "each of the 4 of 5 endpoints" in odd.message
    claimed = accuse_by_finding(found.findings)
    assert (claimed.rule, claimed.subject, claimed.others, claimed.p_value) == ("differs", "e", ("a",), odd.p_value)
    assert not findings(found, "differs")
    assert judge(found)[1] == {"a": "pass", "b": "pass", "c": "pass", "d": "pass", "e": "finding"}
    (of,) = found.camps
    assert (of.camps, of.odd) == ((("a", "b", "c", "d"), ("e",)), ("e",))


def test_two_camps_are_a_finding_about_the_set(tmp_path: Path) -> None:
    """Two against two: the run ends with a finding, and no provider is accused."""
    found = peers(tmp_path, "x", "x", "y", "y")
    verdict, outcomes = judge(found)
    assert verdict.outcome == "finding"
    assert set(outcomes.values()) == {"inconclusive"}
    (camps,) = findings(found, "camps")
    assert "2 camps among 4 endpoints: a, b | c, d" in camps.message
    assert len(findings(found, "differs")) == 1, "an example of each two camps, once"
    assert any("camps" in message for message in verdict.about_set)


def test_two_that_differ_accuse_neither(tmp_path: Path) -> None:
    """Of two nobody can say who strays."""
    verdict, outcomes = judge(peers(tmp_path, "x", "y"))
    assert (verdict.outcome, outcomes) == ("finding", {"a": "inconclusive", "b": "inconclusive"})
    assert len(verdict.about_set) == 1
    ignored, _ = judge(peers(tmp_path / "again", "x", "y"), ignore=("differs",))
    assert ignored.about_set == ()


def test_the_page_says_who_stands_with_whom(tmp_path: Path) -> None:
    """What the verdict is made of is in the report, its tables and its summary."""
    found = peers(tmp_path, "x", "x", "x", "y")
    verdict, _ = judge(found)
    reports.write_reports(found, verdict, tmp_path / "report")
    page = (tmp_path / "report" / "report.md").read_text()
    assert "The odd ones: d" in page
    assert "d,2,1" in (tmp_path / "report" / "tables" / "camps.csv").read_text()
    assert '"odd": ["d"]' in (tmp_path / "report" / "summary.json").read_text()


@pytest.mark.parametrize("repeats", [3, 9])
def test_texts_alone_accuse_nobody_of_another_computation(tmp_path: Path, repeats: int) -> None:
    """Other texts than a float32 reference's may be honest rounding: that stays open, and the way out is named."""
    attempts = [*everywhere("ref", *["x"] * repeats), *everywhere("a", *["y"] * repeats)]
    found = analysed(tmp_path, settings("ref", "a"), MANY, attempts)
    verdict, outcomes = judge(found)
    assert outcomes["a"] == "inconclusive"
    assert verdict.outcome == "inconclusive"
    (reason,) = next(p for p in verdict.providers if p.provider == "a").reasons
    assert "tempzero score" in reason


def test_an_honest_16_bit_host_passes_with_its_size(tmp_path: Path) -> None:
    """Its texts differ, its tokens are near-ties: a pass that says how much rounding was seen."""
    found = analyse(_run(tmp_path, rounding(0.2)))
    (level,) = (one for one in found.levels if one.provider == "x")
    assert level.name == "rounding"
    assert level.differ > 0
    verdict = gate.judge(found, SETTINGS.gates)
    (mine,) = (p for p in verdict.providers if p.provider == "x")
    assert mine.outcome == "pass"
    assert "same up to 16-bit rounding" in mine.reasons[0]
    assert not [f for f in found.findings if f.weight == "accuses"]


def test_coarser_weights_are_beyond_rounding(tmp_path: Path) -> None:
    """The token reading, not the texts, rules the verdict."""
    found = analyse(_run(tmp_path, rounding(1.2)))
    (finding,) = findings(found, "deviates_token_by_token")
    assert finding.p_value is not None
    assert finding.p_value < 0.01
    assert "beyond 16-bit rounding" in finding.message


def test_very_many_endpoints_give_one_page_that_names_the_odd_ones(tmp_path: Path) -> None:
    """Of so many peers thousands of pairs are tested, and a reader meets two names."""
    names = [f"e{i:03}" for i in range(60)]
    few = suite(*(prompt(f"p{j}") for j in range(8)))
    attempts = [
        a for name in names for j in range(8) for a in answers(name, f"p{j}", *["y" if name in ODD else "x"] * 3)
    ]
    found = analysed(tmp_path, settings(*names, reference=None), few, attempts)
    assert sorted(f.subject for f in findings(found, "odd_one")) == list(ODD)
    verdict, outcomes = judge(found)
    assert [name for name, outcome in sorted(outcomes.items()) if outcome == "finding"] == list(ODD)
    assert not verdict.about_set
    console = Console(file=io.StringIO(), width=80)
    print_brief(View(found, verdict), console, pages=(), exit_code=1, next_command="tempzero report RUN")
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert len(shown.splitlines()) <= 30
    assert all(name in shown for name in ODD)
    paths = reports.write_reports(found, verdict, tmp_path / "report")
    page = next(p for p in paths if p.name == "report.md").read_text()
    assert "2 camps among 60 endpoints" in page
    assert "The odd ones: e007, e045" in page
