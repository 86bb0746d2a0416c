"""A page of docs/tutorials in, what its commands print today beside what the page says they print out.

A walk is every block of the kind `console`: a line that begins with `$ ` is a command, the lines below it are its
output. They run one after the other in one shell and one empty folder, exactly as they stand.
`python tests/walks.py PAGE ...` writes the outputs of today into the pages.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tempzero
from ready_process import write_command

SOURCE = Path(tempzero.__file__).parents[1]
_BLOCK = re.compile(r"^(`{3,})console\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
_END = "end-of-output"
_MOST_S = 240.0
# What is another in every run, by name; everything else a command prints must be what the page says.
PLACEHOLDERS: Mapping[str, str] = {
    "RUN": r"\b\d{8}T\d{6}Z",
    "TIME": r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)?",
    "TODAY": r"(?<=· )\d{4}-\d\d-\d\d(?= ·)",
    "HASH": r"\b[0-9a-f]{12,64}\b",
    "SPEED": r"[ \d,]{6,}(?= · \$)",
    "CLIENT": r"OpenAI/Python [\d.]+",
    "PORT": r"(?<=127\.0\.0\.1:)\d+",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One command of a page, and what stands below it."""

    command: str
    output: str

    @property
    def stays(self) -> bool:
        """Whether it goes on while the next ones run."""
        return self.command.endswith("&")


def read_steps(page: str) -> Iterator[Step]:
    """Every command of a page with its output, in order."""
    for _, block in _BLOCK.findall(page):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield Step(command=command, output=output)


def replace_outputs(page: str, outputs: Sequence[str]) -> str:
    """The page with other outputs under its commands, each ending with its line."""
    left = iter(output + "\n" if output and not output.endswith("\n") else output for output in outputs)

    def rewrite(block: re.Match[str]) -> str:
        commands = re.findall(r"^\$ (.*)$", block[2], re.MULTILINE)
        return f"{block[1]}console\n" + "".join(f"$ {command}\n{next(left)}" for command in commands) + block[1]

    return _BLOCK.sub(rewrite, page)


def name_placeholders(text: str) -> str:
    """The text with what differs from run to run replaced by its name, and without spaces at the ends of lines."""
    for name, pattern in PLACEHOLDERS.items():
        text = re.sub(pattern, f"<{name}>", text)
    return "\n".join(line.rstrip() for line in text.splitlines())


def take_walk(steps: Sequence[Step], folder: Path) -> list[str]:
    """What each command prints, standard error included, in a shell that begins in this folder.

    The imitated hosts listen on a port that is free now instead of 8765; outputs name 8765 again.
    """
    port = str(_find_free_port())
    with _open_shell(folder, port) as shell:
        watchdog = threading.Timer(_MOST_S, os.killpg, (shell.pid, signal.SIGKILL))
        watchdog.start()
        try:
            return [_run_step(step, shell, folder, port) for step in steps]
        finally:
            watchdog.cancel()


def _run_step(step: Step, shell: subprocess.Popen[str], folder: Path, port: str) -> str:
    assert shell.stdin is not None
    assert shell.stdout is not None
    if step.stays:
        shell.stdin.write(f"rm -f {port}.log\n")
    shell.stdin.write(f"{step.command}\n")
    if step.command.startswith("kill "):
        shell.stdin.write("wait 2>/dev/null\n")  # as long as a hand takes to type the next command
    if step.stays:
        shell.stdin.write(f"for i in $(seq 100); do [ -s {port}.log ] && break; sleep .1; done; cat {port}.log\n")
    shell.stdin.write(f"echo {_END}\n")
    shell.stdin.flush()
    lines = []
    while not (line := shell.stdout.readline()).endswith(f"{_END}\n"):
        assert line, f"the shell ended in: {step.command}"
        lines.append(line)
    lines.append(line.removesuffix(f"{_END}\n"))  # of an output that ends without a line break
    config = folder / "providers.yaml"
    if config.is_file():
        config.write_text(config.read_text().replace(":8765/", f":{port}/"))
    return "".join(lines).replace(f":{port}", ":8765")


@contextmanager
def _open_shell(folder: Path, port: str) -> Iterator[subprocess.Popen[str]]:
    programs = folder.with_name(f"{folder.name}-programs")
    programs.mkdir()
    for name, call in {
        "tempzero": write_command(),
        # The hosts are played on the free port, and what they print when they are ready is read from a file.
        "python3": f'case "$1" in imitated_hosts.py) shift; exec {sys.executable} imitated_hosts.py '
        f'--port {port} "$@" >{port}.log 2>&1;; esac; exec {sys.executable} "$@"',
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{call}\n")
        (programs / name).chmod(0o755)
    kept = {k: v for k, v in os.environ.items() if k in ("HOME", "LANG", "TMPDIR", "XDG_CACHE_HOME")}
    environment = {**kept, "PATH": f"{programs}:/usr/bin:/bin", "PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        ["bash", "-u"],
        cwd=folder,
        env={**environment, "COLUMNS": "80", "NO_COLOR": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as shell:
        assert shell.stdin is not None
        try:
            yield shell
        finally:
            with contextlib.suppress(BrokenPipeError):
                shell.stdin.write("kill $(jobs -p) 2>/dev/null\nwait\nexit\n")
                shell.stdin.close()


def _find_free_port() -> int:
    """Below those that a system gives to connections: nobody takes it before the hosts do."""
    while True:
        port = random.randrange(12_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def main(pages: Sequence[str]) -> None:
    """Write today's outputs into these pages."""
    for name in pages:
        page, began = Path(name), time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder, "walk")
            place.mkdir()
            text = page.read_text()
            page.write_text(replace_outputs(text, take_walk(list(read_steps(text)), place)))
        print(f"{page}: {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
