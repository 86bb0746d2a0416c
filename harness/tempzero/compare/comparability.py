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
    "max_tokens": lambda p: p.max_tokens,
    "parameter_names": lambda p: p.parameter_names.model_dump(),
    "extra_body": lambda p: p.extra_body,
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
_PART = {True: "asked", False: "not asked"}


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
class Meeting:
    """What two runs have in common: prompts asked in the same words, providers asked in the same way."""

    prompts: tuple[Prompt, ...]
    providers: tuple[str, ...]
    mismatches: tuple[Mismatch, ...]


def meet(left: Run, right: Run) -> Meeting:
    """Find what can be compared. A prompt of one id but other words is another prompt."""
    mismatches = [*_versions(left, right), *_suites(left, right), *_conditions(left, right)]
    common = []
    ours, theirs = _providers(left), _providers(right)
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in ours or name not in theirs:
            here, there = (_PART[name in side] for side in (ours, theirs))
            mismatches.append(_mismatch(name, "part in the run", here, there, "refused"))
            continue
        found = list(_settings(name, ours[name], theirs[name], left, right))
        mismatches += found
        if not any(m.consequence == "refused" for m in found):
            common.append(name)
    return Meeting(prompts=_prompts(left, right), providers=tuple(common), mismatches=tuple(mismatches))


def _providers(run: Run) -> dict[str, Provider]:
    skipped = {s.provider for s in run.manifest.skipped}
    return {p.name: p for p in run.config.providers if p.name not in skipped}


def _settings(name: str, ours: Provider, theirs: Provider, left: Run, right: Run) -> Iterator[Mismatch]:
    for keys, consequence in ((_MUST_AGREE, "refused"), (_SHOULD_AGREE, "flagged")):
        for key, read in keys.items():
            if read(ours) != read(theirs):
                yield _mismatch(name, key, read(ours), read(theirs), consequence)
    one, other = (run.manifest.engines.get(name, {}).get("weights", {}).get("sha256") for run in (left, right))
    if one != other:
        yield _mismatch(name, "weights", one, other, "flagged")


def _versions(left: Run, right: Run) -> Iterator[Mismatch]:
    ours, theirs = left.manifest.versions, right.manifest.versions
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            yield _mismatch("both runs", f"version of {name}", ours.get(name), theirs.get(name), "flagged")


def _conditions(left: Run, right: Run) -> Iterator[Mismatch]:
    """A condition of one name that means two loads; one that only one run has is nowhere compared."""
    ours, theirs = ({c.name: c.model_dump() for c in run.config.asked_under()} for run in (left, right))
    for name in sorted(ours.keys() & theirs.keys()):
        if ours[name] != theirs[name]:
            yield _mismatch(f'condition "{name}"', "definition", ours[name], theirs[name], "flagged")


def _suites(left: Run, right: Run) -> Iterator[Mismatch]:
    ours, theirs = left.manifest.suite, right.manifest.suite
    if ours.digest == theirs.digest:
        return
    yield _mismatch("both runs", "suite digest", ours.digest[:16], theirs.digest[:16], "flagged")
    asked = {p.id: p for p in theirs.prompts}
    for prompt in ours.prompts:
        other = asked.pop(prompt.id, None)
        if other is None:
            yield _mismatch(f"prompt {prompt.id}", "part in the run", "asked", "not asked", "refused")
        elif _question(prompt) != _question(other):
            yield _mismatch(f"prompt {prompt.id}", "text or max_tokens", "one", "another", "refused")
        elif _answer(prompt) != _answer(other):
            key = "extractor or expected answer"
            yield _mismatch(f"answers to prompt {prompt.id}", key, "one", "another", "refused")
    for name in asked:
        yield _mismatch(f"prompt {name}", "part in the run", "not asked", "asked", "refused")


def _prompts(left: Run, right: Run) -> tuple[Prompt, ...]:
    """Those asked in the same words; where their answers would be read differently, without reading any."""
    asked = {p.id: p for p in right.manifest.suite.prompts}
    common = [p for p in left.manifest.suite.prompts if p.id in asked and _question(p) == _question(asked[p.id])]
    return tuple(p if _answer(p) == _answer(asked[p.id]) else replace(p, extractor=None, expected=None) for p in common)


def _question(prompt: Prompt) -> Any:
    return prompt.messages, prompt.max_tokens, prompt.tools, prompt.tool_choice


def _answer(prompt: Prompt) -> Any:
    return prompt.extractor, prompt.expected


def _mismatch(subject: str, key: str, left: Any, right: Any, consequence: Any) -> Mismatch:
    return Mismatch(subject=subject, key=key, left=_shown(left), right=_shown(right), consequence=consequence)


def _shown(value: Any) -> str:
    """A setting on one line; what a file or a provider says cannot act on the screen."""
    if value is None:
        return "not given"
    return value if isinstance(value, str) and value.isascii() and value.isprintable() else json.dumps(value)
