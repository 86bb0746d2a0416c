"""Nights that watch the form of a provider's weights by first tokens: real servers, hosts made by numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from loopback import Call, Loopback, Reply, completion, error
from numeric_hosts import NOISE, PACK, PROMPTS, TOKENS, serve
from numpy.typing import NDArray
from tempzero.cli import main
from tempzero.nightly import history, trend
from tempzero.nightly.history import PrecisionNight
from tempzero.nightly.prune import choose_runs
from tempzero.precision.displacement_change import weigh_displacement_change, weigh_signs
from tempzero.precision.packs import save_pack
from tiny_gguf import tiny_model

BY_TEXT = {prompt.messages[-1].content: number for number, prompt in enumerate(PACK.prompts)}


class Host:
    """Texts that never change, and first tokens of the weights of tonight."""

    def __init__(self, folder: Path, server: Loopback, **rules: Any) -> None:
        self.given, self.results, self.server = serve(), folder / "results", server
        save_pack(PACK, folder / "pack.json")
        (folder / "prompts").mkdir()
        prompts = [{"id": f"q{i}", "prompt": f"q{i}"} for i in range(8)]
        (folder / "prompts" / "test.yaml").write_text(yaml.safe_dump({"family": "test", "prompts": prompts}))
        entry = {"name": "ep", "base_url": server.base_url, "model": "ep", "claims": {"model": "tiny"}, "attempts": 1}
        settings = {
            "version": 1,
            "run": {"direction_pack": "pack.json"},
            "defaults": {"repeats": 2},
            "providers": [entry],
            "nightly": {"fingerprint": PROMPTS, **rules},
        }
        self.file = folder / "providers.yaml"
        self.file.write_text(yaml.safe_dump(settings))

    def answer(self, call: Call) -> Reply:
        number = BY_TEXT.get(call.prompt, 0)
        if "top_logprobs" not in call.json:
            return completion("as always", model="ep")
        order = np.argsort(-self.given[number])[:20]
        listed = [{"token": f" t{t}", "logprob": float(self.given[number, t])} for t in order]
        return completion("x", model="ep", choice={"logprobs": {"content": [{"token": " t0", "top_logprobs": listed}]}})

    def night(self, name: str, given: NDArray[np.float64]) -> int:
        self.given, self.server.answer = given, self.answer
        return main(["nightly", "--config", str(self.file), "--night", name])

    def set_baseline(self) -> None:
        (run,) = (p for p in self.results.glob("*Z-*-2026-01-01") if "fingerprint" not in p.name)
        assert main(["baseline", "set", str(run), "--config", str(self.file)]) == 0

    def read(self) -> Sequence[PrecisionNight]:
        entries = [night.entry("ep") for night in history.read_nights(self.results)]
        return [e.precision for e in entries if e is not None and e.precision is not None]


@pytest.fixture
def host(tmp_path: Path) -> Any:
    """One provider on loopback."""
    with Loopback(lambda _: error(500)) as server:
        yield Host(tmp_path, server)


def test_weights_that_become_coarser_alarm_that_night_though_every_text_is_as_before(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    """By texts such a change may take weeks to show; the form, its strength and the first night are told at once."""
    assert host.night("2026-01-01", serve(seed=1)) == 3
    host.set_baseline()
    codes = [host.night(f"2026-01-0{n}", serve(seed=n)) for n in (2, 3)]
    codes += [host.night(f"2026-01-0{n}", serve("int4", seed=n)) for n in (4, 5)]
    assert codes == [0, 0, 1, 0]
    assert "int4 has come" in capsys.readouterr().out
    nights = host.read()
    assert [one.since for one in nights] == [None, None, None, "2026-01-04", "2026-01-04"]
    assert nights[-1].frozen == 2
    assert (nights[-1].form, nights[-1].forms) == ("int4", ("int4",))
    found = history.read_nights(host.results)
    (course,) = json.loads(trend.history_to_json(found))["providers"]
    strengths = next(s for s in course["series"] if s["title"] == "Weights: share of int4 in them")
    assert [round(p["value"]) for p in strengths["points"]] == [0, 0, 0, 1, 1]
    trend.write_history_pages(found, host.results / "pages")
    page = (host.results / "pages" / "provider-1-ep.html").read_text()
    assert "otherwise than before since the night of 2026-01-04" in page
    choice = choose_runs(host.results, now=datetime.now(UTC), older_than_days=None, keep=0, compress=False)
    kept = {one.run: one.why for one in choice if "fingerprint" in one.run and one.what == "kept"}
    assert list(kept.values()) == ["shows that the weights of ep changed"]


def test_a_change_that_is_taken_back_is_told_as_over(host: Host) -> None:
    """Who went back to finer weights is not accused for ever."""
    host.night("2026-01-01", serve(seed=1))
    host.set_baseline()
    forms = {2: (), 3: ("fp8-channel",), 4: ()}
    codes = [host.night(f"2026-01-0{n}", serve(*form, seed=n)) for n, form in forms.items()]
    assert codes == [0, 1, 0]
    assert [one.since for one in host.read()] == [None, None, "2026-01-03", None]
    (*_, entry) = (night.entry("ep") for night in history.read_nights(host.results))
    assert entry is not None
    assert [e.telling for e in entry.decision.events if e.what == "precision"] == [False]


def test_who_gives_no_log_probabilities_has_nights_as_before(tmp_path: Path) -> None:
    """The watch costs such a provider a request or a few, and never its night."""
    with Loopback(lambda _: completion("as always", model="ep")) as server:
        host = Host(tmp_path, server)
        server.answer = lambda _: completion("as always", model="ep")
        codes = [main(["nightly", "--config", str(host.file), "--night", f"2026-01-0{n}"]) for n in (1,)]
    assert codes == [3]
    assert host.read() == []


def test_a_night_with_few_requests_left_asks_no_first_tokens(tmp_path: Path) -> None:
    """`max_requests` is of the whole night."""
    with Loopback(lambda _: error(500)) as server:
        host = Host(tmp_path, server, max_requests=30)
        host.night("2026-01-01", serve(seed=1))
        assert not any("top_logprobs" in call.json for call in server.calls)


def test_rounding_that_becomes_another_is_no_evidence() -> None:
    """An honest host may change its kernels every night: over many such changes the mean of an e-value is one."""
    draw = np.random.default_rng(3)
    found = []
    for _ in range(400):
        before, now = (draw.normal(size=(PROMPTS, TOKENS)) * NOISE for _ in range(2))
        found.append(weigh_displacement_change(PACK, [now], [before]).evidence)
    assert np.mean(found) <= 1
    assert max(found) < 100


def test_signs_that_are_drawn_by_a_coin_bring_one_on_average() -> None:
    """The evidence is exact for whatever sizes the products have: all sign patterns of ten together give one."""
    sizes = np.array([5.0, 3.0, 2.0, 1.0, 1.0, 0.5, 0.3, 0.1, 0.01, 8.0])
    patterns = (np.arange(1024)[:, None] >> np.arange(10) & 1) * 2.0 - 1
    assert np.mean([np.exp(weigh_signs(pattern * sizes)) for pattern in patterns]) == pytest.approx(1.0)


def test_a_night_keeps_what_later_nights_are_held_against(host: Host) -> None:
    """A night's file holds the displacement itself, so that no run folder of an old night is needed."""
    host.night("2026-01-01", serve("int4", seed=1))
    stored = json.loads((host.results / "history" / "nights" / "2026-01-01.json").read_text())
    moved = stored["entries"][0]["precision"]["moved"]
    assert len(moved) == PROMPTS
    assert sum(value is not None for (places,) in [moved["p0"]] for value in places) == 20


