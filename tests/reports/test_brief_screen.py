"""What a command prints at its end: one screenful that names every provider, every finding's owner, and what to do."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from reports import synthetic
from rich.cells import cell_len
from rich.console import Console
from tempzero.reports import show_report
from tempzero.types.asked import Skipped
from tempzero.types.concluded import Analysis, ProviderVerdict, Verdict


def _print(
    analysis: Analysis, verdict: Verdict, *, width: int = 80, full: bool = False, encoding: str = "utf-8"
) -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="")
    show_report(
        analysis,
        verdict,
        Console(file=file, width=width, force_terminal=False),
        pages=[Path("results/20260102T030405Z-example/report.html")],
        exit_code=1,
        next_command="tempzero claim results/20260102T030405Z-example",
        full=full,
    )
    file.flush()
    return raw.getvalue().decode(encoding)


def _many(count: int, odd: int) -> tuple[Analysis, Verdict]:
    """So many providers of which `odd` have three findings each, in long sentences."""
    one = synthetic.analysis()
    facts = next(p for p in one.providers if p.name == "llama-f16")
    names = [f"host-{i:03}" for i in range(count)]
    template = next(f for f in one.figures if f.left == "llama-f16" and f.kind == "repeat" and f.metric == "emr")
    many = replace(
        one,
        providers=tuple(replace(facts, name=n) for n in names),
        figures=tuple(replace(template, left=n) for n in names),
        skipped=tuple(Skipped(provider=f"s{i}", reason=f"environment variable K{i} not set") for i in range(12)),
    )
    reasons = tuple(f"reason {i} " + "with very many words " * 12 for i in range(3))
    judged = tuple(
        ProviderVerdict(provider=n, outcome="finding" if i < odd else "pass", reasons=reasons if i < odd else ())
        for i, n in enumerate(names)
    )
    return many, Verdict(outcome="finding", providers=judged)


@pytest.mark.parametrize(("count", "odd"), [(1, 1), (5, 3), (8, 8), (10, 10), (26, 1), (500, 40)])
def test_it_fits_on_a_screen(count: int, odd: int) -> None:
    """At most 24 lines for up to eight providers and 30 for any number: the verdict is not scrolled away."""
    lines = _print(*_many(count, odd)).splitlines()
    assert len(lines) <= (24 if count <= 8 else 30)
    assert max(cell_len(line) for line in lines) <= 80


def test_every_provider_has_its_line_and_its_verdict() -> None:
    """Of few providers each is shown with its own outcome, in its own row."""
    text = _print(synthetic.analysis(), synthetic.verdict())
    for verdict in synthetic.verdict().providers:
        row = next(line for line in text.splitlines() if line[2:].startswith(verdict.provider))
        assert verdict.outcome in row.split()[-1] or f" {verdict.outcome}," in row


def test_the_odd_ones_of_many_are_named() -> None:
    """Of 500 endpoints the table shows those with a finding, and says how many it does not show."""
    text = _print(*_many(500, 2))
    assert "▲ host-000" in text
    assert "▲ host-001" in text
    assert "and 490 more rows" in text


def test_what_does_not_fit_is_counted() -> None:
    """No finding disappears in silence: sentences that are not printed are counted, with where they stand."""
    text = _print(*_many(8, 8))
    told = text.count("▲ host-0") - 8
    assert f"and {24 - told} more sentences: --full, or the report" in text


def test_the_last_line_is_the_next_command() -> None:
    """The question after every verdict, what now, is answered where the eye rests."""
    lines = _print(synthetic.analysis(), synthetic.verdict()).splitlines()
    assert lines[-1] == "next:   tempzero claim results/20260102T030405Z-example"
    assert lines[-2] == "report: results/20260102T030405Z-example/report.html"
    assert any("Exit code 1." in line for line in lines)


def test_the_skipped_take_one_line() -> None:
    """A dozen hosted providers without a key are one line, not a dozen."""
    text = _print(*_many(2, 0))
    assert "12 skipped: no key (--full lists them)" in text
    assert "s3" not in text.split()


def test_full_prints_every_table_before_it() -> None:
    """Nothing that was measured is out of reach of the screen."""
    text = _print(synthetic.analysis(), synthetic.verdict(), full=True)
    assert "Does each provider agree with itself?" in text
    assert "hosted-keyless: EXAMPLE_API_KEY is not set" in text
    assert text.splitlines()[-1].startswith("next:")


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_hostile_names_cannot_steer_the_terminal(encoding: str) -> None:
    """Escape sequences in names and reasons are shown as codes, on old terminals too, and the width holds."""
    text = _print(synthetic.hostile_analysis(), synthetic.hostile_verdict(), encoding=encoding)
    assert not {"\x1b", "\x07", "\x00", "\u202e"} & set(text)
    assert max(cell_len(line) for line in text.splitlines() if not line.startswith(("report:", "next:"))) <= 80


def test_what_accuses_nobody_is_told_first() -> None:
    """Camps without a culprit are the run's finding, and stand before what is said of single providers."""
    message = "two camps: nobody can say who strays"
    text = _print(synthetic.analysis(), replace(synthetic.verdict(), about_set=(message,)))
    assert text.index(message) < text.index("▲ hosted-example gave different")
