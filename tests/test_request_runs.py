"""Requests as prompts, providers and conditions want them, seen at the host that they come to."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from honest_host import HonestHost
from loopback import Call, Loopback, Reply, completion, error
from tempzero.cli import main
from tempzero.records import open_run


def workplace(folder: Path, base_url: str, prompts: str | list[Any], *, conditions: Any = (), **fields: Any) -> Path:
    asked = prompts
    if isinstance(prompts, list):
        asked = "prompts.yaml"
        (folder / "prompts.yaml").write_text(yaml.safe_dump({"family": "t", "prompts": prompts}))
    entry = {"name": "a", "base_url": base_url, "model": "m", "repeats": 1, "max_tokens": 20, **fields}
    settings: dict[str, Any] = {"version": 1, "run": {"prompts": asked}, "providers": [entry]}
    file = folder / "providers.yaml"
    file.write_text(yaml.safe_dump(settings | ({"conditions": conditions} if conditions else {})))
    return file


def run(file: Path, *more: str) -> Path:
    main(["run", "--config", str(file), "--no-check", *more])
    return next((file.parent / "results").iterdir())


def test_provider_prompt_and_condition_are_laid_over_each_other_on_the_wire(tmp_path: Path) -> None:
    """The order is the one that is written down: a condition is a factor only where it has the last word."""
    prompts = [
        {"id": "p", "prompt": "q", "request": {"verbosity": "low", "provider": {"sort": "price"}, "top_p": None}}
    ]
    conditions = [{"name": "plain"}, {"name": "warm", "request": {"verbosity": "high", "temperature": 1}}]
    with Loopback() as server:
        file = workplace(
            tmp_path,
            server.base_url,
            prompts,
            conditions=conditions,
            request={"provider": {"only": ["x"]}, "verbosity": "medium"},
        )
        run(file)
        plain, warm = sorted((call.json for call in server.calls), key=lambda sent: sent["temperature"])
    both = {"provider": {"only": ["x"], "sort": "price"}, "seed": 7, "max_tokens": 20, "model": "m"}
    said = {"messages": [{"role": "user", "content": "q"}]}
    assert plain == {**said, **both, "temperature": 0, "verbosity": "low"}
    assert warm == {**said, **both, "temperature": 1, "verbosity": "high"}


def effort_tokens(asked: Any) -> int:
    return {"low": 3, "high": 30}.get(asked.get("reasoning_effort"), 10)


def test_effort_and_thinking_are_a_factor(tmp_path: Path) -> None:
    """Does effort high change more than rounding would: its size is told, and nobody is accused of what was asked."""
    prompts = [{"id": f"p{i}", "prompt": f"Count {i}"} for i in range(8)]
    conditions = [{"name": name, "reasoning": {"effort": name}} for name in ("none", "low", "high")]
    thinking = {
        "max_tokens": 512,
        "sends": {"none": {"thinking": {"type": "disabled"}}},
    }
    host = HonestHost(reasoning=lambda asked: 0 if "thinking" in asked else effort_tokens(asked))
    with Loopback(host) as server:
        file = workplace(tmp_path, server.base_url, prompts, conditions=conditions, reasoning=thinking, repeats=2)
        folder = run(file)
        sent = Counter(
            (call.json.get("reasoning_effort"), "thinking" in call.json, call.json["max_tokens"])
            for call in server.calls
        )
    assert sent == {(None, True, 20): 16, ("low", False, 532): 16, ("high", False, 532): 16}
    summary = json.loads((folder / "summary.json").read_text())
    assert not [finding for finding in summary["findings"] if finding["rule"] == "conditions_differ"]
    report = (folder / "report.md").read_text()
    assert 'under "low" against "high", which ask otherwise' in report
    assert "that is a difference beyond chance" in report
    assert "reasoning_effort" in report


def test_the_dry_run_counts_room_for_reasoning(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What a thinking model may write is paid for: a plan that leaves it out is ten times too cheap."""
    price = {"input_per_mtok": 0, "output_per_mtok": 1_000_000}
    thinking = {"effort": "high", "max_tokens": 1000}
    file = workplace(tmp_path, "http://127.0.0.1:9/v1", [{"id": "p", "prompt": "q"}], reasoning=thinking, price=price)
    assert main(["run", "--config", str(file), "--dry-run"]) == 0
    said = capfd.readouterr().out
    assert "$1020.0000" in said
    assert "1000 are room for reasoning" in said


