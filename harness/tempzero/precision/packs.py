"""A direction pack in and out: a sealed file that says, without weights, how each form moves a model's answers.

JSON with the same bytes for the same content. Numbers are stored as integers times a unit in base64, in 12 bits where
they are a direction's: what is lost is a two-thousandth of its largest, far less than what any engine rounds.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from tempzero.errors import PackError
from tempzero.precision.forms.form import FormKind
from tempzero.precision.prompt_rows import PromptRows
from tempzero.sealed_json import (
    compute_seal,
    decode_token,
    encode_token,
    read_line,
    read_sealed,
    write_sealed,
)
from tempzero.types.asked import Message

FORMAT, VERSION = "tempzero direction pack", 4
ROUNDING_ROOM = 1.5
LARGEST_PACK_BYTES = 64_000_000
_MOST_PASSES = 10_000
_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, kw_only=True, slots=True)
class PackPlace:
    """One place of the reference's answer: the tokens whose log-probabilities the pack knows, the likeliest first.

    The first is the one that the reference goes on with. A token is the bytes that it adds to an answer: none for
    control tokens, which only their id tells apart.
    """

    token_ids: tuple[int, ...]
    tokens: tuple[bytes, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PackPrompt:
    """One prompt, and the first places of the reference's answer to it, one or more."""

    id: str
    messages: tuple[Message, ...]
    places: tuple[PackPlace, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Direction:
    """What one form does: `by` is its log-probabilities minus the reference's, a row a place, a column a token."""

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
    """All of a model on some prompts: a row for each place of each prompt's answer, one prompt after another.

    `logprobs` are the float32 reference's own, rows and columns as in `by` of a direction.
    """

    model: str
    weights_sha256: str
    chat_template_sha256: str
    made_with: str
    prompts: tuple[PackPrompt, ...]
    logprobs: NDArray[np.float64]
    normalisers: NDArray[np.float64]
    """Of each row, what its logits less its log-probabilities are."""
    directions: tuple[Direction, ...]
    rounding: HonestRounding | None = None
    """None: nobody has measured an honest host on these prompts."""

    @property
    def places(self) -> tuple[PackPlace, ...]:
        """Of all rows."""
        return tuple(place for prompt in self.prompts for place in prompt.places)

    @property
    def rows(self) -> PromptRows:
        """Which prompt each row is of, and which place of its answer."""
        counts = [len(p.places) for p in self.prompts]
        return PromptRows(
            prompts=np.repeat(np.arange(len(counts)), counts), places=np.concatenate([np.arange(n) for n in counts])
        )

    @property
    def answer_tokens(self) -> int:
        """So many tokens of an answer are read at most."""
        return max(len(p.places) for p in self.prompts)

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
        "tokens": {str(i): encode_token(t) for i, t in sorted(_list_tokens(pack).items())},
        "prompts": [
            {
                "id": p.id,
                "messages": [{"role": m.role, "content": m.content} for m in p.messages],
                "places": [list(one.token_ids) for one in p.places],
            }
            for p in pack.prompts
        ],
        "logprobs": _encode_numbers(pack.logprobs, 16),
        "normalisers": _encode_numbers(pack.normalisers[:, None], 16),
        "directions": [
            {
                "name": d.name,
                "title": d.title,
                "kind": d.kind,
                "claims": list(d.claims),
                "by": _encode_numbers(d.by, 12),
                "unsure": round(d.unsure, 6),
                "passes": d.passes,
            }
            for d in pack.directions
        ],
        "rounding": None
        if pack.rounding is None
        else {"rms": round(pack.rounding.rms, 6), "source": pack.rounding.source},
    }


def _list_tokens(pack: DirectionPack) -> dict[int, bytes]:
    return {i: t for place in pack.places for i, t in zip(place.token_ids, place.tokens, strict=True)}


