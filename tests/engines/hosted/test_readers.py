"""Each kind of server that reads, and long texts in parts: whatever is asked how, the figures are the model's own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from loopback import Call, Loopback, Reply, value
from reading_server import MODEL, Letters, ReadingServer, reading
from tempzero import config
from tempzero.config import Local, Provider, Serve, Weights
from tempzero.engines import open_reader
from tempzero.engines.hosted import wire
from tempzero.engines.hosted.prompt_logprobs import EndpointReader
from tempzero.engines.local.in_process import InProcessEngine
from tempzero.engines.local.llama_cpp import open_llama_engine
from tempzero.engines.local.serve import run_server
from tempzero.engines.local.weights import LocalWeights, obtain_weights
from tempzero.errors import ConfigError, EngineError
from tempzero.metrics import decoding
from tempzero.types.asked import Message
from tiny_gguf import SPECIAL, tiny_model, write_tokenizer_folder

TOLERANCE = 1e-4
MESSAGES = (Message(role="user", content="Is the sea the end?"),)


def tiny_weights(vocabulary: str = "bytes") -> LocalWeights:
    path = tiny_model(vocabulary=vocabulary)
    source = Weights(source=f"path:{path}", licence="none")
    return obtain_weights(source, precision="as_is", cache=path.parent / "cache", say=lambda _: None)


class Opened:
    """Opens engines, readers and servers, and closes them at the end."""

    def __init__(self, things: ExitStack) -> None:
        self._things = things

    def engine(self, vocabulary: str = "bytes") -> InProcessEngine:
        local = Local(weights="w", threads=1, context=512, batch=64)
        entry = Provider(name="ref", local=local, model=MODEL, temperature=0.0)
        engine = open_llama_engine(entry, tiny_weights(vocabulary))
        self._things.callback(lambda: asyncio.run(engine.aclose()))
        return engine

    def reader(self, base_url: str, reads: str, **fields: Any) -> EndpointReader:
        reader = open_reader(provider(base_url, reads, **fields), environ={})
        self._things.callback(lambda: asyncio.run(reader.aclose()))
        return reader

    def server(self, server: Loopback) -> Loopback:
        return self._things.enter_context(server)

    def llama_server(self, vocabulary: str = "bytes") -> str:
        serve = Serve(weights="w", threads=1, context=512, prompt_cache=True, cache_type_k="f32", cache_type_v="f32")
        entry = Provider(name="s", serve=serve, model=MODEL, temperature=0.0)
        runner = self._things.enter_context(asyncio.Runner())
        running = run_server(entry, tiny_weights(vocabulary))
        found = runner.run(running.__aenter__())
        self._things.callback(lambda: runner.run(running.__aexit__(None, None, None)))
        return found.base_url


@pytest.fixture
def opened() -> Iterator[Opened]:
    with ExitStack() as things:
        yield Opened(things)


def provider(base_url: str, reads: str, **fields: Any) -> Provider:
    entry = {"name": "big", "base_url": base_url, "model": MODEL, "reads": reads, **fields}
    return config.parse_config({"version": 1, "providers": [entry]}, source="test").providers[0]


def compute(engine: InProcessEngine, ids: Sequence[int], start: int) -> decoding.TokenStandings:
    rows = (row for block in engine.logits(ids, start) for row in block)
    return decoding.read_logit_rows(rows, ids[start:], ids[:start])


def check(engine: InProcessEngine, reader: EndpointReader, ids: Sequence[int], start: int) -> None:
    """All figures of all tokens are those of the model in this process."""
    found, expected = reader.read(ids, start), compute(engine, ids, start)
    assert [s.token_id for s in found] == list(ids[start:])
    assert [s.margin for s in found] == pytest.approx(list(expected.margin), abs=TOLERANCE)
    assert [s.logprob for s in found] == pytest.approx(list(expected.logprob), abs=TOLERANCE)
    assert [s.gap for s in found] == pytest.approx(list(expected.gap), abs=TOLERANCE)
    assert [s.rank == 1 for s in found] == [rank == 1 for rank in expected.rank]


def write_answer(engine: InProcessEngine, *, tokens: int = 40) -> tuple[list[int], int]:
    """A prompt and what stands behind it: words, characters of several bytes, and the end of the turn."""
    prompt = engine.prompt_ids(MESSAGES)
    words = engine.tokenize("the end 🦊 is near, né?" * (tokens // 20), special=False)
    return [*prompt, *words, *engine.end_ids[:1]], len(prompt)


# --- llama.cpp's own server ------------------------------------------------------------------


@pytest.mark.parametrize("vocabulary", ["bytes", "pieces"])
def test_llama_server_gives_the_figures_and_tokens_of_the_reference(opened: Opened, vocabulary: str) -> None:
    """The server that most people have reads as well, and what it says is what its engine computes."""
    engine = opened.engine(vocabulary)
    reader = opened.reader(opened.llama_server(vocabulary), "llama_server")
    ids, start = write_answer(engine)
    check(engine, reader, ids, start)
    assert reader.prompt_ids(MESSAGES) == engine.prompt_ids(MESSAGES)
    assert set(reader.end_ids) & set(engine.end_ids)
    text = "the 🦊 naïve  end"
    assert reader.tokenize(text) == engine.tokenize(text, special=False)
    assert b"".join(reader.pieces(reader.tokenize(text))) == b"".join(map(engine.piece, reader.tokenize(text)))
    assert reader.describe()["ranks"] == "of the first 20"


def test_a_llama_server_that_forces_nothing_is_refused() -> None:
    """A gateway that drops `logit_bias` would show another token's value in the place of this one's."""

    def answer(call: Call) -> Reply:
        shown = {"id": 7, "token": "x", "logprob": -0.5}
        place = {**shown, "top_logprobs": [shown, {"id": 8, "token": "y", "logprob": -2.0}]}
        texts = {"prompt": "a", "content": "a", "tokens": [5], "completion_probabilities": [place]}
        return value(texts)

    with Loopback(answer) as server, pytest.raises(EngineError, match=r"token 5 was asked for by logit_bias"):
        open_reader(provider(server.base_url, "llama_server"), environ={})


# --- hosts that echo -------------------------------------------------------------------------


@pytest.mark.parametrize("letters", ["bytes", "pieces"])
@pytest.mark.parametrize("takes_ids", [True, False])
def test_an_echo_gives_the_figures_of_the_reference(
    opened: Opened, tmp_path: Path, letters: Letters, takes_ids: bool
) -> None:
    """A host with OpenAI's oldest interface alone can be the reference, whatever it makes of tokens in letters."""
    engine = opened.engine()
    server = opened.server(reading(opened.engine(), letters=letters, takes_ids=takes_ids))
    folder = write_tokenizer_folder(tmp_path / "tokenizer")
    reader = opened.reader(server.base_url, "echo", tokenizer=str(folder))
    ids, start = write_answer(engine)
    check(engine, reader, ids, start)
    assert reader.describe()["prompts_as"] == ("ids" if takes_ids else "text")
    assert server.calls[-1].json["logprobs"] == 5
    pairs = list(zip(reader.read(ids, start), compute(engine, ids, start).argmax, strict=True))
    told = [(s.top1_id, best) for s, best in pairs if letters == "pieces" or not s.top1_text.startswith("bytes:")]
    assert told
    assert all(mine == theirs for mine, theirs in told)


