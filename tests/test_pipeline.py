"""A run's limits and its promises: it stops where it is told to, goes on from there, and says why it stopped."""

from __future__ import annotations

import itertools
import json
import resource
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from loopback import Call, Loopback, Pause, Reply, after, completion, error, raw, scripted
from making import chain_bytes, make_setting
from tempzero import config
from tempzero.cli import main
from tempzero.records import open_run
from tempzero.types.asked import Suite
from tempzero.workflow import pipeline


def workplace(folder: Path, base_url: str, *, conditions: Any = (), **fields: Any) -> Path:
    prompts = [{"id": f"p{i}", "prompt": f"question {i}"} for i in range(8)]
    (folder / "prompts.yaml").write_text(yaml.safe_dump({"family": "t", "prompts": prompts}))
    provider = {"name": "a", "base_url": base_url, "model": "m", "repeats": 2, "max_tokens": 20, **fields}
    settings = {"version": 1, "run": {"prompts": "prompts.yaml"}, "providers": [provider]}
    file = folder / "providers.yaml"
    file.write_text(yaml.safe_dump(settings | ({"conditions": conditions} if conditions else {})))
    return file


def only_run(folder: Path) -> Path:
    (run,) = (folder / "results").iterdir()
    return run


def test_a_run_stops_at_its_number_of_requests_and_goes_on_from_there(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The check's request counts too; the verdict says why there is too little, and nothing is asked twice."""
    with Loopback(lambda c: completion("same")) as server:
        file = workplace(tmp_path, server.base_url)
        assert main(["run", "--config", str(file), "--max-requests", "6"]) == 3
        assert len(server.calls) == 6
        run = only_run(tmp_path)
        assert "the run was stopped before its end: --max-requests 6 was reached" in (run / "report.md").read_text()
        assert "--resume" in capfd.readouterr().err
        assert main(["run", "--resume", str(run), "--no-check"]) == 0
        assert len(server.calls) == 6 + 11
    assert main(["verify", str(run)]) == 0
    assert "stopped before" not in (run / "report.md").read_text()


def test_a_limit_on_the_cost_needs_prices_and_holds(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A limit that cannot be held is refused; one that can is never exceeded, by the provider's own count of tokens."""
    price = {"input_per_mtok": 1e6, "output_per_mtok": 1e6}
    with Loopback(lambda c: completion("same")) as server:
        assert main(["run", "--config", str(workplace(tmp_path, server.base_url)), "--max-cost", "1"]) == 2
        assert "a has no price" in capfd.readouterr().err
        file = workplace(tmp_path, server.base_url, price=price)
        assert main(["run", "--config", str(file), "--max-cost", "100"]) == 3
        assert 13 * len(server.calls) <= 100 < 13 * len(server.calls) + 50
    assert "--max-cost 100" in (only_run(tmp_path) / "report.md").read_text()


def test_what_was_not_counted_has_cost_the_most_it_can(tmp_path: Path) -> None:
    """A night that is called again has left what the first call left, also where a host counts no tokens."""
    price = {"input_per_mtok": 0, "output_per_mtok": 1_000_000}
    counted = completion(usage={"prompt_tokens": 11, "completion_tokens": 2, "total_tokens": 13})
    for reply, usd in ((counted, 2.0), (completion(usage=None), 16.0)):
        folder = tmp_path / str(usd)
        folder.mkdir()
        with Loopback(scripted({}, reply)) as server:
            file = workplace(folder, server.base_url, price=price, max_tokens=16)
            main(["run", "--config", str(file), "--no-check"])
        run = open_run(only_run(folder))
        assert pipeline.count_spent_usd(run) == usd * len(list(run.records()))


def test_a_run_ends_at_its_deadline_whatever_is_under_way(tmp_path: Path) -> None:
    """A provider that stalls cannot keep a nightly job from ending."""
    with Loopback(lambda c: completion("same") if c.nth == 1 else raw(Pause(60))) as server:
        file = workplace(tmp_path, server.base_url)
        assert main(["run", "--config", str(file), "--no-check", "--max-minutes", "0.02"]) == 3
    run = only_run(tmp_path)
    assert len(list(open_run(run).records())) <= 8
    assert "--max-minutes 0.02 were over" in (run / "report.md").read_text()


def test_conditions_are_told_apart_down_to_the_report(tmp_path: Path) -> None:
    """An endpoint that answers otherwise under load is caught by comparing it with itself."""
    texts = iter(range(1000))

    with Loopback() as server:
        server.answer = lambda c: after(
            0.05, completion(f"text {next(texts)}" if server.peak_in_flight["m"] > 1 and busy(server) else "same")
        )
        conditions = [{"name": "serial", "concurrency": 1}, {"name": "burst", "concurrency": 8}]
        file = workplace(tmp_path, server.base_url, conditions=conditions)
        assert main(["run", "--config", str(file), "--no-check"]) == 1
        assert len(server.calls) == 32
    run = only_run(tmp_path)
    report = (run / "report.md").read_text()
    assert 'it agrees with itself less under "burst"' in report
    summary = json.loads((run / "summary.json").read_text())
    emr = {f["condition"]: f["value"] for f in summary["figures"] if f["metric"] == "emr" and f["family"] is None}
    assert emr["serial"] == 1
    assert emr["burst"] < 0.6


def test_providers_in_trouble_cost_the_others_nothing_and_alone_are_inconclusive(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """One refuses every second request, one stalls, one is down: two healthy ones pass at full speed, and 3 it is."""
    seen = itertools.count()

    def answer(call: Call) -> Reply:
        if call.model == "stalls":
            return raw(Pause(60))
        if call.model == "limited" and next(seen) % 2 == 0:
            return error(429, headers={"Retry-After": "0.05"})
        return after(0.02, completion("same", model=call.model))

    closed = socket.create_server(("127.0.0.1", 0))
    down = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
    closed.close()
    with Loopback(answer) as server:
        file = workplace(tmp_path, server.base_url)
        settings = yaml.safe_load(file.read_text())
        settings["defaults"] = {
            "timeouts": {"first_byte_s": 0.3},
            "backoff": {"first_s": 0.05, "max_s": 1.0},
            "breaker": {"failures": 3, "cool_down_s": 0.5, "probes": 2},
        }
        one = settings["providers"][0]
        named = {n: {"name": n, "model": n} for n in ("healthy-1", "healthy-2", "limited", "stalls", "down")}
        settings["providers"] = [one | changed for changed in named.values()]
        settings["providers"][-1]["base_url"] = down
        file.write_text(yaml.safe_dump(settings))
        assert main(["run", "--config", str(file), "--json", "--max-minutes", "5"]) == 3
        calls = {name: [c for c in server.calls if c.model == name] for name in named}
    verdicts = {p["provider"]: p for p in json.loads(capfd.readouterr().out)["verdict"]["providers"]}
    assert {name: v["outcome"] for name, v in verdicts.items()} == {
        "healthy-1": "pass",
        "healthy-2": "pass",
        "limited": "pass",  # what it refused it answered when asked again: nothing is missing
        "stalls": "inconclusive",
        "down": "inconclusive",
    }
    assert "given up after 3 failures in a row" in verdicts["stalls"]["reasons"][0]
    assert "network: no connection" in verdicts["down"]["reasons"][0]
    run = open_run(only_run(tmp_path))
    assert {e.provider for e in run.manifest.sessions[-1].endings} == {"stalls", "down"}  # before its deadline
    attempts = Counter(r.attempt.trial.provider for r in run.records())
    checks = {"healthy-1": 1, "healthy-2": 1, "limited": 2, "stalls": 1}  # the first of all 429s met the check
    assert {n: len(calls[n]) - attempts[n] for n in checks} == checks
    assert attempts["limited"] == 2 * 16
    assert max(c.ended_s or 0 for n in ("healthy-1", "healthy-2") for c in calls[n]) < calls["stalls"][-1].began_s


def busy(server: Loopback) -> bool:
    return server._in_flight["m"] > 1


def test_a_full_disk_ends_the_run_with_whole_lines_and_a_way_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """No answer that was shown is lost, no half line is left, and the run goes on once there is room."""
    with Loopback(lambda c: completion("same " * 200)) as server:
        file = workplace(tmp_path, server.base_url)
        usual, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (15_000, most))
        try:
            assert main(["run", "--no-check", "--config", str(file)]) == 2
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (usual, most))
        assert "cannot be written: File too large" in capfd.readouterr().err
        run = only_run(tmp_path)
        had = chain_bytes(run)
        assert had.endswith(b"\n")
        assert 0 < had.count(b"\n") < 16
        assert main(["run", "--resume", str(run), "--no-check"]) in (0, 3)
    assert chain_bytes(run).startswith(had)
    assert len(list(open_run(run).records())) == 16
    open_run(run).verify()


def test_the_suite_is_chosen_by_the_file_or_by_the_command_line(tmp_path: Path) -> None:
    """providers.yaml says how much is asked each time, `--suite` how much this once; named prompts are all meant."""
    prompts = tmp_path / "prompts"
    prompts.mkdir()
    (prompts / "a.yaml").write_text(
        "- {id: a, family: f, prompt: Name a fruit., suite: quick}\n"
        "- {id: b, family: f, prompt: 'What is new today?'}\n"
    )
    provider = {"name": "p", "base_url": "http://127.0.0.1:1/v1", "model": "m"}
    settings = config.parse_config({"version": 1, "run": {"suite": "quick"}, "providers": [provider]}, source="test")

    def asked(**named: Any) -> Suite:
        return pipeline.prepare_run(make_setting(settings, root=tmp_path), **named).suite

    assert [p.id for p in asked().prompts] == ["a"]
    assert (asked().name, asked().remarks) == ("quick", ())
    assert [p.id for p in asked(suite="deep").prompts] == ["a", "b"]
    assert [p.id for p in asked(prompts=[prompts]).prompts] == ["a", "b"]
    assert [p.id for p in asked(prompts=[prompts], suite="quick").prompts] == ["a"]
    assert len(asked(suite="deep").remarks) == 1
    assert asked(suite="deep", limit=1).name is None
