"""Which refusal has which class, what is said to help against it, and whose fault a 403 is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tempzero.engines.hosted.fault_catalogue import outcome_of_refusal
from tempzero.engines.hosted.key_standing import KeyStanding
from tempzero.engines.hosted.remedies import find_remedy, suggest_base_url
from tempzero.types.recorded import FaultKind, Outcome

RENAMED = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
TOO_SMALL = "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got 1 instead."
NO_ZERO = (
    "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported."
)
NO_SYSTEM = "Unsupported value: 'messages[0].role' does not support 'system' with this model."
CALLED = {"message": "Failed to call a function. See 'failed_generation'.", "code": "tool_use_failed"}


def refuse(status: int, error: Any) -> Outcome:
    return outcome_of_refusal(status, {"content-type": "application/json"}, json.dumps({"error": error}).encode())


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, RENAMED, "param_renamed"),
        (400, "max_tokens is deprecated in favor of max_completion_tokens", "param_renamed"),
        (400, TOO_SMALL, "limit_too_small"),
        (400, "max_completion_tokens must be greater than or equal to 16", "limit_too_small"),
        (400, "Could not finish the message because max_tokens or model output limit was reached.", "limit_too_small"),
        (400, "Content Exists Risk", "blocked"),
        (400, "System detected potentially unsafe or sensitive content in input", "blocked"),
        (400, "max_tokens must be at least 1, got -344.", "unsupported_param"),
        (400, "'max_completion_tokens' is too large: 500. Maximum context length is 256 tokens", "prompt_too_long"),
        (400, NO_ZERO, "unsupported_param"),
        (400, NO_SYSTEM, "role_refused"),
        (500, "Jinja Exception: System role not supported", "role_refused"),
        (400, "Developer instruction is not enabled for models/gemma-3-27b-it", "role_refused"),
        (400, "Conversation roles must alternate user/assistant/user/assistant/...", "role_refused"),
        (400, "this model does not support tools", "unsupported_param"),
        (400, "Failed to generate JSON. Please adjust your prompt. See 'failed_generation'.", "generation_failed"),
        (403, "Content violates usage guidelines.", "blocked"),
        (403, "Your request was rejected by our safety system.", "blocked"),
        (400, "This violates our policy", "blocked"),
        (403, "not authorized because no identity-based policy allows it", "auth"),
        (404, "Invalid URL (POST /v1/v1/chat/completions)", "wrong_url"),
        (404, "Not Found", "wrong_url"),
        (404, "The model `x` does not exist", "model_unavailable"),
        (404, "No endpoints found matching your data policy", "model_unavailable"),
    ],
)
def test_a_refusal_that_can_be_helped_has_a_class_of_its_own(status: int, message: str, kind: FaultKind) -> None:
    """What is to be done differs: another name, a larger limit, another prompt, another address, or nothing."""
    assert refuse(status, {"message": message}).kind == kind


def test_an_error_within_an_error_is_read() -> None:
    """Routers pass on what their upstream said as an object, or as a text that spells out JSON."""
    inner = {"error": {"message": RENAMED, "param": "max_tokens"}}
    for message in (inner, json.dumps(inner)):
        assert refuse(400, {"message": message}).kind == "param_renamed"
    routed = {"message": "Provider returned error", "code": 400, "metadata": {"raw": json.dumps(inner)}}
    assert refuse(400, routed).kind == "param_renamed"
    assert refuse(400, {"message": "{not JSON"}).detail == "HTTP 400 {not JSON"


def test_what_the_model_called_is_kept_in_the_detail() -> None:
    """The call that failed is the model's output: no field of the request is to blame, and it can be looked at."""
    outcome = refuse(400, {**CALLED, "failed_generation": '{"name": "f"}'})
    assert (outcome.kind, outcome.retry) == ("generation_failed", "never")
    assert '{"name": "f"}' in outcome.detail
    assert find_remedy(outcome) is None


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (RENAMED, "write parameter_names: {max_tokens: max_completion_tokens}"),
        (TOO_SMALL, "write max_tokens: 16 or more"),
        (NO_ZERO, "leave it out: temperature: null, or may_drop: [temperature]"),
        (
            "Could not finish the message because max_tokens was reached.",
            "raise max_tokens: its reasoning used them up",
        ),
        (
            "max_tokens is too large: 128000. This model supports at most 16384 tokens",
            "write max_tokens: 16384 or less",
        ),
        ("Unsupported parameter: 'logit_bias'", "leave the field logit_bias out, or name it in may_drop"),
        ("extra fields are not allowed", "leave the field out, or name it in may_drop"),
    ],
)
def test_each_class_says_what_to_write(message: str, words: str) -> None:
    """A remedy that does not fit sends its reader in a circle."""
    remedy = find_remedy(refuse(400, {"message": message}))
    assert remedy is not None
    assert remedy.words == words


