"""A Run in, a Side for each of its providers out: hashes counted instead of texts, and what responses state."""

from __future__ import annotations

import hashlib
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tempzero.analysis.observations import observe_run
from tempzero.analysis.part_counts import NOT_SAID
from tempzero.analysis.registry import KINDS
from tempzero.analysis.tallies import Tally, tally_lane
from tempzero.analysis.texts import Texts, study_texts
from tempzero.answers.chat_messages import is_plain_message, wire_message
from tempzero.answers.first_tokens import read_first_token
from tempzero.canonical_json import to_spaced_canonical_json
from tempzero.config import Provider
from tempzero.metrics.agreement import UNPARSED, Counts, commonest_outputs, pool_segments
from tempzero.nightly.history.nights import Side
from tempzero.records import Run
from tempzero.types.asked import Prompt
from tempzero.types.concluded import Analysis, Figure, Level, LevelName
from tempzero.types.recorded import ANSWERED, OutcomeKind, RecordView
from tempzero.types.vocabulary import KindName, MetricName

# Figures whose nightly course is drawn: kind -> metrics, None for all.
_KEPT_FIGURES: Mapping[KindName, frozenset[MetricName] | None] = {
    "coverage": frozenset({"coverage", "censored_share"}),
    "repeat": frozenset({"emr"}),
    "cross": frozenset({"cross_emr", "excess_divergence"}),
    "reference": None,
    "answers": frozenset({"accuracy", "verbosity_chars"}),
    "repetition": frozenset({"seq_rep_4", "loop_share"}),
    "speed": frozenset({"latency_s"}),
    "cost": frozenset({"calls", "cost_usd"}),
}
_MUTUAL_KINDS = frozenset(kind.name for kind in KINDS if kind.mutual)
_SHOWN_CHARS = 2000
_LEVELS: tuple[LevelName, ...] = ("identical", "rounding", "declared", "unread", "undecided", "beyond")
_LABELS = ("served_model", "fingerprint", "backend")


def condense_run(run: Run, analysis: Analysis) -> tuple[Side, ...]:
    """Condense a run, by provider's name; `analysis` is that of the same run. Raises RunFolderError.

    A reference in this process that is asked each prompt once is what others are held against, and nothing to watch;
    so is a pack of recorded answers, which says the same every night.
    """
    seen = observe_run(run)
    texts, new = study_texts(seen)
    questions = [question_key(p) for p in seen.prompts]
    said = _ResponseStatements(run)
    likelihoods = _read_likelihoods(run)
    sides = []
    for lane in (one for one in seen.lanes if not _is_yardstick(one.provider, run)):
        numbered = lane.text.copy()
        numbered[numbered != NOT_SAID] = new[numbered[numbered != NOT_SAID]]
        counted = tally_lane(replace(lane, text=numbered), texts, seen.prompts)
        side = _condense_lane(counted, texts, questions, said, run, analysis, seen.prompts)
        asked = {p.id: q for q, p in zip(questions, seen.prompts, strict=True) if q in side.one_token}
        found = {asked[p]: one for (name, p), one in likelihoods.items() if name == side.provider and p in asked}
        sides.append(replace(side, likelihoods={q: tuple(found[q]) for q in sorted(found)}))
    return tuple(sides)


def _is_yardstick(provider: Provider, run: Run) -> bool:
    once = provider.local is not None and provider.repeats == 1 and provider.name in run.config.run.references
    return once or provider.pack is not None


def question_key(prompt: Prompt) -> str:
    """A prompt's id with a digest of its words: the same id with other words is another question."""
    words: list[Any] = [[(m.role, m.content) for m in prompt.messages], prompt.max_tokens]
    if prompt.tools or not all(map(is_plain_message, prompt.messages)):
        words += [[wire_message(m) for m in prompt.messages], prompt.tools, prompt.tool_choice]
    if prompt.request or prompt.body is not None:
        words += [prompt.request, prompt.body]
    if prompt.round is not None:  # with what was answered before: another history makes it another question
        words += [prompt.round.number, prompt.round.results, prompt.round.history]
    return f"{prompt.id}#{_short_digest(words, 8)}"


def settings_digest(provider: Provider) -> str:
    """Digest of what is sent besides the prompt: where it differs, another question was asked."""
    sampling = [provider.temperature, provider.top_p, provider.seed, provider.known_max_tokens]
    sent = [provider.claimed_model, *sampling]
    return _short_digest([*sent, provider.parameter_names.model_dump(), provider.fields], 16)


def _read_likelihoods(run: Run) -> Mapping[tuple[str, str], list[dict[str, float]]]:
    """By provider and prompt what responses say of their first token; bytes are read only where it was asked for."""
    config, prompts = run.config, run.manifest.suite.prompts
    asked: list[Mapping[str, Any]] = [
        *(p.request for p in config.providers),
        *(c.request for c in config.conditions),
        *(p.request for p in prompts),
    ]
    found: dict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
    for record in run.records() if any(one.get("logprobs") for one in asked) else ():
        trial, first = record.attempt.trial, read_first_token(record.attempt.exchange)
        if first is not None:
            named = {one.token.hex(): round(one.logprob, 5) for one in first.candidates}
            found[trial.provider, trial.prompt].append(named)
    return found


