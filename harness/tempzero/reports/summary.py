"""An Analysis and a Verdict in, summary.json out: figures, findings and verdict, in a fixed order.

Figures by family are many times as many as those over all prompts, and stand in tables/ alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from tempzero.types.concluded import Analysis, Divergence, Estimate, Figure, Finding, Verdict

SUMMARY_FORMAT = 2
"""The layout of summary.json. 1: first version. 2: figures over all prompts only."""

SIGNIFICANT_DIGITS = 10


def render_summary(analysis: Analysis, verdict: Verdict) -> str:
    """The file's text: ASCII, stable key order, floats of ten significant digits, None for what is undefined."""
    value = {
        "format": SUMMARY_FORMAT,
        "run": _run_to_json(analysis),
        "verdict": _to_summary_json(verdict),
        "providers": _to_summary_json(analysis.providers),
        "references": _to_summary_json(analysis.references),
        "skipped": _to_summary_json(analysis.skipped),
        "notes": _to_summary_json(analysis.notes),
        "figures": [_figure_to_json(f) for f in analysis.figures if f.family is None],
        "levels": _to_summary_json(analysis.levels),
        "camps": _to_summary_json(analysis.camps),
        "call_counts": _to_summary_json(analysis.call_counts),
        "conversations": _to_summary_json(analysis.conversations),
        "findings": [_finding_to_json(f) for f in analysis.findings],
        "failures": _to_summary_json(analysis.failures),
        "outcomes": _to_summary_json(analysis.outcomes),
        "served": _to_summary_json(analysis.served),
        "flags": _to_summary_json(analysis.flags),
        "precision": _to_summary_json(analysis.precision),
        "moved_alike": _to_summary_json(analysis.moved_alike),
        "curves": _to_summary_json(analysis.curves),
        "divergences": [_divergence_to_json(d) for d in analysis.divergences],
        "reading": _reading_to_json(analysis),
    }
    return "{\n" + ",\n".join(f"{_dump_ascii(key)}: {_lay_out_rows(part)}" for key, part in value.items()) + "\n}\n"


def round_significant(value: float) -> float | None:
    """Ten significant digits, so that the last bits of a sum change no byte; None where it is not finite."""
    if not math.isfinite(value):
        return None
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}") + 0.0  # + 0.0: no negative zero


def _lay_out_rows(part: Any) -> str:
    """One row of a list to a line: half the size of indented JSON, and a changed figure is one changed line."""
    if not isinstance(part, list) or not part:
        return _dump_ascii(part)
    return "[\n" + ",\n".join(f" {_dump_ascii(row)}" for row in part) + "\n]"


def _dump_ascii(value: Any) -> str:
    # Characters beyond ASCII are written as \u escapes: nothing in the file can act on a terminal.
    return json.dumps(value, ensure_ascii=True, allow_nan=False)


def _run_to_json(analysis: Analysis) -> dict[str, Any]:
    names = ("run_id", "created_at", "suite_digest", "plan_digest", "prompts", "records", "versions", "host")
    return {name: _to_summary_json(getattr(analysis, name)) for name in names}


def _figure_to_json(figure: Figure) -> dict[str, Any]:
    row = {f.name: getattr(figure, f.name) for f in fields(figure) if f.name != "estimate"}
    unit = row.pop("unit")
    return {**row, **_estimate_to_json(figure.estimate), "unit": unit}


def _estimate_to_json(estimate: Estimate) -> dict[str, Any]:
    return {f.name: _to_summary_json(getattr(estimate, f.name)) for f in fields(estimate)}


def _finding_to_json(finding: Finding) -> dict[str, Any]:
    return {f.name: _to_summary_json(getattr(finding, f.name)) for f in fields(finding)}


def _divergence_to_json(divergence: Divergence) -> dict[str, Any]:
    """Without the texts: the records have them."""
    return {
        name: _to_summary_json(getattr(divergence, name)) for name in ("prompt", "part", "at_char", "left", "right")
    }


def _reading_to_json(analysis: Analysis) -> dict[str, Any] | None:
    """What references read, without the texts and the margin profiles: report.html and tables/ have them."""
    if analysis.reading is None:
        return None
    return {
        name: _to_summary_json(getattr(analysis.reading, name)) for name in ("floors", "diagnoses", "partings", "pairs")
    }


def _to_summary_json(value: Any) -> Any:
    """Dataclasses, mappings and sequences as JSON values; mappings sorted by key."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return round_significant(value)
    if is_dataclass(value):
        return {f.name: _to_summary_json(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): _to_summary_json(v) for k, v in sorted(value.items(), key=lambda item: str(item[0]))}
    if isinstance(value, Sequence):
        return [_to_summary_json(v) for v in value]
    return str(value)
