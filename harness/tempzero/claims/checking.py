"""A bundle (zip or unpacked) in, one line that it holds out; a BundleError says in one line what does not."""

from __future__ import annotations

import zipfile
from pathlib import Path

from tempzero.claims import bundle, bundle_figures, verify_bundle
from tempzero.claims.checker_source import hash_checker, read_checker
from tempzero.errors import BundleError, UnknownBundleError

_LARGEST_BYTES = verify_bundle.LARGEST_BUNDLE


def check_bundle(path: Path) -> str:
    """Everything that the bundle's own verify.py checks, by our copy of it, which must be the same.

    Raises BundleError where it does not hold, and UnknownBundleError where it is of a kind or version not known here.
    """
    files = read_bundle_files(path)
    try:
        line: str = verify_bundle.verify(files, read_checker())
    except bundle_figures.BrokenBundle as problem:
        raise BundleError(f"{path}: FAILED: {problem}") from None
    except verify_bundle.UnknownBundle as problem:
        raise UnknownBundleError(f"{path}: not checked, so it neither holds nor fails: {problem}") from None
    return f"{path}: {line}; checked with verify.py {hash_checker()}"


def read_bundle_files(path: Path) -> dict[str, bytes]:
    """The files by their names in the bundle; nothing is unpacked to disk. Raises BundleError."""
    try:
        if not path.is_dir():
            return _read_zip_members(path)
        if not (path / "SHA256SUMS").is_file():
            raise bundle_figures.BrokenBundle("not a whole bundle: no SHA256SUMS (and no run folder: no manifest.json)")
        found: dict[str, bytes] = verify_bundle.read_folder(path)
        return found
    except bundle_figures.BrokenBundle as problem:
        raise BundleError(f"{path}: FAILED: {problem}") from None
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as problem:
        raise BundleError(f"{path}: FAILED: cannot be read as a bundle: {problem}") from None


def _read_zip_members(path: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    with zipfile.ZipFile(path) as packed:
        if sum(entry.file_size for entry in packed.infolist()) > _LARGEST_BYTES:
            raise bundle_figures.BrokenBundle(f"more than {_LARGEST_BYTES} bytes when unpacked")
        for entry in packed.infolist():
            if entry.is_dir():
                continue
            name = entry.filename.removeprefix(f"{bundle.BUNDLE_FOLDER}/")
            if name in files:
                raise bundle_figures.BrokenBundle(f"two files are called {verify_bundle.make_printable(name)}")
            files[name] = packed.read(entry)
    return files
