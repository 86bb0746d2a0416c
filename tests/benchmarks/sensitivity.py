"""Nothing in, run folders and tables out: which family of prompts sees which fault, and for how many tokens.

Every endpoint is a llama.cpp server made from SmolLM2-135M-Instruct, eight requests in flight; all are held against
the one in 16 bits, which is asked twice and shows the noise floor. Three questions:

families   per family and fault: prompts with another text, answers flipped, repetition and length, for 1,000 tokens
context    repetition in the continuation of texts of 512 to 4,096 tokens: 16 bits, q4_0, a cache in q4_0; asked once
border     tokens that tell q8_0 from 16 bits: border prompts (one token each), robust ones, and the families' own;
           and how much the same 16 bits with flash attention look like another model on them

Run on demand: `python tests/benchmarks/sensitivity.py FOLDER families|context|border [--prompts 4] [--probes FILE ...]
[--detection RUN] [--quantiser llama-quantize]`; a part whose run folder is there is only tabled again. An estimate is
printed first.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from detection_endpoints import ALPACA, KINDS, MODEL, SHA256, SOURCE
from tempzero import records, stats, suites
from tempzero.analysis import analyse
from tempzero.cli.progress import make_watcher
from tempzero.config import Setting, Weights
from tempzero.engines.local import weights
from tempzero.extractors import EXTRACTORS
from tempzero.types.asked import Message, Prompt
from tempzero.types.concluded import Analysis, Estimate
from tempzero.types.scored import ScoreLine
from tempzero.workflow import pipeline

PROMPTS = Path(__file__).parents[2] / "prompts"
# Tools need a server that parses calls; the long contexts of retrieval cost more than all others together.
LEFT_OUT = ("tools", "retrieval")
LONGEST = 2400  # characters of a prompt in the families' part, about 600 tokens
LENGTHS = (512, 1024, 2048, 4096)
GO_ON = "Go on with this text in the same style for another ten paragraphs."
TOKENS, LOOP_TOKENS = 40, 96
BASE = "f16"
OTHERWISE = "f16-flash"  # as honest, computed in another order
DRAWS = 400
METRICS = ("excess_divergence", "flips", "seq_rep_4_excess", "length_difference_chars")


def endpoints(part: str, q2_k: Path | None) -> list[dict[str, Any]]:
    context = max(LENGTHS) + 256 if part == "context" else 1024

    def served(name: str, precision: str = "f16", *, repeats: int = 1, **serve: Any) -> dict[str, Any]:
        slots = 2 if part == "context" else 8
        settings = {"weights": MODEL, "precision": precision, "threads": 1, "slots": slots, "context": context, **serve}
        return {"name": name, "serve": settings, "claims": {"model": MODEL}, "concurrency": slots, "repeats": repeats}

    cache: dict[str, Any] = {"cache_type_k": "q4_0", "cache_type_v": "q4_0", "flash_attention": True}
    if part == "context":
        return [served(BASE), served("q4_0", "q4_0"), served("cache-q4_0", **cache)]
    honest, q8_0 = served(BASE, repeats=2), served("q8_0", "q8_0", repeats=2)
    if part == "border":
        return [honest, q8_0, served(OTHERWISE, repeats=2, flash_attention=True)]
    q4_0, cached = served("q4_0", "q4_0", repeats=2), served("cache-q4_0", repeats=2, **cache)
    found = [honest, q8_0, served("q5_0", "q5_0", repeats=2), q4_0, cached]
    found += [
        served("template", chat_template=ALPACA, repeats=2),
        served("penalty-1.1", default_sampling={"repeat_penalty": 1.1}, repeats=2),
    ]
    if q2_k is not None:
        found.append(served("q2_k", "as_is", weights=f"path:{q2_k}", repeats=2))
    return found


# --- what is asked ---------------------------------------------------------------------------


def of_families(each: int) -> Iterator[Prompt]:
    """So many prompts of each family, spread over its file, cut to the same number of answer tokens."""
    chosen = suites.load_suite(PROMPTS).prompts
    by_family: dict[str, list[Prompt]] = defaultdict(list)
    for prompt in chosen:
        if prompt.family not in LEFT_OUT and sum(len(m.content) for m in prompt.messages) <= LONGEST:
            by_family[prompt.family].append(prompt)
    for prompts in by_family.values():
        for prompt in prompts[:: max(1, -(-len(prompts) // each))][:each]:
            yield replace(prompt, max_tokens=min(prompt.max_tokens or TOKENS, TOKENS))


def of_lengths(each: int, folder: Path) -> Iterator[Prompt]:
    """Texts of the suite's own making in each length, to be gone on with."""
    for length in LENGTHS:
        file = folder / f"text-{length}.yaml"
        made = {"generator": "needle", "seed": 1, "count": each, "tokens": length}
        file.write_text(yaml.safe_dump({"family": f"context-{length:05}", "generate": [made]}))
        for prompt in suites.load_suite(file).prompts:
            text = prompt.messages[-1].content.rpartition("\n\n")[0]
            asked = (Message(role="user", content=f"{text}\n\n{GO_ON}"),)
            yield replace(
                prompt, id=f"go-on-{prompt.id}", messages=asked, extractor=None, expected=None, max_tokens=LOOP_TOKENS
            )


