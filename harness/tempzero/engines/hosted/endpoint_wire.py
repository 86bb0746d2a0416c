"""A path below an endpoint and a request in, the JSON object that came back out, or an EngineError that says why.

For what no chat engine asks: tokens, and log-probabilities of given ones.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Never

from tempzero.answers.served_names import judge_served_name
from tempzero.config import Provider
from tempzero.engines.hosted.fault_catalogue import (
    outcome_of_break,
    outcome_of_inband_error,
    outcome_of_refusal,
    to_printable_line,
)
from tempzero.engines.hosted.openai_chat import ChatEngine, open_chat_engine
from tempzero.errors import EngineError

_ABSENT_STATUSES = (404, 405)
# What servers say of a request that is too large for them, in words or by what becomes of them.
_SIZE_STATUSES = (400, 413, 422, 500, 507)


class RefusedRequest(EngineError):
    """The server did not do what was asked; with less of it in one request it may."""


class EndpointWire:
    """Its methods block, and are called from one thread at a time, in which no event loop is running."""

    def __init__(self, provider: Provider, environ: Mapping[str, str]) -> None:
        """Nothing is sent yet. Raises EngineError for a key, header or URL that cannot be used."""
        assert provider.base_url is not None, "the configuration allows `reads:` beside `base_url:` only"
        self._provider, self._environ = provider, environ
        self._root = provider.base_url.removesuffix("/v1")
        self.api = provider.base_url.removeprefix(self._root)
        """What stands before the paths of the API: `/v1`, or nothing."""
        self._channels: dict[str, ChatEngine] = {}
        self._runner = asyncio.Runner()

    def describe_path(self, path: str) -> Mapping[str, Any]:
        """How that path is asked, as JSON values without secrets. Raises EngineError where it cannot be."""
        return self._find_channel(path).describe()

    def require_answer(self, path: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """The JSON object that comes back. Raises EngineError for everything else."""
        told = self.ask(path, fields, may_be_absent=False)
        assert told is not None, "absence is an error here"
        return told

    def ask(self, path: str, fields: Mapping[str, Any], *, may_be_absent: bool) -> Mapping[str, Any] | None:
        """The same; None for a path that this server does not have, where it may be absent."""
        body = json.dumps({"model": self._provider.model, **fields}, ensure_ascii=False, allow_nan=False)
        reply = self._runner.run(self._find_channel(path).post(body))
        if reply.status is None or (reply.broken is not None and 200 <= reply.status < 300):
            assert reply.broken is not None, "without a head there is a reason for it"
            kind = RefusedRequest if reply.broken.kind == "too_large" else EngineError
            self.fail(path, outcome_of_break(reply.broken).detail, kind)
        if may_be_absent and reply.status in _ABSENT_STATUSES:
            return None
        if not 200 <= reply.status < 300:
            kind = RefusedRequest if reply.status in _SIZE_STATUSES else EngineError
            self.fail(path, outcome_of_refusal(reply.status, reply.headers, reply.body).detail, kind)
        try:
            value = json.loads(reply.body)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            stated = to_printable_line(reply.headers.get("content-type", "no content type"))
            self.fail(path, f"HTTP {reply.status} with {len(reply.body)} bytes of {stated} that are no JSON object")
        if value.get("error"):
            self.fail(path, outcome_of_inband_error(value["error"], reply.headers).detail)
        problem = find_foreign_model(self._provider, value.get("model"))
        if problem is not None:
            self.fail(path, problem)
        return value

    def fail(self, path: str, problem: str, kind: type[EngineError] = EngineError) -> Never:
        """With the URL as the configuration writes it: filled in, it could hold a secret."""
        raise kind(f"{self._provider.name}: {self._root}{path}: {problem}")

    def close(self) -> None:
        """Close the connections. Safe to call twice."""
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            self._runner.run(channel.aclose())
        self._runner.close()

    def _find_channel(self, path: str) -> ChatEngine:
        if path not in self._channels:
            at_root = self._provider.model_copy(update={"base_url": self._root})
            self._channels[path] = open_chat_engine(at_root, environ=self._environ, path=path)
        return self._channels[path]


def find_foreign_model(provider: Provider, served: Any) -> str | None:
    """What is to be said where another model answers than the one asked for."""
    if not isinstance(served, str):
        return None
    if judge_served_name(served, asked=provider.model, accepted=provider.accepts_models) != "other":
        return None
    return f"{to_printable_line(served)} answers where {provider.model} was asked"
