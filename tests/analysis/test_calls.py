"""Calls of tools and structured outputs as figures: each counted once more from what the host really sent."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import yaml
from loopback import Call, Loopback, Reply, chunk_values, completion, stream
from making import chain_file
from tempzero import stats
from tempzero.cli import main

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def calling(*calls: tuple[str, str]) -> Reply:
    made = [
        {"id": f"c{n}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for n, (name, arguments) in enumerate(calls)
    ]
    return completion(None, finish_reason="tool_calls", message={"tool_calls": made})


def run(folder: Path, prompts: str, answers: Mapping[str, Callable[[Call], Reply]], **run_section: Any) -> Any:
    """The summary of a run of these hosts, each asked once; `entry` adds to the entry of each."""
    more = run_section.pop("entry", {})
    servers = {name: Loopback(answer) for name, answer in answers.items()}
    for server in servers.values():
        server.__enter__()
    try:
        entries = [
            {"name": name, "base_url": server.base_url, "model": "m", "repeats": 1, **more}
            for name, server in servers.items()
        ]
        settings = {"version": 1, "run": {"prompts": prompts, **run_section}, "providers": entries}
        (folder / "providers.yaml").write_text(yaml.safe_dump(settings))
        main(["run", "--config", str(folder / "providers.yaml"), "--no-check"])
    finally:
        for server in servers.values():
            server.__exit__(None, None, None)
    return json.loads((next((folder / "results").iterdir()) / "summary.json").read_text())


def figures(summary: Any, left: str) -> dict[str, Any]:
    """The figures of a provider over all prompts, by metric."""
    return {
        f["metric"]: f
        for f in summary["figures"]
        if f["left"] == left and f["family"] is None and f["kind"] in ("calls", "reference")
    }


def test_calls_are_counted_as_a_program_would_get_them(tmp_path: Path) -> None:
    """Left in the text, another tool, no JSON, a wrong type, one too many: each costs what it costs, and no more."""
    replies = {
        "good": calling(("get_weather", '{"days": 2, "city": "Oslo"}')),
        "text": completion('<tool_call>{"name": "get_weather"}</tool_call>'),
        "other": calling(("get_time", "{}")),
        "torn": calling(("get_weather", '{"city": "Os')),
        "typed": calling(("get_weather", '{"city": 5}')),
        "twice": calling(("get_weather", '{"city": "Oslo"}'), ("get_weather", '{"city": "Oslo"}')),
    }
    prompts = [
        {"id": name, "prompt": f"What about {name}?", "expected": 'get_weather({"city": "Oslo", "days": 2})'}
        for name in replies
    ]
    head = {"family": "t", "tools": [WEATHER], "extractor": "tool_call", "prompts": prompts}
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(head))
    summary = run(tmp_path, "p.yaml", {"a": lambda call: replies[call.prompt.split()[-1].rstrip("?")]})
    found = {name: (one["value"], one["n"]) for name, one in figures(summary, "a").items()}
    assert found["called_share"] == (pytest.approx(5 / 6), 6)
    assert found["calls_left_in_text"] == (pytest.approx(1 / 6), 6)
    assert found["arguments_parsed"] == (pytest.approx(4 / 5), 5)
    assert found["calls_valid"] == (pytest.approx(2 / 5), 5)
    assert found["right_tool"] == (pytest.approx(3 / 6), 6)
    assert found["right_call"] == (pytest.approx(1 / 6), 6)
    report = (next((tmp_path / "results").iterdir()) / "report.md").read_text()
    assert "Do tools and formats hold?" in report
    assert "Calls fit the schema" in report


def test_streamed_calls_without_their_index_are_a_share(tmp_path: Path) -> None:
    """A client joins pieces by their index: how often it could not stands beside how often tools are called."""

    def answer(call: Call) -> Reply:
        made: dict[str, Any] = {"id": "c", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
        if "one" not in call.prompt:
            made["index"] = 0
        role, end, usage = chunk_values(finish_reason="tool_calls")
        piece = {**role, "choices": [{"index": 0, "delta": {"tool_calls": [made]}, "finish_reason": None}]}
        return stream(role, piece, end, usage)

    prompts = [{"id": name, "prompt": f"What about {name}?"} for name in ("one", "two", "three", "four")]
    (tmp_path / "p.yaml").write_text(yaml.safe_dump({"family": "t", "tools": [WEATHER], "prompts": prompts}))
    found = figures(run(tmp_path, "p.yaml", {"a": answer}, entry={"stream": True}), "a")
    assert (found["called_share"]["value"], found["calls_unindexed"]["value"]) == (1.0, 0.25)


def test_formats_are_held_against_what_was_asked(tmp_path: Path) -> None:
    """A fence, a word before it, a list where an object was to be: the program behind the API has no JSON then."""
    texts = {
        "good": '{"city": "Oslo"}',
        "fence": '```json\n{"city": "Oslo"}\n```',
        "word": 'Here: {"city": "Oslo"}',
        "list": "[1]",
        "typed": '{"city": 5}',
    }
    by_schema = {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}}
    prompts = [
        {"id": f"{kind}-{name}", "prompt": f"{kind} {name}", "request": {"response_format": asked}}
        for kind, asked in (("mode", {"type": "json_object"}), ("schema", by_schema))
        for name in texts
    ]
    plain = {"id": "plain", "prompt": "plain good"}
    (tmp_path / "p.yaml").write_text(yaml.safe_dump({"family": "t", "prompts": [*prompts, plain]}))
    summary = run(tmp_path, "p.yaml", {"a": lambda call: completion(texts[call.prompt.split()[-1]])})
    found = figures(summary, "a")
    # In JSON mode: good and typed. By the schema, JSON is good, list and typed; the schema allows good alone.
    assert (found["json_parsed"]["value"], found["json_parsed"]["n"]) == (pytest.approx(5 / 10), 10)
    assert (found["json_valid"]["value"], found["json_valid"]["n"]) == (pytest.approx(1 / 5), 5)
    assert found["json_valid"]["low"] < 1 / 5 < found["json_valid"]["high"]
    assert "called_share" not in found


# --- as vendor verifiers count ------------------------------------------------------------------

OFFICIAL = ["call"] * 20 + ["text"] * 10
VENDOR = ["call"] * 14 + ["torn"] * 2 + ["text"] * 4 + ["call"] * 3 + ["text"] * 7


def vendor(kinds: list[str]) -> Callable[[Call], Reply]:
    replies = {
        "call": calling(("get_weather", '{"city": "Oslo"}')),
        "torn": calling(("get_weather", '{"town": "Oslo"}')),
        "text": completion("Sunny."),
    }
    return lambda call: replies[kinds[int(call.prompt.split()[-1])]]


def count_as_verifiers_do(bodies: list[Any]) -> Counter[str]:
    """The counts of K2-Vendor-Verifier's summary, by its own definitions, from the responses themselves."""
    counts: Counter[str] = Counter()
    for body in bodies:
        choice = body["choices"][0]
        reason = choice["finish_reason"]
        counts["finish_stop" if reason == "stop" else "finish_tool_calls"] += 1
        if reason == "tool_calls":
            try:
                for call in choice["message"]["tool_calls"]:
                    arguments = json.loads(call["function"]["arguments"])
                    jsonschema.validate(arguments, WEATHER["function"]["parameters"])  # type: ignore[index]
            except (ValueError, jsonschema.ValidationError):
                counts["schema_validation_error_count"] += 1
            else:
                counts["successful_tool_call_count"] += 1
    return counts


