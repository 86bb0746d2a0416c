"""Tallies in, plain counts of how trials ended, of the models that answered, and of what was odd about answers, out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tempzero.analysis.observations import Lane, Observations
from tempzero.analysis.part_counts import CENSORED, EXCLUDED, NOT_SAID, Identity
from tempzero.analysis.provider_figures import count_planned_trials, find_empty_answers
from tempzero.analysis.tallies import Tally
from tempzero.analysis.texts import Texts
from tempzero.answers.served_names import judge_served_name
from tempzero.config import Provider
from tempzero.types.concluded import FlagCount, OutcomeCounts, ServedModel
from tempzero.types.vocabulary import NameStanding


def count_endings(tallies: Sequence[Tally], texts: Texts) -> Iterator[OutcomeCounts]:
    """How the planned trials of each provider ended."""
    for tally in tallies:
        lane = tally.lane
        at_limit, spent = find_cut_at_limit(lane, texts)
        yield OutcomeCounts(
            provider=tally.name,
            condition=lane.condition,
            planned=int(count_planned_trials(lane, len(tally.emr)).sum()),
            answered=int((lane.status <= CENSORED).sum()),
            cut_at_limit=int(at_limit.sum()),
            cut_otherwise=int(((lane.status == CENSORED) & ~at_limit).sum()),
            spent_on_reasoning=int(spent.sum()),
            empty=int(find_empty_answers(tally, texts).sum()),
            excluded=int((lane.status == EXCLUDED).sum()),
        )


def find_cut_at_limit(lane: Lane, texts: Texts) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The rows that were cut at their token limit, and those of them that spent it before any text came."""
    at_limit = lane.limited == 1
    there = at_limit & (lane.text != NOT_SAID)
    silent = at_limit & (there | (lane.completion_tokens > 0) | (lane.reasoning_tokens > 0))
    if "spoken" in texts.parts:
        silent[there] = texts.parts["spoken"].of_answer[lane.text[there]] == NOT_SAID
    else:
        silent[there] = False
    return np.asarray(at_limit, dtype=np.bool_), np.asarray(silent, dtype=np.bool_)


def count_served_models(tallies: Sequence[Tally], identities: Sequence[Identity]) -> Iterator[ServedModel]:
    """Every served model and backend that answers named, the commonest first."""
    for tally in tallies:
        numbers, times = np.unique(tally.lane.identity[tally.lane.identity != NOT_SAID], return_counts=True)
        answers: dict[tuple[str | None, str | None], int] = {}
        fingerprints: dict[tuple[str | None, str | None], set[str]] = {}
        for number, count in zip(numbers.tolist(), times.tolist(), strict=True):
            identity = identities[number]
            answers[identity.system] = answers.get(identity.system, 0) + count
            own = fingerprints.setdefault(identity.system, set())
            if identity.fingerprint is not None:
                own.add(identity.fingerprint)
        for system in sorted(answers, key=lambda s: (-answers[s], s[0] or "", s[1] or "")):
            yield ServedModel(
                provider=tally.name,
                condition=tally.lane.condition,
                asked=tally.lane.provider.model,
                served_model=system[0],
                standing=_judge_name(system[0], tally.lane.provider),
                backend=system[1],
                answers=answers[system],
                fingerprints=len(fingerprints[system]),
            )


def _judge_name(served: str | None, provider: Provider) -> NameStanding | None:
    if served is None:
        return None
    return judge_served_name(served, asked=provider.model, accepted=provider.accepts_models)


def count_flags(seen: Observations, tallies: Sequence[Tally], served: Sequence[ServedModel]) -> Iterator[FlagCount]:
    """What was odd about responses, by provider, the commonest first.

    Earlier versions called a dated snapshot another model: where every name stands for the model asked for, it did.
    """
    others = {(s.provider, s.condition) for s in served if s.standing == "other"}
    attempts = {(t.name, t.lane.condition): int(t.lane.attempts.sum()) for t in tallies}
    for key in sorted(seen.flagged, key=lambda k: (k[0], k[1], -seen.flagged[k].count, k[2])):
        provider, condition, flag = key
        found = seen.flagged[key]
        if flag == "model_mismatch" and (provider, condition) not in others and found.answered:
            flag = "model_alias"
        yield FlagCount(
            provider=provider,
            condition=condition,
            flag=flag,
            count=found.count,
            attempts=attempts.get((provider, condition), found.count),
            trials=tuple(sorted(found.trials, key=lambda t: (t.prompt, t.repeat))),
        )
