"""An Analysis and thresholds in, a Verdict out: pass, finding, or inconclusive, never a silent pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tempzero.config import Gates
from tempzero.types.concluded import Analysis, Figure, Finding, Level, ProviderFacts, ProviderVerdict, Verdict
from tempzero.types.vocabulary import WORST_FIRST, KindName, MetricName, VerdictOutcome


def judge(analysis: Analysis, gates: Gates) -> Verdict:
    """Judge every provider, worst first; the run's outcome is the worst of theirs: finding, inconclusive or pass.

    It is a finding too where some differ and nothing says who strays: that accuses no provider.

    `gates` are usually those of the run's own configuration.

    >>> recorded = tempzero.open_run("results/20260102T030405Z-example")
    >>> tempzero.judge(tempzero.analyse(recorded), recorded.config.gates).outcome
    'finding'
    """
    verdicts = [_judge_provider(p, analysis, gates) for p in analysis.providers]
    verdicts.sort(key=lambda v: (WORST_FIRST.index(v.outcome), v.provider))
    about_set = tuple(f.message for f in _list_findings(analysis, gates) if f.weight == "about_set")
    outcome: VerdictOutcome = verdicts[0].outcome if verdicts else "inconclusive"
    return Verdict(outcome="finding" if about_set else outcome, providers=tuple(verdicts), about_set=about_set)


def _judge_provider(provider: ProviderFacts, analysis: Analysis, gates: Gates) -> ProviderVerdict:
    figures = _ProviderFigures(analysis, provider.name)
    found = _list_findings(analysis, gates)
    against = [f.message for f in found if f.weight == "accuses" and f.subject == provider.name]
    against += _check_thresholds(figures, gates)
    if against:
        return ProviderVerdict(provider=provider.name, outcome="finding", reasons=tuple(against))
    levels = [level for level in analysis.levels if level.provider == provider.name]
    doubts = _collect_doubts(provider, figures, analysis, gates)
    doubts += [_say_level(level, levels) for level in levels if level.name in ("unread", "undecided")]
    doubts += _doubt_camps(provider, analysis, found)
    if doubts:
        return ProviderVerdict(provider=provider.name, outcome="inconclusive", reasons=tuple(doubts))
    confirmed = [
        f"declared precision confirmed by first tokens: {one.because}"
        for one in analysis.precision
        if one.provider == provider.name and one.standing == "confirmed"
        if all(level.standing != "confirmed" for level in levels)
    ]
    return ProviderVerdict(provider=provider.name, outcome="pass", reasons=(*figures.praise(levels), *confirmed))


def _list_findings(analysis: Analysis, gates: Gates) -> list[Finding]:
    """Those that `gates.ignore` does not name."""
    return [f for f in analysis.findings if f.rule not in gates.ignore]


def _say_level(level: Level, levels: Sequence[Level]) -> str:
    at = f"under {level.condition}: " if len(levels) > 1 else ""
    return at + level.message


def _doubt_camps(provider: ProviderFacts, analysis: Analysis, found: Sequence[Finding]) -> Iterator[str]:
    """Some are told apart and nobody can say who strays: then this one may be it."""
    for one in found:
        if one.weight == "about_set" and provider.name in (one.subject, one.other):
            other = one.other if one.subject == provider.name else one.subject
            yield f"it and {other} differ ({one.rule}), and nothing says which of the two strays"
            return
    told = {f.subject for f in found if f.rule == "camps"}
    for of in analysis.camps:
        if of.title in told and any(provider.name in camp for camp in of.camps):
            yield f"it is in one of {len(of.camps)} camps, and nothing says which of them strays"
            return


class _ProviderFigures:
    """Looks one provider's figures over all prompt families up by name."""

    def __init__(self, analysis: Analysis, provider: str) -> None:
        self._rows = [
            f for f in analysis.figures if f.left == provider and f.family is None and f.part in ("whole", "spoken")
        ]

    def get(self, kind: KindName, metric: MetricName) -> list[Figure]:
        return [f for f in self._rows if f.kind == kind and f.metric == metric]

    def praise(self, levels: Sequence[Level]) -> list[str]:
        reasons = [_say_level(level, levels) for level in levels]
        for words, figures in (
            ("agrees with itself", self.get("repeat", "emr")),
            ("agrees with the reference", self.get("reference", "cross_emr")),
        ):
            for figure in figures:
                e = figure.estimate
                if e.value is not None and e.low is not None and e.high is not None:
                    part = " (without the reasoning, which only one of them shows)" if figure.part == "spoken" else ""
                    reasons.append(f"{words}{part}: {e.value:.3f} [{e.low:.3f}, {e.high:.3f}], n={e.n}")
        return reasons


