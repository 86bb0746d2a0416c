"""A decided night in, GitHub's job summary and annotations out, where a job runs there; both under their limits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from tempzero.config import ExitRule
from tempzero.nightly.history import CHANGED_STATES, STATE_WORDS, Night, NightEntry, Notice, NoticeKind, State
from tempzero.reports.job_summary import append_job_summary, escape_github_markdown, write_annotations
from tempzero.reports.visible import shorten_text, to_one_line

_LOUD_KINDS: frozenset[NoticeKind] = frozenset({"changed", "event"})


def show_in_ci(
    night: Night,
    told: Sequence[Notice],
    others: Sequence[tuple[Night, NightEntry]] = (),
    *,
    environ: Mapping[str, str],
    write: Callable[[str], None],
    rule: ExitRule = "on_change",
) -> None:
    """Append to the job's summary, and print annotations; nothing where no CI says that it listens.

    `others` are those that are changed still by the other kind of night. What only lasts is annotated where the rule
    says so.
    """
    append_job_summary(to_job_summary(night, told, others), environ)
    errors, warnings = list_annotations(night, told, others, rule=rule)
    write_annotations(errors, warnings, environ=environ, write=write)


def to_job_summary(night: Night, told: Sequence[Notice], others: Sequence[tuple[Night, NightEntry]] = ()) -> str:
    """The night as a table, changed providers first, then what was told."""
    order: tuple[State, ...] = (
        "changed",
        "not seen",
        "no data",
        "no baseline",
        "other computation",
        "known state",
        "ok",
    )
    entries = sorted(night.entries, key=lambda e: (order.index(e.decision.state), e.side.provider))
    lines = [
        f"## tempzero: the night of {night.night}",
        "",
        "| provider | state | equals the baseline | evidence / alarm | |",
        "|---|---|---|---|---|",
        *map(_summary_row, entries),
        "",
    ]
    lines += [
        f"{escape_github_markdown(words)}: {escape_github_markdown(entry.decision.reason)}\n"
        for words, entry in _still_changed_titles(others)
    ]
    for notice in told:
        lines += [
            f"**{escape_github_markdown(notice.title)}**",
            "",
            *(f"- {escape_github_markdown(d)}" for d in notice.details),
            "",
        ]
        for t in notice.telling:
            lines.append(
                f"- prompt {escape_github_markdown(t.prompt)}: before `{_as_inline_code(t.before)}`, now "
                f"`{_as_inline_code(t.now)}`"
            )
        lines.append("")
    return "\n".join(lines) + "\n"


def list_annotations(
    night: Night,
    told: Sequence[Notice],
    others: Sequence[tuple[Night, NightEntry]] = (),
    *,
    rule: ExitRule = "on_change",
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """What is told tonight as errors, data that is missing for the first night as warnings: titles and messages."""
    lasting = rule == "while_changed"
    errors = [(n.title, "; ".join(n.details)) for n in told if n.kind in _LOUD_KINDS]
    told_of = {n.provider for n in told if n.kind == "changed"}
    changed = [e for e in night.entries if e.decision.state in CHANGED_STATES and e.side.provider not in told_of]
    if lasting:
        errors += [(f"{e.side.provider} is still changed", e.decision.reason) for e in changed]
        errors += [(words, entry.decision.reason) for words, entry in _still_changed_titles(others)]
    untested = [e for e in night.entries if not e.decision.tested and (lasting or e.decision.missing <= 1)]
    return errors, [(f"{e.side.provider}: {e.decision.state}", e.decision.reason) for e in untested]


def _still_changed_titles(others: Iterable[tuple[Night, NightEntry]]) -> Iterable[tuple[str, NightEntry]]:
    return ((f"{entry.side.provider} is still changed ({night.depth} nights)", entry) for night, entry in others)


def _summary_row(entry: NightEntry) -> str:
    decision, match = entry.decision, entry.decision.match
    equal = "not measured"
    if match is not None and match.value is not None:
        interval = f" [{match.low:.2f}, {match.high:.2f}]" if match.low is not None and match.high is not None else ""
        equal = f"{match.value:.2f}{interval}, n={match.n}"
    evidence = f"{decision.evidence:.3g} / {decision.alarm_at:g}" if decision.tested else "not tested"
    events = "; ".join(f"{e.what}: {e.before} → {e.now}" for e in decision.events)
    reason = decision.reason + (f". {events}" if events else "")
    return (
        f"| {escape_github_markdown(entry.side.provider)} | {STATE_WORDS[decision.state]} | {equal} | {evidence} | "
        f"{escape_github_markdown(reason)} |"
    )


def _as_inline_code(text: str) -> str:
    return to_one_line(shorten_text(text, 160)).replace("`", "'").replace("|", "¦")
