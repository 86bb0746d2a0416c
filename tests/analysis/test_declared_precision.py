"""Who serves the coarser weights that it declares is accused of nothing; who serves coarser ones than that is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from analysis.test_analyse import MANY, analysed, everywhere, settings, whole
from analysis.test_reading import SETTINGS, _run
from analysis.test_standing import judge
from attribute.simulated import Choice, quantised, rounding
from numpy.typing import NDArray
from tempzero import reports
from tempzero.analysis import analyse
from tempzero.analysis.declared_forms import soften_effects
from tempzero.types.concluded import Analysis, Finding, Level
from tempzero.types.vocabulary import RuleName
from tempzero.verdict import gate


def found_of(
    folder: Path, choose: Choice, declared: str | None, *, off_by: float = 0.0
) -> tuple[Analysis, Level, list[RuleName], str]:
    """Of the provider x: its level, the rules that accuse it, its outcome. The form q4_0 read it, and is `off_by`."""
    found = analyse(_run(folder, choose, declared=declared, off_by=off_by))
    (level,) = (one for one in found.levels if one.provider == "x")
    accused = sorted(f.rule for f in found.findings if f.weight == "accuses" and f.subject == "x")
    (mine,) = (p for p in gate.judge(found, SETTINGS.gates).providers if p.provider == "x")
    return found, level, accused, mine.outcome


def test_a_host_that_serves_the_weights_it_declares_passes_though_they_are_coarse(tmp_path: Path) -> None:
    """Beyond 16-bit rounding, and that is what it says of itself: the words say confirmed, and nothing accuses it."""
    found, level, accused, outcome = found_of(tmp_path, quantised(1.2), "q4_0")
    assert (level.name, level.standing, level.because) == ("declared", "confirmed", "q4_0, as declared")
    assert "beyond 16-bit rounding" in level.message
    assert not accused
    assert outcome == "pass"
    reports.write_reports(found, gate.judge(found, SETTINGS.gates), tmp_path / "report")
    page = (tmp_path / "report" / "report.md").read_text()
    assert "rounded as it declares" in page
    assert "confirmed: q4_0, as declared" in page
    assert ",confirmed," in (tmp_path / "report" / "tables" / "levels.csv").read_text()


@pytest.mark.parametrize("declared", [None, "f16", "q8_0"])
def test_coarser_weights_than_declared_are_a_finding(tmp_path: Path, declared: str | None) -> None:
    """Nothing declared is no licence, and eight bits are none for four."""
    _, level, accused, outcome = found_of(tmp_path, quantised(1.2), declared)
    assert "cause_coarser" in accused
    assert level.name == "beyond"
    assert level.standing == ("untested" if declared is None else "contradicted")
    if declared is not None:
        assert f'it declares "{declared}" and serves llama.cpp q4_0' in level.message
    assert outcome == "finding"


@pytest.mark.parametrize("declared", ["fp8", "mixed precision"])
def test_what_no_form_could_test_is_neither_a_finding_nor_a_pass(tmp_path: Path, declared: str) -> None:
    """An FP8 host rounds by more than 16 bits do; whether by FP8 nobody read, so that nobody may say."""
    _, level, accused, outcome = found_of(tmp_path, rounding(0.9), declared, off_by=3.0)
    assert (level.name, level.standing) == ("undecided", "untested")
    assert "as coarser weights that it declares may be" in level.message
    assert not accused
    assert outcome == "inconclusive"


def test_a_declaration_is_no_licence_for_another_computation(tmp_path: Path) -> None:
    """What is farther off than any eight bits are is found, whatever is declared."""
    _, level, accused, outcome = found_of(tmp_path, rounding(6.0), "fp8", off_by=3.0)
    assert "deviates_token_by_token" in accused
    assert level.name == "beyond"
    assert outcome == "finding"


def test_finer_weights_than_declared_are_told_and_accuse_nobody(tmp_path: Path) -> None:
    """It serves more bits than it says: that is contradicted, and no harm."""
    _, level, accused, outcome = found_of(tmp_path, rounding(0.2), "q4_0", off_by=3.0)
    assert level.name in ("identical", "rounding")
    assert level.standing == "contradicted"
    assert not accused
    assert outcome == "pass"


def _take_the_second_between(least: float, most: float) -> Choice:
    """Where the two best tokens are so far apart."""

    def choose(rng: np.random.Generator, logits: NDArray[np.float32], context: list[int], position: int) -> int:
        second, best = np.argsort(logits)[-2:]
        return int(second if least < logits[best] - logits[second] < most else best)

    return choose


def test_nobody_is_called_faithful_whose_level_is_beyond_rounding(tmp_path: Path) -> None:
    """Each token may be rounding's where all of them together are not: two pages that contradict each other help
    nobody."""
    found, level, accused, _ = found_of(tmp_path, _take_the_second_between(0.2, 0.5), None, off_by=3.0)
    assert (level.name, accused) == ("beyond", ["deviates_token_by_token"])
    assert found.reading is not None
    (mine,) = (d for d in found.reading.diagnoses if d.provider == "x")
    assert (mine.cause, mine.strength) == ("not_faithful", "likely")
    assert "all together are more" in mine.message


def test_what_is_not_decided_is_not_shown(tmp_path: Path) -> None:
    """A page that says "too little was read" of a provider and "faithful, shown" beside it says nothing."""
    found, level, accused, outcome = found_of(tmp_path, _take_the_second_between(0.2, 0.3), None, off_by=3.0)
    assert (level.name, accused, outcome) == ("undecided", [], "inconclusive")
    assert found.reading is not None
    (mine,) = (d for d in found.reading.diagnoses if d.provider == "x")
    assert (mine.cause, mine.strength) == ("faithful", "likely")
    assert "do not show yet" in mine.message


def test_endpoints_that_declare_other_precisions_are_no_peers(tmp_path: Path) -> None:
    """Among three honest 16-bit endpoints one that says it serves four bits is not the odd one, nor are they two
    camps: its texts differ by rights."""
    texts = {"a": "x", "b": "x", "c": "x", "d": "y"}
    attempts = [a for name, text in texts.items() for a in everywhere(name, text, text, text)]
    claims = {"claims": {"model": "m", "precision": "q4_0"}}
    found = analysed(tmp_path, settings(*texts, reference=None, d=claims), MANY, attempts)
    verdict, outcomes = judge(found)
    assert not [f for f in found.findings if f.rule in ("odd_one", "camps", "differs")]
    assert not verdict.about_set
    assert set(outcomes.values()) == {"pass"}
    (of,) = found.camps
    assert of.camps == (("a", "b", "c"),)
    assert any("declares q4_0" in note and "held against nobody's" in note for note in found.notes)


def test_among_peers_of_one_precision_the_odd_one_is_still_found(tmp_path: Path) -> None:
    """Declaring four bits with three others that do excuses nobody from their camp."""
    texts = {"a": "x", "b": "x", "c": "x", "d": "y", "e": "z"}
    attempts = [a for name, text in texts.items() for a in everywhere(name, text, text, text)]
    four = {"claims": {"model": "m", "precision": "q4_0"}}
    also = {"claims": {"model": "m", "precision": "Q4_K_M"}}
    found = analysed(tmp_path, settings(*texts, reference=None, a=four, b=four, c=four, d=also), MANY, attempts)
    (odd,) = (f for f in found.findings if f.rule == "odd_one")
    assert odd.subject == "d"
    assert "m, declared 4-bit" in odd.message
    assert judge(found)[1]["e"] == "pass"


def test_other_token_counts_are_found_whatever_is_declared(tmp_path: Path) -> None:
    """Coarser weights count a prompt's tokens as any others do."""
    names = ("a", "b", "c", "d")
    counts = {name: 12 if name == "d" else 9 for name in names}
    said = {name: whole("x", prompt_tokens=counts[name]) for name in names}
    attempts = [a for name in names for a in everywhere(name, said[name], said[name], said[name])]
    claims = {"claims": {"model": "m", "precision": "fp8"}}
    found = analysed(tmp_path, settings(*names, reference=None, d=claims), MANY, attempts)
    assert {f.subject for f in found.findings if f.rule == "prompt_tokens_differ"} == {"d"}


def test_what_confirmed_weights_do_to_answers_accuses_nobody(tmp_path: Path) -> None:
    """Four bits that are declared loop more than sixteen: that is told, and is not the host's fault."""
    _, level, _, _ = found_of(tmp_path, quantised(1.2), "q4_0")
    worse = Finding(
        rule="loops_more", subject="x", other="cpu-f32", message="", estimate=None, p_value=None, evidence=()
    )
    own = replace(worse, rule="nondeterministic")
    assert [f.weight for f in soften_effects([worse, own], [level])] == ["note", "accuses"]
    assert [f.weight for f in soften_effects([worse], [replace(level, name="rounding")])] == ["accuses"]
