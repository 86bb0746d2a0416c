"""Numbers in rows of which several are of one prompt in, sums by prompt and shuffles of prompts out.

What a host's places of one answer have in common is no evidence twice: whatever is counted is counted by prompt, and
whole prompts are shuffled, each place against the same place of another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
SHUFFLES = 1_999
"""So many at once; where none of them is as good more are drawn, as the hosts that share a run's budget need them."""
_SEED = 21
_RIDGE = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptRows:
    """Of each row which prompt it is of, in order, and which place of that prompt's answer."""

    prompts: NDArray[np.int64]
    places: NDArray[np.int64]

    def pick(self, rows: NDArray[np.int64]) -> PromptRows:
        """Of these rows alone, in order."""
        return PromptRows(prompts=self.prompts[rows], places=self.places[rows])

    def find_common(self, told: Matrix) -> NDArray[np.int64]:
        """Of the rows that have a number those of places that at least a third of the prompts have.

        A few long answers among short ones would weigh all: what interval and chance then say is not what they promise.
        """
        there = np.asarray((~np.isnan(told)).any(axis=1))
        prompts = len(np.unique(self.prompts[there]))
        reached = np.bincount(self.places[there], minlength=int(self.places.max(initial=0)) + 1)
        return np.flatnonzero(there & (3 * reached[self.places] >= prompts))

    def count(self) -> int:
        """Prompts that have a row."""
        return len(np.unique(self.prompts))

    def sum_by_prompt(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Over the last axis, which is one of rows."""
        starts = np.flatnonzero(np.r_[True, self.prompts[1:] != self.prompts[:-1]])
        summed: NDArray[np.float64] = np.add.reduceat(values, starts, axis=-1)
        return summed

    def layers(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """For each place the prompts that have it, numbered from 0, and their rows."""
        _, numbered = np.unique(self.prompts, return_inverse=True)
        for place in np.unique(self.places):
            rows = np.flatnonzero(self.places == place)
            yield numbered[rows], rows


def count_shuffles_as_good(rows: PromptRows, host: Matrix, forms: Sequence[Matrix], seen: float, most: int) -> float:
    """The share of shuffles in which the best of all forms correlates as well: a p value.

    Each prompt of the host is held against another prompt's directions, token by token in the order of likelihood: what
    all prompts have in common (flatter or steeper distributions) stays, and explains nothing. Where one of the two has
    a place that the other has not, the place is left out of both. Until one shuffle is as good further ones are drawn,
    up to `most`: an honest host's are mostly decided by the first.
    """
    layers, prompts = list(rows.layers()), rows.count()
    own, draw = np.arange(prompts), np.random.default_rng(_SEED)
    whole = all(len(there) == prompts for there, _ in layers)
    products = [_multiply_prompts(layers, prompts, host, moved) for moved in forms]
    of_host = _measure_met(layers, prompts, host)
    of_forms = [_measure_met(layers, prompts, moved).T for moved in forms]
    drawn = as_good = 0
    while not drawn or (not as_good and drawn < most):
        orders = np.argsort(draw.random((SHUFFLES, prompts)), axis=1)
        best = np.full(SHUFFLES, -np.inf)
        energy = float((host**2).sum()) if whole else of_host[own, orders].sum(axis=1)
        for product, met, moved in zip(products, of_forms, forms, strict=True):
            along = float((moved**2).sum()) if whole else met[own, orders].sum(axis=1)
            sizes = np.sqrt(energy * along)
            sums = product[own, orders].sum(axis=1)
            best = np.maximum(best, np.divide(sums, sizes, out=np.zeros(SHUFFLES), where=sizes > 0))
        as_good += int((best >= seen - 1e-12).sum())
        drawn += SHUFFLES
    return (1 + as_good) / (1 + drawn)


_Layers = Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]


def _multiply_prompts(layers: _Layers, prompts: int, one: Matrix, other: Matrix) -> Matrix:
    """Of each prompt of the one with each of the other, over the places that both have."""
    found = np.zeros((prompts, prompts))
    for there, rows in layers:
        found[np.ix_(there, there)] += one[rows] @ other[rows].T
    return found


def _measure_met(layers: _Layers, prompts: int, values: Matrix) -> Matrix:
    """The square of what each prompt has at the places that another has as well: a row a prompt."""
    found = np.zeros((prompts, prompts))
    for there, rows in layers:
        found[np.ix_(there, there)] += (values[rows] ** 2).sum(axis=1)[:, None]
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedTokens:
    """Of each number which token it is of, for tokens that stand in several rows; -1: of none of them.

    `there` is where a number is, `centred` whether each row is less its mean. `fitting` solves for a number of each
    token: the normal equations, from which the rows' means are eliminated.
    """

    marks: NDArray[np.int64]
    there: NDArray[np.bool_]
    centred: bool
    fitting: NDArray[np.float64]

    @classmethod
    def find(cls, tokens: NDArray[np.int64], there: NDArray[np.bool_], *, centred: bool) -> SharedTokens:
        """Of the tokens at each number."""
        seen, numbered, counts = np.unique(tokens[there], return_inverse=True, return_counts=True)
        several = np.flatnonzero(counts > 1)
        new = np.full(len(seen), -1)
        new[several] = np.arange(len(several))
        marks = np.full(tokens.shape, -1)
        marks[there] = new[numbered]
        gram = np.diag(counts[several].astype(float))
        if centred:
            rows, _ = np.nonzero(marks >= 0)
            standing = np.zeros((len(tokens), len(several)))
            np.add.at(standing, (rows, marks[marks >= 0]), 1.0)
            gram -= (standing / np.maximum(there.sum(axis=1), 1)[:, None]).T @ standing
        # Of tokens that always stand together one says what the others say: a trace of a ridge parts them.
        fitting: NDArray[np.float64] = np.linalg.inv(gram + _RIDGE * np.eye(len(several))).astype(np.float64)
        return cls(marks=marks, there=there, centred=centred, fitting=fitting)

    def take_off(self, values: Matrix) -> Matrix:
        """Without what tokens have in common wherever they stand: the least-squares fit of a number for each."""
        if not len(self.fitting):
            return values
        marked = self.marks >= 0
        at = self.marks[marked]
        told = np.bincount(at, values[marked], len(self.fitting))
        fitted = np.zeros_like(values)
        fitted[marked] = (self.fitting @ told)[at]
        if self.centred:
            means = fitted.sum(axis=1, keepdims=True) / np.maximum(self.there.sum(axis=1, keepdims=True), 1)
            fitted -= np.where(self.there, means, 0.0)
        left: Matrix = values - fitted
        return left
