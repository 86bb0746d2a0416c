"""Keys in every place from which they could come back or be written down: none of their bytes is kept.

One key is the provider's own, one stands in a header of its configuration, one in a nested field of its requests. A
server that has them gives them back in many ways; what is recorded of the exchange is searched by a reader of its own.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import html
import json
import urllib.parse
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest
from loopback import Close, Loopback, Reply, body, chunk_values, completion_value, event, raw, stream
from tempzero import config
from tempzero.config import Provider
from tempzero.engines import open_engine
from tempzero.engines.hosted.redaction import REDACTED
from tempzero.errors import ConfigError
from tempzero.types.asked import Message, Question, Sampling, Trial
from tempzero.types.recorded import Exchange

KEY = "sk-Own0123456789abcdefghij"
IN_HEADER = "hd-Header/987654+ZYXWvutsrq"
IN_BODY = "bd-Nested&5432109876QWERTYui"
KEYS = {"OWN_KEY": KEY, "HEADER_KEY": IN_HEADER, "BODY_KEY": IN_BODY}
FIELDS: dict[str, Any] = {
    "api_key_env": "OWN_KEY",
    "extra_headers": {"x-portkey-auth": "Token ${HEADER_KEY}", "cookie": "session=${HEADER_KEY}"},
    "request": {"provider": {"auth": {"upstream_key": "${BODY_KEY}"}, "order": ["X"]}},
}


def said(text: str, **more: Any) -> bytes:
    return json.dumps(completion_value(text, **more), ensure_ascii=False).encode()


def pieces(text: str, size: int) -> list[str]:
    return [text[i : i + size] for i in range(0, len(text), size)]


def logprobs(text: str, size: int, *, alternatives: bool = False, numbers: bool = False) -> dict[str, Any]:
    """The tokens of a text, with what else might have come, or with their bytes as numbers."""
    rows: list[dict[str, Any]] = []
    for piece in pieces(text, size):
        others = [{"token": "other", "logprob": -1.0}, {"token": piece, "logprob": -0.1}] if alternatives else []
        shown = {"bytes": list(piece.encode())} if numbers else {"token": piece}
        rows.append({**shown, "logprob": -0.1, "top_logprobs": others})
    return {"content": rows}


def streamed_logprobs(text: str) -> bytes:
    chunks = chunk_values(*("x" for _ in text))
    for chunk, sign in zip(chunks[1:], text, strict=False):
        chunk["choices"][0]["logprobs"] = {"content": [{"token": sign, "logprob": 0.0, "top_logprobs": []}]}
    return b"".join(event(c) for c in chunks) + event("[DONE]")


def listed_parts(text: str) -> bytes:
    parts = [{"type": "text", "text": piece} for piece in pieces(text, 5)]
    return json.dumps(completion_value("x", message={"role": "assistant", "content": parts})).encode()


def ways(key: str) -> Iterator[tuple[str, bytes, dict[str, str]]]:
    """How a key comes back: the way's name, a body, headers."""
    raw_key = key.encode()
    escaped = "".join(f"\\u{ord(c):04x}" for c in key)
    yield "in the text", said(f"your key is {key}"), {}
    yield "in the text twice", said(f"{key}{key}"), {}
    yield "as a label", said("x", system_fingerprint=key), {}
    yield "as the served model", said("x", model=f"m/{key}"), {}
    yield "as the id", said("x", id=key), {}
    yield "escaped letter by letter", said("x").replace(b'"x"', f'"{escaped}"'.encode()), {}
    yield "with escaped slashes", said("x").replace(b'"x"', json.dumps(key).replace("/", "\\/").encode()), {}
    yield "in base64", said(base64.b64encode(raw_key).decode()), {}
    yield "in base64 behind a letter", said(base64.b64encode(b"a" + raw_key).decode()), {}
    yield "in base64 behind two letters", said(base64.b64encode(b"ab" + raw_key).decode()), {}
    yield "in base64 for addresses", said(base64.urlsafe_b64encode(raw_key).decode()), {}
    yield "in hexadecimal", said(raw_key.hex()), {}
    yield "in large hexadecimal", said(raw_key.hex().upper()), {}
    yield "in an address", said(f"http://x/?k={urllib.parse.quote(key, safe='')}"), {}
    yield "in an address, all of it", said("".join(f"%{b:02X}" for b in raw_key)), {}
    yield "as a page", b"<html><p>" + html.escape(key).encode() + b"</p></html>", {}
    yield "as a page, letter by letter", b"<p>" + "".join(f"&#{ord(c)};" for c in key).encode() + b"</p>", {}
    yield "in two bytes a letter", key.encode("utf-16-le"), {}
    yield "in two bytes a letter, the other way", key.encode("utf-16-be"), {}
    yield "compressed", gzip.compress(said(key), mtime=0), {"content-encoding": "gzip"}
    yield "deflated", zlib.compress(said(key)), {"content-encoding": "deflate"}
    yield "compressed twice", gzip.compress(gzip.compress(raw_key, mtime=0), mtime=0), {}
    yield "in an unknown compression", b"\x0b\x02\x80\xff" + raw_key, {"content-encoding": "br"}
    yield "in an error", json.dumps({"error": {"message": f"bad key {key}", "code": 401}}).encode(), {}
    yield "cut at the end of the body", said(key)[: said(key).index(raw_key) + len(raw_key) - 1], {}
    yield "in half, starred out", said(f"{key[:18]}********"), {}
    yield "in the middle, starred out", said(f"**{key[2:19]}**"), {}
    yield "in a header", said("x"), {"x-request-id": key}
    yield "in a header, in base64", said("x"), {"x-request-id": base64.b64encode(raw_key).decode()}
    yield "in a header's name", said("x"), {f"x-request-id-{key.replace('/', '-').replace('&', '-')}": "1"}
    yield "in a cookie", said("x"), {"set-cookie": f"s={key}"}
    yield "in the reasoning", said("x", message={"content": "x", "reasoning_content": key}), {}
    yield "in a refusal", said("x", message={"content": None, "refusal": key}), {}
    yield "in a call", said("x", message={"tool_calls": [{"function": {"name": "f", "arguments": key}}]}), {}
    yield "in parts of the content", listed_parts(key), {}
    yield "in tokens", said("x", choice={"logprobs": logprobs(key, 3)}), {}
    yield "in tokens of one letter", said("x", choice={"logprobs": logprobs(key, 1)}), {}
    yield "in tokens among others", said("x", choice={"logprobs": logprobs(key, 4, alternatives=True)}), {}
    yield "in bytes of tokens", said("x", choice={"logprobs": logprobs(key, 3, numbers=True)}), {}
    yield "as numbers", said("x", bytes=list(raw_key)), {}
    yield "as an echo of the request", said("x", request={"headers": {"authorization": [f"Bearer {key}"]}}), {}


