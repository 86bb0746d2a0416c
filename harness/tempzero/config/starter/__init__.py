"""A folder in, a first providers.yaml and prompt file in it; nothing is ever overwritten."""

from __future__ import annotations

from pathlib import Path

from tempzero.errors import UsageError

_FILES = ("providers.yaml", "prompts/first.yaml")


def write_starter_files(folder: Path) -> tuple[Path, ...]:
    """Write the starter files. Raises UsageError when one of them is there already."""
    here = Path(__file__).parent
    targets = [(here / Path(name).name, folder / name) for name in _FILES]
    for _, target in targets:
        if target.exists():
            raise UsageError(f"{target}: is there already; init never overwrites, name an empty folder")
    for source, target in targets:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    return tuple(target for _, target in targets)
