"""init, schema: files to start from, and what an editor wants to know of them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from tempzero.errors import UsageError


def init(
    folder: Annotated[Path, typer.Argument(help="Where to write them.")] = Path(),
    model: Annotated[
        str | None, typer.Option(help="An open model: every host that is known for it, e.g. gpt-oss-120b.")
    ] = None,
    from_openrouter: Annotated[
        Path | None, typer.Option(help="A saved listing of OpenRouter: every endpoint of it, pinned.")
    ] = None,
    imitated: Annotated[
        bool, typer.Option("--imitated", help="Five imitated hosts to learn with, and the script that plays them.")
    ] = False,
    precisions: Annotated[
        bool, typer.Option("--precisions", help="A small model on this machine in each precision, to be named.")
    ] = False,
) -> int:
    """Write a commented providers.yaml and a first prompt file, or a providers.yaml for one model at all its hosts."""
    if sum((model is not None, from_openrouter is not None, imitated, precisions)) > 1:
        raise UsageError("--model, --from-openrouter, --imitated and --precisions: one of them")
    if imitated:
        return _init_imitated(folder)
    if precisions:
        return _init_precisions(folder)
    if model is not None:
        return _init_model(model, folder)
    if from_openrouter is not None:
        return _init_listing(from_openrouter, folder)
    from tempzero.config.starter import write_starter_files

    written = write_starter_files(folder)
    print(*written, sep="\n")
    print(f"`tempzero run{_name_config(written[0])}` asks two providers on this machine; the file says what to change",
          file=sys.stderr)  # fmt: skip
    return 0


def _init_imitated(folder: Path) -> int:
    from tempzero.config.starter import write_imitated_hosts

    written = write_imitated_hosts(folder)
    print(*written, sep="\n")
    print(f"`python3 {written[1]}` plays five hosts until Ctrl-C; `tempzero run{_name_config(written[0])}` asks them",
          file=sys.stderr)  # fmt: skip
    return 0


def _init_precisions(folder: Path) -> int:
    from tempzero.config.starter import write_local_precisions

    (written,) = write_local_precisions(folder)
    print(written)
    print(f"`tempzero fingerprint{_name_config(written)}` starts them and names what each serves", file=sys.stderr)
    return 0


def _init_model(model: str, folder: Path) -> int:
    from tempzero.config.catalogue import write_model_config

    path, ready = write_model_config(model, folder, os.environ)
    print(path)
    named = _name_config(path)
    keys = f"keys are set for {', '.join(ready)}" if ready else "no host's key is set: the file names the variables"
    print(f"{keys}; `tempzero check{named}` verifies the entries, `tempzero run{named}` asks", file=sys.stderr)
    return 0


def _init_listing(listing: Path, folder: Path) -> int:
    from tempzero.config.catalogue import write_listing_config

    path, endpoints = write_listing_config(listing, folder)
    print(path)
    named = _name_config(path)
    print(f"{endpoints} endpoints, each pinned; `tempzero check{named}` verifies them, `tempzero run{named}` asks",
          file=sys.stderr)  # fmt: skip
    return 0


def _name_config(path: Path) -> str:
    return "" if path.parent == Path() else f" --config {path}"


def schema() -> int:
    """Print the JSON schema of providers.yaml, for editors."""
    from tempzero.config import build_config_schema

    print(build_config_schema(), end="")
    return 0
