"""A direction pack in and out: a sealed file that says, without weights, how each form moves a model's answers.

JSON with the same bytes for the same content. Numbers are stored as 16-bit integers times a unit, in base64; what was
lost by that is a thousandth of what they measure.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from tempzero.errors import PackError
from tempzero.precision.forms.form import FormKind
from tempzero.sealed_json import (
    compute_seal,
    decode_token,
    encode_token,
    read_line,
    read_sealed,
    write_sealed,
)
from tempzero.types.asked import Message

FORMAT, VERSION = "tempzero direction pack", 3
ROUNDING_ROOM = 1.5
LARGEST_PACK_BYTES = 64_000_000
_MOST_PASSES = 10_000
_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, kw_only=True, slots=True)
class PackPrompt:
    """One prompt, and the tokens whose log-probabilities the pack knows, the reference's likeliest first.

    A token is the bytes that it adds to an answer: none for control tokens, which only their id tells apart.
    """

    id: str
    messages: tuple[Message, ...]
    token_ids: tuple[int, ...]
    tokens: tuple[bytes, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Direction:
    """What one form does: `by` is its log-probabilities minus the reference's, a row a prompt, a column a token."""

    name: str
    title: str
    kind: FormKind
    claims: tuple[str, ...]
    by: NDArray[np.float64]
    unsure: float = 0.0
    """What is not known of `by`, a root mean square in nats: where the form scatters with whatever else rounds."""
    passes: int = 1
    """`by` is the mean of so many, more than one where the form scatters."""

    @property
    def scatter(self) -> float:
        """How far one pass is off their mean, as whoever serves the form is off `by`: a root mean square in nats."""
        return self.unsure * float(np.sqrt(self.passes))


@dataclass(frozen=True, kw_only=True, slots=True)
class HonestRounding:
    """How far a host that is known to be honest was moved on the pack's prompts: a root mean square, in nats."""

    rms: float
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DirectionPack:
    """All of a model on some prompts. `logprobs` are the float32 reference's own, rows and columns as in `by`."""

    model: str
    weights_sha256: str
    chat_template_sha256: str
    made_with: str
    prompts: tuple[PackPrompt, ...]
    logprobs: NDArray[np.float64]
    normalisers: NDArray[np.float64]
    """Of each prompt, what its logits less its log-probabilities are."""
    directions: tuple[Direction, ...]
    rounding: HonestRounding | None = None
    """None: nobody has measured an honest host on these prompts."""

    @property
    def honest_size(self) -> float | None:
        """What an honest 16-bit host is moved by at most: half as much again as one that was measured."""
        return None if self.rounding is None else ROUNDING_ROOM * self.rounding.rms

    @property
    def seal(self) -> str:
        """SHA-256 over everything in it."""
        return compute_seal(_to_json(self))


def save_pack(pack: DirectionPack, path: Path) -> None:
    """Write it with its seal; the same pack gives the same bytes."""
    write_sealed(_to_json(pack), path)


def load_pack(path: Path) -> DirectionPack:
    """Read a pack, which may come from anybody. Raises PackError: not one, another version, or changed since."""
    body = read_sealed(path, what="direction pack", format_name=FORMAT, version=VERSION, largest=LARGEST_PACK_BYTES)
    try:
        return _from_json(body)
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as problem:
        raise PackError(f"{path}: damaged: {problem}") from None


def _to_json(pack: DirectionPack) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "model": pack.model,
        "weights_sha256": pack.weights_sha256,
        "chat_template_sha256": pack.chat_template_sha256,
        "made_with": pack.made_with,
        "prompts": [
            {
                "id": p.id,
                "messages": [{"role": m.role, "content": m.content} for m in p.messages],
                "token_ids": list(p.token_ids),
                "tokens": [encode_token(t) for t in p.tokens],
            }
            for p in pack.prompts
        ],
        "logprobs": _encode_numbers(pack.logprobs),
        "normalisers": _encode_numbers(pack.normalisers[:, None]),
        "directions": [
            {
                "name": d.name,
                "title": d.title,
                "kind": d.kind,
                "claims": list(d.claims),
                "by": _encode_numbers(d.by),
                "unsure": round(d.unsure, 6),
                "passes": d.passes,
            }
            for d in pack.directions
        ],
        "rounding": None
        if pack.rounding is None
        else {"rms": round(pack.rounding.rms, 6), "source": pack.rounding.source},
    }


