"""Tallies and compared pairs in, the rate at which their texts part out: partings for every 1,000 tokens shared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tempzero import stats
from tempzero.analysis.book import Book, Subject
from tempzero.analysis.pair_figures import Comparison
from tempzero.analysis.provider_figures import provider_subject
from tempzero.analysis.tallies import Tally
from tempzero.analysis.texts import Texts
from tempzero.metrics.agreement import Floats, Ints
from tempzero.metrics.divergence import common_prefix_lengths
from tempzero.metrics.parting_rate import (
    PARTINGS_PER_1000_TOKENS,
    Exposure,
    SharedChars,
    measure_cross_exposure,
    measure_repeat_exposure,
)

_PER_TOKENS = 1000


def enter_parting_rates(book: Book, tallies: Sequence[Tally], compared: Sequence[Comparison], texts: Texts) -> None:
    """Of every provider's repeats, and of every listed pair of providers or conditions."""
    for tally in tallies:
        if tally.stopped is None:
            exposure = measure_repeat_exposure(tally.own, texts.chars, _share_prefixes(texts.text))
            _enter_rate(book, provider_subject(tally, "repeat"), exposure, (tally,))
    for one in (c for c in compared if c.pair.listed):
        basis = texts.by_part(one.pair.basis)
        exposure = measure_cross_exposure(one.left, one.right, basis.chars, _share_prefixes(basis.text))
        _enter_rate(book, one.pair.subject, exposure, (one.pair.left, one.pair.right))


def _share_prefixes(text: Sequence[str]) -> SharedChars:
    def measure(left: Ints, right: Ints) -> Ints:
        return common_prefix_lengths([text[i] for i in left.tolist()], [text[i] for i in right.tolist()])

    return measure


def _enter_rate(book: Book, subject: Subject, exposure: Exposure, tallies: Sequence[Tally]) -> None:
    rates = np.stack([_tokens_per_char(tally) for tally in tallies])
    known = ~np.isnan(rates).any(axis=0) & ~np.isnan(exposure.parted)
    tokens = np.where(known, exposure.shared_chars * rates.mean(axis=0), np.nan)[known]
    estimate = stats.rate_over_prompts(exposure.parted[known], tokens, per=_PER_TOKENS)
    book.put(subject, PARTINGS_PER_1000_TOKENS, estimate)


def _tokens_per_char(tally: Tally) -> Floats:
    """Of each prompt's answers, by the provider's own count."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found = tally.completion_tokens / tally.chars
    return np.where(np.isfinite(found), found, np.nan)
