"""The bytes of a request in; what the wire brought back out: status, headers, bytes, times, and where it broke.

It works at the lowest seam of httpx2, its transports: no redirect is followed, nothing retried, no
compression undone, and four deadlines hold on the monotonic clock (connect, first byte, content
idle, total). Nothing a server does makes it raise.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Literal

import h11
import httpcore2
import httpx2

from tempzero.config import Timeouts
from tempzero.engines.hosted.event_stream import ContentWatch
from tempzero.engines.hosted.fault_catalogue import Break

# At DEBUG the layer beneath writes every response header into the log, and a header may quote the key.
logging.getLogger("httpcore2").setLevel(logging.INFO)

BYTE_CAP = 16 * 1024 * 1024
# Common servers drop an idle connection after 5 s; leaving first avoids asking on a dying one.
_KEEP_ALIVE_S = 4.0
# After a stream's end mark nothing more is waited for; a server that keeps the connection open gets this long.
_AFTER_DONE_S = 3.0
# Pieces that follow content within this time are looked at together: a burst of them costs one look.
_GLANCE_S = 0.01
# A deadline noticed so late was slept through by this process; what came meanwhile is read first, for so long.
_LATE_S, _GRACE_S = 0.1, 0.3
_READ_BYTES = 1 << 16
# What breaks while a body is read.
_BREAKING_ERRORS = (httpcore2.NetworkError, httpcore2.ProtocolError, h11.RemoteProtocolError)


@dataclass(frozen=True, kw_only=True, slots=True)
class WireAnswer:
    """What came back. `status` None: not even a head. Seconds run from sending on, or, where the
    connection never stood, from the start of the attempt. Only an event stream has a first content.
    `surplus`: bytes stood behind the end of the response, which no request asked for."""

    status: int | None
    headers: tuple[tuple[str, str], ...]
    body: bytes
    broken: Break | None
    started_at: str
    first_byte_s: float | None
    first_content_s: float | None
    end_s: float
    surplus: bool = False


class Wire:
    """The connections to one endpoint: one for each request under way, kept alive between them.

    Each is a pool of size one. A shared pool looks through all its connections twice for each
    request, which at 100 in flight takes as much time as the request itself.
    """

    def __init__(self, url: str, *, timeouts: Timeouts, proxy: str | None) -> None:
        self._url = httpx2.URL(url)
        self._timeouts = timeouts
        self._proxy = None if proxy is None else httpx2.Proxy(proxy)
        # SSL_CERT_FILE and SSL_CERT_DIR count. Plain http needs no authorities.
        plain = self._url.scheme == "http"
        self._tls = _trust_nobody() if plain else httpx2.create_ssl_context(trust_env=True)
        self._all: list[httpx2.AsyncHTTPTransport] = []
        self._free: list[httpx2.AsyncHTTPTransport] = []

    async def post(self, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> WireAnswer:
        """Send once and read to the end, to a deadline or to the byte cap. Host and length are added."""
        under_way = _RequestUnderWay(body, self._timeouts)
        framing = ((b"host", self._url.netloc), (b"content-length", b"%d" % len(body)))
        transport = self._free.pop() if self._free else self._connection()
        watched = {} if transport._pool.connections else {"trace": under_way.watch}
        request = httpx2.Request("POST", self._url, headers=[*framing, *headers], stream=under_way, extensions=watched)
        try:
            broken = await under_way.run(transport, request)
        except BaseException:
            await self._drop(transport)
            raise
        behind = _surplus_bytes(transport)
        if behind == b"":
            self._free.append(transport)
        else:
            await self._drop(transport)
        return under_way.answer(broken, surplus=bool(behind))

    async def _drop(self, transport: httpx2.AsyncHTTPTransport) -> None:
        self._all.remove(transport)
        await transport.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        for transport in self._all:
            await transport.aclose()

    def _connection(self) -> httpx2.AsyncHTTPTransport:
        one = httpx2.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_KEEP_ALIVE_S)
        transport = httpx2.AsyncHTTPTransport(verify=self._tls, trust_env=False, limits=one, proxy=self._proxy)
        self._all.append(transport)
        return transport


class _RequestUnderWay(httpx2.AsyncByteStream):
    """One request under way, with its clock and what has come back so far.

    It is the request's own body: the transport asks for the body once the connection
    stands, and that moment is when sending, and with it the measured time, begins.

    One timer serves all deadlines: they move with every piece, and it only looks, when it rings, whether
    the one in force has passed.
    """

    def __init__(self, body: bytes, timeouts: Timeouts) -> None:
        self._body = body
        self._timeouts = timeouts
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time
        self._began = self._now()
        self._started_at = _utc_timestamp()
        self._half_open: httpcore2.AsyncNetworkStream | None = None
        self._sent: float | None = None
        self._first_byte: float | None = None
        self._first_content: float | None = None
        self._pulse = ContentWatch(streaming=False)
        self._done: float | None = None  # when a stream's end mark had come: that is its end, whatever follows
        self._any_content = False
        self._alive = False  # has anything but content come since the last content?
        self._status: int | None = None
        self._headers: tuple[tuple[str, str], ...] = ()
        self._received = bytearray()
        self._looked_at = 0  # so many of them
        self._glance_at = -math.inf  # until then further pieces wait to be looked at together
        self._otherwise = f"no connection within {timeouts.connect_s:g} s"
        self._waiting_for: Literal["connection", "first byte", "content", "end"] = "connection"
        self._due = self._began + timeouts.connect_s
        self._forgiven = -math.inf  # the deadline that has been put off
        self._timer: asyncio.TimerHandle | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._sent = self._now()
        self._started_at = _utc_timestamp()
        silence = f"no first byte within {self._timeouts.first_byte_s:g} s"
        self._due_in(self._timeouts.first_byte_s, "first byte", silence)
        yield self._body

    async def watch(self, event: str, info: Mapping[str, Any]) -> None:
        """Learn of a new connection before it is known whether the other side speaks TLS."""
        if event.endswith("connect_tcp.complete"):
            self._half_open = info["return_value"]

    async def run(self, transport: httpx2.AsyncHTTPTransport, request: httpx2.Request) -> Break | None:
        """Send, read, and say where it broke, if it did."""
        try:
            async with asyncio.timeout(None) as self._clock:
                self._ring_by(self._due)
                try:
                    response = await transport.handle_async_request(request)
                    assert isinstance(response.stream, httpx2.AsyncByteStream)
                    try:
                        return await self._read(response, _http_protocol(transport))
                    finally:
                        await response.stream.aclose()
                finally:
                    if self._timer is not None:
                        self._timer.cancel()
                    # The layers beneath close a connection whose handshake fails, but not one that we give up on.
                    if self._sent is None and self._half_open is not None:
                        await self._half_open.aclose()
        except TimeoutError:
            return self._break_at_deadline()
        except (httpx2.TransportError, *_BREAKING_ERRORS) as error:
            return self._break_of_error(error)

    def answer(self, broken: Break | None, *, surplus: bool) -> WireAnswer:
        """What is there now."""
        start = self._began if self._sent is None else self._sent
        return WireAnswer(
            status=self._status,
            headers=self._headers,
            body=bytes(self._received),
            broken=broken,
            started_at=self._started_at,
            first_byte_s=None if self._first_byte is None else self._first_byte - start,
            first_content_s=None if self._first_content is None else self._first_content - start,
            end_s=(self._now() if self._done is None else self._done) - start,
            surplus=surplus,
        )

    async def _read(self, response: httpx2.Response, protocol: h11.Connection | None) -> Break | None:
        self._first_byte = self._now()
        self._status = response.status_code
        self._headers = tuple((name.lower().decode("latin-1"), v.decode("latin-1")) for name, v in response.headers.raw)
        self._pulse = ContentWatch(streaming="event-stream" in response.headers.get("content-type", ""))
        # A head sent at once says nothing of the answer: its first content may take what a first byte may.
        elapsed_s = self._first_byte - (self._sent or self._began)
        self._due_in(max(self._timeouts.idle_s, self._timeouts.first_byte_s - elapsed_s), "content", self._silence)
        if protocol is None:
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            async for piece in response.stream:
                self._received += piece
                if self._take_in():
                    return self._too_large()
        else:
            network: httpcore2.AsyncNetworkStream = response.extensions["network_stream"]
            while self._unframe(protocol):
                if self._take_in():
                    return self._too_large()
                protocol.receive_data(await network.read(_READ_BYTES))
            if len(self._received) > BYTE_CAP:
                return self._too_large()
        self._look(self._now())
        return None

    def _unframe(self, protocol: h11.Connection) -> bool:
        """Receive the bodies of all chunks that are there. Is more to come?

        A burst of chunks costs one look and one turn of the loop; passed up one by one through the layers above,
        each costs as much again as its unframing.
        """
        while type(event := protocol.next_event()) is h11.Data:
            self._received += event.data
        return event is h11.NEED_DATA

    def _take_in(self) -> bool:
        """Look at what has come, at once or together with what follows. Is it more than may be kept?"""
        if len(self._received) > BYTE_CAP:
            return True
        now = self._now()
        if now < self._glance_at:
            self._ring_by(self._glance_at)
        else:
            self._look(now)
        return False

    def _too_large(self) -> Break:
        del self._received[BYTE_CAP:]
        return Break(kind="too_large", detail=f"more than {BYTE_CAP} bytes; the rest was not read")

    @property
    def _silence(self) -> str:
        return f"no content for {self._timeouts.idle_s:g} s"

    def _look(self, now: float) -> None:
        """Take in what has come since the last look, and move the deadline on if it was content."""
        if self._looked_at == len(self._received):
            return
        piece = bytes(memoryview(self._received)[self._looked_at :])
        self._looked_at = len(self._received)
        # Blank lines and comments are how providers keep a waiting connection alive: no content yet.
        if not self._pulse.feed(piece):
            self._alive = piece.isspace() or b"\n" in piece  # a part of a line is neither
            return
        self._alive, self._any_content = False, True
        if self._pulse.done and self._done is None:
            self._done = now
        if self._pulse.output and self._first_content is None:
            self._first_content = now
        if self._first_content is not None:
            self._glance_at = now + _GLANCE_S
        self._due_in(_AFTER_DONE_S if self._pulse.done else self._timeouts.idle_s, "content", self._silence)

    def _break_at_deadline(self) -> Break | None:
        """Which deadline it was, and so what it means. Silence after a stream's end mark means nothing."""
        if self._pulse.done:
            return None
        detail = f"{self._otherwise}; {len(self._received)} bytes had come"
        if self._waiting_for == "connection":
            return Break(kind="network", detail=detail)
        if self._alive and (self._waiting_for == "content" or not self._any_content):
            return Break(kind="kept_alive", detail=detail)
        stalled = self._waiting_for == "content" and self._any_content
        return Break(kind="stalled" if stalled else "timeout", detail=detail)

    def _due_in(self, seconds: float, waiting_for: Literal["first byte", "content", "end"], otherwise: str) -> None:
        """Set the deadline in force and what it means to miss it; the total one always stands behind it."""
        assert self._sent is not None, "a body is sent before anything is due"
        due, end = self._now() + seconds, self._sent + self._timeouts.total_s
        if due >= end:
            due, waiting_for, otherwise = end, "end", f"not finished within {self._timeouts.total_s:g} s"
        self._waiting_for, self._otherwise = waiting_for, otherwise
        self._due = due
        self._ring_by(due)

    def _ring_by(self, when: float) -> None:
        """Wind the timer up for then, unless it rings earlier anyway."""
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._ring)

    def _ring(self) -> None:
        """Look, and end the request if its deadline has passed; a process that overslept reads first, once."""
        assert self._timer is not None, "it is what rings"
        now, was_to_ring = self._now(), self._timer.when()
        self._timer = None
        self._look(now)
        if self._timer is not None:
            return  # there was content, and so a new deadline
        if now < self._due:
            self._ring_by(self._due)
        elif now - was_to_ring > _LATE_S and self._forgiven != self._due:
            self._forgiven = self._due
            self._ring_by(now + _GRACE_S)
        else:
            self._clock.reschedule(now)

    def _break_of_error(self, error: Exception) -> Break:
        """By stage, not by class: what has happened on the wire says more than what a library calls it."""
        if self._first_byte is not None:
            return Break(
                kind="interrupted", detail=f"broke off after {len(self._received)} bytes: {_root_reason(error)}"
            )
        if self._sent is not None:
            return Break(kind="network", detail=f"broke off before the response: {_root_reason(error)}")
        tls = next((e for e in _cause_chain(error) if isinstance(e, ssl.SSLError)), None)
        if tls is not None:
            return Break(kind="tls", detail=str(getattr(tls, "verify_message", None) or tls.reason or "TLS failed"))
        return Break(kind="network", detail=f"no connection: {_root_reason(error)}")


