"""Environment variables as the configuration speaks of them: by their names, never by what they hold."""

from __future__ import annotations

import re
from collections.abc import Mapping

# Anything else where a variable's name is expected is taken for a pasted key and never echoed.
_VARIABLE_NAME = re.compile(r"^[A-Z][A-Z0-9_]{1,63}$")
_PLACEHOLDER = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def is_variable_name(text: str) -> bool:
    """Whether this may name an environment variable, e.g. OPENROUTER_API_KEY."""
    return _VARIABLE_NAME.match(text) is not None


def find_placeholders(template: str) -> list[str]:
    """The names of the variables that stand in a text as `${VARIABLE}`, in order."""
    return _PLACEHOLDER.findall(template)


def expand_variables(template: str, environ: Mapping[str, str]) -> str:
    """Replace each `${VARIABLE}`; the caller has made sure that they are set."""
    return _PLACEHOLDER.sub(lambda m: environ[m.group(1)], template)
