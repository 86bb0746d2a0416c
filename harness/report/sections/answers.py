"""Figures of kind answers in, the answer to "Are the answers right?" out."""

from __future__ import annotations

from harness.report.document import ON_PAPER, Cell, Column, Section, Table
from harness.report.legend import term, term_of
from harness.report.lookup import Subject, View
from harness.report.numbers import UNDEFINED
from harness.report.sections.figure_tables import MAX_ROWS, other_figures, provider_table
from harness.report.wording import cell

_METRICS = ("accuracy", "unparsed_share", "verbosity_chars")
_REPEAT = ("accuracy_spread", "best_accuracy", "worst_accuracy")


def build(view: View) -> Section:
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
    further = other_figures(view, "answers", (*_METRICS, "mismatch_rate"))
    return Section(
        anchor="answers",
        title="Are the answers right?",
        lead="Read by each prompt's extractor and compared with the expected answer. What cannot be read is counted, "
        "not guessed.",
        blocks=tuple(b for b in (table, repeats, _mismatch(view), further) if b is not None),
    )


def _mismatch(view: View) -> Table | None:
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
            Column(heading="Other answer", hint=term("mismatch_rate").definition, numeric=True),
        ),
        rows=tuple(
            (
                Cell(text=view.name(Subject(provider=f.left, condition=f.condition))),
                Cell(text=f.right or UNDEFINED),
                cell(f, term_of(f)),
            )
            for f in kept
        ),
        more=f"{len(pairs) - len(kept)} more pairs are in tables/answers.csv." if len(pairs) > len(kept) else "",
        folded=True,
        media=ON_PAPER,
    )
