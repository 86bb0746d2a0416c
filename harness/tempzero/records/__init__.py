"""Attempts and scores in, a run folder out, and back: append-only, hash-chained, readable after any crash.

layout    the names of the files, the format and its history
run       a run folder read, and verified
writing   a run folder made, added to, sealed, packed
chain     the hash chain that records, scores and judgements share
anchoring the hashes of what was collected and reported, and the root that stands for them
sealing   that root, signed and time-stamped by others
files     atomic writes, syncs and locks, for the whole package

What is promised, and how it is held:
- A record handed over by `append` survives the kill of this process: the line is with the operating system.
- A record that `sync` has returned for survives a power cut: the file has been forced to the disk. A run syncs
  several times a second, beside the asking, and shows an answer as had only then.
- The files themselves and the manifest survive one too: their folder is synced after each is made or replaced.
- A part that is closed is on the disk whole and is never written to again.
- A line is whole or not there: what a kill or a full disk leaves of one is cut off, and kept in the manifest.
- One writer at a time. Any later change, removal or move of a line breaks the chain, and `verify` says where.
"""

from __future__ import annotations

from tempzero.records.anchoring import hash_parts_beside, list_report_files, write_root
from tempzero.records.layout import (
    DIRECTION_PACK,
    FIRST_TOKENS,
    JUDGEMENTS,
    MANIFEST,
    PART_BYTES,
    PREFLIGHT,
    RECORDS,
    RUN_FORMAT,
    SCORES,
    ChainName,
    list_parts,
)
from tempzero.records.run import Run, RunProgress, open_run, read_part_views
from tempzero.records.sealing import describe_seals, request_time_stamp, sign_root
from tempzero.records.writing import (
    JudgementWriter,
    RunWriter,
    ScoreWriter,
    can_be_compressed,
    compress_run,
    create_run,
    finish_session,
    open_judgement_writer,
    open_run_writer,
    open_score_writer,
    record_preflight,
)

__all__ = [
    "DIRECTION_PACK",
    "FIRST_TOKENS",
    "JUDGEMENTS",
    "MANIFEST",
    "PART_BYTES",
    "PREFLIGHT",
    "RECORDS",
    "RUN_FORMAT",
    "SCORES",
    "ChainName",
    "JudgementWriter",
    "Run",
    "RunProgress",
    "RunWriter",
    "ScoreWriter",
    "can_be_compressed",
    "compress_run",
    "create_run",
    "describe_seals",
    "finish_session",
    "hash_parts_beside",
    "list_parts",
    "list_report_files",
    "open_judgement_writer",
    "open_run",
    "open_run_writer",
    "open_score_writer",
    "read_part_views",
    "record_preflight",
    "request_time_stamp",
    "sign_root",
    "write_root",
]
