"""The metrics and findings of this run in, what they mean, what 1.0 says and what shows them out."""

from __future__ import annotations

from tempzero.reports.document import ON_PAPER, Definition, Definitions, Section
from tempzero.reports.lookup import View
from tempzero.types.vocabulary import Metric

_WORDS = (
    Definition(
        name="Valid, cut, missing",
        metric="",
        text="Valid: a complete text. Cut (censored): real output that ended at a limit or a filter. Missing: no "
        "output; it never counts as divergence. A cut text is compared only up to its cut.",
        source="",
    ),
    Definition(
        name="First difference (Div_Index)",
        metric="",
        text="The first position, in characters, at which two responses differ. Pairs that never differ are shown as a "
        "curve that does not fall, not as a mean.",
        source="Yuan et al., arXiv:2506.09501",
    ),
    Definition(
        name="Intervals",
        metric="",
        text="95 % intervals over prompts: repeats of one prompt depend on each other, so the prompt is the unit. "
        "Where nothing differed the interval still has a width, because a few prompts "
        "cannot show that nothing ever will.",
        source="Wilson 1927; Clopper and Pearson 1934; Student's t",
    ),
    Definition(
        name="Tests",
        metric="",
        text="Two providers: responses are permuted between them within each prompt. p-values are corrected for the "
        "number of pairs.",
        source="Gretton et al. 2012 (MMD²); Holm 1979",
    ),
)


def build_legend_section(view: View) -> Section:
    """The legend: first the words of docs/methods.md, then each metric that this run has, then each rule that found."""
    present = {f.metric for f in view.analysis.figures}
    found = {f.rule for f in view.analysis.findings}
    vocabulary = view.analysis.vocabulary
    items = (
        *_WORDS,
        *(
            Definition(name=m.title, metric=m.name, text=_define_metric(m), source=m.source)
            for m in vocabulary.metrics
            if m.name in present
        ),
        *(
            Definition(name=r.words, metric=r.name, text=f"A finding. What shows it: {r.shown_by}.", source="")
            for r in vocabulary.rules
            if r.name in found
        ),
    )
    return Section(anchor="legend", title="Legend", lead="", blocks=(Definitions(items=items),), media=ON_PAPER)


def _define_metric(metric: Metric) -> str:
    return metric.definition + (f" 1.0 means: {metric.one_means}." if metric.one_means else "")
