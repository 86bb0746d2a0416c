"""Figures of kind identity and prompt_tokens agreement in, "Who really answered?" out."""

from __future__ import annotations

from tempzero.reports.document import ON_PAPER, Cell, Column, Section, Table
from tempzero.reports.legend import term, term_of
from tempzero.reports.lookup import Subject, View
from tempzero.reports.numbers import UNDEFINED
from tempzero.reports.sections.figure_tables import MAX_ROWS, other_figures
from tempzero.reports.wording import cell, named_cell

_WITH = {"reference": "With the reference", "cross": "With each other"}
_METRICS = ("served_models", "fingerprints", "backends")


def build(view: View) -> Section:
    """What the responses say of who made them."""
    tables = [_prompt_tokens(view, kind) for kind in ("reference", "cross")]
    further = other_figures(view, "identity", _METRICS)
    return Section(
        anchor="identity",
        title="Who really answered?",
        lead="More than one served model, fingerprint or backend means that the run met more than one system. Unequal "
        "prompt_tokens for the same messages mean another template, tokenizer or a hidden system prompt.",
        blocks=tuple(b for b in (_counts(view), *tables, further) if b is not None),
        media=ON_PAPER,
    )


def _counts(view: View) -> Table:
    """None counted is none named: a dash, and no 0 that could be taken for a measurement."""
    return Table(
        caption="Different values the responses name",
        columns=(
            Column(heading="Provider"),
            *(Column(heading=term(m).heading, hint=term(m).definition, numeric=True) for m in _METRICS),
        ),
        rows=tuple(
            (Cell(text=view.label(s)), *(_counted(named_cell(view, "identity", m, s)) for m in _METRICS))
            for s in view.subjects("identity")
        ),
    )


def _counted(found: Cell) -> Cell:
    return found if found.text != "0" else Cell(text=UNDEFINED, why=term(_METRICS[0]).undefined, tone="muted")


def _prompt_tokens(view: View, kind: str) -> Table | None:
    metric = "prompt_tokens_agreement"
    found = [f for f in view.figures(kind) if f.metric == metric]
    if not found:
        return None
    found.sort(key=lambda f: (2 if f.estimate.value is None else f.estimate.value, f.left, f.right or ""))
    kept = found[:MAX_ROWS]
    return Table(
        caption=f"Do both count the same prompt tokens? {_WITH[kind]}",
        columns=(
            Column(heading="Provider"),
            Column(heading="and"),
            Column(heading=term(metric).heading, hint=term(metric).definition, numeric=True),
        ),
        rows=tuple(
            (
                Cell(text=view.name(Subject(provider=f.left, condition=f.condition))),
                Cell(text=f.right or ""),
                cell(f, term_of(f)),
            )
            for f in kept
        ),
        more=f"{len(found) - len(kept)} more pairs are in tables/{kind}.csv." if len(found) > len(kept) else "",
        folded=kind == "cross",
    )
