"""A command line in, a process that runs it out: a fork of one that has loaded the package already.

To load it takes more than a second of a core, and tests start the command some fifty times. A fork has a number,
signals, open files and an exit code of its own like any other process; what a start itself does is for
tests/test_door.py. Only Linux forks: elsewhere the command is started as usual.

As a script it has a command run in its own place, in its folder and with its streams: `ready_process.py SOCKET ...`.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import subprocess

# What commands load when they need it.
_LOADED_AHEAD = (
    "tempzero.cli",
    "tempzero.analysis",
    "tempzero.check",
    "tempzero.claims",
    "tempzero.collect",
    "tempzero.engines.hosted.openai_chat",
    "tempzero.nightly",
    "tempzero.reports",
    "tempzero.verdict",
    "tempzero.workflow",
)
_held_open: list[subprocess.Popen[bytes]] = []
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ReadyProcess:
    """A command that runs; what `subprocess.Popen` says of one. Its streams are those that are given, by number."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        streams: tuple[int, int, int],
        folder: str | None = None,
        environment: Mapping[str, str] | None = None,
        server: str | None = None,
    ) -> None:
        asked = {
            "arguments": list(arguments),
            "folder": folder or os.getcwd(),
            "environment": dict(os.environ if environment is None else environment),
        }
        self._line = socket.socket(socket.AF_UNIX)
        self._line.connect(server or start_server())
        socket.send_fds(self._line, [json.dumps(asked).encode() + b"\n"], list(streams))
        self._told = self._line.makefile("rb")
        self.pid = int(self._told.readline())

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self) -> int:
        """Its exit code; below zero the signal that ended it."""
        with self._line, self._told:
            return int(self._told.readline())


@cache
def start_server() -> str:
    """The process that has loaded the package, one for each that asks for it; the path of its socket."""
    import subprocess
    import tempfile

    folder = tempfile.mkdtemp(prefix="tempzero-ready-")
    path = os.path.join(folder, "socket")
    code = "import ready_process, sys; ready_process.serve(sys.argv[1])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-c", code, path]
    # It ends when nobody holds the other end of its input: a worker of pytest-xdist leaves without a word.
    server = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True
    )
    assert server.stdin is not None
    assert server.stdout is not None
    with server.stdout as ready:
        assert ready.readline(), "the process that loads the package ahead has ended"
    _held_open.append(server)
    return path


def start_silently(
    arguments: Sequence[str], *, folder: str | None = None, environment: Mapping[str, str] | None = None
) -> ReadyProcess | subprocess.Popen[bytes]:
    """The command with these arguments, of which nobody sees what it says; it is to be waited for."""
    if sys.platform != "linux":
        from subprocess import DEVNULL, Popen

        command = [sys.executable, "-m", "tempzero", *arguments]
        return Popen(command, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, cwd=folder, env=environment)
    with open(os.devnull, "r+b") as nowhere:
        streams = (nowhere.fileno(),) * 3
        return ReadyProcess(arguments, streams=streams, folder=folder, environment=environment)


def write_command(arguments: str = '"$@"') -> str:
    """What a shell runs as `tempzero` with these arguments."""
    if sys.platform != "linux":
        return f"exec {sys.executable} -m tempzero {arguments}"
    return f"exec {sys.executable} -I -S {os.path.abspath(__file__)} {start_server()} {arguments}"


def serve(path: str) -> None:
    """Load the package, then fork for each command that is asked for, until standard input ends."""
    import gc
    import importlib

    for name in _LOADED_AHEAD:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how those ended that attend to a command
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(path)
        door.listen(64)
        print("ready", flush=True)
        while 0 not in select.select([door.fileno(), 0], [], [])[0]:
            line, _ = door.accept()
            with line:
                if os.fork() == 0:
                    door.close()
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    _attend(line)
                    os._exit(0)
    os.unlink(path)
    os.rmdir(os.path.dirname(path))


def _attend(line: socket.socket) -> None:
    """Run one command; end it where whoever asked for it is gone."""
    received, streams, _, _ = socket.recv_fds(line, 1 << 20, 3)
    while not received.endswith(b"\n"):
        more = line.recv(1 << 20)
        if not more:
            return
        received += more
    child = os.fork()
    if child == 0:
        line.close()
        _run(json.loads(received), streams)
    for stream in streams:
        os.close(stream)
    ending = os.pidfd_open(child)
    with contextlib.suppress(ConnectionError):
        line.sendall(b"%d\n" % child)
        if ending not in select.select([ending, line.fileno()], [], [])[0]:  # nothing is said but that nobody waits
            os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        line.sendall(b"%d\n" % code)


def _run(asked: Mapping[str, Any], streams: Sequence[int]) -> NoReturn:
    """This process as the command: in its folder, with its environment and streams, and with chances of its own."""
    import random
    import time
    import traceback

    import tempzero
    from tempzero.cli import run_process

    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    time.tzset()
    random.seed()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, max(streams) + 1)
    at_once = bool(os.environ.get("PYTHONUNBUFFERED"))
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), "utf-8")
    out = io.FileIO(1, "w", closefd=False)
    sys.stdout = io.TextIOWrapper(
        out if at_once else io.BufferedWriter(out),
        "utf-8",
        line_buffering=out.isatty(),
        write_through=at_once,
    )
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(2, "w", closefd=False)), "utf-8", "backslashreplace", line_buffering=True
    )
    sys.argv = [os.path.join(os.path.dirname(tempzero.__file__), "__main__.py"), *asked["arguments"]]
    code = 1
    try:
        code = run_process()
        atexit._run_exitfuncs()
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    os._exit(code)


def _stand_in() -> NoReturn:
    """This process in the place of the command: what it is told is handed on, and as that ends it ends."""
    command = ReadyProcess(sys.argv[2:], streams=(0, 1, 2), server=sys.argv[1])
    for number in _FORWARDED:
        signal.signal(number, lambda number, _: command.send_signal(number))
    ended = command.wait()
    if ended < 0:
        signal.signal(-ended, signal.SIG_DFL)
        os.kill(os.getpid(), -ended)
    os._exit(ended)


if __name__ == "__main__":
    _stand_in()
