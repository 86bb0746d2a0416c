"""A model's folder or file in, an OpenAI-compatible server on loopback out that has transformers or OpenVINO compute.

Two real engines that are no llama.cpp and no vLLM, for `honest_hosts.py`: transformers in bfloat16, which rounds
activations as hosted engines do, and OpenVINO in float32 or as it comes, when it keeps its cache and activations in
8 bits without saying so. Greedy, one request at a time; each engine needs an environment of its own. Where a request
asks for `top_logprobs`, those of every token are given, of the model as this engine computes prompt and answer at once.

    python tests/benchmarks/engine_hosts.py transformers FOLDER PORT [--dtype bfloat16|float32]
    python tests/benchmarks/engine_hosts.py openvino FILE.gguf PORT [--as-it-comes]
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

EXACT = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model wrote: `text` without what ends the turn, `ended` whether it did, `tokens` with that."""

    text: str
    tokens: list[int]
    prompt_tokens: int
    completion_tokens: int
    ended: bool


@dataclass(frozen=True, kw_only=True)
class Engine:
    """`write` answers messages with so many tokens at most; `read` gives all logits for each of these tokens."""

    write: Callable[[list[dict[str, str]], int], Answer]
    read: Callable[[list[dict[str, str]], list[int]], list[list[float]]]
    spell: Callable[[int], str]


def open_transformers(folder: str, dtype: str) -> Engine:
    torch, library = importlib.import_module("torch"), importlib.import_module("transformers")
    tokenizer = library.AutoTokenizer.from_pretrained(folder)
    model = library.AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
    ends = model.generation_config.eos_token_id or tokenizer.eos_token_id
    ends = set(ends if isinstance(ends, list) else [ends]) | {tokenizer.eos_token_id}

    def encode(messages: list[dict[str, str]]) -> Any:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids

    def read(messages: list[dict[str, str]], tokens: list[int]) -> list[list[float]]:
        asked = encode(messages)
        ids = torch.cat([asked, torch.tensor([tokens[:-1]], dtype=asked.dtype)], dim=1)
        with torch.inference_mode():
            return list(model(ids).logits[0, -len(tokens) :].double().tolist())

    def write(messages: list[dict[str, str]], limit: int) -> Answer:
        ids = encode(messages)
        with torch.inference_mode():
            out = model.generate(ids, max_new_tokens=limit, do_sample=False, eos_token_id=sorted(ends))
        new = out[0, ids.shape[1] :].tolist()
        ended = bool(new) and new[-1] in ends
        written = tokenizer.decode(new[:-1] if ended else new)
        return Answer(text=written, tokens=new, prompt_tokens=ids.shape[1], completion_tokens=len(new), ended=ended)

    return Engine(write=write, read=read, spell=lambda token: str(tokenizer.decode([token])))


