"""An Overview in, the bytes of a PNG out: the same picture for places that show no SVG, with the letters drawn in."""

from __future__ import annotations

from io import BytesIO

from PIL import Image, ImageDraw, ImageFont

from tempzero.reports.overview_chart import Overview, OverviewRow, OverviewTrack
from tempzero.types.vocabulary import VerdictOutcome

_SCALE = 3
_PAPER, _INK, _DIM, _RULE, _DOT, _SPAN = "#ffffff", "#1b1f24", "#5a6472", "#d9dee5", "#0e7490", "#86b9c7"
# What the letters that come with the library lack.
_DRAWN_SIGNS = str.maketrans({"–": "-", "…": "...", "−": "-"})
_OUTCOME_COLOURS: dict[VerdictOutcome, str] = {"finding": "#b3261e", "inconclusive": "#8a5a00", "pass": "#19693c"}


def draw_overview_png(overview: Overview) -> bytes:
    """The picture on white, three pixels for each of its units. Same picture, same bytes."""
    image = Image.new("RGB", (overview.width * _SCALE, overview.height * _SCALE), _PAPER)
    pen = _Pen(image)
    pen.write(8, 20, overview.title, size=14, bold=True)
    pen.write(8, 37, overview.subtitle, colour=_DIM)
    for heading in overview.headings:
        pen.write(heading.x, 60, heading.text, colour=_DIM, end=heading.at_end)
    for row in overview.rows:
        _draw_row(pen, overview, row)
    _draw_legend(pen, overview)
    out = BytesIO()
    image.save(out, "PNG")  # `optimize` takes five times as long for three per cent
    return out.getvalue()


class _Pen:
    """Draws in the picture's own units."""

    def __init__(self, image: Image.Image) -> None:
        self._draw = ImageDraw.Draw(image)

    def write(
        self,
        x: float,
        y: float,
        text: str,
        *,
        colour: str = _INK,
        size: int = 11,
        bold: bool = False,
        end: bool = False,
    ) -> None:
        """Text on its base line `y`, from `x` on or up to it."""
        self._draw.text(
            (x * _SCALE, y * _SCALE),
            text.translate(_DRAWN_SIGNS),
            fill=colour,
            font=ImageFont.load_default(size * _SCALE),
            anchor="rs" if end else "ls",
            stroke_width=0.9 if bold else 0,
            stroke_fill=colour,
        )

    def line(self, points: list[tuple[float, float]], *, colour: str, width: float) -> None:
        """A line through points."""
        self._draw.line([(x * _SCALE, y * _SCALE) for x, y in points], fill=colour, width=round(width * _SCALE))

    def disc(self, x: float, y: float, radius: float, *, colour: str, ring: bool = False) -> None:
        """A filled circle, or its rim alone."""
        box = [(x - radius) * _SCALE, (y - radius) * _SCALE, (x + radius) * _SCALE, (y + radius) * _SCALE]
        if ring:
            self._draw.ellipse(box, outline=colour, width=2 * _SCALE)
        else:
            self._draw.ellipse(box, fill=colour)

    def triangle(self, x: float, y: float, *, colour: str) -> None:
        """A triangle that points up."""
        corners = ((x, y - 5), (x + 5, y + 4), (x - 5, y + 4))
        self._draw.polygon([(a * _SCALE, b * _SCALE) for a, b in corners], fill=colour)


def _draw_row(pen: _Pen, overview: Overview, row: OverviewRow) -> None:
    right = overview.width - 8
    pen.line([(8, row.y), (right, row.y)], colour=_RULE, width=1)
    _draw_mark(pen, row.outcome, 13, row.y + 13)
    pen.write(24, row.y + 17, row.name, size=12, bold=True)
    pen.write(right, row.y + 17, row.outcome, colour=_OUTCOME_COLOURS[row.outcome], bold=True, end=True)
    for track in row.tracks:
        _draw_track(pen, track, row.y + 32)
    pen.write(right, row.y + 36, row.speed, end=True)
    pen.write(24, row.y + 52, row.standing, colour=_DIM)


def _draw_track(pen: _Pen, track: OverviewTrack, y: int) -> None:
    pen.line([(track.left, y), (track.right, y)], colour=_RULE, width=2)
    if track.dot is None:
        pen.write(track.right + 8, y + 4, "–", colour=_DIM)
        return
    if track.dot.low is not None and track.dot.high is not None:
        pen.line([(track.dot.low, y), (track.dot.high, y)], colour=_SPAN, width=4)
    pen.disc(track.dot.x, y, 4, colour=_DOT)
    pen.write(track.right + 8, y + 4, track.dot.text)


def _draw_mark(pen: _Pen, outcome: VerdictOutcome, x: float, y: float) -> None:
    colour = _OUTCOME_COLOURS[outcome]
    if outcome == "finding":
        pen.triangle(x, y, colour=colour)
    elif outcome == "inconclusive":
        pen.disc(x, y, 5, colour=colour, ring=True)
    else:
        pen.line([(x - 5, y), (x - 1, y + 4), (x + 5, y - 4)], colour=colour, width=2)


def _draw_legend(pen: _Pen, overview: Overview) -> None:
    foot = overview.height - 12
    if overview.more:
        pen.write(8, foot - 17, overview.more, colour=_DIM)
    outcomes: tuple[tuple[VerdictOutcome, int, int], ...] = (
        ("pass", 13, 22),
        ("inconclusive", 58, 67),
        ("finding", 152, 161),
    )
    for outcome, mark_x, text_x in outcomes:
        _draw_mark(pen, outcome, mark_x, foot - 4)
        pen.write(text_x, foot, outcome, colour=_DIM)
    pen.line([(212, foot - 4), (238, foot - 4)], colour=_SPAN, width=4)
    pen.disc(225, foot - 4, 4, colour=_DOT)
    pen.write(245, foot, "share, 95 % interval", colour=_DIM)
