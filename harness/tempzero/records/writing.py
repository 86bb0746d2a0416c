"""Attempts and scores in, a run folder out: made, added to by one writer at a time, sealed, and in the end packed."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

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
    MANIFEST,
    PACKED,
    PART_BYTES,
    PREFLIGHT,
    RECORDS,
    ROOT_LIST,
    SCORES,
    SCORES_SEAL,
    ChainName,
    list_parts,
    read_part_number,
    unwritable_error,
)
from tempzero.records.run import open_run
from tempzero.records.sealing import has_seals
from tempzero.records.store import hold_writing
from tempzero.types.recorded import Attempt, Ending, Exchange, Manifest, Record, Seal, Session
from tempzero.types.scored import Judgement, ScoreLine

RunWriter = ChainWriter[Attempt, Record]
ScoreWriter = ChainWriter[ScoreLine, ScoreLine]
JudgementWriter = ChainWriter[Judgement, Judgement]


def create_run(results: Path, manifest: Manifest) -> Path:
    """Make results/<run_id>/ with its manifest and an empty folder for its records; give its path.

    Raises RunFolderError when the folder is there already or cannot be written.
    """
    path = results / manifest.run_id
    try:
        path.mkdir(parents=True)
        (path / RECORDS).mkdir()
        _write_manifest(path, manifest)  # last: a folder that has one is whole
        sync_folder(path)
        sync_folder(results)
    except FileExistsError:
        raise RunFolderError(f"{path}: is there already; wait a second or choose another --name") from None
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be written: {error.strerror}") from None
    return path


@contextlib.contextmanager
def open_run_writer(
    path: Path, *, now: str, part_bytes: int = PART_BYTES, say: Callable[[str], None] = lambda line: None
) -> Iterator[RunWriter]:
    """Append to a run folder, alone. A torn last line is moved into the manifest first.

    `now` is the session's start (ISO 8601); its end is stamped by `finish_session`. A part is closed when it holds
    `part_bytes`. Of a run that belongs to a store `say` hears what cannot be put there. Raises RunFolderError when
    another process is writing to the folder or the chain does not hold, and StoreError where another machine is.
    """
    with _open_chain_writer(path, RECORD_CHAIN, part_bytes=part_bytes, say=say) as writer:
        if has_seals(path):
            raise RunFolderError(f"{path}: is sealed; to go on, copy the folder without its seals ({ROOT_LIST}.*)")
        (path / ROOT_LIST).unlink(missing_ok=True)
        manifest = open_run(path).manifest
        session = Session(started_at=now, ended_at=None, records=writer.seq, head=None, torn_tail=writer.torn_tail)
        _write_manifest(path, replace(manifest, sessions=(*manifest.sessions, session)))
        writer.on_turn = lambda part: _replace_last_session(path, records=writer.seq, head=writer.head)
        yield writer


@contextlib.contextmanager
def open_score_writer(path: Path, *, part_bytes: int = PART_BYTES) -> Iterator[ScoreWriter]:
    """Append to a run folder's scores, alone; a torn last line is dropped, since it can be had again.

    Where somebody has removed all of them to have the run read anew, what speaks of them is no longer held to it.
    Raises RunFolderError when another process is writing, or records or scores do not hold.
    """
    if (path / MANIFEST).is_file() and not list_parts(path, SCORES):  # before this, format 1 has it in the manifest
        _write_scores_seal(path, Seal(lines=0, head=""))
    with _open_chain_writer(path, SCORE_CHAIN, part_bytes=part_bytes) as writer:
        try:
            yield writer
        finally:
            writer.close()  # the seal promises lines, so they go to the disk before it
            _write_scores_seal(path, Seal(lines=writer.seq, head=writer.head))


def _write_scores_seal(path: Path, seal: Seal) -> None:
    try:
        write_atomically(path / SCORES_SEAL, encode_value(seal) + b"\n")
    except OSError as error:
        raise unwritable_error(path / SCORES_SEAL, error) from None


@contextlib.contextmanager
def open_judgement_writer(path: Path, *, part_bytes: int = PART_BYTES) -> Iterator[JudgementWriter]:
    """Append to a run folder's judgements, alone; a torn last line is dropped. Raises RunFolderError."""
    with _open_chain_writer(path, JUDGEMENT_CHAIN, part_bytes=part_bytes) as writer:
        yield writer


