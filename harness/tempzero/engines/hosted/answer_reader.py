"""One answer as a JSON object in, an Outcome with its completion by parts out, flagged for whatever is odd about it."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tempzero.answers.message_parts import (
    REASONING_FIELDS,
    REASONING_LIST,
    find_leak,
    read_reasoning_fields,
    split_content_list,
    split_think_block,
)
from tempzero.answers.served_names import judge_served_name
from tempzero.engines.hosted.fault_catalogue import (
    Reply,
    UnusableReply,
    missing_outcome,
    parse_http_date_s,
    to_complaint,
    to_printable_line,
)
from tempzero.engines.hosted.finish_reasons import CUT_REASONS, FILTERED_REASONS, FINISHED_REASONS, TOOL_REASONS
from tempzero.engines.hosted.token_limits import has_too_many_words, read_limit
from tempzero.types.asked import ToolCall
from tempzero.types.recorded import Completion, Flag, Outcome, OutcomeKind, Status

_CACHE_HEADERS = (
    "x-openrouter-cache-status",
    "cf-aig-cache-status",
    "cf-cache-status",
    "x-portkey-cache-status",
    "helicone-cache",
    "x-cache",
)
# Of bodies without an answer.
_REMARK_FIELDS = ("message", "detail", "msg", "status", "code", "base_resp", "type", "reason")
_CONTENT_FIELDS = frozenset({"content", *REASONING_FIELDS, REASONING_LIST, "refusal", "tool_calls", "function_call"})
# An answer dated so long before its response was made elsewhere, or earlier.
_OLDEST_CREATION_S = 600.0
_LARGEST_COUNT = 2**53
_LARGEST_TOKEN_ID = 2**31


@dataclass(slots=True)
class AnswerReader:
    """Reads one body step by step, gathering what is odd about it."""

    value: Mapping[str, Any]
    reply: Reply
    flags: list[Flag] = field(default_factory=list)

    def outcome(self) -> Outcome:
        """The outcome. Raises UnusableReply where the body is no answer."""
        choice = self._choice()
        given = self._name(choice.get("finish_reason"))
        finish = given.lower() if given else ""
        message = self._message(choice, finish)
        counted = self._counted(choice, given)
        limit = read_limit(counted, limit=self.reply.asked_max_tokens, finish=finish)
        completion = self._said(message, counted, cut=limit.cut or finish in FILTERED_REASONS)
        if not finish and not find_usage(self.value, choice):
            raise UnusableReply(
                missing_outcome("truncated_stream", "neither a finish reason nor usage: its end is not known", "yes")
            )
        self._note_who_answered(completion)
        self._note_what_is_odd(completion)
        self._note_calls(message, completion, finish)
        for name in limit.flags:
            # Where reasoning is shown and not counted apart, nobody knows how many tokens the text took.
            is_known = not completion.reasoning_text or completion.reasoning_tokens is not None
            self._flag(name if is_known or name != "max_tokens_not_held" else "limit_without_reasoning")
        asked = self.reply.asked_max_tokens
        if asked is not None and completion.output_tokens is None and has_too_many_words(completion.text, asked):
            self._flag("max_tokens_not_held")
        if self._is_replayed(completion):
            return replace(self._build_outcome("excluded", "cached", completion), retry="once")
        return self._judge_end(choice, message, completion, finish, cut=limit.cut)

    def _judge_end(
        self, choice: Mapping[str, Any], message: Mapping[str, Any], completion: Completion, finish: str, *, cut: bool
    ) -> Outcome:
        """Whether the answer is whole, cut or withheld. Without any word on it, a counted answer is whole."""
        if not finish:
            self._flag("finish_reason_missing")
        shown = completion.text or completion.tool_calls
        filters = _filters_hit(choice)
        if finish in FILTERED_REASONS or message.get("refusal") or completion.refusal or (filters and not shown):
            why = [completion.refusal or str(message.get("refusal") or finish), *filters]
            return self._build_outcome("censored", "content_filter", completion, detail=", ".join(why))
        if cut:
            reasoned = completion.reasoning_text or completion.reasoning_tokens
            if not shown and reasoned:
                self._flag("limit_spent_on_reasoning")
                detail = "the limit was spent on reasoning: raise max_tokens"
                return self._build_outcome("censored", "length", completion, detail=detail)
            return self._build_outcome("censored", "length", completion)
        if finish and finish not in FINISHED_REASONS and not self._is_of_tools(message, finish):
            self._flag("finish_reason_unknown")
        return self._build_outcome("valid", "complete" if shown else "empty", completion)

    def _build_outcome(self, status: Status, kind: OutcomeKind, completion: Completion, detail: str = "") -> Outcome:
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
            self._flag("several_choices")
        return next((c for c in choices if c.get("index") == 0), choices[0])

    def _message(self, choice: Mapping[str, Any], finish: str) -> Mapping[str, Any]:
        """The message; of an answer that a filter withheld (Azure's), none is needed."""
        message = choice.get("message")
        if message is None and (finish in FILTERED_REASONS or _filters_hit(choice)):
            return {}
        if not isinstance(message, dict):
            raise UnusableReply(missing_outcome("schema", "choices[0].message is not an object"))
        ended = CUT_REASONS | FILTERED_REASONS | TOOL_REASONS
        if not _CONTENT_FIELDS & message.keys() and finish not in ended:
            raise UnusableReply(missing_outcome("schema", "choices[0].message holds no content"))
        return message

    def _said(self, message: Mapping[str, Any], counted: Completion, *, cut: bool) -> Completion:
        """With its parts: text, reasoning, calls and refusal, from wherever they come in."""
        content, beside, declined = self._content(message.get("content"))
        refusal = message.get("refusal")
        refusal = refusal if isinstance(refusal, str) and refusal else declined
        found = read_reasoning_fields(message)
        where, reasoning = found if found is not None else ("content", beside or None)
        text = content
        if reasoning is None:
            text, reasoning = self._split_think_block(content, cut=cut)
        if reasoning is not None:
            reasoning = _require_sound_text(reasoning, f"message.{where}")
        if refusal:
            refusal = _require_sound_text(refusal, "message.refusal")
        return replace(
            counted,
            text=text,
            reasoning_text=reasoning,
            refusal=refusal or None,
            tool_calls=self._calls(message),
        )

    def _content(self, content: Any) -> tuple[str, str, str]:
        """Text, reasoning and refusal of the content, which may be a list of parts; anything else is no answer."""
        reasoning = refusal = ""
        parts = split_content_list(content)
        if parts is not None:
            self._flag("content_parts")
            if parts.unread:
                self._flag("parts_unread")
            content, reasoning, refusal = parts.text, parts.reasoning, parts.refusal
        if content is None:
            return "", reasoning, refusal
        if not isinstance(content, str):
            raise UnusableReply(missing_outcome("schema", f"message.content is a JSON {type(content).__name__}"))
        return _require_sound_text(content, "message.content"), reasoning, refusal

    def _split_think_block(self, content: str, *, cut: bool) -> tuple[str, str | None]:
        """The text and the reasoning in the marks of the model's template. One never closed is reasoning where cut."""
        block = split_think_block(content, self.reply.asked_text)
        if block is None:
            return content, None
        if not block.closed and not cut:
            self._flag("think_block_open")
            return content, None
        if not block.opened:
            self._flag("think_block_unopened")
        return block.text, block.reasoning

    def _calls(self, message: Mapping[str, Any]) -> tuple[ToolCall, ...]:
        """The calls in their order, that of the older `function_call` where there are no others.

        One that cannot be understood is no answer where tools were offered, and nothing where none were.
        """
        given, older = message.get("tool_calls"), message.get("function_call")
        if not given and isinstance(older, dict) and older:
            given = [{"function": older}]
        if not given or not (isinstance(given, list) or self.reply.offered_tools):
            return ()
        if not isinstance(given, list):
            raise UnusableReply(missing_outcome("schema", f"message.tool_calls is a JSON {type(given).__name__}"))
        called = [(call, index) for index, call in enumerate(given) if self.reply.offered_tools or _is_call(call)]
        return tuple(self._call(call, index) for call, index in called)

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

    def _counted(self, choice: Mapping[str, Any], finish_reason: str | None) -> Completion:
        """Who answered, how it ended and what it took, without what was said."""
        usage = find_usage(self.value, choice)
        if not usage:
            self._flag("usage_missing")
        return Completion(
            text="",
            finish_reason=finish_reason,
            served_model=self._name(self.value.get("model")),
            backend=self._name(self.value.get("provider")),
            fingerprint=self._name(self.value.get("system_fingerprint")),
            response_id=self._name(self.value.get("id")),
            prompt_tokens=self._count(usage, "prompt_tokens"),
            completion_tokens=self._count(usage, "completion_tokens"),
            cached_tokens=self._count(usage, "prompt_tokens_details.cached_tokens", "prompt_cache_hit_tokens"),
            reasoning_tokens=self._count(usage, "completion_tokens_details.reasoning_tokens", "reasoning_tokens"),
            total_tokens=self._count(usage, "total_tokens"),
            token_ids=_find_token_ids(self.value, choice),
        )

    def _count(self, usage: Mapping[str, Any], *paths: str) -> int | None:
        for path in paths:
            count = _nested_value(usage, *path.split("."))
            if count is None:
                continue
            if type(count) is int and 0 <= count < _LARGEST_COUNT:
                return count
            self._flag("usage_implausible")
        return None

    def _note_who_answered(self, completion: Completion) -> None:
        served, reply = completion.served_model, self.reply
        if served is None:
            self._flag("model_missing")
            return
        name_flag = _find_name_flag(served, reply.asked_model, reply.accepted_models)
        if name_flag is not None:
            self._flag(name_flag)

    def _note_what_is_odd(self, completion: Completion) -> None:
        """Said by the response itself: counts that cannot be, an answer older than its question, a template's marks."""
        output, counted = completion.output_tokens, completion.completion_tokens
        if (completion.text or completion.reasoning_text) and output == 0 != completion.prompt_tokens:
            self._flag("usage_implausible")
        if output is not None and counted is not None and output > counted:
            self._flag("reasoning_billed_apart")
        if self.reply.headers.get("content-encoding", "identity") not in ("", "identity"):
            self._flag("encoding_untrue")
        created, now = self.value.get("created"), parse_http_date_s(self.reply.headers.get("date", ""))
        if type(created) is int and now is not None and 0 < created < now - _OLDEST_CREATION_S:
            self._flag("suspected_cache")
        attempt = _nested_value(self.value, "openrouter_metadata", "attempt")
        if type(attempt) is int and attempt > 1:
            self._flag("upstream_fallback")
        if _nested_value(self.value, "openrouter_metadata", "pipeline"):
            self._flag("prompt_mismatch")  # what it lists (compression, plugins) changed the prompt
        for said in (completion.text, completion.reasoning_text or ""):
            if find_leak(said, self.reply.asked_text) is not None:
                self._flag("template_leak")

    def _note_calls(self, message: Mapping[str, Any], completion: Completion, finish: str) -> None:
        if self._is_of_tools(message, finish):
            if not self.reply.offered_tools:
                self._flag("unexpected_tool_call")
            elif not completion.tool_calls:
                self._flag("tool_call_missing")

    def _is_of_tools(self, message: Mapping[str, Any], finish: str) -> bool:
        return bool(message.get("tool_calls") or message.get("function_call") or finish in TOOL_REASONS)

    def _is_replayed(self, completion: Completion) -> bool:
        """Did a response cache answer? Then this says nothing of the model: some provider headers say so,
        and one gateway gives itself away by counting no tokens for a text."""
        said = [self.reply.headers.get(name, "").lower() for name in _CACHE_HEADERS]
        if any("hit" in value for value in said) or "x-litellm-semantic-similarity" in self.reply.headers:
            return True
        age = self.reply.headers.get("age", "").strip()
        if age.isascii() and age.isdecimal() and age.strip("0"):
            return True
        shown = completion.text or completion.reasoning_text or completion.tool_calls
        return bool(shown) and completion.prompt_tokens == 0 and completion.output_tokens == 0

    def _name(self, value: Any) -> str | None:
        """A metadata text: null and other types are None; bytes no file can hold are spelled out and flagged."""
        if not isinstance(value, str):
            return None
        spelled = value.encode("utf-8", errors="backslashreplace").decode()
        if spelled != value:
            self._flag("metadata_encoding")
        return spelled[:500]


def _is_call(call: Any) -> bool:
    """Whether it names a function, with arguments as a text, an object or none."""
    name, arguments = _nested_value(call, "function", "name"), _nested_value(call, "function", "arguments")
    return isinstance(name, str) and bool(name) and isinstance(arguments, str | dict | None)


def _require_sound_text(text: str, where: str) -> str:
    """The text, if UTF-8 can hold it and it is free of NUL; half a character is not what the model said."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UnusableReply(missing_outcome("encoding", f"{where} is not valid Unicode")) from None
    if "\0" in text:
        raise UnusableReply(missing_outcome("encoding", f"{where} holds NUL characters"))
    return text


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


@functools.lru_cache(maxsize=256)
def _find_name_flag(served: str, asked: str, accepted: tuple[str, ...]) -> Flag | None:
    """What is odd about the name that answered, found once: each answer of a run asks the same."""
    standing = judge_served_name(served, asked=asked, accepted=accepted)
    return None if standing == "same" else "model_alias" if standing == "alias" else "model_mismatch"


def find_usage(value: Mapping[str, Any], choice: Mapping[str, Any]) -> Mapping[str, Any]:
    """Usage from where providers put it: the top, the choice (Moonshot), x_groq; empty where there is none."""
    for usage in (value.get("usage"), choice.get("usage"), _nested_value(value, "x_groq", "usage")):
        if isinstance(usage, dict) and usage:
            return usage
    return {}


def _filters_hit(choice: Mapping[str, Any]) -> list[str]:
    """The names of the filters that an answer did not pass, as Azure lists them."""
    results = choice.get("content_filter_results")
    found = results.items() if isinstance(results, dict) else ()
    return sorted(str(name) for name, result in found if isinstance(result, dict) and result.get("filtered") is True)


def _nested_value(value: Any, *path: str) -> Any:
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value
