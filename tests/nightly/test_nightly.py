"""The nightly job through the command line, on real servers: states, messages, and nights that are killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from loopback import Call, Loopback, Reply, after, completion, error, value
from ready_process import start_silently
from tempzero import records
from tempzero.cli import main
from tempzero.nightly import history
from tempzero.nightly.history import Night

_SHARED = tempfile.TemporaryDirectory()
PROMPTS = [f"q{i}" for i in range(8)]
# Of a night: each provider's check, and three calls of each prompt.
CALLS = 2 * (1 + 3 * len(PROMPTS))
TOP = (("yes", 0.1), ("no", 2.5), ("well", 6.0))


def workplace(folder: Path, base_url: str, **extra: Any) -> Path:
    """A folder with eight prompts and two providers of one model, a steady one and a noisy one."""
    (folder / "prompts").mkdir(parents=True)
    prompts = [{"id": name, "prompt": name} for name in PROMPTS]
    (folder / "prompts" / "test.yaml").write_text(yaml.safe_dump({"family": "test", "prompts": prompts}))
    providers = [
        {"name": name, "base_url": base_url, "model": name, "claims": {"model": "x"}, "attempts": 1}
        for name in ("steady", "noisy")
    ]
    file = folder / "providers.yaml"
    defaults = {"repeats": 3, "max_tokens": 16, "breaker": {"cool_down_s": 0.05}}
    settings = {"version": 1, "defaults": defaults, "providers": providers, **extra}
    file.write_text(yaml.safe_dump(settings))
    return file


def usual(call: Call) -> Reply:
    """steady gives one text a prompt, noisy one of three."""
    variant = f" {call.nth % 3}" if call.model == "noisy" else ""
    return completion(f"answer to {call.prompt}{variant}", model=call.model)


def swapped(call: Call) -> Reply:
    """The same name, another model behind it: it answers otherwise and says nothing of it."""
    return completion(f"otherwise {call.prompt}", model=call.model) if call.model == "steady" else usual(call)


def down(call: Call) -> Reply:
    return error(503, "overloaded") if call.model == "steady" else usual(call)


class Place:
    """A configured folder with a server behind it, and nights one after the other."""

    def __init__(self, folder: Path, server: Loopback, **extra: Any) -> None:
        self.server = server
        self.file = workplace(folder, server.base_url, **extra)
        self.results = folder / "results"

    def night(self, name: str, answer: Callable[[Call], Reply] = usual, *options: str) -> int:
        self.server.answer = answer
        return main(["nightly", "--config", str(self.file), "--night", name, *options])

    def set_baseline(self, answer: Callable[[Call], Reply] = usual) -> None:
        """Of a first night; the usual one is the same in every test."""
        if answer is usual:
            shutil.copytree(usual_baseline(), self.results)
            return
        assert self.night("2026-01-01", answer) == 3
        (run,) = self.results.glob("*-2026-01-01")
        assert main(["baseline", "set", str(run), "--config", str(self.file)]) == 0

    def states(self, provider: str = "steady") -> list[str]:
        entries = [n.entry(provider) for n in history.read_nights(self.results)]
        return [e.decision.state for e in entries if e is not None]

    def read(self, name: str) -> Night:
        return next(n for n in history.read_nights(self.results) if n.night == name)


@cache
def usual_baseline() -> Path:
    """The results of a first night that was made the baseline, asked once for all tests of this file."""
    folder = Path(_SHARED.name)
    with Loopback() as server:
        place = Place(folder, server)
        place.set_baseline(lambda call: usual(call))
    return place.results


def test_quiet_nights_are_ok_and_a_swap_is_found_that_very_night(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The first use of the tool: nothing is said until something is to be said, and then at once, with what changed."""
    with Loopback() as server:
        place = Place(tmp_path, server)
        place.set_baseline()
        assert [place.night(f"2026-01-0{i}") for i in range(2, 4)] == [0, 0]
        capfd.readouterr()
        assert place.night("2026-01-05", swapped) == 1
        shown = capfd.readouterr().out
        assert place.night("2026-01-06", swapped) == 0
        again = capfd.readouterr().out
        assert "told" not in again, "a state that stays is told once"
        assert "`tempzero baseline accept steady --since 2026-01-05`" in again
        back = [place.night(f"2026-01-{i:02}") for i in range(7, 12)]
    assert back == [0] * 5
    assert place.states()[3:5] == ["changed"] * 2
    assert place.states()[5:] == ["not seen"] * 4 + ["ok"], "an all-clear takes five nights"
    assert set(place.states()[1:3]) == {"ok"}
    assert set(place.states("noisy")) == {"no baseline", "ok"}
    assert "told: steady changed since the night of 2026-01-05 (last as before: 2026-01-03)" in shown
    entry = place.read("2026-01-05").entry("steady")
    assert entry is not None
    assert [t.now for t in entry.decision.telling] == [f"otherwise {t.prompt}" for t in entry.decision.telling]
    bundle = place.results / "history" / "evidence" / "2026-01-05-steady.zip"
    assert main(["verify", str(bundle)]) == 0


