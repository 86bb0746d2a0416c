"""The nouns every room shares: frozen, keyword-only values without behaviour, I/O or policy.

asked       prompts, suites, trials, the plan
recorded    exchanges, attempts, records, the manifest
scored      what references read, and what answers that were tried out came to
concluded   figures, findings, diagnoses, verdicts
vocabulary  what the names of metrics, kinds of figures, rules and causes mean
"""
