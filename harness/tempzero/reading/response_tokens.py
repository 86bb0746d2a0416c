"""A recorded response and a reference in, the tokens that the reference is to read out, as its model wrote them.

A text can be cut into tokens in several ways, and reasoning that came apart stood between marks that nobody recorded.
Both are settled by what the reference finds likelier.
"""

from __future__ import annotations

import codecs
import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tempzero.errors import EngineError
from tempzero.metrics import decoding
from tempzero.reading.references import ReferenceModel
from tempzero.reading.written_reasoning import WrittenForm, list_written_forms
from tempzero.types.asked import Trial
from tempzero.types.recorded import Completion

# Reasons to stop with which a model ends its turn by itself.
_ENDED = ("stop", "end_turn", "eos", "eos_token")
CUTS_TRIED = 4
"""How many other cuts of one text are read."""
_PLACES_BACK = 3
# A model that writes think tags is sure of them: beyond this margin it writes something else there.
_TAG_MARGIN = 3.0
_FORM_TRIES = 3
_PROMPT_END_TOKENS = 12  # enough to hold an opened think tag and the blanks behind it


@dataclass(frozen=True, kw_only=True, slots=True)
class ResponseTokens:
    """A response as token ids, without the one that ends the turn."""

    ids: tuple[int, ...]
    source: Literal["provider", "text"]
    round_trip: bool
    ended: bool


class ResponseCutter:
    """Cuts the responses of one run; how each provider writes its reasoning is learnt on the way."""

    def __init__(self, model: ReferenceModel) -> None:
        self._model = model
        self._written: dict[tuple[str, str], WrittenForm] = {}
        self._tries: dict[tuple[str, str], int] = {}

    def cut_response(self, trial: Trial, given: Completion, prompt: Sequence[int]) -> ResponseTokens:
        """EngineError: these tokens cannot be had, or its reasoning was written in no known way."""
        return self._find_tokens(self._join_reasoning(trial, given, prompt))

    def settle_tokens(
        self, prompt: Sequence[int], standings: decoding.TokenStandings, ended: bool
    ) -> tuple[decoding.TokenStandings, int]:
        """Where a text can be cut into tokens in two ways, the way that the reference finds likelier.

        A model does not always write a text in the tokens that the tokenizer would cut it into. At a
        clear miss, or shortly before one, where what the reference would choose, up to rounding, begins the very text
        that follows, that cut is read too. Gives how often it was taken.
        """
        at = taken = 0
        tried = {standings.token_ids[: len(standings.token_ids) - ended]}
        while len(tried) <= CUTS_TRIED:
            ids = standings.token_ids[: len(standings.token_ids) - ended]
            found = next((i for i, m in enumerate(standings.margin) if i >= at and m > decoding.NEAR_CHOICE), None)
            if found is None:
                break
            at = found + 1
            for place in list_places_back(found, len(ids)):
                other = self._read_likelier_cut(prompt, standings, ended, place, tried)
                if other is not None:
                    standings, taken, at = other, taken + 1, place + 1
                    break
        return standings, taken

    def _read_likelier_cut(
        self,
        prompt: Sequence[int],
        standings: decoding.TokenStandings,
        ended: bool,
        place: int,
        tried: set[tuple[int, ...]],
    ) -> decoding.TokenStandings | None:
        """The text with another token at a place, if the reference finds that likelier; `tried` gets what was read."""
        ids = standings.token_ids[: len(standings.token_ids) - ended]
        for cut in self._list_cuts(standings.choices[place], ids[place:]):
            tokens = (*ids[:place], *cut)
            if tokens in tried or len(tried) > CUTS_TRIED:
                continue
            tried.add(tokens)
            other = self._model.read(prompt, tokens, ended=ended)
            if sum(other.logprob) > sum(standings.logprob):
                return other
        return None

    def _list_cuts(self, choices: Sequence[int], rest: Sequence[int]) -> list[tuple[int, ...]]:
        """The text of `rest` as tokens of which the first is another one of `choices`, where it begins that text."""
        text = b"".join(self._model.pieces(rest))
        cuts = []
        for choice, begun in zip(choices, self._model.pieces(choices), strict=True):
            if choice != rest[0] and begun and text.startswith(begun) and _is_decodable(text[len(begun) :]):
                cuts.append((choice, *self._model.tokenize(text[len(begun) :].decode())))
        return cuts

    def decode_tokens(self, token_ids: Sequence[int]) -> str:
        """The text that these tokens are."""
        return codecs.getincrementaldecoder("utf-8")("replace").decode(b"".join(self._model.pieces(token_ids)))

    def list_character_ends(self, token_ids: Sequence[int]) -> tuple[int, ...]:
        """How many characters stand complete after each token."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        ends, written = [], 0
        for piece in self._model.pieces(token_ids):
            written += len(decoder.decode(piece))
            ends.append(written)
        return tuple(ends)

    def _join_reasoning(self, trial: Trial, given: Completion, prompt: Sequence[int]) -> Completion:
        """The answer as the model wrote it, where its reasoning came apart and nobody told its tokens.

        How its model writes reasoning is found out from the first answers of each provider. EngineError: in no known
        way, so that it would be read as something that was never written.
        """
        if given.reasoning_text is None or given.token_ids is not None:
            return given
        if not given.text:  # cut within its reasoning: nothing is known to stand behind it
            known = self._written.get((trial.provider, trial.condition)) or self._list_forms(prompt)[0]
        else:
            known = self._find_written_form(trial, given, prompt)
        return replace(given, text=known.join(given.reasoning_text, given.text), reasoning_text=None)

    def _find_written_form(self, trial: Trial, given: Completion, prompt: Sequence[int]) -> WrittenForm:
        """The likeliest form, provided that the model would write its tags so."""
        key = (trial.provider, trial.condition)
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
        for end, margin in zip(self.list_character_ends(standings.token_ids), standings.margin, strict=True):
            if margin > _TAG_MARGIN and any(begin < span.stop and end > span.start for span in inside):
                return False
            begin = end
        return True

    def _list_forms(self, prompt: Sequence[int]) -> tuple[WrittenForm, ...]:
        if self._model.written is not None:
            return (self._model.written,)
        end = b"".join(self._model.pieces(prompt[-_PROMPT_END_TOKENS:])).decode("utf-8", "replace")
        return list_written_forms(end)

    def _find_tokens(self, completion: Completion) -> ResponseTokens:
        """The provider's own token ids where it gave them and they are this vocabulary's, else the text's."""
        ended = completion.finish_reason in _ENDED
        if completion.token_ids:
            given = [t for t in completion.token_ids if t not in self._model.end_ids]
            text = self._decode_given_tokens(given)
            if text is not None and (completion.reasoning_text is not None or text == completion.text):
                return ResponseTokens(ids=tuple(given), source="provider", round_trip=True, ended=ended)
        text = completion.text if ended else completion.text.rstrip("\ufffd")  # a cut within a character
        ids = self._model.tokenize(text)
        round_trip = self.decode_tokens(ids) == text
        if not ended and len(ids) > 1 and self._model.pieces(ids[-1:])[0] in self._begun_pieces:
            ids.pop()
        return ResponseTokens(ids=tuple(ids), source="text", round_trip=round_trip, ended=ended)

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
            return self.decode_tokens(token_ids)
        except EngineError:
            return None


def list_places_back(found: int, tokens: int) -> range:
    """The place of a clear miss, then those before it at which a token of another length may have brought it about.

    Of a text of so many tokens; a miss right behind them is that of its end.
    """
    return range(min(found, tokens - 1), max(found - _PLACES_BACK, 0) - 1, -1)


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
