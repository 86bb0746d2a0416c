"""Prompt rows and distinct answers in, every prompt with its wording and all that was answered to it out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from tempzero.reports.answer_strip import Strip, lay_out_strip
from tempzero.reports.document import (
    IN_HTML,
    AnswerItem,
    AnswerPart,
    AnswerPiece,
    Mark,
    PromptItem,
    PromptList,
    Section,
)
from tempzero.reports.figure_wording import count_with_noun
from tempzero.reports.lookup import Subject, View
from tempzero.reports.numbers import UNDEFINED, value_text
from tempzero.reports.sections.tokens import describe_token, grade_margin
from tempzero.reports.text_diff import diff_words, split_words
from tempzero.reports.visible import make_visible, shorten_text, to_one_line
from tempzero.types.concluded import AskedPrompt, DistinctAnswer, PromptRow, ReadText, ReadToken

_COLUMNS = ("Provider", "Answered", "Its answers", "Same text again")
_TO_REFERENCE, _READINGS = "Same as the reference", "Read as"
_SHOWN_READINGS = 4
# Of what an answer shares with the commonest one so much is shown about each difference; longer runs are skipped.
_CONTEXT, _SHORTEST_SKIP = 120, 400
_CALL_MARK = "\x1e"


def build_prompts_section(view: View) -> Section:
    """Prompt by prompt."""
    analysis = view.analysis
    rows: dict[str, list[PromptRow]] = {}
    for row in analysis.prompt_rows:
        if not view.leaves_out(row.provider):
            rows.setdefault(row.prompt, []).append(row)
    answers: dict[str, list[DistinctAnswer]] = {}
    for one in analysis.answers:
        answers.setdefault(one.prompt, []).append(one)
    reader = _Reader(view)
    columns = [*_COLUMNS]
    if any(row.match_reference is not None for row in analysis.prompt_rows):
        columns.append(_TO_REFERENCE)
    if any(row.answers for row in analysis.prompt_rows):
        columns.append(_READINGS)
    items = tuple(
        _build_prompt_item(view, asked, rows.get(asked.prompt, []), answers.get(asked.prompt, []), reader, columns)
        for asked in analysis.asked
    )
    left_out = len(rows) - len(items)
    block = PromptList(
        providers=tuple(dict.fromkeys(_name_row(view, row) for members in rows.values() for row in members)),
        families=tuple(sorted({item.family for item in items})),
        columns=tuple(columns),
        items=items,
        more=f"{count_with_noun(left_out, 'more prompt')}, those that differ least, are in tables/prompts.csv, and "
        "their texts in the records: `tempzero export` writes them."
        if left_out
        else "",
    )
    return Section(
        anchor="prompts",
        title="Prompt by prompt",
        lead="Each prompt with its wording and every distinct answer, most divergent first. A is the commonest answer "
        "of all providers, B the next; the others are shown by how they differ from A.",
        blocks=(*_draw_strip(items), block) if items else (),
        media=IN_HTML,
    )


def _draw_strip(items: Sequence[PromptItem]) -> tuple[Strip, ...]:
    """Who gave the commonest answer on which prompt, of all prompts in one picture; nothing for a single prompt."""
    if len(items) < 2:
        return ()
    names = dict.fromkeys(mark.who for item in items for mark in item.marks)
    by_prompt = [{mark.who: mark.state for mark in item.marks} for item in items]
    return (
        lay_out_strip(
            "Who gives the commonest answer, prompt by prompt",
            [(item.name, item.anchor) for item in items],
            {name: [states.get(name, "none") for states in by_prompt] for name in names},
            file="answers-by-prompt",
            data="tables/prompts.csv",
        ),
    )


def name_answers(answers: Sequence[DistinctAnswer]) -> dict[DistinctAnswer, str]:
    """A, B, ... Z, AA, AB, ... in the order of the answers."""
    return {one: _to_letters(number) for number, one in enumerate(answers)}


def mark_prompt(
    view: View, rows: Iterable[PromptRow], answers: Sequence[DistinctAnswer], total: int
) -> Iterator[tuple[PromptRow, Mark]]:
    """For each row of one prompt which of its answers its provider gave. Of `total` answers some may not be kept."""
    letters = name_answers(answers)
    for row in rows:
        given = [
            (letters[one], n.count)
            for one in answers
            for n in one.given
            if (n.provider, n.condition) == (row.provider, row.condition)
        ]
        others = row.valid + row.censored - sum(count for _, count in given) if total > len(answers) else 0
        if others > 0:
            given.append(("others", others))
        who = _name_row(view, row)
        if not given:
            yield row, Mark(who=who, text=UNDEFINED, state="none", hint=f"{who}: no answer that can be compared")
            continue
        words = ", ".join(f"{letter} ×{count}" for letter, count in given)
        yield (
            row,
            Mark(
                who=who,
                text=given[0][0] if len(given) == 1 else f"{given[0][0]}+{len(given) - 1}",
                state="mixed" if len(given) > 1 else "same" if given[0][0] == "A" else "other",
                hint=f"{who}: {words}",
            ),
        )


def _to_letters(number: int) -> str:
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def _name_row(view: View, row: PromptRow) -> str:
    return view.name(Subject(provider=row.provider, condition=row.condition))


class _Reader:
    """How a reference read the answers that are shown, where one did."""

    def __init__(self, view: View) -> None:
        reading = view.analysis.reading
        self._texts = {} if reading is None else {t.trial: t for t in reversed(reading.texts)}
        self._epsilon = {} if reading is None else {f.reference: f.epsilon for f in reading.floors}

    def tokens_of(self, answer: DistinctAnswer) -> ReadText | None:
        """The tokens that make up exactly the answer's text, and nothing else."""
        found = self._texts.get(answer.trial)
        return found if found is not None and _join_tokens(found.tokens) == answer.text else None

    def epsilon_of(self, read: ReadText) -> float:
        return self._epsilon.get(read.reference, 0.0)


