"""Ten nights killed at random moments and called again in, how they differ from ten undisturbed ones out.

Each night is killed with SIGKILL at a random moment, up to three times, from before its folder exists to after its
end; then it is called once more. The eighth night finds another model under one name. What must be equal is what the
history says: texts, states, p-values, evidence, events and messages; and no answered trial may be asked again but
those whose record was not written yet.

    python tests/benchmarks/nightly_kill.py [--rounds 1] [--seed 1]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parent.parent))

from loopback import Call, Loopback, Reply, after, completion
from tempzero import records
from tempzero.cli import main as command
from tempzero.nightly import history

PROMPTS, NIGHTS, SWAPPED_FROM = 8, 10, 8
# From the fork to after the end of a night on an idle machine.
KILLED_WITHIN_S = 2.5


def answer(call: Call, *, swapped: bool) -> Reply:
    """steady gives one text a prompt, noisy one of three by the request's seed: the same one if asked again."""
    if swapped and call.model == "steady":
        return after(0.02, completion(f"otherwise {call.prompt}", model=call.model))
    variant = f" {int(call.json.get('seed') or 0) % 3}" if call.model == "noisy" else ""
    return after(0.02, completion(f"answer to {call.prompt}{variant}", model=call.model))


def workplace(folder: Path, base_url: str) -> Path:
    (folder / "prompts").mkdir(parents=True)
    prompts = [{"id": f"q{i}", "prompt": f"q{i}"} for i in range(PROMPTS)]
    (folder / "prompts" / "test.yaml").write_text(yaml.safe_dump({"family": "test", "prompts": prompts}))
    providers = [
        {"name": name, "base_url": base_url, "model": name, "claims": {"model": "x"}} for name in ("steady", "noisy")
    ]
    file = folder / "providers.yaml"
    settings = {"version": 1, "defaults": {"repeats": 3, "max_tokens": 16}, "providers": providers}
    file.write_text(yaml.safe_dump(settings))
    return file


def forked(arguments: list[str], kill_after_s: float | None = None) -> int | None:
    """Run the command in a child; its exit code, or None where it was killed before its end."""
    child = os.fork()
    if child == 0:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            os._exit(command(arguments))
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return None if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def ten_nights(folder: Path, moments: random.Random | None) -> tuple[list[Any], int, int]:
    """What the history says, how many calls were killed in time, and how many requests were sent."""
    killed = 0
    with Loopback() as server:
        file = workplace(folder, server.base_url)
        for number in range(1, NIGHTS + 1):
            server.answer = partial(answer, swapped=number >= SWAPPED_FROM)
            night = f"2026-01-{number:02}"
            asked = ["nightly", "--config", str(file), "--night", night]
            for _ in range(moments.randint(1, 3) if moments else 0):
                killed += forked(asked, moments.uniform(0, KILLED_WITHIN_S)) is None if moments else 0
            forked(asked)
            if number == 1:
                (run,) = (folder / "results").glob(f"*Z-run-{night}")
                forked(["baseline", "set", str(run), "--config", str(file)])
        requests = len(server.calls)
    results = folder / "results"
    assert all(records.open_run(path).verify() for path in results.glob("*Z-*"))
    assert len(list(results.glob("*Z-*"))) == NIGHTS
    return said(results), killed, requests


def said(results: Path) -> list[Any]:
    """The history without clock times, run names and what is named after them."""
    nights = history.read_nights(results)
    decided = [
        (n.night, e.side.provider, e.side.texts, e.side.answered, d.state, d.p_value, d.window, d.evidence, d.since)
        for n in nights
        for e in n.entries
        for d in (e.decision,)
    ]
    told = [(n.id, n.title) for n in history.find_notices(nights, no_data_nights=2)]
    return [decided, told]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    moments = random.Random(chosen.seed)
    with tempfile.TemporaryDirectory() as name:
        whole, _, fewest = ten_nights(Path(name) / "whole", None)
        for number in range(chosen.rounds):
            found, killed, requests = ten_nights(Path(name) / f"killed-{number}", moments)
            same = "equal" if found == whole else "DIFFERENT"
            print(f"{killed} calls killed in time; history {same}; {requests} requests instead of {fewest}", flush=True)
            if found != whole:
                raise SystemExit(1)
        print(f"{len(whole[1])} messages: {', '.join(id_ for id_, _ in whole[1])}")


if __name__ == "__main__":
    main()
