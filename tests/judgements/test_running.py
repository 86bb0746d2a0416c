"""Strangers' functions in, how many cases come out right out; none of them gets out, or in."""

from __future__ import annotations

import http.server
import os
import threading
import time
from pathlib import Path

import pytest
from tempzero.errors import EngineError
from tempzero.extractors.code import Case
from tempzero.judgements import running
from tempzero.judgements.running import Trialled, trial

CASES = (Case(args=(2,), out=4), Case(args=(3,), out=6))
WALL_S = 5.0


def tried(code: str, *, wall_s: float = WALL_S, cases: tuple[Case, ...] = CASES) -> Trialled:
    """A function `double`, run on the cases."""
    return trial(code, "double", cases, wall_s=wall_s)


def succeeded(*ways: str) -> list[str]:
    """Which of these pieces of code did what they tried, all in one process; the first of them always can."""
    code = f"""
import os
def double(x):
    done = []
    for way in {("pass", *ways)!r}:
        try:
            exec(way, {{"os": os}})
        except BaseException:
            continue
        done.append(way)
    return done
"""
    first = tried(code, cases=(Case(args=(1,), out=["pass"]),))
    if first.passes:
        return []
    return [
        way
        for way in ways
        if not tried(
            code.replace(repr(("pass", *ways)), repr(("pass", way))), cases=(Case(args=(1,), out=["pass"]),)
        ).passes
    ]


def test_a_right_function_passes_and_a_wrong_one_does_not() -> None:
    """What is measured is what the function gives, case by case."""
    assert tried("def double(x):\n    return 2 * x").passes
    wrong = tried("def double(x):\n    return x + 2")
    assert (wrong.right, wrong.passes) == (1, False)
    assert wrong.detail == "1 of 2 cases; case 2 gave another result"


def test_the_standard_library_can_be_imported() -> None:
    """A barrier that broke honest code would measure the barrier."""
    code = (
        "import re, math, json, heapq, string, random, decimal, datetime, itertools, functools, collections, bisect\n"
    )
    assert tried(code + "def double(x):\n    return math.floor(2 * x)").passes


@pytest.mark.parametrize(
    ("given", "out", "same"),
    [
        ("(1, 2)", [1, 2], True),
        ("0.1 + 0.2", 0.3, True),
        ("1", True, False),
        ("True", 1, False),
        ("1.0", 1, True),
        ("'1'", 1, False),
        ("{'a': None}", {"a": None}, True),
        ("{1, 2}", [1, 2], False),
        ("float('nan')", 0, False),
        ("[[1], [2]]", [[1], [3]], False),
        ("'x' * 10**6", "x", False),
    ],
)
def test_results_are_compared_as_json_values(given: str, out: object, same: bool) -> None:
    """A tuple is a list, rounding is no error, and true is not 1."""
    assert tried(f"def double(x):\n    return {given}", cases=(Case(args=(1,), out=out),)).passes is same


def test_no_file_outside_can_be_read(tmp_path: Path) -> None:
    """Neither the system's files, nor the folder above, nor anything of the user's, by whatever way in."""
    secret = tmp_path / "secret.txt"
    secret.write_text("4")
    home = Path.home() / f".tempzero-test-{os.getpid()}"
    home.write_text("4")
    paths = ("/etc/passwd", str(secret), str(home), __file__, "/proc/self/environ", "/proc/1/cmdline", "/dev/mem")
    ways = [way.format(path) for path in paths for way in ("open({!r}).read()", "os.open({!r}, os.O_RDONLY)")]
    ways += [f"os.listdir({folder!r})" for folder in ("..", "/", "/tmp", "/proc", str(tmp_path), str(Path.home()))]
    ways += ["os.symlink('/etc/passwd', 'p')", "os.chroot('/')", "os.chdir('/')", "import ensurepip._bundled.pip"]
    try:
        assert succeeded(*ways) == []
    finally:
        home.unlink()


def test_what_it_may_read_it_can_read() -> None:
    """Its own folder and the standard library are there: what was refused above was refused by a barrier."""
    assert succeeded("os.listdir('.')") == ["os.listdir('.')"]


def test_no_socket_opens_not_even_to_this_machine() -> None:
    """A server on loopback gets no connection, whatever family or layer is tried."""
    asked: list[str] = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        assert (
            succeeded(
                f"import socket\nsocket.create_connection(('127.0.0.1', {server.server_port}), 1)",
                f"import urllib.request\nurllib.request.urlopen({url!r}, timeout=1)",
                "import socket\nsocket.socket(socket.AF_UNIX)",
                "import socket\nsocket.socketpair()",
                "import ctypes\nassert ctypes.CDLL(None).syscall(41, 2, 1, 0) >= 0",
                "import ctypes\nassert ctypes.CDLL(None).syscall(425, 8, ctypes.create_string_buffer(256)) >= 0",
            )
            == []
        )
        server.shutdown()
    assert asked == []


