"""The tutorials are walks that a newcomer finishes: every command runs as it stands and prints what the page says."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from notebooks import read_code_cells, run_cells
from walks import Step, name_placeholders, read_steps, take_walk

DOCS = Path(__file__).parent.parent / "docs"
TUTORIALS = DOCS / "tutorials"
PAGES = sorted(path.name for path in TUTORIALS.glob("*.md"))


def read_page(name: str) -> list[Step]:
    return list(read_steps((TUTORIALS / name).read_text()))


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, list[str]]]:
    """Takes the walk of a page, once: the folder it was taken in, and what its commands printed."""

    @cache
    def take(name: str) -> tuple[Path, list[str]]:
        folder = tmp_path_factory.mktemp(name) / "walk"
        folder.mkdir()
        return folder, take_walk(read_page(name), folder)

    return take


@pytest.mark.parametrize("name", PAGES)
def test_a_walk_prints_what_its_page_says(name: str, walk: Callable[[str], tuple[Path, list[str]]]) -> None:
    """Up to what is another in every run. `python tests/walks.py docs/tutorials/*.md` writes today's outputs."""
    for step, output in zip(read_page(name), walk(name)[1], strict=True):
        assert name_placeholders(output) == name_placeholders(step.output), step.command


def test_the_notebook_shows_what_it_says_of_the_run_of_a_walk(walk: Callable[[str], tuple[Path, list[str]]]) -> None:
    """`python tests/notebooks.py docs/notebook.ipynb FOLDER_OF_THE_WALK` writes today's outputs."""
    cells = read_code_cells(DOCS / "notebook.ipynb")
    for (source, kept), shown in zip(cells, run_cells(DOCS / "notebook.ipynb", walk("choose.md")[0]), strict=True):
        assert shown == kept, source


def test_there_is_a_walk_for_each_path() -> None:
    """The three questions that people come with: which one do I take, has anything changed, what do I paste?"""
    assert PAGES == ["choose.md", "prove.md", "watch.md"]


def test_choosing_takes_six_commands_at_most() -> None:
    """Nobody who wants to compare five hosts types more."""
    assert len(read_page("choose.md")) <= 6


def test_what_is_pasted_is_short() -> None:
    """Fifteen hundred characters are read; the page shows what a reader gets."""
    (pasted,) = (step.output for step in read_page("prove.md") if step.command.endswith("--issue"))
    assert len(pasted.partition("\n")[2]) <= 1_500
    assert len(pasted.splitlines()) <= 16


def test_a_changed_output_is_noticed() -> None:
    """Placeholders hide what differs from run to run and nothing else."""
    told = "▲ west      1.00     1,047 · $0.39  finding\nresults/20261129T150408Z-walk set 2026-11-29T15:04:28+00:00\n"
    again = told.replace("1,047", "  952").replace("T150408Z", "T160000Z").replace("15:04:28", "16:00:00.5")
    assert name_placeholders(told) == name_placeholders(again)
    for before, after in (("1.00", "0.98"), ("finding", "pass"), ("$0.39", "$0.40"), ("west", "east"), ("set", "")):
        assert name_placeholders(told) != name_placeholders(told.replace(before, after, 1))
