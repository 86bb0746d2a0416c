"""What a run folder is made of: the format's number and the names of its files. No reading, no writing.

Format history of results/<run>/ (`Manifest.format`):
 1  manifest.json + records.jsonl. Each line of records.jsonl is one `Record` as JSON; its `previous`
    is the SHA-256 of the line before it (the first line: of the plan digest). Where responses were
    read by a reference, scores.jsonl holds one `ScoreLine` a line, chained in the same way; each names
    the record it was read from by the hash of its line. judged.jsonl holds what answers came to that had to be
    tried out (`Judgement`), chained likewise; it may be removed and made again. preflight.jsonl has a line
    for each exchange of the check before the run, not chained.
    A finished run may hold records.jsonl.gz instead of records.jsonl: the same bytes, compressed.
 2  The first line of each chain names the hash of the manifest as it was when the run began (without `sessions`,
    `scores` and `notes`, which come later), so that another configuration or suite shows. The end of scores.jsonl
    stands in scores.seal.json, so that the manifest is left as collecting left it. run.sha256, in the form of
    `sha256sum`, has the hashes of manifest.json, records.jsonl and preflight.jsonl; its own hash is the run's root.
    Seals lie beside it: run.sha256.sig (an SSH signature), run.sha256.tsr (an RFC 3161 time stamp). report.sha256 has
    the hashes of the reports and of what they were made of.
"""

from __future__ import annotations

from pathlib import Path

from tempzero.errors import RunFolderError

RUN_FORMAT = 2
READABLE_FORMATS = (1, RUN_FORMAT)
MANIFEST = "manifest.json"
RECORDS = "records.jsonl"
COMPRESSED_RECORDS = "records.jsonl.gz"
SCORES = "scores.jsonl"
JUDGEMENTS = "judged.jsonl"
PREFLIGHT = "preflight.jsonl"
SCORES_SEAL = "scores.seal.json"
ROOT_LIST = "run.sha256"
REPORT_LIST = "report.sha256"
SIGNATURE, TIME_STAMP, STAMP_REQUEST = f"{ROOT_LIST}.sig", f"{ROOT_LIST}.tsr", f"{ROOT_LIST}.tsq"

# File -> the command that writes what is missing of it. The others are written by the command that writes records.
_COMPLETING_COMMANDS = {SCORES: "tempzero score", JUDGEMENTS: "tempzero report"}


def completing_command(file_name: str) -> str:
    """The command that goes on with a file, for messages that say what to do."""
    return _COMPLETING_COMMANDS.get(file_name, "tempzero run --resume")


def missing_records_error(folder: Path) -> RunFolderError:
    """What is said of a run folder without its records."""
    return RunFolderError(f"{folder / RECORDS}: missing; without it the run folder holds no evidence")


def unwritable_error(file: Path, error: OSError) -> RunFolderError:
    """What is said when a file of a run folder cannot be written, with the way on."""
    return RunFolderError(
        f"{file}: cannot be written: {error.strerror}; what was recorded before is kept, "
        f"and `{completing_command(file.name)} {file.parent}` goes on once it can be"
    )
