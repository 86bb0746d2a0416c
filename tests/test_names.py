"""A misspelt name fails the type check, wherever a program compares what an analysis or a record says."""

from __future__ import annotations

import ast
from pathlib import Path

import tempzero
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


# Attributes whose values are a few names.
CLOSED = {"cause", "flags", "judgement", "kind", "metric", "outcome", "rule", "state", "status", "strength", "unit"}


def unchecked(path: Path) -> list[str]:
    """Comparisons in which the type check sees plain texts: with a tuple, list or set of names written on the spot."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
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
    package = Path(tempzero.__file__).parent
    assert not [line for path in sorted(package.rglob("*.py")) for line in unchecked(path)]