TOPICS = ("bread", "clouds", "gardens", "harbours", "keys", "ladders", "markets", "nails")
ASKING = ("Tell me of {}.", "Who needs {}?", "Write about {}.", "Where are {} found?")


@pytest.mark.engine
def test_a_real_server_that_turns_to_eight_bits_alarms_that_night(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under one name other threads and slots of llama.cpp change nothing, coarser weights do, and are named."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    prompts = [{"id": f"p{n}-{w}", "prompt": text.format(w)} for n, text in enumerate(ASKING) for w in TOPICS]
    (tmp_path / "asked.yaml").write_text(yaml.safe_dump({"family": "asked", "prompts": prompts}))
    (tmp_path / "few.yaml").write_text(yaml.safe_dump({"family": "few", "prompts": prompts[:5]}))
    weights = {"weights": f"path:{tiny_model()}", "threads": 1, "context": 512}

    def configure(how: dict[str, Any]) -> None:
        serve = {**weights, "precision": "f16", **how}
        reference = {**weights, "precision": "f32", "batch": 64}
        providers = [
            {"name": "ep", "serve": serve, "claims": {"model": "tiny"}},
            {"name": "ref", "local": reference, "claims": {"model": "tiny"}, "enabled": False},
        ]
        run = {"prompts": "few.yaml", "direction_pack": "pack.json"}
        defaults = {"repeats": 2, "max_tokens": 4}
        settings = {"version": 1, "run": run, "defaults": defaults, "providers": providers, "score": {"enabled": False}}
        (tmp_path / "providers.yaml").write_text(yaml.safe_dump(settings))

    configure({})
    making = ["--make-pack", "pack.json", "--suite", "asked.yaml", "--reference", "ref", "--forms", "f16,q8_0,q4_0"]
    assert main(["fingerprint", *making]) == 0
    nights: list[dict[str, Any]] = [{}, {"threads": 2, "slots": 4}, {"precision": "q8_0"}]
    codes = []
    for number, how in enumerate(nights, start=1):
        configure(how)
        codes.append(main(["nightly", "--night", f"2026-01-0{number}"]))
        if number == 1:
            (run,) = (p for p in (tmp_path / "results").glob("*Z-*-2026-01-01") if "fingerprint" not in p.name)
            assert main(["baseline", "set", str(run)]) == 0
    assert codes[1:] == [0, 1]
    assert "q8_0 has come" in capsys.readouterr().out
    entries = [night.entry("ep") for night in history.read_nights(tmp_path / "results")]
    found = [e.precision for e in entries if e is not None and e.precision is not None]
    assert [(one.since, one.evidence >= one.alarm_at > 0) for one in found[1:]] == [
        (None, False),
        ("2026-01-03", True),
    ]
