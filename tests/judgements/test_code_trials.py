"""Strangers' functions in, how many cases come out right out; none of them gets out, or in."""

from __future__ import annotations

import contextlib
import ctypes
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bubblewrap import needs_bubblewrap
from tempzero.extractors.code import Case
from tempzero.judgements import sandbox
from tempzero.judgements.code_trials import CodeTrial, try_code
from tempzero.judgements.sandbox import run_in_sandbox

pytestmark = needs_bubblewrap

CASES = (Case(args=(2,), out=4), Case(args=(3,), out=6))
WALL_S = 5.0
NOBODY = 65534
SET_CHILD_SUBREAPER = 36


def tried(code: str, *, wall_s: float = WALL_S, cases: tuple[Case, ...] = CASES) -> CodeTrial:
    """A function `double`, run on the cases."""
    return try_code(code, "double", cases, wall_s=wall_s)


def evaluated(expression: str, *, wall_s: float = WALL_S) -> Any:
    """What this comes to inside."""
    code = f"import os\ndef value(): return {expression}"
    ran = run_in_sandbox({"code": code, "function": "value", "cases": [[]]}, wall_s=wall_s)
    return json.loads(json.loads(ran.lines[0])["value"])


def succeeded(*ways: str) -> list[str]:
    """Which of these pieces of code did what they tried, each in a process of its own."""
    trying = (
        "import os\ndef value():\n    try: exec({!r}, {{'os': os}})\n"
        "    except BaseException: return False\n    return True"
    )
    done = []
    for way in ways:
        job = {"code": trying.format(way), "function": "value", "cases": [[]]}
        ran = run_in_sandbox(job, wall_s=WALL_S)
        if ran.lines and json.loads(ran.lines[0]).get("value") == "true":
            done.append(way)
    return done


def running_children(pid: int) -> list[int]:
    """The processes right under this one, without those that have ended and wait to be noticed."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == pid and state != "Z":
                found.append(int(stat.parent.name))
    return found


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Afterwards no process is left: orphans become this one's children."""
    libc = ctypes.CDLL(None)
    libc.prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before = set(running_children(os.getpid()))
    try:
        yield
        for _ in range(30):
            left = set(running_children(os.getpid())) - before
            if not left:
                break
            time.sleep(0.1)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert left == set()
    finally:
        libc.prctl(SET_CHILD_SUBREAPER, 0, 0, 0, 0)


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


def test_a_huge_number_is_a_wrong_result() -> None:
    """What no float can hold is compared all the same."""
    assert tried("def double(x):\n    return 10**400", cases=(Case(args=(1,), out=0.5),)).right == 0


def test_no_file_outside_can_be_read(tmp_path: Path) -> None:
    """Neither the system's files, nor anything of the user's, nor what was installed beside Python."""
    secret = tmp_path / "secret.txt"
    secret.write_text("4")
    home = Path.home() / f".tempzero-test-{os.getpid()}"
    with contextlib.suppress(OSError):
        home.write_text("4")
    paths = ("/etc/passwd", str(secret), str(home), __file__, "/proc/self/environ", "/proc/1/cmdline", "/dev/mem")
    ways = [way.format(path) for path in paths for way in ("open({!r}).read()", "os.open({!r}, os.O_RDONLY)")]
    ways += [f"os.listdir({folder!r})" for folder in ("/proc", "/sys", "/home", "/var", str(tmp_path))]
    ways += ["os.chroot('/')", "os.mknod('d', 0o60666, 0x801)"]
    try:
        assert succeeded(*ways) == []
    finally:
        home.unlink(missing_ok=True)


def test_only_python_and_an_empty_folder_are_there() -> None:
    """Its own folder and the standard library are there: what was refused above was refused by the sandbox."""
    assert evaluated("[os.getcwd(), os.listdir('.'), os.listdir('/dev')]") == ["/tmp", [], ["null"]]
    assert evaluated("os.path.exists(os.__file__)") is True
    known = {"dev", "etc", "lib", "lib64", "tmp", "usr", Path(sys.base_prefix).resolve().parts[1]}
    assert set(evaluated("os.listdir('/')")) <= known
    assert evaluated("os.listdir('/etc')") == ["ld.so.cache"]
    for folder in Path(sys.base_prefix).resolve().glob("lib/python3*/*-packages"):
        assert evaluated(f"os.listdir({str(folder)!r})") == []