def test_an_outage_is_neither_a_change_nor_green(tmp_path: Path) -> None:
    """A provider that is down says nothing: exit code 3, evidence as it was, a message after two nights and its end."""
    with Loopback() as server:
        place = Place(tmp_path, server)
        place.set_baseline()
        assert place.night("2026-01-02") == 0
        before = place.read("2026-01-02").entry("steady")
        assert [place.night(f"2026-01-0{i}", down) for i in (3, 4, 5)] == [3, 3, 3]
        assert place.night("2026-01-06") == 0
    found = history.find_notices(history.read_nights(place.results), no_data_nights=2)
    assert [(n.night, n.kind) for n in found] == [("2026-01-04", "no data"), ("2026-01-06", "data again")]
    after_it = place.read("2026-01-06").entry("steady")
    assert before is not None
    assert after_it is not None
    assert after_it.decision.evidence > 0
    assert place.states() == ["no baseline", "ok", "no data", "no data", "no data", "ok"]


def test_a_new_served_model_is_an_event_apart_from_the_statistics(tmp_path: Path) -> None:
    """What a provider says of itself needs no test and moves no evidence."""
    with Loopback() as server:
        place = Place(tmp_path, server)
        place.set_baseline()
        place.night("2026-01-02")

        def renamed(call: Call) -> Reply:
            text = f"answer to {call.prompt}"
            return completion(text, model="v2") if call.model == "steady" else usual(call)

        assert place.night("2026-01-03", renamed) == 1
        assert place.night("2026-01-04", renamed) == 0
    entry = place.read("2026-01-03").entry("steady")
    assert entry is not None
    assert [(e.what, e.before, e.now) for e in entry.decision.events] == [("served_model", "steady", "v2")]
    assert entry.decision.state == "ok"


def test_a_night_is_asked_once_however_often_it_is_called(tmp_path: Path) -> None:
    """A scheduler may call twice; nobody pays twice, and the file of the night stays as it is."""
    with Loopback() as server:
        place = Place(tmp_path, server)
        place.set_baseline()
        place.night("2026-01-02")
        asked = len(server.calls)
        file = place.results / "history" / "nights" / "2026-01-02.json"
        kept = file.read_bytes()
        assert place.night("2026-01-02", swapped) == 0
        assert len(server.calls) == asked
        assert file.read_bytes() == kept


