"""An S3 server on loopback for tests, and in front of it a proxy that breaks what it is told to break.

The server is moto's, in a process of its own: it speaks the protocol, conditions on puts included, and forgets all at
its end. The proxy forwards byte for byte, and does to each request what `fault` says of it.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Fault = Literal["busy", "cut", "answer lost", "slow", ""]
"""503 SlowDown; broken off before the server hears of it; after it has done it; answered late; none."""

BUCKET = "nights"
SECRET = "loopback-secret-key"
SLOW_S = 1.5
_BUSY = b'<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>'
_SERVER = """
import time
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
import sys
sys.stdin.read()
"""


@dataclass(kw_only=True)
class S3Host:
    """The server behind its proxy: what it was asked, and what is to happen to the next requests."""

    url: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of every request, in order."""
    fault: Callable[[str, str], Fault] = lambda method, path: ""
    rewrite: Callable[[bytes], bytes] = lambda answer: answer

    @property
    def environ(self) -> dict[str, str]:
        """What a process needs in its environment to use it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "loopback",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "TEMPZERO_STORE_PATIENCE_S": "1",
        }

    def objects(self, below: str = "") -> dict[str, bytes]:
        """Every object below a place, as it stands in the server."""
        import obstore
        from obstore.store import S3Store

        store = S3Store(
            BUCKET,
            endpoint=self.url,
            access_key_id="loopback",
            secret_access_key=SECRET,
            region="us-east-1",
            client_options={"allow_http": True},
        )
        listed = [one["path"] for one in obstore.list(store, prefix=below or None).collect()]
        return {path: bytes(obstore.get(store, path).bytes()) for path in listed}


@contextlib.contextmanager
def run_s3_host() -> Iterator[S3Host]:
    """The server and its proxy, with one empty bucket."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        port = int(process.stdout.readline())
        upstream = http.client.HTTPConnection("127.0.0.1", port)
        upstream.request("PUT", f"/{BUCKET}")
        assert upstream.getresponse().status == 200
        upstream.close()
        host = S3Host()
        proxy = _QuietServer(("127.0.0.1", 0), _make_proxy(host, port))
        proxy.daemon_threads = True
        host.url = f"http://127.0.0.1:{proxy.server_address[1]}"
        serving = threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True)
        serving.start()
        try:
            yield host
        finally:
            proxy.shutdown()
            proxy.server_close()
            serving.join()
    finally:
        process.stdin.close()
        process.kill()
        process.wait()
        process.stdout.close()


class _QuietServer(http.server.ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Who asked was killed."""


def _make_proxy(host: S3Host, port: int) -> type[http.server.BaseHTTPRequestHandler]:
    class Proxy(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            path = self.path.partition("?")[0]
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            host.asked.append((self.command, path))
            fault = host.fault(self.command, path)
            if fault == "cut":
                self._break_off()
                return
            if fault == "busy":
                self._answer(503, [], _BUSY)
                return
            if fault == "slow":
                time.sleep(SLOW_S)
            upstream = http.client.HTTPConnection("127.0.0.1", port)
            upstream.request(self.command, self.path, body, dict(self.headers.items()))
            answer = upstream.getresponse()
            data = host.rewrite(answer.read())
            upstream.close()
            if fault == "answer lost":
                self._break_off()
                return
            kept = [(n, v) for n, v in answer.getheaders() if n.lower() in ("etag", "last-modified", "content-type")]
            length = answer.getheader("content-length") if self.command == "HEAD" else None
            self._answer(answer.status, kept, data, length)

        def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes, length: str | None = None) -> None:
            with contextlib.suppress(ConnectionError):  # who asked has given up
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("content-length", length or str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        def _break_off(self) -> None:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(2)

        def log_message(self, format: str, *args: object) -> None:
            pass

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _pass_on

    return Proxy


def find_spooled_runs(home: Path) -> list[Path]:
    """The run folders of this machine, where `home` is its XDG_STATE_HOME."""
    return sorted(file.parent for file in home.glob("tempzero/spool/**/manifest.json"))
