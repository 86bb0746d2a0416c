"""Outputs or texts in, numbers out; one file per family. Nothing here knows providers, thresholds or intervals.

agreement    how often repeats, or two sides, give the same output (EMR, TARr@k, cross-EMR, excess divergence)
cuts         which response that was cut at its token limit counts as which longer one
censoring    whether asking stopped at the first divergence, which makes agreement come out too high
divergence   where two texts part (Div_Index as a survival curve) and how far apart they are (NED)
repetition   how much a text repeats itself (seq-rep-4, rep/128, loops, compression)
answers      what the answers come to (correctness of a prompt, best and worst of its repeats)
lengths      sizes and times (means and medians of a prompt)

A metric's noun (name, unit, definition, source) stands beside its formula. To add a measure of single texts: write
both in its family's file, name it and its excess in `types.vocabulary`, and give it a line in TEXT_METRICS; the
analysis then computes it once for each distinct text, and its excess over the reference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tempzero.metrics.repetition import (
    COMPRESSION_RATIO,
    LOOP_SHARE,
    REP_128,
    SEQ_REP_4,
    compression_ratio,
    loop_share,
    rep_128,
    seq_rep_4,
)
from tempzero.types.vocabulary import Metric, MetricName

__all__ = ["TEXT_METRICS", "TextMetric", "name_excess"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TextMetric:
    """A measure of one text: `read` gives None where it is undefined, a share in [0, 1].

    `metric` is its mean over a provider's responses, `excess` that mean minus the others' on the same prompts.
    """

    read: Callable[[str], float | None]
    metric: Metric
    excess: Metric


def name_excess(name: MetricName, base: Metric) -> Metric:
    """What the excess of a measure of single texts over others is called and means."""
    return Metric(
        name=name,
        unit=base.unit,
        kinds=base.kinds,
        title=f"{base.title}, excess",
        definition=f"{base.title}: the provider's value minus that of the reference (or, without one, of its peers) "
        "on the same prompts. Some prompts ask for repetition; the excess is what is the provider's own.",
        source=base.source,
        one_means="the provider's value is 1.0 on every prompt and the others' 0.0" if base.unit == "share" else "",
        undefined="nobody to compare with on the same prompts",
    )


TEXT_METRICS = (
    TextMetric(read=seq_rep_4, metric=SEQ_REP_4, excess=name_excess("seq_rep_4_excess", SEQ_REP_4)),
    TextMetric(read=rep_128, metric=REP_128, excess=name_excess("rep_128_excess", REP_128)),
    TextMetric(read=loop_share, metric=LOOP_SHARE, excess=name_excess("loop_share_excess", LOOP_SHARE)),
    TextMetric(
        read=compression_ratio,
        metric=COMPRESSION_RATIO,
        excess=name_excess("compression_ratio_excess", COMPRESSION_RATIO),
    ),
)
