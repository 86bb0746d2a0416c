"""An outcome in, the same out with what only a comparison with this endpoint's earlier answers shows.

A replayed answer says nothing of the model: counted as a repeat it would prove a determinism that is not
there. What is remembered of an answer are numbers, never its text.
"""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass, field, replace

from tempzero.engines.hosted.fault_catalogue import missing_outcome
from tempzero.types.recorded import ANSWERED, Completion, Flag, Outcome

# No model writes so fast, first byte and network included; a cache does.
_FASTEST_TOKENS_S = 20_000.0
_FEWEST_TIMED_TOKENS = 64
# The same text again at this many times the endpoint's own median speed, once that is known.
_SUSPECT_SPEEDUP = 20.0
_FEWEST_KNOWN_SPEEDS = 8
_REMEMBERED_SPEEDS = 64

_BACKEND_SWITCHED: Flag = "backend_switched"


@dataclass(slots=True)
class EndpointHistory:
    """What one endpoint has said so far, in the order in which its answers were complete.

    `pinned`: the provider is said to be one upstream, so another one is a fault and not a fact.
    """

    pinned: bool
    _asked_for: dict[int, int] = field(default_factory=dict)  # response id -> the request it answered
    _ids_are_unique: bool = True
    _said: set[int] = field(default_factory=set)  # (request, text)
    _prompt_tokens: dict[int, int] = field(default_factory=dict)
    _speeds: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED_SPEEDS))
    _backend: str | None = None
    _fingerprints: dict[str | None, str] = field(default_factory=dict)

    def judge(self, outcome: Outcome, *, request_sha256: str, end_s: float) -> Outcome:
        """The outcome of the exchange that has just ended, with replays excluded and changes flagged."""
        said = outcome.completion
        if said is None or outcome.status not in ANSWERED:
            return outcome
        request = hash(request_sha256)
        flags: list[Flag] = [
            *outcome.flags,
            *self._id_flags(said, request),
            *self._changes(said),
            *self._prompt(said, request),
        ]
        outcome = replace(outcome, flags=tuple(flags))
        why = self._replayed(said, request, end_s)
        if why is not None:
            return replace(outcome, status="excluded", kind="cached", detail=why, retry="once")
        if self.pinned and _BACKEND_SWITCHED in flags:
            who = f'answered by "{said.backend}", earlier by "{self._backend}"'
            unpinned = missing_outcome("unpinned", f"{who}: pin it in extra_body, or write pinned: false")
            return replace(unpinned, flags=outcome.flags)
        self._remember(said, request, end_s)
        return outcome

    def _replayed(self, said: Completion, request: int, end_s: float) -> str | None:
        """Why this cannot have been computed for this request."""
        if self._ids_are_unique and self._asked_for.get(hash(said.response_id)) == request:
            return "the response id of an earlier answer to the same request"
        tokens = said.completion_tokens or 0
        if tokens < _FEWEST_TIMED_TOKENS or end_s <= 0:
            return None
        if tokens / end_s > _FASTEST_TOKENS_S:
            return f"{tokens} tokens in {end_s:.4f} s"
        if len(self._speeds) >= _FEWEST_KNOWN_SPEEDS and hash((request, said.text)) in self._said:
            median = statistics.median(self._speeds)
            if tokens / end_s > _SUSPECT_SPEEDUP * median:
                return f"the same text again at {tokens / end_s:.0f} tokens/s where {median:.0f} are usual here"
        return None

    def _id_flags(self, said: Completion, request: int) -> list[Flag]:
        """An id that came with another request proves that this server's ids say nothing."""
        if said.response_id is None:
            return []
        earlier = self._asked_for.get(hash(said.response_id))
        if earlier is None or earlier == request:
            return []
        self._ids_are_unique = False
        return ["response_id_reused"]

    def _changes(self, said: Completion) -> list[Flag]:
        """Who answers has changed, as far as the provider says so."""
        flags: list[Flag] = []
        if said.backend is not None and self._backend not in (None, said.backend):
            flags.append(_BACKEND_SWITCHED)
        if said.fingerprint is not None and self._fingerprints.get(said.served_model) not in (None, said.fingerprint):
            flags.append("fingerprint_changed")
        return flags

    def _prompt(self, said: Completion, request: int) -> list[Flag]:
        """The same bytes counted differently: something was added to them, or taken away."""
        if said.prompt_tokens is None:
            return []
        return (
            ["prompt_mismatch"]
            if self._prompt_tokens.setdefault(request, said.prompt_tokens) != said.prompt_tokens
            else []
        )

    def _remember(self, said: Completion, request: int, end_s: float) -> None:
        if said.response_id is not None:
            self._asked_for.setdefault(hash(said.response_id), request)
        self._said.add(hash((request, said.text)))
        if said.backend is not None:
            self._backend = said.backend
        if said.fingerprint is not None:
            self._fingerprints[said.served_model] = said.fingerprint
        if said.completion_tokens and said.completion_tokens >= _FEWEST_TIMED_TOKENS and end_s > 0:
            self._speeds.append(said.completion_tokens / end_s)
