"""A question in, one Chat Completions exchange out, with any OpenAI-compatible endpoint: exact bytes recorded.

The official client says how a request looks (its headers); our own wire carries it. Carried by the client
itself, a request takes two to three times the processor time, faults are hidden (to the client a 200 with an
error is a success), and what the environment holds for OpenAI (organisation, project, extra headers)
goes to whatever endpoint is asked.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import importlib.metadata
import json
import re
import time
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import httpx2
import openai

from tempzero.answers.chat_messages import wire_message, wire_tools
from tempzero.config import Provider, expand_all_variables, expand_variables, merge_fields
from tempzero.engines.hosted.clock import is_clock_skewed
from tempzero.engines.hosted.endpoint_history import EndpointHistory
from tempzero.engines.hosted.fault_catalogue import Reply
from tempzero.engines.hosted.key_standing import KeyStanding
from tempzero.engines.hosted.redaction import REDACTED, Secrets
from tempzero.engines.hosted.response_reading import classify_reply
from tempzero.engines.hosted.wire import BYTE_CAP, Wire, WireAnswer, find_fast_path_gap
from tempzero.errors import EngineError
from tempzero.types.asked import Question
from tempzero.types.recorded import CLOCK_SKEW, Exchange, Outcome, Times, WireRequest, WireResponse

_CHAT_PATH = "/chat/completions"
_LIMIT_NAMES = ("max_completion_tokens", "max_tokens")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_CLIENT_HEADERS = ("accept", "content-type", "user-agent", "x-stainless-")
_KEPT_REQUEST_HEADERS = ("accept", "accept-encoding", "content-type", "user-agent")
# Names, or beginnings of names, of response headers worth keeping; cookies and the like never are.
_KEPT_RESPONSE_HEADERS = (
    "age",
    "apim-request-id",
    "cf-aig-",
    "cf-cache-status",
    "cf-ray",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "fireworks-",
    "helicone-cache",
    "openai-processing-ms",
    "openai-version",
    "request-id",
    "retry-after",
    "server",
    "transfer-encoding",
    "via",
    "x-cache",
    "x-compute-",
    "x-generation-id",
    "x-groq",
    "x-litellm-",
    "x-ms-region",
    "x-openrouter-",
    "x-portkey-",
    "x-prompt-tokens",
    "x-ratelimit-",
    "x-request-id",
    "x-should-retry",
)
_LONGEST_KEPT_HEADER = 500
_READ_IN_THREAD_BYTES = 1 << 20  # bytes that take so long to read that other requests' deadlines would suffer
WITHHELD = f"(not kept: it held the key in a form that cannot be cut out, or could not be searched) {REDACTED}"
# Sent once a cache has answered: known ways to ask for a computed answer. Others ignore what they do not know.
_CACHE_BYPASS_HEADERS = {
    "cache-control": "no-cache",
    "cf-aig-skip-cache": "true",
    "helicone-cache-enabled": "false",
    "x-openrouter-cache": "false",
    "x-portkey-cache-force-refresh": "true",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _RequestFacts:
    """What was asked for, as far as reading the answer depends on it."""

    stream: bool = False
    tools: bool = False
    max_tokens: int | None = None
    text: str = ""


class ChatEngine:
    """Asks one endpoint. Make it with `open_engine`."""

    def __init__(
        self,
        provider: Provider,
        *,
        url: str,
        shown_url: str,
        key: str | None,
        proxy: str | None,
        secrets: Secrets,
        environ: Mapping[str, str],
    ) -> None:
        self._provider = provider
        # What goes out has the values of variables in it; what is recorded, their names.
        filled = {name: expand_all_variables(getattr(provider, name), environ) for name in ("request", "extra_headers")}
        self._filled = provider.model_copy(update=filled) if provider.variables() else provider
        self._shown_url = shown_url
        self._proxied = proxy is not None
        self._secrets = secrets
        self._history = EndpointHistory(pinned=provider.pinned)
        self._standing = KeyStanding()
        self._key = key
        self._fields = {**_official_client_headers(provider.timeouts.total_s), "accept-encoding": "identity"}
        self._fields |= {name.lower(): value for name, value in self._filled.extra_headers.items()}
        self._set_headers({})
        self._wire = Wire(url, timeouts=provider.timeouts, proxy=proxy)

    def _set_headers(self, more: Mapping[str, str]) -> None:
        """What goes out with every request from now on; the entry's own headers have the last word."""
        headers = {**more, **self._fields}
        own = {name.lower(): value for name, value in self._provider.extra_headers.items()}
        shown = {*own, *_KEPT_REQUEST_HEADERS, *more}
        self._shown_headers = tuple((n, own.get(n, v)) for n, v in sorted(headers.items()) if n in shown)
        if self._key:
            headers["authorization"] = f"Bearer {self._key}"
        self._headers = tuple((name.encode(), value.encode()) for name, value in headers.items())

    def describe(self) -> Mapping[str, Any]:
        """Endpoint (with its `${VARIABLE}`s unexpanded), how it is asked, and by which versions."""
        gap = find_fast_path_gap()
        slow = f"off: {gap} is not there; bodies are read piece by piece, and a connection carries one request"
        return {
            "engine": "openai_chat",
            "url": self._shown_url,
            "model": self._provider.model,
            "through_proxy": self._proxied,
            "byte_cap": BYTE_CAP,
            "openai": openai.__version__,
            "httpx2": importlib.metadata.version("httpx2"),
            **({} if gap is None else {"fast_path": slow}),
        }

    async def ask(self, question: Question) -> Exchange:
        """One request, one answer or failure, recorded as it was on the wire."""
        body = build_request_body(self._provider, question)
        recorded = body.encode()
        sent = recorded if self._filled is self._provider else build_request_body(self._filled, question).encode()
        sha256 = hashlib.sha256(recorded).hexdigest()
        shown = self._shown_headers
        answer = await self._wire.post(self._headers, sent)
        streamed = is_streamed(self._provider, question)
        limit = _find_asked_limit(self._provider, question)
        asked = _RequestFacts(stream=streamed, tools=bool(question.tools), max_tokens=limit, text=body)
        if len(answer.body) > _READ_IN_THREAD_BYTES:
            response, read_outcome = await asyncio.to_thread(self._classify_answer, answer, asked)
        else:
            response, read_outcome = self._classify_answer(answer, asked)
        read_outcome = self._standing.judge(read_outcome, status=answer.status, prompt=question.trial.prompt)
        outcome = self._history.judge(
            read_outcome, request_sha256=sha256, end_s=answer.end_s, body=answer.body, now_s=time.monotonic()
        )
        if outcome.retry == "once" and outcome.completion is not None:  # a replay, or what may be one
            self._set_headers(_CACHE_BYPASS_HEADERS)
        exchange = Exchange(
            request=WireRequest(method="POST", url=self._shown_url, headers=shown, body=body, sha256=sha256),
            response=response,
            times=Times(
                started_at=answer.started_at,
                first_byte_s=answer.first_byte_s,
                first_content_s=answer.first_content_s,
                end_s=answer.end_s,
                in_flight=1,
            ),
            outcome=outcome,
        )
        if is_clock_skewed(exchange):
            exchange = replace(exchange, outcome=replace(outcome, flags=(*outcome.flags, CLOCK_SKEW)))
        return exchange

    async def post(self, body: str) -> Reply:
        """Send any JSON; what came back, cleaned of the key."""
        return self._clean_answer(await self._wire.post(self._headers, body.encode()), _RequestFacts())[1]

    async def aclose(self) -> None:
        """Close the connections."""
        await self._wire.aclose()

    def _classify_answer(self, answer: WireAnswer, asked: _RequestFacts) -> tuple[WireResponse | None, Outcome]:
        response, reply = self._clean_answer(answer, asked)
        return response, classify_reply(reply)

    def _clean_answer(self, answer: WireAnswer, asked: _RequestFacts) -> tuple[WireResponse | None, Reply]:
        """What may be stored of an answer: allowed headers, and nothing that holds the key."""
        headers, echoed = self._clean_headers(answer)
        body, in_body = self._secrets.remove_from(answer.body)
        hidden = self._secrets.find_hidden(body, coding=headers.get("content-encoding", "identity"), limit=BYTE_CAP)
        reply = Reply(
            asked_model=self._provider.model,
            accepted_models=self._provider.accepts_models,
            asked_max_tokens=asked.max_tokens,
            asked_text=asked.text,
            asked_stream=asked.stream,
            offered_tools=asked.tools,
            status=answer.status,
            headers=headers,
            # Bytes nobody can search are classified, which quotes none of them, and not kept.
            body=b"" if hidden == "spelled" else body,
            broken=answer.broken,
            key_redacted=echoed or in_body or hidden is not None,
            withheld=hidden == "spelled",
            surplus=answer.surplus,
        )
        kept = tuple(headers.items())
        body = WITHHELD.encode() if hidden else body
        if answer.status is None:
            return None, reply
        text, encoded = _as_text_or_base64(body)
        response = WireResponse(
            status=answer.status,
            headers=kept,
            body=text,
            body_base64=encoded,
            sha256=hashlib.sha256(body).hexdigest(),
            size_bytes=len(body),
            complete=answer.broken is None and hidden is None,
        )
        return response, reply

    def _clean_headers(self, answer: WireAnswer) -> tuple[dict[str, str], bool]:
        """Response headers worth keeping, of several by one name the last, and whether a secret stood in them."""
        kept, echoed = {}, False
        for name, value in answer.headers:
            if name.startswith(_KEPT_RESPONSE_HEADERS):
                clean, found = self._secrets.clean_header(name, value)
                echoed = echoed or found
                if clean or not found:
                    kept[name] = clean[:_LONGEST_KEPT_HEADER]
        return kept, echoed


