"""Runs night after night in, what changed and since when out.

nights       the nouns, and the files they stand in
condensing   a run -> what is kept of it for comparing nights
deciding     baseline, nights before, tonight -> state, evidence, since when
events       exact signals: served model, prompt_tokens, price, refusals, fingerprint, latency
lines        answers, accuracy, length, repetition, reference: a line each
notices      nights -> what is worth a message
"""

from __future__ import annotations

from tempzero.nightly.history.compared_measures import measure_title
from tempzero.nightly.history.condensing import condense_run, question_key
from tempzero.nightly.history.deciding import Tonight, decide_tonight, past_nights
from tempzero.nightly.history.nights import (
    FORMAT,
    Baseline,
    Decision,
    Depth,
    MeasureComparison,
    Night,
    NightEntry,
    NightEvent,
    Side,
    State,
    TellingPrompt,
    baseline_path,
    check_night_label,
    choose_baseline,
    drop_shown_texts,
    find_common_basis,
    latest_entries,
    read_baselines,
    read_nights,
    write_baseline,
    write_night,
)
from tempzero.nightly.history.notices import Notice, describe_event, find_notices

__all__ = [
    "FORMAT",
    "Baseline",
    "Decision",
    "Depth",
    "MeasureComparison",
    "Night",
    "NightEntry",
    "NightEvent",
    "Notice",
    "Side",
    "State",
    "TellingPrompt",
    "Tonight",
    "baseline_path",
    "check_night_label",
    "choose_baseline",
    "condense_run",
    "decide_tonight",
    "describe_event",
    "drop_shown_texts",
    "find_common_basis",
    "find_notices",
    "latest_entries",
    "measure_title",
    "past_nights",
    "question_key",
    "read_baselines",
    "read_nights",
    "write_baseline",
    "write_night",
]
