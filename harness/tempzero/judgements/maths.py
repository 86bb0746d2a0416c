"""A mathematical answer and others in, which of them it equals out: asked of a process that can be given up on.

math-verify (the extra `math`) parses LaTeX and plain expressions and compares them by value. On some inputs it does
not end, so it runs in a process of its own with a time limit for each question.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

_PROGRAM = Path(__file__).with_name("comparing.py")
_START_S = 60.0
_QUESTION_S = 10.0
_LONGEST_REPLY = 100_000


def available() -> bool:
    """Whether the extra `math` is installed."""
    return importlib.util.find_spec("math_verify") is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """For each of the others whether it is equal; or why the answer could not be read."""

    equal: tuple[bool, ...]
    problem: str = ""


class Comparer:
    """Holds the process; a context manager. A question that takes too long ends it, and the next one starts another."""

    def __init__(self, *, question_s: float = _QUESTION_S) -> None:
        self._question_s = question_s
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Comparer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    def compare(self, answer: str, others: Sequence[str]) -> Compared:
        """Compare one answer with others."""
        reply = self._ask({"answer": answer, "others": list(others)})
        if reply is None:
            return Compared(equal=(), problem=f"not compared within {self._question_s:g} s")
        if reply.get("problem"):
            return Compared(equal=(), problem=str(reply["problem"])[:200])
        return Compared(equal=tuple(bool(same) for same in reply["equal"]))

    def _ask(self, question: Any) -> dict[str, Any] | None:
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(question).encode() + b"\n")
            process.stdin.flush()
            line = _line(process.stdout.fileno(), self._question_s)
            reply = None if line is None else json.loads(line)
        except (OSError, ValueError):
            reply = None
        if not isinstance(reply, dict):
            self._stop()
            return None
        return reply

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(_PROGRAM)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            assert self._process.stdout is not None
            _line(self._process.stdout.fileno(), _START_S)
        return self._process

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def _line(descriptor: int, seconds: float) -> bytes | None:
    """One line, or None where it does not come in time or at all."""
    until, line = time.monotonic() + seconds, b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            left = until - time.monotonic()
            if left <= 0 or not selector.select(left):
                return None
            piece = os.read(descriptor, 1 << 16)
            if not piece or len(line) > _LONGEST_REPLY:
                return None
            line += piece
    return line
