"""A refusal in, the same out, unless it would accuse a key that has worked: then it is the prompt's, for now.

Some hosts answer 403 to one prompt that they do not like, without saying so. After an answer with the same key a
403 speaks of its prompt, which is asked once more, until that of a second prompt, with no answer in between, says that
it was the key.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tempzero.engines.hosted.fault_catalogue import to_printable_line
from tempzero.types.recorded import Outcome


@dataclass(slots=True)
class KeyStanding:
    """Whether this key has worked, and which prompts were refused since it last did."""

    _has_worked: bool = False
    _refused: set[str] = field(default_factory=set)

    def judge(self, outcome: Outcome, *, status: int | None, prompt: str) -> Outcome:
        """The outcome of the exchange that has just ended, with a 403 laid where it belongs."""
        if status is not None and 200 <= status < 300:
            self._has_worked = True
            self._refused.clear()
        if status != 403 or outcome.kind != "auth" or not self._has_worked:
            return outcome
        self._refused.add(prompt)
        if len(self._refused) > 1:
            return outcome
        detail = to_printable_line(f"of this prompt only, the key has answered others: {outcome.detail}")
        return replace(outcome, kind="blocked", detail=detail, retry="once")
