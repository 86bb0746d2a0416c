"""The kind of an attempt that did not end in a plain text in, one line for a newcomer out."""

from __future__ import annotations

from collections.abc import Mapping

from tempzero.types.concluded import FailureKind

_WORDS: Mapping[FailureKind, str] = {
    "auth": "the key was refused",
    "bad_request": "the provider refuses the request",
    "blocked": "the provider refused the prompt",
    "cached": "an answer from a cache, not computed for this request; left out",
    "content_filter": "the text was cut by a content filter",
    "empty": "an empty text, which is an answer",
    "empty_body": "a response without a body",
    "empty_prompt": "the prompt comes to no token at all",
    "encoding": "bytes that are no valid text",
    "generation_failed": "what the model wrote (a tool call, JSON) did not pass the provider's own check",
    "inband_error": "an error inside a response that claimed success",
    "interrupted": "the connection broke in the middle of the response",
    "length": "the text was cut at the token limit",
    "limit_too_small": "the provider takes no limit of so few tokens",
    "malformed": "a response that is not valid JSON",
    "model_unavailable": "the endpoint does not know the model",
    "network": "no connection, or it broke before the response",
    "no_choices": "a response without any choice",
    "failed": "an error of which no more is known",
    "not_asked": "the run ended before this was asked",
    "not_attempted": "withdrawn before the answer was complete",
    "not_json": "something else than JSON (a web page?)",
    "not_recorded": "the replayed run holds no such answer",
    "param_renamed": "the provider calls a field by another name",
    "prompt_too_long": "the prompt is longer than the provider accepts",
    "quota": "no credit or quota left",
    "rate_limited": "too many requests at that moment; asked again as often as the configuration allows",
    "redirect": "a redirect, which is not followed",
    "reference": "the model could not compute it",
    "refusal": "the provider declined to answer",
    "role_refused": "the provider does not take a message of that role",
    "schema": "JSON of an unexpected shape",
    "server": "the provider's server failed",
    "stalled": "the response stopped coming",
    "timeout": "no response within the deadline",
    "tls": "the secure connection could not be set up",
    "too_large": "more bytes than a response may have",
    "truncated_stream": "the stream ended without its end mark",
    "unpinned": "another upstream answered than the pinned one",
    "withheld": "the response spelled out the API key and was not kept",
    "wrong_url": "nothing answers at this address: base_url is wrong",
    "unsupported_param": "the provider refuses a sampling parameter",
}


def fault_words(kind: FailureKind) -> str:
    """What happened, in plain words; what is no failure has none."""
    return _WORDS.get(kind, "")
