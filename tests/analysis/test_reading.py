"""A run folder with scores: figures, findings and the verdict follow from what the reference read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from attribute import simulated
from attribute.simulated import REFERENCE, Choice, World, greedy, quantised, read_suspect, read_unchanged, rounding
from making import make_attempt, make_run, make_suite
from tempzero import config, records, reports
from tempzero.analysis import analyse
from tempzero.analysis.opened_run import OpenedRun
from tempzero.types.concluded import Analysis
from tempzero.types.scored import FormReading, ScoredResponse, ScoreLine
from tempzero.verdict import gate

PROMPTS = 10
WORLD = World(seed=9, length=40)
SETTINGS = config.parse_config(
    {
        "version": 1,
        "run": {"reference": REFERENCE},
        "providers": [
            {"name": name, "base_url": "http://127.0.0.1:9/v1", "model": "m", "repeats": 2, "temperature": 0}
            for name in (REFERENCE, "x")
        ],
    },
    source="test",
)


def _responses(provider: str, choose: Choice) -> Iterable[ScoredResponse]:
    for prompt in range(PROMPTS):
        tokens, rows = WORLD.answer(choose, prompt, 1)
        first = simulated.scored(WORLD, provider, prompt, 0, tokens, rows)
        yield first
        again = replace(first.trial, repeat=1)
        yield replace(first, trial=again, same_as=first.trial, scores=None, sums=None)


@cache
def _reference_responses() -> Sequence[ScoredResponse]:
    """The same in every run."""
    return tuple(_responses(REFERENCE, greedy))


@cache
def _form_readings() -> Sequence[FormReading]:
    """The same in every run."""
    f16 = simulated.form(WORLD, "f16", True, rounding(0.004), range(PROMPTS), 0.004)
    return (*f16, *simulated.form(WORLD, "q4_0", False, quantised(1.2), range(PROMPTS), 1.2))


def _run(
    folder: Path,
    choose: Choice,
    *,
    scored: bool = True,
    declared: str | None = None,
    off_by: float = 0.0,
    also: Mapping[str, float] | None = None,
    settings: config.Config = SETTINGS,
) -> records.Run:
    """Two providers, two repeats; each token is two characters, as the simulated scores say.

    `off_by`: how far every token of x is from what the form q4_0 would choose; `also`: from what other forms would.
    """
    responses = [*_reference_responses(), *_responses("x", choose)]
    texts = {s.trial: _text(s) for s in responses if s.scores is not None}
    attempts = [make_attempt(s.trial, texts[s.same_as or s.trial]) for s in responses]
    providers = settings.providers
    if declared is not None:
        claims = providers[1].claims.model_copy(update={"precision": declared})
        providers = (providers[0], providers[1].model_copy(update={"claims": claims}), *providers[2:])
    path = make_run(folder, settings.model_copy(update={"providers": providers}), make_suite(PROMPTS), attempts)
    if scored:
        lines = list(records.open_run(path).lines())
        with records.open_score_writer(path) as writer:
            writer.append(ScoreLine(seq=0, previous="", reader=simulated.READER))
            for form in _form_readings():
                writer.append(ScoreLine(seq=0, previous="", form=form))
            for line, response in zip(lines, responses, strict=True):
                of_record = replace(response, record_sha256=hashlib.sha256(line).hexdigest())
                writer.append(ScoreLine(seq=0, previous="", scored=of_record))
            mine = [r for r in responses if r.trial.provider == "x"]
            writer.append(ScoreLine(seq=0, previous="", suspect=read_unchanged(mine)))
            for name, off in {"q4_0": off_by, **(also or {})}.items():
                read = read_suspect(mine, name, "weights", partial(_miss_by, off), refuted=off > 1)
                writer.append(ScoreLine(seq=0, previous="", suspect=read))
    return records.open_run(path)


def _miss_by(margin: float, one: ScoredResponse, place: int) -> float:
    return margin


def _text(response: ScoredResponse) -> str:
    assert response.scores is not None
    return "".join(f"{chr(97 + t % 26)}{chr(97 + t // 26)}" for t in response.scores.token_ids[:-1])


def _outcomes(analysis: Analysis) -> dict[str, str]:
    return {p.provider: p.outcome for p in gate.judge(analysis, SETTINGS.gates).providers}


def test_a_coarser_provider_is_found_and_the_reference_is_not(tmp_path: Path) -> None:
    """Figures of kind scored, a deviation from the trusted forms, the cause: all of x, none of the reference."""
    analysis = analyse(_run(tmp_path, quantised(1.2)))
    rules = {(f.rule, f.subject, f.other) for f in analysis.findings}
    assert ("deviates_token_by_token", "x", REFERENCE) in rules
    assert ("cause_coarser", "x", REFERENCE) in rules
    assert not any(f.subject == REFERENCE for f in analysis.findings)
    assert _outcomes(analysis) == {"x": "finding", REFERENCE: "pass"}
    match = next(
        f for f in analysis.figures if (f.kind, f.metric, f.left, f.family) == ("scored", "token_match_rate", "x", None)
    )
    assert match.right == REFERENCE
    assert match.estimate.n == PROMPTS
    assert match.estimate.value is not None
    assert match.estimate.value < 0.97
    assert analysis.reading is not None
    assert "unexplained" in {p.verdict for p in analysis.reading.pairs}
    (level,) = (one for one in analysis.levels if one.provider == "x")
    assert level.name == "beyond"


def test_an_honest_provider_gets_no_finding_from_the_reading(tmp_path: Path) -> None:
    """Honest rounding stays below the floor, whatever single near-ties it turns."""
    analysis = analyse(_run(tmp_path, rounding(0.004)))
    assert not [f for f in analysis.findings if f.rule.startswith(("cause_", "deviates_token"))]
    assert analysis.reading is not None
    assert [d.cause for d in analysis.reading.diagnoses] == ["faithful"]


def test_without_scores_nothing_is_read_and_nothing_changes(tmp_path: Path) -> None:
    """A run that was not scored has the figures it always had, and no reading."""
    with_scores = analyse(_run(tmp_path / "a", quantised(1.2)))
    without = analyse(_run(tmp_path / "b", quantised(1.2), scored=False))
    assert without.reading is None
    assert without.figures == tuple(f for f in with_scores.figures if f.kind != "scored")
    assert not [f for f in without.findings if f.rule.startswith(("cause_", "deviates_token"))]


def test_the_report_of_a_scored_run_holds_the_diagnosis(tmp_path: Path) -> None:
    """From the folder to the page: the sentence, the coloured tokens, the tables, and the same bytes twice."""
    run = _run(tmp_path, quantised(1.2))
    analysis = analyse(run)
    verdict = gate.judge(analysis, SETTINGS.gates)
    paths = reports.write_reports(analysis, verdict, tmp_path / "one")
    again = reports.write_reports(analyse(run), verdict, tmp_path / "two")
    assert [p.read_bytes() for p in paths] == [p.read_bytes() for p in again]
    page = (tmp_path / "one" / "report.html").read_text()
    assert "Coarser weights or cache" in page
    assert 'class="m' in page
    assert "coarser" in (tmp_path / "one" / "tables" / "diagnoses.csv").read_text()
    assert "token_match_rate" in (tmp_path / "one" / "tables" / "scored.csv").read_text()
    assert "unexplained" in (tmp_path / "one" / "tables" / "token_causes.csv").read_text()


def test_tokens_are_what_the_reference_read(tmp_path: Path) -> None:
    """The texts of a response's tokens are its text again, a repeat has those it shares, and where the reference agrees
    it says nothing else."""
    run = OpenedRun(_run(tmp_path, quantised(1.2)))
    said = run.responses.set_index(["provider", "prompt", "repeat"]).text
    answers = run.tokens.groupby(["provider", "prompt", "repeat"])
    assert {key: "".join(rows.token) for key, rows in answers} == said.to_dict()
    assert all(rows.position.tolist() == list(range(len(rows))) for _, rows in answers)
    agrees = run.tokens.agrees
    assert 0 < agrees[run.tokens.provider == "x"].mean() < 1
    assert agrees[run.tokens.provider == REFERENCE].all()
    assert (run.tokens.margin[agrees] == 0).all()
    assert (run.tokens["rank"][~agrees] > 1).all()
    assert run.tokens.instead[agrees].isna().all()
    assert run.tokens.instead[~agrees].notna().all()
