"""What real hosts send, a row each: what `check` and `run` make of it, in words and by exit code.

Each host heeds every field of a request and does one thing that was seen of a real one. Where it is normal service
both pass without a remark; where it is not, both say what it is, and neither says anything else.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from honest_host import Change, HonestHost, honest, stream_chunks
from loopback import Answer, Call, Loopback, Reply, body, error, stream, value
from tempzero.answers.flag_table import MEANING_BY_FLAG
from tempzero.check import check_setting
from tempzero.cli import main
from tempzero.config import Setting
from tempzero.types.vocabulary import VerdictOutcome

PROMPTS = tuple(f"question {i}" for i in range(6))
COUNTING = tuple(f"Count for me, number {i}" for i in range(6))
QUICK = {"backoff": {"first_s": 0.01, "max_s": 0.02}, "breaker": {"failures": 2, "cool_down_s": 0.02, "probes": 1}}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A host that does one thing. `check` and `run` are the outcomes, `remarks` and `said` words that each must hold.

    `quiet`: check has no remark, and the run no finding and no flag but notes.
    """

    host: Answer
    check: VerdictOutcome = "pass"
    run: VerdictOutcome = "pass"
    remarks: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    quiet: bool = False
    prompts: tuple[str, ...] = PROMPTS
    fields: Mapping[str, Any] = field(default_factory=dict)
    conditions: tuple[Mapping[str, Any], ...] = ()
    tools: bool = False


Edit = Callable[[dict[str, Any], dict[str, Any]], object]


