"""Twelve real dialects of asking a model to think and of saying what it thought: checked, asked, counted and paid for.

Each host below takes and gives what one vendor documents (or was recorded to give), and refuses what that one refuses.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from loopback import Call, Loopback, Reply, completion_value, error, value
from tempzero.cli import main
from tempzero.records import open_run

Asked = Mapping[str, Any]
THOUGHT = {"none": 0, "low": 5, "high": 40, None: 20}
PRICE = {"input_per_mtok": 1.0, "output_per_mtok": 1_000_000.0}  # a dollar for each token that came out


def effort_of(asked: Asked) -> str | None:
    return asked.get("reasoning_effort")


def thinking_type(asked: Asked) -> str | None:
    kind = asked.get("thinking", {}).get("type")
    return "none" if kind == "disabled" else asked.get("reasoning_effort", "high" if kind == "enabled" else None)


def router_effort(asked: Asked) -> str | None:
    told = asked.get("reasoning", {})
    return "none" if told.get("enabled") is False else told.get("effort")


def template_switch(asked: Asked) -> str | None:
    told = asked.get("chat_template_kwargs", {})
    return "none" if told.get("enable_thinking") is False else told.get("reasoning_effort")


def in_field(name: str) -> Callable[[str, str], dict[str, Any]]:
    return lambda thought, text: {"content": text, **({name: thought} if thought else {})}


def in_details(thought: str, text: str) -> dict[str, Any]:
    details = [{"type": "reasoning.text", "text": thought}]
    return {"content": text, **({"reasoning": thought, "reasoning_details": details} if thought else {})}


def in_tags(thought: str, text: str) -> dict[str, Any]:
    return {"content": f"<think>\n{thought}\n</think>\n\n{text}" if thought else text}


def in_parts(thought: str, text: str) -> dict[str, Any]:
    if not thought:
        return {"content": text}
    return {
        "content": [
            {"type": "thinking", "thinking": [{"type": "text", "text": thought}]},
            {"type": "text", "text": text},
        ]
    }


def hidden(thought: str, text: str) -> dict[str, Any]:
    return {"content": text}


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How one host is asked and answers; `entry` is what its provider's entry says, `sent` what an effort becomes."""

    effort: Callable[[Asked], str | None]
    message: Callable[[str, str], dict[str, Any]]
    sent: Mapping[str, Asked]
    entry: Mapping[str, Any] = field(default_factory=dict)
    limit: str = "max_tokens"
    refuses: str | None = None
    counted: bool = True
    apart: bool = False

    def answer(self, call: Call) -> Reply:
        if call.method == "GET":
            return value({"data": []})
        asked = call.json
        if self.refuses is not None and asked.get(self.refuses) is not None:
            return error(400, f"Unsupported value: '{self.refuses}' is not supported with this model.")
        wrong = {"max_tokens", "max_completion_tokens"} - {self.limit}
        if wrong & asked.keys():
            name = wrong.pop()
            return error(
                400, f"Unsupported parameter: '{name}' is not supported with this model. Use '{self.limit}' instead."
            )
        thought = min(THOUGHT.get(self.effort(asked), 20), asked[self.limit])
        words = ["yes"] if asked[self.limit] > thought else []
        inside = 0 if self.apart else thought
        usage: dict[str, Any] = {
            "prompt_tokens": 10,
            "completion_tokens": inside + len(words),
            "total_tokens": 10 + thought + len(words),
        }
        if self.counted and thought:
            usage["completion_tokens_details"] = {"reasoning_tokens": thought}
        message = self.message(" ".join(["hm"] * thought), " ".join(words))
        reason = "stop" if words else "length"
        choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}
        return value(completion_value(choices=[choice], usage=usage, model=asked["model"]))


PLAIN: dict[str, Asked] = {name: {"reasoning_effort": name} for name in ("low", "high", "none")}
TYPED: dict[str, Asked] = {
    "none": {"thinking": {"type": "disabled"}},
    "high": {"thinking": {"type": "enabled"}, "reasoning_effort": "high"},
}
ROUTED: dict[str, Asked] = {
    "none": {"reasoning": {"enabled": False}},
    **{n: {"reasoning": {"effort": n}} for n in ("low", "high")},
}
SWITCHED: dict[str, Asked] = {
    "none": {"chat_template_kwargs": {"enable_thinking": False}},
    **{n: {"chat_template_kwargs": {"enable_thinking": True, "reasoning_effort": n}} for n in ("low", "high")},
}

