"""The printed units work as they are: they are run, or read by what will read them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from loopback import Loopback
from tempzero.config.shipped import choose_setting
from tempzero.errors import UsageError
from tempzero.nightly import schedule
from tempzero.nightly.schedule import ScheduledJob

ROOT = Path(__file__).parents[3]
PLACE = ScheduledJob(
    folder=Path("/srv/tempzero"),
    config=Path("/srv/tempzero/providers.yaml"),
    results=Path("/srv/tempzero/results"),
    at="03:17",
    secrets=("A_KEY", "HOOK"),
)


def test_the_workflow_has_a_schedule_a_button_a_group_and_secrets_by_name() -> None:
    """What GitHub would run: one job a time, with a time limit, no secret in the file."""
    (text,) = schedule.build_unit("github", PLACE).values()
    flow = yaml.load(text, yaml.BaseLoader)
    assert flow["on"]["schedule"] == [{"cron": "17 3 * * *"}]
    assert list(flow["on"]["workflow_dispatch"]["inputs"]) == ["baseline"]
    assert flow["concurrency"]["cancel-in-progress"] == "false"
    job = flow["jobs"]["nightly"]
    assert job["timeout-minutes"] == "60"
    (night,) = [s for s in job["steps"] if s.get("name") == "nightly"]
    assert night["env"] == {"A_KEY": "${{ secrets.A_KEY }}", "HOOK": "${{ secrets.HOOK }}"}


def test_the_workflow_passes_a_linter(tmp_path: Path) -> None:
    """actionlint knows GitHub's own rules."""
    linter = shutil.which("actionlint") or str(Path(sys.executable).with_name("actionlint"))
    if not Path(linter).is_file():
        pytest.skip("no actionlint here")
    file = tmp_path / "nightly.yml"
    file.write_text(next(iter(schedule.build_unit("github", PLACE).values())))
    done = subprocess.run([linter, str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_workflow_passes_an_audit(tmp_path: Path) -> None:
    """Nothing in it lets a stranger's text run, or leaves a token where the artefact takes it along."""
    auditor = shutil.which("zizmor") or str(Path(sys.executable).with_name("zizmor"))
    if not Path(auditor).is_file():
        pytest.skip("needs the extra dev (zizmor)")
    (tmp_path / "nightly.yml").write_text(next(iter(schedule.build_unit("github", PLACE).values())))
    # GitHub's own actions are named by their major version, which is what a reader can keep up to date by hand.
    rules = {"rules": {"unpinned-uses": {"config": {"policies": {"actions/*": "ref-pin"}}}}}
    (tmp_path / "zizmor.yml").write_text(yaml.safe_dump(rules))
    command = [auditor, "--offline", "--quiet", "--config", tmp_path / "zizmor.yml", tmp_path / "nightly.yml"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_units_pass_systemds_own_check(tmp_path: Path) -> None:
    """A directive that systemd does not know would be ignored in silence."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd here")
    files = []
    for name, text in schedule.build_unit(
        "systemd", replace(PLACE, folder=tmp_path, config=tmp_path / "p.yaml")
    ).items():
        files.append(tmp_path / name)
        files[-1].write_text(text)
    done = subprocess.run([analyze, "verify", *map(str, files)], capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if "tempzero" in line]
    assert not ours, done.stderr
    calendar = subprocess.run([analyze, "calendar", "*-*-* 03:17:00 UTC"], capture_output=True, check=False)
    assert calendar.returncode == 0


def test_the_crontab_line_runs_as_written_in_an_empty_environment(tmp_path: Path) -> None:
    """cron gives a job no PATH to speak of and reads keys from nowhere; the line brings what it needs."""
    prompts = [{"id": f"q{i}", "prompt": f"q{i}"} for i in range(2)]
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "test.yaml").write_text(yaml.safe_dump({"family": "test", "prompts": prompts}))
    (tmp_path / "tempzero.env").write_text("A_KEY=planted-key-0123456789abcdef\n")
    with Loopback() as server:
        entry = {"name": "a", "base_url": server.base_url, "model": "m", "api_key_env": "A_KEY", "repeats": 2}
        (tmp_path / "providers.yaml").write_text(yaml.safe_dump({"version": 1, "providers": [entry]}))
        chosen = choose_setting(tmp_path / "providers.yaml", {}, say=print)
        text = schedule.build_unit("cron", schedule.find_place("cron", chosen, "03:17"))["crontab"]
        (line,) = [line for line in text.splitlines() if not line.startswith("#")]
        command = line.split(maxsplit=5)[5]
        done = subprocess.run(["/bin/sh", "-c", command], env={}, cwd="/", check=False)
        assert server.calls
        assert server.calls[0].headers["authorization"] == "Bearer planted-key-0123456789abcdef"
    log = (tmp_path / "results" / "nightly.log").read_text()
    assert done.returncode == 3, log
    assert "no baseline" in log


@pytest.mark.parametrize("target", schedule.SCHEDULERS)
def test_a_unit_of_an_empty_folder_calls_the_built_in_configuration_there(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file is named that is not there; the commands are called where the results are."""
    monkeypatch.chdir(tmp_path)
    place = schedule.find_place(target, choose_setting(None, {}, say=lambda _: None), "03:17")
    text = "".join(schedule.build_unit(target, place).values())
    assert "--config" not in text
    assert "the built-in one is used" in text
    where = {"github": "path: results\n", "systemd": f"WorkingDirectory={tmp_path}\n", "cron": f"cd {tmp_path} && "}
    assert where[target] in text
    assert f">> {tmp_path}/results/nightly.log" in text or target != "cron"


def test_a_workflow_installs_the_package_where_the_repository_is_not_tempzeros(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a repository that holds a providers.yaml and nothing else there is nothing to install from it."""
    (tmp_path / "ops").mkdir()
    file = Path("ops/providers.yaml")
    (tmp_path / file).write_text("version: 1\nproviders: [{name: a, base_url: 'http://x/v1', model: m}]\n")
    monkeypatch.chdir(tmp_path)
    place = schedule.find_place("github", choose_setting(file, {}, say=pytest.fail), "03:17")
    (text,) = schedule.build_unit("github", place).values()
    for line in (
        f"pip install tempzero=={version('tempzero')}\n",
        "--config ops/providers.yaml\n",
        "path: ops/results\n",
    ):
        assert line in text
    assert "cache: pip" not in text  # it needs a file of requirements
    monkeypatch.chdir(ROOT)
    assert (
        "pip install -e ."
        in schedule.build_unit("github", schedule.find_place("github", choose_setting(None, {}, say=print), "03:17"))[
            ".github/workflows/nightly.yml"
        ]
    )


@pytest.mark.parametrize(("target", "at"), [("at", "03:17"), ("cron", "25:00"), ("cron", "3:17; rm")])
def test_what_cannot_be_scheduled_is_said(target: str, at: str) -> None:
    """A unit with nonsense in it would fail at night, where nobody sees it."""
    with pytest.raises(UsageError):
        schedule.build_unit(target, replace(PLACE, at=at))


def test_a_workflow_whose_results_lie_in_a_store_keeps_nothing_and_has_its_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of this machine means nothing to a runner; without the keys no step finds the nights of before."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9000")
    (tmp_path / "providers.yaml").write_text(
        "version: 1\nrun: {results: 's3://nights/x'}\nproviders: [{name: a, base_url: 'http://h/v1', model: m}]\n"
    )
    for target in schedule.SCHEDULERS:
        place = schedule.find_place(target, choose_setting(None, {}, say=print), "03:17")
        text = "".join(schedule.build_unit(target, place).values())
        assert "spool" not in text
        assert "AWS_SECRET_ACCESS_KEY" in text or target == "cron"
    flow = yaml.load(next(iter(schedule.build_unit("github", replace(place, folder=Path())).values())), yaml.BaseLoader)
    steps = {s.get("name", s.get("run", s.get("uses"))): s for s in flow["jobs"]["nightly"]["steps"]}
    assert not [name for name in steps if "cache" in name or "artifact" in name]
    assert [name for name in steps if "pip install" in name and "[store]" in name]
    for name in ("baseline", "nightly", "history page"):
        assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"} <= steps[name]["env"].keys()
