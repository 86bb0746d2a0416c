"""What a host gave of first tokens and a direction pack in, how far it stands from the float32 reference out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tempzero.answers.first_tokens import FirstToken, count_decimals
from tempzero.precision.packs import DirectionPack, PackPrompt

Matrix = NDArray[np.float64]
# What some hosts write for a blank and for the end of a line: the alphabet of byte-level tokenizers.
_BYTE_LEVEL = {"\u0120": " ", "\u010a": "\n", "\u2581": " "}
# Of a whole distribution the likeliest 20 tokens hold less than all; a host that renormalises makes them all.
_WHOLE = 1e-4


@dataclass(frozen=True, kw_only=True, slots=True)
class Displacement:
    """A row a prompt of the pack, a column a token of it; NaN where the host gave nothing.

    `by` is the host's log-probability minus the reference's, over all repeats of the prompt their mean. `known` of the
    `given` candidates are tokens that the pack knows; `floored` ones had a number that stands for none.
    """

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
        return int((~np.isnan(self.by)).any(axis=1).sum())


def measure_displacement(pack: DirectionPack, answers: Mapping[str, Sequence[FirstToken]]) -> Displacement:
    """Hold what a host gave, by the id of the prompt, against the pack's reference."""
    rows = np.full(pack.logprobs.shape, np.nan)
    known = given = 0
    for row, prompt, reference in zip(rows, pack.prompts, pack.logprobs, strict=True):
        columns = _TokenColumns(prompt)
        found: dict[int, list[float]] = {}
        for answer in answers.get(prompt.id, ()):
            given += len(answer.candidates)
            for one in answer.candidates:
                column = columns.find(one.token, one.token_id)
                if column is not None:
                    known += 1
                    found.setdefault(column, []).append(one.logprob)
        for column, values in found.items():
            row[column] = float(np.mean(values)) - reference[column]
    every = [answer for prompt in pack.prompts for answer in answers.get(prompt.id, ())]
    sums = [sum(np.exp(c.logprob) for c in answer.candidates) for answer in every]
    tops = [answer.candidates[0].logprob for answer in every]
    return Displacement(
        by=rows,
        known=known,
        given=given,
        floored=sum(answer.floored for answer in every),
        decimals=count_decimals(c.logprob for answer in every for c in answer.candidates),
        most_candidates=max((len(answer.candidates) for answer in every), default=0),
        renormalised=bool(every) and bool(np.median(np.abs(np.array(sums) - 1)) < _WHOLE),
        certain=bool(every) and float(np.median(tops)) > -1e-3 and float(np.median(pack.logprobs[:, 0])) < -0.05,
    )


class _TokenColumns:
    """Which column of a prompt a token has: by its id where the host says it, else by its bytes."""

    def __init__(self, prompt: PackPrompt) -> None:
        self._by_id = {token_id: column for column, token_id in enumerate(prompt.token_ids)}
        self._bytes = prompt.tokens
        places: dict[bytes, int | None] = {}
        for column, token in enumerate(prompt.tokens):
            places[token] = None if token in places else column  # two tokens of one text cannot be told apart
        self._by_bytes = {token: place for token, place in places.items() if place is not None and token}

    def find(self, token: bytes, token_id: int | None) -> int | None:
        column = self._by_id.get(token_id) if token_id is not None else None
        if column is not None and token in (self._bytes[column], b"token_id:%d" % (token_id or 0)):
            return column
        if column is not None and not self._bytes[column]:
            return column  # a control token: hosts differ in whether they write its name
        found = self._by_bytes.get(token)
        return found if found is not None else self._by_bytes.get(_from_byte_level(token))


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
