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
from tempzero.precision.prompt_rows import SHUFFLES, PromptRows, SharedTokens, count_shuffles_as_good
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
_LEAST_OF_EXPECTED = 0.6
"""Or of a form that scatters so much that whoever serves it correlates less: so much of what is to be expected."""
LEAST_BESIDE_OTHERS, LEAST_BESIDE_UNKNOWN = 0.7, 0.9
"""Half of it, where what it leaves is more than 16-bit rounding and its own scatter, and another form with it explains
that; four fifths of it where none does: of something that nobody knows it may be no more than the likest."""
LEAST_PROMPTS = 6
"""Fewer can be shuffled in too few ways for the error that is promised."""
_SHUFFLES_OF_EACH, _MOST_SHUFFLES = 1_000, 200_000
_MOST_FORMS = 3
_RIVAL_ALPHA, _FULLER_RIVAL_ALPHA = 0.01, 0.2
_SCATTER_ROOM = 1.25
"""How far a form scatters differs by engine and by prompt: so much more is no sign of something else."""
_LEAST_SCATTER = 0.6
"""Of 150 hosts in FP8 W8A8, six prompts with five log-probabilities each, one lay nearer to a form than this share."""
_NEGLIGIBLE = 1e-3  # rms, nats: a form that moves less than this is the reference itself


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedForm:
    """A form found in a host. `strength` 1: just as the pack's copy is moved. `rivals` cannot be told from it.

    `fuller` ones could not either, if something else were there besides, which this one needs not.
    """

    direction: Direction
    strength: float
    low: float
    high: float
    correlation: float
    p: float
    scatter: float
    """How far whoever serves it is off its direction, where the form scatters: a root mean square in nats."""
    rivals: tuple[Direction, ...] = ()
    fuller: tuple[Direction, ...] = ()

    @property
    def alternatives(self) -> tuple[Direction, ...]:
        """All that it may be: what is judged holds for each of them."""
        return (self.direction, *self.rivals, *self.fuller)


