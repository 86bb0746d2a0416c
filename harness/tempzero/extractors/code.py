"""A response in, the Python code that defines the asked function out; running it is the judge's business."""

from __future__ import annotations

import ast
import json
import keyword
import re
from dataclasses import dataclass
from typing import Any

from tempzero.extractors.extractor import Args, Extractor

PASSES, FAILS = "passes", "fails"
_MOST_CASES = 100
_MAX_CODE_CHARS = 20_000

_FENCE = re.compile(
    r"^[ \t]*(`{3,}|~{3,})[ \t]*([\w+-]*)[^\n]*\n(.*?)(?:^[ \t]*\1[ \t]*$|\Z)", re.MULTILINE | re.DOTALL
)
_PYTHON = frozenset({"", "python", "py", "python3"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One call of the function: positional arguments, and what it must give (JSON values)."""

    args: tuple[Any, ...]
    out: Any


def parse_cases(args: Args) -> tuple[Case, ...]:
    """The cases that the code of a prompt is judged by."""
    return tuple(Case(args=tuple(case["in"]), out=case["out"]) for case in json.loads(args["cases"]))


def _read_code(text: str, args: Args) -> str | None:
    """The fenced blocks, or the bare text, if together they are Python that defines the function once.

    Several blocks are read as one program where that is Python; else the last block that defines the function.
    """
    blocks = [m[3] for m in _FENCE.finditer(text) if m[2].lower() in _PYTHON] or [text]
    telling = [block for block in blocks if _is_definition_of(block, args["function"])]
    if not telling:
        return None
    if len(telling) == 1:
        return telling[0].strip("\n") or None
    same = {ast.dump(ast.parse(block)) for block in telling}
    return telling[0].strip("\n") if len(same) == 1 else None


def _is_definition_of(code: str, function: str) -> bool:
    if len(code) > _MAX_CODE_CHARS:
        return False
    try:
        body = ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(isinstance(node, ast.FunctionDef) and node.name == function for node in body)


def _check_code_args(args: Args) -> None:
    name = args["function"]
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError("function must be the name of a Python function")
    cases = json.loads(args["cases"])
    if not 1 <= len(cases) <= _MOST_CASES:
        raise ValueError(f"cases must be a list of 1 to {_MOST_CASES} cases")
    for case in cases:
        if not isinstance(case, dict) or set(case) != {"in", "out"} or not isinstance(case["in"], list):
            raise ValueError("each case is {in: [the arguments], out: the result}, e.g. {in: [2, 3], out: 5}")


def _can_state_code(expected: str, _args: Args) -> bool:
    return expected in (PASSES, FAILS)


CODE = Extractor(
    name="code",
    version=1,
    reader=_read_code,
    can_state=_can_state_code,
    parameters=("function", "cases"),
    structured={"cases": list},
    check=_check_code_args,
    judged="`tempzero report RUN --run-code` runs them, in bubblewrap",
)
