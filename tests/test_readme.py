"""The README and the pages of docs/ are the manual: what they list exists, and what exists they list."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer.main
import yaml
from tempzero import config, suites
from tempzero.cli import app, suite_app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = {page.relative_to(ROOT / "docs").as_posix(): page.read_text() for page in sorted((ROOT / "docs").rglob("*.md"))}
MANUAL = "\n".join((README, *PAGES.values()))
TREE = PAGES["design.md"][PAGES["design.md"].index("## The files") :].split("```text")[1].split("```")[0]
GATE_RUNS = re.findall(r"^```\n(.*?)^```$", README[README.index("## Two commands") :], re.MULTILINE | re.DOTALL)[:2]


class Block(NamedTuple):
    """A fenced block of a page: its kind, its text without indentation, and the line above it."""

    page: str
    kind: str
    text: str
    above: str


def read_blocks() -> Iterator[Block]:
    """Every fenced block of the manual, those in lists included."""
    for page, text in {"README.md": README, **PAGES}.items():
        for found in re.finditer(r"^( *)(`{3,})([^`\n]*)\n(.*?)^\1\2$", text, re.MULTILINE | re.DOTALL):
            inside = "".join(line.removeprefix(found[1]) for line in found[4].splitlines(keepends=True))
            above = text[: found.start()].rstrip("\n").rpartition("\n")[2].strip()
            yield Block(page, found[3].strip(), inside, above)


BLOCKS = list(read_blocks())


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


def test_every_block_runs_or_says_why_it_does_not() -> None:
    """What a reader copies has been tried: as a walk, as Python, as YAML, by the gate; all else names its reason."""
    for block in BLOCKS:
        where = f"{block.page}: the block that begins with {block.text[:60]!r}"
        if block.kind == "sh" or (block.kind == "console" and not block.page.startswith("tutorials/")):
            assert re.fullmatch(r"<!-- not run: \w.{8,} -->", block.above), f"{where}: say above why it is not run"
        elif block.kind == "console":
            continue  # tests/test_walks.py runs it
        elif block.kind == "python":
            assert block.page == "library.md", f"{where}: the test below runs those of library.md only"
        else:
            known = block.kind in ("yaml", "text") or block.text in GATE_RUNS
            assert known, f'{where}: mark it sh, console, python, yaml or text, not "{block.kind}"'


@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if b.kind == "yaml"], ids=lambda block: f"{block.page}:{block.text.split(':')[0]}"
)
def test_every_example_in_yaml_is_valid(block: Block, tmp_path: Path) -> None:
    """What a reader copies works: as part of a providers.yaml, as a file of prompts, or as entries of one."""
    parsed = yaml.safe_load(block.text)
    if isinstance(parsed, list):
        parsed = {"family": "example", "prompts": parsed} if "id" in parsed[0] else {"providers": parsed}
    if "prompts" in parsed:
        file = tmp_path / "prompts.yaml"
        file.write_text(yaml.safe_dump(parsed))
        assert suites.load_suite(file).prompts
        return
    endpoint = {"name": "my-endpoint", "base_url": "https://api.example.com/v1", "model": "m"}
    for provider in parsed.get("providers", ()):
        if not provider.keys() & {"base_url", "serve", "local", "replay", "pack"}:
            provider |= {"base_url": endpoint["base_url"], "model": "m"}  # an example of other keys leaves them out
    if not parsed.keys() & config.WrittenConfig.model_fields.keys():  # keys of a provider alone
        parsed = {"providers": [endpoint | parsed]}
    if str(parsed.get("run", {}).get("reference")).startswith("pack:"):
        del parsed["run"]["reference"]  # a file that the example does not have
    config.parse_config({"version": 1, "providers": [endpoint], **parsed}, source=block.page)


def list_calls() -> Iterator[tuple[str, list[str]]]:
    """Every `tempzero ...` in blocks and sentences of the manual, with its words."""
    lines = [line.split(" #")[0] for b in BLOCKS if b.kind in ("sh", "console", "") for line in b.text.splitlines()]
    calls = [call for line in lines for call in re.findall(r"(?:^|[ $(|;&])tempzero( [^#|;&)>`]*)", line)]
    calls += re.findall(r"`tempzero( [^`\n]+)`", MANUAL)
    for call in calls:
        yield f"tempzero{call}", call.split()


def test_every_command_in_the_manual_is_one_that_there_is() -> None:
    """A verb or an option that was renamed is not promised any more."""
    checked, whole = 0, typer.main.get_command(app)
    for call, words in list_calls():
        command: Any = whole
        while words and hasattr(command, "commands") and not words[0].startswith("-"):
            assert words[0] in command.commands, call
            command = command.commands[words.pop(0)]
        known = {name for p in command.params for name in (*p.opts, *p.secondary_opts)} | {"--help", "--version"}
        assert {w.partition("=")[0] for w in words if w.startswith("--")} <= known | {"--install-completion"}, call
        checked += 1
    assert checked > 100


def test_every_command_and_option_says_what_it_is() -> None:
    """The reference pages of the site are made of these words."""

    def look_at(command: Any, path: str) -> Iterator[str]:
        if not (command.help or "").strip():
            yield path
        for child in getattr(command, "commands", {}).values():
            yield from look_at(child, f"{path} {child.name}")
        yield from (f"{path} {p.name}" for p in command.params if not (getattr(p, "help", "") or "").strip())

    assert list(look_at(typer.main.get_command(app), "tempzero")) == []


def test_examples_of_the_library_run_as_they_stand(workplace: Path) -> None:
    """What a reader pastes into a notebook goes from a providers.yaml to a verdict, tables and a proof."""
    names: dict[str, Any] = {}
    for example in re.findall(r"```python\n(.*?)```", PAGES["library.md"], re.DOTALL):
        exec(compile(example, "library.md", "exec"), names)
    assert names["verdict"].outcome == "inconclusive"  # four prompts are few
    assert set(names["run"].responses.provider) == set(names["run"].pairs.left) == {"a", "b"}
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
    """Nothing is written where nobody finds it: a page is linked there, or on the first page of the site."""
    first = PAGES["index.md"]
    lost = {name for name in PAGES if f"](docs/{name}" not in README and f"]({name}" not in first} - {"index.md"}
    assert lost == set()
