"""Runs killed at random moments in, what that cost out: records lost, trials asked twice, chains broken.

Every run asks 50 trials of a loopback server, four in flight, and is killed with SIGKILL at a random moment, from
before its folder exists to after its end; then it is resumed to its end. A record is acknowledged once the run
has shown it.

    python tests/benchmarks/kill.py [--runs 1000] [--seed 1]
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from tempzero import records
from tempzero.config import Setting
from tempzero.errors import RunFolderError
from tempzero.types.asked import Trial
from tempzero.types.recorded import Attempt
from tempzero.workflow import pipeline

LOOPBACK = Path(__file__).parent.parent / "loopback.py"
_PROMPTS, _REPEATS = 10, 5
_LATENCY_S = 0.02
# From the fork to after the end of a run on an idle machine.
_KILLED_WITHIN_S = 0.6000000000000001


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    importlib.import_module("tempzero.engines.hosted.openai_chat")  # once here, not in every child
    moments = random.Random(chosen.seed)
    killed = acknowledged = lost = twice = broken = incomplete = torn = 0
    began = time.monotonic()
    with loopback() as base_url:
        for _ in range(chosen.runs):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                _workplace(folder, base_url)
                shown, was_killed = _start_and_kill(folder, moments.uniform(0, _KILLED_WITHIN_S))
                killed += was_killed
                acknowledged += len(shown)
                for path in (folder / "results").glob("*/manifest.json"):
                    kept = _answered(path.parent)
                    lost += len(shown - set(kept))
                    _forked(partial(_resume, path.parent))
                    after = _answered(path.parent)
                    twice += sum(n > 1 for n in after.values())
                    incomplete += len(after) < _PROMPTS * _REPEATS
                    torn += any(s.torn_tail for s in records.open_run(path.parent).manifest.sessions)
                    broken += not _holds(path.parent)
    print(
        f"{chosen.runs} runs of {_PROMPTS * _REPEATS} trials, {killed} of them killed before their end "
        f"({time.monotonic() - began:.0f} s): {acknowledged} records acknowledged before the kill, {lost} of them "
        f"lost; {twice} answered trials asked again after --resume; {incomplete} runs not complete; "
        f"{broken} chains broken; {torn} torn lines found and cut"
    )
    sys.exit(bool(lost or twice or broken or incomplete))


def _workplace(folder: Path, base_url: str) -> None:
    (folder / "prompts").mkdir()
    prompts = [{"id": f"p{i}", "prompt": f"question {i}"} for i in range(_PROMPTS)]
    (folder / "prompts" / "p.yaml").write_text(json.dumps({"family": "bench", "prompts": prompts}))
    provider = {"name": "a", "base_url": base_url, "model": "m", "repeats": _REPEATS, "concurrency": 4}
    (folder / "providers.yaml").write_text(json.dumps({"version": 1, "providers": [provider]}))


def _start_and_kill(folder: Path, after_s: float) -> tuple[set[Trial], bool]:
    """The trials the run had shown, and whether it was still running when it was killed."""
    return _forked(lambda out: _start(folder, out), kill_after_s=after_s)


def _start(folder: Path, out: int) -> None:
    prepared = pipeline.prepare_run(Setting.load(folder / "providers.yaml", {}))
    pipeline.start_run(prepared, watcher=_watcher(out), check=False)


def _resume(path: Path, out: int) -> None:
    pipeline.resume_run(path, environ={}, watcher=_watcher(out), check=False)


def _watcher(out: int) -> pipeline.Watcher:
    def attempt(attempt: Attempt) -> None:
        trial = attempt.trial
        os.write(out, json.dumps([trial.prompt, trial.repeat]).encode() + b"\n")

    return pipeline.Watcher(
        say=lambda line: None, begin=lambda plan, already: None, attempt=attempt, read=lambda name, done, of: None
    )


def _forked(work: Callable[[int], None], kill_after_s: float | None = None) -> tuple[set[Trial], bool]:
    """Do it in a child, which may be killed; what it showed, and whether it was killed before its end."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        status = 1
        try:
            work(writing)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    with os.fdopen(reading, "rb") as pipe:
        lines = pipe.read().splitlines(keepends=True)
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status)
    assert killed or os.WEXITSTATUS(status) == 0, "the run itself failed"
    keys = (json.loads(line) for line in lines if line.endswith(b"\n"))
    return {Trial(provider="a", prompt=p, condition="default", repeat=r) for p, r in keys}, killed


def _answered(path: Path) -> dict[Trial, int]:
    """How many answers each trial has on record; a folder killed at birth has none."""
    found: dict[Trial, int] = {}
    if not (path / records.RECORDS).exists():
        return found
    for view in records.open_run(path).views():
        if view.outcome.status == "valid":
            found[view.trial] = found.get(view.trial, 0) + 1
    return found


def _holds(path: Path) -> bool:
    try:
        records.open_run(path).verify()
    except RunFolderError:
        return False
    return True


@contextmanager
def loopback() -> Iterator[str]:
    """The base URL of a server in a process of its own."""
    command = [sys.executable, str(LOOPBACK), "--latency-s", str(_LATENCY_S)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
