"""Nights in order in, what is worth a message out: changes of state only, and telling events. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal

from tempzero.nightly.history.nights import (
    CHANGED_STATES,
    Decision,
    Depth,
    Night,
    NightEntry,
    NightEvent,
    TellingPrompt,
)

# A known state that was not met for so long is told when it comes back.
LONG_GONE_DAYS = 30
# Of the prompts that tell most, so many go into a message.
MOST_TOLD_PROMPTS = 3
NoticeKind = Literal["changed", "ok again", "other computation", "known state", "no data", "data again", "event"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """One message. `id` is the same whenever the same nights are read, so that nothing is told twice."""

    id: str
    night: str
    run: str
    provider: str
    kind: NoticeKind
    title: str
    details: tuple[str, ...]
    telling: tuple[TellingPrompt, ...] = ()


def find_notices(nights: Iterable[Night], *, no_data_nights: int) -> tuple[Notice, ...]:
    """Every message that these nights gave cause for, in order."""
    before: dict[tuple[str, Depth], Decision] = {}
    visited: dict[tuple[str, Depth, str | None], dict[str, str]] = {}
    silent: dict[str, bool] = {}
    found: list[Notice] = []
    for night in nights:
        for entry in night.entries:
            name, decision = entry.side.provider, entry.decision
            last = before.get((name, night.depth))
            if last is not None and decision.baseline not in (None, last.baseline):
                last = None  # a new baseline acknowledges what went before
            found += _event_notices(night, entry)
            met = visited.setdefault((name, night.depth, decision.baseline), {})
            found += list(_state_notices(night, entry, last)) or _return_notices(night, entry, met)
            if decision.tested:
                before[name, night.depth] = decision
                met[decision.known_state] = night.night
            found += _data_notices(night, entry, silent.get(name, False), no_data_nights)
            silent[name] = decision.missing > 0 and (silent.get(name, False) or decision.missing >= no_data_nights)
    return tuple(found)


def _state_notices(night: Night, entry: NightEntry, last: Decision | None) -> Iterator[Notice]:
    name, decision = entry.side.provider, entry.decision
    where = " (deep nights)" if night.depth == "deep" else ""
    was_changed = last is not None and last.state in CHANGED_STATES
    if decision.state == "changed" and (decision.alarms or not was_changed):
        title = f"{name} changed{_describe_since(decision)}{where}"
        yield _make_notice(night, entry, "changed", title, (*describe_evidence(decision), tell_how_to_accept(entry)))
    elif decision.state == "other computation":
        title = f"{name} computes otherwise, the same up to rounding{_describe_since(decision)}{where}"
        yield _make_notice(night, entry, "other computation", title, (decision.reason, *describe_evidence(decision)))
    elif decision.state == "known state" and (last is None or set(decision.home) - set(last.home)):
        title = f"{name} takes turns between known states{where}"
        yield _make_notice(night, entry, "known state", title, (decision.reason, "further turns are no alarm"))
    elif was_changed and decision.tested and decision.state not in CHANGED_STATES:
        yield _make_notice(night, entry, "ok again", f"{name} answers as before again{where}", (decision.reason,))


def _return_notices(night: Night, entry: NightEntry, met: Mapping[str, str]) -> Iterator[Notice]:
    """A state that was gone for long and is back is no alarm, but it is told."""
    name, decision = entry.side.provider, entry.decision
    last = met.get(decision.known_state)
    if decision.state != "known state" or not decision.settled or last is None:
        return
    if (date.fromisoformat(night.night[:10]) - date.fromisoformat(last[:10])).days > LONG_GONE_DAYS:
        title = f"{name} is in its known state {decision.known_state} again, last met in the night of {last}"
        yield _make_notice(night, entry, "known state", title, (decision.reason,))


def tell_how_to_accept(entry: NightEntry) -> str:
    """What acknowledges a change."""
    since = f" --since {entry.decision.since}" if entry.decision.since else ""
    command = f"tempzero baseline accept {shlex.quote(entry.side.provider)}{since}"
    return f"to acknowledge it: `{command}` holds further nights against those from then on"


def _data_notices(night: Night, entry: NightEntry, was_silent: bool, no_data_nights: int) -> Iterator[Notice]:
    name, decision = entry.side.provider, entry.decision
    if decision.missing == 0 and was_silent:
        yield _make_notice(night, entry, "data again", f"{name} has data again", (decision.reason,))
    elif decision.missing >= no_data_nights and not was_silent:
        title = f"{name}: no data for {decision.missing} nights"
        yield _make_notice(night, entry, "no data", title, (decision.reason, "this is neither a change nor agreement"))


def _event_notices(night: Night, entry: NightEntry) -> Iterator[Notice]:
    telling = [e for e in entry.decision.events if e.telling]
    if telling:
        what = ", ".join(dict.fromkeys(e.what for e in telling))
        details = tuple(describe_event(e) for e in telling)
        yield _make_notice(night, entry, "event", f"{entry.side.provider}: {what} is not what it was", details)


def describe_event(event: NightEvent) -> str:
    """An event as a phrase."""
    return f"{event.what}: was {event.before}; is {event.now}"


def describe_precision(entry: NightEntry) -> str:
    """What first tokens say of the weights, and since when they say otherwise; empty where they were not asked."""
    found = entry.precision
    if found is None:
        return ""
    since = f"; otherwise than before since the night of {found.since}" if found.since else ""
    held = f" (evidence of a change {found.evidence:.3g}, alarm from {found.alarm_at:g})" if found.frozen else ""
    return f"weights, by how {found.prompts} answers begin: {found.sentence}{since}{held}"


def _make_notice(night: Night, entry: NightEntry, kind: NoticeKind, title: str, details: tuple[str, ...]) -> Notice:
    name = entry.side.provider
    return Notice(
        id=f"{night.night}.{name}.{kind.replace(' ', '-')}",
        night=night.night,
        run=night.run,
        provider=name,
        kind=kind,
        title=title,
        details=details,
        telling=entry.decision.telling[:MOST_TOLD_PROMPTS] if kind == "changed" else (),
    )


def _describe_since(decision: Decision) -> str:
    if decision.since is None:
        return ""
    last = f" (last as before: {decision.until})" if decision.until else ""
    return f" since the night of {decision.since}{last}"


def describe_evidence(decision: Decision) -> tuple[str, ...]:
    """What speaks for a change tonight, and how much of it there would have to be."""
    found = []
    if decision.excess is not None and decision.excess.value is not None:
        e = decision.excess
        interval = f" [{e.low:.2f}, {e.high:.2f}]" if e.low is not None and e.high is not None else ""
        found.append(f"excess divergence from the nights of its pool: {e.value:.2f}{interval}, n={e.n} prompts")
    if decision.match is not None and decision.match.value is not None:
        m = decision.match
        interval = f" [{m.low:.2f}, {m.high:.2f}]" if m.low is not None and m.high is not None else ""
        found.append(f"answers that equal the baseline's: {m.value:.2f}{interval}, n={m.n} prompts")
    nights = decision.evidence
    found.append(
        f"evidence {nights:.3g}, alarm from {decision.alarm_at:g}: as long as nothing changes, "
        f"so much comes once in {min(nights, 1e9):,.0f} nights at most"
    )
    if decision.changed_prompts:
        names = ", ".join(decision.changed_prompts[:10])
        more = f" and {len(decision.changed_prompts) - 10} more" if len(decision.changed_prompts) > 10 else ""
        found.append(f"prompts that tell by themselves: {names}{more}")
    changed = [line for line in decision.lines if line.p_value is not None and line.p_value <= 0.05]
    found += [f"{line.measure}: p = {line.p_value:.2g} (this night alone)" for line in changed]
    return tuple(found)
