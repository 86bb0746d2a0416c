"""Numbers in, an Estimate or a TestResult out; pure and seeded. The unit of every interval and test is the prompt."""

from __future__ import annotations

from tempzero.stats.camps import find_camps, find_odd_ones
from tempzero.stats.clusters import design_effect, estimate_by_clusters
from tempzero.stats.drift import (
    SHARE_OF_EXACT_TEST,
    SHARE_OF_POOL,
    DriftTest,
    PoolKind,
    alarm_threshold,
    bet_on,
    drift_test,
    weigh_night,
)
from tempzero.stats.equivalence import loss_of_match, upper_loss
from tempzero.stats.error_budget import Family, divide_budget
from tempzero.stats.hypothesis_tests import TestResult, composite_null_test, holm, mcnemar_exact, sign_flip_test
from tempzero.stats.intervals import (
    divergence_over_prompts,
    exact_proportion,
    mean_over_prompts,
    rate_over_prompts,
    ratio_over_prompts,
    rule_of_three,
    share_over_prompts,
    wilson_proportion,
)
from tempzero.stats.kernels import hamming_kernel, one_hot_kernel, prefix_kernel
from tempzero.stats.likelihood_shift import Likelihoods, ShiftTest, likelihood_shift_test
from tempzero.stats.night_windows import (
    SPREAD_FLOOR,
    TELLING_PROMPT,
    WINDOWS,
    WindowEvidence,
    estimate_spread,
    odds_tolerated,
    weigh_windows,
)
from tempzero.stats.odd_one import odd_one_test
from tempzero.stats.permutation import (
    aa_rejection_rate,
    mmd_permutation,
    one_hot_permutation,
    sequential_permutation,
    session_permutation,
)
from tempzero.stats.power import minimum_detectable_divergence, minimum_detectable_effect
from tempzero.stats.profile import profile_maximum
from tempzero.stats.rounding import (
    ReadChoices,
    expected_misses,
    rounding_evidence,
    rounding_scale,
    tokens_to_exclude,
)
from tempzero.stats.variation import VariationTest, total_variation_test

__all__ = [
    "SHARE_OF_EXACT_TEST",
    "SHARE_OF_POOL",
    "SPREAD_FLOOR",
    "TELLING_PROMPT",
    "WINDOWS",
    "DriftTest",
    "Family",
    "Likelihoods",
    "PoolKind",
    "ReadChoices",
    "ShiftTest",
    "TestResult",
    "VariationTest",
    "WindowEvidence",
    "aa_rejection_rate",
    "alarm_threshold",
    "bet_on",
    "composite_null_test",
    "design_effect",
    "divergence_over_prompts",
    "divide_budget",
    "drift_test",
    "estimate_by_clusters",
    "estimate_spread",
    "exact_proportion",
    "expected_misses",
    "find_camps",
    "find_odd_ones",
    "hamming_kernel",
    "holm",
    "likelihood_shift_test",
    "loss_of_match",
    "mcnemar_exact",
    "mean_over_prompts",
    "minimum_detectable_divergence",
    "minimum_detectable_effect",
    "mmd_permutation",
    "odd_one_test",
    "odds_tolerated",
    "one_hot_kernel",
    "one_hot_permutation",
    "prefix_kernel",
    "profile_maximum",
    "rate_over_prompts",
    "ratio_over_prompts",
    "rounding_evidence",
    "rounding_scale",
    "rule_of_three",
    "sequential_permutation",
    "session_permutation",
    "share_over_prompts",
    "sign_flip_test",
    "tokens_to_exclude",
    "total_variation_test",
    "upper_loss",
    "weigh_night",
    "weigh_windows",
    "wilson_proportion",
]