def test_a_vendor_s_set_gives_the_counts_that_its_script_defines(tmp_path: Path) -> None:
    """Their request file as it is, an official endpoint as the reference: schema accuracy and F1 of calling at all."""
    lines = [
        {"messages": [{"role": "user", "content": f"question {n}"}], "tools": [WEATHER], "temperature": 0.6,
         "max_tokens": 64000, "stream": False}
        for n in range(30)
    ]  # fmt: skip
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    hosts = {"official": vendor(OFFICIAL), "a": vendor(VENDOR)}
    summary = run(tmp_path, "samples.jsonl", hosts, reference="official")
    records = chain_file(next((tmp_path / "results").iterdir())).read_text().splitlines()
    exchanges = [json.loads(line)["attempt"] for line in records]
    bodies = [json.loads(e["exchange"]["response"]["body"]) for e in exchanges if e["trial"]["provider"] == "a"]
    counts, found = count_as_verifiers_do(bodies), figures(summary, "a")
    assert counts == {
        "finish_stop": 11,
        "finish_tool_calls": 19,
        "schema_validation_error_count": 2,
        "successful_tool_call_count": 17,
    }
    assert round(found["called_share"]["value"] * found["called_share"]["n"]) == counts["finish_tool_calls"]
    valid = found["calls_valid"]
    assert round(valid["value"] * valid["n"]) == counts["successful_tool_call_count"]
    assert valid["n"] == counts["finish_tool_calls"]
    called = [[kind != "text" for kind in kinds] for kinds in (OFFICIAL, VENDOR)]
    true_positive = sum(a and b for a, b in zip(*called, strict=True))
    wrong = sum(a != b for a, b in zip(*called, strict=True))
    assert found["call_f1"]["value"] == pytest.approx(2 * true_positive / (2 * true_positive + wrong))
    assert found["call_f1"]["low"] < found["call_f1"]["value"] < found["call_f1"]["high"]