def _from_json(body: Mapping[str, Any]) -> DirectionPack:
    prompts = tuple(_read_prompt(p) for p in body["prompts"])
    widths = {len(p.token_ids) for p in prompts} | {len(p.tokens) for p in prompts}
    if len(widths) != 1 or min(widths) < 2:
        raise ValueError("its prompts must all have the same number of tokens, two or more")
    shape = (len(prompts), widths.pop())
    return DirectionPack(
        model=read_line(body["model"]),
        weights_sha256=read_line(body["weights_sha256"]),
        chat_template_sha256=read_line(body["chat_template_sha256"]),
        made_with=read_line(body["made_with"]),
        prompts=prompts,
        logprobs=_decode_numbers(body["logprobs"], shape),
        normalisers=_decode_numbers(body["normalisers"], (len(prompts), 1))[:, 0],
        directions=tuple(_read_direction(d, shape) for d in body["directions"]),
        rounding=_read_rounding(body["rounding"]),
    )


def _read_rounding(entry: Mapping[str, Any] | None) -> HonestRounding | None:
    if entry is None:
        return None
    if not isinstance(entry["rms"], float) or not 0 < entry["rms"] < 10:
        raise ValueError(f"{entry['rms']!r} is no size in nats")
    return HonestRounding(rms=entry["rms"], source=read_line(entry["source"]))


def _read_prompt(entry: Mapping[str, Any]) -> PackPrompt:
    messages = tuple(Message(role=m["role"], content=m["content"]) for m in entry["messages"])
    if not messages or any(m.role not in _ROLES or not isinstance(m.content, str) for m in messages):
        raise ValueError("a prompt needs messages of system, user or assistant, with texts")
    ids = tuple(entry["token_ids"])
    if any(type(i) is not int or i < 0 for i in ids) or len(set(ids)) != len(ids):
        raise ValueError("token ids are different whole numbers")
    return PackPrompt(
        id=read_line(entry["id"]),
        messages=messages,
        token_ids=ids,
        tokens=tuple(decode_token(t) for t in entry["tokens"]),
    )


def _read_direction(entry: Mapping[str, Any], shape: tuple[int, int]) -> Direction:
    if entry["kind"] not in get_args(FormKind):
        raise ValueError(f"{entry['kind']!r} is no kind of form")
    if not isinstance(entry["unsure"], float) or not 0 <= entry["unsure"] < 10:
        raise ValueError(f"{entry['unsure']!r} is no size in nats")
    if type(entry["passes"]) is not int or not 1 <= entry["passes"] <= _MOST_PASSES:
        raise ValueError(f"{entry['passes']!r} is no number of passes")
    return Direction(
        name=read_line(entry["name"]),
        title=read_line(entry["title"]),
        kind=entry["kind"],
        claims=tuple(read_line(c) for c in entry["claims"]),
        by=_decode_numbers(entry["by"], shape),
        unsure=entry["unsure"],
        passes=entry["passes"],
    )


def _encode_numbers(values: NDArray[np.float64]) -> dict[str, Any]:
    unit = 10.0 ** np.ceil(np.log10(max(float(np.abs(values).max()), 1e-30) / 32_000))
    return {
        "unit": f"{unit:.0e}",
        "int16": base64.b64encode(np.rint(values / unit).astype("<i2").tobytes()).decode("ascii"),
    }


def _decode_numbers(entry: Mapping[str, Any], shape: tuple[int, int]) -> NDArray[np.float64]:
    raw = base64.b64decode(entry["int16"], validate=True)
    if len(raw) != 2 * shape[0] * shape[1]:
        raise ValueError(f"{len(raw) // 2} numbers where {shape[0]} x {shape[1]} belong")
    unit = float(entry["unit"])
    if not 1e-40 < unit < 1:
        raise ValueError(f"{entry['unit']!r} is no unit")
    return np.frombuffer(raw, "<i2").reshape(shape).astype(np.float64) * unit
