"""What `check` tells of log-probabilities: how many a host gives, rounded to what, whose, and why there are none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from honest_host import HonestHost
from loopback import Call, Loopback, Reply, completion, error
from tempzero.cli import main


def listed(*values: float) -> Reply:
    tokens = [{"token": f"t{n}", "logprob": value} for n, value in enumerate(values)]
    return completion("yes", choice={"logprobs": {"content": [{"token": "t0", "top_logprobs": tokens}]}})


def at_most_five(asked: dict[str, Any]) -> Reply:
    if asked["top_logprobs"] > 5:
        return error(400, "top_logprobs must be between 0 and 5")
    return listed(*[-0.51 - n for n in range(asked["top_logprobs"])])


def of_the_model(asked: dict[str, Any]) -> Reply:
    return listed(*[-0.1234567 - n for n in range(asked["top_logprobs"])])


def sampled(asked: dict[str, Any]) -> Reply:
    if asked["temperature"] == 0:
        return listed(0.0, *[-9999.0] * (asked["top_logprobs"] - 1))
    return listed(*[-0.1234567 - n for n in range(asked["top_logprobs"])])


def refused(_: dict[str, Any]) -> Reply:
    return error(400, "logprobs are not supported by this model")


def none_at_all(_: dict[str, Any]) -> Reply:
    return completion("yes")


@pytest.mark.parametrize(
    ("giving", "told", "requests"),
    [
        (of_the_model, "20", 1),
        (at_most_five, "5, rounded to 0.01", 4),
        (sampled, "20, sampled", 2),
        (none_at_all, "none", 0),
        (refused, "none", 0),
    ],
)
def test_a_host_is_asked_for_as_many_as_it_gives(
    giving: Callable[[dict[str, Any]], Reply],
    told: str,
    requests: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What a fingerprint can do depends on how many, how exact and whose they are; a look costs a few requests."""
    honest, asked = HonestHost(), list[int]()

    def answer(call: Call) -> Reply:
        if call.method == "POST" and call.json.get("logprobs"):
            asked.append(call.json["top_logprobs"])
            return giving(call.json)
        return honest(call)

    with Loopback(answer) as server:
        file = tmp_path / "providers.yaml"
        entry = {"name": "a", "base_url": server.base_url, "model": "m"}
        file.write_text(yaml.safe_dump({"version": 1, "providers": [entry]}))
        main(["check", "--config", str(file), "--json"])
    (row,) = json.loads(capsys.readouterr().out)["providers"]
    assert row["top_logprobs"] == told
    assert len(asked) == 1 + requests  # the first of them sees whether there are any
