"""Hosts whose weights are known and a direction pack in, a Markdown table of what each is named as out.

    python tests/benchmarks/precision_naming.py PACK HOSTS.jsonl ... [--draws 200] [--run RUN_FOLDER] [--part steady]

HOSTS.jsonl comes from `precision_hosts.py`; a run of `tempzero fingerprint` adds its providers. Each cell draws so many
of the prompts anew, keeps the best K candidates of each token (8x20; 8x20x1: of the first token alone), and asks what
the host is named as. A host's own name says the truth (`TRUTHS` where it is called otherwise): "right", "it or more"
where it is undecided between that and others, "another told" where one that would need something besides is told after
it, "with" where another is named beside it, else what it was called.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from tempzero.answers.first_tokens import FirstToken, TokenLogprob, read_first_tokens
from tempzero.precision.displacement import measure_displacement
from tempzero.precision.hosts import name_displacement
from tempzero.precision.naming import Naming
from tempzero.precision.packs import DirectionPack, load_pack
from tempzero.records import open_run
from tempzero.types.vocabulary import FingerprintState

Answers = dict[str, tuple[FirstToken, ...]]
_MOST_TOKENS = 64
TRUTHS = {
    "w8a8": "int8-channel-a8",
    "w8a8-fp8": "fp8-e4m3-channel-a8",
    "w4a16": "int4-group64",
    "cache-fp8": "cache-fp8-e4m3",
    "false-q4_0": "q4_0",
    "fp6-e3m2-channel": "fp8-e5m2-channel",
    "openvino-f32": "f16",
}
_ENGINES = ("vllm-", "transformers-", "local-")


def main() -> None:
    """Print the table, a row a host and a column a cell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", type=Path)
    parser.add_argument("hosts", type=Path, nargs="*")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--only", default="", help="these hosts, comma-separated")
    parser.add_argument("--run", type=Path, action="append", default=[])
    parser.add_argument("--part", choices=("all", "steady", "ordinary"), default="all")
    parser.add_argument(
        "--cells", default="8x20,16x20,32x20,8x5,16x5,32x5", help="prompts x log-probabilities (x tokens)"
    )
    parser.add_argument("--decimals", type=int, help="as a host that rounds its log-probabilities")
    parser.add_argument("--floor", action="store_true", help="as a host that gives 20 with all but five at -100")
    asked = parser.parse_args()
    pack = load_pack(asked.pack)
    hosts: dict[str, Answers] = {}
    for path in asked.hosts:
        hosts |= read_hosts(pack, path)
    for run in asked.run:
        hosts |= read_run(run)
    cells = [tuple(map(int, cell.split("x"))) for cell in asked.cells.split(",")]
    print("| host | " + " | ".join(" x ".join(map(str, cell)) for cell in cells) + " |")
    print("|---" * (len(cells) + 1) + "|")
    for name, every in hosts.items():
        if asked.only and name not in asked.only.split(","):
            continue
        answers = {p: told for p, told in every.items() if choose_part(p) == asked.part or asked.part == "all"}
        given = {p: change_numbers(told, asked.decimals, floor=asked.floor) for p, told in answers.items()}
        row = [describe_cell(pack, given, name, cell, asked.draws) for cell in cells]
        print(f"| {name} | " + " | ".join(row) + " |", flush=True)


def read_hosts(pack: DirectionPack, path: Path) -> dict[str, Answers]:
    """By host and prompt; a token that the pack does not know keeps its id alone."""
    hosts: dict[str, Answers] = defaultdict(dict)
    tokens = {p.id: [dict(zip(at.token_ids, at.tokens, strict=True)) for at in p.places] for p in pack.prompts}
    for line in path.read_text().splitlines():
        told = json.loads(line)
        read = []
        for known, place in zip(tokens[told["prompt"]], told["places"], strict=True):
            candidates = tuple(
                TokenLogprob(token=known.get(token, b"\xff%d" % token), token_id=token, logprob=value)
                for token, value in place
            )
            read.append(FirstToken(candidates=candidates, floored=0, decimals=None, chosen=candidates[0]))
        hosts[told["host"]][told["prompt"]] = tuple(read)
    return hosts


