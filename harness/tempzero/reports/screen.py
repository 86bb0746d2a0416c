"""Sections in, a terminal's worth of tables out, then the verdict; fits any width, plain where it is no terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from tempzero.reports.document import Cell, Column, Paragraph, Section, Table, VerdictItem, Verdicts, blocks_for_medium
from tempzero.reports.figure_wording import SIGNS, cell_text
from tempzero.reports.numbers import UNDEFINED
from tempzero.reports.visible import to_one_line

MAX_ROWS = 15
_GAP = 2
_TEXT_MIN, _TEXT_MAX = 20, 36
COLOURS = {"finding": "red", "inconclusive": "yellow", "pass": "green"}
_PLAIN_SIGNS = dict(
    zip("–−≥≤×…▲○✓·⟨⟩↵", ("-", "-", ">=", "<=", "x", "...", "!", "?", "+", "/", "<", ">", " "), strict=True)
)


def print_sections(sections: Sequence[Section], console: Console) -> None:
    """Print the questions with their tables, and last, nearest to the prompt, the verdict."""
    screen = _Screen(console)
    for section in sections:
        blocks = blocks_for_medium(section, "screen")
        if "screen" in section.media and blocks and not any(isinstance(b, Verdicts) for b in blocks):
            screen.section(section)
    for section in sections:
        if any(isinstance(b, Verdicts) for b in section.blocks):
            screen.section(section)


def make_encodable(text: str, encoding: str) -> str:
    """The text as it is, or, for a terminal that cannot show it, with plain signs in place of ours."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = "".join(_PLAIN_SIGNS.get(c, c) for c in text).encode(encoding, "replace").decode(encoding)
    return text


class _Screen:
    """Draws on one console; every text is made harmless and encodable on its way there."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._encoding = console.encoding

    def section(self, section: Section) -> None:
        self._print(Text(""))
        self._print(self._text(section.title, "bold"))
        if section.lead:
            self._print(self._text(section.lead, "dim"))
        for number, block in enumerate(blocks_for_medium(section, "screen")):
            match block:
                case Table():
                    if number:
                        self._print(Text(""))
                    self._table(block)
                case Verdicts():
                    self._verdicts(block)
                case Paragraph():
                    self._print(self._text(block.text, "dim" if block.tone == "muted" else ""))
                case _:
                    pass  # made for paper only

    def _print(self, what: Text | Padding | RichTable) -> None:
        self._console.print(what, markup=False, highlight=False, emoji=False)

    def _text(self, text: str, style: str = "") -> Text:
        return Text(make_encodable(to_one_line(text), self._encoding), style=style, overflow="fold")

    # --- tables ------------------------------------------------------------------------------

    def _table(self, table: Table) -> None:
        kept = [i for i, column in enumerate(table.columns) if column.screen]
        columns = [table.columns[i] for i in kept]
        rows = [[row[i] for i in kept] for row in table.rows[:MAX_ROWS]]
        self._print(self._text(table.caption, "italic"))
        drawings: tuple[Callable[[Cell], str], ...] = (_on_one_line, _on_two_lines, _on_three_lines)
        drawn = next((d for d in drawings if self._fits(columns, rows, d)), None)
        if drawn is not None:
            self._grid(columns, rows, drawn, grouped=table.grouped)
        else:
            self._cards(columns, rows)
        for note in _table_notes(columns, rows, len(table.rows), table.more):
            self._print(self._text(note, "dim"))

    def _fits(self, columns: Sequence[Column], rows: Sequence[Sequence[Cell]], draw: Callable[[Cell], str]) -> bool:
        needed = (_GAP + 1) * (len(columns) - 1)  # the box draws a blank of its own between columns
        for i, column in enumerate(columns):
            lines = [line for row in rows for line in draw(row[i]).split("\n")]
            width = max((cell_len(to_one_line(line)) for line in lines), default=0)
            words = max(cell_len(word) for word in column.heading.split())
            needed += max(width, words) if column.numeric else max(min(width, _TEXT_MIN), words)
        return needed <= self._console.width

    def _grid(
        self, columns: Sequence[Column], rows: Sequence[Sequence[Cell]], draw: Callable[[Cell], str], *, grouped: bool
    ) -> None:
        grid = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, _GAP, 0, 0), show_edge=False)
        for column in columns:
            grid.add_column(
                self._text(column.heading),
                justify="right" if column.numeric else "left",
                no_wrap=False,
                overflow="fold",
                min_width=_number_column_width(column, rows, columns.index(column), draw) if column.numeric else None,
                max_width=None if column.numeric else _TEXT_MAX,
                vertical="top",
            )
        last = None
        for row in rows:
            texts = [Text("\n").join(self._text(line) for line in draw(cell).split("\n")) for cell in row]
            if grouped and row[0].text == last:
                texts[0] = Text("")
            last = row[0].text
            grid.add_row(*texts)
        self._print(grid)

    def _cards(self, columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> None:
        """One block of lines a row: for screens too narrow for the columns."""
        for row in rows:
            self._print(self._text(cell_text(row[0]), "bold"))
            for column, cell in zip(columns[1:], row[1:], strict=True):
                self._print(Padding(self._text(f"{column.heading}: {cell_text(cell)}"), (0, 0, 0, 2), expand=False))

    # --- verdict -----------------------------------------------------------------------------

    def _verdicts(self, block: Verdicts) -> None:
        for judged in block.judged:
            self._judged(judged)
        self._print(Text(""))
        self._print(self._text(f"{SIGNS[block.outcome]} {block.headline}", f"bold {COLOURS[block.outcome]}"))

    def _judged(self, judged: VerdictItem) -> None:
        role = f" ({judged.role})" if judged.role else ""
        self._print(Text(""))
        self._print(
            self._text(f"{SIGNS[judged.outcome]} {judged.provider}{role}: {judged.outcome}", COLOURS[judged.outcome])
        )
        lines = [(f"- {reason}", "") for reason in judged.reasons]
        lines += [(f"{name}: {cell_text(cell)}", "dim") for name, cell in judged.figures]
        lines += [(f"Note: {note}", "dim") for note in judged.notes]
        for line, style in lines:
            self._print(Padding(self._text(line, style), (0, 0, 0, 2), expand=False))


def _on_one_line(cell: Cell) -> str:
    return UNDEFINED if cell.text == UNDEFINED else cell_text(cell)


def _on_two_lines(cell: Cell) -> str:
    return f"{cell.text}\n{cell.interval}" if cell.interval else cell.text


def _on_three_lines(cell: Cell) -> str:
    return _on_two_lines(cell).replace("], ", "]\n", 1) if cell.interval else cell.text


def _number_column_width(column: Column, rows: Sequence[Sequence[Cell]], at: int, draw: Callable[[Cell], str]) -> int:
    """What a numeric column needs so that no number is broken."""
    lines = [line for row in rows for line in draw(row[at]).split("\n")]
    words = column.heading.split()
    return max(cell_len(text) for text in (*lines, *words))


def _table_notes(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], total: int, more: str) -> list[str]:
    """Why a dash stands where it stands, and what is not shown."""
    whys: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for column, cell in zip(columns[1:], row[1:], strict=True):
            if cell.text == UNDEFINED and cell.why:
                whys.setdefault((column.heading, cell.why), []).append(row[0].text)
    notes = [f"{UNDEFINED} {heading}: {why} ({', '.join(who)})" for (heading, why), who in whys.items()]
    if total > len(rows):
        notes.append(f"{total - len(rows)} more rows are in report.html.")
    return [*notes, more] if more else notes