def _surplus_bytes(transport: httpx2.AsyncHTTPTransport) -> bytes | None:
    """What stands behind the response's end in the connection's buffer: the next request would get it for its answer.

    None where that cannot be known: no public name of the layers beneath says it. Such a connection is not used again.
    """
    connections = _pooled_connections(transport)
    if connections is not None and not connections:
        return b""
    protocol = _http_protocol(transport)
    return None if protocol is None else bytes(protocol.trailing_data[0])


def _http_protocol(transport: httpx2.AsyncHTTPTransport) -> h11.Connection | None:
    """The state of HTTP/1.1 on the transport's one connection, where the layers beneath keep it."""
    for connection in _pooled_connections(transport) or ():
        state = getattr(getattr(connection, "_connection", None), "_h11_state", None)
        return state if isinstance(state, h11.Connection) else None
    return None


def _pooled_connections(transport: httpx2.AsyncHTTPTransport) -> Sequence[object] | None:
    """The connections of a transport's pool; None where its pool is not kept where it was."""
    return getattr(getattr(transport, "_pool", None), "connections", None)


@cache
def _trust_nobody() -> ssl.SSLContext:
    """One for all connections that need none: to make it takes as long as a request."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def find_fast_path_gap() -> str | None:
    """Which private state the installed layers beneath keep elsewhere than where it is looked for; None: none.

    Where there is any, answers are the same, but bodies come piece by piece through all layers, and a connection
    carries one request.
    """
    origin = httpcore2.URL("http://localhost").origin
    looked_for = (
        (httpx2.AsyncHTTPTransport(verify=_trust_nobody(), trust_env=False), "_pool"),
        (httpcore2.AsyncHTTPConnection(origin), "_connection"),
        (httpcore2.AsyncHTTP11Connection(origin, httpcore2.AsyncMockStream([])), "_h11_state"),
    )
    return next((f"{type(layer).__name__}.{name}" for layer, name in looked_for if not hasattr(layer, name)), None)


def _root_reason(error: BaseException) -> str:
    """The innermost reason in the system's words. Never a protocol library's own text: it may quote a header."""
    chain = list(_cause_chain(error))
    for cause in reversed(chain):
        if isinstance(cause, socket.gaierror):
            return "the host name cannot be resolved"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
    return type(error).__name__


def _cause_chain(error: BaseException) -> list[BaseException]:
    """An exception and everything it came from, groups opened, outermost first."""
    chain: list[BaseException] = []
    todo: list[BaseException | None] = [error]
    while todo:
        current = todo.pop()
        if current is None or any(current is seen for seen in chain):
            continue
        chain.append(current)
        todo += [current.__context__, current.__cause__]
        if isinstance(current, BaseExceptionGroup):
            todo += current.exceptions
    return chain


def _utc_timestamp() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
