"""Made-up nights of a fleet in, how long one night's decision and the pages take and how large they are out.

Quiet nights of endpoints that answer 20 prompts three times each and disagree with themselves now and then are put on
file; then one more night, in which every hundredth endpoint has changed, is read, decided and drawn as `tempzero
nightly` and `tempzero history` do.

    python tests/benchmarks/nightly_fleet.py [--endpoints 500] [--models 40] [--nights 40] [--seed 1]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from tempzero import stats
from tempzero.config import Gates, Nightly
from tempzero.nightly import history, trend
from tempzero.nightly.history import Baseline, Decision, Night, NightEntry, Side, Tonight

PROMPTS, REPEATS = 20, 3
BASELINE_RUNS = 3


def make_side(name: str, model: str, run: str, rng: np.random.Generator, changed: bool) -> Side:
    """One night of one endpoint: the usual text of each prompt, in one answer of ten another one of two."""
    texts = {}
    for j in range(PROMPTS):
        usual = "new" if changed else "usual"
        drawn = rng.multinomial(REPEATS, (0.9, 0.05, 0.05)).tolist()
        texts[f"p{j}#0"] = {text: n for text, n in zip((usual, "other", "third"), drawn, strict=True) if n}
    return Side(
        provider=name, run=run, started_at="", ended_at="", settings="s", planned=PROMPTS * REPEATS,
        answered=PROMPTS * REPEATS, texts=texts, answers={}, values={}, prompt_tokens={}, refused=(), labels={},
        price=None, latency_s=1.0, model=model,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoints", type=int, default=500)
    parser.add_argument("--models", type=int, default=40)
    parser.add_argument("--nights", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    rng = np.random.default_rng(chosen.seed)
    models = {f"endpoint-{i:03}": f"model-{i % chosen.models:02}" for i in range(chosen.endpoints)}
    floor = stats.share_over_prompts(np.full(PROMPTS, 0.82))
    baselines = {}
    for name, model in models.items():
        sides = tuple(make_side(name, model, f"b{i}", rng, False) for i in range(BASELINE_RUNS))
        baselines[name] = Baseline(
            format=history.FORMAT, provider=name, set_at="", suite_digest="d", floor=floor, sides=sides
        )
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder)
        for number in range(chosen.nights):
            label = (date(2026, 1, 1) + timedelta(days=number)).isoformat()
            entries = tuple(
                NightEntry(
                    side=make_side(name, model, f"r{number}", rng, False),
                    decision=Decision(
                        state="ok", tested=True, reason="no change found", baseline=baselines[name].key,
                        evidence=1.0, alarm_at=3650.0, known_state="A", home=("A",), match=floor, floor=floor,
                    ),
                )
                for name, model in models.items()
            )  # fmt: skip
            history.write_night(
                results, Night(format=history.FORMAT, night=label, run=f"r{number}", created_at="", entries=entries)
            )
        print(f"{chosen.nights} nights of {chosen.endpoints} endpoints on file", flush=True)

        label = (date(2026, 1, 1) + timedelta(days=chosen.nights)).isoformat()
        tonight = [make_side(n, m, "tonight", rng, i % 100 == 0) for i, (n, m) in enumerate(models.items())]
        began = time.monotonic()
        past = history.gather_past_nights(history.read_nights(results), label)
        read_s = time.monotonic() - began
        entries = tuple(
            NightEntry(
                side=side,
                decision=history.decide_tonight(
                    Tonight(night=label, depth="nightly", side=side),
                    baselines[side.provider],
                    past[side.provider],
                    Nightly(),
                    Gates(),
                ),
            )
            for side in tonight
        )
        decided_s = time.monotonic() - began
        history.write_night(
            results, Night(format=history.FORMAT, night=label, run="tonight", created_at="", entries=entries)
        )
        alarms = sum(e.decision.alarms for e in entries)
        print(f"decided in {decided_s:.1f} s, of which {read_s:.1f} s to read the nights; {alarms} alarms", flush=True)

        began = time.monotonic()
        index = trend.write_history_pages(history.read_nights(results), results / "page")
        sizes = sorted(p.stat().st_size for p in index.parent.glob("*.html"))
        text = index.read_text()
        print(
            f"pages in {time.monotonic() - began:.1f} s: the first {len(text.encode()) / 1e6:.2f} MB, the largest "
            f"{sizes[-1] / 1e6:.2f} MB; it names {text.count('<section>') - chosen.models} endpoints with their charts "
            f"and {text.count('<td><a href=')} in its tables"
        )


if __name__ == "__main__":
    main()
