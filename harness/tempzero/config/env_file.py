"""A `.env` file in, its variables out: where people keep keys beside their project."""

from __future__ import annotations

import re
from pathlib import Path

from tempzero.errors import ConfigError

ENV_FILE = ".env"
_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*")
_QUOTED = re.compile(r"""(["'])(.*)\1\s*(?:#.*)?""")
_COMMENT = re.compile(r"(?:^|\s)#.*$")


def read_env_file(path: Path) -> dict[str, str]:
    """The variables of a file with a NAME=VALUE a line; quotes are taken off, nothing is expanded.

    No file, no variables. Raises ConfigError for a line that is none, which is not shown: it may hold a key.
    """
    if not path.is_file():
        return {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(f"{path}: cannot be read: {type(problem).__name__}") from None
    found: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        assigned = _ASSIGNMENT.fullmatch(line)
        if assigned is None:
            raise ConfigError(f"{path}:{number}: expected NAME=VALUE, a # comment or an empty line")
        quoted = _QUOTED.fullmatch(assigned[2])
        found[assigned[1]] = quoted[2] if quoted else _COMMENT.sub("", assigned[2]).strip()
    return found
