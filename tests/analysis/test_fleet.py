"""More endpoints of one model than any table of pairs could hold."""

from __future__ import annotations

from pathlib import Path

from making import make_attempt, make_config, make_run, make_suite, make_trial
from tempzero import records
from tempzero.analysis import analyse
from tempzero.analysis.pair_figures import MOST_LISTED
from tempzero.reports import write_reports
from tempzero.reports.lookup import SHOWN_PROVIDERS
from tempzero.verdict.gate import judge

_ENDPOINTS, _PROMPTS, _REPEATS, _ODD = MOST_LISTED + 1, 8, 3, {7, 30}


def test_a_fleet_is_judged_by_camps_and_has_no_table_of_its_pairs(tmp_path: Path) -> None:
    """Five hundred endpoints have 124,750 pairs: who strays is found all the same, and nobody else is accused."""
    names = [f"e{i:02}" for i in range(_ENDPOINTS)]
    fleet, suite = make_config(names, _REPEATS), make_suite(_PROMPTS)
    attempts = [
        make_attempt(make_trial(name, f"p{prompt}", repeat), "odd" if number in _ODD else "usual")
        for prompt in range(_PROMPTS)
        for number, name in enumerate(names)
        for repeat in range(_REPEATS)
    ]
    analysis = analyse(records.open_run(make_run(tmp_path, fleet, suite, attempts)))
    assert {f.subject for f in analysis.findings if f.weight == "accuses"} == {names[i] for i in _ODD}
    assert not [f for f in analysis.figures if f.kind == "cross"]


def test_a_fleet_is_told_apart_by_sessions_where_there_are_several(tmp_path: Path) -> None:
    """A router may bind a session to one machine: two sessions on the odd one are six ways to deal them, no proof."""
    names = [f"e{i:02}" for i in range(_ENDPOINTS)]
    whole = make_config(names, 2 * _REPEATS)
    fleet, suite = whole.model_copy(update={"run": whole.run.model_copy(update={"sessions": 2})}), make_suite(_PROMPTS)
    for run_id, settings in (("one", whole), ("two", fleet)):
        attempts = [
            make_attempt(make_trial(name, f"p{prompt}", repeat), "odd" if number in _ODD else "usual")
            for prompt in range(_PROMPTS)
            for number, name in enumerate(names)
            for repeat in range(2 * _REPEATS)
        ]
        analysis = analyse(records.open_run(make_run(tmp_path / run_id, settings, suite, attempts)))
        accused = {f.subject for f in analysis.findings if f.weight == "accuses"}
        assert accused == ({names[i] for i in _ODD} if run_id == "one" else set())


def test_the_pages_of_a_fleet_show_whoever_is_odd_and_say_where_the_others_are(tmp_path: Path) -> None:
    """Tables of five hundred rows are read by nobody, and a row that matters must not be the one that is missing."""
    names = [f"e{i:03}" for i in range(SHOWN_PROVIDERS + 5)]
    fleet, suite = make_config(names, _REPEATS), make_suite(_PROMPTS)
    attempts = [
        make_attempt(make_trial(name, f"p{prompt}", repeat), "odd" if name == names[-1] else "usual")
        for prompt in range(_PROMPTS)
        for name in names
        for repeat in range(_REPEATS)
    ]
    run = records.open_run(make_run(tmp_path, fleet, suite, attempts))
    analysis = analyse(run)
    write_reports(analysis, judge(analysis, fleet.gates), run.path)
    page, whole = (run.path / "report.md").read_text(), (run.path / "tables" / "repeat.csv").read_text()
    table = page.split("**Agreement of each provider's repeats**")[1].split("\n\n")[1]
    assert names[-1] in table
    assert names[0] in table
    assert names[-2] not in table
    assert "5 more rows, of providers that are judged no worse, are in tables/." in page
    assert all(name in whole for name in names)
