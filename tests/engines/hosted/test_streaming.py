"""Streams: the same text as unstreamed, whatever the cut of their bytes, with the time of their first token."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import (
    Call,
    Loopback,
    Pause,
    Reply,
    chunk,
    chunk_values,
    completion,
    completion_value,
    event,
    head,
    raw,
    stream,
)
from tempzero import config
from tempzero.config import Provider, Serve, Weights
from tempzero.engines import open_engine
from tempzero.engines.hosted import wire
from tempzero.engines.hosted.event_stream import ContentWatch, StreamEvent, decode_events
from tempzero.engines.hosted.fault_catalogue import Reply as Read
from tempzero.engines.hosted.response_reading import classify_reply
from tempzero.engines.local.serve import run_server
from tempzero.engines.local.weights import obtain_weights
from tempzero.types.asked import Message, Question, Sampling, Trial
from tempzero.types.recorded import Completion, Exchange, Outcome
from tiny_gguf import tiny_model


def question(prompt: str = "q", max_tokens: int = 16) -> Question:
    return Question(
        trial=Trial(provider="p", prompt="p0", condition="default", repeat=0),
        messages=(Message(role="user", content=prompt),),
        sampling=Sampling(temperature=0.0, top_p=1.0, seed=7, max_tokens=max_tokens),
    )


async def asking(entry: Provider, *questions: Question, base_url: str | None = None) -> list[Exchange]:
    engine = open_engine(entry, environ={}, base_url=base_url)
    try:
        return [await engine.ask(one) for one in questions]
    finally:
        await engine.aclose()


def provider(base_url: str, **fields: Any) -> Provider:
    entry = {"name": "p", "base_url": base_url, "model": "m", "stream": True, **fields}
    return config.parse_config({"version": 1, "providers": [entry]}, source="test").providers[0]


def ask(reply: Reply, **fields: Any) -> tuple[Exchange, Call]:
    with Loopback(lambda call: reply) as server:
        (exchange,) = asyncio.run(asking(provider(server.base_url, **fields), question()))
        return exchange, server.calls[0]


def completed(exchange: Exchange) -> Completion:
    assert exchange.outcome.completion is not None, exchange.outcome
    return exchange.outcome.completion


def reading(body: bytes) -> Outcome:
    return classify_reply(Read(asked_model="m", asked_stream=True, status=200, headers={}, body=body, broken=None))


# --- asking ----------------------------------------------------------------------------------


def test_a_stream_is_asked_for_with_its_usage() -> None:
    """Without the count of tokens neither cost nor a cache can be seen; unstreamed, neither field is sent."""
    _, call = ask(stream(*chunk_values("yes")))
    assert call.json["stream"] is True
    assert call.json["stream_options"] == {"include_usage": True}
    assert ask(completion(), stream=False)[1].json.keys().isdisjoint({"stream", "stream_options"})


def test_the_times_of_a_stream_are_those_of_its_bytes() -> None:
    """First byte, first token and end are three moments; a comment and the role are no token."""
    role, *others = [chunk(event(c)) for c in chunk_values("yes")]
    opening = head(None, content_type="text/event-stream")
    reply = raw(
        opening, chunk(b": wait\n\n"), role, Pause(0.6), *others, Pause(0.6), chunk(event("[DONE]")), chunk(b"")
    )
    times = ask(reply)[0].times
    assert times.first_byte_s is not None
    assert times.first_content_s is not None
    assert times.end_s is not None
    assert times.first_content_s - times.first_byte_s > 0.2
    assert times.end_s - times.first_content_s > 0.2


def test_only_a_stream_has_a_first_token() -> None:
    """When the first token of a whole answer was made nobody outside knows."""
    assert ask(completion(), stream=False)[0].times.first_content_s is None


def test_the_content_deadline_counts_content_and_not_signs_of_life() -> None:
    """A slow stream that goes on is waited for; the catalogue holds the ones that only pretend to."""
    steps = [step for c in chunk_values(*"abcdefgh") for step in (chunk(event(c)), Pause(0.2))]
    reply = raw(head(None, content_type="text/event-stream"), *steps, chunk(event("[DONE]")), chunk(b""))
    timeouts = {"connect_s": 9.0, "first_byte_s": 1.0, "idle_s": 1.0, "total_s": 30.0}
    assert completed(ask(reply, timeouts=timeouts)[0]).text == "abcdefgh"


# --- the same text ---------------------------------------------------------------------------


def test_a_stream_and_a_whole_answer_are_the_same_completion() -> None:
    """How it was asked must not show as divergence."""
    fields: dict[str, Any] = {"system_fingerprint": "fp", "provider": "Backend", "id": "chatcmpl-x"}
    reasoned = [
        {**chunk_values()[0], **fields, "choices": [{"index": 0, "delta": {"reasoning_content": part}}]}
        for part in ("2+", "2")
    ]
    role, *others = chunk_values("f", "our", **fields)
    streamed = completed(ask(stream(role, *reasoned, *others))[0])
    whole = completed(ask(completion("four", message={"reasoning_content": "2+2"}, **fields), stream=False)[0])
    assert streamed == whole
    assert streamed.reasoning_text == "2+2"


def test_a_llama_cpp_server_says_the_same_both_ways() -> None:
    """The real thing: one server, one prompt, streamed and not; fields that are about the answer agree."""
    path = tiny_model()
    weights = obtain_weights(
        Weights(source=f"path:{path}", licence="none"),
        precision="as_is",
        cache=path.parent / "cache",
        say=lambda _: None,
    )
    serve = Serve.model_validate({"weights": "w", "threads": 1, "context": 256})
    whole = config.parse_config(
        {"version": 1, "providers": [{"name": "p", "serve": serve.model_dump(), "model": "tiny"}]}, source="test"
    ).providers[0]
    questions = [question("hello"), question("and now?", 24)]

    async def run() -> list[list[Exchange]]:
        async with run_server(whole, weights) as served:
            entries = (whole, whole.model_copy(update={"stream": True}))
            return [await asking(entry, *questions, base_url=served.base_url) for entry in entries]

    plain, streamed = asyncio.run(run())
    for one, other in zip(plain, streamed, strict=True):
        assert (one.outcome.status, one.outcome.kind) == (other.outcome.status, other.outcome.kind)
        assert other.outcome.flags == one.outcome.flags
        ours, theirs = completed(one), completed(other)
        assert ours.text == theirs.text
        assert ours.text
        assert ours.finish_reason == theirs.finish_reason
        assert (ours.prompt_tokens, ours.completion_tokens) == (theirs.prompt_tokens, theirs.completion_tokens)
        assert (ours.served_model, ours.fingerprint) == (theirs.served_model, theirs.fingerprint)
        assert other.times.first_content_s is not None
        assert other.response is not None
        assert other.response.body is not None
        assert other.response.body.startswith("data: ")


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(max_size=30),
    cuts=st.lists(st.integers(0, 30), max_size=6),
    ending=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_any_text_survives_any_cut(text: str, cuts: list[int], ending: str) -> None:
    """Deltas may be cut anywhere and lines may end in three ways; only LF and CR end one."""
    at = [0, *sorted(min(c, len(text)) for c in cuts), len(text)]
    parts = [text[a:b] for a, b in itertools.pairwise(at)]
    events = [f"data: {json.dumps(c, ensure_ascii=False)}{ending}{ending}" for c in chunk_values(*parts)]
    outcome = reading("".join([*events, f"data: [DONE]{ending}{ending}"]).encode())
    whole = reading(json.dumps(completion_value(text)).encode())
    assert (outcome.status, outcome.kind) == (whole.status, whole.kind)
    if whole.completion is not None:
        assert outcome.completion is not None
        assert outcome.completion.text == whole.completion.text == text


_RUNS = st.builds(
    lambda texts, field, beside, index, more, ahead: [
        {"id": "x", **before, "choices": [{"index": index, "delta": {field: text, **beside}, **more}]}
        for text, before in zip(texts, ahead, strict=True)
    ],
    st.lists(st.sampled_from(["a", "b", "é😀", "a?", "!", "?", '"', "\\", "\n", ""]), min_size=3, max_size=3),
    st.sampled_from(["content", "content", "content", "reasoning_content", "other"]),
    st.sampled_from([{}, {}, {"role": "assistant"}, {"reasoning_content": "b"}, {"refusal": None}, {"tool_calls": []}]),
    st.sampled_from([0, 0, 0, 1]),
    st.sampled_from([{}, {}, {"token_ids": [1]}, {"finish_reason": "stop"}]),
    st.sampled_from([({}, {}, {}), ({}, {}, {}), ({"content": "a"}, {"content": "b"}, {"content": "c"})]),
)


@settings(max_examples=250, deadline=None)
@given(
    runs=st.lists(_RUNS, min_size=2, max_size=2), order=st.lists(st.integers(0, 1), max_size=4), spelled=st.booleans()
)
def test_an_event_that_is_not_parsed_says_what_it_would_have_said_parsed(
    runs: list[list[dict[str, Any]]], order: list[int], spelled: bool
) -> None:
    """Events alike but for their text are read by their likeness; a field that makes all unlike changes nothing."""
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    chunks = [*itertools.chain(*(runs[i] for i in order)), *chunk_values(usage=usage, id="x")]
    bodies = [
        b"".join(b"data: %s\n\n" % json.dumps(c, ensure_ascii=spelled).encode() for c in made) + event("[DONE]")
        for made in (chunks, [{**c, "unlike": json.dumps(c)} for c in chunks])
    ]
    assert reading(bodies[0]) == reading(bodies[1])


def test_half_a_character_in_an_event_is_seen_among_others_like_it() -> None:
    """Two events with one half each hold no character; their bytes side by side would be one."""
    like = [b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n' % t for t in (b"a", b"b", b"\xc3", b"\xa9")]
    assert reading(b"".join([*like, *map(event, chunk_values()[1:])])).kind == "encoding"


@pytest.mark.parametrize(
    ("ending", "cap", "kind"),
    [(chunk(b""), 9999, "complete"), (b"no size\r\n", 9999, "interrupted"), (chunk(b""), 100, "too_large")],
)
@pytest.mark.parametrize("hidden", ["_http_protocol", "_pooled_connections"])
def test_bodies_are_the_same_read_through_all_layers(
    monkeypatch: pytest.MonkeyPatch, hidden: str, ending: bytes, cap: int, kind: str
) -> None:
    """Where the layers beneath do not show their state, bodies come chunk by chunk: slower, and no different."""
    monkeypatch.setattr(wire, "BYTE_CAP", cap)
    events = [event({**c, "id": "x"}) for c in chunk_values("a", "b")]
    burst = b"".join([head(None, content_type="text/event-stream"), *map(chunk, events), ending])
    directly, _ = ask(raw(burst))
    monkeypatch.setattr(wire, hidden, lambda transport: None)
    through, _ = ask(raw(burst))
    assert directly.response == through.response
    assert directly.response is not None
    assert directly.response.body == b"".join(events)[:cap].decode()  # all that came before the break
    assert directly.outcome.kind == through.outcome.kind == kind


def test_no_beginning_of_a_stream_is_an_answer() -> None:
    """Cut anywhere before the finish reason's event is whole, a stream is missing: never a shorter answer."""
    body = b"".join(event(c) for c in chunk_values("one ", "two")) + event("[DONE]")
    end = body.index(b'"finish_reason": "stop"')
    accepted = [n for n in range(len(body)) if reading(body[:n]).status != "missing"]
    assert accepted
    assert min(accepted) > end
    assert {reading(body[:n]).completion.text for n in accepted} == {"one two"}  # type: ignore[union-attr]


