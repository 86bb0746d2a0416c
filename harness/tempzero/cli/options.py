"""Options and arguments that several commands take, and what they are read into."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tempzero.types.asked import SuiteName

if TYPE_CHECKING:
    from tempzero.config.setting import Setting

ConfigFile = Annotated[Path, typer.Option("--config", "-c", help="The providers.yaml to use.")]
PromptPath = Annotated[Path, typer.Argument(help="A prompt file or a folder of them.")]
RunFolder = Annotated[Path, typer.Argument(help="A run folder, e.g. results/20261123T101500Z-run.")]
JsonSummary = Annotated[bool, typer.Option("--json", help="Print summary.json instead of tables.")]
Providers = Annotated[str, typer.Option(help="Only these providers, comma-separated.")]
OtherPrompts = Annotated[Path | None, typer.Option(help="Another prompt file or folder.")]
SuiteSize = Annotated[SuiteName | None, typer.Option(help="How much is asked; deep is everything.")]
Tags = Annotated[str, typer.Option(help="Only prompts with one of these tags, comma-separated.")]
Repeats = Annotated[int | None, typer.Option(min=1, help="Repeats for every provider.")]
PromptLimit = Annotated[int | None, typer.Option(min=1, help="At most this many prompts, spread over the suite.")]
NoCheck = Annotated[bool, typer.Option("--no-check", help="Do not ask hosted providers for one token first.")]
MaxMinutes = Annotated[float | None, typer.Option(min=0.01, help="Stop collecting after so many minutes.")]
RunCode = Annotated[bool, typer.Option("--run-code", help="Judge code answers by running them, enclosed.")]


def load_setting(config: Path) -> Setting:
    """The configuration that a command works with."""
    import tempzero

    return tempzero.load_config(config, environ=os.environ)


def split_names(listed: str | None) -> list[str]:
    """A comma-separated list."""
    return [name.strip() for name in (listed or "").split(",") if name.strip()]
