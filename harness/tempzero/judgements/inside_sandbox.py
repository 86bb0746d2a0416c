"""A job on standard input in, results of a stranger's function out: the program that runs inside the sandbox.

The sandbox around it is bubblewrap's; from in here come the limits that only the running program can set. It never
learns the right results: comparing is done outside. Where it cannot set its limits it ends before the first line of
the stranger's code, and its last line on standard error says why.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable
from typing import Any

_NOBODY = 65534
_LONGEST_RESULT = 100_000


def main() -> None:
    """Read the job, give up what is not needed, say so, run."""
    job = json.loads(sys.stdin.buffer.read())
    results = os.dup(1)
    _leave_root()
    _limit_resources(job["limits"])
    open(os.__file__).close()  # whoever runs this may read Python's own library, or nothing is run
    print("ready", file=sys.stderr, flush=True)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    _run_cases(job, _make_line_writer(results))


def _leave_root() -> None:
    """Neither the limit on processes nor the permissions of files hold root."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)


def _limit_resources(limits: dict[str, int]) -> None:
    for name, value in limits.items():
        resource.setrlimit(getattr(resource, name), (value, value))


def _make_line_writer(results: int) -> Callable[[Any], None]:
    """A writer that holds what it needs, whatever the stranger's code puts in its place."""
    dumps, write = json.dumps, os.write

    def write_line(value: Any) -> None:
        write(results, dumps(value).encode() + b"\n")

    return write_line


def _run_cases(job: dict[str, Any], write_line: Callable[[Any], None]) -> None:
    function: Any = None
    namespace: dict[str, Any] = {"__name__": "answer"}
    try:
        exec(compile(job["code"], "answer", "exec"), namespace)
        function = namespace[job["function"]]
    except BaseException as problem:
        write_line({"broken": type(problem).__name__})
        return
    for index, arguments in enumerate(job["cases"]):
        try:
            value = json.dumps(function(*arguments))
            answered = (
                {"case": index, "value": value} if len(value) <= _LONGEST_RESULT else {"case": index, "long": True}
            )
        except BaseException as problem:
            answered = {"case": index, "raised": type(problem).__name__}
        write_line(answered)


if __name__ == "__main__":
    main()
