"""The page in a real browser: nothing runs, nothing is fetched, nothing overflows, at any width."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest
from reports import synthetic
from tempzero.reports import write_reports
from tempzero.reports.lookup import View
from tempzero.reports.sections import build_sections

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: the page is not checked in a browser")

_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
# Run in a copy without the policy: escaping alone must hold there. Everything is opened, then measured.
_MEASURE = """
<script id="probe">
document.querySelectorAll('details').forEach(d => d.open = true);
const wide = [...document.querySelectorAll('body *')].filter(e =>
  e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0 && !e.closest('.scroll, pre, svg') &&
  getComputedStyle(e).display !== 'inline' && getComputedStyle(e).position !== 'absolute');
document.documentElement.dataset.measured = JSON.stringify({
  ran: document.documentElement.dataset.ran || null,
  scripts: document.scripts.length,
  images: document.images.length,
  fetched: performance.getEntriesByType('resource').length,
  page: document.documentElement.scrollWidth,
  screen: document.documentElement.clientWidth,
  wide: wide.slice(0, 5).map(e => e.tagName + '.' + e.className + ' ' + e.scrollWidth + '>' + e.clientWidth),
  sections: document.querySelectorAll('main > section').length,
});
</script>
"""


def _dump(page: Path, profile: Path, width: int) -> str:
    """The page's document after loading, as the browser has it."""
    assert CHROMIUM is not None
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={profile}",
        f"--window-size={width},900",
        "--dump-dom",
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    return done.stdout.decode("utf-8")


def _page(folder: Path, *, hostile: bool) -> Path:
    if hostile:
        return write_reports(synthetic.hostile_analysis(), synthetic.hostile_verdict(), folder)[0]
    return write_reports(synthetic.analysis(), synthetic.verdict(), folder)[0]


@pytest.mark.parametrize(("hostile", "width"), [(False, 1400), (True, 420)])
def test_nothing_runs_and_nothing_overflows(tmp_path: Path, hostile: bool, width: int) -> None:
    """Even without its policy, hostile output stays text, and the page is never wider than the window."""
    page = _page(tmp_path, hostile=hostile)
    text, policies = _POLICY.subn("", page.read_text(encoding="utf-8"))
    assert policies == 1
    copy = tmp_path / "measured.html"
    copy.write_text(text.replace("</body>", _MEASURE + "</body>"), encoding="utf-8")
    dom = _dump(copy, tmp_path / "profile", width)
    found = json.loads(unescape(re.findall(r'data-measured="([^"]*)"', dom)[0]))
    assert found["ran"] is None
    assert (found["scripts"], found["images"], found["fetched"]) == (1, 0, 0)
    built = build_sections(View(synthetic.analysis(), synthetic.verdict()))
    assert found["sections"] == sum("html" in section.media for section in built)
    assert found["page"] <= found["screen"]
    assert found["wide"] == []


def test_the_policy_stops_a_script_that_got_in(tmp_path: Path) -> None:
    """The page as shipped runs no script, not even one put into it afterwards."""
    page = _page(tmp_path, hostile=True)
    copy = tmp_path / "injected.html"
    injected = "<script>document.documentElement.dataset.ran = 3</script></body>"
    copy.write_text(page.read_text(encoding="utf-8").replace("</body>", injected), encoding="utf-8")
    dom = _dump(copy, tmp_path / "profile", 1400)
    assert "data-ran" not in dom.split("<body", 1)[0]
    assert "What this report does not claim" in dom
