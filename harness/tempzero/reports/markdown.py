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
    Found,
    Paragraph,
    ReadPairs,
    Section,
    Side,
    Table,
    TextPair,
    TextPairs,
    Verdicts,
    drawn_on,
)
from tempzero.reports.visible import one_line, visible
from tempzero.reports.wording import SIGNS, cell_text, trial_words

MAX_PAIRS_EACH = 12
MAX_ROWS = 60


def render(sections: Sequence[Section], *, run_id: str, created_at: str) -> str:
    """The file's text. Same sections, same text."""
    lines = [f"# tempzero: {escape(run_id)}", "", f"Begun {escape(created_at)}. The full report is report.html."]
    for section in sections:
        if "markdown" not in section.media:
            continue
        lines += ["", f"## {escape(section.title)}"]
        if section.lead:
            lines += ["", escape(section.lead)]
        for block in drawn_on(section, "markdown"):
            lines += ["", *_block(block)]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """A text as one Markdown line that shows exactly itself: no markup, no HTML, no links, no table cells."""
    line = re.sub(r"[\\`*<&|~$]", r"\\\g<0>", one_line(text))
    line = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", line)
    line = re.sub(r"\](?=[(\[:]|$)|^\[", r"\\\g<0>", line)
    line = re.sub(r"(?i)(https?|ftp)(?=://)", r"\1\\", line)
    line = re.sub(r"(?i)\bwww(?=\.)", r"\g<0>\\", line)
    line = re.sub(r"^(\s*)([#>+=-])", r"\1\\\2", line)
    return re.sub(r"^(\s*\d+)([.)])(?=\s|$)", r"\1\\\2", line)


def code(text: str) -> str:
    """A text as an inline code span, whatever back-ticks it holds."""
    line = one_line(text)
    fence = "`" * (_longest_run(line) + 1)
    pad = " " if line[:1] in ("`", " ", "") or line[-1:] in ("`", " ") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def fenced(text: str) -> list[str]:
    """A text as a code block, whatever fences it holds."""
    shown = visible(text)
    fence = "`" * max(3, _longest_run(shown) + 1)
    return [f"{fence}text", *shown.split("\n"), fence]


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall(r"`+", text)), default=0)


def _block(block: Block) -> list[str]:
    match block:
        case Paragraph():
            return [escape(block.text)]
        case Bullets():
            return [f"- {escape(item)}" for item in block.items]
        case Facts():
            return [f"- {escape(name)}: {code(value)}" for name, value in block.pairs]
        case Table():
            return list(_table(block))
        case Verdicts():
            return list(_verdicts(block))
        case Found():
            return list(_found(block))
        case TextPairs():
            return list(_text_pairs(block))
        case ReadPairs():
            return list(_read_pairs(block))
        case Definitions():
            return list(_definitions(block))
        case _:
            return []  # charts: their tables say the same


def _table(table: Table) -> Iterator[str]:
    rows = table.rows[:MAX_ROWS]
    yield f"**{escape(table.caption)}**"
    yield ""
    yield _row(escape(c.heading) for c in table.columns)
    yield _row("---:" if c.numeric else "---" for c in table.columns)
    for row in rows:
        yield _row(map(_cell, row))
    if len(rows) < len(table.rows):
        yield ""
        yield f"{len(table.rows) - len(rows)} more rows are in report.html."
    if table.more:
        yield ""
        yield escape(table.more)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell) -> str:
    return escape(cell_text(cell))


def _verdicts(block: Verdicts) -> Iterator[str]:
    yield f"**{SIGNS[block.outcome]} {escape(block.headline)}**"
    for judged in block.judged:
        role = f" ({judged.role})" if judged.role else ""
        yield ""
        yield f"### {SIGNS[judged.outcome]} {escape(judged.provider)}{role}: {judged.outcome}"
        yield ""
        yield from (f"- {escape(reason)}" for reason in judged.reasons)
        yield from (f"- {escape(name)}: {_cell(cell)}" for name, cell in judged.figures)
        yield from (f"- Note: {escape(note)}" for note in judged.notes)


def _found(block: Found) -> Iterator[str]:
    for number, item in enumerate(block.items, start=1):
        if number > 1:
            yield ""
        yield f"### {number}. {escape(item.title)}: {escape(item.who)}"
        yield ""
        yield escape(item.message)
        if item.figure:
            yield ""
            yield f"Figure: {escape(item.figure)}"
        if item.evidence:
            yield ""
            yield "Evidence:"
            yield ""
            yield from (f"- {code(trial_words(trial))}" for trial in item.evidence)
        if item.more:
            yield f"- {escape(item.more)}"


def _text_pairs(block: TextPairs) -> Iterator[str]:
    shown = _one_for_each(block.pairs)[:MAX_PAIRS_EACH]
    yield f"### {escape(block.caption)}"
    yield ""
    yield "The part that differs stands between ⟦ and ⟧."
    for pair in shown:
        yield ""
        yield f"#### {escape(pair.title)}"
        for side in (pair.left, pair.right):
            yield ""
            yield f"{escape(side.who)}; first different: {escape(side.char)}"
            yield ""
            yield from fenced(_side_text(side))
    if len(shown) < len(block.pairs):
        yield ""
        yield f"{len(block.pairs) - len(shown)} more pairs are in report.html."
    if block.more:
        yield ""
        yield escape(block.more)


def _read_pairs(block: ReadPairs) -> Iterator[str]:
    shown = block.pairs[:MAX_PAIRS_EACH]
    yield f"### {escape(block.caption)}"
    for pair in shown:
        yield ""
        yield f"- {escape(pair.title)}: {escape(pair.verdict)}"
    if len(shown) < len(block.pairs):
        yield ""
        yield f"{len(block.pairs) - len(shown)} more are in report.html."
    if block.more:
        yield ""
        yield escape(block.more)


def _one_for_each(pairs: Sequence[TextPair]) -> list[TextPair]:
    """The first pair of texts of each pair of providers."""
    first: dict[tuple[str, str], TextPair] = {}
    for pair in pairs:
        first.setdefault((pair.divergence.left.provider, pair.divergence.right.provider), pair)
    return list(first.values())


def _side_text(side: Side) -> str:
    start = f"… {side.omitted_before} same characters …\n" if side.omitted_before else ""
    end = f"\n… {side.omitted_after} more characters" if side.omitted_after > 0 else ""
    return f"{start}{side.before}⟦{side.first}{side.rest}⟧{side.after}{end}"


def _definitions(block: Definitions) -> Iterator[str]:
    for item in block.items:
        metric = f" ({code(item.metric)})" if item.metric else ""
        source = f" Source: {escape(item.source)}." if item.source else ""
        yield f"- **{escape(item.name)}**{metric}: {escape(item.text)}{source}"
