"""The hosted engine against a real server that does what real servers do."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpcore2
import httpx2
import openai
import pytest
from loopback import (
    Answer,
    Call,
    Close,
    Loopback,
    Pause,
    Reply,
    Reset,
    after,
    body,
    chunk,
    completion,
    error,
    head,
    raw,
)
from tempzero import config
from tempzero.config import Provider
from tempzero.engines import open_engine
from tempzero.engines.hosted.redaction import REDACTED
from tempzero.engines.hosted.wire import BYTE_CAP
from tempzero.errors import EngineError
from tempzero.types.asked import Message, Question, Sampling, Trial
from tempzero.types.recorded import Exchange

KEY = "test-key-0123456789"
PATIENT = {"connect_s": 30.0, "first_byte_s": 30.0, "idle_s": 30.0, "total_s": 60.0}
SHORT = {"connect_s": 30.0, "first_byte_s": 0.3, "idle_s": 0.5, "total_s": 0.9}


def provider(base_url: str, **fields: Any) -> Provider:
    entry = {"name": "p", "base_url": base_url, "model": "m", "timeouts": PATIENT, **fields}
    return config.parse_config({"version": 1, "providers": [entry]}, source="test").providers[0]


def question(prompt: str = "q", **sampling: Any) -> Question:
    values = {"temperature": 0.0, "top_p": 1.0, "seed": 7, "max_tokens": 16, **sampling}
    return Question(
        trial=Trial(provider="p", prompt="p0", condition="default", repeat=0),
        messages=(Message(role="user", content=prompt),),
        sampling=Sampling(**values),
    )


def ask_all(entry: Provider, questions: Sequence[Question], environ: Mapping[str, str] | None = None) -> list[Exchange]:
    async def run() -> list[Exchange]:
        engine = open_engine(entry, environ=environ or {})
        try:
            return [await engine.ask(one) for one in questions]
        finally:
            await engine.aclose()

    return asyncio.run(run())


def ask(answer: Answer | Reply, *, environ: Mapping[str, str] | None = None, **fields: Any) -> tuple[Exchange, Call]:
    """One question to a server that answers like that: the exchange, and what the server saw."""
    with Loopback(answer if callable(answer) else lambda call: answer) as server:
        exchange = ask_all(provider(server.base_url, **fields), [question()], environ)[0]
        return exchange, server.calls[0]


# --- what is sent ----------------------------------------------------------------------------


def test_the_recorded_request_is_byte_for_byte_what_the_server_got() -> None:
    """Evidence is only evidence if the record is the request, not a reconstruction of it."""
    with Loopback() as server:
        exchange = ask_all(provider(server.base_url), [question("naïve \u2028 “quoted” \\ 雪 🙂")])[0]
        (call,) = server.calls
    assert exchange.request.body.encode() == call.body
    assert exchange.request.sha256 == hashlib.sha256(call.body).hexdigest()
    assert (call.method, call.target) == ("POST", "/v1/chat/completions")
    assert exchange.request.url == f"{server.base_url}/chat/completions"


def test_temperature_zero_is_on_the_wire_as_zero() -> None:
    """Clients that drop falsy values turn a temperature-0 test into one at the provider's default."""
    _, call = ask(completion())
    assert b'"temperature":0,' in call.body
    assert call.json == {
        "model": "m",
        "messages": [{"role": "user", "content": "q"}],
        "temperature": 0,
        "top_p": 1,
        "seed": 7,
        "max_tokens": 16,
    }


def test_a_field_without_a_value_is_absent_and_never_null() -> None:
    """Some servers refuse null, others read it as their own default."""
    with Loopback() as server:
        ask_all(provider(server.base_url), [question(temperature=None, top_p=None, seed=None)])
        assert server.calls[0].json.keys() == {"model", "messages", "max_tokens"}


def test_names_and_extra_fields_of_the_provider_are_used() -> None:
    """A provider is data: what it calls a field, and what it needs beside it, stands in its entry."""
    exchange, call = ask(
        completion(),
        parameter_names={"max_tokens": "max_completion_tokens", "seed": "random_seed"},
        request={"provider": {"only": ["x"]}, "top_p": 0.5},
        extra_headers={"X-OpenRouter-Cache": "false", "X-Title": "naïve"},
    )
    assert call.json["max_completion_tokens"] == 16
    assert call.json["random_seed"] == 7
    assert call.json["provider"] == {"only": ["x"]}
    assert call.json["top_p"] == 0.5
    assert call.json.keys().isdisjoint({"max_tokens", "seed"})
    assert call.headers["x-openrouter-cache"] == "false"
    assert ("x-openrouter-cache", "false") in exchange.request.headers


