"""An Analysis and a Verdict in, quick look-ups out: which figure, which reference, which provider."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tempzero.reports.anchors import number_anchors
from tempzero.types.concluded import (
    LEADING_SHARE,
    Analysis,
    Figure,
    FlagCount,
    OutcomeCounts,
    PromptRow,
    ProviderFacts,
    Verdict,
)
from tempzero.types.vocabulary import (
    PAIR_KINDS,
    WORST_FIRST,
    CauseName,
    FlagMeaning,
    KindName,
    Metric,
    MetricName,
    PartName,
    RuleName,
)

# Of so many providers the pages show each in every table; of more those that matter most, and the CSV files all.
SHOWN_PROVIDERS = 60

_FigureKey = tuple[KindName, MetricName, str, str | None, str, str | None, PartName]
_COMPARED: tuple[PartName, ...] = ("whole", "spoken")


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Subject:
    """A provider under one condition: what one table row speaks of."""

    provider: str
    condition: str


class View:
    """What the sections look at. Built once for each report; nothing in it changes."""

    def __init__(self, analysis: Analysis, verdict: Verdict) -> None:
        self.analysis = analysis
        self.verdict = verdict
        self._facts = {p.name: p for p in analysis.providers}
        self._order = {p.name: i for i, p in enumerate(analysis.providers)}
        self._metrics = {m.name: m for m in analysis.vocabulary.metrics}
        self._rule_words = {r.name: r.words for r in analysis.vocabulary.rules}
        self._cause_words = {c.name: c.words for c in analysis.vocabulary.causes}
        self._flags = {f.name: f for f in analysis.vocabulary.flags}
        self._outcomes = {(o.provider, o.condition): o for o in analysis.outcomes}
        self._figures: dict[_FigureKey, Figure] = {}
        self._asked = {
            (f.left, f.condition, f.family): f.estimate.n for f in analysis.figures if f.metric == "coverage"
        }
        by_key: dict[_FigureKey, list[Figure]] = {}
        for figure in analysis.figures:
            key = (figure.kind, figure.metric, figure.left, figure.right, figure.condition, figure.family, figure.part)
            by_key.setdefault(key, []).append(figure)
        for key, several in by_key.items():
            self._figures[key] = several[0] if len(several) == 1 else self._choose_leading_figure(several)
        self._subjects: dict[KindName, set[Subject]] = {}
        for kind, _, left, _, condition, _, _ in self._figures:
            self._subjects.setdefault(kind, set()).add(Subject(provider=left, condition=condition))
        self.prompt_anchors = number_anchors("prompt", (p.prompt for p in analysis.asked))
        self.provider_anchors = number_anchors("provider", (p.provider for p in verdict.providers))
        self.conditions = tuple(dict.fromkeys(_row_conditions(analysis)))
        self._left_out = frozenset(self._list_by_weight()[SHOWN_PROVIDERS:])

    def _choose_leading_figure(self, several: Sequence[Figure]) -> Figure:
        """Of one metric at several k that at the largest k which most prompts have; the tables hold them all."""
        asked = self._asked.get((several[0].left, several[0].condition, several[0].family))
        most = max(f.estimate.n for f in several)
        wanted = LEADING_SHARE * (most if asked is None else asked)
        fitting = [f for f in several if f.estimate.n >= wanted] or [f for f in several if f.estimate.n == most]
        leads = max if most >= wanted else min
        return leads(fitting, key=lambda f: f.k or 0)

    def metric(self, name: MetricName) -> Metric:
        """What a metric is called and means."""
        return self._metrics[name]

    def rule_words(self, rule: RuleName) -> str:
        """A finding's rule as a heading."""
        return self._rule_words[rule]

    def cause_words(self, cause: CauseName) -> str:
        """A diagnosis' cause in words."""
        return self._cause_words[cause]

    def figure(
        self,
        kind: KindName,
        metric: MetricName,
        left: Subject,
        right: str | None = None,
        family: str | None = None,
        part: PartName | None = None,
    ) -> Figure | None:
        """One figure, or None where the analysis has none. Without a part: of whole answers, else of what is compared.

        Two providers of which only one ever shows its reasoning are compared without it.
        """
        for one in _COMPARED if part is None else (part,):
            found = self._figures.get((kind, metric, left.provider, right, left.condition, family, one))
            if found is not None:
                return found
        return None

    def against(self, metric: MetricName, left: Subject, right: str) -> Figure | None:
        """A figure of two providers, whichever of them it names first, reference or not."""
        turned = Subject(provider=right, condition=left.condition)
        for kind in PAIR_KINDS:
            found = self.figure(kind, metric, left, right) or self.figure(kind, metric, turned, left.provider)
            if found is not None:
                return found
        return None

    def figures(self, kind: KindName) -> list[Figure]:
        """All figures of a kind over all prompt families, in the analysis's order; not those of single parts."""
        return [f for f in self._figures.values() if f.kind == kind and f.family is None and f.part in _COMPARED]

    def part_figures(self, kind: KindName) -> list[Figure]:
        """Those of single parts of the answers, over all prompt families."""
        return [f for f in self._figures.values() if f.kind == kind and f.family is None and f.part not in _COMPARED]

    def flag_meaning(self, one: FlagCount) -> FlagMeaning | None:
        """What a counted flag means; None where the table lacks it."""
        return self._flags.get(one.flag)

    def outcomes(self, subject: Subject) -> OutcomeCounts | None:
        """How a provider's planned trials ended."""
        return self._outcomes.get((subject.provider, subject.condition))

    def by_k(self, kind: KindName, metric: MetricName) -> dict[Subject, dict[int, Figure]]:
        """A metric over all prompt families at every number of repeats that it was computed for, in the run's order."""
        found: dict[Subject, dict[int, Figure]] = {}
        for f in self.analysis.figures:
            if (f.kind, f.metric, f.family) == (kind, metric, None) and f.part == "whole" and f.k is not None:
                found.setdefault(Subject(provider=f.left, condition=f.condition), {})[f.k] = f
        return {subject: found[subject] for subject in self._sorted(found)}

    def subjects(self, *kinds: KindName) -> list[Subject]:
        """Who has figures of these kinds, in the run's order."""
        return self._sorted({subject for kind in kinds for subject in self._subjects.get(kind, ())})

    def families(self, kind: KindName, metric: MetricName) -> list[str]:
        """The prompt families for which a metric was computed."""
        return sorted({f.family for f in self._figures.values() if f.kind == kind and f.metric == metric and f.family})

    def facts(self, provider: str) -> ProviderFacts | None:
        """What the run recorded of a provider."""
        return self._facts.get(provider)

    def reference_of(self, provider: str) -> str | None:
        """The reference a provider is compared with: the one that claims the same model."""
        facts = self._facts.get(provider)
        if facts is None:
            return None
        for name in self.analysis.references:
            other = self._facts.get(name)
            if other is not None and other.claimed_model == facts.claimed_model:
                return name if name != provider else None
        return None

    def notes_of(self, provider: str) -> tuple[str, ...]:
        """The analysis's notes on one provider, without its name before them."""
        starts = (f"{provider}: ", f"{provider} (")
        return tuple(n.removeprefix(starts[0]) for n in self.analysis.notes if n.startswith(starts))

    def other_notes(self) -> tuple[str, ...]:
        """The notes that speak of no judged provider, or of the run as a whole."""
        judged = tuple(s for p in self.verdict.providers for s in (f"{p.provider}: ", f"{p.provider} ("))
        return tuple(n for n in self.analysis.notes if not n.startswith(judged))

    def is_reference(self, provider: str) -> bool:
        """Whether a provider plays the role of the reference."""
        return provider in self.analysis.references

    def label(self, subject: Subject) -> str:
        """The provider's name, its condition where there are several, and its role."""
        label = self.name(subject)
        return f"{label} (reference)" if self.is_reference(subject.provider) else label

    def leaves_out(self, provider: str) -> bool:
        """Whether there are so many providers that the tables of the pages are silent on this one."""
        return provider in self._left_out

    def _list_by_weight(self) -> list[str]:
        """References first, then the worst judged, each in the order of the configuration."""
        judged = {p.provider: WORST_FIRST.index(p.outcome) for p in self.verdict.providers}
        references = set(self.analysis.references)
        return sorted(
            self._order,
            key=lambda name: (name not in references, judged.get(name, len(WORST_FIRST)), self._order[name]),
        )

    def name(self, subject: Subject) -> str:
        """The provider's name, with the condition where the run has several."""
        return f"{subject.provider} · {subject.condition}" if len(self.conditions) > 1 else subject.provider

    def groups(self) -> list[tuple[str, list[Subject]]]:
        """Who may be compared with whom: providers of one claimed model under one condition."""
        groups: dict[tuple[str, str], list[Subject]] = {}
        for subject in self.subjects("repeat", "cross", "reference"):
            facts = self.facts(subject.provider)
            model = facts.claimed_model if facts else subject.provider
            groups.setdefault((model, subject.condition), []).append(subject)
        return [(self._group_title(*key), members) for key, members in groups.items()]

    def _group_title(self, model: str, condition: str) -> str:
        return f"{model}, {condition}" if len(self.conditions) > 1 else model

    def _sorted(self, subjects: Iterable[Subject]) -> list[Subject]:
        last = len(self._order)
        return sorted(subjects, key=lambda s: (self._order.get(s.provider, last), s.provider, s.condition))


def _row_conditions(analysis: Analysis) -> Iterable[str]:
    rows: Iterable[Figure | PromptRow] = (*analysis.figures, *analysis.prompt_rows)
    return (row.condition for row in rows)
