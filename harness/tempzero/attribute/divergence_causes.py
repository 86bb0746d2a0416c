"""Pairs of responses that differ in, the first different token of each and whether it was a near-tie out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Literal

from tempzero.attribute.reader_tables import ReaderTable, ReportedAnswer, ResponseLane
from tempzero.types.asked import Trial
from tempzero.types.concluded import Divergence, PairCause, Partings, ReadText, ReadToken, Standing
from tempzero.types.scored import ScoredResponse, TokenScores
from tempzero.types.vocabulary import PairKind

DivergenceVerdict = Literal["near-tie", "unexplained"]
END = "⟨end⟩"


def explain_pair(
    table: ReaderTable, left: Trial, right: Trial, answers: Mapping[Trial, ReportedAnswer], epsilon: float
) -> PairCause:
    """Where two responses to one prompt part, and what their tokens are worth there."""
    sides = [_find_scored_response(table, t) for t in (left, right)]
    if sides[0] is None or sides[1] is None:
        missing = left if sides[0] is None else right
        return _build_unread_pair(table, left, right, f"{missing.provider}, repeat {missing.repeat} was not read")
    one, other = sides[0], sides[1]
    at = _first_difference(one, other)
    if at is None:
        return _build_unread_pair(table, left, right, "the texts differ, but not in a token that was read")
    return PairCause(
        reference=table.reader.reference,
        left=left,
        right=right,
        verdict=_judge_divergence(one, other, at, epsilon),
        at_token=at,
        gap=_require_scores(one).gap[at],
        left_token=_build_token_standing(one, at, answers.get(left)),
        right_token=_build_token_standing(other, at, answers.get(right)),
    )


def explain_divergences(
    table: ReaderTable, shown: Iterable[Divergence], answers: Mapping[Trial, ReportedAnswer], epsilon: float
) -> tuple[PairCause, ...]:
    """A cause for every shown divergence between providers that this reader reads for."""
    read = {lane.provider for lane in table.lanes}
    return tuple(
        explain_pair(table, d.left, d.right, answers, epsilon)
        for d in shown
        if d.left.provider in read and d.right.provider in read
    )


def build_read_texts(
    table: ReaderTable, shown: Iterable[Trial], answers: Mapping[Trial, ReportedAnswer]
) -> tuple[ReadText, ...]:
    """Every shown response that was read, token by token, once."""
    found = []
    for trial in dict.fromkeys(shown):
        scored = _find_scored_response(table, trial)
        answer = answers.get(trial)
        if scored is not None and answer is not None:
            found.append(
                ReadText(reference=table.reader.reference, trial=trial, tokens=_build_read_tokens(scored, answer.text))
            )
    return tuple(found)


def count_divergences(table: ReaderTable, epsilon: float) -> tuple[Partings, ...]:
    """How the distinct texts of each provider, and of each two, part; two with nothing to compare are left out.

    The token sequences of one prompt are sorted, and each is compared with its neighbour only: that meets
    every place where one of them leaves the others.
    """
    found = []
    for lane in table.lanes:
        found.append(_count_lane_divergences(table, [lane], epsilon))
    for i, lane in enumerate(table.lanes):
        found += [
            _count_lane_divergences(
                table, sorted([lane, other], key=lambda one: one.provider == table.reader.reference), epsilon
            )
            for other in table.lanes[i + 1 :]
            if other.condition == lane.condition
        ]
    return tuple(p for p in found if p.near_tie + p.unexplained + p.unread)


def _count_lane_divergences(table: ReaderTable, lanes: Sequence[ResponseLane], epsilon: float) -> Partings:
    counts = {"near-tie": 0, "unexplained": 0, "unread": 0}
    for one, other in _pair_neighbours(table, lanes):
        at = _first_difference(one, other)
        if at is not None:
            counts[_judge_divergence(one, other, at, epsilon)] += 1
    right = lanes[-1].provider if len(lanes) > 1 else None
    kind: PairKind = "repeat"
    if right is not None:
        kind = "reference" if right == table.reader.reference else "cross"
    return Partings(
        reference=table.reader.reference,
        kind=kind,
        left=lanes[0].provider,
        right=right,
        condition=lanes[0].condition,
        near_tie=counts["near-tie"],
        unexplained=counts["unexplained"],
        unread=counts["unread"],
    )


def _pair_neighbours(
    table: ReaderTable, lanes: Sequence[ResponseLane]
) -> Iterator[tuple[ScoredResponse, ScoredResponse]]:
    """Distinct sequences of one prompt next to each other; of two lanes only those that only one of them has."""
    sides: dict[int, dict[int, int]] = {}
    for bit, lane in enumerate(lanes):
        for prompt, sequence in zip(lane.prompt.tolist(), lane.sequence.tolist(), strict=True):
            of_prompt = sides.setdefault(prompt, {})
            of_prompt[sequence] = of_prompt.get(sequence, 0) | (1 << bit)
    for of_prompt in sides.values():
        if len(of_prompt) < 2:
            continue
        order = sorted(of_prompt, key=lambda s: _require_scores(table.roots[s]).token_ids)
        for one, other in pairwise(order):
            if len(lanes) == 1 or of_prompt[one] != of_prompt[other]:
                yield table.roots[one], table.roots[other]


def _judge_divergence(one: ScoredResponse, other: ScoredResponse, at: int, epsilon: float) -> DivergenceVerdict:
    """Near-tie: the two tokens are the two best ones, and the gap is one that rounding may turn."""
    scores = _require_scores(one)
    ranks = {scores.rank[at], _require_scores(other).rank[at]}
    near = ranks == {1, 2} and scores.gap[at] <= 2 * epsilon
    return "near-tie" if near else "unexplained"


def _first_difference(one: ScoredResponse, other: ScoredResponse) -> int | None:
    """The first token in which both differ; None where one only goes on where the other was cut."""
    pairs = zip(_require_scores(one).token_ids, _require_scores(other).token_ids, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), None)


def _find_scored_response(table: ReaderTable, trial: Trial) -> ScoredResponse | None:
    number = table.found.get(trial)
    return None if number is None else table.roots[number]


def _require_scores(response: ScoredResponse) -> TokenScores:
    assert response.scores is not None, "roots have scores"
    return response.scores


def _build_token_standing(response: ScoredResponse, at: int, answer: ReportedAnswer | None) -> Standing:
    scores = _require_scores(response)
    return Standing(
        text="" if answer is None else _token_text(response, at, answer.text),
        margin=scores.margin[at],
        rank=scores.rank[at],
    )


def _token_text(response: ScoredResponse, at: int, text: str) -> str:
    """What token `at` adds to the text; the one that ends the turn adds nothing and is named."""
    ends = _require_scores(response).ends
    if response.ended and at == len(ends) - 1:
        return END
    return text[ends[at - 1] if at else 0 : ends[at]]


def _build_read_tokens(response: ScoredResponse, text: str) -> tuple[ReadToken, ...]:
    scores = _require_scores(response)
    instead = iter(scores.instead)
    return tuple(
        ReadToken(
            text=_token_text(response, i, text),
            margin=scores.margin[i],
            rank=rank,
            instead=None if rank == 1 else next(instead, ""),
        )
        for i, rank in enumerate(scores.rank)
    )


def _build_unread_pair(table: ReaderTable, left: Trial, right: Trial, reason: str) -> PairCause:
    return PairCause(reference=table.reader.reference, left=left, right=right, verdict="unread", reason=reason)
