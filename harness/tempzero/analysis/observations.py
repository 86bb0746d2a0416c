"""A Run in, one row for each trial out, as columns of integers: names, texts and identities are numbered.

A million records fit because a text is kept once for each prompt, however often it was answered.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tempzero.analysis.answer_judgements import JudgedAnswers, look_up_judgements
from tempzero.analysis.counting_processes import count_parts
from tempzero.analysis.merged_counts import MergedCounts, merge_counts
from tempzero.analysis.part_counts import (
    CENSORED,
    LARGEST_TOKENS,
    NOT_SAID,
    Columns,
    CountingSetting,
    FailedAttempts,
    Flagged,
    Identity,
    PartCounts,
    count_views,
    keep_numbers,
    make_counting_setting,
)
from tempzero.analysis.round_histories import count_elsewhere, find_own_places
from tempzero.answers.answer_parts import AnswerParts
from tempzero.canonical_json import to_canonical_json
from tempzero.config import DEFAULT_CONDITION, Config, Provider, merge_fields
from tempzero.metrics.agreement import Floats, Ints, mark_group_starts
from tempzero.metrics.cell_averages import median_by_cell
from tempzero.plan import fits_context
from tempzero.types.asked import Prompt
from tempzero.types.concluded import FailureKind
from tempzero.types.recorded import Flag, Manifest, RecordView
from tempzero.types.scored import Judgement

TRIAL_KEY = ["condition", "provider", "prompt", "repeat"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Lane:
    """One provider under one condition: a row for each trial asked, by prompt and repeat.

    Whole numbers come in the smallest type that holds them, and in one place where all are the same, since a run may
    have 10^8 rows: what is calculated with them goes to 64 bits first, and nothing is written to them. `text` numbers a
    comparable answer with all its parts (whole, empty ones included, or cut after some output, at its token limit or by
    a filter), `answered` is 1 for valid ones; −1 stands for what is not there.
    `segment` numbers the request together with who answered it: repeats are compared within one.
    """

    provider: Provider
    condition: str
    # What the condition lays over the fields of requests, as JSON: where it differs, another question was asked.
    asked_fields: str
    # Whether answers may be sampled by rights, since no temperature, or another than 0, was asked for.
    is_sampled: bool
    prompt: Ints
    repeat: Ints
    status: Ints
    text: Ints
    # Of prompts that offer tools: numbers the comparable text with its calls letter by letter.
    spelled: Ints
    answered: Ints
    # 1 for an answer that was cut at its token limit, be there a text to compare or not.
    limited: Ints
    finish: Ints
    identity: Ints
    segment: Ints
    bits: Ints
    prompt_tokens: Ints
    completion_tokens: Ints
    reasoning_tokens: Ints
    # 1 for an answer whose streamed calls came without their index, or several under one.
    unindexed: Ints
    most_in_flight: int
    # By prompt, of the trials that were answered: the median over repeats, NaN where none is known. Of seconds nothing
    # else is kept, for no two are the same.
    latency_s: Floats
    first_byte_s: Floats
    completion_tokens_per_s: Floats
    # Sums over every attempt of a prompt, retries included.
    attempts: Ints
    attempts_without_usage: Ints
    spent_prompt_tokens: Ints
    spent_output_tokens: Ints
    # By prompt: whether it was to be asked; what the provider's context cannot hold was not, and is no gap. Nor are
    # further histories of a round.
    planned: NDArray[np.bool_]
    # By prompt, of rounds of conversations: trials that were asked with another history, and stand at another place.
    elsewhere: Ints


@dataclass(frozen=True, kw_only=True, slots=True)
class Observations:
    """Everything a run recorded that analysis looks at.

    `texts` numbers (prompt, whole answer as text, is whole, after how many tokens it was cut). `parts` are an answer's
    parts, by its number, where it has other ones than text. `asked` are the prompts as they were asked, `prompts` the
    same as answers may be read of them: see `judged`. A round of a conversation stands here once for each history with
    which it was asked: only answers to the same history are compared. `suite_size`: so many of them the suite has.
    """

    suite_size: int

    prompts: tuple[Prompt, ...]
    asked: tuple[Prompt, ...]
    judged: JudgedAnswers
    lanes: tuple[Lane, ...]
    texts: dict[tuple[int, str, bool, int], int]
    parts: dict[int, AnswerParts]
    identities: tuple[Identity, ...]
    finish_reasons: tuple[str, ...]
    failures: dict[tuple[str, FailureKind], FailedAttempts]
    flagged: dict[tuple[str, str, Flag], Flagged]
    records: int


class ObservedRun(Protocol):
    """What is looked at of a run: a run folder, or two that are read as one."""

    @property
    def path(self) -> Path: ...

    @property
    def manifest(self) -> Manifest: ...

    @property
    def config(self) -> Config: ...

    def parts(self) -> Sequence[Path]:
        """The files that hold its records, where each can be counted by itself; else none."""

    def views(self) -> Iterable[RecordView]:
        """Every record without its bytes, in order."""

    def judgements(self) -> Iterable[Judgement]:
        """What answers that had to be tried out came to."""

    def token_limits(self, requests: Collection[str]) -> dict[str, int]:
        """The token limit that each of these requests (by the SHA-256 of its body) sent."""


PartCounter = Callable[[CountingSetting], Iterable[PartCounts]]
"""Another way to a run's counts than reading its records here: from facts, or by other machines; in their order."""