class _ResponseStatements:
    """What the responses of each provider say of themselves, and how its attempts ended."""

    def __init__(self, run: Run) -> None:
        self.kinds: dict[tuple[str, str], Counter[OutcomeKind]] = defaultdict(Counter)
        self.labels: dict[tuple[str, str], set[str]] = defaultdict(set)
        self.latency_s: dict[str, list[float]] = defaultdict(list)
        self.times: dict[str, list[str]] = defaultdict(list)
        for view in run.views():
            self._read(view)

    def _read(self, view: RecordView) -> None:
        name, outcome = view.trial.provider, view.outcome
        self.times[name].append(view.times.started_at)
        self.kinds[name, view.trial.prompt][outcome.kind] += 1
        if outcome.completion is None or outcome.status not in ANSWERED:
            return
        for label in _LABELS:
            value = getattr(outcome.completion, label)
            if value is not None:
                self.labels[name, label].add(value[:200])
        if view.times.end_s is not None:
            self.latency_s[name].append(view.times.end_s)


def _condense_lane(
    counted: Tally,
    texts: Texts,
    questions: Sequence[str],
    said: _ResponseStatements,
    run: Run,
    analysis: Analysis,
    prompts: Sequence[Prompt],
) -> Side:
    provider, name = counted.lane.provider, counted.name
    refused = (j for j, p in enumerate(prompts) if set(said.kinds[name, p.id]) == {"content_filter"})
    reasons = counted.shows_reasoning
    spoken = counted.parts["spoken"].raw if reasons else None
    times = sorted(t for t in said.times[name] if t)
    asked = commonest_outputs(counted.prompt_tokens)
    modal = commonest_outputs(counted.raw)
    prices = provider.price
    level = _worst_level(name, analysis)
    return Side(
        provider=name,
        run=run.manifest.run_id,
        started_at=times[0] if times else run.manifest.created_at,
        ended_at=times[-1] if times else run.manifest.created_at,
        settings=settings_digest(provider),
        planned=int(counted.lane.planned.sum()) * provider.repeats,
        answered=int((counted.lane.status <= 1).sum()),
        texts=_count_by_question(counted.raw, questions, _hash_texts(counted.raw, texts.text)),
        answers=_count_by_question(
            counted.answer, questions, {i: _short_digest(a, 16) for i, a in enumerate(texts.answers)}
        ),
        values={
            "accuracy": _values_by_question(counted.correct, questions),
            "chars": _values_by_question(counted.chars, questions),
            "seq_rep_4": _values_by_question(counted.metrics["seq_rep_4"], questions),
            "loop_share": _values_by_question(counted.metrics["loop_share"], questions),
        },
        prompt_tokens={q: int(asked[j]) for j, q in enumerate(questions) if asked[j] != NOT_SAID},
        refused=tuple(questions[j] for j in refused),
        labels={label: tuple(sorted(said.labels[name, label])) for label in _LABELS},
        price=None if prices is None else (prices.input_per_mtok, prices.output_per_mtok),
        latency_s=statistics.median(said.latency_s[name]) if said.latency_s[name] else None,
        figures=tuple(
            f for f in analysis.figures if name in _figure_subjects(f) and f.family is None and _is_kept_figure(f)
        ),
        one_token=tuple(
            q for q, p in zip(questions, prompts, strict=True) if (p.max_tokens or provider.known_max_tokens) == 1
        ),
        shown={q: texts.written[modal[j]][:_SHOWN_CHARS] for j, q in enumerate(questions) if modal[j] != NOT_SAID},
        model=provider.claimed_model or "",
        level=level.name if level is not None else None,
        level_words=level.message if level is not None else "",
        reasoned=_count_reasoned(counted),
        spoken={}
        if spoken is None
        else _count_by_question(spoken, questions, _hash_texts(spoken, texts.parts["spoken"].text)),
    )


def _worst_level(name: str, analysis: Analysis) -> Level | None:
    """How it stands to its references: of several levels the one that says most against it."""
    found = (level for level in analysis.levels if level.provider == name)
    return max(found, key=lambda level: _LEVELS.index(level.name), default=None)


def _hash_texts(counts: Counts, texts: Sequence[str]) -> dict[int, str]:
    return {i: _short_digest(texts[i], 16) for i in set(pool_segments(counts).output.tolist())}


def _count_reasoned(counted: Tally) -> int:
    """How many answers show their reasoning."""
    rows = pool_segments(counted.shown)
    return int(rows.count[rows.output == 1].sum())


def _figure_subjects(figure: Figure) -> tuple[str | None, ...]:
    """A figure of two peers stands once, and speaks of both."""
    return (figure.left, figure.right) if figure.kind in _MUTUAL_KINDS else (figure.left,)


def _is_kept_figure(figure: Figure) -> bool:
    metrics = _KEPT_FIGURES.get(figure.kind, frozenset())
    return figure.part in ("whole", "spoken") and (metrics is None or figure.metric in metrics)


def _count_by_question(counts: Counts, questions: Sequence[str], names: Mapping[int, str]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    rows = pool_segments(counts)
    for cell, output, number in zip(rows.cell.tolist(), rows.output.tolist(), rows.count.tolist(), strict=True):
        if output != UNPARSED:
            one = found.setdefault(questions[cell], {})
            one[names[output]] = one.get(names[output], 0) + number
    return found


def _values_by_question(values: np.ndarray[Any, np.dtype[np.float64]], questions: Sequence[str]) -> dict[str, float]:
    return {q: v for q, v in zip(questions, values.tolist(), strict=True) if not math.isnan(v)}


def _short_digest(value: Any, length: int) -> str:
    return hashlib.sha256(to_spaced_canonical_json(value).encode()).hexdigest()[:length]
