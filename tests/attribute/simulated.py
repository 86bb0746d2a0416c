"""A made-up language model in, responses of endpoints with a known fault out, read as a reference reads them.

Its rows of logits have a real model's shape: at most positions one token is far ahead, at one in eight two are
close, and what follows falls off by rank. Tokens that were said before come again. Noise has the same scale
everywhere, or (`uneven`) one that changes from position to position as a quantised model's does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from tempzero.metrics import decoding, decoding_ways
from tempzero.types.asked import Trial
from tempzero.types.scored import (
    FormReading,
    Reader,
    Reading,
    ScoredResponse,
    SuspectAnswer,
    SuspectKind,
    SuspectReading,
    TokenScores,
)

Row = NDArray[np.float32]
VOCABULARY = 400
REFERENCE = "cpu-f32"
END = 0
READER = Reader(
    reference=REFERENCE,
    claimed_model="SmolLM2-135M-Instruct",  # for its rounding profile: these logits are of that size
    engine={"engine": "simulated"},
    vocabulary=VOCABULARY,
    exact=True,
    temperatures=decoding_ways.TEMPERATURES,
    noises=decoding_ways.NOISES,
)


def row(rng: np.random.Generator, context: Sequence[int]) -> Row:
    """One row of logits: the winner and its rivals are often words that were said before."""
    near = rng.random() < 0.13
    gap = rng.exponential(0.35) if near else 0.3 + rng.gamma(2.2, 2.0)
    rest = gap + np.cumsum(rng.exponential(1.0, VOCABULARY - 1) * np.minimum(1.0, 2.0 / np.arange(1, VOCABULARY)))
    margins = np.concatenate([[0.0], rest - rest[0] + gap])
    order = rng.permutation(VOCABULARY - 1) + 1  # token 0 ends the turn and is never likely on the way
    if context and rng.random() < 0.55:
        said = int(context[int(rng.integers(len(context)))])
        place = int(np.flatnonzero(order == said)[0]) if said else 0
        order[[0, place]] = order[[place, 0]]
    logits = np.zeros(VOCABULARY)
    logits[order] = rng.uniform(14, 22) - margins[: VOCABULARY - 1]
    logits[END] = logits.max() - 12
    return logits.astype(np.float32)


Choice = Callable[[np.random.Generator, Row, list[int], int], int]


def greedy(rng: np.random.Generator, logits: Row, context: list[int], position: int) -> int:
    return int(logits.argmax())


def rounding(scale: float, *, uneven: float = 0.5) -> Choice:
    """Greedy choice from logits with Gaussian noise, `scale` being that of a difference of two of them."""

    def choose(rng: np.random.Generator, logits: Row, context: list[int], position: int) -> int:
        size = scale / np.sqrt(2) * (np.exp(uneven * rng.normal() - uneven**2) if uneven else 1.0)
        return int((logits + rng.normal(0, size, logits.size)).argmax())

    return choose


def quantised(scale: float) -> Choice:
    """Wrong weights: the same noise wherever the same row comes, whoever reads it."""

    def choose(rng: np.random.Generator, logits: Row, context: list[int], position: int) -> int:
        noise = np.random.default_rng(crc32(logits.tobytes())).normal(0, scale / np.sqrt(2), logits.size)
        return int((logits + noise).argmax())

    return choose


def sampling(temperature: float) -> Choice:
    def choose(rng: np.random.Generator, logits: Row, context: list[int], position: int) -> int:
        return int((logits / temperature + rng.gumbel(size=logits.size)).argmax())

    return choose


def foreign(share: float, *, fading: float | None = None, later: float = 0.02) -> Choice:
    """Another model or prompt: its own opinion at a share of the positions, or at the first ones above all."""

    def choose(rng: np.random.Generator, logits: Row, context: list[int], position: int) -> int:
        odds = share if fading is None else later + share * np.exp(-position / fading)
        if rng.random() < odds:
            return int((0.3 * logits + rng.gumbel(size=logits.size) * 2).argmax())
        return int((logits + rng.normal(0, 0.1, logits.size)).argmax())

    return choose


@dataclass(frozen=True, kw_only=True)
class World:
    """Prompts with lengths; the same rows for every endpoint as long as its texts are the same."""

    seed: int
    prompts: int = 20
    length: int = 100

    def prompt_ids(self, prompt: int) -> list[int]:
        rng = np.random.default_rng((self.seed, prompt, 7))
        return [int(i) for i in rng.integers(1, VOCABULARY, 40)]

    def answer(self, choose: Choice, prompt: int, draw: int, *, cut: int | None = None) -> tuple[list[int], list[Row]]:
        """The tokens an endpoint gives and the rows they were chosen from; `draw` seeds its own noise."""
        rng = np.random.default_rng((self.seed, prompt, draw))
        context = self.prompt_ids(prompt)
        rows: list[Row] = []
        tokens: list[int] = []
        for position in range(self.length if cut is None else cut):
            logits = row(np.random.default_rng((self.seed, prompt, position, hash(tuple(tokens)) & 0xFFFF)), context)
            rows.append(logits)
            token = choose(rng, logits, context, position)
            tokens.append(token)
            context.append(token)
        ending = row(rng, context)
        if cut is None:
            ending[END] = ending.max() + 3
        rows.append(ending)
        return [*tokens, END], rows


def scored(world: World, provider: str, prompt: int, repeat: int, tokens: list[int], rows: list[Row]) -> ScoredResponse:
    """A response as the reference reads it."""
    standings = decoding.read_logit_rows(rows, tokens, world.prompt_ids(prompt))
    missed = sum(r > 1 for r in standings.rank)
    return ScoredResponse(
        trial=Trial(provider=provider, prompt=f"p{prompt}", condition="default", repeat=repeat),
        number=1,
        record_sha256="0" * 64,
        reference=REFERENCE,
        prompt_tokens=40,
        tokens_from="text",
        round_trip=True,
        settled=0,
        ended=True,
        same_as=None,
        scores=TokenScores(
            token_ids=tuple(tokens),
            ends=(*(2 * (i + 1) for i in range(len(tokens) - 1)), 2 * (len(tokens) - 1)),
            argmax=standings.argmax,
            margin=standings.margin,
            logprob=standings.logprob,
            rank=standings.rank,
            gap=standings.gap,
            seen=standings.seen,
            instead=("xx",) * missed,
        ),
        sums=standings.sums,
    )


def form(world: World, name: str, honest: bool, choose: Choice, read: Iterable[int], noise: float) -> list[FormReading]:
    """Another form of the model reads the reference's own responses."""
    found = []
    for prompt in read:
        _, rows = world.answer(greedy, prompt, 0)
        rng = np.random.default_rng((world.seed, prompt, crc32(name.encode())))
        chosen = [choose(rng, r, [], i) for i, r in enumerate(rows)]
        standings = [decoding.read_logit_rows([r], [t], ()) for r, t in zip(rows, chosen, strict=True)]
        found.append(
            FormReading(
                reference=REFERENCE,
                form=name,
                honest=honest,
                trial=Trial(provider=REFERENCE, prompt=f"p{prompt}", condition="default", repeat=0),
                gap_change=tuple(np.abs(rng.normal(0, noise, len(rows))).tolist()),
                margin=tuple(s.margin[0] for s in standings),
                rounded=tuple(np.sum([s.sums.rounded for s in standings if s.sums], axis=0).tolist()),
                sampled=tuple(np.sum([s.sums.sampled for s in standings if s.sums], axis=0).tolist()),
            )
        )
    return found


