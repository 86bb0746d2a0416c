"""A model and one candidate prompt in, how sure the model is of the path it answers out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tempzero.errors import EngineError
from tempzero.types.asked import Message, Prompt

PromptKind = Literal["border", "robust", "steady"]
"""border: a near-tie, which the slightest change of numerics turns; robust: nothing that is only rounding turns it;
steady: a plain question whose answer begins one way, so that hosts can be compared token by token."""


class SearchEngine(Protocol):
    """What a search needs of a model in this process: see `engines.in_process.InProcessEngine`."""

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]: ...
    def greedy_logits(self, prompt: Sequence[int]) -> Iterator[NDArray[np.float32]]: ...
    def piece(self, token_id: int) -> bytes: ...
    def is_end(self, token_id: int) -> bool: ...


class SearchForm(Protocol):
    """The same model computed in another way."""

    def logits(self, token_ids: Sequence[int], start: int) -> Iterator[NDArray[np.float32]]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class PathStep:
    """One token of a path: the model's two best, and how many logits lie between them."""

    best: int
    second: int
    margin: float


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerPath:
    """A candidate with the path that the model answers it by; `at` is the step that decides."""

    prompt: Prompt
    ids: tuple[int, ...]
    steps: tuple[PathStep, ...]
    at: int

    @property
    def margin(self) -> float:
        """At the deciding step: the narrowest that would show."""
        return self.steps[self.at].margin


def find_tie_path(engine: SearchEngine, prompt: Prompt, ids: Sequence[int], tokens: int) -> AnswerPath | None:
    """The narrowest of the first tokens whose turning would show in the text; None where none would."""
    steps = _follow_greedy_path(engine, ids, tokens)
    showing = [at for at, step in enumerate(steps) if _is_difference_visible(engine, step)]
    if not showing:
        return None
    at = min(showing, key=lambda i: steps[i].margin)
    return AnswerPath(prompt=prompt, ids=tuple(ids), steps=tuple(steps), at=at)


def find_certain_path(
    engine: SearchEngine, prompt: Prompt, ids: Sequence[int], tokens: int, margin: float, *, fewest: int
) -> AnswerPath | None:
    """The path, if it keeps this margin for so many tokens, or for at least the `fewest` of them up to its own end."""
    steps = _follow_greedy_path(engine, ids, tokens, least=margin)
    if len(steps) < fewest or steps[-1].margin < margin:
        return None
    at = min(range(len(steps)), key=lambda i: steps[i].margin)
    return AnswerPath(prompt=prompt, ids=tuple(ids), steps=tuple(steps), at=at)


def largest_margin_change(form: SearchForm, looked: AnswerPath) -> float:
    """By how many logits another form moves the two best tokens of a path against each other, at most."""
    path = [step.best for step in looked.steps[:-1]]
    rows = np.concatenate(list(form.logits((*looked.ids, *path), len(looked.ids))))
    changes = [
        abs(float(row[step.best] - row[step.second]) - step.margin)
        for row, step in zip(rows, looked.steps, strict=True)
    ]
    return max(changes)


def _follow_greedy_path(engine: SearchEngine, ids: Sequence[int], tokens: int, *, least: float = 0.0) -> list[PathStep]:
    """The greedy path: up to its end, to so many tokens, or to the first margin that is too small."""
    steps: list[PathStep] = []
    for row in engine.greedy_logits(ids):
        second, best = (int(i) for i in np.argpartition(row, -2)[-2:])
        if row[second] > row[best]:
            second, best = best, second
        if not np.isfinite(row[best]):
            raise EngineError("the model computes no numbers (NaN or infinite logits)")
        steps.append(PathStep(best=best, second=second, margin=float(row[best] - row[second])))
        if len(steps) == tokens or engine.is_end(best) or steps[-1].margin < least:
            break
    return steps


def _is_difference_visible(engine: SearchEngine, step: PathStep) -> bool:
    """Whether one token's text could not be taken for the other's, cut off or stripped of spaces."""
    try:
        one, other = (engine.piece(t).decode().strip() for t in (step.best, step.second))
    except UnicodeDecodeError:  # part of a character
        return False
    return bool(one and other) and not one.startswith(other) and not other.startswith(one)
