"""Options and arguments that several commands take, and what they are read into."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tempzero.errors import UsageError
from tempzero.types.asked import SuiteName

if TYPE_CHECKING:
    from tempzero.config.setting import Setting


def find_typed_place(text: str | Path) -> Path:
    """A folder as it was typed; for a URL (s3://bucket/prefix/RUN) the local folder that stands for it."""
    from tempzero.config.store_address import find_place

    return find_place(str(text))


ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The providers.yaml to use; else the one in this folder, else the built-in."),
]
PromptNames = Annotated[
    list[str] | None,
    typer.Option("--prompts", metavar="PATH", help="Other prompts: a file, a folder, or builtin; again for more."),
]
RunFolder = Annotated[
    Path,
    typer.Argument(
        parser=find_typed_place, metavar="RUN", help="A run folder, e.g. results/20261123T101500Z-run, or its URL."
    ),
]
JsonSummary = Annotated[bool, typer.Option("--json", help="Print summary.json instead of the summary for reading.")]
FullTables = Annotated[bool, typer.Option("--full", help="Print every table, reason and note, not one screenful.")]
Providers = Annotated[str, typer.Option(help="Only these providers, comma-separated.")]
SuiteSize = Annotated[SuiteName | None, typer.Option(help="How much is asked; deep is everything.")]
Tags = Annotated[str, typer.Option(help="Only prompts with one of these tags, comma-separated.")]
Repeats = Annotated[int | None, typer.Option(min=1, help="Repeats for every provider.")]
PromptLimit = Annotated[int | None, typer.Option(min=1, help="At most this many prompts, spread over the suite.")]
NoCheck = Annotated[bool, typer.Option("--no-check", help="Do not ask hosted providers for one token first.")]
MaxMinutes = Annotated[float | None, typer.Option(min=0.01, help="Stop collecting after so many minutes.")]
OnCluster = Annotated[
    str, typer.Option(metavar="ray[://HOST:PORT]", help="Do the work on the nodes of a Ray cluster (extra ray).")
]
RunCode = Annotated[bool, typer.Option("--run-code", help="Run code answers in bubblewrap to judge them.")]


def load_setting(named: Path | None) -> Setting:
    """The configuration that a command works with, and the folder and environment around it."""
    import tempzero

    return tempzero.load_config(named, say=lambda line: print(line, file=sys.stderr))


def find_named_prompts(names: Sequence[str] | None) -> tuple[Path, ...]:
    """What was named on the command line, seen from where that was typed; nothing where nothing was."""
    from tempzero.config.shipped import find_prompts

    return find_prompts(names or (), Path())


def require_place(file: Path) -> None:
    """Raise UsageError where no file can be written: before an hour is spent on what it is to hold."""
    folder = file.parent
    if file.is_dir():
        raise UsageError(f"{file}: is a folder; name the file to write")
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(f"{file}: {'cannot be written' if folder.is_dir() else f'there is no folder {folder}'}")


def split_names(listed: str | None) -> list[str]:
    """A comma-separated list."""
    return [name.strip() for name in (listed or "").split(",") if name.strip()]