def observe_run(
    run: ObservedRun,
    tell: Callable[[str, float], None] = lambda phase, share: None,
    count: PartCounter | None = None,
) -> Observations:
    """Read a run's records; the providers come in the order of their names, whatever their order in the file.

    `tell` hears now and then which share of the records has been read.

    A trial's outcome is its first valid or censored attempt, else its last attempt.
    Raises RunFolderError for a record of a provider or prompt that the manifest does not know.
    """
    skipped = {s.provider for s in run.manifest.skipped}
    providers = sorted((p for p in run.config.providers if p.name not in skipped), key=lambda p: p.name)
    setting = make_counting_setting(run.path, providers, run.manifest.suite.prompts)
    counts = count(setting) if count else _count_records(run, setting, tell)
    merged = merge_counts(counts, setting, run.token_limits)
    tried = look_up_judgements(merged.prompts, _list_answer_texts(merged), run.judgements())
    return Observations(
        suite_size=len(setting.prompts),
        prompts=tried.prompts,
        asked=merged.prompts,
        judged=tried,
        lanes=tuple(_build_lanes(merged, providers, run.config)),
        texts=merged.texts,
        parts=merged.parts,
        identities=merged.identities,
        finish_reasons=merged.finish_reasons,
        failures=merged.failures,
        flagged=merged.flagged,
        records=merged.records,
    )


def _count_records(
    run: ObservedRun, setting: CountingSetting, tell: Callable[[str, float], None]
) -> Iterator[PartCounts]:
    """Each part's counts, in order; where parts cannot be counted apart, all records are one."""
    parts = run.parts() if setting.by_part else ()
    if not parts:
        yield count_views(run.views(), setting)
        tell("reading", 1.0)
        return
    for done, counts in enumerate(count_parts(parts, setting), start=1):
        tell("reading", done / len(parts))
        yield counts


def read_answer_text(text: str, parts: AnswerParts | None) -> str:
    """The part of an answer that answers are read from: its text and calls, never its reasoning."""
    return text if parts is None else "\n".join(filter(None, (parts.text, parts.calls)))


def _list_answer_texts(merged: MergedCounts) -> Iterable[tuple[int, str, bool]]:
    """The distinct texts that answers are read from, in the order in which they came."""
    return dict.fromkeys(
        (prompt, read_answer_text(text, merged.parts.get(number)), whole)
        for (prompt, text, whole, _), number in merged.texts.items()
    )


def _build_lanes(merged: MergedCounts, providers: Sequence[Provider], config: Config) -> Iterable[Lane]:
    """A lane for every provider and condition that was planned, asked or not; of imported records for what is there.

    What was merged of a lane is given up with it, so that no record is held twice.
    """
    numbers: dict[tuple[str | None, str | None], int] = {}
    systems = np.array([numbers.setdefault(one.system, len(numbers)) for one in merged.identities] or [0])
    planned = {c.name: c for c in config.conditions}
    for condition in sorted({*merged.conditions, *planned}) or [DEFAULT_CONDITION]:
        for index, provider in enumerate(providers):
            asked = merged.take_lane(index, condition)
            under = provider if not planned else None
            if condition in planned:
                under = config.under(provider, planned[condition])
            if not asked["prompt"].size and (provider.imported is not None or under is None):
                continue  # it was never to be asked so: that is no gap
            fields = config.question_under(provider, planned[condition]) if condition in planned else {}
            yield _build_lane(under or provider, condition, fields, asked, merged.prompts, systems)