def streamed_ways(key: str) -> Iterator[tuple[str, bytes]]:
    """The same over the pieces of a stream."""
    for size in (1, 4, 9):
        chunks = [event(c) for c in chunk_values(*pieces(key, size))]
        yield f"in pieces of {size}", b"".join(chunks) + event("[DONE]")
    yield "in one piece", b"".join(event(c) for c in chunk_values("a", key)) + event("[DONE]")
    yield "in comments", b"".join(b": %s\n\n" % p.encode() for p in pieces(key, 3)) + event("[DONE]")
    yield "in tokens", streamed_logprobs(key)
    reasoned = chunk_values(*("" for _ in pieces(key, 2)))
    for one, piece in zip(reasoned[1:], pieces(key, 2), strict=False):
        one["choices"][0]["delta"] = {"reasoning_content": piece}
    yield "in pieces of the reasoning", b"".join(event(c) for c in reasoned) + event("[DONE]")


def reads_out(value: Any) -> Iterator[str]:
    """All that a patient reader makes of what was kept: texts, texts in texts, what they come to joined, numbers."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from reads_out(inner)
        columns = [v for v in value.values() if isinstance(v, list)]
        for column in columns:
            names = {n for row in column if isinstance(row, dict) for n in row}
            for name in names:
                yield "".join(str(row.get(name, "")) for row in column if isinstance(row, dict))
    elif isinstance(value, list):
        yield "".join(one for one in value if isinstance(one, str))
        numbers = [one for one in value if isinstance(one, int) and 0 < one < 256]
        yield "".join(map(chr, numbers))
        for inner in value:
            yield from reads_out(inner)
    elif isinstance(value, str):
        yield value
        for line in value.splitlines():
            text = line.partition("data: ")[2] if line.startswith("data: ") else line
            if text[:1] in ("{", "["):
                try:
                    yield from reads_out(json.loads(text))
                except ValueError:
                    continue


def assert_nothing_is_kept(exchange: Exchange) -> None:
    """No key, whole or telling, in any spelling that its owner could read."""
    kept = msgspec.json.encode(exchange)
    spoken = [kept.decode(), *reads_out(json.loads(kept))]
    if exchange.response is not None and exchange.response.body_base64:
        binary = base64.b64decode(exchange.response.body_base64)
        spoken += [
            binary.decode("latin-1"),
            binary.decode("utf-16-le", "replace"),
            binary[1:].decode("utf-16-le", "replace"),
        ]
    for key in KEYS.values():
        known = [key, key.encode().hex(), base64.b64encode(key.encode()).decode()[2:-4], key[2:18], key[:16]]
        for text in spoken:
            assert not [k for k in known if k in text], text
    assert "${HEADER_KEY}" in kept.decode()
    assert "${BODY_KEY}" in kept.decode()


def provider(base_url: str, **fields: Any) -> Provider:
    entry = {"name": "p", "base_url": base_url, "model": "m", **fields}
    return config.parse_config({"version": 1, "providers": [entry]}, source="test").providers[0]


QUESTION = Question(
    trial=Trial(provider="p", prompt="p0", condition="default", repeat=0),
    messages=(Message(role="user", content="q"),),
    sampling=Sampling(temperature=0.0, top_p=1.0, seed=7, max_tokens=16),
)


async def ask_often(entry: Provider, number: int) -> list[Exchange]:
    engine = open_engine(entry, environ=KEYS)
    try:
        return [await engine.ask(QUESTION) for _ in range(number)]
    finally:
        await engine.aclose()


def exchanges_with(replies: Sequence[Reply], **how: Any) -> list[Exchange]:
    """One after the other, of one provider; the keys have gone out where they should."""
    left = list(replies)
    with Loopback(lambda call: left.pop(0)) as server:
        exchanges = asyncio.run(ask_often(provider(server.base_url, **FIELDS, **how), len(replies)))
        call = server.calls[0]
    assert call.headers["authorization"] == f"Bearer {KEY}"
    assert call.headers["x-portkey-auth"] == f"Token {IN_HEADER}"
    assert call.headers["cookie"] == f"session={IN_HEADER}"
    assert call.json["provider"]["auth"]["upstream_key"] == IN_BODY
    return exchanges


@pytest.mark.parametrize("name", [name for name, _, _ in ways(KEY)])
def test_a_key_that_comes_back_is_not_kept(name: str) -> None:
    """Each key in turn: the provider's own, one of a header, one of a field."""
    planted = [next((b, h) for n, b, h in ways(key) if n == name) for key in KEYS.values()]
    for exchange in exchanges_with([body(content, headers=headers) for content, headers in planted]):
        assert_nothing_is_kept(exchange)