def _join_tokens(tokens: Iterable[ReadToken]) -> str:
    """The text without the sign for the end of a turn, which is no part of it."""
    return "".join(token.text for token in tokens).removesuffix("⟨end⟩")


def _build_prompt_item(
    view: View,
    asked: AskedPrompt,
    rows: Sequence[PromptRow],
    answers: Sequence[DistinctAnswer],
    reader: _Reader,
    columns: Sequence[str],
) -> PromptItem:
    marked = list(mark_prompt(view, rows, answers, asked.answers))
    left_out = asked.answers - len(answers)
    letters = name_answers(answers)
    return PromptItem(
        anchor=view.prompt_anchors[asked.prompt],
        name=asked.prompt,
        family=asked.family,
        summary=count_with_noun(asked.answers, "distinct answer") if asked.answers else "no answer",
        differs=asked.answers > 1,
        marks=tuple(mark for _, mark in marked),
        wording=tuple((part.role, part.text) for part in asked.parts),
        expected="" if asked.expected is None else asked.expected,
        rows=tuple(_build_row_cells(row, mark, columns) for row, mark in marked),
        answers=tuple(_build_answer_item(view, one, letters[one], answers[0], reader) for one in answers),
        more=f"{count_with_noun(left_out, 'rarer answer')} more are in the records." if left_out > 0 else "",
    )


def _build_row_cells(row: PromptRow, mark: Mark, columns: Sequence[str]) -> tuple[str, ...]:
    cut = f", {row.censored} cut" if row.censored else ""
    cells = [
        mark.who,
        f"{row.valid + row.censored} of {row.planned}{cut}",
        mark.hint.removeprefix(f"{mark.who}: ") if mark.state != "none" else UNDEFINED,
        UNDEFINED if row.emr is None else value_text(row.emr, "share"),
    ]
    if _TO_REFERENCE in columns:
        cells.append(UNDEFINED if row.match_reference is None else value_text(row.match_reference, "share"))
    if _READINGS in columns:
        cells.append(_write_readings(row))
    return tuple(cells)


def _write_readings(row: PromptRow) -> str:
    shown = [
        f"{'unreadable' if answer is None else to_one_line(shorten_text(answer, 60))} ×{count}"
        for answer, count in row.answers[:_SHOWN_READINGS]
    ]
    if len(row.answers) > _SHOWN_READINGS:
        shown.append(f"{len(row.answers) - _SHOWN_READINGS} more")
    return ", ".join(shown)


