"""An outcome in, the same out with what only a comparison with this endpoint's earlier answers shows.

A replayed answer says nothing of the model: counted as a repeat it would prove a determinism that is not there. But
only evidence excludes an answer. What is merely suspicious (a speed, an id without times) is told by a flag, counts as
it came, and is asked once more. What is remembered of an answer are numbers, never its text.
"""

from __future__ import annotations

import re
import statistics
from collections import deque
from dataclasses import dataclass, field, replace

from tempzero.answers.answer_parts import split_answer, to_whole_text
from tempzero.engines.hosted.fault_catalogue import missing_outcome
from tempzero.types.recorded import ANSWERED, Completion, Flag, Outcome

# No model writes so fast, first byte and network included; a cache does, and so does a small model on this machine.
_FASTEST_TOKENS_S = 20_000.0
_FEWEST_TIMED_TOKENS = 64
# The same answer again at this many times the endpoint's own median speed, once that is known.
_SUSPECT_SPEEDUP = 20.0
_FEWEST_KNOWN_SPEEDS = 8
_REMEMBERED_SPEEDS = 64
# A second question at the same suspicion each time: after so many the endpoint is simply like that.
_MOST_SUSPICIONS_ASKED_AGAIN = 8
# `created` counts seconds: two answers of one request that were made one after the other this far apart differ in it.
_CREATED_RESOLUTION_S = 2.0
_EARLIEST_TIME = 1_000_000_000  # a `created` before 2001 is a constant and not a time

_BACKEND_SWITCHED: Flag = "backend_switched"
_SUSPECTED_CACHE: Flag = "suspected_cache"
_ID_REUSED: Flag = "response_id_reused"

# Times that a response tells of itself: when it was made, near its beginning, and how long it took, near its end.
_CREATED = re.compile(rb'"(?<!\\")created"\s*:\s*([0-9]{1,15})\b')
_SPANS = re.compile(
    rb'"(?<!\\")((?:total|queue|completion|prompt)_time|(?:predicted|prompt)_ms)"\s*:\s*([0-9]+\.[0-9eE+-]+)'
)
_LOOKED_AT_BYTES = 2048


@dataclass(frozen=True, kw_only=True, slots=True)
class ToldTimes:
    """What a response says of its own time. `created` None: nothing, or no time. `spans` are measured durations."""

    created: int | None
    spans: tuple[tuple[bytes, bytes], ...] = ()


def find_told_times(body: bytes) -> ToldTimes:
    """From the beginning and the end of a body, where they stand; a quoted text of the model cannot look so."""
    created = _CREATED.search(body, 0, _LOOKED_AT_BYTES)
    moment = int(created[1]) if created else 0
    spans = _SPANS.findall(body, max(0, len(body) - _LOOKED_AT_BYTES))
    # What is hardly a number is no measurement: 0.0 stands for "not measured".
    measured = tuple(sorted((name, number) for name, number in spans if len(number.strip(b"0.")) >= 3))
    return ToldTimes(created=moment if moment >= _EARLIEST_TIME else None, spans=measured)


@dataclass(frozen=True, kw_only=True, slots=True)
class _RememberedAnswer:
    """What came under a response id: for which request, when, and what it said of its own time."""

    request: int
    received_s: float
    times: ToldTimes
    tokens: int | None