def editing(edit: Edit) -> Change:
    """The answer after `edit(request, answer)` has changed it in place."""

    def change(asked: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        edit(asked, answer)
        return answer

    return change


def host(edit: Edit, **how: Any) -> HonestHost:
    return HonestHost(editing(edit), **how)


def naming(model: str) -> HonestHost:
    return host(lambda asked, answer: answer.update(model=model))


def messages(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [choice["message"] for choice in answer["choices"]]


def prompt_of(asked: Mapping[str, Any]) -> str:
    return str(asked["messages"][-1]["content"])


def refusing(reply: Reply, when: Callable[[dict[str, Any]], bool]) -> Answer:
    """Refuses the requests that are so, and is honest otherwise."""
    return lambda call: reply if call.method == "POST" and when(call.json) else honest(call)


def for_one_prompt(reply: Reply) -> Answer:
    return refusing(reply, lambda asked: prompt_of(asked) == "question 3")


def always(reply: Reply) -> Answer:
    return refusing(reply, lambda asked: True)


def reasoning_in(place: str) -> HonestHost:
    """Thinks before it answers, and shows it there."""

    def edit(asked: dict[str, Any], answer: dict[str, Any]) -> None:
        for message in messages(answer):
            thought = message.pop("reasoning_content", None)
            if place == "details":
                message["reasoning_details"] = [{"type": "reasoning.text", "text": thought, "index": 0}]
            elif place == "thinking parts":
                thinking = {"type": "thinking", "thinking": [{"type": "text", "text": thought}]}
                message["content"] = [thinking, {"type": "text", "text": message.get("content") or ""}]
            elif place == "think marks":
                message["content"] = f"<think>{thought}</think>{message.get('content') or ''}"
            else:
                message[place] = thought

    return host(edit, reasoning=6)


def drawing_reasoning() -> HonestHost:
    """Thinks otherwise each time, and answers the same."""
    numbers = itertools.count()

    def edit(asked: dict[str, Any], answer: dict[str, Any]) -> None:
        for message in messages(answer):
            message["reasoning_content"] = f"thought {next(numbers)}"

    return host(edit, reasoning=2)


def billing_apart(*, shown: bool) -> HonestHost:
    """Counts its reasoning in the total alone."""

    def edit(asked: dict[str, Any], answer: dict[str, Any]) -> None:
        usage = answer["usage"]
        usage["completion_tokens"] -= usage.pop("completion_tokens_details", {}).get("reasoning_tokens", 0)
        for message in messages(answer):
            if not shown:
                message.pop("reasoning_content", None)

    return host(edit, reasoning=9)


def ending(said: str | None, when: str) -> HonestHost:
    """Gives that finish_reason where an honest host gives `when`."""

    def edit(asked: dict[str, Any], answer: dict[str, Any]) -> None:
        for choice in answer["choices"]:
            if choice["finish_reason"] == when or when == "any":
                choice["finish_reason"] = said

    return host(edit)


def without_limit(asked: dict[str, Any], answer: dict[str, Any]) -> None:
    if "Count" in prompt_of(asked) and "stop" not in asked:
        for choice in answer["choices"]:
            choice["message"]["content"] = " ".join(map(str, range(1, 31)))
            choice["finish_reason"] = "stop"
        answer["usage"] = {"prompt_tokens": 9, "completion_tokens": 30, "total_tokens": 39}


def counting_more(asked: dict[str, Any], answer: dict[str, Any]) -> None:
    """The tokens that begin and end an answer are counted as well."""
    answer["usage"]["completion_tokens"] += 2
    answer["usage"]["total_tokens"] += 2


class OddStreams(HonestHost):
    """As honest streams are: `created` moves, the role comes again in every chunk, tokens are counted otherwise."""

    def __call__(self, call: Call) -> Reply:
        if call.method != "POST" or not call.json.get("stream"):
            return super().__call__(call)
        chunks = stream_chunks(self._answer(call.prompt, call.json))
        for number, one in enumerate(chunks):
            one["created"] = int(time.time()) + number
            for choice in one["choices"]:
                choice["delta"] = {"role": "assistant", **choice["delta"]}
        counting_more({}, chunks[-1])
        return stream(*chunks)


class Undone(HonestHost):
    """Ends its streams without [DONE]."""

    def __call__(self, call: Call) -> Reply:
        if call.method != "POST" or not call.json.get("stream"):
            return super().__call__(call)
        return stream(*stream_chunks(self._answer(call.prompt, call.json)), done=False)


class Unnumbered(HonestHost):
    """Streams calls in pieces that say of which call they are nowhere."""

    def __call__(self, call: Call) -> Reply:
        if call.method != "POST" or not call.json.get("stream"):
            return super().__call__(call)
        chunks = stream_chunks(self._answer(call.prompt, call.json))
        for choice in (c for one in chunks for c in one["choices"]):
            for piece in choice["delta"].get("tool_calls", ()):
                del piece["index"]
        return stream(*chunks)


FILTERED = {
    "index": 0,
    "finish_reason": "content_filter",
    "content_filter_results": {"violence": {"filtered": True, "severity": "high"}},
}


def azure(when: str) -> HonestHost:
    """Withholds answers in a choice without a message."""

    def edit(asked: dict[str, Any], answer: dict[str, Any]) -> None:
        if when in prompt_of(asked):
            answer["choices"] = [FILTERED]

    return host(edit)


def filtering() -> HonestHost:
    """Cuts its answers to one prompt by a filter, and they differ before the cut."""
    numbers = itertools.count()

    def edit(asked: dict[str, Any], answer: dict[str, Any]) -> None:
        if prompt_of(asked) == "question 3":
            for choice in answer["choices"]:
                choice["finish_reason"] = "content_filter"
                choice["message"]["content"] = f"take {next(numbers)} of"

    return host(edit)


def empty_now_and_then(content: str | None) -> HonestHost:
    """Every second answer to one request has no text, and the tokens of one."""
    asked_before: dict[str, int] = {}

    def edit(asked: dict[str, Any], answer: dict[str, Any]) -> None:
        key = json.dumps(asked, sort_keys=True)
        asked_before[key] = asked_before.get(key, 0) + 1
        if asked_before[key] % 2 == 0:
            for message in messages(answer):
                message["content"] = content

    return host(edit)


def cold_at_first() -> HonestHost:
    """Its first answer to a request is another one than all later ones."""
    warm: set[str] = set()

    def edit(asked: dict[str, Any], answer: dict[str, Any]) -> None:
        key = json.dumps(asked, sort_keys=True)
        if key not in warm:
            warm.add(key)
            for message in messages(answer):
                message["content"] = f"first of all {message['content'] or ''}"

    return host(edit)


def losing_a_token(asked: dict[str, Any], answer: dict[str, Any]) -> None:
    if asked.get("stream"):
        for message in messages(answer):
            message["content"] = (message["content"] or "")[:-1]


def leaking(mark: str) -> HonestHost:
    return host(lambda asked, answer: [m.update(content=(m["content"] or "") + mark) for m in messages(answer)])


def answering_twice(asked: dict[str, Any], answer: dict[str, Any]) -> None:
    if "n" not in asked:
        answer["choices"] = [{**answer["choices"][0], "index": number} for number in (0, 1)]


def turning_fingerprint() -> HonestHost:
    numbers = itertools.count()
    return host(lambda asked, answer: answer.update(system_fingerprint=f"fp{next(numbers)}"))


def with_one_id(asked: dict[str, Any], answer: dict[str, Any]) -> None:
    answer.update(id="chatcmpl-local", created=int(time.time()))


def calling_unasked(asked: dict[str, Any], answer: dict[str, Any]) -> None:
    if "tools" not in asked:
        for message in messages(answer):
            message["tool_calls"] = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]


SEVENTY = {"model": "llama-3.1-70b-instruct"}
TOO_SMALL = error(
    400, "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got 8 instead."
)
TOO_LARGE = error(400, "max_tokens is too large: 1000. This model supports at most 100 completion tokens.")
SPENT = error(
    400, "Could not finish the message because max_tokens or model output limit was reached. Try higher max_tokens."
)
RENAMED = error(
    400, "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
)
NO_ZERO = error(400, "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value.")
CALL_FAILED = error(
    400,
    "Failed to call a function. Please adjust your prompt. See 'failed_generation' for more details.",
    code="tool_use_failed",
    failed_generation="<function=f>{}</function>",
)
UNSAFE = error(403, "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE")
RENAME = "parameter_names: {max_tokens: max_completion_tokens}"

SHAPES: dict[str, Shape] = {
    "a fingerprint of its own in every answer": Shape(
        host=turning_fingerprint(), quiet=True, said=("12 different system fingerprints in 12 answers",)
    ),
    "an alias answers as its dated snapshot": Shape(host=naming("m-2024-08-06"), quiet=True, said=("m-2024-08-06",)),
    "silent routing": Shape(
        host=naming("deepseek-v4-flash"),
        fields={"model": "deepseek-chat"},
        check="finding",
        run="finding",
        remarks=('asked for "deepseek-chat", answered as deepseek-v4-flash',),
        said=("asked for deepseek-chat, answered as deepseek-v4-flash x12",),
    ),
    "silent routing that is accepted": Shape(
        host=naming("deepseek-v4-flash"),
        fields={"model": "deepseek-chat", "accepts_models": ["deepseek-v4-*"]},
        said=("deepseek-v4-flash",),
    ),
    "70b asked, 8b served": Shape(
        host=naming("llama-3.1-8b-instruct"),
        fields=SEVENTY,
        check="finding",
        run="finding",
        remarks=("answered as llama-3.1-8b-instruct",),
        said=("asked for llama-3.1-70b-instruct, answered as llama-3.1-8b-instruct x12",),
    ),
    **{
        f"reasoning in {place}": Shape(host=reasoning_in(place), said=("compared were the reasoning, the text",))
        for place in ("reasoning_content", "reasoning", "details", "thinking parts", "think marks")
    },
    "reasoning that differs": Shape(
        host=drawing_reasoning(),
        check="finding",
        run="finding",
        remarks=("the same request at once again gave another answer",),
        said=("the reasoning on 6",),
    ),
    "reasoning billed apart": Shape(host=billing_apart(shown=True), said=("reasoning is billed apart",)),
    "hidden reasoning billed apart": Shape(
        host=billing_apart(shown=False), quiet=True, said=("reasoning is billed apart",)
    ),
    **{
        f"cut at its limit with finish_reason {said!r}": Shape(
            host=ending(said, when="length"),
            prompts=COUNTING,
            fields={"max_tokens": 16},
            remarks=("it cut answers at the limit without saying so",),
            said=("12 of 12, 12 of them cut at the limit", "cut answers at the limit without saying so"),
        )
        for said in (None, "", "stop")
    },
    "more tokens than its limit": Shape(
        host=host(without_limit),
        prompts=COUNTING,
        fields={"max_tokens": 16},
        check="finding",
        run="finding",
        remarks=("a limit of 16 tokens gave 30 tokens",),
        said=("wrote more tokens than max_tokens allows in 12 of 12 responses",),
    ),
    "two tokens more than its limit": Shape(
        host=host(counting_more),
        prompts=COUNTING,
        fields={"max_tokens": 16},
        quiet=True,
        said=("count by other rules",),
    ),
    "no finish_reason, whole": Shape(
        host=ending(None, when="any"),
        remarks=("it did not say why the answer ended",),
        said=("did not say why the answer ended",),
    ),
    "no finish_reason, streamed": Shape(
        host=ending(None, when="any"),
        fields={"stream": True},
        remarks=("it did not say why the answer ended",),
        said=("did not say why the answer ended",),
    ),
    "no [DONE]": Shape(host=Undone(), fields={"stream": True}, quiet=True, said=("ended streams without", "12 of 12")),
    "Azure withholds one answer": Shape(host=azure("question 3"), quiet=True, said=("withheld by a filter",)),
    "a filter cuts one answer in two places": Shape(
        host=filtering(),
        check="pass",
        run="finding",
        said=("2 responses were cut by a filter; they are compared up to the cut", 'on 1 of 6 prompts ("p3")'),
    ),
    "Azure withholds all": Shape(
        host=azure(""),
        check="inconclusive",
        run="inconclusive",
        remarks=("a filter withheld its answer", "violence"),
        said=("withheld by a filter",),
    ),
    "403 for the safety of one prompt": Shape(
        host=for_one_prompt(UNSAFE), quiet=True, said=("blocked", "Content violates usage guidelines")
    ),
    "403 without a word for one prompt": Shape(
        host=for_one_prompt(error(403, "Forbidden")), quiet=True, said=("blocked", "of this prompt only")
    ),
    "403 without a word for all": Shape(
        host=always(error(403, "Forbidden")),
        check="inconclusive",
        run="inconclusive",
        remarks=("auth: HTTP 403 Forbidden",),
        said=("nobody answered: 1 of 1 provider", "auth: HTTP 403 Forbidden"),
    ),
    "the model's own call failed": Shape(
        host=refusing(CALL_FAILED, lambda asked: "tools" in asked),
        run="inconclusive",
        tools=True,
        said=("generation_failed", "tool_use_failed"),
    ),
    "no limit below 16": Shape(host=refusing(TOO_SMALL, lambda asked: asked["max_tokens"] < 16), quiet=True),
    "no limit below 16, and 8 is asked for": Shape(
        host=refusing(TOO_SMALL, lambda asked: asked["max_tokens"] < 16),
        fields={"max_tokens": 8},
        check="inconclusive",
        run="inconclusive",
        remarks=("it takes no limit below 16 tokens", "write max_tokens: 16"),
        said=("limit_too_small", "max_tokens: 16"),
    ),
    "a limit beyond the model's": Shape(
        host=refusing(TOO_LARGE, lambda asked: asked["max_tokens"] > 100),
        fields={"max_tokens": 1000},
        check="inconclusive",
        run="inconclusive",
        remarks=("write max_tokens: 100 or less",),
        said=("max_tokens is too large",),
    ),
    "a limit that its reasoning uses up": Shape(
        host=refusing(SPENT, lambda asked: asked["max_tokens"] < 200),
        fields={"max_tokens": 64},
        check="inconclusive",
        run="inconclusive",
        remarks=("it takes no limit that its reasoning uses up", "write max_tokens: 512"),
        said=("limit_too_small", "raise max_tokens: its reasoning used them up"),
    ),
    "an empty block of reasoning": Shape(
        host=host(
            lambda asked, answer: [m.update(content=f"<think>\n\n</think>{m['content']}") for m in messages(answer)]
        ),
        said=("no divergence in 2 repeats of 6 prompts",),
    ),
    "max_completion_tokens wanted": Shape(
        host=refusing(RENAMED, lambda asked: "max_tokens" in asked),
        check="inconclusive",
        run="inconclusive",
        remarks=(RENAME,),
        said=(RENAME,),
    ),
    "max_completion_tokens wanted and allowed": Shape(
        host=refusing(RENAMED, lambda asked: "max_tokens" in asked),
        fields={"may_rename": ["max_tokens"]},
        remarks=("a run heeds that, as may_rename allows",),
        said=("asked so, as may_rename allows",),
    ),
    "no temperature 0": Shape(
        host=refusing(NO_ZERO, lambda asked: "temperature" in asked),
        check="inconclusive",
        run="inconclusive",
        remarks=("may_drop: [temperature]",),
        said=("may_drop: [temperature]",),
    ),
    "no temperature 0, and it may be dropped": Shape(
        host=refusing(NO_ZERO, lambda asked: "temperature" in asked),
        fields={"may_drop": ["temperature"]},
        remarks=("a run heeds that, as may_drop allows",),
        said=("asked without, as may_drop allows",),
    ),
    **{
        f"an empty answer now and then: {content!r}": Shape(
            host=empty_now_and_then(content),
            check="finding",
            run="finding",
            remarks=("gave another answer, at temperature 0",),
            said=("6 answers were empty; that is an answer, and differs from any text", "on 6 of 6 prompts"),
        )
        for content in (None, "")
    },
    "streamed text lacks a token": Shape(
        host=host(losing_a_token),
        conditions=({"name": "whole", "stream": False}, {"name": "streamed", "stream": True}),
        check="finding",
        run="finding",
        remarks=("streamed, it gave another answer than whole",),
        said=("answers otherwise under", "the earliest difference"),
    ),
    "a cold cache": Shape(
        host=cold_at_first(),
        fields={"repeats": 4},
        check="finding",
        run="finding",
        remarks=("gave another answer, at temperature 0",),
        said=("its first answer to a prompt differs from its later ones", "a cold cache"),
    ),
    **{
        f"a leak of {mark}": Shape(
            host=leaking(mark),
            check="finding",
            run="finding",
            remarks=("it let marks of the chat template through",),
            said=("let marks of the chat template through into the text in 12 of 12 responses",),
        )
        for mark in ("<|im_end|>", "<|channel|>analysis", "<tool_call>", "[TOOL_CALLS]", "<arg_key>")
    },
    "streamed calls without index": Shape(
        host=Unnumbered(), fields={"stream": True}, tools=True, quiet=True, said=("streamed calls without their index",)
    ),
    "calls that nobody offered": Shape(
        host=host(calling_unasked),
        remarks=("it called a tool although none was offered",),
        said=("called a tool although none was offered", "compared were the text, the tool calls"),
    ),
    "two choices": Shape(
        host=host(answering_twice),
        remarks=("it sent several choices although one was asked for",),
        said=("sent several choices although one was asked for",),
    ),
    "odd streams of honest hosts": Shape(
        host=OddStreams(), fields={"stream": True}, quiet=True, said=("no divergence in 2 repeats of 6 prompts",)
    ),
    "one id in every answer": Shape(
        host=host(with_one_id), quiet=True, said=("this server's ids say nothing", "no divergence in 2 repeats of 6")
    ),
    "an error whose message is an object": Shape(
        host=always(value({"error": {"message": {"detail": "no such key", "code": "bad_key"}}}, status=401)),
        check="inconclusive",
        run="inconclusive",
        remarks=("auth: HTTP 401 bad_key: no such key",),
        said=("auth: HTTP 401 bad_key: no such key",),
    ),
    "an error within an error": Shape(
        host=refusing(
            value(
                {
                    "error": {
                        "message": "Provider returned error",
                        "code": 400,
                        "metadata": {"raw": json.dumps({"error": {"message": "Unsupported parameter: seed"}})},
                    }
                },
                status=400,
            ),
            lambda asked: "seed" in asked,
        ),
        check="inconclusive",
        run="inconclusive",
        remarks=("it refuses seed", "may_drop: [seed]"),
        said=("Unsupported parameter: seed", "may_drop: [seed]"),
    ),
    "a web page for an API": Shape(
        host=always(body(b"<html>not here</html>", status=404, content_type="text/html")),
        check="inconclusive",
        run="inconclusive",
        remarks=("wrong_url", "/v1/chat/completions"),
        said=("nobody answered: 1 of 1", "wrong_url", "asked: http://127.0.0.1"),
    ),
}
CODES: Mapping[VerdictOutcome, int] = {"pass": 0, "finding": 1, "inconclusive": 3}
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}


