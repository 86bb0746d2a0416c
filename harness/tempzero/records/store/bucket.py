"""A place in an object store in, its objects out and in: nothing is overwritten that another machine has written.

Errors of the library name hosts and repeat what servers said, keys included: of them only a status and a code are kept.
"""

from __future__ import annotations

import functools
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from tempzero.config.store_address import StoreAddress, StoreScheme, find_store_endpoint
from tempzero.errors import StoreError, UsageError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

PATIENCE = "TEMPZERO_STORE_PATIENCE_S"
_PATIENCE_S = 60.0
_MOST_PATIENCE_S = 86_400.0
_REQUEST_S = 120.0
_RETRIES = 8
_CHUNK_BYTES = 8 << 20

Answer = TypeVar("Answer")
# Where the keys of each scheme come from, for whoever has none or the wrong ones.
_KEYS: Mapping[StoreScheme, str] = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment, or a profile",
    "gs": "the file that GOOGLE_APPLICATION_CREDENTIALS names",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY in the environment, or a token",
    "file": "the rights of the folder",
}


class ChangedError(StoreError):
    """Something else stands there than was expected: another machine has written it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredObject:
    """One object as a listing has it; tag and version are what a condition names it by."""

    size: int
    tag: str | None
    version: str | None
    modified: datetime | None = None


class Bucket:
    """The objects below one place in a store, by their names from there on."""

    def __init__(self, address: StoreAddress) -> None:
        self.address = address
        self._store = _open_store(address.scheme, address.parts[0], find_store_endpoint(address.scheme))
        self._below = "/".join(address.parts if address.scheme == "file" else address.parts[1:])

    def require_reachable(self) -> None:
        """Raise StoreError where the bucket is not there, or does not let us look."""
        import obstore

        nowhere = self._key("nothing-is-called-so")
        self._ask(lambda: obstore.list(self._store, prefix=nowhere).collect(), where="")

    def list_objects(self) -> dict[str, StoredObject]:
        """Every object. Raises StoreError."""
        import obstore

        found = self._ask(lambda: obstore.list(self._store, prefix=self._below or None).collect(), where="")
        start = len(self._below) + 1 if self._below else 0
        listed = {one["path"][start:]: _to_stored(one) for one in found}
        return {name: one for name, one in listed.items() if _is_plain_name(name)}

    def get_object(self, name: str) -> tuple[bytes, StoredObject] | None:
        """An object's bytes; None where there is none. Raises StoreError."""
        import obstore

        def get() -> tuple[bytes, StoredObject]:
            found = obstore.get(self._store, self._key(name))
            return bytes(found.bytes()), _to_stored(found.meta)

        try:
            return self._ask(get, where=name)
        except FileNotFoundError:
            return None

    def save_object(self, name: str, file: Path) -> tuple[str, StoredObject]:
        """Write an object into a file; give its SHA-256. Raises StoreError and FileNotFoundError."""
        import obstore

        def save() -> tuple[str, StoredObject]:
            found, digest = obstore.get(self._store, self._key(name)), sha256()
            with file.open("wb") as out:
                for chunk in found.stream(min_chunk_size=_CHUNK_BYTES):
                    digest.update(chunk)
                    out.write(chunk)
            return digest.hexdigest(), _to_stored(found.meta)

        return self._ask(save, where=name)

    def put_object(self, name: str, data: bytes, expected: StoredObject | Literal["anything"] | None) -> StoredObject:
        """Put an object where `expected` stands now (None: nothing). Raises ChangedError where it does not."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, NotSupportedError, PreconditionError

        if expected == "anything":
            mode: Any = "overwrite"
        elif expected is None:
            mode = "create"
        else:
            mode = {key: v for key, v in (("e_tag", expected.tag), ("version", expected.version)) if v is not None}

        def put() -> StoredObject:
            try:
                made = obstore.put(self._store, self._key(name), data, mode=mode, use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                raise ChangedError(f"{self.address.url}/{name}: another machine has written it") from None
            except FileNotFoundError as error:
                if _has_no_bucket(error) or expected in (None, "anything"):
                    raise
                raise ChangedError(f"{self.address.url}/{name}: was removed") from None  # 404, as S3 says it
            except (NotSupportedError, NotImplementedError):
                made = self._put_unless_changed(name, data, expected)
            return StoredObject(size=len(data), tag=made["e_tag"], version=made["version"])

        return self._ask(put, where=name)

    def _put_unless_changed(self, name: str, data: bytes, expected: Any) -> Any:
        """For stores without conditions (a mounted folder): look, then put. Between the two another may come."""
        import obstore

        try:
            there: StoredObject | None = _to_stored(obstore.head(self._store, self._key(name)))
        except FileNotFoundError:
            there = None
        if (there and there.tag) != (expected and expected.tag):
            raise ChangedError(f"{self.address.url}/{name}: another machine has written it")
        return obstore.put(self._store, self._key(name), data, mode="overwrite", use_multipart=False)

    def remove_objects(self, names: Iterable[str]) -> None:
        """Remove them; what is not there is no error. Raises StoreError."""
        import obstore

        for name in names:
            try:
                self._ask(functools.partial(obstore.delete, self._store, self._key(name)), where=name)
            except FileNotFoundError:
                continue

    def _key(self, name: str) -> str:
        return f"{self._below}/{name}" if self._below else name

    def _ask(self, ask: Callable[[], Answer], *, where: str) -> Answer:
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

        place = f"{self.address.url}/{where}" if where else self.address.url
        try:
            return ask()
        except FileNotFoundError as error:
            if _has_no_bucket(error):
                raise StoreError(f"{place}: there is no such bucket; make it, or name another") from None
            raise
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise StoreError(
                f"{place}: the store does not let us{_tell_answer(str(error))}; see to {_KEYS[self.address.scheme]}, "
                "and to what they may do"
            ) from None
        except BaseError as error:
            text = str(error)
            if _has_no_bucket(error):
                raise StoreError(f"{place}: there is no such bucket; make it, or name another") from None
            if "169.254.169.254" in text or "metadata.google" in text:
                raise StoreError(f"{place}: no keys are set: see to {_KEYS[self.address.scheme]}") from None
            if self.address.scheme == "file":
                raise StoreError(
                    f"{place}: cannot be written or read; see that the folder is mounted and yours"
                ) from None
            raise StoreError(f"{place}: the store {_tell_failure(text)}") from None


def _has_no_bucket(error: Exception) -> bool:
    return "NoSuchBucket" in str(error) or "ContainerNotFound" in str(error)


def _tell_answer(text: str) -> str:
    """The status and the code of an answer, and nothing else of it."""
    status = re.search(r"status code: (\d{3})", text)
    code = re.search(r"<Code>([A-Za-z]{1,40})</Code>", text)
    said = " ".join(found[1] for found in (status, code) if found is not None)
    return f" ({said})" if said else ""


def _tell_failure(text: str) -> str:
    answer = _tell_answer(text)
    if answer:
        busy = "SlowDown" in answer or "503" in answer or "429" in answer
        return f"{'is too busy' if busy else 'failed'}{answer}, also when asked again"
    if "Timeout" in text or "TimedOut" in text:
        return "did not answer in time"
    return "cannot be reached, or breaks connections off"


def _to_stored(meta: Mapping[str, Any]) -> StoredObject:
    return StoredObject(
        size=meta["size"], tag=meta["e_tag"], version=meta["version"], modified=meta.get("last_modified")
    )


def _is_plain_name(name: str) -> bool:
    """Names come from whoever may write there: none leads out of the folder."""
    parts = name.split("/")
    return all(part not in ("", ".", "..") and "\\" not in part and "\0" not in part for part in parts)


@functools.cache
def _open_store(scheme: StoreScheme, bucket: str, endpoint: str) -> ObjectStore:
    """One client for each bucket of this process: connections are used again."""
    try:
        from obstore.exceptions import BaseError
    except ImportError:
        raise UsageError(
            f"{scheme}://: results on a store need the extra `store`: pip install 'tempzero[store]'"
        ) from None
    try:
        return _open_client(scheme, bucket, endpoint)
    except BaseError as error:  # it repeats what it was given, keys included: the names of its errors do not
        what = re.findall(r"\bsource: ([A-Z][A-Za-z]{3,40})\b", str(error))
        raise UsageError(
            f"{scheme}://{bucket}: what the environment says of this store cannot be used"
            f"{f' ({what[-1]})' if what else ''}; see to {_KEYS[scheme]}"
        ) from None


def _open_client(scheme: StoreScheme, bucket: str, endpoint: str) -> ObjectStore:
    from obstore.store import AzureStore, GCSStore, LocalStore, S3Store

    patience = _read_patience_s()
    shared: dict[str, Any] = {
        "client_options": {
            "timeout": timedelta(seconds=min(_REQUEST_S, 2 * patience)),
            "connect_timeout": timedelta(seconds=min(10.0, patience)),
        },
        "retry_config": {
            "max_retries": _RETRIES,
            "retry_timeout": timedelta(seconds=patience),
            "backoff": {
                "init_backoff": timedelta(seconds=min(0.2, patience / 10)),
                "max_backoff": timedelta(seconds=min(10.0, patience / 4)),
                "base": 2,
            },
        },
    }
    if re.match(r"http://(127\.0\.0\.1|localhost|\[::1\])([:/]|$)", endpoint):  # elsewhere AWS_ALLOW_HTTP says so
        shared["client_options"]["allow_http"] = True
    if scheme == "file":
        return LocalStore("/", mkdir=True)
    if scheme == "gs":
        return GCSStore(bucket, **shared)
    if scheme == "az":
        return AzureStore(bucket, **shared)
    if endpoint:
        shared["endpoint"] = endpoint
    return S3Store(bucket, **shared, **_find_s3_profile())


def _find_s3_profile() -> dict[str, Any]:
    """Keys of an AWS profile, where the environment holds none: read by boto3, which knows all kinds of them."""
    environ = os.environ
    in_files = (Path.home() / ".aws" / "credentials").is_file() or (Path.home() / ".aws" / "config").is_file()
    if environ.get("AWS_ACCESS_KEY_ID") or not (environ.get("AWS_PROFILE") or in_files):
        return {}
    try:
        import boto3
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError:
        raise UsageError("s3://: an AWS profile is read with boto3: pip install 'tempzero[store]'") from None
    from botocore.exceptions import BotoCoreError

    try:
        session = boto3.Session()
        if session.get_credentials() is None:
            return {}
        found: dict[str, Any] = {"credential_provider": Boto3CredentialProvider(session)}
    except BotoCoreError as error:
        raise UsageError(f"s3://: the AWS profile cannot be used: {type(error).__name__}") from None
    return found if session.region_name is None else {**found, "region": session.region_name}


def _read_patience_s() -> float:
    try:
        patience = float(os.environ.get(PATIENCE, "") or _PATIENCE_S)
    except ValueError:
        patience = math.nan
    if not 0 <= patience <= _MOST_PATIENCE_S:
        raise UsageError(f"{PATIENCE}: is no number of seconds up to {_MOST_PATIENCE_S:.0f}; 60 is usual")
    return max(0.1, patience)


def describe_waiting(names: Iterable[str]) -> str:
    """How many files have not been put, with the first of them."""
    listed = list(names)
    more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
    return f"{len(listed)} file{'s' if len(listed) != 1 else ''} not put yet ({', '.join(listed[:3])}{more})"