DIALECTS: dict[str, Dialect] = {
    "openai": Dialect(
        effort=effort_of,
        message=hidden,
        sent=PLAIN,
        limit="max_completion_tokens",
        refuses="temperature",
        entry={
            "temperature": None,
            "parameter_names": {"max_tokens": "max_completion_tokens"},
        },
    ),
    "deepseek": Dialect(
        effort=thinking_type, message=in_field("reasoning_content"), sent={**PLAIN, **TYPED},
        entry={"reasoning": {"sends": TYPED}, "seed": None},
    ),
    "moonshot": Dialect(
        effort=thinking_type, message=in_field("reasoning_content"), sent={**PLAIN, **TYPED}, refuses="temperature",
        entry={"reasoning": {"sends": TYPED}, "temperature": None, "top_p": None, "seed": None},
    ),
    "groq": Dialect(effort=effort_of, message=in_field("reasoning"), sent=PLAIN),
    "cerebras": Dialect(effort=effort_of, message=in_field("reasoning"), sent=PLAIN, limit="max_completion_tokens",
        entry={"may_rename": ["max_tokens"]}),
    "together": Dialect(effort=effort_of, message=in_field("reasoning"), sent=PLAIN, counted=False),
    "fireworks": Dialect(effort=effort_of, message=in_field("reasoning_content"), sent=PLAIN, counted=False,
        entry={"request": {"context_length_exceeded_behavior": "error"}}),
    "openrouter": Dialect(effort=router_effort, message=in_details, sent=ROUTED,
        entry={"reasoning": {"sends": ROUTED}, "request": {"provider": {"only": ["x"], "allow_fallbacks": False}}}),
    "vllm": Dialect(effort=template_switch, message=in_field("reasoning"), sent=SWITCHED,
        entry={"reasoning": {"sends": SWITCHED}}),
    "raw": Dialect(effort=effort_of, message=in_tags, sent=PLAIN, counted=False),
    "mistral": Dialect(effort=effort_of, message=in_parts, sent=PLAIN, counted=False,
        entry={"parameter_names": {"seed": "random_seed"}}),
    "xai": Dialect(effort=effort_of, message=in_field("reasoning_content"), sent=PLAIN, apart=True, refuses="seed",
        entry={"may_drop": ["seed"]}),
}  # fmt: skip


def workplace(folder: Path, base_url: str, dialect: Dialect) -> Path:
    prompts = [{"id": f"p{n}", "prompt": f"question {n}"} for n in range(6)]
    (folder / "p.yaml").write_text(yaml.safe_dump({"family": "t", "prompts": prompts}))
    own = dict(dialect.entry)
    thinking = {"max_tokens": 64, **own.pop("reasoning", {})}
    entry = {"name": "a", "base_url": base_url, "model": "m", "repeats": 2, "max_tokens": 16, "price": PRICE}
    settings = {
        "version": 1,
        "run": {"prompts": "p.yaml"},
        "providers": [{**entry, "reasoning": thinking, **own}],
        "conditions": [{"name": name, "reasoning": {"effort": name}} for name in ("none", "low", "high")],
    }
    file = folder / "providers.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


@pytest.mark.parametrize("name", DIALECTS)
def test_a_dialect_is_asked_read_and_paid_for(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Effort low and high, thinking on and off: what is sent, what is read, what it cost by the host's own count."""
    dialect = DIALECTS[name]
    with Loopback(dialect.answer) as server:
        file = workplace(tmp_path, server.base_url, dialect)
        main(["check", "--config", str(file), "--json"])
        (row,) = json.loads(capfd.readouterr().out)["providers"]
        checked = len(server.calls)
        main(["run", "--config", str(file)])
        bodies = [call.json for call in server.calls[checked:] if call.method == "POST"]
    assert row["endpoint"] == "answers"
    assert row["reasoning"] == ("hidden" if name == "openai" else "shown")
    run = open_run(next((tmp_path / "results").iterdir()))
    assert len(list(run.views())) == 36
    for record in run.records():
        body, condition = json.loads(record.attempt.exchange.request.body), record.attempt.trial.condition
        sent = dialect.sent[condition]
        assert {key: body[key] for key in sent} == sent
        assert body[dialect.limit] == (16 if condition == "none" else 80)
        answer = record.attempt.exchange.outcome.completion
        assert answer is not None
        assert answer.text.strip() == "yes"
        thought = THOUGHT[condition]
        shown = " ".join(["hm"] * thought) if thought and name != "openai" else ""
        assert (answer.reasoning_text or "").strip() == shown
        assert answer.output_tokens == thought + 1
    assert all(("temperature" in body) == (dialect.refuses != "temperature") for body in bodies)
    figures = json.loads((run.path / "summary.json").read_text())["figures"]
    cost = {f["condition"]: f["value"] for f in figures if f["metric"] == "cost_usd" and f["family"] is None}
    assert {c: round(v) for c, v in cost.items()} == {c: 12 * (THOUGHT[c] + 1) for c in ("none", "low", "high")}
    report = (run.path / "report.md").read_text()
    assert "no finding" in report
    if name != "openai":  # what is hidden cannot be compared
        assert "that is a difference beyond chance" in report


@pytest.mark.parametrize("name", ["openai", "groq", "xai"])  # counted within, beside, and beyond the limit
def test_a_limit_of_money_holds_where_models_think(name: str, tmp_path: Path) -> None:
    """The plan counts room for reasoning, so that no answer can cost more than was set aside for it."""
    dialect = DIALECTS[name]
    with Loopback(dialect.answer) as server:
        main(["run", "--config", str(workplace(tmp_path, server.base_url, dialect)), "--max-cost", "300"])
    run = open_run(next((tmp_path / "results").iterdir()))
    answers = [view.outcome.completion for view in run.views()]
    paid = [answer.output_tokens or 0 for answer in answers if answer is not None]
    assert len(paid) > 2
    assert sum(paid) <= 300 + max(paid)
