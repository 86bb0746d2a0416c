"""A night's setting in, short requests asked and the form of each provider's weights held against the first nights.

The first nights after a baseline was chosen or accepted are frozen: nights after an alarm never join them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tempzero import records, stats
from tempzero.config import Nightly, Setting
from tempzero.errors import EngineError, UsageError
from tempzero.nightly.history import Decision, Depth, NightEntry, NightEvent, PastNight, PrecisionNight
from tempzero.precision.asking import RUN_NAME, choose_configured_pack, plan_fingerprint
from tempzero.precision.displacement_change import (
    NIGHT_WINDOWS,
    measure_strengths,
    restore_displacement,
    store_displacement,
    weigh_displacement_change,
)
from tempzero.precision.fingerprint_wording import FINGERPRINT, describe_host_state, to_fingerprint_json
from tempzero.precision.hosts import HostFingerprint, conclude_fingerprint
from tempzero.precision.naming import LEAST_PROMPTS, LEAST_STRENGTH
from tempzero.precision.packs import DirectionPack
from tempzero.records.files import write_atomically
from tempzero.workflow import pipeline
from tempzero.workflow.pipeline import Limits, Watcher

SHARE_OF_FALSE_ALARMS = 0.2
"""Of what `nightly.false_alarms_per_year` allows, where first tokens are watched; the rest is the texts'."""
_FROZEN_NIGHTS = 3
_SEAL_CHARS = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchedPrecision:
    """What a night's short requests brought, by provider; `interrupted`: somebody stopped them."""

    run: str = ""
    pack: DirectionPack | None = None
    hosts: Mapping[str, HostFingerprint] | None = None
    interrupted: bool = False

    def watches(self, provider: str) -> bool:
        """Whether its first tokens are part of this night."""
        return provider in (self.hosts or {})


def watch_precision(
    setting: Setting, night: str, *, only: Sequence[str], limits: Limits, watcher: Watcher
) -> WatchedPrecision:
    """Ask every provider of a direction pack's model that gives log-probabilities, or go on with that.

    A night does not fail for this: what cannot be asked is said. Raises PackError, WeightsError, RunFolderError.
    """
    rules = setting.config.nightly
    models = [p.claimed_model for p in setting.config.providers if p.enabled]
    pack = choose_configured_pack(setting, models) if rules.fingerprint else None
    if pack is None or (limits.max_requests is not None and limits.max_requests <= rules.fingerprint):
        return WatchedPrecision()
    begun = sorted(
        p for p in setting.results.glob(f"*Z-{name_precision_run(night)}") if (p / records.MANIFEST).is_file()
    )
    try:
        if begun:
            collected = pipeline.resume_run(
                begun[-1], environ=setting.environ, watcher=watcher, limits=limits, check=False
            )
        else:
            name = name_precision_run(night)
            planned = plan_fingerprint(setting, pack, only=only, prompts=rules.fingerprint, name=name)
            collected = pipeline.start_run(
                planned.prepared, watcher=watcher, limits=limits, check=False, flights=planned.flights
            )
    except (UsageError, EngineError) as problem:
        watcher.say(f"nobody's first tokens are watched: {problem}")
        return WatchedPrecision()
    if collected.interrupted:
        return WatchedPrecision(interrupted=True)
    report = conclude_fingerprint(records.open_run(collected.path), pack)
    write_atomically(collected.path / FINGERPRINT, to_fingerprint_json(report).encode())
    found = {host.provider: host for host in report.hosts if host.displacement.given}
    return WatchedPrecision(run=collected.path.name, pack=pack, hosts=found)


def name_precision_run(night: str) -> str:
    """Of the run that holds a night's short requests."""
    return f"{RUN_NAME}-{night}"


def share_false_alarms(rules: Nightly, *, watched: bool) -> Nightly:
    """What is left for the texts of a provider whose first tokens are watched as well."""
    allowed = rules.false_alarms_per_year * (1 - SHARE_OF_FALSE_ALARMS)
    return rules.model_copy(update={"false_alarms_per_year": allowed}) if watched else rules


