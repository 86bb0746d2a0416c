"""A job for a stranger's code in, what it wrote and how it ended out: run in bubblewrap, cut off from everything else.

Inside there is Python's own library, read-only, and an empty folder in memory: no other file, no network, no process
but its own, no environment. Outside, a clock. Without bubblewrap, or where the system refuses it, nothing is run.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PROGRAM = Path(__file__).with_name("inside_sandbox.py")
_MOST_OUTPUT_BYTES = 4 * 1024 * 1024
_LIMITS = {
    "RLIMIT_CPU": 5,
    "RLIMIT_AS": 512 * 1024 * 1024,
    "RLIMIT_FSIZE": _MOST_OUTPUT_BYTES,
    "RLIMIT_NOFILE": 32,
    "RLIMIT_NPROC": 1,
    "RLIMIT_CORE": 0,
    "RLIMIT_MEMLOCK": 0,
    "RLIMIT_MSGQUEUE": 0,
}
# Where memory runs out all the same (System V's shared memory is nobody's), this is what the kernel ends first.
_ENDED_FIRST = ("/bin/sh", "-c", '{ echo 1000 > /proc/self/oom_score_adj; } 2> /dev/null; exec "$0" "$@"')
_CUT_OFF = (
    *("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"),
    *("--hostname", "sandbox", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"),
    # Hashes are seeded so that sets come in one order.
    *("--setenv", "PYTHONHASHSEED", "0", "--setenv", "PYTHONUTF8", "1"),
)
# The stranger is process 1: beside it there is none, without its limits, to get hold of.
_AS_USER = ("--unshare-user", "--disable-userns", "--uid", "65534", "--gid", "65534", "--as-pid-1")
# A user namespace of root's making would leave the stranger root outside, whom the limit on processes does not hold.
# So the program inside leaves root itself; process 1 is bubblewrap's and root's, which no one else can touch.
_AS_ROOT = ("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")
_OWN_FILES = (
    *("--perms", "0777", "--size", str(1024 * 1024), "--tmpfs", "/tmp", "--chdir", "/tmp"),
    *("--dir", "/dev", "--dev-bind", os.devnull, os.devnull),
)
# No site, no user's folder on the path, nothing compiled beside the library.
_PYTHON_FLAGS = ("-s", "-S", "-P", "-B")


class SandboxError(Exception):
    """The sandbox cannot be had here: why, and where it can be put right, how."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SandboxRun:
    """What the program inside wrote, line by line, and why it ended early (empty: it did not)."""

    lines: tuple[bytes, ...]
    ending: str


def check_sandbox(*, wall_s: float) -> None:
    """Run a trivial job. Raises SandboxError."""
    run_in_sandbox({"code": "def nothing(): pass", "function": "nothing", "cases": []}, wall_s=wall_s)


def run_in_sandbox(job: dict[str, Any], *, wall_s: float) -> SandboxRun:
    """Run `code`'s `function` on the arguments of each of `cases`. Raises SandboxError, then nothing was run."""
    given = json.dumps({**job, "limits": _LIMITS}).encode()
    # Files, not pipes: what a flood may write to a file, the system limits. The stranger holds the first one only.
    with tempfile.TemporaryFile() as results, tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(_build_command(), stdin=subprocess.PIPE, stdout=results, stderr=complaints)
        try:
            process.communicate(given, timeout=wall_s)
            ending = _describe_ending(process.returncode)
        except subprocess.TimeoutExpired:
            ending = f"still running after {wall_s:g} s"
        finally:
            _kill_with_children(process)
        complaints.seek(0)
        said = complaints.read().decode(errors="replace").splitlines()
        if "ready" not in said:
            raise SandboxError(f"bubblewrap cannot run a program here: {said[-1] if said else ending}")
        results.seek(0)
        lines = results.read(_MOST_OUTPUT_BYTES).split(b"\n", len(job["cases"]) + 1)[:-1]
    return SandboxRun(lines=tuple(lines), ending=ending)


def _build_command() -> list[str]:
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise SandboxError(
            "running them needs bubblewrap, a program for Linux, which is not installed here "
            "(Debian, Ubuntu: `apt-get install bubblewrap`; Fedora: `dnf install bubblewrap`)"
        )
    python = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    user = _AS_ROOT if os.geteuid() == 0 else _AS_USER
    program = [python, *_PYTHON_FLAGS, "-c", _PROGRAM.read_text(encoding="utf-8")]
    files = (*_OWN_FILES, *_mount_library(python), "--remount-ro", "/")
    return [*_ENDED_FIRST, bwrap, *_CUT_OFF, *user, *files, "--", *program]


def _mount_library(python: str) -> list[str]:
    """The interpreter, its standard library without what was installed beside it, the system's shared libraries."""
    base = Path(sys.base_prefix).resolve()
    folders = dict.fromkeys(
        [base / "lib", base / sys.platlibdir, *map(Path, ("/usr/lib", "/usr/lib64", "/lib", "/lib64"))]
    )
    arguments: list[str] = []
    for path in [Path(python), Path("/etc/ld.so.cache"), *folders]:
        # bubblewrap makes missing folders above for itself alone, so they are made first.
        arguments += ["--dir", str(path.parent)]
        if path.is_symlink():
            arguments += ["--symlink", os.readlink(path), str(path)]
        elif path.exists():
            arguments += ["--ro-bind", str(path), str(path)]
    installed = [p for folder in folders if not folder.is_symlink() for p in folder.glob("python3*/*-packages")]
    for path in installed:
        arguments += ["--tmpfs", str(path), "--remount-ro", str(path)]
    return arguments


def _kill_with_children(process: subprocess.Popen[bytes]) -> None:
    """The process inside first: it can have seen to it that it outlives bubblewrap."""
    if process.poll() is None:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
                os.kill(int(child), signal.SIGKILL)
            process.wait(1)  # bubblewrap notices, clears up and ends
        process.kill()
    process.wait()
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()


def _describe_ending(status: int) -> str:
    """bubblewrap hands on a status, and a signal as 128 more."""
    status = 128 - status if status < 0 else status
    if status <= 128:
        return f"ended with status {status}" if status else ""
    if status - 128 == signal.SIGKILL:
        return "used up its processor time"
    known = status - 128 in set(signal.Signals)
    return f"ended by {signal.Signals(status - 128).name if known else f'signal {status - 128}'}"
