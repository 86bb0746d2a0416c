"""The doors between rooms, and which third-party package lives where."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "harness" / "tempzero"

# What every room may import: nouns, and facts that have one place.
OPEN_TO_ALL = {"types", "errors", "canonical_json", "records.files"}

# Room -> the other rooms it may import; nobody imports `cli` or `door`. A room inside a wing has a line of its own
# where its doors are finer than its wing's: the longest name that is listed holds.
DOORS: dict[str, set[str]] = {
    "answers": set(),
    "workflow": set(),
    "types": set(),
    "errors": set(),
    "canonical_json": set(),
    "engines.event_loop": set(),
    "collect.watcher": set(),
    "config": {"packs.reference_pack"},
    "config.starter": set(),
    "config.catalogue": {"config"},
    "answers.chat_messages": set(),
    "answers.message_parts": set(),
    "answers.answer_parts": {"answers.chat_messages"},
    "answers.cut_answers": set(),
    "answers.flag_table": set(),
    "answers.served_names": set(),
    "answers.first_tokens": set(),
    "extractors": {"answers.chat_messages"},
    "suites": {"config", "answers.chat_messages", "extractors"},
    "plan": {"config"},
    "records": {"config", "records.layout", "records.store"},
    "records.layout": set(),
    "records.store": {"config", "records.layout"},
    "records.files": set(),
    "sealed_json": {"records.files"},
    "packs": set(),
    "packs.reference_pack": {"answers.chat_messages", "sealed_json"},
    "packs.making": {
        "answers.first_tokens",
        "check",
        "collect.session",
        "collect.watcher",
        "config",
        "engines",
        "engines.event_loop",
        "engines.local",
        "engines.local.weights",
        "packs.reference_pack",
        "plan",
        "reading",
        "records",
        "workflow.pipeline",
    },
    "engines": {
        "config",
        "answers.chat_messages",
        "records",
        "engines.hosted",
        "engines.local",
        "engines.local.weights",
        "packs.reference_pack",
    },
    "engines.hosted": {
        "answers.answer_parts",
        "config",
        "answers.chat_messages",
        "answers.message_parts",
        "answers.served_names",
    },
    "engines.local": {"config", "answers.chat_messages", "engines.hosted", "engines.local.weights"},
    "engines.local.weights": {"config"},
    "collect": {"config", "engines", "engines.hosted"},
    "collect.session": {
        "config",
        "collect.watcher",
        "check",
        "collect",
        "engines",
        "engines.hosted",
        "engines.local",
        "engines.local.weights",
        "records",
    },
    "collect.run_manifest": {"config", "collect.session", "engines", "engines.local", "records"},
    "reading": {"answers.chat_messages", "config", "records", "metrics", "packs.reference_pack"},
    "reading.rounding_floor": set(),
    "reading.run_reading": {
        "config",
        "engines.event_loop",
        "collect.watcher",
        "engines",
        "engines.local.weights",
        "records",
        "reading",
        "reading.rounding_floor",
        "packs.reference_pack",
    },
    "reading.hand_over": {"collect.watcher", "config", "engines", "reading", "records"},
    "cluster": {"config", "engines", "engines.local.weights", "metrics", "reading"},
    "cluster.part_counting": {"analysis", "records"},
    "judgements": {"answers.answer_parts", "answers.chat_messages", "records", "extractors"},
    "check": {
        "answers.answer_parts",
        "config",
        "engines.event_loop",
        "engines",
        "engines.hosted",
        "answers.first_tokens",
        "answers.flag_table",
    },
    "contract": {
        "answers.chat_messages",
        "check",
        "config",
        "engines",
        "engines.event_loop",
        "engines.hosted",
        "extractors",
    },
    "probe": {"config", "engines", "engines.local", "engines.local.weights", "reading", "records"},
    "workflow.pipeline": {
        "config",
        "engines.event_loop",
        "collect.watcher",
        "check",
        "suites",
        "plan",
        "collect",
        "collect.session",
        "collect.run_manifest",
        "records",
        "reading.run_reading",
        "judgements",
        "workflow.asked_beside",
    },
    "workflow.asked_beside": {
        "collect",
        "collect.run_manifest",
        "collect.session",
        "collect.watcher",
        "precision",
        "precision.asking",
        "records",
    },
    "precision": {"answers.first_tokens", "precision.forms", "records", "stats", "sealed_json"},
    "precision.forms": set(),
    "precision.pack_making": {
        "config",
        "engines",
        "engines.local",
        "engines.local.weights",
        "precision",
        "precision.forms",
    },
    "precision.asking": {
        "config",
        "check",
        "collect.session",
        "collect.watcher",
        "engines.event_loop",
        "plan",
        "precision",
        "suites",
    },
    "metrics": {"answers.cut_answers"},
    "stats": set(),
    "attribute": {"config", "metrics", "reading.rounding_floor", "stats"},
    "analysis": {
        "precision",
        "answers.answer_parts",
        "config",
        "answers.chat_messages",
        "answers.message_parts",
        "plan",
        "records",
        "answers.served_names",
        "extractors",
        "answers.flag_table",
        "metrics",
        "stats",
        "reading.rounding_floor",
        "attribute",
    },
    "verdict": {"config"},
    "reports": set(),
    "workflow.conclusion": {"config", "records", "analysis", "verdict", "reports"},
    "exchange": {
        "answers.message_parts",
        "answers.answer_parts",
        "config",
        "answers.chat_messages",
        "records",
        "suites",
        "plan",
        "extractors",
        "metrics",
    },
    "claims": {
        "answers.answer_parts",
        "answers.cut_answers",
        "config",
        "answers.chat_messages",
        "plan",
        "records",
        "stats",
    },
    "nightly.claim_request": {"config", "records.store", "claims", "records", "analysis", "nightly.history"},
    "compare": {"answers.answer_parts", "config", "records", "analysis", "metrics", "stats"},
    "nightly": {
        "records.store",
        "precision",
        "precision.asking",
        "stats",
        "config",
        "workflow.pipeline",
        "records",
        "workflow.conclusion",
        "claims",
        "nightly.history",
        "nightly.notify",
    },
    "nightly.history": {
        "answers.answer_parts",
        "config",
        "answers.chat_messages",
        "answers.first_tokens",
        "records",
        "analysis",
        "metrics",
        "stats",
    },
    "nightly.baseline": {"records.store", "config", "records", "analysis", "stats", "nightly.history"},
    "nightly.past_records": {"config", "records", "analysis", "nightly", "nightly.baseline", "nightly.history"},
    "nightly.notify": {"config", "reports", "nightly.history"},
    "nightly.trend": {"reports", "nightly.history"},
    "nightly.prune": {"records.store", "precision", "records", "nightly.history"},
    "nightly.schedule": {"config"},
    "door": {
        "records.store",
        "analysis",
        "config",
        "collect.watcher",
        "workflow.pipeline",
        "records",
        "workflow.conclusion",
        "claims",
        "nightly.claim_request",
    },
    "cli.progress": {"collect.watcher"},
    "cli": {
        "analysis",
        "records.store",
        "claims",
        "config",
        "config.starter",
        "config.catalogue",
        "judgements",
        "check",
        "contract",
        "precision",
        "precision.asking",
        "precision.forms",
        "precision.pack_making",
        "probe",
        "collect",
        "workflow.asked_beside",
        "workflow.pipeline",
        "cluster",
        "cluster.part_counting",
        "reading",
        "reading.hand_over",
        "reading.run_reading",
        "records",
        "workflow.conclusion",
        "reports",
        "compare",
        "exchange",
        "answers.flag_table",
        "suites",
        "nightly",
        "nightly.baseline",
        "nightly.history",
        "nightly.past_records",
        "nightly.prune",
        "nightly.schedule",
        "nightly.trend",
        "cli.progress",
        "packs.making",
        "packs.reference_pack",
    },
    "__main__": {"cli"},
}

# Package -> the rooms that may import it.
HOMES: dict[str, set[str]] = {
    "openai": {"engines.hosted"},
    "httpx2": {"engines.hosted"},
    "httpcore2": {"engines.hosted"},
    "h11": {"engines.hosted"},
    "tenacity": {"collect"},
    "pandas": {"analysis"},
    "scipy": {"stats", "metrics", "attribute"},
    "rapidfuzz": {"metrics"},
    "yaml": {"config", "config.catalogue"},
    "pydantic": {"config", "config.catalogue"},
    "obstore": {"records.store"},
    "boto3": {"records.store"},
    "botocore": {"records.store"},
    "msgspec": {"analysis", "records", "records.store", "nightly.history", "engines.hosted"},
    "apprise": {"nightly.notify"},
    "genai_prices": {"config"},
    "jsonschema": {"extractors"},
    "math_verify": {"judgements"},
    "referencing": {"extractors"},
    "regex": {"exchange"},
    "typer": {"cli"},
    "rich": {"cli", "cli.progress", "reports"},
    "jinja2": {"reports", "engines.local", "nightly.trend"},
    "markupsafe": {"reports", "nightly.trend"},
    "PIL": {"reports"},
    "cffi": {"engines.local"},
    "xllamacpp": {"engines.local"},
    "gguf": {"engines.local.weights"},
    "numpy": {
        "engines.hosted",
        "engines.local",
        "engines.local.weights",
        "reading",
        "precision",
        "precision.forms",
        "packs.making",
        "packs.reference_pack",
        "precision.pack_making",
        "probe",
        "metrics",
        "stats",
        "attribute",
        "analysis",
        "exchange",
        "claims",
        "compare",
        "nightly.history",
        "nightly.baseline",
    },
    "tokenizers": {"engines.local"},
    "ray": {"cluster"},
    "torch": {"engines.local"},
    "transformers": {"engines.local"},
    "huggingface_hub": {"engines.local.weights"},
    "pyarrow": {"exchange"},
    "duckdb": {"analysis", "exchange"},
}


@cache
def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def room_of(name: str) -> str:
    """The longest listed room that a dotted name (without the package's own) stands in; else its first part."""
    parts = name.split(".")
    inside = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((room for room in inside if room in DOORS), parts[0])


@cache
def parse_module(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def list_statements(parent: ast.AST) -> Iterator[ast.AST]:
    """Every statement in it, at any depth; expressions, which are nearly all of a module, hold none."""
    for name in ("body", "handlers", "orelse", "finalbody", "cases"):
        for node in getattr(parent, name, ()):
            yield node
            yield from list_statements(node)


@cache
def imported(path: Path) -> list[str]:
    """Every name that a module imports, with what it takes from there: a module may be taken as a name."""
    found = []
    for node in list_statements(parse_module(path)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide which door is used"
            assert node.module is not None
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def test_doors_open_one_way() -> None:
    """A room imports only what stands before it in the pipeline."""
    new = {room_of(dotted(path)) for path in modules()} - DOORS.keys()
    assert not new, "new rooms: give each its doors here and its row in docs/design.md"
    wrong = []
    for path in modules():
        room = room_of(dotted(path))
        ours = [name for name in imported(path) if name.startswith("tempzero.")]
        allowed = {room} | OPEN_TO_ALL | DOORS[room]
        wrong += [f"{dotted(path)} must not import {n}" for n in ours if room_of(n.partition(".")[2]) not in allowed]
    assert not wrong


def test_a_package_from_outside_lives_in_its_rooms() -> None:
    """A dependency can be replaced by opening one room."""
    at_home = {"tempzero", "__future__", *sys.stdlib_module_names}
    used = {(name.split(".")[0], dotted(path)) for path in modules() for name in imported(path)}
    outside = {(package, module) for package, module in used if package not in at_home}
    assert not {(package, module) for package, module in outside if room_of(module) not in HOMES.get(package, set())}


def test_every_module_says_what_it_is_for() -> None:
    """Line one of a module tells a reader whether to go on reading."""
    assert not [path for path in modules() if not ast.get_docstring(parse_module(path))]


# Left of the run folder nobody knows what will be concluded; right of it nobody needs more than that and the keys.
LEFT_OF_THE_WAIST = (
    "engines",
    "engines.hosted",
    "engines.local",
    "engines.local.weights",
    "collect",
    "plan",
    "records",
)
RIGHT_OF_IT = ("stats", "verdict", "reports")


def test_nouns_are_imported_from_the_part_that_a_room_may_know() -> None:
    """What is concluded never leaks into what is collected, and reports are made of conclusions alone."""
    wrong = []
    for path in modules():
        room, wing = room_of(dotted(path)), dotted(path).split(".")[0]
        for name in imported(path):
            if name.startswith("tempzero.types"):
                part = name.split(".")[2] if name.count(".") > 1 else ""
                if part not in {"asked", "recorded", "scored", "concluded", "vocabulary"}:
                    wrong.append(f"{dotted(path)}: name the part, not {name}")
                too_late = part in {"concluded", "vocabulary"} and room in LEFT_OF_THE_WAIST
                if too_late or (part not in {"asked", "concluded", "vocabulary"} and wing in RIGHT_OF_IT):
                    wrong.append(f"{dotted(path)} must not import {name}")
    assert not wrong


# Fact -> the one module that may hold it, and what gives another away.
ONE_PLACE = {
    "records/files.py": re.compile(r"\b(import fcntl|os\.(fsync|replace|rename)\b|flock\()"),
    "canonical_json.py": re.compile(r"\bsha256\(\s*json\.dumps\("),
}


def test_writing_locking_and_canonical_json_have_one_place_each() -> None:
    """A second atomic write forgets the folder's sync one day, a second canonical form makes a second digest."""
    texts = {path: path.read_text() for path in modules()}
    assert not [
        f"{path.relative_to(PACKAGE)}: {place} is for that"
        for place, pattern in ONE_PLACE.items()
        for path, text in texts.items()
        if path != PACKAGE / place and pattern.search(text)
    ]


def test_the_order_of_concluding_stands_once() -> None:
    """Who analyses does not judge or report beside it: a second order would drift from the first."""
    order = ("analyse", "judge", "write_reports")
    for path in [PACKAGE / "__init__.py", *modules()]:
        text = path.read_text()
        if sum(f"{step}(" in text for step in order) < 2:
            continue  # most modules need no second look
        calls = {
            node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            for node in ast.walk(parse_module(path))
            if isinstance(node, ast.Call)
        }
        steps = calls & {*order}
        assert len(steps) < 2 or path.name == "conclusion.py", f"{path.name} calls {sorted(steps)}"
