"""Numbers in, an Estimate or a TestResult out; pure and seeded. The unit of every interval and test is the prompt."""

from __future__ import annotations

from tempzero.stats.drift import WINDOWS, Accumulated, DriftTest, change_point, drift_test, threshold
from tempzero.stats.intervals import (
    divergence_over_prompts,
    exact_proportion,
    mean_over_prompts,
    proportion,
    rule_of_three,
    share_over_prompts,
)
from tempzero.stats.kernels import hamming_kernel, one_hot_kernel, prefix_kernel
from tempzero.stats.permutation import aa_splits, mmd_permutation, one_hot_permutation
from tempzero.stats.power import minimum_detectable_divergence, minimum_detectable_effect
from tempzero.stats.profile import profile_maximum
from tempzero.stats.tests import TestResult, composite_null_test, holm, mcnemar_exact, sign_flip
from tempzero.stats.variation import VariationTest, total_variation_test

__all__ = [
    "WINDOWS",
    "Accumulated",
    "DriftTest",
    "TestResult",
    "VariationTest",
    "aa_splits",
    "change_point",
    "composite_null_test",
    "divergence_over_prompts",
    "drift_test",
    "exact_proportion",
    "hamming_kernel",
    "holm",
    "mcnemar_exact",
    "mean_over_prompts",
    "minimum_detectable_divergence",
    "minimum_detectable_effect",
    "mmd_permutation",
    "one_hot_kernel",
    "one_hot_permutation",
    "prefix_kernel",
    "profile_maximum",
    "proportion",
    "rule_of_three",
    "share_over_prompts",
    "sign_flip",
    "threshold",
    "total_variation_test",
]
