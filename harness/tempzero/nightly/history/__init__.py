"""Runs night after night in, what changed and since when out.

nights       the nouns, and the files they stand in
condensing   a run -> what is kept of it for comparing nights
deciding     baseline, nights before, tonight -> state, evidence, since when
events       exact signals: served model, prompt_tokens, price, refusals, fingerprint, latency
lines        answers, accuracy, length, repetition, reference: a line each
notices      nights -> what is worth a message
"""

from __future__ import annotations

from tempzero.nightly.history.condensing import condense
from tempzero.nightly.history.deciding import Tonight, decide, past
from tempzero.nightly.history.nights import (
    FORMAT,
    Baseline,
    Decision,
    Depth,
    Entry,
    Event,
    Line,
    Night,
    Side,
    Telling,
    baseline_file,
    baseline_of,
    check_label,
    read_baselines,
    read_nights,
    standing,
    without_texts,
    write_baseline,
    write_night,
)
from tempzero.nightly.history.notices import Notice, event_words, notices

__all__ = [
    "FORMAT",
    "Baseline",
    "Decision",
    "Depth",
    "Entry",
    "Event",
    "Line",
    "Night",
    "Notice",
    "Side",
    "Telling",
    "Tonight",
    "baseline_file",
    "baseline_of",
    "check_label",
    "condense",
    "decide",
    "event_words",
    "notices",
    "past",
    "read_baselines",
    "read_nights",
    "standing",
    "without_texts",
    "write_baseline",
    "write_night",
]