def open_chat_engine(
    provider: Provider, *, environ: Mapping[str, str], served_at: str | None = None, path: str = _CHAT_PATH
) -> ChatEngine:
    """The engine of a `base_url:` provider, or of a `serve:` one that listens at `served_at`.

    `path` is what it posts to, below that root. The key goes to the provider's own base_url only, never to a
    served endpoint.
    Raises EngineError where a variable is not set, or a key, header or URL cannot be used.
    """
    needed = [name for name in provider.variables() if served_at is None or name != provider.api_key_env]
    unset = [name for name in needed if not environ.get(name, "").strip()]
    if unset:
        raise EngineError(f"{provider.name}: environment variable {' and '.join(unset)} not set")
    for name, value in expand_all_variables(provider.extra_headers, environ).items():
        if not (_HEADER_NAME.fullmatch(name) and value.isprintable()):
            raise EngineError(f"{provider.name}: extra_headers: {name!r} or its value cannot be sent as a header")
    if served_at is not None:
        url = served_at.rstrip("/") + path
        return ChatEngine(
            provider,
            url=url,
            shown_url=url,
            key=None,
            proxy=None,
            secrets=_gather_secrets(provider, environ),
            environ=environ,
        )
    if provider.base_url is None:
        raise EngineError(f"{provider.name}: has no base_url and is not being served")
    key = environ[provider.api_key_env].strip() if provider.api_key_env else None
    if key is not None and not (key.isascii() and key.isprintable()):
        raise EngineError(f"{provider.name}: the value of {provider.api_key_env} holds characters no header can carry")
    url, shown = expand_variables(provider.base_url, environ) + path, provider.base_url + path
    proxy = _choose_proxy(url, environ)
    secrets = _gather_secrets(provider, environ, *_proxy_passwords(proxy))
    try:
        return ChatEngine(provider, url=url, shown_url=shown, key=key, proxy=proxy, secrets=secrets, environ=environ)
    except (httpx2.InvalidURL, ValueError):
        # Without the cause: it quotes the URL with its variables filled in.
        raise EngineError(f"{provider.name}: {provider.base_url} is no usable URL once its variables are in") from None