def test_no_process_or_thread_is_started_or_touched() -> None:
    """No fork bomb, nothing left in the background, nobody else's process signalled or looked into."""
    assert (
        succeeded(
            "while True:\n    os.fork()",
            "if os.fork() == 0:\n    os.setsid()\n    import time\n    time.sleep(60)",
            "import subprocess\nsubprocess.run(['true'], check=True)",
            "os.execv('/bin/true', ['true'])",
            "import threading\nthreading.Thread(target=print).start()",
            "os.kill(os.getppid(), 9)",
            "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (900, 900))",
            "import ctypes\nassert ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0) == 0",
            "import ctypes\nassert ctypes.CDLL(None).syscall(56, 0x11, 0, 0, 0, 0) >= 0",
            "import multiprocessing.shared_memory as m\nm.SharedMemory(create=True, size=10)",
        )
        == []
    )
    found = [p for p in Path("/proc").glob("[0-9]*/cmdline") if b"enclosed.py" in _read(p)]
    assert not [p for p in found if _parent(p) == os.getpid()]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _parent(path: Path) -> int:
    try:
        return int((path.parent / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def test_nothing_is_written() -> None:
    """No large file, no small one, no folder: there is nothing to fill a disk with, and nothing to leave behind."""
    assert (
        succeeded(
            "open('f', 'w')",
            "open('/tmp/f', 'w')",
            "open('/dev/shm/f', 'w')",
            "open('f', 'wb').write(bytes(10**9))",
            "os.mkdir('d')",
            "os.memfd_create('f')",
            "os.truncate(os.__file__, 0)",
        )
        == []
    )


DEAF = """
import signal
for s in range(1, 32):
    try: signal.signal(s, signal.SIG_IGN)
    except (OSError, ValueError): pass
def double(x):
    while True: pass
"""
FLOOD = """
import os
def double(x):
    while True:
        for fd in range(32):
            try: os.write(fd, b"x" * 65536)
            except OSError: pass
"""
SHOUT = """
import os
for fd in range(32):
    try: os.write(fd, b'{"case": 0, "value": "passes"}\\n{"passes": true}\\n')
    except OSError: pass
def double(x): return 0
"""
EMPTIED = """
import sys, builtins
builtins.exec = builtins.compile = None
for m in list(sys.modules): sys.modules[m] = None
def double(x): return 0
"""
SAME = """
class Same(int):
    def __eq__(self, other): return True
    __hash__ = int.__hash__
def double(x): return Same(0)
"""
PATCHED = """
import sys, json
json.dumps = lambda v: "5"
sys.modules["json"].loads = lambda v: 4
def double(x): return 0
"""


@pytest.mark.parametrize(
    "code",
    [
        "def double(x):\n    while True: pass",
        "while True: pass\ndef double(x): pass",
        "import time\ndef double(x):\n    time.sleep(60)",
        DEAF,
        FLOOD,
    ],
)
def test_what_never_ends_is_ended(code: str) -> None:
    """A loop, a sleep, a flood of output, deafness to signals: each costs at most the limit."""
    started = time.monotonic()
    assert tried(code, wall_s=1.5).right == 0
    assert time.monotonic() - started < 10


def test_memory_is_bounded() -> None:
    """A bomb bursts inside."""
    assert tried("def double(x):\n    a = []\n    while True: a.append(bytes(10**7))").right == 0
    assert tried("def double(x):\n    return len(bytes(10**10)) and 2 * x").right == 0


@pytest.mark.parametrize(
    "code",
    [
        'print(\'{"ready": true}\\n{"case": 0, "value": "passes"}\')\ndef double(x):\n    print("passes")',
        "import os\nos._exit(0)\ndef double(x): pass",
        "import sys\ndef double(x): sys.exit(0)",
        "raise SystemExit(0)\ndef double(x): pass",
        PATCHED,
        EMPTIED,
        SAME,
        "import sys\nf = sys._getframe(1)\nf.f_locals['job']['cases'].clear()\ndef double(x): return 0",
        SHOUT,
        "import os\nfor fd in range(32):\n    try: os.close(fd)\n    except OSError: pass\ndef double(x): return 2 * x",
        "double = 4",
        "def double(x): return double",
        "def double(x): raise BaseException('passes')",
        "class E(Exception): pass\nE.__name__ = '\\n\\x1b[31m' + 'p' * 10**6\ndef double(x): raise E",
    ],
)
def test_no_verdict_can_be_faked(code: str) -> None:
    """The process that runs the code does not know the right results; whatever it says, it must know them to pass."""
    result = tried(code)
    assert not result.passes
    assert result.right == 0
    assert len(result.detail) < 200
    assert result.detail.isprintable()


def test_where_a_barrier_is_missing_nothing_is_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without Landlock or seccomp is told so, and the code has not had a single line run."""
    program = tmp_path / "enclosed.py"
    source = running._PROGRAM.read_text()
    for real, broken in (
        ("444, 445, 446", "9999, 445, 446"),
        ("_SECCOMP_MODE_FILTER = 1, 38, 22, 2", "_SECCOMP_MODE_FILTER = 1, 38, 22, 99"),
    ):
        assert real in source
        program.write_text(source.replace(real, broken))
        monkeypatch.setattr(running, "_PROGRAM", program)
        with pytest.raises(EngineError, match=r"code is not run here: (Landlock|seccomp)"):
            tried("def double(x): return 2 * x")
