"""Hosts whose weights are known in, how many requests each test needs to tell them from an honest one out.

    python tests/benchmarks/precision_power.py PACK HOSTS.jsonl [--honest honest] [--draws 400] [--best 20]
        [--texts TEXTS --honest-text bf16]

Every test holds a host against the float32 reference of PACK. Its threshold is what the honest bf16 host stays below in
99 of 100 draws of so many prompts (naming has its own, and is counted as right only where the form is the true one); a
cell is the smallest number of prompts of `SIZES` at which 95 of 100 draws of the host lie beyond. Prompts are drawn
with replacement where more are wanted than there are. TEXTS is a part of a folder of `cause_endpoints.py`, whole
answers of the same forms by llama.cpp; `--honest-text` names its honest endpoint, or a run folder with a reference and
an honest host. `--texts` alone needs neither PACK nor hosts.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from precision_naming import Answers, keep_best, label_host, read_hosts, read_run
from tempzero.precision.displacement import centre_rows, measure_displacement
from tempzero.precision.hosts import conclude_host
from tempzero.precision.packs import DirectionPack, load_pack
from tempzero.records import open_run
from tempzero.stats.kernels import prefix_kernel

SIZES = (6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096)
MOST_NAMED = 64
REFERENCE = "reference"
Statistic = Callable[[NDArray[np.float64]], float]


def main() -> None:
    """Print the table, a row a host."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", type=Path, nargs="?")
    parser.add_argument("hosts", type=Path, nargs="*")
    parser.add_argument("--honest", default="honest")
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--named-draws", type=int, default=40)
    parser.add_argument("--best", type=int, default=20)
    parser.add_argument("--run", type=Path, action="append", default=[])
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--honest-text", default="bf16")
    parser.add_argument("--only-texts", default="f16,q8_0,q5_0,q4_0,cache-q4_0", help="endpoints of TEXTS")
    asked = parser.parse_args()
    if asked.texts is not None:
        print_texts(read_texts(asked.texts), asked.honest_text, asked.only_texts.split(","), asked.draws)
    if asked.pack is None:
        return
    pack = load_pack(asked.pack)
    hosts: dict[str, Answers] = {}
    for path in asked.hosts:
        hosts |= read_hosts(pack, path)
    for run in asked.run:
        hosts |= read_run(run)
    measured = {name: measure_host(pack, answers, asked.best) for name, answers in hosts.items()}
    honest = measured[asked.honest]
    print("| host | first token differs | mean absolute shift | form named, and right |")
    print("|---|---|---|---|")
    for name, rows in measured.items():
        if name != asked.honest:
            cells = [find_size(honest[:, at], rows[:, at], asked.draws) for at in range(rows.shape[1])]
            cells.append(find_named_size(pack, hosts[name], name, asked.best, asked.named_draws))
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def measure_host(pack: DirectionPack, answers: Answers, best: int) -> NDArray[np.float64]:
    """A row a prompt: whether its likeliest token is another, and the mean absolute shift of its log-probabilities."""
    given = {prompt: [keep_best(told, best)] for prompt, told in answers.items()}
    moved = centre_rows(measure_displacement(pack, given).by)
    shift = np.nanmean(np.abs(moved), axis=1)
    own = {p.id: p.tokens[0] for p in pack.prompts}
    tops = [float(answers[p.id].candidates[0].token != own[p.id]) if p.id in answers else np.nan for p in pack.prompts]
    both = np.array([tops, shift]).T
    kept: NDArray[np.float64] = both[~np.isnan(both).any(axis=1)]
    return kept


@dataclass(frozen=True, kw_only=True, slots=True)
class WholeAnswers:
    """A row a prompt: whether the whole answer is another than float32's, and how little of it is the same (MMD of one
    answer each by the prefix kernel); and the mean of tokens that a request takes."""

    rows: NDArray[np.float64]
    tokens: float


