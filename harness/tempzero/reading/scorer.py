"""A Run and the model of its reference in, lines of its scores out: the reference reads every response.

Teacher forcing: prompt and response are read in one pass, and every token of the response is held
against what the weights would have said in its place. Verdicts are not made here.

references       an engine or an endpoint -> what reads with it; reader_lanes: several as one
asked_prompts    a trial -> the tokens it was asked with
response_tokens  a response -> the tokens that are to be read
response_scores   those tokens -> the scores of each
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tempzero.config import Local, ScoreSection
from tempzero.errors import EngineError, UsageError
from tempzero.metrics import decoding_ways
from tempzero.reading.asked_prompts import AskedPrompts
from tempzero.reading.earlier_scores import load_earlier_scores
from tempzero.reading.form_comparison import build_form_reading
from tempzero.reading.references import EndpointReference, ModelForm, ReferenceModel, list_logit_rows
from tempzero.reading.repeated_readings import ask_together, build_repeated_reading
from tempzero.reading.response_scores import PreparedAnswer, RecordedAnswer, ResponseScorer, ResponseScores
from tempzero.reading.response_tokens import ResponseCutter
from tempzero.reading.suspect_reading import GivenAnswer, ProviderAnswers
from tempzero.records import Run
from tempzero.types.asked import Trial
from tempzero.types.recorded import ANSWERED
from tempzero.types.scored import Reader, RepeatedForm, ScoredResponse, ScoreLine, SuspectReading, Unread

# A form reads no more prompt than this many times the tokens it is read for.
_PROMPT_SHARE = 4
# Of each of the reference's own responses a form reads so many tokens at least.
_LEAST_FORM_TOKENS = 4
# So many responses a lane are begun ahead: enough to keep all lanes busy, few enough to be held.
_AHEAD = 8
_QUANTISED = re.compile(r"\bI?Q\d")

WriteLine = Callable[[ScoreLine], object]
ReadingProgress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class _BegunAnswer:
    """A response on its way. Without a `reading` it is the same as an earlier one, or could not be prepared."""

    prepared: PreparedAnswer | Unread
    reading: Future[ResponseScores | EngineError] | None


@dataclass(slots=True)
class _WorkAhead:
    """Who does the work, how many responses ahead of the one whose turn it is, and which came first of equal ones.

    `failed` are those of which the first could not be read.
    """

    submit: Callable[..., Future[Any]]
    ahead: int
    first: dict[tuple[Any, ...], Trial]
    failed: set[tuple[Any, ...]] = field(default_factory=set)


class Scorer:
    """Reads the responses of one run with one reference; what was read before is not read again."""

    def __init__(self, run: Run, reference: str, model: ReferenceModel, write: WriteLine) -> None:
        """Raises UsageError where this reference must not judge, or another one began to."""
        self._run, self._reference, self._model, self._write = run, reference, model, write
        self._provider = run.config.provider(reference)
        described = dict(model.describe())
        require_exact_reference(reference, self._provider.local, described)
        self._done = load_earlier_scores(run, reference)
        reader = Reader(
            reference=reference,
            claimed_model=self._provider.claimed_model,
            engine=described,
            vocabulary=model.vocabulary,
            exact=model.exact,
            until_difference=model.until_difference,
            temperatures=decoding_ways.TEMPERATURES if model.exact else (),
            noises=decoding_ways.NOISES if model.exact else (),
        )
        if self._done.reader is None:
            self._write_line(reader=reader)
        elif self._done.reader != reader:
            raise UsageError(
                f"{run.path}: its scores were begun by another {reference} (weights, settings or version differ); "
                "remove scores/ to score again"
            )
        self._asked = AskedPrompts(run, model)
        self._cutter = ResponseCutter(model)
        self._responses = ResponseScorer(model, self._cutter)
        self._roots: dict[Trial, ScoredResponse] = {}
        self._plain_rows: dict[tuple[tuple[int, ...], int], Sequence[NDArray[np.float32]]] = {}

    def read_responses(
        self, progress: ReadingProgress, *, lanes: int = 1, holds: Callable[[int], bool] = lambda place: True
    ) -> None:
        """Read every usable response to this reference's claimed model that was not read before.

        With several `lanes` so many responses are read at once, each in a thread of its own, which the model must
        allow. What is written is the same, in the same order. `holds`: of prompts at which places of the suite.
        """
        waiting = self._list_waiting(holds)
        first = {self._sequence_key(s): s.trial for s in self._done.scored if s.scores is not None}
        pool = ThreadPoolExecutor(max_workers=lanes, thread_name_prefix="read")
        work = _WorkAhead(pool.submit, lanes * _AHEAD, first) if lanes > 1 else _WorkAhead(_do_at_once, 0, first)
        try:
            for done, scored in enumerate(self._score_answers(waiting, work), start=1):
                self._keep(scored)
                progress(done, len(waiting))
        finally:  # who stops it waits for what is being read, and for nothing that has not begun
            pool.shutdown(cancel_futures=True)

    def _keep(self, scored: ScoredResponse | Unread) -> None:
        if isinstance(scored, Unread):
            self._write_line(unread=scored)
        else:
            self._done.scored.append(scored)
            self._write_line(scored=scored)

    def sample_for_forms(self, settings: ScoreSection) -> list[ScoredResponse]:
        """Beginnings of the reference's own responses for forms to read: short prompts first, every prompt once."""
        own = {s.trial.prompt: s for s in reversed(self._done.scored) if s.trial.provider == self._reference}
        fitting = sorted((s for s in own.values() if s.scores is not None), key=lambda s: s.prompt_tokens)
        chosen: list[ScoredResponse] = []
        room = settings.form_tokens * _PROMPT_SHARE
        for one in fitting:
            room -= one.prompt_tokens
            if room < 0 and chosen:
                break
            chosen.append(one)
        return chosen

    def read_form(
        self, name: str, plain_form: ModelForm, form: ModelForm, *, honest: bool, settings: ScoreSection
    ) -> None:
        """Let another form of the model read a sample of the reference's own responses beside the plain one."""
        sample = self.sample_for_forms(settings)
        most = max(_LEAST_FORM_TOKENS, settings.form_tokens // max(1, len(sample)))
        for one in sample:
            if (name, one.trial) in self._done.forms:
                continue
            assert one.scores is not None, "sampled for having scores"
            prompt = self._asked.find_ids(one.trial)
            ids = (*prompt, *one.scores.token_ids[:most])
            plain = self._read_plain_rows(plain_form, ids, len(prompt))[:most]
            other = list(islice(list_logit_rows(form, ids, len(prompt)), most))
            self._write_line(form=build_form_reading(self._reference, name, honest, one.trial, plain, other))

    def read_again(self, readers: Sequence[EndpointReference], settings: ScoreSection) -> int:
        """Let a server read a sample of the reference's own responses alone, one after the other, and once more: all
        `readers` at the same time, or alone again where there is one. What differs is the server's own noise.

        Gives how many tokens were read. Raises EngineError.
        """
        name: RepeatedForm = "batched" if len(readers) > 1 else "again"
        sample = [one for one in self.sample_for_forms(settings) if (name, one.trial) not in self._done.forms]
        most = max(_LEAST_FORM_TOKENS, settings.form_tokens // max(1, len(sample)))
        asked = [self._list_form_tokens(one, most) for one in sample]
        alone = [readers[0].ask_tokens(prompt, ids, ended=False) for prompt, ids in asked]
        for one, first, second in zip(sample, alone, ask_together(readers, asked), strict=True):
            self._write_line(form=build_repeated_reading(self._reference, name, one.trial, first, second))
        return sum(map(len, alone))

    def _list_form_tokens(self, one: ScoredResponse, most: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        assert one.scores is not None, "sampled for having scores"
        return tuple(self._asked.find_ids(one.trial)), one.scores.token_ids[:most]

    def _read_plain_rows(self, plain_form: ModelForm, ids: Sequence[int], start: int) -> Sequence[NDArray[np.float32]]:
        """Once for all forms: they are few hundred rows."""
        key = (tuple(ids), start)
        if key not in self._plain_rows:
            self._plain_rows[key] = tuple(list_logit_rows(plain_form, ids, start))
        return self._plain_rows[key]

    def collect_answers(self) -> tuple[ProviderAnswers, ...]:
        """Every distinct response that was read, by provider and condition; the reference's own left out."""
        found: dict[tuple[str, str], dict[tuple[Any, ...], ScoredResponse]] = {}
        for one in sorted(self._done.scored, key=lambda s: s.trial):
            if one.scores is not None and one.same_as is None:
                self._roots[one.trial] = one
        for one in sorted(self._done.scored, key=lambda s: s.trial):
            root = self._roots.get(one.same_as or one.trial)
            if one.trial.provider != self._reference and root is not None:
                of = found.setdefault((one.trial.provider, one.trial.condition), {})
                of.setdefault((one.trial.prompt, *self._sequence_key(root)), replace(root, trial=one.trial))
        return tuple(self._join_answers(*key, list(of.values())) for key, of in found.items())

    def earlier_suspects(self, given: ProviderAnswers) -> Mapping[str, SuspectReading]:
        """What was read of these very responses before, by suspect; nothing where responses were added since."""
        done = self._done.suspects.get((given.provider, given.condition), {})
        plain = done.get("unchanged")
        trials = {a.trial for a in given.answers}
        return done if plain is not None and {a.trial for a in plain.answers} == trials else {}

    def write_suspect(self, line: SuspectReading) -> None:
        self._write_line(suspect=line)

    # --- responses ------------------------------------------------------------------------------

    def _list_waiting(self, holds: Callable[[int], bool]) -> list[RecordedAnswer]:
        """Usable responses that were not read yet."""
        answers = list_recorded_answers(self._run, self._reference)
        return [a for a in answers if a.sha256 not in self._done.records and holds(self._asked.places[a.trial.prompt])]

    def _score_answers(self, waiting: Sequence[RecordedAnswer], work: _WorkAhead) -> Iterator[ScoredResponse | Unread]:
        """Tokens of each, then a reading of each that is not the same as an earlier one, then what came of it.

        All three in the order of the responses; that lanes work ahead changes nothing of what comes out.
        """
        preparing: deque[tuple[RecordedAnswer, Future[PreparedAnswer | Unread] | None]] = deque()
        reading: deque[_BegunAnswer] = deque()
        for answer in waiting:
            # How a provider writes its reasoning is learnt from its first answers, in their order: each in its turn.
            begun = None if answer.shows_reasoning else work.submit(self._prepare_answer, answer)
            preparing.append((answer, begun))
            if len(preparing) > work.ahead:
                reading.append(self._begin_reading(*preparing.popleft(), work))
            if len(reading) > work.ahead:
                yield self._finish_reading(reading.popleft(), work)
        while preparing:
            reading.append(self._begin_reading(*preparing.popleft(), work))
        while reading:
            yield self._finish_reading(reading.popleft(), work)

    def _begin_reading(
        self, answer: RecordedAnswer, begun: Future[PreparedAnswer | Unread] | None, work: _WorkAhead
    ) -> _BegunAnswer:
        prepared = self._prepare_answer(answer) if begun is None else begun.result()
        if isinstance(prepared, Unread) or prepared.identity in work.first:
            return _BegunAnswer(prepared=prepared, reading=None)
        work.first[prepared.identity] = answer.trial
        return _BegunAnswer(prepared=prepared, reading=work.submit(self._responses.score_response, prepared))

    def _finish_reading(self, begun: _BegunAnswer, work: _WorkAhead) -> ScoredResponse | Unread:
        prepared, found = begun.prepared, None if begun.reading is None else begun.reading.result()
        if isinstance(prepared, Unread):
            return prepared
        if found is None and prepared.identity in work.failed:  # the first of these could not be read: perhaps this can
            found = self._responses.score_response(prepared)
        if isinstance(found, EngineError):
            work.failed.add(prepared.identity)
            return self._build_unread(prepared.answer, str(found))
        if found is None:
            return self._build_scored(prepared, work.first[prepared.identity], None)
        work.failed.discard(prepared.identity)
        work.first[prepared.identity] = prepared.answer.trial
        return self._build_scored(prepared, None, found)

    def _prepare_answer(self, answer: RecordedAnswer) -> PreparedAnswer | Unread:
        try:
            prompt = self._asked.find_ids(answer.trial)
            tokens = self._cutter.cut_response(answer.trial, answer.completion, prompt)
        except EngineError as problem:
            return self._build_unread(answer, str(problem))
        if not tokens.ids and not tokens.ended:
            return self._build_unread(answer, "it holds no token")
        return PreparedAnswer(answer=answer, prompt=tuple(prompt), tokens=tokens)

    def _build_scored(self, one: PreparedAnswer, same_as: Trial | None, found: ResponseScores | None) -> ScoredResponse:
        return ScoredResponse(
            trial=one.answer.trial,
            number=one.answer.number,
            record_sha256=one.answer.sha256,
            reference=self._reference,
            prompt_tokens=len(one.prompt),
            tokens_from=one.tokens.source,
            round_trip=one.tokens.round_trip,
            settled=0 if found is None else found.settled,
            ended=one.tokens.ended,
            same_as=same_as,
            scores=None if found is None else found.scores,
            sums=None if found is None else found.sums,
        )

    def _sequence_key(self, scored: ScoredResponse) -> tuple[Any, ...]:
        assert scored.scores is not None, "asked of scored ones only"
        ids, prompt = scored.scores.token_ids, tuple(self._asked.find_ids(scored.trial))
        return (scored.trial.prompt, prompt, ids[:-1] if scored.ended else ids, scored.ended)

    def _build_unread(self, answer: RecordedAnswer, reason: str) -> Unread:
        return Unread(
            trial=answer.trial,
            number=answer.number,
            record_sha256=answer.sha256,
            reference=self._reference,
            reason=reason,
        )

    def _join_answers(self, provider: str, condition: str, of: Sequence[ScoredResponse]) -> ProviderAnswers:
        answers = []
        for one in of:
            assert one.scores is not None, "roots have scores"
            ids = one.scores.token_ids[: len(one.scores.token_ids) - one.ended]
            if one.settled:  # cut again, as each suspect would have written it
                ids = tuple(self._model.tokenize(self._cutter.decode_tokens(ids)))
            answers.append(
                GivenAnswer(
                    trial=one.trial,
                    asked=self._asked.describe_prompt(one.trial),
                    ids=ids,
                    ended=one.ended,
                    fixed=one.tokens_from == "provider",
                )
            )
        prompts = [a.trial.prompt for a in answers]
        return ProviderAnswers(
            provider=provider,
            condition=condition,
            answers=tuple(answers),
            varied=len(set(prompts)) < len(prompts),
        )

    def _write_line(self, **what: Any) -> None:
        self._write(ScoreLine(seq=0, previous="", **what))


def list_recorded_answers(run: Run, reference: str) -> list[RecordedAnswer]:
    """Usable responses to the reference's claimed model, those to one prompt together so that it is read once."""
    claimed = run.config.provider(reference).claimed_model
    rivals = {p.name for p in run.config.providers if p.claimed_model == claimed}
    place = {p.id: i for i, p in enumerate(run.manifest.suite.prompts)}
    found = [
        RecordedAnswer(sha256=sha256, trial=view.trial, number=view.number, completion=view.outcome.completion)
        for sha256, view in run.hashed_views()
        if view.outcome.completion is not None and view.outcome.status in ANSWERED and view.trial.provider in rivals
    ]
    # The reference's own come first: what the others share with it is then computed for it.
    return sorted(found, key=lambda a: (place[a.trial.prompt], a.trial.provider != reference, a.trial))


def _do_at_once(work: Callable[..., Any], *given: Any) -> Future[Any]:
    done: Future[Any] = Future()
    done.set_result(work(*given))
    return done


def require_exact_reference(reference: str, settings: Local | None, described: Mapping[str, Any]) -> None:
    """A quantised engine disagrees with its own output, so it must not judge others'. Raises UsageError."""
    architecture = str(described.get("architecture", ""))
    if (settings is not None and not settings.exact) or _QUANTISED.search(architecture):
        raise UsageError(
            f"{reference} computes in less than 32 bits ({architecture or 'see its entry'}), "
            "so it would miss its own tokens; "
            "read with one that has precision: f32, no flash attention and float32 caches"
        )
