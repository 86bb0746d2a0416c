"""Report and index as axe-core sees them, with everything opened, light and dark: for keyboards and screen readers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest
from reports import synthetic
from tempzero.claims.page_wording import to_html
from tempzero.reports import write_reports
from tempzero.reports.run_index import write_run_index

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
AXE = os.environ.get("AXE_CORE", "")
pytestmark = pytest.mark.skipif(CHROMIUM is None or not AXE, reason="no chromium, or no axe.min.js named in AXE_CORE")
_RUN = """<script>addEventListener('load', async () => {
  document.querySelectorAll('details').forEach(d => d.open = true);
  const found = (await axe.run()).violations.map(v => [v.id, v.nodes.length, v.nodes[0].html]);
  document.documentElement.dataset.axe = JSON.stringify(found);
});</script></body>"""


def _find_violations(page: Path, *, dark: bool) -> list[object]:
    text = re.sub(r"<meta http-equiv=.Content-Security-Policy[^>]*>", "", page.read_text(encoding="utf-8"))
    checked = page.with_suffix(".axe.html")
    end = text.rfind("</body>") if "</body>" in text else len(text)
    checked.write_text(f"{text[:end]}<script>{Path(AXE).read_text()}</script>{_RUN}", encoding="utf-8")
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=120000"]
    command += ["--window-size=1024,900", "--dump-dom", f"--user-data-dir={page.parent / 'profile'}"]
    command += ["--blink-settings=preferredColorScheme=0"] if dark else []
    done = subprocess.run([*command, checked.as_uri()], capture_output=True, timeout=240, check=True, text=True)
    found: list[object] = json.loads(unescape(re.findall(r'data-axe="([^"]*)"', done.stdout)[0]))
    return found


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_on_any_page(tmp_path: Path, dark: bool) -> None:
    """A violation is a reader who is shut out."""
    run = tmp_path / "run"
    run.mkdir()
    report = write_reports(synthetic.analysis(), synthetic.verdict(), run)[0]
    (run / "manifest.json").write_text("{}")
    claim = tmp_path / "CLAIM.html"
    claim.write_text(to_html("# `a` differs\n\nOne.\n\n## How\n\n- `x` one\n- two\n\n    code\n"))
    for page in (report, write_run_index(tmp_path), claim):
        assert _find_violations(page, dark=dark) == [], page
