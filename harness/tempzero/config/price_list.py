"""Providers without a price in, the same with what the kept list of the extra `prices` knows of them out."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from datetime import UTC, datetime

from tempzero.config.provider_models import Price, Provider

PriceLookup = Callable[[str, str], tuple[float, float] | None]
"""base_url and model in, USD for a million tokens of prompts and of answers out; None: not on the list."""

# So few tokens that no price for long contexts applies.
_TOKENS_LOOKED_UP = 1000


def add_listed_prices(providers: tuple[Provider, ...], *, now: datetime | None = None) -> tuple[Provider, ...]:
    """Every hosted provider without a price gets the list's, which says where it is from and of which day.

    Without the extra, and where the list does not know endpoint and model, nothing changes.
    """
    wanting = [p for p in providers if p.base_url is not None and p.price is None]
    moment = now or datetime.now(UTC)
    look_up = _open_price_list(moment) if wanting else None
    if look_up is None:
        return providers
    source = f"genai-prices {importlib.metadata.version('genai-prices')}"
    return tuple(_with_listed_price(p, look_up, source, moment) if p in wanting else p for p in providers)


def describe_listed_prices(providers: tuple[Provider, ...]) -> list[str]:
    """A line for each price that came from a list."""
    return [
        f"price: {p.name}: ${p.price.input_per_mtok:g} and ${p.price.output_per_mtok:g} for a million tokens of "
        f"prompts and answers, by {p.price.source} of {p.price.as_of}; providers.yaml names none"
        for p in providers
        if p.price is not None and p.price.source is not None and p.price.source.startswith("genai-prices ")
    ]


def _with_listed_price(provider: Provider, look_up: PriceLookup, source: str, moment: datetime) -> Provider:
    found = look_up(provider.base_url or "", provider.model)
    if found is None:
        return provider
    price = Price(input_per_mtok=found[0], output_per_mtok=found[1], source=source, as_of=moment.date().isoformat())
    return provider.model_copy(update={"price": price})


def _open_price_list(moment: datetime) -> PriceLookup | None:
    """The list as it is installed, asked for the prices of a moment; None where it is not installed."""
    try:
        import genai_prices  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return None

    def look_up(base_url: str, model: str) -> tuple[float, float] | None:
        usage = genai_prices.Usage(input_tokens=_TOKENS_LOOKED_UP, output_tokens=_TOKENS_LOOKED_UP)
        try:
            found = genai_prices.calc_price(usage, model, provider_api_url=base_url, genai_request_timestamp=moment)
        except (LookupError, ValueError):  # unknown endpoint or model; a price of a kind that these tokens do not have
            return None
        per_million = 1e6 / _TOKENS_LOOKED_UP
        return float(found.input_price) * per_million, float(found.output_price) * per_million

    return look_up
