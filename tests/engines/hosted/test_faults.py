"""Which class a refusal belongs to, whether to ask again, and how long to wait."""

from __future__ import annotations

import email.utils
import json
import time
from collections.abc import Mapping
from typing import Any

import pytest
from tempzero.engines.hosted.fault_catalogue import PERMANENT_FAULTS, outcome_of_refusal, to_printable_line
from tempzero.types.recorded import Outcome


def refusal(status: int, error: Any = None, headers: Mapping[str, str] | None = None) -> Outcome:
    body = b"" if error is None else json.dumps({"error": error}).encode()
    return outcome_of_refusal(status, headers or {}, body)


@pytest.mark.parametrize(
    ("status", "error", "kind", "retry"),
    [
        (429, {"message": "Rate limit reached", "type": "requests"}, "rate_limited", "yes"),
        (429, {"message": "You exceeded your current quota", "code": "insufficient_quota"}, "quota", "never"),
        (429, {"message": "no", "type": "exceeded_current_quota_error"}, "quota", "never"),
        (402, {"message": "Insufficient credits"}, "quota", "never"),
        (403, {"message": "Insufficient balance"}, "quota", "never"),
        (500, None, "server", "yes"),
        (502, "<html>", "server", "yes"),
        (503, {"message": "model is loading"}, "server", "yes"),
        (529, {"type": "overloaded_error"}, "server", "yes"),
        (522, None, "server", "yes"),
        (408, None, "server", "yes"),
        (409, None, "server", "yes"),
        (425, None, "server", "yes"),
        (401, {"message": "Incorrect API key provided"}, "auth", "never"),
        (403, {"message": "Country not supported"}, "auth", "never"),
        (400, {"message": "Incorrect API key provided: ab***yz"}, "auth", "never"),
        (400, {"code": 400, "message": "API key not valid. Please pass a valid API key."}, "auth", "never"),
        (404, {"message": "The model `x` does not exist", "code": "model_not_found"}, "model_unavailable", "never"),
        (404, "<html>", "model_unavailable", "never"),
        (410, None, "model_unavailable", "never"),
        (400, {"message": "x is not a valid model ID"}, "model_unavailable", "never"),
        (400, {"code": "model_decommissioned", "message": "it has been decommissioned"}, "model_unavailable", "never"),
        (403, {"message": "Project does not have access to model x"}, "model_unavailable", "never"),
        (413, None, "prompt_too_long", "never"),
        (400, {"code": "context_length_exceeded", "message": "too long"}, "prompt_too_long", "never"),
        (400, {"message": "This model's maximum context length is 8192 tokens"}, "prompt_too_long", "never"),
        (400, {"message": "Unsupported parameter: 'max_tokens'", "param": "max_tokens"}, "unsupported_param", "never"),
        (400, {"message": "invalid temperature: only 1 is allowed for this model"}, "unsupported_param", "never"),
        (400, {"message": "temperature is deprecated for this model"}, "unsupported_param", "never"),
        (422, [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}], "unsupported_param", "never"),
        (400, {"message": "content management policy", "code": "content_filter"}, "blocked", "never"),
        (403, {"message": "Your input was flagged", "metadata": {"reasons": ["x"]}}, "blocked", "never"),
        (451, None, "blocked", "never"),
        (302, None, "redirect", "never"),
        (307, None, "redirect", "never"),
        (400, {"message": "messages: at least one is required"}, "bad_request", "never"),
        (405, None, "wrong_url", "never"),
    ],
)
def test_a_refusal_has_the_class_its_status_and_words_say(status: int, error: Any, kind: str, retry: str) -> None:
    """Providers disagree on numbers; a wrong class retries what cannot change or gives up what would."""
    outcome = refusal(status, error)
    assert (outcome.status, outcome.kind, outcome.retry) == ("missing", kind, retry)
    assert f"HTTP {status}" in outcome.detail


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1e999"}, None),
        ({"retry-after": "Mon, 01 Jan 2024 00:00:00 +9999"}, None),
        ({"retry-after": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"}, None),
        ({}, None),
    ],
)
def test_the_wait_a_provider_asks_for_is_understood(headers: dict[str, str], seconds: float | None) -> None:
    """In seconds, milliseconds or as a date by the provider's own clock; anything else is no wish."""
    assert refusal(429, None, headers).retry_after_s == seconds


def test_a_date_without_the_providers_clock_is_read_by_ours() -> None:
    """`Date` may be missing."""
    wait = refusal(503, None, {"retry-after": email.utils.formatdate(time.time() + 60, usegmt=True)}).retry_after_s
    assert wait is not None
    assert 50 < wait <= 60


def test_no_wait_is_reported_where_nothing_is_asked_again() -> None:
    """A wait would hold the lane for nothing."""
    assert refusal(400, None, {"retry-after": "60"}).retry_after_s is None


def test_permanent_faults_are_those_that_every_further_request_meets() -> None:
    """Asking on with a refused key is rude to the provider and useless to the user."""
    assert {"auth", "quota", "model_unavailable", "wrong_url", "tls", "redirect"} == PERMANENT_FAULTS


def test_a_detail_is_one_short_printable_line() -> None:
    """An error body is somebody else's text: it may try to drive the terminal or fill the report."""
    hostile = "a\nb\x1b[2J\u202ec\ud800" + "x" * 10_000
    detail = refusal(500, {"message": hostile}).detail
    assert detail.isprintable()
    assert len(detail) <= 300
    assert to_printable_line(hostile).startswith("a b [2J c x")