def test_a_picture_and_a_developer_reach_the_host_as_they_stand(tmp_path: Path) -> None:
    """The very bytes of the picture, in the form that the API reads."""
    data = b"\x89PNG\r\n\x1a\n\x00\x01\x02"
    (tmp_path / "dot.png").write_bytes(data)
    parts = [{"type": "text", "text": "What?"}, {"type": "image", "file": "dot.png"}]
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}]
    with Loopback(lambda call: completion("a dot")) as server:
        run(workplace(tmp_path, server.base_url, [{"id": "p", "messages": messages}]))
        sent = server.calls[0].json["messages"]
    assert sent[0] == {"role": "developer", "content": "Be brief."}
    assert sent[1]["content"][1]["image_url"]["url"] == "data:image/png;base64,iVBORw0KGgoAAQI="


WHOLE = {
    "messages": [{"role": "user", "content": "q", "refusal": None}],
    "temperature": 0.6,
    "stop": None,
    "max_tokens": 4000,
}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({}, {**WHOLE, "model": "m"}),
        ({"temperature": None}, {k: v for k, v in {**WHOLE, "model": "m"}.items() if k != "temperature"}),
        (
            {"request": {"provider": {"only": ["x"]}, "temperature": 0.1}},
            {**WHOLE, "model": "m", "provider": {"only": ["x"]}},
        ),
        (
            {"parameter_names": {"max_tokens": "max_completion_tokens"}},
            {k: v for k, v in {**WHOLE, "model": "m", "max_completion_tokens": 4000}.items() if k != "max_tokens"},
        ),
        ({"reasoning": {"max_tokens": 999}}, {**WHOLE, "model": "m"}),
        ({"stream": True}, {**WHOLE, "model": "m", "stream": True, "stream_options": {"include_usage": True}}),
    ],
)
def test_a_whole_request_is_sent_as_it_is(tmp_path: Path, entry: dict[str, Any], expected: dict[str, Any]) -> None:
    """Nulls, temperature and limit included: but for what must be the asked provider's own."""
    (tmp_path / "set.jsonl").write_text(json.dumps({"model": "other", **WHOLE}) + "\n")
    with Loopback() as server:
        folder = run(workplace(tmp_path, server.base_url, "set.jsonl", **entry))
        sent = server.calls[0].json
    assert sent == expected
    (record,) = open_run(folder).records()
    assert record.attempt.trial.prompt == "set-1"


def test_a_whole_request_without_a_limit_gets_the_provider_s(tmp_path: Path) -> None:
    """Without one nobody could say what a run may cost."""
    (tmp_path / "set.jsonl").write_text(json.dumps({"messages": WHOLE["messages"], "stream": True}) + "\n")

    def answer(call: Call) -> Reply:
        return completion("yes")

    with Loopback(answer) as server:
        run(workplace(tmp_path, server.base_url, "set.jsonl"))
        assert server.calls[0].json["max_tokens"] == 20
        assert server.calls[0].json["stream"] is True


def test_a_run_that_was_interrupted_goes_on_with_the_same_requests(tmp_path: Path) -> None:
    """Fields of prompt and condition are kept in the run's folder, bodies too: nothing is read from the files again."""
    (tmp_path / "set.jsonl").write_text("".join(json.dumps({**WHOLE, "user": str(n)}) + "\n" for n in range(4)))
    conditions = [{"name": "c", "request": {"service_tier": "flex"}}]
    with Loopback() as server:
        file = workplace(tmp_path, server.base_url, "set.jsonl", conditions=conditions)
        folder = run(file, "--max-requests", "2")
        (tmp_path / "set.jsonl").unlink()
        assert main(["run", "--resume", str(folder), "--no-check"]) in (0, 1, 3)
        assert sorted(call.json["user"] for call in server.calls) == ["0", "1", "2", "3"]
        assert {call.json["service_tier"] for call in server.calls} == {"flex"}


def test_an_effort_that_a_host_refuses_is_told_or_left_out(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`check` names the line that helps, and with it a run asks without, and says so."""

    def answer(call: Call) -> Reply:
        if call.method == "POST" and "reasoning_effort" in call.json:
            return error(400, "Unsupported parameter: 'reasoning_effort' is not supported with this model.")
        return completion("yes")

    with Loopback(answer) as server:
        entry = {"reasoning": {"effort": "low"}}
        file = workplace(tmp_path, server.base_url, [{"id": "p", "prompt": "q"}], **entry)
        main(["check", "--config", str(file)])
        assert "may_drop: [reasoning_effort]" in " ".join(capfd.readouterr().out.split())
        file = workplace(
            tmp_path, server.base_url, [{"id": "p", "prompt": "q"}], **entry, may_drop=["reasoning_effort"]
        )
        main(["run", "--config", str(file)])
        assert "reasoning_effort" not in server.calls[-1].json
    report = (next((tmp_path / "results").iterdir()) / "report.md").read_text()
    assert "it refuses reasoning_effort; asked without, as may_drop allows" in report
