"""What every in-process engine does with a model, shown with a model that says a given text."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tempzero.config import Local, Provider
from tempzero.engines.local.chat_template import ChatTemplate
from tempzero.engines.local.in_process import InProcessEngine
from tempzero.engines.local.weights import LocalWeights
from tempzero.errors import EngineError
from tempzero.types.asked import Message, Question, Sampling, Trial
from tempzero.types.recorded import Outcome

END = 256


class Scripted:
    """Writes the bytes of a text, then the end token; `broken` makes it fail at its sixth token."""

    context = 200
    vocabulary = END + 1
    end_ids = (END,)

    def __init__(self, text: str, broken: str = "", *, token_s: float = 0.0) -> None:
        self._script, self._broken, self._token_s = [*text.encode(), END], broken, token_s
        self._said = 0
        self.closed = 0

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        return list(text.encode())

    def piece(self, token_id: int) -> bytes:
        return bytes([token_id])

    def forget(self) -> None:
        self._said = 0

    def advance(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
        time.sleep(self._token_s)
        if self._broken == "raises" and self._said == 5:
            raise EngineError("out of order")
        row = np.full(END + 1, np.nan if self._broken == "nan" and self._said == 5 else 0.0, np.float32)
        row[self._script[self._said]] += 1.0
        self._said += 1
        return row

    def logits_after(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
        self.forget()
        return self.advance(token_ids)

    def logits(self, token_ids: Sequence[int], start: int) -> Iterator[NDArray[np.float32]]:
        yield np.zeros((len(token_ids) - start + 1, END + 1), np.float32)

    def describe(self) -> Mapping[str, Any]:
        return {"package": "scripted"}

    def close(self) -> None:
        self.closed += 1


def engine_of(model: Scripted) -> InProcessEngine:
    weights = LocalWeights(path=Path("x"), sha256="0" * 64, precision="f32", source="s", licence=None, size_bytes=1)
    provider = Provider(name="ref", local=Local(weights="w"), model="m", temperature=0.0)
    return InProcessEngine(model, ChatTemplate("{{ messages[0].content }}"), provider, weights)


def question(prompt: str = "ask: ", max_tokens: int = 100) -> Question:
    return Question(
        trial=Trial(provider="ref", prompt="p", condition="c", repeat=0),
        messages=(Message(role="user", content=prompt),),
        sampling=Sampling(temperature=0.0, top_p=1.0, seed=7, max_tokens=max_tokens),
    )


def answer(model: Scripted, *, prompt: str = "ask: ", max_tokens: int = 100) -> Outcome:
    engine = engine_of(model)

    async def once() -> Outcome:
        exchange = await engine.ask(question(prompt, max_tokens))
        await engine.aclose()
        await engine.aclose()
        assert exchange.response is not None
        assert ("error" in json.loads(exchange.response.body or "")) == (exchange.outcome.completion is None)
        return exchange.outcome

    return asyncio.run(once())


def test_text_is_decoded_as_a_whole() -> None:
    """A character of four bytes comes in four tokens."""
    outcome = answer(Scripted("né 🦊"))
    assert outcome.completion is not None
    assert (outcome.status, outcome.kind, outcome.completion.text) == ("valid", "complete", "né 🦊")
    assert outcome.completion.completion_tokens == len("né 🦊".encode()) + 1


def test_half_a_character_is_not_yet_text() -> None:
    """A cut in the middle of a character is the harness's doing; the model said nothing broken."""
    outcome = answer(Scripted("né"), max_tokens=2)
    assert outcome.completion is not None
    assert (outcome.status, outcome.completion.text) == ("censored", "n")


def test_an_empty_answer_is_an_answer() -> None:
    """Saying nothing is not the same as failing to answer."""
    outcome = answer(Scripted(""))
    assert outcome.completion is not None
    assert (outcome.status, outcome.kind, outcome.completion.text) == ("valid", "empty", "")


@pytest.mark.parametrize(
    ("prompt", "said", "reasoning", "text"),
    [
        ("ask: ", "<think>\nhm\n</think>\n\nyes", "hm", "yes"),
        ("ask: <think>\n", "hm</think>yes", "hm", "yes"),
        ("ask: ", "<think>no end", "no end", ""),
        ("ask: ", "a <think>b</think>", None, "a <think>b</think>"),
    ],
)
def test_reasoning_is_kept_apart(prompt: str, said: str, reasoning: str | None, text: str) -> None:
    """Endpoints give reasoning in a field of its own; the reference's answers must be comparable."""
    completion = answer(Scripted(said), prompt=prompt).completion
    assert completion is not None
    assert (completion.reasoning_text, completion.text) == (reasoning, text)


@pytest.mark.parametrize(("broken", "said"), [("raises", "out of order"), ("nan", "NaN")])
def test_a_model_that_fails_is_a_row_not_a_crash(broken: str, said: str) -> None:
    """The run goes on, and the record says what happened."""
    outcome = answer(Scripted("abcdefgh", broken))
    assert (outcome.status, outcome.kind, outcome.completion) == ("missing", "reference", None)
    assert said in outcome.detail


@pytest.mark.parametrize("how", ["cancelled", "closed"])
def test_a_withdrawn_question_stops_computing(how: str) -> None:
    """Ctrl-C must not wait for a long answer: the model stops at its next token."""
    model = Scripted("a long answer " * 10, token_s=0.2)
    engine = engine_of(model)

    async def withdraw() -> float:
        task = asyncio.create_task(engine.ask(question()))
        await asyncio.sleep(0.3)
        begin = time.monotonic()
        if how == "cancelled":
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await engine.aclose()
        if how == "closed":
            assert (await task).outcome.kind == "not_attempted"
        return time.monotonic() - begin

    assert asyncio.run(withdraw()) < 15  # and not the 28 s that the answer takes
    assert model.closed == 1


def test_closing_twice_frees_once() -> None:
    """Freeing memory twice would crash the process."""
    model = Scripted("a")
    answer(model)
    assert model.closed == 1
