"""How often prompts' repeats gave each output in, whether one repeat of each is the odd one too often for chance out.

Where all repeats of a prompt are made alike, each of them is equally likely to be the first: no further assumption.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from tempzero.stats.hypothesis_tests import TestResult

_METHOD = "agreement of the others minus agreement with this one, which repeat it is permuted within prompt"


def odd_one_test(
    counts: Iterable[Sequence[int]], chosen: Iterable[int], *, alike: int = 0, seed: int = 0, permutations: int = 999
) -> TestResult:
    """Does the chosen repeat agree less with the others of its prompt than those do with each other? One-sided.

    `counts[j]` is how often each distinct output of prompt j occurred, at least three repeats in all; `chosen[j]` the
    place there of the output that the chosen repeat gave. `alike` more prompts have repeats that are all the same. The
    statistic is the mean over prompts of the others' exact-match rate minus the share of them that the chosen one
    equals. p = (c + 1) / (permutations + 1).
    """
    observed, n = 0.0, alike
    signatures: Counter[tuple[int, ...]] = Counter()
    for one, place in zip(counts, chosen, strict=True):
        n += 1
        observed += _oddness(one, one[place])
        signatures[tuple(sorted(one))] += 1
    if n == 0:
        return TestResult(statistic=0.0, p_value=1.0, n=0, permutations=0, method=_METHOD)
    rng, null = np.random.default_rng(seed), np.zeros(permutations)
    for signature, prompts in sorted(signatures.items()):
        share = np.array(signature) / sum(signature)
        null += rng.multinomial(prompts, share, size=permutations) @ [_oddness(signature, m) for m in signature]
    hits = int(np.count_nonzero(null >= observed - 1e-12 * n))
    return TestResult(
        statistic=observed / n, p_value=(hits + 1) / (permutations + 1), n=n, permutations=permutations, method=_METHOD
    )


def _oddness(counts: Sequence[int], own: int) -> float:
    """How much less a repeat whose output came `own` times agrees with the others than those do with each other."""
    total = sum(counts)
    among_others = (sum(m * (m - 1) for m in counts) - 2 * (own - 1)) / ((total - 1) * (total - 2))
    return among_others - (own - 1) / (total - 1)
