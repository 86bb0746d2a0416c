"""A bundle (zip or unpacked) in, one line that it holds out; a BundleError says in one line what does not."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from harness.claims import bundle as bundling
from harness.claims import verify_bundle as verifying
from harness.claims import wording
from harness.claims.page import to_html
from harness.errors import BundleError

_LARGEST_BYTES = 4 << 30


def check(path: Path) -> str:
    """Everything that the bundle's own verify.py checks, by our copy of it; and the page's words against ours.

    Raises BundleError.
    """
    files = _read(path)
    try:
        line = verifying.verify(files)
        words = _check_words(files)
    except verifying.Broken as problem:
        raise BundleError(f"{path}: FAILED: {problem}") from None
    return f"{path}: {line}{words}"


def _check_words(files: dict[str, bytes]) -> str:
    """The figures hold; the words around them, the curl lines and the verify.py must be ours too."""
    claim = json.loads(files["claim.json"])
    if claim.get("wording") != wording.WORDING:
        return "; its words are those of another version of tempzero and were not compared"
    if claim["page"] != bundling.outline(claim, verifying.read_answers(files)):
        raise verifying.Broken("claim.json: the words of the page are not those that follow from these answers")
    if claim["how"] != {name: wording.how(name) for name in claim["how"]}:
        raise verifying.Broken("claim.json: it is not how its figures are computed")
    if files["CLAIM.html"] != to_html(files["CLAIM.md"].decode()).encode():
        raise verifying.Broken("CLAIM.html is not how CLAIM.md is set")
    if files["verify.py"] != bundling.checker(claim):
        raise verifying.Broken("verify.py is not the one that belongs to these words")
    return ""


def _read(path: Path) -> dict[str, bytes]:
    """The files by their names in the bundle; nothing is unpacked to disk."""
    try:
        if not path.is_dir():
            return _unpacked(path)
        if not (path / "SHA256SUMS").is_file():
            raise verifying.Broken("not a whole bundle: no SHA256SUMS (and no run folder: no manifest.json)")
        return {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}
    except verifying.Broken as problem:
        raise BundleError(f"{path}: FAILED: {problem}") from None
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as problem:
        raise BundleError(f"{path}: FAILED: cannot be read as a bundle: {problem}") from None


def _unpacked(path: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    with zipfile.ZipFile(path) as packed:
        if sum(entry.file_size for entry in packed.infolist()) > _LARGEST_BYTES:
            raise verifying.Broken(f"more than {_LARGEST_BYTES} bytes when unpacked")
        for entry in packed.infolist():
            name = entry.filename.removeprefix(f"{bundling.FOLDER}/")
            if name in files:
                raise verifying.Broken(f"two files are called {name}")
            files[name] = packed.read(entry)
    return files
