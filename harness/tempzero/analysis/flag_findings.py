"""Counted flags in, a Finding for each that breaks what was asked for out; what flags mean stands in their table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from tempzero import stats
from tempzero.analysis.evidence import Case, condition_suffix
from tempzero.flag_table import FLAGS
from tempzero.types.concluded import Finding, FlagCount
from tempzero.types.recorded import Flag
from tempzero.types.vocabulary import FlagMeaning, Rule, RuleName

_ACCUSING: Mapping[Flag, FlagMeaning] = {one.name: one for one in FLAGS if one.severity == "finding"}


def _make_rule(meaning: FlagMeaning) -> Rule:
    # A test holds that every flag that is a finding is the name of a rule.
    name = cast(RuleName, meaning.name)
    return Rule(name=name, words=meaning.words[:1].upper() + meaning.words[1:], shown_by=f"existence: {meaning.rule}")


FLAG_RULES: tuple[Rule, ...] = tuple(_make_rule(meaning) for meaning in _ACCUSING.values())


def find_broken_promises(case: Case) -> Iterable[Finding]:
    """What responses show to be against the request: one is enough, and the message says how many there were."""
    for one in case.flags:
        meaning = _ACCUSING.get(one.flag)
        if meaning is None:
            continue
        more = _describe_served(one, case) if one.flag == "model_mismatch" else ""
        yield Finding(
            rule=cast(RuleName, one.flag),
            subject=one.provider,
            other=None,
            message=f"{one.provider}{condition_suffix(one.condition)} {meaning.words} in {one.count} of {one.attempts} "
            f"responses{more}",
            estimate=stats.wilson_proportion(one.count, max(one.count, one.attempts)),
            p_value=None,
            evidence=one.trials,
        )


def _describe_served(one: FlagCount, case: Case) -> str:
    """What was asked for, and which names answered how often."""
    served = [s for s in case.served if (s.provider, s.condition) == (one.provider, one.condition)]
    names: dict[str, int] = {}
    for s in served:
        name = "no name" if s.served_model is None else s.served_model[:60]
        names[name] = names.get(name, 0) + s.answers
    shown = ", ".join(f"{name} x{count}" for name, count in list(names.items())[:4]) + (
        ", ..." if len(names) > 4 else ""
    )
    return f": asked for {served[0].asked}, answered as {shown}" if served else ""
