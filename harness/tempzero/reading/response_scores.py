"""A response as tokens and a reference in, the scores of every token out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tempzero.errors import EngineError
from tempzero.metrics import decoding
from tempzero.reading.references import ReferenceModel
from tempzero.reading.response_tokens import ResponseCutter, ResponseTokens
from tempzero.types.asked import Trial
from tempzero.types.recorded import Completion
from tempzero.types.scored import DecodingSums, TokenScores


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedAnswer:
    """A usable response as it was recorded."""

    sha256: str
    trial: Trial
    number: int
    completion: Completion

    @property
    def shows_reasoning(self) -> bool:
        """Whether its reasoning came apart, so that how it was written is to be found out."""
        return self.completion.reasoning_text is not None and self.completion.token_ids is None


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedAnswer:
    """A response with the tokens that are to be read, behind those of its prompt."""

    answer: RecordedAnswer
    prompt: tuple[int, ...]
    tokens: ResponseTokens

    @property
    def identity(self) -> tuple[Any, ...]:
        """What it has in common with every response that has the same scores."""
        return (self.answer.trial.prompt, self.prompt, self.tokens.ids, self.tokens.ended)


@dataclass(frozen=True, kw_only=True, slots=True)
class ResponseScores:
    """The scores of its tokens, their sums, and how often another cut of the text was taken."""

    scores: TokenScores
    sums: DecodingSums | None
    settled: int


class ResponseScorer:
    """Reads one response at a time; several threads may ask where the model allows."""

    def __init__(self, model: ReferenceModel, cutter: ResponseCutter) -> None:
        self._model, self._cutter = model, cutter

    def score_response(self, one: PreparedAnswer) -> ResponseScores | EngineError:
        """What the reference says of it, or why it cannot."""
        try:
            standings, settled = self._model.read(one.prompt, one.tokens.ids, ended=one.tokens.ended), 0
            if one.tokens.source == "text":
                standings, settled = self._cutter.settle_tokens(one.prompt, standings, one.tokens.ended)
            sums = None if standings.sums is None else _round_sums(standings.sums)
            return ResponseScores(scores=self._build_scores(standings), sums=sums, settled=settled)
        except EngineError as problem:
            return problem

    def _build_scores(self, standings: decoding.TokenStandings) -> TokenScores:
        missed = [b for t, b in zip(standings.token_ids, standings.argmax, strict=True) if t != b]
        return TokenScores(
            token_ids=standings.token_ids,
            ends=self._cutter.list_character_ends(standings.token_ids),
            argmax=standings.argmax,
            margin=round_values(standings.margin),
            logprob=round_values(standings.logprob),
            rank=standings.rank,
            gap=round_values(standings.gap),
            seen=standings.seen,
            instead=tuple(self._model.pieces([best])[0].decode("utf-8", "replace") for best in missed),
        )


def round_values(values: Iterable[float]) -> tuple[float, ...]:
    """Six decimals: finer than the noise of float32 logits, and half the size."""
    return tuple(round(v, 6) for v in values)


def _round_sums(sums: DecodingSums) -> DecodingSums:
    return DecodingSums(
        sampled=tuple(round(v, 4) for v in sums.sampled),
        rounded=tuple(round(v, 4) for v in sums.rounded),
    )
