"""The rows of a model and of another form of it in, how the form stands to it out: one line of the scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tempzero.metrics import decoding, decoding_ways
from tempzero.reading.response_scores import round_values
from tempzero.types.asked import Trial
from tempzero.types.scored import FormReading


def build_form_reading(
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
        gap_change=round_values(changes),
        margin=round_values(margins),
        rounded=round_values(rounded.tolist()),
        sampled=round_values(sampled.tolist()),
    )
