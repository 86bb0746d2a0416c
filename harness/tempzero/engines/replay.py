"""A recorded run in, its answers out again, as if the provider were asked now: no network, no cost."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tempzero.answers.chat_messages import wire_message, wire_tools
from tempzero.canonical_json import to_canonical_json
from tempzero.config import Provider
from tempzero.engines.hosted.fault_catalogue import missing_outcome
from tempzero.errors import EngineError
from tempzero.records import open_run
from tempzero.types.asked import Message, Question
from tempzero.types.recorded import Exchange, Times, WireRequest


class ReplayEngine:
    """Answers each trial with what ended the same prompt and repeat in the recorded run.

    A question whose messages are not the recorded ones is answered `not_recorded`: the same prompt id
    over another text would be somebody else's answer. The same words under another id are the same question: so an
    official run that another tool recorded stands beside endpoints that are asked the same file.
    """

    def __init__(self, run: Path, provider: str) -> None:
        recorded = open_run(run)
        self._provider = provider
        self._run_id = recorded.manifest.run_id
        self._asked = {p.id: (p.messages, p.tools, p.tool_choice) for p in recorded.manifest.suite.prompts}
        self._by_words: dict[str, str] = {}
        for prompt in recorded.manifest.suite.prompts:
            self._by_words.setdefault(_write_words(prompt.messages, prompt.tools), prompt.id)
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
        messages = question.script or question.messages
        asked = (messages, question.tools, question.tool_choice)
        same = self._asked.get(trial.prompt) == asked
        name = trial.prompt if same else self._by_words.get(_write_words(messages, question.tools))
        exchange = None if name is None else self._last.get((name, trial.condition, trial.repeat))
        if exchange is None or (name == trial.prompt and not same):
            return _unrecorded_exchange(question)
        return replace(exchange, outcome=replace(exchange.outcome, retry="never", retry_after_s=None))

    async def aclose(self) -> None:
        """Nothing is held open."""


def _write_words(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> str:
    """What was asked, as one text."""
    return to_canonical_json({"messages": [wire_message(m) for m in messages], "tools": list(tools)})


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
