"""An Analysis in, tables/*.csv out: one for each kind of figure, and prompts, findings, survival, divergences.

Text cells cannot act as spreadsheet formulas; numbers have ten significant digits.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from tempzero.reports.summary import SIGNIFICANT_DIGITS
from tempzero.reports.visible import shorten, visible
from tempzero.reports.wording import trial_words
from tempzero.types.concluded import Analysis, Figure, PromptRow

KINDS = ("coverage", "repeat", "cross", "reference", "scored", "repetition", "answers", "identity", "speed", "cost")
MAX_CELL_CHARS = 2000

_FORMULA_SIGNS = tuple("=+-@＝＋－＠")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")

Value = str | int | float | None

_FIGURE = ("metric", "left", "right", "condition", "family", "k", "value", "low", "high", "n", "method", "unit")
_ESTIMATE = ("value", "low", "high", "n", "method")
_TOKEN_CAUSE = (
    "left",
    "right",
    "reference",
    "verdict",
    "at_token",
    "gap",
    "left_token",
    "left_margin",
    "left_rank",
    "right_token",
    "right_margin",
    "right_rank",
    "reason",
)
_PROMPT = (
    "prompt",
    "family",
    "provider",
    "condition",
    "planned",
    "valid",
    "censored",
    "missing",
    "distinct",
    "modal_share",
    "emr",
    "match_reference",
    "expected",
    "answers",
    "mean_chars",
    "modal_text",
)


def render(analysis: Analysis) -> dict[str, str]:
    """File name -> text of each table, in a fixed order."""
    by_kind: dict[str, list[Figure]] = {kind: [] for kind in KINDS}
    for figure in analysis.figures:
        by_kind.setdefault(figure.kind, []).append(figure)
    tables = {f"{_file_name(kind)}.csv": _csv(_FIGURE, map(_figure, rows)) for kind, rows in by_kind.items()}
    tables["prompts.csv"] = _csv(_PROMPT, map(_prompt, analysis.prompt_rows))
    tables["findings.csv"] = _csv(
        ("rule", "subject", "other", "message", "value", "low", "high", "n", "p_value", "trials", "evidence"),
        _findings(analysis),
    )
    tables["failures.csv"] = _csv(("provider", "kind", "count"), analysis.failures)
    tables["survival.csv"] = _csv(
        ("kind", "left", "right", "condition", "pairs", "position_chars", "share"), _survival(analysis)
    )
    tables["diagnoses.csv"] = _csv(
        ("provider", "condition", "reference", "cause", "strength", "value", "low", "high", "n", "message", "evidence"),
        _diagnoses(analysis),
    )
    tables["token_causes.csv"] = _csv(
        _TOKEN_CAUSE,
        _token_causes(analysis),
    )
    tables["unparsed.csv"] = _csv(
        ("extractor", "version", "provider", "condition", "answers", "unparsed", "waiting", *_ESTIMATE),
        _unread_answers(analysis),
    )
    tables["partings.csv"] = _csv(
        ("kind", "left", "right", "condition", "reference", "near_tie", "unexplained", "unread"), _partings(analysis)
    )
    tables["margins.csv"] = _csv(
        ("who", "kind", "condition", "reference", "tokens", "margin", "share"), _margins(analysis)
    )
    tables["divergences.csv"] = _csv(("prompt", "at_char", "left", "right"), _divergences(analysis))
    return tables


def _figure(figure: Figure) -> Sequence[Value]:
    e = figure.estimate
    who = (figure.metric, figure.left, figure.right, figure.condition, figure.family, figure.k)
    return (*who, e.value, e.low, e.high, e.n, e.method, figure.unit)


def _prompt(row: PromptRow) -> Sequence[Value]:
    answers = "; ".join(f"{'(unreadable)' if answer is None else answer} x{count}" for answer, count in row.answers)
    text = None if row.modal_text is None else shorten(row.modal_text, MAX_CELL_CHARS)
    return (
        row.prompt,
        row.family,
        row.provider,
        row.condition,
        row.planned,
        row.valid,
        row.censored,
        row.missing,
        row.distinct,
        row.modal_share,
        row.emr,
        row.match_reference,
        row.expected,
        answers,
        row.mean_chars,
        text,
    )


def _findings(analysis: Analysis) -> Iterator[Sequence[Value]]:
    for f in analysis.findings:
        e = f.estimate
        numbers: Sequence[Value] = (None, None, None, None) if e is None else (e.value, e.low, e.high, e.n)
        evidence = "; ".join(trial_words(t) for t in f.evidence)
        yield (f.rule, f.subject, f.other, f.message, *numbers, f.p_value, len(f.evidence), evidence)


def _survival(analysis: Analysis) -> Iterator[Sequence[Value]]:
    for c in analysis.curves:
        for position, share in zip(c.positions, c.shares, strict=True):
            yield (c.kind, c.left, c.right, c.condition, c.pairs, position, share)


def _divergences(analysis: Analysis) -> Iterator[Sequence[Value]]:
    for d in analysis.divergences:
        yield (d.prompt, d.at_char, trial_words(d.left), trial_words(d.right))


def _diagnoses(analysis: Analysis) -> Iterator[Sequence[Value]]:
    for d in analysis.reading.diagnoses if analysis.reading else ():
        e = d.estimate
        numbers: Sequence[Value] = (None, None, None, None) if e is None else (e.value, e.low, e.high, e.n)
        evidence = "; ".join(trial_words(t) for t in d.evidence)
        yield (d.provider, d.condition, d.reference, d.cause, d.strength, *numbers, d.message, evidence)


def _token_causes(analysis: Analysis) -> Iterator[Sequence[Value]]:
    for p in analysis.reading.pairs if analysis.reading else ():
        tokens = [(t.text, t.margin, t.rank) if t else (None, None, None) for t in (p.left_token, p.right_token)]
        sides = (trial_words(p.left), trial_words(p.right))
        yield (*sides, p.reference, p.verdict, p.at_token, p.gap, *tokens[0], *tokens[1], p.reason)


def _partings(analysis: Analysis) -> Iterator[Sequence[Value]]:
    for p in analysis.reading.partings if analysis.reading else ():
        yield (p.kind, p.left, p.right, p.condition, p.reference, p.near_tie, p.unexplained, p.unread)


def _margins(analysis: Analysis) -> Iterator[Sequence[Value]]:
    for p in analysis.reading.profiles if analysis.reading else ():
        for at, share in zip(p.at, p.shares, strict=True):
            yield (p.who, p.kind, p.condition, p.reference, p.tokens, at, share)


def _csv(columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _cell(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value + 0.0:.{SIGNIFICANT_DIGITS}g}" if math.isfinite(value) else ""  # + 0.0: no negative zero
    return str(value) if isinstance(value, int) else _harmless(value)


@lru_cache(maxsize=4096)  # providers, families and conditions come again in every row
def _harmless(text: str) -> str:
    """A text that no spreadsheet takes for a formula (full-width signs count too), without hidden characters."""
    shown = visible(shorten(text, 16 * MAX_CELL_CHARS))
    risky = shown.lstrip()[:1] in _FORMULA_SIGNS or shown[:1] in ("\t", "\n")
    return f"'{shown}" if risky and not _NUMBER.fullmatch(shown) else shown


def _unread_answers(analysis: Analysis) -> Iterator[Sequence[Value]]:
    for row in analysis.unread_answers:
        share = (row.share.value, row.share.low, row.share.high, row.share.n, row.share.method)
        yield (row.extractor, row.version, row.provider, row.condition, row.answers, row.unparsed, row.waiting, *share)


def _file_name(kind: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in kind) or "_"
