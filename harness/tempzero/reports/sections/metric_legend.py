"""The metrics and findings of this run in, what they mean, what 1.0 says and what shows them out."""

from __future__ import annotations

from tempzero.reports.document import ON_PAPER, Definition, Definitions, Section
from tempzero.reports.lookup import View
from tempzero.types.vocabulary import Metric

_WORDS = (
    Definition(
        name="Answered, cut, missing",
        metric="",
        text="Answered: any output came back, whole or cut; its share of the planned trials is the coverage. Cut "
        "(censored): real output that ended at a limit or a filter; it is compared only up to its cut. Missing: no "
        "output; it never counts as divergence.",
        source="",
    ),
    Definition(
        name="Reference, margin, near-tie",
        metric="",
        text="The reference is the same model under known settings. Where it reads an answer, a token's margin says "
        "how many logits it stands below the token that the reference would have chosen: 0 where it agrees. A "
        "near-tie is a place where its two best tokens are so close that rounding may turn them.",
        source="",
    ),
    Definition(
        name="16-bit rounding",
        metric="",
        text="Honest hosts compute in 16 bits and so give other texts here and there. How much of that is honest is "
        "measured on engines that do so; a provider beyond it computes something else.",
        source="",
    ),
    Definition(
        name="Camp, odd one",
        metric="",
        text="A camp is a group of endpoints that cannot be told apart by their texts. The odd one differs from every "
        "member of a camp that holds more than half of its model's endpoints; without such a camp nobody is accused.",
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