def read_run(path: Path) -> dict[str, Answers]:
    """The providers of a run of `tempzero fingerprint`."""
    hosts: dict[str, Answers] = defaultdict(dict)
    for record in open_run(path).records():
        told = read_first_tokens(record.attempt.exchange, _MOST_TOKENS)
        if told:
            hosts[record.attempt.trial.provider][record.attempt.trial.prompt] = told
    return hosts


def describe_cell(pack: DirectionPack, answers: Answers, host: str, cell: Sequence[int], draws: int) -> str:
    """What it was named as, most often first, as shares of the draws."""
    prompts, best, *tokens = cell
    draw = np.random.default_rng(cell)
    whole = measure_displacement(
        pack, {p: [keep_best(told[: tokens[0] if tokens else None], best)] for p, told in answers.items()}
    )
    owners = pack.rows.prompts
    asked = np.flatnonzero([p.id in answers for p in pack.prompts])
    counted: Counter[str] = Counter()
    times = 1 if prompts >= len(asked) else draws
    for _ in range(times):
        by = np.full_like(whole.by, np.nan)
        rows = np.isin(owners, draw.permutation(asked)[:prompts])
        by[rows] = whole.by[rows]
        counted[compare_name(*name_displacement(pack, replace(whole, by=by))[:2], find_truth(host))] += 1
    return ", ".join(f"{label} {count / times:.3g}" for label, count in counted.most_common(4))


def choose_part(prompt: str) -> str:
    """Steady prompts are called so."""
    return "steady" if prompt.startswith("steady-") else "ordinary"


def change_numbers(told: Sequence[FirstToken], decimals: int | None, *, floor: bool) -> tuple[FirstToken, ...]:
    """Rounded, or all but five of each token lost below a floor."""
    return tuple(change_token(one, decimals, floor=floor) for one in told)


def change_token(told: FirstToken, decimals: int | None, *, floor: bool) -> FirstToken:
    """The same of one token."""
    kept = told.candidates[:5] if floor else told.candidates
    if decimals is None:
        return replace(told, candidates=kept, floored=20 - len(kept) if floor else told.floored)
    rounded = tuple(replace(one, logprob=round(one.logprob, decimals)) for one in kept)
    return replace(told, candidates=rounded, decimals=decimals)


def keep_best(told: Sequence[FirstToken], best: int) -> tuple[FirstToken, ...]:
    """As a host gives it that gives fewer."""
    return tuple(replace(one, candidates=one.candidates[:best]) for one in told)


def find_truth(host: str) -> str:
    """The form that a host of this name serves, were it the pack's or not."""
    for engine in _ENGINES:
        host = host.removeprefix(engine)
    plain = host.partition(":")[0]
    return TRUTHS.get(plain, plain)


def compare_name(naming: Naming | None, state: FingerprintState, truth: str) -> str:
    """What a host was called, beside what it is. What llama.cpp computes in a type is of that type."""
    if naming is None or not naming.named:
        return {"unknown form": "none of them"}.get(state, state)
    called = [one.direction.name.removesuffix("-llamacpp") for one in naming.named]
    if truth.startswith("honest") and {*called} <= {"bf16", "f16"}:
        return "as 16-bit"
    maybe = {d.name.removesuffix("-llamacpp") for one in naming.named for d in one.rivals} - {*called}
    if truth not in {*called, *maybe}:
        return " & ".join(called) + (f" or {' or '.join(sorted(maybe))}" if maybe else "") + " (wrong)"
    if maybe:
        return "it or more"
    if called == [truth] and naming.named[0].fuller:
        return "right, another told"
    return "right" if called == [truth] else "it with " + " & ".join(one for one in called if one != truth)


def label_host(naming: Naming | None, state: FingerprintState) -> str:
    """The form's name, several where it is undecided, or the state."""
    if naming is None or not naming.named:
        return state
    return " & ".join(one.direction.name + ("?" if one.rivals else "") for one in naming.named)


if __name__ == "__main__":
    main()
