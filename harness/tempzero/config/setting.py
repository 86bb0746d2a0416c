"""A configuration with the folder and the environment that it is read in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tempzero.config.loading import load_config
from tempzero.config.store_address import find_place, is_store_url
from tempzero.config.whole_config import Config


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What a command is called in. Its representation leaves the environment out, which holds keys."""

    config: Config
    root: Path
    """The folder that relative paths in the configuration start from: that of its file."""
    environ: Mapping[str, str] = field(repr=False)
    """Environment variables by name; keys are looked up here, when they are needed."""
    file: Path | None = None
    """The file that a command line can name; None for the built-in configuration, or one made in code."""

    @classmethod
    def load(cls, path: Path, environ: Mapping[str, str]) -> Setting:
        """Read providers.yaml; paths in it start from its folder. Raises ConfigError."""
        return cls(config=load_config(path), root=path.parent, environ=environ, file=path)

    @property
    def results(self) -> Path:
        """The folder that its run folders are in; for a URL, the local one that stands for it."""
        named = self.config.run.results
        return find_place(named) if is_store_url(named) else self.root / named
