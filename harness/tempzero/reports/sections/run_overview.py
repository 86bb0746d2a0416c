"""A View in, the run's one picture out: who agrees with itself, who with the reference, how fast, at what price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tempzero.reports.charts import shorten_middle
from tempzero.reports.figure_wording import LEVEL_WORDS, count_with_noun, look_up_cell
from tempzero.reports.lookup import Subject, View
from tempzero.reports.numbers import UNDEFINED, value_text
from tempzero.reports.overview_chart import Overview, OverviewDot, OverviewHeading, OverviewRow, OverviewTrack
from tempzero.reports.sections.speed_cost import find_token_price
from tempzero.reports.visible import to_one_line
from tempzero.types.concluded import Figure, LevelName
from tempzero.types.vocabulary import WORST_FIRST, VerdictOutcome

WIDTH = 390
MAX_ROWS = 24
_HEAD_HEIGHT, _ROW_HEIGHT, _FOOT_HEIGHT = 72, 60, 34
_OWN_X, _REFERENCE_X, _TRACK = 24, 148, 78
_RIGHT = WIDTH - 8


def lay_out_overview(view: View) -> Overview:
    """Lay out the picture: references first, then by outcome, the best first, and by sameness.

    Of more than `MAX_ROWS` rows those stay that have something to say: findings before what is inconclusive.
    """
    outcomes = {p.provider: p.outcome for p in view.verdict.providers}
    judged = [s for s in view.subjects("repeat", "coverage") if s.provider in outcomes]
    kept = sorted(judged, key=lambda s: WORST_FIRST.index(outcomes[s.provider]))[:MAX_ROWS]
    ordered = sorted(kept, key=lambda s: _rank_subject(view, s, outcomes[s.provider]))
    has_reference = any(view.reference_of(s.provider) for s in judged)
    rows = tuple(
        _lay_out_row(view, s, outcomes[s.provider], _HEAD_HEIGHT + i * _ROW_HEIGHT, has_reference=has_reference)
        for i, s in enumerate(ordered)
    )
    headings = [OverviewHeading(x=_OWN_X, text="agrees with itself", screen="itself")]
    if has_reference:
        headings.append(OverviewHeading(x=_REFERENCE_X, text="same as the reference", screen="reference"))
    if any(row.speed for row in rows):
        speed = "tokens/s" + _price_heading(rows)
        headings.append(OverviewHeading(x=_RIGHT, text=speed, screen=speed, at_end=True))
    left_out = len(judged) - len(kept)
    return Overview(
        title="Same answers at temperature zero?",
        subtitle=" · ".join(
            (
                shorten_middle(to_one_line(view.analysis.run_id), 38),
                view.analysis.created_at[:10],
                count_with_noun(view.analysis.prompts, "prompt"),
            )
        ),
        summary="; ".join(_describe_row(row) for row in rows),
        headings=tuple(headings),
        rows=rows,
        tracks=1 + has_reference,
        rows_left_out=left_out,
        more=f"and {count_with_noun(left_out, 'more row')} in the tables" if left_out else "",
        width=WIDTH,
        height=_HEAD_HEIGHT + len(rows) * _ROW_HEIGHT + _FOOT_HEIGHT + (16 if left_out else 0),
    )


def _rank_subject(view: View, subject: Subject, outcome: VerdictOutcome) -> tuple[bool, int, float, float]:
    against = view.figure("reference", "cross_emr", subject, view.reference_of(subject.provider))
    own = view.figure("repeat", "emr", subject)
    return (
        not view.is_reference(subject.provider),
        -WORST_FIRST.index(outcome),
        -_figure_value(against),
        -_figure_value(own),
    )


def _figure_value(figure: Figure | None) -> float:
    return figure.estimate.value if figure is not None and figure.estimate.value is not None else -1.0


def _lay_out_row(view: View, subject: Subject, outcome: VerdictOutcome, y: int, *, has_reference: bool) -> OverviewRow:
    name = to_one_line(view.label(subject))
    tracks = [_lay_out_track(view.figure("repeat", "emr", subject), _OWN_X)]
    if has_reference and not view.is_reference(subject.provider):
        found = view.figure("reference", "cross_emr", subject, view.reference_of(subject.provider))
        tracks.append(_lay_out_track(found, _REFERENCE_X))
    standing, brief_standing = _describe_standing(view, subject)
    return OverviewRow(
        y=y,
        name=shorten_middle(name, 36),
        full_name=name,
        outcome=outcome,
        standing=standing,
        brief_standing=brief_standing,
        tracks=tuple(tracks),
        speed=_write_speed(view, subject),
    )


_BRIEF_LEVELS: Mapping[LevelName, str] = {
    "identical": "identical",
    "rounding": "16-bit rounding",
    "declared": "as declared",
    "undecided": "too little read",
    "beyond": "beyond rounding",
    "unread": "not read",
}


def _describe_standing(view: View, subject: Subject) -> tuple[str, str]:
    """How a provider stands to its reference, or else among those that claim its model: at length and in brief."""
    for level in view.analysis.levels:
        if (level.provider, level.condition) == (subject.provider, subject.condition):
            if level.name == "rounding" and _shows_coarser(view, subject):
                return f"{LEVEL_WORDS[level.name]}, but coarser weights are shown", "coarser weights"
            if level.name == "declared":
                return level.because, _BRIEF_LEVELS[level.name]
            return LEVEL_WORDS[level.name], _BRIEF_LEVELS[level.name]
    for of in view.analysis.camps:
        if of.condition != subject.condition:
            continue
        if subject.provider in of.odd:
            return f"the odd one of {of.endpoints}", f"odd one of {of.endpoints}"
        for number, camp in enumerate(of.camps, start=1):
            if subject.provider in camp and len(of.camps) > 1:
                brief = f"camp {number} of {len(of.camps)}"
                if len(camp) == 1:
                    return f"alone in {brief}, of {of.endpoints} endpoints", brief
                return f"in {brief}, with {len(camp)} of the {of.endpoints} endpoints", brief
            if subject.provider in camp and of.endpoints > 1:
                return f"not told from the {count_with_noun(of.endpoints - 1, 'other')}", ""
    return "", ""


def _shows_coarser(view: View, subject: Subject) -> bool:
    """Whether a reading named the weights: by which tokens they turn, where by their size nothing could be said."""
    reading = view.analysis.reading
    return reading is not None and any(
        (one.provider, one.condition) == (subject.provider, subject.condition)
        and one.cause == "coarser"
        and one.strength == "shown"
        for one in reading.diagnoses
    )


def _lay_out_track(figure: Figure | None, left: int) -> OverviewTrack:
    right = left + _TRACK
    if figure is None or figure.estimate.value is None:
        return OverviewTrack(left=left, right=right, dot=None)
    estimate, value = figure.estimate, figure.estimate.value
    place = [
        None if v is None else round(left + _TRACK * min(1.0, max(0.0, v)), 1) for v in (estimate.low, estimate.high)
    ]
    return OverviewTrack(
        left=left,
        right=right,
        dot=OverviewDot(
            x=round(left + _TRACK * min(1.0, max(0.0, value)), 1),
            low=place[0],
            high=place[1],
            text=value_text(value, "share"),
        ),
    )


def _write_speed(view: View, subject: Subject) -> str:
    """`31.2 · $0.18`: tokens a second, and what a million answer tokens came to with their prompts."""
    speed = look_up_cell(view, "speed", "completion_tokens_per_s", subject).text
    price = find_token_price(view, subject)
    known = [speed] if speed != UNDEFINED else []
    if price is not None:
        known.append(f"${price:.2f}")
    return " · ".join(known)


def _price_heading(rows: Sequence[OverviewRow]) -> str:
    return " · US$/M" if any("$" in row.speed for row in rows) else ""


def _describe_row(row: OverviewRow) -> str:
    said = [f"{row.full_name}: {row.outcome}", *filter(None, [row.standing])]
    for words, track in zip(("agrees with itself", "same as the reference"), row.tracks, strict=False):
        if track.dot is not None:
            said.append(f"{words} {track.dot.text}")
    return ", ".join(said)
