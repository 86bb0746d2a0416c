"""Sections in, report.md out: reads as text and on a code host; no text from outside can act as markup."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from tempzero.reports.document import (
    Block,
    Bullets,
    Cell,
    Definitions,
    Facts,
    FindingList,
    Paragraph,
    ReadPairs,
    Section,
    Table,
    TextPair,
    TextPairs,
    TextSide,
    Verdicts,
    blocks_for_medium,
)
from tempzero.reports.figure_wording import SIGNS, cell_text, trial_words
from tempzero.reports.overview_chart import Overview
from tempzero.reports.visible import make_visible, to_one_line

MAX_PAIRS_EACH = 12
MAX_ROWS = 60


def render_markdown(sections: Sequence[Section], *, run_id: str, created_at: str) -> str:
    """The file's text. Same sections, same text."""
    lines = [
        f"# tempzero: {escape_markdown(run_id)}",
        "",
        f"Begun {escape_markdown(created_at)}. The full report is report.html.",
    ]
    for section in sections:
        if "markdown" not in section.media:
            continue
        lines += ["", f"## {escape_markdown(section.title)}"]
        if section.lead:
            lines += ["", escape_markdown(section.lead)]
        for block in blocks_for_medium(section, "markdown"):
            lines += ["", *_render_block(block)]
    return "\n".join(lines) + "\n"


def escape_markdown(text: str) -> str:
    """A text as one Markdown line that shows exactly itself: no markup, no HTML, no links, no table cells."""
    line = re.sub(r"[\\`*<&|~$]", r"\\\g<0>", to_one_line(text))
    line = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", line)
    line = re.sub(r"\](?=[(\[:]|$)|^\[", r"\\\g<0>", line)
    line = re.sub(r"(?i)(https?|ftp)(?=://)", r"\1\\", line)
    line = re.sub(r"(?i)\bwww(?=\.)", r"\g<0>\\", line)
    line = re.sub(r"^(\s*)([#>+=-])", r"\1\\\2", line)
    return re.sub(r"^(\s*\d+)([.)])(?=\s|$)", r"\1\\\2", line)


def to_code_span(text: str) -> str:
    """A text as an inline code span, whatever back-ticks it holds."""
    line = to_one_line(text)
    fence = "`" * (_longest_backtick_run(line) + 1)
    pad = " " if line[:1] in ("`", " ", "") or line[-1:] in ("`", " ") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def to_code_block(text: str) -> list[str]:
    """A text as a code block, whatever fences it holds."""
    shown = make_visible(text)
    fence = "`" * max(3, _longest_backtick_run(shown) + 1)
    return [f"{fence}text", *shown.split("\n"), fence]


def _longest_backtick_run(text: str) -> int:
    return max((len(run) for run in re.findall(r"`+", text)), default=0)


def _render_block(block: Block) -> list[str]:
    match block:
        case Paragraph():
            return [escape_markdown(block.text)]
        case Bullets():
            return [f"- {escape_markdown(item)}" for item in block.items]
        case Facts():
            return [f"- {escape_markdown(name)}: {to_code_span(value)}" for name, value in block.pairs]
        case Table():
            return list(_render_table(block))
        case Verdicts():
            return list(_render_verdicts(block))
        case FindingList():
            return list(_render_findings(block))
        case TextPairs():
            return list(_render_text_pairs(block))
        case ReadPairs():
            return list(_render_read_pairs(block))
        case Definitions():
            return list(_render_definitions(block))
        case Overview():
            alt = re.sub(r"(?<!\\)[\[\]]", r"\\\g<0>", escape_markdown(block.summary))
            return [f"![{alt}](overview.svg)"]
        case _:
            return []  # charts: their tables say the same


def _render_table(table: Table) -> Iterator[str]:
    rows = table.rows[:MAX_ROWS]
    yield f"**{escape_markdown(table.caption)}**"
    yield ""
    yield _join_row(escape_markdown(c.heading) for c in table.columns)
    yield _join_row("---:" if c.numeric else "---" for c in table.columns)
    for row in rows:
        yield _join_row(map(_render_cell, row))
    if len(rows) < len(table.rows):
        yield ""
        yield f"{len(table.rows) - len(rows)} more rows are in report.html."
    if table.more:
        yield ""
        yield escape_markdown(table.more)


