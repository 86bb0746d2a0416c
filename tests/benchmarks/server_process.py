"""A server's command in, its base URL out once it answers; ended with whoever asked for it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

SERVER_ENVIRON = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}


@contextlib.contextmanager
def run_process(command: Sequence[str], log: Path, port: int, ready: str) -> Iterator[str]:
    """A server of its own on loopback, whose path `ready` answers once it can be asked; its base URL."""
    with log.open("w") as file:
        server = subprocess.Popen(command, env=os.environ | SERVER_ENVIRON, stdout=file, stderr=file)
        try:
            for _ in range(600):
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"http://127.0.0.1:{port}{ready}", timeout=2).close()
                    break
                assert server.poll() is None, f"the server ended: see {log}"
                time.sleep(1)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            server.wait(60)