def write(prompts: Iterable[Prompt], file: Path) -> int:
    """As an ordinary suite; gives an estimate of the tokens that asking all of it once costs."""
    entries, tokens = [], 0
    for p in prompts:
        entry: dict[str, Any] = {
            "id": p.id,
            "family": p.family,
            "messages": [{"role": m.role, "content": m.content} for m in p.messages],
            "max_tokens": p.max_tokens,
            "variants": p.family,
        }
        if p.extractor is not None:
            listed = EXTRACTORS[p.extractor.name].structured or {}  # kept as their JSON
            args = {k: json.loads(v) if k in listed else v for k, v in p.extractor.args.items()}
            entry["extractor"] = {"name": p.extractor.name, **args}
            entry["expected"] = p.expected
        entries.append(entry)
        tokens += sum(len(m.content) for m in p.messages) // 4 + 30 + (p.max_tokens or 0)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(entries, allow_unicode=True, sort_keys=False))
    return tokens


def collect(folder: Path, part: str, prompts: Iterable[Prompt], q2_k: Path | None) -> Path:
    tokens = write(prompts, folder / part / "prompts" / "asked.yaml")
    source = {"source": SOURCE, "sha256": SHA256, "licence": "Apache-2.0", "size_mb": 93}
    asked = endpoints(part, q2_k)
    settings = {
        "version": 1,
        "run": {"name": part, "reference": BASE, "prompts": "prompts"},
        "defaults": {"temperature": 0, "top_p": 1, "seed": 7, "timeouts": {"first_byte_s": 900, "total_s": 1800}},
        "weights": {MODEL: source},
        "providers": asked,
    }
    file = folder / part / "providers.yaml"
    file.write_text(yaml.safe_dump(settings, sort_keys=False))
    print(f"about {tokens:,} tokens a repeat, {tokens * sum(e['repeats'] for e in asked):,} in all", flush=True)
    # A few at a time: more servers than cores only get into each other's way.
    prepared = pipeline.prepare_run(Setting.load(file, {}))
    return pipeline.start_run(prepared, watcher=make_watcher(), check=False).path


# --- tables ----------------------------------------------------------------------------------


def spent(analysis: Analysis, provider: str, family: str | None) -> float:
    """Tokens of one repeat of a family (or of all), prompts and answers."""
    repeats = next(p.repeats for p in analysis.providers if p.name == provider)
    found = [
        f.estimate.value or 0.0
        for f in analysis.figures
        if f.kind == "cost" and f.left == provider and f.family == family and f.metric.endswith("_tokens")
    ]
    return sum(found) / repeats


def cell(estimate: Estimate | None, factor: float = 1.0) -> str:
    if estimate is None or estimate.value is None:
        return "-"
    digits = 1 if abs(factor) > 1 or abs(estimate.value) > 2 else 2
    parts = [v * factor for v in (estimate.value, estimate.low, estimate.high) if v is not None]
    head, *rest = (f"{part:.{digits}f}" for part in parts)
    return f"{head} [{rest[0]}, {rest[1]}]" if len(rest) == 2 else head


