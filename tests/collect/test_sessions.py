"""Several sessions: each repeat in its own, with connections of its own, and the tests exchange whole sessions."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from loopback import Call, Loopback, Reply, completion_value, value
from tempzero.cli import main
from tempzero.config import RunSection


@pytest.mark.parametrize(
    ("repeats", "sessions", "expected"),
    [(4, 2, [0, 0, 1, 1]), (4, 4, [0, 1, 2, 3]), (2, 4, [0, 1]), (5, 2, [0, 0, 0, 1, 1]), (3, 1, [0, 0, 0])],
)
def test_repeats_are_dealt_to_sessions_in_order(repeats: int, sessions: int, expected: list[int]) -> None:
    """Which session a repeat belongs to follows from the configuration alone, so that analysis needs no more."""
    run = RunSection(sessions=sessions)
    assert [run.session_of(r, repeats) for r in range(repeats)] == expected


@pytest.mark.parametrize("sessions", [1, 2, 3])
def test_each_session_asks_over_connections_of_its_own(tmp_path: Path, sessions: int) -> None:
    """A router that binds a connection to a machine is met anew in each session."""
    asked: list[str] = []

    def reply(call: Call) -> Reply:
        asked.append(call.prompt)
        return value(completion_value("x"))

    prompts = [{"id": f"p{i}", "prompt": f"question {i}"} for i in range(3)]
    (tmp_path / "prompts.yaml").write_text(yaml.safe_dump({"family": "t", "prompts": prompts}))
    with Loopback(reply) as server:
        settings = {
            "version": 1,
            "run": {"prompts": "prompts.yaml", "sessions": sessions, "session_gap_s": 0},
            "providers": [{"name": "a", "base_url": server.base_url, "model": "m", "repeats": 3, "max_tokens": 9}],
        }
        (tmp_path / "providers.yaml").write_text(yaml.safe_dump(settings))
        main(["run", "--config", str(tmp_path / "providers.yaml"), "--no-check"])
        assert server.connections_made == sessions
    assert len(asked) == 9
    assert all(len(set(asked[i : i + 3])) == 3 for i in (0, 3, 6)), "a session asks its repeat of every prompt"
