"""A provider's limits and what it answers in; when its next request may start out, or that none may any more.

Pace      requests and tokens a minute, Retry-After, and what its rate-limit headers say is left
Breaker   failures in a row and retries in all: an outage costs a bounded number of requests and a bounded time
Budget    what one command may spend on all providers together: requests and money

No clock is read here but to understand dates in headers: whoever asks says what time it is.
"""

from __future__ import annotations

import email.utils
import math
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from tempzero.config import BreakerSettings

_REMAINING = re.compile(r"x-ratelimit-remaining(?:-(requests|tokens))?(?:-(?:second|minute|hour|day|month))?")
_DURATION = re.compile(
    r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?"
)
_UNITS_S = (86400.0, 3600.0, 60.0, 1.0, 0.001)
# A bare number this large is a point in time, not a length of time.
_EPOCH_MS, _EPOCH_S = 1e11, 1e8
# A lane of few trials may still be given this many retries in all.
_RETRIES_AT_LEAST = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class StartedRequest:
    """Where a request stands among all that were sent to its provider: what had been sent with it and before it.

    `most_usd` is what was set aside of the budget for it.
    """

    at_s: float
    requests: int
    tokens: int
    own_tokens: int
    most_usd: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class _RemainingQuota:
    """What a response said is left: `ceiling` requests or tokens in all, until `until_s`. `as_of` orders responses."""

    as_of: int
    ceiling: float
    until_s: float


class Pace:
    """When the next request may start. Tokens are counted as the most a request can take, until its usage is known."""

    def __init__(
        self, *, rpm: float | None, tpm: float | None, longest_s: float, wall: Callable[[], float] = time.time
    ) -> None:
        self._request_s = 60 / rpm if rpm else 0.0
        self._token_s = 60 / tpm if tpm else 0.0
        self._longest_s = longest_s
        self._wall = wall
        self._opens_at = -math.inf  # the provider asked for silence until then
        self._next_request = -math.inf
        self._next_token = -math.inf
        self._requests = self._tokens = 0
        self._left: dict[str, _RemainingQuota] = {}

    def wait_s(self, now: float, tokens: int) -> float:
        """Seconds until a request of that many tokens may start; 0 or less means now."""
        opens = [self._opens_at, self._next_request, self._next_token]
        for name, left in self._left.items():
            after = self._tokens + tokens if "tokens" in name else self._requests + 1
            if after > left.ceiling:
                opens.append(left.until_s)
        return max(opens) - now

    def start(self, now: float, tokens: int) -> StartedRequest:
        """Enter a request that starts now."""
        self._requests += 1
        self._tokens += tokens
        self._next_request = now + self._request_s
        self._next_token = max(now, self._next_token) + tokens * self._token_s
        return StartedRequest(at_s=now, requests=self._requests, tokens=self._tokens, own_tokens=tokens)

    def settle_tokens(self, started: StartedRequest, tokens: int) -> None:
        """Give back what a request was counted for and did not take."""
        self._next_token -= max(0, started.own_tokens - tokens) * self._token_s

    def hold_requests(self, now: float, seconds: float) -> None:
        """Let nothing start for that long."""
        self._opens_at = max(self._opens_at, now + min(seconds, self._longest_s))

    def apply_headers(self, now: float, started: StartedRequest, headers: Iterable[tuple[str, str]]) -> None:
        """Take in what a response says is left, and until when. A hint holds nobody longer than the longest wait."""
        said = dict(headers)
        for name, value in said.items():
            matched = _REMAINING.fullmatch(name)
            remaining = _parse_header_number(value) if matched else None
            reset_s = self._reset_s(said.get(name.replace("remaining", "reset"), ""), said)
            if matched is None or remaining is None or reset_s is None:
                continue
            known = self._left.get(name)
            if known is None or known.as_of <= started.requests:
                sent = started.tokens if matched[1] == "tokens" else started.requests
                until_s = now + min(reset_s, self._longest_s)
                self._left[name] = _RemainingQuota(as_of=started.requests, ceiling=sent + remaining, until_s=until_s)

    def _reset_s(self, stated: str, headers: Mapping[str, str]) -> float | None:
        """`1s`, `6m0s`, `12ms`, seconds, or a point in time by the provider's own clock."""
        stated = stated.strip()
        number = _parse_header_number(stated)
        if number is None:
            matched = _DURATION.fullmatch(stated) if stated else None
            parts = matched.groups() if matched else ()
            return sum(float(p) * unit for p, unit in zip(parts, _UNITS_S, strict=True) if p) if parts else None
        if number < _EPOCH_S:
            return number
        moment = number / 1000 if number > _EPOCH_MS else number
        return max(0.0, moment - (_parse_header_date(headers.get("date", "")) or self._wall()))


