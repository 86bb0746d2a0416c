"""The nouns of a history, and its files: baselines/<provider>.<suite>.json and history/nights/<night>.json in results.

A night's file is written once, in one step, when the night is decided; everything later is computed from these files.
Format 1: first version.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import quote

import msgspec

from tempzero.errors import RunFolderError, UsageError
from tempzero.records.files import write_atomically
from tempzero.types.concluded import Estimate, Figure, LevelName
from tempzero.types.recorded import IdentityLabel
from tempzero.types.vocabulary import FingerprintState

FORMAT = 2
BASELINES, HISTORY, NIGHTS = "baselines", "history", "nights"
_NIGHT_LABEL = re.compile(r"^\d{4}-\d{2}-\d{2}(-[A-Za-z0-9]{1,20})?$")

TextCounts = Mapping[str, Mapping[str, int]]
State = Literal["ok", "changed", "not seen", "other computation", "known state", "no data", "no baseline"]
"""`not seen`: changed, and tonight shows neither that nor its end. `other computation`: other
texts, and the reference reads them as rounding. `known state`: one of several, none of them new."""
CHANGED_STATES: frozenset[State] = frozenset({"changed", "not seen"})
"""A change that nobody has acknowledged, and that is not known to be over."""
STATE_WORDS: Mapping[State, str] = {
    "ok": "ok",
    "changed": "changed",
    "not seen": "changed, not seen tonight",
    "other computation": "another computation, same up to rounding",
    "known state": "one of several known states",
    "no data": "no data",
    "no baseline": "no baseline",
}
"""What a reader meets."""
# The ordinary night, and the one that asks more now and then: each is held against a baseline of its own.
Depth = Literal["nightly", "deep"]
MeasureName = Literal["accuracy", "chars", "seq_rep_4", "loop_share"]
"""Means over repeats that are kept of every question."""
EventName = IdentityLabel | Literal["prompt_tokens", "price", "refusal", "latency", "reasoning", "precision"]
Basis = Literal["whole", "spoken"]
"""What nights are compared by: whole answers, or all but their reasoning where only some of the nights show any."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One provider in one run, condensed. Questions are `<prompt id>#<digest of its words>`, texts are hashes.

    `texts` are whole answers. `reasoned` counts those that show their reasoning (None in files of before, which hold no
    reasoning), and where any does, `spoken` has the same answers without it. `settings` digests what must agree before
    two sides may be compared. `values` are means over repeats, by measure and question; `one_token` the questions that
    ask for a single token; `shown` the commonest text of each question, kept for baselines only. `model` is what it
    claims to serve, `level` how it stood to its reference in that run, None where there was none; `level_words` has the
    figures. `likelihoods`, of questions that ask for one token: the log-probabilities that each response names, where
    it does.
    """

    provider: str
    run: str
    started_at: str
    ended_at: str
    settings: str
    planned: int
    answered: int
    texts: TextCounts
    answers: TextCounts
    values: Mapping[MeasureName, Mapping[str, float]]
    prompt_tokens: Mapping[str, int]
    refused: tuple[str, ...]
    labels: Mapping[str, tuple[str, ...]]
    price: tuple[float, float] | None
    latency_s: float | None
    figures: tuple[Figure, ...] = ()
    one_token: tuple[str, ...] = ()
    shown: Mapping[str, str] = field(default_factory=dict)
    reasoned: int | None = None
    spoken: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    model: str = ""
    level: LevelName | None = None
    level_words: str = ""
    likelihoods: Mapping[str, tuple[Mapping[str, float], ...]] = field(default_factory=dict)

    def texts_by(self, basis: Basis) -> TextCounts:
        """How often each answer came, by question: the whole answers, or all but their reasoning."""
        return self.spoken if basis == "spoken" and self.reasoned else self.texts


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """What a provider is held against on one suite: the runs that somebody chose. `floor` is its own EMR in them."""

    format: int
    provider: str
    set_at: str
    suite_digest: str
    floor: Estimate
    sides: tuple[Side, ...]

    @property
    def questions(self) -> frozenset[str]:
        """All that was asked in its runs."""
        return frozenset(question for side in self.sides for question in side.texts)

    @property
    def key(self) -> str:
        """Stands for this very baseline in the nights that were held against it, also where a later tempzero keeps more
        of each run."""
        runs = [(side.run, side.started_at, side.settings, side.texts) for side in self.sides]
        stands = msgspec.json.encode([self.provider, self.set_at, self.suite_digest, runs])
        return hashlib.sha256(stands).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True, slots=True)
class NightEvent:
    """Something that a response or the configuration states, and that is not as it was: no test is needed.

    `telling` ones are worth a message of their own; the others change by themselves on many providers.
    """

    what: EventName
    before: str
    now: str
    telling: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasureComparison:
    """One measure tonight against the baseline; `p_value` is of this night alone and raises no alarm."""

    measure: str
    before: float | None
    now: Estimate
    change: Estimate | None
    p_value: float | None
    method: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TellingPrompt:
    """A prompt on which tonight differs from before: its excess divergence, and the commonest text of each side."""

    prompt: str
    excess: float
    before: str
    now: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What one night says of one provider.

    `tested` is False where there was too little data or nothing to hold it against; `reason` says which. `match` is
    agreement with the baseline, `floor` the baseline's with itself. `evidence` is an alarm from `alarm_at` on;
    `p_value` is of tonight alone, `spread` what the odds of a text are taken to vary by. `known_state` is the one that
    tonight belongs to, A being the baseline's, and `home` those that are no news; `settled` where tonight is plainly of
    that state and of no other. `window` names the nights that opened a new state: an alarm, tonight last. `since` and
    `until` name the first changed night and the last night before it. `lost` is the upper bound of the match lost over
    the last nights, and `margin` what it must stay below before a change is said to be over.
    """

    state: State
    tested: bool
    reason: str
    baseline: str | None
    p_value: float | None = None
    excess: Estimate | None = None
    match: Estimate | None = None
    floor: Estimate | None = None
    evidence: float = 0.0
    alarm_at: float = 0.0
    spread: float = 0.0
    known_state: str = ""
    home: tuple[str, ...] = ()
    settled: bool = False
    window: tuple[str, ...] = ()
    lost: float | None = None
    margin: float | None = None
    missing: int = 0
    since: str | None = None
    until: str | None = None
    changed_prompts: tuple[str, ...] = ()
    telling: tuple[TellingPrompt, ...] = ()
    events: tuple[NightEvent, ...] = ()
    lines: tuple[MeasureComparison, ...] = ()

    @property
    def alarms(self) -> bool:
        """Whether this is the night of an alarm."""
        return self.state == "changed" and bool(self.window)


