"""Every fault that one exchange shows, done by a real server on the wire, seen in the records of a real run."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
import shutil
import socket
import ssl
import subprocess
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from catalogue import ROWS, Row
from loopback import Call, Loopback, Reply, Step
from making import make_manifest, make_suite
from run_level import RUN_ROWS, RunRow, Seen
from tempzero import records
from tempzero.collect import collect_attempts
from tempzero.config import Config, parse_config
from tempzero.engines import open_engine
from tempzero.plan import build_plan
from tempzero.types.recorded import Attempt

KEY = 'sk-Planted/k+y&"0123456789abcdef'
ACCOUNT = "account-0123456789"
PATIENT = {"connect_s": 30.0, "first_byte_s": 30.0, "idle_s": 30.0, "total_s": 60.0}


@dataclass(frozen=True, kw_only=True)
class Ran:
    """One run over all rows: what was recorded, what the server saw, what was logged, and where it lies."""

    attempts: dict[str, list[Attempt]]
    requests: Counter[str]
    calls: list[Call]
    folder: Path
    log: str
    elapsed_s: float
    cpu_s: float


class Server:
    """Answers each row's requests in the row's order; every head quotes the key that came with the request."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self._rows = {row.key: row for row in ROWS}

    def __call__(self, call: Call) -> Reply:
        key = call.headers["x-row"]
        self.requests[key] += 1
        reply = self._rows[key].reply(replace(call, nth=self.requests[key]))
        echo = b" Scripted\r\nx-request-id: " + call.headers.get("authorization", "").encode() + b"\r\n"
        return Reply(tuple(_quoting(step, echo) for step in reply.steps))


def _quoting(step: Step, echo: bytes) -> Step:
    return step.replace(b" Scripted\r\n", echo, 1) if isinstance(step, bytes) else step


def entry(row: Row, base_url: str) -> dict[str, Any]:
    url = base_url.replace("/v1", "/${ACCOUNT}/v1") if row.in_account else base_url
    return {
        "name": row.key,
        "model": "m",
        "extra_headers": {"X-Row": row.key},
        "base_url": url,
        "api_key_env": "PLANTED_KEY",
        "stream": row.streamed,
        "repeats": row.repeats,
        "attempts": 3,
        "backoff": {"first_s": 0.01, "max_s": 0.5},
        "timeouts": PATIENT,
        **row.entry,
    }


def run_all(rows: list[Row], urls: Callable[[Row], str], folder: Path) -> list[Attempt]:
    """All rows side by side: a provider each, one `collect`, a real run folder."""
    parsed = {"version": 1, "providers": [entry(row, urls(row)) for row in rows]}
    settings = parse_config(parsed, source="test")
    recorded: list[Attempt] = []
    suite = make_suite(rows[0].prompts)

    async def go(path: Path, config: Config) -> None:
        engines = {p.name: open_engine(p, environ={"PLANTED_KEY": KEY, "ACCOUNT": ACCOUNT}) for p in config.providers}
        with records.open_run_writer(path, now="2026-01-01T00:00:00+00:00") as writer:

            def write(attempt: Attempt) -> None:
                writer.append(attempt)
                recorded.append(attempt)

            plan = build_plan(config, suite)
            await collect_attempts(
                plan, config=config, suite=suite, engines=engines, attempts={}, complete=frozenset(), write=write
            )
        for engine in engines.values():
            assert KEY not in repr(engine)
            assert KEY not in json.dumps(engine.describe())
            await engine.aclose()

    path = records.create_run(folder, make_manifest(settings, suite))
    asyncio.run(go(path, settings))
    return recorded


def self_made(folder: Path, name: str, subject: str) -> ssl.SSLContext:
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -keyout {name}.key -out {name}.pem"
    command += f" -addext subjectAltName={subject}"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return tls


