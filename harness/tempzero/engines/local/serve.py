"""A provider's `serve:` entry and a model file in, a running OpenAI-compatible llama.cpp server on loopback out.

The server lives in a process of its own, inside_server.py, and ends when its standard input closes: so it is gone
whatever becomes of the process that started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tempzero.config import Provider, Serve
from tempzero.engines.local.weights import LocalWeights
from tempzero.errors import EngineError

_PROGRAM = Path(__file__).with_name("inside_server.py")
_READY_WITHIN_S = 600.0  # a large model from a slow disk takes minutes to load
_LOG_TAIL_LINES = 12
_SAMPLER_FIELDS = {
    "temperature": "temp",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repeat_penalty": "penalty_repeat",
    "frequency_penalty": "penalty_freq",
    "presence_penalty": "penalty_present",
}


@dataclass(frozen=True, kw_only=True)
class RunningServer:
    """A server that answers: its root (up to /v1), what the manifest keeps of it, and its process id."""

    base_url: str
    description: Mapping[str, Any]
    pid: int


@contextlib.asynccontextmanager
async def run_server(provider: Provider, weights: LocalWeights) -> AsyncIterator[RunningServer]:
    """Start the server, wait until it answers, and stop it at the end whatever happens.

    Raises EngineError, with the end of the server's log, where it cannot start.
    """
    assert provider.serve is not None, "only providers with `serve:` are served"
    settings = _server_settings(provider.serve, weights.path, alias=provider.model)
    with tempfile.TemporaryFile() as log:
        process = _start_server(settings, log)
        try:
            announced = await _await_announcement(process, provider.name, log)
            await _wait_until_healthy(announced["address"], process, provider.name, log)
            yield RunningServer(
                base_url=f"{announced['address']}/v1",
                description=_describe_server(provider.serve, weights, announced),
                pid=process.pid,
            )
        finally:
            _stop_server(process)


def _server_settings(serve: Serve, model: Path, *, alias: str) -> dict[str, Any]:
    """The server's parameters, by llama.cpp's names."""
    template = serve.chat_template or ""
    if template.startswith("path:"):
        path = Path(template.removeprefix("path:")).expanduser()
        try:
            template = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as problem:
            raise EngineError(f"chat_template: {path}: cannot be read: {problem}") from None
    sampling = serve.default_sampling.model_dump(exclude_none=True)
    return {
        "model": str(model),
        "alias": alias,
        "n_parallel": serve.slots,
        "n_ctx": serve.slots * serve.context,
        "n_ubatch": serve.batch,
        "flash_attn_type": "ENABLED" if serve.flash_attention else "DISABLED",
        "cache_type_k": serve.cache_type_k.upper(),
        "cache_type_v": serve.cache_type_v.upper(),
        "cache_prompt": serve.prompt_cache,
        "chat_template": template,
        "threads": serve.threads,
        "sampling": {_SAMPLER_FIELDS[name]: value for name, value in sampling.items()},
    }


def _describe_server(serve: Serve, weights: LocalWeights, announced: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "engine": "llama.cpp server",
        "package": announced["package"],
        "system": announced["system"],
        **serve.model_dump(exclude={"weights", "precision"}),
        "weights": {
            "sha256": weights.sha256,
            "precision": weights.precision,
            "source": weights.source,
            "licence": weights.licence,
            "size_bytes": weights.size_bytes,
        },
    }


def _start_server(settings: Mapping[str, Any], log: IO[bytes]) -> subprocess.Popen[bytes]:
    # A session of its own keeps Ctrl-C at the terminal from reaching the server before its owner has finished with it.
    process = subprocess.Popen(
        [sys.executable, "-P", str(_PROGRAM)],  # -P: whatever lies beside it is not imported
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        # Brief spinning at OpenMP's barriers: endless spinning stalls the server beside any other busy process.
        env={"GOMP_SPINCOUNT": "5000", **os.environ, "PYTHONPATH": _child_import_path()},
        start_new_session=True,
    )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it died at once; its log says why
        process.stdin.write(json.dumps(settings).encode() + b"\n")
        process.stdin.flush()
    return process


def _child_import_path() -> str:
    """The child finds packages that were installed beside this one, wherever it was started."""
    here = str(Path(__file__).resolve().parents[3])
    return os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH", "")]))


async def _await_announcement(process: subprocess.Popen[bytes], name: str, log: IO[bytes]) -> dict[str, Any]:
    """The one line the server's process writes once the model is loaded."""
    assert process.stdout is not None
    reading = asyncio.create_task(asyncio.to_thread(process.stdout.readline))
    done, _ = await asyncio.wait([reading], timeout=_READY_WITHIN_S)
    if not done:
        raise EngineError(f"{name}: the server did not load its model within {_READY_WITHIN_S:g} s{_log_tail(log)}")
    try:
        announced: dict[str, Any] = json.loads(reading.result())
    except ValueError:
        _stop_server(process)
        raise EngineError(f"{name}: the server ended with status {process.returncode}{_log_tail(log)}") from None
    return announced


async def _wait_until_healthy(address: str, process: subprocess.Popen[bytes], name: str, log: IO[bytes]) -> None:
    deadline = time.monotonic() + _READY_WITHIN_S
    while not await asyncio.to_thread(_is_healthy, address):
        if process.poll() is not None:
            raise EngineError(f"{name}: the server ended with status {process.returncode}{_log_tail(log)}")
        if time.monotonic() > deadline:
            raise EngineError(f"{name}: the server did not answer within {_READY_WITHIN_S:g} s{_log_tail(log)}")
        await asyncio.sleep(0.05)


def _is_healthy(address: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback is never behind a proxy
    try:
        with opener.open(f"{address}/health", timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _stop_server(process: subprocess.Popen[bytes]) -> None:
    """End the process. It holds nothing worth saving, so it gets a moment and then no choice."""
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(OSError):
        process.stdin.close()
    try:
        process.wait(timeout=2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()  # last: a thread may still be reading from it until the process is gone


def _log_tail(log: IO[bytes]) -> str:
    log.seek(0)
    lines = [line for line in log.read()[-8000:].decode("utf-8", "replace").splitlines() if line.strip()]
    return "; the end of its log:\n" + "\n".join(lines[-_LOG_TAIL_LINES:]) if lines else "; its log is empty"
