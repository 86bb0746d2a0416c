"""A View in, one screenful out: a line for each provider, a sentence for each finding, and what to read next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich import box
from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tempzero.reports.charts import shorten_middle
from tempzero.reports.figure_wording import SIGNS, count_with_noun, verdict_headline
from tempzero.reports.lookup import View
from tempzero.reports.overview_chart import Overview, OverviewRow
from tempzero.reports.screen import COLOURS, make_encodable
from tempzero.reports.sections.run_overview import lay_out_overview
from tempzero.reports.visible import to_one_line
from tempzero.types.concluded import ProviderVerdict
from tempzero.types.vocabulary import WORST_FIRST

_NAME_WIDTHS = 14, 34
_FEW_PROVIDERS, _FEW_LINES, _MORE_LINES = 8, 24, 30
_MAX_ROWS = 10
_LINES_A_SENTENCE = 2


def print_brief(view: View, console: Console, *, pages: Sequence[Path], exit_code: int, next_command: str) -> None:
    """Print what fits on a screen: at most 24 lines of 80 columns for up to 8 providers, 30 for any number.

    `next_command` is the last line. What does not fit is counted, with the option that shows it.
    """
    overview = lay_out_overview(view)
    rows = _choose_rows(overview)
    ends = [
        *_describe_precision(view, console.width),
        *_describe_skipped(view),
        *(f"report: {page}" for page in pages[:1]),
        f"next:   {next_command}",
    ]
    headline = f"{SIGNS[view.verdict.outcome]} {verdict_headline(view.verdict)} Exit code {exit_code}."
    _print_line(console, f"{overview.subtitle}", "dim")
    console.print(_build_table(overview, rows, console), markup=False, highlight=False, emoji=False)
    more = len(overview.rows) - len(rows) + overview.rows_left_out
    if more:
        _print_line(console, f"and {count_with_noun(more, 'more row')}: --full, or the report", "dim")
    _print_line(console, headline, f"bold {COLOURS[view.verdict.outcome]}")
    budget = _FEW_LINES if len(view.verdict.providers) <= _FEW_PROVIDERS else _MORE_LINES
    taken = 1 + 2 + len(rows) + bool(more) + len(_wrap(headline, console.width, 9)) + len(ends)
    for line, style in _choose_sentences(view, console.width, budget - taken):
        _print_line(console, line, style)
    for line in ends:
        _print_line(console, line, "" if line is ends[-1] else "dim")


def _choose_rows(overview: Overview) -> list[OverviewRow]:
    """At most ten: where there are more, those that have something to say, in the picture's order."""
    if len(overview.rows) <= _MAX_ROWS:
        return list(overview.rows)
    kept = sorted(overview.rows, key=lambda row: WORST_FIRST.index(row.outcome))[:_MAX_ROWS]
    return [row for row in overview.rows if row in kept]


def _build_table(overview: Overview, rows: Sequence[OverviewRow], console: Console) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    grid.add_column("provider", no_wrap=True, overflow="crop")
    for heading in overview.headings:
        grid.add_column(
            make_encodable(heading.screen, console.encoding), justify="right", no_wrap=True, overflow="crop"
        )
    taken = sum(max(len(h.screen), 5) + 2 for h in overview.headings) + max(len(_say(row)) for row in rows) + 6
    name_width = max(_NAME_WIDTHS[0], min(_NAME_WIDTHS[1], console.width - taken))
    grid.add_column("verdict", no_wrap=True, overflow="crop")
    for row in rows:
        shares = ["" if track.dot is None else track.dot.text for track in row.tracks]
        shares += [""] * (overview.tracks - len(shares))
        cells = [*shares, *([row.speed] if len(overview.headings) > overview.tracks else [])]
        grid.add_row(
            Text(make_encodable(f"{SIGNS[row.outcome]} {shorten_middle(row.full_name, name_width)}", console.encoding)),
            *(Text(make_encodable(cell or "–", console.encoding)) for cell in cells),
            Text(make_encodable(_say(row), console.encoding), style=COLOURS[row.outcome]),
        )
    return grid


