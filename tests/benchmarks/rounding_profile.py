"""Run folders and a model's folder in, the rounding profile of that model out: how much an honest 16-bit host rounds.

transformers computes the same weights in float32 and in bfloat16 over the answers that the runs' references gave
(teacher forcing, a pass over prompt and answer), and over those of the hosts named with --hosts, whose choices are an
honest engine's own. Told are the change of the gap between float32's two best tokens (root mean square, and the
quantiles of its size), how many tokens bfloat16 would choose otherwise and how far below float32's best they are; of
the hosts, how many of their own tokens are not float32's and by how much. Each distinct answer counts once.
It needs torch and transformers beside tempzero's own packages.

    python tests/benchmarks/rounding_profile.py FOLDER RUN... [--hosts vllm-bf16-alone,vllm-bf16-8]
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tempzero import records

Floats = NDArray[np.float64]


class Model:
    """The same weights in both precisions, asked for the logits of each token of an answer."""

    def __init__(self, folder: str) -> None:
        self.torch, library = importlib.import_module("torch"), importlib.import_module("transformers")
        self.tokenizer = library.AutoTokenizer.from_pretrained(folder)
        load = library.AutoModelForCausalLM.from_pretrained
        self.models = [load(folder, dtype=getattr(self.torch, name)).eval() for name in ("float32", "bfloat16")]
        self.end = self.tokenizer.eos_token_id

    def read(self, messages: list[dict[str, str]], text: str, *, ended: bool) -> tuple[list[int], Floats, Floats]:
        """The answer's tokens, the end of the turn among them, with the logits of float32 and of bfloat16 for each."""
        prompt = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        ids = self.tokenizer(prompt, add_special_tokens=False).input_ids
        answer = self.tokenizer(text, add_special_tokens=False).input_ids + ([self.end] if ended else [])
        given = self.torch.tensor([ids + answer])
        with self.torch.inference_mode():
            rows = [m(given).logits[0, len(ids) - 1 : -1].float().numpy().astype(float) for m in self.models]
        return answer, rows[0], rows[1]


def list_answers(path: Path) -> Iterator[tuple[str, list[dict[str, str]], str, bool]]:
    """Provider, messages, text and whether it ended by itself: each distinct one of a provider once."""
    run = records.open_run(path)
    messages = {p.id: [{"role": m.role, "content": m.content} for m in p.messages] for p in run.manifest.suite.prompts}
    seen: set[tuple[str, str, str]] = set()
    for view in run.views():
        told = view.outcome.completion
        key = (view.trial.provider, view.trial.prompt, told.text if told is not None else "")
        if told is None or not told.text or key in seen:
            continue
        seen.add(key)
        yield view.trial.provider, messages[view.trial.prompt], told.text, told.finish_reason == "stop"


def describe(title: str, change: list[Floats], margin: list[Floats], answers: int) -> None:
    moved, missed = (np.concatenate(x) if x else np.empty(0) for x in (change, margin))
    told: dict[str, Any] = {"who": title, "answers": answers, "tokens": missed.size, "missed": int((missed > 0).sum())}
    if missed.size:
        told |= {"missed_share": round(float((missed > 0).mean()), 5), "largest_margin": round(float(missed.max()), 3)}
    if moved.size:
        told |= {
            "rms": round(float(np.sqrt(np.square(moved).mean())), 4),
            "largest_change": round(float(moved.max()), 3),
        }
        told["quantiles"] = {q: round(float(np.quantile(moved, q)), 3) for q in (0.5, 0.9, 0.99, 0.999)}
    print(json.dumps(told), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--hosts", default="", help="honest hosts whose own choices are read as well")
    options = parser.parse_args()
    model, hosts = Model(options.model), set(filter(None, options.hosts.split(",")))
    change: list[Floats] = []
    otherwise: list[Floats] = []
    own: dict[str, list[Floats]] = {host: [] for host in sorted(hosts)}
    counted: dict[str, int] = {}
    known: set[tuple[str, str, str]] = set()
    for path in options.runs:
        references = records.open_run(path).config.run.references
        for provider, messages, text, ended in list_answers(path):
            who = "reference" if provider in references else provider
            key = (who, json.dumps(messages), text)
            if key in known or (who not in hosts and who != "reference"):
                continue
            known.add(key)
            counted[who] = counted.get(who, 0) + 1
            tokens, full, half = model.read(messages, text, ended=ended)
            at = np.arange(len(tokens))
            if who == "reference":
                best = np.argsort(-full, axis=1)[:, :2]
                gaps = [rows[at, best[:, 0]] - rows[at, best[:, 1]] for rows in (full, half)]
                change.append(np.abs(gaps[1] - gaps[0]))
                otherwise.append(full.max(axis=1) - full[at, half.argmax(axis=1)])
            else:
                own[who].append(full.max(axis=1) - full[at, tokens])
        describe("bfloat16 over the references' answers", change, otherwise, counted.get("reference", 0))
    for host, margins in own.items():
        describe(host, [], margins, counted.get(host, 0))
    describe(
        "all hosts", [], [m for found in own.values() for m in found], sum(counted.values()) - counted["reference"]
    )


if __name__ == "__main__":
    main()
