"""What a host gave of first tokens and a direction pack in, how far it stands from the float32 reference out.

Further tokens of an answer count as long as it goes on as the reference's does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tempzero.answers.first_tokens import FirstToken, TokenLogprob, count_decimals
from tempzero.precision.packs import DirectionPack, PackPlace
from tempzero.precision.prompt_rows import PromptRows

Matrix = NDArray[np.float64]
# What some hosts write for a blank and for the end of a line: the alphabet of byte-level tokenizers.
_BYTE_LEVEL = {"\u0120": " ", "\u010a": "\n", "\u2581": " "}
# Of a whole distribution the likeliest 20 tokens hold less than all; a host that renormalises makes them all.
_WHOLE, _NEARLY_WHOLE = 1e-4, 0.99
# The reference's likeliest token has less than nearly all the probability; a host's has all of it.
_OPEN, _CERTAIN = -0.05, -1e-3


@dataclass(frozen=True, kw_only=True, slots=True)
class Displacement:
    """The rows and columns of the pack; NaN where the host gave nothing, or had left the reference's answer before.

    `by` is the host's log-probability minus the reference's, over all repeats of the prompt their mean. `known` of the
    `given` candidates are tokens that the pack knows; `floored` ones had a number that stands for none.
    """

    rows: PromptRows
    by: Matrix
    known: int
    given: int
    floored: int
    decimals: int | None
    most_candidates: int
    renormalised: bool
    """The log-probabilities are of the candidates alone: they add up to one where the reference's do not."""
    certain: bool
    """One token had all the probability on most prompts: a distribution sampled at temperature 0, not the model's."""

    @property
    def prompts(self) -> int:
        """Prompts with at least one token known."""
        return self.rows.pick(self._told_rows()).count()

    @property
    def places(self) -> int:
        """Places of answers with at least one token known."""
        return len(self._told_rows())

    def _told_rows(self) -> NDArray[np.int64]:
        return np.flatnonzero((~np.isnan(self.by)).any(axis=1))


def measure_displacement(pack: DirectionPack, answers: Mapping[str, Sequence[Sequence[FirstToken]]]) -> Displacement:
    """Hold what a host gave against the pack's reference: by the prompt's id the first tokens of each response."""
    by, known, met = np.full(pack.logprobs.shape, np.nan), 0, list[tuple[int, FirstToken]]()
    start, blurred = 0, _find_blurred(answers)
    for prompt in pack.prompts:
        columns = [_TokenColumns(place, blurred=blurred) for place in prompt.places]
        found: dict[tuple[int, int], list[float]] = {}
        for answer in answers.get(prompt.id, ()):
            for row, (place, told) in enumerate(zip(columns, answer, strict=False), start=start):
                met.append((row, told))
                placed = [(place.find(one.token, one.token_id), one.logprob) for one in told.candidates]
                often = Counter(column for column, _ in placed)
                for column, logprob in placed:
                    if column is not None and often[column] == 1:  # two of one text: nobody knows which is which
                        known += 1
                        found.setdefault((row, column), []).append(logprob)
                if told.chosen is None or not place.goes_on_with(told.chosen):
                    break
        for (row, column), values in found.items():
            by[row, column] = float(np.mean(values)) - pack.logprobs[row, column]
        start += len(columns)
    every = [told for _, told in met]
    return Displacement(
        rows=pack.rows,
        by=by,
        known=known,
        given=sum(len(told.candidates) for told in every),
        floored=sum(told.floored for told in every),
        decimals=count_decimals(c.logprob for told in every for c in told.candidates),
        most_candidates=max((len(told.candidates) for told in every), default=0),
        renormalised=_is_renormalised(pack, met),
        certain=_is_always_certain(pack, met),
    )


def _find_blurred(answers: Mapping[str, Sequence[Sequence[FirstToken]]]) -> bool:
    """Whether a host writes tokens without their blanks: two candidates of one text say so."""
    every = (told for given in answers.values() for answer in given for told in answer)
    texts = ([(c.token, c.token_id) for c in told.candidates if c.token.strip()] for told in every)
    return any(len(set(named)) < len(named) for named in texts)


def _is_renormalised(pack: DirectionPack, met: Sequence[tuple[int, FirstToken]]) -> bool:
    """Whether a host's candidates add up to one where as many of the reference's likeliest do not nearly."""
    sums = [
        sum(np.exp(c.logprob) for c in told.candidates)
        for row, told in met
        if np.exp(pack.logprobs[row, : len(told.candidates)]).sum() < _NEARLY_WHOLE
    ]
    return bool(sums) and bool(np.median(np.abs(np.array(sums) - 1)) < _WHOLE)


def _is_always_certain(pack: DirectionPack, met: Sequence[tuple[int, FirstToken]]) -> bool:
    """Whether one token has all the probability where the reference's likeliest has not."""
    tops = [told.candidates[0].logprob for row, told in met if pack.logprobs[row, 0] < _OPEN]
    return bool(tops) and float(np.median(tops)) > _CERTAIN


class _TokenColumns:
    """Which column of a place a token has: by its id where the host says it, else by its bytes.

    Those of a host whose tokens are `blurred` are known only where no other token is the same but for blanks. A text
    that may be what is left of a token with a part of a character is nobody's.
    """

    def __init__(self, place: PackPlace, *, blurred: bool) -> None:
        self._by_id = {token_id: column for column, token_id in enumerate(place.token_ids)}
        self._bytes, self._blurred = place.tokens, blurred
        columns: dict[bytes, int | None] = {}
        for column, token in enumerate(place.tokens):
            text = token.strip() if blurred else token
            columns[text] = None if text in columns else column  # two tokens of one text cannot be told apart
        whole = (token.decode(errors="ignore").encode() for token in place.tokens)
        columns |= {left: None for left, token in zip(whole, place.tokens, strict=True) if left != token}
        self._by_bytes = {token: column for token, column in columns.items() if column is not None and token}

    def find(self, token: bytes, token_id: int | None) -> int | None:
        column = self._by_id.get(token_id) if token_id is not None else None
        if column is not None and token in (self._bytes[column], b"token_id:%d" % (token_id or 0)):
            return column
        if column is not None and not self._bytes[column]:
            return column  # a control token: hosts differ in whether they write its name
        if self._blurred:
            return self._by_bytes.get(token.strip())
        found = self._by_bytes.get(token)
        return found if found is not None else self._by_bytes.get(_from_byte_level(token))

    def goes_on_with(self, chosen: TokenLogprob) -> bool:
        """Whether it is the reference's own choice, be its text another token's as well."""
        same = not self._blurred and chosen.token == self._bytes[0] != b""
        return same or self.find(chosen.token, chosen.token_id) == 0


def _from_byte_level(token: bytes) -> bytes:
    text = token.decode("utf-8", "replace")
    for written, meant in _BYTE_LEVEL.items():
        text = text.replace(written, meant)
    return text.encode()


def centre_rows(values: Matrix) -> Matrix:
    """Each row minus its mean over what is there; a row with one value says nothing then, and becomes NaN."""
    counts = (~np.isnan(values)).sum(axis=1, keepdims=True)
    sums = np.nansum(values, axis=1, keepdims=True)
    centred = values - sums / np.maximum(counts, 1)
    return np.where(counts > 1, centred, np.nan)


def root_mean_square(values: Matrix) -> float:
    """Over what is there; 0 where nothing is."""
    there = values[~np.isnan(values)]
    return float(np.sqrt(np.mean(there**2))) if there.size else 0.0
