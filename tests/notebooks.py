"""A notebook in, what its cells give today out: run in order in one namespace, the last expression of a cell shown.

`python tests/notebooks.py NOTEBOOK FOLDER` runs it in a folder and writes the outputs of today into it.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def read_code_cells(notebook: Path) -> Iterator[tuple[str, str]]:
    """The source of each code cell, and the text that is kept as its output."""
    for cell in json.loads(notebook.read_text())["cells"]:
        if cell["cell_type"] == "code":
            kept = [o.get("text") or o["data"]["text/plain"] for o in cell["outputs"]]
            yield "".join(cell["source"]), "".join(line for text in kept for line in text)


def run_cells(notebook: Path, folder: Path) -> list[str]:
    """What each code cell prints and shows, in this folder."""
    sources, names = [source for source, _ in read_code_cells(notebook)], dict[str, Any]()
    with contextlib.chdir(folder):
        return [_run_cell(source, names) for source in sources]


def _run_cell(source: str, names: dict[str, Any]) -> str:
    *statements, last = ast.parse(source).body
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        if not isinstance(last, ast.Expr):
            statements, shown = [*statements, last], None
            exec(compile(ast.Module(statements, []), "cell", "exec"), names)
        else:
            exec(compile(ast.Module(statements, []), "cell", "exec"), names)
            shown = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    return printed.getvalue() + ("" if shown is None else repr(shown))


def write_outputs(notebook: Path, outputs: list[str]) -> None:
    """Keep these as the outputs of its code cells."""
    content, left = json.loads(notebook.read_text()), iter(outputs)
    for number, cell in enumerate((c for c in content["cells"] if c["cell_type"] == "code"), 1):
        text = next(left)
        shown = {"output_type": "execute_result", "execution_count": number, "metadata": {}}
        cell["execution_count"] = number
        cell["outputs"] = [{**shown, "data": {"text/plain": text.splitlines(keepends=True)}}] if text else []
    notebook.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    place = Path(sys.argv[1]).resolve()
    write_outputs(place, run_cells(place, Path(os.path.abspath(sys.argv[2]))))
