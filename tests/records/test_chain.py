"""The chain that records, scores and judgements share: what one of them promises, all do."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from making import NOW, make_attempt, make_config, make_run, make_suite, make_trial
from tempzero.errors import RunFolderError
from tempzero.records import (
    JUDGEMENTS,
    RECORDS,
    SCORES,
    finish_session,
    open_judgement_writer,
    open_run,
    open_run_writer,
    open_score_writer,
)
from tempzero.types.scored import Judgement, Reader, ScoreLine

Opener = Callable[[Path], AbstractContextManager[Any]]


def score_line(note: str) -> ScoreLine:
    reader = Reader(
        reference="r",
        claimed_model=note,
        engine={},
        vocabulary=1,
        exact=True,
        temperatures=(),
        noises=(),
    )
    return ScoreLine(seq=7, previous="set by the writer", reader=reader)


def judgement(note: str) -> Judgement:
    return Judgement(
        seq=7, previous="", prompt="p0", asked_sha256="", text_sha256="", answer=note, correct=None, detail=""
    )


@contextmanager
def records_of_a_session(path: Path) -> Iterator[Any]:
    with open_run_writer(path, now=NOW) as writer:
        yield writer
        finish_session(path, writer, now=NOW)


KINDS = [
    pytest.param(
        RECORDS, records_of_a_session, lambda note: make_attempt(make_trial(repeat=5), text=note), id="records"
    ),
    pytest.param(SCORES, open_score_writer, score_line, id="scores"),
    pytest.param(JUDGEMENTS, open_judgement_writer, judgement, id="judgements"),
]


@pytest.fixture
def run_path(tmp_path: Path) -> Path:
    return make_run(tmp_path, make_config(), make_suite(), [make_attempt(make_trial(repeat=i)) for i in range(2)])


def lines_of(path: Path, name: str) -> list[bytes]:
    return (path / name).read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize(("name", "opener", "make"), KINDS)
def test_a_chain_goes_on_where_it_ended(run_path: Path, name: str, opener: Opener, make: Callable[[str], Any]) -> None:
    """Sessions join up to one chain, and a kill's half line is cut off before the next line is written."""
    with opener(run_path) as writer:
        writer.append(make("one"))
    with (run_path / name).open("ab") as file:
        file.write(b'{"seq":')
    with opener(run_path) as writer:
        assert writer.torn_tail == '{"seq":'
        assert writer.append_many([make("two"), make("three")]) == 2
    open_run(run_path).verify()
    assert len(lines_of(run_path, name)) == 3 + 2 * (name == RECORDS)


@pytest.mark.parametrize(("name", "opener", "make"), KINDS)
def test_any_chain_that_was_edited_is_found_out(
    run_path: Path, name: str, opener: Opener, make: Callable[[str], Any]
) -> None:
    """Scores and judgements are evidence like records: a changed, removed or moved line is named."""
    with opener(run_path) as writer:
        for note in ("one", "two", "three"):
            writer.append(make(note))
    first, second, third = lines_of(run_path, name)[-3:]
    before = b"".join(lines_of(run_path, name)[:-3])
    for edited in (first + third, second + first + third, first.replace(b"one", b"uno") + second + third):
        (run_path / name).write_bytes(before + edited)
        with pytest.raises(RunFolderError, match=rf"{name}:\d"):
            open_run(run_path).verify()


@pytest.mark.parametrize(("name", "opener", "make"), KINDS)
def test_a_full_disk_leaves_the_chain_at_its_last_whole_line(
    run_path: Path, name: str, opener: Opener, make: Callable[[str], Any]
) -> None:
    """What did not get there is not counted or chained to, so the next line and the seal still hold."""
    with opener(run_path) as writer:
        writer.append(make("one"))
        stood = (writer.seq, writer.head)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, ((run_path / name).stat().st_size + 50, limits[1]))
        try:
            for fail in (writer.append, lambda value: writer.append_many([value, value])):
                with pytest.raises(RunFolderError, match=r"cannot be written: File too large.*`tempzero \w+"):
                    fail(make("x" * 2000))
                assert (writer.seq, writer.head) == stood
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        writer.append(make("two"))
    open_run(run_path).verify()
    assert b"".join(lines_of(run_path, name)).count(b"xxx") == 0