def test_nothing_of_the_user_or_the_machine_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key from the environment, no name, no user, no privilege."""
    monkeypatch.setenv("TEMPZERO_TEST_KEY", "sk-secret")
    assert set(evaluated("dict(os.environ)")) <= {"PYTHONHASHSEED", "PYTHONUTF8", "PWD", "LC_CTYPE"}
    assert evaluated("[*os.getresuid(), *os.getresgid(), *os.getgroups()]")[:6] == [NOBODY] * 6
    assert evaluated("[os.uname().nodename, os.getsid(0) != 0]") == ["sandbox", True]
    assert succeeded("os.setuid(0)", "os.setgid(0)", "os.sethostname('x')", "os.nice(-1)") == []


def test_no_server_is_reached_not_even_on_this_machine() -> None:
    """Servers on loopback and on an abstract Unix address get no connection, whatever is tried."""
    asked: list[str] = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)

    name = f"tempzero-test-{os.getpid()}"
    with (
        http.server.HTTPServer(("127.0.0.1", 0), Answer) as server,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        abstract.bind(f"\0{name}")
        abstract.listen()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        assert (
            succeeded(
                f"import socket\nsocket.create_connection(('127.0.0.1', {server.server_port}), 1)",
                f"import urllib.request\nurllib.request.urlopen({url!r}, timeout=1)",
                f"import socket\nsocket.socket(socket.AF_UNIX).connect('\\0{name}')",
                "import socket\nsocket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
                "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
                "import socket\nassert [n for _, n in socket.if_nameindex() if n != 'lo']",
            )
            == []
        )
        server.shutdown()
    assert asked == []


@pytest.mark.usefixtures("nothing_left")
def test_no_process_or_thread_is_started() -> None:
    """No fork bomb, nothing left in the background, no limit taken back, no namespace to be root in."""
    if os.geteuid() != 0:
        assert succeeded("import ctypes\nassert ctypes.CDLL(None).unshare(0x10000000) == 0") == []
    assert (
        succeeded(
            "while True:\n    os.fork()",
            "if os.fork() == 0:\n    os.setsid()\n    import time\n    time.sleep(60)",
            "import ctypes\nctypes.CDLL(None).unshare(0x10000000)\nos.fork()",
            "import ctypes\nassert ctypes.CDLL(None).unshare(0x20000000) == 0\nos.fork()",
            "import subprocess\nsubprocess.run(['true'], check=True)",
            "os.execv('/bin/sh', ['sh'])",
            "import threading\nthreading.Thread(target=print).start()",
            "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (900, 900))",
            "import ctypes\nassert ctypes.CDLL(None).syscall(56, 0x11, 0, 0, 0, 0) >= 0",
            "[os.dup(0) for _ in range(40)]",
            "import multiprocessing.shared_memory as m\nm.SharedMemory(create=True, size=10)",
        )
        == []
    )


@pytest.mark.usefixtures("nothing_left")
def test_no_process_outside_is_seen_or_signalled() -> None:
    """Neither by kill nor by having the kernel signal for one (F_SETOWN, F_SETSIG), nor traced, nor limited."""
    as_nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    with subprocess.Popen(["sleep", "60"], start_new_session=True, **as_nobody) as victim:  # type: ignore[call-overload]
        try:
            asynchronous = (
                "import fcntl\nr, w = os.pipe()\nfcntl.fcntl(r, 8, {who})\nfcntl.fcntl(r, 10, 9)\n"
                "fcntl.fcntl(r, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)\nos.write(w, b'x')"
            )
            assert (
                succeeded(
                    f"os.kill({victim.pid}, 9)",
                    f"os.killpg({victim.pid}, 9)",
                    f"os.kill({os.getpid()}, 0)",
                    asynchronous.format(who=victim.pid),
                    asynchronous.format(who=-victim.pid),
                    f"import ctypes\nassert ctypes.CDLL(None).ptrace(16, {victim.pid}, 0, 0) == 0",
                    f"import resource\nresource.prlimit({victim.pid}, resource.RLIMIT_CPU, (1, 1))",
                )
                == []
            )
            itself = "[pid for pid in range(1, 70000) if not libc.kill(pid, 0)] == [os.getpid()]"
            assert evaluated(f"(lambda libc: {itself})(__import__('ctypes').CDLL(None))")
            time.sleep(0.1)
            assert victim.poll() is None
        finally:
            victim.kill()


def test_next_to_nothing_is_written() -> None:
    """Small files in its own folder, which is gone with it; nothing to fill a disk or the memory with."""
    assert (
        succeeded(
            "open('/f', 'w')",
            "open('/dev/shm/f', 'w')",
            "open('f', 'wb').write(bytes(10**7))",
            "for i in range(100): open(f'f{i}', 'wb').write(bytes(10**5))",
            "for i in range(100): open(os.memfd_create('f'), 'wb', closefd=False).write(bytes(10**6))",
            "os.truncate(os.__file__, 0)",
            "open(os.path.join(os.path.dirname(os.__file__), 'f'), 'w')",
            "open(os.path.join(os.path.dirname(os.__file__), 'site-packages', 'f'), 'w')",
            "os.chmod(os.__file__, 0o777)",
            "import ctypes\nassert ctypes.CDLL(None).mount(b'x', b'/tmp', b'tmpfs', 0, None) == 0",
        )
        == []
    )
    assert succeeded("open('f', 'w').write('4'); assert open('f').read() == '4'") != []
    assert evaluated("os.listdir('.')") == []


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
RUBBED_OUT = """
import os
for fd in range(3, 32):
    try: os.ftruncate(fd, 0)
    except OSError: pass
    try: os.pwrite(fd, b'{"unprotected": "x"}\\n', 0)
    except OSError: pass
