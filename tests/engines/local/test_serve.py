"""Served endpoints: a real llama.cpp server on loopback, set up as asked, and gone afterwards whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tempzero.config import DefaultSampling, Local, Provider, Serve, Weights
from tempzero.engines.local.llama_cpp import open_llama_engine
from tempzero.engines.local.serve import RunningServer, run_server
from tempzero.engines.local.weights import LocalWeights, obtain_weights
from tempzero.errors import EngineError
from tempzero.types.asked import Message, Question, Sampling, Trial
from tiny_gguf import tiny_model


def weights_of(path: Path) -> LocalWeights:
    source = Weights(source=f"path:{path}", licence="none")
    return obtain_weights(source, precision="as_is", cache=path.parent / "cache", say=lambda _: None)


def provider(**settings: Any) -> Provider:
    serve = Serve.model_validate({"weights": "w", "threads": 1, "context": 256, **settings})
    return Provider(name="served", serve=serve, model="tiny")


def fetch(url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    data = json.dumps(body).encode() if body is not None else None
    with urllib.request.urlopen(urllib.request.Request(url, data, {"Content-Type": "application/json"})) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def chat(served: RunningServer, text: str, **fields: Any) -> dict[str, Any]:
    body = {"messages": [{"role": "user", "content": text}], "max_tokens": 8, "temperature": 0, **fields}
    return fetch(f"{served.base_url}/chat/completions", body)


def while_served(entry: Provider, do: Callable[[RunningServer], Any], path: Path | None = None) -> Any:
    async def run() -> Any:
        async with run_server(entry, weights_of(path or tiny_model())) as served:
            return await asyncio.to_thread(do, served)

    return asyncio.run(run())


def is_gone(pid: int, *, within_s: float = 30.0) -> bool:
    """Whether a process has ended, zombies that nobody has collected included."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                time.sleep(0.02)
                continue
        return True
    return False


def test_it_answers_and_is_gone_afterwards() -> None:
    """An endpoint speaks the API the hosted ones speak, under the configured model's name."""
    pids: list[int] = []

    def use(served: RunningServer) -> None:
        pids.append(served.pid)
        assert served.base_url.startswith("http://127.0.0.1:")
        assert fetch(f"{served.base_url}/models")["data"][0]["id"] == "tiny"
        answer = chat(served, "hello")
        assert answer["choices"][0]["message"]["content"]
        assert answer["usage"]["completion_tokens"] == 8

    while_served(provider(), use)
    assert is_gone(pids[0])


def test_two_servers_live_side_by_side() -> None:
    """Ports are chosen free, so entries need not know of each other."""

    async def run() -> None:
        weights = weights_of(tiny_model())
        async with run_server(provider(), weights) as one, run_server(provider(), weights) as two:
            assert one.base_url != two.base_url
            first, second = [await asyncio.to_thread(chat, s, "hello") for s in (one, two)]
            assert first["choices"] == second["choices"]

    asyncio.run(run())


def test_every_setting_reaches_the_server() -> None:
    """A setting that is recorded but not in force would make the manifest lie."""
    entry = provider(
        slots=3,
        context=512,
        chat_template="{{ messages[0]['content'] }}!",
        default_sampling=DefaultSampling(
            temperature=0.25,
            top_k=3,
            top_p=0.5,
            min_p=0.125,
            repeat_penalty=1.5,
            frequency_penalty=0.75,
            presence_penalty=-0.5,
        ).model_dump(),
    )
    properties = while_served(entry, lambda served: fetch(f"{served.base_url.removesuffix('/v1')}/props"))
    assert properties["total_slots"] == 3
    assert properties["chat_template"] == "{{ messages[0]['content'] }}!"
    defaults = properties["default_generation_settings"]
    assert defaults["n_ctx"] == 512, "context is for each slot"
    expected = {
        "temperature": 0.25,
        "top_k": 3,
        "top_p": 0.5,
        "min_p": 0.125,
        "repeat_penalty": 1.5,
        "frequency_penalty": 0.75,
        "presence_penalty": -0.5,
    }
    assert {name: defaults["params"][name] for name in expected} == expected


@pytest.mark.parametrize("prompt_cache", [True, False])
def test_the_prompt_cache_is_on_only_where_asked(prompt_cache: bool) -> None:
    """A warm cache changes logits, so it must never be on by surprise."""

    def twice(served: RunningServer) -> int:
        chat(served, "the same long question " * 5)
        details: dict[str, int] = chat(served, "the same long question " * 5)["usage"]["prompt_tokens_details"]
        return details["cached_tokens"]

    assert (while_served(provider(prompt_cache=prompt_cache), twice) > 0) == prompt_cache


def test_cache_types_and_flash_attention_are_in_force() -> None:
    """They move the numbers, which is what tells that they work: the same weights then differ somewhere."""

    def texts(served: RunningServer) -> list[str]:
        return [chat(served, f"{n} hello there", max_tokens=40)["choices"][0]["message"]["content"] for n in range(4)]

    exact = while_served(provider(cache_type_k="f32", cache_type_v="f32"), texts)
    assert while_served(provider(cache_type_k="q4_0", cache_type_v="f32"), texts) != exact
    assert while_served(provider(flash_attention=True, cache_type_k="q4_0", cache_type_v="q4_0"), texts) != exact


