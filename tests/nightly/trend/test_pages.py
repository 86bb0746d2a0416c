"""The history's pages: what happened is on them, missing nights show, and they open without a server or a script."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import time
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from tempzero.nightly import trend
from tempzero.nightly.history import (
    FORMAT,
    Decision,
    MeasureComparison,
    Night,
    NightEntry,
    NightEvent,
    Side,
    TellingPrompt,
)
from tempzero.nightly.history.nights import State
from tempzero.nightly.trend.series import WORST_FIRST
from tempzero.types.concluded import Estimate

CHROMIUM = shutil.which("chromium")
AXE = os.environ.get("AXE_CORE", "")  # npm pack axe-core
HOSTILE = "<script>document.documentElement.dataset.ran = 1</script>\u202e"


def estimate(value: float) -> Estimate:
    return Estimate(value=value, low=max(0.0, value - 0.1), high=min(1.0, value + 0.1), n=20, method="m")


def entry(provider: str, index: int, state: State) -> NightEntry:
    tested = state in ("ok", "changed")
    events = (NightEvent(what="served_model", before="a", now=HOSTILE, telling=True),) if index % 100 == 50 else ()
    side = Side(
        provider=provider,
        run=f"run-{index}",
        started_at="",
        ended_at="",
        settings="s",
        planned=60,
        answered=60,
        texts={f"p{i}#0": {f"{i:016x}": 3} for i in range(20)},
        answers={},
        values={},
        prompt_tokens={},
        refused=(),
        labels={},
        price=None,
        latency_s=1.0,
    )
    lines = tuple(
        MeasureComparison(measure=m, before=0.5, now=estimate(0.5), change=None, p_value=0.5, method="m")
        for m in ("accuracy", "chars", "seq_rep_4", "loop_share")
    )
    decision = Decision(
        state=state,
        tested=tested,
        reason="because",
        baseline="b",
        match=estimate(0.9 if state == "ok" else 0.2) if tested else None,
        floor=estimate(0.92),
        evidence=0.5,
        alarm_at=3650,
        missing=0 if tested else 1,
        since="2026-01-05" if state == "changed" else None,
        telling=(TellingPrompt(prompt="p0", excess=1.0, before="yes", now=HOSTILE),) if state == "changed" else (),
        events=events,
        lines=lines,
    )
    return NightEntry(side=side, decision=decision)


def make(count: int, providers: int, *, left_out: set[int] = frozenset()) -> list[Night]:  # type: ignore[assignment]
    nights = []
    for index in (i for i in range(count) if i not in left_out):
        state: State = "no data" if index % 37 == 5 else "changed" if index >= count - 3 else "ok"
        nights.append(
            Night(
                format=FORMAT,
                night=(date(2026, 1, 1) + timedelta(days=index)).isoformat(),
                run=f"run-{index}",
                created_at="2026-01-01T00:00:00+00:00",
                entries=tuple(entry(f"provider-{p}", index, state) for p in range(providers)),
            )
        )
    return nights


def test_missing_nights_outages_and_changes_show(tmp_path: Path) -> None:
    """A night that nobody ran is not a night on which nothing happened."""
    nights = make(12, 1, left_out={3, 4})
    index = trend.write_history_pages(nights, tmp_path)
    days = json.loads((tmp_path / "history.json").read_text())["providers"][0]["days"]
    expected = ["ok"] * 3 + ["no run"] * 2 + ["no data"] + ["ok"] * 3 + ["changed"] * 3
    assert [d["state"] for d in days] == expected
    page = next(tmp_path.glob("provider-*.html")).read_text()
    assert page.count('class="no-run"') == 2
    assert 'href="night-2026-01-12.html"' in page
    assert "../../run-11/report.html" not in page, "a night's link opens that night, not the verdict of its run"
    assert "| provider-0 | changed | 2026-01-05 | 0.20 [0.10, 0.30], n=20 | 9 | 1 | 2 |" in trend.history_to_markdown(
        nights
    )
    assert "provider-0" in index.read_text()


def test_a_nights_page_says_what_that_night_said(tmp_path: Path) -> None:
    """The run's own verdict knows nothing of the nights before: a day that leads there contradicts itself."""
    trend.write_history_pages(make(12, 2), tmp_path)
    changed, quiet = ((tmp_path / f"night-2026-01-{day}.html").read_text() for day in ("12", "03"))
    assert "because; since the night of 2026-01-05" in changed
    assert "tempzero baseline accept provider-0 --since 2026-01-05" in changed
    assert "answers that equal the baseline&#39;s: 0.20 [0.10, 0.30], n=20 prompts" in changed
    assert "&lt;script&gt;document" in changed, "the prompts that tell most stand side by side"
    assert 'href="../../run-11/report.html"' in changed
    assert 'href="night-2026-01-11.html"' in changed
    assert "2 ok" in re.sub(r"<[^>]+>|\s+", " ", quiet).replace("·  ", "").replace("  ", " ")
    assert "baseline accept" not in quiet


