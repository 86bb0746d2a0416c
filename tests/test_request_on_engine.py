"""Request fields at a real llama.cpp server: what a condition asks for is what comes back, and the figures say so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from tempzero.cli import main
from tempzero.records import open_run
from tiny_gguf import tiny_model

SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Oslo", "Rome"]}, "warm": {"type": "boolean"}},
    "required": ["city", "warm"],
    "additionalProperties": False,
}
BY_SCHEMA = {"type": "json_schema", "json_schema": {"name": "weather", "strict": True, "schema": SCHEMA}}


def test_a_schema_that_a_condition_asks_for_is_kept_by_a_real_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model of random weights writes no JSON by itself; decoding held to the schema can write nothing else."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    serve = {"weights": f"path:{tiny_model()}", "context": 512, "threads": 1}
    settings = {
        "version": 1,
        "run": {"prompts": "p.yaml"},
        "defaults": {"repeats": 1, "max_tokens": 48},
        "providers": [{"name": "served", "serve": serve}],
        "conditions": [{"name": "plain"}, {"name": "by-schema", "request": {"response_format": BY_SCHEMA}}],
    }
    (tmp_path / "providers.yaml").write_text(yaml.safe_dump(settings))
    prompts = [{"id": f"p{n}", "prompt": f"question {n}"} for n in range(4)]
    (tmp_path / "p.yaml").write_text(yaml.safe_dump({"family": "t", "prompts": prompts}))
    assert main(["run", "--config", str(tmp_path / "providers.yaml")]) in (0, 1, 3)
    run = open_run(next((tmp_path / "results").iterdir()))
    texts = {"plain": list[str](), "by-schema": list[str]()}
    for view in run.views():
        assert view.outcome.completion is not None
        texts[view.trial.condition].append(view.outcome.completion.text)
    assert all('"city"' in text and ("Oslo" in text or "Rome" in text) for text in texts["by-schema"])
    assert not any('"city"' in text for text in texts["plain"])
    figures = json.loads((run.path / "summary.json").read_text())["figures"]
    kept = {(f["condition"], f["metric"]): f for f in figures if f["kind"] == "calls" and f["family"] is None}
    assert {condition for condition, _ in kept} == {"by-schema"}
    # White space is no breach of a schema, and may use the limit up: of the whole answers all keep it.
    assert kept[("by-schema", "json_valid")]["value"] == 1.0
    assert kept[("by-schema", "json_valid")]["n"] >= 1
