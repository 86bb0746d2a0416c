"""A mark for tests that need a working bubblewrap; what stands in its way is asked of bubblewrap, not of our code."""

from __future__ import annotations

import shutil
import subprocess

import pytest


def _find_obstacle() -> str:
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return "bubblewrap is not installed"
    command = [bwrap, "--unshare-user", "--unshare-pid", "--unshare-net", "--ro-bind", "/", "/", "true"]
    tried = subprocess.run(command, capture_output=True, text=True)
    return f"bubblewrap is refused here: {tried.stderr.strip()}" if tried.returncode else ""


_OBSTACLE = _find_obstacle()
needs_bubblewrap = pytest.mark.skipif(bool(_OBSTACLE), reason=_OBSTACLE)
