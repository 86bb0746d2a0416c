"""The parts a report is made of; sections build them, and each output (HTML, Markdown, screen) draws them its way.

Every text in here is raw, as hostile as what a model wrote: escaping is the drawing side's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tempzero.reports.answer_strip import Strip, StripState
from tempzero.reports.charts import CurveChart, HeatMap
from tempzero.reports.overview_chart import Overview
from tempzero.reports.parting_histogram import Histogram
from tempzero.reports.scatter_chart import Scatter
from tempzero.reports.text_diff import PieceKind
from tempzero.types.asked import Trial
from tempzero.types.concluded import Divergence

Tone = Literal["plain", "good", "watch", "bad", "muted"]
Medium = Literal["html", "markdown", "screen"]
EVERYWHERE: frozenset[Medium] = frozenset({"html", "markdown", "screen"})
ON_PAPER: frozenset[Medium] = frozenset({"html", "markdown"})
IN_HTML: frozenset[Medium] = frozenset({"html"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Whisker:
    """A value with its interval inside [0, 1], to be drawn beside the number."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One table cell. `interval` follows the value; `why` says why a value or an interval is not there.

    `method` names the interval, for those who ask.
    """

    text: str
    interval: str = ""
    why: str = ""
    tone: Tone = "plain"
    whisker: Whisker | None = None
    method: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A table column; `hint` explains the heading, `screen` keeps it on the screen as well."""

    heading: str
    hint: str = ""
    numeric: bool = False
    screen: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows under columns; the first column heads its row.

    `grouped`: neighbouring rows of one first cell belong together. `folded`: shown on demand
    where that is possible. `more`: what was left out, and where it is.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    grouped: bool = False
    folded: bool = False
    more: str = ""
    media: frozenset[Medium] = EVERYWHERE


@dataclass(frozen=True, kw_only=True, slots=True)
class Paragraph:
    """Running text."""

    text: str
    tone: Tone = "plain"
    media: frozenset[Medium] = EVERYWHERE


@dataclass(frozen=True, kw_only=True, slots=True)
class Bullets:
    """Short sentences, one below the other."""

    items: tuple[str, ...]
    media: frozenset[Medium] = EVERYWHERE


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """Names with their values; values are shown in a fixed-width face."""

    pairs: tuple[tuple[str, str], ...]
    media: frozenset[Medium] = EVERYWHERE


@dataclass(frozen=True, kw_only=True, slots=True)
class Definition:
    """A term of the legend."""

    name: str
    metric: str
    text: str
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Definitions:
    """The legend."""

    items: tuple[Definition, ...]
    media: frozenset[Medium] = ON_PAPER


@dataclass(frozen=True, kw_only=True, slots=True)
class VerdictItem:
    """One provider's verdict: in plain sentences, in main figures (name, value), and with its reasons.

    `findings` are their anchors and titles.
    """

    anchor: str
    provider: str
    role: str
    outcome: Literal["pass", "finding", "inconclusive"]
    sentences: tuple[str, ...]
    reasons: tuple[str, ...]
    figures: tuple[tuple[str, Cell], ...]
    findings: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdicts:
    """The run's verdict in one sentence, and every provider's, worst first."""

    outcome: Literal["pass", "finding", "inconclusive"]
    headline: str
    judged: tuple[VerdictItem, ...]
    media: frozenset[Medium] = EVERYWHERE


@dataclass(frozen=True, kw_only=True, slots=True)
class FindingItem:
    """One finding with the trials that prove it, and where their prompts stand on the page (empty: not there).

    `more` says how many of them are not listed here.
    """

    title: str
    rule: str
    who: str
    message: str
    figure: str
    evidence: tuple[Trial, ...]
    anchors: tuple[str, ...]
    more: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FindingList:
    """The findings."""

    items: tuple[FindingItem, ...]
    media: frozenset[Medium] = ON_PAPER


