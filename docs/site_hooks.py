"""mkdocs' hooks: reference pages from the code, the notebook as a page, links to files outside docs/ as their text.

Called by `mkdocs build`; nothing of the package imports it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main
from mkdocs.structure.files import File
from tempzero.cli import app

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"
SCHEMA = ROOT / "harness" / "tempzero" / "config" / "providers.schema.json"


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made from the code, and the documents that stand at the top of the repository."""
    pages = {
        "reference/options.md": "\n".join(describe_commands()),
        "reference/providers-yaml.md": "\n".join(describe_schema(json.loads(SCHEMA.read_text(encoding="utf-8")))),
        "notebook.md": "\n".join(show_notebook(json.loads(NOTEBOOK.read_text(encoding="utf-8")))),
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A link to a file outside docs/ becomes its path in the repository, which is where its reader finds it."""
    markdown = markdown.replace("](notebook.ipynb)", "](notebook.md)")
    return re.sub(r"\[([^\]]*)\]\(\.\./([^)]+)\)", r"\1 (`\2`)", markdown)


def on_post_page(output: str, **_: Any) -> str:
    """What the theme leaves open for keyboards and screen readers: hidden switches, what scrolls, empty heads."""
    output = re.sub(r"(<pre[^>]*>(?:<span></span>)?<code|<table)\b", r'\1 tabindex="0"', output)
    output = output.replace('aria-hidden="true"  type="radio"', 'aria-hidden="true" tabindex="-1" type="radio"')
    return re.sub(r"<th([^>]*)></th>", r"<td\1></td>", output)


def show_notebook(notebook: dict[str, Any]) -> Iterator[str]:
    """A notebook's cells as Markdown: texts as they are, code, and what it gave."""
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            yield f"{source}\n"
            continue
        yield f"```python\n{source}\n```\n"
        given = "".join("".join(output["data"]["text/plain"]) for output in cell["outputs"])
        if given:
            yield f"```text\n{given}\n```\n"


def describe_commands() -> Iterator[str]:
    """Every command with its help, arguments and options, as `--help` says them."""
    yield "# Options of every command"
    yield "\nMade from the code: what `tempzero COMMAND --help` prints.\n"
    yield from _describe_group(typer.main.get_command(app), ["tempzero"])


def _describe_group(command: Any, path: list[str]) -> Iterator[str]:
    if hasattr(command, "commands"):
        for name, child in sorted(command.commands.items()):
            yield from _describe_group(child, [*path, name])
        return
    yield f"\n## `{' '.join(path)}`\n\n{_one_line(command.help or '')}\n"
    rows = [(_spell_parameter(p), _one_line(getattr(p, "help", "") or "")) for p in command.params]
    if rows:
        yield "| | |\n|---|---|"
        yield from (f"| `{_in_cell(name)}` | {_in_cell(text)} |" for name, text in rows)


def _spell_parameter(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.name).upper()
    return ", ".join(parameter.opts + parameter.secondary_opts)


def describe_schema(schema: dict[str, Any]) -> Iterator[str]:
    """Every key of providers.yaml with its type and meaning, an object a section."""
    yield "# Keys of providers.yaml"
    yield "\nMade from the schema that `tempzero schema` prints and editors read.\n"
    named = {"(top)": schema, **schema.get("$defs", {})}
    for name, one in named.items():
        if "properties" not in one:
            continue
        yield f"\n## {'The file' if name == '(top)' else name}\n\n{_one_line(one.get('description', ''))}\n"
        yield "| key | type | meaning |\n|---|---|---|"
        for key, value in one["properties"].items():
            told = _one_line(value.get("description", ""))
            default = (
                f" Default: `{_in_cell(json.dumps(value['default']))}`." if value.get("default") is not None else ""
            )
            yield f"| `{key}` | {_in_cell(_spell_type(value))} | {_in_cell(told)}{default} |"


def _spell_type(value: dict[str, Any]) -> str:
    if "$ref" in value:
        return f"[{value['$ref'].rpartition('/')[2]}](#{value['$ref'].rpartition('/')[2].lower()})"
    if "enum" in value or "const" in value:
        return " or ".join(f"`{v}`" for v in value.get("enum", [value.get("const")]))
    for combined in ("anyOf", "oneOf"):
        if combined in value:
            return " or ".join(dict.fromkeys(_spell_type(v) for v in value[combined]))
    if value.get("type") == "array":
        return f"list of {_spell_type(value.get('items', {}))}"
    if value.get("type") == "object" and isinstance(value.get("additionalProperties"), dict):
        return f"mapping to {_spell_type(value['additionalProperties'])}"
    return str(value.get("type", "any"))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _in_cell(text: str) -> str:
    return text.replace("|", "\\|")
