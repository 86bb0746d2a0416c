"""The bytes of an accepted answer in, what it says out, read a second time and in another way.

It shares no code with the package. It takes for granted that the answer was accepted, and says only what its parts,
its end and its counts are: a reader that drops, doubles or mixes up something disagrees with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_TEXTS = ("text", "output_text")
_THOUGHTS = ("thinking", "redacted_thinking", "reasoning", "reasoning_text", "summary_text")
_FIELDS = ("reasoning_content", "reasoning", "thinking")
_TAGS = ("<think>", "<thinking>", "<thought>", "<reasoning>", "[THINK]", "◁think▷")
_CUTS = ("length", "max_tokens", "model_length", "max_output_tokens")
_FILTERS = ("content_filter", "refusal", "safety", "recitation", "prohibited_content", "guardrails", "sensitive")


@dataclass(frozen=True, kw_only=True)
class Read:
    """What stands in the bytes."""

    text: str
    reasoning: str | None
    calls: tuple[tuple[str, str], ...]
    finish: str | None
    prompt_tokens: int | None
    completion_tokens: int | None


def read_again(body: bytes) -> Read:
    """The same answer, from its bytes alone."""
    first = re.sub(rb"^(\xef\xbb\xbf)?\s*", b"", body)[:1]
    value = _load(body.decode("utf-8-sig", "surrogateescape")) if first == b"{" else _gather(body)
    choice = next((c for c in value["choices"] if c.get("index") == 0), value["choices"][0])
    message, finish = choice.get("message") or {}, choice.get("finish_reason")
    given = (value.get("usage"), choice.get("usage"), _dig(value, "x_groq", "usage"))
    usage: dict[str, Any] = next((u for u in given if isinstance(u, dict) and u), {})
    text, reasoning = _speech(message, cut=str(finish).lower() in (*_CUTS, *_FILTERS))
    return Read(
        text=text,
        reasoning=reasoning,
        calls=tuple(_calls(message)),
        finish=finish if isinstance(finish, str) else None,
        prompt_tokens=_whole(usage.get("prompt_tokens")),
        completion_tokens=_whole(usage.get("completion_tokens")),
    )


def _load(text: str) -> Any:
    return json.loads(text)


def _full(value: Any) -> bool:
    return isinstance(value, dict) and bool(value)


def _dig(value: Any, *path: str) -> Any:
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _whole(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 2**53 else None


def _speech(message: Mapping[str, Any], *, cut: bool) -> tuple[str, str | None]:
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    texts = [p["text"] for p in parts if p.get("type", "text") in _TEXTS]
    text = content if isinstance(content, str) else "".join(texts)
    for name in _FIELDS:
        if isinstance(message.get(name), str) and message[name]:
            return text, message[name]
    details = message.get("reasoning_details")
    listed = "".join(_detail_texts(details)) if isinstance(details, list) else ""
    thought = listed or "".join(_thought(p) for p in parts if p.get("type") in _THOUGHTS)
    return (text, thought) if thought else _untagged(text, cut=cut)


def _detail_texts(details: Sequence[Any]) -> Iterator[str]:
    pieces = [d for d in details if isinstance(d, dict)]
    numbered = all(type(d.get("index")) is int for d in pieces)
    for piece in sorted(pieces, key=lambda d: d["index"]) if numbered else pieces:
        said = piece.get("text") or piece.get("summary")
        yield said if isinstance(said, str) else ""


def _thought(part: Mapping[str, Any]) -> str:
    for name in ("thinking", "reasoning", "text", "summary", "content"):
        if isinstance(part.get(name), str):
            return str(part[name])
        if isinstance(part.get(name), list):
            inner = [i.get("text") if isinstance(i, dict) else i for i in part[name]]
            return "".join(i for i in inner if isinstance(i, str))
    return ""


def _untagged(text: str, *, cut: bool) -> tuple[str, str | None]:
    for tag in _TAGS:
        end = tag[0] + "/" + tag[1:]
        bare = text.lstrip()
        if bare.startswith(tag):
            inside = bare[len(tag) :]
            if end in inside:
                return inside[inside.index(end) + len(end) :], inside[: inside.index(end)]
            return ("", inside) if cut else (text, None)
        if tag not in text and text.count(end) == 1:
            return text[text.index(end) + len(end) :], text[: text.index(end)]
    return text, None


def _calls(message: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Those that name a function; the older field counts where the newer is empty."""
    given = message.get("tool_calls") or [{"function": message.get("function_call")}]
    for call in given if isinstance(given, list) else ():
        name, arguments = _dig(call, "function", "name"), _dig(call, "function", "arguments")
        if isinstance(arguments, dict):
            arguments = json.dumps(arguments, ensure_ascii=False)
        if isinstance(name, str) and name and isinstance(arguments, str | None):
            yield name, arguments or ""


