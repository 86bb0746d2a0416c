"""Closed loops: the model's own answers go back to it, round by round, and it is told in which round two part."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from loopback import Call, Loopback, Reply, completion_value, error, value
from tempzero import suites
from tempzero.analysis import analyse
from tempzero.cli import main
from tempzero.errors import SuiteError
from tempzero.nightly.history.condensing import condense_run
from tempzero.records import open_run

WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
TALK = {"id": "talk", "prompt": "one", "rounds": ["two", "three", "four"]}
TRIP = {
    "id": "trip",
    "prompt": "weather?",
    "tools": [WEATHER],
    "results": {"weather": "rain"},
    "rounds": [{"otherwise": "use the tool"}, "thanks"],
}
Message = dict[str, Any]


def users(asked: Sequence[Message]) -> list[str]:
    return [message["content"] for message in asked if message["role"] == "user"]


class Host:
    """Says what follows from the conversation alone; from `parts_at` on in rounds of talk, something else."""

    def __init__(self, *, parts_at: int | None = None, fails_at: str | None = None, **thought: Any) -> None:
        self.parts_at, self.fails_at, self.thought = parts_at, fails_at, thought
        self.ids = random.Random(7)

    def __call__(self, call: Call) -> Reply:
        messages = call.json["messages"]
        if users(messages)[-1] == self.fails_at:
            return error(400, "no")
        if users(messages) == ["weather?"] and messages[-1]["role"] == "user":
            drawn = "".join(self.ids.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=24))
            called = {"name": "weather", "arguments": '{"city":"Oslo"}'}
            calls = [{"id": f"call_{drawn}", "type": "function", "function": called}]
            return self.reply({"content": None, "tool_calls": calls}, "tool_calls")
        said = [m.get("content") for m in messages if m["role"] == "assistant"]
        new = self.parts_at is not None and len(users(messages)) >= self.parts_at and users(messages)[0] == "one"
        text = f"{'New' if new else 'Old'} answer to {messages[-1]['content']} behind {len(said)}"
        return self.reply({"content": text}, "stop")

    def reply(self, message: Message, reason: str) -> Reply:
        choice = {"index": 0, "message": {"role": "assistant", **message, **self.thought}, "finish_reason": reason}
        return value(completion_value(choices=[choice]))


def write_setting(folder: Path, hosts: dict[str, str], prompts: Sequence[Any], **fields: Any) -> Path:
    (folder / "p.yaml").write_text(yaml.safe_dump({"family": "t", "prompts": list(prompts)}))
    entries = [{"name": name, "base_url": url, "model": "m", **fields} for name, url in hosts.items()]
    settings = {"version": 1, "run": {"prompts": "p.yaml"}, "defaults": {"repeats": 3}, "providers": entries}
    file = folder / "providers.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


def run(file: Path, *more: str) -> Path:
    main(["run", "--config", str(file), "--no-check", *more])
    return sorted((file.parent / "results").iterdir())[-1]


def by_round(server: Loopback, first: str, model: str = "m") -> dict[int, list[list[Message]]]:
    """The messages of every request of one conversation, by the number of the round."""
    found: dict[int, list[list[Message]]] = {}
    for call in (call for call in server.calls if call.model == model):
        messages = call.json["messages"]
        if users(messages)[0] == first:
            number = 1 + sum(message["role"] == "assistant" for message in messages)
            found.setdefault(number, []).append(messages)
    return found


def test_its_own_answers_go_back_to_a_model_with_the_results_of_its_calls(tmp_path: Path) -> None:
    """Calls get the scripted result under one id in every repeat, though the host draws another id each time."""
    with Loopback(Host()) as server:
        folder = run(write_setting(tmp_path, {"a": server.base_url}, [TALK, TRIP]))
    talk, trip = by_round(server, "one"), by_round(server, "weather?")
    assert {number: len(asked) for number, asked in talk.items()} == {1: 3, 2: 3, 3: 3, 4: 3}
    assert [m["content"] for m in talk[3][0]] == [
        "one",
        "Old answer to one behind 0",
        "two",
        "Old answer to two behind 1",
        "three",
    ]
    called = [asked[1]["tool_calls"][0]["id"] for asked in trip[2]]
    assert called == ["call_" + "0" * 23 + "1"] * 3
    assert trip[2][0][2:] == [{"role": "tool", "content": "rain", "tool_call_id": called[0]}]
    assert [m["role"] for m in trip[3][0]] == ["user", "assistant", "tool", "assistant", "user"]
    views = list(open_run(folder).views())
    assert len({(v.trial.prompt, v.request_sha256) for v in views}) == 7
    summary = json.loads((folder / "summary.json").read_text())
    assert [c["first_round"] for c in summary["conversations"]] == [None]
    assert main(["verify", str(folder)]) == 0


def test_the_user_speaks_in_the_place_of_a_call_that_was_not_made(tmp_path: Path) -> None:
    """A model that calls nothing must be asked something: a message of a tool without a call is refused everywhere."""
    with Loopback(lambda call: value(completion_value("no idea"))) as server:
        run(write_setting(tmp_path, {"a": server.base_url}, [TRIP]))
    assert users(by_round(server, "weather?")[2][0]) == ["weather?", "use the tool"]


def test_the_round_in_which_two_providers_part_is_told(tmp_path: Path) -> None:
    """A difference of round 3 is no difference of round 4 again: what follows it answers other questions."""
    with Loopback(Host()) as one, Loopback(Host(parts_at=3)) as other:
        folder = run(write_setting(tmp_path, {"a": one.base_url, "b": other.base_url}, [{**TALK, "id": "talk0"}]))
    summary = json.loads((folder / "summary.json").read_text())
    pair = next(c for c in summary["conversations"] if c["right"])
    assert (pair["left"], pair["right"], pair["first_round"], pair["first_conversation"]) == ("a", "b", 3, "talk0")
    assert pair["shares"] == [1, 1, 0, 0]
    assert pair["floors"] == [1, 1, 1, 1]
    assert pair["p_value"] == pytest.approx(0.1, abs=0.03)  # one way of ten to share three and three out
    rows = [r for r in summary["figures"] if (r["kind"], r["metric"], r["family"]) == ("cross", "cross_emr", None)]
    assert [(r["n"], round(r["value"], 3)) for r in rows] == [(3, round(2 / 3, 3))]  # no round 4 in common
    report = (folder / "report.md").read_text()
    assert "| a and b | in round 3, talk0 | 1.00 | 1.00 | 0.00 | 0.00 |" in report


def test_repeats_that_part_are_compared_up_to_there(tmp_path: Path) -> None:
    """Of a provider that wavers once, the round in which it did is counted, and nothing behind it."""
    turns = itertools.count()
    steady = Host()

    def answer(call: Call) -> Reply:
        if users(call.json["messages"])[-1] == "two" and next(turns) == 0:
            return value(completion_value("something else"))
        return steady(call)

    with Loopback(answer) as server:
        folder = run(write_setting(tmp_path, {"a": server.base_url}, [TALK]))
    summary = json.loads((folder / "summary.json").read_text())
    (own,) = summary["conversations"]
    assert own["first_round"] == 2
    assert [round(share, 3) for share in own["shares"]] == [1, 0.333, 0.333, 0.333]
    (found,) = [f for f in summary["findings"] if f["rule"] == "nondeterministic"]
    assert {t["prompt"] for t in found["evidence"]} == {"talk.2"}
    coverage = next(f for f in summary["figures"] if f["metric"] == "coverage" and f["family"] is None)
    assert coverage["value"] == 1
    rows = (folder / "tables" / "prompts.csv").read_text()
    assert "talk.3 (way 2)" in rows  # what the other two of them were asked
    assert main(["export", str(folder), str(tmp_path / "tidy.jsonl"), "--format", "jsonl"]) == 0
    exported = [json.loads(line) for line in (tmp_path / "tidy.jsonl").read_text().splitlines()]
    thirds = {row["prompt"] for row in exported if row["prompt_id"] == "talk.3"}
    assert len(thirds) == 2
    assert all('"role": "assistant"' in asked for asked in thirds)
    (side,) = condense_run(open_run(folder), analyse(open_run(folder)))
    assert len([question for question in side.texts if question.startswith("talk.3#")]) == 2  # a night knows them apart
    assert (side.planned, side.answered) == (12, 12)
    claim = tmp_path / "claim"
    assert main(["claim", str(folder), "--rule", "nondeterministic", "--provider", "a", "--out", str(claim)]) == 0
    assert main(["verify", str(claim)]) == 0


def test_a_killed_conversation_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """The answers of the first sitting are read out of the records: nothing answered is asked again."""
    with Loopback(Host(reasoning_content="hm")) as server:
        returned = {"reasoning": {"returned": "always"}}
        file = write_setting(tmp_path, {"a": server.base_url}, [TALK, TRIP], **returned)
        folder = run(file, "--max-requests", "8")
        assert len(server.calls) == 8
        main(["run", "--resume", str(folder), "--no-check"])
        assert len(server.calls) == 21
        talk, trip = by_round(server, "one"), by_round(server, "weather?")
    assert all(m["reasoning_content"] == "hm" for a in (*talk[4], *trip[3]) for m in a if m["role"] == "assistant")
    assert {len(asked) for asked in (*talk.values(), *trip.values())} == {3}
    assert len({json.dumps(asked) for asked in talk[4]}) == 1


def test_no_round_is_asked_behind_one_that_failed(tmp_path: Path) -> None:
    """A history with a hole would be another conversation; the rounds behind it are missing, and counted so."""
    with Loopback(Host(fails_at="three")) as server:
        folder = run(write_setting(tmp_path, {"a": server.base_url}, [TALK]))
    assert max(by_round(server, "one")) == 3
    summary = json.loads((folder / "summary.json").read_text())
    asked = {f["kind"]: f["count"] for f in summary["failures"]}
    assert asked["not_asked"] == 3


DETAILS = [{"type": "reasoning.text", "text": "hm", "signature": "x", "index": 0}]
PARTS = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "y"}]
GIVEN: dict[str, tuple[dict[str, Any], Callable[[Message], Any]]] = {
    "reasoning_content": ({"reasoning_content": "hm"}, lambda m: m.get("reasoning_content") == "hm"),
    "reasoning": ({"reasoning": "hm"}, lambda m: m.get("reasoning") == "hm"),
    "reasoning_details": (
        {"reasoning": "hm", "reasoning_details": DETAILS},
        lambda m: m.get("reasoning_details") == DETAILS and "reasoning" not in m,
    ),
    "think": ({"content": "<think>hm</think>yes"}, lambda m: m["content"] == "<think>hm</think>yes"),
    "parts": (
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                {"type": "text", "text": "y"},
            ]
        },
        lambda m: m["content"] == PARTS,
    ),
}


@pytest.mark.parametrize("form", GIVEN)
def test_reasoning_goes_back_as_the_api_wants_it(form: str, tmp_path: Path) -> None:
    """In the very field and form it came in, or not at all; with calls for good, and only with them."""
    thought, is_returned = GIVEN[form]
    with Loopback(Host(**thought)) as server:
        file = write_setting(tmp_path, {}, [TALK, TRIP])
        modes = ("never", "with_calls", "always")
        whole = yaml.safe_load(file.read_text())
        whole["providers"] = [
            {"name": kept, "base_url": server.base_url, "model": kept, "repeats": 1, "reasoning": {"returned": kept}}
            for kept in modes
        ]
        file.write_text(yaml.safe_dump(whole))
        run(file)
    for kept in modes:
        talk, trip = by_round(server, "one", kept), by_round(server, "weather?", kept)
        assert is_returned(talk[2][0][1]) == (kept == "always")
        assert is_returned(trip[2][0][1]) == (kept != "never")
        assert [is_returned(trip[3][0][at]) for at in (1, 3)] == [kept != "never"] * 2


@pytest.mark.parametrize("odd", [float("nan"), "\ud800"])
def test_what_no_request_can_carry_does_not_go_back(odd: Any, tmp_path: Path) -> None:
    """A host may put anything beside its reasoning; its next round is asked all the same."""
    pieces = [{"type": "reasoning.text", "text": "hm", "more": odd}]
    with Loopback(Host(reasoning="hm", reasoning_details=pieces)) as server:
        returned = {"reasoning": {"returned": "always"}, "repeats": 1}
        run(write_setting(tmp_path, {"a": server.base_url}, [TALK], **returned))
    asked = by_round(server, "one")
    assert max(asked) == 4
    assert asked[2][0][1]["reasoning_content"] == "hm"


def test_a_recorded_conversation_is_replayed(tmp_path: Path) -> None:
    """Replayed answers are the history of replayed rounds, so that every round is found again."""
    with Loopback(Host()) as server:
        first = run(write_setting(tmp_path, {"a": server.base_url}, [TALK, TRIP]))
    entry = {"name": "again", "replay": {"run": str(first), "provider": "a"}}
    settings = {"version": 1, "run": {"prompts": "p.yaml"}, "defaults": {"repeats": 3}, "providers": [entry]}
    (tmp_path / "providers.yaml").write_text(yaml.safe_dump(settings))
    again = run(tmp_path / "providers.yaml")
    assert [v.outcome.status for v in open_run(again).views()] == ["valid"] * 21


def test_a_limit_of_prompts_asks_whole_conversations(tmp_path: Path) -> None:
    """Half of a conversation has no history to stand on."""
    with Loopback(Host()) as server:
        file = write_setting(tmp_path, {"a": server.base_url}, [TALK, {**TALK, "id": "more", "prompt": "uno"}])
        folder = run(file, "--limit", "5")
    assert {v.trial.prompt for v in open_run(folder).views()} == {f"talk.{n}" for n in (1, 2, 3, 4)}


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"rounds": []}, "rounds: expected what is said after the first round, 1 to 7 items"),
        ({"rounds": ["x"] * 8}, "found 8 of them"),
        ({"rounds": [{"otherwise": "x"}]}, "rounds[0]: `otherwise` is said where no tool was called"),
        ({"rounds": [" "]}, "rounds[0]: expected a text, or {otherwise: text}; found text"),
        ({"rounds": ["x"], "results": {"weather": "rain"}}, "results.weather: unknown key"),
        ({"results": {}}, "results: needs rounds"),
    ],
)
def test_a_script_that_cannot_be_played_is_refused(entry: dict[str, Any], said: str, tmp_path: Path) -> None:
    """By file, line and path, before anything is asked."""
    (tmp_path / "p.yaml").write_text(yaml.safe_dump({"family": "t", "prompts": [{"id": "a", "prompt": "q", **entry}]}))
    with pytest.raises(SuiteError) as refused:
        suites.load_suite(tmp_path)
    assert said in str(refused.value)


def test_rounds_of_one_conversation_count_together(tmp_path: Path) -> None:
    """Four rounds of one talk are no four observations."""
    (tmp_path / "p.yaml").write_text(yaml.safe_dump({"family": "t", "prompts": [TALK]}))
    prompts = suites.load_suite(tmp_path).prompts
    assert [p.id for p in prompts] == ["talk.1", "talk.2", "talk.3", "talk.4"]
    assert {p.cluster for p in prompts} == {"talk"}
