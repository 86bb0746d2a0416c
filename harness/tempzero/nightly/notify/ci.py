"""A decided night in, GitHub's job summary and annotations out, where a job runs there; both under their limits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from tempzero.nightly.history import Entry, Night, Notice
from tempzero.reports.visible import one_line, shorten

# GitHub takes 1 MiB of summary a step and drops what is larger whole; ten annotations of a kind a step are shown.
SUMMARY_BYTES = 900_000
MOST_ANNOTATIONS = 10
_CELL_CHARS = 400


def show_in_ci(
    night: Night,
    told: Sequence[Notice],
    others: Sequence[tuple[Night, Entry]] = (),
    *,
    environ: Mapping[str, str],
    write: Callable[[str], None],
) -> None:
    """Append to the job's summary, and print annotations; nothing where no CI says that it listens.

    `others` are those that are changed still by the other kind of night.
    """
    summary = environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        with Path(summary).open("ab") as file:
            room = SUMMARY_BYTES - file.tell()
            file.write(_cut(to_markdown(night, told, others), room))
    if environ.get("GITHUB_ACTIONS") == "true":
        for line in annotation_lines(night, told, others):
            write(line)


def to_markdown(night: Night, told: Sequence[Notice], others: Sequence[tuple[Night, Entry]] = ()) -> str:
    """The night as a table, changed providers first, then what was told."""
    order = {"changed": 0, "no data": 1, "no baseline": 2, "ok": 3}
    entries = sorted(night.entries, key=lambda e: (order[e.decision.state], e.side.provider))
    lines = [
        f"## tempzero: the night of {night.night}",
        "",
        "| provider | state | equals the baseline | evidence / alarm | |",
        "|---|---|---|---|---|",
        *map(_row, entries),
        "",
    ]
    lines += [f"{_plain(words)}: {_plain(entry.decision.reason)}\n" for words, entry in _still(others)]
    for notice in told:
        lines += [f"**{_plain(notice.title)}**", "", *(f"- {_plain(d)}" for d in notice.details), ""]
        for t in notice.telling:
            lines.append(f"- prompt {_plain(t.prompt)}: before `{_code(t.before)}`, now `{_code(t.now)}`")
        lines.append("")
    return "\n".join(lines) + "\n"


def annotation_lines(night: Night, told: Sequence[Notice], others: Sequence[tuple[Night, Entry]] = ()) -> Iterable[str]:
    """Findings as errors, missing data as warnings; at most ten of each, the last one says how many more."""
    errors = [(n.title, "; ".join(n.details)) for n in told if n.kind in ("changed", "event")]
    changed = [e for e in night.entries if e.decision.state == "changed"]
    told_of = {n.provider for n in told if n.kind == "changed"}
    errors += [
        (f"{e.side.provider} is still changed", e.decision.reason) for e in changed if e.side.provider not in told_of
    ]
    errors += [(words, entry.decision.reason) for words, entry in _still(others)]
    warnings = [
        (f"{e.side.provider}: {e.decision.state}", e.decision.reason) for e in night.entries if not e.decision.tested
    ]
    for kind, found in (("error", errors), ("warning", warnings)):
        shown = found if len(found) <= MOST_ANNOTATIONS else found[: MOST_ANNOTATIONS - 1]
        for title, message in shown:
            yield f"::{kind} title={_property(title)}::{_data(shorten(message, 3000))}"
        if len(found) > len(shown):
            yield f"::{kind} title=tempzero::and {len(found) - len(shown)} more; the job summary lists all"


def _still(others: Iterable[tuple[Night, Entry]]) -> Iterable[tuple[str, Entry]]:
    return ((f"{entry.side.provider} is still changed ({night.depth} nights)", entry) for night, entry in others)


def _row(entry: Entry) -> str:
    decision, match = entry.decision, entry.decision.match
    equal = "not measured"
    if match is not None and match.value is not None:
        interval = f" [{match.low:.2f}, {match.high:.2f}]" if match.low is not None and match.high is not None else ""
        equal = f"{match.value:.2f}{interval}, n={match.n}"
    evidence = f"{decision.evidence:.3g} / {decision.alarm_at:g}" if decision.tested else "not tested"
    events = "; ".join(f"{e.what}: {e.before} → {e.now}" for e in decision.events)
    reason = decision.reason + (f". {events}" if events else "")
    return f"| {_plain(entry.side.provider)} | {decision.state} | {equal} | {evidence} | {_plain(reason)} |"


def _plain(text: str) -> str:
    """Text that is neither markup nor a mention in GitHub's Markdown."""
    shown = one_line(shorten(text, _CELL_CHARS)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{c}" if c in "\\`*_|[]#~" else c for c in shown).replace("@", "&#64;")


def _code(text: str) -> str:
    return one_line(shorten(text, 160)).replace("`", "'").replace("|", "¦")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _data(text: str) -> str:
    """A workflow command ends with its line: a text with a line break could otherwise give another command."""
    return one_line(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _cut(text: str, room: int) -> bytes:
    data = text.encode()
    if len(data) <= room:
        return data
    end = b"\n\n(cut: too long for a job summary; the history page has all of it)\n"
    kept = data[: max(0, room - len(end))].decode(errors="ignore").encode()
    return kept[: kept.rfind(b"\n") + 1] + end if room > len(end) else b""
