"""A report of many providers and prompts: how large it is, how long it takes to write, and to open in a browser.

python tests/benchmarks/big_report.py [FOLDER] [PROVIDERS] [PROMPTS] [REPEATS] [SEED], with PYTHONPATH=harness:tests

Texts are made up: each prompt has a commonest answer of about 250 words that most providers give, others leave it at a
random word and go on by themselves, some differently each time.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import making
from tempzero import records
from tempzero.analysis import analyse
from tempzero.reports import write_reports
from tempzero.types.asked import Message, Prompt, Suite
from tempzero.types.recorded import Attempt
from tempzero.verdict.gate import judge

WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("", "n", "ster", "l", "mo", "rit")]
ADDED = """<script>addEventListener('load', () => {
const laid_out = document.body.offsetHeight;
document.documentElement.dataset.opened = laid_out && performance.now();
})</script></body>"""


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


def measure_opening(page: Path) -> float:
    """Milliseconds from the start of the navigation until it is loaded, its script has run and it is laid out."""
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text(encoding="utf-8"))
    copy = page.with_name("opened.html")
    at = text.rindex("</body>")
    copy.write_text(text[:at] + ADDED + text[at + 7 :], encoding="utf-8")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with tempfile.TemporaryDirectory() as profile:
        command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        command += ["--dump-dom", "--window-size=1440,900", copy.as_uri()]
        done = subprocess.run(command, capture_output=True, check=True)
    copy.unlink()
    return float(unescape(re.findall(r'data-opened="([^"]*)"', done.stdout.decode("utf-8"))[0]))


def main(folder: Path, providers: int, prompts: int, repeats: int, seed: int) -> None:
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
    size = page.stat().st_size
    distinct = len(
        {(a.trial.prompt, a.exchange.outcome.completion.text) for a in attempts if a.exchange.outcome.completion}
    )
    opened = [measure_opening(page) for _ in range(3)]
    print("| providers x prompts x repeats | distinct answers, on the page | page | analysis | writing | opens in |")
    print("|---|---|---|---|---|---|")
    print(
        f"| {providers} x {prompts} x {repeats} | {distinct:,}, {len(analysis.answers):,} | {size / 1e6:.2f} MB "
        f"| {analysed - begun:.1f} s | {written - analysed:.1f} s | {sorted(opened)[1] / 1000:.2f} s |"
    )
    print(f"run folder: {run.path}")


if __name__ == "__main__":
    given = sys.argv[1:]
    sizes = [int(n) for n in given[1:]]
    main(Path(given[0] if given else tempfile.mkdtemp()), *(sizes + [10, 100, 5, 1][len(sizes) :]))
