"""How a reader is opened in, readers on one machine out: calls by name, and values that can travel."""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tempzero
from tempzero.config import Config, Provider
from tempzero.engines import open_local_engine, open_reader
from tempzero.engines.local import weights
from tempzero.errors import EngineError, WeightsError
from tempzero.reading.references import LogitsReference


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldReply:
    """What a call gave, or what an EngineError said: an error itself would travel with a trace in its words."""

    value: Any = None
    problem: str | None = None


class ReaderHolder:
    """Holds as many readers as calls are made at once; each call has one of them to itself."""

    def __init__(self, open_one: Callable[[], Any], readers: int) -> None:
        self._open_one = open_one
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(readers):
            self._idle.put(None)  # opened by the first call that has it

    def tell_version(self) -> str:
        """The version of tempzero on this machine."""
        return tempzero.__version__

    def call(self, name: str, *given: Any, **named: Any) -> HeldReply:
        """A method of the reader, or the value of a property."""
        reader = self._idle.get()
        try:
            if reader is None:
                reader = self._open_one()
            found = getattr(reader, name)
            return HeldReply(value=found(*given, **named) if callable(found) else found)
        except (EngineError, WeightsError) as problem:
            return HeldReply(problem=str(problem))
        finally:
            self._idle.put(reader)


def open_endpoint(provider: Provider, environ: Mapping[str, str]) -> Any:
    """A reader of an endpoint that `reads:`. Raises EngineError."""
    return open_reader(provider, environ=environ)


def open_model_reference(config: Config, provider: Provider) -> LogitsReference:
    """A model in that machine's memory, its weights from there, or fetched. Raises EngineError and WeightsError."""
    assert provider.local is not None, "the caller has seen `local:`"
    file = weights.obtain_weights_for(config, provider.local, say=lambda line: None)
    return LogitsReference(open_local_engine(provider, file))
