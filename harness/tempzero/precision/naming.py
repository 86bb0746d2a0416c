"""A host's displacement and a pack's directions in, the form that it stands in out, or that it is none of them.

The host's displacement is regressed on directions, one added after another while a shuffle of prompts cannot explain
what it adds and its lower bound, clustered by prompt, says that enough of it is there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tempzero.precision.displacement import Matrix, centre_rows, root_mean_square
from tempzero.precision.packs import Direction, DirectionPack
from tempzero.stats.intervals import t_half_width

FALSE_NAME_ALPHA = 0.005
"""The chance to name a form for a host that stands in none: its part of a run's budget of .05 (docs/fingerprint.md)."""
BOUND_ALPHA = 0.05
"""Either bound of a strength misses the truth so often; the chance to name wrongly is held by the shuffles."""
LEAST_STRENGTH = 0.5
"""A form is ruled out where its coefficient's upper bound lies below this."""
NAMED_STRENGTH = 0.4
"""A form is named only where its coefficient's lower bound lies above this."""
MOST_STRENGTH = 2.0
"""An interval that reaches beyond this says too little of the form: a tiny one fits anything, many times itself."""
LEAST_CORRELATION = 0.4
"""Forms of one width have something in common (.26 was seen): a named one explains a sixth of the displacement."""
LEAST_BESIDE_OTHERS, LEAST_BESIDE_UNKNOWN = 0.7, 0.9
"""Half of it, where what it leaves is more than 16-bit rounding and its own scatter, and another form with it explains
that; four fifths of it where none does: of something that nobody knows it may be no more than the likest."""
LEAST_PROMPTS = 6
"""Fewer can be shuffled in too few ways for the error that is promised."""
SHUFFLES = 1_999
"""So many at once; where none of them is as good more are drawn, as the hosts that share a run's budget need them."""
_SHUFFLES_OF_EACH, _MOST_SHUFFLES = 1_000, 200_000
_MOST_FORMS = 3
_RIVAL_ALPHA = 0.01
_SEED = 21
_LEAST_SCATTER = 0.6
"""Of 150 hosts in FP8 W8A8, six prompts with five log-probabilities each, one lay nearer to a form than this share."""
_NEGLIGIBLE = 1e-3  # rms, nats: a form that moves less than this is the reference itself


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedForm:
    """A form found in a host. `strength` 1: just as the pack's copy is moved. `rivals` cannot be told from it."""

    direction: Direction
    strength: float
    low: float
    high: float
    correlation: float
    p: float
    scatter: float
    """How far whoever serves it is off its direction, where the form scatters: a root mean square in nats."""
    rivals: tuple[Direction, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Naming:
    """What was found. Sizes are root mean squares in nats, of log-probabilities from which each prompt's mean is taken.

    `excluded` forms are there at less than half their strength, `possible` ones may be or not, `untestable` ones move
    nothing here. `remainder_low` is a lower bound (95 %) of what named forms leave, `unexplained_low` of what these and
    all possible ones leave together. `slope` is what the log-probabilities are multiplied by beyond one, as another
    temperature would.
    """

    prompts: int
    numbers: int
    size: float
    size_bound: float
    named: tuple[NamedForm, ...]
    excluded: tuple[Direction, ...]
    possible: tuple[Direction, ...]
    untestable: tuple[Direction, ...]
    explained: float
    remainder: float
    remainder_low: float
    unexplained_low: float
    slope: float
    slope_half_width: float
    best: Direction | None = None
    best_correlation: float = 0.0
    correlations: dict[str, float] = field(default_factory=dict)


def name_forms(pack: DirectionPack, by: Matrix, *, centred: bool = True, hosts: int = 1) -> Naming | None:
    """Which of the pack's forms a host stands in; None where too few prompts have log-probabilities.

    `centred`: each prompt's mean is taken off first, so that a host may normalise as it likes. Without it the one or
    two candidates that some hosts give still say something, if these are probabilities over the whole vocabulary.
    `hosts` are read in all: the more share a chance, the smaller is the one that has to be told.
    """
    told = centre_rows(by) if centred else by
    rows = np.flatnonzero((~np.isnan(told)).any(axis=1))
    if len(rows) < LEAST_PROMPTS:
        return None
    tokens = np.array([pack.prompts[row].token_ids for row in rows])
    space = _Space.build(told[rows], pack.logprobs[rows], tokens, centred=centred)
    moved = {d.name: space.place(d.by[rows]) for d in pack.directions}
    tested = [d for d in pack.directions if root_mean_square(space.open(moved[d.name])) > _NEGLIGIBLE]
    found = _find_forms(space, moved, tested, pack.honest_size, min(hosts * _SHUFFLES_OF_EACH, _MOST_SHUFFLES))
    chosen = [one.direction for one in found]
    held = [moved[d.name] for d in chosen]
    fit = _Fit.solve(space, held)
    ends = {d.name: _Fit.solve(space, [*held, moved[d.name]]).high[len(held)] for d in tested if d not in chosen}
    rest = space.host - fit.fitted
    maybe = [moved[name] for name, end in ends.items() if end >= LEAST_STRENGTH]
    left = space.host - _Fit.solve(space, [*held, *maybe]).fitted
    sizes = (space.host**2).sum(axis=1)
    rests = (rest**2).sum(axis=1)
    counts = space.there.sum(axis=1)
    cosines = {d.name: _correlate(space.free, space.free_of_slope(moved[d.name])) for d in tested}
    best = max(tested, key=lambda d: cosines[d.name], default=None)
    return Naming(
        prompts=len(rows),
        numbers=int(counts.sum()),
        size=_bounded_rms(sizes, counts)[1],
        size_bound=_bounded_rms(sizes, counts)[2],
        named=tuple(_with_interval(one, fit, at) for at, one in enumerate(found)),
        excluded=tuple(d for d in tested if d not in chosen and ends[d.name] < LEAST_STRENGTH),
        possible=tuple(d for d in tested if d not in chosen and ends[d.name] >= LEAST_STRENGTH),
        untestable=tuple(d for d in pack.directions if d not in tested),
        explained=1 - float(rests.sum() / sizes.sum()) if sizes.sum() else 0.0,
        remainder=_bounded_rms(rests, counts)[1],
        remainder_low=_bounded_rms(rests, counts)[0],
        unexplained_low=_bounded_rms((left**2).sum(axis=1), counts)[0],
        slope=float(fit.coefficients[-1]),
        slope_half_width=float(fit.high[-1] - fit.coefficients[-1]),
        best=best,
        best_correlation=cosines[best.name] if best is not None else 0.0,
        correlations=cosines,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Space:
    """The numbers that a host gave, its rows packed to the left: the k-th column is its k-th likeliest known token.

    `host` is its displacement, `scale` the reference's own log-probabilities (what another temperature moves along),
    both with zeros where nothing is; `free` is the host without its part along `scale`. `shared` fits what prompts have
    in common at tokens that several of them have.
    """

    columns: NDArray[np.int64]
    there: NDArray[np.bool_]
    centred: bool
    host: Matrix
    scale: Matrix
    free: Matrix
    shared: tuple[Matrix, Matrix]

    @classmethod
    def build(cls, told: Matrix, reference: Matrix, tokens: NDArray[np.int64], *, centred: bool) -> _Space:
        given = ~np.isnan(told)
        width = int(given.sum(axis=1).max())
        columns = np.argsort(~given, axis=1, kind="stable")[:, :width]
        there = np.take_along_axis(given, columns, axis=1)
        host = np.where(there, np.take_along_axis(told, columns, axis=1), 0.0)
        scale = _pack_left(reference, columns, there, centred=True)
        return cls(
            columns=columns,
            there=there,
            centred=centred,
            host=host,
            scale=scale,
            free=_take_off(host, scale),
            shared=_span_shared_tokens(np.take_along_axis(tokens, columns, axis=1), there, centred=centred),
        )

    def place(self, moved: Matrix) -> Matrix:
        """A form's displacement at the same tokens."""
        return _pack_left(moved, self.columns, self.there, centred=self.centred)

    def open(self, values: Matrix) -> Matrix:
        """With NaN where nothing is."""
        return np.where(self.there, values, np.nan)

    def bound_rms(self, values: Matrix) -> tuple[float, float]:
        """Lower and upper bound of their root mean square."""
        low, _, high = _bounded_rms((values**2).sum(axis=1), self.there.sum(axis=1))
        return low, high

    def free_of_slope(self, values: Matrix) -> Matrix:
        return _take_off(values, self.scale)

    def keep_own(self, values: Matrix) -> Matrix:
        """What each prompt has of its own: without what tokens are moved by alike wherever they stand."""
        flat = values.ravel()
        marked, fitting = self.shared
        own: Matrix = (flat - marked @ (fitting @ flat)).reshape(values.shape)
        return own


def _span_shared_tokens(tokens: NDArray[np.int64], there: NDArray[np.bool_], *, centred: bool) -> tuple[Matrix, Matrix]:
    """A column over all numbers for each token that two or more prompts have, and what fits them: a row for each."""
    seen, counts = np.unique(tokens[there], return_counts=True)
    marks = [np.where(there, (tokens == token).astype(float), np.nan) for token in seen[counts > 1]]
    columns = [np.nan_to_num(centre_rows(mark) if centred else mark) for mark in marks]
    if not columns:
        return np.zeros((tokens.size, 0)), np.zeros((0, tokens.size))
    marked = np.array([column.ravel() for column in columns]).T
    gram = marked.T @ marked
    # Of tokens that always stand together one says what the others say: a trace of a ridge parts them.
    return marked, np.linalg.solve(gram + 1e-9 * np.eye(len(gram)), marked.T)


def _pack_left(values: Matrix, columns: NDArray[np.int64], there: NDArray[np.bool_], *, centred: bool) -> Matrix:
    taken = np.where(there, np.take_along_axis(values, columns, axis=1), np.nan)
    return np.nan_to_num(centre_rows(taken) if centred else taken)


def _take_off(values: Matrix, direction: Matrix) -> Matrix:
    """Without its part along a direction."""
    energy = float((direction**2).sum())
    return values - direction * ((values * direction).sum() / energy) if energy else values


def _correlate(a: Matrix, b: Matrix) -> float:
    size = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / size if size else 0.0


def _find_forms(
    space: _Space, moved: Mapping[str, Matrix], tested: Sequence[Direction], rounding: float | None, shuffles: int
) -> list[NamedForm]:
    """One after another. Every 16-bit host rounds its weights a little: such a form is looked for where no other is."""
    found: list[NamedForm] = []
    for coarse in (True, False):
        while len(found) < _MOST_FORMS:
            added = _find_next(space, moved, tested, found, coarse=coarse, rounding=rounding, shuffles=shuffles)
            if added is None:
                break
            found.append(added)
        if found:
            break
    return found


def _find_next(
    space: _Space,
    moved: Mapping[str, Matrix],
    tested: Sequence[Direction],
    found: Sequence[NamedForm],
    *,
    coarse: bool,
    rounding: float | None,
    shuffles: int,
) -> NamedForm | None:
    """The form that explains most of what is left, where neither chance nor half a form could.

    `rounding` is what an honest 16-bit host is moved by at most, where that is known: beside other forms one is looked
    for only where these surely leave more. Forms that are ruled out are none, and no rivals either; the shuffles may
    choose among them all the same.
    """
    chosen = [one.direction for one in found]
    held = [moved[d.name] for d in chosen]
    if held and rounding is not None:
        expected = math.hypot(rounding, *(one.scatter for one in found))
        if space.bound_rms(space.host - _Fit.solve(space, held).fitted)[0] <= expected:
            return None
    waiting = [d for d in tested if d not in chosen]
    fits = {d.name: _Fit.solve(space, [*held, moved[d.name]]) for d in waiting}
    nearest = min((space.bound_rms(space.host - fit.fitted)[1] for fit in fits.values()), default=0.0)
    possible = [
        d
        for d in waiting
        if (d.kind != "16-bit") == coarse
        and fits[d.name].high[len(held)] >= LEAST_STRENGTH
        and nearest >= _LEAST_SCATTER * _expect_scatter(space, d, moved[d.name])
    ]
    if not possible:
        return None
    left = space.free_of_slope(space.free - _Fit.solve(space, held).fitted if held else space.free)
    partial = {d.name: _take_off_all(space.free_of_slope(moved[d.name]), held) for d in waiting}
    cosines = {d.name: _correlate(left, partial[d.name]) for d in waiting}
    own, owned = space.keep_own(left), {d.name: space.keep_own(partial[d.name]) for d in waiting}
    likeness = {d.name: min(cosines[d.name], _correlate(own, owned[d.name])) for d in waiting}
    ranked = sorted(possible, key=lambda d: -cosines[d.name])
    best = next(
        (
            d
            for d in ranked
            if (d is ranked[0] or d.scatter)
            and cosines[d.name] >= LEAST_CORRELATION
            and fits[d.name].low[: len(held) + 1].min() >= NAMED_STRENGTH
            and fits[d.name].high[len(held)] <= MOST_STRENGTH
            and not _leaves_too_much(space, moved, d, held, waiting, fits[d.name], likeness[d.name], rounding)
        ),
        None,
    )
    if best is None:
        return None
    fit, alike = fits[best.name], _correlate(own, owned[best.name])
    p = count_shuffles_as_good(own, [owned[d.name] for d in waiting], alike, shuffles if coarse else SHUFFLES)
    if p > FALSE_NAME_ALPHA:
        return None
    others = [d for d in possible if d is not best and cosines[d.name] > 0]
    return NamedForm(
        direction=best,
        strength=float(fit.coefficients[len(held)]),
        low=float(fit.low[len(held)]),
        high=float(fit.high[len(held)]),
        correlation=cosines[best.name],
        p=p,
        scatter=_expect_scatter(space, best, moved[best.name]),
        rivals=tuple(d for d in others if not _is_refuted(space, fit, fits[d.name], len(held), d.unsure)),
    )


def _leaves_too_much(
    space: _Space,
    moved: Mapping[str, Matrix],
    form: Direction,
    held: Sequence[Matrix],
    waiting: Sequence[Direction],
    fit: _Fit,
    likeness: float,
    rounding: float | None,
) -> bool:
    """Whether a form is too unlike a host that is moved by more than it, its scatter and an honest host's rounding."""
    scatter = _expect_scatter(space, form, moved[form.name])
    if rounding is None or likeness >= LEAST_BESIDE_UNKNOWN:
        return False
    expected = math.hypot(rounding, scatter)
    rest = space.host - fit.fitted
    # How far a form scatters differs by engine: there it must surely be more.
    if (space.bound_rms(rest)[0] if scatter else root_mean_square(space.open(rest))) <= expected:
        return False
    if likeness < LEAST_BESIDE_OTHERS:
        return True
    pairs = (_Fit.solve(space, [*held, moved[form.name], moved[d.name]]) for d in waiting if d is not form)
    return not any(
        NAMED_STRENGTH <= pair.coefficients[len(held) + 1] <= MOST_STRENGTH
        and root_mean_square(space.open(space.host - pair.fitted)) <= expected
        for pair in pairs
    )


def _take_off_all(values: Matrix, held: Sequence[Matrix]) -> Matrix:
    if not held:
        return values
    columns = np.array([h.ravel() for h in held]).T
    solved, *_ = np.linalg.lstsq(columns, values.ravel(), rcond=None)
    left: Matrix = values - (columns @ solved).reshape(values.shape)
    return left


def count_shuffles_as_good(host: Matrix, forms: Sequence[Matrix], seen: float, most: int = SHUFFLES) -> float:
    """The share of shuffles in which the best of all forms correlates as well: a p value.

    Each prompt of the host is held against another prompt's directions, token by token in the order of likelihood: what
    all prompts have in common (flatter or steeper distributions) stays, and explains nothing. Until one is as good
    further ones are drawn, up to `most`: an honest host's are mostly decided by the first.
    """
    draw = np.random.default_rng(_SEED)
    own, drawn, as_good = np.arange(len(host)), 0, 0
    while not drawn or (not as_good and drawn < most):
        orders = np.argsort(draw.random((SHUFFLES, len(host))), axis=1)
        best = np.full(SHUFFLES, -np.inf)
        for moved in forms:
            size = np.sqrt((host**2).sum() * (moved**2).sum())
            if size:
                products = host @ moved.T
                best = np.maximum(best, products[own, orders].sum(axis=1) / size)
        as_good += int((best >= seen - 1e-12).sum())
        drawn += SHUFFLES
    return (1 + as_good) / (1 + drawn)


def _expect_scatter(space: _Space, form: Direction, moved: Matrix) -> float:
    """How far whoever serves the form is off every direction: a host that surely lies nearer to one does not serve it.

    It is known over all the pack's tokens: of the host's own it is taken in the same proportion to the form.
    """
    if not form.scatter:
        return 0.0
    return form.scatter * root_mean_square(space.open(moved)) / root_mean_square(centre_rows(form.by))


def _is_refuted(space: _Space, best: _Fit, other: _Fit, at: int, unsure: float) -> bool:
    """Whether the other fit cannot be the truth: of the way from it to the best one the host has surely gone a part.

    None of the way is what it would have gone, up to chance, if the other form were what it serves; but for the part of
    the way that is only what is not known of that form. Prompts that weigh much are given less trust (as in HC3), for
    they pull the estimate to themselves.
    """
    way = best.fitted - other.fitted
    energies, gone = (way**2).sum(axis=1), ((space.host - other.fitted) * way).sum(axis=1)
    whole = float(energies.sum())
    if not whole:
        return False
    unknown = float(other.coefficients[at]) * unsure**2 * float(space.there.sum()) / whole  # and so it is fitted weaker
    share = float(gone.sum()) / whole
    scores = (gone - share * energies) / (1 - np.minimum(energies / whole, 0.9))
    spread = float(np.sqrt((scores**2).sum())) / whole
    return share - unknown > t_half_width(spread, len(scores) - 1, 2 * _RIVAL_ALPHA)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Fit:
    """Coefficients of some forms and, last, of the scale, with intervals clustered by prompt."""

    coefficients: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    fitted: Matrix

    @classmethod
    def solve(cls, space: _Space, forms: Sequence[Matrix]) -> _Fit:
        regressors = np.array([*forms, space.scale])
        flat = regressors.reshape(len(regressors), -1).T
        inverse = np.linalg.pinv(flat.T @ flat)
        coefficients = inverse @ flat.T @ space.host.ravel()
        fitted = np.tensordot(coefficients, regressors, axes=1)
        scores = ((space.host - fitted) * regressors).sum(axis=2)  # of each regressor in each prompt
        prompts = scores.shape[1]
        meat = scores @ scores.T * prompts / max(prompts - 1, 1)
        deviations = np.sqrt(np.maximum(np.diag(inverse @ meat @ inverse), 0))
        half = np.array([t_half_width(float(d), prompts - 1, 2 * BOUND_ALPHA) for d in deviations])
        return cls(coefficients=coefficients, low=coefficients - half, high=coefficients + half, fitted=fitted)


def _with_interval(one: NamedForm, fit: _Fit, at: int) -> NamedForm:
    """As the fit with all named forms together has it."""
    return replace(one, strength=float(fit.coefficients[at]), low=float(fit.low[at]), high=float(fit.high[at]))


def _bounded_rms(squares: NDArray[np.float64], counts: NDArray[np.int64]) -> tuple[float, float, float]:
    """Lower bound, value and upper bound (95 % each) of a root mean square, clustered by prompt."""
    mean = float(squares.sum() / counts.sum())
    spread = squares - mean * counts
    deviation = float(np.sqrt((spread**2).sum() * len(counts) / max(len(counts) - 1, 1))) / float(counts.sum())
    half = t_half_width(deviation, len(counts) - 1, 0.10)
    return float(np.sqrt(max(mean - half, 0.0))), float(np.sqrt(mean)), float(np.sqrt(mean + half))
