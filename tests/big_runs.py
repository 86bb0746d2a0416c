"""A run of many providers and prompts with made-up texts, and its report.

Each prompt has a commonest answer of about 250 words that most providers give, others leave it at a random word and go
on by themselves, some differently each time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import making
from tempzero import records
from tempzero.analysis import analyse
from tempzero.reports import write_reports
from tempzero.types.asked import Message, Prompt, Suite
from tempzero.types.concluded import Analysis
from tempzero.types.recorded import Attempt
from tempzero.verdict.gate import judge

WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("", "n", "ster", "l", "mo", "rit")]


def write_text(draw: random.Random, words: int) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(words)).capitalize() + "."


def answer_all(providers: int, prompts: Suite, repeats: int, draw: random.Random) -> Iterator[Attempt]:
    for prompt in prompts.prompts:
        common = write_text(draw, draw.randint(120, 380)).split(" ")
        for number in range(providers):
            strays = number >= providers // 2 and draw.random() < 0.6
            at = draw.randrange(len(common))
            own = " ".join(common[:at]) + " " + write_text(draw, len(common) - at) if strays else " ".join(common)
            for repeat in range(repeats):
                text = own
                if number % 5 == 4 and draw.random() < 0.3:
                    cut = draw.randrange(len(common))
                    text = " ".join(own.split(" ")[:cut]) + " " + write_text(draw, len(common) - cut)
                yield making.make_attempt(making.make_trial(f"provider-{number}", prompt.id, repeat), text)


@dataclass(frozen=True, kw_only=True)
class MadeReport:
    """A report of made-up records: its page, what is in it, and how long it took to analyse and to write."""

    page: Path
    analysis: Analysis
    distinct: int
    analysed_s: float
    written_s: float


def make_report(folder: Path, providers: int, prompts: int, repeats: int, seed: int) -> MadeReport:
    draw = random.Random(seed)
    asked = tuple(
        Prompt(
            id=f"prompt-{i:03d}",
            family=f"family-{i % 6}",
            messages=(Message(role="user", content=write_text(draw, draw.randint(20, 200))),),
        )
        for i in range(prompts)
    )
    suite = Suite(prompts=asked, digest=making.sha256(str(seed)))
    config = making.make_config([f"provider-{i}" for i in range(providers)], repeats)
    attempts = list(answer_all(providers, suite, repeats, draw))
    run = records.open_run(making.make_run(folder, config, suite, attempts))
    begun = time.perf_counter()
    analysis = analyse(run)
    analysed = time.perf_counter()
    page = write_reports(analysis, judge(analysis, config.gates), run.path)[0]
    written = time.perf_counter()
    said = {(a.trial.prompt, a.exchange.outcome.completion.text) for a in attempts if a.exchange.outcome.completion}
    return MadeReport(
        page=page,
        analysis=analysis,
        distinct=len(said),
        analysed_s=analysed - begun,
        written_s=written - analysed,
    )
