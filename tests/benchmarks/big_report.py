"""A report of many providers and prompts: how large it is, how long it takes to write, and to open in a browser.

python tests/benchmarks/big_report.py [FOLDER] [PROVIDERS] [PROMPTS] [REPEATS] [SEED], with PYTHONPATH=harness:tests
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from html import unescape
from pathlib import Path

from big_runs import make_report

ADDED = """<script>addEventListener('load', () => {
const laid_out = document.body.offsetHeight;
document.documentElement.dataset.opened = laid_out && performance.now();
})</script></body>"""


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
    made = make_report(folder, providers, prompts, repeats, seed)
    size = made.page.stat().st_size
    opened = sorted(measure_opening(made.page) for _ in range(3))
    print("| providers x prompts x repeats | distinct answers, on the page | page | analysis | writing | opens in |")
    print("|---|---|---|---|---|---|")
    print(
        f"| {providers} x {prompts} x {repeats} | {made.distinct:,}, {len(made.analysis.answers):,} "
        f"| {size / 1e6:.2f} MB | {made.analysed_s:.1f} s | {made.written_s:.1f} s | {opened[1] / 1000:.2f} s |"
    )
    print(f"run folder: {made.page.parent}")


if __name__ == "__main__":
    given = sys.argv[1:]
    sizes = [int(n) for n in given[1:]]
    main(Path(given[0] if given else tempfile.mkdtemp()), *(sizes + [10, 100, 5, 1][len(sizes) :]))
