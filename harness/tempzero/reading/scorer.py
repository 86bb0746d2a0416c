"""A Run and the model of its reference in, lines of scores.jsonl out: the reference reads every response.

Teacher forcing: prompt and response are read in one pass, and every token of the response is held
against what the weights would have said in its place. Verdicts are not made here.
"""

from __future__ import annotations

import codecs
import functools
import json
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tempzero.config import Local, ScoreSection
from tempzero.errors import EngineError, UsageError
from tempzero.metrics import decoding, decoding_ways
from tempzero.reading.round_messages import read_round_messages
from tempzero.reading.suspect_reading import GivenAnswer, ProviderAnswers
from tempzero.reading.suspects.suspect import AskedPrompt
from tempzero.reading.top_rows import BookedModel, RowBook, TopRows
from tempzero.reading.written_reasoning import (
    END_THINK,
    THINK,
    WrittenForm,
    find_template_values,
    list_written_forms,
)
from tempzero.records import Run
from tempzero.types.asked import Message, Trial
from tempzero.types.recorded import ANSWERED, Completion
from tempzero.types.scored import (
    DecodingSums,
    FormReading,
    Reader,
    ScoredResponse,
    ScoreLine,
    SuspectReading,
    TokenScores,
    Unread,
)

# Reasons to stop with which a model ends its turn by itself.
_ENDED = ("stop", "end_turn", "eos", "eos_token")
# A form reads no more prompt than this many times the tokens it is read for.
_PROMPT_SHARE = 4
# Of each of the reference's own responses a form reads so many tokens at least.
_LEAST_FORM_TOKENS = 4
# A margin that no rounding explains, and how many other cuts of one text are tried.
_CLEAR_MARGIN = 1.0
_CUTS_TRIED = 4
# So many responses a lane are prepared together: enough to keep all lanes busy, few enough to be held.
_WINDOW = 8
_THINK_TAGS = re.compile(f"({re.escape(THINK)}|{re.escape(END_THINK)})")
# A model that writes think tags is sure of them: beyond this margin it writes something else there.
_TAG_MARGIN = 3.0
_FORM_TRIES = 3
_PROMPT_END_TOKENS = 12  # enough to hold an opened think tag and the blanks behind it
_QUANTISED = re.compile(r"\bI?Q\d")

WriteLine = Callable[[ScoreLine], object]
ReadingProgress = Callable[[int, int], None]


class ReferenceModel(Protocol):
    """What scoring needs of a reference. EngineError: these tokens, or this rendering, cannot be read."""

    @property
    def exact(self) -> bool:
        """Whether whole distributions are seen."""

    @property
    def until_difference(self) -> bool:
        """Whether a response is read only up to where it differs from the reference's own answer."""

    @property
    def written(self) -> WrittenForm | None:
        """What stands around reasoning, where that is known; None: it is found out by reading."""

    @property
    def vocabulary(self) -> int:
        """How many tokens there are; 0 where that is not told."""

    @property
    def end_ids(self) -> tuple[int, ...]:
        """The tokens that end the model's turn."""

    def describe(self) -> Mapping[str, Any]:
        """What the reading engine says of itself."""

    def prompt_ids(
        self,
        messages: Sequence[Message],
        *,
        chat_template: str | None = None,
        template_values: Mapping[str, Any] | None = None,
    ) -> list[int]:
        """The tokens that stand before the answer to these messages, rendered with what the request gave a template."""

    def tokenize(self, text: str) -> list[int]:
        """The tokens of a response's text; think tags that are tokens of their own are those."""

    def pieces(self, token_ids: Sequence[int]) -> list[bytes]:
        """The bytes that each token adds to a text."""

    def read(self, prompt: Sequence[int], ids: Sequence[int], *, ended: bool) -> decoding.TokenStandings:
        """How each token stands behind the prompt; with `ended` the one that ends the turn as well."""