def read_texts(folder: Path) -> dict[str, WholeAnswers]:
    """By endpoint; the first answer to each prompt."""
    every = {path.stem: read_answers(path) for path in sorted(folder.glob("*.jsonl"))}
    own, found = every.pop(REFERENCE), {}
    for name, answers in every.items():
        pairs = [(own[prompt]["text"], one["text"]) for prompt, one in answers.items()]
        tokens = [one["prompt_tokens"] + one["completion_tokens"] for one in answers.values()]
        found[name] = compare_answers(pairs, tokens)
    return found


def read_honest_run(path: Path) -> WholeAnswers:
    """Of the host that a recorded run holds beside its reference."""
    run, answers, tokens = open_run(path), dict[str, dict[str, str]](), list[int]()
    for view in run.views():
        said = view.outcome.completion
        if said is not None and said.text is not None and view.trial.repeat == 0:
            answers.setdefault(view.trial.provider, {})[view.trial.prompt] = said.text
            tokens.append((said.prompt_tokens or 0) + (said.completion_tokens or 0))
    own = answers.pop(run.config.run.references[0])
    ((_, told),) = answers.items()
    return compare_answers([(own[prompt], text) for prompt, text in told.items() if prompt in own], tokens)


def compare_answers(pairs: Sequence[tuple[str, str]], tokens: Sequence[int]) -> WholeAnswers:
    """The reference's text and another's to each prompt."""
    rows = [(1.0, 1.0 - float(prefix_kernel([a, b])[0, 1])) if a != b else (0.0, 0.0) for a, b in pairs]
    return WholeAnswers(rows=np.array(rows), tokens=float(np.mean(tokens)))


def read_answers(path: Path) -> dict[str, Any]:
    """By prompt."""
    told = [json.loads(line) for line in path.read_text().splitlines()]
    return {one["prompt"]: one for one in told if one["repeat"] == 0}


def print_texts(hosts: dict[str, WholeAnswers], honest: str, names: list[str], draws: int) -> None:
    """A row an endpoint: requests, and the tokens of prompt and answer that they take."""
    usual = hosts[honest] if honest in hosts else read_honest_run(Path(honest))
    share = usual.rows[:, 0].mean()
    print(
        f"{honest}: other texts than float32's on {share:.0%} of {len(usual.rows)} prompts, {usual.tokens:.0f} tokens"
    )
    print("| endpoint | other text | whole text differs | distance by the prefix kernel |")
    print("|---|---|---|---|")
    for name in names:
        sizes = [find_size(usual.rows[:, at], hosts[name].rows[:, at], draws) for at in range(2)]
        cells = [f"{n}: {int(n) * hosts[name].tokens:,.0f} tokens" if n.isdigit() else n for n in sizes]
        print(f"| {name} | {hosts[name].rows[:, 0].mean():.0%} | " + " | ".join(cells) + " |", flush=True)


def find_size(honest: NDArray[np.float64], host: NDArray[np.float64], draws: int) -> str:
    """The mean over prompts is the statistic: exact match, MMD of one answer, and Chauvin's are all of that kind."""
    for size in SIZES:
        draw = np.random.default_rng(size)
        usual = honest[draw.integers(len(honest), size=(draws, size))].mean(axis=1)
        seen = host[draw.integers(len(host), size=(draws, size))].mean(axis=1)
        if (seen > np.quantile(usual, 0.99, method="higher")).mean() >= 0.95:
            return str(size)
    return f"over {SIZES[-1]:,}"


def find_named_size(pack: DirectionPack, answers: Answers, name: str, best: int, draws: int) -> str:
    """Without replacement: a prompt that is asked twice says nothing new of a direction."""
    known, true = {d.name for d in pack.directions}, name.removeprefix("vllm-")
    prompts = sorted(answers)
    for size in (s for s in SIZES if s <= min(MOST_NAMED, len(prompts))):
        draw, right = np.random.default_rng(size), 0
        times = 1 if size == len(prompts) else draws
        for _ in range(times):
            given = {prompts[i]: [keep_best(answers[prompts[i]], best)] for i in draw.permutation(len(prompts))[:size]}
            label = label_host(conclude_host(pack, name, None, given))
            right += label == true if true in known else label == "unknown form"
        if right >= 0.95 * times:
            return str(size)
    return f"over {min(MOST_NAMED, len(prompts))}"


if __name__ == "__main__":
    main()
