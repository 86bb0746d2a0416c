"""More endpoints of one model than any table of pairs could hold."""

from __future__ import annotations

from pathlib import Path

from making import make_attempt, make_config, make_run, make_suite, make_trial
from tempzero import records
from tempzero.analysis import analyse
from tempzero.analysis.pair_figures import MOST_LISTED

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
