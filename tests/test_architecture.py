"""The doors between rooms, and which third-party package lives where."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "harness"

# Room -> the rooms it may import. `types` and `errors` are open to all; nobody imports `cli`.
DOORS: dict[str, set[str]] = {
    "types": set(),
    "errors": set(),
    "config": set(),
    "chat": set(),
    "extractors": {"chat"},
    "suites": {"config", "chat", "extractors"},
    "plan": {"config"},
    "weights": {"config"},
    "serve": {"config", "weights"},
    "store": {"config"},
    "engines": {"config", "chat", "weights", "store"},
    "collect": {"config", "engines"},
    "score": {"config", "store", "metrics"},
    "judge": {"chat", "store", "extractors"},
    "check": {"config", "engines"},
    "probe": {"config", "weights", "engines", "score"},
    "run": {"config", "check", "suites", "plan", "weights", "serve", "engines", "collect", "store", "score"},
    "progress": {"run"},
    "metrics": set(),
    "stats": set(),
    "attribute": {"config", "metrics", "stats"},
    "analyse": {"config", "chat", "plan", "store", "extractors", "metrics", "stats", "attribute"},
    "gate": {"config"},
    "report": set(),
    "starter": set(),
    "exchange": {"config", "chat", "store", "suites", "plan", "extractors", "metrics"},
    "claims": {"config", "chat", "plan", "store", "stats"},
    "compare": {"config", "store", "analyse", "metrics", "stats"},
    "history": {"config", "chat", "store", "analyse", "metrics", "stats"},
    "baseline": {"config", "store", "analyse", "stats", "history"},
    "notify": {"config", "store", "history", "report"},
    "nightly": {"config", "run", "store", "analyse", "gate", "report", "claims", "history", "notify"},
    "schedule": {"config"},
    "prune": {"store", "history"},
    "trend": {"store", "history", "report"},
    "cli": {
        "judge",
        "check",
        "probe",
        "baseline",
        "claims",
        "compare",
        "config",
        "plan",
        "run",
        "progress",
        "store",
        "analyse",
        "gate",
        "history",
        "nightly",
        "prune",
        "report",
        "schedule",
        "starter",
        "trend",
        "exchange",
        "suites",
    },
    "__main__": {"cli"},
}

# Package -> the rooms that may import it.
HOMES: dict[str, set[str]] = {
    "openai": {"engines"},
    "httpx2": {"engines"},
    "httpcore2": {"engines"},
    "h11": {"engines"},
    "tenacity": {"collect"},
    "pandas": {"analyse", "report", "exchange"},
    "scipy": {"stats", "metrics", "attribute"},
    "rapidfuzz": {"metrics"},
    "yaml": {"config"},
    "pydantic": {"config"},
    "msgspec": {"store", "history", "engines"},
    "apprise": {"notify"},
    "jsonschema": {"extractors"},
    "math_verify": {"judge"},
    "referencing": {"extractors"},
    "typer": {"cli"},
    "rich": {"cli", "progress", "report"},
    "jinja2": {"report", "engines", "trend"},
    "markupsafe": {"report", "trend"},
    "cffi": {"engines"},
    "xllamacpp": {"serve", "engines"},
    "gguf": {"weights", "engines"},
    "numpy": {
        "weights",
        "score",
        "probe",
        "engines",
        "metrics",
        "stats",
        "attribute",
        "analyse",
        "report",
        "exchange",
        "claims",
        "compare",
        "history",
        "baseline",
    },
    "torch": {"engines"},
    "transformers": {"engines"},
    "huggingface_hub": {"weights"},
    "pyarrow": {"exchange"},
}


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def room_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide which door is used"
            assert node.module is not None
            if node.module == "harness":
                yield from (f"harness.{alias.name}" for alias in node.names)
            else:
                yield node.module


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_doors_open_one_way(path: Path) -> None:
    """A room imports only what stands before it in the pipeline."""
    room = room_of(path)
    assert room in DOORS, f"{room} is a new room: give it its doors here and its row in the README"
    for name in imported(path):
        if name.startswith("harness."):
            other = name.split(".")[1]
            assert other in {room, "types", "errors"} | DOORS[room], f"{path.name} must not import {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_package_from_outside_lives_in_its_rooms(path: Path) -> None:
    """A dependency can be replaced by opening one room."""
    for name in imported(path):
        package = name.split(".")[0]
        if package != "harness" and package not in sys.stdlib_module_names and package != "__future__":
            assert room_of(path) in HOMES.get(package, set()), f"{package} in {path.name}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_every_module_says_what_it_is_for(path: Path) -> None:
    """Line one of a module tells a reader whether to go on reading."""
    assert ast.get_docstring(ast.parse(path.read_text())), path
