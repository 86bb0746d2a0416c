"""A run in, what an offline batch is to read of it out; and that batch's results in, the run's scores out.

Which tokens are read depends on what was read before (a text cut into tokens in another way), so a plan may be
followed by a second, small one: the same command with the results so far.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tempzero import records
from tempzero.collect.watcher import Watcher
from tempzero.config import Provider
from tempzero.engines import open_batch_results, open_handed_reader
from tempzero.errors import UsageError
from tempzero.reading.references import EndpointReference, LogprobsEndpoint
from tempzero.reading.scorer import Scorer
from tempzero.reading.shards import Shard
from tempzero.records.files import write_atomically
from tempzero.types.scored import BatchForm

_EVERYTHING = Shard(number=1, of=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadingPlan:
    """What is to be read by one reference."""

    reference: str
    model: str
    requests: int
    tokens: int


def plan_readings(
    path: Path,
    file: Path,
    *,
    results: Sequence[Path] = (),
    shard: Shard | None = None,
    form: BatchForm = "chat",
    say: Callable[[str], None],
) -> tuple[ReadingPlan, ...]:
    """Write the requests for all that `results` do not tell yet, and nothing into the run.

    Raises UsageError, and EngineError where a reference's readings cannot be handed over.
    """
    run = records.open_run(path)
    told = open_batch_results(results)
    plans: list[ReadingPlan] = []
    lines: list[bytes] = []
    for provider in _list_readers(run):
        reader = open_handed_reader(provider, told)
        _read_once(run, provider, reader, shard or _EVERYTHING)
        lines += reader.list_batch_lines(form)
        tokens = sum(map(len, reader.wanted.values()))
        plans.append(
            ReadingPlan(reference=provider.name, model=provider.model, requests=len(reader.wanted), tokens=tokens)
        )
    for line in told.describe_problems():
        say(line)
    try:
        write_atomically(file, b"".join(lines))
    except OSError as error:
        raise UsageError(f"{file}: cannot be written: {error.strerror}") from None
    return tuple(plans)


def take_readings(path: Path, results: Sequence[Path], *, watcher: Watcher) -> None:
    """Write the run's scores as the results tell them, all of them or nothing. Raises UsageError and EngineError."""
    run = records.open_run(path)
    told = open_batch_results(results)
    readers = [(p, open_handed_reader(p, told)) for p in _list_readers(run)]
    for provider, reader in readers:
        _read_once(run, provider, reader, _EVERYTHING)
    for line in told.describe_problems():
        watcher.say(line)
    missing = sum(len(r.wanted) for _, r in readers)
    if missing or not any(r.found for _, r in readers):
        raise UsageError(
            f"{path}: {missing} readings are not in {', '.join(map(str, results))}; the same command with "
            "`--plan FILE` writes what is left to read"
        )
    with records.open_score_writer(path) as writer:
        for provider, reader in readers:
            scorer = Scorer(run, provider.name, EndpointReference(reader), writer.append)
            scorer.read_responses(functools.partial(watcher.read, provider.name))


def _list_readers(run: records.Run) -> list[Provider]:
    """The references whose readings can be handed over. Raises UsageError where there are none."""
    skipped = {s.provider for s in run.manifest.skipped}
    readers = [run.config.provider(name) for name in run.config.run.references if name not in skipped]
    readers = [p for p in readers if p.reads is not None]
    if not readers:
        raise UsageError(f"{run.path}: no reference took part whose readings can be handed over: one with reads: vllm")
    return readers


def _read_once(run: records.Run, provider: Provider, reader: LogprobsEndpoint, shard: Shard) -> None:
    """As if everything was there, for the reader to find out what is not; no line is kept."""
    scorer = Scorer(run, provider.name, EndpointReference(reader), lambda line: None)
    scorer.read_responses(lambda done, of: None, holds=shard.holds)
