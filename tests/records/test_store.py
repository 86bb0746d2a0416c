"""Runs in an object store: on a real S3 server on loopback, with requests that fail as they do out there."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import obstore
import pytest
import tempzero
from loopback import Loopback, completion
from making import make_attempt, make_config, make_manifest, make_suite, make_trial
from obstore.exceptions import PreconditionError
from s3_host import BUCKET, SECRET, Fault, S3Host, run_s3_host
from tempzero import records
from tempzero.cli import main
from tempzero.config import Setting, parse_config
from tempzero.config.store_address import describe_place, find_place, find_spool, parse_store_url
from tempzero.errors import ConfigError, RunFolderError, StoreError, UsageError
from tempzero.nightly import prune
from tempzero.records import store
from tempzero.records.files import lock_file
from tempzero.records.store import bucket, lease

NOW = "2026-01-02T03:04:05.000+00:00"
RESULTS = f"s3://{BUCKET}/fleet"


@pytest.fixture(scope="module")
def server() -> Iterator[S3Host]:
    """One server for all tests of this file; each has a prefix of its own."""
    with run_s3_host() as host:
        yield host


Move = Callable[[str], None]


@pytest.fixture
def move(server: S3Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Move:
    """Go to another machine: it has the same keys and a spool of its own."""
    server.fault = lambda method, path: ""
    for name, value in {**server.environ, "TEMPZERO_STORE_PATIENCE_S": "0.4"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    bucket._open_store.cache_clear()

    def go(machine: str) -> None:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / machine))

    go("first")
    return go


@pytest.fixture
def place(move: Move, request: pytest.FixtureRequest) -> str:
    """Where this test's results are."""
    return f"{RESULTS}/{request.node.name}"


def record_run(
    results: str, run_id: str = "run", answers: int = 4, *, repeats: int = 1, say: Callable[[str], None] = print
) -> Path:
    settings, suite = make_config(["a"]), make_suite(answers)
    path = records.create_run(find_place(results), make_manifest(settings, suite, run_id=run_id))
    with records.open_run_writer(path, now=NOW, say=say) as writer:
        for number, repeat in itertools.product(range(answers), range(repeats)):
            writer.append(make_attempt(make_trial("a", f"p{number}", repeat)))
        records.finish_session(path, writer, now=NOW)
    return path


def stored_at(server: S3Host, place: str) -> dict[str, bytes]:
    below = place.removeprefix(f"s3://{BUCKET}/")
    return {name.removeprefix(f"{below}/"): data for name, data in server.objects(below).items()}


def files_of(folder: Path) -> dict[str, bytes]:
    found = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_a_run_stands_in_the_store_as_it_stands_here(server: S3Host, move: Move, place: str) -> None:
    """The store is the evidence: another machine reads there the very bytes, and the chain holds."""
    path = record_run(place)
    assert stored_at(server, f"{place}/run") == files_of(path)
    move("second")
    opened = tempzero.open_run(f"{place}/run")
    assert opened.path.is_relative_to(find_spool())
    assert files_of(opened.path) == files_of(path)
    assert tempzero.verify(f"{place}/run").sentence.startswith(f"{place}/run: the chain holds")


def test_requests_that_fail_now_and_then_lose_nothing(server: S3Host, move: Move, place: str) -> None:
    """A put whose answer was lost has come: asked again it must not be taken for another machine's."""
    kinds: list[Fault] = ["busy", "", "answer lost", "", "cut", ""]
    turn = iter(range(10_000))
    server.fault = lambda method, path: kinds[next(turn) % len(kinds)]
    said: list[str] = []
    path = record_run(place, say=said.append)
    for _ in range(10):
        try:
            store.put_folder(path)
            break
        except StoreError as error:
            said.append(str(error))
    server.fault = lambda method, path: ""
    assert store.put_folder(path) == 0
    assert {n: d for n, d in stored_at(server, f"{place}/run").items() if n[0] != "."} == files_of(path)
    assert not [line for line in said if "another machine" in line]


