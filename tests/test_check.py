"""The check: what a provider does is told from what it accepts, for a few tokens, and before a run is paid for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from honest_host import honest
from loopback import Call, Loopback, Reply, completion, error, value
from tempzero.cli import main
from tempzero.records import open_run

KEY = "planted-key-0123456789abcdef"


def careless(call: Call) -> Reply:
    """One that takes every field and heeds none."""
    if call.method == "GET":
        return error(404)
    text = " ".join(str(n) for n in range(1, 31)) if "Count" in call.prompt else f"answer {call.nth}"
    return completion(text, usage={"prompt_tokens": 30, "completion_tokens": 30, "total_tokens": 60})


def workplace(folder: Path, **providers: dict[str, Any]) -> Path:
    """A folder with a prompt and those providers."""
    (folder / "prompts.yaml").write_text("family: t\nprompts:\n  - {id: a, prompt: one}\n  - {id: b, prompt: two}\n")
    entries = [{"name": name, "model": "m", "claims": {"model": "x"}, **fields} for name, fields in providers.items()]
    file = folder / "providers.yaml"
    run = {"prompts": "prompts.yaml"}
    file.write_text(yaml.safe_dump({"version": 1, "run": run, "providers": entries, "gates": {"min_prompts": 2}}))
    return file


def checked(file: Path, capfd: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    code = main(["check", "--config", str(file), "--json"])
    shown = json.loads(capfd.readouterr().out)
    return code, {p["provider"]: p for p in shown["providers"]}


def test_an_honest_endpoint_passes_for_a_few_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every word of the table comes from behaviour, and the key is not in it."""
    monkeypatch.setenv("PLANTED", KEY)
    with Loopback(honest) as server:
        file = workplace(tmp_path, a={"base_url": server.base_url, "api_key_env": "PLANTED"})
        code, rows = checked(file, capfd)
        posts = [c for c in server.calls if c.method == "POST"]
        assert sum(c.json["max_tokens"] for c in posts) < 700
        assert min(c.json["max_tokens"] for c in posts) == 16  # less is refused by some
        assert {c.headers["authorization"] for c in server.calls} == {f"Bearer {KEY}"}
        assert main(["check", "--config", str(file)]) == 0
    assert code == 0
    assert rows["a"] | {"remarks": []} == {
        "provider": "a",
        "state": "pass",
        "key": "set",
        "endpoint": "answers",
        "model": "listed",
        "temperature 0": "same twice",
        "seed": "honoured",
        "max_tokens": "honoured",
        "stream": "as whole",
        "reasoning": "none seen",
        "stop": "honoured",
        "tools": "honoured",
        "JSON mode": "honoured",
        "logprobs": "given",
        "n": "honoured",
        "effort": "not asked",
        "top_logprobs": "20, rounded to 0.1",
        "prompt_tokens": "9",
        "cache": "none seen",
        "upstream": "pinned",
        "served model": "m",
        "fingerprint": "fp1",
        "remarks": [],
    }
    shown = capfd.readouterr()
    assert "+ honoured" in shown.out
    assert KEY not in shown.out + shown.err