class ModelForm(Protocol):
    """Another form of a reference's model, with the same vocabulary."""

    def logits(self, token_ids: Sequence[int], start: int) -> Iterator[NDArray[np.float32]]: ...


class LogitsModel(ModelForm, Protocol):
    """A model in this process: see `engines.in_process.InProcessEngine`."""

    def describe(self) -> Mapping[str, Any]: ...
    def prompt_ids(
        self,
        messages: Sequence[Message],
        *,
        chat_template: str | None = None,
        template_values: Mapping[str, Any] | None = None,
    ) -> list[int]: ...
    def tokenize(self, text: str, *, special: bool) -> list[int]: ...
    def piece(self, token_id: int) -> bytes: ...
    @property
    def end_ids(self) -> tuple[int, ...]: ...
    @property
    def vocabulary(self) -> int: ...


class LogitsReference:
    """Reads with the whole distributions of a model in this process."""

    exact, until_difference, written = True, False, None

    def __init__(self, engine: LogitsModel, book: RowBook | None = None) -> None:
        self.engine = engine
        self._booked = BookedModel(engine, book or RowBook(None, engine.describe()))
        self.find_rows, self.find_known_rows = self._booked.find_rows, self._booked.find_known_rows
        self.describe, self.prompt_ids = engine.describe, engine.prompt_ids
        self.vocabulary, self.end_ids = engine.vocabulary, engine.end_ids

    def tokenize(self, text: str) -> list[int]:
        parts = _THINK_TAGS.split(text)
        if len(parts) == 1 or not self._tags_are_tokens:
            return self.engine.tokenize(text, special=False)
        return [t for part in parts if part for t in self._tokenize_part(part)]

    def _tokenize_part(self, part: str) -> list[int]:
        if not _THINK_TAGS.fullmatch(part):
            return self.engine.tokenize(part, special=False)
        return self.engine.tokenize(part, special=True)[len(self.engine.tokenize("", special=True)) :]

    @functools.cached_property
    def _tags_are_tokens(self) -> bool:
        return all(len(self._tokenize_part(tag)) == 1 for tag in (THINK, END_THINK))

    def pieces(self, token_ids: Sequence[int]) -> list[bytes]:
        if not all(0 <= t < self.vocabulary for t in token_ids):
            raise EngineError("ids outside this vocabulary")
        return [self.engine.piece(t) for t in token_ids]

    def read(self, prompt: Sequence[int], ids: Sequence[int], *, ended: bool) -> decoding.TokenStandings:
        rows = self._booked.watch_rows(_logit_rows(self.engine, (*prompt, *ids), len(prompt)), prompt, ids)
        return decoding.read_logit_rows(rows, ids, prompt, end_ids=self.end_ids if ended else ())

    @property
    def read_tokens(self) -> int:
        """How many tokens were computed for suspects."""
        return self._booked.read_tokens


class LogprobsEndpoint(Protocol):
    """An endpoint that tells log-probabilities: see `engines.prompt_logprobs.EndpointReader`."""

    def describe(self) -> Mapping[str, Any]: ...
    def prompt_ids(
        self, messages: Sequence[Message], *, template_values: Mapping[str, Any] | None = None
    ) -> list[int]: ...
    def tokenize(self, text: str) -> list[int]: ...
    def pieces(self, token_ids: Sequence[int]) -> list[bytes]: ...
    def read(self, token_ids: Sequence[int], start: int) -> Sequence[decoding.ReportedToken]: ...
    @property
    def end_ids(self) -> tuple[int, ...]: ...


