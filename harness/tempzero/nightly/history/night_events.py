"""Tonight's Side and those before it in, Events out: exact signals, told apart from statistics."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from tempzero.nightly.history.nights import NightEvent, Side
from tempzero.types.recorded import IdentityLabel

_LABELS: tuple[IdentityLabel, ...] = ("served_model", "fingerprint", "backend")
# A median latency that is this many times what it was, either way, over at least so many nights before.
_LATENCY_STEP, _LATENCY_NIGHTS, _LATENCY_WINDOW = 2.0, 3, 14


def find_events(side: Side, alike: Sequence[Side], before: Sequence[Side]) -> tuple[NightEvent, ...]:
    """What is stated otherwise than on the last night with data.

    `before` are all nights before, in order and without outages; `alike` those that asked the same as tonight, which
    alone can be held against it in what depends on the prompts.
    """
    found: list[NightEvent] = []
    if before:
        found += [*_label_events(side, before[-1]), *_price_events(side, before[-1])]
    if alike:
        found += [
            *_prompt_token_events(side, alike[-1]),
            *_reasoning_events(side, alike[-1]),
            *_refusal_events(side, alike[-1]),
            *_latency_events(side, alike),
        ]
    return tuple(found)


def _label_events(side: Side, last: Side) -> Iterator[NightEvent]:
    """Only a change of the served model is worth a message: fingerprints and backends change by themselves."""
    for label in _LABELS:
        ours, theirs = side.labels.get(label, ()), last.labels.get(label, ())
        if ours != theirs:
            yield NightEvent(
                what=label, before=_join_labels(theirs), now=_join_labels(ours), telling=label == "served_model"
            )


def _prompt_token_events(side: Side, last: Side) -> Iterator[NightEvent]:
    """Other counts for the same words: another tokenizer, template or hidden system prompt."""
    both = sorted(side.prompt_tokens.keys() & last.prompt_tokens.keys())
    differ = [q for q in both if side.prompt_tokens[q] != last.prompt_tokens[q]]
    if differ:
        first, name = differ[0], differ[0].rpartition("#")[0]
        words = f"on prompt {name}, and on {len(differ) - 1} of {len(both) - 1} others" if len(both) > 1 else ""
        before, now = f"{last.prompt_tokens[first]}", f"{side.prompt_tokens[first]} {words}".strip()
        yield NightEvent(what="prompt_tokens", before=before, now=now, telling=True)


def _reasoning_events(side: Side, last: Side) -> Iterator[NightEvent]:
    """Reasoning that is shown now and was not, or the other way round: another model, or another way to serve it."""
    if last.reasoned is not None and side.reasoned is not None and bool(last.reasoned) != bool(side.reasoned):
        before, now = (f"shown in {one.reasoned} of {one.answered} answers" for one in (last, side))
        yield NightEvent(what="reasoning", before=before, now=now, telling=True)


def _price_events(side: Side, last: Side) -> Iterator[NightEvent]:
    if side.price != last.price:
        yield NightEvent(what="price", before=_format_price(last.price), now=_format_price(side.price), telling=True)


def _refusal_events(side: Side, last: Side) -> Iterator[NightEvent]:
    """Prompts whose every answer was refused or filtered, and was not the night before."""
    new = sorted(q for q in set(side.refused) - set(last.refused) if q in last.texts)
    gone = sorted(q for q in set(last.refused) - set(side.refused) if q in side.texts)
    for questions, before, now in ((new, "answered", "refused"), (gone, "refused", "answered")):
        if questions:
            names = _join_labels([q.rpartition("#")[0] for q in questions])
            yield NightEvent(what="refusal", before=f"{before}: {names}", now=now, telling=True)


def _latency_events(side: Side, before: Sequence[Side]) -> Iterator[NightEvent]:
    window = [s.latency_s for s in before[-_LATENCY_WINDOW:] if s.latency_s]
    if side.latency_s is None or len(window) < _LATENCY_NIGHTS:
        return
    usual = statistics.median(window)
    now, last = (_latency_direction(latency, usual) for latency in (side.latency_s, window[-1]))
    if now and now != last:
        yield NightEvent(what="latency", before=f"{usual:.3g} s", now=f"{side.latency_s:.3g} s", telling=False)


def _latency_direction(latency_s: float, usual_s: float) -> int:
    """1 far above what is usual, -1 far below, 0 about there."""
    if latency_s > usual_s * _LATENCY_STEP:
        return 1
    return -1 if latency_s < usual_s / _LATENCY_STEP else 0


def _format_price(price: tuple[float, float] | None) -> str:
    return "not given" if price is None else f"${price[0]:g} in, ${price[1]:g} out, per million tokens"


def _join_labels(labels: Sequence[str]) -> str:
    """A few labels, as text that cannot act on a screen: a provider may call itself anything."""
    shown = ", ".join(ascii(label[:80])[1:-1] for label in labels[:4])
    return (shown + (f" and {len(labels) - 4} more" if len(labels) > 4 else "")) or "not given"
