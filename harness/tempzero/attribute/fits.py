"""One provider's responses in, how well each way of decoding explains them out: likelihoods, for each prompt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from tempzero import stats
from tempzero.attribute.reader_tables import Floats, Ints, ReaderTable, ResponseLane
from tempzero.types.concluded import Estimate
from tempzero.types.vocabulary import Metric

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

    `prompt` numbers the prompts that have a response from 0.
    """

    noises: tuple[float, ...]
    temperatures: tuple[float, ...]
    rounded: Floats
    sampled: Floats
    prompt: Ints
    scale: Estimate
    temperature: Estimate

    @property
    def prompts(self) -> int:
        return int(self.prompt.max(initial=-1)) + 1

    @property
    def best_scale(self) -> int:
        return int(self.rounded.sum(axis=0).argmax())

    @property
    def best_temperature(self) -> int:
        return int(self.sampled.sum(axis=0).argmax())

    def sum_by_prompt(self, values: Floats) -> Floats:
        """A row for each response in, its sum over each prompt's out."""
        total = np.zeros((self.prompts, *values.shape[1:]))
        np.add.at(total, self.prompt, values)
        return total


def fit_decoding(table: ReaderTable, lane: ResponseLane) -> Fits | None:
    """The fits of one provider; None where the reader did not see whole distributions."""
    reader, tokens = table.reader, table.tokens
    rounded, sampled = tokens.rounded[lane.sequence], tokens.sampled[lane.sequence]
    if rounded.shape[1] != len(reader.noises) or sampled.shape[1] != len(reader.temperatures) or not sampled.size:
        return None
    _, prompt = np.unique(lane.prompt, return_inverse=True)
    whole = np.zeros((int(prompt.max()) + 1, len(reader.noises) + len(reader.temperatures)))
    np.add.at(whole, prompt, np.hstack([rounded, sampled]))
    return Fits(
        noises=reader.noises,
        temperatures=reader.temperatures,
        rounded=rounded,
        sampled=sampled,
        prompt=prompt.astype(np.int64),
        scale=stats.profile_maximum(reader.noises, whole[:, : len(reader.noises)]),
        temperature=stats.profile_maximum(reader.temperatures, whole[:, len(reader.noises) :]),
    )


def uneven_log_likelihood(log_likelihood: Floats, column: int) -> Floats:
    """Each response's likelihood where its own scale may be the neighbouring ones as well: real rounding varies."""
    columns = [max(0, column - 2), max(0, column - 1), column, min(column + 1, log_likelihood.shape[1] - 1)]
    columns.append(min(column + 2, log_likelihood.shape[1] - 1))
    weights = np.log([0.1, 0.2, 0.4, 0.2, 0.1])
    return np.asarray(special.logsumexp(log_likelihood[:, columns] + weights, axis=1))
