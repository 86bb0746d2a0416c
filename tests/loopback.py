"""A script in, a real HTTP/1.1 server on 127.0.0.1 out: exact bytes, stalls, resets, and a list of what it was asked.

Each answer carries an id of its own, as real ones do: ANY_ID in a reply's bytes becomes one, the same throughout.
A step dates itself when it is sent: NOW in its bytes becomes that second, however long ago the script was written.

In a test: `with Loopback(answer) as server: ... server.base_url ... server.calls`, where `answer` maps
a Call to a Reply. As a process of its own: `python tests/loopback.py --latency-s 0.05` prints its port.
"""

from __future__ import annotations

import argparse
import asyncio
import email.utils
import json
import socket
import ssl
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

ANY_ID = "chatcmpl-0000000"
NOW = email.utils.formatdate(0, usegmt=True)


@dataclass(kw_only=True, slots=True)
class Call:
    """One request as it arrived. `prompt` is the last message's text, `nth` counts from 1 per (model, prompt)."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    model: str
    prompt: str
    nth: int
    began_s: float
    ended_s: float | None = None

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Pause:
    """Send nothing for that long."""

    seconds: float


class Reset:
    """Tear the connection down with a RST."""


class Close:
    """End the connection with a FIN."""


Step = bytes | Pause | Reset | Close


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server does, step by step. Without Reset or Close the connection stays open."""

    steps: tuple[Step, ...]


Answer = Callable[[Call], Reply]


def raw(*steps: Step) -> Reply:
    """Exactly these steps."""
    return Reply(steps)


