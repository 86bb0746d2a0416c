"""Hosts with one planted fault, and honest ones in ten dialects, in; how many the suite names and accuses, out.

    python tests/benchmarks/contract.py [--fault-seeds 1 2 3] [--honest-seeds 10] [--first-seed 0]

Every host draws its noise by a seed: 30 % of the answers to open questions and 5 % of the others part somewhere, one
request in a hundred meets a passing fault. Each fault is planted in one host a seed that keeps all other promises.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parent.parent))

from contract_faults import FAULTS
from contract_host import DIALECTS, ContractHost
from loopback import Loopback
from tempzero.config import Setting
from tempzero.contract import ProviderContract, check_contract


def look_at(host: ContractHost, **entry: Any) -> ProviderContract:
    """What the suite says of one host."""
    with Loopback(host) as server, tempfile.TemporaryDirectory() as folder:
        provider = {"name": "p", "base_url": server.base_url, "model": "m", "concurrency": 4, **entry}
        path = Path(folder) / "providers.yaml"
        path.write_text(yaml.safe_dump({"version": 1, "providers": [provider]}))
        (found,) = check_contract(Setting.load(path, {})).providers
    return found


def list_broken(found: ProviderContract) -> dict[str, str]:
    return {result.id: result.words for result in found.results if result.state == "FAIL"}


def count_named(seed: int) -> tuple[int, int, int]:
    """Faults named by the right case in the right words, those with a further case that is not its, most requests."""
    named = beside = most = 0
    for planted in FAULTS:
        found = look_at(ContractHost(planted.dialect, planted.fault, seed=seed), **planted.entry)
        broken = list_broken(found)
        right = planted.words in broken.get(planted.case, "")
        other = sorted(broken.keys() - {planted.case, *planted.also})
        named, beside, most = named + right, beside + bool(other), max(most, found.requests)
        if not right or other:
            print(f"  seed {seed}: {planted.name}: {'named' if right else 'NOT NAMED'} {other}", flush=True)
    return named, beside, most


def count_accused(seed: int) -> tuple[int, int]:
    """Honest hosts, one a dialect, that are accused of anything, and the most requests that one took."""
    accused = most = 0
    for dialect in DIALECTS:
        found = look_at(ContractHost(dialect, seed=seed), **dialect.entry)
        broken = list_broken(found)
        accused, most = accused + bool(broken), max(most, found.requests)
        if broken:
            print(f"  seed {seed}: {dialect.name}: ACCUSED {broken}", flush=True)
    return accused, most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fault-seeds", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--honest-seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    chosen = parser.parse_args()
    began = time.monotonic()
    rows = []
    for seed in chosen.fault_seeds:
        named, beside, most = count_named(seed)
        rows.append(f"| {len(FAULTS)} faults, seed {seed} | {named} named, {beside} with a case beside it | {most} |")
        print(rows[-1], flush=True)
    accused, most = 0, 0
    for seed in range(chosen.first_seed, chosen.first_seed + chosen.honest_seeds):
        found = count_accused(seed)
        accused, most = accused + found[0], max(most, found[1])
        print(f"honest, seed {seed}: {found[0]} of {len(DIALECTS)} accused", flush=True)
    rows.append(f"| {len(DIALECTS) * chosen.honest_seeds} honest hosts | {accused} accused | {most} |")
    print(f"\n| hosts | | most requests |\n|---|---|---|\n{chr(10).join(rows)}\n{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