def _check_thresholds(figures: _ProviderFigures, gates: Gates) -> list[str]:
    """Only an interval that lies wholly on the wrong side of a threshold is a finding."""
    below: Callable[[Figure, float], bool] = lambda f, t: f.estimate.high is not None and f.estimate.high < t  # noqa: E731
    above: Callable[[Figure, float], bool] = lambda f, t: f.estimate.low is not None and f.estimate.low > t  # noqa: E731
    rules = (
        ("min_emr", gates.min_emr, below, figures.get("repeat", "emr")),
        ("min_reference_match", gates.min_reference_match, below, figures.get("reference", "cross_emr")),
        ("max_excess_divergence", gates.max_excess_divergence, above, figures.get("reference", "excess_divergence")),
    )
    return [
        f"gates.{name}: {figure.metric} is {figure.estimate.value:.3f} "
        f"[{figure.estimate.low:.3f}, {figure.estimate.high:.3f}], the threshold is {threshold}"
        for name, threshold, breaks, measured in rules
        if threshold is not None
        for figure in measured
        if breaks(figure, threshold)
    ]


def _collect_doubts(provider: ProviderFacts, figures: _ProviderFigures, analysis: Analysis, gates: Gates) -> list[str]:
    """What keeps a provider without findings from passing."""
    doubts = []
    # A text cut at max_tokens is still evidence up to the cut, so it counts as answered.
    answered = min((f.estimate.value or 0 for f in figures.get("coverage", "coverage")), default=0.0)
    if answered < 1:
        for ending in analysis.endings:
            if ending.provider is None:
                doubts.append(f"the run was stopped before its end: {ending.reason}")
            elif ending.provider == provider.name:
                doubts.append(f"it was not asked to the end: {ending.reason}")
    if answered < gates.min_coverage:
        doubts.append(f"only {answered:.0%} of the planned trials were answered; {gates.min_coverage:.0%} are needed")
    doubts += _doubt_silence(provider, analysis, gates)
    measured = figures.get("repeat", "emr")
    repeats = [f for f in measured if f.estimate.value is not None]
    refused = [f.estimate.method for f in measured if f.estimate.method.startswith("refused: ")]
    if not repeats and refused:
        doubts.append(f"the agreement of its repeats is {refused[0]}; see how many prompts survived how many repeats")
    elif not repeats and not _is_pack(provider):
        doubts.append("its repeats were not measured: fewer than two comparable responses to every prompt")
    elif repeats and all(f.estimate.n < gates.min_prompts for f in repeats):
        doubts.append(f"too few prompts with repeats: {repeats[0].estimate.n}; {gates.min_prompts} are needed")
    if not provider.is_reference and _has_reference(provider, analysis):
        compared = [f for f in figures.get("reference", "cross_emr") if f.estimate.n >= gates.min_prompts]
        if not compared:
            doubts.append(f"compared with the reference on fewer than {gates.min_prompts} prompts")
    return doubts


def _is_pack(provider: ProviderFacts) -> bool:
    """Answers that were recorded once and are given again: it has no repeats, and is no server."""
    return provider.engine == "packed"


def _doubt_silence(provider: ProviderFacts, analysis: Analysis, gates: Gates) -> Iterator[str]:
    """Answers without anything said leave nothing to judge, however well they agree."""
    for ended in analysis.outcomes:
        if ended.provider != provider.name or not ended.answered:
            continue
        at = f" under {ended.condition}" if sum(e.provider == provider.name for e in analysis.outcomes) > 1 else ""
        said = ended.answered - ended.spent_on_reasoning
        if ended.spent_on_reasoning and said < gates.min_coverage * ended.answered:
            yield (
                f"the limit was spent on reasoning, before any text, in {ended.spent_on_reasoning} of "
                f"{ended.answered} answers{at}: raise max_tokens"
            )
        if ended.empty == ended.answered:
            yield f"all of its {ended.answered} answers{at} were empty"


def _has_reference(provider: ProviderFacts, analysis: Analysis) -> bool:
    return any(p.is_reference and p.claimed_model == provider.claimed_model for p in analysis.providers)
