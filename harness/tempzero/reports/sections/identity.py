"""Figures of kind identity and prompt_tokens agreement in, "Who really answered?" out."""

from __future__ import annotations

from collections.abc import Mapping

from tempzero.reports.document import ON_PAPER, Cell, Column, Section, Table
from tempzero.reports.figure_wording import figure_cell, look_up_cell
from tempzero.reports.lookup import Subject, View
from tempzero.reports.numbers import UNDEFINED
from tempzero.reports.sections.figure_tables import MAX_ROWS, further_figures_table, metric_column
from tempzero.reports.visible import shorten_text
from tempzero.types.vocabulary import PAIR_KINDS, KindName, MetricName, NameStanding

_WITH_WORDS: Mapping[KindName, str] = {"reference": "With the reference", "cross": "With each other"}
_STANDING_WORDS: Mapping[NameStanding, str] = {
    "same": "the model asked for",
    "alias": "another name for it",
    "other": "another model",
}
_NAME_CHARS = 60
_METRICS: tuple[MetricName, ...] = ("served_models", "fingerprints", "backends")


def build_identity_section(view: View) -> Section:
    """What the responses say of who made them."""
    tables = [_prompt_tokens_table(view, kind) for kind in PAIR_KINDS]
    further = further_figures_table(view, "identity", _METRICS)
    return Section(
        anchor="identity",
        title="Who really answered?",
        lead="More than one served model or backend means that the run met more than one system; fingerprints change "
        "in normal service and are only counted. Unequal prompt_tokens for the same messages mean another template, "
        "tokenizer or a hidden system prompt.",
        blocks=tuple(b for b in (_served_table(view), _identity_table(view), *tables, further) if b is not None),
    )


def _served_table(view: View) -> Table | None:
    """The models that answered, by name."""
    served = view.analysis.served
    if not served:
        return None
    kept = served[:MAX_ROWS]
    upstreams = any(s.backend is not None for s in kept)
    return Table(
        caption="The models that answered",
        columns=(
            Column(heading="Provider"),
            Column(heading="Asked for", hint="the field model of the request"),
            Column(heading="Answered as", hint="the field model of the response"),
            Column(heading="That is"),
            *((Column(heading="Upstream", hint="the field provider of the response"),) if upstreams else ()),
            Column(heading="Answers", numeric=True),
            Column(heading="Fingerprints", hint="different values of system_fingerprint", numeric=True, screen=False),
        ),
        rows=tuple(
            (
                Cell(text=view.label(Subject(provider=s.provider, condition=s.condition))),
                Cell(text=s.asked),
                Cell(text="no name" if s.served_model is None else shorten_text(s.served_model, _NAME_CHARS)),
                Cell(text=_STANDING_WORDS[s.standing] if s.standing else ""),
                *((Cell(text="" if s.backend is None else shorten_text(s.backend, _NAME_CHARS)),) if upstreams else ()),
                Cell(text=f"{s.answers:,}"),
                Cell(text=f"{s.fingerprints:,}"),
            )
            for s in kept
        ),
        grouped=True,
        more=f"{len(served) - len(kept)} more are in tables/served.csv." if len(served) > len(kept) else "",
    )


def _identity_table(view: View) -> Table:
    """None counted is none named: a dash, and no 0 that could be taken for a measurement."""
    return Table(
        caption="Different values the responses name",
        columns=(
            Column(heading="Provider"),
            *(metric_column(view, m) for m in _METRICS),
        ),
        rows=tuple(
            (Cell(text=view.label(s)), *(_dash_for_zero(view, look_up_cell(view, "identity", m, s)) for m in _METRICS))
            for s in view.subjects("identity")
        ),
        media=ON_PAPER,
    )


def _dash_for_zero(view: View, found: Cell) -> Cell:
    return found if found.text != "0" else Cell(text=UNDEFINED, why=view.metric(_METRICS[0]).undefined, tone="muted")


def _prompt_tokens_table(view: View, kind: KindName) -> Table | None:
    metric: MetricName = "prompt_tokens_agreement"
    found = [f for f in view.figures(kind) if f.metric == metric]
    if not found:
        return None
    found.sort(key=lambda f: (2 if f.estimate.value is None else f.estimate.value, f.left, f.right or ""))
    kept = found[:MAX_ROWS]
    return Table(
        caption=f"Do both count the same prompt tokens? {_WITH_WORDS[kind]}",
        columns=(
            Column(heading="Provider"),
            Column(heading="and"),
            metric_column(view, metric),
        ),
        rows=tuple(
            (
                Cell(text=view.name(Subject(provider=f.left, condition=f.condition))),
                Cell(text=f.right or ""),
                figure_cell(f, view.metric(f.metric)),
            )
            for f in kept
        ),
        more=f"{len(found) - len(kept)} more pairs are in tables/{kind}.csv." if len(found) > len(kept) else "",
        folded=kind == "cross",
        media=ON_PAPER,
    )