@dataclass(frozen=True, kw_only=True, slots=True)
class PrecisionNight:
    """What a few short requests of the night say of the form of a provider's weights (docs/fingerprint.md).

    `moved`, by prompt and place of the answer, is its displacement along the tokens of the direction pack whose seal
    begins with `pack`; `strengths` how much of each form stands in it, `forms` those that are named. `evidence` speaks
    for a change since the first nights (`frozen` of them), an alarm from `alarm_at` on: `form` has come or gone, by
    `strength`. `since` names the night of the alarm, until that is over. `run` is the folder that holds those requests.
    """

    run: str
    pack: str
    prompts: int
    state: FingerprintState
    sentence: str
    forms: tuple[str, ...]
    size: float | None
    honest_size: float | None
    moved: Mapping[str, tuple[tuple[float | None, ...], ...]]
    strengths: Mapping[str, float]
    frozen: int = 0
    evidence: float = 1.0
    alarm_at: float = 0.0
    form: str | None = None
    strength: float = 0.0
    since: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NightEntry:
    """One provider's part of a night; `precision` where it gave log-probabilities of first tokens."""

    side: Side
    decision: Decision
    precision: PrecisionNight | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Night:
    """One night, decided."""

    format: int
    night: str
    run: str
    created_at: str
    entries: tuple[NightEntry, ...]
    depth: Depth = "nightly"

    def entry(self, provider: str) -> NightEntry | None:
        """That provider's part; None where it took none."""
        return next((e for e in self.entries if e.side.provider == provider), None)


