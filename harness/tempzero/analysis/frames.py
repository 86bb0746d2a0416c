"""A Run in, DataFrames for a notebook out: a row for each trial, a row for each two providers that were compared."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from tempzero.analysis import analyse
from tempzero.analysis.observations import TRIAL_KEY, choose_attempts, clamp_tokens
from tempzero.answer_parts import AnswerParts, split_answer, to_whole_text
from tempzero.records import Run
from tempzero.types.concluded import Analysis, Estimate
from tempzero.types.recorded import ANSWERED, RecordView
from tempzero.types.vocabulary import KindName, MetricName, PartName

_TOKENS = ("prompt_tokens", "completion_tokens", "reasoning_tokens", "cached_tokens")
_PARTS = ("text", "reasoning", "calls", "refusal")
_LABELS = ("finish_reason", "served_model", "backend", "fingerprint")
_WHOLE_NUMBERS = ("repeat", "attempts", *_TOKENS, "in_flight")
_SECONDS = ("first_byte_s", "latency_s")
_RESPONSE_COLUMNS = (
    *("provider", "model", "prompt", "family", "condition", "repeat", "attempts", "status", "kind", "detail", "flags"),
    *("answer", *_PARTS, *_LABELS, *_TOKENS, "started_at", *_SECONDS, "in_flight"),
)
_PAIR_COLUMNS = (
    *("left", "right", "condition", "kind", "emr", "emr_low", "emr_high", "emr_n"),
    *("excess_divergence", "excess_low", "excess_high", "excess_n", "noise_floor", "part"),
)
_OWN_METRIC: dict[KindName, MetricName] = {"repeat": "emr", "cross": "cross_emr", "reference": "cross_emr"}
_BESIDE: tuple[MetricName, MetricName] = ("excess_divergence", "noise_floor")
_COMPARED: tuple[PartName, ...] = ("whole", "spoken")
_UNKNOWN = Estimate(value=None, low=None, high=None, n=0, method="")


def responses(run: Run) -> pd.DataFrame:
    """Every trial that was asked, one row each: its first usable attempt, else its last.

    Rows come by condition, provider, prompt and repeat. Whole numbers are nullable (`Int64`); what was not said is
    missing (`isna`). The columns:

    - provider, prompt, condition, repeat: the trial; repeat counts from 0
    - model: the model that was asked for, as the provider calls it
    - family: the prompt's family
    - attempts: how often the trial was tried, retries included
    - status: valid (a whole text), censored (a text that was cut), excluded (a replayed answer) or missing
    - kind, detail: the status finer (complete, empty, length, timeout, ...), and in words
    - flags: what is odd about a usable answer, a tuple of names
    - answer: what is compared, all parts as one text: two are equal exactly where all their parts are
    - text, reasoning, calls, refusal: the parts; a line for each tool call, and missing where a part is not shown
    - finish_reason, served_model, backend, fingerprint: as the response says
    - prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens: as the response counts them
    - started_at: when the request was sent, UTC by the asking machine's clock, ISO 8601
    - first_byte_s, latency_s: seconds from sending to the first byte, and to the end of the response
    - in_flight: requests under way at this provider when this one was sent, itself included

    Raises RunFolderError for damaged records.

    >>> frame = tempzero.responses(tempzero.open_run("results/20260102T030405Z-example"))
    >>> frame.groupby(["provider", "prompt"]).text.nunique().to_dict()
    {('a', 'p0'): 1, ('a', 'p1'): 1, ('a', 'p2'): 1, ('b', 'p0'): 1, ('b', 'p1'): 1, ('b', 'p2'): 2}
    """
    models = {p.name: p.model for p in run.config.providers}
    families = {p.id: p.family for p in run.manifest.suite.prompts}
    rows = [_response_row(view, models, families) for view in run.views()]
    attempts = pd.DataFrame.from_records(rows, columns=[*_RESPONSE_COLUMNS, "number"])
    attempts["attempts"] = attempts.groupby(TRIAL_KEY).number.transform("size")
    trials = choose_attempts(attempts, attempts.status.isin(ANSWERED)).reset_index(drop=True)
    types = dict.fromkeys(_WHOLE_NUMBERS, "Int64") | dict.fromkeys(_SECONDS, "float64")
    return trials[list(_RESPONSE_COLUMNS)].astype(types)


def _response_row(
    view: RecordView, models: Mapping[str, str | None], families: Mapping[str, str]
) -> tuple[object, ...]:
    trial, outcome, times, said = view.trial, view.outcome, view.times, view.outcome.completion
    parts = None if said is None else split_answer(said)
    counted = (getattr(said, name, None) for name in _TOKENS)
    return (
        *(trial.provider, models.get(trial.provider), trial.prompt, families.get(trial.prompt)),
        *(trial.condition, trial.repeat, 0, outcome.status, outcome.kind, outcome.detail or None, outcome.flags),
        *((None,) * (1 + len(_PARTS)) if parts is None else (to_whole_text(parts), *_to_columns(parts))),
        *(getattr(said, name, None) for name in _LABELS),
        *(None if tokens is None else clamp_tokens(tokens) for tokens in counted),
        *(times.started_at or None, times.first_byte_s, times.end_s, times.in_flight or None, view.number),
    )


def _to_columns(parts: AnswerParts) -> tuple[str | None, ...]:
    return tuple(getattr(parts, name) for name in _PARTS)


def pairs(run: Run | Analysis) -> pd.DataFrame:
    """Every two providers of one model that were compared, and each provider with itself, one row each.

    A Run is analysed first, which takes seconds to a minute for a large one; hand over its Analysis where you have
    it. All shares are between 0 and 1, with 95 % intervals over prompts; NaN is not known. The columns:

    - left, right: the two providers; the same name twice where a provider is compared with itself
    - condition: under which condition of the run
    - kind: repeat (a provider with itself), cross (two peers) or reference (right is the reference)
    - emr: chance that an answer of left and one of right to the same prompt are the same in all compared
      parts; of a provider with itself, that two of its repeats are. 1 means always
    - emr_low, emr_high, emr_n: its interval, and the number of prompts that it rests on
    - excess_divergence: how much more the two differ from each other than each from itself, the mean of their own EMR
      minus emr. 0 means no difference beyond their own noise; NaN for a provider with itself
    - excess_low, excess_high, excess_n: its interval and its number of prompts
    - noise_floor: the divergence that the two show by their own noise alone
    - part: what is compared: whole answers, or (spoken) all but the reasoning, where only one of the two ever shows it

    Raises RunFolderError for damaged records.

    >>> frame = tempzero.pairs(tempzero.open_run("results/20260102T030405Z-example"))
    >>> frame[["left", "right", "emr", "excess_divergence", "emr_n"]]
      left right       emr  excess_divergence  emr_n
    0    a     a  1.000000                NaN      3
    1    b     b  0.777778                NaN      3
    2    a     b  0.555556           0.333333      3
    """
    analysis = run if isinstance(run, Analysis) else analyse(run)
    figures = {
        (f.kind, f.condition, f.left, f.right or f.left, f.part, f.metric): f.estimate
        for f in analysis.figures
        if f.family is None and f.part in _COMPARED
    }
    rows = []
    for (kind, condition, left, right, part, metric), estimate in figures.items():
        if metric == _OWN_METRIC.get(kind):
            excess, floor = (figures.get((kind, condition, left, right, part, other), _UNKNOWN) for other in _BESIDE)
            own = (left, right, condition, kind, *_to_numbers(estimate), estimate.n)
            rows.append((*own, *_to_numbers(excess), excess.n, _to_numbers(floor)[0], part))
    return pd.DataFrame.from_records(rows, columns=list(_PAIR_COLUMNS))


def _to_numbers(estimate: Estimate) -> tuple[float, float, float]:
    value, low, high = (math.nan if x is None else x for x in (estimate.value, estimate.low, estimate.high))
    return value, low, high
