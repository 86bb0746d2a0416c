"""A job on standard input in, results of a stranger's function out: run as a program of its own, behind barriers.

Before the first line of the stranger's code runs, this process can no more read files outside the interpreter's
own and its working folder, write any, open a socket, start a process or thread, or signal one, whatever it
tries: an allow-list of system calls (seccomp), Landlock, and resource limits hold it, and none of them can be
taken back. It never learns the right results; comparing is done elsewhere. Where a barrier cannot be raised
it says so and runs nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import resource
import signal
import struct
import sys
from collections.abc import Callable
from typing import Any

# What CPython needs to compute and to import its own library; everything else is refused (EPERM). x86-64 numbers.
_ALLOWED = {
    "read": 0, "write": 1, "open": 2, "close": 3, "stat": 4, "fstat": 5, "lstat": 6, "poll": 7, "lseek": 8,
    "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14,
    "rt_sigreturn": 15, "pread64": 17, "readv": 19, "writev": 20, "access": 21, "select": 23, "sched_yield": 24,
    "mremap": 25, "mincore": 27, "madvise": 28, "dup": 32, "nanosleep": 35, "getpid": 39, "exit": 60, "uname": 63,
    "fcntl": 72, "getcwd": 79, "readlink": 89, "gettimeofday": 96, "getrusage": 98, "sysinfo": 99, "times": 100,
    "getuid": 102, "getgid": 104, "geteuid": 107, "getegid": 108, "getppid": 110, "sigaltstack": 131,
    "arch_prctl": 158, "gettid": 186, "time": 201, "futex": 202, "sched_getaffinity": 204, "getdents64": 217,
    "set_tid_address": 218, "restart_syscall": 219, "clock_gettime": 228, "clock_getres": 229,
    "clock_nanosleep": 230, "exit_group": 231, "openat": 257, "newfstatat": 262, "readlinkat": 267,
    "faccessat": 269, "pselect6": 270, "ppoll": 271, "set_robust_list": 273, "getrandom": 318, "membarrier": 324,
    "statx": 332, "rseq": 334, "faccessat2": 439,
}  # fmt: skip
_AUDIT_ARCH_X86_64 = 0xC000003E
_X32_BIT = 0x40000000
_RET_ALLOW, _RET_ERRNO, _RET_KILL = 0x7FFF0000, 0x00050000, 0x80000000
_EPERM = 1
_LOAD, _JUMP_EQ, _JUMP_GE, _RET = 0x20, 0x15, 0x35, 0x06  # BPF: load a word, compare, give back
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 1, 38, 22, 2

_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_LANDLOCK_VERSION = 1
_PATH_BENEATH = 1
_EXECUTE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 2, 1 << 3
_FILE_RIGHTS = _EXECUTE | _READ_FILE
# Every right that each version of Landlock can refuse; what a kernel knows, it is told to refuse.
_RIGHTS_BY_VERSION = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}

_LIBRARIES = ("/lib64", "/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib/x86_64-linux-gnu", "/etc/ld.so.cache")
_LONGEST_RESULT = 100_000


class Unprotected(Exception):
    """A barrier that this machine cannot raise."""


def main() -> int:
    """Read the job, raise the barriers, run; 97 where nothing was run."""
    job = json.loads(sys.stdin.buffer.read())
    results = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    say = _sayer(results)
    try:
        enclose(os.getcwd(), cpu_s=job["cpu_s"], memory_bytes=job["memory_bytes"])
    except (Unprotected, OSError, ValueError) as problem:
        say({"unprotected": str(problem)})
        return 97
    say({"ready": True})
    _run(job, say)
    return 0


def _run(job: dict[str, Any], say: Callable[[Any], None]) -> None:
    function: Any = None
    namespace: dict[str, Any] = {"__name__": "answer"}
    try:
        exec(compile(job["code"], "answer", "exec"), namespace)
        function = namespace[job["function"]]
    except BaseException as problem:
        say({"broken": type(problem).__name__})
        return
    for index, arguments in enumerate(job["cases"]):
        try:
            value = json.dumps(function(*arguments))
            answered = (
                {"case": index, "value": value} if len(value) <= _LONGEST_RESULT else {"case": index, "long": True}
            )
        except BaseException as problem:
            answered = {"case": index, "raised": type(problem).__name__}
        say(answered)


def _sayer(results: int) -> Callable[[Any], None]:
    dumps, write = json.dumps, os.write

    def say(value: Any) -> None:
        write(results, dumps(value).encode() + b"\n")

    return say


# --- barriers --------------------------------------------------------------------------------


def enclose(folder: str, *, cpu_s: int, memory_bytes: int) -> None:
    """Raise every barrier around this process, for good. Raises Unprotected where one is not to be had."""
    if sys.platform != "linux" or platform.machine() != "x86_64" or sys.maxsize < 2**32:
        raise Unprotected(f"running code needs Linux on x86-64; this is {sys.platform} on {platform.machine()}")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    _checked(libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "a death with its parent (prctl)")
    _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges (prctl)")
    # A second wall behind the list of system calls; not every machine lets everybody have one.
    with contextlib.suppress(OSError, AttributeError):
        libc.unshare(0x10000000 | 0x40000000 | 0x08000000)  # user, network, IPC
    _limit(cpu_s, memory_bytes)
    _restrict_files(libc, folder)
    _restrict_calls(libc)


def _limit(cpu_s: int, memory_bytes: int) -> None:
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    for what, value in (
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 32),
        (resource.RLIMIT_NPROC, 1),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        resource.setrlimit(what, (value, value))


def _restrict_files(libc: Any, folder: str) -> None:
    """Landlock: read the interpreter's own files and the folder, write nothing."""
    version = libc.syscall(_LANDLOCK_CREATE, None, 0, _LANDLOCK_VERSION)
    if version < 1:
        raise Unprotected("Landlock is not available (Linux 5.13 or later with it switched on)")
    handled = _RIGHTS_BY_VERSION[max(v for v in _RIGHTS_BY_VERSION if v <= version)]
    rules = ctypes.create_string_buffer(struct.pack("=Q", handled))
    ruleset = libc.syscall(_LANDLOCK_CREATE, rules, 8, 0)
    _checked(ruleset, "a Landlock ruleset")
    for path in [*_interpreter_files(), folder]:
        _allow_reading(libc, ruleset, path)
    _checked(libc.syscall(_LANDLOCK_RESTRICT, ruleset, 0), "Landlock")
    os.close(ruleset)


