"""One provider's responses in, how well each way of decoding explains them out: likelihoods, for each prompt."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from tempzero import stats
from tempzero.attribute.reader_tables import Floats, Ints, ReaderTable, ResponseLane
from tempzero.types.concluded import Estimate, NoiseFloor
from tempzero.types.vocabulary import Metric

# Other honest computations than the ones that were read may round up to this much more.
TOLERANCE = 2.0
# What one prompt may add to the evidence against a provider, in nats: one odd prompt accuses nobody.
PROMPT_CAP = 4.0
_ODD_SHARES = (0.02, 0.1, 0.3, 1.0)

ROUNDING_SCALE = Metric(
    name="rounding_scale",
    unit="logits",
    kinds=("scored",),
    title="Rounding scale, logits",
    definition="How much noise on the difference of two logits makes the tokens likeliest, decoding being greedy; to "
    "be compared with the scales of the reference's own coarser forms.",
    source="maximum likelihood, interval clustered by prompt",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fits:
    """Log-likelihoods with a row for each response and a column for each scale or temperature.

    `floor` is the column of `rounded` that stands for an honest computation, `floor_measured` whether honest
    forms say so. `prompt` numbers the prompts that have a response from 0, `distinct` are the rows that are
    no repeat of an earlier one: what is computed alike twice is evidence once.
    """

    noises: tuple[float, ...]
    temperatures: tuple[float, ...]
    rounded: Floats
    sampled: Floats
    prompt: Ints
    distinct: Ints
    floor: int
    floor_measured: bool
    scale: Estimate
    temperature: Estimate

    @property
    def prompts(self) -> int:
        return int(self.prompt.max(initial=-1)) + 1

    @property
    def honest(self) -> Floats:
        """Each response's log-likelihood as an honest computation's: the likeliest one that rounds up to the floor."""
        return self.rounded[:, int(self.rounded[:, : self.floor + 1].sum(axis=0).argmax())]

    @property
    def best_scale(self) -> int:
        return int(self.rounded.sum(axis=0).argmax())

    @property
    def best_temperature(self) -> int:
        return int(self.sampled.sum(axis=0).argmax())

    def sum_by_prompt(self, values: Floats) -> Floats:
        """A row for each response in, its sum over each prompt's out."""
        return self._summed(values, self.prompt)

    def sum_distinct_by_prompt(self, values: Floats) -> Floats:
        """The same over the distinct responses only."""
        return self._summed(values[self.distinct], self.prompt[self.distinct])

    def _summed(self, values: Floats, prompt: Ints) -> Floats:
        total = np.zeros((self.prompts, *values.shape[1:]))
        np.add.at(total, prompt, values)
        return total


def fit_decoding(table: ReaderTable, lane: ResponseLane, floor: NoiseFloor) -> Fits | None:
    """The fits of one provider; None where the reader did not see whole distributions."""
    reader, tokens = table.reader, table.tokens
    rounded, sampled = tokens.rounded[lane.sequence], tokens.sampled[lane.sequence]
    if rounded.shape[1] != len(reader.noises) or sampled.shape[1] != len(reader.temperatures) or not sampled.size:
        return None
    _, prompt = np.unique(lane.prompt, return_inverse=True)
    column, measured = _find_floor_column(reader.noises, floor)
    whole = np.zeros((int(prompt.max()) + 1, len(reader.noises) + len(reader.temperatures)))
    np.add.at(whole, prompt, np.hstack([rounded, sampled]))
    return Fits(
        noises=reader.noises,
        temperatures=reader.temperatures,
        rounded=rounded,
        sampled=sampled,
        prompt=prompt.astype(np.int64),
        distinct=lane.distinct,
        floor=column,
        floor_measured=measured,
        scale=stats.profile_maximum(reader.noises, whole[:, : len(reader.noises)]),
        temperature=stats.profile_maximum(reader.temperatures, whole[:, len(reader.noises) :]),
    )


def _find_floor_column(noises: tuple[float, ...], floor: NoiseFloor) -> tuple[int, bool]:
    limit = TOLERANCE * (floor.scale.value or 0.0)
    return min(int(np.searchsorted(noises, limit)), len(noises) - 2), floor.basis != "default"


def evidence_against_honest(fits: Fits) -> float:
    """Log of the evidence that not all responses are an honest computation's.

    An e-value (Vovk and Wang 2021): the mean, over every larger scale, every temperature and several shares of
    responses that come from it, of the likelihood ratio to the honest scale. Under honest noise it exceeds e^x
    with a probability of at most e^-x; capping what each prompt adds only lowers it.
    """
    others = np.hstack([fits.rounded[:, fits.floor + 1 :], fits.sampled])
    gains = others - fits.honest[:, None]
    logs = []
    for share in _ODD_SHARES:
        mixed = gains if share == 1 else np.logaddexp(math.log1p(-share), math.log(share) + gains)
        logs.append(np.minimum(fits.sum_distinct_by_prompt(mixed), PROMPT_CAP).sum(axis=0))
    values = np.concatenate(logs)
    return float(special.logsumexp(values) - math.log(values.size))


def uneven_log_likelihood(log_likelihood: Floats, column: int) -> Floats:
    """Each response's likelihood where its own scale may be the neighbouring ones as well: real rounding varies."""
    columns = [max(0, column - 2), max(0, column - 1), column, min(column + 1, log_likelihood.shape[1] - 1)]
    columns.append(min(column + 2, log_likelihood.shape[1] - 1))
    weights = np.log([0.1, 0.2, 0.4, 0.2, 0.1])
    return np.asarray(special.logsumexp(log_likelihood[:, columns] + weights, axis=1))


def t_statistic(differences: Floats) -> float:
    """Mean over prompts by its standard error; 0 below three prompts, and where nothing differs."""
    if differences.size < 3 or not differences.any():
        return 0.0
    error = float(differences.std(ddof=1)) / math.sqrt(differences.size)
    return float(differences.mean()) / error if error > 0 else math.copysign(math.inf, float(differences.mean()))