def _build_answer_item(
    view: View, answer: DistinctAnswer, letter: str, commonest: DistinctAnswer, reader: _Reader
) -> AnswerItem:
    givers = [n for n in answer.given if not view.leaves_out(n.provider)]
    given = ", ".join(f"{view.name(Subject(provider=n.provider, condition=n.condition))} ×{n.count}" for n in givers)
    if len(givers) < len(answer.given):
        given = f"{given}{', ' if given else ''}{count_with_noun(len(answer.given) - len(givers), 'provider')} more"
    notes = ["cut"] if answer.cut else []
    if answer.parsed is not None:
        right = "" if answer.correct is None else ", which is right" if answer.correct else ", which is wrong"
        notes.append(f"read as {to_one_line(shorten_text(answer.parsed, 60))}{right}")
    elif answer.correct is not None and not answer.cut:
        notes.append("no answer could be read")
    read = reader.tokens_of(answer)
    if read is not None:
        missed = sum(token.rank > 1 for token in read.tokens)
        notes.append(f"{missed:,} of {count_with_noun(len(read.tokens), 'token')} not the reference's choice")
    parts = [
        AnswerPart(name=name, pieces=tuple(_build_pieces(of, base, first=answer is commonest)), folded=folded)
        for name, of, base, folded in (
            ("Reasoning", answer.reasoning, commonest.reasoning, True),
            ("Tool calls", answer.calls.replace(_CALL_MARK, ""), commonest.calls.replace(_CALL_MARK, ""), False),
            ("Refusal", answer.refusal, commonest.refusal, False),
        )
        if of
    ]
    text = _build_pieces(answer.text, commonest.text, first=answer is commonest)
    if answer.text or not parts:
        coloured = text if read is None else _colour_pieces(text, read.tokens, reader.epsilon_of(read))
        at = sum(part.folded for part in parts)
        parts.insert(at, AnswerPart(name="", pieces=tuple(coloured)))
    return AnswerItem(letter=letter, given=given, notes="; ".join(notes), parts=tuple(parts))


def _build_pieces(text: str, base: str, *, first: bool) -> Iterator[AnswerPiece]:
    """The commonest answer as it is; of another one what differs, and enough of the rest to find it."""
    text, base = make_visible(text), make_visible(base)
    if first or not base:
        yield AnswerPiece(text=text, kind="same" if first else "new")
        return
    at = 0
    for piece in diff_words(split_words(base), split_words(text)):
        if piece.kind == "same":
            yield from _skip_middle(piece.text, at)
        else:
            yield AnswerPiece(text=piece.text, kind=piece.kind)
        at += len(piece.text) * (piece.kind != "new")


def _skip_middle(text: str, at: int) -> Iterator[AnswerPiece]:
    if len(text) < _SHORTEST_SKIP:
        yield AnswerPiece(text=text)
        return
    skipped = len(text) - 2 * _CONTEXT
    yield AnswerPiece(text=text[:_CONTEXT])
    yield AnswerPiece(text="", start=at + _CONTEXT, skipped=skipped)
    yield AnswerPiece(text=text[-_CONTEXT:])


def _colour_pieces(pieces: Iterable[AnswerPiece], tokens: Sequence[ReadToken], epsilon: float) -> Iterator[AnswerPiece]:
    """The pieces cut at the tokens that the reference would not have said, which get their colour."""
    marks: list[tuple[int, int, ReadToken]] = []
    end = 0
    for token in tokens:
        start, end = end, end + len(make_visible(token.text))
        if token.rank > 1:
            marks.append((start, end, token))
    at, number = 0, 0
    for piece in pieces:
        if piece.kind == "gone":
            yield piece
            continue
        stop = at + (piece.skipped or len(piece.text))
        while number < len(marks) and marks[number][0] < stop and not piece.skipped:
            start, end, token = marks[number]
            start = max(start, at)
            if start > at:
                yield replace(piece, text=piece.text[: start - at])
            here = min(end, stop)
            level, hint = grade_margin(token, epsilon), describe_token(token)
            yield replace(piece, text=piece.text[start - at : here - at], level=level, hint=hint)
            piece, at = replace(piece, text=piece.text[here - at :]), here
            if end > stop:
                break
            number += 1
        while number < len(marks) and marks[number][1] <= stop:
            number += 1
        if piece.text or piece.skipped:
            yield piece
        at = stop