def _gather_secrets(provider: Provider, environ: Mapping[str, str], *more: str) -> Secrets:
    return Secrets([*(environ.get(name, "").strip() for name in provider.variables()), *more])


def is_streamed(provider: Provider, question: Question) -> bool:
    """Whether this question is asked as a stream: the one place that says so."""
    own = None if question.body is None else question.body.get("stream")
    given = [value for value in (question.stream, own, provider.stream) if value is not None]
    return bool(given[0])


def build_request_body(provider: Provider, question: Question) -> str:
    """The request's JSON, byte for byte. What has no value is absent, never null.

    Over what is sent anyway are laid the provider's fields, then those of prompt and condition.
    """
    fields = _whole_fields(provider, question) if question.body is not None else _composed_fields(provider, question)
    return json.dumps(fields, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _composed_fields(provider: Provider, question: Question) -> dict[str, Any]:
    sampling, names = question.sampling, provider.parameter_names
    streamed = True if is_streamed(provider, question) else None
    fields: dict[str, Any] = {
        "model": provider.model,
        "messages": [wire_message(m) for m in question.messages],
        **wire_tools(question.tools, question.tool_choice),
        "temperature": _as_plain_number(sampling.temperature),
        "top_p": _as_plain_number(sampling.top_p),
        names.seed: sampling.seed,
        names.max_tokens: sampling.max_tokens,
        "stream": streamed,
        "stream_options": streamed and {"include_usage": True},
    }
    present = {name: value for name, value in fields.items() if value is not None}
    return merge_fields(present, provider.fields, question.request)


def _whole_fields(provider: Provider, question: Question) -> dict[str, Any]:
    """A body that a prompt brings whole: as it is, nulls included, with what must be this provider's own.

    That is the model's name, fields that the provider needs (below the body's own), the name of the limit, the limit
    itself where the body has none, and whether to stream; what the provider is never sent is left out.
    """
    names, body = provider.parameter_names, dict(question.body or {})
    limits = [name for name in _LIMIT_NAMES if body.get(name) is not None]
    limit = body[limits[0]] if limits else question.sampling.max_tokens
    if names.max_tokens not in limits:
        body = {name: value for name, value in body.items() if name not in limits} | {names.max_tokens: limit}
    never = [name for name in ("temperature", "top_p", "seed") if getattr(provider, name) is None]
    own = {name: value for name, value in body.items() if name not in never}
    if is_streamed(provider, question) != bool(own.get("stream")):
        own["stream"] = not own.get("stream")
    if own.get("stream"):
        own.setdefault("stream_options", {"include_usage": True})
    weaker = {name: value for name, value in provider.fields.items() if name not in own}
    return merge_fields({**own, "model": provider.model}, weaker, question.request)


def _find_asked_limit(provider: Provider, question: Question) -> int | None:
    """The limit of tokens that a request carries."""
    body = question.body or {}
    given = [body[name] for name in (provider.parameter_names.max_tokens, *_LIMIT_NAMES) if body.get(name) is not None]
    limit = given[0] if given else question.sampling.max_tokens
    return limit if type(limit) is int else None


def _as_plain_number(value: float | None) -> float | int | None:
    """0 and not 0.0 on the wire, as everybody writes it."""
    return int(value) if value is not None and value.is_integer() else value


@lru_cache(maxsize=64)
def _official_client_headers(timeout_s: float) -> Mapping[str, str]:
    """The headers the official client sends, asked of it: a provider cannot tell this from a usual customer.

    The client composes one request for a transport that keeps it. Whatever else it takes from the
    environment (OPENAI_ORG_ID, OPENAI_CUSTOM_HEADERS, ...) is left behind.
    """
    kept = _KeepingTransport()
    with httpx2.Client(transport=kept, trust_env=False) as http:
        client = openai.OpenAI(
            api_key="none", base_url="http://localhost", max_retries=0, timeout=timeout_s, http_client=http
        )
        client.post(_CHAT_PATH, cast_to=httpx2.Response, body={})
    return {n.lower(): v for n, v in kept.request.headers.items() if n.lower().startswith(_CLIENT_HEADERS)}


class _KeepingTransport(httpx2.BaseTransport):
    """Sends nothing; keeps what would have been sent."""

    request: httpx2.Request

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.request = request
        return httpx2.Response(200, json={})


def _choose_proxy(url: str, environ: Mapping[str, str]) -> str | None:
    """HTTPS_PROXY for an https endpoint, unless NO_PROXY names the host; http goes direct, always.

    Inside a tunnel TLS keeps the proxy out of the exchange. Plain http is for endpoints
    on this machine or network, and a proxy could answer it from a cache.
    """
    settings = {name.lower(): value for name, value in environ.items() if name.lower() in ("https_proxy", "no_proxy")}
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" or not settings.get("https_proxy"):
        return None
    host = f".{parts.hostname}"
    direct = [entry.strip().lower().lstrip(".") for entry in settings.get("no_proxy", "").split(",")]
    if any(entry == "*" or (entry and host.endswith(f".{entry}")) for entry in direct):
        return None
    return settings["https_proxy"]


def _proxy_passwords(proxy: str | None) -> list[str]:
    """What a proxy's URL holds beside its address."""
    password = urllib.parse.urlsplit(proxy).password if proxy else None
    return [password] if password else []


def _as_text_or_base64(body: bytes) -> tuple[str | None, str | None]:
    try:
        return body.decode(), None
    except UnicodeDecodeError:
        return None, base64.b64encode(body).decode()
