"""How requests are made, whoever is asked: sampling, repeats, deadlines, patience. `defaults:` in providers.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tempzero.config.strict_model import Positive, Seconds, StrictModel

Temperature = Annotated[float, Field(ge=0, le=2)]
TopP = Annotated[float, Field(gt=0, le=1)]


class Timeouts(StrictModel):
    """Four deadlines of one attempt, in seconds on the monotonic clock. A key that is not given has the value shown."""

    connect_s: Seconds = 10.0
    """Seconds until the connection (and TLS) stands."""
    first_byte_s: Seconds = 120.0
    """Seconds from sending until the first byte of the response."""
    idle_s: Seconds = 60.0
    """Seconds between two pieces of content; keep-alive bytes do not count as content."""
    total_s: Seconds = 300.0
    """Seconds from sending until the last byte."""


class Backoff(StrictModel):
    """How long to wait before a trial is asked again."""

    first_s: Seconds = 1.0
    """Seconds before the second attempt, at most; each further wait may be twice as long."""
    max_s: Seconds = 120.0
    """No wait is longer, in seconds. A provider that demands more (Retry-After) is not asked again in this session."""


class BreakerSettings(StrictModel):
    """When a provider in trouble is left alone, so that an outage costs neither hours nor thousands of requests."""

    failures: Positive = 5
    """So many failures in a row stop the requests for a while. Failures of requests under way together are one."""
    cool_down_s: Seconds = 30.0
    """For how many seconds; then one request tries whether it answers again. Twice as long after each that does not."""
    probes: Annotated[int, Field(ge=0, le=10)] = 2
    """So many tries may fail in a row; then the provider is not asked again in this session."""
    retries: Annotated[float, Field(ge=0, le=10)] = 1.0
    """Retries in all, for each trial asked, on average (and ten more)."""


class RequestSettings(StrictModel):
    """What each provider has a value of: its own, or else that of `defaults:`."""

    temperature: Temperature | None = 0.0
    """Sampling temperature, 0 to 2; 0 asks for the likeliest token every time. null: not sent."""
    top_p: TopP | None = 1.0
    """Sample only from the likeliest tokens that together have this probability; 1 is all of them. null: not sent."""
    seed: int | None = 7
    """The sampler's seed, the same in every request. null: not sent, for endpoints that refuse one."""
    max_tokens: Positive = 128
    """Tokens of an answer at most. A prompt's own `max_tokens` goes before this."""
    repeats: Positive = 3
    """How often each prompt is asked: 2 or more show whether a provider agrees with itself."""
    concurrency: Positive = 1
    """Requests in flight at most. More of them change the load on the server, which is part of the measurement."""
    attempts: Positive = 4
    """Attempts a trial may take in all, the first one included."""
    timeouts: Timeouts = Timeouts()
    """Deadlines of one attempt. `serve:` entries have half an hour to the first byte and an hour in all, or their
    own."""
    backoff: Backoff = Backoff()
    """Waits before further attempts of a trial."""
    breaker: BreakerSettings = BreakerSettings()
    """When a provider in trouble is left alone."""


class Defaults(RequestSettings):
    """Values every provider starts from. A sampling field set to null is left out of requests."""


# A CPU needs minutes for a long prompt, and nothing can overload a server of our own but ourselves.
SERVED_TIMEOUTS = Timeouts(first_byte_s=1800.0, idle_s=1800.0, total_s=3600.0)
