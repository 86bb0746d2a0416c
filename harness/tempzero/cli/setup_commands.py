"""init, schema: files to start from, and what an editor wants to know of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def init(folder: Annotated[Path, typer.Argument(help="Where to write them.")] = Path()) -> int:
    """Write a commented providers.yaml and a first prompt file to start from."""
    from tempzero.config.starter import write_starter_files

    written = write_starter_files(folder)
    print(*written, sep="\n")
    named = "" if folder == Path() else f" --config {written[0]}"
    print(f"`tempzero run{named}` asks two providers on this machine; the file says what to change", file=sys.stderr)
    return 0


def schema() -> int:
    """Print the JSON schema of providers.yaml, for editors."""
    from tempzero.config import build_config_schema

    print(build_config_schema(), end="")
    return 0
