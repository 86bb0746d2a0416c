"""Numbers in, an Estimate or a TestResult out; pure and seeded. The unit of every interval and test is the prompt."""

from __future__ import annotations

from tempzero.stats.drift import WINDOWS, AccumulatedEvidence, DriftTest, alarm_threshold, change_point, drift_test
from tempzero.stats.hypothesis_tests import TestResult, composite_null_test, holm, mcnemar_exact, sign_flip_test
from tempzero.stats.intervals import (
    divergence_over_prompts,
    exact_proportion,
    mean_over_prompts,
    rule_of_three,
    share_over_prompts,
    wilson_proportion,
)
from tempzero.stats.kernels import hamming_kernel, one_hot_kernel, prefix_kernel
from tempzero.stats.odd_one import odd_one_test
from tempzero.stats.permutation import aa_rejection_rate, mmd_permutation, one_hot_permutation
from tempzero.stats.power import minimum_detectable_divergence, minimum_detectable_effect
from tempzero.stats.profile import profile_maximum
from tempzero.stats.variation import VariationTest, total_variation_test

__all__ = [
    "WINDOWS",
    "AccumulatedEvidence",
    "DriftTest",
    "TestResult",
    "VariationTest",
    "aa_rejection_rate",
    "alarm_threshold",
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
    "odd_one_test",
    "one_hot_kernel",
    "one_hot_permutation",
    "prefix_kernel",
    "profile_maximum",
    "rule_of_three",
    "share_over_prompts",
    "sign_flip_test",
    "total_variation_test",
    "wilson_proportion",
]