def verifier_result(number: int, kind: str) -> dict[str, Any]:
    """A line of the results that the K2 verifier writes of one request."""
    messages: dict[str, Any] = {
        "call": {"tool_calls": [{"id": "functions.get_weather:0", "type": "function",
                                 "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}]},
        "text": {"content": "Sunny."},
    }  # fmt: skip
    reason = "tool_calls" if kind == "call" else "stop"
    choice = {"index": 0, "finish_reason": reason, "message": {"role": "assistant", "content": "", **messages[kind]}}
    request = {"model": "kimi", "messages": [{"role": "user", "content": f"question {number}"}], "tools": [WEATHER]}
    response = {"id": f"x{number}", "object": "chat.completion", "created": 1, "model": "kimi", "choices": [choice]}
    told = {"status": "success", "finish_reason": reason, "tool_calls_valid": kind == "call", "duration_ms": 9}
    times = {"last_run_at": "2025-11-15T00:00:00", "hash": f"h{number}"}
    return {"data_index": number + 1, "request": request, "response": response, **told, **times}


def test_an_official_run_that_a_verifier_recorded_stands_beside_a_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their result file is imported, the request file asked of a host, and every count is that of their own script."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    written = "".join(json.dumps(verifier_result(n, kind)) + "\n" for n, kind in enumerate(OFFICIAL))
    (theirs / "official_results.jsonl").write_text(written)
    monkeypatch.chdir(theirs)
    assert main(["import", "official_results.jsonl"]) == 0
    (imported,) = (theirs / "results").iterdir()
    line = {"tools": [WEATHER], "check_type": ["tool_calls"]}
    asked = [{"messages": [{"role": "user", "content": f"question {n}"}], **line} for n in range(30)]
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps(one) + "\n" for one in asked))
    kinds = [*VENDOR[:29], "cut"]
    cut = completion("Sunny and", finish_reason="length")
    answer = vendor(VENDOR)
    with Loopback(lambda call: cut if kinds[int(call.prompt.split()[-1])] == "cut" else answer(call)) as server:
        claims = {"claims": {"model": "kimi"}, "repeats": 1}
        settings = {
            "version": 1,
            "run": {"prompts": "samples.jsonl"},
            "providers": [
                {"name": "official", "replay": {"run": str(imported), "provider": "official"}, **claims},
                {"name": "a", "base_url": server.base_url, "model": "m", **claims},
            ],
        }
        (tmp_path / "providers.yaml").write_text(yaml.safe_dump(settings))
        main(["run", "--config", str(tmp_path / "providers.yaml"), "--no-check"])
    (folder,) = (tmp_path / "results").iterdir()
    with (folder / "tables" / "call_counts.csv").open() as table:
        rows = {row["provider"]: row for row in csv.DictReader(table)}
    wanted = {
        "official": {"finish_stop": "10", "finish_tool_calls": "20", "finish_others": "0", "calls_valid": "20"},
        "a": {"finish_stop": "10", "finish_tool_calls": "19", "finish_others": "1", "calls_valid": "17"},
    }
    for name, counts in wanted.items():
        assert {key: rows[name][key] for key in counts} == counts
    assert (rows["a"]["others"], rows["a"]["calls_invalid"], rows["a"]["failed"]) == ("length 1", "2", "0")
    summary = json.loads((folder / "summary.json").read_text())
    (f1,) = [f["value"] for f in summary["figures"] if f["metric"] == "call_f1" and f["family"] is None]
    called = [[kind in ("call", "torn") for kind in of] for of in (OFFICIAL, kinds)]
    both = sum(a and b for a, b in zip(*called, strict=True))
    wrong = sum(a != b for a, b in zip(*called, strict=True))
    assert f1 == pytest.approx(2 * both / (2 * both + wrong))


def test_the_interval_of_a_ratio_covers_it() -> None:
    """F1 is one number over all prompts; its interval must hold the true one 19 times of 20."""
    draw = np.random.default_rng(5)
    official, vendor_calls = draw.random((2, 200_000))
    truth = 2 * 0.6 * 0.9 / (0.6 + (0.6 * 0.9 + 0.4 * 0.2))
    hits = 0
    for run_ in range(400):
        rows = slice(run_ * 100, run_ * 100 + 100)
        right = (official[rows] < 0.6).astype(float)
        said = np.where(right > 0, vendor_calls[rows] < 0.9, vendor_calls[rows] < 0.2).astype(float)
        estimate = stats.ratio_over_prompts(2 * right * said, right + said)
        hits += (estimate.low or 0) <= truth <= (estimate.high or 1)
    assert hits / 400 > 0.92
    same = stats.ratio_over_prompts(np.full(20, 2.0), np.full(20, 2.0))
    assert (same.value, same.high) == (1.0, 1.0)
    assert 0.8 < (same.low or 0) < 0.9
    assert stats.ratio_over_prompts(np.zeros(3), np.zeros(3)).value is None
