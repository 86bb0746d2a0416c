"""A Run in, one row for each trial out, as columns of integers: names, texts and identities are numbered.

A million records fit because a text is kept once for each prompt, however often it was answered.
"""

from __future__ import annotations

import math
from array import array
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tempzero.analysis.answer_judgements import JudgedAnswers, look_up_judgements
from tempzero.analysis.round_histories import RoundHistories, count_elsewhere, find_own_places
from tempzero.answers.answer_parts import (
    AnswerParts,
    end_at_cut,
    split_answer,
    to_begun_text,
    to_whole_text,
    trim_thinking_blanks,
)
from tempzero.answers.chat_messages import to_verbatim_text
from tempzero.canonical_json import to_canonical_json
from tempzero.config import DEFAULT_CONDITION, Config, Provider, merge_fields
from tempzero.errors import RunFolderError
from tempzero.metrics.agreement import Floats, Ints
from tempzero.metrics.cuts import LIMIT_NOT_KNOWN
from tempzero.plan import fits_context
from tempzero.types.asked import Prompt, Trial
from tempzero.types.concluded import FailureKind
from tempzero.types.recorded import Completion, Flag, Manifest, OutcomeKind, RecordView, Status
from tempzero.types.scored import Judgement

VALID, CENSORED, MISSING, EXCLUDED = range(4)
_STATUS: Mapping[Status, int] = {"valid": VALID, "censored": CENSORED, "missing": MISSING, "excluded": EXCLUDED}

# Stands for "the provider did not say"; every other number is 0 or larger.
NOT_SAID = -1
_LARGEST_TOKENS = 2**53

_INTEGER_COLUMNS = (
    "provider",
    "condition",
    "prompt",
    "repeat",
    "number",
    "status",
    "text",
    "spelled",
    "answered",
    "limited",
    "finish",
    "identity",
    "request",
    "bits",
    "prompt_tokens",
    "completion_tokens",
    "output_tokens",
    "reasoning_tokens",
    "in_flight",
    "unindexed",
)
_UNINDEXED: Flag = "tool_index_missing"
_PROGRESS_EVERY = 5_000
_SECONDS_COLUMNS = ("latency_s", "first_byte_s")
# Trials remembered of those whose answers carry one flag.
MOST_FLAGGED = 20
TRIAL_KEY = ["condition", "provider", "prompt", "repeat"]


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Identity:
    """Who answered, as the response says: None where it says nothing.

    Repeats are compared within one served model and backend; fingerprints change in normal service and are counted.
    """

    served_model: str | None
    backend: str | None
    fingerprint: str | None

    @property
    def system(self) -> tuple[str | None, str | None]:
        """What must be the same of two answers that are compared as repeats."""
        return self.served_model, self.backend


