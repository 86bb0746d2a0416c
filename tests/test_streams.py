"""Streams that fail, close or lie in a hostile text's way: no verdict is lost by them, and no screen is steered."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tempzero import config
from tempzero.cli.streams import SafeStream, guard_streams
from tempzero.errors import ConfigError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


HOSTILE = "p0\x1b]0;owned\x07\x1b[2J\u202ep1\r\x9b31m\n"


def test_controls_in_a_text_are_shown_by_their_codes() -> None:
    """A prompt's id that clears the screen would hide what stands above it."""
    for stream in (io.StringIO(), Terminal()):
        SafeStream(stream).write(HOSTILE)
        assert not set("\x07\u202e\x9b") & set(stream.getvalue())
        assert "\x1b]" not in stream.getvalue()
        assert "\x1b[2J" not in stream.getvalue() or stream.isatty()
        assert stream.getvalue().endswith("\n")
    kept = io.StringIO()
    SafeStream(kept).write(HOSTILE)
    assert "\x1b" not in kept.getvalue()
    assert "\r" not in kept.getvalue()


def test_colours_and_bars_reach_a_terminal() -> None:
    """What is ours is meant."""
    screen = Terminal()
    SafeStream(screen).write("\x1b[1mbold\x1b[0m\r\x1b[2K")
    assert screen.getvalue() == "\x1b[1mbold\x1b[0m\r\x1b[2K"


def test_a_stream_that_fails_is_remembered_and_raises_nothing() -> None:
    """A run of hours does not end because nobody reads its last line."""
    with open("/dev/full", "w") as full:
        stream = SafeStream(full)
        stream.write("x" * 100_000)
        stream.write("y")
        stream.flush()
        assert stream.failure is not None
        assert stream.failure.strerror == "No space left on device"


def test_a_closed_stream_leads_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """With all streams closed Python has none at all."""
    monkeypatch.setattr(sys, "stdout", None)
    with guard_streams() as (out, _):
        print("to nobody")
        assert out.failure is None
    assert sys.stdout is None


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("| head -1", 0, ""),
        ("> /dev/full", 2, "standard output could not be written: No space left on device"),
        (">&- 2>&- <&-", 0, ""),
    ],
)
def test_the_command_ends_as_it_should_whatever_its_streams_do(line: str, code: int, said: str) -> None:
    """Neither a traceback nor a verdict that is none."""
    command = f"set -o pipefail; {sys.executable} -m tempzero schema {line}"
    path = os.pathsep.join(p for p in sys.path if p)
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path}
    )
    assert (done.returncode, done.stderr.strip()) == (code, said)


BOMB = "a0: &a0 [1,2,3,4,5,6,7,8,9]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "its aliases"),
        ("[\n" * 20_000 + "]" * 20_000, "nested too deep"),
        ("a: &a [*a]\n", "nested too deep, or an alias"),
    ],
    ids=["a bomb of aliases", "20,000 deep", "an alias that holds itself"],
)
def test_a_file_made_to_exhaust_the_reader_is_refused_in_one_line(text: str, said: str, tmp_path: Path) -> None:
    """Such a file is small, and would take all memory or the stack."""
    file = tmp_path / "providers.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said) as refused:
        config.load_config(file)
    assert "\n" not in str(refused.value)


def test_a_terminal_that_closes_ends_a_run_as_sigterm_does_unless_somebody_said_otherwise() -> None:
    """Under nohup a run goes on: the handler is not taken from whoever set it."""
    import asyncio

    from tempzero.collect.session import StopSwitch, stop_on_signals

    async def hang_up() -> bool:
        stopping = StopSwitch()
        with stop_on_signals(stopping):
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.sleep(0.05)
        return stopping.by_signal

    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests themselves may run under nohup
    try:
        assert asyncio.run(hang_up())
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        assert not asyncio.run(hang_up())
    finally:
        signal.signal(signal.SIGHUP, before)
