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
    if any(_is_same_file(file, one) for one in results):
        raise UsageError(f"{file}: holds results that are to be taken, so no plan is written over it")
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
    missing, files = sum(len(r.wanted) for _, r in readers), ", ".join(map(str, results))
    if missing:
        raise UsageError(
            f"{path}: {missing} readings are not in {files}; the same command with `--plan FILE` writes what is left "
            "to read"
        )
    if not any(r.found for _, r in readers):
        refusal = next((r.refusal for _, r in readers if r.refusal), None)
        raise UsageError(f"{path}: nothing of {files} is taken: {refusal or 'its responses have been read before'}")
    with records.open_score_writer(path) as writer:
        for provider, reader in readers:
            scorer = Scorer(run, provider.name, EndpointReference(reader), writer.append)
            scorer.read_responses(functools.partial(watcher.read, provider.name))


def _list_readers(run: records.Run) -> list[Provider]:
    """The references whose readings can be handed over. Raises UsageError where there are none, or two are one model:
    a result names no more than that.
    """
    skipped = {s.provider for s in run.manifest.skipped}
    readers = [run.config.provider(name) for name in run.config.run.references if name not in skipped]
    readers = [p for p in readers if p.reads is not None]
    if not readers:
        raise UsageError(f"{run.path}: no reference took part whose readings can be handed over: one with reads: vllm")
    for at, provider in enumerate(readers):
        for other in readers[:at]:
            if other.model == provider.model:
                raise UsageError(
                    f"{run.path}: {other.name} and {provider.name} both read as the model {provider.model}, by which "
                    "alone results are told apart; hand over a run with one of them as its reference"
                )
    return readers


def _is_same_file(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)


def _read_once(run: records.Run, provider: Provider, reader: LogprobsEndpoint, shard: Shard) -> None:
    """As if everything was there, for the reader to find out what is not; no line is kept."""
    scorer = Scorer(run, provider.name, EndpointReference(reader), lambda line: None)
    scorer.read_responses(lambda done, of: None, holds=shard.holds)