def _interpreter_files() -> list[str]:
    """The standard library without what was installed beside it, and the system's shared libraries."""
    library = os.path.dirname(os.path.realpath(os.__file__))
    inside = [os.path.join(library, n) for n in os.listdir(library) if n not in ("site-packages", "dist-packages")]
    base = os.path.join(os.path.dirname(library), f"libpython{sys.version_info[0]}.{sys.version_info[1]}.so.1.0")
    return [path for path in (*inside, base, *_LIBRARIES) if os.path.exists(path)]


def _allow_reading(libc: Any, ruleset: int, path: str) -> None:
    opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rights = _FILE_RIGHTS | _READ_DIR if os.path.isdir(path) else _FILE_RIGHTS
        rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, opened))
        _checked(libc.syscall(_LANDLOCK_ADD, ruleset, _PATH_BENEATH, rule, 0), f"a Landlock rule for {path}")
    finally:
        os.close(opened)


def _restrict_calls(libc: Any) -> None:
    """Seccomp: the calls above are let through, others fail with EPERM; another machine's calls kill."""
    numbers = sorted(_ALLOWED.values())
    program = [
        struct.pack("=HBBI", _LOAD, 0, 0, 4),  # the architecture of the call
        struct.pack("=HBBI", _JUMP_EQ, 1, 0, _AUDIT_ARCH_X86_64),
        struct.pack("=HBBI", _RET, 0, 0, _RET_KILL),
        struct.pack("=HBBI", _LOAD, 0, 0, 0),  # its number
        struct.pack("=HBBI", _JUMP_GE, 0, 1, _X32_BIT),
        struct.pack("=HBBI", _RET, 0, 0, _RET_KILL),
    ]
    for index, number in enumerate(numbers):
        program.append(struct.pack("=HBBI", _JUMP_EQ, len(numbers) - index, 0, number))
    program.append(struct.pack("=HBBI", _RET, 0, 0, _RET_ERRNO | _EPERM))
    program.append(struct.pack("=HBBI", _RET, 0, 0, _RET_ALLOW))
    code = ctypes.create_string_buffer(b"".join(program))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(code)))
    _checked(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0), "seccomp")


def _checked(status: int, what: str) -> None:
    if status < 0:
        raise Unprotected(f"{what} cannot be had here: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    sys.exit(main())