class _Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    if shutil.which("openssl") is None:
        pytest.skip("makes its certificates with openssl")
    folder = tmp_path_factory.mktemp("catalogue")
    log = _Log()
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(folder / "other.pem"))
        other = stack.enter_context(Loopback(tls=self_made(folder, "other", "DNS:other.example")))
        strange = stack.enter_context(Loopback(tls=self_made(folder, "own", "IP:127.0.0.1")))
        mute = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        closed = socket.create_server(("127.0.0.1", 0))
        ports = {"closed": closed.getsockname()[1], "mute": mute.getsockname()[1]}
        closed.close()
        rows = Server()
        server = stack.enter_context(Loopback(rows))
        ports |= {"self_signed": strange.port, "other_host": other.port, "plain": server.port}
        root = logging.getLogger()
        level = root.level
        root.addHandler(log)
        root.setLevel(logging.DEBUG)
        recorded: list[Attempt] = []
        runs: dict[str, list[Row]] = {}
        for row in ROWS:
            runs.setdefault(row.run, []).append(row)
        began, cpu_began = time.monotonic(), time.process_time()
        for name, rows_of_run in runs.items():
            recorded += run_all(rows_of_run, lambda row: row.base_url.format(**ports) or server.base_url, folder / name)
        elapsed_s, cpu_s = time.monotonic() - began, time.process_time() - cpu_began
        root.removeHandler(log)
        root.setLevel(level)
        assert strange.calls == other.calls == []
        by_row: dict[str, list[Attempt]] = {row.key: [] for row in ROWS}
        for attempt in recorded:
            by_row[attempt.trial.provider].append(attempt)
        yield Ran(
            attempts=by_row,
            requests=rows.requests,
            calls=server.calls,
            folder=folder,
            log="\n".join(log.lines),
            elapsed_s=elapsed_s,
            cpu_s=cpu_s,
        )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_each_fault_has_its_class_and_its_retries(row: Row, ran: Ran) -> None:
    """What happened on the wire decides the class, the class decides whether it is asked again, all of it on record."""
    attempts = ran.attempts[row.key]
    outcomes = [a.exchange.outcome for a in attempts]
    assert tuple(o.kind for o in outcomes) == row.kinds, [o.detail for o in outcomes]
    assert ran.requests[row.key] == row.requests
    expected = {*row.flags, "key_redacted"} if attempts[-1].exchange.response is not None else set(row.flags)
    assert {*outcomes[-1].flags} == expected
    if row.text is not None:
        assert outcomes[-1].completion is not None
        assert outcomes[-1].completion.text == row.text
    for outcome in outcomes:
        assert (outcome.completion is None) == (outcome.status == "missing")


def test_no_row_is_recorded_without_a_request_nor_a_request_without_a_row(ran: Ran) -> None:
    """A retry nobody records would be load, cost and selection that no figure knows of."""
    reached = {row.key: len(ran.attempts[row.key]) for row in ROWS if not row.base_url}
    assert ran.requests == reached


def test_a_cache_is_asked_past_only_after_it_answered(ran: Ran) -> None:
    """The first request is like any customer's; what is sent in addition stands in the record."""
    row = next(r for r in ROWS if r.name == "a cache that can be told not to answer")
    first, second = [dict(a.exchange.request.headers) for a in ran.attempts[row.key]]
    assert "x-openrouter-cache" not in first
    assert second["x-openrouter-cache"] == "false"
    assert [c.headers.get("cache-control") for c in ran.calls if c.headers["x-row"] == row.key] == [None, "no-cache"]


