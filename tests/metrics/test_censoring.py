"""Whether sampling stopped at the first divergence can be told from the records alone."""

from __future__ import annotations

import numpy as np
import pytest
from tempzero.metrics import stopped_sampling
from tempzero.metrics.stopped_sampling import NO_OUTPUT, StoppedSampling


def detect(*prompts: str, gap: bool = False) -> StoppedSampling | None:
    """Each prompt as a word, one letter an output ("AAB"); "." is a repeat without an output."""
    rows = [
        (cell, repeat + (gap and cell == 0 and repeat > 0), NO_OUTPUT if letter == "." else ord(letter))
        for cell, prompt in enumerate(prompts)
        for repeat, letter in enumerate(prompt)
    ]
    rng = np.random.default_rng(1)
    columns = np.array(rng.permutation(rows), dtype=np.int64).T
    return stopped_sampling.detect_stopped_sampling(*columns, cells=len(prompts) + 1)


def test_stopping_right_after_the_divergence_is_seen() -> None:
    """Short prompts that end in their only divergence were not asked again because of it."""
    found = detect("AAAA", "AAB", "AB", "AAAA")
    assert found == StoppedSampling(prompts=4, longest=4, short=2, survivors=(4, 3, 2, 2))


def test_dropping_the_divergent_answer_is_seen() -> None:
    """Published archives keep only what agreed: naive TARr is 1.0 there, and false."""
    found = detect("AAAAA", "A", "AA", "A", "AAA")
    assert found is not None
    assert found.survivors == (5, 3, 2, 1, 1)


@pytest.mark.parametrize(
    ("prompts", "why"),
    [
        (("AAA", "AAB", "BBB"), "as many repeats everywhere"),
        (("AAAA", "ABA", "AAB"), "one was asked again after it had diverged"),
        (("AA.A", "A..A", "AAAA"), "a failed repeat was asked all the same"),
        (("AAAA", "AAA", "AAA"), "only the last of several repeats is missing: an interrupted run"),
        (("A", "B", "C"), "one answer a question: nothing to stop"),
    ],
)
def test_ordinary_data_are_not_accused(prompts: tuple[str, ...], why: str) -> None:
    """Missing rows alone do not make an agreement figure false."""
    assert detect(*prompts) is None, why


def test_a_gap_in_the_repeats_is_no_stop() -> None:
    """Who lacks repeat 1 but has repeat 2 was asked on."""
    assert detect("AA", "AAAA", "AAAA", gap=True) is None
    assert detect("AA", "AAAA", "AAAA") is not None


def test_a_failed_repeat_is_no_divergence() -> None:
    """An outage in between does not show that a prompt was asked on after it had diverged."""
    found = detect("AAAA", "A.A", ".", "AA")
    assert found is not None
    assert found.survivors == (4, 3, 2, 1)


def test_no_rows_are_no_verdict() -> None:
    """A provider that was never asked is not censored."""
    empty = np.zeros(0, dtype=np.int64)
    assert stopped_sampling.detect_stopped_sampling(empty, empty, empty, cells=3) is None
