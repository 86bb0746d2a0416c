"""The screen: every question has its table, the verdict stands last, and any width and any text is borne."""

from __future__ import annotations

import io
from functools import cache, partial

import pytest
from reports import synthetic
from rich.cells import cell_len
from rich.console import Console
from tempzero.reports import show_report

_show_all = partial(show_report, pages=(), exit_code=1, next_command="", full=True)


@cache
def _shown(width: int = 120, *, hostile: bool = False, terminal: bool = False, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="")
    console = Console(file=file, width=width, force_terminal=terminal, color_system="standard" if terminal else None)
    if hostile:
        _show_all(synthetic.hostile_analysis(), synthetic.hostile_verdict(), console)
    else:
        _show_all(synthetic.analysis(), synthetic.verdict(), console)
    file.flush()
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize("width", [200, 120, 80, 60, 40])
@pytest.mark.parametrize("hostile", [False, True])
def test_no_line_is_wider_than_the_screen(width: int, hostile: bool) -> None:
    """Tables fold into fewer columns and at last into lines, instead of breaking at the edge."""
    lines = _shown(width, hostile=hostile).splitlines()
    assert max(map(cell_len, lines)) <= width
    assert len(lines) > 50


def test_every_question_has_its_table() -> None:
    """Each of the seven questions is asked and answered."""
    text = _shown()
    for question in (
        "Does each provider agree with itself?",
        "Does each provider agree with the reference?",
        "Does each provider agree with the others?",
        "Do they repeat themselves, or loop?",
        "Are the answers right?",
        "What failed?",
        "How fast, and at what cost?",
    ):
        assert question in text


@pytest.mark.parametrize("width", [200, 80, 60])
def test_no_number_is_broken(width: int) -> None:
    """A figure's value and interval each stay in one piece at any usual width."""
    tables, _, _ = _shown(width).partition("\nVerdict\n")
    assert "[−0.02, 0.68]" in tables
    lines = [line for line in tables.splitlines() if "[" in line or "]" in line]
    assert len(lines) > 30
    assert all(line.count("[") == line.count("]") for line in lines)


def test_the_verdict_is_worst_first_and_stands_after_the_tables() -> None:
    """What matters most is nearest to the prompt; findings come before doubts and passes."""
    text = _shown()
    places = [
        text.index(f"{sign} {name}")
        for sign, name in (
            ("▲", "hosted-example: finding"),
            ("○", "hosted-down: inconclusive"),
            ("✓", "cpu-f32 (reference): pass"),
            ("▲", "Finding: the data support"),
        )
    ]
    assert places == sorted(places)
    assert places[0] > text.index("How fast, and at what cost?")


def test_a_dash_says_why() -> None:
    """An undefined figure is a dash in its cell, and the reason stands below the table with the provider's name."""
    text = " ".join(_shown().split())
    assert "– Same text again (EMR): no prompt has two comparable responses (hosted-down)" in text
    assert "– Cost, USD: no price is given in providers.yaml" in text


def test_a_pipe_gets_no_colour_codes() -> None:
    """Where the screen is no terminal there is no escape sequence in the text; on a terminal there is colour."""
    assert "\x1b" not in _shown()
    assert "\x1b[" in _shown(terminal=True)


@pytest.mark.parametrize("terminal", [False, True])
def test_hostile_text_cannot_steer_the_terminal(terminal: bool) -> None:
    """Escape sequences, bells and direction marks of a model are shown as codes; rich's markup stays text."""
    text = _shown(300, hostile=True, terminal=terminal)
    assert "⟨U+001B⟩[31mred" in text
    assert "\x1b]8" not in text
    assert "\x07" not in text
    assert "\x00" not in text
    assert "\u202e" not in text
    assert "[red]markup[/red]" in text


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_an_old_terminal_gets_plain_signs(encoding: str) -> None:
    """A terminal without UTF-8 gets readable stand-ins instead of a crash."""
    text = _shown(80, hostile=True, encoding=encoding)
    assert "<U+202E>gnp.exe" in text
    assert "finding" in text
