"""A real engine that thinks: llama.cpp behind a template that opens `<think>`, asked, compared, and read again."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from tempzero.analysis import analyse
from tempzero.cli import main
from tempzero.config.shipped import find_shipped
from tempzero.records import open_run
from tiny_gguf import tiny_model

# As such models' own templates have it: reasoning in its place in earlier turns, and opened where an answer begins.
THINKING = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['role'] == 'assistant' and message['reasoning_content'] %}"
    "{{ '<think>\\n' + message['reasoning_content'] + '\\n</think>\\n\\n' }}{% endif %}"
    "{{ message['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
    "{% if enable_thinking is not defined or enable_thinking %}{{ '<think>\\n' }}{% endif %}{% endif %}"
)


# Two examples before every conversation: without them the small shipped model opens a thought and never closes it.
EXAMPLES = (
    ("What is the capital of Spain?", "The user asks for a capital. The capital of Spain is Madrid.", "Madrid"),
    ("Name an animal that can fly.", "The user wants one flying animal. A bird flies. I will say an owl.", "An owl."),
)


def shown_how() -> str:
    """The template with the examples, thoughts and all where thinking is on."""
    told = ""
    for asked, thought, said in EXAMPLES:
        told += f"{{{{ {f'<|im_start|>user{chr(10)}{asked}<|im_end|>{chr(10)}<|im_start|>assistant{chr(10)}'!r} }}}}"
        block = f"<think>{chr(10)}{thought}{chr(10)}</think>{chr(10)}{chr(10)}"
        told += f"{{% if enable_thinking is not defined or enable_thinking %}}{{{{ {block!r} }}}}{{% endif %}}"
        told += f"{{{{ {f'{said}<|im_end|>{chr(10)}'!r} }}}}"
    return told + THINKING


def test_the_shipped_model_thinks_is_compared_read_and_shown(tmp_path: Path) -> None:
    """Trained weights on a real server, which close their thought themselves: reasoning and text part company."""
    shipped = yaml.safe_load(find_shipped("providers.yaml").read_text())
    weights = {"weights": "smollm2-135m-instruct", "context": 1024, "threads": 1, "chat_template": shown_how()}
    claims = {"claims": {"model": "SmolLM2-135M-Instruct"}}
    settings = {
        "version": 1,
        "run": {"prompts": "p.yaml", "reference": "ref", "fingerprint": 0},  # no pack is of this template
        "score": {"enabled": True, "forms": [], "variants": []},
        "defaults": {"repeats": 1, "max_tokens": 64},
        "weights": shipped["weights"],
        "providers": [
            {"name": "ref", "local": {**weights, "precision": "f32"}, **claims},
            {"name": "f16", "serve": {**weights, "precision": "f16"}, **claims},
        ],
    }
    (tmp_path / "providers.yaml").write_text(yaml.safe_dump(settings))
    prompt = {"id": "p", "prompt": "What is the capital of France?"}
    (tmp_path / "p.yaml").write_text(yaml.safe_dump({"family": "t", "prompts": [prompt]}))
    assert main(["run", "--no-fingerprint", "--config", str(tmp_path / "providers.yaml")]) in (0, 1, 3)
    run = open_run(next((tmp_path / "results").iterdir()))
    said = {(v.trial.provider, v.trial.prompt): v.outcome.completion for v in run.views()}
    assert all(one is not None and one.reasoning_text for one in said.values())
    assert all(one is not None and one.text.strip() for one in said.values())
    assert not run.reading().unread
    report = (run.path / "report.md").read_text()
    assert "| ref | f16 | 1 of 1 |" in report
    with (run.path / "tables" / "reference.csv").open() as table:
        parts = {row["part"] for row in csv.DictReader(table) if row["metric"] == "cross_emr"}
    assert {"whole", "reasoning", "text"} <= parts


def test_reasoning_of_a_real_server_is_compared_read_and_switched_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same weights behind the same template: what the server thought is what the reference would have thought."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    weights = {"weights": f"path:{tiny_model()}", "context": 512, "threads": 1, "chat_template": THINKING}
    settings = {
        "version": 1,
        "run": {"prompts": "p.yaml", "reference": "ref"},
        "score": {"enabled": True, "forms": ["batch=1", "threads=2"], "variants": []},
        "defaults": {"repeats": 2, "max_tokens": 24},
        "providers": [
            {"name": "ref", "local": {**weights, "precision": "as_is"}, "claims": {"model": "tiny"}},
            {"name": "served", "serve": {**weights, "precision": "f16"}, "claims": {"model": "tiny"}},
        ],
        "conditions": [{"name": "thinking"}, {"name": "not", "reasoning": {"effort": "none"}}],
    }
    (tmp_path / "providers.yaml").write_text(yaml.safe_dump(settings))
    prompts = [{"id": f"p{n}", "prompt": f"question {n}"} for n in range(5)]
    (tmp_path / "p.yaml").write_text(yaml.safe_dump({"family": "t", "prompts": prompts}))
    assert main(["run", "--no-fingerprint", "--config", str(tmp_path / "providers.yaml")]) in (0, 1)
    run = open_run(next((tmp_path / "results").iterdir()))
    said = [(v.trial.condition, v.outcome.completion) for v in run.views() if v.trial.provider == "served"]
    assert {bool(answer.reasoning_text) for name, answer in said if name == "thinking" and answer} == {True}
    assert {answer.reasoning_text for name, answer in said if name == "not" and answer} == {None}
    reading = run.reading()
    assert not reading.unread
    own = [s for s in reading.scored if s.trial.provider == "ref"]
    assert {m for s in own if s.scores for m in s.scores.margin} == {0.0}
    summary = json.loads((run.path / "summary.json").read_text())
    assert not [f for f in summary["findings"] if f["rule"] == "conditions_differ"]
    report = (run.path / "report.md").read_text()
    assert "| ref | served · thinking | 10 of 10 |" in report
    assert "which ask otherwise" in report


def test_rounds_of_a_conversation_are_read_behind_the_answers_that_went_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reference reads what was really asked, thoughts in their place; else every second round would look wrong."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    weights = {"weights": f"path:{tiny_model()}", "context": 512, "threads": 1, "chat_template": THINKING}
    way = {"claims": {"model": "tiny"}, "reasoning": {"returned": "always"}}
    settings = {
        "version": 1,
        "run": {"prompts": "p.yaml", "reference": "ref"},
        "score": {"enabled": True, "forms": ["batch=1"], "variants": []},
        "defaults": {"repeats": 1, "max_tokens": 16},
        "providers": [
            {"name": "ref", "local": {**weights, "precision": "as_is"}, **way},
            {"name": "served", "serve": {**weights, "precision": "f16"}, **way},
            {
                "name": "odd",
                "serve": {**weights, "precision": "f16", "default_sampling": {"repeat_penalty": 1.5}},
                **way,
            },
        ],
    }
    (tmp_path / "providers.yaml").write_text(yaml.safe_dump(settings))
    prompts = [{"id": f"talk{n}", "prompt": f"question {n}", "rounds": ["and then?", "why?"]} for n in range(2)]
    (tmp_path / "p.yaml").write_text(yaml.safe_dump({"family": "t", "prompts": prompts}))
    assert main(["run", "--no-fingerprint", "--config", str(tmp_path / "providers.yaml")]) in (0, 1, 3)
    run = open_run(next((tmp_path / "results").iterdir()))
    reading = run.reading()
    assert not reading.unread
    assert len({s.trial for s in reading.scored}) == 18
    own = [s for s in reading.scored if s.trial.provider == "ref"]
    assert {m for s in own if s.scores for m in s.scores.margin} == {0.0}
    sent = [json.loads(r.attempt.exchange.request.body)["messages"] for r in run.records()]
    behind = [m for messages in sent for m in messages if m["role"] == "assistant"]
    assert len(behind) == 18
    assert all("reasoning_content" in message for message in behind)
    reading_of = analyse(run).reading
    assert reading_of is not None
    (parted,) = [p for p in reading_of.partings if {p.left, p.right} == {"odd", "ref"}]
    asked = {r.attempt.trial: json.loads(r.attempt.exchange.request.body)["messages"] for r in run.records()}
    tokens = {s.trial: s.scores.token_ids for s in reading.scored if s.scores is not None}
    pairs = [(t, replace(t, provider="ref")) for t in asked if t.provider == "odd"]
    differ = [(a, b) for a, b in pairs if tokens.get(a) != tokens.get(b)]
    same_words = [(a, b) for a, b in differ if asked[a] == asked[b]]
    assert parted.near_tie + parted.unexplained == len(same_words) < len(differ)
