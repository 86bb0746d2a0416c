"""A reference pack in and out: a sealed file by which answers are judged on a machine that holds no model.

JSON with the same bytes for the same content. Of every place of every answer the best tokens are kept with their
log-probabilities, as 16-bit integers times a unit; what is lost by that is a two-thousandth of a nat.
"""

from __future__ import annotations

import base64
import binascii
import functools
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tempzero.answers.chat_messages import wire_message, wire_tools
from tempzero.errors import PackError
from tempzero.sealed_json import (
    compute_seal,
    decode_token,
    encode_token,
    read_line,
    read_sealed,
    write_sealed,
)
from tempzero.types.asked import Message

FORMAT, VERSION = "tempzero reference pack", 1
LARGEST_PACK_BYTES = 256_000_000
LOGPROB_UNIT = 0.001
# Below this a log-probability is as good as none, and 16 bits hold no more.
LEAST_LOGPROB = -32.0
_MOST_PLACES, _MOST_LISTED, _MOST_TOKENS = 200_000, 128, 2_000_000
# Of all answers together: what a small file unpacks to, and what reading by it holds.
_MOST_NUMBERS, _MOST_PROMPT_TOKENS = 50_000_000, 20_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class PackAnswer:
    """What the reference answered to one prompt.

    `path` are the tokens it chose, as numbers in `ReferencePack.tokens`, `logprob` their log-probabilities; `best` and
    `best_logprobs` have a row for each of them: the tokens that it gave the highest. `finish_reason` is `stop` or
    `length`; the path of one that stopped ends with the token that ended the turn where the engine tells it.
    `asked_sha256` is over all that was asked (`hash_question`), `template_values` what the chat template was given.
    """

    prompt: str
    asked_sha256: str
    messages_sha256: str
    template_values: Mapping[str, Any]
    prompt_tokens: int | None
    text: str
    reasoning_text: str | None
    finish_reason: str
    path: NDArray[np.int32]
    logprob: NDArray[np.float64]
    best: NDArray[np.int32]
    best_logprobs: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReferencePack:
    """A reference's answers to a suite.

    `model` is the weights it claims to be; `made_by` the provider and engine it was read from, `made_at` the time of
    the first answer, `run_root` the root of the run in which these were recorded. `tokens` are the bytes that each
    token adds to an answer, `ends` the numbers of those that end a turn; none: this engine does not tell them.
    `written` is what stands before and behind reasoning that was given apart. `left_out`: prompts without a usable
    answer, and why.
    """

    model: str
    made_by: str
    made_with: Mapping[str, Any]
    made_at: str
    suite_sha256: str
    run_root: str
    tokens: tuple[bytes, ...]
    ends: frozenset[int]
    written: tuple[str, str] | None
    answers: tuple[PackAnswer, ...]
    left_out: Mapping[str, str]

    @property
    def seal(self) -> str:
        """SHA-256 over everything in it."""
        return compute_seal(_to_body(self))

    @property
    def places(self) -> int:
        """Tokens of all answers together."""
        return sum(a.path.size for a in self.answers)


def hash_messages(messages: Sequence[Message]) -> str:
    """What one prompt is known by: SHA-256 over its messages as they go on the wire."""
    return compute_seal({"messages": [wire_message(m) for m in messages]})


def hash_question(
    messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], tool_choice: Any, request: Mapping[str, Any]
) -> str:
    """SHA-256 over all that makes a question: messages, tools, further fields of the request."""
    asked = {"messages": [wire_message(m) for m in messages], **wire_tools(tools, tool_choice), "request": request}
    return compute_seal(asked)


def describe_pack(pack: ReferencePack, seal: str) -> dict[str, Any]:
    """Who made it, of what, and its seal."""
    return {
        "sha256": seal,
        "model": pack.model,
        "made_by": pack.made_by,
        "made_at": pack.made_at,
        "run_root": pack.run_root,
        "made_with": dict(pack.made_with),
    }


def save_reference_pack(pack: ReferencePack, path: Path) -> None:
    """Write it with its seal; the same pack gives the same bytes."""
    write_sealed(_to_body(pack), path)


def load_reference_pack(path: Path) -> ReferencePack:
    """Read a pack, which may come from anybody. Raises PackError: not one, another version, or changed since."""
    body = read_sealed(path, what="reference pack", format_name=FORMAT, version=VERSION, largest=LARGEST_PACK_BYTES)
    try:
        return _from_body(body)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, binascii.Error, zlib.error) as problem:
        raise PackError(f"{path}: damaged: {problem}") from None


@functools.cache
def read_pack_model(path: str) -> str:
    """The model that a pack is of. Raises PackError."""
    return load_reference_pack(Path(path)).model


def _to_body(pack: ReferencePack) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "model": pack.model,
        "made_by": pack.made_by,
        "made_with": dict(pack.made_with),
        "made_at": pack.made_at,
        "suite_sha256": pack.suite_sha256,
        "run_root": pack.run_root,
        "tokens": [encode_token(t) for t in pack.tokens],
        "ends": sorted(pack.ends),
        "written": None if pack.written is None else list(pack.written),
        "answers": [_to_entry(a) for a in pack.answers],
        "left_out": dict(pack.left_out),
    }


