"""The bytes of a Chat Completions response in, an Outcome out: a completion only where there truly is one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from harness.engines.faults import Reply, broken_off, inband, missing, one_line, refused
from harness.types import Completion, Outcome

_FINISHED = frozenset({"stop", "eos", "eos_token", "end_turn", "stop_sequence", "completed"})
_CUT = frozenset({"length", "max_tokens", "model_length", "max_output_tokens"})
_FILTERED = frozenset({"content_filter", "refusal", "safety", "recitation", "prohibited_content", "guardrails"})
_TOOLS = frozenset({"tool_calls", "function_call", "tool_use"})
_CACHE_HEADERS = (
    "x-openrouter-cache-status",
    "cf-aig-cache-status",
    "cf-cache-status",
    "x-portkey-cache-status",
    "helicone-cache",
    "x-cache",
)
_THINKING = re.compile(r"\s*<think>")
_LARGEST_COUNT = 2**53
_LARGEST_TOKEN_ID = 2**31


class _Unusable(Exception):
    """Raised while reading, caught in `read`: the body is not an answer, and this is the outcome instead."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.kind)
        self.outcome = outcome


def read(reply: Reply) -> Outcome:
    """Classify what came back. Never raises, whatever the bytes are."""
    try:
        outcome = _read(reply)
    except _Unusable as unusable:
        outcome = unusable.outcome
    return replace(outcome, flags=(*outcome.flags, "key_redacted")) if reply.key_redacted else outcome


def _read(reply: Reply) -> Outcome:
    if reply.status is None:
        assert reply.broken is not None, "without a head there is a reason for it"
        return broken_off(reply.broken)
    if not 200 <= reply.status < 300:
        return refused(reply.status, reply.headers, reply.body)
    if reply.broken is not None:
        return broken_off(reply.broken)
    value = _parsed(reply)
    _raise_if_error(value, reply.headers)
    return _Answer(value, reply).outcome()


def _parsed(reply: Reply) -> Mapping[str, Any]:
    """The body as a JSON object. Bytes that are not UTF-8 survive as surrogates, to be found where they matter."""
    text = reply.body.decode("utf-8", errors="surrogateescape").removeprefix("\ufeff")
    stated = reply.headers.get("content-type", "no content type")
    if not text.strip():
        raise _Unusable(missing("empty_body", f"HTTP {reply.status} with an empty body", "yes"))
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        coding = reply.headers.get("content-encoding", "identity")
        if coding != "identity":
            raise _Unusable(missing("encoding", f"asked for plain bytes, got content-encoding {coding}")) from None
        detail = f"HTTP {reply.status} with {len(reply.body)} bytes of {stated} that are not JSON"
        raise _Unusable(missing("not_json", detail, "yes")) from None
    if not isinstance(value, dict):
        raise _Unusable(missing("schema", f"the body is a JSON {type(value).__name__}, not an object"))
    return value


