"""A folder in, files to start from in it: a providers.yaml and what belongs to it; nothing is ever overwritten."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tempzero.errors import UsageError

_HERE = Path(__file__).parent
_FIRST = {"providers.yaml": _HERE / "providers.yaml", "prompts/first.yaml": _HERE / "first.yaml"}
_PRECISIONS = {"providers.yaml": _HERE / "precisions.yaml"}
_IMITATED = {
    "providers.yaml": _HERE / "imitated" / "imitated_providers.yaml",
    "imitated_hosts.py": _HERE / "imitated" / "imitated_hosts.py",
    "imitated_answers.json": _HERE / "imitated" / "imitated_answers.json",
}


def write_starter_files(folder: Path) -> tuple[Path, ...]:
    """Write a commented providers.yaml and a first prompt file. Raises UsageError when one of them is there already."""
    return _copy_files(_FIRST, folder)


def write_imitated_hosts(folder: Path) -> tuple[Path, ...]:
    """Write a providers.yaml of imitated hosts and the script that plays them. Raises UsageError like the others."""
    return _copy_files(_IMITATED, folder)


def write_local_precisions(folder: Path) -> tuple[Path, ...]:
    """Write a providers.yaml of one model served in each form that llama.cpp has. Raises UsageError like the others."""
    return _copy_files(_PRECISIONS, folder)


def _copy_files(sources: Mapping[str, Path], folder: Path) -> tuple[Path, ...]:
    targets = [(source, folder / name) for name, source in sources.items()]
    for _, target in targets:
        if target.exists():
            raise UsageError(f"{target}: is there already; init never overwrites, name an empty folder")
    for source, target in targets:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    return tuple(target for _, target in targets)
