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

from tempzero.reports.figure_wording import trial_words
from tempzero.reports.summary import SIGNIFICANT_DIGITS
from tempzero.reports.visible import make_visible, shorten_text
from tempzero.types.concluded import Analysis, Figure, PromptRow
from tempzero.types.vocabulary import KindName

MAX_CELL_CHARS = 2000

_FORMULA_SIGNS = tuple("=+-@＝＋－＠")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")

CellValue = str | int | float | None

_FIGURE_COLUMNS = (
    "metric",
    "left",
    "right",
    "condition",
    "family",
    "k",
    "part",
    "value",
    "low",
    "high",
    "n",
    "method",
    "unit",
)
_ESTIMATE_COLUMNS = ("value", "low", "high", "n", "method")
_TOKEN_CAUSE_COLUMNS = (
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
_CALL_COUNT_COLUMNS = (
    "provider",
    "condition",
    "family",
    "answered",
    "failed",
    "finish_stop",
    "finish_tool_calls",
    "finish_others",
    "others",
    "calls_valid",
    "calls_invalid",
)
_CONVERSATION_COLUMNS = (
    "kind",
    "left",
    "right",
    "condition",
    "conversations",
    "round",
    "share_alike",
    "own_repeats_alike",
    "first_round",
    "p_value",
)
_OUTCOME_COLUMNS = (
    "provider",
    "condition",
    "planned",
    "answered",
    "cut_at_limit",
    "cut_otherwise",
    "spent_on_reasoning",
    "empty",
    "excluded",
)
_PROMPT_COLUMNS = (
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
_NUMBERS = ("value", "low", "high", "n")
_LEVEL_COLUMNS = (
    "provider",
    "condition",
    "reference",
    "level",
    "prompts",
    "differ",
    "tokens",
    "missed",
    "largest_margin",
    "scale",
    "scale_low",
    "scale_high",
    "allowed",
    "basis",
    "more_tokens",
    "declared_standing",
    "declared_because",
    "message",
)


def render_tables(analysis: Analysis) -> dict[str, str]:
    """File name -> text of each table, in a fixed order."""
    by_kind: dict[KindName, list[Figure]] = {kind.name: [] for kind in analysis.vocabulary.kinds}
    for figure in analysis.figures:
        by_kind[figure.kind].append(figure)
    tables = {f"{kind}.csv": render_csv(_FIGURE_COLUMNS, map(_figure_row, rows)) for kind, rows in by_kind.items()}
    tables["prompts.csv"] = render_csv(_PROMPT_COLUMNS, map(_prompt_row, analysis.prompt_rows))
    tables["findings.csv"] = render_csv(
        ("rule", "subject", "other", "weight", "message", *_NUMBERS, "p_value", "trials", "evidence"),
        _finding_rows(analysis),
    )
    tables["levels.csv"] = render_csv(_LEVEL_COLUMNS, _level_rows(analysis))
    tables["camps.csv"] = render_csv(("claimed_model", "condition", "provider", "camp", "odd"), _camp_rows(analysis))
    tables["call_counts.csv"] = render_csv(
        _CALL_COUNT_COLUMNS, (tuple(getattr(c, column) for column in _CALL_COUNT_COLUMNS) for c in analysis.call_counts)
    )
    tables["conversations.csv"] = render_csv(_CONVERSATION_COLUMNS, _conversation_rows(analysis))
    tables["failures.csv"] = render_csv(
        ("provider", "kind", "count", "prompts", "said"),
        ((one.provider, one.kind, one.count, one.prompts, one.said) for one in analysis.failures),
    )
    tables["survival.csv"] = render_csv(
        ("kind", "left", "right", "condition", "part", "pairs", "position_chars", "share"), _survival_rows(analysis)
    )
    tables["diagnoses.csv"] = render_csv(
        ("provider", "condition", "reference", "cause", "strength", "value", "low", "high", "n", "message", "evidence"),
        _diagnosis_rows(analysis),
    )
    tables["token_causes.csv"] = render_csv(
        _TOKEN_CAUSE_COLUMNS,
        _token_cause_rows(analysis),
    )
    tables["unparsed.csv"] = render_csv(
        ("extractor", "version", "provider", "condition", "answers", "unparsed", "waiting", *_ESTIMATE_COLUMNS),
        _unread_answer_rows(analysis),
    )
    tables["partings.csv"] = render_csv(
        ("kind", "left", "right", "condition", "reference", "near_tie", "unexplained", "unread"),
        _near_tie_rows(analysis),
    )
    tables["margins.csv"] = render_csv(
        ("who", "kind", "condition", "reference", "tokens", "margin", "share"), _margin_rows(analysis)
    )
    tables["divergences.csv"] = render_csv(("prompt", "part", "at_char", "left", "right"), _divergence_rows(analysis))
    tables["outcomes.csv"] = render_csv(_OUTCOME_COLUMNS, _outcome_rows(analysis))
    tables["served.csv"] = render_csv(
        ("provider", "condition", "asked", "served_model", "standing", "backend", "answers", "fingerprints"),
        _served_rows(analysis),
    )
    tables["flags.csv"] = render_csv(
        ("provider", "condition", "flag", "severity", "count", "attempts", "words", "rule", "trials"),
        _flag_rows(analysis),
    )
    return tables


def _figure_row(figure: Figure) -> Sequence[CellValue]:
    e = figure.estimate
    who = (figure.metric, figure.left, figure.right, figure.condition, figure.family, figure.k, figure.part)
    return (*who, e.value, e.low, e.high, e.n, e.method, figure.unit)


def _prompt_row(row: PromptRow) -> Sequence[CellValue]:
    answers = "; ".join(f"{'(unreadable)' if answer is None else answer} x{count}" for answer, count in row.answers)
    text = None if row.modal_text is None else shorten_text(row.modal_text, MAX_CELL_CHARS)
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


def _finding_rows(analysis: Analysis) -> Iterator[Sequence[CellValue]]:
    for f in analysis.findings:
        e = f.estimate
        numbers: Sequence[CellValue] = (None, None, None, None) if e is None else (e.value, e.low, e.high, e.n)
        evidence = "; ".join(trial_words(t) for t in f.evidence)
        yield (f.rule, f.subject, f.other, f.weight, f.message, *numbers, f.p_value, len(f.evidence), evidence)


def _level_rows(analysis: Analysis) -> Iterator[Sequence[CellValue]]:
    for one in analysis.levels:
        scale = (None, None, None) if one.scale is None else (one.scale.value, one.scale.low, one.scale.high)
        counts = (one.prompts, one.differ, one.tokens, one.missed, one.largest_margin)
        who = (one.provider, one.condition, one.reference, one.name)
        yield (*who, *counts, *scale, one.allowed, one.basis, one.more_tokens, one.standing, one.because, one.message)


def _camp_rows(analysis: Analysis) -> Iterator[Sequence[CellValue]]:
    for of in analysis.camps:
        for number, members in enumerate(of.camps, start=1):
            for name in members:
                yield (of.claimed_model, of.condition, name, number, int(name in of.odd))


def _conversation_rows(analysis: Analysis) -> Iterator[Sequence[CellValue]]:
    for c in analysis.conversations:
        floors = c.floors or (None,) * len(c.shares)
        for number, (share, floor) in enumerate(zip(c.shares, floors, strict=True), start=1):
            yield (
                c.kind,
                c.left,
                c.right,
                c.condition,
                c.conversations,
                number,
                share,
                floor,
                c.first_round,
                c.p_value,
            )


def _survival_rows(analysis: Analysis) -> Iterator[Sequence[CellValue]]:
    for c in analysis.curves:
        for position, share in zip(c.positions, c.shares, strict=True):
            yield (c.kind, c.left, c.right, c.condition, c.part, c.pairs, position, share)


def _divergence_rows(analysis: Analysis) -> Iterator[Sequence[CellValue]]:
    for d in analysis.divergences:
        yield (d.prompt, d.part, d.at_char, trial_words(d.left), trial_words(d.right))


def _outcome_rows(analysis: Analysis) -> Iterator[Sequence[CellValue]]:
    return (tuple(getattr(o, column) for column in _OUTCOME_COLUMNS) for o in analysis.outcomes)


def _served_rows(analysis: Analysis) -> Iterator[Sequence[CellValue]]:
    for s in analysis.served:
        yield (s.provider, s.condition, s.asked, s.served_model, s.standing, s.backend, s.answers, s.fingerprints)


def _flag_rows(analysis: Analysis) -> Iterator[Sequence[CellValue]]:
    meanings = {m.name: m for m in analysis.vocabulary.flags}
    for f in analysis.flags:
        meaning = meanings.get(f.flag)
        said = (meaning.severity, meaning.words, meaning.rule) if meaning else (None, None, None)
        trials = "; ".join(trial_words(t) for t in f.trials)
        yield (f.provider, f.condition, f.flag, said[0], f.count, f.attempts, said[1], said[2], trials)


def _diagnosis_rows(analysis: Analysis) -> Iterator[Sequence[CellValue]]:
    for d in analysis.reading.diagnoses if analysis.reading else ():
        e = d.estimate
        numbers: Sequence[CellValue] = (None, None, None, None) if e is None else (e.value, e.low, e.high, e.n)
        evidence = "; ".join(trial_words(t) for t in d.evidence)
        yield (d.provider, d.condition, d.reference, d.cause, d.strength, *numbers, d.message, evidence)


def _token_cause_rows(analysis: Analysis) -> Iterator[Sequence[CellValue]]:
    for p in analysis.reading.pairs if analysis.reading else ():
        tokens = [(t.text, t.margin, t.rank) if t else (None, None, None) for t in (p.left_token, p.right_token)]
        sides = (trial_words(p.left), trial_words(p.right))
        yield (*sides, p.reference, p.verdict, p.at_token, p.gap, *tokens[0], *tokens[1], p.reason)


def _near_tie_rows(analysis: Analysis) -> Iterator[Sequence[CellValue]]:
    for p in analysis.reading.partings if analysis.reading else ():
        yield (p.kind, p.left, p.right, p.condition, p.reference, p.near_tie, p.unexplained, p.unread)


def _margin_rows(analysis: Analysis) -> Iterator[Sequence[CellValue]]:
    for p in analysis.reading.profiles if analysis.reading else ():
        for at, share in zip(p.at, p.shares, strict=True):
            yield (p.who, p.kind, p.condition, p.reference, p.tokens, at, share)


def render_csv(columns: Sequence[str], rows: Iterable[Sequence[CellValue]]) -> str:
    """The text of one table."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_csv_cell_text(value) for value in row] for row in rows)
    return text.getvalue()


def _csv_cell_text(value: CellValue) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value + 0.0:.{SIGNIFICANT_DIGITS}g}" if math.isfinite(value) else ""  # + 0.0: no negative zero
    return str(value) if isinstance(value, int) else _disarm_formula(value)


@lru_cache(maxsize=4096)  # providers, families and conditions come again in every row
def _disarm_formula(text: str) -> str:
    """A text that no spreadsheet takes for a formula (full-width signs count too), without hidden characters."""
    shown = make_visible(shorten_text(text, 16 * MAX_CELL_CHARS))
    risky = shown.lstrip()[:1] in _FORMULA_SIGNS or shown[:1] in ("\t", "\n")
    return f"'{shown}" if risky and not _NUMBER.fullmatch(shown) else shown


def _unread_answer_rows(analysis: Analysis) -> Iterator[Sequence[CellValue]]:
    for row in analysis.unread_answers:
        share = (row.share.value, row.share.low, row.share.high, row.share.n, row.share.method)
        yield (row.extractor, row.version, row.provider, row.condition, row.answers, row.unparsed, row.waiting, *share)