# --- streams ---------------------------------------------------------------------------------


def _events(body: bytes) -> Iterator[dict[str, Any]]:
    text = body.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    lines = re.sub(r"\r\n|\r", "\n", text).split("\n")
    data: list[str] = []
    name = ""
    for line in lines:
        if line:
            field, _, said = line.partition(":")
            said = said.removeprefix(" ")
            if field == "data":
                data.append(said)
            name = said if field == "event" else name
            continue
        joined, kind = "\n".join(data), name
        had, data, name = bool(data), [], ""
        if not had or not joined.strip() or kind.lower() in ("ping", "heartbeat", "keepalive", "keep-alive"):
            continue
        if joined.strip() == "[DONE]":
            return
        yield _load(joined)


def _gather(body: bytes) -> dict[str, Any]:
    """A stream as the one value that it spells out."""
    whole: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for value in _events(body):
        if _full(value.get("usage")):
            whole["usage"] = value["usage"]
        if isinstance(value.get("x_groq"), dict):
            whole.setdefault("x_groq", {}).update(value["x_groq"])
        for given in value.get("choices") or ():
            choice = choices.setdefault(given.get("index") or 0, {"message": {}, "spoke": False})
            delta = given.get("delta")
            if delta is None and isinstance(given.get("message"), dict):
                delta = {} if choice["spoke"] else given["message"]
            choice["spoke"] = choice["spoke"] or bool(delta)
            _add_delta(choice["message"], delta or {})
            choice["finish_reason"] = given.get("finish_reason") or choice.get("finish_reason")
            if _full(given.get("usage")):
                choice["usage"] = given["usage"]
    whole["choices"] = [choices[i] | {"index": i} for i in sorted(choices)]
    return whole


def _add_delta(message: dict[str, Any], delta: Mapping[str, Any]) -> None:
    for name, given in delta.items():
        if name in ("content", *_FIELDS):
            if isinstance(given, str):
                message[name] = _as_text(message.get(name)) + given
            elif isinstance(given, list) and all(isinstance(p, dict) for p in given):
                said, thought = _of_parts(given)
                if said is not None:
                    message[name] = _as_text(message.get(name)) + said
                    if thought:
                        message["thinking"] = _as_text(message.get("thinking")) + thought
        elif name == "reasoning_details" and isinstance(given, list):
            message[name] = (message.get(name) or []) + given
        elif name == "tool_calls" and given:
            message.setdefault(name, [])
            for piece in given:
                _add_call(message[name], piece)
        elif name == "function_call" and isinstance(given, dict):
            older = message.setdefault("older", [])
            _add_call(older, {"index": 0, "function": given})
            message[name] = older[0]["function"]
    message["tool_calls"] = sorted(message.get("tool_calls") or [], key=lambda call: call["at"])


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _of_parts(parts: Sequence[Mapping[str, Any]]) -> tuple[str | None, str]:
    said = [p.get("text") for p in parts if p.get("type", "text") in _TEXTS]
    thought = "".join(_thought(p) for p in parts if p.get("type") in _THOUGHTS)
    return ("".join(said) if all(isinstance(s, str) for s in said) else None), thought  # type: ignore[arg-type]


def _add_call(calls: list[dict[str, Any]], piece: Mapping[str, Any]) -> None:
    """To the newest call of its index; to a new one where there is none, or where another id says so."""
    function = piece.get("function") or {}
    at = piece.get("index")
    newest = max((c["born"] for c in calls), default=-1)
    if at is None:
        last = next((c for c in calls if c["born"] == newest), None)
        other = last is not None and (last.get("id") != piece["id"] if piece.get("id") else bool(function.get("name")))
        at = 0 if last is None else last["at"] + other
        current = None if other else last
    else:
        own = [c for c in calls if c["at"] == at]
        current = max(own, key=lambda c: c["born"], default=None)
        if current is not None and current.get("id") and piece.get("id") and current["id"] != piece["id"]:
            current = None
    if current is None:
        current = {"at": at, "born": newest + 1, "function": {"arguments": None}}
        calls.append(current)
    if piece.get("id") and "id" not in current:
        current["id"] = piece["id"]
    if function.get("name") and "name" not in current["function"]:
        current["function"]["name"] = function["name"]
    arguments, before = function.get("arguments"), current["function"]["arguments"]
    if isinstance(arguments, str) and (before is None or isinstance(before, str)):
        current["function"]["arguments"] = (before or "") + arguments
    elif arguments is not None:
        current["function"]["arguments"] = arguments
