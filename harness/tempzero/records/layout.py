"""What a run folder is made of: the format's number, the names of its files and the parts of its chains. No writing.

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
 3  Records, scores and judgements lie in parts: records/part-00001.jsonl and so on, likewise scores/ and judged/.
    A part is closed when it holds 64 MB or its writer ends, and is never written to again, so that it can be copied
    away, counted or packed (part-00001.jsonl.gz: the same bytes, compressed) by itself. The chain goes on from part to
    part: the first line of one names the hash of the last line of the one before, and `seq` goes on. The session that
    is under way has its count and its last hash put down in the manifest whenever it closes a part. run.sha256 and
    report.sha256 list each part. fingerprint/ is a run folder inside: short requests for log-probabilities, and
    the direction pack that they are held against in direction-pack.json; both lists have the hash of its run.sha256.
    A folder of format 1 or 2 is read as it stands, its one file as the first part. What is added to it goes into parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from tempzero.errors import RunFolderError

RUN_FORMAT = 3
READABLE_FORMATS = (1, 2, RUN_FORMAT)
MANIFEST = "manifest.json"
PREFLIGHT = "preflight.jsonl"
SCORES_SEAL = "scores.seal.json"
ROOT_LIST = "run.sha256"
FIRST_TOKENS = "fingerprint"
DIRECTION_PACK = "direction-pack.json"
REPORT_LIST = "report.sha256"
SIGNATURE, TIME_STAMP, STAMP_REQUEST = f"{ROOT_LIST}.sig", f"{ROOT_LIST}.tsr", f"{ROOT_LIST}.tsq"

ChainName = Literal["records", "scores", "judged"]
"""A chain of a run, by the name of the folder that holds its parts."""

RECORDS: ChainName = "records"
SCORES: ChainName = "scores"
JUDGEMENTS: ChainName = "judged"

PART_BYTES = 64 << 20
"""A part that holds as much is closed."""

PACKED = ".gz"
"""What the name of a packed part has behind that of the plain one."""

_PART_NAME = re.compile(r"part-(\d{5,})\.jsonl")

# First word of a file or chain -> the command that writes what is missing of it, where it is not that of the records.
_COMPLETING_COMMANDS: dict[str, str] = {
    SCORES: "tempzero score",
    JUDGEMENTS: "tempzero report",
    "report": "tempzero report",
}


def name_part(folder: Path, chain: ChainName, number: int) -> Path:
    """The path of a chain's part, from 1."""
    return folder / chain / f"part-{number:05}.jsonl"


def read_part_number(part: Path) -> int:
    """Which part of its chain a file is, from its name; 0 for the one file that formats 1 and 2 have."""
    found = _PART_NAME.match(part.name)
    return int(found[1]) if found else 0


def list_parts(folder: Path, chain: ChainName) -> tuple[Path, ...]:
    """The files that hold a chain, in order, each plain or packed. Raises RunFolderError where one is missing."""
    parts = [*_find_file(folder / f"{chain}.jsonl")]
    try:
        names = {path.name.removesuffix(PACKED) for path in (folder / chain).iterdir()}
    except FileNotFoundError:
        names = set()
        if chain == RECORDS and not parts:
            raise missing_records_error(folder) from None
    except OSError as error:
        raise RunFolderError(f"{folder / chain}: cannot be read: {error.strerror}") from None
    numbers = sorted(int(found[1]) for found in map(_PART_NAME.fullmatch, names) if found)
    for due, number in enumerate(numbers, start=1):
        if number != due:
            raise RunFolderError(f"{name_part(folder, chain, due)}: missing; restore it from a copy")
        # The plain file goes before a packed one: a kill between packing and removing leaves both.
        parts += _find_file(name_part(folder, chain, number))
    return tuple(parts)


def _find_file(plain: Path) -> Iterator[Path]:
    for path in (plain, plain.with_name(plain.name + PACKED)):
        if path.is_file():
            yield path
            return


def completing_command(file: Path) -> str:
    """The command that goes on with a file of a run, for messages that say what to do."""
    chain, folder = _find_owner(file)
    return f"{_COMPLETING_COMMANDS.get(chain, 'tempzero run --resume')} {folder}"


def _find_owner(file: Path) -> tuple[str, Path]:
    """The chain that a file belongs to and the run folder."""
    if file.parent.name in (RECORDS, SCORES, JUDGEMENTS) and not (file.parent / MANIFEST).exists():
        return file.parent.name, file.parent.parent
    return file.name.partition(".")[0], file.parent


def missing_records_error(folder: Path) -> RunFolderError:
    """What is said of a run folder without its records."""
    return RunFolderError(f"{folder / RECORDS}: missing; without it the run folder holds no evidence")


def unwritable_error(file: Path, error: OSError) -> RunFolderError:
    """What is said when a file of a run folder cannot be written, with the way on."""
    return RunFolderError(
        f"{file}: cannot be written: {error.strerror}; what was recorded before is kept, "
        f"and `{completing_command(file)}` goes on once it can be"
    )
