"""The chain that records, scores and judgements share: what one of them promises, all do."""

from __future__ import annotations

import gzip
import hashlib
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from making import (
    NOW,
    chain_bytes,
    chain_file,
    make_attempt,
    make_config,
    make_manifest,
    make_run,
    make_suite,
    make_trial,
)
from tempzero.errors import RunFolderError
from tempzero.records import (
    JUDGEMENTS,
    RECORDS,
    SCORES,
    ChainName,
    compress_run,
    create_run,
    finish_session,
    list_parts,
    open_judgement_writer,
    open_run,
    open_run_writer,
    open_score_writer,
)
from tempzero.records.encoded_parts import encode_part
from tempzero.types.recorded import Attempt
from tempzero.types.scored import Judgement, Reader, ScoreLine

Opener = Callable[..., AbstractContextManager[Any]]


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
def records_of_a_session(path: Path, **options: Any) -> Iterator[Any]:
    with open_run_writer(path, now=NOW, **options) as writer:
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


def lines_of(path: Path, name: ChainName) -> list[bytes]:
    return chain_bytes(path, name).splitlines(keepends=True)


@pytest.mark.parametrize(("name", "opener", "make"), KINDS)
def test_a_chain_goes_on_where_it_ended(
    run_path: Path, name: ChainName, opener: Opener, make: Callable[[str], Any]
) -> None:
    """Sessions join up to one chain, and a kill's half line is cut off before the next line is written."""
    with opener(run_path) as writer:
        writer.append(make("one"))
    with list_parts(run_path, name)[-1].open("ab") as file:
        file.write(b'{"seq":')
    with opener(run_path) as writer:
        assert writer.torn_tail == '{"seq":'
        assert writer.append_many([make("two"), make("three")]) == 2
    open_run(run_path).verify()
    assert len(lines_of(run_path, name)) == 3 + 2 * (name == RECORDS)


@pytest.mark.parametrize(("name", "opener", "make"), KINDS)
def test_any_chain_that_was_edited_is_found_out(
    run_path: Path, name: ChainName, opener: Opener, make: Callable[[str], Any]
) -> None:
    """Scores and judgements are evidence like records: a changed, removed or moved line is named."""
    with opener(run_path) as writer:
        for note in ("one", "two", "three"):
            writer.append(make(note))
    first, second, third = lines_of(run_path, name)[-3:]
    part = list_parts(run_path, name)[-1]
    for edited in (first + third, second + first + third, first.replace(b"one", b"uno") + second + third):
        part.write_bytes(edited)
        with pytest.raises(RunFolderError, match=rf"{name}/{part.name}:\d"):
            open_run(run_path).verify()


@pytest.mark.parametrize(("name", "opener", "make"), KINDS)
def test_a_full_disk_leaves_the_chain_at_its_last_whole_line(
    run_path: Path, name: ChainName, opener: Opener, make: Callable[[str], Any]
) -> None:
    """What did not get there is not counted or chained to, so the next line and the seal still hold."""
    with opener(run_path) as writer:
        writer.append(make("one"))
        stood = (writer.seq, writer.head)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (list_parts(run_path, name)[-1].stat().st_size + 50, limits[1]))
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


@pytest.mark.parametrize(("name", "opener", "make"), KINDS)
def test_a_long_chain_lies_in_parts_that_join_up(
    run_path: Path, name: ChainName, opener: Opener, make: Callable[[str], Any]
) -> None:
    """Parts can be copied, counted and packed one by one; together they are one chain, read in its order."""
    begun = len(list_parts(run_path, name))
    with opener(run_path, part_bytes=1) as writer:
        for note in ("one", "two"):
            writer.append(make(note))
        writer.append_many([make("three"), make("four")])
    parts = list_parts(run_path, name)
    assert [part.name for part in parts] == [f"part-{n:05}.jsonl" for n in range(1, begun + 4)]
    assert [lines.count(b"\n") for lines in (part.read_bytes() for part in parts[begun:])] == [1, 1, 2]
    open_run(run_path).verify()
    with opener(run_path) as writer:
        assert writer.seq == len(lines_of(run_path, name))


@pytest.mark.parametrize(("name", "opener", "make"), KINDS)
def test_no_part_can_be_taken_away_exchanged_or_changed(
    run_path: Path, name: ChainName, opener: Opener, make: Callable[[str], Any]
) -> None:
    """Evidence in many files is as whole as in one: each part that is missing or moved is named."""
    with opener(run_path, part_bytes=1) as writer:
        for note in ("one", "two", "three"):
            writer.append(make(note))
    first, second = list_parts(run_path, name)[-3:-1]
    kept = first.read_bytes(), second.read_bytes()
    first.unlink()
    with pytest.raises(RunFolderError, match=rf"{name}/{first.name}: missing"):
        open_run(run_path).verify()
    first.write_bytes(kept[1])
    second.write_bytes(kept[0])
    with pytest.raises(RunFolderError, match=rf"{name}/{first.name}:1: the hash chain breaks"):
        open_run(run_path).verify()
    first.write_bytes(b"")
    second.write_bytes(kept[1])
    with pytest.raises(RunFolderError, match=rf"{name}/{second.name}:1: the hash chain breaks"):
        open_run(run_path).verify()