def test_states_are_told_apart_without_colour(tmp_path: Path) -> None:
    """One reader in twelve does not tell the green of ok from the red of changed."""
    trend.write_history_pages(make(12, 1, left_out={3, 4}), tmp_path)
    page = next(tmp_path.glob("provider-*.html")).read_text()
    signs = re.findall(r'<text class="sign ([a-z-]+)"[^>]*>(.)</text>', page)
    assert set(signs) == {("ok", "·"), ("changed", "▲"), ("no-data", "○")}
    assert len(signs) == 10


def test_known_states_are_bands(tmp_path: Path) -> None:
    """Replicas that take turns are seen at a glance, and one state alone draws nothing."""
    nights = make(20, 1)
    turned = [
        replace(
            n, entries=tuple(replace(e, decision=replace(e.decision, known_state="AB"[i // 5 % 2])) for e in n.entries)
        )
        for i, n in enumerate(nights)
    ]
    trend.write_history_pages(turned, tmp_path / "two")
    trend.write_history_pages(nights, tmp_path / "one")
    two, one = (next((tmp_path / name).glob("provider-*.html")).read_text() for name in ("two", "one"))
    assert two.count('<rect class="band"') == 4
    assert "Known states" not in one


def test_a_fleet_has_a_first_page_that_names_the_oddest(tmp_path: Path) -> None:
    """Five hundred endpoints: whom to look at first must be said, and nobody must be left out."""
    nights = []
    for night in make(3, 60):
        entries = [
            replace(e, side=replace(e.side, model=f"model-{i % 4}"), decision=quiet_or_odd(e.decision, i))
            for i, e in enumerate(night.entries)
        ]
        nights.append(replace(night, entries=tuple(entries)))
    text = trend.write_history_pages(nights, tmp_path).read_text()
    heads = re.findall(r'<h2><a href="[^"]*">(provider-\d+)</a>', text)
    assert len(heads) == 10
    assert heads[:2] == ["provider-5", "provider-10"], "the most evidence first"
    assert len(re.findall(r'<td><a href="[^"]*">provider-\d+</a>', text)) == 60
    assert [m for m in re.findall(r"<h2>(.*?)</h2>", text) if m.startswith("model-")] == [
        f"model-{i}" for i in range(4)
    ]


def quiet_or_odd(decision: Decision, index: int) -> Decision:
    """Every fifth one changed, the first ones with the most evidence."""
    odd = index % 5 == 0 and index > 0
    return replace(decision, state="changed" if odd else "ok", evidence=1e6 / (index + 1) if odd else 0.5)


def with_every_state(nights: list[Night]) -> list[Night]:
    """The same nights, in which each provider goes through all states there are."""
    found = []
    for i, night in enumerate(nights):
        entries = []
        for p, one in enumerate(night.entries):
            state = WORST_FIRST[(i // 4 + p) % len(WORST_FIRST)]
            tested = state not in ("no data", "no baseline")
            known = "AB"[i // 8 % 2] if tested else ""
            decision = replace(one.decision, state=state, tested=tested, known_state=known, lost=0.2, margin=0.05)
            entries.append(replace(one, decision=replace(decision, changed_prompts=("p0", "p1"))))
        found.append(replace(night, entries=tuple(entries)))
    return found


@pytest.mark.skipif(CHROMIUM is None or not AXE, reason="no chromium, or no axe.min.js named in AXE_CORE")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_nothing_on_any_page(tmp_path: Path, scheme: str, width: int) -> None:
    """The pages are read with a keyboard and by screen readers too, by night and on a phone."""
    trend.write_history_pages(with_every_state(make(60, 12)), tmp_path / "fleet")
    trend.write_history_pages(with_every_state(make(40, 2, left_out={17})), tmp_path / "few")
    trend.write_history_pages(make(12, 1), tmp_path / "quiet")
    names = ("fleet/index.html", "few/index.html", "few/night-2026-02-09.html", "quiet/night-2026-01-03.html")
    pages = [tmp_path / name for name in names]
    for path in (*pages, *(next((tmp_path / name).glob("provider-1-*.html")) for name in ("few", "quiet"))):
        assert look_over(path, scheme, width) == [width, scheme == "dark", True, []], path


def look_over(path: Path, scheme: str, width: int) -> Any:
    """The width and scheme that a page was drawn with, whether it fits, and what axe finds there."""
    text = re.sub(r"<meta http-equiv=.Content-Security-Policy[^>]*>", "", path.read_text())
    script = (
        f"<script>{Path(AXE).read_text()}</script><script>axe.run().then(r => parent.postMessage('AXE' + "
        "JSON.stringify([innerWidth, matchMedia('(prefers-color-scheme: dark)').matches, "
        "document.documentElement.scrollWidth <= innerWidth, "
        "r.violations.map(v => [v.id, v.nodes.length, v.nodes[0].html])]) + 'END', '*'))</script>"
    )
    path.with_suffix(".axe.html").write_text(text.replace("</body>", script + "</body>"))
    # A window is never as narrow as a phone; a frame is.
    frame = path.with_suffix(".frame.html")
    frame.write_text(
        "<title></title><script>onmessage = e => { document.title = e.data }</script>"
        f'<iframe src="{path.with_suffix(".axe.html").name}" style="border: 0; width: {width}px; height: 900px">'
    )
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=60000"]
    command += ["--dump-dom", "--window-size=1600,1000", f"--user-data-dir={path.parent / 'profile'}"]
    command += [f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}", frame.as_uri()]
    done = subprocess.run(command, capture_output=True, timeout=240, check=True, text=True)
    found = re.search(r"<title>AXE(.*?)END</title>", done.stdout, re.DOTALL)
    assert found is not None
    return json.loads(html.unescape(found[1]))


def test_the_same_nights_give_the_same_bytes(tmp_path: Path) -> None:
    """No clock and no chance in a page."""
    nights = make(5, 2)
    for name in ("a", "b"):
        trend.write_history_pages(nights, tmp_path / name)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_what_a_model_wrote_is_text(tmp_path: Path) -> None:
    """No script gets into a page, and nothing that turns a line around."""
    trend.write_history_pages(make(60, 1), tmp_path)
    for page in tmp_path.glob("*.html"):
        text = page.read_text()
        assert "<script" not in text
        assert "\u202e" not in text
        assert "default-src 'none'" in text


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
def test_four_hundred_nights_of_ten_providers_open_at_once(tmp_path: Path) -> None:
    """A year's page is used every morning: it must be there at once (limits generous: the machine may be busy)."""
    began = time.monotonic()
    index = trend.write_history_pages(make(400, 10), tmp_path / "page")
    built_s = time.monotonic() - began
    began = time.monotonic()
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--dump-dom"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", index.as_uri()]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    opened_s = time.monotonic() - began
    assert done.stdout.count(b"<rect") == 4000
    print(f"built in {built_s:.1f} s, opened in {opened_s:.1f} s with the browser's own start")
    assert built_s < 60
    assert opened_s < 60