@dataclass(frozen=True, kw_only=True, slots=True)
class Lane:
    """One provider under one condition: a row for each trial asked, by prompt and repeat.

    `text` numbers a comparable answer with all its parts (whole, empty ones included, or cut after some output, at its
    token limit or by a filter), `answered` is 1 for valid ones; −1 stands for what is not there, NaN for a time that is
    not known.
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
    # All that was generated: reasoning that is counted outside completion_tokens included.
    output_tokens: Ints
    reasoning_tokens: Ints
    latency_s: Floats
    first_byte_s: Floats
    # 1 for an answer whose streamed calls came without their index, or several under one.
    unindexed: Ints
    most_in_flight: int
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


class FailedAttempts:
    """How many attempts of a provider failed in one way, on which prompts, and what was said of one of them.

    Of several sayings it is the first in the order of the alphabet: that of the records may be another each time.
    """

    def __init__(self) -> None:
        self.count = 0
        self.prompts: set[int] = set()
        self.said = ""

    def add(self, prompt: int, said: str) -> None:
        self.count += 1
        self.prompts.add(prompt)
        self.said = min(said, self.said) if said and self.said else said or self.said


class Flagged:
    """How many responses of a provider under a condition carry one flag, and the first trials of them.

    `answered`: whether all of them hold an answer.
    """

    def __init__(self) -> None:
        self.count = 0
        self.answered = True
        self.trials: list[Trial] = []

    def add(self, trial: Trial, *, answered: bool) -> None:
        self.count += 1
        self.answered &= answered
        if len(self.trials) < MOST_FLAGGED:
            self.trials.append(trial)


class ObservedRun(Protocol):
    """What is looked at of a run: a run folder, or two that are read as one."""

    @property
    def path(self) -> Path: ...

    @property
    def manifest(self) -> Manifest: ...

    @property
    def config(self) -> Config: ...

    def views(self) -> Iterable[RecordView]:
        """Every record without its bytes, in order."""

    def judgements(self) -> Iterable[Judgement]:
        """What answers that had to be tried out came to."""

    def token_limits(self, requests: Collection[str]) -> dict[str, int]:
        """The token limit that each of these requests (by the SHA-256 of its body) sent."""


def observe_run(run: ObservedRun, tell: Callable[[str, float], None] = lambda phase, share: None) -> Observations:
    """Read a run's records; the providers come in the order of their names, whatever their order in the file.

    `tell` hears now and then which share of the records has been read.

    A trial's outcome is its first valid or censored attempt, else its last attempt.
    Raises RunFolderError for a record of a provider or prompt that the manifest does not know.
    """
    skipped = {s.provider for s in run.manifest.skipped}
    providers = sorted((p for p in run.config.providers if p.name not in skipped), key=lambda p: p.name)
    prompts = run.manifest.suite.prompts
    reader = _RecordReader(run, providers, prompts)
    expected = max(1, run.manifest.sessions[-1].records if run.manifest.sessions else 1)
    for number, view in enumerate(run.views()):
        reader.read(view)
        if number % _PROGRESS_EVERY == 0:
            tell("reading", min(1.0, number / expected))
    reader.settle_limits()
    attempts = reader.frame()
    suite_size, prompts = len(prompts), reader.prompts
    tried = look_up_judgements(prompts, _list_answer_texts(reader), run.judgements())
    return Observations(
        suite_size=suite_size,
        prompts=tried.prompts,
        asked=prompts,
        judged=tried,
        lanes=tuple(_build_lanes(attempts, providers, run.config, reader, prompts)),
        texts=reader.texts,
        parts=reader.parts,
        identities=tuple(reader.identities),
        finish_reasons=tuple(reader.finish_reasons),
        failures=dict(reader.failures),
        flagged=dict(reader.flagged),
        records=len(attempts),
    )


def read_answer_text(text: str, parts: AnswerParts | None) -> str:
    """The part of an answer that answers are read from: its text and calls, never its reasoning."""
    return text if parts is None else "\n".join(filter(None, (parts.text, parts.calls)))


def _list_answer_texts(reader: _RecordReader) -> Iterable[tuple[int, str, bool]]:
    """The distinct texts that answers are read from, in the order in which they came."""
    return dict.fromkeys(
        (prompt, read_answer_text(text, reader.parts.get(number)), whole)
        for (prompt, text, whole, _), number in reader.texts.items()
    )


class _Numbering(dict[Hashable, int]):
    """Gives each new key the next number."""

    def __missing__(self, key: Hashable) -> int:
        self[key] = number = len(self)
        return number


class _RecordReader:
    """Turns records into two flat arrays, one number after the other, a fixed number of them a record."""

    def __init__(self, run: ObservedRun, providers: Sequence[Provider], prompts: Sequence[Prompt]) -> None:
        self._run = run
        self._providers = {p.name: i for i, p in enumerate(providers)}
        self._prompts = {p.id: i for i, p in enumerate(prompts)}
        self._histories = RoundHistories(prompts, {p.name: p.reasoning.returned for p in providers})
        self._finish, self._identity, self._request, self._bits = _Numbering(), _Numbering(), _Numbering(), _Numbering()
        self._text, self._spelled = _Numbering(), _Numbering()
        self._final_text: dict[int, int] = {}
        self.parts: dict[int, AnswerParts] = {}
        # By the number of a cut text: the tokens after which it was cut, as responses counted them.
        self._limits: defaultdict[int, set[int]] = defaultdict(set)
        self._whole_numbers, self._seconds = array("q"), array("d")
        self.conditions = _Numbering()
        self.failures: defaultdict[tuple[str, FailureKind], FailedAttempts] = defaultdict(FailedAttempts)
        self.flagged: defaultdict[tuple[str, str, Flag], Flagged] = defaultdict(Flagged)

    def names(self) -> list[str]:
        """The conditions met, in order."""
        return sorted(cast("list[str]", list(self.conditions)))

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """Those of the suite, and behind them rounds again for every further history that they were asked with."""
        return tuple(self._histories.prompts)

    @property
    def texts(self) -> dict[tuple[int, str, bool, int], int]:
        return cast("dict[tuple[int, str, bool, int], int]", self._text)

    def settle_limits(self) -> None:
        """Every record has been read: put limits in place of who says them, and number texts by these.

        A text that was cut under two limits is two, so that under each it is known where it was cut: by what a
        provider counted under a condition, where it counted one number, or else by what the request sent.
        """
        provisional = cast("dict[tuple[int, str, bool, str | tuple[int, str] | None], int]", self._text)
        sent = self._run.token_limits({by for _, _, _, by in provisional if isinstance(by, str)})
        self._text, parts, self.parts = _Numbering(), self.parts, {}
        for (prompt, text, whole, by), old in provisional.items():
            counted = {sent.get(by, LIMIT_NOT_KNOWN)} if isinstance(by, str) else self._limits.get(old, set())
            limit = next(iter(counted)) if len(counted) == 1 else LIMIT_NOT_KNOWN
            number = self._final_text[old] = self._text[prompt, text, whole, limit]
            if old in parts:
                self.parts[number] = parts[old]

    @property
    def identities(self) -> list[Identity]:
        return [
            Identity(served_model=model, backend=backend, fingerprint=fingerprint)
            for model, backend, fingerprint in cast(
                "dict[tuple[str | None, str | None, str | None], int]", self._identity
            )
        ]

    @property
    def finish_reasons(self) -> list[str]:
        return cast("list[str]", list(self._finish))

    def read(self, view: RecordView) -> None:
        trial, outcome, times = view.trial, view.outcome, view.times
        try:
            provider, prompt = self._providers[trial.provider], self._prompts[trial.prompt]
        except KeyError as unknown:
            raise RunFolderError(
                f"{self._run.path}: a record speaks of {unknown}, which the manifest does not know; "
                "were records/ and manifest.json taken from two runs?"
            ) from None
        status, completion = _STATUS[outcome.status], outcome.completion
        prompt = self._histories.place_round(prompt, view)
        if status == MISSING:
            self.failures[trial.provider, outcome.kind].add(prompt, outcome.detail)
        for flag in outcome.flags:
            self.flagged[trial.provider, trial.condition, flag].add(trial, answered=status <= CENSORED)
        self._whole_numbers.extend(
            (
                provider,
                self.conditions[trial.condition],
                prompt,
                trial.repeat,
                view.number,
                status,
                *self._content(
                    prompt, status, outcome.kind, completion, view.request_sha256, (provider, trial.condition)
                ),
                self._request[view.request_sha256],
                *self._usage(prompt, completion),
                times.in_flight,
                int(_UNINDEXED in outcome.flags),
            )
        )
        end, first = times.end_s, times.first_byte_s
        self._seconds.extend((math.nan if end is None else end, math.nan if first is None else first))

    def _content(
        self,
        prompt: int,
        status: int,
        kind: OutcomeKind,
        answer: Completion | None,
        request: str,
        lane: tuple[int, str],
    ) -> tuple[int, int, int, int, int, int]:
        """text, spelled, answered, limited, finish, identity; what was cut before any output is no answer."""
        if answer is None or status > CENSORED:
            return NOT_SAID, NOT_SAID, 0, 0, NOT_SAID, NOT_SAID
        whole, limited = _is_whole(status, kind, answer), status == CENSORED and kind == "length"
        cut = limited or (status == CENSORED and kind == "content_filter" and not whole)
        finish = answer.finish_reason
        parts = None
        text = end_at_cut(answer.text) if cut else answer.text
        if answer.reasoning_text or answer.tool_calls or answer.refusal:
            parts = trim_thinking_blanks(split_answer(answer, cut=cut), cut=cut)
            text = to_begun_text(parts) if cut else to_whole_text(parts)
        comparable = whole or (cut and bool(text))
        spelled = comparable and bool(self._histories.prompts[prompt].tools)
        at_limit = comparable and limited
        by = None if not at_limit else lane if answer.completion_tokens else request
        number = self._text[prompt, text, whole, by] if comparable else NOT_SAID
        if comparable and parts is not None:
            self.parts[number] = parts
        if at_limit and answer.completion_tokens:
            self._limits[number].add(clamp_tokens(answer.completion_tokens))
        return (
            number,
            self._spelled[prompt, to_verbatim_text(answer), whole] if spelled else NOT_SAID,
            int(whole and status == VALID),
            int(limited),
            NOT_SAID if finish is None else self._finish[finish],
            self._identity[answer.served_model, answer.backend, answer.fingerprint],
        )

    def _usage(self, prompt: int, answer: Completion | None) -> tuple[int, int, int, int, int]:
        """bits, and tokens of prompt, completion, output, reasoning; bits: logits and token ids of engines in here."""
        if answer is None:
            return NOT_SAID, NOT_SAID, NOT_SAID, NOT_SAID, NOT_SAID
        logits, asked, given = answer.logits_sha256, answer.prompt_tokens, answer.completion_tokens
        written, thought = answer.output_tokens, answer.reasoning_tokens
        return (
            NOT_SAID if logits is None else self._bits[prompt, logits, answer.token_ids],
            NOT_SAID if asked is None else clamp_tokens(asked),
            NOT_SAID if given is None else clamp_tokens(given),
            NOT_SAID if written is None else clamp_tokens(written),
            NOT_SAID if thought is None else clamp_tokens(thought),
        )

    def frame(self) -> pd.DataFrame:
        """One row for each attempt."""
        rows = np.frombuffer(self._whole_numbers, dtype=np.int64).reshape(-1, len(_INTEGER_COLUMNS))
        seconds = np.frombuffer(self._seconds, dtype=np.float64).reshape(-1, len(_SECONDS_COLUMNS))
        frame = pd.DataFrame(rows, columns=list(_INTEGER_COLUMNS))
        for index, name in enumerate(_SECONDS_COLUMNS):
            frame[name] = seconds[:, index]
        final = np.array([self._final_text[old] for old in range(len(self._final_text))] + [NOT_SAID], dtype=np.int64)
        frame["text"] = final[frame["text"].to_numpy()]
        return frame


def _is_whole(status: int, kind: OutcomeKind, answer: Completion) -> bool:
    """A complete answer, an empty one included. A refusal in its own field was said to its end, too."""
    return (status == VALID and kind in ("complete", "empty")) or (status == CENSORED and bool(answer.refusal))


def clamp_tokens(tokens: int) -> int:
    """A provider may report any number; what no 64-bit column can hold is held at its end."""
    return tokens if 0 <= tokens <= _LARGEST_TOKENS else min(max(tokens, 0), _LARGEST_TOKENS)


def _build_lanes(
    attempts: pd.DataFrame,
    providers: list[Provider],
    config: Config,
    reader: _RecordReader,
    prompts: Sequence[Prompt],
) -> Iterable[Lane]:
    """A lane for every provider and condition that was planned, asked or not; of imported records for what is there."""
    trials = choose_attempts(attempts, attempts.status <= CENSORED)
    numbers = _Numbering()
    systems = np.array([numbers[one.system] for one in reader.identities] or [0], dtype=np.int64)
    planned = {c.name: c for c in config.conditions}
    for condition in sorted({*reader.names(), *planned}) or [DEFAULT_CONDITION]:
        number = reader.conditions[condition]
        for index, provider in enumerate(providers):
            asked = attempts[(attempts.condition == number) & (attempts.provider == index)]
            under = provider if not planned else None
            if condition in planned:
                under = config.under(provider, planned[condition])
            if asked.empty and (provider.imported is not None or under is None):
                continue  # it was never to be asked so: that is no gap
            of_lane = trials[(trials.condition == number) & (trials.provider == index)]
            fields = config.question_under(provider, planned[condition]) if condition in planned else {}
            yield _build_lane(under or provider, condition, fields, asked, of_lane, prompts, systems)


def choose_attempts(attempts: pd.DataFrame, usable: pd.Series[bool]) -> pd.DataFrame:
    """The attempt that counts of each trial: the first usable one, else the last. A row each, by the trial's key."""
    preference = np.where(usable, attempts.number, _LARGEST_TOKENS - attempts.number)
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
    attempts: pd.DataFrame,
    trials: pd.DataFrame,
    prompts: Sequence[Prompt],
    systems: Ints,
) -> Lane:
    """`systems` numbers, by the number of an identity, its served model and backend."""

    def summed(column: NDArray[np.int64]) -> Ints:
        total = np.zeros(len(prompts), dtype=np.int64)
        np.add.at(total, attempts.prompt.to_numpy(), column)
        return total

    spent_prompt, spent_output = attempts.prompt_tokens.to_numpy(), attempts.output_tokens.to_numpy()
    usable = attempts.status.to_numpy() <= CENSORED
    identity, request = trials.identity.to_numpy(), trials.request.to_numpy()
    system = np.where(identity == NOT_SAID, NOT_SAID, systems[identity])
    return Lane(
        provider=provider,
        condition=condition,
        asked_fields=to_canonical_json(fields),
        is_sampled=_may_sample(provider, fields),
        prompt=trials.prompt.to_numpy(),
        repeat=trials.repeat.to_numpy(),
        status=trials.status.to_numpy(),
        text=trials.text.to_numpy(),
        spelled=trials.spelled.to_numpy(),
        answered=trials.answered.to_numpy(),
        limited=trials.limited.to_numpy(),
        unindexed=trials.unindexed.to_numpy(),
        finish=trials.finish.to_numpy(),
        identity=identity,
        segment=request * (1 + int(systems.max())) + system,
        bits=trials.bits.to_numpy(),
        prompt_tokens=trials.prompt_tokens.to_numpy(),
        completion_tokens=trials.completion_tokens.to_numpy(),
        output_tokens=trials.output_tokens.to_numpy(),
        reasoning_tokens=trials.reasoning_tokens.to_numpy(),
        latency_s=trials.latency_s.to_numpy(),
        first_byte_s=trials.first_byte_s.to_numpy(),
        most_in_flight=int(attempts.in_flight.max()) if len(attempts) else 0,
        attempts=summed(np.ones(len(attempts), dtype=np.int64)),
        attempts_without_usage=summed((usable & ((spent_prompt < 0) | (spent_output < 0))).astype(np.int64)),
        spent_prompt_tokens=summed(np.maximum(spent_prompt, 0)),
        spent_output_tokens=summed(np.maximum(spent_output, 0)),
        planned=np.array([fits_context(provider, prompt) for prompt in prompts], dtype=bool) & find_own_places(prompts),
        elsewhere=count_elsewhere(trials.prompt.to_numpy(), prompts),
    )
