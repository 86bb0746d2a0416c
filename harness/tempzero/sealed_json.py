"""A JSON object in, a file out that carries its own SHA-256, and the object again; what was changed is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tempzero.canonical_json import to_canonical_json
from tempzero.errors import PackError, UsageError
from tempzero.records.files import write_atomically


def compute_seal(body: Mapping[str, Any]) -> str:
    """SHA-256 over everything in it, as hexadecimal digits."""
    return hashlib.sha256(to_canonical_json(body).encode()).hexdigest()


def write_sealed(body: Mapping[str, Any], path: Path) -> None:
    """Write it with its seal; the same object gives the same bytes. Raises UsageError."""
    try:
        write_atomically(path, (to_canonical_json({**body, "sha256": compute_seal(body)}) + "\n").encode())
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None


def read_sealed(path: Path, *, what: str, format_name: str, version: int, largest: int) -> dict[str, Any]:
    """Read one back, from whomever it comes.

    `what` is its name in messages, e.g. "direction pack"; a file of more than `largest` bytes is none.
    Raises PackError: not one, of another version, or changed since it was sealed.
    """
    try:
        if path.stat().st_size > largest:
            raise PackError(f"{path}: larger than {largest:,} bytes; no {what} is")
        body = json.loads(path.read_bytes())
    except OSError as problem:
        raise PackError(f"{path}: cannot be read: {problem.strerror}") from None
    except (ValueError, RecursionError):
        raise PackError(f"{path}: not a {what}: not JSON") from None
    if not isinstance(body, dict) or body.get("format") != format_name:
        raise PackError(f'{path}: not a {what}: its format is not "{format_name}"')
    if body.get("version") != version:
        raise PackError(f"{path}: version {body.get('version')!r}; this tempzero reads version {version}")
    sealed = body.pop("sha256", None)
    if compute_seal(body) != sealed:
        raise PackError(f"{path}: its seal does not fit its content: it was changed after it was made")
    return body


def read_line(value: Any) -> str:
    """A text that can be shown on one line as it is. Raises ValueError for anything else."""
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"{value!r:.40} is no plain text")
    return value


def encode_token(token: bytes) -> Any:
    """A token's text; where its bytes are none, these as hexadecimal digits."""
    try:
        return token.decode()
    except UnicodeDecodeError:
        return {"hex": token.hex()}


def decode_token(value: Any) -> bytes:
    """The bytes of a token. Raises ValueError, TypeError or KeyError for anything else."""
    return value.encode() if isinstance(value, str) else bytes.fromhex(value["hex"])