def write_setting(folder: Path, shape: Shape, base_url: str) -> Path:
    prompts = [
        {"id": f"p{i}", "prompt": prompt, **({"tools": [TOOL]} if shape.tools else {})}
        for i, prompt in enumerate(shape.prompts)
    ]
    provider = {
        "name": "a",
        "model": "m",
        "base_url": base_url,
        "repeats": 2,
        "max_tokens": 64,
        **QUICK,
        **shape.fields,
    }
    file = folder / "providers.yaml"
    (folder / "prompts.yaml").write_text(yaml.safe_dump({"family": "t", "prompts": prompts}))
    setting = {"version": 1, "run": {"prompts": "prompts.yaml"}, "gates": {"min_prompts": 2}, "providers": [provider]}
    conditions = {"conditions": list(map(dict, shape.conditions))} if shape.conditions else {}
    file.write_text(yaml.safe_dump({**setting, **conditions}))
    return file


@pytest.mark.parametrize("name", SHAPES)
def test_check_and_run_say_of_a_host_what_it_does(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The worst fault is an honest host accused, the second a wrong cause; and both commands must say the same."""
    shape = SHAPES[name]
    with Loopback(shape.host) as server:
        file = write_setting(tmp_path, shape, server.base_url)
        (row,) = check_setting(Setting.load(file, {})).rows
        code = main(["run", "--config", str(file)])
    assert (row.state, code) == (shape.check, CODES[shape.run]), row.remarks
    remarks = "\n".join(row.remarks)
    assert [words for words in shape.remarks if words not in remarks] == []
    (made,) = (tmp_path / "results").iterdir()
    told = capfd.readouterr()
    report = (made / "report.md").read_text().replace("\\", "")
    assert [words for words in shape.said if words not in report + told.err] == []
    summary = json.loads((made / "summary.json").read_text())
    assert bool(summary["findings"]) is (shape.run == "finding")
    if shape.quiet:
        assert row.remarks == []
        assert {MEANING_BY_FLAG[one["flag"]].severity for one in summary["flags"]} <= {"note"}
