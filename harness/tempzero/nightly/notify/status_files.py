"""A decided night in, JUnit XML and a Prometheus textfile out, each in one step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree

from tempzero.config import Notify
from tempzero.errors import UsageError
from tempzero.nightly import history
from tempzero.nightly.history import CHANGED_STATES, STATE_WORDS, Night, NightEntry
from tempzero.records.files import write_atomically
from tempzero.reports.visible import make_visible


def mark_night_unfinished(settings: Notify, root: Path, night: str) -> None:
    """Say in the JUnit file that the night did not end: an error of ours, until it is overwritten."""
    if settings.junit is None:
        return
    suite = ElementTree.Element("testsuite", name=f"tempzero {night}", tests="1", failures="0", errors="1", skipped="0")
    case = ElementTree.SubElement(suite, "testcase", classname="tempzero.nightly", name="night")
    ElementTree.SubElement(case, "error", message=f"the night of {night} was begun and has not been decided")
    _write_status_file(root / settings.junit, _to_xml_bytes(suite))


def write_status_files(
    settings: Notify, root: Path, night: Night, nights: Sequence[Night], others: Sequence[tuple[Night, NightEntry]]
) -> None:
    """Write those that are configured. Raises UsageError where a path cannot be written.

    `others` are those that are changed still by the other kind of night.
    """
    if settings.junit is not None:
        _write_status_file(root / settings.junit, to_junit_xml(night, others))
    if settings.prometheus is not None:
        _write_status_file(root / settings.prometheus, to_prometheus_text(night, nights))


def to_junit_xml(night: Night, others: Sequence[tuple[Night, NightEntry]] = ()) -> bytes:
    """A test case for each provider: failure for a finding, skipped where there is no data to judge by."""
    suite = ElementTree.Element("testsuite", name=f"tempzero {night.night}", timestamp=night.created_at[:19])
    counts = {"tests": len(night.entries) + len(others), "failures": 0, "errors": 0, "skipped": 0}
    for entry in night.entries:
        case = ElementTree.SubElement(suite, "testcase", classname="tempzero.nightly", name=entry.side.provider)
        decision = entry.decision
        events = [f"{e.what}: was {e.before}; is {e.now}" for e in decision.events if e.telling]
        if decision.state in CHANGED_STATES or events:
            counts["failures"] += 1
            changed = decision.state in CHANGED_STATES
            said = [decision.reason, *events] if changed else [*events, f"otherwise {decision.reason}"]
            what, message = decision.state if changed else "event", _xml_safe_text("; ".join(said))
            failure = ElementTree.SubElement(case, "failure", message=message, type=what)
            failure.text = _xml_safe_text("\n".join(f"{t.prompt}: {t.before!a} -> {t.now!a}" for t in decision.telling))
        elif not decision.tested:
            counts["skipped"] += 1
            ElementTree.SubElement(case, "skipped", message=_xml_safe_text(decision.reason))
    for other, entry in others:
        counts["failures"] += 1
        name = f"{entry.side.provider} ({other.depth} nights)"
        case = ElementTree.SubElement(suite, "testcase", classname="tempzero.nightly", name=name)
        ElementTree.SubElement(case, "failure", message=_xml_safe_text(entry.decision.reason), type="changed")
    suite.attrib.update({name: str(number) for name, number in counts.items()})
    return _to_xml_bytes(suite)


def to_prometheus_text(night: Night, nights: Sequence[Night]) -> bytes:
    """Gauges in the text format, of the latest night of each kind; few labels, so a year stays a handful of series.

    A provider that is asked no more leaves with the last night that asked it.
    """
    when = datetime.fromisoformat(night.created_at).timestamp()
    metrics: dict[str, tuple[str, list[tuple[str, float]]]] = {
        "tempzero_state": ("1 for the state that a provider is in", []),
        "tempzero_baseline_match_ratio": ("Share of answers that equal the baseline's", []),
        "tempzero_drift_evidence": ("Evidence of a change; alarm at tempzero_drift_alarm", []),
        "tempzero_drift_alarm": ("Evidence from which a provider counts as changed", []),
        "tempzero_answers": ("Calls that were answered in the last night", []),
        "tempzero_last_data_timestamp_seconds": ("When the last night with data of a provider began", []),
    }
    asked = {e.side.provider for e in night.entries}
    for one, entry in history.latest_entries([*nights, night], night.night):
        for name, labels, value in _prometheus_samples(one, entry) if entry.side.provider in asked else ():
            metrics[name][1].append((f"{name}{{{labels}}}", value))
    lines = [
        "# HELP tempzero_last_night_timestamp_seconds When the last night began",
        "# TYPE tempzero_last_night_timestamp_seconds gauge",
        f"tempzero_last_night_timestamp_seconds {when:.0f}",
    ]
    for name, (words, samples) in metrics.items():
        if samples:
            lines += [f"# HELP {name} {words}", f"# TYPE {name} gauge"]
            lines += [f"{key} {value:.10g}" for key, value in samples]
    return ("\n".join(lines) + "\n").encode()


def _prometheus_samples(night: Night, entry: NightEntry) -> Iterator[tuple[str, str, float]]:
    decision, when = entry.decision, datetime.fromisoformat(night.created_at).timestamp()
    labels = f'provider="{_escape_label(entry.side.provider)}",depth="{night.depth}"'
    for state in STATE_WORDS:
        yield "tempzero_state", f'{labels},state="{state}"', float(decision.state == state)
    yield "tempzero_answers", labels, float(entry.side.answered)
    if decision.match is not None and decision.match.value is not None:
        yield "tempzero_baseline_match_ratio", labels, decision.match.value
    if decision.tested:
        yield "tempzero_drift_evidence", labels, decision.evidence
        yield "tempzero_drift_alarm", labels, decision.alarm_at
    if decision.missing == 0:
        yield "tempzero_last_data_timestamp_seconds", labels, when


def _escape_label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _xml_safe_text(text: str) -> str:
    """XML 1.0 has no form for most control characters."""
    return make_visible(text).replace("\ufffe", "?").replace("\uffff", "?")


def _to_xml_bytes(root: ElementTree.Element) -> bytes:
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _write_status_file(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}; see notify: in providers.yaml") from None
