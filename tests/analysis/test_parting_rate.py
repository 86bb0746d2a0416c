"""The rate at which texts part, for every 1,000 tokens they share: counted by hand, and found where it is planted."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from loopback import Call, Loopback, Reply, completion
from tempzero import stats
from tempzero.cli import main


def answer_with(text: str) -> Reply:
    """A text of as many tokens as it has words."""
    words = len(text.split())
    usage = {"prompt_tokens": 5, "completion_tokens": words, "total_tokens": 5 + words}
    return completion(text, usage=usage)


def rates(folder: Path, repeats: int, prompts: int, **hosts: Callable[[Call], Reply]) -> dict[tuple[str, str], Any]:
    """The figure of each provider and pair."""
    servers = {name: Loopback(host) for name, host in hosts.items()}
    for server in servers.values():
        server.__enter__()
    try:
        entries = [
            {"name": n, "base_url": s.base_url, "model": "m", "repeats": repeats, "max_tokens": 4000}
            for n, s in servers.items()
        ]
        asked = [{"id": f"p{n}", "prompt": f"question {n}"} for n in range(prompts)]
        (folder / "p.yaml").write_text(yaml.safe_dump({"family": "t", "prompts": asked}))
        settings = {"version": 1, "run": {"prompts": "p.yaml"}, "providers": entries}
        (folder / "providers.yaml").write_text(yaml.safe_dump(settings))
        main(["run", "--config", str(folder / "providers.yaml"), "--no-check"])
    finally:
        for server in servers.values():
            server.__exit__(None, None, None)
    summary = json.loads((next((folder / "results").iterdir()) / "summary.json").read_text())
    found = [f for f in summary["figures"] if f["metric"] == "partings_per_1000_tokens" and f["part"] == "whole"]
    return {(f["left"], f["right"] or ""): f for f in found}


def test_the_rate_is_partings_over_shared_tokens(tmp_path: Path) -> None:
    """Two prompts part after 30 of their characters, two never in 40: 2 events in 2 x 3 + 2 x 4 tokens."""
    one, other = "aaaaaaaaa " * 4, "aaaaaaaaa " * 3 + "bbbbbbbbb "

    def host(call: Call) -> Reply:
        return answer_with(other if int(call.prompt[-1]) < 2 and call.nth == 2 else one)

    found = rates(tmp_path, 2, 4, a=host)[("a", "")]
    assert found["value"] == pytest.approx(1000 * 2 / (2 * 3 + 2 * 4))
    assert found["low"] < found["value"] < found["high"]


def test_a_planted_rate_is_found_between_two_hosts(tmp_path: Path) -> None:
    """Each token parts with a chance of 1 in 100, whatever the length of the answers: 10 for every 1,000."""

    def host(seed: int) -> Callable[[Call], Reply]:
        def answer(call: Call) -> Reply:
            draw = random.Random(f"{seed} {call.prompt}")
            length = 40 + 20 * (int(call.prompt.split()[-1]) % 8)
            words = ["same"] * length
            parts = next((n for n in range(length) if draw.random() < 0.01), None)
            if parts is not None:
                words[parts:] = [f"word{seed}"] * (length - parts)
            return answer_with(" ".join(words))

        return answer

    def steady(call: Call) -> Reply:
        return answer_with(" ".join(["same"] * (40 + 20 * (int(call.prompt.split()[-1]) % 8))))

    found = rates(tmp_path, 1, 120, a=host(1), b=steady)[("a", "b")]
    assert found["low"] < 10 < found["high"]
    assert found["n"] == 120


def test_nothing_that_parted_leaves_a_limit() -> None:
    """No event in 3,000 tokens: at most one in a thousand, once in twenty times."""
    estimate = stats.rate_over_prompts(np.zeros(30), np.full(30, 100.0), per=1000)
    assert (estimate.value, estimate.low) == (0.0, 0.0)
    assert estimate.high == pytest.approx(1.0, rel=0.01)
    assert stats.rate_over_prompts(np.zeros(3), np.zeros(3)).value is None
