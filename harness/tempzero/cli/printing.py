"""What commands print before anything is asked: lines, the plan."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from tempzero.workflow.pipeline import PreparedRun


def print_lines(lines: Iterable[str], *, to: TextIO | None = None) -> None:
    """Each on a line of its own; nothing at all where there are none."""
    for line in lines:
        print(line, file=to or sys.stdout)


def print_plan(prepared: PreparedRun, *, first_tokens: bool) -> None:
    """Calls, tokens and cost at most, by provider and by family; with what `first_tokens` take besides."""
    from rich.console import Console
    from rich.table import Table

    suite, columns = prepared.suite, ("calls", "prompt tokens ≤", "completion tokens ≤", "cost ≤")
    estimates = prepared.plan.estimates
    thinking = any(e.reasoning_tokens for e in estimates)
    named = f" of suite {suite.name}" if suite.name else ""
    named += f", version {suite.version}" if suite.version else ""
    table = Table("provider", title=f"Plan: {len(suite.prompts)} prompts{named}; nothing sent", title_justify="left")
    families = Table(title="By family, over all providers", title_justify="left")
    families.add_column("family", no_wrap=True)
    families.add_column("prompts", justify="right")
    for heading in columns:
        table.add_column(heading, justify="right")
        families.add_column(heading, justify="right")
    for f in prepared.plan.families:
        figures = (f.prompts, f.calls, f.prompt_tokens, f.completion_tokens)
        families.add_row(f.family, *map(str, figures), _format_cost(f.cost_usd))
    for e in estimates:
        table.add_row(e.provider, *map(str, (e.calls, e.prompt_tokens, e.completion_tokens)), _format_cost(e.cost_usd))
    totals = [sum(v) for v in zip(*((e.calls, e.prompt_tokens, e.completion_tokens) for e in estimates), strict=True)]
    priced = [e.cost_usd for e in estimates if e.cost_usd is not None]
    table.add_section()
    table.add_row("all, before retries", *map(str, totals), _format_cost(sum(priced) if priced else None))
    console = Console()
    console.print(table)
    console.print(families)
    if thinking:
        allowed = sum(e.reasoning_tokens for e in estimates)
        print(f"Of the completion tokens {allowed} are room for reasoning (`reasoning.max_tokens`).")
    for line in _describe_besides(prepared) if first_tokens else ():
        print(line)
    print("Reasoning that a provider bills apart from max_tokens comes on top; --max-cost counts it as it is reported.")


def _describe_besides(prepared: PreparedRun) -> Iterator[str]:
    """What the log-probabilities that tell the form of the weights take at most."""
    from tempzero.workflow.asked_beside import estimate_beside

    planned = estimate_beside(prepared)
    if planned is None:
        return
    estimates = planned.prepared.plan.estimates
    calls, tokens = sum(e.calls for e in estimates), sum(e.prompt_tokens for e in estimates)
    priced = [e.cost_usd for e in estimates if e.cost_usd is not None]
    cost = f", {_format_cost(sum(priced))}" if priced else ""
    yield (
        f"Besides, {calls} short requests at most ({tokens} prompt tokens{cost}): log-probabilities that tell "
        "the form of the weights, of whoever gives any (--no-fingerprint: none)."
    )


def _format_cost(cost_usd: float | None) -> str:
    return "no price" if cost_usd is None else f"${cost_usd:.4f}"
