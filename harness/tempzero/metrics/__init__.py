"""Outputs or texts in, numbers out; one file per family. Nothing here knows providers, thresholds or intervals.

agreement    how often repeats, or two sides, give the same output (EMR, TARr@k, cross-EMR, excess divergence)
cuts         which response that was cut at its token limit counts as which longer one
censoring    whether asking stopped at the first divergence, which makes agreement come out too high
divergence   where two texts part (Div_Index as a survival curve) and how far apart they are (NED)
repetition   how much a text repeats itself (seq-rep-4, rep/128, loops, compression)
answers      what the answers come to (correctness of a prompt, best and worst of its repeats)
lengths      sizes and times (means and medians of a prompt)

To add a measure of single texts: write it in its family's file and name it in TEXT_METRICS; the
analysis then computes it once for each distinct text, and its excess over the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tempzero.metrics.repetition import compression_ratio, loop_share, rep_128, seq_rep_4

__all__ = ["TEXT_METRICS", "TextMetric"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TextMetric:
    """A measure of one text: None where it is undefined. A `share` lies in [0, 1]."""

    read: Callable[[str], float | None]
    unit: str


TEXT_METRICS: Mapping[str, TextMetric] = {
    "seq_rep_4": TextMetric(read=seq_rep_4, unit="share"),
    "rep_128": TextMetric(read=rep_128, unit="share"),
    "loop_share": TextMetric(read=loop_share, unit="share"),
    "compression_ratio": TextMetric(read=compression_ratio, unit="ratio"),
}
