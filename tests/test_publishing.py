"""What makes the repository a package that others can use, check and add to: licence, version, extras, recipes."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import tempzero

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
DOCUMENTS += sorted((ROOT / "docs").rglob("*.md"))
# A distribution whose import name is another one.
IMPORTED_AS = {
    "pillow": "PIL",
    "PyYAML": "yaml",
    "pytest-xdist": "xdist",
    "pytest-cov": "pytest_cov",
    "markdown-it-py": "markdown_it",
}
# Modules of tests/ that other tests import.
OWN = {path.stem for path in (ROOT / "tests").rglob("*.py")} | {
    p.name for p in (ROOT / "tests").iterdir() if p.is_dir()
}


def brought_by(*lists: list[str]) -> set[str]:
    """The import names of the distributions that these lists of requirements name."""
    names = [re.split(r"[^A-Za-z0-9._-]", line)[0] for of in lists for line in of]
    return {IMPORTED_AS.get(name, name.replace("-", "_").lower()) for name in names}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module.split(".")[0]


def strangers(folder: Path, known: set[str]) -> dict[str, set[Path]]:
    """Other packages than the known ones that the Python files of a folder import, each with the files that do."""
    found: dict[str, set[Path]] = {}
    at_home = {*sys.stdlib_module_names, *OWN, "tempzero", "__future__", *known}
    for path in folder.rglob("*.py"):
        # Whatever is imported stands behind one of these words, though not all that stands there is imported.
        if set(re.findall(r"^\s*(?:import|from)\s+(\w+)", path.read_text(), re.MULTILINE)) - at_home:
            for name in set(imports(path)) - at_home:
                found.setdefault(name, set()).add(path)
    return found


def test_the_package_imports_only_what_it_depends_on() -> None:
    """What comes along by accident, under another dependency, may be gone with that one's next version."""
    extras = PROJECT["optional-dependencies"]
    known = brought_by(
        PROJECT["dependencies"],
        *(
            extras[e]
            for e in ("transformers", "tokenizer", "ray", "apprise", "math", "parquet", "prices", "scale", "store")
        ),
    )
    known |= {"huggingface_hub"}  # asked for by name where it is needed
    assert not strangers(ROOT / "harness", known)


def test_the_tests_import_only_what_the_extra_test_brings() -> None:
    """The README's second command installs `.[test]` and nothing else: a test that needs more must skip, not break."""
    brought = brought_by(PROJECT["dependencies"], PROJECT["optional-dependencies"]["test"])
    for name, path in ((name, path) for name, files in strangers(ROOT / "tests", brought).items() for path in files):
        assert f'importorskip("{name}"' in path.read_text(), f"{path} imports {name}, which no list names"


def test_every_dependency_says_why_it_is_there() -> None:
    """Who wants to drop one finds out what it is for."""
    text = (ROOT / "pyproject.toml").read_text()
    for line in text[text.index("dependencies = [") : text.index("[project.scripts]")].splitlines():
        if re.match(r'\s+"[\w-]+', line):
            assert re.search(r'",? +# \w', line), line


def test_what_is_bounded_from_above_is_tried_every_week_without_its_bound() -> None:
    """A pin nobody looks at grows old in silence."""
    workflow = (ROOT / ".github" / "workflows" / "weekly.yml").read_text()
    pinned = {re.split(r"[^\w-]", line)[0] for line in PROJECT["dependencies"] if "<" in line or "==" in line}
    packages = re.search(r"packages: \[(.*)\]", workflow)
    assert packages is not None
    assert set(re.findall(r"[\w-]+", packages[1])) == pinned


def test_the_licence_is_the_whole_of_apache_2_0() -> None:
    """By the hash of the text that apache.org publishes."""
    digest = hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest()
    assert digest == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
    assert (PROJECT["license"], PROJECT["license-files"]) == ("Apache-2.0", ["LICENSE"])


def test_the_version_is_that_of_the_installed_package() -> None:
    """One place for the fact: pyproject.toml, read back from the metadata."""
    assert tempzero.__version__ == importlib.metadata.version("tempzero")
    with pytest.raises(AttributeError, match="no attribute"):
        tempzero.version  # type: ignore[attr-defined]  # noqa: B018


def test_the_changelog_knows_this_version() -> None:
    """A version is released with its section, and a coming one has its changes under Unreleased."""
    text = (ROOT / "CHANGELOG.md").read_text()
    version, _, unreleased = PROJECT["version"].partition(".dev")
    headings = re.findall(r"^## \[(.+?)\]", text, re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert version in (text.split("## ")[1] if unreleased else headings)


def test_the_package_says_that_it_has_types() -> None:
    """Without the marker a type checker takes everything imported from it for Any."""
    assert (ROOT / "harness" / "tempzero" / "py.typed").is_file()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_path_and_link_in_a_document_leads_somewhere(document: Path) -> None:
    """A recipe that names a file which has moved is worse than none."""
    text = document.read_text()
    paths = set(re.findall(r"(?<![\w./-])((?:harness|tests|docs|prompts|\.ci|\.github)/[\w./-]*[\w/])", text))
    written = {".github/workflows/nightly.yml"}  # into a repository of the reader's
    assert {path for path in paths if not (ROOT / path).exists()} - written == set()
    for target, anchor in re.findall(r"\]\(([^):#]*)(#[\w-]+)?\)", text):
        linked = (document.parent / target) if target else document
        assert linked.is_file(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE)
            assert anchor[1:] in {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings}, anchor


def test_the_gate_runs_the_two_commands_of_the_readme_as_they_stand_there() -> None:
    """What is tried is what a reader copies."""
    script = ROOT / ".ci" / "readme_commands.py"
    readme = (ROOT / "README.md").read_text()
    for which, ends in (("1", "tempzero run"), ("2", "pytest")):
        done = subprocess.run([sys.executable, script, which], capture_output=True, text=True, check=True)
        assert f"```\n{done.stdout}```" in readme[readme.index("## Two commands") : readme.index("## What you get")]
        assert done.stdout.strip().endswith(ends)
