"""The URL of a place in an object store in, its address and the local folder that stands for it out; and back.

Nothing is looked up and nothing sent. Whatever would hold a key is refused, and not repeated.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import urlsplit

from tempzero.errors import UsageError

StoreScheme = Literal["s3", "gs", "az", "file"]
SCHEMES: tuple[StoreScheme, ...] = get_args(StoreScheme)
EXAMPLE = "s3://bucket/prefix"

_URL = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):/")
_BUCKET = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
_PLAIN_PART = re.compile(r"^[A-Za-z0-9][A-Za-z0-9!_.*'()=@:+,-]*$")
# What of the environment says which store of a scheme is meant: the same bucket at another host is another bucket.
_HOSTS: Mapping[StoreScheme, tuple[str, ...]] = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT", "AZURE_STORAGE_ACCOUNT_NAME"),
    "file": (),
}
_ACCOUNT = "AZURE_STORAGE_ACCOUNT_NAME"


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreAddress:
    """A place in an object store: the parts of its path start with the bucket (`file`: are those of the path)."""

    scheme: StoreScheme
    parts: tuple[str, ...]

    @property
    def url(self) -> str:
        """As it is typed."""
        return f"{self.scheme}://{'/' if self.scheme == 'file' else ''}{'/'.join(self.parts)}"


def is_store_url(text: str) -> bool:
    """Whether a text is meant as a URL, not as a path."""
    return _URL.match(text) is not None


def parse_store_url(text: str) -> StoreAddress:
    """Read a URL. Raises UsageError, which says what is wrong and nothing that may be secret."""
    named = _URL.match(text)
    scheme = next((one for one in SCHEMES if named is not None and named[1].lower() == one), None)
    if scheme is None:
        said = f"{named[1]}://" if named is not None else "this"
        raise UsageError(f"{said} is no place for results; say a folder, or a URL with {', '.join(SCHEMES)}: {EXAMPLE}")
    split = urlsplit(text)
    if "@" in split.netloc or split.query or split.fragment:
        raise UsageError(
            f"{scheme}://...: a URL of results holds no key, token or query; keys come from the environment or a "
            f"profile: {EXAMPLE}"
        )
    parts = tuple(part for part in (split.netloc + split.path).split("/") if part)
    odd = next((part for part in parts if not _PLAIN_PART.match(part)), None)
    if scheme != "file" and not _BUCKET.match(split.netloc):  # what stands there instead may be a key
        raise UsageError(f"{scheme}://...: names no bucket; say it as {EXAMPLE}")
    if odd is not None or not parts:
        raise UsageError(f"{text}: {'has an odd part: ' + odd if odd else 'names no bucket'}; say it as {EXAMPLE}")
    return StoreAddress(scheme=scheme, parts=parts)


def find_spool(environ: Mapping[str, str] | None = None) -> Path:
    """The folder under which everything that is meant for a store is written first."""
    known = os.environ if environ is None else environ
    state = known.get("XDG_STATE_HOME") or ""
    return (Path(state) if state.startswith("/") else Path.home() / ".local" / "state") / "tempzero" / "spool"


def find_spool_folder(address: StoreAddress) -> Path:
    """The local folder that stands for a place in a store."""
    return find_spool().joinpath(_name_store(address.scheme), *address.parts)


def find_place(text: str) -> Path:
    """A folder as it was typed, or for a URL the local folder that stands for it. Raises UsageError."""
    return find_spool_folder(parse_store_url(text)) if is_store_url(text) else Path(text)


def find_store_address(folder: Path) -> StoreAddress | None:
    """The place in a store that a local folder stands for; None for a folder that is just that.

    Raises UsageError where the environment names another host than the folder was made for.
    """
    spool = find_spool()
    if not folder.is_absolute() or not folder.is_relative_to(spool) or folder == spool:
        return None
    store, *parts = folder.relative_to(spool).parts
    scheme = next((one for one in SCHEMES if store.partition("@")[0] == one), None)
    if scheme is None or not parts:
        return None
    if store != _name_store(scheme):
        raise UsageError(
            f"{folder}: was written for another store ({store}); set {' or '.join(_HOSTS[scheme])} to the one it is for"
        )
    return StoreAddress(scheme=scheme, parts=tuple(parts))


def describe_place(folder: Path) -> str:
    """What a user is told and can type: the URL of a folder that stands for one, else the folder."""
    address = find_store_address(folder)
    return str(folder) if address is None else address.url


def name_stored_places(text: str) -> str:
    """A message with the URL of whatever it names below the spool, by the path that stands for it here."""
    spool = find_spool()
    for scheme in SCHEMES if str(spool) in text else ():
        text = text.replace(f"{spool / _name_store(scheme)}/", f"{scheme}://{'/' if scheme == 'file' else ''}")
    return text


def find_store_endpoint(scheme: StoreScheme) -> str:
    """The URL of the host that the environment names for a scheme; empty for the scheme's own. Raises UsageError."""
    for name in _HOSTS[scheme]:
        said = os.environ.get(name, "")
        if not said or name == _ACCOUNT:
            continue
        if not re.match(r"https?://[^/\s]", said) or re.search(r"\s", said):
            raise UsageError(f"{name}: is no URL of a host; say it as https://HOST or http://HOST:PORT")
        return said
    return ""


def list_store_variables(scheme: StoreScheme) -> tuple[str, ...]:
    """Which variables of this environment say where a scheme's store is."""
    return tuple(name for name in _HOSTS[scheme] if os.environ.get(name))


def find_store_host(scheme: StoreScheme, environ: Mapping[str, str] | None = None) -> str:
    """The host, or the account, that the environment names for a scheme; empty for the scheme's own."""
    known = os.environ if environ is None else environ
    return next((known[name] for name in _HOSTS[scheme] if known.get(name)), "")


def _name_store(scheme: StoreScheme) -> str:
    host = re.sub(r"^[A-Za-z]+://", "", find_store_host(scheme)).rpartition("@")[2].strip("/")
    return f"{scheme}@{re.sub('[^A-Za-z0-9.-]', '_', host)}" if host else scheme
