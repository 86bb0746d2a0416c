"""Figures of kind answers in, the answer to "Are the answers right?" out."""

from __future__ import annotations

from tempzero.reports.document import ON_PAPER, Cell, Column, Section, Table
from tempzero.reports.figure_wording import figure_cell
from tempzero.reports.lookup import Subject, View
from tempzero.reports.numbers import UNDEFINED, interval_text, value_text
from tempzero.reports.sections.figure_tables import MAX_ROWS, further_figures_table, part_table, provider_table
from tempzero.types.concluded import UnreadAnswers
from tempzero.types.vocabulary import MetricName

_METRICS: tuple[MetricName, ...] = ("accuracy", "unparsed_share", "verbosity_chars", "reasoning_share")
_REPEAT: tuple[MetricName, ...] = ("accuracy_spread", "best_accuracy", "worst_accuracy")


def build_answers_section(view: View) -> Section:
    """Accuracy, readability and length of the answers."""
    table = provider_table(
        view,
        caption="Answers",
        kind="answers",
        metrics=_METRICS,
        on_screen=("accuracy", "unparsed_share"),
    )
    repeats = None
    if any(f.metric in _REPEAT for f in view.figures("repeat")):
        repeats = provider_table(
            view,
            caption="How far the score depends on which repeat is taken",
            kind="repeat",
            metrics=_REPEAT,
            on_screen=("accuracy_spread",),
        )
    lengths = part_table(
        view, caption="Length, part by part", kind="answers", metrics=("verbosity_chars",), folded=True
    )
    further = further_figures_table(view, "answers", (*_METRICS, "mismatch_rate"))
    return Section(
        anchor="answers",
        title="Are the answers right?",
        lead="Read by each prompt's extractor and compared with the expected answer. What cannot be read is counted, "
        "not guessed.",
        blocks=tuple(
            b
            for b in (table, repeats, lengths, _mismatch_table(view), _unread_answers_table(view), further)
            if b is not None
        ),
    )


def _unread_answers_table(view: View) -> Table | None:
    """Unparsed share by extractor and provider: an extractor that reads one provider worse is no fair judge of it."""
    rows = view.analysis.unread_answers
    if not rows:
        return None
    subjects = [s for s in view.subjects("answers") if any((r.provider, r.condition) == _subject_key(s) for r in rows)]
    found = {(r.extractor, r.provider, r.condition): r for r in rows}
    names = sorted({(r.extractor, r.version) for r in rows})
    return Table(
        caption="Unreadable answers by extractor and provider",
        columns=(
            Column(heading="Extractor", hint="with its version"),
            *(
                Column(heading=view.name(s), hint=view.metric("unparsed_share").definition, numeric=True)
                for s in subjects
            ),
        ),
        rows=tuple(
            (
                Cell(text=f"{name} {version}"),
                *(_unread_share_cell(found.get((name, *_subject_key(s)))) for s in subjects),
            )
            for name, version in names
        ),
        more="n is prompts. Counts of answers are in tables/unparsed.csv.",
        media=ON_PAPER,
    )


def _subject_key(subject: Subject) -> tuple[str, str]:
    return subject.provider, subject.condition


def _unread_share_cell(row: UnreadAnswers | None) -> Cell:
    if row is None:
        return Cell(text=UNDEFINED, why="not asked or not answered")
    if row.share.value is None and row.waiting:
        return Cell(text="not judged", why=f"{row.waiting} answers were not tried out")
    if row.share.value is None:
        return Cell(text=UNDEFINED, why="no prompt was answered")
    interval = interval_text(row.share, "share")
    more = f" ({row.waiting} of {row.answers} answers not judged)" if row.waiting else ""
    return Cell(text=value_text(row.share.value, "share"), interval=interval + more, method=row.share.method)


def _mismatch_table(view: View) -> Table | None:
    pairs = [f for f in view.figures("answers") if f.metric == "mismatch_rate"]
    if not pairs:
        return None
    pairs.sort(key=lambda f: (-(f.estimate.value or 0), f.left, f.right or "", f.condition))
    kept = pairs[:MAX_ROWS]
    return Table(
        caption="Answers of two providers compared, most different first",
        columns=(
            Column(heading="Provider"),
            Column(heading="and"),
            Column(heading="Other answer", hint=view.metric("mismatch_rate").definition, numeric=True),
        ),
        rows=tuple(
            (
                Cell(text=view.name(Subject(provider=f.left, condition=f.condition))),
                Cell(text=f.right or UNDEFINED),
                figure_cell(f, view.metric(f.metric)),
            )
            for f in kept
        ),
        more=f"{len(pairs) - len(kept)} more pairs are in tables/answers.csv." if len(pairs) > len(kept) else "",
        folded=True,
        media=ON_PAPER,
    )