@dataclass(frozen=True, kw_only=True, slots=True)
class TextSide:
    """One of two compared texts around the first difference: shared start, differing part, shared end."""

    who: str
    before: str
    first: str
    rest: str
    after: str
    omitted_before: int
    omitted_after: int
    char: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TextPair:
    """Two responses to one prompt, side by side."""

    divergence: Divergence
    title: str
    left: TextSide
    right: TextSide


@dataclass(frozen=True, kw_only=True, slots=True)
class TextPairs:
    """Divergences of one sort, each as two texts side by side; `more` says what was left out."""

    caption: str
    pairs: tuple[TextPair, ...]
    more: str = ""
    media: frozenset[Medium] = ON_PAPER


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Tokens that match (level 0), or one that does not: 1 to 4 by its margin. `parts`: here the two texts part."""

    text: str
    level: int
    hint: str = ""
    parts: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadSide:
    """One response as the reference reads it, around the first token that differs."""

    who: str
    summary: str
    pieces: tuple[Piece, ...]
    omitted_before: int
    omitted_after: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadPair:
    """Two responses that part, with what the reference says of the token where they do."""

    title: str
    verdict: str
    sides: tuple[ReadSide, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadPairs:
    """Divergences as the reference reads them."""

    caption: str
    pairs: tuple[ReadPair, ...]
    more: str = ""
    media: frozenset[Medium] = ON_PAPER


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """What one provider answered to one prompt: the answers by letter, and in words."""

    who: str
    text: str
    state: StripState
    hint: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerPiece:
    """A run of one answer: `same` as in the commonest one, `new`, or `gone` from it.

    `level` is 0 where the reference would have said the same or read nothing, else 1 to 4 by the margin. `skipped`
    characters from `start` on are those of the commonest answer and stand there only.
    """

    text: str
    kind: PieceKind = "same"
    level: int = 0
    hint: str = ""
    start: int = 0
    skipped: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerPart:
    """One part of an answer. `name` is empty for the text; `folded`: the reasoning, which is long."""

    name: str
    pieces: tuple[AnswerPiece, ...]
    folded: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerItem:
    """One distinct answer: its letter, who gave it how often, what is to be said of it, and its parts."""

    letter: str
    given: str
    notes: str
    parts: tuple[AnswerPart, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptItem:
    """One prompt: what it asked, what each provider answered, and every distinct answer, the commonest first."""

    anchor: str
    name: str
    family: str
    summary: str
    differs: bool
    marks: tuple[Mark, ...]
    wording: tuple[tuple[str, str], ...]
    expected: str
    rows: tuple[tuple[str, ...], ...]
    answers: tuple[AnswerItem, ...]
    more: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptList:
    """Prompts, most divergent first; `more` says what was left out."""

    providers: tuple[str, ...]
    families: tuple[str, ...]
    columns: tuple[str, ...]
    items: tuple[PromptItem, ...]
    more: str


Chart = HeatMap | CurveChart | Histogram | Scatter | Strip
"""What is drawn as a picture, and kept as a file of its own in the run folder's charts/."""

Block = (
    Table
    | Paragraph
    | Bullets
    | Facts
    | Definitions
    | Verdicts
    | FindingList
    | TextPairs
    | ReadPairs
    | Chart
    | Overview
    | PromptList
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A question with its answer. `lead` says in one or two sentences what one sees."""

    anchor: str
    title: str
    lead: str
    blocks: tuple[Block, ...]
    media: frozenset[Medium] = EVERYWHERE


def blocks_for_medium(section: Section, medium: Medium) -> list[Block]:
    """The section's blocks for one medium; charts are drawn in HTML only, their tables everywhere."""
    return [b for b in section.blocks if medium in _media_of(b)]


def _media_of(block: Block) -> frozenset[Medium]:
    match block:
        case HeatMap() | CurveChart() | Histogram() | Scatter() | Strip() | PromptList():
            return IN_HTML
        case Overview():
            return ON_PAPER
        case _:
            return block.media