def _raise_if_error(value: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    """Errors that come as a success: at the top, as the whole body, or within the choice."""
    error = value.get("error") or value.get("errors")
    if not error and (value.get("object") == "error" or value.get("success") is False):
        error = value
    choices = value.get("choices")
    if not error and isinstance(choices, list) and choices and isinstance(choices[0], dict):
        error = choices[0].get("error")
        if not error and choices[0].get("finish_reason") == "error":
            error = "finish_reason is error"
    if error:
        raise _Unusable(inband(error, headers))


@dataclass(slots=True)
class _Answer:
    """Reads one body step by step, gathering what is odd about it."""

    value: Mapping[str, Any]
    reply: Reply
    flags: list[str] = field(default_factory=list)

    def outcome(self) -> Outcome:
        choice = self._choice()
        message = choice.get("message")
        if not isinstance(message, dict):
            raise _Unusable(missing("schema", "choices[0].message is not an object"))
        content = self._content(message.get("content"))
        finish = self._name(choice.get("finish_reason"))
        text, reasoning = self._apart(content, message, finish)
        completion = self._completion(choice, text, reasoning, finish)
        tools = bool(message.get("tool_calls") or message.get("function_call") or finish in _TOOLS)
        if tools:
            self.flags.append("unexpected_tool_call")
        if self._replayed(completion):
            return self._done("excluded", "cached", completion)
        if finish in _FILTERED or message.get("refusal"):
            return self._done("censored", "content_filter", completion, detail=str(message.get("refusal") or finish))
        if finish in _CUT:
            return self._done("censored", "length", completion)
        if not finish:
            self.flags.append("finish_reason_missing")
        elif finish not in _FINISHED and not tools:
            self.flags.append("finish_reason_unknown")
        return self._done("valid", "complete" if text else "empty", completion)

    def _done(self, status: Any, kind: str, completion: Completion, detail: str = "") -> Outcome:
        return Outcome(
            status=status, kind=kind, detail=one_line(detail), flags=tuple(self.flags), completion=completion
        )

    def _choice(self) -> Mapping[str, Any]:
        choices = self.value.get("choices")
        if choices is None or choices == []:
            raise _Unusable(missing("no_choices", "the response holds no choices", "once"))
        if not isinstance(choices, list) or not all(isinstance(c, dict) for c in choices):
            raise _Unusable(missing("schema", "choices is not a list of objects"))
        if len(choices) > 1:
            self.flags.append("several_choices")
        return next((c for c in choices if c.get("index") == 0), choices[0])

    def _content(self, content: Any) -> str:
        """The answer text. A list of text parts is joined; anything else is not an answer."""
        if isinstance(content, list) and all(isinstance(p, dict) for p in content):
            parts = [p.get("text") for p in content if p.get("type", "text") in ("text", "output_text")]
            if all(isinstance(p, str) for p in parts):
                self.flags.append("content_parts")
                content = "".join(parts)
        if content is None:
            return ""
        if not isinstance(content, str):
            raise _Unusable(missing("schema", f"message.content is a JSON {type(content).__name__}"))
        return _sound(content, "message.content")

    def _apart(self, content: str, message: Mapping[str, Any], finish: str | None) -> tuple[str, str | None]:
        """The answer and the reasoning: by field where the provider parts them, else by a leading <think> block."""
        for name in ("reasoning", "reasoning_content"):
            given = message.get(name)
            if isinstance(given, str) and given:
                return content, _sound(given, f"message.{name}")
        opening = _THINKING.match(content)
        if opening is None:
            return content, None
        reasoning, closed, text = content[opening.end() :].partition("</think>")
        if closed or finish in _CUT:
            return text, reasoning
        self.flags.append("think_block_open")
        return content, None

    def _completion(
        self, choice: Mapping[str, Any], text: str, reasoning: str | None, finish: str | None
    ) -> Completion:
        usage = self._usage(choice)
        served = self._name(self.value.get("model"))
        if served is None:
            self.flags.append("model_missing")
        elif served.lower() not in same_model(self.reply.asked_model):
            self.flags.append("model_mismatch")
        return Completion(
            text=text,
            reasoning_text=reasoning,
            finish_reason=finish,
            served_model=served,
            backend=self._name(self.value.get("provider")),
            fingerprint=self._name(self.value.get("system_fingerprint")),
            response_id=self._name(self.value.get("id")),
            prompt_tokens=self._count(usage, "prompt_tokens"),
            completion_tokens=self._count(usage, "completion_tokens"),
            cached_tokens=self._count(usage, "prompt_tokens_details.cached_tokens", "prompt_cache_hit_tokens"),
            reasoning_tokens=self._count(usage, "completion_tokens_details.reasoning_tokens", "reasoning_tokens"),
            token_ids=_token_ids(self.value, choice),
        )

    def _usage(self, choice: Mapping[str, Any]) -> Mapping[str, Any]:
        """Usage from where providers put it: the top, the choice (Moonshot), x_groq."""
        for usage in (self.value.get("usage"), choice.get("usage"), _inside(self.value, "x_groq", "usage")):
            if isinstance(usage, dict) and usage:
                return usage
        self.flags.append("usage_missing")
        return {}

    def _count(self, usage: Mapping[str, Any], *paths: str) -> int | None:
        for path in paths:
            count = _inside(usage, *path.split("."))
            if count is None:
                continue
            if type(count) is int and 0 <= count < _LARGEST_COUNT:
                return count
            if "usage_implausible" not in self.flags:
                self.flags.append("usage_implausible")
        return None

    def _replayed(self, completion: Completion) -> bool:
        """Did a response cache answer? Then this says nothing of the model: some provider headers say so,
        and one gateway gives itself away by counting no tokens for a text."""
        said = [self.reply.headers.get(name, "").lower() for name in _CACHE_HEADERS]
        if any("hit" in value for value in said) or "x-litellm-semantic-similarity" in self.reply.headers:
            return True
        if self.reply.headers.get("age", "0").strip() not in ("", "0"):
            return True
        return bool(completion.text) and completion.prompt_tokens == 0 and completion.completion_tokens == 0

    def _name(self, value: Any) -> str | None:
        """A metadata text: null and other types are None; bytes no file can hold are spelled out and flagged."""
        if not isinstance(value, str):
            return None
        spelled = value.encode("utf-8", errors="backslashreplace").decode()
        if spelled != value and "metadata_encoding" not in self.flags:
            self.flags.append("metadata_encoding")
        return spelled[:500]


def _sound(text: str, where: str) -> str:
    """The text, if UTF-8 can hold it and it is free of NUL; half a character is not what the model said."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _Unusable(missing("encoding", f"{where} is not valid Unicode")) from None
    if "\0" in text:
        raise _Unusable(missing("encoding", f"{where} holds NUL characters"))
    return text


def same_model(asked: str) -> tuple[str, ...]:
    """What may be echoed for a model id: the id, without a router's suffix, without its folders."""
    asked = asked.lower()
    bare = asked.partition(":")[0]
    return asked, bare, asked.rpartition("/")[2], bare.rpartition("/")[2]


def _token_ids(value: Mapping[str, Any], choice: Mapping[str, Any]) -> tuple[int, ...] | None:
    """The output's token ids, from where providers put them."""
    places = (
        choice.get("token_ids"),  # vLLM, Fireworks
        _inside(choice, "logprobs", "token_ids"),  # Together
        choice.get("tokens"),  # Cerebras
        _inside(value, "x_groq", "debug", "output_token_ids"),
        _inside(value, "__verbose", "tokens"),  # llama.cpp
    )
    for ids in places:
        if isinstance(ids, list) and ids and all(type(i) is int and 0 <= i < _LARGEST_TOKEN_ID for i in ids):
            return tuple(ids)
    return None


def _inside(value: Any, *path: str) -> Any:
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value
