"""Logs of Inspect, as one JSON document and as a zip of samples."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from exchanging import keys_and_texts, take_in, views
from tempzero.errors import ExchangeError
from tempzero.types.asked import Message


def sample(identity: int, epoch: int, text: str, **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "source": "generate"}
    return {
        "id": identity,
        "epoch": epoch,
        "input": f"question {identity}",
        "target": "4",
        "output": {
            "model": "gpt-4o-2024-08-06",
            "choices": [{"message": message, "stop_reason": "stop"}],
            "completion": text,
            "usage": {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18},
            "time": 1.5,
        },
        "started_at": "2026-01-02T03:04:05+00:00",
        "uuid": f"u{identity}-{epoch}-{more.pop('log', 0)}",
        "events": [{"event": "large"}],
        **more,
    }


def log(samples: list[dict[str, Any]], **spec: Any) -> dict[str, Any]:
    eval_spec = {
        "task": "sums",
        "created": "2026-01-02T03:00:00+00:00",
        "model": "openai/gpt-4o",
        "dataset": {},
        "config": {"epochs": 2},
        "model_generate_config": {"temperature": 0.0, "max_tokens": 100},
        **spec,
    }
    return {"version": 2, "status": "success", "eval": eval_spec, "plan": {}, "samples": samples}


SAMPLES = [sample(1, 1, "four"), sample(2, 1, "five"), sample(1, 2, "4"), sample(2, 2, "five")]


def write_json(path: Path, value: dict[str, Any]) -> Path:
    path.write_text(json.dumps(value, indent=2))
    return path


def write_eval(path: Path, value: dict[str, Any], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("header.json", json.dumps({k: v for k, v in value.items() if k != "samples"}))
        for one in value["samples"]:
            archive.writestr(f"samples/{one['id']}_epoch_{one['epoch']}.json", json.dumps(one))
        archive.writestr("summaries.json", "[]")
    return path


@pytest.mark.parametrize("write", [write_json, write_eval])
def test_a_log_is_read_either_way(tmp_path: Path, write: Any) -> None:
    """The document and the zip hold the same."""
    path = write(tmp_path / ("log.json" if write is write_json else "log.eval"), log(SAMPLES))
    run = take_in(path)
    assert keys_and_texts(run) == {
        ("openai-gpt-4o", "sums:1", "default", 0): "four",
        ("openai-gpt-4o", "sums:1", "default", 1): "4",
        ("openai-gpt-4o", "sums:2", "default", 0): "five",
        ("openai-gpt-4o", "sums:2", "default", 1): "five",
    }
    provider, view = run.config.providers[0], views(run)[0]
    assert (provider.model, provider.claimed_model, provider.temperature) == ("openai/gpt-4o", "gpt-4o", 0.0)
    assert view.outcome.completion is not None
    assert (view.outcome.completion.served_model, view.outcome.completion.prompt_tokens) == ("gpt-4o-2024-08-06", 11)
    assert (view.times.started_at, view.times.end_s) == ("2026-01-02T03:04:05+00:00", 1.5)
    prompt = run.manifest.suite.prompts[0]
    assert (prompt.family, prompt.expected) == ("sums", "4")


def test_errors_reasoning_parts_and_attachments(tmp_path: Path) -> None:
    """A halted sample is missing; reasoning is no answer; long texts stand apart under their hash."""
    parts = [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "four"}]
    cut = sample(3, 1, "fo")
    cut["output"]["choices"][0]["stop_reason"] = "max_tokens"
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "attachment://h1"}]
    samples = [
        sample(1, 1, "", error={"message": "Timeout waiting", "traceback": "t", "traceback_ansi": "t"}),
        sample(2, 1, parts, input=chat, attachments={"h1": "a long question"}),  # type: ignore[arg-type]
        cut,
    ]
    run = take_in(write_json(tmp_path / "log.json", log(samples)))
    ended = [(v.outcome.status, v.outcome.kind) for v in views(run)]
    assert ended == [("missing", "timeout"), ("valid", "complete"), ("censored", "length")]
    said = views(run)[1].outcome.completion
    assert said is not None
    assert (said.text, said.reasoning_text) == ("four", "hm")
    expected = (Message(role="system", content="Be brief."), Message(role="user", content="a long question"))
    assert run.manifest.suite.prompts[1].messages == expected


def test_the_transcript_is_not_kept(tmp_path: Path) -> None:
    """Events are a hundred times the size of an answer."""
    record = next(iter(take_in(write_json(tmp_path / "log.json", log(SAMPLES))).records()))
    assert record.attempt.exchange.response is not None
    kept = json.loads(record.attempt.exchange.response.body or "")
    assert "events" not in kept
    assert kept["output"]["completion"] == "four"


def test_logs_with_other_arguments_are_other_conditions(tmp_path: Path) -> None:
    """The same task with another prompt style is another way of asking."""
    write_json(tmp_path / "a.json", log([sample(1, 1, "x", log=1)], task_args={"style": "short"}))
    write_json(tmp_path / "b.json", log([sample(1, 1, "y", log=2)], task_args={"style": "long"}))
    conditions = {v.trial.condition for v in views(take_in(tmp_path))}
    assert conditions == {'{"style":"short"}', '{"style":"long"}'}


def test_the_same_log_in_both_forms_is_refused(tmp_path: Path) -> None:
    """A converted copy beside its original would double every repeat."""
    write_json(tmp_path / "a.json", log(SAMPLES))
    write_eval(tmp_path / "a.eval", log(SAMPLES))
    with pytest.raises(ExchangeError, match=r'the response id "u1-1-0" has occurred before'):
        take_in(tmp_path)


def test_a_damaged_log_is_one_line(tmp_path: Path) -> None:
    """No zip, no header, or no JSON inside."""
    (tmp_path / "no.eval").write_bytes(b"nothing")
    with pytest.raises(ExchangeError, match=r"no\.eval: damaged archive"):
        take_in(tmp_path / "no.eval")
    with zipfile.ZipFile(tmp_path / "bare.eval", "w") as archive:
        archive.writestr("samples/1_epoch_1.json", "{}")
    with pytest.raises(ExchangeError, match=r"bare\.eval: has no eval section"):
        take_in(tmp_path / "bare.eval")
    with zipfile.ZipFile(tmp_path / "bad.eval", "w") as archive:
        archive.writestr("header.json", json.dumps(log([])))
        archive.writestr("samples/1_epoch_1.json", "{" * 10)
    with pytest.raises(ExchangeError, match=r"bad\.eval: samples/1_epoch_1\.json: not JSON"):
        take_in(tmp_path / "bad.eval")
