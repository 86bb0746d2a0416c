"""A provider's responses and the suspects in, how every token stands under each out: refuted early where one says no.

The order is the cost. What fits the unchanged reference token for token is not read again. Rules of the sampler are
tried on the rows of the plain reading, for nothing. Other prompts are read for a few tokens of a response, the shortest
first, and further only where those fit. All providers are read together: behind another prompt, which is most of what
has to be computed, stand the responses of all of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Container, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tempzero.errors import EngineError
from tempzero.reading.response_tokens import CUTS_TRIED, list_places_back
from tempzero.reading.suspects import REQUEST_SUSPECTS, SAMPLER_RULES
from tempzero.reading.suspects.suspect import AskedPrompt, ChosenTokens, FormSuspect, Logits, RequestSuspect
from tempzero.reading.top_rows import RowSource, TopRows
from tempzero.types.asked import Message, Trial
from tempzero.types.scored import SuspectAnswer, SuspectKind, SuspectReading

# So many tokens of a response are read before it is decided whether to read on.
_FIRST_TOKENS = 12
# A suspect that explains none of so many odd responses explains no mixture either.
_ODD_TRIED = 4
# With fewer misses than this, none beyond rounding, no other prompt could win: none is read.
MIN_MISSES = 8
UNCHANGED = "unchanged"
# Gives the response that is to be read next, takes what it came to, ends with all of them and whether one refuted.
Walk = Generator["GivenAnswer", SuspectAnswer, tuple[list[SuspectAnswer], bool]]
AskedKey = tuple[tuple[Message, ...], tuple[int, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenAnswer:
    """One distinct response: its tokens without the one that ends the turn. `fixed`: the provider gave them itself."""

    trial: Trial
    asked: AskedPrompt
    ids: tuple[int, ...]
    ended: bool
    fixed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderAnswers:
    """Every distinct response of one provider under one condition. `varied`: repeats of a prompt differ."""

    provider: str
    condition: str
    answers: tuple[GivenAnswer, ...]
    varied: bool


class Tokens:
    """What a reference can say of tokens and texts."""

    def __init__(
        self,
        *,
        tokenize: Callable[[str], list[int]],
        pieces: Callable[[Sequence[int]], list[bytes]],
        end_ids: tuple[int, ...],
    ) -> None:
        self.tokenize, self.end_ids = tokenize, end_ids
        self._pieces, self._known = pieces, dict[int, bytes]()

    def piece(self, token: int) -> bytes:
        if token not in self._known:
            (self._known[token],) = self._pieces([token])
        return self._known[token]

    def is_control(self, token: int) -> bool:
        return not self.piece(token)


@dataclass(frozen=True, kw_only=True, slots=True)
class _ReadTokens:
    """A response (or its beginning) with its rows, and the margin of each token."""

    ids: tuple[int, ...]
    rows: TopRows
    margin: NDArray[np.float64]


@dataclass(slots=True)
class _RequestTrial:
    """One provider under one other request: which response is to be read next, and what has come of it."""

    given: ProviderAnswers
    changed: Mapping[str, tuple[int, ...]]
    touched: tuple[str, ...]
    walk: Walk
    wanted: GivenAnswer | None = None
    answers: Sequence[SuspectAnswer] = ()
    refuted: bool = False
    spent: int = 0

    def go_on(self, answer: SuspectAnswer | None) -> None:
        """With what the response that was wanted came to; None to begin."""
        try:
            self.wanted = next(self.walk) if answer is None else self.walk.send(answer)
        except StopIteration as end:
            self.wanted = None
            self.answers, self.refuted = end.value


class SuspectReader:
    """Reads the responses of one run under suspects. `clear_margin`: what no honest rounding explains."""

    def __init__(self, *, reference: str, tokens: Tokens, source: RowSource, exact: bool, clear_margin: float) -> None:
        self._reference, self._tokens, self._source, self._exact = reference, tokens, source, exact
        self._clear = clear_margin
        self._plain: dict[Trial, SuspectAnswer] = {}
        self._rendered: dict[tuple[str, AskedKey], tuple[int, ...] | None] = {}
        self.unread: list[str] = []
        """Suspects that an endpoint could not read, and why; they are tried again the next time."""

    def read_unchanged(self, given: ProviderAnswers) -> SuspectReading:
        """The yardstick: every response under the reference as it is."""
        answers = []
        for one in given.answers:
            answers.append(self._read_answer(self._source, one.asked.ids, one, stop=False))
            self._plain[one.trial] = answers[-1]
        touched = tuple(dict.fromkeys(a.trial.prompt for a in given.answers))
        return self._line(given, UNCHANGED, "unchanged", UNCHANGED, "nothing is changed", touched, answers, False, 0)

    def read_rules(self, given: ProviderAnswers) -> Iterable[SuspectReading]:
        """Rules of the sampler, from the rows of the plain reading. None where only the best token was visible."""
        if not self._exact or not self._count_misses(given):
            return
        order = self._worst_first(given)
        chosen = {
            one.trial: self._list_choices(one, self._read_tokens(self._source, one.asked.ids, one, None))
            for one in order
        }
        for suggest in SAMPLER_RULES:
            for suspect in suggest(list(chosen.values())):
                change = suspect.change

                def read_changed(one: GivenAnswer, change: Callable[[ChosenTokens], Logits] = change) -> SuspectAnswer:
                    return self._judge_rule(one, chosen[one.trial], change)

                answers, refuted = _read_all(self._walk_order(given, order), read_changed)
                touched = tuple(dict.fromkeys(one.trial.prompt for one in order))
                if not refuted:  # where it changes nothing it cannot be told
                    touched = tuple(dict.fromkeys(a.trial.prompt for a in answers if a != self._plain[a.trial]))
                    answers = [a for a in answers if a.trial.prompt in touched]
                yield self._line(
                    given, suspect.name, "sampler", suspect.family, suspect.words, touched, answers, refuted, 0
                )

    def read_requests(
        self,
        given: Sequence[ProviderAnswers],
        suspects: Sequence[RequestSuspect] = REQUEST_SUSPECTS,
        done: Callable[[ProviderAnswers], Container[str]] = lambda _: (),
    ) -> Iterator[SuspectReading]:
        """Other prompts than the ones that were sent; loud ones only where a token is beyond rounding.

        `done` names what needs not be read of a provider.
        """
        asked = [(one, done(one), any(map(self._is_odd, one.answers))) for one in given if self.could_be_beaten(one)]
        for suspect in suspects:
            begun = [
                self._begin_request(one, suspect)
                for one, earlier, odd in asked
                if suspect.name not in earlier and (odd or not suspect.loud)
            ]
            yield from self._read_together(suspect, [trial for trial in begun if trial is not None])

    def read_form(self, given: ProviderAnswers, suspect: FormSuspect, source: RowSource) -> SuspectReading:
        """Another form of the model; where nothing is missed, too: what it would have missed tells the host from it."""
        before, order = source.read_tokens, self._worst_first(given)
        answers, refuted = _read_all(
            self._walk_order(given, order), lambda one: self._read_answer(source, one.asked.ids, one, stop=True)
        )
        touched = tuple(dict.fromkeys(one.trial.prompt for one in order))
        spent = source.read_tokens - before
        return self._line(
            given, suspect.name, suspect.kind, suspect.family, suspect.words, touched, answers, refuted, spent
        )

    def could_be_beaten(self, given: ProviderAnswers) -> bool:
        """Whether anything that is read could explain the responses better than the unchanged reference."""
        return self._count_misses(given) >= MIN_MISSES or any(self._is_odd(one) for one in given.answers)

    # --- inside ---------------------------------------------------------------------------------

    def _begin_request(self, given: ProviderAnswers, suspect: RequestSuspect) -> _RequestTrial | None:
        """None where the suspect cannot be rendered for any prompt."""
        rendered = {one.trial.prompt: self._render_under(suspect, one.asked) for one in given.answers}
        changed = {prompt: ids for prompt, ids in rendered.items() if ids is not None}
        if not changed:
            return None
        touched = tuple(p for p, ids in changed.items() if ids and ids != self._asked_ids(given, p))
        order = [one for one in self._shortest_first(given) if one.trial.prompt in touched]
        trial = _RequestTrial(given=given, changed=changed, touched=touched, walk=self._walk_order(given, order))
        if touched and self._is_refuted_elsewhere(given, touched):
            trial.refuted = True
        elif (known := self._refute_by_book(given, order, changed)) is not None:
            trial.answers, trial.refuted = [known], True
        else:
            trial.go_on(None)
        return trial

    def _is_refuted_elsewhere(self, given: ProviderAnswers, touched: Container[str]) -> bool:
        """Whether a response is beyond rounding whose prompt the suspect leaves as it was: then it explains not all."""
        untouched = (self._plain[one.trial] for one in given.answers if one.trial.prompt not in touched)
        return any(self._refutes(np.asarray(answer.margin), answer.tokens) for answer in untouched)

    def _read_together(self, suspect: RequestSuspect, trials: Sequence[_RequestTrial]) -> Iterator[SuspectReading]:
        """One prompt after another, and behind it the responses of all providers: so it is computed once."""
        unread: set[int] = set()
        while waiting := [t for t in trials if t.wanted is not None and id(t) not in unread]:
            prompt = min(
                (t.changed[t.wanted.trial.prompt] for t in waiting if t.wanted), key=lambda ids: (len(ids), ids)
            )
            for trial in waiting:
                try:
                    self._read_behind(trial, prompt)
                except EngineError as problem:  # of an endpoint: a fault that passes, or tokens it cannot hold
                    self.unread.append(f"{suspect.name}: {problem}")
                    unread.add(id(trial))
        for trial in trials:
            if id(trial) not in unread:
                yield self._line(
                    trial.given,
                    suspect.name,
                    "request",
                    suspect.family,
                    suspect.words,
                    trial.touched,
                    trial.answers,
                    trial.refuted,
                    trial.spent,
                )

    def _read_behind(self, trial: _RequestTrial, prompt: tuple[int, ...]) -> None:
        """What one provider answered to this prompt, as long as that is what is wanted next."""
        while trial.wanted is not None and trial.changed[trial.wanted.trial.prompt] == prompt:
            before = self._source.read_tokens
            known = self._refute_answer(trial.wanted, prompt)  # by what another provider's text has just shown
            answer = known or self._read_answer(self._source, prompt, trial.wanted, stop=True)
            trial.spent += self._source.read_tokens - before
            trial.go_on(answer)

    def _render_under(self, suspect: RequestSuspect, asked: AskedPrompt) -> tuple[int, ...] | None:
        """A prompt as the suspect has it, once for all who were asked it; None where it cannot be rendered."""
        key = (suspect.name, (asked.messages, asked.ids))
        if key not in self._rendered:
            try:
                self._rendered[key] = tuple(suspect.change(asked))
            except EngineError:
                self._rendered[key] = None
        return self._rendered[key]

    def _refute_by_book(
        self, given: ProviderAnswers, order: Sequence[GivenAnswer], changed: Mapping[str, tuple[int, ...]]
    ) -> SuspectAnswer | None:
        """A response that rows which are known already refute, of a mixture one of its odd ones; it costs nothing.

        What another provider's text showed of a suspect says what the model would write under it, so that most texts
        that it would not have written are seen at their first tokens.
        """
        odd = [one for one in order if self._is_odd(one)]
        tried = (
            self._refute_answer(one, changed[one.trial.prompt]) for one in (odd if given.varied and odd else order)
        )
        return next((answer for answer in tried if answer is not None), None)

    def _refute_answer(self, one: GivenAnswer, prompt: Sequence[int]) -> SuspectAnswer | None:
        """Where the rows that are known say that these are not its first tokens."""
        rows = self._source.find_known_rows(prompt, one.ids[:_FIRST_TOKENS])
        ids = one.ids[: rows.ids.shape[0]]
        if not ids:
            return None
        margin = self._margins(rows, ids, False, floor=rows.logits[:, -1])
        at = int((margin > self._clear).argmax())
        if margin[at] <= 2 * self._clear:
            return None
        if not one.fixed and any(self._list_untried_cuts(one.ids, at, rows.ids, rows.logits, {one.ids})):
            return None
        return self._answer(one, prompt, ids, margin, whole=False)

    @staticmethod
    def _asked_ids(given: ProviderAnswers, prompt: str) -> tuple[int, ...]:
        return next(one.asked.ids for one in given.answers if one.trial.prompt == prompt)

    def _walk_order(self, given: ProviderAnswers, order: Sequence[GivenAnswer]) -> Walk:
        """Responses one after another, until one refutes the suspect: all of them, or of a mixture its odd ones."""
        answers: list[SuspectAnswer] = []
        if given.varied:
            odd = [one for one in order if self._is_odd(one)]
            for count, one in enumerate(odd, start=1):
                answers.append((yield one))
                if count == _ODD_TRIED and not any(a.whole for a in answers):
                    return answers, True
            if not all(a.whole for a in answers):
                return answers, True
            order = [one for one in order if not self._is_odd(one)]
        for one in order:
            answers.append((yield one))
            if not answers[-1].whole:
                return answers, True
        return answers, False

    def _read_answer(self, source: RowSource, prompt: Sequence[int], one: GivenAnswer, *, stop: bool) -> SuspectAnswer:
        """A response under a prompt; with `stop` no further than its first tokens where these refute it."""
        if stop and len(one.ids) > _FIRST_TOKENS:
            begun = self._read_tokens(source, prompt, one, _FIRST_TOKENS)
            if self._refutes(begun.margin, begun.margin.size):
                return self._answer(one, prompt, begun.ids, begun.margin, whole=False)
        read = self._read_tokens(source, prompt, one, None)
        whole = not (stop and self._refutes(read.margin, read.margin.size))
        return self._answer(one, prompt, read.ids, read.margin, whole=whole)

    def _list_choices(self, one: GivenAnswer, read: _ReadTokens) -> ChosenTokens:
        return ChosenTokens(
            prompt=one.asked.ids,
            tokens=read.ids,
            ended=one.ended,
            end_ids=self._tokens.end_ids,
            ids=read.rows.ids,
            logits=read.rows.logits,
            piece=self._tokens.piece,
        )

    def _judge_rule(
        self, one: GivenAnswer, chosen: ChosenTokens, change: Callable[[ChosenTokens], Logits]
    ) -> SuspectAnswer:
        """In the cut that the rule would have written it in: what may not be repeated is written in other tokens."""
        logits = change(chosen)
        margin = self._margins(
            TopRows(ids=chosen.ids, logits=logits), chosen.tokens, one.ended, floor=chosen.logits[:, -1]
        )
        at, tried = 0, {tuple(chosen.tokens)}
        while not one.fixed and len(tried) <= CUTS_TRIED and self._refutes(margin, margin.size):
            found = next((i for i in range(at, margin.size) if margin[i] > self._clear), None)
            if found is None:
                break
            at = found + 1
            for place, cut in self._list_untried_cuts(chosen.tokens, found, chosen.ids, logits, tried):
                other = self._list_choices(one, self._read_cut(self._source, one.asked.ids, cut, one.ended))
                changed = change(other)
                rows = TopRows(ids=other.ids, logits=changed)
                narrower = self._margins(rows, other.tokens, one.ended, floor=other.logits[:, -1])
                if narrower.sum() < margin.sum():
                    chosen, logits, margin, at = other, changed, narrower, place + 1
                    break
        whole = not self._refutes(margin, margin.size)
        return self._answer(one, one.asked.ids, chosen.tokens, margin, whole=whole)

    def _refutes(self, margin: NDArray[np.float64], tokens: int) -> bool:
        """One token that no rounding explains, or of so many tokens two that hardly any does."""
        return bool((margin > 2 * self._clear).any() or (margin > self._clear).sum() > 1 + tokens / 1000)

    def _read_tokens(
        self, source: RowSource, prompt: Sequence[int], one: GivenAnswer, limit: int | None
    ) -> _ReadTokens:
        """A response in the cut that this suspect would have written it in, if that can be told.

        Where the text may be cut into tokens in two ways and what the suspect would choose at a clear miss or shortly
        before it, up to rounding, begins the very text that follows, that cut is tried. Cutting by the unchanged
        reference alone would refute true suspects.
        """
        ids = one.ids[:limit]
        ended = one.ended and len(ids) == len(one.ids)
        read = self._read_cut(source, prompt, ids, ended)
        if one.fixed:
            return read
        at, tried = 0, {tuple(ids)}
        while len(tried) <= CUTS_TRIED:
            found = next((i for i in range(at, read.margin.size) if read.margin[i] > self._clear), None)
            if found is None:
                break
            at = found + 1
            for place, cut in self._list_untried_cuts(read.ids, found, read.rows.ids, read.rows.logits, tried):
                other = self._read_cut(source, prompt, cut, ended)
                if other.margin.sum() < read.margin.sum():
                    read, at = other, place + 1
                    break
        return read

    def _list_untried_cuts(
        self,
        ids: Sequence[int],
        found: int,
        choices: NDArray[np.int32],
        logits: NDArray[np.float32],
        tried: set[tuple[int, ...]],
    ) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Other cuts that may explain a clear miss, each with the place where it begins; `tried` gets those taken."""
        for place in list_places_back(found, len(ids)):
            for cut in self._list_other_cuts(ids, place, choices[place], logits[place]):
                if cut not in tried and len(tried) <= CUTS_TRIED:
                    tried.add(cut)
                    yield place, cut

    def _list_other_cuts(
        self, ids: Sequence[int], at: int, choices: NDArray[np.int32], logits: NDArray[np.float32]
    ) -> list[tuple[int, ...]]:
        """The same text with another token at a place: each that rounding could have made the choice there."""
        rest, cuts = b"".join(map(self._tokens.piece, ids[at:])), []
        for near in np.argsort(-logits, kind="stable"):
            if logits[near] < logits.max() - self._clear:
                break
            choice = int(choices[near])
            begun = self._tokens.piece(choice)
            if choice != ids[at] and begun and rest.startswith(begun):
                with contextlib.suppress(UnicodeDecodeError):
                    cuts.append((*ids[:at], choice, *self._tokens.tokenize(rest[len(begun) :].decode())))
        return cuts

    def _read_cut(self, source: RowSource, prompt: Sequence[int], ids: tuple[int, ...], ended: bool) -> _ReadTokens:
        rows = source.find_rows(prompt, ids, ended=ended)
        return _ReadTokens(ids=ids, rows=rows, margin=self._margins(rows, ids, ended, floor=rows.logits[:, -1]))

    def _margins(
        self, rows: TopRows, ids: Sequence[int], ended: bool, *, floor: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """Best logit less the token's own; of a token that is not among the best ones, at least that."""
        best = rows.logits.max(axis=1)
        own = np.where(rows.ids[: len(ids)] == np.asarray(ids, np.int32)[:, None], rows.logits[: len(ids)], -np.inf)
        found = own.max(axis=1, initial=-np.inf)
        if ended:
            ends = np.where(np.isin(rows.ids[-1], self._tokens.end_ids), rows.logits[-1], -np.inf)
            found = np.append(found, ends.max(initial=-np.inf))
        known = np.where(np.isneginf(found), floor[: found.size], found)
        return np.asarray(np.maximum(0.0, (best[: known.size] - known).astype(np.float64)))

    def _answer(
        self, one: GivenAnswer, prompt: Sequence[int], ids: Sequence[int], margin: NDArray[np.float64], *, whole: bool
    ) -> SuspectAnswer:
        sizes = [len(self._tokens.piece(t)) for t in ids]
        begins = np.concatenate([[0], np.cumsum(sizes)]).astype(int)
        missed = np.flatnonzero(margin > 0)
        return SuspectAnswer(
            trial=one.trial,
            prompt_tokens=len(prompt),
            tokens=int(margin.size),
            missed=tuple(int(begins[i]) for i in missed),
            margin=tuple(round(float(margin[i]), 4) for i in missed),
            whole=whole,
        )

    def _line(
        self,
        given: ProviderAnswers,
        name: str,
        kind: SuspectKind,
        family: str,
        words: str,
        touched: tuple[str, ...],
        answers: Sequence[SuspectAnswer],
        refuted: bool,
        spent: int,
    ) -> SuspectReading:
        return SuspectReading(
            reference=self._reference,
            provider=given.provider,
            condition=given.condition,
            suspect=name,
            kind=kind,
            family=family,
            words=words,
            touched=touched,
            answers=tuple(answers),
            refuted=refuted,
            read_tokens=spent,
        )

    def _count_misses(self, given: ProviderAnswers) -> int:
        return sum(len(self._plain[one.trial].missed) for one in given.answers)

    def _is_odd(self, one: GivenAnswer) -> bool:
        return max(self._plain[one.trial].margin, default=0.0) > self._clear

    def _worst_first(self, given: ProviderAnswers) -> list[GivenAnswer]:
        """Odd responses first, of those the ones with short prompts: they refute for the least."""

        def order(one: GivenAnswer) -> tuple[bool, bool, int, Trial]:
            return (not self._is_odd(one), not self._plain[one.trial].missed, len(one.asked.ids), one.trial)

        return sorted(given.answers, key=order)

    def _shortest_first(self, given: ProviderAnswers) -> list[GivenAnswer]:
        """One order for all providers, who are read together; of a mixture it is the odd responses that tell."""
        if given.varied:
            return self._worst_first(given)
        return sorted(given.answers, key=lambda one: (len(one.asked.ids), one.trial))


def _read_all(walk: Walk, read: Callable[[GivenAnswer], SuspectAnswer]) -> tuple[list[SuspectAnswer], bool]:
    """One provider by itself."""
    try:
        wanted = next(walk)
        while True:
            wanted = walk.send(read(wanted))
    except StopIteration as end:
        answers, refuted = end.value
        return answers, refuted
