"""Prompt rows in, the table prompt by prompt out: grouped by family, most divergent first, capped."""

from __future__ import annotations

from itertools import groupby

from tempzero.reports.document import IN_HTML, Cell, Column, Paragraph, Section, Table
from tempzero.reports.figure_wording import count_with_noun
from tempzero.reports.lookup import Subject, View
from tempzero.reports.numbers import UNDEFINED, value_text
from tempzero.reports.visible import shorten_text, to_one_line
from tempzero.types.concluded import PromptRow

MAX_PROMPT_ROWS = 300
_ANSWERS = 4

_COLUMNS = (
    Column(heading="Prompt"),
    Column(heading="Provider"),
    Column(heading="Valid / planned", numeric=True, hint="complete texts among the planned trials"),
    Column(heading="Distinct texts", numeric=True, hint="different texts among the valid ones"),
    Column(heading="EMR", numeric=True, hint="the chance that two of them are the same text"),
    Column(heading="Match with reference", numeric=True, hint="the chance of the reference's text"),
    Column(heading="Answers read", hint="each different answer and how often"),
    Column(heading="Expected"),
    Column(heading="Mean characters", numeric=True),
)


def build_prompts_section(view: View) -> Section:
    """Prompt by prompt."""
    kept, total = _most_divergent_rows(view.analysis.prompt_rows)
    blocks: list[Table | Paragraph] = []
    if len(kept) < total:
        blocks.append(
            Paragraph(
                text=f"Shown are {len(kept)} of {total:,} rows, most divergent first; all are in tables/prompts.csv."
            )
        )
    by_family = sorted(kept, key=lambda row: row.family)  # stable: divergence still orders the rows of a family
    for family, members in groupby(by_family, key=lambda row: row.family):
        rows = list(members)
        blocks.append(
            Table(
                caption=_family_caption(family, rows),
                columns=_COLUMNS,
                rows=tuple(_prompt_cells(view, row) for row in rows),
                grouped=True,
                folded=True,
            )
        )
    return Section(
        anchor="prompts",
        title="Prompt by prompt",
        lead="Every prompt with every provider, grouped by family, most divergent first.",
        blocks=tuple(blocks),
        media=IN_HTML,
    )


def _family_caption(family: str, rows: list[PromptRow]) -> str:
    prompts = {row.prompt for row in rows}
    divergent = {row.prompt for row in rows if _agreement_key([row]) < (1.0, 1.0)}
    return f"{family}: {count_with_noun(len(prompts), 'prompt')}, {len(divergent)} with different texts"


def _most_divergent_rows(rows: tuple[PromptRow, ...]) -> tuple[list[PromptRow], int]:
    """Whole prompts, most divergent first, until the table is full; and how many rows there are in all."""
    by_prompt: dict[str, list[PromptRow]] = {}
    for row in rows:
        by_prompt.setdefault(row.prompt, []).append(row)
    ordered = sorted(by_prompt.values(), key=lambda members: (_agreement_key(members), members[0].prompt))
    kept: list[PromptRow] = []
    for members in ordered:
        if kept and len(kept) + len(members) > MAX_PROMPT_ROWS:
            break
        kept += members[:MAX_PROMPT_ROWS]
    return kept, len(rows)


def _agreement_key(rows: list[PromptRow]) -> tuple[float, float]:
    """Sorts the most divergent prompt first: its lowest agreement, then the mean."""
    shares = [s for row in rows for s in (row.emr, row.match_reference) if s is not None]
    return (min(shares), sum(shares) / len(shares)) if shares else (2.0, 2.0)


def _prompt_cells(view: View, row: PromptRow) -> tuple[Cell, ...]:
    return (
        Cell(text=row.prompt),
        Cell(text=view.label(Subject(provider=row.provider, condition=row.condition))),
        Cell(text=f"{row.valid}/{row.planned}", tone="plain" if row.valid == row.planned else "watch"),
        Cell(text=str(row.distinct), tone="watch" if row.distinct > 1 else "plain"),
        _share_cell(row.emr, "fewer than two comparable responses"),
        _share_cell(row.match_reference, _why_no_match(view, row)),
        _answers_cell(row),
        Cell(text=to_one_line(shorten_text(row.expected, 80)))
        if row.expected is not None
        else _empty_cell("none given"),
        Cell(text=value_text(round(row.mean_chars), "count")) if row.mean_chars is not None else _empty_cell("no text"),
    )


def _why_no_match(view: View, row: PromptRow) -> str:
    if view.is_reference(row.provider):
        return "is the reference"
    return "no reference" if view.reference_of(row.provider) is None else "no comparable response from both"


def _share_cell(value: float | None, why: str) -> Cell:
    if value is None:
        return _empty_cell(why)
    return Cell(text=value_text(value, "share"), tone="watch" if value < 1 else "plain")


def _answers_cell(row: PromptRow) -> Cell:
    if not row.answers:
        return _empty_cell("no extractor" if row.expected is None else "no answer")
    shown = [
        f"{'unreadable' if answer is None else to_one_line(shorten_text(answer, 60))} ×{count}"
        for answer, count in row.answers[:_ANSWERS]
    ]
    if len(row.answers) > _ANSWERS:
        shown.append(f"{len(row.answers) - _ANSWERS} more")
    return Cell(text=", ".join(shown))


def _empty_cell(why: str) -> Cell:
    return Cell(text=UNDEFINED, why=why, tone="muted")
