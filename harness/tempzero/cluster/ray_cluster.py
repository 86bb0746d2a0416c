"""A Ray cluster in, readers on its nodes and functions over many things out; what a dead node did is done again."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tempzero.cluster.done_tasks import do_task, require_version, take_result
from tempzero.cluster.reader_holder import HeldReply, ReaderHolder, open_endpoint, open_model_reference
from tempzero.config import Config, Provider
from tempzero.errors import EngineError, UsageError
from tempzero.metrics.decoding import ReportedToken, TokenStandings
from tempzero.types.asked import Message

Item = TypeVar("Item")
Result = TypeVar("Result")
# So many results are waited for at a time: those of a run of any size need not be held.
_IN_FLIGHT = 64
# So many token sequences are remembered in letters: each is asked for more than once while its response is read.
_PIECES_KEPT = 10_000


class RayCluster:
    """Connected from its making until `close`."""

    def __init__(self, address: str) -> None:
        """Raises UsageError where no cluster answers."""
        self._began = not ray.is_initialized()
        if self._began:
            named = None if address == "ray" else address
            try:
                with warnings.catch_warnings():  # what went wrong is told once, below
                    warnings.simplefilter("ignore", UserWarning)
                    ray.init(address=named, log_to_driver=False, configure_logging=False)
            except (ConnectionError, RuntimeError, TimeoutError) as problem:
                raise UsageError(f"--on {address}: no cluster answers: {_shorten(problem)}") from None
        self._actors: list[Any] = []

    @property
    def nodes(self) -> tuple[str, ...]:
        """The machines that take work, by id; a head that has no processors for any takes none."""
        alive = [node for node in ray.nodes() if node["Alive"]]
        return tuple(sorted(n["NodeID"] for n in alive if n["Resources"].get("CPU")) or [alive[0]["NodeID"]])

    def open_endpoints(self, provider: Provider, *, environ: Mapping[str, str], lanes: int) -> list[RemoteEndpoint]:
        """`lanes` readers of the endpoint on each node. Raises EngineError."""
        needed = {name: environ[name] for name in provider.variables() if name in environ}
        holders = self._place_holders(functools.partial(open_endpoint, provider, needed), lanes)
        pieces: dict[tuple[int, ...], list[bytes]] = {}
        # One of each node first, so that those in use are spread however few are used.
        return [RemoteEndpoint(RemoteReader(holder, pieces)) for _ in range(lanes) for holder in holders]

    def open_models(self, config: Config, provider: Provider) -> list[RemoteReference]:
        """The model of a `local:` provider in the memory of each node. Raises EngineError."""
        holders = self._place_holders(functools.partial(open_model_reference, config, provider), 1)
        pieces: dict[tuple[int, ...], list[bytes]] = {}
        return [RemoteReference(RemoteReader(holder, pieces)) for holder in holders]

    def _place_holders(self, open_one: Callable[[], Any], lanes: int) -> list[Any]:
        """One on each node; where its node is lost it comes back on another, and what it was asked is asked again."""
        actor = ray.remote(ReaderHolder)
        handles = [
            actor.options(
                num_cpus=0,  # so that it finds room wherever a node is left
                max_concurrency=lanes,
                max_restarts=-1,
                max_task_retries=-1,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=node, soft=True),
            ).remote(open_one, lanes)
            for node in self.nodes
        ]
        self._actors += handles
        for version in _fetch([handle.tell_version.remote() for handle in handles]):
            require_version(version)
        return handles

    def map_tasks(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """What `map` gives, in its order; a call that was lost with its node is made again. Raises EngineError."""
        task = ray.remote(max_retries=-1)(do_task)
        sent = ray.put(work)
        waiting: list[Any] = []
        for item in items:
            waiting.append(task.remote(sent, item))
            if len(waiting) >= _IN_FLIGHT:
                yield take_result(*_fetch([waiting.pop(0)]))
        for left in waiting:
            yield take_result(*_fetch([left]))

    def close(self) -> None:
        """Give the nodes back what was opened, and leave the cluster if it was entered here."""
        for handle in self._actors:
            ray.kill(handle)
        self._actors.clear()
        if self._began:
            ray.shutdown()


class RemoteReader:
    """A reader on another machine: its methods by name."""

    def __init__(self, holder: Any, pieces: dict[tuple[int, ...], list[bytes]]) -> None:
        """`pieces`: what tokens are in letters, which readers of one model share."""
        self._holder, self._pieces = holder, pieces

    def call(self, name: str, *given: Any, **named: Any) -> Any:
        """What that method gives there. Raises EngineError with the words it has there."""
        reply: HeldReply
        (reply,) = _fetch([self._holder.call.remote(name, *given, **named)])
        if reply.problem is not None:
            raise EngineError(reply.problem)
        return reply.value

    def find_pieces(self, token_ids: Sequence[int]) -> list[bytes]:
        """The bytes that each token adds to a text."""
        key = tuple(token_ids)
        if key not in self._pieces:
            if len(self._pieces) >= _PIECES_KEPT:
                self._pieces.clear()
            self._pieces[key] = self.call("pieces", key)
        return self._pieces[key]


class RemoteEndpoint:
    """See `reading.references.LogprobsEndpoint`."""

    def __init__(self, reader: RemoteReader) -> None:
        self._reader, self.pieces = reader, reader.find_pieces
        self.end_ids: tuple[int, ...] = reader.call("end_ids")

    def describe(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._reader.call("describe")
        return found

    def prompt_ids(self, messages: Sequence[Message], *, template_values: Mapping[str, Any] | None = None) -> list[int]:
        found: list[int] = self._reader.call("prompt_ids", list(messages), template_values=template_values)
        return found

    def tokenize(self, text: str) -> list[int]:
        found: list[int] = self._reader.call("tokenize", text)
        return found

    def read(self, token_ids: Sequence[int], start: int) -> Sequence[ReportedToken]:
        found: Sequence[ReportedToken] = self._reader.call("read", list(token_ids), start)
        return found


class RemoteReference:
    """See `reading.references.ReferenceModel`; whole distributions stay where they are computed."""

    exact, until_difference, written = True, False, None

    def __init__(self, reader: RemoteReader) -> None:
        self._reader, self.pieces = reader, reader.find_pieces
        self.vocabulary: int = reader.call("vocabulary")
        self.end_ids: tuple[int, ...] = reader.call("end_ids")

    def describe(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._reader.call("describe")
        return found

    def prompt_ids(
        self,
        messages: Sequence[Message],
        *,
        chat_template: str | None = None,
        template_values: Mapping[str, Any] | None = None,
    ) -> list[int]:
        values = {"chat_template": chat_template, "template_values": template_values}
        found: list[int] = self._reader.call("prompt_ids", list(messages), **values)
        return found

    def tokenize(self, text: str) -> list[int]:
        found: list[int] = self._reader.call("tokenize", text)
        return found

    def read(self, prompt: Sequence[int], ids: Sequence[int], *, ended: bool) -> TokenStandings:
        found: TokenStandings = self._reader.call("read", tuple(prompt), tuple(ids), ended=ended)
        return found


def _fetch(references: Sequence[Any]) -> list[Any]:
    """What the calls gave. Raises EngineError where the cluster cannot do them, UsageError where it is not there."""
    try:
        found: list[Any] = ray.get(list(references))
    except ray.exceptions.RayActorError as problem:
        raise EngineError(f"no node of the cluster can hold the reference: {_shorten(problem)}") from None
    except (ConnectionError, ray.exceptions.RaySystemError) as problem:
        raise UsageError(f"the cluster went away: {_shorten(problem)}") from None
    return found


def _shorten(problem: Exception) -> str:
    """The last line: those before it are a trace."""
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(problem).__name__