def _join_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _render_cell(cell: Cell) -> str:
    return escape_markdown(cell_text(cell))


def _render_verdicts(block: Verdicts) -> Iterator[str]:
    yield f"**{SIGNS[block.outcome]} {escape_markdown(block.headline)}**"
    for judged in block.judged:
        role = f" ({judged.role})" if judged.role else ""
        yield ""
        yield f"### {SIGNS[judged.outcome]} {escape_markdown(judged.provider)}{role}: {judged.outcome}"
        yield ""
        yield escape_markdown(" ".join(judged.sentences))
        yield ""
        yield from (f"- {escape_markdown(reason)}" for reason in judged.reasons)
        yield from (f"- {escape_markdown(name)}: {_render_cell(cell)}" for name, cell in judged.figures)
        yield from (f"- Note: {escape_markdown(note)}" for note in judged.notes)


def _render_findings(block: FindingList) -> Iterator[str]:
    for number, item in enumerate(block.items, start=1):
        if number > 1:
            yield ""
        yield f"### {number}. {escape_markdown(item.title)}: {escape_markdown(item.who)}"
        yield ""
        yield escape_markdown(item.message)
        if item.figure:
            yield ""
            yield f"Figure: {escape_markdown(item.figure)}"
        if item.evidence:
            yield ""
            yield "Evidence:"
            yield ""
            yield from (f"- {to_code_span(trial_words(trial))}" for trial in item.evidence)
        if item.more:
            yield f"- {escape_markdown(item.more)}"


def _render_text_pairs(block: TextPairs) -> Iterator[str]:
    shown = _first_of_each_pair(block.pairs)[:MAX_PAIRS_EACH]
    yield f"### {escape_markdown(block.caption)}"
    yield ""
    yield "The part that differs stands between ⟦ and ⟧."
    for pair in shown:
        yield ""
        yield f"#### {escape_markdown(pair.title)}"
        for side in (pair.left, pair.right):
            yield ""
            yield f"{escape_markdown(side.who)}; first different: {escape_markdown(side.char)}"
            yield ""
            yield from to_code_block(_side_text(side))
    if len(shown) < len(block.pairs):
        yield ""
        yield f"{len(block.pairs) - len(shown)} more pairs are in report.html."
    if block.more:
        yield ""
        yield escape_markdown(block.more)


def _render_read_pairs(block: ReadPairs) -> Iterator[str]:
    shown = block.pairs[:MAX_PAIRS_EACH]
    yield f"### {escape_markdown(block.caption)}"
    for pair in shown:
        yield ""
        yield f"- {escape_markdown(pair.title)}: {escape_markdown(pair.verdict)}"
    if len(shown) < len(block.pairs):
        yield ""
        yield f"{len(block.pairs) - len(shown)} more are in report.html."
    if block.more:
        yield ""
        yield escape_markdown(block.more)


def _first_of_each_pair(pairs: Sequence[TextPair]) -> list[TextPair]:
    """The first pair of texts of each pair of providers."""
    first: dict[tuple[str, str], TextPair] = {}
    for pair in pairs:
        first.setdefault((pair.divergence.left.provider, pair.divergence.right.provider), pair)
    return list(first.values())


def _side_text(side: TextSide) -> str:
    start = f"… {side.omitted_before} same characters …\n" if side.omitted_before else ""
    end = f"\n… {side.omitted_after} more characters" if side.omitted_after > 0 else ""
    return f"{start}{side.before}⟦{side.first}{side.rest}⟧{side.after}{end}"


def _render_definitions(block: Definitions) -> Iterator[str]:
    for item in block.items:
        metric = f" ({to_code_span(item.metric)})" if item.metric else ""
        source = f" Source: {escape_markdown(item.source)}." if item.source else ""
        yield f"- **{escape_markdown(item.name)}**{metric}: {escape_markdown(item.text)}{source}"