# --- events ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "events", "rest"),
    [
        (b"data: a\n\n", [StreamEvent(b"a")], b""),
        (b"data: a\rdata: b\n\n", [StreamEvent(b"a\nb")], b""),
        (b"data: a\n\n\ndata: data: b\n\n", [StreamEvent(b"a"), StreamEvent(b"data: b")], b""),
        (b"data:a\r\rdata: b\r\n\r\n", [StreamEvent(b"a"), StreamEvent(b"b")], b""),
        (b"data: a\ndata:  b\n\n", [StreamEvent(b"a\n b")], b""),
        (b"\xef\xbb\xbfdata: a\n\n", [StreamEvent(b"a")], b""),
        (b": c\nid: 1\nretry: 2\nevent: e\ndata: a\n\ndata: b\n\n", [StreamEvent(b"a", b"e"), StreamEvent(b"b")], b""),
        (b"event: e\n\ndata\n\n", [StreamEvent(b"")], b""),
        (b"data: a\n\ndata: b", [StreamEvent(b"a")], b"data: b"),
        (b"data: a\n\ndata: b\n", [StreamEvent(b"a")], b"data: b"),
        (b"data: a\n\n: bye\n", [StreamEvent(b"a")], b""),
        ("data: \u2028\u0085\u2029\x0b\x0c\n\n".encode(), [StreamEvent("\u2028\u0085\u2029\x0b\x0c".encode())], b""),
    ],
)
def test_events_are_what_the_standard_says(body: bytes, events: list[StreamEvent], rest: bytes) -> None:
    """A splitter that knows other line ends tears answers apart."""
    found = decode_events(body)
    assert (list(found.events), found.rest) == (events, rest)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_cut_of_packets_does_not_change_what_counts_as_content(data: st.DataObject) -> None:
    """TCP cuts where it likes."""
    body = b": hi\r\n\r\n" + b"".join(event(c).replace(b"\n", b"\r\n") for c in chunk_values("x")) + event("[DONE]")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    pulse = ContentWatch(streaming=True)
    fed = [pulse.feed(body[a:b]) for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert any(fed)
    assert pulse.output
    assert pulse.done
