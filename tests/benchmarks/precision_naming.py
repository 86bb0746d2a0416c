"""Hosts whose weights are known and a direction pack in, a Markdown table of what each is named as out.

    python tests/benchmarks/precision_naming.py PACK HOSTS.jsonl ... [--draws 200] [--run RUN_FOLDER] [--part border]

HOSTS.jsonl comes from `precision_hosts.py`; a run of `tempzero fingerprint` adds its providers. Each cell draws so many
of the prompts anew, keeps the best K candidates, and asks what the host is named as.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from tempzero.answers.first_tokens import FirstToken, TokenLogprob, read_first_token
from tempzero.precision.displacement import measure_displacement
from tempzero.precision.hosts import name_displacement
from tempzero.precision.naming import Naming
from tempzero.precision.packs import DirectionPack, load_pack
from tempzero.records import open_run
from tempzero.types.vocabulary import FingerprintState

Answers = dict[str, FirstToken]


def main() -> None:
    """Print the table, a row a host and a column a cell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", type=Path)
    parser.add_argument("hosts", type=Path, nargs="*")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--run", type=Path, action="append", default=[])
    parser.add_argument("--part", choices=("all", "border", "ordinary"), default="all")
    parser.add_argument("--cells", default="8x20,16x20,32x20,8x5,16x5,32x5", help="prompts x log-probabilities")
    parser.add_argument("--decimals", type=int, help="as a host that rounds its log-probabilities")
    parser.add_argument("--floor", action="store_true", help="as a host that gives 20 with all but five at -100")
    asked = parser.parse_args()
    pack = load_pack(asked.pack)
    hosts: dict[str, Answers] = {}
    for path in asked.hosts:
        hosts |= read_hosts(pack, path)
    for run in asked.run:
        hosts |= read_run(run)
    cells = [(int(n), int(k)) for n, k in (cell.split("x") for cell in asked.cells.split(","))]
    print("| host | " + " | ".join(f"{n} x {k}" for n, k in cells) + " |")
    print("|---" * (len(cells) + 1) + "|")
    for name, every in hosts.items():
        answers = {p: told for p, told in every.items() if choose_part(p) == asked.part or asked.part == "all"}
        given = {p: change_numbers(told, asked.decimals, floor=asked.floor) for p, told in answers.items()}
        row = [describe_cell(pack, given, n, k, asked.draws) for n, k in cells]
        print(f"| {name} | " + " | ".join(row) + " |", flush=True)


def read_hosts(pack: DirectionPack, path: Path) -> dict[str, Answers]:
    """By host and prompt; a token that the pack does not know keeps its id alone."""
    hosts: dict[str, Answers] = defaultdict(dict)
    tokens = {p.id: dict(zip(p.token_ids, p.tokens, strict=True)) for p in pack.prompts}
    for line in path.read_text().splitlines():
        told = json.loads(line)
        known = tokens[told["prompt"]]
        candidates = tuple(
            TokenLogprob(token=known.get(token, b"\xff%d" % token), token_id=token, logprob=value)
            for token, value in told["candidates"]
        )
        hosts[told["host"]][told["prompt"]] = FirstToken(candidates=candidates, floored=0, decimals=None)
    return hosts


def read_run(path: Path) -> dict[str, Answers]:
    """The providers of a run of `tempzero fingerprint`."""
    hosts: dict[str, Answers] = defaultdict(dict)
    for record in open_run(path).records():
        told = read_first_token(record.attempt.exchange)
        if told is not None:
            hosts[record.attempt.trial.provider][record.attempt.trial.prompt] = told
    return hosts


def describe_cell(pack: DirectionPack, answers: Answers, prompts: int, best: int, draws: int) -> str:
    """What it was named as, most often first, as shares of the draws."""
    draw = np.random.default_rng([prompts, best])
    whole = measure_displacement(pack, {p: [keep_best(told, best)] for p, told in answers.items()})
    asked = np.flatnonzero([p.id in answers for p in pack.prompts])
    counted: Counter[str] = Counter()
    times = 1 if prompts >= len(asked) else draws
    for _ in range(times):
        by = np.full_like(whole.by, np.nan)
        rows = draw.permutation(asked)[:prompts]
        by[rows] = whole.by[rows]
        counted[label_host(*name_displacement(pack, replace(whole, by=by))[:2])] += 1
    return ", ".join(f"{label} {count / times:.3g}" for label, count in counted.most_common(4))


def choose_part(prompt: str) -> str:
    """Border prompts are called so."""
    return "border" if prompt.startswith("border-") else "ordinary"


def change_numbers(told: FirstToken, decimals: int | None, *, floor: bool) -> FirstToken:
    """Rounded, or all but five lost below a floor."""
    kept = told.candidates[:5] if floor else told.candidates
    if decimals is None:
        return FirstToken(candidates=kept, floored=20 - len(kept) if floor else told.floored, decimals=told.decimals)
    rounded = tuple(replace(one, logprob=round(one.logprob, decimals)) for one in kept)
    return FirstToken(candidates=rounded, floored=told.floored, decimals=decimals)


def keep_best(told: FirstToken, best: int) -> FirstToken:
    """As a host gives it that gives fewer."""
    return FirstToken(candidates=told.candidates[:best], floored=told.floored, decimals=told.decimals)


def label_host(naming: Naming | None, state: FingerprintState) -> str:
    """The form's name, several where it is undecided, or the state."""
    if naming is None or not naming.named:
        return state
    return " & ".join(one.direction.name + ("?" if one.rivals else "") for one in naming.named)


if __name__ == "__main__":
    main()
