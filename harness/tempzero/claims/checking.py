"""A bundle (zip or unpacked) in, one line that it holds out; a BundleError says in one line what does not."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tempzero.claims import bundle, page_wording, verify_bundle
from tempzero.claims.bundle_answers import build_curl_line
from tempzero.claims.page import to_html
from tempzero.errors import BundleError
from tempzero.types.recorded import WireRequest

_LARGEST_BYTES = 4 << 30


def check_bundle(path: Path) -> str:
    """Everything that the bundle's own verify.py checks, by our copy of it; and the page's words against ours.

    Raises BundleError.
    """
    files = _read_bundle_files(path)
    try:
        line = verify_bundle.verify(files)
        words = _check_page_words(files)
    except verify_bundle.BrokenBundle as problem:
        raise BundleError(f"{path}: FAILED: {problem}") from None
    except (AttributeError, LookupError, TypeError, ValueError) as problem:  # what verify.py has no use for is missing
        raise BundleError(f"{path}: FAILED: not a whole bundle: {type(problem).__name__}: {problem}") from None
    return f"{path}: {line}{words}"


def _check_page_words(files: dict[str, bytes]) -> str:
    """The figures hold; the words around them, the curl lines and the verify.py must be ours too."""
    claim, answers = json.loads(files["claim.json"]), verify_bundle.read_answers(files)
    if claim.get("wording") != page_wording.WORDING_HASH:
        return "; its words and curl lines are those of another version of tempzero and were not compared"
    _check_curl_lines(files, answers)
    if claim["page"] != bundle.derive_outline(claim, answers):
        raise verify_bundle.BrokenBundle(
            "claim.json: the words of the page are not those that follow from these answers"
        )
    if claim["how"] != {name: page_wording.explain_figure(name) for name in claim["how"]}:
        raise verify_bundle.BrokenBundle("claim.json: it is not how its figures are computed")
    if files["CLAIM.html"] != to_html(files["CLAIM.md"].decode()).encode():
        raise verify_bundle.BrokenBundle("CLAIM.html is not how CLAIM.md is set")
    if files["verify.py"] != bundle.build_checker(claim):
        raise verify_bundle.BrokenBundle("verify.py is not the one that belongs to these words")
    return ""


def _check_curl_lines(files: Mapping[str, bytes], answers: Iterable[Mapping[str, Any]]) -> None:
    """A reader may run these lines: each must be the one that follows from a request, whatever its key is called."""
    ours: dict[str, list[Mapping[str, Any]]] = {}
    for one in answers:
        ours.setdefault(f"requests/{one['request_sha256'][:16]}.{one['side']}.curl.txt", []).append(one)
    for name in sorted(ours.keys() | {name for name in files if name.endswith(".curl.txt")}):
        given = files[name].decode()
        key = re.search(r'-H "Authorization: Bearer \$([A-Za-z_]\w*)" --data-binary', given)
        if given not in {build_curl_line(_rebuild_request(one), key and key[1]) for one in ours.get(name, ())}:
            raise verify_bundle.BrokenBundle(f"{name} is not the line that sends this request")


def _rebuild_request(answer: Mapping[str, Any]) -> WireRequest:
    headers = tuple(answer["request_headers"].items())
    return WireRequest(
        method=answer["method"], url=answer["url"], headers=headers, body="", sha256=answer["request_sha256"]
    )


def _read_bundle_files(path: Path) -> dict[str, bytes]:
    """The files by their names in the bundle; nothing is unpacked to disk."""
    try:
        if not path.is_dir():
            return _read_zip_members(path)
        if not (path / "SHA256SUMS").is_file():
            raise verify_bundle.BrokenBundle("not a whole bundle: no SHA256SUMS (and no run folder: no manifest.json)")
        return {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}
    except verify_bundle.BrokenBundle as problem:
        raise BundleError(f"{path}: FAILED: {problem}") from None
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as problem:
        raise BundleError(f"{path}: FAILED: cannot be read as a bundle: {problem}") from None


def _read_zip_members(path: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    with zipfile.ZipFile(path) as packed:
        if sum(entry.file_size for entry in packed.infolist()) > _LARGEST_BYTES:
            raise verify_bundle.BrokenBundle(f"more than {_LARGEST_BYTES} bytes when unpacked")
        for entry in packed.infolist():
            name = entry.filename.removeprefix(f"{bundle.BUNDLE_FOLDER}/")
            if name in files:
                raise verify_bundle.BrokenBundle(f"two files are called {name}")
            files[name] = packed.read(entry)
    return files
