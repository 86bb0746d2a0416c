"""Markdown in, GitHub's job summary out, where a job runs there; under its limit, beyond which it takes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

# GitHub takes 1 MiB of summary a step and drops what is larger whole.
SUMMARY_BYTES = 900_000
_CUT = b"\n\n(cut: too long for a job summary; the report or the history page has all of it)\n"


def append_job_summary(text: str, environ: Mapping[str, str]) -> None:
    """Append to the file that GITHUB_STEP_SUMMARY names; nothing where it names none."""
    summary = environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        with Path(summary).open("ab") as file:
            file.write(_cut_summary(text, SUMMARY_BYTES - file.tell()))


def _cut_summary(text: str, room: int) -> bytes:
    data = text.encode()
    if len(data) <= room:
        return data
    kept = data[: max(0, room - len(_CUT))].decode(errors="ignore").encode()
    return kept[: kept.rfind(b"\n") + 1] + _CUT if room > len(_CUT) else b""
