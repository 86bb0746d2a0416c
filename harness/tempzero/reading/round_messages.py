"""A run in, the messages that each round of a conversation was really asked with out, from the recorded requests."""

from __future__ import annotations

from tempzero.answers.chat_messages import read_request_messages
from tempzero.records import Run
from tempzero.types.asked import Message, Trial


def read_round_messages(run: Run) -> dict[Trial, tuple[Message, ...]]:
    """By trial, for rounds behind the first; nothing where the run holds no conversation."""
    behind = {p.id for p in run.manifest.suite.prompts if p.round is not None and p.round.turns}
    found: dict[Trial, tuple[Message, ...]] = {}
    for record in run.records() if behind else ():
        trial = record.attempt.trial
        if trial.prompt in behind and trial not in found:
            found[trial] = read_request_messages(record.attempt.exchange.request.body)
    return found
