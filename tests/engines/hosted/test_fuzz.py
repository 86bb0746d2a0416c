"""Some of the mutated responses that `tests/benchmarks/fuzz.py` runs by the hundred thousand."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import re

from fuzzing import Case, cases, judge, samples
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import Call, Loopback, Reply, body
from tempzero import config
from tempzero.engines import open_engine
from tempzero.engines.hosted.fault_catalogue import Break
from tempzero.types.asked import Message, Question, Sampling, Trial
from tempzero.types.recorded import Exchange

SEEDS = samples()


def test_every_sample_is_understood_before_it_is_mutated() -> None:
    """Mutations of what is refused anyway would prove nothing."""
    kinds = [judge(Case(body=s, status=200, headers={}, broken=None, asked_stream=True)).status for s in SEEDS]
    assert kinds.count("valid") >= 12
    assert kinds.count("censored") >= 2
    assert kinds.count("missing") >= 3


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_mutated_responses_neither_crash_nor_pass_for_answers(seed: int) -> None:
    """A hostile provider may spoil its own row, never the run, and never make an answer of rubbish."""
    for case in itertools.islice(cases(seed, SEEDS), 10):
        judge(case)


def test_ten_thousand_answers_say_the_same_to_a_second_reader() -> None:
    """Text, reasoning, calls, finish reason and counts are what stands in the bytes, or there is no answer."""
    statuses = [judge(case).status for case in itertools.islice(cases(1, SEEDS), 10_000)]
    assert statuses.count("valid") > 1000
    assert statuses.count("censored") > 150
    assert statuses.count("missing") > 5000


def test_what_was_sent_is_what_is_recorded() -> None:
    """To the byte, whatever it is: what is read of it can be disputed later, what came cannot."""
    sent = [case.body for case in itertools.islice(cases(7, SEEDS), 300)]

    def answer(call: Call) -> Reply:
        return body(sent[int(call.prompt)])

    async def ask_all(base_url: str) -> list[Exchange]:
        entry = {"name": "p", "base_url": base_url, "model": "m"}
        provider = config.parse_config({"version": 1, "providers": [entry]}, source="test").providers[0]
        engine = open_engine(provider, environ={})
        try:
            return [await engine.ask(build_question(number)) for number in range(len(sent))]
        finally:
            await engine.aclose()

    with Loopback(answer) as server:
        exchanges = asyncio.run(ask_all(server.base_url))
    for made, exchange in zip(sent, exchanges, strict=True):
        response = exchange.response
        assert response is not None
        packed = response.body_base64
        kept = (response.body or "").encode() if packed is None else base64.b64decode(packed)
        # The server numbers its answers; an id that the mutation has damaged is none of those.
        own_id = re.search(rb"chatcmpl-\d{7}", kept)
        assert kept == (made if own_id is None else made.replace(b"chatcmpl-0000000", own_id[0]))
        assert response.sha256 == hashlib.sha256(kept).hexdigest()


def build_question(number: int) -> Question:
    return Question(
        trial=Trial(provider="p", prompt=f"p{number}", condition="default", repeat=0),
        messages=(Message(role="user", content=str(number)),),
        sampling=Sampling(temperature=0.0, top_p=1.0, seed=7, max_tokens=16),
    )


@settings(max_examples=100, deadline=None)
@given(made=st.binary(max_size=80), broken=st.booleans(), asked=st.booleans())
def test_bytes_neither_crash_nor_pass_for_answers(made: bytes, broken: bool, asked: bool) -> None:
    """The same for what resembles nothing, and for what only begins like a stream."""
    interrupted = Break(kind="interrupted", detail="x") if broken else None
    for prefix in (b"", b"data: ", b"data: [DONE]\n\n", b"{"):
        judge(Case(body=prefix + made, status=200, headers={}, broken=interrupted, asked_stream=asked))