def find_common_basis(sides: Iterable[Side]) -> Basis:
    """What these have in common: whole answers, unless only some of them ever show their reasoning."""
    return "whole" if len({bool(side.reasoned) for side in sides if side.texts}) < 2 else "spoken"


StoredKind = TypeVar("StoredKind")


@dataclass(frozen=True, kw_only=True, slots=True)
class _FormatStamp:
    """What every file here says first of all; the rest is read by whoever knows that format."""

    format: int


def check_night_label(night: str) -> str:
    """A night is named by its date, and where there are several a day, by a word after it. Raises UsageError."""
    if not _NIGHT_LABEL.match(night):
        raise UsageError(f'--night: "{night}" names no night; write a date, e.g. 2026-01-31 or 2026-01-31-noon')
    return night


def write_night(results: Path, night: Night) -> Path:
    """Put a decided night on file, in one step."""
    return _write_history_file(results / HISTORY / NIGHTS / f"{night.night}.json", night)


def read_nights(results: Path) -> tuple[Night, ...]:
    """Every night on file, in order. Raises RunFolderError for a damaged one."""
    files = sorted((results / HISTORY / NIGHTS).glob("[0-9]*.json"), key=lambda path: path.stem)
    return tuple(_read_history_file(path, Night) for path in files)


def write_baseline(results: Path, baseline: Baseline) -> Path:
    """Make this the provider's baseline, in place of those that have a question in common with it."""
    path = _write_history_file(baseline_path(results, baseline), baseline)
    for older in read_baselines(results):
        replaced = baseline_path(results, older)
        if older.provider == baseline.provider and older.questions & baseline.questions and replaced != path:
            replaced.unlink()
    return path


def read_baselines(results: Path) -> tuple[Baseline, ...]:
    """Every baseline, by provider."""
    found = [_read_history_file(path, Baseline) for path in sorted((results / BASELINES).glob("*.json"))]
    return tuple(sorted(found, key=lambda baseline: baseline.provider))


def baseline_path(results: Path, baseline: Baseline) -> Path:
    """Where a baseline stands; names of providers may hold what file systems do not take well."""
    return results / BASELINES / f"{quote(baseline.provider, safe='@+')}.{baseline.suite_digest[:12]}.json"


def choose_baseline(
    baselines: Iterable[Baseline], provider: str, suite_digest: str, asked: Set[str]
) -> Baseline | None:
    """What to hold a provider's run against: the baseline of this very suite, else that of most of its questions.

    `asked` are the keys of its questions, as `condensing.question_key` makes them.
    """
    own = [b for b in baselines if b.provider == provider]
    same = [b for b in own if b.suite_digest == suite_digest]
    near = sorted((b for b in own if b.questions & asked), key=lambda b: len(b.questions & asked))
    return same[0] if same else near[-1] if near else None


def latest_entries(nights: Sequence[Night], night: str) -> tuple[tuple[Night, NightEntry], ...]:
    """The latest entry of each provider and each kind of night, up to and with this one."""
    latest: dict[tuple[str, Depth], tuple[Night, NightEntry]] = {}
    for one in nights:
        if one.night <= night:
            latest |= {(entry.side.provider, one.depth): (one, entry) for entry in one.entries}
    return tuple(latest.values())


def drop_shown_texts(side: Side) -> Side:
    """The same for a night's file, where texts would only take room."""
    return replace(side, shown={})


def _write_history_file(path: Path, value: Night | Baseline) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, msgspec.json.encode(value) + b"\n")
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be written: {error.strerror}") from None
    return path


def _read_history_file(path: Path, kind: type[StoredKind]) -> StoredKind:
    try:
        body = path.read_bytes()
        written = msgspec.json.decode(body, type=_FormatStamp).format
        if written != FORMAT:
            raise RunFolderError(f"{path}: written in format {written}; this tempzero reads {FORMAT}: move it away")
        return msgspec.json.decode(body, type=kind)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RunFolderError(f"{path}: damaged: {error}; restore it from a copy or remove it") from None
