"""Score lines of several copies of one run in, each of which read a part of it, the lines of all of it out, checked.

A part is every n-th prompt, so that equal answers are read in one place and named as one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tempzero import records
from tempzero.errors import UsageError
from tempzero.reading.scorer import list_recorded_answers
from tempzero.types.scored import Reader, ScoreLine


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """The `number`-th part of `of`, counted from 1."""

    number: int
    of: int

    def holds(self, place: int) -> bool:
        """Whether the prompt at that place of the suite is in it."""
        return place % self.of == self.number - 1


def parse_shard(text: str) -> Shard:
    """`2/4` in. Raises UsageError."""
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise UsageError(f"--shard {text}: write which part of how many, e.g. 2/4")
    return Shard(number=int(found[1]), of=int(found[2]))


def merge_shards(path: Path, others: Sequence[Path], *, say: Callable[[str], None]) -> None:
    """Take the score lines of copies of a run into it; nothing is written unless every response has exactly one line.

    Raises UsageError where a copy is of another run, read with other weights, or read what another one did.
    """
    run = records.open_run(path)
    shards = {one: records.open_run(one) for one in (path, *others)}
    for one, other in shards.items():
        if other.genesis != run.genesis:
            raise UsageError(f"{one}: is no copy of {path}: its manifest is another")
        if one != path:  # which who writes to it verifies
            other.verify()
    names = list(
        dict.fromkeys(line.reader.reference for s in shards.values() for line in s.score_lines() if line.reader)
    )
    if not names:
        raise UsageError(
            f"{', '.join(map(str, others))}: nothing was read there; `tempzero score COPY --shard 1/2` does"
        )
    merged = [_merge_reference(run, name, shards) for name in names]
    with records.open_score_writer(path) as writer:
        for name, lines in zip(names, merged, strict=True):
            for line in lines:
                writer.append(line)
            say(f"{name}: {len(lines)} lines of {len(others)} {'copies' if len(others) > 1 else 'copy'} taken")


def _merge_reference(run: records.Run, name: str, shards: dict[Path, records.Run]) -> list[ScoreLine]:
    """What this run does not have yet, in the order in which one machine would have written it."""
    readers: dict[Path, Reader] = {}
    found: dict[str, tuple[Path, ScoreLine]] = {}
    for path, shard in shards.items():
        for line in shard.score_lines():
            if line.reader is not None and line.reader.reference == name:
                readers[path] = line.reader
            one = line.scored or line.unread
            if one is None or one.reference != name:
                continue
            if one.record_sha256 in found:
                trial, other = one.trial, found[one.record_sha256][0]
                raise UsageError(
                    f"{path} and {other}: both read {trial.provider}, {trial.prompt}, repeat {trial.repeat}; "
                    "give each copy a part of its own: --shard 1/2, --shard 2/2"
                )
            found[one.record_sha256] = (path, line)
    first = next(iter(readers))
    for path, reader in readers.items():
        if reader != readers[first]:
            raise UsageError(f"{path} and {first}: {name} read with other weights, settings or versions in the one")
    wanted = list_recorded_answers(run, name)
    missing = [a for a in wanted if a.sha256 not in found]
    if missing:
        trial = missing[0].trial
        raise UsageError(
            f"{run.path}: {len(missing)} of {len(wanted)} responses were read by no copy, the first is "
            f"{trial.provider}, {trial.prompt}, repeat {trial.repeat}; all shards are needed"
        )
    strange = set(found) - {a.sha256 for a in wanted}
    if strange:
        raise UsageError(f"{found[strange.pop()][0]}: has lines of responses that {run.path} does not hold")
    own = run.path in readers
    lines = [] if own else [ScoreLine(seq=0, previous="", reader=readers[first])]
    return lines + [found[a.sha256][1] for a in wanted if found[a.sha256][0] != run.path]
