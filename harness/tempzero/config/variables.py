"""Environment variables as the configuration speaks of them: by their names, never by what they hold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

# Anything else where a variable's name is expected is taken for a pasted key and never echoed.
_VARIABLE_NAME = re.compile(r"^[A-Z][A-Z0-9_]{1,63}$")
_PLACEHOLDER = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
# A word of a name that says that its value is a secret. Counts and marks of tokens are none, nor is a cache's label.
_NAME_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_SECRET_WORDS = frozenset(
    (
        "auth",
        "authorization",
        "key",
        "apikey",
        "token",
        "secret",
        "cookie",
        "password",
        "passwd",
        "credential",
        "bearer",
    )
)
_NO_SECRETS = re.compile(r"prompt_cache_key|(?:eos|bos|pad|unk|stop|mask|image)_token", re.IGNORECASE)
# What may stand around a variable: a scheme, a cookie's name; nothing as long as a key.
_LONG_PIECE = re.compile(r"[A-Za-z0-9_+/=-]{16,}")


def is_variable_name(text: str) -> bool:
    """Whether this may name an environment variable, e.g. OPENROUTER_API_KEY."""
    return _VARIABLE_NAME.match(text) is not None


def find_placeholders(template: str) -> list[str]:
    """The names of the variables that stand in a text as `${VARIABLE}`, in order."""
    return _PLACEHOLDER.findall(template)


def expand_variables(template: str, environ: Mapping[str, str]) -> str:
    """Replace each `${VARIABLE}`; the caller has made sure that they are set."""
    return _PLACEHOLDER.sub(lambda m: environ[m.group(1)], template)


def find_literal_secrets(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where in the values of headers or of a request's fields a text stands under a name that says it is a secret.

    `${VARIABLE}` is none: what it holds is read when it is sent, and kept nowhere.
    """
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from find_literal_secrets(inner, (*at, str(name)))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from find_literal_secrets(inner, (*at, index))
    elif isinstance(value, str) and value and _is_secret_name(next((s for s in at[::-1] if isinstance(s, str)), "")):
        rest = _PLACEHOLDER.sub(" ", value)
        if rest == value or _LONG_PIECE.search(rest):
            yield at


def _is_secret_name(name: str) -> bool:
    words = {word.lower() for word in _NAME_WORD.findall(name)}
    return bool(words & _SECRET_WORDS) and _NO_SECRETS.fullmatch(name) is None


SECRET_REMEDY = (
    "would put a secret into this file and into every record; write ${VARIABLE} at the provider and put the secret "
    "into that environment variable, or name the key's variable in api_key_env"
)
"""What is said of a literal secret, behind where it stands."""


def find_all_placeholders(value: Any) -> list[str]:
    """The names of the variables in every text of a value, in order."""
    if isinstance(value, str):
        return find_placeholders(value)
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return [name for one in inner for name in find_all_placeholders(one)]


def expand_all_variables(value: Any, environ: Mapping[str, str]) -> Any:
    """The same value with each `${VARIABLE}` in its texts replaced; the caller has made sure that they are set."""
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda m: environ[m.group(1)].strip(), value)
    if isinstance(value, Mapping):
        return {name: expand_all_variables(inner, environ) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [expand_all_variables(inner, environ) for inner in value]
    return value