def open_openvino(file: str, *, as_it_comes: bool) -> Engine:
    """Its pipeline gives no more than the chosen token's own log-probability; the model it wrote gives all logits."""
    library, runtime, numpy = (importlib.import_module(n) for n in ("openvino_genai", "openvino", "numpy"))
    settings = {} if as_it_comes else EXACT
    pipeline = library.LLMPipeline(file, "CPU", enable_save_ov_model=True, **settings)
    tokenizer = pipeline.get_tokenizer()
    compiled = runtime.Core().compile_model(str(Path(file).parent / "openvino_model.xml"), "CPU", settings)
    request = compiled.create_infer_request()

    def encode(messages: list[dict[str, str]]) -> Any:
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=True)
        return tokenizer.encode(text, add_special_tokens=False)

    def read(messages: list[dict[str, str]], tokens: list[int]) -> list[list[float]]:
        asked = encode(messages).input_ids.data
        ids = numpy.concatenate([asked, numpy.array([tokens[:-1]], dtype=asked.dtype)], axis=1)
        given = {
            "input_ids": ids,
            "attention_mask": numpy.ones_like(ids),
            "position_ids": numpy.arange(ids.shape[1], dtype=numpy.int64)[None],
            "beam_idx": numpy.zeros(1, numpy.int32),
        }
        request.reset_state()
        request.infer({name: given[name] for name in (one.get_any_name() for one in compiled.inputs)})
        return list(request.get_tensor("logits").data[0, -len(tokens) :].astype(float).tolist())

    def write(messages: list[dict[str, str]], limit: int) -> Answer:
        inputs = encode(messages)
        greedy = library.GenerationConfig(max_new_tokens=limit, do_sample=False)
        greedy.set_eos_token_id(tokenizer.get_eos_token_id())
        (new,) = pipeline.generate(inputs, greedy).tokens
        ended = bool(new) and new[-1] == tokenizer.get_eos_token_id()
        written = str(tokenizer.decode(new[:-1] if ended else new, skip_special_tokens=False))
        counted = int(inputs.input_ids.shape[1])
        told = [int(token) for token in new]
        return Answer(text=written, tokens=told, prompt_tokens=counted, completion_tokens=len(new), ended=ended)

    (before,) = tokenizer.encode("a", add_special_tokens=False).input_ids.data[0].tolist()

    def spell(token: int) -> str:
        """Behind another token: in front of everything its blank would be lost."""
        return str(tokenizer.decode([before, token], skip_special_tokens=False)).removeprefix("a")

    return Engine(write=write, read=read, spell=spell)


def list_logprobs(engine: Engine, messages: list[dict[str, str]], tokens: list[int], number: int) -> dict[str, Any]:
    """As OpenAI's chat route gives log-probabilities. A piece of a character has no bytes of its own here."""
    rows = engine.read(messages, tokens)
    return {"content": [list_place(engine, token, row, number) for token, row in zip(tokens, rows, strict=True)]}


def list_place(engine: Engine, chosen: int, logits: list[float], number: int) -> dict[str, Any]:
    """One token, and the likeliest in its place."""
    top = max(logits)
    whole = top + math.log(sum(math.exp(value - top) for value in logits))
    best = sorted(range(len(logits)), key=lambda token: -logits[token])[: max(number, 1)]
    told = [(engine.spell(token), logits[token] - whole) for token in best]
    listed = [
        {"token": text, "logprob": value, "bytes": list(text.encode())} for text, value in told if "\ufffd" not in text
    ]
    own = {"token": engine.spell(chosen), "logprob": logits[chosen] - whole, "bytes": None}
    return {**own, "top_logprobs": listed[:number]}


def serve(engine: Engine, name: str, port: int) -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.reply({"object": "list", "data": [{"id": name, "object": "model"}]})

        def do_POST(self) -> None:
            asked: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["content-length"])))
            answer = engine.write(asked["messages"], int(asked.get("max_tokens") or asked["max_completion_tokens"]))
            message = {"role": "assistant", "content": answer.text}
            usage = {"prompt_tokens": answer.prompt_tokens, "completion_tokens": answer.completion_tokens}
            choice: dict[str, Any] = {"index": 0, "message": message}
            choice["finish_reason"] = "stop" if answer.ended else "length"
            if asked.get("logprobs"):
                number = int(asked.get("top_logprobs") or 0)
                choice["logprobs"] = list_logprobs(engine, asked["messages"], answer.tokens, number)
            total = answer.prompt_tokens + answer.completion_tokens
            body = {"object": "chat.completion", "model": name, "usage": {**usage, "total_tokens": total}}
            self.reply({**body, "choices": [choice]})

        def reply(self, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    HTTPServer(("127.0.0.1", port), Handler).serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=("transformers", "openvino"))
    parser.add_argument("model")
    parser.add_argument("port", type=int)
    parser.add_argument("--name", default="smollm2")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--as-it-comes", action="store_true")
    options = parser.parse_args()
    if options.engine == "transformers":
        engine = open_transformers(options.model, options.dtype)
    else:
        engine = open_openvino(options.model, as_it_comes=options.as_it_comes)
    serve(engine, options.name, options.port)


if __name__ == "__main__":
    main()
