"""summary.json holds every figure of the analysis, and is the same to the byte wherever it is made."""

from __future__ import annotations

import functools
import json
import math
import operator
from dataclasses import replace

import pytest
from reports import synthetic
from tempzero.reports import summary


def test_every_figure_round_trips() -> None:
    """Each figure over all prompts comes back with its names, k, n, method and its numbers to ten digits; those of
    families stand in the tables."""
    analysis = synthetic.analysis()
    rows = json.loads(summary.render_summary(analysis, synthetic.verdict()))["figures"]
    figures = [figure for figure in analysis.figures if figure.family is None]
    assert 0 < len(figures) < len(analysis.figures)
    for row, figure in zip(rows, figures, strict=True):
        for name in ("kind", "metric", "left", "right", "condition", "family", "k", "unit"):
            assert row[name] == getattr(figure, name)
        assert (row["n"], row["method"]) == (figure.estimate.n, figure.estimate.method)
        for name in ("value", "low", "high"):
            number = getattr(figure.estimate, name)
            assert row[name] == (None if number is None else pytest.approx(number, rel=1e-9))


def test_findings_name_their_trials() -> None:
    """The trials that prove a finding are there as keys, all of them."""
    analysis = synthetic.analysis()
    rows = json.loads(summary.render_summary(analysis, synthetic.verdict()))["findings"]
    for row, finding in zip(rows, analysis.findings, strict=True):
        assert [(t["provider"], t["prompt"], t["condition"], t["repeat"]) for t in row["evidence"]] == [
            (t.provider, t.prompt, t.condition, t.repeat) for t in finding.evidence
        ]
        assert row["p_value"] == finding.p_value


def test_verdict_and_provenance_are_there() -> None:
    """Who reads only this file knows the verdict, its reasons, the run and its digests."""
    analysis, verdict = synthetic.analysis(), synthetic.verdict()
    value = json.loads(summary.render_summary(analysis, verdict))
    assert list(value)[:3] == ["format", "run", "verdict"]
    assert value["format"] == summary.SUMMARY_FORMAT
    assert value["verdict"]["outcome"] == "finding"
    assert [p["reasons"] for p in value["verdict"]["providers"]] == [list(p.reasons) for p in verdict.providers]
    assert value["run"]["suite_digest"] == analysis.suite_digest
    assert value["run"]["host"] == dict(analysis.host)
    assert value["skipped"] == [{"provider": "hosted-keyless", "reason": "EXAMPLE_API_KEY is not set"}]


def test_the_last_bits_of_a_sum_change_no_byte() -> None:
    """Two orders of adding up differ in the last bits; the file does not."""
    sums = [functools.reduce(operator.add, [0.1] * 10), math.fsum([0.1] * 10)]
    texts = []
    for value in sums:
        figure = synthetic.figure("repeat", "emr", "a", synthetic.estimate(value, -0.0, 1.0))
        texts.append(summary.render_summary(replace(synthetic.analysis(), figures=(figure,)), synthetic.verdict()))
    assert sums[0] != sums[1]
    assert texts[0] == texts[1]
    assert "-0.0" not in texts[0]


def test_the_order_of_a_mapping_changes_no_byte() -> None:
    """Versions and host facts are sorted, however they were put together."""
    analysis = synthetic.analysis()
    other = replace(analysis, versions=dict(reversed(list(analysis.versions.items()))))
    assert summary.render_summary(analysis, synthetic.verdict()) == summary.render_summary(other, synthetic.verdict())


def test_what_is_not_finite_is_null() -> None:
    """NaN and infinity are no JSON; they become null and never a number."""
    figure = synthetic.figure("repeat", "emr", "a", synthetic.estimate(math.nan, math.inf, None))
    text = summary.render_summary(replace(synthetic.analysis(), figures=(figure,)), synthetic.verdict())
    row = json.loads(text, parse_constant=pytest.fail)["figures"][0]
    assert (row["value"], row["low"]) == (None, None)


def test_hostile_text_stays_ascii_and_comes_back() -> None:
    """Nothing in the raw file can act on a terminal, and the text is not changed by that."""
    text = summary.render_summary(synthetic.hostile_analysis(), synthetic.hostile_verdict())
    assert text.isascii()
    assert not any(ord(c) < 32 and c != "\n" for c in text)
    assert tuple(json.loads(text)["notes"]) == synthetic.HOSTILE
