"""Two Runs in, what they have in common out, and by name whatever differs between them besides the answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from tempzero.config import Provider
from tempzero.records import Run
from tempzero.types.asked import Prompt

Consequence = Literal["refused", "flagged"]

# With another value here the same question was not asked: what differs would be our own doing.
_MUST_AGREE: dict[str, Callable[[Provider], Any]] = {
    "claimed model": lambda p: p.claimed_model,
    "temperature": lambda p: p.temperature,
    "top_p": lambda p: p.top_p,
    "seed": lambda p: p.seed,
    "max_tokens": lambda p: p.known_max_tokens,
    "parameter_names": lambda p: p.parameter_names.model_dump(),
    "request": lambda p: p.fields,
}
# A difference here may be the very cause of a change, so it is said beside it.
_SHOULD_AGREE: dict[str, Callable[[Provider], Any]] = {
    "model": lambda p: p.model,
    "base_url": lambda p: p.base_url,
    "extra_headers": lambda p: sorted(p.extra_headers),
    "concurrency": lambda p: p.concurrency,
    "pinned": lambda p: p.pinned,
    "claims": lambda p: p.claims.model_dump(),
    "serve": lambda p: p.serve and p.serve.model_dump(),
    "local": lambda p: p.local and p.local.model_dump(),
    "replay": lambda p: p.replay and p.replay.model_dump(),
}
_PART_WORDS = {True: "asked", False: "not asked"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Mismatch:
    """One thing that is not the same in both runs. `refused`: not compared; `flagged`: compared all the same."""

    subject: str
    key: str
    left: str
    right: str
    consequence: Consequence

    def sentence(self) -> str:
        """The same in words."""
        outcome = "not compared" if self.consequence == "refused" else "compared all the same"
        return f"{self.subject}: {self.key} is {self.left} on the left and {self.right} on the right; {outcome}"


@dataclass(frozen=True, kw_only=True, slots=True)
class CommonGround:
    """What two runs have in common: prompts asked in the same words, providers asked in the same way."""

    prompts: tuple[Prompt, ...]
    providers: tuple[str, ...]
    mismatches: tuple[Mismatch, ...]


def find_common_ground(left: Run, right: Run) -> CommonGround:
    """Find what can be compared. A prompt of one id but other words is another prompt."""
    mismatches = [*_compare_versions(left, right), *_compare_suites(left, right), *_compare_conditions(left, right)]
    common = []
    ours, theirs = _providers_by_name(left), _providers_by_name(right)
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in ours or name not in theirs:
            here, there = (_PART_WORDS[name in side] for side in (ours, theirs))
            mismatches.append(_build_mismatch(name, "part in the run", here, there, "refused"))
            continue
        found = list(_compare_settings(name, ours[name], theirs[name], left, right))
        mismatches += found
        if not any(m.consequence == "refused" for m in found):
            common.append(name)
    return CommonGround(prompts=_common_prompts(left, right), providers=tuple(common), mismatches=tuple(mismatches))


def _providers_by_name(run: Run) -> dict[str, Provider]:
    skipped = {s.provider for s in run.manifest.skipped}
    return {p.name: p for p in run.config.providers if p.name not in skipped}


def _compare_settings(name: str, ours: Provider, theirs: Provider, left: Run, right: Run) -> Iterator[Mismatch]:
    for key, read in (_MUST_AGREE | _SHOULD_AGREE).items():
        if read(ours) != read(theirs):
            consequence: Consequence = "refused" if key in _MUST_AGREE else "flagged"
            yield _build_mismatch(name, key, read(ours), read(theirs), consequence)
    one, other = (run.manifest.engines.get(name, {}).get("weights", {}).get("sha256") for run in (left, right))
    if one != other:
        yield _build_mismatch(name, "weights", one, other, "flagged")


def _compare_versions(left: Run, right: Run) -> Iterator[Mismatch]:
    ours, theirs = left.manifest.versions, right.manifest.versions
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            yield _build_mismatch("both runs", f"version of {name}", ours.get(name), theirs.get(name), "flagged")


def _compare_conditions(left: Run, right: Run) -> Iterator[Mismatch]:
    """A condition of one name that means two loads; one that only one run has is nowhere compared."""
    ours, theirs = ({c.name: c.model_dump() for c in run.config.asked_under()} for run in (left, right))
    for name in sorted(ours.keys() & theirs.keys()):
        if ours[name] != theirs[name]:
            yield _build_mismatch(f'condition "{name}"', "definition", ours[name], theirs[name], "flagged")


def _compare_suites(left: Run, right: Run) -> Iterator[Mismatch]:
    ours, theirs = left.manifest.suite, right.manifest.suite
    if ours.digest == theirs.digest:
        return
    yield _build_mismatch("both runs", "suite digest", ours.digest[:16], theirs.digest[:16], "flagged")
    asked = {p.id: p for p in theirs.prompts}
    for prompt in ours.prompts:
        other = asked.pop(prompt.id, None)
        if other is None:
            yield _build_mismatch(f"prompt {prompt.id}", "part in the run", "asked", "not asked", "refused")
        elif _question_key(prompt) != _question_key(other):
            yield _build_mismatch(f"prompt {prompt.id}", "text or max_tokens", "one", "another", "refused")
        elif _scoring_key(prompt) != _scoring_key(other):
            key = "extractor or expected answer"
            yield _build_mismatch(f"answers to prompt {prompt.id}", key, "one", "another", "refused")
    for name in asked:
        yield _build_mismatch(f"prompt {name}", "part in the run", "not asked", "asked", "refused")


def _common_prompts(left: Run, right: Run) -> tuple[Prompt, ...]:
    """Those asked in the same words; where their answers would be read differently, without reading any."""
    asked = {p.id: p for p in right.manifest.suite.prompts}
    common = [
        p for p in left.manifest.suite.prompts if p.id in asked and _question_key(p) == _question_key(asked[p.id])
    ]
    return tuple(
        p if _scoring_key(p) == _scoring_key(asked[p.id]) else replace(p, extractor=None, expected=None) for p in common
    )


def _question_key(prompt: Prompt) -> Any:
    words = (prompt.messages, prompt.max_tokens, prompt.tools, prompt.tool_choice, prompt.request, prompt.body)
    return (*words, prompt.round)


def _scoring_key(prompt: Prompt) -> Any:
    return prompt.extractor, prompt.expected


def _build_mismatch(subject: str, key: str, left: Any, right: Any, consequence: Consequence) -> Mismatch:
    return Mismatch(
        subject=subject, key=key, left=_format_setting(left), right=_format_setting(right), consequence=consequence
    )


def _format_setting(value: Any) -> str:
    """A setting on one line; what a file or a provider says cannot act on the screen."""
    if value is None:
        return "not given"
    return value if isinstance(value, str) and value.isascii() and value.isprintable() else json.dumps(value)