def _say(row: OverviewRow) -> str:
    return ", ".join(filter(None, (row.outcome, row.brief_standing)))


def _choose_sentences(view: View, width: int, budget: int) -> Iterator[tuple[str, str]]:
    """The first finding about the set, the first reason of everyone who does not pass, the others about the set,
    and how many more there are.
    """
    judged = [p for p in view.verdict.providers if p.outcome != "pass" and p.reasons]
    judged.sort(key=lambda p: WORST_FIRST.index(p.outcome))
    of_set = [(f"{SIGNS['finding']} {message}", COLOURS["finding"]) for message in view.verdict.about_set]
    sentences = [*of_set[:1], *((_write_sentence(p), COLOURS[p.outcome]) for p in judged), *of_set[1:]]
    reasons = len(view.verdict.about_set) + sum(len(p.reasons) for p in judged)
    told = 0
    for sentence, colour in sentences:
        lines = _wrap(sentence, width, _LINES_A_SENTENCE)
        last = told + 1 == reasons
        if len(lines) > budget - (not last):
            break
        budget -= len(lines)
        told += 1
        yield from ((line, colour) for line in lines)
    if told < reasons and budget > 0:
        yield f"and {count_with_noun(reasons - told, 'more sentence')}: --full, or the report", "dim"


def _write_sentence(verdict: ProviderVerdict) -> str:
    reason = verdict.reasons[0]
    named = reason if reason.startswith(verdict.provider) else f"{verdict.provider}: {reason}"
    return f"{SIGNS[verdict.outcome]} {named}"


def _describe_precision(view: View, width: int) -> list[str]:
    """How what each declares of its weights stands to its first tokens, two lines at most; none where none were had.

    Of those that declare nothing it is told what they serve.
    """
    found = {
        standing: [one.provider for one in view.analysis.precision if one.declared and one.standing == standing]
        for standing in ("contradicted", "confirmed", "untested")
    }
    told = [f"{standing} ({', '.join(names)})" for standing, names in found.items() if names]
    told += [f"none, {one.provider} {one.sentence}" for one in view.analysis.precision if not one.declared]
    return _wrap(f"declared precision, by first tokens: {'; '.join(told)}", width, _LINES_A_SENTENCE) if told else []


def _describe_skipped(view: View) -> list[str]:
    """One line for all who did not take part, by reason; the names are in the report."""
    skipped = view.analysis.skipped
    if not skipped:
        return []
    if len(skipped) == 1:
        return [f"skipped: {skipped[0].provider}: {skipped[0].reason}"]
    without_key = sum(s.reason.endswith("not set") for s in skipped)
    why = f": {without_key} without a key" if 0 < without_key < len(skipped) else ": no key" if without_key else ""
    return [f"{len(skipped)} skipped{why} (--full lists them)"]


def _wrap(text: str, width: int, limit: int) -> list[str]:
    """The text in lines of at most `width` cells, the end of what is too long left out."""
    words, lines = to_one_line(text).split(" "), [""]
    for word in words:
        for piece in chop_cells(word, width) or [""]:
            joined = f"{lines[-1]} {piece}" if lines[-1] else piece
            if cell_len(joined) <= width:
                lines[-1] = joined
            else:
                lines.append(piece)
    if len(lines) <= limit:
        return lines
    kept = lines[:limit]
    while cell_len(kept[-1]) > width - 2:
        kept[-1] = kept[-1][:-1]
    return [*kept[:-1], f"{kept[-1].rstrip()} …"]


def _print_line(console: Console, line: str, style: str) -> None:
    text = Text(make_encodable(to_one_line(line), console.encoding), style=style, overflow="fold")
    console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=line.startswith(("report:", "next:")))
