"""A Run in, DataFrames for a notebook out: a row for each trial, prompt, token, two providers, or value of a figure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import get_args

import pandas as pd

from tempzero.analysis.observations import TRIAL_KEY, choose_attempts
from tempzero.analysis.part_counts import clamp_tokens
from tempzero.answers.answer_parts import AnswerParts, split_answer, to_whole_text
from tempzero.errors import UsageError
from tempzero.records import Run
from tempzero.types.asked import Trial
from tempzero.types.concluded import Analysis, Estimate
from tempzero.types.recorded import ANSWERED, RecordView
from tempzero.types.scored import ScoredResponse
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
_PROMPT_COLUMNS = (
    *("prompt", "family", "text", "expected", "extractor", "max_tokens"),
    *("answered", "distinct_answers", "most_common"),
)
_TOKEN_COLUMNS = (
    *("provider", "prompt", "condition", "repeat", "reference", "position", "token", "agrees", "instead"),
    *("margin", "gap", "logprob", "rank", "seen", "token_id", "choice_id"),
)
_FIGURE_COLUMNS = (
    *("metric", "kind", "left", "right", "condition", "family", "part", "k"),
    *("value", "low", "high", "n", "unit", "method"),
)
_OWN_METRIC: dict[KindName, MetricName] = {"repeat": "emr", "cross": "cross_emr", "reference": "cross_emr"}
_BESIDE: tuple[MetricName, MetricName] = ("excess_divergence", "noise_floor")
_COMPARED: tuple[PartName, ...] = ("whole", "spoken")
_UNKNOWN = Estimate(value=None, low=None, high=None, n=0, method="")


def list_responses(run: Run) -> pd.DataFrame:
    """A row for each trial: its first usable attempt, else its last. Raises RunFolderError for damaged records."""
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


def list_prompts(run: Run, responses: pd.DataFrame) -> pd.DataFrame:
    """A row for each prompt of the suite, and how many answers to it there are, of how many kinds."""
    answers = responses[responses.answer.notna()].groupby("prompt").answer
    counted = {name: (len(group), group.nunique(), group.value_counts().iloc[0]) for name, group in answers}
    rows = [
        (
            *(prompt.id, prompt.family, "\n\n".join(m.content for m in prompt.messages), prompt.expected),
            *(prompt.extractor.name if prompt.extractor else None, prompt.max_tokens),
            *counted.get(prompt.id, (0, 0, 0)),
        )
        for prompt in run.manifest.suite.prompts
    ]
    whole = dict.fromkeys(("max_tokens", "answered", "distinct_answers", "most_common"), "Int64")
    return pd.DataFrame.from_records(rows, columns=list(_PROMPT_COLUMNS)).astype(whole)


def list_tokens(run: Run, responses: pd.DataFrame) -> pd.DataFrame:
    """A row for each token of each response that a reference has read; none where nothing was read."""
    scored = run.reading().scored
    read = {(one.trial, one.reference): one for one in scored if one.scores is not None}
    columns = ("provider", "prompt", "condition", "repeat", "text")
    texts = {
        Trial(provider=provider, prompt=prompt, condition=condition, repeat=repeat): text
        for provider, prompt, condition, repeat, text in responses[list(columns)].itertuples(index=False)
    }
    rows = [row for one in scored for row in _token_rows(one, read, texts.get(one.trial))]
    return pd.DataFrame.from_records(rows, columns=list(_TOKEN_COLUMNS))


def _token_rows(
    one: ScoredResponse, read: Mapping[tuple[Trial, str], ScoredResponse], text: str | None
) -> Iterator[tuple[object, ...]]:
    source = one if one.same_as is None else read.get((one.same_as, one.reference))
    scores = source.scores if source is not None else None
    if scores is None:
        return
    shown, others, trial, begin = text if isinstance(text, str) else "", iter(scores.instead), one.trial, 0
    for i, (token, choice) in enumerate(zip(scores.token_ids, scores.argmax, strict=True)):
        agrees, end = token == choice, scores.ends[i]
        yield (
            *(trial.provider, trial.prompt, trial.condition, trial.repeat, one.reference, i),
            *(shown[begin:end], agrees, None if agrees else next(others, None)),
            *(scores.margin[i], scores.gap[i], scores.logprob[i], scores.rank[i], bool(scores.seen[i]), token, choice),
        )
        begin = end


def list_figure(analysis: Analysis, metric: str) -> pd.DataFrame:
    """A row for each value of one figure. Raises UsageError for a name that is none."""
    known = get_args(MetricName)
    if metric not in known:
        near = get_close_matches(metric, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "the legend of the report lists all"
        raise UsageError(f"figure: there is no {metric!r}; {hint}")
    rows = [
        (
            *(f.metric, f.kind, f.left, f.right, f.condition, f.family, f.part, f.k),
            *(*_to_numbers(f.estimate), f.estimate.n, f.unit, f.estimate.method),
        )
        for f in analysis.figures
        if f.metric == metric
    ]
    return pd.DataFrame.from_records(rows, columns=list(_FIGURE_COLUMNS)).astype({"k": "Int64"})


def list_pairs(analysis: Analysis) -> pd.DataFrame:
    """A row for each two providers of one model that were compared, and for each provider with itself."""
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
