"""An Answer of another tool in, its Outcome out: what is no answer (an error, silence, a refusal) never passes for one.

Tools write failures where answers stand: "LLM Error", "No response", "nan", an exception's text.
Such a text counted as an answer agrees with itself perfectly, and so yields a false figure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tempzero.answers.chat_messages import CALL_MARK, call_line, parse_calls
from tempzero.answers.message_parts import split_think_block
from tempzero.exchange.ending_words import CUT_REASONS, ENDED_REASONS, FAILURE_REASONS, FILTER_REASONS
from tempzero.exchange.foreign_answers import ForeignAnswer
from tempzero.exchange.table_reading import is_sound_text
from tempzero.types.asked import ToolCall
from tempzero.types.recorded import Completion, FaultKind, Flag, Outcome, OutcomeKind, Status

# Refusals that say that there was one, and not in which words; our own exports write the kind of ending.
_REFUSAL_MARK = re.compile(
    r"(true|yes|y|t|1|1\.0|refused|refusal|filtered|blocked|content_filter)|(content_filter|refusal):.*",
    re.IGNORECASE | re.DOTALL,
)
_LONGEST_DETAIL = 300

# Whole texts that tools leave in place of an answer. Case counts: a model may well say "none".
_NO_ANSWER = frozenset(
    {
        *("nan", "NaN", "NAN", "None", "null", "NULL", "<NA>", "N/A", "#N/A", "[object Object]"),
        *("ERROR", "[ERROR]", "<error>", "<ERROR>", "API Error", "API error", "API_ERROR", "#ERROR"),
        *("LLM Error", "LLM error", "LLM_ERROR", "Request failed", "request failed", "[TIMEOUT]", "TIMEOUT"),
        *("No response", "No Response", "NO RESPONSE", "no response", "No response.", "[No response]", "[NO RESPONSE]"),
    }
)
# What exceptions of clients look like when their text is stored as the answer.
_ERROR_TEXTS = (
    r"error code: [45]\d\d - ",
    r"[45]\d\d (?:client|server) error: ",
    r"http(?: status)?(?: code)? error:? [45]\d\d\b",
    r"\[?api[ _]error\]?\s*:",
    r"(?:an )?error(?: occurred)?:\s*(?:rate.?limit|time.?out|connection|request|api|http|429|5\d\d|server|quota)\b",
    r"traceback \(most recent call last\):",
    r"(?:openai|litellm|httpx2?|requests|aiohttp|anthropic|botocore|urllib3?)(?:\.\w+)*\.\w*(?:error|exception|timeout)\b",
    r"(?:ratelimit|api\w*|internalserver|badrequest|authentication|notfound|timeout|connection|read|connect)error\b\s*[:(]",
)
_ERROR_TEXT = re.compile("|".join(_ERROR_TEXTS), re.IGNORECASE)
_LONGEST_ERROR_TEXT = 2000

# A refusal stands at the start and says little else. Longer texts that begin so may still answer.
_UNABLE = (
    r"i(?: can['’]?t| cannot| can not| won['’]t| will not| am (?:unable|not able) to|['’]m (?:unable|not able) to)"
)
_DENIED = (
    "help|assist|comply|fulfill?|provide|create|generate|write|engage|discuss|support|do that|continue|participate|"
    "answer (?:that|this)|share"
)
_REFUSALS = (
    rf"(?:i['’]m|i am)(?: very| really| so)? sorry,? (?:but )?(?:{_UNABLE}|as an ai|that['’]?s not something)",
    rf"(?:sorry|apologies|i apologi[sz]e),? (?:but )?{_UNABLE}",
    rf"{_UNABLE} (?:{_DENIED})\b",
    r"i (?:must|have to) (?:decline|refuse)\b",
    r"i decline to\b",
)
_REFUSAL = re.compile(rf"\s*(?:{'|'.join(_REFUSALS)})", re.IGNORECASE)
_LONGEST_REFUSAL = 400

_ERROR_KINDS: tuple[tuple[FaultKind, re.Pattern[str]], ...] = (
    ("rate_limited", re.compile(r"\b429\b|rate.?limit|too many requests", re.IGNORECASE)),
    ("quota", re.compile(r"\b402\b|insufficient.(quota|credit|funds|balance)", re.IGNORECASE)),
    ("auth", re.compile(r"\b401\b|unauthori[sz]ed|invalid.{0,10}api.?key", re.IGNORECASE)),
    ("timeout", re.compile(r"time.?out|timed out|\b(408|504|524)\b", re.IGNORECASE)),
    ("prompt_too_long", re.compile(r"context.(length|window)|maximum.context|too.many.tokens", re.IGNORECASE)),
    ("blocked", re.compile(r"content.(policy|filter|management)|moderation|safety", re.IGNORECASE)),
    ("server", re.compile(r"\b5\d\d\b|server.error|overloaded|unavailable|bad gateway", re.IGNORECASE)),
    ("network", re.compile(r"connection|network|dns|resolve", re.IGNORECASE)),
)
_KIND_BY_NAME: dict[str, FaultKind] = {kind: kind for kind, _ in _ERROR_KINDS}


@dataclass(frozen=True, slots=True)
class Ending:
    """How a response ended, in the words of `Outcome`."""

    status: Status
    kind: OutcomeKind
    detail: str = ""
    flags: tuple[Flag, ...] = ()


_WHOLE = Ending("valid", "complete")
_LENGTH = Ending("censored", "length")
_CACHED = Ending("excluded", "cached")
_REFUSED = Ending("censored", "refusal", "recognised by its words", ("refusal_by_wording",))
_SILENT = Ending("missing", "empty", "no text was recorded")
_EMPTY = Ending("valid", "empty")
_BROKEN = Ending("missing", "encoding", "the text holds half of a surrogate pair, which is no character")


def classify_ending(answer: ForeignAnswer, *, as_is: bool) -> Ending:
    """How this response ended.

    `as_is` believes every text that is not empty; what columns say of errors, refusals, caches
    and cut texts counts in any case.
    """
    text = answer.text
    finish = answer.finish_reason.strip().casefold() if answer.finish_reason else ""
    if answer.error is not None or finish in FAILURE_REASONS:
        return _missing_ending(answer.error or f"finish reason {finish}")
    if text is not None and not is_sound_text(text):
        return _BROKEN
    if answer.cached is not None:
        return _CACHED
    if answer.refusal is not None or finish in FILTER_REASONS:
        said = " ".join((_sound_or_none(answer.refusal) or f"finish reason {finish}").split())
        return Ending("censored", "content_filter", said[:_LONGEST_DETAIL])
    if not text:
        return _classify_silence(answer, finish)
    if not as_is and is_error_text(text) and text.strip() != answer.expected:
        return _missing_ending(" ".join(text.split())[:200])
    if finish in CUT_REASONS:
        return _LENGTH
    return _REFUSED if not as_is and is_refusal(text) else _WHOLE


def _classify_silence(answer: ForeignAnswer, finish: str) -> Ending:
    """An empty text is an answer where the response says that it ended, or shows its reasoning; else a gap."""
    if finish in CUT_REASONS:
        return _LENGTH
    if finish in ENDED_REASONS or _sound_or_none(answer.reasoning):
        return _WHOLE if answer.text else _EMPTY
    return _SILENT


def build_outcome(answer: ForeignAnswer, *, as_is: bool) -> Outcome:
    """The same with what the model said."""
    return compose_outcome(classify_ending(answer, as_is=as_is), answer)


def compose_outcome(end: Ending, answer: ForeignAnswer) -> Outcome:
    """How it ended, with what the model said."""
    said = None if end.status == "missing" else build_completion(answer)
    return Outcome(status=end.status, kind=end.kind, detail=end.detail, flags=end.flags, completion=said)


def build_completion(answer: ForeignAnswer) -> Completion:
    """What the model said, as it was recorded: by parts."""
    cut = (answer.finish_reason or "").strip().casefold() in CUT_REASONS
    written, calls = split_calls(answer.text or "")
    reasoning = _sound_or_none(answer.reasoning)
    if reasoning is None:
        block = split_think_block(written, answer.prompt or answer.request or "")
        if block is not None and (block.closed or cut):
            written, reasoning = block.text, block.reasoning
    return Completion(
        text=written,
        reasoning_text=reasoning,
        refusal=find_refusal_words(answer.refusal),
        tool_calls=calls,
        finish_reason=_sound_or_none(answer.finish_reason),
        served_model=_sound_or_none(answer.served_model),
        backend=_sound_or_none(answer.backend),
        fingerprint=_sound_or_none(answer.fingerprint),
        response_id=_sound_or_none(answer.response_id),
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        reasoning_tokens=answer.reasoning_tokens,
        total_tokens=answer.total_tokens,
    )


def find_refusal_words(refusal: str | None) -> str | None:
    """The words of a refusal; None for a mark that says no more than that there was one."""
    said = _sound_or_none(refusal)
    return None if said is None or _REFUSAL_MARK.fullmatch(said.strip()) else said


def split_calls(text: str) -> tuple[str, tuple[ToolCall, ...]]:
    """A text that ends in lines of calls, as `to_answer_text` makes it, in its text and its calls."""
    at = 0 if text.startswith(CALL_MARK) else text.find(f"\n{CALL_MARK}")
    if at < 0:
        return text, ()
    written, calls = text[:at], parse_calls(text[at:])
    return (written, calls) if "\n".join(filter(None, (written, *map(call_line, calls)))) == text else (text, ())


def is_error_text(text: str) -> bool:
    """Whether a whole text is what tools write in place of an answer."""
    if len(text) > _LONGEST_ERROR_TEXT:
        return False
    stripped = text.strip()
    return stripped in _NO_ANSWER or _ERROR_TEXT.match(stripped) is not None


def is_refusal(text: str) -> bool:
    """Whether a text does nothing but refuse, by its English wording."""
    return len(text) <= _LONGEST_REFUSAL and _REFUSAL.match(text) is not None


def _classify_error(words: str) -> FaultKind:
    named = _KIND_BY_NAME.get(words.partition(":")[0])
    if named is not None:
        return named
    return next((kind for kind, pattern in _ERROR_KINDS if pattern.search(words)), "failed")


def _missing_ending(detail: str) -> Ending:
    return Ending("missing", _classify_error(detail), _sound_or_none(detail) or ascii(detail))


def _sound_or_none(text: str | None) -> str | None:
    """The text, or None where it holds what no UTF-8 file can; the row itself keeps it, escaped."""
    return text if text is not None and is_sound_text(text) else None