def _choose_rows(asked: Columns) -> NDArray[np.int64]:
    """The row that counts of each trial: its first usable attempt, else its last; by prompt and repeat."""
    number = asked["number"].astype(np.int64)
    preference = np.where(asked["status"] <= CENSORED, number, LARGEST_TOKENS - number)
    order = np.lexsort((preference, asked["repeat"], asked["prompt"]))
    return order[mark_group_starts(asked["prompt"][order], asked["repeat"][order])]


def choose_attempts(attempts: pd.DataFrame, usable: pd.Series[bool]) -> pd.DataFrame:
    """The attempt that counts of each trial: the first usable one, else the last. A row each, by the trial's key."""
    preference = np.where(usable, attempts.number, LARGEST_TOKENS - attempts.number)
    ranked = attempts.assign(preference=preference).sort_values([*TRIAL_KEY, "preference"], kind="stable")
    return ranked.drop_duplicates(TRIAL_KEY)


def _may_sample(provider: Provider, fields: Mapping[str, Any]) -> bool:
    """Of imported records nobody knows what was sent and not written down."""
    sent = merge_fields({"temperature": provider.temperature}, provider.fields, fields).get("temperature")
    return bool(sent) or (sent is None and provider.imported is None and provider.replay is None)


def _build_lane(
    provider: Provider,
    condition: str,
    fields: Mapping[str, Any],
    attempts: Columns,
    prompts: Sequence[Prompt],
    systems: Ints,
) -> Lane:
    """`systems` numbers, by the number of an identity, its served model and backend."""

    def summed(column: NDArray[Any]) -> Ints:
        total = np.zeros(len(prompts), dtype=np.int64)
        np.add.at(total, attempts["prompt"], column)
        return total

    def median(seconds: Floats) -> Floats:
        return median_by_cell(trials["prompt"][answered], seconds[answered], cells=len(prompts))

    spent_prompt, spent_output = attempts["prompt_tokens"], attempts["output_tokens"]
    usable = attempts["status"] <= CENSORED
    rows = _choose_rows(attempts)
    # Texts are numbered anew later, in the type that they have.
    trials = {n: column[rows] if n == "text" else keep_numbers(column[rows]) for n, column in attempts.items()}
    answered = trials["status"] <= CENSORED
    latency_s = trials["latency_s"]
    tokens = np.where(trials["output_tokens"] > 0, trials["output_tokens"], np.nan)
    identity = trials["identity"]
    system = np.where(identity == NOT_SAID, NOT_SAID, systems[identity])
    segment = trials["request"].astype(np.int64) * (1 + int(systems.max())) + system
    return Lane(
        provider=provider,
        condition=condition,
        asked_fields=to_canonical_json(fields),
        is_sampled=_may_sample(provider, fields),
        prompt=trials["prompt"],
        repeat=trials["repeat"],
        status=trials["status"],
        text=trials["text"],
        spelled=trials["spelled"],
        answered=trials["answered"],
        limited=trials["limited"],
        unindexed=trials["unindexed"],
        finish=trials["finish"],
        identity=identity,
        segment=keep_numbers(segment),
        bits=trials["bits"],
        prompt_tokens=trials["prompt_tokens"],
        completion_tokens=trials["completion_tokens"],
        reasoning_tokens=trials["reasoning_tokens"],
        most_in_flight=int(attempts["in_flight"].max(initial=0)),
        latency_s=median(latency_s),
        first_byte_s=median(trials["first_byte_s"]),
        completion_tokens_per_s=median(tokens / np.where(latency_s > 0, latency_s, np.nan)),
        attempts=np.bincount(attempts["prompt"], minlength=len(prompts)),
        attempts_without_usage=summed(usable & ((spent_prompt < 0) | (spent_output < 0))),
        spent_prompt_tokens=summed(np.maximum(spent_prompt, 0)),
        spent_output_tokens=summed(np.maximum(spent_output, 0)),
        planned=np.array([fits_context(provider, prompt) for prompt in prompts], dtype=bool) & find_own_places(prompts),
        elsewhere=count_elsewhere(trials["prompt"], prompts),
    )
