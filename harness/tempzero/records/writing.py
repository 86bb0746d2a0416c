"""Attempts and scores in, a run folder out: made, added to by one writer at a time, sealed, and in the end packed."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

import msgspec

from tempzero.errors import RunFolderError
from tempzero.records.anchoring import write_root
from tempzero.records.chain import (
    JUDGEMENT_CHAIN,
    RECORD_CHAIN,
    SCORE_CHAIN,
    ChainKind,
    ChainWriter,
    Line,
    Value,
    cut_torn_tail,
    encode_value,
    find_chain_end,
)
from tempzero.records.files import lock_file, sync_file, sync_folder, write_atomically
from tempzero.records.layout import (
    COMPRESSED_RECORDS,
    MANIFEST,
    PREFLIGHT,
    RECORDS,
    ROOT_LIST,
    SCORES_SEAL,
    missing_records_error,
    unwritable_error,
)
from tempzero.records.run import open_run
from tempzero.records.sealing import has_seals
from tempzero.types.recorded import Attempt, Ending, Exchange, Manifest, Record, Seal, Session
from tempzero.types.scored import Judgement, ScoreLine

RunWriter = ChainWriter[Attempt, Record]
ScoreWriter = ChainWriter[ScoreLine, ScoreLine]
JudgementWriter = ChainWriter[Judgement, Judgement]


def create_run(results: Path, manifest: Manifest) -> Path:
    """Make results/<run_id>/ with its manifest and an empty records.jsonl; give its path.

    Raises RunFolderError when the folder is there already or cannot be written.
    """
    path = results / manifest.run_id
    try:
        path.mkdir(parents=True)
        (path / RECORDS).touch()
        _write_manifest(path, manifest)  # last: a folder that has one is whole
        sync_folder(path)
        sync_folder(results)
    except FileExistsError:
        raise RunFolderError(f"{path}: is there already; wait a second or choose another --name") from None
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be written: {error.strerror}") from None
    return path


@contextlib.contextmanager
def open_run_writer(path: Path, *, now: str) -> Iterator[RunWriter]:
    """Append to a run folder, alone. A torn last line is moved into the manifest first.

    `now` is the session's start (ISO 8601); its end is stamped by `finish_session`. Raises
    RunFolderError when another process is writing to the folder or the chain does not hold.
    """
    if not (path / RECORDS).exists():
        if (path / COMPRESSED_RECORDS).exists():
            raise RunFolderError(f"{path}: is compressed; `gunzip {path / COMPRESSED_RECORDS}` before adding to it")
        open_run(path)  # says what is wrong where this is no run folder at all
        raise missing_records_error(path)
    with _open_chain_writer(path, RECORD_CHAIN) as writer:
        if has_seals(path):
            raise RunFolderError(f"{path}: is sealed; to go on, copy the folder without its seals ({ROOT_LIST}.*)")
        (path / ROOT_LIST).unlink(missing_ok=True)
        manifest = open_run(path).manifest
        session = Session(started_at=now, ended_at=None, records=writer.seq, head=None, torn_tail=writer.torn_tail)
        _write_manifest(path, replace(manifest, sessions=(*manifest.sessions, session)))
        yield writer


@contextlib.contextmanager
def open_score_writer(path: Path) -> Iterator[ScoreWriter]:
    """Append to a run folder's scores, alone; a torn last line is dropped, since it can be had again.

    Raises RunFolderError when another process is writing, or records or scores do not hold.
    """
    with _open_chain_writer(path, SCORE_CHAIN) as writer:
        try:
            yield writer
        finally:
            writer.sync()  # the seal promises lines, so they go to the disk before it
            seal = Seal(lines=writer.seq, head=writer.head)
            try:
                write_atomically(path / SCORES_SEAL, encode_value(seal) + b"\n")
            except OSError as error:
                raise unwritable_error(path / SCORES_SEAL, error) from None


@contextlib.contextmanager
def open_judgement_writer(path: Path) -> Iterator[JudgementWriter]:
    """Append to a run folder's judgements, alone; a torn last line is dropped. Raises RunFolderError."""
    with _open_chain_writer(path, JUDGEMENT_CHAIN) as writer:
        yield writer


