"""The bytes of a Chat Completions response in, an Outcome out: a completion only where there truly is one.

Whether it came whole or as a stream is seen in the bytes; both are read by the same rules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tempzero.engines.hosted.assembling import assemble_stream, join_text_parts
from tempzero.engines.hosted.event_stream import decode_events, is_event_stream
from tempzero.engines.hosted.fault_catalogue import (
    Reply,
    UnusableReply,
    missing_outcome,
    outcome_of_break,
    outcome_of_inband_error,
    outcome_of_refusal,
    parse_http_date_s,
    to_complaint,
    to_printable_line,
)
from tempzero.engines.hosted.parsing import parse_json_bytes
from tempzero.engines.hosted.unpacking import is_packed, unpack_bytes
from tempzero.types.asked import ToolCall
from tempzero.types.recorded import Completion, Flag, Outcome, OutcomeKind, Status

# Finish reasons, in lower case: an answer, a cut one, a withheld one, another thing than an answer, or none at all.
_FINISHED_REASONS = frozenset({"stop", "eos", "eos_token", "end_turn", "stop_sequence", "completed"})
_CUT_REASONS = frozenset({"length", "max_tokens", "model_length", "max_output_tokens"})
_FILTERED_REASONS = frozenset(
    {"content_filter", "refusal", "safety", "recitation", "prohibited_content", "guardrails", "sensitive"}
)
_TOOL_REASONS = frozenset({"tool_calls", "function_call", "tool_use"})
_BROKEN_OFF_REASONS = frozenset(
    {"error", "abort", "aborted", "cancelled", "canceled", "failed", "interrupted", "timeout", "network_error"}
    | {"insufficient_system_resource", "malformed_function_call"}
)
_CACHE_HEADERS = (
    "x-openrouter-cache-status",
    "cf-aig-cache-status",
    "cf-cache-status",
    "x-portkey-cache-status",
    "helicone-cache",
    "x-cache",
)
_REMARK_FIELDS = (
    "message",
    "detail",
    "msg",
    "status",
    "code",
    "base_resp",
    "type",
    "reason",
)  # of bodies without an answer
_CONTENT_FIELDS = frozenset({"content", "reasoning", "reasoning_content", "refusal", "tool_calls", "function_call"})
_THINK_OPENING = re.compile(r"\s*<think>")
_MOST_UNPACKED = 16 * 1024 * 1024
# An answer dated so long before its response was made elsewhere, or earlier.
_OLDEST_CREATION_S = 600.0
_LARGEST_COUNT = 2**53
_LARGEST_TOKEN_ID = 2**31


def classify_reply(reply: Reply) -> Outcome:
    """Classify what came back. Never raises, whatever the bytes are."""
    try:
        outcome = _read_outcome(reply)
    except UnusableReply as unusable:
        outcome = unusable.outcome
    seen: dict[Flag, bool] = {"key_redacted": reply.key_redacted, "bytes_after_end": reply.surplus}
    more = [name for name, is_so in seen.items() if is_so]
    return replace(outcome, flags=(*outcome.flags, *more)) if more else outcome


def _read_outcome(reply: Reply) -> Outcome:
    if reply.status is None:
        assert reply.broken is not None, "without a head there is a reason for it"
        return outcome_of_break(reply.broken)
    if not 200 <= reply.status < 300:
        return outcome_of_refusal(reply.status, reply.headers, reply.body)
    streamed = is_event_stream(reply.body)
    if reply.broken is not None and not (streamed and reply.broken.kind != "too_large"):
        return outcome_of_break(reply.broken)
    if reply.withheld:
        return missing_outcome("withheld", "the response spelled out the API key; it was not kept")
    if streamed:
        return _read_stream(reply)
    value = _parse_body(reply)
    _raise_if_error(value, reply.headers)
    return _AnswerReader(value, reply, ["json_for_stream"] if reply.asked_stream else []).outcome()


def _read_stream(reply: Reply) -> Outcome:
    """A stream, whole or broken off. What breaks after the end mark breaks nothing; an error it told counts."""
    try:
        assembled = assemble_stream(decode_events(reply.body), reply.headers)
        _raise_if_error(assembled.value, reply.headers)
        finish = str(assembled.value["choices"][0]["finish_reason"]).lower()
        if not assembled.done and finish not in _FINISHED_REASONS | _CUT_REASONS | _FILTERED_REASONS | _TOOL_REASONS:
            raise UnusableReply(
                missing_outcome("truncated_stream", f"no end mark, and {finish} is no known finish reason", "yes")
            )
    except UnusableReply as unusable:
        if reply.broken is not None and unusable.outcome.kind != "inband_error":
            return outcome_of_break(reply.broken)
        raise
    if reply.broken is not None and not assembled.done:
        return outcome_of_break(reply.broken)
    odd: dict[Flag, bool] = {
        "stream_for_json": not reply.asked_stream,
        "no_done": not assembled.done,
        "broken_after_done": reply.broken is not None,
    }
    flags = [name for name, is_so in odd.items() if is_so]
    return _AnswerReader(assembled.value, reply, [*flags, *assembled.flags]).outcome()


def _parse_body(reply: Reply) -> Mapping[str, Any]:
    """The body as a JSON object."""
    body = reply.body.removeprefix(b"\xef\xbb\xbf")
    if not body.strip():
        raise UnusableReply(missing_outcome("empty_body", f"HTTP {reply.status} with an empty body", "yes"))
    try:
        value = parse_json_bytes(body)
    except (ValueError, RecursionError):
        raise UnusableReply(_outcome_without_json(reply)) from None
    if not isinstance(value, dict):
        raise UnusableReply(missing_outcome("schema", f"the body is a JSON {type(value).__name__}, not an object"))
    return value


def _outcome_without_json(reply: Reply) -> Outcome:
    coding = reply.headers.get("content-encoding", "identity")
    if coding == "identity" and not is_packed(reply.body):
        stated = reply.headers.get("content-type", "no content type")
        detail = f"HTTP {reply.status} with {len(reply.body)} bytes of {stated} that are not JSON"
        return missing_outcome("not_json", detail, "yes")
    if unpack_bytes(reply.body, _MOST_UNPACKED).burst:
        return missing_outcome(
            "too_large", f"{len(reply.body)} bytes of {coding} that unpack to more than {_MOST_UNPACKED}"
        )
    return missing_outcome(
        "encoding", f"asked for plain bytes, got compressed ones (content-encoding {coding})", "once"
    )


def _raise_if_error(value: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    """Errors that come as a success: at the top, as the whole body, or within the choice."""
    error = value.get("error") or value.get("errors")
    if not error and (value.get("object") == "error" or value.get("success") is False):
        error = value
    choices = value.get("choices")
    if not error and isinstance(choices, list) and choices and isinstance(choices[0], dict):
        error = choices[0].get("error")
        finish = choices[0].get("finish_reason")
        if not error and isinstance(finish, str) and finish.lower() in _BROKEN_OFF_REASONS:
            error = f"finish_reason is {finish}"
    if error:
        raise UnusableReply(outcome_of_inband_error(error, headers))


@dataclass(slots=True)
class _AnswerReader:
    """Reads one body step by step, gathering what is odd about it."""

    value: Mapping[str, Any]
    reply: Reply
    flags: list[Flag] = field(default_factory=list)

    def outcome(self) -> Outcome:
        choice = self._choice()
        message = choice.get("message")
        if not isinstance(message, dict):
            raise UnusableReply(missing_outcome("schema", "choices[0].message is not an object"))
        given = self._name(choice.get("finish_reason"))
        finish = given.lower() if given else given
        if not _CONTENT_FIELDS & message.keys() and finish not in _CUT_REASONS | _FILTERED_REASONS | _TOOL_REASONS:
            raise UnusableReply(missing_outcome("schema", "choices[0].message holds no content"))
        content = self._content(message.get("content"))
        text, reasoning = self._apart(content, message, finish)
        calls = self._calls(message)
        completion = replace(self._completion(choice, text, reasoning, given), tool_calls=calls)
        tools = bool(message.get("tool_calls") or message.get("function_call") or finish in _TOOL_REASONS)
        if tools and not self.reply.offered_tools:
            self.flags.append("unexpected_tool_call")
        elif tools and not calls:
            self.flags.append("tool_call_missing")
        if self._replayed(completion):
            return replace(self._done("excluded", "cached", completion), retry="once")
        if finish in _FILTERED_REASONS or message.get("refusal"):
            return self._done("censored", "content_filter", completion, detail=str(message.get("refusal") or finish))
        if finish in _CUT_REASONS:
            return self._done("censored", "length", completion)
        if not finish:
            self.flags.append("finish_reason_missing")
        elif finish not in _FINISHED_REASONS and not tools:
            self.flags.append("finish_reason_unknown")
        said = text or calls
        return self._done("valid", "complete" if said else "empty", completion)

    def _done(self, status: Status, kind: OutcomeKind, completion: Completion, detail: str = "") -> Outcome:
        return Outcome(
            status=status, kind=kind, detail=to_printable_line(detail), flags=tuple(self.flags), completion=completion
        )

    def _choice(self) -> Mapping[str, Any]:
        choices = self.value.get("choices")
        if choices is None or choices == []:
            said = to_complaint({key: given for key, given in self.value.items() if key in _REMARK_FIELDS}).line
            raise UnusableReply(
                missing_outcome("no_choices", f"the response holds no choices{said and ': '}{said}", "once")
            )
        if not isinstance(choices, list) or not all(isinstance(c, dict) for c in choices):
            raise UnusableReply(missing_outcome("schema", "choices is not a list of objects"))
        if len(choices) > 1:
            self.flags.append("several_choices")
        return next((c for c in choices if c.get("index") == 0), choices[0])

    def _content(self, content: Any) -> str:
        """The answer text. A list of text parts is joined; anything else is not an answer."""
        joined = join_text_parts(content)
        if joined is not None:
            self.flags.append("content_parts")
            content = joined
        if content is None:
            return ""
        if not isinstance(content, str):
            raise UnusableReply(missing_outcome("schema", f"message.content is a JSON {type(content).__name__}"))
        return _require_sound_text(content, "message.content")

    def _calls(self, message: Mapping[str, Any]) -> tuple[ToolCall, ...]:
        """The calls of offered tools, in their order; arguments given as an object become its text."""
        given = message.get("tool_calls")
        if not given or not self.reply.offered_tools:
            return ()
        if not isinstance(given, list):
            raise UnusableReply(missing_outcome("schema", f"message.tool_calls is a JSON {type(given).__name__}"))
        return tuple(self._call(call, index) for index, call in enumerate(given))

    def _call(self, call: Any, index: int) -> ToolCall:
        name, arguments = _nested_value(call, "function", "name"), _nested_value(call, "function", "arguments")
        if not isinstance(name, str) or not name:
            raise UnusableReply(missing_outcome("schema", f"message.tool_calls[{index}] names no function"))
        if isinstance(arguments, dict):
            self._flag("tool_arguments_object")
            arguments = json.dumps(arguments, ensure_ascii=False)
        elif arguments is None:
            arguments = ""
        if not isinstance(arguments, str):
            raise UnusableReply(missing_outcome("schema", f"the arguments of message.tool_calls[{index}] are no text"))
        where = f"message.tool_calls[{index}]"
        return ToolCall(
            name=_require_sound_text(name, where),
            arguments=_require_sound_text(arguments, where),
            id=self._name(call.get("id")),
        )

    def _flag(self, name: Flag) -> None:
        if name not in self.flags:
            self.flags.append(name)

    def _apart(self, content: str, message: Mapping[str, Any], finish: str | None) -> tuple[str, str | None]:
        """The answer and the reasoning: by field where the provider parts them, else by a leading <think> block."""
        for name in ("reasoning", "reasoning_content"):
            given = message.get(name)
            if isinstance(given, str) and given:
                return content, _require_sound_text(given, f"message.{name}")
        opening = _THINK_OPENING.match(content)
        if opening is None:
            return content, None
        reasoning, closed, text = content[opening.end() :].partition("</think>")
        if closed or finish in _CUT_REASONS:
            return text, reasoning
        self.flags.append("think_block_open")
        return content, None

    def _completion(
        self, choice: Mapping[str, Any], text: str, reasoning: str | None, finish: str | None
    ) -> Completion:
        usage = self._usage(choice)
        if (text or reasoning) and usage.get("completion_tokens") == 0 != usage.get("prompt_tokens"):
            self.flags.append("usage_implausible")
        self._note_what_is_odd()
        served = self._name(self.value.get("model"))
        if served is None:
            self.flags.append("model_missing")
        elif served.lower() not in accepted_model_names(self.reply.asked_model):
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
            token_ids=_find_token_ids(self.value, choice),
        )

    def _usage(self, choice: Mapping[str, Any]) -> Mapping[str, Any]:
        """Usage from where providers put it: the top, the choice (Moonshot), x_groq."""
        for usage in (self.value.get("usage"), choice.get("usage"), _nested_value(self.value, "x_groq", "usage")):
            if isinstance(usage, dict) and usage:
                return usage
        self.flags.append("usage_missing")
        return {}

    def _count(self, usage: Mapping[str, Any], *paths: str) -> int | None:
        for path in paths:
            count = _nested_value(usage, *path.split("."))
            if count is None:
                continue
            if type(count) is int and 0 <= count < _LARGEST_COUNT:
                return count
            self._flag("usage_implausible")
        return None

    def _note_what_is_odd(self) -> None:
        """Said by the response itself: an encoding that is none, an answer older than its question, a fallback."""
        if self.reply.headers.get("content-encoding", "identity") not in ("", "identity"):
            self.flags.append("encoding_untrue")
        created, now = self.value.get("created"), parse_http_date_s(self.reply.headers.get("date", ""))
        if type(created) is int and now is not None and 0 < created < now - _OLDEST_CREATION_S:
            self.flags.append("suspected_cache")
        attempt = _nested_value(self.value, "openrouter_metadata", "attempt")
        if type(attempt) is int and attempt > 1:
            self.flags.append("upstream_fallback")
        if _nested_value(self.value, "openrouter_metadata", "pipeline"):
            self.flags.append("prompt_mismatch")  # what it lists (compression, plugins) changed the prompt

    def _replayed(self, completion: Completion) -> bool:
        """Did a response cache answer? Then this says nothing of the model: some provider headers say so,
        and one gateway gives itself away by counting no tokens for a text."""
        said = [self.reply.headers.get(name, "").lower() for name in _CACHE_HEADERS]
        if any("hit" in value for value in said) or "x-litellm-semantic-similarity" in self.reply.headers:
            return True
        age = self.reply.headers.get("age", "").strip()
        if age.isascii() and age.isdecimal() and age.strip("0"):
            return True
        return bool(completion.text) and completion.prompt_tokens == 0 and completion.completion_tokens == 0

    def _name(self, value: Any) -> str | None:
        """A metadata text: null and other types are None; bytes no file can hold are spelled out and flagged."""
        if not isinstance(value, str):
            return None
        spelled = value.encode("utf-8", errors="backslashreplace").decode()
        if spelled != value:
            self._flag("metadata_encoding")
        return spelled[:500]


def _require_sound_text(text: str, where: str) -> str:
    """The text, if UTF-8 can hold it and it is free of NUL; half a character is not what the model said."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UnusableReply(missing_outcome("encoding", f"{where} is not valid Unicode")) from None
    if "\0" in text:
        raise UnusableReply(missing_outcome("encoding", f"{where} holds NUL characters"))
    return text


def accepted_model_names(asked: str) -> tuple[str, ...]:
    """What may be echoed for a model id: the id, without a router's suffix, without its folders."""
    asked = asked.lower()
    bare = asked.partition(":")[0]
    return asked, bare, asked.rpartition("/")[2], bare.rpartition("/")[2]


def _find_token_ids(value: Mapping[str, Any], choice: Mapping[str, Any]) -> tuple[int, ...] | None:
    """The output's token ids, from where providers put them."""
    places = (
        choice.get("token_ids"),  # vLLM, Fireworks
        _nested_value(choice, "logprobs", "token_ids"),  # Together
        choice.get("tokens"),  # Cerebras
        _nested_value(value, "x_groq", "debug", "output_token_ids"),
        _nested_value(value, "__verbose", "tokens"),  # llama.cpp
    )
    for ids in places:
        if isinstance(ids, list) and ids and all(type(i) is int and 0 <= i < _LARGEST_TOKEN_ID for i in ids):
            return tuple(ids)
    return None


def _nested_value(value: Any, *path: str) -> Any:
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value
