"""An exchange in, how far the server's clock is ahead of this machine's out."""

from __future__ import annotations

from datetime import datetime

from tempzero.engines.hosted.fault_catalogue import parse_http_date_s
from tempzero.types.recorded import Exchange

# Less is what clocks without care differ by, and what a response takes on its way.
LARGEST_SKEW_S = 120.0


def clock_lead_s(exchange: Exchange) -> float | None:
    """Seconds; negative where it is behind. None where the response was not dated, or says that it is an old one."""
    times, response = exchange.times, exchange.response
    headers = dict(response.headers) if response is not None else {}
    theirs = parse_http_date_s(headers.get("date", ""))
    if theirs is None or "age" in headers or times.first_byte_s is None:
        return None
    return theirs - datetime.fromisoformat(times.started_at).timestamp() - times.first_byte_s


def is_clock_skewed(exchange: Exchange) -> bool:
    """Whether the two clocks are further apart than clocks are by chance."""
    seconds = clock_lead_s(exchange)
    return seconds is not None and abs(seconds) > LARGEST_SKEW_S