def reading(responses: Iterable[ScoredResponse], forms: Iterable[FormReading]) -> Reading:
    return Reading(readers=(READER,), scored=tuple(responses), forms=tuple(forms))


def list_roots(run: Sequence[ScoredResponse]) -> list[ScoredResponse]:
    return [one for one in run if one.scores is not None]


def read_suspect(
    run: Sequence[ScoredResponse],
    name: str,
    kind: SuspectKind,
    missed: Callable[[ScoredResponse, int], float],
    *,
    family: str = "",
    touched: Sequence[str] | None = None,
    prompt_tokens: int = 40,
    refuted: bool = False,
) -> SuspectReading:
    """A suspect's reading: `missed` gives the margin of a token that the reference would not have chosen."""
    answers = []
    for one in list_roots(run):
        assert one.scores is not None, "a root"
        if touched is None or one.trial.prompt in touched:
            places = [i for i, rank in enumerate(one.scores.rank) if rank > 1]
            margins = {2 * i: missed(one, i) for i in places}
            kept = {at: m for at, m in margins.items() if m > 0}
            whole = not refuted and max(kept.values(), default=0.0) <= 1.0
            answers.append(
                SuspectAnswer(
                    trial=one.trial,
                    prompt_tokens=prompt_tokens if kind == "request" else one.prompt_tokens,
                    tokens=len(one.scores.rank),
                    missed=tuple(kept),
                    margin=tuple(kept.values()),
                    whole=whole or kind == "unchanged",
                )
            )
    return SuspectReading(
        reference=REFERENCE,
        provider="x",
        condition="default",
        suspect=name,
        kind=kind,
        family=family or name,
        words=f"it is {name}",
        touched=tuple(dict.fromkeys(one.trial.prompt for one in run)) if touched is None else tuple(touched),
        answers=tuple(answers),
        refuted=refuted,
        read_tokens=0,
    )


def read_unchanged(run: Sequence[ScoredResponse]) -> SuspectReading:
    return read_suspect(run, "unchanged", "unchanged", lambda one, i: one.scores.margin[i] if one.scores else 0.0)
