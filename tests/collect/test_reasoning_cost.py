"""Money where reasoning is billed apart: what a provider counts beyond its completion tokens costs money too."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from loopback import Answer, Call, Loopback, Reply, after, completion
from making import make_config, make_suite
from tempzero import plan
from tempzero.collect import Budget, Limits, collect_attempts
from tempzero.config import Price
from tempzero.engines import open_engine
from tempzero.types.recorded import Attempt, Completion, Ending

PRICE = {"input_per_mtok": 0, "output_per_mtok": 1_000_000}  # a dollar for each token that came out


def thinking(*tokens: int) -> Answer:
    """Answers of 2 completion tokens each, and so many tokens of reasoning that only the total holds."""
    left = itertools.cycle(tokens)

    def answer(call: Call) -> Reply:
        usage = {"prompt_tokens": 11, "completion_tokens": 2, "total_tokens": 13 + next(left)}
        return after(0.02, completion(usage=usage))

    return answer


def ask(answer: Answer, *, concurrency: int, max_cost_usd: float) -> tuple[list[Attempt], tuple[Ending, ...]]:
    """Forty trials of at most 4 tokens by their limit, within a budget."""
    attempts: list[Attempt] = []
    with Loopback(answer) as server:
        fields = {"base_url": server.base_url, "price": PRICE, "concurrency": concurrency, "max_tokens": 4}
        config, suite = make_config(("a",), repeats=1, **fields), make_suite(40)

        async def go() -> tuple[Ending, ...]:
            engine = open_engine(config.providers[0], environ={})
            try:
                return await collect_attempts(
                    plan.build_plan(config, suite),
                    config=config,
                    suite=suite,
                    engines={"a": engine},
                    attempts={},
                    complete=frozenset(),
                    write=attempts.append,
                    budget=Budget(Limits(max_cost_usd=max_cost_usd)),
                )
            finally:
                await engine.aclose()

        return attempts, asyncio.run(go())


def spent(attempts: list[Attempt]) -> list[float]:
    price = Price.model_validate(PRICE)
    answers = [a.exchange.outcome.completion for a in attempts]
    return [price.cost_of_answer(one) for one in answers if one is not None]


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("tokens", [(50,), (20, 80, 40), (0,)])
def test_a_limit_on_the_cost_holds_within_one_request(concurrency: int, tokens: tuple[int, ...]) -> None:
    """Requests under way together must not each overdraw it by reasoning that no limit of theirs bounds."""
    attempts, endings = ask(thinking(*tokens), concurrency=concurrency, max_cost_usd=300)
    paid = spent(attempts)
    assert sum(paid) <= 300 + max(paid)
    assert sum(paid) >= (300 - 2 * max(paid) if any(tokens) else 40 * 2)
    assert [e.reason.split(" leaves")[0] for e in endings] == (["--max-cost 300"] if any(tokens) else [])


def test_a_limit_on_the_cost_costs_no_concurrency_before_its_end() -> None:
    """Load is part of the measurement: only the first request and the last ones go alone."""
    attempts, _ = ask(thinking(5), concurrency=8, max_cost_usd=100_000)
    assert len(attempts) == 40
    assert max(a.exchange.times.in_flight for a in attempts) == 8


COUNTED: list[tuple[dict[str, Any], int | None]] = [
    ({"completion_tokens": 5, "prompt_tokens": 3, "total_tokens": 8}, 5),
    ({"completion_tokens": 5, "prompt_tokens": 3, "total_tokens": 108}, 105),
    ({"completion_tokens": 5, "prompt_tokens": 3, "total_tokens": 108, "reasoning_tokens": 100}, 105),
    ({"completion_tokens": 105, "prompt_tokens": 3, "total_tokens": 108, "reasoning_tokens": 100}, 105),
    ({"completion_tokens": 5, "reasoning_tokens": 100}, 105),
    ({"completion_tokens": 5, "prompt_tokens": 3, "total_tokens": 2}, 5),
    ({"prompt_tokens": 3, "total_tokens": 9}, 6),
    ({"completion_tokens": 5}, 5),
    ({}, None),
]


@pytest.mark.parametrize(("usage", "tokens"), COUNTED)
def test_output_is_what_is_billed(usage: dict[str, Any], tokens: int | None) -> None:
    """The total less the prompt where that is more; reasoning within the completion is not counted twice."""
    assert Completion(text="yes", **usage).output_tokens == tokens
