"""A providers.yaml in, a Setting out: the configuration, the folder its paths start from, and the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tempzero.config import Config, load_config


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """Everything outside a run that a run depends on. `environ` holds keys, so it is never shown."""

    config: Config
    root: Path
    environ: Mapping[str, str] = field(repr=False)

    @classmethod
    def load(cls, path: Path, environ: Mapping[str, str]) -> Setting:
        """Read a providers.yaml; its folder is the root. Raises ConfigError."""
        return cls(config=load_config(path), root=path.parent, environ=environ)

    @property
    def results(self) -> Path:
        """The folder that holds the run folders."""
        return self.root / self.config.run.results