class Kinds(records.Run):
    """A run of `detection_endpoints.py` with a family for each kind of prompt, and what its reference read left out."""

    def __init__(self, path: Path) -> None:
        manifest = records.open_run(path).manifest
        asked = manifest.suite.prompts
        named = tuple(replace(p, family=_kind(p)) for p in asked)
        super().__init__(path, replace(manifest, suite=replace(manifest.suite, prompts=named)))

    def score_lines(self) -> Iterator[ScoreLine]:
        return iter(())


def _kind(prompt: Prompt) -> str:
    """The beginning that the prompt shares with all of its kind."""
    text = prompt.messages[-1].content
    return next("-".join(k.lower().split()[:3]) for k in KINDS if text.startswith(k.partition("{")[0]))


def table_of_families(analysis: Analysis) -> None:
    """Each figure over its prompts, scaled to 1,000 tokens of prompt and answer."""
    base = analysis.references[0]
    figures: dict[tuple[str, str, str | None], Estimate] = {
        (f.metric, f.left, f.family): f.estimate for f in analysis.figures if f.right == base
    }
    own = {(f.left, f.family): f.estimate for f in analysis.figures if f.metric == "emr" and f.kind == "repeat"}
    families = [*sorted({f.family for f in analysis.figures if f.family}), None]
    others = [p.name for p in analysis.providers if p.name != base]
    for metric in METRICS:
        print(f"\n{metric}: over the prompts of a family [95 %], and for 1,000 tokens\n")
        print("| family | n | tokens | f16 with itself (EMR) | " + " | ".join(others) + " |")
        print("|---|---|---|---|" + "---|" * len(others))
        for family in families:
            cells, n = [], 0
            for name in others:
                estimate = figures.get((metric, name, family))
                n = max(n, estimate.n if estimate else 0)
                tokens = spent(analysis, name, family)
                scaled = (estimate.value or 0.0) * estimate.n * 1000 / tokens if estimate and tokens else 0.0
                cells.append(f"{cell(estimate)}; {scaled:.1f}")
            itself = own.get((BASE, family))
            tokens = spent(analysis, BASE, family)
            print(f"| {family or 'all'} | {n} | {tokens:.0f} | {cell(itself)} | " + " | ".join(cells) + " |")


def table_of_lengths(analysis: Analysis) -> None:
    """Repetition by context length: each endpoint's own, and its excess over 16 bits on the same prompts."""
    for metric in ("seq_rep_4", "loop_share"):
        print(f"\n{metric}\n")
        for f in analysis.figures:
            if f.metric in (metric, f"{metric}_excess"):
                print(f"| {f.family or 'all'} | {f.left} | {f.metric} | {cell(f.estimate)} | n={f.estimate.n} |")


def counts(runs: Sequence[records.Run]) -> dict[str, dict[str, list[tuple[str, int, int]]]]:
    """Prompt -> provider -> text, prompt tokens and answer tokens of each repeat."""
    found: dict[str, dict[str, list[tuple[str, int, int]]]] = defaultdict(lambda: defaultdict(list))
    for view in (view for opened in runs for view in opened.views()):
        said = view.outcome.completion
        if said is not None:
            one = (said.text, said.prompt_tokens or 0, said.completion_tokens or 0)
            found[view.trial.prompt][view.trial.provider].append(one)
    return found