@contextlib.contextmanager
def _open_chain_writer(path: Path, kind: ChainKind[Value, Line]) -> Iterator[ChainWriter[Value, Line]]:
    """Append to a chain of a run folder whose chains all hold, alone, from its last whole line on."""
    file_path = path / kind.file_name
    try:
        opened = file_path.open("a+b", buffering=0)
    except OSError as error:
        raise unwritable_error(file_path, error) from None
    with opened as file:
        _lock_run_folder(file, path)
        torn = cut_torn_tail(file)
        run = open_run(path)
        run.verify()
        seq, head = find_chain_end(path, kind.file_name, run.genesis)
        try:
            yield ChainWriter(file, kind, seq=seq, head=head, torn_tail=torn)
        finally:
            with contextlib.suppress(OSError):  # a disk that fails now has failed before, and that error is on its way
                sync_file(file)


def finish_session(
    path: Path, writer: RunWriter, *, now: str, endings: Iterable[Ending] = (), notes: Iterable[str] = ()
) -> None:
    """Stamp the last session's end, count and head into the manifest: the chain's own seal.

    `endings` say why trials were left unasked; `notes` are added to those that the manifest holds.
    """
    writer.sync()
    manifest = open_run(path).manifest
    last = replace(manifest.sessions[-1], ended_at=now, records=writer.seq, head=writer.head, endings=tuple(endings))
    said = dict.fromkeys((*manifest.notes, *notes))
    _write_manifest(path, replace(manifest, sessions=(*manifest.sessions[:-1], last), notes=tuple(said)))
    write_root(path, records=writer.file_hash)


def record_preflight(path: Path, exchanges: Iterable[tuple[str, str, Exchange]]) -> None:
    """Add a line for each (provider, what was looked at, exchange) to preflight.jsonl. Raises RunFolderError."""
    lines = [encode_value({"provider": p, "looked_at": what, "exchange": e}) + b"\n" for p, what, e in exchanges]
    if not lines:
        return
    try:
        with (path / PREFLIGHT).open("ab") as file:
            file.write(b"".join(lines))
            sync_file(file)
        sync_folder(path)
    except OSError as error:
        raise unwritable_error(path / PREFLIGHT, error) from None


def compress_run(path: Path) -> int:
    """Put records.jsonl.gz in place of records.jsonl; give the bytes saved. What is read from the run stays the same.

    Raises RunFolderError where the run is being written to, or its chain does not hold: damage is not packed away.
    """
    plain, packed = path / RECORDS, path / COMPRESSED_RECORDS
    if not plain.exists():
        return 0
    with plain.open("rb") as file:
        _lock_run_folder(file, path)
        open_run(path).verify()
        data = file.read()
        write_atomically(packed, gzip.compress(data, mtime=0))
        if gzip.decompress(packed.read_bytes()) != data:
            packed.unlink()
            raise RunFolderError(f"{packed}: was not written as it should be; records.jsonl is kept")
        saved = len(data) - packed.stat().st_size
    plain.unlink()
    return saved


def _write_manifest(path: Path, manifest: Manifest) -> None:
    try:
        write_atomically(path / MANIFEST, msgspec.json.format(encode_value(manifest), indent=2) + b"\n")
    except OSError as error:
        raise unwritable_error(path / MANIFEST, error) from None


def _lock_run_folder(file: IO[bytes], path: Path) -> None:
    try:
        alone = lock_file(file)
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be locked against a second writer: {error.strerror}") from None
    if not alone:
        raise RunFolderError(f"{path}: another tempzero is writing to this run; wait for it or stop it")