@dataclass(slots=True)
class EndpointHistory:
    """What one endpoint has said so far, in the order in which its answers were complete.

    `pinned`: the provider is said to be one upstream, so another one is a fault and not a fact.
    """

    pinned: bool
    _by_id: dict[int, _RememberedAnswer] = field(default_factory=dict)
    _ids_are_unique: bool = True
    _said: set[int] = field(default_factory=set)  # (request, answer)
    _prompt_tokens: dict[int, int] = field(default_factory=dict)
    _speeds: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED_SPEEDS))
    _backend: str | None = None
    _fingerprints: dict[str | None, str] = field(default_factory=dict)
    _suspicions: int = 0

    def judge(self, outcome: Outcome, *, request_sha256: str, end_s: float, body: bytes, now_s: float) -> Outcome:
        """The outcome of the exchange that has just ended, with replays excluded and changes flagged.

        `now_s` is any monotonic clock's, and the exchange took `end_s` until then.
        """
        said = outcome.completion
        if said is None or outcome.status not in ANSWERED:
            return outcome
        request, times = hash(request_sha256), find_told_times(body)
        flags: list[Flag] = [
            *outcome.flags,
            *self._id_flags(said, request, times),
            *self._change_flags(said),
            *self._prompt_flags(said, request),
        ]
        outcome = replace(outcome, flags=tuple(flags))
        proof = self._find_replay_proof(said, request, times, now_s - end_s)
        if proof is not None:
            return replace(outcome, status="excluded", kind="cached", detail=proof, retry="once")
        if self.pinned and _BACKEND_SWITCHED in flags:
            who = f'answered by "{said.backend}", earlier by "{self._backend}"'
            unpinned = missing_outcome("unpinned", f"{who}: pin it in request, or write pinned: false")
            return replace(unpinned, flags=outcome.flags)
        outcome = self._tell_suspicion(outcome, said, request, times, end_s)
        self._remember(said, request, times, end_s, now_s)
        return outcome

    def _find_replay_proof(self, said: Completion, request: int, times: ToldTimes, began_s: float) -> str | None:
        """What shows that this was not computed for this request: an id of before with its times of before."""
        earlier = self._find_same_id(said)
        if earlier is None or earlier.request != request or not self._ids_are_unique or earlier.times != times:
            return None
        if times.spans:
            return "the response id of an earlier answer to the same request, with the same measured times"
        if times.created is not None and began_s - earlier.received_s >= _CREATED_RESOLUTION_S:
            return "the response id of an earlier answer to the same request, made at the same time as that"
        return None

    def _tell_suspicion(
        self, outcome: Outcome, said: Completion, request: int, times: ToldTimes, end_s: float
    ) -> Outcome:
        """Flag what may be a replay, and have it asked once more, unless this endpoint is always like that."""
        why = self._find_suspicion(said, request, end_s)
        was_made_before = _SUSPECTED_CACHE in outcome.flags and times.created is not None
        if why is None and not was_made_before:
            return outcome
        self._suspicions += 1
        flags = outcome.flags if _SUSPECTED_CACHE in outcome.flags else (*outcome.flags, _SUSPECTED_CACHE)
        return replace(
            outcome,
            flags=flags,
            detail=outcome.detail or why or "",
            retry="once" if self._suspicions <= _MOST_SUSPICIONS_ASKED_AGAIN else outcome.retry,
        )

    def _find_suspicion(self, said: Completion, request: int, end_s: float) -> str | None:
        earlier = self._find_same_id(said)
        if earlier is not None and earlier.request == request and self._ids_are_unique:
            return "the response id of an earlier answer to the same request"
        tokens = said.completion_tokens or 0
        if tokens < _FEWEST_TIMED_TOKENS or end_s <= 0:
            return None
        if tokens / end_s > _FASTEST_TOKENS_S:
            return f"{tokens} tokens in {end_s:.4f} s"
        if len(self._speeds) >= _FEWEST_KNOWN_SPEEDS and _answer_key(request, said) in self._said:
            median = statistics.median(self._speeds)
            if tokens / end_s > _SUSPECT_SPEEDUP * median:
                return f"the same answer again at {tokens / end_s:.0f} tokens/s where {median:.0f} are usual here"
        return None

    def _find_same_id(self, said: Completion) -> _RememberedAnswer | None:
        return None if said.response_id is None else self._by_id.get(hash(said.response_id))

    def _id_flags(self, said: Completion, request: int, times: ToldTimes) -> list[Flag]:
        """An id that came with another request, or with other times or tokens, is a constant and says nothing."""
        earlier = self._find_same_id(said)
        if earlier is None:
            return []
        told_twice = earlier.times.created is not None and times.created is not None
        differs = (told_twice and earlier.times != times) or earlier.tokens != said.completion_tokens
        if earlier.request != request or differs:
            self._ids_are_unique = False
        return [] if self._ids_are_unique else [_ID_REUSED]

    def _change_flags(self, said: Completion) -> list[Flag]:
        """Who answers has changed, as far as the provider says so."""
        flags: list[Flag] = []
        if said.backend is not None and self._backend not in (None, said.backend):
            flags.append(_BACKEND_SWITCHED)
        if said.fingerprint is not None and self._fingerprints.get(said.served_model) not in (None, said.fingerprint):
            flags.append("fingerprint_changed")
        return flags

    def _prompt_flags(self, said: Completion, request: int) -> list[Flag]:
        """The same bytes counted differently: something was added to them, or taken away."""
        if said.prompt_tokens is None:
            return []
        return (
            ["prompt_mismatch"]
            if self._prompt_tokens.setdefault(request, said.prompt_tokens) != said.prompt_tokens
            else []
        )

    def _remember(self, said: Completion, request: int, times: ToldTimes, end_s: float, now_s: float) -> None:
        if said.response_id is not None:
            answer = _RememberedAnswer(request=request, received_s=now_s, times=times, tokens=said.completion_tokens)
            self._by_id.setdefault(hash(said.response_id), answer)
        self._said.add(_answer_key(request, said))
        if said.backend is not None:
            self._backend = said.backend
        if said.fingerprint is not None:
            self._fingerprints[said.served_model] = said.fingerprint
        if said.completion_tokens and said.completion_tokens >= _FEWEST_TIMED_TOKENS and end_s > 0:
            self._speeds.append(said.completion_tokens / end_s)


def _answer_key(request: int, said: Completion) -> int:
    return hash((request, to_whole_text(split_answer(said))))
