"""Claimed models in, the direction pack that is shipped for one of them out, or the one that was named."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from tempzero.errors import UsageError
from tempzero.precision.packs import DirectionPack, load_pack

_FOLDER = Path(__file__).parent / "shipped"


def choose_pack(named: Path | None, models: Sequence[str]) -> DirectionPack:
    """The pack at `named`, else the first shipped one for any of these models. Raises PackError, UsageError."""
    if named is not None:
        return load_pack(named)
    found = find_shipped_pack(models)
    if found is not None:
        return found
    shipped = ", ".join(sorted(p.stem for p in _FOLDER.glob("*.json")))
    raise UsageError(
        f"no direction pack is shipped for {' or '.join(sorted(set(models))) or 'nobody'} (there are: {shipped}); "
        "`tempzero fingerprint --make-pack FILE` makes one where a reference has the weights, --pack FILE takes it"
    )


def find_shipped_pack(models: Iterable[str]) -> DirectionPack | None:
    """The first shipped pack for any of these models."""
    for model in models:
        path = _FOLDER / f"{_to_file_name(model)}.json"
        if path.is_file():
            return load_pack(path)
    return None


def _to_file_name(model: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", model.rsplit("/", 1)[-1].lower()).strip("-")
