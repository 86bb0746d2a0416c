"""A seed in, a direction pack and hosts made by numbers out, so that the truth of each is known."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tempzero.answers.first_tokens import FirstToken, read_first_tokens
from tempzero.precision.forms import FormKind
from tempzero.precision.packs import Direction, DirectionPack, HonestRounding, PackPlace, PackPrompt
from tempzero.types.asked import Message
from tempzero.types.recorded import Completion, Exchange, Outcome, Times, WireRequest, WireResponse

PROMPTS, PLACES, TOKENS, NOISE = 24, 1, 32, 0.05
KINDS: tuple[tuple[str, FormKind, tuple[str, ...], float], ...] = (
    ("bf16", "16-bit", ("bf16",), 0.01),
    ("q8_0", "8-bit", ("q8_0",), 0.06),
    ("fp8-channel", "8-bit", ("fp8",), 0.22),
    ("fp8-tensor", "8-bit", ("fp8",), 0.24),
    ("int4", "4-bit", ("int4",), 1.0),
    ("cache", "cache", (), 0.2),
)


def make_pack(seed: int = 1, places: int = PLACES) -> DirectionPack:
    """Log-probabilities that fall off, and forms that move them at random, each by its size."""
    rng, rows = np.random.default_rng(seed), PROMPTS * places
    logits = np.sort(rng.normal(size=(rows, TOKENS)) * 2, axis=1)[:, ::-1]
    logprobs = logits - np.logaddexp.reduce(np.hstack([logits, np.full((rows, 1), 0.5)]), axis=1, keepdims=True)
    forms = [
        Direction(name=name, title=name, kind=kind, claims=claims, by=rng.normal(size=logits.shape) * size)
        for name, kind, claims, size in KINDS
    ]
    known = PackPlace(token_ids=tuple(range(TOKENS)), tokens=tuple(f" t{t}".encode() for t in range(TOKENS)))
    prompts = tuple(
        PackPrompt(id=f"p{n}", messages=(Message(role="user", content=f"say {n}"),), places=(known,) * places)
        for n in range(PROMPTS)
    )
    return DirectionPack(
        model="tiny",
        weights_sha256="0" * 64,
        chat_template_sha256="0" * 64,
        made_with="numbers",
        prompts=prompts,
        logprobs=logprobs,
        normalisers=np.full(rows, 15.0),
        directions=tuple(forms),
        rounding=HonestRounding(rms=NOISE, source="numbers"),
    )


PACK = make_pack()
LONG_PACK = make_pack(places=4)
"""Four tokens of each answer."""


def serve(
    *forms: str,
    noise: float = NOISE,
    seed: int = 5,
    strange: float = 0.0,
    times: float = 1.0,
    pack: DirectionPack = PACK,
) -> NDArray[np.float64]:
    """What such a host gives: its log-probabilities at every token of the pack."""
    rng = np.random.default_rng(seed)
    moved = sum((d.by for d in pack.directions if d.name in forms), np.zeros(pack.logprobs.shape))
    given: NDArray[np.float64] = pack.logprobs + moved + rng.normal(size=moved.shape) * noise
    given += np.random.default_rng(99).normal(size=given.shape) * strange
    return given * times


def answer(
    given: NDArray[np.float64],
    *,
    best: int = 20,
    decimals: int | None = None,
    prompts: int = PROMPTS,
    floor: int = 0,
    goes_on: Sequence[str] = (),
) -> dict[str, list[tuple[FirstToken, ...]]]:
    """As its responses say it: each goes on with the reference's own token at every place, or with these."""
    told = {}
    for n, rows in enumerate(np.split(given, PROMPTS)[:prompts]):
        content = [
            {"token": (goes_on or [" t0"] * len(rows))[at], "top_logprobs": _list_best(row, best, decimals, floor)}
            for at, row in enumerate(rows)
        ]
        read = read_first_tokens(make_exchange({"content": content}), len(rows))
        assert len(read) == len(rows)
        told[f"p{n}"] = [read]
    return told


def _list_best(row: NDArray[np.float64], best: int, decimals: int | None, floor: int) -> list[dict[str, object]]:
    order = np.argsort(-row)[:best]
    places = 12 if decimals is None else decimals
    listed: list[dict[str, object]] = [
        {"token": f" t{t}", "logprob": round(float(row[t]), places), "bytes": None} for t in order
    ]
    rest = [t for t in range(TOKENS) if t not in order]
    return listed + [{"token": f" t{t}", "logprob": -9999.0, "bytes": None} for t in rest[:floor]]


def make_exchange(logprobs: object) -> Exchange:
    body = json.dumps({"choices": [{"message": {"content": "x"}, "logprobs": logprobs}]})
    return Exchange(
        request=WireRequest(method="POST", url="u", headers=(), body="{}", sha256=""),
        response=WireResponse(
            status=200, headers=(), body=body, body_base64=None, sha256="", size_bytes=len(body), complete=True
        ),
        times=Times(started_at="", first_byte_s=None, end_s=None, in_flight=1),
        outcome=Outcome(status="valid", kind="complete", completion=Completion(text="x")),
    )
