"""A bundle in, a text for an issue tracker out: what was asked, how often it differed, where, how to verify."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tempzero.claims import bundle_figures, page_wording, verify_bundle
from tempzero.claims.bundle import Bundle
from tempzero.claims.checker_source import hash_checker

MOST_ISSUE_LINES, MOST_ISSUE_CHARACTERS = 15, 1_500


def write_issue_text(bundle: Bundle) -> list[str]:
    """Markdown, ready to paste, of a length that is read. Every figure is the page's own.

    A call that is too long to stand there is named by its file in the bundle.
    """
    lines = _write_lines(bundle, with_call=True)
    return lines if len("\n".join(lines)) < MOST_ISSUE_CHARACTERS else _write_lines(bundle, with_call=False)


def _write_lines(bundle: Bundle, *, with_call: bool) -> list[str]:
    claim = json.loads(bundle.files["claim.json"])
    answers = verify_bundle.read_answers(bundle.files, claim)
    subject = page_wording.describe_subject(claim, answers)
    outline = page_wording.write_outline(subject)
    found = bundle_figures.compute_figures(claim, answers, bundle.files, outline)
    first = answers[subject.example[0]]
    call = f"{first['request'].removesuffix('.json')}.A.curl.txt"
    curl = bundle.files[call].decode().strip().replace("`", "'")
    again = f"with the bundle's `{first['request']}`: `{curl}`" if with_call else f"the call is the bundle's `{call}`"
    others = [
        f"- `A` against {found[f'{side}.name']}: no answer in common on {found[f'A{side}.never']}; excess divergence "
        f"{found[f'A{side}.excess']}, p = {found[f'A{side}.p']}."
        for side in subject.others[:2]
    ]
    counts = ", ".join(f"`{side}` {found[f'example.{side}.counts']}" for side in subject.sides)
    return [
        f"**{bundle.title}**",
        "",
        f"- Asked (`A` is {found['A.name']}): {found['A: url']}, model {found['A: asked.model']}, temperature "
        f"{found['A: asked.temperature']}, {found['A: asked_at']} (UTC); {found['A.outcomes']}.",
        f"- `A` against itself: repeats differ on {found['A.split']}; two repeats agree with chance {found['A.emr']}.",
        *others,
        f"- On prompt {_of(found, first['number'], 'prompt')} each different answer came so often: {counts}; two of "
        f"them part in their {found['example.part']}, at character {found['example.at']}:",
        "```",
        f"both begin: {found['example.before']}",
        f"the first:  {found['example.first.after']}",
        f"the second: {found['example.second.after']}",
        "```",
        f"- Ask again: {again}",
        f"- Evidence: {bundle.file_name}, root `{bundle.root}`; all requests and responses are in it. To verify: unzip "
        f"it, `python3 -I claim/verify.py` (its SHA-256: `{hash_checker()}`). Why they differ, or which is better, it "
        "does not say.",
    ]


def _of(found: Mapping[str, Any], number: int, path: str) -> str:
    return str(found[f"{number}: {path}"])