def test_two_at_once_the_second_leaves_with_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Two nights that overlap would put twice the load on a provider and tear the history."""
    with Loopback() as server:
        server.answer = lambda call: after(0.3, usual(call))
        file = workplace(tmp_path, server.base_url)
        first = start_silently(["nightly", "--config", str(file), "--night", "2026-01-01"])
        wait_for(lambda: len(server.calls) > 2)
        assert main(["nightly", "--config", str(file), "--night", "2026-01-01"]) == 2
        assert "another `tempzero nightly`" in capfd.readouterr().err
        server.answer = usual
        assert first.wait() == 3
    assert len(history.read_nights(tmp_path / "results")) == 1
    assert len(list((tmp_path / "results").glob("*Z-*"))) == 1


def test_killed_nights_are_finished_and_the_history_is_as_if_undisturbed(tmp_path: Path) -> None:
    """kill -9 at any moment costs nothing but time: the same decisions, evidence and messages come out."""
    places = {}
    for name in ("whole", "killed"):
        with Loopback() as server:
            place = places[name] = Place(tmp_path / name, server)
            place.set_baseline()
            for index in (2, 3):
                answer = swapped if index == 3 else usual
                # By the request alone, so that a call repeated after a kill gets its answer again.
                server.answer = delayed(answer)
                night = f"2026-01-0{index}"
                if name == "killed":
                    # The first while it asks, the second with its last call.
                    kill_after(place, night, calls=5 if index == 2 else CALLS)
                assert place.night(night, server.answer) == (1 if index == 3 else 0)
    whole, killed = (decided(p) for p in places.values())
    assert whole == killed
    assert all(records.open_run(p).verify() for p in (tmp_path / "killed" / "results").glob("*Z-*"))


def steadied(call: Call) -> Call:
    call.nth = int(call.json.get("seed") or 0)  # the same text however often it is asked
    return call


def delayed(answer: Callable[[Call], Reply]) -> Callable[[Call], Reply]:
    """By the request alone, so that a call repeated after a kill gets its answer again."""
    return lambda call: after(0.01, answer(steadied(call)))


def kill_after(place: Place, night: str, calls: int) -> None:
    """Start a night and kill it when so many requests of it have arrived."""
    before = len(place.server.calls)
    process = start_silently(["nightly", "--config", str(place.file), "--night", night])
    wait_for(lambda: len(place.server.calls) >= before + calls)
    process.send_signal(signal.SIGKILL)
    process.wait()


def decided(place: Place) -> list[tuple[Any, ...]]:
    """What a history says, without clock times and run names."""
    return [
        (n.night, e.side.provider, e.side.texts, e.decision.state, e.decision.p_value, e.decision.evidence)
        for n in history.read_nights(place.results)
        for e in n.entries
    ]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def test_a_message_that_fails_is_kept_and_arrives_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A webhook that is down never loses the run nor the alarm, and its URL, a secret, is never shown."""
    posted: list[Any] = []

    def hook(call: Call) -> Reply:
        posted.append(call.json)
        return value({}) if len(posted) > 1 else error(400, "not now")

    with Loopback() as server, Loopback(hook) as hooks:
        secret = f"{hooks.base_url}/hook-secret-123"
        monkeypatch.setenv("HOOK", secret)
        place = Place(tmp_path, server, notify={"webhooks": [{"url_env": "HOOK"}], "junit": "out/junit.xml"})
        place.set_baseline()
        assert place.night("2026-01-02", swapped) == 1
        assert "HTTP 400" in capfd.readouterr().err
        assert [place.night(f"2026-01-0{i}", swapped) for i in (3, 4)] == [0, 0]
    assert [(p["id"], p["kind"]) for p in posted] == [("2026-01-02.steady.changed", "changed")] * 2
    assert any("evidence bundle: " in d for d in posted[1]["details"])
    assert len(posted[1]["telling"]) == 3
    cases = ElementTree.parse(tmp_path / "out" / "junit.xml").getroot()
    assert {c.get("name"): [e.tag for e in c] for c in cases} == {"steady": ["failure"], "noisy": []}
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"hook-secret-123" not in path.read_bytes(), path