def test_an_exact_endpoint_says_what_the_reference_says() -> None:
    """Same file, same numbers: reference and server must only differ where they are told to."""
    local = Local(weights="w", threads=1, context=256)
    engine = open_llama_engine(
        Provider(name="ref", local=local, model="tiny", temperature=0.0), weights_of(tiny_model())
    )

    def reference(text: str) -> tuple[str, str | None, int | None, int | None]:
        asked = Question(
            trial=Trial(provider="ref", prompt="p", condition="c", repeat=0),
            messages=(Message(role="user", content=text),),
            sampling=Sampling(temperature=0.0, top_p=1.0, seed=7, max_tokens=40),
        )
        answer = asyncio.run(engine.ask(asked)).outcome.completion
        assert answer is not None
        return one_mark(answer.text), answer.finish_reason, answer.prompt_tokens, answer.completion_tokens

    def server(served: RunningServer, text: str) -> tuple[str, str, int, int]:
        answer = chat(served, text, max_tokens=40)
        choice, usage = answer["choices"][0], answer["usage"]
        text = one_mark(choice["message"]["content"])
        return text, choice["finish_reason"], usage["prompt_tokens"], usage["completion_tokens"]

    def one_mark(text: str) -> str:
        """How many marks stand for bytes that are no text, the last ones above all, is each decoder's own choice."""
        return re.sub("\ufffd+", "\ufffd", text).rstrip("\ufffd")

    questions = [f"{n} what is it?" for n in range(30)]
    entry = provider(cache_type_k="f32", cache_type_v="f32")
    answers = while_served(entry, lambda served: [server(served, q) for q in questions])
    assert answers == [reference(q) for q in questions]
    asyncio.run(engine.aclose())


def test_the_manifest_learns_the_settings() -> None:
    """What was served is recorded with the hash of the weights."""
    said = while_served(provider(slots=2), lambda served: json.loads(json.dumps(served.description)))
    assert (said["slots"], said["flash_attention"], said["prompt_cache"]) == (2, False, False)
    assert said["weights"]["sha256"] == weights_of(tiny_model()).sha256
    assert said["package"].startswith("xllamacpp ")


def test_it_is_gone_after_an_error() -> None:
    """An exception in the middle of a run must not leave a server behind."""
    pids: list[int] = []

    def fail(served: RunningServer) -> None:
        pids.append(served.pid)
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        while_served(provider(), fail)
    assert is_gone(pids[0])


def test_it_is_gone_when_its_start_is_cancelled() -> None:
    """Ctrl-C while the model loads must not leave a server behind either."""

    async def run() -> None:
        async with run_server(provider(), weights_of(tiny_model())):
            raise AssertionError("cancelled before it could answer")

    async def cancelled() -> None:
        task = asyncio.create_task(run())
        while not children() - before:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    before = children()
    asyncio.run(cancelled())
    assert all(is_gone(pid) for pid in children() - before)


def children() -> set[int]:
    """The processes this one has started and not yet collected."""
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


_OWNER = """
    import asyncio, sys
    from pathlib import Path
    from tempzero.config import Provider, Serve
    from tempzero.engines.local.serve import run_server
    from tempzero.engines.local.weights import LocalWeights

    async def main():
        entry = Provider(name="s", serve=Serve(weights="w", threads=1, context=256), model="tiny")
        weights = LocalWeights(
            path=Path(sys.argv[1]), sha256="", precision="as_is", source="", licence=None, size_bytes=0
        )
        async with run_server(entry, weights) as served:
            print(served.pid, flush=True)
            await asyncio.sleep(600)

    asyncio.run(main())
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_it_is_gone_when_its_owner_is_killed(how: signal.Signals) -> None:
    """Even a `kill -9`, which leaves the owner no chance to clean up, takes the server along."""
    command = [sys.executable, "-c", textwrap.dedent(_OWNER), str(tiny_model())]
    root = str(Path(__file__).parents[3] / "harness")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": root}
    ) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert not is_gone(pid, within_s=0.1)
        owner.send_signal(how)
        owner.wait(timeout=60)
    assert is_gone(pid)


def test_a_server_that_cannot_load_says_why(tmp_path: Path) -> None:
    """The reason stands in the server's log, so the error quotes its end."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(tiny_model().read_bytes()[:200_000])
    with pytest.raises(EngineError, match=r"(?s)served: the server ended with status \d+.*broken\.gguf"):
        while_served(provider(), lambda _: None, broken)


def test_settings_the_model_cannot_take_are_an_error() -> None:
    """A coarse value cache needs flash attention; llama.cpp's own words say so."""
    with pytest.raises(EngineError, match=r"(?i)flash"):
        while_served(provider(cache_type_v="q4_0"), lambda _: None)


def test_a_missing_template_file_is_an_error(tmp_path: Path) -> None:
    """Nothing is started with another template than the one that was meant."""
    with pytest.raises(EngineError, match=r"chat_template: .*cannot be read"):
        while_served(provider(chat_template=f"path:{tmp_path}/none.jinja"), lambda _: None)
