"""The main job through the command line: from providers.yaml to a report, on a real server with known answers."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from loopback import Call, Loopback, Reply, after, completion, error
from making import chain_bytes
from ready_process import start_silently
from tempzero.cli import main
from tempzero.types.asked import SuiteName

KEY = "planted-key-0123456789abcdef"

# Two prompts, three repeats each. What each model answers to its nth call, and what follows from it by hand:
#                p-sum                        p-name                 EMR
#   ref          "Answer: 4" x3               "alpha" x3             (1 + 1) / 2 = 1
#   same         "Answer: 4" x3               "alpha" x3             1
#   noisy        "Answer: 4", 4, "Answer: 5"  "alpha" x3             (1/3 + 1) / 2 = 2/3
#   other        "Answer: 5" x3               "beta" x3              1
SCRIPT = {
    "ref": {"sum": ["Answer: 4"], "name": ["alpha"]},
    "same": {"sum": ["Answer: 4"], "name": ["alpha"]},
    "noisy": {"sum": ["Answer: 4", "Answer: 4", "Answer: 5"], "name": ["alpha"]},
    "other": {"sum": ["Answer: 5"], "name": ["beta"]},
}

PROMPTS = """
family: test
prompts:
  - {id: p-sum, prompt: sum, extractor: answer_line, expected: "4"}
  - {id: p-name, prompt: name}
"""


def answer(call: Call) -> Reply:
    if call.prompt not in SCRIPT[call.model]:
        return completion("yes", model=call.model)  # the check before the run
    texts = SCRIPT[call.model][call.prompt]
    return completion(texts[min(call.nth, len(texts)) - 1], model=call.model)


def workplace(folder: Path, base_url: str, **extra: Any) -> Path:
    """A folder with prompts/ and a providers.yaml that names the scripted models."""
    (folder / "prompts").mkdir()
    (folder / "prompts" / "test.yaml").write_text(PROMPTS)
    providers = [
        {"name": name, "base_url": base_url, "model": name, "claims": {"model": "x"}, "api_key_env": "PLANTED", **extra}
        for name in SCRIPT
    ]
    file = folder / "providers.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "version": 1,
                "run": {"name": "t", "reference": "ref"},
                "defaults": {"repeats": 3, "max_tokens": 16},
                "providers": providers,
                "gates": {"min_prompts": 2},
            }
        )
    )
    return file


def only_run(folder: Path) -> Path:
    (run,) = [p for p in (folder / "results").iterdir() if p.is_dir()]
    return run


def figures(run: Path) -> dict[tuple[str, str, str, str | None, int | None], float]:
    """value by (kind, metric, left, right, k), over all families."""
    summary = json.loads((run / "summary.json").read_text())
    return {
        (f["kind"], f["metric"], f["left"], f["right"], f["k"]): f["value"]
        for f in summary["figures"]
        if f["family"] is None
    }


@pytest.fixture
def scripted_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run over the scripted server."""
    monkeypatch.setenv("PLANTED", KEY)
    with Loopback(answer) as server:
        assert main(["run", "--config", str(workplace(tmp_path, server.base_url))]) == 1
    return only_run(tmp_path)


