"""A report on contracts in, its JSON, JUnit XML, Markdown and every exchange out: the same report, the same bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tempzero.canonical_json import to_canonical_json
from tempzero.contract.case import State
from tempzero.contract.contract_run import ContractReport, ProviderContract
from tempzero.errors import UsageError
from tempzero.records.files import write_atomically
from tempzero.types.recorded import Exchange

STATES: tuple[State, ...] = ("FAIL", "INCONCLUSIVE", "SKIP", "PASS")
"""The worst first."""


def write_contract(report: ContractReport, folder: Path) -> tuple[Path, ...]:
    """Four files in the folder, which is made where it is not there. Raises UsageError where that cannot be."""
    files = {
        "contract.json": (json.dumps(to_contract_value(report), indent=2, ensure_ascii=False) + "\n").encode(),
        "contract.md": "\n".join(_list_markdown_lines(report)).encode(),
        "contract.xml": to_contract_junit(report),
        "exchanges.jsonl": "".join(line + "\n" for line in _list_exchange_lines(report)).encode(),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            write_atomically(folder / name, data)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written: {error.strerror}") from None
    return tuple(folder / name for name in files)


def to_contract_value(report: ContractReport) -> dict[str, Any]:
    """The report as JSON values, without the exchanges."""
    return {
        "outcome": report.outcome,
        "skipped": dict(report.skipped),
        "providers": [
            {
                "provider": one.provider,
                "model": one.model,
                "outcome": one.outcome,
                "requests": one.requests,
                "prompt_tokens": one.prompt_tokens,
                "output_tokens": one.output_tokens,
                "silence": one.silence,
                "notes": list(one.notes),
                "counts": {state: one.count_states()[state] for state in STATES},
                "cases": [
                    {"id": r.id, "family": r.family, "promise": r.promise, "state": r.state, "words": r.words}
                    for r in one.results
                ],
            }
            for one in report.providers
        ],
    }


def to_contract_junit(report: ContractReport) -> bytes:
    """A test suite for each provider: what is broken fails, what could not be told or asked is skipped."""
    root = ElementTree.Element("testsuites", name="tempzero contract")
    for one in report.providers:
        counts = one.count_states()
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=one.provider,
            tests=str(len(one.results) or 1),
            failures=str(counts["FAIL"]),
            errors=str(int(one.silence is not None)),
            skipped=str(counts["SKIP"] + counts["INCONCLUSIVE"]),
        )
        if one.silence is not None:
            case = ElementTree.SubElement(suite, "testcase", classname=one.provider, name="answers")
            ElementTree.SubElement(case, "error", message=one.silence)
        for result in one.results:
            case = ElementTree.SubElement(
                suite, "testcase", classname=f"{one.provider}.{result.family}", name=result.id
            )
            words = result.words
            if result.state == "FAIL":
                ElementTree.SubElement(case, "failure", message=words, type=result.family).text = result.promise
            elif result.state != "PASS":
                ElementTree.SubElement(case, "skipped", message=f"{result.state}: {words}")
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _list_markdown_lines(report: ContractReport) -> Iterator[str]:
    yield "# Promises of the API, held against endpoints"
    yield ""
    for name, why in report.skipped:
        yield f"{_escape_cell(name)} was not asked: {_escape_cell(why)}."
        yield ""
    for one in report.providers:
        yield from _list_provider_lines(one)
    yield ""


def _list_provider_lines(one: ProviderContract) -> Iterator[str]:
    counts = one.count_states()
    yield f"## {_escape_cell(one.provider)}: {one.outcome}"
    yield ""
    told = ", ".join(f"{counts[state]} {state}" for state in STATES)
    yield (
        f"{told}; {one.requests} requests, {one.prompt_tokens} tokens of prompts and {one.output_tokens} of answers, "
        f"model {_escape_cell(one.model)}."
    )
    yield ""
    for line in [*([f"It was not asked: {one.silence}"] if one.silence else []), *one.notes]:
        yield f"- {_escape_cell(line)}"
    yield ""
    if not one.results:
        return
    yield "| case | | promise | what was seen |"
    yield "|---|---|---|---|"
    for state in STATES:
        for result in one.results:
            if result.state == state:
                yield f"| {result.id} | {state} | {_escape_cell(result.promise)} | {_escape_cell(result.words)} |"
    yield ""


def _escape_cell(text: str) -> str:
    """Somebody else's words as a line that is no markup."""
    line = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{c}" if c in "\\`*_|[]#~!" else c for c in line).replace("@", "&#64;")


def _list_exchange_lines(report: ContractReport) -> Iterator[str]:
    for one in report.providers:
        for number, exchange in enumerate(one.exchanges, start=1):
            yield to_canonical_json(_to_exchange_value(one.provider, number, exchange))


def _to_exchange_value(provider: str, number: int, exchange: Exchange) -> dict[str, Any]:
    response = exchange.response
    return {
        "provider": provider,
        "number": number,
        "started_at": exchange.times.started_at,
        "end_s": exchange.times.end_s,
        "url": exchange.request.url,
        "request": exchange.request.body,
        "request_sha256": exchange.request.sha256,
        "status": None if response is None else response.status,
        "headers": {} if response is None else dict(response.headers),
        "response": None if response is None else response.body,
        "response_base64": None if response is None else response.body_base64,
        "response_sha256": None if response is None else response.sha256,
        "outcome": exchange.outcome.kind,
        "detail": exchange.outcome.detail,
        "flags": list(exchange.outcome.flags),
    }