def test_accepted_is_not_honoured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Fields that are taken and ignored are findings, and so are other prompt_tokens for the same message."""
    monkeypatch.setenv("PLANTED", KEY)
    with Loopback(lambda c: careless(c) if "careless" in c.target else honest(c)) as server:
        root = server.base_url.removesuffix("/v1")
        file = workplace(
            tmp_path,
            good={"base_url": server.base_url, "api_key_env": "PLANTED"},
            bad={"base_url": f"{root}/careless", "seed": None},
        )
        code, rows = checked(file, capfd)
    assert code == 1
    words = {k: rows["bad"][k] for k in ("temperature 0", "max_tokens", "stop", "logprobs", "model", "seed")}
    assert words == {
        "temperature 0": "differs",
        "max_tokens": "ignored",
        "stop": "ignored",
        "logprobs": "ignored",
        "model": "no list (HTTP 404)",
        "seed": "not sent",
    }
    assert any("prompt_tokens of one message differ" in r for r in rows["good"]["remarks"])


@pytest.mark.parametrize("reply", [error(401, "bad key"), error(503), value([]), completion(choices=[])])
def test_an_endpoint_that_does_not_answer_is_inconclusive(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], reply: Reply
) -> None:
    """An outage is no finding and no pass; neither is having nobody to look at."""
    with Loopback(lambda call: reply) as server:
        code, rows = checked(workplace(tmp_path, a={"base_url": server.base_url}), capfd)
    assert code == 3
    assert rows["a"]["remarks"]
    assert (
        main(["check", "--config", str(workplace(tmp_path, a={"base_url": "http://x/v1", "api_key_env": "NONE"}))]) == 3
    )


# --- before a run ----------------------------------------------------------------------------


def by_path(**answers: Callable[[Call], Reply]) -> Callable[[Call], Reply]:
    return lambda call: answers[call.target.split("/")[1]](call)


def two(folder: Path, server: Loopback, **fields: Any) -> Path:
    root = server.base_url.removesuffix("/v1")
    return workplace(folder, good={"base_url": f"{root}/good"}, bad={"base_url": f"{root}/bad", **fields})


def only_run(folder: Path) -> Path:
    (run,) = (folder / "results").iterdir()
    return run


def test_a_run_asks_for_one_token_first_and_leaves_out_who_would_refuse(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """One request instead of one for each lane's start; its reason stands in the verdict, its bytes in the folder."""
    with Loopback(by_path(good=lambda c: completion("same"), bad=lambda c: error(404, "no such model"))) as server:
        assert main(["run", "--config", str(two(tmp_path, server))]) == 3
        assert [c.json["max_tokens"] for c in server.calls if "/bad/" in c.target] == [1]
    run = only_run(tmp_path)
    assert "the check before the run: model_unavailable: HTTP 404 no such model" in (run / "report.md").read_text()
    lines = [json.loads(line) for line in (run / "preflight.jsonl").read_text().splitlines()]
    assert {(one["provider"], one["exchange"]["outcome"]["kind"]) for one in lines} == {
        ("good", "complete"),
        ("bad", "model_unavailable"),
    }
    assert {r.attempt.trial.provider for r in open_run(run).records()} == {"good"}
    assert main(["verify", str(run)]) == 0


def test_no_check_asks_nothing_first(tmp_path: Path) -> None:
    """Whoever knows what they do saves a token."""
    with Loopback(lambda c: completion("same")) as server:
        assert main(["run", "--config", str(two(tmp_path, server)), "--no-check"]) == 0
        assert {c.prompt for c in server.calls} == {"one", "two"}


def test_nothing_is_spent_where_everybody_would_refuse(tmp_path: Path) -> None:
    """One token each, and a report that says why there is nothing in it."""
    with Loopback(lambda c: error(402, "no credit")) as server:
        assert main(["run", "--config", str(two(tmp_path, server))]) == 3
        assert len(server.calls) == 2
    assert "quota" in (only_run(tmp_path) / "report.md").read_text()


def test_a_refused_field_is_dropped_only_where_the_configuration_says_so(tmp_path: Path) -> None:
    """What was really sent stands in the records, and the report says what was left out."""

    def picky(call: Call) -> Reply:
        if "seed" in call.json:
            return error(400, "Unsupported parameter: seed", param="seed", code="unsupported_parameter")
        return completion("same")

    for name, fields, sent in (("kept", {}, True), ("dropped", {"may_drop": ["seed"]}, False)):
        folder = tmp_path / name
        folder.mkdir()
        with Loopback(by_path(good=lambda c: completion("same"), bad=picky)) as server:
            assert main(["run", "--config", str(two(folder, server, **fields))]) == (3 if sent else 0)
        run = only_run(folder)
        bodies = [r.attempt.exchange.request.body for r in open_run(run).records() if r.attempt.trial.provider == "bad"]
        assert bool(bodies) is not sent  # where every request would be refused, none is sent
        assert not any('"seed"' in body for body in bodies)
        assert ("write may_drop: [seed]" in (run / "report.md").read_text()) is sent
        assert ("it refuses seed; asked without" in (run / "report.md").read_text()) is not sent
