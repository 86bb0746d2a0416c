"""A user's script in, what `mypy --strict` says of it out: by our types, and nothing of what is inside our package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import tempzero

SOURCE = Path(tempzero.__file__).parents[1]
# Kept between tests and sessions: without it each would check the package anew. One at a time writes it.
_CACHE = SOURCE.parent / ".mypy_cache" / "of-a-user"
ONE_AT_A_TIME = pytest.mark.xdist_group("types of a user")


def check_user_types(script: Path) -> list[str]:
    """The errors in the script, a line each. The test is skipped where mypy is not installed."""
    pytest.importorskip("mypy", reason="needs the extra dev")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-pretty", "--follow-imports=silent"]
    done = subprocess.run(
        [*command, f"--cache-dir={_CACHE}", str(script)],
        cwd=script.parent,
        env={"PATH": "/usr/bin:/bin", "MYPYPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr, done.stderr
    return [line for line in done.stdout.splitlines() if ": error:" in line]
