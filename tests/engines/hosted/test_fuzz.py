"""A few hundred of the mutated responses that `tests/benchmarks/fuzz.py` runs by the hundred thousand."""

from __future__ import annotations

import itertools

from fuzzing import Case, cases, judge, samples
from hypothesis import given, settings
from hypothesis import strategies as st
from tempzero.engines.hosted.fault_catalogue import Break

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


@settings(max_examples=100, deadline=None)
@given(body=st.binary(max_size=80), broken=st.booleans(), asked=st.booleans())
def test_bytes_neither_crash_nor_pass_for_answers(body: bytes, broken: bool, asked: bool) -> None:
    """The same for what resembles nothing, and for what only begins like a stream."""
    interrupted = Break(kind="interrupted", detail="x") if broken else None
    for prefix in (b"", b"data: ", b"data: [DONE]\n\n", b"{"):
        judge(Case(body=prefix + body, status=200, headers={}, broken=interrupted, asked_stream=asked))
