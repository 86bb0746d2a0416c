"""Records of conversations in order in, which rounds were asked with the same history out.

A model's own answers go back to it, so that two answers to the same round may answer different questions. Each history
of a round is a prompt of its own here: what is compared, within a provider and between two, are answers to the same
words. A conversation that has parted is not counted as different again in every round that follows.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tempzero.answers.answer_parts import split_answer
from tempzero.canonical_json import to_canonical_json
from tempzero.config import Returned
from tempzero.metrics.agreement import Ints
from tempzero.types.asked import Prompt
from tempzero.types.recorded import ANSWERED, Completion, RecordView

_Path = tuple[tuple[str | None, ...], ...]


class RoundHistories:
    """Fed with every record in order. `prompts` grows by a place for each further history of a round."""

    def __init__(self, prompts: Sequence[Prompt], returned: Mapping[str, Returned]) -> None:
        self.prompts = list(prompts)
        self._returned = returned
        self._said: dict[tuple[str, str, int, str], dict[int, tuple[str | None, ...]]] = {}
        self._among_calls: dict[tuple[str, str, int, str], dict[int, bool]] = {}
        self._places: dict[tuple[int, _Path], int] = {}
        self._ways: Counter[int] = Counter()

    def place_round(self, prompt: int, view: RecordView) -> int:
        """The place of a record's prompt among `prompts`; what was answered is kept for the rounds that follow."""
        place = self.prompts[prompt].round
        if place is None:
            return prompt
        trial = view.trial
        key = (trial.provider, trial.condition, trial.repeat, place.conversation)
        said, among_calls = self._said.setdefault(key, {}), self._among_calls.setdefault(key, {})
        history = tuple(said[number] for number in range(1, place.number) if number in said)
        completion = view.outcome.completion
        if view.outcome.status in ANSWERED and completion is not None:
            goes_on = bool(place.turns) and place.turns[-1].only_without_calls
            calls = bool(completion.tool_calls) or (goes_on and among_calls.get(place.number - 1, False))
            among_calls.setdefault(place.number, calls)
            said.setdefault(place.number, self._returned_parts(trial.provider, completion, among_calls=calls))
        return self._find_place(prompt, history)

    def _find_place(self, prompt: int, history: _Path) -> int:
        """The first history that is met takes the suite's own place."""
        if (prompt, history) not in self._places:
            one = self.prompts[prompt]
            assert one.round is not None, "only rounds have a history"
            digest = hashlib.sha256(to_canonical_json(history).encode()).hexdigest()
            self._ways[prompt] += 1
            place = replace(one, round=replace(one.round, history=digest, way=self._ways[prompt]))
            if self._ways[prompt] == 1:
                self._places[prompt, history] = prompt
                self.prompts[prompt] = place
            else:
                self._places[prompt, history] = len(self.prompts)
                self.prompts.append(place)
        return self._places[prompt, history]

    def _returned_parts(self, provider: str, completion: Completion, *, among_calls: bool) -> tuple[str | None, ...]:
        """What of an answer goes back to the model; ids of calls are renumbered, and left out."""
        parts, kept = split_answer(completion), self._returned[provider]
        thought = kept == "always" or (kept == "with_calls" and among_calls)
        return (parts.text, parts.calls, parts.refusal, parts.reasoning if thought else None)


def name_place(prompt: Prompt) -> str:
    """What a prompt is called where its answers are shown: of a round that was asked in several ways, which of them."""
    return prompt.id if prompt.round is None or prompt.round.way == 1 else f"{prompt.id} (way {prompt.round.way})"


def find_own_places(prompts: Sequence[Prompt]) -> NDArray[np.bool_]:
    """By place, whether it is the suite's own, and no further history of a round."""
    met: set[str] = set()
    own = np.ones(len(prompts), dtype=bool)
    for at, prompt in enumerate(prompts):
        own[at] = prompt.id not in met
        met.add(prompt.id)
    return own


def count_elsewhere(asked: Ints, prompts: Sequence[Prompt]) -> Ints:
    """By place, the trials of the same round that stand at another one. `asked`: the place of each trial.

    Only the suite's own place of a round is planned for; what went another way is not missing there.
    """
    counted = np.bincount(asked, minlength=len(prompts))
    found = np.zeros(len(prompts), dtype=np.int64)
    first: dict[str, int] = {}
    for at, prompt in enumerate(prompts):
        own = first.setdefault(prompt.id, at)
        if own != at:
            found[own] += counted[at]
    return found