def test_figures_of_a_scripted_run_equal_the_hand_calculation(scripted_run: Path) -> None:
    """What the report says is what the providers answered: nothing is lost or invented between wire and table."""
    got = figures(scripted_run)
    expected = {
        ("repeat", "emr", "same", None, None): 1.0,
        ("repeat", "emr", "noisy", None, None): (1 / 3 + 1) / 2,
        ("repeat", "emr", "other", None, None): 1.0,
        ("repeat", "tarr", "noisy", None, 2): (1 / 3 + 1) / 2,
        ("repeat", "tarr", "noisy", None, 3): (0 + 1) / 2,
        ("repeat", "tara", "noisy", None, 3): 0.0,
        ("repeat", "unique_outputs", "noisy", None, 3): 1.5,
        ("repeat", "modal_share", "noisy", None, 3): (2 / 3 + 1) / 2,
        ("reference", "cross_emr", "same", "ref", None): 1.0,
        ("reference", "cross_emr", "noisy", "ref", None): (2 / 3 + 1) / 2,
        ("reference", "cross_emr", "other", "ref", None): 0.0,
        ("reference", "excess_divergence", "same", "ref", None): 0.0,
        # p-sum: (1/3 + 1)/2 - 2/3 = 0; p-name: 0. All of its disagreement is its own noise.
        ("reference", "excess_divergence", "noisy", "ref", None): 0.0,
        ("reference", "excess_divergence", "other", "ref", None): 1.0,
        ("answers", "accuracy", "noisy", None, None): 2 / 3,
        ("answers", "accuracy", "other", None, None): 0.0,
        ("coverage", "coverage", "noisy", None, None): 1.0,
        ("cost", "calls", "noisy", None, None): 6,
        ("cost", "prompt_tokens", "noisy", None, None): 66,
    }
    loose = {(kind, metric, left, right): v for (kind, metric, left, right, _), v in got.items()}
    for (kind, metric, left, right, k), value in expected.items():
        found = got.get((kind, metric, left, right, k), loose.get((kind, metric, left, right)))
        assert found == pytest.approx(value), (kind, metric, left, right, k)


def test_the_right_providers_are_accused(scripted_run: Path) -> None:
    """The noisy one is caught with the trials that prove it; the faithful one is not."""
    summary = json.loads((scripted_run / "summary.json").read_text())
    accused = {(f["rule"], f["subject"]) for f in summary["findings"]}
    assert ("nondeterministic", "noisy") in accused
    assert not {subject for _, subject in accused} & {"same", "ref"}
    (proof,) = [f for f in summary["findings"] if f["rule"] == "nondeterministic"]
    assert {(t["provider"], t["prompt"]) for t in proof["evidence"]} == {("noisy", "p-sum")}


def test_reports_can_be_made_again_byte_for_byte(scripted_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run folder alone decides every byte: no clock, no network, no today's providers.yaml."""
    made = ["report.html", "report.md", "summary.json", "tables"]
    (scripted_run.parent.parent / "providers.yaml").unlink()
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("the report touched the network"))

    def again() -> dict[str, bytes]:
        for name in made:
            subprocess.run(["rm", "-r", str(scripted_run / name)], check=True)
        assert main(["report", str(scripted_run)]) == 1
        return {str(p): p.read_bytes() for p in sorted(scripted_run.rglob("*")) if p.is_file()}

    assert again() == again()


