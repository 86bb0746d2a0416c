"""Providers in, what they really do with a request out: a few tokens each, before anything is spent on a run.

`preflight_providers` is the short form: one request of one token to every hosted provider. `check_setting` asks about
fifteen, and looks at behaviour, not at acceptance: a field that is taken and ignored is worse than one that is refused.
Both settle refusals by the same rule, so that they never disagree about an endpoint.

check_request   one request, and a second one where the first met a passing fault
refusals        what a refusal speaks of, and the same provider asked so that it answers
preflight       the short form
provider_check  the long form: one provider, looked at from all sides
field_probes    fields that a run sends only where it is told to: stop, logprobs, n, tools, JSON mode, effort
model_list      whether the model is in the endpoint's own list
top_logprobs    how many log-probabilities of a first token it gives, rounded to what, and whose they are
no_answers      why nobody answered, in a few lines
"""

from __future__ import annotations

from tempzero.check.check_request import SMALLEST_LIMIT
from tempzero.check.field_probes import find_reasoning_switch, shows_reasoning
from tempzero.check.no_answers import describe_no_answers
from tempzero.check.preflight import CheckExchange, Preflight, preflight_providers
from tempzero.check.provider_check import (
    CHECK_COLUMNS,
    ProviderCheck,
    SettingCheck,
    check_providers,
    check_setting,
    select_hosted,
    worst_state,
)
from tempzero.check.refusals import explain_no_answer, find_field_change
from tempzero.check.top_logprobs import MOST_LOGPROBS, TopLogprobs, find_top_logprobs

__all__ = [
    "CHECK_COLUMNS",
    "MOST_LOGPROBS",
    "SMALLEST_LIMIT",
    "CheckExchange",
    "Preflight",
    "ProviderCheck",
    "SettingCheck",
    "TopLogprobs",
    "check_providers",
    "check_setting",
    "describe_no_answers",
    "explain_no_answer",
    "find_field_change",
    "find_reasoning_switch",
    "find_top_logprobs",
    "preflight_providers",
    "select_hosted",
    "shows_reasoning",
    "worst_state",
]