def table_of_power(runs: Sequence[records.Run], other: str) -> None:
    """How many prompts, and so tokens of both sides together, the test of tempzero.stats needs to tell one from f16.

    Prompts are drawn with replacement from those that were asked; the test is `one_hot_permutation` at .05, two
    repeats a side, which keeps its level by construction (`calibration.py` measures it).
    """
    families = {p.id: p.family for opened in runs for p in opened.manifest.suite.prompts}
    said = counts(runs)
    rng = np.random.default_rng(1)
    columns = "prompts | asked | differ | power | prompts needed | answer tokens | with prompts' tokens"
    print(f"\n{BASE} against {other}\n\n| {columns} |")
    print("|---|---|---|---|---|---|---|")
    groups = {"border": ["border"], "robust": ["robust"]}
    groups["ordinary"] = sorted(set(families.values()) - {"border", "robust"})
    groups |= {name: [name] for name in groups["ordinary"]}
    for name, members in groups.items():
        chosen = [said[p] for p in said if families[p] in members]
        chosen = [c for c in chosen if len(c[BASE]) >= 2 and len(c[other]) >= 2]
        if len(chosen) < 4:
            continue
        tables = [_table(c[BASE], c[other]) for c in chosen]
        differ = sum(int((t[0] * t[1]).sum() == 0) for t in tables)
        answers, prompts = (
            np.mean([sum(int(one[i]) for side in (other, BASE) for one in c[side]) for c in chosen]) for i in (2, 1)
        )
        for wanted in (0.8, 0.95):
            needed = _needed(tables, wanted, rng)
            row = f"| {name} | {len(tables)} | {differ} | {wanted} |"
            if needed is None:
                print(f"{row} more than {4 * len(tables)} | | |")
            else:
                print(f"{row} {needed} | {needed * answers:,.0f} | {needed * (answers + prompts):,.0f} |")


def _table(left: Sequence[tuple[str, int, int]], right: Sequence[tuple[str, int, int]]) -> np.ndarray[Any, Any]:
    texts = sorted({one[0] for one in (*left, *right)})
    return np.array([[sum(one[0] == t for one in side) for t in texts] for side in (left, right)], dtype=np.int64)


def _needed(tables: Sequence[np.ndarray[Any, Any]], wanted: float, rng: np.random.Generator) -> int | None:
    for number in range(2, 4 * len(tables) + 1):
        found = sum(
            stats.one_hot_permutation([tables[i] for i in rng.integers(len(tables), size=number)]).p_value <= 0.05
            for _ in range(DRAWS)
        )
        if found >= wanted * DRAWS:
            return number
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("part", choices=("families", "context", "border"))
    parser.add_argument("--prompts", type=int, default=4, help="of each family, or of each length")
    parser.add_argument("--probes", type=Path, nargs="+", default=[], help="with border: suites of `tempzero probe`")
    parser.add_argument("--quantiser", help="llama.cpp's llama-quantize, for K-quants")
    parser.add_argument("--detection", type=Path, help="a run of detection_endpoints.py: ordinary prompts, tabled too")
    options = parser.parse_args()
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    path = collected(folder, options.part)
    if path is None:
        q2_k = _q2_k(folder, options.quantiser) if options.quantiser else None
        chosen: dict[str, Callable[[], Iterable[Prompt]]] = {
            "families": lambda: of_families(options.prompts),
            "context": lambda: of_lengths(options.prompts, folder),
            "border": lambda: (p for file in options.probes for p in suites.load_suite(file).prompts),
        }
        path = collect(folder, options.part, chosen[options.part](), q2_k)
    print(path)
    if options.part == "border":
        runs = [records.open_run(p) for p in (path, collected(folder, "families")) if p]
        table_of_power([*runs, *([Kinds(options.detection)] if options.detection else [])], "q8_0")
        table_of_power(runs, OTHERWISE)
    else:
        {"families": table_of_families, "context": table_of_lengths}[options.part](analyse(records.open_run(path)))
    if options.detection and options.part == "families":
        table_of_families(analyse(Kinds(options.detection)))


def collected(folder: Path, part: str) -> Path | None:
    found = sorted((folder / part / "results").glob("*/manifest.json"))
    return found[-1].parent if found else None


def _q2_k(folder: Path, quantiser: str) -> Path:
    path = folder / "q2_k.gguf"
    if not path.exists():
        source = Weights(source=SOURCE, sha256=SHA256)
        exact = weights.obtain_weights(source, precision="f32", say=print)
        subprocess.run([quantiser, "--allow-requantize", str(exact.path), str(path), "Q2_K"], check=True)
    return path


if __name__ == "__main__":
    main()