@pytest.mark.parametrize("name", [name for name, _ in streamed_ways(KEY)])
def test_a_key_that_comes_back_in_a_stream_is_not_kept(name: str) -> None:
    """No piece of a stream is a key, and together they are."""
    planted = [next(b for n, b in streamed_ways(key) if n == name) for key in KEYS.values()]
    start = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    for exchange in exchanges_with([raw(start + content, Close()) for content in planted], stream=True):
        assert_nothing_is_kept(exchange)


def test_an_honest_answer_is_kept_as_it_came() -> None:
    """Tokens, parts and bytes of other texts are no key: nothing is removed, no answer withheld."""
    tokens = logprobs("a whole honest answer", 3, alternatives=True)
    replies = [body(said("x", choice={"logprobs": tokens}, bytes=[1, 2, 3])), stream(*chunk_values("a", "b"))]
    for exchange in exchanges_with(replies):
        assert exchange.outcome.status == "valid"
        assert exchange.response is not None
        assert REDACTED not in (exchange.response.body or "")


SECRET_NAMES = (
    "x-auth",
    "Authorization",
    "x-api-key",
    "X-Auth-Token",
    "client_secret",
    "Cookie",
    "apiKey",
    "sessionToken",
)


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_secret_that_is_written_out_is_refused_with_the_remedy(name: str) -> None:
    """Headers and fields of requests stand in the manifest, in every record and in every bundle."""
    for fields in ({"extra_headers": {name: "abc123"}}, {"request": {"a": [{name: "abc123"}]}}):
        with pytest.raises(ConfigError, match=r"write \$\{VARIABLE\} at the provider") as refused:
            provider("http://127.0.0.1:9/v1", **fields)
        assert "abc123" not in str(refused.value)


def test_a_key_beside_a_variable_is_still_a_key() -> None:
    """A variable somewhere in the value is no licence for the rest of it."""
    with pytest.raises(ConfigError, match="would put a secret"):
        provider("http://127.0.0.1:9/v1", extra_headers={"x-auth": "Bearer ${X_KEY} 0123456789abcdef0123"})


def test_what_only_sounds_like_a_secret_is_taken() -> None:
    """Counts and marks of tokens, and a cache's label, are settings."""
    fields = {"min_tokens": 3, "prompt_cache_key": "suite-1", "eos_token": "</s>", "token_ids": [1], "keywords": "a"}
    provider("http://127.0.0.1:9/v1", request=fields, extra_headers={"x-title": "t"})