def test_a_remedy_can_be_tried() -> None:
    """What a program may do about it is said in fields, not only in words."""
    renamed, small = find_remedy(refuse(400, {"message": RENAMED})), find_remedy(refuse(400, {"message": TOO_SMALL}))
    assert renamed is not None
    assert small is not None
    assert (renamed.field, renamed.rename_to) == ("max_tokens", "max_completion_tokens")
    assert (small.field, small.at_least) == ("max_tokens", 16)
    assert find_remedy(refuse(403, {"message": "no"})) is None
    refused = refuse(
        422, [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]
    )
    listed = find_remedy(refused)
    assert listed is not None
    assert listed.field == "seed"


@pytest.mark.parametrize(
    ("asked", "likelier"),
    [
        ("https://host/v1/chat/completions", None),
        ("https://host/api/v1/chat/completions", None),
        ("https://host/chat/completions", "https://host/v1"),
        ("https://host/v1/chat/completions/chat/completions", "https://host/v1"),
        ("https://host/v1/v1/chat/completions", "https://host/v1"),
    ],
)
def test_a_wrong_address_has_a_likelier_one(asked: str, likelier: str | None) -> None:
    """The path twice, or no /v1: what most wrong ones are."""
    assert suggest_base_url(asked) == likelier


def test_a_page_where_the_api_should_be_is_a_wrong_address() -> None:
    """An API answers in JSON; a proxy or web server that knows no such path answers in a page, or not at all."""
    for status, body in ((404, b"<html>"), (404, b"404 page not found"), (404, b""), (405, b'{"detail":"no method"}')):
        assert outcome_of_refusal(status, {}, body).kind == ("wrong_url" if status == 404 else "bad_request")
    assert outcome_of_refusal(405, {}, b"").kind == "wrong_url"


# --- whose fault a 403 is --------------------------------------------------------------------

FORBIDDEN = refuse(403, {"message": "no"})
ANSWERED = Outcome(status="valid", kind="complete")


def judged(standing: KeyStanding, *said: tuple[str, Outcome]) -> list[str]:
    statuses = [200 if outcome is ANSWERED else 403 for _, outcome in said]
    return [
        standing.judge(outcome, status=status, prompt=prompt).kind
        for (prompt, outcome), status in zip(said, statuses, strict=True)
    ]


def test_a_403_before_any_answer_is_the_keys() -> None:
    """Nothing has shown that the key is good."""
    assert judged(KeyStanding(), ("a", FORBIDDEN)) == ["auth"]


def test_a_403_after_an_answer_is_the_prompts_until_a_second_says_so() -> None:
    """One prompt that a host does not like must not end the run; a key that has run out must."""
    said = [("a", ANSWERED), ("b", FORBIDDEN), ("b", FORBIDDEN), ("c", FORBIDDEN)]
    assert judged(KeyStanding(), *said) == ["complete", "blocked", "blocked", "auth"]


def test_an_answer_in_between_clears_the_key() -> None:
    """Several refused prompts among answered ones are several refused prompts."""
    said = [("a", ANSWERED), ("b", FORBIDDEN), ("c", ANSWERED), ("d", FORBIDDEN)]
    assert judged(KeyStanding(), *said) == ["complete", "blocked", "complete", "blocked"]
