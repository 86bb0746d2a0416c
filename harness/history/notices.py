"""Nights in order in, what is worth a message out: changes of state only, and telling events. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from harness.history.nights import Decision, Entry, Event, Night, Telling

Kind = Literal["changed", "ok again", "no data", "event"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """One message. `id` is the same whenever the same nights are read, so that nothing is told twice."""

    id: str
    night: str
    run: str
    provider: str
    kind: Kind
    title: str
    details: tuple[str, ...]
    telling: tuple[Telling, ...] = ()


def notices(nights: Iterable[Night], *, no_data_nights: int) -> tuple[Notice, ...]:
    """Every message that these nights gave cause for, in order."""
    told: dict[str, Kind | None] = {}
    baselines: dict[str, str | None] = {}
    found: list[Notice] = []
    for night in nights:
        for entry in night.entries:
            name, decision = entry.side.provider, entry.decision
            if decision.baseline is not None and baselines.get(name) not in (None, decision.baseline):
                told[name] = None  # a new baseline acknowledges what went before
            baselines[name] = decision.baseline or baselines.get(name)
            found += _of_events(night, entry)
            for notice in _of_state(night, entry, told.get(name), no_data_nights):
                told[name] = notice.kind if notice.kind != "ok again" else None
                found.append(notice)
    return tuple(found)


def _of_state(night: Night, entry: Entry, told: Kind | None, no_data_nights: int) -> Iterator[Notice]:
    name, decision = entry.side.provider, entry.decision
    if decision.state == "changed" and told != "changed":
        yield _notice(night, entry, "changed", f"{name} changed{_since(decision)}", _how_sure(decision))
    elif decision.state == "ok" and told in ("changed", "no data"):
        words = "has data again" if told == "no data" else "answers as its baseline again"
        yield _notice(night, entry, "ok again", f"{name} {words}", (decision.reason,))
    elif decision.state == "no data" and decision.missing == no_data_nights and told != "no data":
        title = f"{name}: no data for {decision.missing} nights"
        yield _notice(night, entry, "no data", title, (decision.reason, "this is neither a change nor agreement"))


def _of_events(night: Night, entry: Entry) -> Iterator[Notice]:
    telling = [e for e in entry.decision.events if e.telling]
    if telling:
        what = ", ".join(dict.fromkeys(e.what for e in telling))
        details = tuple(event_words(e) for e in telling)
        yield _notice(night, entry, "event", f"{entry.side.provider}: {what} is not what it was", details)


def event_words(event: Event) -> str:
    """An event as a phrase."""
    return f"{event.what}: was {event.before}; is {event.now}"


def _notice(night: Night, entry: Entry, kind: Kind, title: str, details: tuple[str, ...]) -> Notice:
    name = entry.side.provider
    return Notice(
        id=f"{night.night}.{name}.{kind.replace(' ', '-')}",
        night=night.night,
        run=night.run,
        provider=name,
        kind=kind,
        title=title,
        details=details,
        telling=entry.decision.telling if kind == "changed" else (),
    )


def _since(decision: Decision) -> str:
    if decision.since is None:
        return ""
    last = f" (last as before: {decision.until})" if decision.until else ""
    return f" since the night of {decision.since}{last}"


def _how_sure(decision: Decision) -> tuple[str, ...]:
    found = []
    if decision.excess is not None and decision.excess.value is not None:
        e = decision.excess
        interval = f" [{e.low:.2f}, {e.high:.2f}]" if e.low is not None and e.high is not None else ""
        found.append(f"excess divergence from the nights before: {e.value:.2f}{interval}, n={e.n} prompts")
    if decision.match is not None and decision.match.value is not None:
        m = decision.match
        interval = f" [{m.low:.2f}, {m.high:.2f}]" if m.low is not None and m.high is not None else ""
        found.append(f"answers that equal the baseline's: {m.value:.2f}{interval}, n={m.n} prompts")
    nights = decision.evidence
    found.append(
        f"evidence {nights:.3g}, alarm from {decision.alarm_at:g}: as long as nothing changes, "
        f"so much comes once in {min(nights, 1e9):,.0f} nights at most"
    )
    changed = [line for line in decision.lines if line.p_value is not None and line.p_value <= 0.05]
    found += [f"{line.measure}: p = {line.p_value:.2g} (this night alone)" for line in changed]
    return tuple(found)
