"""What GitHub would run is run: the steps of the printed workflow and of the action, with GitHub's variables.

Steps that use somebody's action are not: the folder stands for the checkout and for the cache, and `pip` is not called.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import tempzero
import yaml
from loopback import Loopback, completion
from ready_process import write_command
from tempzero.config.shipped import choose_setting
from tempzero.nightly import schedule

ROOT = Path(__file__).parents[3]
SOURCE = Path(tempzero.__file__).parents[1]


class Job(NamedTuple):
    """What a job left: the exit code of each named step that ran, everything printed, and its summary."""

    codes: dict[str, int]
    log: str
    summary: str


def run_job(steps: list[Any], folder: Path, given: Mapping[str, str]) -> Job:
    """The `run:` steps in order, each in a bash of its own, as a runner does; `given` are the values of expressions."""

    def fill(text: str) -> str:
        return re.sub(r"\$\{\{ *([\w.]+) *\}\}", lambda m: given[m[1]], text)

    programs, summary = folder.parent / "programs", folder.parent / "summary.md"
    programs.mkdir(exist_ok=True)
    for name, call in {"tempzero": write_command(), "python": 'echo "python $*"'}.items():
        (programs / name).write_text(f"#!/bin/sh\n{call}\n")
        (programs / name).chmod(0o755)
    summary.write_text("")
    known = {"GITHUB_ACTIONS": "true", "CI": "true", "GITHUB_STEP_SUMMARY": str(summary), "PYTHONPATH": str(SOURCE)}
    codes: dict[str, int] = {}
    log = ""
    for step in steps:
        condition = step.get("if", "success()")
        wanted = {
            "success()": not any(codes.values()),
            "always()": True,
            "inputs.baseline != ''": bool(given.get("inputs.baseline")),
            "inputs.baseline == ''": not given.get("inputs.baseline"),
        }[condition.removesuffix(" && inputs.artifact != ''")]
        if "run" not in step or not wanted:
            continue
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", fill(step["run"])],
            cwd=folder,
            env={**known, "PATH": f"{programs}:/usr/bin:/bin", **{k: fill(v) for k, v in step.get("env", {}).items()}},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        codes[step.get("name", step["run"])] = done.returncode
        log += done.stdout
    return Job(codes, log, summary.read_text())


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository that holds providers.yaml and prompts, and nothing else."""
    folder = tmp_path / "repository"
    (folder / "prompts").mkdir(parents=True)
    prompts = [{"id": f"q{i}", "prompt": f"question {i}"} for i in range(6)]
    (folder / "prompts" / "mine.yaml").write_text(yaml.safe_dump({"family": "mine", "prompts": prompts}))
    return folder


def write_config(folder: Path, server: Loopback, **more: str) -> None:
    entry = {"name": "north", "base_url": server.base_url, "model": "m", "repeats": 2, **more}
    settings = {"version": 1, "run": {"name": "mine", "prompts": "prompts"}, "providers": [entry]}
    (folder / "providers.yaml").write_text(yaml.safe_dump(settings))


def test_the_printed_workflow_works_in_a_repository_of_a_providers_yaml_and_prompts(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first night says that it has no baseline and fails; `set` in the form makes one of it; keys come by name."""
    monkeypatch.chdir(repository)
    with Loopback(lambda call: completion(f"answer to {call.prompt}")) as server:
        write_config(repository, server, api_key_env="A_KEY")
        place = schedule.find_place("github", choose_setting(None, {}, say=pytest.fail), "03:17")
        (text,) = schedule.build_unit("github", place).values()
        steps = yaml.safe_load(text)["jobs"]["nightly"]["steps"]
        given = {"secrets.A_KEY": "planted-key-0123456789abcdef", "inputs.baseline": ""}
        first = run_job(steps, repository, given)
        asked = len(server.calls)
        chosen = run_job(steps, repository, {**given, "inputs.baseline": "set"})
        assert len(server.calls) == asked, "setting a baseline asks nothing"
        keys = {call.headers["authorization"] for call in server.calls if call.method == "POST"}
    assert (first.codes["nightly"], first.codes["history page"]) == (3, 0), first.log
    assert "::warning title=north%3A no baseline::" in first.log
    assert "| north | no baseline |" in first.summary
    assert keys == {"Bearer planted-key-0123456789abcdef"}
    assert chosen.codes["baseline"] == 0, chosen.log
    assert "nightly" not in chosen.codes
    assert re.search(r"north: 12 answers from \d{8}T\d{6}Z-mine-", chosen.log)
    assert given["secrets.A_KEY"] not in first.log + first.summary


@pytest.mark.parametrize(
    ("command", "arguments", "annotated", "summed_up"),
    [
        ("run", "--repeats 2 --no-check", "::error title=north%3A finding::", "gave different texts"),
        ("check", "--providers 'north'", "::error title=north%3A finding::", "| north | finding |"),
    ],
)
def test_the_action_runs_a_command_and_tells_github(
    command: str, arguments: str, annotated: str, summed_up: str, repository: Path
) -> None:
    """Its steps as they stand: words parted as by a shell, annotations in the log, the report as the summary."""
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    given = {f"inputs.{name}": str(value.get("default", "")) for name, value in action["inputs"].items()}
    given |= {"github.action_path": str(ROOT), "inputs.command": command, "inputs.arguments": arguments}
    with Loopback(lambda call: completion("yes" if "yes" in call.prompt else f"text {call.nth % 2}")) as server:
        write_config(repository, server)
        job = run_job(action["runs"]["steps"], repository, given)
    assert "python -m pip install" in job.log
    assert job.codes["tempzero"] == 1, job.log
    assert annotated in job.log
    assert summed_up in job.summary
