"""What tests want seen at the end of the run, whatever pytest captures and whichever process ran them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from door_workplace import make_workplace
from hypothesis import HealthCheck, settings

# A machine with other work is slow now and then; how long one example takes is not what these tests are about.
settings.register_profile("tempzero", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tempzero")

_LINE = "line written at the end"


@pytest.fixture
def written_at_the_end(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Takes a line for the terminal's summary; it travels with the test's report, also out of a worker process."""
    return lambda line: record_property(_LINE, line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            # A test that fails and then fails to clean up has two reports with the same lines.
            if report.when == "call":
                for name, line in report.user_properties:
                    if name == _LINE:
                        terminalreporter.write_line(str(line))


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """This folder, with everything that the examples of the library need in it."""
    monkeypatch.chdir(tmp_path)
    with make_workplace(tmp_path):
        yield tmp_path
