"""The README and the pages of docs/ are the manual: what they list exists, and what exists they list."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml
from tempzero import config, suites
from tempzero.cli import app, suite_app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = {page.name: page.read_text() for page in sorted((ROOT / "docs").glob("*.md"))}
MANUAL = "\n".join((README, *PAGES.values()))
TREE = PAGES["design.md"][PAGES["design.md"].index("## The files") :].split("```")[1]


def test_every_command_is_in_the_command_list_and_the_other_way_round() -> None:
    """No verb is hidden, and none is promised that is not there."""
    listed = set(re.findall(r"^\| `tempzero ([a-z]+)", PAGES["commands.md"], re.MULTILINE))
    commands = {c.name or c.callback.__name__ for c in app.registered_commands if c.callback}
    assert listed == commands | {group.name for group in app.registered_groups}


def test_every_verb_of_suite_is_in_the_command_list() -> None:
    """The same for the verbs that work on prompts."""
    listed = set(re.findall(r"^\| `tempzero suite ([a-z]+)", PAGES["commands.md"], re.MULTILINE))
    assert listed == {c.name for c in suite_app.registered_commands}


def test_every_option_of_run_is_named() -> None:
    """A reader finds out what `run` takes without running it."""
    import inspect

    from tempzero.cli.run_commands import run

    options = {name.replace("_", "-") for name in inspect.signature(run).parameters}
    missing = {o for o in options if f"--{o.removesuffix('-output')}" not in MANUAL}
    assert not missing


def test_the_tree_names_every_room_and_nothing_else() -> None:
    """The map is the territory: two levels deep, as git sees it."""
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    rooms = {p.split("/")[2] for p in tracked if p.startswith("harness/tempzero/")} - {
        "__init__.py",
        "__main__.py",
        "py.typed",
    }
    drawn = {
        m.rstrip("/") for m in re.findall(r"^  ([a-z_.]+/?) ", TREE[TREE.index("harness/tempzero/") :], re.MULTILINE)
    }
    assert rooms <= drawn
    top = {p.split("/")[0] for p in tracked} - {"README.md", ".gitignore"}
    assert {line.split("/")[0].split()[0] for line in TREE.splitlines() if re.match(r"^[A-Za-z.]", line)} == top


def test_examples_in_the_readme_are_valid(tmp_path: Path) -> None:
    """What a reader copies works."""
    (nightly,) = re.findall(r"```yaml\n(.*?)```", PAGES["nights.md"], re.DOTALL)
    provider, prompt = re.findall(r"```yaml\n(.*?)```", PAGES["configuration.md"], re.DOTALL)
    config.parse_config({"version": 1, **yaml.safe_load(provider), **yaml.safe_load(nightly)}, source="README")
    file = tmp_path / "prompts.yaml"
    file.write_text(prompt)
    assert suites.load_suite(file).prompts[0].expected == "Paris"


def test_examples_of_the_library_run_as_they_stand(workplace: Path) -> None:
    """What a reader pastes into a notebook goes from a providers.yaml to a verdict, tables and a proof."""
    names: dict[str, Any] = {}
    for example in re.findall(r"```python\n(.*?)```", PAGES["library.md"], re.DOTALL):
        exec(compile(example, "library.md", "exec"), names)
    assert names["verdict"].outcome == "inconclusive"  # four prompts are few
    assert set(names["responses"].provider) == set(names["pairs"].left) == {"a", "b"}
    assert (workplace / "claim.zip").is_file()


def test_the_shipped_suites_are_what_was_frozen() -> None:
    """A prompt or an extractor that has changed shows here first: `tempzero suite freeze` gives the next version."""
    suite = suites.load_suite(ROOT / "prompts", "quick")
    assert suite.version is not None


def test_exit_codes_are_documented() -> None:
    """A scheduler can rely on the table."""
    from tempzero import cli

    codes = {*cli.EXIT_CODES.values(), cli.CANNOT_RUN, cli.OUR_BUG, cli.INTERRUPTED}
    table = MANUAL[MANUAL.index("| exit code |") :].split("\n\n")[0]
    assert {int(c) for c in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == codes


def test_nothing_is_left_to_fill_in() -> None:
    """No placeholder is ever published."""
    assert "@@" not in MANUAL


def test_the_readme_is_read_in_a_few_minutes() -> None:
    """Question, picture, two commands, three paths, links: the rest stands on its own pages."""
    assert len(README.splitlines()) <= 150
    assert len(README.split()) <= 1_300
    assert "](docs/first-run.svg)" in README


def test_every_page_is_reached_from_the_readme() -> None:
    """Nothing is written where nobody finds it."""
    assert {name for name in PAGES if name != "index.md" and f"](docs/{name}" not in README} == set()
