"""Runs night after night in, what changed and since when out.

nights       the nouns, and the files they stand in
condensing   a run -> what is kept of it for comparing nights
known_states  baseline, nights before -> the states they fall into, each with its frozen pools
deciding     baseline, nights before, tonight -> state, evidence, since when
events       exact signals: served model, prompt_tokens, price, refusals, fingerprint, latency
lines        answers, accuracy, length, repetition, reference: a line each
notices      nights -> what is worth a message
"""

from __future__ import annotations

from tempzero.nightly.history.compared_measures import measure_title
from tempzero.nightly.history.condensing import condense_run, question_key
from tempzero.nightly.history.deciding import Tonight, decide_tonight
from tempzero.nightly.history.known_states import PastNight, gather_past_nights
from tempzero.nightly.history.nights import (
    CHANGED_STATES,
    FORMAT,
    STATE_WORDS,
    Baseline,
    Decision,
    Depth,
    MeasureComparison,
    Night,
    NightEntry,
    NightEvent,
    PrecisionNight,
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
from tempzero.nightly.history.notices import (
    Notice,
    NoticeKind,
    describe_event,
    describe_evidence,
    describe_precision,
    find_notices,
    tell_how_to_accept,
)

__all__ = [
    "CHANGED_STATES",
    "FORMAT",
    "STATE_WORDS",
    "Baseline",
    "Decision",
    "Depth",
    "MeasureComparison",
    "Night",
    "NightEntry",
    "NightEvent",
    "Notice",
    "NoticeKind",
    "PastNight",
    "PrecisionNight",
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
    "describe_evidence",
    "describe_precision",
    "drop_shown_texts",
    "find_common_basis",
    "find_notices",
    "gather_past_nights",
    "latest_entries",
    "measure_title",
    "question_key",
    "read_baselines",
    "read_nights",
    "tell_how_to_accept",
    "write_baseline",
    "write_night",
]
