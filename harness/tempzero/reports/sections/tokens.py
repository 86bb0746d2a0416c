"""Divergences as the reference read them in, each with its tokens coloured by margin out."""

from __future__ import annotations

from collections.abc import Iterator

from tempzero.reports.document import (
    ON_PAPER,
    Cell,
    Column,
    Paragraph,
    Piece,
    ReadPair,
    ReadPairs,
    ReadSide,
    Section,
    Table,
)
from tempzero.reports.lookup import Subject, View
from tempzero.reports.visible import shorten_text
from tempzero.types.asked import Trial
from tempzero.types.concluded import PairCause, ReadText, ReadToken, ReferenceReading, Standing

MAX_PAIRS = 24
_BEFORE, _AFTER = 60, 100
_LEVELS = (0.5, 2.0)


def build_tokens_section(view: View) -> Section:
    """Where texts leave the reference's path, and whether that was a coin toss."""
    reading = view.analysis.reading
    counts = _make_counts_table(view)
    blocks: tuple[ReadPairs | Paragraph | Table, ...] = () if counts is None else (counts,)
    if reading is not None and reading.pairs:
        blocks = (*blocks, _make_read_pairs(view, reading))
    return Section(
        anchor="tokens",
        title="Was that a coin toss?",
        lead="Divergences as the reference reads them. Near-tie: both tokens were its two best and so close that "
        "rounding may turn them. Unexplained: it was not.",
        blocks=blocks,
        media=ON_PAPER,
    )


def _make_counts_table(view: View) -> Table | None:
    """What was read of whom, and why the rest was not."""
    rows = view.analysis.read_counts
    if not rows:
        return None
    return Table(
        caption="Responses that a reference read",
        columns=(
            Column(heading="Reference"),
            Column(heading="Provider"),
            Column(heading="Read", numeric=True),
            Column(heading="Not read, because"),
        ),
        rows=tuple(
            (
                Cell(text=one.reference),
                Cell(text=view.name(Subject(provider=one.provider, condition=one.condition))),
                Cell(text=f"{one.read:,} of {one.responses:,}"),
                Cell(text="; ".join(f"{shorten_text(why, 100)} ({count:,})" for why, count in one.reasons)),
            )
            for one in rows
        ),
        media=ON_PAPER,
    )


def _pair_priority(view: View, pair: PairCause) -> int:
    """Where a provider leaves the reference comes first, then where it leaves itself, then it and another."""
    sides = {pair.left.provider, pair.right.provider}
    if len(sides) == 1:
        return 1
    return 0 if any(view.is_reference(s) for s in sides) else 2


def _make_read_pairs(view: View, reading: ReferenceReading) -> ReadPairs:
    texts = {(t.reference, t.trial): t for t in reading.texts}
    epsilon = {f.reference: f.epsilon for f in reading.floors}
    read = sorted((p for p in reading.pairs if p.verdict != "unread"), key=lambda p: _pair_priority(view, p))
    kept = read[:MAX_PAIRS]
    more = []
    if len(read) > len(kept):
        more.append(f"{len(read) - len(kept):,} more are in tables/token_causes.csv.")
    if len(read) < len(reading.pairs):
        more.append(f"{len(reading.pairs) - len(read):,} were not read; tables/token_causes.csv says why.")
    return ReadPairs(
        caption="The first different token of each divergence shown",
        pairs=tuple(_make_read_pair(p, texts, epsilon.get(p.reference, 0.0)) for p in kept),
        more=" ".join(more),
    )


def _make_read_pair(pair: PairCause, texts: dict[tuple[str, Trial], ReadText], epsilon: float) -> ReadPair:
    sides = [
        _make_read_side(t, texts.get((pair.reference, t)), pair.at_token or 0, epsilon) for t in (pair.left, pair.right)
    ]
    who = pair.left.provider
    if pair.right.provider != who:
        who = f"{who} and {pair.right.provider}"
    return ReadPair(
        title=f"{shorten_text(pair.left.prompt, 100)}: {who}, token {(pair.at_token or 0) + 1:,}: {pair.verdict}",
        verdict=_pair_verdict_text(pair, epsilon),
        sides=tuple(s for s in sides if s is not None),
    )


def _pair_verdict_text(pair: PairCause, epsilon: float) -> str:
    """What each of the two tokens was worth, and what follows."""
    assert pair.left_token is not None, "a pair that was read has both tokens"
    assert pair.right_token is not None, "a pair that was read has both tokens"
    gap = pair.gap or 0.0
    return (
        f"{_token_words(pair.left, pair.left_token)}; {_token_words(pair.right, pair.right_token)}. The two best "
        f"are {gap:.2g} "
        f"logits apart; rounding turns up to {2 * epsilon:.2g}: {pair.verdict}."
    )


def _token_words(trial: Trial, token: Standing) -> str:
    text = shorten_text(token.text, 40)
    if token.rank == 1:
        return f"{trial.provider}, repeat {trial.repeat}: “{text}”, the reference's choice"
    return f"{trial.provider}, repeat {trial.repeat}: “{text}”, {token.margin:.2g} logits below it, rank {token.rank:,}"


def _make_read_side(trial: Trial, read: ReadText | None, at: int, epsilon: float) -> ReadSide | None:
    if read is None:
        return None
    start, end = max(0, at - _BEFORE), min(len(read.tokens), at + _AFTER)
    missed = sum(t.rank > 1 for t in read.tokens)
    return ReadSide(
        who=f"{trial.provider}, repeat {trial.repeat}",
        summary=f"{missed:,} of {len(read.tokens):,} tokens are not the reference's choice",
        pieces=tuple(_join_pieces(read.tokens, start, end, at, epsilon)),
        omitted_before=start,
        omitted_after=len(read.tokens) - end,
    )


def _join_pieces(tokens: tuple[ReadToken, ...], start: int, end: int, at: int, epsilon: float) -> Iterator[Piece]:
    """Tokens that match are joined: most of a text is one piece."""
    same = ""
    for index in range(start, end):
        token = tokens[index]
        if token.rank == 1 and index != at:
            same += token.text
            continue
        if same:
            yield Piece(text=same, level=0)
            same = ""
        yield Piece(text=token.text, level=grade_margin(token, epsilon), hint=describe_token(token), parts=index == at)
    if same:
        yield Piece(text=same, level=0)


def grade_margin(token: ReadToken, epsilon: float) -> int:
    if token.rank == 1:
        return 0
    if token.margin <= max(2 * epsilon, 0.02):
        return 1
    return 2 + sum(token.margin >= limit for limit in _LEVELS)


def describe_token(token: ReadToken) -> str:
    if token.instead is None:
        return "the reference's choice"
    return f"margin {token.margin:.3g}, rank {token.rank:,}; the reference: “{shorten_text(token.instead, 60)}”"