def _from_json(body: Mapping[str, Any]) -> DirectionPack:
    tokens = {_read_token_id(i): decode_token(t) for i, t in body["tokens"].items()}
    prompts = tuple(_read_prompt(p, tokens) for p in body["prompts"])
    places = [place for p in prompts for place in p.places]
    widths = {len(place.token_ids) for place in places}
    if len(widths) != 1 or min(widths) < 2:
        raise ValueError("its places must all have the same number of tokens, two or more")
    if len({p.id for p in prompts}) != len(prompts):
        raise ValueError("two of its prompts have the same id")
    shape = (len(places), widths.pop())
    logprobs = _decode_numbers(body["logprobs"], shape)
    if (logprobs.max(axis=1) > logprobs[:, 0]).any():
        raise ValueError("the first token of each place is the likeliest")
    return DirectionPack(
        model=read_line(body["model"]),
        weights_sha256=read_line(body["weights_sha256"]),
        chat_template_sha256=read_line(body["chat_template_sha256"]),
        made_with=read_line(body["made_with"]),
        prompts=prompts,
        logprobs=logprobs,
        normalisers=_decode_numbers(body["normalisers"], (len(places), 1))[:, 0],
        directions=tuple(_read_direction(d, shape) for d in body["directions"]),
        rounding=_read_rounding(body["rounding"]),
    )


def _read_rounding(entry: Mapping[str, Any] | None) -> HonestRounding | None:
    if entry is None:
        return None
    if not isinstance(entry["rms"], float) or not 0 < entry["rms"] < 10:
        raise ValueError(f"{entry['rms']!r} is no size in nats")
    return HonestRounding(rms=entry["rms"], source=read_line(entry["source"]))


def _read_token_id(key: str) -> int:
    if not key.isascii() or not key.isdecimal() or key != str(int(key)):
        raise ValueError(f"{key[:20]!r} is no token id")
    return int(key)


def _read_prompt(entry: Mapping[str, Any], tokens: Mapping[int, bytes]) -> PackPrompt:
    messages = tuple(Message(role=m["role"], content=m["content"]) for m in entry["messages"])
    if not messages or any(m.role not in _ROLES or not isinstance(m.content, str) for m in messages):
        raise ValueError("a prompt needs messages of system, user or assistant, with texts")
    places = tuple(_read_pack_place(place, tokens) for place in entry["places"])
    if not places:
        raise ValueError("a prompt needs a place of its answer")
    return PackPrompt(id=read_line(entry["id"]), messages=messages, places=places)


def _read_pack_place(listed: Sequence[Any], tokens: Mapping[int, bytes]) -> PackPlace:
    ids = tuple(listed)
    if any(type(i) is not int or i < 0 or i not in tokens for i in ids) or len(set(ids)) != len(ids):
        raise ValueError("token ids are different whole numbers, each with its text among the tokens")
    return PackPlace(token_ids=ids, tokens=tuple(tokens[i] for i in ids))


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


def _encode_numbers(values: NDArray[np.float64], bits: int) -> dict[str, Any]:
    """In units with one digit, so that the largest just fits; two of 12 bits are three bytes."""
    needed = max(float(np.abs(values).max()), 1e-30) / (2 ** (bits - 1) - 1)
    power = 10.0 ** np.floor(np.log10(needed))
    unit = float(f"{np.ceil(needed / power) * power:.0e}")
    whole = np.rint(values / unit).astype(np.int64).ravel()
    if bits == 16:
        raw = whole.astype("<i2").tobytes()
    else:
        one, other = np.append(whole, np.zeros(len(whole) % 2, np.int64)).reshape(-1, 2).T + 2**11
        raw = np.array([one & 255, one >> 8 | (other & 15) << 4, other >> 4], np.uint8).T.tobytes()
    return {"unit": f"{unit:.0e}", "bits": bits, "numbers": base64.b64encode(raw).decode("ascii")}


def _decode_numbers(entry: Mapping[str, Any], shape: tuple[int, int]) -> NDArray[np.float64]:
    raw, bits, count = base64.b64decode(entry["numbers"], validate=True), entry["bits"], shape[0] * shape[1]
    if bits not in (12, 16):
        raise ValueError(f"numbers have 12 or 16 bits, not {bits!r}")
    if len(raw) != (2 * count if bits == 16 else 3 * ((count + 1) // 2)):
        raise ValueError(f"there are not the {shape[0]} x {shape[1]} numbers that belong there")
    unit = float(entry["unit"])
    if not 1e-40 < unit < 1:
        raise ValueError(f"{entry['unit']!r} is no unit")
    if bits == 16:
        return np.frombuffer(raw, "<i2").reshape(shape).astype(np.float64) * unit
    low, middle, high = np.frombuffer(raw, np.uint8).reshape(-1, 3).T.astype(np.int64)
    pairs = np.array([low | (middle & 15) << 8, middle >> 4 | high << 4]).T.ravel()[:count] - 2**11
    return pairs.reshape(shape).astype(np.float64) * unit
