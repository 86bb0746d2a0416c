"""The same text read twice by one server in, how far apart the two readings are out: a line of the scores.

A server that batches adds up in another order when it reads among others, and so rounds otherwise: its own noise, which
is nobody else's. It goes where that of other honest forms goes.
"""

from __future__ import annotations

import queue
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tempzero.metrics.decoding import ReportedToken
from tempzero.reading.references import EndpointReference
from tempzero.reading.response_scores import round_values
from tempzero.types.asked import Trial
from tempzero.types.scored import FormReading, RepeatedForm

PromptAndTokens = tuple[tuple[int, ...], tuple[int, ...]]


def ask_together(
    readers: Sequence[EndpointReference], asked: Sequence[PromptAndTokens]
) -> list[Sequence[ReportedToken]]:
    """What they tell of all these texts, each reader busy with one at a time. Raises EngineError."""
    idle: queue.SimpleQueue[EndpointReference] = queue.SimpleQueue()
    for reader in readers:
        idle.put(reader)

    def read(text: PromptAndTokens) -> Sequence[ReportedToken]:
        reader = idle.get()
        try:
            return reader.ask_tokens(*text, ended=False)
        finally:
            idle.put(reader)

    with ThreadPoolExecutor(max_workers=len(readers), thread_name_prefix="again") as pool:
        return list(pool.map(read, asked))


def build_repeated_reading(
    reference: str, name: RepeatedForm, trial: Trial, first: Sequence[ReportedToken], second: Sequence[ReportedToken]
) -> FormReading:
    """A token that one of the two does not show is taken to stand as low as the lowest that it shows."""
    changes, margins = [], []
    for here, there in zip(first, second, strict=True):
        (best, at_best), (other, at_other), *_ = here.rivals
        changes.append(abs((at_best - at_other) - (_look_up(there, best) - _look_up(there, other))))
        margins.append(max(0.0, here.logprob + here.margin - _look_up(here, there.top1_id)))
    return FormReading(
        reference=reference,
        form=name,
        honest=True,
        trial=trial,
        gap_change=round_values(changes),
        margin=round_values(margins),
        rounded=(),
    )


def _look_up(told: ReportedToken, token: int) -> float:
    """The log-probability of a token among those that are shown."""
    shown = dict(told.rivals) | {told.token_id: told.logprob}
    return shown.get(token, min(shown.values()))