def test_a_key_reaches_the_provider_and_no_file(scripted_run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Keys stay in the environment."""
    for path in scripted_run.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path
    shown = capfd.readouterr()
    assert KEY not in shown.out + shown.err


def test_a_run_that_is_answered_stays_as_it_is_when_it_is_resumed(scripted_run: Path, tmp_path: Path) -> None:
    """Its root may be in somebody's hands: nothing is asked, no key is needed, no byte of its evidence changes."""
    run = tmp_path / scripted_run.name
    shutil.copytree(scripted_run, run)
    main(["run", "--resume", str(run)])
    for name in ("manifest.json", "run.sha256", "preflight.jsonl"):
        assert (run / name).read_bytes() == (scripted_run / name).read_bytes()


def test_a_killed_run_is_resumed_without_asking_anything_twice(tmp_path: Path) -> None:
    """kill -9 costs the requests in flight and nothing else; the report comes out as if it had never happened."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    environ = {**os.environ, "PLANTED": KEY}
    slow = {"timeouts": {"total_s": 30.0}}

    def answer_slowly(call: Call) -> Reply:
        if call.prompt not in SCRIPT[call.model]:
            return answer(call)
        texts = SCRIPT[call.model][call.prompt]
        # By what is on record, not by arrival: a resumed run must get the same answers.
        nth = (
            Counter(recorded(killed))[call.model, call.prompt]
            if call.headers.get("x-run") == "killed"
            else call.nth - 1
        )
        return after(0.03, completion(texts[min(nth, len(texts) - 1)], model=call.model))

    def recorded(folder: Path) -> list[tuple[str, str]]:
        files = sorted((folder / "results").glob("*/records/*.jsonl"))
        lines = [line for file in files for line in file.read_bytes().split(b"\n")[:-1]]
        trials = [json.loads(line)["attempt"]["trial"] for line in lines]
        return [(t["provider"], t["prompt"].removeprefix("p-")) for t in trials]

    with Loopback(answer_slowly) as server:
        config = workplace(whole, server.base_url, **slow)
        start_silently(["run", "--config", str(config)], environment=environ).wait()

        config = workplace(killed, server.base_url, extra_headers={"x-run": "killed"}, **slow)
        process = start_silently(["run", "--config", str(config)], environment=environ)
        deadline = time.monotonic() + 150
        while len(recorded(killed)) < 9 and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(0.2)  # what was in flight has arrived at the server by then
        run = only_run(killed)
        kept = chain_bytes(run)
        before = Counter(recorded(killed))
        assert 9 <= sum(before.values()) < 24

        asked = len(server.calls)
        start_silently(["run", "--no-check", "--resume", str(run)], environment=environ).wait()
        assert len(server.calls) - asked == 24 - sum(before.values())

    assert chain_bytes(run).startswith(kept[: kept.rfind(b"\n") + 1])
    assert main(["verify", str(run)]) == 0
    assert set(Counter(recorded(killed)).values()) == {3}
    assert untimed(run) == untimed(only_run(whole))


def untimed(run: Path) -> dict[str, Any]:
    """summary.json without times and run names."""
    summary = json.loads((run / "summary.json").read_text())
    summary["run"] = {k: v for k, v in summary["run"].items() if k in ("suite_digest", "prompts", "records")}
    summary["figures"] = [f for f in summary["figures"] if f["kind"] != "speed"]
    return dict(summary)


def test_a_broken_configuration_exits_2_with_a_line_each_and_writes_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing is spent or written on a file with mistakes in it."""
    file = workplace(tmp_path, "http://127.0.0.1:9/v1")
    text = file.read_text().replace("name: same", "name: ref").replace("api_key_env: PLANTED", f"api_key_env: {KEY}", 1)
    file.write_text(text.replace("min_prompts", "min_promts"))
    before = sorted(tmp_path.rglob("*"))
    assert main(["run", "--config", str(file)]) == 2
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(re.match(rf"{re.escape(str(file))}:\d+: ", line) for line in lines)
    assert KEY not in "".join(lines)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_dry_run_shows_the_cost_and_sends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One can look before one pays."""
    monkeypatch.setenv("PLANTED", KEY)
    with Loopback(answer) as server:
        file = workplace(tmp_path, server.base_url, price={"input_per_mtok": 1.0, "output_per_mtok": 1.0})
        assert main(["run", "--config", str(file), "--dry-run"]) == 0
        assert server.calls == []
    shown = capfd.readouterr().out
    assert "noisy" in shown
    assert "$" in shown
    assert not (tmp_path / "results").exists()


def test_a_provider_without_its_key_is_skipped_and_said_so_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A missing key never silently shrinks the comparison."""
    monkeypatch.setenv("PLANTED", KEY)
    monkeypatch.delenv("ABSENT", raising=False)
    with Loopback(answer) as server:
        file = workplace(tmp_path, server.base_url)
        settings = yaml.safe_load(file.read_text())
        settings["providers"][3]["api_key_env"] = "ABSENT"
        file.write_text(yaml.safe_dump(settings))
        main(["run", "--config", str(file)])
    shown = capfd.readouterr()
    reason = "environment variable ABSENT not set"
    assert reason in shown.err
    run = only_run(tmp_path)
    assert "ABSENT" in shown.out
    for name in ("report.md", "report.html", "summary.json", "manifest.json"):
        assert "ABSENT" in (run / name).read_text(), name


def test_a_provider_that_is_down_makes_the_run_inconclusive_and_accuses_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage is no divergence and no agreement: exit code 3, never 1 and never 0."""
    monkeypatch.setenv("PLANTED", KEY)

    def half_down(call: Call) -> Reply:
        return error(401, "no such key") if call.model == "other" else completion("alpha", model=call.model)

    with Loopback(half_down) as server:
        file = workplace(tmp_path, server.base_url)
        assert main(["run", "--config", str(file)]) == 3
    summary = json.loads((only_run(tmp_path) / "summary.json").read_text())
    assert summary["findings"] == []
    verdicts = {p["provider"]: p["outcome"] for p in summary["verdict"]["providers"]}
    assert verdicts == {"other": "inconclusive", "noisy": "pass", "ref": "pass", "same": "pass"}
    assert {(f["provider"], f["kind"]) for f in summary["failures"]} == {("other", "not_asked")}
    assert "auth: HTTP 401 no such key" in json.dumps(summary["verdict"])


@pytest.mark.parametrize("arguments", [["run", "--bogus"], ["report"], ["report", "nowhere"], ["nonsense"]])
def test_a_wrong_command_line_exits_2(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """Usage errors are sentences, not tracebacks."""
    assert main(arguments) == 2
    assert "Traceback" not in capfd.readouterr().err


def test_a_bug_of_ours_is_a_traceback_and_70(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Our own mistakes are never mistaken for a verdict."""
    monkeypatch.setattr("tempzero.records.open_run", lambda _: 1 / 0)
    assert main(["report", str(tmp_path)]) == 70


def test_a_library_that_panics_is_no_finding(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What breaks in a library written in Rust is no Exception: left alone, Python would end with 1, a finding."""
    panic = type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})

    def break_down(path: Path) -> None:
        raise panic("request valid")

    monkeypatch.setattr("tempzero.records.open_run", break_down)
    assert main(["report", str(tmp_path)]) == 70
    assert "this is a bug in tempzero" in capfd.readouterr().err


def test_init_writes_files_that_run_and_can_pass_and_overwrites_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a newcomer gets asks enough to conclude: with honest providers, here stood in for, it ends with 0."""
    monkeypatch.chdir(tmp_path)
    assert main(["init"]) == 0
    assert main(["init"]) == 2
    assert "never overwrites" in capsys.readouterr().err
    assert main(["run", "--dry-run"]) == 0
    shown = capsys.readouterr()
    assert ("Plan: 16 prompts" in shown.out, shown.err) == (True, "")  # own prompts are asked, and nobody is skipped
    file = tmp_path / "providers.yaml"
    settings = yaml.safe_load(file.read_text())
    with Loopback(lambda call: completion(f"Answer to {call.prompt}", model=call.model)) as server:
        for provider in settings["providers"]:
            del provider["local" if "local" in provider else "serve"]
            provider |= {"base_url": server.base_url, "model": "m"}
        file.write_text(yaml.safe_dump(settings))
        assert main(["run"]) == 0, capsys.readouterr().out


def test_the_version_is_said_without_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    """What is installed is the first thing a bug report needs."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"tempzero {version('tempzero')}\n"


def test_a_shell_completes_commands_options_and_suites() -> None:
    """The script that `--show-completion` prints asks the command itself, which answers in the shell's terms."""

    def tempzero(*arguments: str, **environment: str) -> str:
        command = [sys.executable, "-m", "tempzero", *arguments]
        return subprocess.run(
            command, env={**os.environ, **environment}, capture_output=True, text=True, check=True
        ).stdout

    def completed(words: str) -> list[str]:
        place = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        return tempzero(_TEMPZERO_COMPLETE="complete_bash", **place).split()

    assert "_TEMPZERO_COMPLETE=complete_bash" in tempzero("--show-completion", "bash")
    assert completed("tempzero sc") == ["score", "schedule", "schema"]
    assert "--dry-run" in completed("tempzero run --")
    assert completed("tempzero run --suite ") == list(get_args(SuiteName))
