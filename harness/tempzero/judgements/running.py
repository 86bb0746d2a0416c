"""Python code, a function's name and cases in, how many of them come out right out; the code runs behind barriers.

What the code prints, patches or claims has no say: it runs in a process that does not know the right results,
and what that process gives back is compared here.
"""

from __future__ import annotations

import json
import math
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tempzero.errors import EngineError
from tempzero.extractors.code import Case

_PROGRAM = Path(__file__).with_name("enclosed.py")
_CPU_S = 5
_WALL_S = 10.0
_MEMORY_BYTES = 512 * 1024 * 1024
_MOST_OUTPUT_BYTES = 4 * 1024 * 1024
# A float that was added up in another order is the same result.
_TOLERANCE = 1e-9
# No site, no user's folder on the path; the environment is ours alone, hashes seeded so that sets come in one order.
_FLAGS = ("-s", "-S", "-P", "-B")
_ENVIRONMENT = {"PYTHONHASHSEED": "0", "PYTHONUTF8": "1"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Trialled:
    """How many cases came out right, and what went wrong first, in one line."""

    right: int
    cases: int
    detail: str

    @property
    def passes(self) -> bool:
        return self.right == self.cases


def trial(code: str, function: str, cases: Sequence[Case], *, wall_s: float = _WALL_S) -> Trialled:
    """Run the function on every case. Raises EngineError where this machine cannot raise the barriers."""
    job = {
        "code": code,
        "function": function,
        "cases": [case.args for case in cases],
        "cpu_s": _CPU_S,
        "memory_bytes": _MEMORY_BYTES,
    }
    lines, ending = _run(json.dumps(job).encode(), wall_s)
    first = _parsed(lines[0]) if lines else {}
    if first.get("ready") is not True:
        reason = first.get("unprotected") or ending or "the enclosed program did not start"
        raise EngineError(f"code is not run here: {reason}")
    return _compared([_parsed(line) for line in lines[1:]], cases, ending)


def _run(job: bytes, wall_s: float) -> tuple[list[bytes], str]:
    """What the enclosed program wrote, line by line, and why it was stopped (empty: it ended by itself)."""
    with tempfile.TemporaryDirectory(prefix="tempzero-code-") as folder:
        process = subprocess.Popen(
            [sys.executable, *_FLAGS, str(_PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=_ENVIRONMENT,
            start_new_session=True,
        )
        try:
            assert process.stdin is not None
            try:
                process.stdin.write(job)
                process.stdin.close()
            except BrokenPipeError:
                pass
            output, ending = _read(process, wall_s)
        finally:
            _kill(process)
        if not ending and process.returncode:
            ending = _ended_by(process.returncode)
        return output.split(b"\n")[:-1], ending


def _read(process: subprocess.Popen[bytes], wall_s: float) -> tuple[bytes, str]:
    assert process.stdout is not None
    output, until = bytearray(), time.monotonic() + wall_s
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            left = until - time.monotonic()
            if left <= 0:
                return bytes(output), f"still running after {wall_s:g} s"
            if not selector.select(left):
                continue
            piece = os.read(process.stdout.fileno(), 1 << 16)
            output += piece
            if len(output) > _MOST_OUTPUT_BYTES:
                return bytes(output), "wrote too much"
            if not piece:
                break
    try:
        process.wait(max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        return bytes(output), f"still running after {wall_s:g} s"
    return bytes(output), ""


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _ended_by(code: int) -> str:
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return "used up its processor time" if name in ("SIGXCPU", "SIGKILL") else f"ended by {name}"
    return f"ended with status {code}"


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _compared(answers: Sequence[dict[str, Any]], cases: Sequence[Case], ending: str) -> Trialled:
    """The first answer to each case counts."""
    given: dict[int, dict[str, Any]] = {}
    for answer in answers:
        if type(answer.get("case")) is int:
            given.setdefault(answer["case"], answer)
    wrong = [i for i, case in enumerate(cases) if not _right(given.get(i), case.out)]
    broken = next((a["broken"] for a in answers if isinstance(a.get("broken"), str)), None)
    detail = f"{len(cases) - len(wrong)} of {len(cases)} cases"
    if broken is not None:
        detail += f"; defining the function raised {_word(broken)}"
    elif wrong:
        first = given.get(wrong[0])
        raised = first.get("raised") if first else None
        why = "gave no result" if first is None else f"raised {_word(raised)}" if raised else "gave another result"
        detail += f"; case {wrong[0] + 1} {why}" + (f": {ending}" if first is None and ending else "")
    return Trialled(right=len(cases) - len(wrong), cases=len(cases), detail=detail)


def _right(answer: dict[str, Any] | None, out: Any) -> bool:
    if answer is None or not isinstance(answer.get("value"), str):
        return False
    try:
        return _equal(json.loads(answer["value"]), out)
    except (ValueError, RecursionError):
        return False


def _equal(one: Any, other: Any) -> bool:
    """Equal as JSON values; true is not 1, floats may differ by rounding."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other or (
            float in (type(one), type(other)) and math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    return type(one) is type(other) and bool(one == other)


def _word(name: Any) -> str:
    """The name of an exception class: the stranger chose it."""
    return "".join(c for c in str(name) if c.isalnum() or c in "_.")[:60] or "an exception"
