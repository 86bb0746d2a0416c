"""Surroundings in, what a run makes of them out: streams, signals, locales, limits, disks, clocks. A row each.

    PYTHONPATH=harness:tests python tests/benchmarks/environment.py

Every row runs `tempzero run` in a folder of its own against a server on loopback and wants an exit code that is the
verdict's or none at all, no traceback, and a run folder that verifies. A run that was ended goes on afterwards, on a
disk that has room by then. Full disks are small tmpfs mounts, which want root (`unshare -rm` will do); clocks that
step are made by a shim before libc, which wants `cc`. Without these such a row says so and counts as not seen.
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
from functools import partial
from pathlib import Path

import tempzero
import yaml
from loopback import Loopback, after, completion, scripted

PYTHON = shlex.quote(sys.executable)
# The rows run elsewhere: they are to meet the very package that is imported here.
os.environ["PYTHONPATH"] = str(Path(tempzero.__file__).parents[1])
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
    mend: Callable[[Path], object] = lambda folder: None
    after: Callable[[Path], object] = lambda folder: None
    recorded: bool = True


class NotPossibleHereError(Exception):
    """What a row needs is not to be had."""


def mount_small(folder: Path, kilobytes: int) -> None:
    """Let results stand on a disk of that size."""
    (folder / "results").mkdir()
    _mount(folder, "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs")


def enlarge(folder: Path) -> None:
    _mount(folder, "-o", "remount,size=64m")


def unmount(folder: Path) -> None:
    subprocess.run(["umount", str(folder / "results")], check=False)


def _mount(folder: Path, *arguments: str) -> None:
    done = subprocess.run(["mount", *arguments, str(folder / "results")], check=False, capture_output=True, text=True)
    if done.returncode:
        raise NotPossibleHereError(done.stderr.strip())


# The wall clock of a process, which steps once it has run for some time; clocks that only run forward are left alone.
_STEPPING = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static int real(clockid_t id, struct timespec *at) {
  static int (*next)(clockid_t, struct timespec *);
  if (!next) next = dlsym(RTLD_NEXT, "clock_gettime");
  return next(id, at);
}
static time_t step(void) {
  static struct timespec first;
  struct timespec now;
  real(CLOCK_MONOTONIC, &now);
  if (!first.tv_sec) first = now;
  double passed = now.tv_sec - first.tv_sec + (now.tv_nsec - first.tv_nsec) / 1e9;
  const char *by = getenv("STEP_SECONDS"), *after = getenv("STEP_AFTER");
  return by && after && passed > atof(after) ? atol(by) : 0;
}
int clock_gettime(clockid_t id, struct timespec *at) {
  int failed = real(id, at);
  if (!failed && id == CLOCK_REALTIME) at->tv_sec += step();
  return failed;
}
time_t time(time_t *at) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (at) *at = now.tv_sec;
  return now.tv_sec;
}
int gettimeofday(struct timeval *restrict at, void *restrict zone) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  at->tv_sec = now.tv_sec;
  at->tv_usec = now.tv_nsec / 1000;
  return 0;
}
"""


def build_stepping_clock(folder: Path) -> None:
    """Make the shim, and see that it steps."""
    (folder / "step.c").write_text(_STEPPING)
    try:
        built = ["cc", "-shared", "-fPIC", "-O1", "-o", str(folder / "step.so"), str(folder / "step.c"), "-ldl"]
        subprocess.run(built, check=True, capture_output=True)
        seen = subprocess.run(
            [sys.executable, "-c", "import time; print(time.time())"],
            env={**os.environ, **stepping(-1_000_000_000, 0)[0], "LD_PRELOAD": str(folder / "step.so")},
            check=True,
            capture_output=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError) as problem:
        raise NotPossibleHereError(str(problem)) from None
    if float(seen.stdout) > time.time() - 900_000_000:
        raise NotPossibleHereError("the clock does not step")


def stepping(seconds: int, after_s: float) -> tuple[dict[str, str], str]:
    """What to set, and the shell's line."""
    return {"STEP_SECONDS": str(seconds), "STEP_AFTER": str(after_s)}, f"LD_PRELOAD=$PWD/step.so exec {RUN}"


ROWS: tuple[Row, ...] = (
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


for _name, _seconds in (("a day back", -86_400), ("a day forward", 86_400), ("to 1970", -1_700_000_000)):
    for _after in (0.0, 1.5, 2.5):  # before anything has been asked, and in the midst of it
        _environ, _shell = stepping(_seconds, _after)
        ROWS += (
            Row(
                name=f"the clock steps {_name} after {_after} s",
                shell=_shell,
                environ=_environ,
                before=build_stepping_clock,
            ),
        )
for _kilobytes in (4, 16, 32, 64, 128, 200):
    ROWS += (
        Row(
            name=f"a disk of {_kilobytes} kB",
            before=partial(mount_small, kilobytes=_kilobytes),
            mend=enlarge,
            after=unmount,
            codes=REFUSED,
            recorded=_kilobytes > 4,
        ),
    )


def run_row(row: Row, folder: Path, base_url: str) -> str:
    """An empty text, or what was wrong."""
    _fill_folder(folder, base_url)
    try:
        row.before(folder)
        return _run_row(row, folder)
    finally:
        row.after(folder)


def _run_row(row: Row, folder: Path) -> str:
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
    row.mend(folder)
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
        if any(f.stat().st_size for f in folder.glob("results/*/records/*.jsonl")):
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
    lines = sum(f.read_bytes().count(b"\n") for f in runs[0].parent.glob("records/*.jsonl"))
    return problems if lines == 80 else [*problems, f"{lines} records, not 80"]


def main() -> int:
    """All rows, or those whose names hold one of the arguments."""
    wrong = unseen = 0
    chosen = [row for row in ROWS if not sys.argv[1:] or any(re.search(a, row.name) for a in sys.argv[1:])]
    for row in chosen:
        wait_s = 0.2 if row.signals else 0.01  # a signal finds it at work, on a machine that is busy too
        one_reply = scripted({}, default=after(wait_s, completion("ja ☃")))
        with tempfile.TemporaryDirectory() as name, Loopback(one_reply) as server:
            try:
                problem = run_row(row, Path(name), server.base_url)
            except NotPossibleHereError as why:
                unseen += 1
                print(f"UNSEEN {row.name}: {why}", flush=True)
                continue
        wrong += bool(problem)
        print(f"{'ok   ' if not problem else 'WRONG'} {row.name}{': ' if problem else ''}{problem}", flush=True)
    print(f"{len(chosen) - wrong - unseen} of {len(chosen)} as they should be" + f", {unseen} not seen" * bool(unseen))
    return int(bool(wrong or unseen))


if __name__ == "__main__":
    raise SystemExit(main())
