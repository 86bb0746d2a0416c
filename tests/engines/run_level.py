"""The rows of the fault catalogue that only a whole run shows: what is done, what must hold, a line for the table."""

from __future__ import annotations

import asyncio
import email.utils
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from loopback import Answer, Loopback, completion, error
from making import make_manifest, make_suite
from numpy.typing import NDArray
from tempzero import config, suites
from tempzero.analysis import analyse
from tempzero.cli import main
from tempzero.collect import Budget, Limits, collect_attempts
from tempzero.config import Local, Provider
from tempzero.engines import Engine, open_engine
from tempzero.engines.hosted.openai_chat import ChatEngine, open_chat_engine
from tempzero.engines.local.chat_template import ChatTemplate
from tempzero.engines.local.in_process import InProcessEngine
from tempzero.engines.local.weights import LocalWeights
from tempzero.errors import EngineError
from tempzero.plan import build_plan
from tempzero.records import create_run, finish_session, open_run, open_run_writer
from tempzero.types.recorded import Attempt, Ending
from tempzero.verdict.gate import judge


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A line of the table. `requests`: as the server counted them; None where there is no server."""

    shown: str
    attempts: int
    retried: bool
    requests: int | None


@dataclass(frozen=True, kw_only=True)
class RunRow:
    number: int
    name: str
    see: Callable[[Path], Seen]


RUN_ROWS: list[RunRow] = []


def run_row(number: int, name: str) -> Callable[[Callable[[Path], Seen]], Callable[[Path], Seen]]:
    def add(see: Callable[[Path], Seen]) -> Callable[[Path], Seen]:
        RUN_ROWS.append(RunRow(number=number, name=name, see=see))
        return see

    return add


@dataclass(frozen=True, kw_only=True)
class Collected:
    path: Path
    attempts: list[Attempt]
    endings: tuple[Ending, ...]

    def seen(self, shown: str, requests: int | None) -> Seen:
        trials = Counter(a.trial for a in self.attempts)
        return Seen(
            shown=shown, attempts=len(self.attempts), retried=max(trials.values(), default=0) > 1, requests=requests
        )


def collected(
    folder: Path,
    entries: Sequence[Mapping[str, Any]],
    *,
    prompts: int = 1,
    engines: Mapping[str, Engine] | None = None,
    limits: Limits | None = None,
    reference: str | None = None,
) -> Collected:
    """A run folder, written by `collect` as `run` does it."""
    common = {"model": "m", "repeats": 1, "attempts": 3, "backoff": {"first_s": 0.01, "max_s": 1.0}}
    entries = [common | dict(e) for e in entries]
    run = {"run": {"reference": reference}} if reference else {}
    settings = config.parse_config({"version": 1, "providers": entries, **run}, source="test")
    suite = make_suite(prompts)
    plan = build_plan(settings, suite)
    path = create_run(folder, make_manifest(settings, suite))
    attempts: list[Attempt] = []

    async def go() -> tuple[Ending, ...]:
        asking = {p.name: open_engine(p, environ={}) for p in settings.providers if p.base_url} | dict(engines or {})
        with open_run_writer(path, now="2026-01-01T00:00:00+00:00") as writer:
            endings = await collect_attempts(
                plan,
                config=settings,
                suite=suite,
                engines=asking,
                attempts={},
                complete=frozenset(),
                write=lambda attempt: attempts.append(writer.append(attempt).attempt),
                budget=Budget(limits) if limits else None,
            )
            finish_session(path, writer, now="2026-01-01T00:01:00+00:00", endings=endings)
        for engine in asking.values():
            await engine.aclose()
        return endings

    endings = asyncio.run(go())
    open_run(path).verify()
    return Collected(path=path, attempts=attempts, endings=endings)


@run_row(51, "proxies named in the environment")
def _(folder: Path) -> Seen:
    environ = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    with Loopback() as server:
        entry = {"name": "a", "base_url": server.base_url}
        provider = config.parse_config({"version": 1, "providers": [{**entry, "model": "m"}]}, source="test").providers[
            0
        ]
        direct = open_chat_engine(provider, environ=environ)
        far = open_chat_engine(provider.model_copy(update={"base_url": "https://far.invalid/v1"}), environ=environ)
        assert (direct.describe()["through_proxy"], far.describe()["through_proxy"]) == (False, True)
        ran = collected(folder, [entry], engines={"a": direct})
        _close(far)
        assert [a.exchange.outcome.kind for a in ran.attempts] == ["complete"]
        return ran.seen("valid:complete (http goes direct; a proxy is on record)", len(server.calls))


def _close(engine: ChatEngine) -> None:
    asyncio.run(engine.aclose())


def _workplace(folder: Path, base_url: str) -> Path:
    (folder / "prompts.yaml").write_text("family: t\nprompts:\n  - {id: a, prompt: one}\n")
    entry = {"name": "a", "model": "m", "base_url": base_url, "repeats": 1}
    file = folder / "providers.yaml"
    file.write_text(yaml.safe_dump({"version": 1, "run": {"prompts": "prompts.yaml"}, "providers": [entry]}))
    return file


@run_row(52, "a clock two hours ahead, and a Retry-After by it")
def _(folder: Path) -> Seen:
    def dated(seconds: float) -> str:
        return email.utils.formatdate(time.time() + 7200 + seconds, usegmt=True)

    def answer(call: Any) -> Any:
        headers = {"Date": dated(0)}
        return error(429, headers=headers | {"Retry-After": dated(1)}) if call.nth == 1 else completion(headers=headers)

    with Loopback(answer) as server:
        assert main(["run", "--no-check", "--config", str(_workplace(folder, server.base_url))]) == 3
        first, second = server.calls
        assert second.began_s - first.began_s < 60  # and not the two hours that its date is away
    (path,) = (folder / "results").iterdir()
    records = list(open_run(path).records())
    assert all("clock_skew" in r.attempt.exchange.outcome.flags for r in records)
    assert re.search(r"its clock is 7(1\d\d|200) s ahead of this machine's", (path / "report.md").read_text())
    return Seen(shown="valid:complete (clock_skew; the run says so)", attempts=len(records), retried=True, requests=2)


@run_row(53, "nothing but 503 for thirty trials")
def _(folder: Path) -> Seen:
    with Loopback(lambda call: error(503)) as server:
        entry = {"name": "a", "base_url": server.base_url, "breaker": {"failures": 5, "cool_down_s": 0.05, "probes": 2}}
        ran = collected(folder, [entry], prompts=30)
        assert len(server.calls) == len(ran.attempts) == 7  # 5 in a row, and 2 that try; not 30 x 3
        assert "given up after 5 failures" in ran.endings[0].reason
        return ran.seen("missing:server (given up; one layer retries)", len(server.calls))


@run_row(54, "the run ends before its plan does")
def _(folder: Path) -> Seen:
    with Loopback() as server:
        ran = collected(folder, [{"name": "a", "base_url": server.base_url}], prompts=4, limits=Limits(max_requests=2))
        assert len(server.calls) == 2
    run = open_run(ran.path)
    assert len(run.progress().complete) == 2
    assert [e.reason for e in run.manifest.sessions[-1].endings] == ["--max-requests 2 was reached"]
    return ran.seen("missing:not_attempted (2 of 4 trials; partial, to be resumed)", 2)


class _Failing:
    """A model that cannot compute; nothing real fails on demand."""

    context, vocabulary, end_ids = 100, 3, (2,)

    def __init__(self, computes: int) -> None:
        self.left, self.closed = computes, False

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        assert not self.closed, "a model that was given back is not asked"
        return [0] * 11  # as many as the server counts

    def piece(self, token_id: int) -> bytes:
        return b"x"

    def forget(self) -> None:
        """It holds nothing."""

    def advance(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
        self.left -= 1
        if self.left < 0:
            raise EngineError("out of memory")
        return np.array([0, 0, 1], np.float32)

    def logits_after(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
        return self.advance(token_ids)

    def logits(self, token_ids: Sequence[int], start: int) -> Iterator[NDArray[np.float32]]:
        yield np.zeros((1, 3), np.float32)

    def describe(self) -> Mapping[str, Any]:
        return {}

    def close(self) -> None:
        self.closed = True


@run_row(56, "the local reference fails, and fails again")
def _(folder: Path) -> Seen:
    weights = LocalWeights(path=Path("x"), sha256="0" * 64, precision="f32", source="s", licence=None, size_bytes=1)
    made: list[_Failing] = []

    def load() -> _Failing:
        made.append(_Failing(computes=2))
        return made[-1]

    reference = InProcessEngine(
        load(),
        ChatTemplate("{{ messages[0].content }}"),
        Provider(name="ref", local=Local(weights="w"), model="m", temperature=0.0),
        weights,
        reload=load,
    )
    with Loopback() as server:
        entries: list[dict[str, Any]] = [
            {"name": "a", "base_url": server.base_url},
            {"name": "ref", "local": {"weights": "w"}},
        ]
        ran = collected(folder, entries, prompts=6, engines={"ref": reference}, reference="ref")
        assert len(server.calls) == 6
    analysis = analyse(open_run(ran.path))
    verdicts = {v.provider: v for v in judge(analysis, config.Gates()).providers}
    assert verdicts["a"].outcome == "inconclusive"
    assert any("compared with the reference on fewer than" in r for r in verdicts["a"].reasons)
    assert [f for f in analysis.findings if "ref" in (f.subject, f.other)] == []
    assert len(made) == 2  # once anew, and no more
    own = [a for a in ran.attempts if a.trial.provider == "ref"]
    kinds = [a.exchange.outcome.kind for a in own]
    assert kinds == ["empty", "reference", "empty", "empty", *["reference"] * 3]
    return Seen(shown="missing:reference (no verdict against it)", attempts=len(own), retried=True, requests=None)


@run_row(59, "headers that say nothing is left")
def _(folder: Path) -> Seen:
    nothing_left = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "0.4s"}
    with Loopback(_first(completion(headers=nothing_left))) as server:
        ran = collected(folder, [{"name": "a", "base_url": server.base_url}], prompts=2)
        first, second = server.calls
        assert first.ended_s is not None
        assert second.began_s - first.ended_s > 0.35  # waited for before a 429 had to say so
        return ran.seen("valid:complete (the lane waits first)", 2)


def _first(reply: Any) -> Answer:
    return lambda call: reply if call.prompt == "question 0" else completion()


@run_row(60, "a prompt whose right answer changes with the day")
def _(folder: Path) -> Seen:
    prompts = [{"id": "p0", "prompt": "What day is it today?"}, {"id": "p1", "prompt": "What is 2 + 3?"}]
    (folder / "prompts.yaml").write_text(yaml.safe_dump({"family": "t", "prompts": prompts}))
    said = suites.lint_prompts(folder / "prompts.yaml")
    assert said
    assert all("prompts[0].prompt" in remark and "changes with the day" in remark for remark in said)
    return Seen(shown="lint (before anything is asked)", attempts=0, retried=False, requests=0)
