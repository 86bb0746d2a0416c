"""Runs and nights on an S3 server in, whether anything was lost out: kills, faults, two machines, a store that is down.

Everything is done by machines that share nothing but the store: each has a spool of its own. The server is moto's, on
loopback, behind a proxy that answers 503, breaks connections off before and after the server has heard of the request,
and is late. A record is acknowledged once the run has shown it.

    python tests/benchmarks/object_store.py [--kills 20] [--faults 0.2] [--seed 1]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from loopback import Call, Loopback, Pause, Reply, completion
from s3_host import BUCKET, Fault, S3Host, run_s3_host
from tempzero import records

_PROMPTS, _REPEATS = 8, 4
_RESULTS = f"s3://{BUCKET}/fleet"


@dataclass(kw_only=True)
class Machine:
    """One machine: a folder to work in, and a spool that no other has."""

    work: Path
    home: Path
    host: S3Host

    @property
    def environ(self) -> dict[str, str]:
        return {**os.environ, **self.host.environ, "XDG_STATE_HOME": str(self.home), "HOME": str(self.home)}

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command of tempzero, to its end."""
        return subprocess.run(
            [sys.executable, "-m", "tempzero", *arguments],
            cwd=self.work,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A run that prints a line for every record that it acknowledges; `arguments`: what to resume."""
        return subprocess.Popen(
            [sys.executable, __file__, "--as-machine", *arguments],
            cwd=self.work,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def forget(self) -> None:
        """The machine is gone, and with it its disk."""
        shutil.rmtree(self.home / "tempzero", ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--faults", type=float, default=0.2, help="share of requests to the store that go wrong")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--as-machine", nargs="*", metavar="RUN", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.as_machine is not None:
        _act_as_machine(chosen.as_machine)
        return
    rows: list[tuple[str, str]] = []
    with tempfile.TemporaryDirectory() as name, run_s3_host() as host, Loopback(_answer) as asked:
        folder, draw = Path(name), random.Random(chosen.seed)
        _write_workplace(folder, asked.base_url)

        def show(what: str, words: str) -> None:
            rows.append((what, words))
            print(f"{what}: {words}", flush=True)

        def machine(which: str) -> Machine:
            return Machine(work=folder, home=folder / "homes" / which, host=host)

        show("a run", _measure_run(machine("a"), machine("b")))
        show("kill -9, faults, resume", _measure_kills(machine, host, draw, chosen.kills, chosen.faults))
        show("the machine and its disk gone", _measure_gone(machine("a"), machine("b"), host))
        show("the store down from the middle on", _measure_outage(machine("a"), machine("b"), host))
        show("two machines on one run", _measure_two(machine("a"), machine("b")))
        show("nights, each on an empty machine", _measure_nights(machine, asked))
        show("prune", _measure_prune(machine("c"), host))
    width = max(len(what) for what, _ in rows)
    print("\n" + "\n".join(f"| {what:<{width}} | {words} |" for what, words in rows))
    sys.exit(any("LOST" in words or "WRONG" in words for _, words in rows))


def _answer(call: Call) -> Reply:
    reply = completion(f"answer to {call.prompt}" + (", by another model" if _CHANGED else ""))
    return Reply((Pause(1.0 if _SLOW else 0.03), *reply.steps))


_CHANGED: list[bool] = []
_SLOW: list[bool] = []


def _write_workplace(folder: Path, base_url: str) -> None:
    (folder / "prompts").mkdir()
    prompts = [{"id": f"p{i}", "prompt": f"question {i}"} for i in range(_PROMPTS)]
    (folder / "prompts" / "p.yaml").write_text(json.dumps({"family": "bench", "prompts": prompts}))
    provider = {"name": "a", "base_url": base_url, "model": "m", "repeats": _REPEATS, "concurrency": 1}
    (folder / "providers.yaml").write_text(
        json.dumps({"version": 1, "run": {"results": _RESULTS}, "providers": [provider]})
    )


def _act_as_machine(resumed: list[str]) -> None:
    """What the process that may be killed does: a run, or the rest of one."""
    import tempzero
    from tempzero.collect.watcher import Watcher
    from tempzero.records.store import lease

    if os.environ.get("TEMPZERO_BENCHMARK_GONE"):
        lease.GONE_AFTER = timedelta(0)

    def show(attempt: Any) -> None:
        print(json.dumps([attempt.trial.prompt, attempt.trial.repeat]), flush=True)

    watcher = Watcher(attempt=show, say=lambda line: print(line, file=sys.stderr, flush=True))
    started = tempzero.open_run(resumed[0]) if resumed else tempzero.load_config("providers.yaml")
    tempzero.run(started, check=False, watcher=watcher)


def _measure_run(a: Machine, b: Machine) -> str:
    began = time.monotonic()
    code = a.call("run", "--no-check").returncode
    took = time.monotonic() - began
    (here,) = _find_runs(a)
    url = f"{_RESULTS}/{here.name}"
    stored = _objects_of(a.host, here.name)
    same = all((here / name).read_bytes() == data for name, data in stored.items())
    seen = b.call("verify", url).returncode
    again = b.call("report", url).returncode
    equal = _objects_of(a.host, here.name) == stored
    wrong = "" if same and equal and (code, seen, again) == (0, 0, 0) else " WRONG"
    return (
        f"exit {code} in {took:.1f} s; {len(stored)} objects, {sum(map(len, stored.values())):,} bytes, the same as "
        f"here: {same}; verified from an empty machine: exit {seen}; reported there: exit {again}, the same bytes: "
        f"{equal}{wrong}"
    )


def _measure_kills(machine: Any, host: S3Host, draw: random.Random, kills: int, share: float) -> str:
    killed = acknowledged = lost = broken = incomplete = unlike = 0
    faults = dict.fromkeys(("busy", "cut", "answer lost", "slow"), 0)

    def misbehave(method: str, path: str) -> Fault:
        if draw.random() >= share:
            return ""
        kinds: tuple[Fault, ...] = ("busy", "cut", "answer lost", "slow")
        fault = draw.choices(kinds, (4, 4, 4, 1))[0]
        faults[fault] += 1
        return fault

    for number in range(kills):
        one = machine(f"kill-{number}")
        host.fault = misbehave
        shown, was_killed = _run_and_kill(one.start(), after_lines=draw.randrange(_PROMPTS * _REPEATS + 4), draw=draw)
        killed += was_killed
        runs = _find_runs(one)
        for here in runs:
            url = f"{_RESULTS}/{here.name}"
            lost += len(shown - _answered(here))
            for _ in range(8):  # a store that fails one request in five is asked until it has answered
                more, _killed = _run_and_kill(one.start(url), after_lines=None, draw=draw)
                shown |= more
                if len(_answered(here)) == _PROMPTS * _REPEATS:
                    break
            host.fault = lambda method, path: ""
            one.call("report", url)
            other = machine("reader")
            other.forget()
            broken += other.call("verify", url).returncode != 0
            there = _find_runs(other)
            lost += len(shown - _answered(there[0])) if there else len(shown)
            incomplete += not there or len(_answered(there[0])) < _PROMPTS * _REPEATS
            unlike += not there or (there[0] / "manifest.json").read_bytes() != (here / "manifest.json").read_bytes()
        acknowledged += len(shown)
        one.forget()
    said = ", ".join(f"{count} x {kind}" for kind, count in faults.items())
    wrong = " LOST" if lost else " WRONG" if broken or incomplete or unlike else ""
    return (
        f"{kills} runs, {killed} killed; requests that went wrong: {said}; {acknowledged} records acknowledged, {lost} "
        f"of them lost in the store at the end; {broken} runs not verified from another machine, {incomplete} not "
        f"complete, {unlike} unlike{wrong}"
    )


def _measure_gone(a: Machine, b: Machine, host: S3Host) -> str:
    """Killed for good: what the store has is what there is, and another machine goes on with it."""
    a.forget()
    b.forget()
    _SLOW.append(True)  # so that it is under way for longer than it takes to put what is there
    shown, _ = _run_and_kill(a.start(), after_lines=6, draw=random.Random(1))
    _SLOW.clear()
    (here,) = _find_runs(a)
    url = f"{_RESULTS}/{here.name}"
    a.forget()
    refused = b.call("run", "--resume", url, "--no-check")
    host_says = "is writing to it since" in refused.stderr
    os.environ["TEMPZERO_BENCHMARK_GONE"] = "1"
    more, _ = _run_and_kill(b.start(url), after_lines=None, draw=random.Random(1))
    del os.environ["TEMPZERO_BENCHMARK_GONE"]
    (there,) = _find_runs(b)
    whole = len(_answered(there)) == _PROMPTS * _REPEATS
    wrong = "" if whole and host_says and refused.returncode == 2 else " WRONG"
    return (
        f"of {len(shown)} acknowledged records {len(shown & more)} stood only in the open part and are asked again; "
        f"before ten minutes are over another machine is refused: exit {refused.returncode}; then it completes the "
        f"run: {whole}{wrong}"
    )


def _measure_outage(a: Machine, b: Machine, host: S3Host) -> str:
    a.forget()
    b.forget()
    _SLOW.append(True)  # so that it is under way for longer than it takes to see that it is
    running = subprocess.Popen(
        [sys.executable, "-m", "tempzero", "run", "--no-check"],
        cwd=a.work,
        env=a.environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    _await(lambda: any(_answered(run) for run in _find_runs(a)))
    host.fault = lambda method, path: "busy"
    _SLOW.clear()
    said = running.communicate()[1]
    code = running.returncode
    (here,) = _find_runs(a)
    host.fault = lambda method, path: ""
    whole = len(_answered(here)) == _PROMPTS * _REPEATS
    url = f"{_RESULTS}/{here.name}"
    put = a.call("report", url).returncode
    seen = b.call("verify", url).returncode
    wrong = "" if whole and (code, put, seen) == (2, 0, 0) and "not put yet" in said else " WRONG"
    last = next((part for part in said.split("; ") if "not put yet" in part), "nothing").partition(":")[0]
    return (
        f'the run goes on to its end: {whole}, exit {code}, "{last}"; `report` puts the rest: exit {put}; verified '
        f"from another machine: exit {seen}{wrong}"
    )


def _measure_two(a: Machine, b: Machine) -> str:
    a.forget()
    b.forget()
    _SLOW.append(True)
    running = a.start()
    assert running.stdout is not None
    running.stdout.readline()
    (here,) = _find_runs(a)
    _await(lambda: "manifest.json" in _objects_of(a.host, here.name))
    _SLOW.clear()
    running.send_signal(signal.SIGSTOP)  # it is under way, however long the second takes to start
    second = b.call("run", "--resume", f"{_RESULTS}/{here.name}", "--no-check")
    running.send_signal(signal.SIGCONT)
    running.communicate()
    after = b.call("verify", f"{_RESULTS}/{here.name}").returncode
    wrong = "" if (second.returncode, after) == (2, 0) and "is writing to it since" in second.stderr else " WRONG"
    return f"the second is refused: exit {second.returncode}; the first ends its run, verified: exit {after}{wrong}"


def _measure_nights(machine: Any, asked: Loopback) -> str:
    codes = []
    first = machine("night-0")
    first.call("run", "--no-check")
    (run,) = _find_runs(first)
    codes.append(first.call("baseline", "set", f"{_RESULTS}/{run.name}").returncode)
    for number in range(1, 4):
        if number == 3:
            _CHANGED.append(True)
        one = machine(f"night-{number}")
        codes.append(one.call("nightly", "--night", f"2026-03-0{number}", "--no-check").returncode)
    _CHANGED.clear()
    last = machine("night-4")
    told = last.call("history")
    stored = [path for path in first.host.objects() if "/history/" in path]
    evidence = [path for path in stored if path.endswith(".zip")]
    listed = told.stdout.count("2026-03-0")
    wrong = "" if codes == [0, 0, 0, 1] and evidence and told.returncode == 0 and listed else " WRONG"
    return (
        f"baseline and three nights end with {codes[0]}, {codes[1]}, {codes[2]} and, when the model is another, "
        f"{codes[3]}; evidence bundles in the store: {len(evidence)}; `history` on a fifth machine: exit "
        f"{told.returncode}{wrong}"
    )


def _measure_prune(c: Machine, host: S3Host) -> str:
    before = {path.split("/")[1] for path in host.objects() if path.endswith("/manifest.json")}
    packed = c.call("prune", "--keep", "1", "--compress").returncode
    gone = c.call("prune", "--keep", "1")
    after = {path.split("/")[1] for path in host.objects() if path.endswith("/manifest.json")}
    kept = {line.split(": ")[1] for line in gone.stdout.splitlines() if line.startswith("kept: ")}
    listed = c.call("index", _RESULTS).returncode
    c.forget()
    bad = sum(c.call("verify", f"{_RESULTS}/{run}").returncode != 0 for run in sorted(after))
    wrong = "" if (packed, gone.returncode, listed, bad) == (0, 0, 0, 0) and kept <= after < before else " WRONG"
    return (
        f"of {len(before)} runs {len(before - after)} removed, {len(after)} left, compressed and verified from an "
        f"empty machine: {len(after) - bad}; `index`: exit {listed}{wrong}"
    )


def _run_and_kill(
    running: subprocess.Popen[str], *, after_lines: int | None, draw: random.Random
) -> tuple[set[tuple[str, int]], bool]:
    """What it acknowledged, and whether it was killed before its end."""
    shown: set[tuple[str, int]] = set()
    killed = False
    assert running.stdout is not None
    for line in running.stdout:
        shown.add(tuple(json.loads(line)))
        if after_lines is not None and len(shown) >= after_lines:
            time.sleep(draw.uniform(0, 0.5))
            killed = running.poll() is None
            running.send_signal(signal.SIGKILL)
            after_lines = None
    running.communicate()
    return shown, killed


def _find_runs(machine: Machine) -> list[Path]:
    found = machine.home.glob("tempzero/spool/**/manifest.json")
    return sorted(file.parent for file in found)


def _answered(run: Path) -> set[tuple[str, int]]:
    with contextlib.suppress(Exception):
        return {(v.trial.prompt, v.trial.repeat) for v in records.open_run(run).views() if v.outcome.completion}
    return set()


def _objects_of(host: S3Host, run: str) -> dict[str, bytes]:
    below = f"fleet/{run}"
    return {path.removeprefix(f"{below}/"): data for path, data in host.objects(below).items()}


def _await(what: Any, seconds: float = 60) -> None:
    for _ in _ticks(seconds):
        if what():
            return
    raise TimeoutError("it did not happen")


def _ticks(seconds: float) -> Iterator[None]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(0.05)


if __name__ == "__main__":
    main()