class Breaker:
    """Opens after failures in a row, lets one request try after a while, and gives up when these fail too.

    Failures of requests that were under way together are one: what counts is that a request begun after
    the last failure failed as well. Any answer closes it, a refusal too: the endpoint lives.
    """

    def __init__(self, settings: BreakerSettings) -> None:
        self._settings = settings
        self._in_a_row = 0
        self._probes_failed = 0
        self._counted_at = -math.inf
        self._open_until: float | None = None
        self._probing = False
        self._trials = self._retries = 0

    @property
    def is_open(self) -> bool:
        return self._open_until is not None

    @property
    def has_given_up(self) -> bool:
        return self._probes_failed >= self._settings.probes and self.is_open

    def wait_s(self, now: float) -> float:
        """Seconds until a request may start: for ever while another one is trying."""
        if self._open_until is None:
            return 0.0
        return math.inf if self._probing else self._open_until - now

    def start(self) -> None:
        """A request starts; in an open breaker it is the one that tries."""
        self._probing = self.is_open

    def record_answer(self) -> None:
        """The endpoint gave an answer of whatever kind."""
        self._in_a_row = self._probes_failed = 0
        self._open_until, self._probing = None, False

    def record_failure(self, now: float, started: StartedRequest) -> None:
        """A request came to nothing, in a way that another one might not."""
        if started.at_s < self._counted_at:
            return
        self._counted_at = now
        if self.is_open:
            self._probes_failed += 1
            self._probing = False
        else:
            self._in_a_row += 1
            if self._in_a_row < self._settings.failures:
                return
        self._open_until = now + self._settings.cool_down_s * 2**self._probes_failed

    def count_trial(self) -> None:
        """A trial is asked for the first time: it brings its share of retries."""
        self._trials += 1

    def take_retry(self) -> bool:
        """Take one retry out of the budget, if there is one left."""
        allowed = self._retries < _RETRIES_AT_LEAST + self._settings.retries * self._trials
        self._retries += allowed
        return allowed


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one command may spend at most; None: no limit. Minutes count from when collecting begins."""

    max_cost_usd: float | None = None
    max_requests: int | None = None
    max_minutes: float | None = None


class Budget:
    """What has been spent of a command's limits. A request is counted for its most until its cost is known."""

    def __init__(self, limits: Limits, *, requests: int = 0, cost_usd: float = 0.0) -> None:
        self._limits = limits
        self._requests = requests
        self._spent_usd = cost_usd
        self._reserved_usd: list[float] = []
        self.exhausted: str | None = None

    @property
    def limits_cost(self) -> bool:
        """Whether money is limited."""
        return self._limits.max_cost_usd is not None

    def admit(self, most_usd: float) -> Literal["go", "wait", "no"]:
        """May a request start that costs so much at most? `wait`: perhaps, once others have ended."""
        limits = self._limits
        if limits.max_requests is not None and self._requests >= limits.max_requests:
            self.exhausted = f"--max-requests {limits.max_requests} was reached"
        elif limits.max_cost_usd is not None:
            planned = self._spent_usd + math.fsum(self._reserved_usd) + most_usd
            if planned > limits.max_cost_usd and most_usd > 0:
                if self._reserved_usd:
                    return "wait"
                self.exhausted = (
                    f"--max-cost {limits.max_cost_usd:g} leaves no room for another request "
                    f"(${self._spent_usd:.6f} spent, the next could cost ${most_usd:.6f})"
                )
        if self.exhausted is not None:
            return "no"
        self._requests += 1
        if most_usd > 0:
            self._reserved_usd.append(most_usd)
        return "go"

    def settle(self, most_usd: float, spent_usd: float) -> None:
        """A request has ended and cost so much."""
        if most_usd > 0:
            self._reserved_usd.remove(most_usd)
        self._spent_usd += spent_usd


def _parse_header_number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return max(0.0, value) if math.isfinite(value) else None


def _parse_header_date(text: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
