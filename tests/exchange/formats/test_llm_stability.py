"""Run files of llm-stability."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from exchanging import keys_and_texts, take_in, views, write_csv


def line(
    run: int, rubric: int, response: str, *, model: str = "gpt", task: str = "navigate", **config: Any
) -> dict[str, Any]:
    settings = {"temperature": 0.0, "seed": 12, "top_p_k": 0.0, **config}
    return {
        "": rubric,
        "model": model,
        "model_config": json.dumps(settings),
        "task": task,
        "task_config": json.dumps({"prompt_type": "v2", "shots": "few"}),
        "rubric": json.dumps({"input": f"{task} {rubric}", "target": "(A)"}),
        "rubric_id": rubric,
        "question": f"{task} {rubric}",
        "gt": "(A)",
        "prompt": json.dumps([{"role": "user", "content": f"{task} {rubric}"}]),
        "run": run,
        "response": response,
        "date": "2024-12-20_19-52-06",
    }


def test_runs_are_repeats_and_settings_conditions(tmp_path: Path) -> None:
    """A condition says what differs from the tool's defaults; the number of the question is no setting."""
    for run in (1, 0):
        rows = [line(run, r, f"{r} {run}", rubric_counter=r) for r in (0, 1)]
        write_csv(tmp_path / f"a-{run}.csv", rows)
        write_csv(tmp_path / f"b-{run}.csv", [line(run, 0, "warm", temperature=0.7)])
    run_ = take_in(tmp_path)
    assert keys_and_texts(run_) == {
        ("gpt", "navigate:v2:few:0", "navigate shots=few", 0): "0 0",
        ("gpt", "navigate:v2:few:0", "navigate shots=few", 1): "0 1",
        ("gpt", "navigate:v2:few:1", "navigate shots=few", 0): "1 0",
        ("gpt", "navigate:v2:few:1", "navigate shots=few", 1): "1 1",
        ("gpt", "navigate:v2:few:0", "navigate shots=few temperature=0.7", 0): "warm",
        ("gpt", "navigate:v2:few:0", "navigate shots=few temperature=0.7", 1): "warm",
    }
    prompt = run_.manifest.suite.prompts[0]
    assert (prompt.family, prompt.expected, prompt.messages[0].content) == ("navigate", "(A)", "navigate 0")
    assert run_.config.providers[0].temperature is None  # it had two
    assert views(run_)[0].times.started_at == "2024-12-20T19:52:06"


def test_its_stored_failures_are_missing(tmp_path: Path) -> None:
    """The tool writes "LLM Error" where the answer stands."""
    write_csv(tmp_path / "x.csv", [line(0, 0, "LLM Error"), line(0, 1, "")])
    write_csv(tmp_path / "y.csv", [line(1, 0, "fine"), line(1, 1, "fine")])
    for as_is in (False, True):
        found = views(take_in(tmp_path, as_is=as_is))
        assert [v.outcome.status for v in found] == ["missing", "missing", "valid", "valid"]


def test_a_users_mapping_goes_before_the_formats(tmp_path: Path) -> None:
    """What the format takes for a condition may be none to the user."""
    write_csv(tmp_path / "x.csv", [line(0, 0, "a")])
    assert {v.trial.condition for v in views(take_in(tmp_path, "condition=date"))} == {"2024-12-20_19-52-06"}