def test_what_a_killed_session_closed_is_sealed_already(run_path: Path) -> None:
    """A session that never ended has put down each part that it closed: taking its last ones away shows."""
    with open_run_writer(run_path, now=NOW, part_bytes=1) as writer:
        for repeat in range(5, 9):
            writer.append(make_attempt(make_trial(repeat=repeat)))
    assert open_run(run_path).manifest.sessions[-1].ended_at is None
    open_run(run_path).verify()
    *_, closed, open_one = list_parts(run_path, RECORDS)
    open_one.unlink()
    open_run(run_path).verify()  # what was in the open part when the kill came, nobody can know
    closed.unlink()
    with pytest.raises(RunFolderError, match="left 5 records; they are not all there any more"):
        open_run(run_path).verify()


def test_a_closed_part_is_never_written_to_again(run_path: Path) -> None:
    """What was copied away when it was closed stays a true copy, whatever sessions come and are killed."""
    (first,) = list_parts(run_path, RECORDS)
    kept = first.read_bytes()
    with open_run_writer(run_path, now=NOW) as writer:
        writer.append(make_attempt(make_trial(repeat=5)))
    compress_run(run_path)
    packed = {part: part.read_bytes() for part in list_parts(run_path, RECORDS)}
    assert len(packed) == 2
    with open_run_writer(run_path, now=NOW) as writer:
        writer.append(make_attempt(make_trial(repeat=6)))
        finish_session(run_path, writer, now=NOW)
    assert {part: part.read_bytes() for part in packed} == packed
    assert gzip.decompress(packed[list_parts(run_path, RECORDS)[0]]) == kept
    assert len(list(open_run(run_path).views())) == 4
    open_run(run_path).verify_files()


def test_the_list_of_hashes_names_every_part_with_what_sha256sum_says(run_path: Path) -> None:
    """Whoever doubts needs nothing of ours: hashes that were worked out while writing are those of the files."""
    with open_run_writer(run_path, now=NOW, part_bytes=40_000) as writer:
        writer.append_many([make_attempt(make_trial(repeat=repeat), text="x" * 9000) for repeat in range(5, 40)])
        form, parts = encode_in_parts(make_attempt(make_trial(repeat=77), text="y" * 900))
        writer.append_encoded(form, [parts] * 250)
        finish_session(run_path, writer, now=NOW)
    listed = {name: digest for digest, name in map(str.split, (run_path / "run.sha256").read_text().splitlines())}
    parts_of_it = {part.relative_to(run_path).as_posix(): part for part in list_parts(run_path, RECORDS)}
    assert len(parts_of_it) == 3
    assert {name: listed[name] for name in parts_of_it} == {
        name: hashlib.sha256(part.read_bytes()).hexdigest() for name, part in parts_of_it.items()
    }
    open_run(run_path).verify_files()


def encode_in_parts(attempt: Attempt) -> tuple[bytes, tuple[bytes, ...]]:
    return b"%b", (encode_part(attempt),)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
def test_a_folder_of_an_older_format_is_read_and_goes_on_in_parts(tmp_path: Path, packed: bool) -> None:
    """Evidence that was collected before there were parts stays evidence, and an interrupted run can be ended."""
    manifest = replace(make_manifest(make_config(), make_suite()), format=2)
    path = create_run(tmp_path, manifest)
    with open_run_writer(path, now=NOW) as writer:
        for repeat in range(2):
            writer.append(make_attempt(make_trial(repeat=repeat)))
        finish_session(path, writer, now=NOW)
    lines = chain_file(path).read_bytes()
    shutil.rmtree(path / RECORDS)
    (path / "run.sha256").unlink()
    old = path / "records.jsonl"
    old.write_bytes(lines + (b"" if packed else b'{"torn'))
    if packed:
        compress_run(path)
        assert not old.exists()
    assert len(list(open_run(path).views())) == 2
    with open_run_writer(path, now=NOW) as writer:
        writer.append(make_attempt(make_trial(repeat=2)))
        finish_session(path, writer, now=NOW)
    assert open_run(path).manifest.sessions[-1].torn_tail == (None if packed else '{"torn')
    assert [v.trial.repeat for v in open_run(path).views()] == [0, 1, 2]
    assert [part.name for part in list_parts(path, RECORDS)][1:] == ["part-00001.jsonl"]
    open_run(path).verify_files()