def as_read_by_somebody_curious(data: bytes) -> Iterator[bytes]:
    """Bytes of the run folder, and what can be made of them without effort."""
    yield data
    for line in data.splitlines():
        response = json.loads(line)["attempt"]["exchange"]["response"] if line.startswith(b'{"seq"') else None
        if response is None:
            continue
        body = (response["body"] or "").encode() or base64.b64decode(response["body_base64"] or "")
        yield body
        yield re.sub(rb"\\u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)).encode(errors="replace"), body)
        yield b"".join(re.findall(rb'"content": ?"([^"]*)"', body))
        yield body.replace(b"\n: ", b"")
        try:
            yield zlib.decompressobj(47).decompress(body, 1 << 20)
        except zlib.error:
            continue


def test_the_planted_key_is_nowhere(ran: Ran) -> None:
    """Every reply quotes the key it was sent; a run folder is made to be handed around, and so are logs."""
    hidden = [
        KEY.encode(),
        json.dumps(KEY)[1:-1].encode(),
        KEY.encode().hex().encode(),
        base64.b64encode(f"Bearer {KEY}!".encode())[12:40],
        KEY[:-2].encode(),
        KEY[2:-4].encode(),
        KEY.encode("utf-16-le")[:-1],
        ACCOUNT.encode(),
    ]
    files = [f for f in ran.folder.rglob("*") if f.is_file() and f.suffix in (".json", ".jsonl")]
    assert len(files) == 2 * len({row.run for row in ROWS})
    for file in files:
        for data in as_read_by_somebody_curious(file.read_bytes()):
            assert [h for h in hidden if h in data] == [], file
    assert KEY not in ran.log
    assert all(KEY not in repr(a) for attempts in ran.attempts.values() for a in attempts)
    assert sum(c.headers["authorization"] == f"Bearer {KEY}" for c in ran.calls) == len(ran.calls)


RUN_LEVEL: dict[int, Seen] = {}


@pytest.mark.parametrize("row", RUN_ROWS, ids=lambda row: f"{row.number}-{row.name.replace(' ', '-')}")
def test_each_fault_of_a_whole_run_is_met_as_the_catalogue_says(row: RunRow, tmp_path: Path) -> None:
    """What no single exchange shows: clocks, storms of retries, an early end, a reference that fails."""
    seen = row.see(tmp_path)
    assert seen.requests in (None, seen.attempts)
    RUN_LEVEL[row.number] = seen


def test_the_table_of_faults(ran: Ran, written_at_the_end: Callable[[str], None]) -> None:
    """The catalogue as it was seen, written under the test run."""
    lines = [f"{'fault':<64} {'class':<50} attempts retried requests"]
    table: list[tuple[int, str]] = []
    for row in ROWS:
        outcomes = [a.exchange.outcome for a in ran.attempts[row.key]]
        last, retried = outcomes[-1], "yes" if len(outcomes) > row.repeats * row.prompts else "no"
        flags = [f for f in last.flags if f != "key_redacted"]
        shown = f"{last.status}:{last.kind}" + (f" ({', '.join(flags)})" if flags else "")
        how = " (stream)" if row.streamed else ""
        name = f"{row.number:>2} {row.name}{how}"
        line = f"{name:<64} {shown:<50} {len(outcomes):>3}  {retried:<3}  {ran.requests[row.key]:>3}"
        table.append((row.number, line))
    for of_run in RUN_ROWS:
        seen = RUN_LEVEL[of_run.number]
        requests, name = "-" if seen.requests is None else seen.requests, f"{of_run.number:>2} {of_run.name} (run)"
        line = f"{name:<64} {seen.shown:<50} {seen.attempts:>3}  {'yes' if seen.retried else 'no':<3}  {requests:>3}"
        table.append((of_run.number, line))
    assert sorted({number for number, _ in table}) == list(range(1, 61))
    lines += [line for _, line in sorted(table, key=lambda one: one[0])]
    wire = f"{len(ROWS)} on the wire with {ran.requests.total()} requests"
    lines.append(f"60 rows in {len(table)} forms, {wire}, {ran.elapsed_s:.1f} s (processor {ran.cpu_s:.1f} s)")
    for line in lines:
        print(line)
        written_at_the_end(line)
    assert ran.cpu_s < 15  # of the processor's time: how long that takes is up to whoever else is at work
