"""A run's root in, seals of outsiders out: an SSH signature, a request for a time stamp; and what each seal proves.

Public tools make and check them (ssh-keygen, openssl): whoever doubts needs nothing of ours.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

from tempzero.errors import RunFolderError, UsageError
from tempzero.records.layout import ROOT_LIST, SIGNATURE, STAMP_REQUEST, TIME_STAMP

NAMESPACE = "tempzero"


def sign_root(folder: Path, key: Path) -> Path:
    """Sign a run's root with an SSH key. Raises UsageError and RunFolderError."""
    if (folder / SIGNATURE).exists():
        raise UsageError(f"{folder / SIGNATURE}: is there already; move it away to sign once more")
    done = _run_tool("ssh-keygen", "-Y", "sign", "-f", str(key), "-n", NAMESPACE, str(_require_root(folder)))
    if done.returncode != 0:
        raise UsageError(f"{key}: ssh-keygen cannot sign with it: {_first_line(done.stderr)}")
    return folder / SIGNATURE


def request_time_stamp(folder: Path) -> Path:
    """Write the request that a time-stamp authority (RFC 3161) answers. Raises UsageError and RunFolderError."""
    root, request = _require_root(folder), folder / STAMP_REQUEST
    done = _run_tool("openssl", "ts", "-query", "-data", str(root), "-sha256", "-cert", "-out", str(request))
    if done.returncode != 0:
        raise UsageError(f"{request}: openssl cannot write it: {_first_line(done.stderr)}")
    return request


def describe_seals(folder: Path, *, signers: Path | None = None, authority: Path | None = None) -> list[str]:
    """Check each seal and say what it proves. Raises RunFolderError for one that does not fit the records.

    `signers` is a file of allowed signers (ssh-keygen(1)), `authority` the certificates of a time-stamp authority.
    """
    lines = []
    if (folder / SIGNATURE).is_file():
        lines.append(_check_signature(folder, signers))
    if (folder / TIME_STAMP).is_file():
        lines.append(_check_time_stamp(folder, authority))
    if not lines:
        lines.append(
            "no seal: nobody outside vouches for these records, or for when they were made (`tempzero seal` says how)"
        )
    return [*lines, "no seal shows that a provider sent these answers: it can look up the response ids in its own logs"]


def has_seals(folder: Path) -> bool:
    """Whether a run is sealed: what is added to it would break that."""
    return (folder / SIGNATURE).exists() or (folder / TIME_STAMP).exists()


def _check_signature(folder: Path, signers: Path | None) -> str:
    root, signature = _require_root(folder), folder / SIGNATURE
    signed = root.read_bytes()
    good = _run_tool("ssh-keygen", "-Y", "check-novalidate", "-n", NAMESPACE, "-s", str(signature), stdin=signed)
    key = re.search(r"with (\S+) key (SHA256:\S+)", good.stdout.decode(errors="replace"))
    if good.returncode != 0 or key is None:
        raise RunFolderError(f"{signature}: is no signature of {ROOT_LIST}: the records are not those that were signed")
    who = f"the {key[1]} key {key[2]}, whose owner has to be known from elsewhere"
    if signers is not None:
        found = _run_tool("ssh-keygen", "-Y", "find-principals", "-s", str(signature), "-f", str(signers))
        name = _first_line(found.stdout)
        options = ("-f", str(signers), "-I", name, "-n", NAMESPACE, "-s", str(signature))
        if found.returncode != 0 or _run_tool("ssh-keygen", "-Y", "verify", *options, stdin=signed).returncode != 0:
            raise RunFolderError(f"{signature}: nobody in {signers} signed these records")
        who = f"{name} ({key[2]})"
    return f"signed by {who}: who has that key vouches for these very records; it does not say when"


def _check_time_stamp(folder: Path, authority: Path | None) -> str:
    root, stamp = _require_root(folder), folder / TIME_STAMP
    text = _run_tool("openssl", "ts", "-reply", "-in", str(stamp), "-text").stdout.decode(errors="replace")
    when = re.search(r"^Time stamp: (.+)$", text, re.MULTILINE)
    dump = re.findall(r"^\s+[0-9a-f]{4} - ((?:[0-9a-f]{2}[ -]){1,16})", text, re.MULTILINE)
    stamped = re.sub("[^0-9a-f]", "", "".join(dump))[:64]
    if when is None or stamped != hashlib.sha256(root.read_bytes()).hexdigest():
        raise RunFolderError(f"{stamp}: is no time stamp of {ROOT_LIST}: the records are not those that were stamped")
    if authority is None:
        trust = "the authority's own signature was not checked: name its certificates with --authority"
    else:
        options = ("-data", str(root), "-in", str(stamp), "-CAfile", str(authority))
        if _run_tool("openssl", "ts", "-verify", *options).returncode != 0:
            raise RunFolderError(f"{stamp}: its authority is not vouched for by {authority}, or did not stamp this")
        trust = f"vouched for by {authority}"
    return f"time stamp of {when[1].strip()} ({trust}): these very records were there by then; it does not say whose"


def _require_root(folder: Path) -> Path:
    file = folder / ROOT_LIST
    if not file.is_file():
        raise RunFolderError(f"{file}: missing: the run was not collected to its end; `tempzero run --resume` goes on")
    return file


def _run_tool(tool: str, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    found = shutil.which(tool)
    if found is None:
        raise UsageError(f"{tool} is not installed, and makes and checks seals")
    return subprocess.run([found, *arguments], input=stdin, capture_output=True, check=False)


def _first_line(output: bytes) -> str:
    return next(iter(output.decode(errors="replace").splitlines()), "")
