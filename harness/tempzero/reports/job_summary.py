"""Texts in, GitHub's job summary and annotations out, where a job runs there; both under its limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tempzero.reports.visible import shorten_text, to_one_line

# GitHub takes 1 MiB of summary a step and drops what is larger whole; it shows ten annotations of a kind.
SUMMARY_BYTES, MOST_ANNOTATIONS = 900_000, 10
_CELL_CHARS, _MESSAGE_CHARS = 400, 3_000
_CUT = b"\n\n(cut: too long for a job summary; the report or the history page has all of it)\n"


def append_job_summary(text: str, environ: Mapping[str, str]) -> None:
    """Append to the file that GITHUB_STEP_SUMMARY names; nothing where it names none."""
    summary = environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        with Path(summary).open("ab") as file:
            file.write(_cut_summary(text, SUMMARY_BYTES - file.tell()))


def write_annotations(
    errors: Sequence[tuple[str, str]],
    warnings: Sequence[tuple[str, str]],
    *,
    environ: Mapping[str, str],
    write: Callable[[str], None],
) -> None:
    """Titles and messages as annotations, where GitHub reads them: ten of a kind, the last says how many more."""
    if environ.get("GITHUB_ACTIONS") != "true":
        return
    for kind, found in (("error", errors), ("warning", warnings)):
        shown = found if len(found) <= MOST_ANNOTATIONS else found[: MOST_ANNOTATIONS - 1]
        for title, message in shown:
            text = _escape_annotation_text(shorten_text(message, _MESSAGE_CHARS))
            write(f"::{kind} title={_escape_annotation_title(title)}::{text}")
        if len(found) > len(shown):
            write(f"::{kind} title=tempzero::and {len(found) - len(shown)} more; the job summary lists all")


def escape_github_markdown(text: str) -> str:
    """Text that is neither markup nor a mention in GitHub's Markdown."""
    shown = to_one_line(shorten_text(text, _CELL_CHARS)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{c}" if c in "\\`*_|[]#~" else c for c in shown).replace("@", "&#64;")


def _escape_annotation_title(text: str) -> str:
    return _escape_annotation_text(text).replace(":", "%3A").replace(",", "%2C")


def _escape_annotation_text(text: str) -> str:
    """A workflow command ends with its line: a text with a line break could otherwise give another command."""
    return to_one_line(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _cut_summary(text: str, room: int) -> bytes:
    data = text.encode()
    if len(data) <= room:
        return data
    kept = data[: max(0, room - len(_CUT))].decode(errors="ignore").encode()
    return kept[: kept.rfind(b"\n") + 1] + _CUT if room > len(_CUT) else b""
