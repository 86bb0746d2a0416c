"""Every noun that an analysis speaks in, in one list each: metrics, kinds of figures, rules of findings, causes.

What a noun means stands beside its formula; here it is only named. The order is that of the legend, of tables/ and of
the findings. A metric that is in no line here cannot be shown.
"""

from __future__ import annotations

from tempzero.analysis import (
    call_figures,
    conditions,
    findings,
    flag_findings,
    pair_figures,
    pair_findings,
    peer_camps,
    precision_reading,
    provider_figures,
    reasoning_findings,
    reference_levels,
    self_comparison,
    usage_figures,
)
from tempzero.answers.flag_table import FLAGS
from tempzero.attribute import causes, fits, measures
from tempzero.metrics import TEXT_METRICS, agreement, answers, divergence, parting_rate, stopped_sampling
from tempzero.types.vocabulary import Cause, Kind, Metric, Rule, Vocabulary

METRICS: tuple[Metric, ...] = (
    agreement.EMR,
    agreement.EMR_COMPLETE,
    provider_figures.EMR_AS_WRITTEN,
    provider_figures.BIT_IDENTICAL_SHARE,
    agreement.TARR,
    agreement.TARA,
    stopped_sampling.SURVIVORS,
    agreement.UNIQUE_OUTPUTS,
    agreement.MODAL_SHARE,
    divergence.NED,
    parting_rate.PARTINGS_PER_1000_TOKENS,
    self_comparison.AA_FALSE_ALARMS,
    self_comparison.HALVES_EXCESS,
    answers.BEST_ACCURACY,
    answers.WORST_ACCURACY,
    answers.ACCURACY_SPREAD,
    agreement.CROSS_EMR,
    pair_figures.CROSS_EMR_AS_WRITTEN,
    agreement.CROSS_EMR_COMPLETE,
    agreement.EXCESS_DIVERGENCE,
    agreement.NOISE_FLOOR,
    pair_figures.MINIMUM_DETECTABLE_EXCESS,
    divergence.CROSS_NED,
    pair_figures.ANSWER_AGREEMENT,
    answers.FLIPS,
    pair_figures.FINISH_REASON_AGREEMENT,
    pair_figures.LENGTH_DIFFERENCE_CHARS,
    pair_figures.PROMPT_TOKENS_AGREEMENT,
    pair_figures.COMPLETION_TOKENS_DIFFERENCE,
    pair_figures.REASONING_TOKENS_DIFFERENCE,
    pair_figures.REASONING_SHOWN_AGREEMENT,
    *(m.metric for m in TEXT_METRICS),
    call_figures.CALL_F1,
    answers.ACCURACY,
    answers.UNPARSED_SHARE,
    *call_figures.CALL_METRICS,
    pair_figures.MISMATCH_RATE,
    provider_figures.VERBOSITY_CHARS,
    provider_figures.REASONING_SHARE,
    provider_figures.COVERAGE,
    provider_figures.WHOLE_SHARE,
    provider_figures.CENSORED_SHARE,
    provider_figures.MISSING_SHARE,
    provider_figures.EXCLUDED_SHARE,
    provider_figures.EMPTY_SHARE,
    usage_figures.SERVED_MODELS,
    usage_figures.FINGERPRINTS,
    usage_figures.BACKENDS,
    usage_figures.LATENCY_S,
    usage_figures.FIRST_BYTE_S,
    usage_figures.COMPLETION_TOKENS_PER_S,
    usage_figures.CALLS,
    usage_figures.ATTEMPTS,
    measures.TOKEN_MATCH_RATE,
    measures.TOKEN_DIFR,
    measures.UNEXPLAINED_SHARE,
    measures.ALL_TOKENS_MATCH,
    causes.EFFECTIVE_TEMPERATURE,
    fits.ROUNDING_SCALE,
    *measures.MARGIN_QUANTILES,
    *(m for m, _, _ in (*measures.POSITIONS, *measures.CONTEXTS)),
    usage_figures.PROMPT_TOKENS,
    usage_figures.COMPLETION_TOKENS,
    usage_figures.REASONING_TOKENS,
    usage_figures.COST_USD,
    *sorted((m.excess for m in TEXT_METRICS), key=lambda m: m.name),
)

KINDS: tuple[Kind, ...] = (
    Kind(name="coverage", definition="how the planned trials of a provider ended"),
    Kind(name="repeat", definition="how far a provider's own repeats agree with one another"),
    Kind(
        name="conditions",
        definition="how far a provider's answers under one condition agree with its own under another, named as the "
        "counterpart",
    ),
    Kind(name="cross", definition="how far two peers agree, each pair once", mutual=True),
    Kind(name="reference", definition="how far a provider agrees with the reference"),
    Kind(name="scored", definition="how the reference judges a provider's tokens one by one"),
    Kind(name="repetition", definition="how much a provider's texts repeat themselves, alone and over the others"),
    Kind(name="answers", definition="what is read from a provider's texts: accuracy, and other answers than another's"),
    Kind(name="calls", definition="what is called where tools are offered, and which form is kept where one is asked"),
    Kind(name="identity", definition="who answered, as the responses say"),
    Kind(name="speed", definition="how fast a provider answered"),
    Kind(name="cost", definition="what asking a provider took: trials, requests, tokens, money"),
)

RULES: tuple[Rule, ...] = (
    findings.REFERENCE_NOT_REPRODUCIBLE,
    findings.NONDETERMINISTIC,
    conditions.CONDITIONS_DIFFER,
    conditions.FIRST_ANSWERS_DIFFER,
    *flag_findings.FLAG_RULES,
    findings.IDENTITY_CHANGED,
    reasoning_findings.REASONING_SHOWN,
    pair_findings.PROMPT_TOKENS_DIFFER,
    pair_findings.DEVIATES_FROM_REFERENCE,
    reference_levels.DEVIATES_TOKEN_BY_TOKEN,
    precision_reading.PRECISION_CONTRADICTED,
    *causes.CAUSE_RULES,
    peer_camps.ODD_ONE,
    peer_camps.CAMPS_DIFFER,
    peer_camps.DIFFERS,
    pair_findings.ANSWERS_DIFFER,
    pair_findings.REPEATS_MORE,
    pair_findings.LOOPS_MORE,
)

CAUSES: tuple[Cause, ...] = causes.CAUSES

VOCABULARY = Vocabulary(metrics=METRICS, kinds=KINDS, rules=RULES, causes=CAUSES, flags=FLAGS)