class EndpointReference:
    """Reads through an endpoint's `prompt_logprobs`: margins, ranks and gaps, but no whole distributions."""

    exact, until_difference, written, vocabulary = False, False, None, 0

    def __init__(self, endpoint: LogprobsEndpoint) -> None:
        self._endpoint = endpoint
        self.describe, self.tokenize, self.pieces = endpoint.describe, endpoint.tokenize, endpoint.pieces
        self.end_ids = endpoint.end_ids
        self.read_tokens = 0
        self._known: dict[tuple[tuple[int, ...], tuple[int, ...], bool], TopRows] = {}

    def prompt_ids(
        self,
        messages: Sequence[Message],
        *,
        chat_template: str | None = None,
        template_values: Mapping[str, Any] | None = None,
    ) -> list[int]:
        if chat_template is not None:
            raise EngineError("an endpoint renders with its own chat template only")
        return self._endpoint.prompt_ids(messages, template_values=template_values)

    def read(self, prompt: Sequence[int], ids: Sequence[int], *, ended: bool) -> decoding.TokenStandings:
        """Where several tokens may have ended the turn the first of them is taken."""
        response = (*ids, *self.end_ids[:1]) if ended else tuple(ids)
        standings = decoding.read_reported_tokens(self._endpoint.read([*prompt, *response], len(prompt)), prompt)
        self.remember(prompt, ids, standings, ended=ended)
        return standings

    def remember(
        self, prompt: Sequence[int], ids: Sequence[int], standings: decoding.TokenStandings, *, ended: bool
    ) -> None:
        """Keep what was read, so that it is not read again under suspects."""
        self._known[tuple(prompt), tuple(ids), ended] = _list_two_tokens(standings)

    def find_rows(self, prompt: Sequence[int], ids: Sequence[int], *, ended: bool) -> TopRows:
        """Of each place the reader's choice and the response's own token: more is not told."""
        key = (tuple(prompt), tuple(ids), ended)
        if key not in self._known:
            self.read_tokens += len(prompt) + len(ids)
            self.read(prompt, ids, ended=ended)
        return self._known[key]

    def find_known_rows(self, prompt: Sequence[int], ids: Sequence[int]) -> TopRows:
        """None: what was read is known as a whole only."""
        return TopRows(ids=np.empty((0, 2), np.int32), logits=np.empty((0, 2), np.float32))


class PooledReference:
    """Several readers of one model as one: each thread that asks has a reader of its own."""

    def __init__(self, references: Sequence[EndpointReference]) -> None:
        self._waiting, self._own = deque(references), threading.local()
        first = references[0]
        self.exact, self.until_difference, self.written = first.exact, first.until_difference, first.written
        self.vocabulary, self.end_ids, self.describe = first.vocabulary, first.end_ids, first.describe
        # In this thread, which waits while others read, the first serves as well.
        self._first = self._own.reference = first

    def prompt_ids(
        self,
        messages: Sequence[Message],
        *,
        chat_template: str | None = None,
        template_values: Mapping[str, Any] | None = None,
    ) -> list[int]:
        return self._mine().prompt_ids(messages, chat_template=chat_template, template_values=template_values)

    def tokenize(self, text: str) -> list[int]:
        return self._mine().tokenize(text)

    def pieces(self, token_ids: Sequence[int]) -> list[bytes]:
        return self._mine().pieces(token_ids)

    def read(self, prompt: Sequence[int], ids: Sequence[int], *, ended: bool) -> decoding.TokenStandings:
        standings = self._mine().read(prompt, ids, ended=ended)
        if self._mine() is not self._first:  # whoever reads under suspects later need not read this again
            self._first.remember(prompt, ids, standings, ended=ended)
        return standings

    def _mine(self) -> EndpointReference:
        if not hasattr(self._own, "reference"):
            self._own.reference = self._waiting.popleft()
        reference: EndpointReference = self._own.reference
        return reference


@dataclass(frozen=True, kw_only=True, slots=True)
class _RecordedAnswer:
    """A usable response as it was recorded."""

    sha256: str
    trial: Trial
    number: int
    completion: Completion


@dataclass(frozen=True, kw_only=True, slots=True)
class _ResponseTokens:
    """A response as token ids, without the one that ends the turn."""

    ids: tuple[int, ...]
    source: Literal["provider", "text"]
    round_trip: bool
    ended: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class _PreparedAnswer:
    """A response with the tokens that are to be read, behind those of its prompt."""

    answer: _RecordedAnswer
    prompt: tuple[int, ...]
    tokens: _ResponseTokens

    @property
    def identity(self) -> tuple[Any, ...]:
        """What it has in common with every response that has the same scores."""
        return (self.answer.trial.prompt, self.prompt, self.tokens.ids, self.tokens.ended)


