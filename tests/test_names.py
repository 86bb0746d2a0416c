"""What things are called: a name says what it is, means one thing, and fails the type check where it is misspelt."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import tempzero
from tempzero.cli import app, suite_app
from user_types import ONE_AT_A_TIME, check_user_types

# Each line once as it is right, and once with a name that nobody knows.
CHECKS = (
    ('figure.metric == "{}"', "emr", "emrr"),
    ('figure.kind == "{}"', "reference", "refrence"),
    ('figure.unit == "{}"', "share", "shares"),
    ('finding.rule == "{}"', "nondeterministic", "nondeterminstic"),
    ('diagnosis.cause == "{}"', "coarser", "courser"),
    ('diagnosis.strength == "{}"', "shown", "show"),
    ('verdict.outcome == "{}"', "inconclusive", "inconclusiv"),
    ('outcome.status == "{}"', "valid", "ok"),
    ('outcome.kind == "{}"', "rate_limited", "rate_limit"),
    ('any(flag == "{}" for flag in outcome.flags)', "usage_missing", "usage_mising"),
)
PROGRAM = """
from tempzero.types.concluded import Diagnosis, Figure, Finding, Verdict
from tempzero.types.recorded import Outcome


def ask(figure: Figure, finding: Finding, diagnosis: Diagnosis, verdict: Verdict, outcome: Outcome) -> list[bool]:
    return [
{}
    ]
"""


def check_types(folder: Path, expressions: list[str]) -> list[str]:
    """What mypy --strict says of a user's program with these expressions, a line each."""
    program = folder / "program.py"
    program.write_text(PROGRAM.format("\n".join(f"        {line}," for line in expressions)))
    return check_user_types(program)


@ONE_AT_A_TIME
def test_a_misspelt_name_fails_the_type_check(tmp_path: Path) -> None:
    """Silence would read as "there is none": a figure asked for by a wrong name is never found."""
    assert not check_types(tmp_path, [line.format(right) for line, right, _ in CHECKS])
    errors = check_types(tmp_path, [line.format(wrong) for line, _, wrong in CHECKS])
    first = PROGRAM.split("{}")[0].count("\n") + 1
    assert [int(e.split(":")[1]) for e in errors] == list(range(first, first + len(CHECKS))), errors


PACKAGE = Path(tempzero.__file__).parent


@cache
def parse_package() -> dict[Path, ast.Module]:
    """Every module; where the tests are only collected nobody waits for it."""
    return {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def list_nodes(path: Path) -> list[ast.Compare | ast.Import | ast.ImportFrom]:
    """The nodes of a module that tests look at, found in one walk."""
    kinds = (ast.Compare, ast.Import, ast.ImportFrom)
    return [node for node in ast.walk(parse_package()[path]) if isinstance(node, kinds)]


# Attributes whose values are a few names.
CLOSED = {"cause", "flags", "judgement", "kind", "metric", "outcome", "rule", "state", "status", "strength", "unit"}


def unchecked(path: Path) -> list[str]:
    """Comparisons in which the type check sees plain texts: with a tuple, list or set of names written on the spot."""
    found = []
    for node in list_nodes(path):
        if not isinstance(node, ast.Compare):
            continue
        sides = [node.left, *node.comparators]
        names = {part.attr for side in sides for part in ast.walk(side) if isinstance(part, ast.Attribute)}
        literal = [s for s in sides if isinstance(s, ast.Tuple | ast.List | ast.Set)]
        texts = any(isinstance(e, ast.Constant) and isinstance(e.value, str) for s in literal for e in s.elts)
        member = isinstance(node.ops[0], ast.In | ast.NotIn)
        lone = member and isinstance(node.left, ast.Constant) and isinstance(node.comparators[0], ast.Attribute)
        if CLOSED & names and (texts or lone):
            found.append(f"{path.name}:{node.lineno}: {ast.unparse(node)}")
    return found


def test_a_name_is_compared_where_the_type_check_sees_it() -> None:
    """mypy takes `x.kind in ("a", "b")` for a comparison of texts: such a tuple has a name and a type."""
    assert not [line for path in parse_package() for line in unchecked(path)]


MOST_ONE_WORD = 0.1
# Their names are the words that are typed in a terminal.
COMMANDS = {
    (c.callback.__module__, c.callback.__name__)
    for group in (app, suite_app)
    for c in group.registered_commands
    if c.callback is not None
}


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def defined_names() -> Iterator[tuple[str, str]]:
    """Module and name of every function and class at the top of a module, commands aside."""
    for path, tree in parse_package().items():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                place = (dotted(path), node.name)
                if place not in COMMANDS:
                    yield place


def test_a_functions_name_says_what_it_does_away_from_its_module() -> None:
    """Where it is called nobody sees which file it is from: `load` loads what? One word is left to one in ten."""
    functions = [(place, name) for place, name in defined_names() if not name.strip("_")[0].isupper()]
    one_word = [f"{place}: {name}" for place, name in functions if "_" not in name.strip("_")]
    assert len(functions) > 1000
    assert len(one_word) <= MOST_ONE_WORD * len(functions), one_word


def test_a_name_means_one_thing() -> None:
    """A reader who searches for a function finds it, not a handful of its namesakes."""
    places: dict[str, list[str]] = {}
    for place, name in defined_names():
        places.setdefault(name, []).append(place)
    assert not {name: found for name, found in places.items() if len(found) > 2}


def test_no_file_name_occurs_twice() -> None:
    """A file in a traceback, a tab or a search is one file."""
    names = Counter(path.name for path in parse_package() if path.name != "__init__.py")
    assert not [name for name, count in names.items() if count > 1]


def test_nothing_of_ours_is_imported_under_another_name() -> None:
    """Two names for one thing have to be learnt twice; a clash says that one of the names is too short."""
    renamed = []
    for path in parse_package():
        for node in list_nodes(path):
            if isinstance(node, ast.Import | ast.ImportFrom) and any(name.asname for name in node.names):
                ours = [node.module or ""] if isinstance(node, ast.ImportFrom) else [n.name for n in node.names]
                if any(module.partition(".")[0] in ("", "tempzero") for module in ours):
                    renamed.append(f"{dotted(path)}: {ast.unparse(node)}")
    assert not renamed
