"""init, schema: files to start from, and what an editor wants to know of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def init(folder: Annotated[Path, typer.Argument(help="Where to write them.")] = Path()) -> int:
    """Write a commented providers.yaml and a first prompt file to start from."""
    from tempzero.config.starter import write_starter_files

    for path in write_starter_files(folder):
        print(path)
    return 0


def schema() -> int:
    """Print the JSON schema of providers.yaml, for editors."""
    from tempzero.config import build_config_schema

    print(build_config_schema(), end="")
    return 0
