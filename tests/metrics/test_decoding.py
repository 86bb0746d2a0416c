"""Ways of decoding: likelihoods against direct computation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special
from tempzero.metrics import decoding, decoding_ways
from tempzero.types.scored import DecodingSums

VOCABULARY = 700


def rows(count: int, seed: int = 5, spread: float = 3.5) -> NDArray[np.float32]:
    """Logits as a language model has them: most of the vocabulary far below a few rivals."""
    return (np.random.default_rng(seed).standard_normal((count, VOCABULARY)) * spread + 8).astype(np.float32)


def direct_sampled(row: NDArray[np.float32], token: int, temperature: float) -> float:
    logits = row.astype(np.float64) / temperature
    log_p = logits[token] - special.logsumexp(logits)
    return math.log((1 - decoding_ways.STRAY_SHARE) * math.exp(log_p) + decoding_ways.STRAY_SHARE / row.size)


def direct_rounded(row: NDArray[np.float32], token: int, noise: float) -> float:
    margins = (row.max() - row).astype(np.float64) / noise
    odds = special.ndtr(-margins) / special.ndtr(margins)
    return math.log((1 - decoding_ways.STRAY_SHARE) * odds[token] / odds.sum() + decoding_ways.STRAY_SHARE / row.size)


def test_standings_of_a_case_counted_by_hand() -> None:
    """Margin, rank, gap and log-probability mean what docs/methods.md says they mean."""
    row = np.log(np.array([0.5, 0.25, 0.15, 0.1], np.float32))
    read = decoding.read_logit_rows([row, row, row], [0, 1, 3], [1])
    assert read.argmax == (0, 0, 0)
    assert read.rank == (1, 2, 4)
    assert read.margin == pytest.approx((0, math.log(2), math.log(5)), abs=1e-6)
    assert read.gap == pytest.approx([math.log(2)] * 3, abs=1e-6)
    assert read.logprob == pytest.approx(np.log([0.5, 0.25, 0.1]), abs=1e-6)
    assert read.seen == (0, 1, 1), "token 0 stands in the text from the second position on"


def test_sums_equal_the_definitions_computed_over_the_whole_vocabulary() -> None:
    """Counting far rivals in bins changes no likelihood that anything is decided by."""
    logits = rows(40)
    tokens = [int(np.argsort(row)[-1 - (i % 4)]) for i, row in enumerate(logits)]
    sums = sums_of(logits, tokens, [])
    pairs = list(zip(logits, tokens, strict=True))
    for at, temperature in enumerate(decoding_ways.TEMPERATURES):
        assert sums.sampled[at] == pytest.approx(sum(direct_sampled(r, t, temperature) for r, t in pairs), rel=1e-3)
    for at, noise in enumerate(decoding_ways.NOISES):
        assert sums.rounded[at] == pytest.approx(sum(direct_rounded(r, t, noise) for r, t in pairs), rel=2e-3)


def sums_of(logits: Any, tokens: Sequence[int], prompt: Sequence[int]) -> DecodingSums:
    sums = decoding.read_logit_rows(logits, tokens, prompt).sums
    assert sums is not None
    return sums


def test_likelihoods_are_those_of_what_is_drawn() -> None:
    """Tokens drawn by sampling are likeliest under their own temperature, noisy greedy ones under their own noise."""
    draw = np.random.default_rng(11)
    logits = rows(600, spread=1.5)
    sampled = [int((row + 0.6 * draw.gumbel(size=row.size)).argmax()) for row in logits]
    rounded = [int((row + 0.3 / math.sqrt(2) * draw.standard_normal(row.size)).argmax()) for row in logits]
    assert decoding_ways.TEMPERATURES[int(np.argmax(sums_of(logits, sampled, []).sampled))] == 0.6
    assert decoding_ways.NOISES[int(np.argmax(sums_of(logits, rounded, []).rounded))] in (
        0.2,
        0.3,
        0.45,
    )


def test_one_stray_token_decides_nothing() -> None:
    """A single impossible token costs a bounded amount under every hypothesis."""
    row = np.full(VOCABULARY, -40, np.float32)
    row[0] = 10
    least = math.log(decoding_ways.STRAY_SHARE / VOCABULARY)
    sums = sums_of([row], [5], [])
    assert min(*sums.sampled, *sums.rounded) == pytest.approx(least, abs=1e-6)


def test_an_unknown_end_token_is_the_likeliest_that_may_have_ended_the_turn() -> None:
    """How a response ended is judged too, where only its text is known."""
    first, last = rows(2)
    read = decoding.read_logit_rows([first, last], [int(first.argmax())], [], end_ids=(7, 8))
    likelier = 7 if last[7] > last[8] else 8
    assert read.token_ids == (int(first.argmax()), likelier)
    assert read.margin[1] == pytest.approx(float(last.max() - last[likelier]))


def test_too_few_rows_are_refused() -> None:
    """A token without its distribution is never scored by a neighbour's."""
    with pytest.raises(ValueError, match="1 rows of logits for 2 tokens"):
        decoding.read_logit_rows(rows(1), [1, 2], [])
