"""Surroundings in, what a run makes of them out: streams, signals, locales, limits, clocks. A row each, 30 and more.

    PYTHONPATH=harness:tests python tests/benchmarks/environment.py

Every row runs `tempzero run` in a folder of its own against a server on loopback and wants an exit code that is the
verdict's or none at all, no traceback, and a run folder that verifies. A run that was ended goes on afterwards.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from loopback import Loopback, after, completion

PYTHON = shlex.quote(sys.executable)
RUN = f"{PYTHON} -m tempzero run --no-check"
VERDICT = (0, 3)  # eight prompts may do
ENDED = (130,)
REFUSED = (2,)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A shell's line, or a signal that comes while the run goes on; which exit codes are right."""

    name: str
    shell: str = f"exec {RUN}"
    signals: tuple[int, ...] = ()
    codes: tuple[int, ...] = VERDICT
    environ: dict[str, str] = field(default_factory=dict)
    unset: tuple[str, ...] = ()
    before: Callable[[Path], object] = lambda folder: None
    recorded: bool = True


ROWS = (
    Row(name="nothing unusual"),
    Row(name="| head -1", shell=f"set -o pipefail; {RUN} | head -1"),
    Row(name="| true", shell=f"set -o pipefail; {RUN} | true"),
    Row(name="2>&1 | head -1", shell=f"set -o pipefail; {RUN} 2>&1 | head -1"),
    Row(name="stdout is full", shell=f"exec {RUN} > /dev/full", codes=REFUSED),
    Row(name="stderr is full", shell=f"exec {RUN} 2> /dev/full"),
    Row(name="both are full", shell=f"exec {RUN} > /dev/full 2>&1", codes=REFUSED),
    Row(name="stdin closed", shell=f"exec {RUN} <&-"),
    Row(name="stdout closed", shell=f"exec {RUN} >&-"),
    Row(name="stderr closed", shell=f"exec {RUN} 2>&-"),
    Row(name="all closed", shell=f"exec {RUN} <&- >&- 2>&-"),
    Row(name="SIGINT", signals=(signal.SIGINT,), codes=ENDED),
    Row(name="SIGTERM", signals=(signal.SIGTERM,), codes=ENDED),
    Row(name="SIGHUP", signals=(signal.SIGHUP,), codes=ENDED),
    Row(name="SIGINT twice", signals=(signal.SIGINT, signal.SIGINT), codes=ENDED),
    Row(name="SIGHUP, then SIGTERM", signals=(signal.SIGHUP, signal.SIGTERM), codes=(130, -15)),  # it had ended before
    Row(name="SIGKILL", signals=(signal.SIGKILL,), codes=(-9,)),
    Row(name="SIGHUP under nohup", shell=f"trap '' HUP; exec {RUN}", signals=(signal.SIGHUP,)),
    Row(name="SIGSTOP and SIGCONT", signals=(signal.SIGSTOP, signal.SIGCONT)),
    Row(name="SIGHUP with all streams closed", shell=f"exec {RUN} <&- >&- 2>&-", signals=(signal.SIGHUP,), codes=ENDED),
    Row(name="LC_ALL=C", environ={"LC_ALL": "C"}),
    Row(name="ASCII streams", environ={"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}),
    Row(name="no UTF-8 at all", environ={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    Row(name="a locale that there is not", environ={"LC_ALL": "xx_YY.UTF-8"}),
    Row(name="TERM=dumb", environ={"TERM": "dumb"}),
    Row(name="COLUMNS=10", environ={"COLUMNS": "10"}),
    Row(name="FORCE_COLOR", environ={"FORCE_COLOR": "1"}),
    Row(name="no HOME", unset=("HOME",)),
    Row(name="no PATH", unset=("PATH",)),
    Row(name="the day before yesterday", environ={"TZ": "Pacific/Kiritimati"}),
    Row(name="a time zone that there is not", environ={"TZ": "No/Where"}),
    Row(name="warnings", environ={"PYTHONWARNINGS": "default"}),
    Row(name="another hash seed", environ={"PYTHONHASHSEED": "4711"}),
    Row(name="umask 077", shell=f"umask 077; exec {RUN}"),
    Row(name="32 open files", shell=f"ulimit -n 32; exec {RUN}"),
    Row(name="files of 16 kB at most", shell=f"ulimit -f 16; exec {RUN}", codes=REFUSED),
    Row(
        name="one second of processor time",
        shell=f"ulimit -t 1; exec {RUN}",
        codes=(-24, -9, 2, 3, 152, 137),
        recorded=False,
    ),
    Row(
        name="a file where results should be",
        before=lambda f: (f / "results").write_text(""),
        codes=REFUSED,
        recorded=False,
    ),
    Row(
        name="results that is a dead link",
        before=lambda f: (f / "results").symlink_to("/nowhere/at/all"),
        codes=REFUSED,
        recorded=False,
    ),
    Row(
        name="a folder that is gone",
        shell=f"mkdir gone; cd gone; rmdir ../gone; exec {RUN}",
        codes=(2, 3),
        recorded=False,
    ),
)


def run_row(row: Row, folder: Path, base_url: str) -> str:
    """An empty text, or what was wrong."""
    _fill_folder(folder, base_url)
    row.before(folder)
    environ = {k: v for k, v in {**os.environ, **row.environ}.items() if k not in row.unset}
    with subprocess.Popen(
        ["/bin/bash", "-c", row.shell],
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        if row.signals:
            _wait_for_records(folder)
        for number in row.signals:
            process.send_signal(number)
            time.sleep(0.05)
        out, err = process.communicate(timeout=120)
    problems = []
    if process.returncode not in row.codes:
        problems.append(f"exit code {process.returncode}, not {row.codes}: {err[-300:]}")
    if "Traceback" in out + err or "Exception ignored" in err:
        problems.append(f"a traceback: {err[-600:]}")
    if "\x1b" in out + err and "FORCE_COLOR" not in row.environ:
        problems.append("an escape sequence where nobody sees colours")
    if row.recorded:
        problems += _check_records(folder, row)
    return "; ".join(problems)


def _fill_folder(folder: Path, base_url: str) -> None:
    prompts = [{"id": f"p{i}", "prompt": f"question {i}, naïve ☃"} for i in range(8)]
    (folder / "prompts.yaml").write_text(yaml.safe_dump({"family": "t", "suite": "quick", "prompts": prompts}))
    providers = [
        {"name": n, "base_url": base_url, "model": "m", "max_tokens": 64, "concurrency": 2, "repeats": 5} for n in "ab"
    ]
    settings = {"version": 1, "run": {"prompts": "prompts.yaml"}, "providers": providers}
    (folder / "providers.yaml").write_text(yaml.safe_dump(settings))


def _wait_for_records(folder: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if any(f.stat().st_size for f in folder.glob("results/*/records.jsonl")):
            return
        time.sleep(0.02)


def _check_records(folder: Path, row: Row) -> list[str]:
    """The chain holds, a run that was ended goes on, and then every trial is there."""
    runs = list(folder.glob("results/*/manifest.json"))
    if len(runs) != 1:
        return [f"{len(runs)} runs"]
    run = shlex.quote(str(runs[0].parent))
    problems = []
    for command in (
        f"verify {run}",
        *([f"run --no-check --resume {run}"] if row.codes != VERDICT else []),
        f"verify {run}",
    ):
        done = subprocess.run(
            ["/bin/bash", "-c", f"{PYTHON} -m tempzero {command}"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in (0, 3) or "Traceback" in done.stderr:
            problems.append(f"{command.split()[0]}: exit code {done.returncode}: {done.stderr[-300:]}")
    lines = (runs[0].parent / "records.jsonl").read_bytes().count(b"\n")
    return problems if lines == 80 else [*problems, f"{lines} records, not 80"]


def main() -> int:
    """All rows, or those whose names hold one of the arguments."""
    wrong = 0
    chosen = [row for row in ROWS if not sys.argv[1:] or any(re.search(a, row.name) for a in sys.argv[1:])]
    for row in chosen:
        with tempfile.TemporaryDirectory() as name, Loopback(lambda call: after(0.01, completion("ja ☃"))) as server:
            problem = run_row(row, Path(name), server.base_url)
        wrong += bool(problem)
        print(f"{'ok   ' if not problem else 'WRONG'} {row.name}{': ' if problem else ''}{problem}", flush=True)
    print(f"{len(chosen) - wrong} of {len(chosen)} as they should be")
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
