"""Runs of endpoints whose weights are known in, how many requests each test needs to tell them from an honest one out.

    python tests/benchmarks/precision_power.py RUN ... --honest NAME [--honest NAME] [--reference RUN] [--draws 400]

RUN is a folder of `tempzero run` (whole answers, and first tokens beside them) or of `tempzero fingerprint` (first
tokens alone); a host that is in several of them by one name has the answers of all. `--as NAME=OTHER` gives it that
name. Whole answers are held against the reference of their own run, or of the one that `--reference` names.

Every test holds an endpoint against the float32 reference. Its threshold is what the honest endpoint NAME stays below
in 99 of 100 draws of so many prompts; a cell is the smallest number of requests of `SIZES` at which 95 of 100 draws lie
beyond, and the tokens of prompt and answer that they take: with two honest ones, by the first and by the second.
Naming has its own threshold, and is counted as right only where the form is the true one. Prompts are drawn with
replacement where more are wanted than there are, but for naming: one that is asked twice says nothing new.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from precision_naming import Answers, keep_best, label_host
from tempzero.answers.first_tokens import read_first_token
from tempzero.precision.displacement import centre_rows, measure_displacement
from tempzero.precision.hosts import conclude_host
from tempzero.precision.packs import DirectionPack, load_pack
from tempzero.precision.shipped_packs import choose_pack
from tempzero.records import Run, open_run
from tempzero.stats.kernels import prefix_kernel
from tempzero.types.recorded import Attempt

SIZES = (6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096)
MOST_NAMED = 64
MODEL = "SmolLM2-135M-Instruct"
COLUMNS = (
    "first token differs",
    "mean absolute shift",
    "form named, and right",
    "whole text differs",
    "distance by the prefix kernel",
)
TOKEN_TESTS = 2
HONEST = ("f16", "bf16", "honest", "q4_1")
"""What an endpoint serves that is no coarser than 16 bits: these weights came in Q4_1."""
Rows = NDArray[np.float64]


@dataclass(kw_only=True)
class Endpoint:
    """What one gave: first tokens by prompt, and whole answers beside the reference's own."""

    first: Answers = field(default_factory=dict)
    first_tokens: list[int] = field(default_factory=list)
    pairs: list[tuple[str, str]] = field(default_factory=list)
    text_tokens: list[int] = field(default_factory=list)


def main() -> None:
    """Print the table, a row an endpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--honest", action="append", required=True)
    parser.add_argument("--as", dest="renamed", action="append", default=[], metavar="NAME=OTHER")
    parser.add_argument("--reference", type=Path, help="a run whose reference answered the same prompts")
    parser.add_argument("--pack", type=Path)
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--named-draws", type=int, default=100)
    parser.add_argument("--best", type=int, default=20)
    asked = parser.parse_args()
    pack = load_pack(asked.pack) if asked.pack is not None else choose_pack(None, [MODEL])
    names = dict(one.split("=", 1) for one in asked.renamed)
    endpoints: dict[str, Endpoint] = defaultdict(Endpoint)
    reference = open_run(asked.reference) if asked.reference is not None else None
    for path in asked.runs:
        read_endpoints(open_run(path), names, reference, endpoints)
    measured = {name: measure_endpoint(pack, one, asked.best) for name, one in endpoints.items()}
    print("| endpoint | other first token | other text | " + " | ".join(COLUMNS) + " |")
    print("|---" * (3 + len(COLUMNS)) + "|")
    for name, one in endpoints.items():
        cells = [find_sizes(at, name, measured, asked.honest, one, asked.draws) for at in range(4)]
        cells.insert(TOKEN_TESTS, find_named_size(pack, one, name, asked.best, asked.named_draws))
        shares = [describe_share(rows[:, 0]) for rows in measured[name]]
        print(f"| {name} | " + " | ".join((*shares, *cells)) + " |", flush=True)


def read_endpoints(run: Run, names: dict[str, str], reference: Run | None, into: dict[str, Endpoint]) -> None:
    """Whole answers of a run and the first tokens beside them; of a fingerprint's the latter."""
    beside = run.first_tokens()
    if beside is not None or run.config.run.references:
        read_texts(run, names, run if run.config.run.references else reference, into)
    for record in (beside or run).records() if beside or not run.config.run.references else ():
        told, provider = read_first_token(record.attempt.exchange), record.attempt.trial.provider
        if told is not None:
            one = into[names.get(provider, provider)]
            one.first[record.attempt.trial.prompt] = told
            one.first_tokens.append(count_tokens(record.attempt))


def read_texts(run: Run, names: dict[str, str], reference: Run | None, into: dict[str, Endpoint]) -> None:
    """The first answer to each prompt, with the reference's."""
    if reference is None:
        raise SystemExit(f"{run.path}: has no reference; name a run that has one by --reference")
    judge = reference.config.run.references[0]
    own = {a.trial.prompt: text for a, text in list_answers(reference) if a.trial.provider == judge}
    for attempt, text in list_answers(run):
        prompt, provider = attempt.trial.prompt, attempt.trial.provider
        if provider != judge and prompt in own:
            one = into[names.get(provider, provider)]
            one.pairs.append((own[prompt], text))
            one.text_tokens.append(count_tokens(attempt))