def test_a_baseline_is_an_explicit_act_and_acknowledges_a_change(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The first run is never taken for the truth; a new baseline starts the evidence anew."""
    with Loopback() as server:
        place = Place(tmp_path, server)
        assert [place.night(f"2026-01-0{i}") for i in (1, 2)] == [3, 3]
        runs = sorted(map(str, place.results.glob("*-2026-01-0[12]")))
        assert main(["baseline", "set", *runs, "--config", str(place.file)]) == 0
        assert place.night("2026-01-03", swapped) == 1
        (run,) = map(str, place.results.glob("*-2026-01-03"))
        assert main(["baseline", "set", run, "--providers", "steady", "--config", str(place.file)]) == 0
        assert place.night("2026-01-04", swapped) == 0
        capfd.readouterr()
        assert main(["baseline", "show", "--config", str(place.file)]) == 0
        shown = capfd.readouterr().out
        assert place.night("2026-01-05", down) == 3
        (outage,) = map(str, place.results.glob("*-2026-01-05"))
        assert main(["baseline", "set", outage, "--config", str(place.file)]) == 2
        assert "an outage is no baseline" in capfd.readouterr().err
        assert main(["baseline", "clear", "--config", str(place.file)]) == 0
        assert main(["baseline", "show", "--config", str(place.file)]) == 3
    assert "noisy: 48 answers from" in shown
    assert "steady: 24 answers from" in shown
    noisy, steady = (next(x for x in shown.splitlines() if x.startswith(name)) for name in ("noisy", "steady"))
    assert "6 answers a prompt say little about what is usual: pool more runs" in noisy
    assert "pool" not in steady
    assert os.path.exists(place.results / "baselines")
    assert json.loads((place.results / "history" / "nights" / "2026-01-04.json").read_text())["night"] == "2026-01-04"


def test_accepting_a_change_ends_it_and_quiet_nights_can_be_added(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """After an alarm one command says: this is what it is now; and it is named where the alarm is told."""
    with Loopback() as server:
        place = Place(tmp_path, server, nightly={"exit": "while_changed"})
        place.set_baseline()
        command = ["baseline", "accept", "steady", "--config", str(place.file)]
        assert main(command) == 2
        assert "steady: nothing to accept: it is not changed; name the first night" in capfd.readouterr().err
        assert [place.night(f"2026-01-0{i}", swapped) for i in (2, 3)] == [1, 1]
        found = history.find_notices(history.read_nights(place.results), no_data_nights=2)
        assert any("`tempzero baseline accept steady --since 2026-01-02`" in d for d in found[0].details)
        assert main(command) == 0
        assert "steady: 48 answers from" in capfd.readouterr().out
        assert [place.night(f"2026-01-0{i}", swapped) for i in (4, 5)] == [0, 0]
        assert place.night("2026-01-06") == 1, "what it was before is now the change"
        entry = place.read("2026-01-06").entry("steady")
        assert main(["baseline", "grow", "noisy", "--since", "2026-01-04", "--config", str(place.file)]) == 0
        assert "noisy: 96 answers from" in capfd.readouterr().out
    assert entry is not None
    assert entry.decision.telling[0].before.startswith("otherwise ")
    assert main(["baseline", "grow", "noisy", "--since", "yesterday", "--config", str(place.file)]) == 2
    assert main(["baseline", "accept", "nobody", "--config", str(place.file)]) == 2


def test_cheap_nights_and_a_deep_one_each_have_their_own_baseline(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A token a night costs cents, a week's deep night sees the rest; what one finds the other does not take back."""
    rules = {"prompts": "border.yaml", "repeats": 4, "deep": {"every_days": 7}}
    border = [{"id": f"b{i}", "prompt": f"b{i}", "max_tokens": 1} for i in range(8)]
    with Loopback() as server:
        place = Place(tmp_path, server, nightly=rules, notify={"prometheus": "out/t.prom", "junit": "out/j.xml"})
        (tmp_path / "border.yaml").write_text(yaml.safe_dump({"family": "border", "prompts": border}))
        assert [place.night(f"2026-01-0{i}") for i in (1, 2)] == [3, 3]
        for name in ("2026-01-01", "2026-01-02"):
            (run,) = place.results.glob(f"*-{name}")
            assert main(["baseline", "set", str(run), "--config", str(place.file)]) == 0
        calls = len(server.calls)
        assert place.night("2026-01-03") == 0
        cheap = server.calls[calls:]

        def at_length(call: Call) -> Reply:
            """Another model on the long prompts, where one token does not tell."""
            return usual(call) if call.prompt.startswith("b") else swapped(call)

        assert [place.night(f"2026-01-{i:02}", at_length) for i in (8, 9)] == [1, 0]
        shown = capfd.readouterr().out
        assert place.night("2026-01-10", lambda call: swapped(call)) == 1
    nights = {n.night: n for n in history.read_nights(place.results)}
    assert [n.depth for n in nights.values()] == ["deep", "nightly", "nightly", "deep", "nightly", "nightly"]
    assert {c.json["max_tokens"] for c in cheap[2:]} == {1}
    assert len(cheap) == 2 * 8 * 4 + 2
    assert place.states() == ["no baseline", "no baseline", "ok", "changed", "ok", "changed"]
    assert shown.count("told: steady changed since the night of 2026-01-08 (deep nights)") == 1
    assert "steady: changed since the night of 2026-01-08: its answers are no longer" in shown.splitlines()[-1]
    found = history.find_notices(tuple(nights.values()), no_data_nights=2)
    assert [(n.night, n.kind) for n in found if n.provider == "steady"] == [
        ("2026-01-08", "changed"),
        ("2026-01-10", "changed"),
    ]
    entry = nights["2026-01-10"].entry("steady")
    assert entry is not None
    (line,) = [one for one in entry.decision.lines if one.measure.startswith("first token")]
    assert (line.now.value, line.p_value) == (1.0, 0.001)
    prom = (tmp_path / "out" / "t.prom").read_text()
    assert 'tempzero_state{provider="steady",depth="deep",state="changed"} 1' in prom
    cases = ElementTree.parse(tmp_path / "out" / "j.xml").getroot()
    assert [c.get("name") for c in cases if c.find("failure") is not None] == ["steady", "steady (deep nights)"]


def test_log_probabilities_of_first_tokens_have_a_line_of_their_own(tmp_path: Path) -> None:
    """Where an endpoint gives them they move before any text does; the line explains, and raises no alarm."""
    border = [{"id": f"b{i}", "prompt": f"b{i}", "max_tokens": 1} for i in range(8)]
    moved = 0.0

    def with_logprobs(call: Call) -> Reply:
        told = [{"token": t, "logprob": -p - moved * (i + 1), "bytes": None} for i, (t, p) in enumerate(TOP)]
        said = {"content": [{"token": "yes", "logprob": -0.1, "top_logprobs": told}]}
        return completion("yes", model=call.model, choice={"logprobs": said})

    with Loopback() as server:
        place = Place(tmp_path, server, nightly={"prompts": "border.yaml", "repeats": 4})
        (tmp_path / "border.yaml").write_text(yaml.safe_dump({"family": "border", "prompts": border}))
        settings = yaml.safe_load(place.file.read_text())
        for provider in settings["providers"]:
            provider |= {"stream": False, "request": {"logprobs": True, "top_logprobs": 3}}
        place.file.write_text(yaml.safe_dump(settings))
        place.set_baseline(answer=with_logprobs)
        assert place.night("2026-01-02", with_logprobs) == 0
        moved = 0.01
        assert place.night("2026-01-03", with_logprobs) == 0
    found = []
    for name in ("2026-01-02", "2026-01-03"):
        entry = place.read(name).entry("steady")
        assert entry is not None
        found += [line for line in entry.decision.lines if line.measure == "first token: log-probabilities"]
    assert [round(line.now.value or 0.0, 6) for line in found] == [0.0, 0.02]
    assert [line.p_value for line in found] == [1.0, 0.001]


def test_a_night_spends_no_more_than_it_may_however_often_it_is_called(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A limit that a kill resets is none; what it leaves unasked is no data, and says why."""
    with Loopback() as server:
        place = Place(tmp_path, server, nightly={"max_requests": 40})
        server.answer = lambda call: after(0.05, usual(call))
        process = start_silently(["nightly", "--config", str(place.file), "--night", "2026-01-01"])
        wait_for(lambda: len(server.calls) > 12)
        process.kill()
        process.wait()
        killed_at = len(server.calls)
        assert place.night("2026-01-01") == 3
        assert killed_at < len(server.calls) <= 40 + 4  # those under way when it was killed were not on file
        assert "stopped: the night: --max-requests" in capfd.readouterr().err
        assert place.night("2026-01-02", usual, "--max-requests", "60") == 3
        assert place.night("2026-01-03", usual, "--max-cost", "1") == 2
        assert "has no price" in capfd.readouterr().err
    assert set(place.states()) == {"no data", "no baseline"}
    entry = place.read("2026-01-01").entry("noisy")
    assert entry is not None
    assert "--max-requests" in entry.decision.reason


def test_a_provider_that_would_refuse_every_request_is_not_asked(tmp_path: Path) -> None:
    """The check before the night costs a token; a night of refusals costs the patience of both."""
    with Loopback() as server:
        place = Place(tmp_path, server)
        refused = lambda call: error(401, "no such key") if call.model == "steady" else usual(call)  # noqa: E731
        assert place.night("2026-01-01", refused) == 3
        asked = [call for call in server.calls if call.model == "steady"]
    entry = place.read("2026-01-01").entry("steady")
    assert len(asked) == 1
    assert entry is not None
    assert entry.decision.state == "no data"
    assert "the check before the run" in entry.decision.reason


def test_a_night_asks_shipped_probes_and_prompts_of_ones_own(tmp_path: Path) -> None:
    """`nightly.prompts` names what `run.prompts` may name; what it names is asked whole."""
    with Loopback() as server:
        place = Place(tmp_path, server, nightly={"prompts": ["builtin/probes/robust", "prompts"]})
        assert place.night("2026-01-01") == 3
    (run,) = place.results.glob("*-2026-01-01")
    asked = {p.family for p in records.open_run(run).manifest.suite.prompts}
    assert asked == {"robust", "test"}