def _to_entry(answer: PackAnswer) -> dict[str, Any]:
    return {
        "prompt": answer.prompt,
        "asked_sha256": answer.asked_sha256,
        "messages_sha256": answer.messages_sha256,
        "template_values": dict(answer.template_values),
        "prompt_tokens": answer.prompt_tokens,
        "text": answer.text,
        "reasoning_text": answer.reasoning_text,
        "finish_reason": answer.finish_reason,
        "listed": int(answer.best.shape[1]),
        "path": _pack_array(answer.path, "<i4"),
        "logprob": _pack_array(_to_units(answer.logprob), "<i2"),
        "best": _pack_array(answer.best, "<i4"),
        "best_logprobs": _pack_array(_to_units(answer.best_logprobs), "<i2"),
    }


def _from_body(body: Mapping[str, Any]) -> ReferencePack:
    tokens = tuple(decode_token(t) for t in body["tokens"])
    if len(tokens) > _MOST_TOKENS:
        raise ValueError(f"{len(tokens):,} tokens; no vocabulary has so many")
    ends = frozenset(_read_number(n, len(tokens)) for n in body["ends"])
    written = body["written"]
    return ReferencePack(
        model=read_line(body["model"]),
        made_by=read_line(body["made_by"]),
        made_with={read_line(k): v for k, v in body["made_with"].items()},
        made_at=read_line(body["made_at"]),
        suite_sha256=read_line(body["suite_sha256"]),
        run_root=read_line(body["run_root"]),
        tokens=tokens,
        ends=ends,
        written=None if written is None else (_read_text(written[0]), _read_text(written[1])),
        answers=tuple(_read_answers(body["answers"], len(tokens))),
        left_out={read_line(k): read_line(v) for k, v in body["left_out"].items()},
    )


def _read_answers(entries: Sequence[Any], tokens: int) -> Iterator[PackAnswer]:
    numbers = prompt_tokens = 0
    for entry in entries:
        answer = _from_entry(entry, tokens)
        numbers, prompt_tokens = numbers + answer.best.size, prompt_tokens + (answer.prompt_tokens or 0)
        if numbers > _MOST_NUMBERS or prompt_tokens > _MOST_PROMPT_TOKENS:
            raise ValueError("more than any suite holds")
        yield answer


def _from_entry(entry: Mapping[str, Any], tokens: int) -> PackAnswer:
    listed = _read_number(entry["listed"], _MOST_LISTED + 1)
    path = _unpack_array(entry["path"], "<i4", _MOST_PLACES)
    places = path.size
    best = _unpack_array(entry["best"], "<i4", places * listed)
    if listed < 2 or not places or best.size != places * listed:
        raise ValueError("an answer needs a token or more, and two or more listed for each")
    for numbers in (path, best):
        if numbers.size and not (numbers.min() >= 0 and numbers.max() < tokens):
            raise ValueError("numbers of tokens that are not listed")
    logprob = _unpack_array(entry["logprob"], "<i2", places)
    below = _unpack_array(entry["best_logprobs"], "<i2", places * listed)
    if logprob.size != places or below.size != places * listed or max(logprob.max(), below.max()) > 0:
        raise ValueError("log-probabilities that are none, or not one for each token")
    if entry["finish_reason"] not in ("stop", "length"):
        raise ValueError(f"{entry['finish_reason']!r:.40} is no end of an answer")
    prompt_tokens, reasoning = entry["prompt_tokens"], entry["reasoning_text"]
    return PackAnswer(
        prompt=read_line(entry["prompt"]),
        asked_sha256=read_line(entry["asked_sha256"]),
        messages_sha256=read_line(entry["messages_sha256"]),
        template_values=dict(entry["template_values"]),
        prompt_tokens=None if prompt_tokens is None else _read_number(prompt_tokens, _MOST_PROMPT_TOKENS),
        text=_read_text(entry["text"]),
        reasoning_text=None if reasoning is None else _read_text(reasoning),
        finish_reason=entry["finish_reason"],
        path=path.astype(np.int32),
        logprob=logprob.astype(np.float64) * LOGPROB_UNIT,
        best=best.astype(np.int32).reshape(places, listed),
        best_logprobs=below.astype(np.float64).reshape(places, listed) * LOGPROB_UNIT,
    )


def _read_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.40} is no text")
    return value


def _read_number(value: Any, below: int) -> int:
    if type(value) is not int or not 0 <= value < below:
        raise ValueError(f"{value!r:.40} is no whole number below {below:,}")
    return value


def _to_units(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.rint(np.clip(values, LEAST_LOGPROB, 0.0) / LOGPROB_UNIT)


def _pack_array(values: NDArray[Any], kind: str) -> str:
    return base64.b64encode(zlib.compress(values.astype(kind).tobytes(), 9)).decode("ascii")


def _unpack_array(value: Any, kind: str, most: int) -> NDArray[Any]:
    """At most so many numbers: a small text that unpacks to more is refused before it does."""
    size = np.dtype(kind).itemsize
    unpacking = zlib.decompressobj()
    raw = unpacking.decompress(base64.b64decode(value, validate=True), most * size + 1)
    if len(raw) > most * size or len(raw) % size or not unpacking.eof:
        raise ValueError(f"more than {most:,} numbers, or not whole ones")
    return np.frombuffer(raw, kind)
