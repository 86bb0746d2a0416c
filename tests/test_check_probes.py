"""What the check says of each field: by behaviour, on endpoints that heed all of them but one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from honest_host import Change, HonestHost, honest
from loopback import Answer, Call, Loopback, Reply, completion, error
from tempzero.check import ProviderCheck, SettingCheck, check_setting
from tempzero.cli import main
from tempzero.config import Setting
from test_check import workplace


def look(folder: Path, *answers: Answer, **fields: Any) -> SettingCheck:
    """A check of one provider for each way to answer."""
    with Loopback(lambda call: answers[int(call.target.split("/")[1][1:])](call)) as server:
        root = server.base_url.removesuffix("/v1")
        entries = {f"p{n}": {"base_url": f"{root}/h{n}/v1", **fields} for n in range(len(answers))}
        return check_setting(Setting.load(workplace(folder, **entries), {}))


def row_of(folder: Path, answer: Answer, **fields: Any) -> ProviderCheck:
    (row,) = look(folder, answer, **fields).rows
    return row


def without(name: str) -> Change:
    """An endpoint that takes a field and knows nothing of it."""
    pristine = HonestHost()

    def change(asked: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        if name not in asked:
            return body
        rest = {key: given for key, given in asked.items() if key != name}
        call = Call(
            method="POST",
            target="/",
            headers={},
            body=json.dumps(rest | {"stream": False}).encode(),
            model="m",
            prompt=asked["messages"][-1]["content"],
            nth=1,
            began_s=0,
        )
        (sent,) = pristine(call).steps
        assert isinstance(sent, bytes)
        return dict(json.loads(sent.partition(b"\r\n\r\n")[2]))

    return change


@pytest.mark.parametrize(
    ("field", "column", "state"),
    [
        ("stop", "stop", "finding"),
        ("tools", "tools", "pass"),
        ("response_format", "JSON mode", "pass"),
        ("n", "n", "pass"),
        ("logprobs", "logprobs", "pass"),
    ],
)
def test_a_field_that_is_taken_and_ignored_shows(tmp_path: Path, field: str, column: str, state: str) -> None:
    """Only what a run sends, and a stop string, counts against an endpoint: check and run never disagree."""
    row = row_of(tmp_path, HonestHost(without(field)))
    assert (row.words[column], row.state) == ("ignored", state)
    assert [w for c, w in row.words.items() if w == "ignored" and c != column] == []


def test_a_field_that_every_request_carries_counts(tmp_path: Path) -> None:
    """What `request:` asks for is asked of every request of a run."""
    mode = {"response_format": {"type": "json_object"}}
    row = row_of(tmp_path, HonestHost(without("response_format")), request=mode)
    assert (row.words["JSON mode"], row.state) == ("ignored", "finding")


def ignoring_seed(asked: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    if "random" in asked["messages"][-1]["content"]:
        ignoring_seed.calls = getattr(ignoring_seed, "calls", 0) + 1  # type: ignore[attr-defined]
        body["choices"][0]["message"]["content"] = f"draw {ignoring_seed.calls}"  # type: ignore[attr-defined]
    return body


def test_a_seed_that_is_ignored_is_a_finding(tmp_path: Path) -> None:
    """A run sends it with every request, and the exit code says that a request field is ignored."""
    row = row_of(tmp_path, HonestHost(ignoring_seed))
    assert (row.words["seed"], row.state) == ("ignored", "finding")


def sampling(asked: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """It samples at whatever temperature, where a prompt leaves it anything to choose."""
    if "harbour" in asked["messages"][-1]["content"]:
        sampling.calls = getattr(sampling, "calls", 0) + 1  # type: ignore[attr-defined]
        body["choices"][0]["message"]["content"] = f"Town {sampling.calls}"  # type: ignore[attr-defined]
    return body


def test_a_temperature_that_is_ignored_shows_where_the_prompt_leaves_a_choice(tmp_path: Path) -> None:
    """'yes' comes out of any sampler; the name of a town does not."""
    row = row_of(tmp_path, HonestHost(sampling))
    assert (row.words["temperature 0"], row.words["stream"], row.state) == ("differs", "cannot tell", "finding")


def losing_a_token(asked: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    if asked.get("stream"):
        message = body["choices"][0]["message"]
        message["content"] = message["content"].removesuffix(".")
    return body


def test_a_stream_that_loses_a_token_is_a_finding(tmp_path: Path) -> None:
    """Whole and streamed answers of one request are held against each other, not each against itself."""
    row = row_of(tmp_path, HonestHost(losing_a_token))
    assert (row.words["temperature 0"], row.words["stream"], row.state) == ("same twice", "differs", "finding")


def test_another_model_is_a_finding(tmp_path: Path) -> None:
    """What was asked for and what answered both stand in the remark; the dated snapshot of it is no other model."""
    swapped = HonestHost(lambda asked, body: body | {"model": "tiny-8b"})
    dated = HonestHost(lambda asked, body: body | {"model": "m-2026-08-06"})
    one, other = look(tmp_path, swapped, dated).rows
    assert one.state == "finding"
    assert [r for r in one.remarks if '"m"' in r and "tiny-8b" in r]
    assert (other.state, other.words["served model"]) == ("pass", "m-2026-08-06")


def rotating(asked: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    rotating.calls = getattr(rotating, "calls", 0) + 1  # type: ignore[attr-defined]
    return body | {"system_fingerprint": f"fp{rotating.calls}"}  # type: ignore[attr-defined]


def test_fingerprints_that_change_are_normal_service(tmp_path: Path) -> None:
    """Counted, and nothing else."""
    row = row_of(tmp_path, HonestHost(rotating))
    assert (row.state, row.remarks) == ("pass", [])
    assert row.words["fingerprint"].endswith("of them")


# --- reasoning -------------------------------------------------------------------------------


def by_effort(asked: Mapping[str, Any]) -> int:
    return {"low": 20, "high": 60}.get(asked.get("reasoning_effort", "low"), 20)


def test_one_that_thinks_is_looked_at_with_room_to_think(tmp_path: Path) -> None:
    """Its first tokens are thoughts: every probe leaves it as many as a run would."""
    row = row_of(tmp_path, HonestHost(reasoning=by_effort))
    words = {c: row.words[c] for c in ("reasoning", "effort", "temperature 0", "stop", "tools", "max_tokens")}
    assert words == {
        "reasoning": "shown",
        "effort": "honoured",
        "temperature 0": "same twice",
        "stop": "honoured",
        "tools": "honoured",
        "max_tokens": "honoured",
    }


def test_a_limit_that_is_spent_on_reasoning_is_no_pass(tmp_path: Path) -> None:
    """A run would get no text at all with that limit: the check says what to raise, and ends as the run would."""
    result = look(tmp_path, HonestHost(reasoning=100_000), max_tokens=200)
    assert result.state == "inconclusive"
    assert result.rows[0].remarks[0] == "the limit was spent on reasoning (200 tokens): raise max_tokens"


@pytest.mark.parametrize(
    "switch",
    [
        {"reasoning_effort": "none"},
        {"reasoning": {"enabled": False}},
        {"thinking": {"type": "disabled"}},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"enable_thinking": False},
    ],
)
def test_reasoning_that_was_switched_off_is_a_finding(tmp_path: Path, switch: dict[str, Any]) -> None:
    """Every dialect of the switch is known; one that is heeded leaves nothing to say."""
    thinking, heeding = look(tmp_path, HonestHost(reasoning=5), honest, request=switch).rows
    assert (thinking.words["reasoning"], thinking.state) == ("not switched off", "finding")
    assert (heeding.words["reasoning"], heeding.state) == ("off", "pass")


# --- refusals and their remedies -------------------------------------------------------------


def refusing(name: str, message: str) -> Answer:
    def answer(call: Call) -> Reply:
        if call.method == "POST" and name in call.json:
            return error(400, message, code="unsupported_parameter")
        return honest(call)

    return answer


USE_OTHER = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
NO_ZERO = (
    "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported."
)
NO_SEED = "Unsupported parameter: seed"


@pytest.mark.parametrize(
    ("name", "message", "allowed", "remedy"),
    [
        ("max_tokens", USE_OTHER, {"may_rename": ["max_tokens"]}, "{max_tokens: max_completion_tokens}"),
        ("temperature", NO_ZERO, {"may_drop": ["temperature"]}, "may_drop: [temperature]"),
        ("seed", NO_SEED, {"may_drop": ["seed"]}, "may_drop: [seed]"),
    ],
)
def test_check_and_run_agree_about_a_refused_field(
    tmp_path: Path, name: str, message: str, allowed: dict[str, Any], remedy: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where nothing allows it both are inconclusive and name the remedy; where it is allowed both ask the other way."""
    for folder, fields, code in ((tmp_path / "kept", {}, 3), (tmp_path / "changed", allowed, 0)):
        folder.mkdir()
        with Loopback(refusing(name, message)) as server:
            file = workplace(folder, a={"base_url": server.base_url, **fields})
            assert main(["check", "--config", str(file)]) == code
            checked = capfd.readouterr().out
            assert (remedy in " ".join(checked.split())) is (code == 3)
            assert main(["run", "--config", str(file)]) == code
            ran = capfd.readouterr()
        assert (remedy in ran.err) is (code == 3)
        assert (len(ran.out.splitlines()) == 1) is (code == 3)  # nobody answered: the verdict's line and no more