@pytest.mark.parametrize("letters", ["bytes", "nothing"])
def test_a_begin_token_that_the_host_puts_on_is_not_sent_as_well(
    opened: Opened, tmp_path: Path, letters: Letters
) -> None:
    """Twice the begin token is another prompt: every honest host would stray a little from what is read behind it."""
    engine = opened.engine()
    server = opened.server(reading(opened.engine(), letters=letters, takes_ids=False, begins_texts=True))
    folder = write_tokenizer_folder(tmp_path / "tokenizer")
    begin = {"SpecialToken": {"id": SPECIAL[0], "type_id": 0}}
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [begin, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [begin, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {SPECIAL[0]: {"id": SPECIAL[0], "ids": [0], "tokens": [SPECIAL[0]]}},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    template = json.loads((folder / "tokenizer_config.json").read_text())["chat_template"]
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": SPECIAL[0] + template}))
    reader = opened.reader(server.base_url, "echo", tokenizer=str(folder))
    prompt = reader.prompt_ids(MESSAGES)
    assert prompt == [0, *engine.prompt_ids(MESSAGES)]
    ids = [*prompt, *engine.tokenize("the end", special=False)]
    found, expected = reader.read(ids, len(prompt)), compute(engine, ids, len(prompt))
    assert [s.logprob for s in found] == pytest.approx(list(expected.logprob), abs=TOLERANCE)
    assert reader.describe()["begin_token"] == "put on by the host"


@pytest.mark.parametrize("letters", ["nothing", "joined"])
def test_letters_that_say_nothing_make_no_margin_larger(opened: Opened, tmp_path: Path, letters: Letters) -> None:
    """llama-cpp-python shows parts of characters as nothing, all alike, and vLLM the last one as a character that no
    token is: what is lost of them must accuse nobody.
    """
    engine = opened.engine()
    server = opened.server(reading(opened.engine(), letters=letters, takes_ids=False))
    folder = write_tokenizer_folder(tmp_path / "tokenizer")
    reader = opened.reader(server.base_url, "echo", tokenizer=str(folder))
    ids, start = write_answer(engine)
    found, expected = reader.read(ids, start), compute(engine, ids, start)
    assert [s.logprob for s in found] == pytest.approx(list(expected.logprob), abs=TOLERANCE)
    assert all(s.margin <= margin + TOLERANCE for s, margin in zip(found, expected.margin, strict=True))


def test_tokens_that_no_text_gives_are_not_sent_as_a_text(opened: Opened, tmp_path: Path) -> None:
    """A text is cut anew by the host: a reading of other tokens would be a reading of something that nobody wrote."""
    engine = opened.engine()
    server = opened.server(reading(opened.engine(), takes_ids=False))
    folder = write_tokenizer_folder(tmp_path / "tokenizer")
    reader = opened.reader(server.base_url, "echo", tokenizer=str(folder))
    prompt = engine.prompt_ids(MESSAGES)
    apart = [t for letter in "the" for t in engine.tokenize(letter, special=False)]
    assert engine.tokenize("the", special=False) != apart
    with pytest.raises(EngineError, match="as a text these tokens are cut otherwise"):
        reader.read([*prompt, *apart], len(prompt))


def change_echo(engine: InProcessEngine, change: Callable[[dict[str, Any]], Any]) -> Loopback:
    inner = ReadingServer(engine)

    def answer(call: Call) -> Reply:
        reply = inner.answer(call)
        (content,) = (step for step in reply.steps if isinstance(step, bytes))
        told = json.loads(content.split(b"\r\n\r\n", 1)[1])
        told["choices"][0]["logprobs"] = change(told["choices"][0]["logprobs"])
        return value(told)

    return Loopback(answer)


STRANGE: Mapping[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no logprobs": (lambda told: None, "no logprobs.tokens came back"),
    "of what it wrote only": (lambda told: {k: v[-1:] for k, v in told.items()}, "its 1 tokens are not the"),
    "another tokenizer": (lambda told: told | {"tokens": ["x"] * len(told["tokens"])}, "are not the"),
    "one more in front": (lambda told: {k: [v[0], *v] for k, v in told.items()}, "are not the"),
    "lengths": (lambda told: told | {"tokens": told["tokens"][1:]}, "of different lengths"),
    "no others": (lambda told: told | {"top_logprobs": [None] * len(told["tokens"])}, "no logprobs.top_logprobs"),
    "only the best": (
        lambda told: told | {"top_logprobs": [t and dict(list(t.items())[:1]) for t in told["top_logprobs"]]},
        "fewer than the two",
    ),
    "of no vocabulary": (
        lambda told: told | {"top_logprobs": [{"\u96ea\u96ea": -0.5, "a": -2.0, "b": -3.0} for _ in told["tokens"]]},
        "the tokenizer does not have",
    ),
    "null": (lambda told: told | {"token_logprobs": [None] * len(told["tokens"])}, "not a finite number"),
    "texts are numbers": (lambda told: told | {"tokens": [1] * len(told["tokens"])}, "of different lengths"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_an_echo_that_tells_something_else_is_refused_when_it_is_opened(
    opened: Opened, tmp_path: Path, name: str
) -> None:
    """Many hosts take `echo` and leave it at that; a reference made of what is left would accuse everybody."""
    change, message = STRANGE[name]
    server = opened.server(change_echo(opened.engine(), change))
    folder = write_tokenizer_folder(tmp_path / "tokenizer")
    with pytest.raises(EngineError, match=rf"^big: http://127.*completions: .*{message}"):
        opened.reader(server.base_url, "echo", tokenizer=str(folder))


def test_an_echo_without_a_tokenizer_is_refused_where_it_is_written() -> None:
    """Letters alone are no tokens: who forgets the folder learns it before anything is asked."""
    with pytest.raises(ConfigError, match="reads: echo tells tokens by their letters, so it needs tokenizer"):
        provider("http://127.0.0.1/v1", "echo")
    with pytest.raises(ConfigError, match="reads_at_once: goes with"):
        provider("http://127.0.0.1/v1", "llama_server", reads_at_once=5)


# --- long texts ------------------------------------------------------------------------------


@pytest.mark.parametrize("reads", ["vllm", "sglang"])
def test_a_long_text_in_parts_gives_the_figures_of_the_whole(opened: Opened, reads: str) -> None:
    """Log-probabilities of a long text may not fit into a server's memory; what a part says must not depend on that."""
    engine, server = opened.engine(), opened.server(reading(opened.engine()))
    reader = opened.reader(server.base_url, reads, reads_at_once=50)
    ids, start = write_answer(engine, tokens=180)
    before = len(server.calls)
    check(engine, reader, ids, start)
    asked = [call.json for call in server.calls[before:]]
    told = len(ids) - start
    assert len(asked) == (told if reads == "vllm" else -(-told // 50))


@pytest.mark.parametrize("reads", ["vllm", "sglang"])
def test_a_server_that_runs_out_of_memory_gets_less_at_once(opened: Opened, reads: str) -> None:
    """Nobody knows beforehand what a server holds: it is found out by its refusal, once, and the text is read."""
    engine, server = opened.engine(), opened.server(reading(opened.engine(), most_told=100))
    reader = opened.reader(server.base_url, reads)
    ids, start = write_answer(engine, tokens=220)
    check(engine, reader, ids, start)
    reader.read(ids, start)
    before = len(server.calls)
    reader.read(ids, start)
    told = len(ids) - start
    assert len(server.calls) - before == (told if reads == "vllm" else -(-told // 64))  # no refusal a third time


@pytest.mark.parametrize("reads", ["vllm", "sglang"])
def test_an_answer_larger_than_is_held_is_asked_for_in_parts(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, reads: str
) -> None:
    """What a server says is never held without bound, and a long text is no reason to leave it unread."""
    engine, server = opened.engine(), opened.server(reading(opened.engine()))
    reader = opened.reader(server.base_url, reads)
    ids, start = write_answer(engine, tokens=220)
    monkeypatch.setattr(wire, "BYTE_CAP", 60_000)
    check(engine, reader, ids, start)
    assert len(server.calls[-1].json.get("prompt", [])) < len(ids)


def test_a_text_beyond_the_context_is_refused_in_the_servers_words(opened: Opened) -> None:
    """Smaller requests do not make a context longer, and what is said must be why, not what was tried last."""
    server = opened.server(reading(opened.engine()))
    for reads in ("vllm", "sglang"):
        reader = opened.reader(server.base_url, reads)
        with pytest.raises(EngineError, match="maximum context length is 512"):
            reader.read([5] * 600, 1)


def test_a_server_that_shows_what_it_was_forced_to_is_refused(opened: Opened) -> None:
    """Its values are of the choice among one token: every token of every host would be the reference's own."""
    inner = ReadingServer(opened.engine(), most_told=100)

    def answer(call: Call) -> Reply:
        asked = call.json
        if "allowed_token_ids" not in asked:
            return inner.answer(call)
        own = f"token_id:{asked['allowed_token_ids'][0]}"
        told = {"tokens": [own], "token_logprobs": [0.0], "top_logprobs": [{own: 0.0, "token_id:9": -9999.0}]}
        return value({"model": MODEL, "choices": [{"text": "", "logprobs": told}]})

    reader = opened.reader(opened.server(Loopback(answer)).base_url, "vllm", reads_at_once=50)
    with pytest.raises(EngineError, match="raw_logprobs"):
        reader.read([5] * 60, 1)
