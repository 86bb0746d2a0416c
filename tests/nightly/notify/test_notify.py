"""What goes out when a provider changes, read by the tools it is meant for or taken by a server with their limits."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from junitparser import Error, Failure, JUnitXml, Skipped
from loopback import Call, Loopback, Reply, error, value
from prometheus_client.parser import text_string_to_metric_families
from tempzero.config import Notify, Webhook
from tempzero.nightly import notify
from tempzero.nightly.history import FORMAT, Decision, Night, NightEntry, NightEvent, Notice, Side, TellingPrompt
from tempzero.nightly.history.nights import Depth, State
from tempzero.types.concluded import Estimate

TESTED: frozenset[State] = frozenset({"ok", "changed", "not seen"})
HOSTILE = "<!channel> @everyone [x](http://evil.example) *b* `c` \u202e\n::error::forged | # <script>"


def entry(provider: str, state: State) -> NightEntry:
    tested = state in TESTED
    side = Side(
        provider=provider,
        run="run-1",
        started_at="",
        ended_at="",
        settings="s",
        planned=60,
        answered=60 if tested else 0,
        texts={},
        answers={},
        values={},
        prompt_tokens={},
        refused=(),
        labels={},
        price=None,
        latency_s=1.0,
    )
    decision = Decision(
        state=state,
        tested=tested,
        reason=f"because {HOSTILE}",
        baseline="b",
        match=Estimate(value=0.25, low=0.1, high=0.4, n=20, method="m") if tested else None,
        evidence=5000.0 if state == "changed" else 0.5,
        alarm_at=3650,
        missing=0 if tested else 1,
        telling=(TellingPrompt(prompt="p0", excess=1.0, before="yes", now=HOSTILE),) if state == "changed" else (),
        events=(NightEvent(what="served_model", before="a", now=HOSTILE, telling=False),),
    )
    return NightEntry(side=side, decision=decision)


def night(label: str, depth: Depth, *entries: NightEntry) -> Night:
    return Night(
        format=FORMAT,
        night=label,
        run="run-1",
        created_at="2026-01-05T03:17:00+00:00",
        entries=entries,
        depth=depth,
    )


def notice(number: int = 0) -> Notice:
    return Notice(
        id=f"2026-01-05.p{number}.changed",
        night="2026-01-05",
        run="run-1",
        provider=f"p{number}",
        kind="changed",
        title=f"p{number} changed {HOSTILE}",
        details=("d " * 900,),
        telling=(TellingPrompt(prompt="p0", excess=1.0, before="yes", now=HOSTILE * 20),) * 3,
    )


def deliver(form: Any, hook: Any, folder: Path, *notices: Notice) -> tuple[tuple[str, ...], list[Call]]:
    with Loopback(hook) as server:
        settings = Notify(webhooks=(Webhook(url_env="HOOK", form=form),))
        problems = notify.deliver_notices(settings, notices, folder, environ={"HOOK": f"{server.base_url}/secret"})
        return problems, list(server.calls)


def test_slack_gets_text_that_calls_nobody(tmp_path: Path) -> None:
    """Slack reads <...> as commands and wants &, < and > escaped; longer than 40,000 characters it cuts."""
    problems, (call,) = deliver("slack", lambda _: value("ok"), tmp_path, notice())
    assert not problems
    assert call.headers["content-type"] == "application/json"
    assert set(call.json) == {"text", "mrkdwn", "unfurl_links", "unfurl_media"}
    assert "&lt;!channel&gt;" in call.json["text"]
    assert not re.search("[<>]", call.json["text"])
    assert len(call.json["text"]) < 5000
    assert "\u202e" not in call.json["text"]


def test_discord_gets_a_content_it_takes(tmp_path: Path) -> None:
    """Discord refuses more than 2,000 characters, and would call @everyone where mentions are allowed."""

    def hook(call: Call) -> Reply:
        sent = call.json
        good = 0 < len(sent["content"]) <= 2000 and sent["allowed_mentions"] == {"parse": []}
        return value({}) if good else error(400, "Invalid Form Body")

    problems, (call,) = deliver("discord", hook, tmp_path, notice())
    assert not problems
    assert "http://" not in call.json["content"]
    assert "\\*b\\*" in call.json["content"]


def test_a_service_that_asks_for_patience_is_given_it_and_nothing_is_told_twice(tmp_path: Path) -> None:
    """Slack takes a message a second: an alarm for ten providers must not lose nine."""

    def hook(call: Call) -> Reply:
        return error(429, "slow down", headers={"Retry-After": "0.05"}) if len(seen) < 2 else value("ok")

    seen: list[int] = []

    def counting(call: Call) -> Reply:
        reply = hook(call)
        seen.append(1)
        return reply

    problems, calls = deliver("json", counting, tmp_path, notice(1), notice(2))
    assert not problems
    assert [c.json["id"] for c in calls].count("2026-01-05.p2.changed") == 1
    again, more = deliver("json", lambda _: value("ok"), tmp_path, notice(1), notice(2))
    assert not again
    assert not more


def test_prometheus_reads_the_textfile_and_a_deep_nights_change_stays_in_it(tmp_path: Path) -> None:
    """node_exporter drops a whole file for one bad line; and what is not in the file is over for Prometheus."""
    deep, cheap = (
        night("2026-01-04", "deep", entry('a"\\\n', "changed")),
        night("2026-01-05", "nightly", entry('a"\\\n', "ok"), entry("b", "no data")),
    )
    settings = Notify(prometheus="out/t.prom")
    notify.write_status_files(settings, tmp_path, cheap, [deep, cheap], [])
    families = {f.name: f for f in text_string_to_metric_families((tmp_path / "out" / "t.prom").read_text())}
    states = {
        (s.labels["provider"], s.labels["depth"]): s.labels["state"]
        for s in families["tempzero_state"].samples
        if s.value == 1
    }
    assert states == {('a"\\\n', "deep"): "changed", ('a"\\\n', "nightly"): "ok", ("b", "nightly"): "no data"}
    assert all(f.type == "gauge" and f.documentation for f in families.values())
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["t.prom"]


def test_junit_says_failure_skipped_and_error_for_what_they_are(tmp_path: Path) -> None:
    """A finding is not our fault, and no data is neither; a night that did not end is."""
    settings = Notify(junit="j.xml")
    notify.mark_night_unfinished(settings, tmp_path, "2026-01-05")
    ((case,),) = JUnitXml.fromfile(str(tmp_path / "j.xml"))
    assert [type(r) for r in case.result] == [Error]
    tonight = night("2026-01-05", "nightly", entry("a", "changed"), entry("b", "no data"), entry("c", "ok"))
    others = [(night("2026-01-04", "deep"), entry("c", "changed"))]
    notify.write_status_files(settings, tmp_path, tonight, [tonight], others)
    (suite,) = JUnitXml.fromfile(str(tmp_path / "j.xml"))
    assert {c.name: [type(r) for r in c.result] for c in suite} == {
        "a": [Failure],
        "b": [Skipped],
        "c": [],
        "c (deep nights)": [Failure],
    }
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (4, 2, 0, 1)


def test_junit_names_what_was_stated_before_what_was_not_found(tmp_path: Path) -> None:
    """A failure that begins with "no change found" is taken for a mistake of the tool."""
    quiet = entry("a", "ok")
    event = NightEvent(what="served_model", before="70b", now="8b", telling=True)
    told = replace(quiet, decision=replace(quiet.decision, reason="no change found", events=(event,)))
    tonight = night("2026-01-05", "nightly", told)
    notify.write_status_files(Notify(junit="j.xml"), tmp_path, tonight, [tonight], ())
    (((found,),),) = JUnitXml.fromfile(str(tmp_path / "j.xml"))
    assert isinstance(found, Failure)
    assert (found.type, found.message) == ("event", "served_model: was 70b; is 8b; otherwise no change found")


def test_a_quiet_night_annotates_nothing_however_long_a_change_lasts() -> None:
    """A red line every morning for a thing that is known is read by nobody; whoever wants it says so."""
    tonight = night("2026-01-05", "nightly", entry("a", "changed"), entry("b", "not seen"), entry("c", "ok"))
    others = [(night("2026-01-04", "deep"), entry("c", "changed"))]
    assert notify.list_annotations(tonight, [], others) == ([], [])
    lasting, _ = notify.list_annotations(tonight, [], others, rule="while_changed")
    assert [title.split(" is")[0] for title, _ in lasting] == list("abc")


def test_github_gets_at_most_ten_annotations_of_a_kind_and_a_summary_under_its_limit(tmp_path: Path) -> None:
    """GitHub shows ten and drops a summary beyond 1 MiB whole; and no text of a model becomes a command."""
    tonight = night("2026-01-05", "nightly", *(entry(f"p{i}", "changed") for i in range(40)))
    told = [notice(i) for i in range(40)]
    lines: list[str] = []
    summary = tmp_path / "summary.md"
    summary.write_bytes(b"x" * 890_000)
    environ = {"GITHUB_STEP_SUMMARY": str(summary), "GITHUB_ACTIONS": "true"}
    notify.show_in_ci(tonight, told, environ=environ, write=lines.append)
    assert len(lines) == 10
    assert all(line.startswith("::error title=") and "\n" not in line for line in lines)
    assert "31 more" in lines[-1]
    assert 890_000 < summary.stat().st_size <= 2**20
    assert summary.read_text().endswith("the history page has all of it)\n")
    assert "<script>" not in summary.read_text()