@contextlib.contextmanager
def _open_chain_writer(
    path: Path, kind: ChainKind[Value, Line], *, part_bytes: int, say: Callable[[str], None] = lambda line: None
) -> Iterator[ChainWriter[Value, Line]]:
    """Append to a chain of a run folder whose chains all hold, alone, from its last whole line on."""
    run = open_run(path)  # says what is wrong where this is no run folder at all
    list_parts(path, RECORDS)  # or one without records
    with _lock_chain(path, kind.name), hold_writing(path, say):
        torn = _close_last_part(path, kind.name)
        run.verify()
        seq, head = find_chain_end(path, kind, run.genesis)
        parts = list_parts(path, kind.name)
        writer = ChainWriter(
            path,
            kind,
            seq=seq,
            head=head,
            next_part=read_part_number(parts[-1]) + 1 if parts else 1,
            torn_tail=torn,
            part_bytes=part_bytes,
        )
        try:
            yield writer
        finally:
            with contextlib.suppress(RunFolderError):  # a disk that fails now failed before, and was told of then
                writer.close()


def _close_last_part(path: Path, chain: ChainName) -> str | None:
    """What a kill left of a line at the end of the last part is cut off and given back; an empty part is taken away."""
    for part in list_parts(path, chain)[-1:]:
        if part.suffix == PACKED:
            return None
        try:
            with part.open("r+b") as file:
                torn = cut_torn_tail(file)
                sync_file(file)
            if part.stat().st_size == 0:
                part.unlink()
        except OSError as error:
            raise unwritable_error(part, error) from None
        return torn
    return None


def finish_session(
    path: Path, writer: RunWriter, *, now: str, endings: Iterable[Ending] = (), notes: Iterable[str] = ()
) -> None:
    """Stamp the last session's end, count and head into the manifest: the chain's own seal.

    `endings` say why trials were left unasked; `notes` are added to those that the manifest holds.
    """
    writer.close()
    _replace_last_session(path, notes=notes, ended_at=now, records=writer.seq, head=writer.head, endings=tuple(endings))
    write_root(path, writer.part_hashes)


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
    """Pack each part of the records; give the bytes saved. What is read from the run stays the same.

    Raises RunFolderError where the run is being written to, or its chain does not hold: damage is not packed away.
    """
    if not can_be_compressed(path):
        return 0
    with _lock_chain(path, RECORDS):
        open_run(path).verify()
        return sum(_pack_part(part) for part in list_parts(path, RECORDS) if part.suffix != PACKED)


def can_be_compressed(path: Path) -> bool:
    """Whether any part of its records is not packed yet."""
    return any(part.suffix != PACKED for part in list_parts(path, RECORDS))


def _pack_part(part: Path) -> int:
    data, packed = part.read_bytes(), part.with_name(part.name + PACKED)
    write_atomically(packed, gzip.compress(data, mtime=0))
    if gzip.decompress(packed.read_bytes()) != data:
        packed.unlink()
        raise RunFolderError(f"{packed}: was not written as it should be; {part.name} is kept")
    part.unlink()
    return len(data) - packed.stat().st_size


def _replace_last_session(path: Path, *, notes: Iterable[str] = (), **now: Any) -> None:
    """Say in the manifest how the session that is under way stands."""
    manifest = open_run(path).manifest
    sessions = (*manifest.sessions[:-1], replace(manifest.sessions[-1], **now))
    said = dict.fromkeys((*manifest.notes, *notes))
    _write_manifest(path, replace(manifest, sessions=sessions, notes=tuple(said)))


def _write_manifest(path: Path, manifest: Manifest) -> None:
    try:
        write_atomically(path / MANIFEST, msgspec.json.format(encode_value(manifest), indent=2) + b"\n")
    except OSError as error:
        raise unwritable_error(path / MANIFEST, error) from None


@contextlib.contextmanager
def _lock_chain(path: Path, chain: ChainName) -> Iterator[None]:
    """Be the only one that writes to a chain of this run."""
    file = path / chain / ".lock"
    try:
        file.parent.mkdir(exist_ok=True)
        opened = file.open("a")
    except OSError as error:
        raise unwritable_error(file, error) from None
    with opened as lock:
        try:
            alone = lock_file(lock)
        except OSError as error:
            raise RunFolderError(f"{path}: cannot be locked against a second writer: {error.strerror}") from None
        if not alone:
            raise RunFolderError(f"{path}: another tempzero is writing to this run; wait for it or stop it")
        yield
