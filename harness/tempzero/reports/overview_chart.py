"""The run's one picture as geometry: a row for each provider, drawn as SVG and as PNG.

It is as wide as a telephone's screen, so that its letters stay legible there; elsewhere it is drawn larger. Outcomes
differ by shape and word as well as by colour.
"""

from __future__ import annotations

from dataclasses import dataclass

from tempzero.types.vocabulary import VerdictOutcome


@dataclass(frozen=True, kw_only=True, slots=True)
class OverviewDot:
    """A share on its track, in pixels: the dot, and the ends of its interval (None where it has none)."""

    x: float
    low: float | None
    high: float | None
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class OverviewTrack:
    """The line from 0 to 1 on which a dot lies; without a dot nothing was measured."""

    left: int
    right: int
    dot: OverviewDot | None


@dataclass(frozen=True, kw_only=True, slots=True)
class OverviewRow:
    """One provider; `y` is the row's upper edge.

    `standing` says how it stands to the reference, or to its peers, `brief_standing` the same for where there is less
    room.
    """

    y: int
    name: str
    full_name: str
    outcome: VerdictOutcome
    standing: str
    brief_standing: str
    tracks: tuple[OverviewTrack, ...]
    speed: str


@dataclass(frozen=True, kw_only=True, slots=True)
class OverviewHeading:
    """What stands above a column, from `x` on or, `at_end`, up to it; `screen` where there is less room."""

    x: int
    text: str
    screen: str
    at_end: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Overview:
    """The whole picture; `summary` says it in words for those who do not see it. `tracks`: how many a row may have."""

    title: str
    subtitle: str
    summary: str
    headings: tuple[OverviewHeading, ...]
    rows: tuple[OverviewRow, ...]
    tracks: int
    rows_left_out: int
    more: str
    width: int
    height: int