def add_precision(
    entry: NightEntry, found: WatchedPrecision, before: Sequence[PastNight], *, night: str, depth: Depth, rules: Nightly
) -> NightEntry:
    """The entry with what its first tokens say, and with an event where its weights have changed."""
    host = (found.hosts or {}).get(entry.side.provider)
    if host is None or found.pack is None:
        return entry
    seal, pack = found.pack.seal[:_SEAL_CHARS], found.pack
    past = [
        one.entry.precision
        for one in before
        if one.depth == depth and one.entry.decision.baseline == entry.decision.baseline
        if one.entry.precision is not None and one.entry.precision.pack == seal
    ]
    tonight = replace(_condense_host(host, pack, found.run), alarm_at=_alarm_threshold(rules))
    if host.displacement.prompts < LEAST_PROMPTS or not past:
        return replace(entry, precision=tonight)
    frozen = list(itertools.takewhile(lambda one: one.since is None, past[:_FROZEN_NIGHTS]))
    later = [*past[len(frozen) :], tonight][-max(NIGHT_WINDOWS) :]
    pools = ([restore_displacement(pack, one.moved) for one in nights] for nights in (later, frozen))
    change = weigh_displacement_change(pack, *pools)
    last = past[-1]
    alarms = change.evidence >= tonight.alarm_at and (last.since is None or change.form != last.form)
    lasts = last.since is not None and last.form is not None
    over = lasts and abs(change.strengths.get(last.form or "", 0.0)) < LEAST_STRENGTH / 2 and not alarms
    tonight = replace(
        tonight,
        frozen=len(frozen),
        evidence=change.evidence,
        form=change.form if alarms or not lasts else last.form,
        strength=change.strength if alarms or not lasts else change.strengths.get(last.form or "", 0.0),
        since=night if alarms else None if over else last.since,
    )
    told = [_tell_change(frozen[-1], tonight, pack)] if alarms else [_tell_end(last, tonight)] if over else []
    return replace(entry, precision=tonight, decision=_add_events(entry.decision, told))


def _alarm_threshold(rules: Nightly) -> float:
    return stats.alarm_threshold(rules.false_alarms_per_year * SHARE_OF_FALSE_ALARMS)


def _condense_host(host: HostFingerprint, pack: DirectionPack, run: str) -> PrecisionNight:
    rows = host.displacement.by
    naming = host.naming
    return PrecisionNight(
        run=run,
        pack=pack.seal[:_SEAL_CHARS],
        prompts=host.displacement.prompts,
        state=host.state,
        sentence=describe_host_state(host, pack),
        forms=tuple(one.direction.name for one in naming.named) if naming is not None else (),
        size=naming.size if naming is not None else None,
        honest_size=pack.honest_size,
        moved=store_displacement(pack, rows),
        strengths={name: round(value, 4) for name, value in sorted(measure_strengths(pack, rows).items())},
    )


def _tell_change(before: PrecisionNight, now: PrecisionNight, pack: DirectionPack) -> NightEvent:
    title = next((d.title for d in pack.directions if d.name == now.form), now.form)
    way = "has come" if now.strength > 0 else "has gone"
    return NightEvent(
        what="precision",
        before=before.sentence,
        now=f"{now.sentence} ({title} {way}, strength {abs(now.strength):.2f}; evidence {now.evidence:.3g}, alarm from "
        f"{now.alarm_at:g}, by how {now.prompts} answers begin)",
        telling=True,
    )


def _tell_end(before: PrecisionNight, now: PrecisionNight) -> NightEvent:
    return NightEvent(
        what="precision",
        before=before.sentence,
        now=f"{now.sentence}, as before the night of {before.since}",
        telling=False,
    )


def _add_events(decision: Decision, told: Sequence[NightEvent]) -> Decision:
    return replace(decision, events=(*decision.events, *told))
