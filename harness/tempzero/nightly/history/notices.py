"""Nights in order in, what is worth a message out: changes of state only, and telling events. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from tempzero.nightly.history.nights import Decision, Depth, Night, NightEntry, NightEvent, TellingPrompt

NoticeKind = Literal["changed", "ok again", "no data", "data again", "event"]


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
    changed: dict[tuple[str, Depth], bool] = {}
    silent: dict[str, bool] = {}
    baselines: dict[tuple[str, Depth], str] = {}
    found: list[Notice] = []
    for night in nights:
        for entry in night.entries:
            name, decision = entry.side.provider, entry.decision
            kind = (name, night.depth)
            if decision.baseline is not None:
                # A new baseline acknowledges what went before.
                changed[kind] = changed.get(kind, False) and baselines.get(kind) == decision.baseline
                baselines[kind] = decision.baseline
            found += _event_notices(night, entry)
            found += _state_notices(night, entry, changed.get(kind, False))
            if decision.tested:
                changed[kind] = decision.state == "changed"
            found += _data_notices(night, entry, silent.get(name, False), no_data_nights)
            silent[name] = decision.missing > 0 and (silent.get(name, False) or decision.missing >= no_data_nights)
    return tuple(found)


def _state_notices(night: Night, entry: NightEntry, was_changed: bool) -> Iterator[Notice]:
    name, decision = entry.side.provider, entry.decision
    where = " (deep nights)" if night.depth == "deep" else ""
    if decision.state == "changed" and not was_changed:
        yield _make_notice(
            night, entry, "changed", f"{name} changed{_describe_since(decision)}{where}", _describe_evidence(decision)
        )
    elif decision.state == "ok" and was_changed:
        yield _make_notice(night, entry, "ok again", f"{name} answers as its baseline again{where}", (decision.reason,))


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
        telling=entry.decision.telling if kind == "changed" else (),
    )


def _describe_since(decision: Decision) -> str:
    if decision.since is None:
        return ""
    last = f" (last as before: {decision.until})" if decision.until else ""
    return f" since the night of {decision.since}{last}"


def _describe_evidence(decision: Decision) -> tuple[str, ...]:
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