def body(
    content: bytes,
    *,
    status: int = 200,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """A whole response with that body."""
    return raw(head(len(content), status=status, content_type=content_type, headers=headers) + content)


def head(
    length: int | None,
    *,
    status: int = 200,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """A response's head; with `length` None it announces chunks."""
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    lines = [f"HTTP/1.1 {status} Scripted", f"Content-Type: {content_type}", framing]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def chunk(content: bytes) -> bytes:
    """One piece of a chunked body; an empty one ends it."""
    return b"%x\r\n%s\r\n" % (len(content), content)


def value(content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """A JSON response."""
    return body(json.dumps(content).encode(), status=status, headers=headers)


def error(status: int, message: str = "no", *, headers: Mapping[str, str] | None = None, **fields: Any) -> Reply:
    """An error in OpenAI's shape."""
    return value({"error": {"message": message, **fields}}, status=status, headers=headers)


def completion_value(
    text: str | None = "yes",
    *,
    finish_reason: str | None = "stop",
    message: Mapping[str, Any] | None = None,
    choice: Mapping[str, Any] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """The JSON of a Chat Completions response; `message`, `choice` and `fields` add to it or replace."""
    whole = {"role": "assistant", "content": text, **(message or {})}
    return {
        "id": ANY_ID,
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": whole, "finish_reason": finish_reason, **(choice or {})}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 2, "total_tokens": 13},
        **fields,
    }


def completion(text: str | None = "yes", *, headers: Mapping[str, str] | None = None, **fields: Any) -> Reply:
    """A good Chat Completions response."""
    return value(completion_value(text, **fields), headers=headers)


def chunk_values(
    *texts: str,
    finish_reason: str | None = "stop",
    usage: Any = {"prompt_tokens": 11, "completion_tokens": 2, "total_tokens": 13},  # noqa: B006
    **fields: Any,
) -> list[dict[str, Any]]:
    """The chunks of a streamed response: the role, a delta for each text, the end, the usage."""

    def one(choices: Any, **more: Any) -> dict[str, Any]:
        named = {"id": ANY_ID, "object": "chat.completion.chunk", "created": 1, "model": "m"}
        return {**named, "choices": choices, **fields, **more}

    def delta(given: Any, finish: str | None = None) -> list[dict[str, Any]]:
        return [{"index": 0, "delta": given, "finish_reason": finish}]

    chunks = [one(delta({"role": "assistant", "content": ""})), *(one(delta({"content": t})) for t in texts)]
    if finish_reason is not None:
        chunks.append(one(delta({}, finish_reason)))
    return chunks if usage is None else [*chunks, one([], usage=usage)]


def event(content: Any) -> bytes:
    """One event of a stream; a text is sent as it is, anything else as JSON."""
    return b"data: %s\n\n" % (content if isinstance(content, str) else json.dumps(content)).encode()


def stream(*steps: Step | Any, headers: Mapping[str, str] | None = None, done: bool = True) -> Reply:
    """An event stream, each value of JSON an event of its own; [DONE] and a clean end unless told otherwise."""
    pieces: list[Step] = [event(s) if isinstance(s, dict) else s for s in steps]
    pieces += [event("[DONE]")] if done else []
    ended = bool(steps) and isinstance(steps[-1], Reset | Close)
    sent = [chunk(s) if isinstance(s, bytes) and s else s for s in pieces]
    return raw(head(None, content_type="text/event-stream", headers=headers), *sent, *([] if ended else [chunk(b"")]))


def after(seconds: float, reply: Reply) -> Reply:
    """The same, but later."""
    return raw(Pause(seconds), *reply.steps)


def scripted(script: Mapping[tuple[str, str] | str, Sequence[Reply]], default: Reply | None = None) -> Answer:
    """Answers by (model, prompt), else by model: the nth call gets the nth reply, further ones the last."""

    def answer(call: Call) -> Reply:
        replies = script.get((call.model, call.prompt)) or script.get(call.model) or [default or completion()]
        return replies[min(call.nth, len(replies)) - 1]

    return answer


class Loopback:
    """The server, on a free port, running in a thread of its own between `with` and its end."""

    def __init__(self, answer: Answer | None = None, *, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.answer = answer or scripted({})
        self.calls: list[Call] = []
        self._nth: Counter[tuple[str, str]] = Counter()
        self._in_flight: Counter[str] = Counter()
        self.peak_in_flight: Counter[str] = Counter()
        self._connections: set[_Connection] = set()
        self.connections_made = 0
        self._answered = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.port = 0

    @property
    def base_url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Loopback:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.listen(), self._loop).result(60)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()

    async def listen(self) -> asyncio.Server:
        """Begin to accept connections on the running loop."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self), "127.0.0.1", self.port, backlog=1024, ssl=self._tls
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self._server

    async def _close(self) -> None:
        # asyncio loses a connection that it has accepted and not yet handed over when its server is closed, and leaves
        # it to the garbage collector. So first no more are accepted, then those that were are torn down.
        asyncio.get_running_loop().remove_reader(self._server.sockets[0].fileno())
        await asyncio.sleep(0)
        while self._connections or len(asyncio.all_tasks()) > 1:
            for connection in list(self._connections):
                connection.abort()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()  # an answer that waits, or a handshake that nobody goes on with
            await asyncio.sleep(0.001)
        self._server.close()

    def prompts(self, model: str | None = None) -> list[str]:
        """The prompts asked, in order of arrival."""
        return [c.prompt for c in self.calls if model in (None, c.model)]

    def begin(self, method: str, target: str, headers: Mapping[str, str], content: bytes) -> Call:
        model, prompt = _model_and_prompt(content)
        self._nth[model, prompt] += 1
        self._in_flight[model] += 1
        self.peak_in_flight[model] = max(self.peak_in_flight[model], self._in_flight[model])
        call = Call(
            method=method,
            target=target,
            headers=headers,
            body=content,
            model=model,
            prompt=prompt,
            nth=self._nth[model, prompt],
            began_s=time.monotonic(),
        )
        self.calls.append(call)
        return call

    def next_id(self) -> bytes:
        """As long as ANY_ID, so that no length changes."""
        self._answered += 1
        return b"chatcmpl-%07d" % self._answered

    def end(self, call: Call) -> None:
        self._in_flight[call.model] -= 1
        call.ended_s = time.monotonic()


def _dated(step: bytes) -> bytes:
    """As long as before, so that no length changes."""
    now = NOW.encode()
    return step.replace(now, email.utils.formatdate(time.time(), usegmt=True).encode()) if now in step else step


class _Connection(asyncio.Protocol):
    """One client: a request at a time, each answered by a task of its own."""

    def __init__(self, server: Loopback) -> None:
        self._server = server
        self._buffer = b""
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server._connections.add(self)
        self._server.connections_made += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._server._connections.discard(self)
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._buffer.startswith(b"\x16\x03"):  # a TLS greeting: answer as plain-text servers do
            self._transport.write(head(0, status=400))
            self._transport.close()
            return
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        headers = {n.strip().lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        if len(self._buffer) < end + 4 + length:
            return
        content = self._buffer[end + 4 : end + 4 + length]
        self._buffer = self._buffer[end + 4 + length :]
        method, target, _ = first.split(" ", 2)
        call = self._server.begin(method, target, headers, content)
        self._task = asyncio.get_running_loop().create_task(self._reply(call))

    async def _reply(self, call: Call) -> None:
        own_id = self._server.next_id()
        try:
            for step in self._server.answer(call).steps:
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                elif isinstance(step, bytes):
                    self._transport.write(_dated(step.replace(ANY_ID.encode(), own_id)))
                elif isinstance(step, Reset):
                    self.abort()
                else:
                    self._transport.close()
        except Exception:
            self.abort()  # a test that cannot answer shows at once, not when whoever asked gives up
            raise
        finally:
            self._server.end(call)

    def abort(self) -> None:
        # A linger time of zero makes the kernel send RST where it would send FIN.
        raw_socket: socket.socket | None = self._transport.get_extra_info("socket")
        if raw_socket is None:  # a TLS connection that has just ended by itself
            return
        raw_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


def _model_and_prompt(content: bytes) -> tuple[str, str]:
    try:
        asked = json.loads(content)
        return str(asked.get("model", "")), str((asked.get("messages") or [{"content": ""}])[-1]["content"])
    except (ValueError, TypeError):  # no JSON, or no list of messages
        return "", ""


async def _serve(latency_s: float, *, streaming: bool) -> None:
    words = "The quick brown fox jumps over the lazy dog. " * 12
    reply = stream(*chunk_values(*words.split(" "))) if streaming else completion(words)
    answer = after(latency_s, reply)
    server = Loopback(lambda call: answer)
    listening = await server.listen()
    print(server.port, flush=True)
    await listening.serve_forever()


def main(arguments: Iterable[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency-s", type=float, default=0.05)
    parser.add_argument("--stream", action="store_true")
    chosen = parser.parse_args(list(arguments))
    asyncio.run(_serve(chosen.latency_s, streaming=chosen.stream))


if __name__ == "__main__":
    main(sys.argv[1:])