@dataclass(slots=True)
class _EarlierScores:
    """What scores.jsonl holds of one reference already."""

    reader: Reader | None = None
    records: set[str] = field(default_factory=set)
    scored: list[ScoredResponse] = field(default_factory=list)
    forms: set[tuple[str, Trial]] = field(default_factory=set)
    suspects: dict[tuple[str, str], dict[str, SuspectReading]] = field(default_factory=dict)


class Scorer:
    """Reads the responses of one run with one reference; what was read before is not read again."""

    def __init__(self, run: Run, reference: str, model: ReferenceModel, write: WriteLine) -> None:
        """Raises UsageError where this reference must not judge, or another one began to."""
        self._run, self._reference, self._model, self._write = run, reference, model, write
        self._provider = run.config.provider(reference)
        described = dict(model.describe())
        require_exact_reference(reference, self._provider.local, described)
        self._done = _load_earlier_scores(run, reference)
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
                f"{run.path}: scores.jsonl was begun by another {reference} (weights, settings or version differ); "
                "remove scores.jsonl to score again"
            )
        self._messages = {p.id: p.messages for p in run.manifest.suite.prompts}
        self._rounds = read_round_messages(run)
        self._offering_tools = {p.id for p in run.manifest.suite.prompts if p.tools}
        self._roots: dict[Trial, ScoredResponse] = {}
        self._asked = {p.id: p for p in run.manifest.suite.prompts}
        self._prompts: dict[tuple[str | Trial, str], list[int]] = {}
        self._written: dict[tuple[str, str], WrittenForm] = {}
        self._tries: dict[tuple[str, str], int] = {}

    def read_responses(self, progress: ReadingProgress, *, lanes: int = 1) -> None:
        """Read every usable response to this reference's claimed model that was not read before.

        With several `lanes` so many responses are read at once, each in a thread of its own, which the model must
        allow. What is written is the same, in the same order.
        """
        waiting = self._list_waiting()
        first = {self._sequence_key(s): s.trial for s in self._done.scored if s.scores is not None}
        done = 0
        with ThreadPoolExecutor(max_workers=lanes, thread_name_prefix="read") as pool:
            spread = pool.map if lanes > 1 else map
            for window in _cut_windows(waiting, _WINDOW * lanes if lanes > 1 else 1):
                for scored in self._score_window(window, first, spread):
                    self._keep(scored)
                    done += 1
                    progress(done, len(waiting))

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
            prompt = self._prompt_ids(one.trial)
            ids = (*prompt, *one.scores.token_ids[:most])
            plain = list(_logit_rows(plain_form, ids, len(prompt)))[:most]
            other = list(_logit_rows(form, ids, len(prompt)))[:most]
            self._write_line(form=_build_form_reading(self._reference, name, honest, one.trial, plain, other))

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

    def _list_waiting(self) -> list[_RecordedAnswer]:
        """Usable responses that were not read yet, those to one prompt together so that it is read once."""
        claimed, place = self._provider.claimed_model, {p: i for i, p in enumerate(self._messages)}
        rivals = {p.name for p in self._run.config.providers if p.claimed_model == claimed}
        found = [
            _RecordedAnswer(sha256=sha256, trial=view.trial, number=view.number, completion=view.outcome.completion)
            for sha256, view in self._run.hashed_views()
            if view.outcome.completion is not None
            and view.outcome.status in ANSWERED
            and view.trial.provider in rivals
            and sha256 not in self._done.records
        ]
        # The reference's own come first: what the others share with it is then computed for it.
        return sorted(found, key=lambda a: (place[a.trial.prompt], a.trial.provider != self._reference, a.trial))

    def _score_window(
        self,
        window: Sequence[_RecordedAnswer],
        first: dict[tuple[Any, ...], Trial],
        spread: Callable[..., Iterable[Any]],
    ) -> Iterator[ScoredResponse | Unread]:
        """Tokens of all, then a reading of each that is not the same as an earlier one, then what came of it."""
        # How a provider writes its reasoning is learnt from its first answers, in their order.
        learning = {a.sha256: self._prepare_answer(a) for a in window if _shows_reasoning(a.completion)}
        others = [a for a in window if a.sha256 not in learning]
        prepared = learning | dict(zip([a.sha256 for a in others], spread(self._prepare_answer, others), strict=True))
        to_read: list[_PreparedAnswer] = []
        for one in (prepared[a.sha256] for a in window):
            if isinstance(one, _PreparedAnswer) and one.identity not in first:
                first[one.identity] = one.answer.trial
                to_read.append(one)
        read = dict(zip([one.answer.sha256 for one in to_read], spread(self._read_prepared, to_read), strict=True))
        for answer in window:
            one, found = prepared[answer.sha256], read.get(answer.sha256)
            if isinstance(one, Unread):
                yield one
                continue
            if found is None and one.identity not in first:  # the first of these could not be read: perhaps this can
                first[one.identity], found = answer.trial, self._read_prepared(one)
            if isinstance(found, EngineError):
                del first[one.identity]
                yield self._build_unread(answer, str(found))
            else:
                yield self._build_scored(one, first[one.identity] if found is None else None, found)

    def _prepare_answer(self, answer: _RecordedAnswer) -> _PreparedAnswer | Unread:
        try:
            prompt = self._prompt_ids(answer.trial)
            tokens = self._response_tokens(self._join_reasoning(answer, prompt))
        except EngineError as problem:
            return self._build_unread(answer, str(problem))
        if not tokens.ids and not tokens.ended:
            return self._build_unread(answer, "it holds no token")
        return _PreparedAnswer(answer=answer, prompt=tuple(prompt), tokens=tokens)

    def _read_prepared(self, one: _PreparedAnswer) -> tuple[TokenScores, DecodingSums | None, int] | EngineError:
        """The scores of its tokens, their sums, and how often another cut of the text was taken."""
        try:
            standings, settled = self._model.read(one.prompt, one.tokens.ids, ended=one.tokens.ended), 0
            if one.tokens.source == "text":
                standings, settled = self._settle_tokens(one.prompt, standings, one.tokens.ended)
            sums = None if standings.sums is None else _round_sums(standings.sums)
            return self._token_scores(standings), sums, settled
        except EngineError as problem:
            return problem

    def _build_scored(
        self, one: _PreparedAnswer, same_as: Trial | None, found: tuple[TokenScores, DecodingSums | None, int] | None
    ) -> ScoredResponse:
        scores, sums, settled = (None, None, 0) if found is None else found
        return ScoredResponse(
            trial=one.answer.trial,
            number=one.answer.number,
            record_sha256=one.answer.sha256,
            reference=self._reference,
            prompt_tokens=len(one.prompt),
            tokens_from=one.tokens.source,
            round_trip=one.tokens.round_trip,
            settled=settled,
            ended=one.tokens.ended,
            same_as=same_as,
            scores=scores,
            sums=sums,
        )

    def _join_reasoning(self, answer: _RecordedAnswer, prompt: Sequence[int]) -> Completion:
        """The answer as the model wrote it, where its reasoning came apart and nobody told its tokens.

        How its model writes reasoning is found out from the first answers of each provider. EngineError: in no known
        way, so that it would be read as something that was never written.
        """
        given = answer.completion
        if given.reasoning_text is None or given.token_ids is not None:
            return given
        if not given.text:  # cut within its reasoning: nothing is known to stand behind it
            known = self._written.get((answer.trial.provider, answer.trial.condition)) or self._list_forms(prompt)[0]
        else:
            known = self._find_written_form(answer, prompt)
        return replace(given, text=known.join(given.reasoning_text, given.text), reasoning_text=None)

    def _find_written_form(self, answer: _RecordedAnswer, prompt: Sequence[int]) -> WrittenForm:
        """The likeliest form, provided that the model would write its tags so."""
        key, given = (answer.trial.provider, answer.trial.condition), answer.completion
        if key in self._written:
            return self._written[key]
        tries = self._tries[key] = self._tries.get(key, 0) + 1
        forms = self._list_forms(prompt) if tries <= _FORM_TRIES else ()
        likeliest: tuple[float, WrittenForm, bool] | None = None
        for form in forms:
            ids = self._model.tokenize(form.join(given.reasoning_text or "", given.text))
            standings = self._model.read(prompt, ids, ended=given.finish_reason in _ENDED)
            total = sum(standings.logprob)
            if likeliest is None or total > likeliest[0]:
                likeliest = (total, form, self._tags_are_likely(standings, form, given.reasoning_text or ""))
        if likeliest is None or not likeliest[2]:
            raise EngineError("its reasoning was given apart, and the reference would not write it in any known way")
        self._written[key] = likeliest[1]
        return likeliest[1]

    def _tags_are_likely(self, standings: decoding.TokenStandings, form: WrittenForm, reasoning: str) -> bool:
        """Whether the tokens of the tags are what the reference would write there, or nearly so."""
        behind = len(form.before) + len(reasoning)
        inside = [range(len(form.before)), range(behind, behind + len(form.behind))]
        begin = 0
        for end, margin in zip(self._character_ends(standings.token_ids), standings.margin, strict=True):
            if margin > _TAG_MARGIN and any(begin < span.stop and end > span.start for span in inside):
                return False
            begin = end
        return True

    def _list_forms(self, prompt: Sequence[int]) -> tuple[WrittenForm, ...]:
        if self._model.written is not None:
            return (self._model.written,)
        end = b"".join(self._model.pieces(prompt[-_PROMPT_END_TOKENS:])).decode("utf-8", "replace")
        return list_written_forms(end)

    def _settle_tokens(
        self, prompt: Sequence[int], standings: decoding.TokenStandings, ended: bool
    ) -> tuple[decoding.TokenStandings, int]:
        """Where a text can be cut into tokens in two ways, the way that the reference finds likelier.

        A model does not always write a text in the tokens that the tokenizer would cut it into. At a
        clear miss where the reference's choice begins the very text that follows, that cut is read
        too. Gives how often it was taken.
        """
        at = taken = tried = 0
        while tried < _CUTS_TRIED:
            ids = standings.token_ids[: len(standings.token_ids) - ended]
            found = next((i for i in range(at, len(ids)) if standings.margin[i] > _CLEAR_MARGIN), None)
            if found is None:
                break
            at = found + 1
            begun, *_ = self._model.pieces([standings.argmax[found]])
            rest = b"".join(self._model.pieces(ids[found:]))
            if not begun or not rest.startswith(begun) or not _is_decodable(rest[len(begun) :]):
                continue
            tried += 1
            after = self._model.tokenize(rest[len(begun) :].decode())
            other = self._model.read(prompt, (*ids[:found], standings.argmax[found], *after), ended=ended)
            if sum(other.logprob) > sum(standings.logprob):
                standings, taken = other, taken + 1
        return standings, taken

    def _response_tokens(self, completion: Completion) -> _ResponseTokens:
        """The provider's own token ids where it gave them and they are this vocabulary's, else the text's."""
        ended = completion.finish_reason in _ENDED
        if completion.token_ids:
            given = [t for t in completion.token_ids if t not in self._model.end_ids]
            text = self._decode_given_tokens(given)
            if text is not None and (completion.reasoning_text is not None or text == completion.text):
                return _ResponseTokens(ids=tuple(given), source="provider", round_trip=True, ended=ended)
        text = completion.text if ended else completion.text.rstrip("\ufffd")  # a cut within a character
        ids = self._model.tokenize(text)
        round_trip = self._decode_tokens(ids) == text
        if not ended and len(ids) > 1 and self._model.pieces(ids[-1:])[0] in self._begun_pieces:
            ids.pop()
        return _ResponseTokens(ids=tuple(ids), source="text", round_trip=round_trip, ended=ended)

    @functools.cached_property
    def _begun_pieces(self) -> frozenset[bytes]:
        """What a text shows of a token that ends within a character, and a whole token as well.

        Where an answer was cut behind such a token nobody can say which of the two was written.
        """
        pieces = self._model.pieces(range(self._model.vocabulary)) or [b" \xc3"]
        begun = (piece[: _count_whole_bytes(piece)] for piece in pieces)
        return frozenset(b for b, piece in zip(begun, pieces, strict=True) if b and b != piece)

    def _decode_given_tokens(self, token_ids: Sequence[int]) -> str | None:
        """None where they are no tokens of this vocabulary."""
        try:
            return self._decode_tokens(token_ids)
        except EngineError:
            return None

    def _decode_tokens(self, token_ids: Sequence[int]) -> str:
        return codecs.getincrementaldecoder("utf-8")("replace").decode(b"".join(self._model.pieces(token_ids)))

    def _token_scores(self, standings: decoding.TokenStandings) -> TokenScores:
        missed = [b for t, b in zip(standings.token_ids, standings.argmax, strict=True) if t != b]
        return TokenScores(
            token_ids=standings.token_ids,
            ends=self._character_ends(standings.token_ids),
            argmax=standings.argmax,
            margin=_round_values(standings.margin),
            logprob=_round_values(standings.logprob),
            rank=standings.rank,
            gap=_round_values(standings.gap),
            seen=standings.seen,
            instead=tuple(self._model.pieces([best])[0].decode("utf-8", "replace") for best in missed),
        )

    def _character_ends(self, token_ids: Sequence[int]) -> tuple[int, ...]:
        """How many characters stand complete after each token."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        ends, written = [], 0
        for piece in self._model.pieces(token_ids):
            written += len(decoder.decode(piece))
            ends.append(written)
        return tuple(ends)

    def _prompt_ids(self, trial: Trial) -> list[int]:
        """The tokens of the prompt as it was rendered for that trial: efforts and the like may change them."""
        if trial.prompt in self._offering_tools:
            raise EngineError("the prompt offers tools, which are not rendered here")
        values, messages = self._template_values(trial), self._asked_messages(trial)
        key = (trial if trial in self._rounds else trial.prompt, json.dumps(values, sort_keys=True))
        if key not in self._prompts:
            self._prompts[key] = self._model.prompt_ids(messages, template_values=values or None)
        return self._prompts[key]

    def _asked_messages(self, trial: Trial) -> tuple[Message, ...]:
        """What it was asked with: a round of a conversation with the answers that had been given before it."""
        return self._rounds.get(trial) or self._messages[trial.prompt]

    def _template_values(self, trial: Trial) -> dict[str, Any]:
        config = self._run.config
        return find_template_values(config, config.provider(trial.provider), trial.condition, self._asked[trial.prompt])

    def _sequence_key(self, scored: ScoredResponse) -> tuple[Any, ...]:
        assert scored.scores is not None, "asked of scored ones only"
        ids, prompt = scored.scores.token_ids, tuple(self._prompt_ids(scored.trial))
        return (scored.trial.prompt, prompt, ids[:-1] if scored.ended else ids, scored.ended)

    def _build_unread(self, answer: _RecordedAnswer, reason: str) -> Unread:
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
                ids = tuple(self._model.tokenize(self._decode_tokens(ids)))
            answers.append(
                GivenAnswer(
                    trial=one.trial,
                    asked=self._asked_prompt(one.trial),
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

    def _asked_prompt(self, trial: Trial) -> AskedPrompt:
        values = self._template_values(trial)
        return AskedPrompt(
            messages=self._asked_messages(trial),
            ids=tuple(self._prompt_ids(trial)),
            render=functools.partial(self._model.prompt_ids, template_values=values or None),
            is_control=lambda token: not self._model.pieces([token])[0],
        )

    def _write_line(self, **what: Any) -> None:
        self._write(ScoreLine(seq=0, previous="", **what))


def _cut_windows(answers: Sequence[_RecordedAnswer], size: int) -> Iterator[list[_RecordedAnswer]]:
    rest = iter(answers)
    while window := list(islice(rest, size)):
        yield window


def _shows_reasoning(completion: Completion) -> bool:
    return completion.reasoning_text is not None and completion.token_ids is None


def _load_earlier_scores(run: Run, reference: str) -> _EarlierScores:
    done = _EarlierScores()
    for line in run.score_lines():
        if line.reader is not None and line.reader.reference == reference:
            done.reader = line.reader
        if line.scored is not None and line.scored.reference == reference:
            done.scored.append(line.scored)
            done.records.add(line.scored.record_sha256)
        if line.unread is not None and line.unread.reference == reference:
            done.records.add(line.unread.record_sha256)
        if line.form is not None and line.form.reference == reference:
            done.forms.add((line.form.form, line.form.trial))
        if line.suspect is not None and line.suspect.reference == reference:
            of = done.suspects.setdefault((line.suspect.provider, line.suspect.condition), {})
            of[line.suspect.suspect] = line.suspect
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


def _count_whole_bytes(piece: bytes) -> int:
    """How many bytes stand before a character that is begun at the end and not whole."""
    try:
        piece.decode()
    except UnicodeDecodeError as problem:
        return problem.start if problem.reason == "unexpected end of data" else 0
    return len(piece)


def _is_decodable(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _logit_rows(model: ModelForm, token_ids: Sequence[int], start: int) -> Iterator[NDArray[np.float32]]:
    return chain.from_iterable(model.logits(token_ids, start))


def _build_form_reading(
    reference: str,
    name: str,
    honest: bool,
    trial: Trial,
    plain: Sequence[NDArray[np.float32]],
    other: Sequence[NDArray[np.float32]],
) -> FormReading:
    changes, margins = [], []
    sampled, rounded = np.zeros(len(decoding_ways.TEMPERATURES)), np.zeros(len(decoding_ways.NOISES))
    for here, there in zip(plain, other, strict=True):
        best, second = np.argpartition(here, -2)[-2:][::-1]
        changes.append(abs(float(here[best] - here[second]) - float(there[best] - there[second])))
        choice = int(there.argmax())
        margins.append(float(here.max() - here[choice]))
        likelihoods = decoding.choice_likelihoods(here, choice)
        sampled += likelihoods.sampled
        rounded += likelihoods.rounded
    return FormReading(
        reference=reference,
        form=name,
        honest=honest,
        trial=trial,
        gap_change=_round_values(changes),
        margin=_round_values(margins),
        rounded=_round_values(rounded.tolist()),
        sampled=_round_values(sampled.tolist()),
    )


def _round_sums(sums: DecodingSums) -> DecodingSums:
    return DecodingSums(
        sampled=tuple(round(v, 4) for v in sums.sampled),
        rounded=tuple(round(v, 4) for v in sums.rounded),
    )


def _list_two_tokens(standings: decoding.TokenStandings) -> TopRows:
    """The reader's choice at 0 and the response's own token as far below as it is."""
    pairs = list(zip(standings.argmax, standings.token_ids, strict=True))
    below = [(0.0, -m) for m in standings.margin]
    return TopRows(ids=np.array(pairs, np.int32).reshape(-1, 2), logits=np.array(below, np.float32).reshape(-1, 2))


def _round_values(values: Iterable[float]) -> tuple[float, ...]:
    """Six decimals: finer than the noise of float32 logits, and half the size."""
    return tuple(round(v, 6) for v in values)
