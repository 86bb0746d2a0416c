"""A recorded run in, its answers out again, as if the provider were asked now: no network, no cost."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tempzero.answers.chat_messages import wire_message, wire_tools
from tempzero.config import Provider
from tempzero.engines.hosted.fault_catalogue import missing_outcome
from tempzero.errors import EngineError
from tempzero.records import open_run
from tempzero.types.asked import Question
from tempzero.types.recorded import Exchange, Times, WireRequest


class ReplayEngine:
    """Answers each trial with what ended the same prompt and repeat in the recorded run.

    A question whose messages are not the recorded ones is answered `not_recorded`: the same prompt id
    over another text would be somebody else's answer.
    """

    def __init__(self, run: Path, provider: str) -> None:
        recorded = open_run(run)
        self._provider = provider
        self._run_id = recorded.manifest.run_id
        self._asked = {p.id: (p.messages, p.tools, p.tool_choice) for p in recorded.manifest.suite.prompts}
        self._last: dict[tuple[str, str, int], Exchange] = {}
        for record in recorded.records():
            trial = record.attempt.trial
            if trial.provider == provider:
                self._last[trial.prompt, trial.condition, trial.repeat] = record.attempt.exchange
        if not self._last:
            raise EngineError(f'{run}: holds no record of a provider called "{provider}"')

    def describe(self) -> Mapping[str, Any]:
        """Whose answers these really are."""
        return {"engine": "replay", "run": self._run_id, "provider": self._provider, "trials": len(self._last)}

    async def ask(self, question: Question) -> Exchange:
        """The recorded exchange, its bytes and times as they were then. It settles the trial: no retry."""
        trial = question.trial
        exchange = self._last.get((trial.prompt, trial.condition, trial.repeat))
        asked = (question.script or question.messages, question.tools, question.tool_choice)
        if exchange is None or self._asked.get(trial.prompt) != asked:
            return _unrecorded_exchange(question)
        return replace(exchange, outcome=replace(exchange.outcome, retry="never", retry_after_s=None))

    async def aclose(self) -> None:
        """Nothing is held open."""


def open_replay_engine(provider: Provider) -> ReplayEngine:
    """The engine of a `replay:` provider. Raises RunFolderError, or EngineError where nothing fits."""
    if provider.replay is None:
        raise EngineError(f"{provider.name}: names no run to replay")
    return ReplayEngine(Path(provider.replay.run), provider.replay.provider)


def _unrecorded_exchange(question: Question) -> Exchange:
    asked = {
        "messages": [wire_message(m) for m in question.messages],
        **wire_tools(question.tools, question.tool_choice),
    }
    body = json.dumps(asked, ensure_ascii=False, separators=(",", ":"))
    return Exchange(
        request=WireRequest(
            method="POST", url="local:replay", headers=(), body=body, sha256=hashlib.sha256(body.encode()).hexdigest()
        ),
        response=None,
        times=Times(started_at=datetime.now(UTC).isoformat(), first_byte_s=None, end_s=0.0, in_flight=1),
        outcome=missing_outcome("not_recorded", "the recorded run holds no answer to this prompt and repeat"),
    )
