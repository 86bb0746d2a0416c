"""The page in a real browser: nothing but our script runs, nothing is fetched, nothing overflows, at any width."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
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


# As a reader would: search, choose a provider, sort, open a prompt, copy the answer that leaves out what A says.
_USE = """
<script id="probe">
addEventListener('load', async () => {
  const failed = [];
  addEventListener('error', e => failed.push(e.message));
  const pause = () => new Promise(done => setTimeout(done, 200));
  const shown = () => [...document.querySelectorAll('.prompt')].filter(p => !p.hidden).map(p => p.dataset.name);
  const say = (id, value, kind) => {
    const field = document.getElementById(id);
    field.value = value;
    field.dispatchEvent(new Event(kind));
  };
  const tools = !document.getElementById('prompt-tools').hidden;
  say('find', 'QUESTION 3 of code', 'input');
  await pause();
  const searched = shown();
  say('find', '', 'input');
  say('family', 'trivia', 'change');
  await pause();
  const family = shown();
  say('family', '', 'change');
  const which = document.getElementById('which');
  which.selectedIndex = [...which.options].findIndex(o => o.textContent === 'where hosted-example is not A');
  which.dispatchEvent(new Event('change'));
  const other = shown().length;
  say('which', '', 'change');
  say('order', 'name', 'change');
  const order = shown().slice(0, 2);
  const copied = [];
  Object.defineProperty(navigator, 'clipboard', {value: {writeText: async text => void copied.push(text)}});
  location.hash = '#prompt-code-02';
  await pause();
  const prompt = document.getElementById('prompt-code-02');
  const buttons = [...prompt.querySelectorAll('.answer button')];
  buttons.forEach(b => b.click());
  await pause();
  document.documentElement.dataset.used = JSON.stringify(
    {tools, searched, family, other, order, open: prompt.open, copied, failed});
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
        "--virtual-time-budget=20000",
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
    assert (found["scripts"], found["images"], found["fetched"]) == (2, 0, 0)
    built = build_sections(View(synthetic.analysis(), synthetic.verdict()))
    assert found["sections"] == sum("html" in section.media for section in built)
    assert found["page"] <= found["screen"]
    assert found["wide"] == []


def test_the_policy_stops_a_script_that_got_in(tmp_path: Path) -> None:
    """The page as shipped runs its own script, and none that was put into it afterwards."""
    page = _page(tmp_path, hostile=True)
    copy = tmp_path / "injected.html"
    injected = "<script>document.documentElement.dataset.ran = 3</script></body>"
    copy.write_text(page.read_text(encoding="utf-8").replace("</body>", injected), encoding="utf-8")
    dom = _dump(copy, tmp_path / "profile", 1400)
    assert "data-ran" not in dom.split("<body", 1)[0]
    assert re.search('<div class="tools" id="prompt-tools">', dom), "our own script shows its tools"
    assert "What this report does not claim" in dom


def test_a_reader_can_search_filter_sort_and_copy(tmp_path: Path) -> None:
    """What is copied is the whole answer, also where the page shows only how it differs from the commonest."""
    base = synthetic.analysis()
    texts = [a.text for a in base.answers if a.prompt == "code-02"]
    long = replace(next(a for a in base.answers if a.text == texts[1]), text=texts[0].replace("Text", "Words") + "End")
    answers = tuple(long if a.text == texts[1] else a for a in base.answers)
    page = write_reports(replace(base, answers=answers), synthetic.verdict(), tmp_path)[0]
    assert "characters as in A" in page.read_text(encoding="utf-8")
    copy = tmp_path / "used.html"
    copy.write_text(_POLICY.sub("", page.read_text(encoding="utf-8")).replace("</body>", _USE + "</body>"))
    used = json.loads(unescape(re.findall(r'data-used="([^"]*)"', _dump(copy, tmp_path / "profile", 1400))[0]))
    assert used["tools"]
    assert used["searched"] == ["code-03"]
    assert used["family"] == [f"trivia-{i:02d}" for i in range(1, 5)]
    assert used["other"] == 24
    assert used["order"] == ["arithmetic-01", "arithmetic-02"]
    assert used["open"]
    assert used["copied"] == [texts[0], f"Let me think.\n\n{long.text}"]
    assert used["failed"] == []
