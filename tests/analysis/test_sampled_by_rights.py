"""Hosts that are asked without temperature 0: what they draw is theirs by rights, told with its size: no finding."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from loopback import Call, Loopback, Reply, completion, error
from tempzero.cli import main


def run(folder: Path, answer: Any, *, check: bool = False, **entry: Any) -> tuple[int, Any, str]:
    prompts = [{"id": f"p{n}", "prompt": f"question {n}"} for n in range(6)]
    (folder / "p.yaml").write_text(yaml.safe_dump({"family": "t", "prompts": prompts}))
    conditions = entry.pop("conditions", [])
    with Loopback(answer) as server:
        provider = {"name": "a", "base_url": server.base_url, "model": "m", "repeats": 3, **entry}
        settings = {"version": 1, "run": {"prompts": "p.yaml"}, "providers": [provider], "conditions": conditions}
        (folder / "providers.yaml").write_text(yaml.safe_dump(settings))
        code = main(["run", "--config", str(folder / "providers.yaml"), *([] if check else ["--no-check"])])
    found = next((folder / "results").iterdir())
    return code, json.loads((found / "summary.json").read_text()), (found / "report.md").read_text()


def drawn() -> Any:
    counted = itertools.count()
    return lambda call: completion(f"answer {next(counted)}")


def rules(summary: Any) -> set[str]:
    return {finding["rule"] for finding in summary["findings"]}


def test_without_a_temperature_other_answers_are_no_finding(tmp_path: Path) -> None:
    """Reasoning models refuse one: an honest host of theirs was accused of what it was never asked not to do."""
    _, summary, report = run(tmp_path, drawn(), temperature=None)
    assert "nondeterministic" not in rules(summary)
    assert "its repeats differ on 6 of 6 prompts, and that is no finding" in report
    assert "none was sent: it refuses one" in report


def test_at_temperature_0_they_are(tmp_path: Path) -> None:
    """The same host asked for its likeliest token."""
    _, summary, _ = run(tmp_path, drawn())
    assert "nondeterministic" in rules(summary)


@pytest.mark.parametrize(("temperature", "found"), [(1, False), (0, True), (None, False)])
def test_a_condition_s_temperature_counts(tmp_path: Path, temperature: Any, found: bool) -> None:
    """What was sent decides, whichever of provider and condition said it."""
    conditions = [{"name": "c", "request": {"temperature": temperature}}]
    _, summary, _ = run(tmp_path, drawn(), conditions=conditions)
    assert ("nondeterministic" in rules(summary)) == found


def test_a_temperature_that_is_refused_is_left_out_and_that_is_said(tmp_path: Path) -> None:
    """Learned by the check before the run, where `may_drop` allows it: the run goes on, and the report says how."""

    def answer(call: Call) -> Reply:
        if "temperature" in call.json:
            return error(400, "Unsupported value: 'temperature' does not support 0 with this model.")
        return completion("yes")

    code, _, report = run(tmp_path, answer, check=True, may_drop=["temperature"])
    assert code in (0, 3)
    assert "it refuses temperature; asked without, as may_drop allows" in report
    assert "asked without temperature 0" in report


def test_blanks_beside_think_tags_are_no_difference(tmp_path: Path) -> None:
    """One host leaves them where it cuts, another takes them away; so did a real llama.cpp and its own weights here."""
    prompts = [{"id": f"p{n}", "prompt": f"question {n}"} for n in range(6)]
    (tmp_path / "p.yaml").write_text(yaml.safe_dump({"family": "t", "prompts": prompts}))

    def thinking(thought: str, text: str) -> Loopback:
        return Loopback(lambda call: completion(text, message={"reasoning_content": thought}))

    leaves, takes = thinking("\nhm\n", "\n\nyes"), thinking("hm", "yes")
    with leaves, takes:
        hosts = (("leaves", leaves), ("takes", takes))
        entries = [{"name": n, "base_url": s.base_url, "model": "m", "repeats": 2} for n, s in hosts]
        settings = {"version": 1, "run": {"prompts": "p.yaml"}, "providers": entries}
        (tmp_path / "providers.yaml").write_text(yaml.safe_dump(settings))
        main(["run", "--config", str(tmp_path / "providers.yaml"), "--no-check"])
    summary = json.loads((next((tmp_path / "results").iterdir()) / "summary.json").read_text())
    same = {f["part"]: f["value"] for f in summary["figures"] if f["metric"] == "cross_emr" and f["family"] is None}
    assert same["whole"] == same["reasoning"] == same["text"] == 1.0
