"""Runs of endpoints whose weights are known in, how many requests each test needs to tell them from an honest one out.

    python tests/benchmarks/precision_power.py RUN ... --honest NAME [--honest NAME] [--reference RUN] [--draws 400]

RUN is a folder of `tempzero run` (whole answers, and first tokens beside them) or of `tempzero fingerprint` (first
tokens alone); a host that is in several of them by one name has the answers of all. `--as NAME=OTHER` gives it that
name. Whole answers are held against the reference of their own run, or of the one that `--reference` names. Exact match
does best on border prompts: `--border` is a pack of these (without forms), and of runs that asked them the first token
is held against its reference.

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
from precision_naming import Answers, find_truth, keep_best, label_host
from tempzero.answers.first_tokens import FirstToken, read_first_tokens
from tempzero.precision.displacement import centre_rows, measure_displacement
from tempzero.precision.hosts import conclude_host
from tempzero.precision.packs import DirectionPack, PackPlace, load_pack
from tempzero.precision.shipped_packs import choose_pack
from tempzero.records import Run, open_run
from tempzero.stats.kernels import prefix_kernel
from tempzero.types.recorded import Attempt

SIZES = (6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096)
MOST_NAMED, MOST_TOKENS = 64, 64
MODEL = "SmolLM2-135M-Instruct"
COLUMNS = (
    "first token of border prompts differs",
    "one of the first tokens differs",
    "mean absolute shift",
    "form named, and right",
    "whole text differs",
    "distance by the prefix kernel",
)
BEFORE_NAMING = 3
# Which of an endpoint's kinds of requests each test looks at, and which column of these.
TESTS = (("border", 0), ("first", 0), ("first", 1), ("texts", 0), ("texts", 1))
HONEST = ("f16", "bf16", "honest", "q4_1")
"""What an endpoint serves that is no coarser than 16 bits: these weights came in Q4_1."""
Rows = NDArray[np.float64]


@dataclass(kw_only=True)
class Endpoint:
    """What one gave: first tokens by prompt, those of border prompts, and whole answers beside the reference's own."""

    first: Answers = field(default_factory=dict)
    border: Answers = field(default_factory=dict)
    pairs: list[tuple[str, str]] = field(default_factory=list)
    tokens: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """Of prompt and answer, by the kind of request."""


def main() -> None:
    """Print the table, a row an endpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--honest", action="append", required=True)
    parser.add_argument("--as", dest="renamed", action="append", default=[], metavar="NAME=OTHER")
    parser.add_argument("--reference", type=Path, help="a run whose reference answered the same prompts")
    parser.add_argument("--pack", type=Path)
    parser.add_argument("--border", type=Path, help="a pack of border prompts, without forms")
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--named-draws", type=int, default=100)
    parser.add_argument("--best", type=int, default=20)
    asked = parser.parse_args()
    pack = load_pack(asked.pack) if asked.pack is not None else choose_pack(None, [MODEL])
    border = load_pack(asked.border) if asked.border is not None else None
    names = dict(one.split("=", 1) for one in asked.renamed)
    endpoints: dict[str, Endpoint] = defaultdict(Endpoint)
    reference = open_run(asked.reference) if asked.reference is not None else None
    for path in asked.runs:
        read_endpoints(open_run(path), names, reference, border, endpoints)
    measured = {name: measure_endpoint(pack, border, one, asked.best) for name, one in endpoints.items()}
    print("| endpoint | other border token | other first tokens | other text | " + " | ".join(COLUMNS) + " |")
    print("|---" * (4 + len(COLUMNS)) + "|")
    for name, one in endpoints.items():
        cells = [find_sizes(kind, at, name, measured, asked.honest, one, asked.draws) for kind, at in TESTS]
        cells.insert(BEFORE_NAMING, find_named_size(pack, one, name, asked.best, asked.named_draws))
        shares = [describe_share(rows[:, 0]) for rows in measured[name].values()]
        print(f"| {name} | " + " | ".join((*shares, *cells)) + " |", flush=True)


def read_endpoints(
    run: Run,
    names: dict[str, str],
    reference: Run | None,
    border: DirectionPack | None,
    into: dict[str, Endpoint],
) -> None:
    """Whole answers of a run and the first tokens beside them; of a fingerprint's the latter."""
    beside = run.first_tokens()
    if beside is not None or run.config.run.references:
        read_texts(run, names, run if run.config.run.references else reference, into)
    ties = {p.id for p in border.prompts} if border is not None else set()
    for record in (beside or run).records() if beside or not run.config.run.references else ():
        told, trial = read_first_tokens(record.attempt.exchange, MOST_TOKENS), record.attempt.trial
        if told:
            one, kind = into[names.get(trial.provider, trial.provider)], "border" if trial.prompt in ties else "first"
            (one.border if kind == "border" else one.first)[trial.prompt] = told
            one.tokens[kind].append(count_tokens(record.attempt))


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
            one.tokens["texts"].append(count_tokens(attempt))


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


def measure_endpoint(pack: DirectionPack, border: DirectionPack | None, one: Endpoint, best: int) -> dict[str, Rows]:
    """A row a prompt: another token than the reference's and the mean absolute shift of log-probabilities; another text
    and how little of it is the same (MMD of one answer each by the prefix kernel)."""
    ties = border.prompts if border is not None else ()
    tops = [[float(leaves_answer(one.border[p.id], p.places[:1]))] for p in ties if p.id in one.border]
    moved = measure_displacement(pack, {prompt: [keep_best(told, best)] for prompt, told in one.first.items()})
    by, first = centre_rows(moved.by), []
    for at, prompt in enumerate(pack.prompts):
        if prompt.id in one.first:
            shift = float(np.nanmean(np.abs(by[moved.rows.prompts == at])))
            first.append((float(leaves_answer(one.first[prompt.id], prompt.places)), shift))
    texts = [(1.0, 1.0 - float(prefix_kernel([a, b])[0, 1])) if a != b else (0.0, 0.0) for a, b in one.pairs]
    return {
        "border": np.array(tops).reshape(-1, 1),
        "first": np.array(first).reshape(-1, 2),
        "texts": np.array(texts).reshape(-1, 2),
    }


def leaves_answer(told: Sequence[FirstToken], places: Sequence[PackPlace]) -> bool:
    """Whether a host's likeliest token at some place is another than the reference's, all before being the same."""
    return any(one.candidates[0].token != place.tokens[0] for one, place in zip(told, places, strict=False))


def describe_share(rows: Rows) -> str:
    """How many of how many prompts."""
    return f"{int(rows.sum())} of {len(rows)}" if len(rows) else ""


def find_sizes(
    kind: str,
    column: int,
    name: str,
    measured: Mapping[str, Mapping[str, Rows]],
    honest: Sequence[str],
    one: Endpoint,
    draws: int,
) -> str:
    """Of one test, by the threshold of each honest endpoint; nothing where it has none, or is this very one."""
    own, tokens = measured[name][kind], one.tokens[kind]
    cells = []
    for usual in (measured[other][kind] for other in honest if other != name):
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
    true = find_truth(name)
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
            return f"{size} ({round(size * np.mean(one.tokens['first'])):,}) at {right / times:.2f}"
    if true in HONEST:
        return f"a coarse one in {wrong} of {asked:,} draws"
    return f"over {min(MOST_NAMED, len(prompts))}" if prompts else ""


if __name__ == "__main__":
    main()