def list_answers(run: Run) -> Iterator[tuple[Attempt, str]]:
    """The first text that came of each prompt."""
    for record in run.records():
        said = record.attempt.exchange.outcome.completion
        if record.attempt.trial.repeat == 0 and said is not None and said.text is not None:
            yield record.attempt, said.text


def count_tokens(attempt: Attempt) -> int:
    """Of prompt and answer."""
    said = attempt.exchange.outcome.completion
    return (said.prompt_tokens or 0) + (said.completion_tokens or 0) if said is not None else 0


def measure_endpoint(pack: DirectionPack, one: Endpoint, best: int) -> tuple[Rows, Rows]:
    """A row a prompt: another likeliest token and the mean absolute shift of log-probabilities; another text and how
    little of it is the same (MMD of one answer each by the prefix kernel)."""
    given = {prompt: [keep_best(told, best)] for prompt, told in one.first.items()}
    shift = np.full(len(pack.prompts), np.nan)
    if given:
        moved = centre_rows(measure_displacement(pack, given).by)
        there = ~np.isnan(moved).all(axis=1)
        shift[there] = np.nanmean(np.abs(moved[there]), axis=1)
    tops = [
        float(one.first[p.id].candidates[0].token != p.tokens[0]) if p.id in one.first else np.nan for p in pack.prompts
    ]
    first = np.array([tops, shift]).T
    texts = [(1.0, 1.0 - float(prefix_kernel([a, b])[0, 1])) if a != b else (0.0, 0.0) for a, b in one.pairs]
    return first[~np.isnan(first).any(axis=1)], np.array(texts).reshape(-1, 2)


def describe_share(rows: Rows) -> str:
    """How many of how many prompts."""
    return f"{int(rows.sum())} of {len(rows)}" if len(rows) else ""


def find_sizes(
    at: int, name: str, measured: Mapping[str, tuple[Rows, Rows]], honest: Sequence[str], one: Endpoint, draws: int
) -> str:
    """Of one test, by the threshold of each honest endpoint; nothing where it has none, or is this very one."""
    place, column = divmod(at, TOKEN_TESTS)
    own, tokens = measured[name][place], (one.first_tokens, one.text_tokens)[place]
    cells = []
    for usual in (measured[other][place] for other in honest if other != name):
        size = find_size(usual[:, column], own[:, column], draws) if len(usual) and len(own) else ""
        cells.append(f"{size} ({round(int(size) * np.mean(tokens)):,})" if size.isdigit() else size)
    return " / ".join(cells)


def find_size(honest: Rows, host: Rows, draws: int) -> str:
    """The mean over prompts is the statistic: exact match, MMD of one answer, and Chauvin's are all of that kind."""
    for size in SIZES:
        draw = np.random.default_rng(size)
        usual = honest[draw.integers(len(honest), size=(draws, size))].mean(axis=1)
        seen = host[draw.integers(len(host), size=(draws, size))].mean(axis=1)
        if (seen > np.quantile(usual, 0.99, method="higher")).mean() >= 0.95:
            return str(size)
    return f"over {SIZES[-1]:,}"


def find_named_size(pack: DirectionPack, one: Endpoint, name: str, best: int, draws: int) -> str:
    """At how many prompts the true form is named; of an honest one, in how many draws a coarse form was."""
    true = name.split("-", 1)[-1] if name.startswith(("local-", "vllm-", "transformers-")) else name
    coarse = {d.name for d in pack.directions if d.kind != "16-bit"}
    prompts, wrong, asked = sorted(one.first), 0, 0
    for size in (s for s in SIZES if s <= min(MOST_NAMED, len(prompts))):
        draw, right = np.random.default_rng(size), 0
        times = 1 if size == len(prompts) else draws
        for _ in range(times):
            chosen = [prompts[i] for i in draw.permutation(len(prompts))[:size]]
            host = conclude_host(pack, name, None, {p: [keep_best(one.first[p], best)] for p in chosen})
            label = label_host(host.naming, host.state)
            right += label.removesuffix("-llamacpp") == true if true in coarse else label == "unknown form"
            wrong += bool({part.removesuffix("?") for part in label.split(" & ")} & coarse)
        asked += times
        if true not in HONEST and right >= 0.95 * times:
            return f"{size} ({round(size * np.mean(one.first_tokens)):,}) at {right / times:.2f}"
    if true in HONEST:
        return f"a coarse one in {wrong} of {asked:,} draws"
    return f"over {min(MOST_NAMED, len(prompts))}" if prompts else ""


if __name__ == "__main__":
    main()
