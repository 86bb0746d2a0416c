"""The run folder: nothing acknowledged is lost, nothing altered goes unseen."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from making import NOW, chain_file, make_attempt, make_config, make_manifest, make_run, make_suite, make_trial
from tempzero.errors import RunFolderError
from tempzero.records import PREFLIGHT, RECORDS, create_run, finish_session, open_run, open_run_writer, record_preflight


@pytest.fixture
def run_path(tmp_path: Path) -> Path:
    attempts = [make_attempt(make_trial(repeat=i), text=f"answer {i}") for i in range(4)]
    return make_run(tmp_path, make_config(), make_suite(), attempts)


def lines_of(path: Path) -> list[bytes]:
    return chain_file(path).read_bytes().splitlines(keepends=True)


def test_what_was_written_is_read_back_whole(run_path: Path) -> None:
    """A record is the same value after the file as before it."""
    records = list(open_run(run_path).records())
    assert [r.attempt for r in records] == [make_attempt(make_trial(repeat=i), text=f"answer {i}") for i in range(4)]
    assert [v.outcome for v in open_run(run_path).views()] == [r.attempt.exchange.outcome for r in records]


def test_an_untouched_folder_verifies(run_path: Path) -> None:
    """The chain does not cry wolf."""
    assert len(open_run(run_path).verify()) == 64


def swap(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[2], lines[1], lines[3]]


@pytest.mark.parametrize(
    "tamper",
    [
        lambda lines: [lines[0], lines[1].replace(b"answer 1", b"answer 7"), *lines[2:]],
        lambda lines: [lines[0], *lines[2:]],
        lambda lines: lines[1:],
        lambda lines: lines[:-1],
        lambda lines: [*lines, lines[-1]],
        swap,
        lambda lines: [*lines[:-1], lines[-1].replace(b"answer 3", b"answer 9")],
    ],
    ids=["changed", "removed", "first removed", "last removed", "repeated", "swapped", "last changed"],
)
def test_an_edited_record_file_is_found_out(run_path: Path, tamper: object) -> None:
    """Evidence that was touched after the run is not evidence, and verify says which line."""
    chain_file(run_path).write_bytes(b"".join(tamper(lines_of(run_path))))  # type: ignore[operator]
    with pytest.raises(RunFolderError, match=r"/records(/part-00001\.jsonl)?:"):
        open_run(run_path).verify()


def test_a_torn_last_line_is_tolerated_and_kept_as_evidence(run_path: Path) -> None:
    """A kill in the middle of a write costs that line only, and the next session starts cleanly after it."""
    with chain_file(run_path).open("ab") as file:
        file.write(b'{"seq":4,"previous":"abc')
    assert len(list(open_run(run_path).records())) == 4
    with open_run_writer(run_path, now=NOW) as writer:
        writer.append(make_attempt(make_trial(repeat=9)))
        finish_session(run_path, writer, now=NOW)
    run = open_run(run_path)
    run.verify()
    assert len(list(run.records())) == 5
    assert run.manifest.sessions[-1].torn_tail == '{"seq":4,"previous":"abc'


def test_rubbish_inside_the_file_is_named_by_line(run_path: Path) -> None:
    """A damaged line in the middle is not a torn tail: it is refused, not skipped."""
    lines = lines_of(run_path)
    chain_file(run_path).write_bytes(lines[0] + b"<html>\n" + b"".join(lines[1:]))
    with pytest.raises(RunFolderError, match=r"records/part-00001\.jsonl:2: damaged line"):
        list(open_run(run_path).views())


def test_only_one_writer_at_a_time(run_path: Path) -> None:
    """Two runs on one folder would tear the chain; the second is told so."""
    with open_run_writer(run_path, now=NOW), pytest.raises(RunFolderError, match="another tempzero"):  # noqa: SIM117
        with open_run_writer(run_path, now=NOW):
            pass


def test_progress_knows_answers_from_failures(tmp_path: Path) -> None:
    """Resuming asks failed trials again, with attempt numbers going on, and answered ones never."""
    failed, answered = make_trial(repeat=0), make_trial(repeat=1)
    path = make_run(
        tmp_path,
        make_config(),
        make_suite(),
        [make_attempt(failed, None), make_attempt(failed, None, number=2), make_attempt(answered)],
    )
    progress = open_run(path).progress()
    assert progress.attempts == {failed: 2, answered: 1}
    assert progress.complete == {answered}


@pytest.mark.parametrize(
    ("break_it", "expected"),
    [
        (lambda p: (p / "manifest.json").unlink(), "no manifest.json"),
        (lambda p: (p / "manifest.json").write_text("{"), "damaged"),
        (lambda p: (p / "manifest.json").write_text('{"format": 99}'), "format 99"),
    ],
)
def test_what_is_no_run_folder_is_refused_in_one_line(run_path: Path, break_it: object, expected: str) -> None:
    """A wrong path or a future format is a sentence, not a traceback."""
    break_it(run_path)  # type: ignore[operator]
    with pytest.raises(RunFolderError, match=expected):
        open_run(run_path)


def test_a_record_survives_the_kill_of_its_writer(tmp_path: Path) -> None:
    """Once append has returned, SIGKILL cannot take the record back."""
    path = create_run(tmp_path, make_manifest(make_config(), make_suite()))
    child = textwrap.dedent(f"""
        import os, signal, sys
        sys.path[:0] = {[str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "harness")]!r}
        from pathlib import Path
        from tempzero import records
        from making import NOW, make_attempt, make_trial
        with records.open_run_writer(Path({str(path)!r}), now=NOW) as writer:
            for i in range(100):
                writer.append(make_attempt(make_trial(repeat=i)))
            os.kill(os.getpid(), signal.SIGKILL)
    """)
    ended = subprocess.run([sys.executable, "-c", child], check=False, env={**os.environ})
    assert ended.returncode == -signal.SIGKILL
    run = open_run(path)
    run.verify()
    assert len(list(run.records())) == 100
    assert run.manifest.sessions[-1].ended_at is None


def test_the_file_is_plain_json_lines(run_path: Path) -> None:
    """Anyone can read the evidence without tempzero."""
    for line in lines_of(run_path):
        assert json.loads(line)["attempt"]["trial"]["provider"] == "a"


def test_a_folder_that_cannot_be_written_is_one_line_with_a_way_on(run_path: Path) -> None:
    """A read-only copy of a run is no bug of ours."""
    (run_path / RECORDS).rename(run_path / "kept")
    (run_path / RECORDS).mkdir()
    (run_path / RECORDS / ".lock").mkdir()
    with (
        pytest.raises(RunFolderError, match=r"cannot be written: Is a directory.*--resume"),
        open_run_writer(run_path, now=NOW),
    ):
        pass
    with pytest.raises(RunFolderError, match="cannot be written"):
        create_run(run_path / "manifest.json", make_manifest(make_config(), make_suite()))


def test_the_check_is_kept_beside_the_chain(run_path: Path) -> None:
    """What was looked at before the run can be looked up, and is no record of it."""
    exchange = make_attempt(make_trial()).exchange
    record_preflight(run_path, [("a", "answer", exchange), ("b", "answer", exchange)])
    record_preflight(run_path, [("a", "answer", exchange)])
    lines = [json.loads(line) for line in (run_path / PREFLIGHT).read_text().splitlines()]
    assert [one["provider"] for one in lines] == ["a", "b", "a"]
    assert lines[0]["exchange"]["request"]["sha256"] == exchange.request.sha256
    open_run(run_path).verify()


@pytest.mark.parametrize("name", ["records", "records/..", "a\0b", "x" * 5000])
def test_a_listed_name_that_is_no_file_is_a_listed_file_that_is_not_there(tmp_path: Path, name: str) -> None:
    """Lists come with runs of strangers: a folder in one is no crash of `verify`."""
    run = make_run(tmp_path, make_config(["a"]), make_suite(1), [make_attempt(make_trial("a", "p0"))])
    with (run / "run.sha256").open("a") as listing:
        listing.write(f"{'0' * 64}  {name}\n")
    with pytest.raises(RunFolderError, match=r"is not what run.sha256 has the hash of"):
        open_run(run).verify_files()


def test_damage_of_any_kind_is_one_line(tmp_path: Path) -> None:
    """A run folder is evidence that strangers send: nothing in it may end in a bug of ours."""
    run = make_run(tmp_path, make_config(["a"]), make_suite(1), [make_attempt(make_trial("a", "p0"))])
    manifest, part, seal = run / "manifest.json", run / "records" / "part-00001.jsonl", run / "scores.seal.json"
    deep = b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    line = part.read_bytes()
    body = re.search(rb'"body":"(?:[^"\\]|\\.)*","body_base64":null', line.partition(b'"response":')[2])
    assert body is not None
    without = line.replace(body[0], b'"body":null,"body_base64":"abc"')
    for file, damaged in (
        (manifest, manifest.read_bytes().rstrip()[:-1] + deep),
        (part, line.rstrip()[:-1] + deep + b"\n"),
        (part, without),
        (part, without.replace(b'"abc"', b"null")),
        (seal, b"{"),
    ):
        before = file.read_bytes() if file.exists() else None
        file.write_bytes(damaged)
        with pytest.raises(RunFolderError):
            open_run(run).verify_files()
        if before is not None:
            file.write_bytes(before)