def at_least_16(call: Call) -> Reply:
    if call.method == "POST" and call.json["max_tokens"] < 16:
        return error(
            400, "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got 1 instead."
        )
    return honest(call)


def test_a_limit_that_is_too_small_for_the_host_stops_nothing(tmp_path: Path) -> None:
    """The token before a run is asked for again with the limit that it names."""
    with Loopback(at_least_16) as server:
        file = workplace(tmp_path, a={"base_url": server.base_url})
        assert main(["check", "--config", str(file)]) == 0
        server.calls.clear()
        assert main(["run", "--config", str(file)]) == 0
        assert [c.json["max_tokens"] for c in server.calls[:3]] == [1, 16, 128]


# --- what a person reads ---------------------------------------------------------------------


def page(call: Call) -> Reply:
    from loopback import body

    return body(b"<html>not found</html>", status=404, content_type="text/html")


def below_v1(call: Call) -> Reply:
    return honest(call) if call.target == "/v1/chat/completions" else page(call)


@pytest.mark.parametrize("wrong", ["", "/v1/v1", "/v1/chat/completions"])
def test_a_wrong_base_url_is_named_before_anything_else(
    tmp_path: Path, wrong: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The URL that was asked, the likelier one, and the verdict, in five lines at most: nobody answered anything."""
    with Loopback(below_v1) as server:
        root = server.base_url.removesuffix("/v1")
        file = workplace(tmp_path, a={"base_url": root + wrong})
        assert main(["run", "--config", str(file)]) == 3
        shown = capfd.readouterr()
    lines = (shown.err + shown.out).splitlines()
    assert len(lines) <= 5
    assert f"asked: {root}{wrong}/chat/completions" in lines[1]
    assert f"try base_url: {root}/v1" in lines[1]
    assert lines[-1].startswith("verdict: inconclusive (exit code 3)")


def test_nobody_answered_during_a_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """No empty tables: why, once for all who share it."""
    patience = {"backoff": {"first_s": 0.01, "max_s": 0.01}, "breaker": {"failures": 1, "cool_down_s": 0.05}}
    with Loopback(lambda call: error(503, "down")) as server:
        file = workplace(tmp_path, **{name: {"base_url": server.base_url, **patience} for name in ("a", "b")})
        assert main(["run", "--no-check", "--config", str(file)]) == 3
    shown = capfd.readouterr()
    assert shown.err.splitlines() == [
        "nobody answered: 2 of 2 providers gave no answer at all",
        "a, b: server: HTTP 503 down",
    ]
    assert len(shown.out.splitlines()) == 1


def test_twenty_providers_are_a_line_each_on_80_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What they share is said once."""
    monkeypatch.setenv("COLUMNS", "80")
    with Loopback(HonestHost(without("stop"))) as server:
        names = [f"an-endpoint-with-a-long-name-{n}" for n in range(20)]
        file = workplace(tmp_path, **{name: {"base_url": server.base_url} for name in names})
        assert main(["check", "--config", str(file)]) == 1
    lines = capfd.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("an-endpoi..") and " finding " in line for line in lines) == 20
    assert sum("past a stop string" in line for line in lines) == 1


def silent(call: Call) -> Reply:
    return completion("", usage=None) if call.method == "POST" else error(404)


LOOKED_AT: list[Callable[[Call], Reply]] = [silent, lambda call: completion(None), lambda call: completion("{", n=3)]


@pytest.mark.parametrize("answer", LOOKED_AT)
def test_no_answer_is_too_odd_for_a_check(tmp_path: Path, answer: Answer) -> None:
    """A check raises nothing for what a provider does."""
    assert row_of(tmp_path, answer).state in ("pass", "finding", "inconclusive")