def test_a_store_that_goes_down_ends_no_run(server: S3Host, move: Move, place: str) -> None:
    """What was paid for is kept here, is said to be only here, and is put by the next command."""
    said: list[str] = []
    server.fault = lambda method, path: "" if path.endswith(lease.LEASE) and method == "PUT" else "busy"
    path = record_run(place, say=said.append)
    assert len(list(records.open_run(path).lines())) == 4
    assert f"not put yet (records/part-00001.jsonl, manifest.json, run.sha256): all of it is kept in {path}" in said[-1]
    assert "is too busy (503 SlowDown), also when asked again" in said[-1]
    with pytest.raises(StoreError, match=f"`tempzero report {place}/run` puts it once it can be"):
        store.put_folder(path)
    server.fault = lambda method, path: ""
    assert store.put_folder(path) == 3
    assert {n: d for n, d in stored_at(server, f"{place}/run").items() if n[0] != "."} == files_of(path)


def test_two_machines_never_write_to_one_run(
    server: S3Host, move: Move, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two chains under one name are no evidence; a machine that is gone is given up, and said to be."""
    path = record_run(place)
    said: list[str] = []
    with records.open_run_writer(path, now=NOW) as writer:
        writer.append(make_attempt(make_trial("a", "p0"), number=2))
        move("second")
        other = tempzero.open_run(f"{place}/run").path
        refused = pytest.raises(StoreError, match=r"is writing to it since .* given up at 20")
        with refused, records.open_run_writer(other, now=NOW):
            pass
        monkeypatch.setattr(lease, "GONE_AFTER", timedelta(0))
        with records.open_run_writer(other, now=NOW, say=said.append) as second:
            second.append(make_attempt(make_trial("a", "p1"), number=2))
        move("first")
    assert "taken over" in said[0]
    # The first comes back: nothing of the second's is overwritten, and what only it has stays with it.
    with pytest.raises(StoreError, match="was changed there by another machine, and here too"):
        store.put_folder(path)
    assert len(list(records.open_run(path).lines())) == 5
    move("third")
    assert list(tempzero.open_run(f"{place}/run").lines()) == list(records.open_run(other).lines())


def test_what_a_killed_process_of_this_machine_held_is_taken_at_once(server: S3Host, move: Move, place: str) -> None:
    """After kill -9 nobody waits ten minutes for the machine that was killed."""
    path = record_run(place)
    with pytest.MonkeyPatch.context() as killed:
        killed.setattr(os, "getpid", lambda: 2**22 + 1)  # no process is called so
        lease.take_lease(path, bucket.Bucket(parse_store_url(f"{place}/run")), print)
    assert lease.LEASE in stored_at(server, f"{place}/run")
    with records.open_run_writer(path, now=NOW) as writer:
        writer.append(make_attempt(make_trial("a", "p0"), number=2))
    assert stored_at(server, f"{place}/run")["records/part-00002.jsonl"].count(b"\n") == 1
    assert lease.LEASE not in stored_at(server, f"{place}/run")


def test_a_part_that_grows_is_put_while_the_run_goes_on(
    server: S3Host, move: Move, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that is gone for good has cost half a minute of answers, not the night's."""
    monkeypatch.setattr("tempzero.records.store.keeping._TICK_S", 0.05)
    monkeypatch.setattr("tempzero.records.store.keeping._OPEN_PART_EVERY_S", 0.0)
    settings, suite = make_config(["a"]), make_suite(2)
    path = records.create_run(find_place(place), make_manifest(settings, suite))
    with records.open_run_writer(path, now=NOW) as writer:
        for number in range(2):
            writer.append(make_attempt(make_trial("a", f"p{number}")))
            put = threading.Event()
            for _ in range(200):
                if stored_at(server, f"{place}/run").get("records/part-00001.jsonl", b"").count(b"\n") == number + 1:
                    put.set()
                    break
                put.wait(0.02)
            assert put.is_set()


def test_a_key_is_in_no_file_and_no_message(server: S3Host, move: Move, place: str, tmp_path: Path) -> None:
    """Whoever reads a report or a log must not be able to use the bucket."""
    record_run(place)
    kept = [file for file in find_spool().rglob("*") if file.is_file()]
    assert not [file for file in kept if SECRET.encode() in file.read_bytes()]
    for url in (f"s3://key:{SECRET}@{BUCKET}/x", f"s3://{BUCKET}/x?sig={SECRET}", f"s3://{BUCKET}/x#{SECRET}"):
        with pytest.raises(UsageError, match="holds no key, token or query") as refused:
            find_place(url)
        assert SECRET not in str(refused.value)
        with pytest.raises(ConfigError, match=r"run\.results") as told:
            parse_config({**make_config().model_dump(mode="json"), "run": {"results": url}}, source="providers.yaml")
        assert SECRET not in str(told.value)


def test_an_error_of_a_store_is_one_line_without_what_the_server_said(
    server: S3Host, move: Move, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers repeat key ids in their errors, and libraries print them with all they know."""
    with pytest.raises(StoreError, match=r"s3://no-such-bucket/x.*: there is no such bucket") as none:
        store.require_store(find_place("s3://no-such-bucket/x"))
    server.fault = lambda method, path: "cut"
    with pytest.raises(StoreError, match="cannot be reached, or breaks connections off") as cut:
        store.require_store(find_place(place))
    server.fault = lambda method, path: "slow"
    with pytest.raises(StoreError, match="did not answer in time") as late:
        store.require_store(find_place(place))
    for error in (none, cut, late):
        assert "\n" not in str(error.value)
        assert "127.0.0.1" not in str(error.value)
    with pytest.raises(UsageError, match="ftp:// is no place for results; say a folder, or a URL with s3, gs"):
        find_place("ftp://host/x")


def test_a_run_asks_nobody_where_its_store_cannot_be_reached(
    server: S3Host, move: Move, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong bucket is found out before a night's money is spent."""
    monkeypatch.chdir(tmp_path)
    provider = {"name": "a", "base_url": "http://127.0.0.1:9/v1", "model": "m"}
    (tmp_path / "providers.yaml").write_text(
        json.dumps({"version": 1, "run": {"results": "s3://no-such-bucket/x"}, "providers": [provider]})
    )
    assert main(["run"]) == 2
    said = "s3://no-such-bucket/x: there is no such bucket; make it, or name another\n"
    assert capsys.readouterr().err == said
    assert not list(find_spool().rglob("manifest.json"))


def test_commands_take_urls_and_put_what_they_make(
    server: S3Host, move: Move, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A report made on any machine is the report of the run; what is unchanged is not put again."""
    record_run(place)
    move("second")
    assert main(["report", f"{place}/run"]) == 3
    made = stored_at(server, f"{place}/run")
    assert {"report.html", "summary.json", "tables/overview.csv"} <= made.keys()
    before = len(server.asked)
    os.utime(find_place(f"{place}/run") / "report.html")
    store.put_folder(find_place(f"{place}/run"))
    move("third")
    assert main(["verify", f"{place}/run"]) == 0
    assert not [path for method, path in server.asked[before:] if method == "PUT"]
    assert main(["index", place]) == 0
    assert b"run/report.html" in stored_at(server, place)["index.html"]
    capsys.readouterr()


def test_prune_takes_runs_from_the_store(server: S3Host, move: Move, place: str) -> None:
    """What is pruned here is pruned there, and a spool that was deleted by hand deletes nothing there."""
    for number in range(3):
        (record_run(place, f"run-{number}") / "summary.json").write_text('{"verdict": {"outcome": "pass"}}')
        store.put_folder(find_place(f"{place}/run-{number}"))
    move("second")
    results = find_place(place)
    store.fetch_overview(results, whole=True)
    now = datetime(2027, 1, 1, tzinfo=UTC)
    packed = prune.choose_runs(results, now=now, older_than_days=1, keep=2, compress=True)
    assert prune.prune_runs(results, packed) > 0
    names = stored_at(server, f"{place}/run-0").keys()
    assert "records/part-00001.jsonl.gz" in names
    assert "records/part-00001.jsonl" not in names
    gone = prune.choose_runs(results, now=now, older_than_days=1, keep=1, compress=False)
    assert prune.prune_runs(results, gone) > 0
    assert {name.split("/")[0] for name in stored_at(server, place)} == {"run-2"}
    move("third")
    store.fetch_overview(find_place(place))
    assert [path.name for path in find_place(place).iterdir() if path.name[0] != "."] == ["run-2"]


def test_names_in_a_store_lead_nowhere_else(server: S3Host, move: Move, place: str, tmp_path: Path) -> None:
    """Whoever may write to a bucket must not be able to write outside the spool."""
    record_run(place)
    move("second")
    for name in (b"../../evil", b"..", b"a/../../../evil", b"%2e%2e/evil", b".hidden", b"a//evil"):
        server.rewrite = lambda answer, name=name: answer.replace(b"/run/run.sha256<", b"/run/" + name + b"<")  # type: ignore[misc]
        with contextlib.suppress(StoreError):
            store.fetch_folder(find_place(f"{place}/run"))
    server.rewrite = lambda answer: answer
    run = find_place(f"{place}/run")
    here = {path for path in (tmp_path / "second").rglob("*") if path.is_file()}
    assert {path for path in here if not path.is_relative_to(run)} == {run.parent / ".store" / "run.json"}
    assert not [path for path in here if "evil" in path.name or path.name == ".hidden"]
    assert tempzero.open_run(run).verify()


def test_an_address_and_its_folder_stand_for_each_other(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages name a place by its URL, whatever was typed; another store of the same name is another folder."""
    for url in (f"s3://{BUCKET}/a/b", "gs://b/c", "file:///mnt/share/runs"):
        assert describe_place(find_place(url)) == url
    assert describe_place(Path("results")) == "results"
    here = find_place(f"s3://{BUCKET}/a")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://minio.example.org:9000")
    assert find_place(f"s3://{BUCKET}/a") != here
    with pytest.raises(UsageError, match="was written for another store"):
        describe_place(here)


def test_a_mounted_folder_is_a_store_too(move: Move, tmp_path: Path) -> None:
    """`file://` needs no server: a share that several machines have mounted."""
    place = f"file://{tmp_path}/share"
    path = record_run(place)
    with records.open_run_writer(path, now=NOW) as writer:
        writer.append(make_attempt(make_trial("a", "p0"), number=2))
    move("second")
    assert len(list(tempzero.open_run(f"{place}/run").lines())) == 5
    assert files_of(tmp_path / "share" / "run") == files_of(path)


def test_a_run_folder_that_is_nowhere_is_said_to_be_none(server: S3Host, move: Move, place: str) -> None:
    """A misspelt URL is not an empty run."""
    with pytest.raises(RunFolderError, match="not a run folder"):
        tempzero.open_run(f"{place}/none")


def test_results_of_a_configuration_may_be_a_url(move: Move) -> None:
    """One line of providers.yaml is all that it takes."""
    config = parse_config({**make_config().model_dump(mode="json"), "run": {"results": RESULTS}}, source="test")
    assert describe_place(Setting(config=config, root=Path("/x"), environ={}).results) == RESULTS


def test_a_copy_that_was_removed_removes_nothing_from_the_store(server: S3Host, move: Move, place: str) -> None:
    """The spool may be cleared by hand: an index made afterwards must not take a run's root out of the store."""
    path = record_run(place)
    before = stored_at(server, f"{place}/run")
    assert "run.sha256" in before
    shutil.rmtree(path)
    assert main(["index", place]) == 0
    assert not (path / "records").exists()
    assert stored_at(server, f"{place}/run") == before
    assert main(["verify", f"{place}/run"]) == 0
    assert stored_at(server, f"{place}/run") == before


def test_records_that_were_damaged_here_stay_whole_in_the_store(server: S3Host, move: Move, place: str) -> None:
    """A disk that loses lines must not lose them for everybody: the store has the only whole copy then."""
    path = record_run(place)
    before = stored_at(server, f"{place}/run")
    part = path / "records" / "part-00001.jsonl"
    whole = part.read_bytes()
    for left in (whole[: len(whole) // 2], whole.replace(b"yes", b"no!", 1), whole[: whole.find(b"\n") + 1]):
        part.write_bytes(left)
        with pytest.raises(StoreError, match="does not hold any more what stands in the store, which is left as it is"):
            store.put_folder(path)
    part.write_bytes(b"")
    (path / "manifest.json").write_bytes(b"")
    store.put_folder(path)
    assert stored_at(server, f"{place}/run") == before
    path.rename(path.parent / ".aside")
    assert tempzero.open_run(f"{place}/run").verify()


def test_who_looks_at_a_run_puts_nothing_for_the_process_that_writes_it(
    server: S3Host, move: Move, place: str, tmp_path: Path
) -> None:
    """An index that is made meanwhile must not look to the run like another machine, which ends its putting."""
    path = record_run(place)
    before = stored_at(server, f"{place}/run")
    (path / "summary.json").write_text("{}")
    manifest = path / "manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b"\n")
    with (path / "records" / ".lock").open() as held:
        assert lock_file(held)
        store.put_runs(path.parent)
        assert stored_at(server, f"{place}/run") == {**before, "summary.json": b"{}"}
    store.put_runs(path.parent)
    assert stored_at(server, f"{place}/run")["manifest.json"] == manifest.read_bytes()


def test_what_was_removed_there_is_put_again(
    server: S3Host, move: Move, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 answers 404 to a put on a condition about an object that a lifecycle rule has taken: that is no crash."""
    path = record_run(place)
    kept = bucket.Bucket(parse_store_url(f"{place}/run"))
    held = lease.take_lease(path, kept, print)
    put = obstore.put

    def put_as_s3_does(*given: Any, **more: Any) -> Any:
        try:
            return put(*given, **more)
        except PreconditionError:
            raise FileNotFoundError("Object at location not found: 404 Not Found") from None

    monkeypatch.setattr(obstore, "put", put_as_s3_does)
    kept.remove_objects(["manifest.json", lease.LEASE])
    os.utime(path / "manifest.json")
    manifest = path / "manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b"\n")
    assert store.put_folder(path) == 1
    assert stored_at(server, f"{place}/run")["manifest.json"] == manifest.read_bytes()
    with pytest.raises(bucket.ChangedError):
        held.renew()


def test_a_disk_that_fails_is_one_line(server: S3Host, move: Move, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk beside a run must not hide how the run ended, nor a name that no file can have end a report."""
    path = record_run(place)
    (path / "report.html").write_text("made")

    def fail(*given: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr("tempzero.records.store.known_files.write_atomically", fail)
        with pytest.raises(StoreError, match="cannot be read or written: No space left on device"):
            store.put_folder(path)
    bucket.Bucket(parse_store_url(f"{place}/run")).put_object("manifest.json/odd", b"x", None)
    move("second")
    with pytest.raises(StoreError, match=f"{place}/run: .* cannot be read or written: "):
        store.fetch_folder(find_place(f"{place}/run"))


def test_what_holds_a_night_says_that_it_is_still_there(
    server: S3Host, move: Move, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A night of an hour must not be taken over after ten minutes and be asked, and paid for, twice."""
    monkeypatch.setattr(lease, "RENEW_S", 0.02)
    history = find_place(place) / "history"
    history.mkdir(parents=True)
    with store.hold_lease(history):
        before = len(server.asked)
        enough = threading.Event()
        for _ in range(200):
            if [m for m, p in server.asked[before:] if m == "PUT" and p.endswith(lease.LEASE)]:
                enough.set()
                break
            enough.wait(0.02)
        assert enough.is_set()
    assert not stored_at(server, place)


def test_a_refused_process_leaves_the_claim_of_its_machine(
    server: S3Host, move: Move, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was refused meanwhile, or met a store that was down, must not cost ten minutes after a kill."""
    path = record_run(place)
    there = bucket.Bucket(parse_store_url(f"{place}/run"))
    with monkeypatch.context() as running:
        running.setattr(os, "getpid", os.getppid)
        lease.take_lease(path, there, print)
    with pytest.raises(StoreError, match="is writing to it since"):
        lease.take_lease(path, there, print)
    server.fault = lambda method, path: "busy"
    with pytest.raises(StoreError, match="is too busy"):
        lease.take_lease(path, there, print)
    server.fault = lambda method, path: ""

    def has_ended(process: int, signal: int) -> None:
        raise ProcessLookupError

    with monkeypatch.context() as killed:
        killed.setattr(os, "kill", has_ended)
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr("socket.gethostname", lambda: "another")
            with pytest.raises(StoreError, match="is writing to it since"):
                lease.take_lease(path, there, print)
        lease.take_lease(path, there, print).release()
    assert lease.LEASE not in stored_at(server, f"{place}/run")


def test_who_was_taken_over_does_not_give_back_what_another_holds(
    server: S3Host, move: Move, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a third machine could write beside the second."""
    path = record_run(place)
    there = bucket.Bucket(parse_store_url(f"{place}/run"))
    first = lease.take_lease(path, there, print)
    move("second")
    monkeypatch.setattr(lease, "GONE_AFTER", timedelta(0))
    lease.take_lease(find_place(f"{place}/run"), there, lambda line: None)
    first.release()
    assert lease.LEASE in stored_at(server, f"{place}/run")


@pytest.mark.parametrize("url", [f"s3:/key:{SECRET}@nights/x", f"s3://key:{SECRET}/x", f"s3:///key:{SECRET}@nights/x"])
def test_a_url_with_a_key_in_an_odd_place_is_not_repeated(move: Move, url: str) -> None:
    """A slash too few is a usual mistake, and no reason to write a key into names of folders and messages."""
    with pytest.raises(UsageError, match="names no bucket") as refused:
        find_place(url)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("said", ["inf", "nan", "-1", "a while", "1e300"])
def test_a_patience_that_is_no_number_of_seconds_is_one_line(
    move: Move, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A typing mistake in the environment is no bug of ours."""
    monkeypatch.setenv("TEMPZERO_STORE_PATIENCE_S", said)
    with pytest.raises(UsageError, match="TEMPZERO_STORE_PATIENCE_S: is no number of seconds"):
        store.require_store(find_place("s3://patience/x"))


@pytest.mark.parametrize(
    ("url", "variables", "said"),
    [
        ("az://nights/x", {}, r"az://nights: .* cannot be used \(MissingAccount\); see to AZURE_STORAGE_ACCOUNT_NAME"),
        (
            "az://nights/x",
            {"AZURE_STORAGE_ACCOUNT_NAME": "acc", "AZURE_STORAGE_ACCOUNT_KEY": f"{SECRET}!"},
            "az://nights: .* cannot be used",
        ),
        ("gs://nights/x", {"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere.json"}, "see to the file that GOOGLE_"),
        ("gs://nights/x", {"GOOGLE_SERVICE_ACCOUNT_KEY": SECRET}, "gs://nights: .* cannot be used"),
        ("s3://nights/x", {"AWS_CONDITIONAL_PUT": SECRET}, "s3://nights: .* cannot be used"),
        ("s3://nights/x", {"AWS_ENDPOINT_URL": f"localhost:9000/{SECRET}"}, "AWS_ENDPOINT_URL: is no URL of a host"),
        ("s3://nights/x", {"AWS_ENDPOINT_URL": "http://not a host"}, "AWS_ENDPOINT_URL: is no URL of a host"),
        ("gs://nights/x", {"GOOGLE_BASE_URL": "127.0.0.1:9"}, "GOOGLE_BASE_URL: is no URL of a host"),
        ("az://nights/x", {"AZURE_STORAGE_ENDPOINT": "127.0.0.1"}, "AZURE_STORAGE_ENDPOINT: is no URL of a host"),
    ],
)
def test_what_the_environment_says_wrong_of_a_store_is_one_line(
    move: Move, url: str, variables: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libraries refuse such a thing with a trace that repeats it, or break with the exit code of a finding."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=said) as refused:
        store.require_store(find_place(url))
    assert "\n" not in str(refused.value)
    assert SECRET not in str(refused.value)


def test_a_store_without_keys_names_those_of_its_kind(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever uses Google's store is not helped by the names of Amazon's variables."""
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "acc")
    monkeypatch.setenv("no_proxy", "*")
    for scheme, key in {"gs": "GOOGLE_APPLICATION_CREDENTIALS", "az": "AZURE_STORAGE_ACCOUNT_KEY"}.items():
        with pytest.raises(StoreError, match=f"{scheme}://nights/x: .*{key}"):
            store.require_store(find_place(f"{scheme}://nights/x"))


def test_a_folder_that_is_not_there_to_be_written_is_no_store_that_breaks_connections(
    move: Move, tmp_path: Path
) -> None:
    """Of a share that is not mounted nobody should go and look at the network."""
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StoreError, match=r"cannot be written or read; see that the folder is mounted and yours"):
        record_run(f"file://{tmp_path}/file")


def test_a_message_names_the_url_that_was_typed(
    server: S3Host, move: Move, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder of the spool means nothing to who has never seen it, and cannot be typed on another machine."""
    record_run(place)
    for command in (["verify", f"{place}/none"], ["report", f"{place}/run", "--facts"], ["facts", f"{place}/none"]):
        assert main(command) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"{place}/")
        assert str(find_spool()) not in said


def test_a_place_that_holds_no_run_is_not_fetched(server: S3Host, move: Move, place: str) -> None:
    """A URL that is a part short must not bring a whole fleet's nights onto this disk."""
    record_run(place)
    move("second")
    with pytest.raises(RunFolderError, match="not a run folder"):
        tempzero.open_run(place)
    assert main(["report", place]) == 2
    assert not list(find_spool().rglob("*.jsonl"))


def test_a_url_that_stands_for_no_run_is_refused(
    server: S3Host, move: Move, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Taken for a path it would quietly become a folder `s3:` here, and nothing would come into the bucket."""
    monkeypatch.chdir(tmp_path)
    record_run(place)
    for command in (
        ["export", f"{place}/run", f"{place}/x.csv"],
        ["claim", f"{place}/run", "--out", f"{place}/x.zip"],
        ["score", f"{place}/run", "--plan", f"{place}/plan.jsonl"],
        ["pack", "show", f"{place}/x.pack.json"],
        ["import", f"{place}/x.csv"],
    ):
        assert main(command) == 2
        assert "s3://... is no file of this machine; URLs stand for run folders alone" in capsys.readouterr().err
    assert not (tmp_path / "s3:").exists()


def test_a_bundle_is_held_against_a_run_in_the_store(
    server: S3Host, move: Move, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """The run that a bundle was made of lies where all runs lie."""
    monkeypatch.chdir(tmp_path)
    count = itertools.count()
    with Loopback(lambda call: completion(f"text {next(count)}")) as host:
        asked = {"version": 1, "run": {"results": place, "prompts": "builtin"}, "defaults": {"repeats": 2}}
        provider = {"name": "a", "base_url": host.base_url, "model": "m"}
        (tmp_path / "providers.yaml").write_text(json.dumps({**asked, "providers": [provider]}))
        assert main(["run", "--limit", "2", "--no-check"]) in (1, 3)
    (run,) = find_place(place).glob("*Z-run")
    url = describe_place(run)
    assert main(["claim", url, "--rule", "nondeterministic", "--provider", "a", "--out", "c.zip"]) == 0
    move("second")
    assert main(["verify", "c.zip", "--run", url]) == 0
    capsys.readouterr()


def test_nights_are_made_of_a_run_in_the_store(
    server: S3Host, move: Move, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Logs of before are read back from wherever they are, by either command."""
    monkeypatch.chdir(tmp_path)
    record_run(place, answers=6, repeats=2)
    provider = {"name": "a", "base_url": "http://127.0.0.1:9/v1", "model": "m"}
    (tmp_path / "providers.yaml").write_text(json.dumps({"version": 1, "run": {}, "providers": [provider]}))
    for machine, command in (("second", ["nightly", "--from"]), ("third", ["history", "import"])):
        move(machine)
        assert main([*command, f"{place}/run"]) in (0, 3)
        assert "no such file" not in capsys.readouterr().err


def test_facts_of_runs_in_the_store_are_asked_without_their_records(
    server: S3Host, move: Move, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """History over all nights is one query, from any machine; facts are made once and stay beside the records."""
    pytest.importorskip("duckdb", reason="needs the extra scale")
    for night in ("night-1", "night-2"):
        record_run(place, night)
    move("second")
    sql = "SELECT run, count(*) AS answers FROM facts GROUP BY ALL ORDER BY run"
    assert main(["facts", place, "--sql", sql]) == 0
    shown = capsys.readouterr()
    assert shown.out == "run,answers\nnight-1,4\nnight-2,4\n"
    assert f"written: {place}/night-1/facts" in shown.err
    assert {"facts/index.json", "texts/part-00001.parquet"} <= stored_at(server, f"{place}/night-2").keys()
    move("third")
    assert main(["facts", place, "--sql", sql]) == 0
    assert capsys.readouterr().err == ""
    assert not list(find_spool().rglob("*.jsonl"))
    assert main(["report", f"{place}/night-1", "--facts"]) == 3
