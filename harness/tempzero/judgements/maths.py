"""A mathematical answer and others in, which of them it equals out: asked of a process that can be given up on.

math-verify (the extra `math`) parses LaTeX and plain expressions and compares them by value. On some inputs it does
not end, so it runs in a process of its own with a time limit for each question.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

_PROGRAM = Path(__file__).with_name("inside_comparer.py")
_START_S = 60.0
_QUESTION_S = 10.0
_LONGEST_REPLY = 100_000


def is_math_verify_installed() -> bool:
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
        self._asked: tuple[subprocess.Popen[bytes], Connection] | None = None

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
        """None where no reply comes in time or at all."""
        try:
            connection = self._connect()
            connection.send_bytes(json.dumps(question).encode())
            if connection.poll(self._question_s):
                reply: dict[str, Any] = json.loads(connection.recv_bytes(_LONGEST_REPLY))
                return reply
        except (OSError, EOFError):
            pass
        self._stop()
        return None

    def _connect(self) -> Connection:
        if self._asked is None:
            here, there = Pipe()
            with there:
                descriptor = there.fileno()
                command = [sys.executable, "-P", str(_PROGRAM), str(descriptor)]
                process = subprocess.Popen(
                    command,
                    pass_fds=[descriptor],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            self._asked = process, here
            if here.poll(_START_S):
                here.recv_bytes()  # it is ready
        return self._asked[1]

    def _stop(self) -> None:
        if self._asked is None:
            return
        (process, connection), self._asked = self._asked, None
        process.kill()
        process.wait()
        connection.close()
