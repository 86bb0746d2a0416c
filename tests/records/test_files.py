"""Files: written whole or not at all, locked by one, made by one."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from tempzero.records import files


def test_a_file_that_could_not_be_written_is_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails half-way costs the new file only, and leaves nothing beside it."""
    path = tmp_path / "a.json"
    files.write_atomically(path, b"old")

    def fail(file: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "sync_file", fail)
    with pytest.raises(OSError, match="No space"):
        files.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_has_its_name_only_once_it_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut between naming and writing would leave an empty file under a good name."""
    path, made, seen = tmp_path / "a", tmp_path / "made", []
    monkeypatch.setattr(os, "fsync", lambda fd: seen.append((path.exists(), os.path.isdir(f"/dev/fd/{fd}"))))
    files.write_atomically(path, b"x")
    assert seen == [(False, False), (True, True)]
    files.write_atomically(path, b"z", lasting=False)
    assert len(seen) == 2, "a report, which can be made again, is not waited for"
    path.unlink()
    seen.clear()
    made.write_bytes(b"y")
    files.move_into_place(made, path)
    assert seen == [(False, False), (True, True)]
    assert path.read_bytes() == b"y"


def test_two_threads_may_write_one_file(tmp_path: Path) -> None:
    """Each writes beside the file under a name of its own: neither takes the other's half for its whole."""
    path, texts = tmp_path / "a", [bytes([65 + n]) * 100_000 for n in range(4)]

    def write(text: bytes) -> None:
        for _ in range(20):
            files.write_atomically(path, text)

    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert not path.exists() or path.read_bytes() in texts
    assert path.read_bytes() in texts
    assert list(tmp_path.iterdir()) == [path]


def test_a_lock_has_one_holder_until_its_file_is_closed(tmp_path: Path) -> None:
    """Whoever comes second learns it at once, and the end of the first gives the lock back."""
    with (tmp_path / "a").open("a") as first, (tmp_path / "a").open("a") as second:
        assert files.lock_file(first)
        assert not files.lock_file(second)
        first.close()
        assert files.lock_file(second)


def test_one_maker_at_a_time_and_the_others_find_it_made(tmp_path: Path) -> None:
    """What takes minutes to fetch is fetched once, in a folder that is gone when it is over."""
    target, made = tmp_path / "model.gguf", []
    (tmp_path / "model.part").mkdir()
    (tmp_path / "model.part" / "of a maker that was killed").touch()

    def make() -> None:
        with files.hold_workshop(target) as workshop:
            assert not list(workshop.iterdir())
            if not target.exists():
                made.append(1)
                (workshop / "x").write_bytes(b"x")
                files.move_into_place(workshop / "x", target)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1]
    assert {path.name for path in tmp_path.iterdir()} == {"model.gguf", "model.lock"}
