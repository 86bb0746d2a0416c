"""A recorded run answers for its provider."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from making import make_attempt, make_config, make_run, make_suite, make_trial
from tempzero import config
from tempzero.engines import Engine, open_engine
from tempzero.errors import EngineError, RunFolderError
from tempzero.types.asked import Message, Question, Trial
from tempzero.types.recorded import Attempt, Exchange


def replaying(run: Path, provider: str = "a") -> Engine:
    entry: dict[str, Any] = {"name": "again", "replay": {"run": str(run), "provider": provider}}
    settings = config.parse_config({"version": 1, "providers": [entry]}, source="test")
    return open_engine(settings.providers[0], environ={})


def recorded(folder: Path, *attempts: Attempt) -> Path:
    return make_run(folder, make_config(), make_suite(), attempts)


def question(prompt: int = 0, repeat: int = 0, text: str | None = None) -> Question:
    sampling = make_config().providers[0].sampling()
    message = Message(role="user", content=text or f"question {prompt}")
    trial = Trial(provider="again", prompt=f"p{prompt}", condition="default", repeat=repeat)
    return Question(trial=trial, messages=(message,), sampling=sampling)


def asked(engine: Engine, one: Question) -> Exchange:
    return asyncio.run(engine.ask(one))


def test_each_trial_is_answered_with_its_own_recorded_bytes(tmp_path: Path) -> None:
    """A replay is evidence looked at again: the same repeat gives the same bytes."""
    attempts = [make_attempt(make_trial("a", "p0", repeat), f"answer {repeat}") for repeat in (0, 1)]
    engine = replaying(recorded(tmp_path, *attempts, make_attempt(make_trial("b", "p0", 0), "of another")))
    assert [asked(engine, question(0, repeat)) for repeat in (0, 1)] == [a.exchange for a in attempts]


def test_what_ended_the_trial_answers_and_is_not_retried(tmp_path: Path) -> None:
    """The waits and retries of that day are over; their outcome stands."""
    trial, lost = make_trial("a", "p0"), make_trial("a", "p1")
    engine = replaying(
        recorded(
            tmp_path,
            make_attempt(trial, None, number=1, kind="server"),
            make_attempt(trial, "yes", number=2),
            make_attempt(lost, None, kind="rate_limited"),
        )
    )
    assert asked(engine, question(0)).outcome.kind == "complete"
    outcome = asked(engine, question(1)).outcome
    assert (outcome.kind, outcome.retry, outcome.retry_after_s) == ("rate_limited", "never", None)


@pytest.mark.parametrize("one", [question(1), question(0, repeat=5), question(0, text="another question")])
def test_what_was_not_recorded_is_missing(tmp_path: Path, one: Question) -> None:
    """An answer to other words under the same prompt id would be somebody else's answer."""
    engine = replaying(recorded(tmp_path, make_attempt(make_trial("a", "p0"))))
    exchange = asked(engine, one)
    assert (exchange.outcome.status, exchange.outcome.kind) == ("missing", "not_recorded")
    assert exchange.response is None


def test_it_says_whose_answers_they_are(tmp_path: Path) -> None:
    """A report must not show a replay as a provider asked today."""
    engine = replaying(recorded(tmp_path, make_attempt(make_trial("a", "p0"))))
    assert engine.describe() == {"engine": "replay", "run": "run", "provider": "a", "trials": 1}


def test_a_run_or_provider_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    """Before anything else of the run is paid for."""
    with pytest.raises(RunFolderError, match="nowhere"):
        replaying(tmp_path / "nowhere")
    path = recorded(tmp_path, make_attempt(make_trial("a", "p0")))
    with pytest.raises(EngineError, match='"z"'):
        replaying(path, "z")