def test_the_official_client_sends_the_same_request() -> None:
    """A provider that treated measurements unlike customers would have nothing to tell them apart by."""
    with Loopback() as server:
        entry = provider(server.base_url, api_key_env="KEY")
        ask_all(entry, [question()], {"KEY": KEY})
        with openai.OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0) as client:
            client.chat.completions.create(
                model="m",
                messages=[{"role": "user", "content": "q"}],
                temperature=0,
                top_p=1,
                seed=7,
                max_tokens=16,
                extra_headers={"accept-encoding": "identity"},
            )
        ours, theirs = server.calls
    assert ours.json == theirs.json
    assert len(ours.body) == len(theirs.body)
    told = {"x-stainless-read-timeout", "connection"}
    assert {k: v for k, v in ours.headers.items() if k not in told} == {
        k: v for k, v in theirs.headers.items() if k not in told
    }


def test_plain_bytes_are_asked_for() -> None:
    """A compressed body would make the recorded bytes unreadable and open the door to decompression bombs."""
    assert ask(completion())[1].headers["accept-encoding"] == "identity"


# --- secrets ---------------------------------------------------------------------------------


def test_the_key_reaches_the_provider_and_nothing_else() -> None:
    """A run folder is made to be handed around."""
    with Loopback() as server:
        entry = provider(server.base_url, api_key_env="KEY")
        engine = open_engine(entry, environ={"KEY": f"{KEY}\n"})
        exchange = ask_all(entry, [question()], {"KEY": f"{KEY}\n"})[0]
        assert server.calls[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in repr(exchange)
    assert KEY not in json.dumps(engine.describe())
    assert KEY not in repr(engine)


def test_the_users_openai_account_is_not_shown_to_other_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The official client sends these variables to whatever base URL it is given."""
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "from-the-environment")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Mine: from-the-environment")
    # The client is asked once for each timeout: this one nobody else has.
    _, call = ask(completion(), timeouts={"total_s": 7.25})
    assert "from-the-environment" not in str(call.headers)
    assert "authorization" not in call.headers


def test_an_echoed_key_is_removed_before_it_is_stored() -> None:
    """Error pages quote what they were sent; the record must not."""
    quoting = body(
        json.dumps({"error": {"message": f"bad key {KEY}"}}).encode(), status=401, headers={"x-request-id": f"a-{KEY}"}
    )
    exchange, _ = ask(quoting, environ={"KEY": KEY}, api_key_env="KEY")
    assert KEY not in repr(exchange)
    assert exchange.response is not None
    assert exchange.response.body is not None
    assert REDACTED in exchange.response.body
    assert exchange.response.sha256 == hashlib.sha256(exchange.response.body.encode()).hexdigest()
    assert dict(exchange.response.headers)["x-request-id"] == f"a-{REDACTED}"
    assert "key_redacted" in exchange.outcome.flags


def test_a_variable_in_the_url_is_used_but_not_recorded() -> None:
    """An account id belongs into the request, not into what is published."""
    with Loopback() as server:
        entry = provider(f"http://127.0.0.1:{server.port}/accounts/${{ACCOUNT}}/v1")
        exchange = ask_all(entry, [question()], {"ACCOUNT": "account-42"})[0]
        assert server.calls[0].target == "/accounts/account-42/v1/chat/completions"
    assert exchange.request.url.endswith("/accounts/${ACCOUNT}/v1/chat/completions")
    assert "account-42" not in repr(exchange)


def test_a_served_endpoint_gets_no_key() -> None:
    """The key belongs to the provider's own address."""

    async def run(base_url: str) -> None:
        entry = provider("http://127.0.0.1:9/v1", api_key_env="KEY")
        engine = open_engine(entry, environ={"KEY": KEY}, base_url=base_url)
        await engine.ask(question())
        await engine.aclose()

    with Loopback() as server:
        asyncio.run(run(server.base_url))
        assert "authorization" not in server.calls[0].headers


@pytest.mark.parametrize("value", [None, "", "two\nlines"])
def test_a_key_that_cannot_be_used_is_said_before_anything_is_sent(value: str | None) -> None:
    """The message names the variable and never the value."""
    environ = {} if value is None else {"KEY": value}
    with pytest.raises(EngineError, match="KEY") as caught:
        open_engine(provider("http://127.0.0.1:9/v1", api_key_env="KEY"), environ=environ)
    assert "lines" not in str(caught.value)


@pytest.mark.parametrize(
    ("base_url", "headers"),
    [
        ("http://${HOST}/v1", {}),
        ("http://127.0.0.1:9/v1", {"X Title": "a"}),
        ("http://127.0.0.1:9/v1", {"X-Title": "a\r\nX-Other: b"}),
    ],
)
def test_what_cannot_be_sent_is_refused_at_the_start(base_url: str, headers: dict[str, str]) -> None:
    """Not in the middle of a paid run, and without quoting the variable's value."""
    with pytest.raises(EngineError) as caught:
        open_engine(provider(base_url, extra_headers=headers), environ={"HOST": "host name:port"})
    assert "host name" not in str(caught.value)


def test_cookies_are_not_kept() -> None:
    """Response headers are kept by name; a session cookie is a secret too."""
    reply = completion(headers={"Set-Cookie": "session=1", "X-Request-Id": "r1", "X-RateLimit-Remaining-Requests": "5"})
    exchange, _ = ask(reply)
    assert exchange.response is not None
    kept = dict(exchange.response.headers)
    assert kept["x-request-id"] == "r1"
    assert kept["x-ratelimit-remaining-requests"] == "5"
    assert "set-cookie" not in kept


# --- what comes back -------------------------------------------------------------------------


def test_an_answer_is_read_and_recorded_exactly() -> None:
    """The one good case, whole."""
    exchange, _ = ask(completion("yes\n", system_fingerprint="fp", provider="Backend"))
    outcome, response = exchange.outcome, exchange.response
    assert (outcome.status, outcome.kind, outcome.flags) == ("valid", "complete", ())
    assert outcome.completion is not None
    assert outcome.completion.text == "yes\n"
    assert outcome.completion.backend == "Backend"
    assert outcome.completion.prompt_tokens == 11
    assert response is not None
    assert response.body is not None
    assert response.complete
    assert response.size_bytes == len(response.body.encode())
    assert exchange.times.first_byte_s is not None
    assert exchange.times.end_s is not None
    assert 0 < exchange.times.first_byte_s <= exchange.times.end_s


def test_bytes_that_are_no_text_are_kept_as_base64() -> None:
    """The evidence of broken bytes is those bytes."""
    exchange, _ = ask(body(b'{"choices": "\xff"}'))
    assert exchange.response is not None
    assert exchange.response.body is None
    assert exchange.response.body_base64 == "eyJjaG9pY2VzIjogIv8ifQ=="


def half_then(*ending: Any) -> Reply:
    return raw(head(1000) + b'{"choices": [', *ending)


BROKEN_EXCHANGES = {
    "reset before the response": (raw(Reset()), "network", "yes"),
    "closed before the response": (raw(Close()), "network", "yes"),
    "not HTTP": (raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", Close()), "network", "yes"),
    "reset within the body": (half_then(Pause(0.02), Reset()), "interrupted", "yes"),
    "closed within the body": (half_then(Close()), "interrupted", "yes"),
    "closed within the chunks": (raw(head(None) + chunk(b'{"choices"'), Close()), "interrupted", "yes"),
    "silence before the response": (raw(Pause(60)), "timeout", "once"),
    "silence after the head": (raw(head(1000), Pause(60)), "timeout", "once"),
    "silence within the body": (half_then(Pause(60)), "stalled", "yes"),
    "a drop now and then": (
        raw(head(1000), *[step for _ in range(300) for step in (b"{", Pause(0.1))]),
        "timeout",
        "once",
    ),
    "blank lines for ever": (
        raw(head(1000), *[step for _ in range(300) for step in (b"\n", Pause(0.1))]),
        "stalled",
        "once",
    ),
}


@pytest.mark.parametrize("name", BROKEN_EXCHANGES)
def test_a_broken_exchange_is_missing_and_says_how_it_broke(name: str) -> None:
    """No half answer ever counts, and no server holds a lane beyond its deadlines."""
    reply, kind, retry = BROKEN_EXCHANGES[name]
    exchange, _ = ask(reply, timeouts=SHORT)
    assert (exchange.outcome.status, exchange.outcome.kind, exchange.outcome.retry) == ("missing", kind, retry)
    assert exchange.outcome.completion is None
    assert exchange.times.end_s is not None
    assert exchange.times.end_s < 20
    if exchange.response is not None:
        assert not exchange.response.complete


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("silence before the response", "no first byte within 0.3 s"),
        ("silence within the body", "no content for 0.5 s"),
        ("blank lines for ever", "no content for 0.5 s"),
        ("a drop now and then", "not finished within 0.9 s"),
    ],
)
def test_each_deadline_is_the_one_that_ended_it(name: str, limit: str) -> None:
    """Four deadlines, told apart: a keep-alive is no content, a trickle is no end."""
    assert limit in ask(BROKEN_EXCHANGES[name][0], timeouts=SHORT)[0].outcome.detail