@dataclass(frozen=True, kw_only=True, slots=True)
class Naming:
    """What was found. Sizes are root mean squares in nats, of log-probabilities from which each prompt's mean is taken.

    `excluded` forms are there at less than half their strength, `possible` ones may be or not, `untestable` ones move
    nothing here. `remainder_low` is a lower bound (95 %) of what named forms leave, `unexplained_low` of what these and
    all possible ones leave together. `slope` is what the log-probabilities are multiplied by beyond one, as another
    temperature would.
    """

    prompts: int
    places: int
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
    rows = pack.rows.find_common(told)
    known = pack.rows.pick(rows)
    if known.count() < LEAST_PROMPTS:
        return None
    tokens = np.array([place.token_ids for place in pack.places])[rows]
    space = _Space.build(known, told[rows], pack.logprobs[rows], tokens, centred=centred)
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
    whole, remains = space.bound_rms(space.host), space.bound_rms(rest)
    cosines = {d.name: _correlate(space.free, space.free_of_slope(moved[d.name])) for d in tested}
    best = max(tested, key=lambda d: cosines[d.name], default=None)
    return Naming(
        prompts=known.count(),
        places=len(rows),
        numbers=int(space.there.sum()),
        size=whole.value,
        size_bound=whole.high,
        named=tuple(_with_interval(one, fit, at) for at, one in enumerate(found)),
        excluded=tuple(d for d in tested if d not in chosen and ends[d.name] < LEAST_STRENGTH),
        possible=tuple(d for d in tested if d not in chosen and ends[d.name] >= LEAST_STRENGTH),
        untestable=tuple(d for d in pack.directions if d not in tested),
        explained=1 - (remains.value / whole.value) ** 2 if whole.value else 0.0,
        remainder=remains.value,
        remainder_low=remains.low,
        unexplained_low=space.bound_rms(left).low,
        slope=float(fit.coefficients[-1]),
        slope_half_width=float(fit.high[-1] - fit.coefficients[-1]),
        best=best,
        best_correlation=cosines[best.name] if best is not None else 0.0,
        correlations=cosines,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Bounded:
    """A root mean square with its bounds (95 % each, clustered by prompt)."""

    low: float
    value: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Space:
    """The numbers that a host gave, its rows packed to the left: the k-th column is its k-th likeliest known token.

    `host` is its displacement, `scale` the reference's own log-probabilities (what another temperature moves along),
    both with zeros where nothing is; `free` is the host without its part along `scale`. `shared` are the tokens that
    several rows have.
    """

    rows: PromptRows
    columns: NDArray[np.int64]
    there: NDArray[np.bool_]
    centred: bool
    host: Matrix
    scale: Matrix
    free: Matrix
    shared: SharedTokens

    @classmethod
    def build(
        cls, rows: PromptRows, told: Matrix, reference: Matrix, tokens: NDArray[np.int64], *, centred: bool
    ) -> _Space:
        given = ~np.isnan(told)
        width = int(given.sum(axis=1).max())
        columns = np.argsort(~given, axis=1, kind="stable")[:, :width]
        there = np.take_along_axis(given, columns, axis=1)
        host = np.where(there, np.take_along_axis(told, columns, axis=1), 0.0)
        scale = _pack_left(reference, columns, there, centred=True)
        return cls(
            rows=rows,
            columns=columns,
            there=there,
            centred=centred,
            host=host,
            scale=scale,
            free=_take_off(host, scale),
            shared=SharedTokens.find(np.take_along_axis(tokens, columns, axis=1), there, centred=centred),
        )

    def place(self, moved: Matrix) -> Matrix:
        """A form's displacement at the same tokens."""
        return _pack_left(moved, self.columns, self.there, centred=self.centred)

    def open(self, values: Matrix) -> Matrix:
        """With NaN where nothing is."""
        return np.where(self.there, values, np.nan)

    def bound_rms(self, values: Matrix) -> _Bounded:
        """Their root mean square."""
        squares, counts = (self.rows.sum_by_prompt(v.sum(axis=1)) for v in (values**2, self.there.astype(float)))
        mean = float(squares.sum() / counts.sum())
        spread = squares - mean * counts
        prompts = len(counts)
        deviation = float(np.sqrt((spread**2).sum() * prompts / max(prompts - 1, 1))) / float(counts.sum())
        half = t_half_width(deviation, prompts - 1, 2 * BOUND_ALPHA)
        return _Bounded(
            low=float(np.sqrt(max(mean - half, 0.0))), value=float(np.sqrt(mean)), high=float(np.sqrt(mean + half))
        )

    def free_of_slope(self, values: Matrix) -> Matrix:
        return _take_off(values, self.scale)

    def keep_own(self, values: Matrix) -> Matrix:
        """What each prompt has of its own: without what tokens are moved by alike wherever they stand."""
        return self.shared.take_off(values)


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
        if space.bound_rms(space.host - _Fit.solve(space, held).fitted).low <= expected:
            return None
    search = _Search.begin(space, moved, held, [d for d in tested if d not in chosen], rounding)
    possible = search.list_possible(coarse=coarse)
    best = search.choose(possible)
    if best is None:
        return None
    p = search.ask_chance(best, shuffles if coarse else SHUFFLES)
    if p > FALSE_NAME_ALPHA:
        return None
    fit, at = search.fits[best.name], len(held)
    rivals, fuller = search.find_rivals(best, possible)
    return NamedForm(
        direction=best,
        strength=float(fit.coefficients[at]),
        low=float(fit.low[at]),
        high=float(fit.high[at]),
        correlation=search.cosines[best.name],
        p=p,
        scatter=_expect_scatter(space, best, moved[best.name]),
        rivals=rivals,
        fuller=fuller,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Search:
    """What is left of a host beside the forms that are `held`, and each other form against it.

    `cosines` are correlations over everything, `likeness` the least of these and of what each prompt has of its own,
    which is `own` of the host and `owned` of the forms.
    """

    space: _Space
    moved: Mapping[str, Matrix]
    held: Sequence[Matrix]
    waiting: Sequence[Direction]
    rounding: float | None
    fits: Mapping[str, _Fit]
    cosines: Mapping[str, float]
    own: Matrix
    owned: Mapping[str, Matrix]
    likeness: Mapping[str, float]

    @classmethod
    def begin(
        cls,
        space: _Space,
        moved: Mapping[str, Matrix],
        held: Sequence[Matrix],
        waiting: Sequence[Direction],
        rounding: float | None,
    ) -> _Search:
        left = space.free_of_slope(space.free - _Fit.solve(space, held).fitted if held else space.free)
        partial = {d.name: _take_off_all(space.free_of_slope(moved[d.name]), held) for d in waiting}
        cosines = {name: _correlate(left, one) for name, one in partial.items()}
        own, owned = space.keep_own(left), {name: space.keep_own(one) for name, one in partial.items()}
        return cls(
            space=space,
            moved=moved,
            held=held,
            waiting=waiting,
            rounding=rounding,
            fits={d.name: _Fit.solve(space, [*held, moved[d.name]]) for d in waiting},
            cosines=cosines,
            own=own,
            owned=owned,
            likeness={name: min(cosines[name], _correlate(own, one)) for name, one in owned.items()},
        )

    def list_possible(self, *, coarse: bool) -> list[Direction]:
        """Those that are not ruled out, the likest first; a host that lies nearer to any serves none that scatters."""
        space, at = self.space, len(self.held)
        nearest = min((space.bound_rms(space.host - fit.fitted).high for fit in self.fits.values()), default=0.0)
        possible = [
            d
            for d in self.waiting
            if (d.kind != "16-bit") == coarse
            and self.fits[d.name].high[at] >= LEAST_STRENGTH
            and nearest >= _LEAST_SCATTER * _expect_scatter(space, d, self.moved[d.name])
        ]
        return sorted(possible, key=lambda d: -self.cosines[d.name])

    def choose(self, possible: Sequence[Direction]) -> Direction | None:
        """The likest, or else the likest that scatters, if it is there and leaves nothing that it does not explain."""
        at = len(self.held)
        return next(
            (
                d
                for d in possible
                if (d is possible[0] or d.scatter)
                and self.cosines[d.name] >= _find_least_correlation(d)
                and self.fits[d.name].low[: at + 1].min() >= NAMED_STRENGTH
                and self.fits[d.name].high[at] <= MOST_STRENGTH
                and not self.leaves_too_much(d)
            ),
            None,
        )

    def ask_chance(self, best: Direction, most: int) -> float:
        """In how many shuffles some form is as like, by what each prompt has of its own."""
        seen = _correlate(self.own, self.owned[best.name])
        return count_shuffles_as_good(self.space.rows, self.own, [*self.owned.values()], seen, most)

    def find_rivals(
        self, best: Direction, possible: Sequence[Direction]
    ) -> tuple[tuple[Direction, ...], tuple[Direction, ...]]:
        """Those that might be the truth as well; and those that might be only if something else stood beside them.

        The best form needs nothing beside it, so that less evidence is asked for against the latter.
        """
        space, at, rivals, fuller = self.space, len(self.held), [], []
        for one in possible:
            fit, chosen = self.fits[one.name], self.fits[best.name]
            if one is best or self.cosines[one.name] <= 0 or _is_refuted(space, chosen, fit, at, one, _RIVAL_ALPHA):
                continue
            lacks = self.leaves_too_much(one, surely=True)
            if lacks and _is_refuted(space, chosen, fit, at, one, _FULLER_RIVAL_ALPHA):
                fuller.append(one)
            else:
                rivals.append(one)
        return tuple(rivals), tuple(fuller)

    def leaves_too_much(self, form: Direction, *, surely: bool = False) -> bool:
        """Whether a form is too unlike a host that is moved by more than it, its scatter and an honest host's rounding.

        Where the form scatters, or where it has to be sure, the lower bound of what is left must be more.
        """
        space, likeness, held = self.space, self.likeness[form.name], self.held
        if self.rounding is None or likeness >= LEAST_BESIDE_UNKNOWN:
            return False
        scatter = _SCATTER_ROOM * _expect_scatter(space, form, self.moved[form.name])
        expected = math.hypot(self.rounding, scatter)
        rest = space.host - self.fits[form.name].fitted
        if (space.bound_rms(rest).low if scatter or surely else root_mean_square(space.open(rest))) <= expected:
            return False
        if likeness < LEAST_BESIDE_OTHERS:
            return True
        others = (self.moved[d.name] for d in self.waiting if d is not form)
        pairs = (_Fit.solve(space, [*held, self.moved[form.name], other]) for other in others)
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


def _expect_scatter(space: _Space, form: Direction, moved: Matrix) -> float:
    """How far whoever serves the form is off every direction: a host that surely lies nearer to one does not serve it.

    It is known over all the pack's tokens: of the host's own it is taken in the same proportion to the form.
    """
    if not form.scatter:
        return 0.0
    return form.scatter * root_mean_square(space.open(moved)) / root_mean_square(centre_rows(form.by))


def _find_least_correlation(form: Direction) -> float:
    """Below it a form is not named, however surely it is there."""
    if not form.scatter:
        return LEAST_CORRELATION
    size = root_mean_square(centre_rows(form.by))
    return min(LEAST_CORRELATION, _LEAST_OF_EXPECTED * size / math.hypot(size, form.scatter))


def _is_refuted(space: _Space, best: _Fit, other: _Fit, at: int, form: Direction, alpha: float) -> bool:
    """Whether the other fit cannot be the truth: of the way from it to the best one the host has surely gone a part.

    None of the way is what it would have gone, up to chance, if the other form were what it serves; but for the part of
    the way that is only what is not known of that form. Prompts that weigh much are given less trust (as in HC3), for
    they pull the estimate to themselves.
    """
    way = best.fitted - other.fitted
    energies = space.rows.sum_by_prompt((way**2).sum(axis=1))
    gone = space.rows.sum_by_prompt(((space.host - other.fitted) * way).sum(axis=1))
    whole = float(energies.sum())
    if not whole:
        return False
    unknown = (
        float(other.coefficients[at]) * form.unsure**2 * float(space.there.sum()) / whole
    )  # and so it is fitted weaker
    share = float(gone.sum()) / whole
    scores = (gone - share * energies) / (1 - np.minimum(energies / whole, 0.9))
    spread = float(np.sqrt((scores**2).sum())) / whole
    return share - unknown > t_half_width(spread, len(scores) - 1, 2 * alpha)


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
        # Of each regressor in each prompt.
        scores = space.rows.sum_by_prompt(((space.host - fitted) * regressors).sum(axis=2))
        prompts = scores.shape[1]
        meat = scores @ scores.T * prompts / max(prompts - 1, 1)
        deviations = np.sqrt(np.maximum(np.diag(inverse @ meat @ inverse), 0))
        half = np.array([t_half_width(float(d), prompts - 1, 2 * BOUND_ALPHA) for d in deviations])
        return cls(coefficients=coefficients, low=coefficients - half, high=coefficients + half, fitted=fitted)


def _with_interval(one: NamedForm, fit: _Fit, at: int) -> NamedForm:
    """As the fit with all named forms together has it."""
    return replace(one, strength=float(fit.coefficients[at]), low=float(fit.low[at]), high=float(fit.high[at]))
