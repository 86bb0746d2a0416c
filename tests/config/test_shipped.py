"""What travels with the package: found in a clone and in an installed package, taken where nothing is named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from tempzero import config, suites
from tempzero.cli import main
from tempzero.config.shipped import choose_setting, find_prompts
from tempzero.errors import ConfigError, SuiteError

ROOT = Path(__file__).parents[2]
Installed = Callable[[str], "subprocess.CompletedProcess[str]"]


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, in which the commands are called, and no key in the environment."""
    for provider in config.load_config(ROOT / "providers.yaml").providers:
        for name in provider.variables():
            monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def installed(tmp_path: Path, empty: Path) -> Installed:
    """Calls the command of a package laid out as the wheel is: what pyproject.toml packs, where it packs it."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    site = tmp_path / "site"
    for package in build["packages"]:
        shutil.copytree(ROOT / package, site / Path(package).name)  # what is compiled already comes along
    for source, target in build["force-include"].items():
        (site / target).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / source).is_dir() else shutil.copy)(ROOT / source, site / target)

    def call(code: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(site)}
        command = [sys.executable, "-c", code]
        return subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True, check=False)

    return call


def test_an_installed_package_asks_what_a_clone_asks(installed: Installed) -> None:
    """From the wheel alone the standard suite is the frozen one, prompt for prompt."""
    done = installed(
        "from pathlib import Path; from tempzero import suites; from tempzero.config.shipped import find_prompts; "
        "from tempzero.cli import main; code = main(['run', '--suite', 'standard', '--dry-run']); "
        "print(suites.load_suite(find_prompts(['builtin'], Path()), 'standard').digest); raise SystemExit(code)"
    )
    assert done.returncode == 0, done.stderr
    assert "Plan: 119 prompts of suite standard, version 3; nothing sent" in done.stdout
    assert done.stdout.splitlines()[-1] == suites.load_suite(ROOT / "prompts", "standard").digest


def test_an_installation_that_has_lost_its_files_says_so(installed: Installed, tmp_path: Path) -> None:
    """Half an installation is no traceback, and nothing is taken from elsewhere."""
    shutil.rmtree(tmp_path / "site" / "tempzero" / "shipped")
    done = installed("from tempzero.cli import main; raise SystemExit(main(['run', '--dry-run']))")
    assert done.returncode == 2
    assert done.stderr.endswith("so this installation is not whole; install tempzero anew\n")
    assert "Traceback" not in done.stderr


def test_an_installed_package_is_no_clone(installed: Installed) -> None:
    """Its environment often lies inside a repository of its user's, whose commit says nothing about tempzero."""
    done = installed("from tempzero.config.shipped import find_clone; print(find_clone())")
    assert done.stdout == "None\n"


def test_the_built_in_configuration_is_taken_where_nothing_is_named_and_that_is_said(
    empty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty folder is enough; the runs are written into it."""
    said: list[str] = []
    chosen = choose_setting(None, {}, say=said.append)
    assert chosen.config == config.load_config(ROOT / "providers.yaml")
    assert (chosen.file, chosen.root.resolve(), chosen.results) == (None, empty, Path("results"))
    (line,) = said
    assert "built-in" in line
    assert "`tempzero init`" in line
    assert main(["run", "--dry-run"]) == 0
    shown = capsys.readouterr()
    assert "Plan: 15 prompts of suite quick, version 3; nothing sent" in shown.out
    assert shown.err.startswith(line)
    assert list(empty.iterdir()) == []


def test_a_file_that_is_there_or_named_goes_before_the_built_in_one(empty: Path) -> None:
    """A typing error in --config, or a link that leads nowhere, must not ask somebody else's providers."""
    with pytest.raises(ConfigError, match="no such file"):
        choose_setting(Path("providers.yml"), {}, say=pytest.fail)
    assert main(["run", "--config", "providers.yml", "--dry-run"]) == 2
    here = empty / "providers.yaml"
    here.symlink_to("nowhere.yaml")
    with pytest.raises(ConfigError, match="no such file"):
        choose_setting(None, {}, say=pytest.fail)
    here.unlink()
    here.write_text("version: 1\nproviders: [{name: mine, serve: {weights: w}}]\n")
    chosen = choose_setting(None, {}, say=pytest.fail)
    assert ([p.name for p in chosen.config.providers], chosen.file) == (["mine"], Path("providers.yaml"))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["check"], 3),
        (["baseline", "show"], 3),
        (["baseline", "clear"], 0),
        (["history"], 0),
        (["prune", "--keep", "1"], 0),
        (["schedule", "systemd"], 0),
    ],
)
def test_every_command_that_reads_a_configuration_works_in_an_empty_folder(
    empty: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int
) -> None:
    """They speak of the runs in ./results, as `run` does which wrote them."""
    assert main(arguments) == code
    assert capsys.readouterr().err.startswith("no providers.yaml in this folder: the built-in configuration is used")


def test_names_of_prompts_are_shipped_ones_or_paths_beside_the_configuration() -> None:
    """`builtin` means the same wherever tempzero is installed; everything else is a path."""
    shipped = ROOT / "prompts"
    names = [
        "builtin",
        "builtin/trivia",
        "builtin/trivia.yaml",
        "builtin/probes/border-64",
        "./builtin",
        "builtin-mine.yaml",
        "a",
        "/b/c.yaml",
    ]
    assert find_prompts(names, Path("root")) == (
        shipped,
        shipped / "trivia.yaml",
        shipped / "trivia.yaml",
        shipped / "probes" / "border-64.yaml",
        Path("root/builtin"),
        Path("root/builtin-mine.yaml"),
        Path("root/a"),
        Path("/b/c.yaml"),
    )
    assert len(suites.load_suite(find_prompts(["builtin/probes/border-64"], Path())).prompts) == 64


@pytest.mark.parametrize(
    "name", ["builtin/trivium", "builtin/probes/../trivia", "builtin/suites.lock", "builtin/README"]
)
def test_a_shipped_file_that_does_not_exist_is_named_with_those_that_do(name: str) -> None:
    """A reader need not go looking for site-packages."""
    with pytest.raises(
        SuiteError, match=r"nothing of this name is shipped; .*builtin/trivia, .*is \./builtin"
    ) as caught:
        find_prompts([name], Path())
    assert str(caught.value).startswith(f"{name}: ")


def test_run_takes_shipped_and_own_prompts_from_the_file_and_from_the_command_line(
    empty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A list in the file is seen from the file, one on the command line from where it is typed."""
    (empty / "sub").mkdir()
    (empty / "sub" / "mine.yaml").write_text("- {id: m, family: own, prompt: Name a bird., suite: quick}\n")
    file = empty / "sub" / "providers.yaml"
    text = (
        "version: 1\nrun: {suite: quick, prompts: [builtin, mine.yaml]}\nproviders: [{name: p, serve: {weights: w}}]\n"
    )
    file.write_text(text)
    assert main(["run", "--config", str(file), "--dry-run"]) == 0
    assert "Plan: 16 prompts; nothing sent" in capsys.readouterr().out
    listed = ["--prompts", "builtin/trivia", "--prompts", "sub/mine.yaml"]
    assert main(["run", "--config", str(file), "--dry-run", *listed]) == 0
    assert "Plan: 27 prompts; nothing sent" in capsys.readouterr().out
    assert main(["suite", "lint", "builtin"]) == 0
    file.write_text(text.replace("[builtin, mine.yaml]", "[]"))
    assert main(["run", "--config", str(file), "--dry-run"]) == 2
    assert "run.prompts" in capsys.readouterr().err
