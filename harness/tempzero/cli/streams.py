"""The standard streams in, the same out: no failure of theirs ends a run, and no text acts on a terminal.

A reader that leaves (`| head`), a full disk or a closed stream must not cost a run its verdict, and what a model, a
provider or a prompt's id holds must not steer a screen.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO

# What acts on a terminal or hides from the eye; newline and tab are left.
_ACTING = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
# What our own progress bars and colours write on a terminal.
_OWN_SEQUENCE = re.compile(r"(\x1b\[[0-9;]*[mAKJ]|\x1b\[\?25[lh]|\x1b\]8;[^\x1b\x07]*\x1b\\|\r)")


class SafeStream:
    """A text stream that remembers what went wrong instead of raising it, and shows controls by their codes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.failure: OSError | None = None

    def write(self, text: str) -> int:
        """Write what can be written; whatever follows a failure is dropped."""
        if not isinstance(text, str):
            raise TypeError("a text is written here")
        self._try(lambda: self._stream.write(self._make_safe(text)))
        return len(text)

    def flush(self) -> None:
        """As far as that is possible."""
        self._try(self._stream.flush)

    def _make_safe(self, text: str) -> str:
        if text.isprintable() or not _ACTING.search(text):
            return text
        if self._stream.isatty():
            parts = _OWN_SEQUENCE.split(text)
            return "".join(part if at % 2 else _ACTING.sub(_show_code, part) for at, part in enumerate(parts))
        return _ACTING.sub(_show_code, text)

    def _try(self, act: Callable[[], object]) -> None:
        if self.failure is not None:
            return
        try:
            act()
        except (OSError, ValueError) as error:
            self.failure = error if isinstance(error, OSError) else OSError(errno.EBADF, "it is closed")
            with contextlib.suppress(OSError, ValueError):  # what waits in its buffer would complain at the very end
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _show_code(match: re.Match[str]) -> str:
    return f"⟨U+{ord(match.group()):04X}⟩"


@contextlib.contextmanager
def guard_streams() -> Iterator[tuple[SafeStream, SafeStream]]:
    """Both output streams made safe, for as long as a command runs; one that was closed leads nowhere."""
    _fill_closed_descriptors()
    before = sys.stdout, sys.stderr
    safe = tuple(SafeStream(_open_stream(stream)) for stream in before)
    sys.stdout, sys.stderr = safe
    try:
        yield safe[0], safe[1]
    finally:
        sys.stdout, sys.stderr = before
        for stream, given in zip(safe, before, strict=True):
            stream.flush()
            if given is None or given.closed:
                stream.close()


def _open_stream(stream: TextIO | None) -> TextIO:
    if stream is None or stream.closed:
        return open(os.devnull, "w", encoding="utf-8")
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:  # a letter that the locale cannot show is shown by its code
        reconfigure(errors="backslashreplace")
    return stream


def _fill_closed_descriptors() -> None:
    """Else the next file that is opened, the records perhaps, becomes the stream that every program writes to."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