def test_a_late_first_content_after_an_early_head_is_waited_for() -> None:
    """Some providers send the head and blank lines at once and the answer when it is ready."""
    content = json.dumps({"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}).encode()
    reply = raw(head(len(content) + 1) + b"\n", Pause(0.3), content)
    assert ask(reply, timeouts={**PATIENT, "idle_s": 0.1})[0].outcome.status == "valid"


def test_a_deadline_this_process_slept_through_is_not_held_against_the_server() -> None:
    """An answer that had come in time is read before anything is called late: a stall of ours is nobody's fault."""

    ours: list[asyncio.AbstractEventLoop] = []

    def answer(call: Call) -> Reply:
        ours[0].call_soon_threadsafe(time.sleep, 0.8)
        return after(0.2, completion("word " * 100_000))

    async def run(entry: Provider) -> Exchange:
        ours.append(asyncio.get_running_loop())
        engine = open_engine(entry, environ={})
        try:
            return await engine.ask(question())
        finally:
            await engine.aclose()

    with Loopback(answer) as server:
        exchange = asyncio.run(run(provider(server.base_url, timeouts={**PATIENT, "first_byte_s": 0.5})))
    assert exchange.outcome.kind == "complete"


def test_nobody_listening_is_a_network_fault() -> None:
    """The record exists though nothing was sent, so that coverage counts it."""
    with Loopback() as server:
        address = server.base_url
    exchange = ask_all(provider(address), [question()])[0]
    assert (exchange.outcome.kind, exchange.outcome.retry) == ("network", "yes")
    assert exchange.response is None
    assert exchange.times.first_byte_s is None


def test_a_name_that_does_not_resolve_is_a_network_fault() -> None:
    """The detail tells a mistyped host from a provider that is down."""
    exchange = ask_all(provider("http://no-such-host.invalid/v1"), [question()])[0]
    assert exchange.outcome.kind == "network"


def test_no_tls_on_the_other_side_is_a_tls_fault() -> None:
    """A configuration error: asking again cannot help."""
    with Loopback() as server:
        exchange = ask_all(provider(server.base_url.replace("http:", "https:")), [question()])[0]
    assert (exchange.outcome.kind, exchange.outcome.retry) == ("tls", "never")


def test_a_handshake_that_is_given_up_leaves_no_connection_open() -> None:
    """A provider that hangs for a night must not use up this process's sockets."""

    async def left_open(entry: Provider, server: socket.socket) -> bytes:
        engine = open_engine(entry, environ={})
        exchange = await engine.ask(question())
        assert exchange.outcome.detail.startswith("no connection within 0.2 s")
        connection, _ = server.accept()
        with connection:
            connection.settimeout(60.0)
            hello, rest = connection.recv(1 << 16), connection.recv(1 << 16)
            assert hello
        await engine.aclose()
        return rest

    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"https://127.0.0.1:{server.getsockname()[1]}/v1"
        entry = provider(url, timeouts={**PATIENT, "connect_s": 0.2})
        assert asyncio.run(left_open(entry, server)) == b""


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that nobody has signed, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("makes its certificate with openssl")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=loopback -keyout key.pem -out cert.pem"
    command += " -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    return tmp_path / "cert.pem"


def tls_server(certificate: Path) -> Loopback:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, certificate.with_name("key.pem"))
    return Loopback(tls=tls)


def test_a_certificate_nobody_vouches_for_is_refused_before_the_key_is_sent(certificate: Path) -> None:
    """Whoever answers there is not known to be the provider."""
    with tls_server(certificate) as server:
        exchange = ask_all(provider(server.base_url, api_key_env="KEY"), [question()], {"KEY": KEY})[0]
        assert server.calls == []
    assert (exchange.outcome.kind, exchange.outcome.retry) == ("tls", "never")
    assert "self" in exchange.outcome.detail


def test_an_authority_of_the_users_own_is_trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Company networks name theirs in SSL_CERT_FILE."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with tls_server(certificate) as server:
        exchanges = ask_all(provider(server.base_url), [question()] * 2)
        assert [e.outcome.kind for e in exchanges] == ["complete"] * 2
        assert server.connections_made == 1


def test_a_redirect_is_not_followed() -> None:
    """Following one turns a POST into a GET or takes the key to another host."""
    with Loopback(lambda call: body(b"", status=302, headers={"Location": "/v1/elsewhere"})) as server:
        exchange = ask_all(provider(server.base_url), [question()])[0]
        assert len(server.calls) == 1
    assert (exchange.outcome.status, exchange.outcome.kind) == ("missing", "redirect")


def test_an_endless_body_is_cut_at_the_cap() -> None:
    """A provider cannot fill this machine's memory."""
    exchange, _ = ask(raw(head(None), *[chunk(b" " * 2**20)] * 20))
    assert (exchange.outcome.kind, exchange.outcome.retry) == ("too_large", "never")
    assert exchange.response is not None
    assert exchange.response.size_bytes == BYTE_CAP
    assert not exchange.response.complete


def test_one_question_is_one_request() -> None:
    """Retries belong to one loop that records each of them; the engine has none of its own."""
    replies = {"a": error(500), "b": error(429, headers={"Retry-After": "0"}), "c": raw(Reset())}
    with Loopback(lambda call: replies[call.prompt]) as server:
        ask_all(provider(server.base_url), [question(prompt) for prompt in replies])
        assert server.prompts() == ["a", "b", "c"]


def test_a_connection_survives_between_questions_and_a_broken_one_does_not_hurt_the_next() -> None:
    """Connecting anew each time would measure the handshake, and a dead connection would cost an answer."""
    replies = {1: completion(), 2: completion(), 3: half_then(Close()), 4: after(0.01, completion())}
    with Loopback(lambda call: replies[call.nth]) as server:
        exchanges = ask_all(provider(server.base_url), [question()] * 4)
        assert [e.outcome.kind for e in exchanges] == ["complete", "complete", "interrupted", "complete"]
        assert server.connections_made == 2


def test_a_connection_the_server_closed_meanwhile_costs_no_answer() -> None:
    """Servers drop idle connections; that is no fault of theirs and must not show as one."""
    closing = raw(*completion().steps, Close())

    async def run(entry: Provider) -> list[Exchange]:
        engine = open_engine(entry, environ={})
        exchanges = []
        for _ in range(2):
            exchanges.append(await engine.ask(question()))
            await asyncio.sleep(0.2)
        await engine.aclose()
        return exchanges

    with Loopback(lambda call: closing) as server:
        assert [e.outcome.kind for e in asyncio.run(run(provider(server.base_url)))] == ["complete"] * 2
        assert server.connections_made == 2


def test_a_cancelled_question_leaves_the_engine_usable() -> None:
    """Ctrl-C cancels what is in flight; what is asked afterwards must not see its remains."""

    async def run(entry: Provider) -> Exchange:
        engine = open_engine(entry, environ={})
        asking = asyncio.create_task(engine.ask(question("slow")))
        await asyncio.sleep(0.1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        exchange = await engine.ask(question("quick"))
        await engine.aclose()
        return exchange

    with Loopback(
        lambda call: after(0.2, completion("late")) if call.prompt == "slow" else completion("now")
    ) as server:
        exchange = asyncio.run(run(provider(server.base_url)))
    assert exchange.outcome.completion is not None
    assert exchange.outcome.completion.text == "now"


def test_the_proxy_of_the_environment_is_used_for_https_only() -> None:
    """Which way requests take is decided here and recorded, not left to a library's default."""
    environ = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "b.example"}
    used = {
        url: open_engine(provider(url), environ=environ).describe()["through_proxy"]
        for url in ("https://a.example/v1", "https://api.b.example/v1", "http://a.example/v1")
    }
    assert used == {"https://a.example/v1": True, "https://api.b.example/v1": False, "http://a.example/v1": False}


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (httpx2.AsyncHTTPTransport, "_pool"),
        (httpcore2.AsyncHTTPConnection, "_connection"),
        (httpcore2.AsyncHTTP11Connection, "_h11_state"),
    ],
)
def test_the_manifest_says_where_the_fast_path_is_off(monkeypatch: pytest.MonkeyPatch, layer: type, name: str) -> None:
    """A new version beneath that keeps its state elsewhere makes runs slower: they say so, and why."""
    url = "http://a.example/v1"
    assert "fast_path" not in open_engine(provider(url), environ={}).describe()
    make = layer.__init__  # type: ignore[misc]

    def make_without(self: Any, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        delattr(self, name)

    monkeypatch.setattr(layer, "__init__", make_without)
    said = open_engine(provider(url), environ={}).describe()["fast_path"]
    assert said.startswith(f"off: {layer.__name__}.{name} is not there")