def double(x): os._exit(97)
"""
MANY_LINES = """
import os
for fd in range(3, 32):
    try: os.write(fd, b"\\n" * 4_000_000)
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


FLOOD_AND_COUNT = """
import os
def double(x):
    written = 0
    for fd in range(32):
        try:
            if os.isatty(fd) or os.fstat(fd).st_rdev: continue
            while True: written += os.write(fd, b"x" * 65536)
        except OSError: pass
    os._exit(100 if written > 5_000_000 else 99)
"""
ORPHAN = """
import ctypes, time
ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
def double(x): time.sleep(60)
"""


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(
    "code",
    [
        "def double(x):\n    while True: pass",
        "while True: pass\ndef double(x): pass",
        "import time\ndef double(x):\n    time.sleep(60)",
        DEAF,
        FLOOD,
        ORPHAN,
    ],
)
def test_what_never_ends_is_ended(code: str) -> None:
    """A loop, a sleep, a flood of output, deafness to signals: each costs at most the limit."""
    started = time.monotonic()
    assert tried(code, wall_s=0.6).right == 0
    assert time.monotonic() - started < 50


def test_processor_time_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever does nothing but compute is ended before the clock would: after one second here, five otherwise."""
    assert sandbox._LIMITS["RLIMIT_CPU"] == 5
    monkeypatch.setitem(sandbox._LIMITS, "RLIMIT_CPU", 1)
    looped = tried("def double(x):\n    while True: pass", wall_s=60.0)
    assert looped.detail == "0 of 2 cases; case 1 gave no result: used up its processor time"


def test_a_flood_is_bounded() -> None:
    """What is written reaches no more of the disk than honest results could."""
    assert tried(FLOOD_AND_COUNT).detail.endswith("ended with status 99")


@pytest.mark.usefixtures("nothing_left")
def test_nothing_outlives_a_judge_that_was_killed() -> None:
    """The sandbox dies with whoever started it; and were memory to run out, it would be the first to go."""
    code = "import time\ndef double(x): time.sleep(60)"
    program = (
        "from tempzero.judgements.sandbox import run_in_sandbox\n"
        f"run_in_sandbox({{'code': {code!r}, 'function': 'double', 'cases': [[1]]}}, wall_s=60)"
    )
    with subprocess.Popen([sys.executable, "-c", program]) as judge:
        try:
            for _ in range(100):
                inside = [pid for bwrap in running_children(judge.pid) for pid in running_children(bwrap)]
                if inside:
                    break
                time.sleep(0.1)
            for _ in range(100):
                scores = {Path(f"/proc/{pid}/oom_score_adj").read_text() for pid in inside}
                if scores == {"1000\n"}:
                    break
                time.sleep(0.1)
            assert scores == {"1000\n"}
        finally:
            judge.kill()


def test_memory_is_bounded() -> None:
    """A bomb bursts inside; honest functions have room."""
    assert tried("def double(x):\n    a = []\n    while True: a.append(bytes(10**7))").right == 0
    assert tried("def double(x):\n    return len(bytes(600 * 2**20)) and 2 * x").right == 0
    assert tried("def double(x):\n    return len(bytes(100 * 2**20)) and 2 * x").passes


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
        RUBBED_OUT,
        MANY_LINES,
        "import os\nfor fd in range(32):\n    try: os.close(fd)\n    except OSError: pass\ndef double(x): return 2 * x",
        "double = 4",
        "def double(x): return double",
        "def double(x): raise BaseException('passes')",
        "class E(Exception): pass\nE.__name__ = '\\n\\x1b[31m' + 'p' * 10**6\ndef double(x): raise E",
    ],
)
def test_no_verdict_can_be_faked(code: str) -> None:
    """The process that runs the code does not know the right results; whatever it says, it must know them to pass."""
    started = time.monotonic()
    result = tried(code)
    assert time.monotonic() - started < 50
    assert not result.passes
    assert result.right == 0
    assert len(result.detail) < 200
    assert result.detail.isprintable()
