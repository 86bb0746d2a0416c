"""A name in, a file out: what travels with tempzero, a configuration and prompts, in an installed package and a clone.

Nothing else knows where they are. An installed package holds them inside itself (pyproject.toml puts them there), a
clone at its top.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tempzero.config import Setting, load_config
from tempzero.errors import ConfigError, SuiteError

BUILTIN = "builtin"
"""Names the shipped prompts where a prompt file or folder is expected; `builtin/NAME` one of their files."""

CONFIG_FILE = "providers.yaml"

_INSTALLED = Path(__file__).parents[1] / "shipped"
_CLONE = Path(__file__).parents[3]


def choose_setting(named: Path | None, environ: Mapping[str, str], *, say: Callable[[str], None]) -> Setting:
    """The file that was named, else ./providers.yaml, else the built-in configuration, which is then said.

    Only where nothing was named is the built-in one taken. Raises ConfigError.
    """
    file = named or Path(CONFIG_FILE)
    if named is None and not os.path.lexists(file):
        say(
            f"no {CONFIG_FILE} in this folder: the built-in configuration is used; "
            "`tempzero init` writes one of your own"
        )
        return Setting(config=load_config(find_shipped(CONFIG_FILE)), root=Path(), environ=environ)
    return Setting.load(file, environ)


def find_shipped(name: str) -> Path:
    """A file or folder that is shipped. Raises ConfigError where an installation has lost it."""
    for folder in (_INSTALLED, _CLONE):
        if (folder / CONFIG_FILE).is_file() and (folder / name).exists():
            return folder / name
    raise ConfigError(f"{_INSTALLED / name}: is not there, so this installation is not whole; install tempzero anew")


def find_clone() -> Path | None:
    """The clone that this code runs from, or None where it runs from an installed package."""
    return None if _INSTALLED.is_dir() else _CLONE


def find_prompts(names: Sequence[str], root: Path) -> tuple[Path, ...]:
    """The files and folders that names of prompts stand for: `builtin`, `builtin/NAME`, or paths relative to `root`.

    Raises SuiteError for a shipped file that does not exist.
    """
    return tuple(_find_builtin(name) if name.split("/")[0] == BUILTIN else root / name for name in names)


def _find_builtin(name: str) -> Path:
    folder = find_shipped("prompts")
    inside = name.removeprefix(BUILTIN).strip("/")
    known = {"": folder} | {
        file.relative_to(folder).with_suffix("").as_posix(): file for file in sorted(folder.rglob("*.yaml"))
    }
    found = known.get(inside.removesuffix(".yaml"))
    if found is None:
        listed = ", ".join(f"{BUILTIN}/{key}" for key in known if key)
        raise SuiteError(
            f"{name}: nothing of this name is shipped; there are {BUILTIN} and {listed} "
            f"(a file of your own in a folder called {BUILTIN} is ./{name})"
        )
    return found
