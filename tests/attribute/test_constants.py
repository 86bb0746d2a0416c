"""Every threshold that decides what is said of a reading stands in docs/methods.md, with its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "harness" / "tempzero"
MODULES = (
    *sorted((PACKAGE / "attribute").glob("*.py")),
    *(PACKAGE / "reading" / f"{name}.py" for name in ("scorer", "suspect_reading", "rounding_floor", "top_rows")),
    PACKAGE / "stats" / "rounding.py",
)
# How much is shown, kept or written together: they decide nothing.
SIZES = {
    "_AHEAD",
    "MAX_EVIDENCE_TRIALS",
    "QUANTILES",
    "_FORMAT",
    "_FORM_TRIES",
    "_HELD_AT_MOST",
    "_KEY_BYTES",
    "_LEAST_FORM_TOKENS",
    "NAMED_AT_MOST",
    "_PROMPT_END_TOKENS",
    "_PROMPT_SHARE",
    "_WINDOW",
    "_WRITTEN_TOGETHER",
}


def _list_numbers(file: Path) -> Iterator[str]:
    """Names that a module gives numbers to, at its top."""
    for line in ast.parse(file.read_text()).body:
        if isinstance(line, ast.Assign):
            pairs = zip(line.targets, [line.value], strict=True)
            for target, value in pairs:
                names = target.elts if isinstance(target, ast.Tuple) else [target]
                values = value.elts if isinstance(value, ast.Tuple) else [value]
                if all(isinstance(v, ast.UnaryOp | ast.Constant) and _is_number(v) for v in values):
                    yield from (n.id for n in names if isinstance(n, ast.Name))


def _is_number(value: ast.expr) -> bool:
    try:
        return isinstance(ast.literal_eval(value), int | float)
    except ValueError:
        return False


def test_every_threshold_has_its_source() -> None:
    """A number without a derivation or a measurement is a guess that nobody can question."""
    table = (ROOT / "docs" / "methods.md").read_text()
    found = {name for file in MODULES for name in _list_numbers(file)}
    assert len(found) > 40
    assert {name for name in found - SIZES if f"`{name}`" not in table} == set()
