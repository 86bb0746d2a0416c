"""What tests want seen at the end of the run, whatever pytest captures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from door_workplace import make_workplace

_LINES = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def written_at_the_end(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Takes a line for the terminal's summary."""
    return pytestconfig.stash.setdefault(_LINES, []).append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash.get(_LINES, []):
        terminalreporter.write_line(line)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """This folder, with everything that the examples of the library need in it."""
    monkeypatch.chdir(tmp_path)
    with make_workplace(tmp_path):
        yield tmp_path
