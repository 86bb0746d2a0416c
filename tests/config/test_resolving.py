"""From what is written to what it comes to: inheritance, and manifests that were written before."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tempzero.config import Claims, Config, Defaults, Price, ProviderEntry, RequestSettings, parse_config
from tempzero.plan import build_plan
from tempzero.records import MANIFEST, Run, open_run

HOSTED = {"base_url": "https://example.com/v1", "model": "m"}


@pytest.fixture
def kept_run(tmp_path: Path) -> Run:
    """A run folder whose manifest was written when configurations had one kind of provider, with nulls in it."""
    kept = Path(__file__).with_name("manifest_of_format_1.json").read_bytes()
    (tmp_path / MANIFEST).write_bytes(kept)
    return open_run(tmp_path)


def resolved(entry: dict[str, Any], **defaults: Any) -> Config:
    value = {"version": 1, "defaults": defaults, "providers": [{"name": "a", **entry}]}
    return parse_config(value, source="test")


@pytest.mark.parametrize("pack", [None, "pack.json"])
def test_a_direction_pack_that_was_named_for_nights_is_that_of_runs_now(tmp_path: Path, pack: str | None) -> None:
    """Every manifest that was written then names one, or says that none is: those folders are read as ever."""
    written = json.loads(Path(__file__).with_name("manifest_of_format_1.json").read_bytes())
    written["config"]["nightly"] = {"direction_pack": pack, "fingerprint": 9}
    (tmp_path / MANIFEST).write_text(json.dumps(written))
    config = open_run(tmp_path).config
    assert (config.run.direction_pack, config.nightly.fingerprint) == (pack, 9)


@pytest.mark.parametrize("name", ["max_tokens", "repeats", "concurrency", "attempts", "timeouts", "backoff", "breaker"])
def test_null_is_inherited_where_it_can_mean_nothing_else(name: str) -> None:
    """`repeats: null` once came to 0 planned answers, and `concurrency: null` to a crash after the run had begun."""
    given = Defaults(max_tokens=9, repeats=5, concurrency=6, attempts=7)
    defaults = given.model_dump(mode="json", exclude_unset=True)
    provider = resolved({**HOSTED, name: None}, **defaults).providers[0]
    assert getattr(provider, name) == getattr(given, name)


@pytest.mark.parametrize("name", ["temperature", "top_p", "seed"])
def test_null_leaves_a_sampling_field_out_and_absence_inherits_it(name: str) -> None:
    """Both wishes are there: an endpoint that refuses a seed is asked without, whatever `defaults:` says."""
    assert getattr(resolved({**HOSTED, name: None}).providers[0], name) is None
    assert getattr(resolved(HOSTED).providers[0], name) == getattr(Defaults(), name)
    assert getattr(resolved(HOSTED, **{name: None}).providers[0], name) is None


def test_what_a_provider_says_goes_before_the_defaults() -> None:
    """An entry's own value is never overwritten, though it equals what tempzero takes without a file."""
    usual = RequestSettings().model_dump(mode="json")
    provider = resolved({**HOSTED, **usual}, temperature=1.5, repeats=9, breaker={"failures": 9}).providers[0]
    assert provider.model_dump(mode="json", include=set(usual)) == usual


def test_a_model_that_is_not_named_is_its_weights_or_the_provider_itself() -> None:
    """What is compared and reported always has a name."""
    replay = {"replay": {"run": "results/earlier", "provider": "b"}}
    for entry, model in (({"serve": {"weights": "w"}}, "w"), ({"local": {"weights": "w"}}, "w"), (replay, "a")):
        provider = resolved(entry).providers[0]
        assert (provider.model, provider.claimed_model) == (model, model)
    assert (
        ProviderEntry(name="a", base_url="https://x/v1", model="m", claims=Claims(model="W"))
        .resolve(Defaults())
        .claimed_model
        == "W"
    )


def test_an_unknown_limit_of_imported_answers_stays_unknown() -> None:
    """None is not 128: an export would say of answers what nobody knows."""
    imported = {"imported": {"source": "x.csv", "sha256": "0" * 64, "format": "table"}, "model": "m"}
    unknown = resolved({**imported, "max_tokens": None})
    again = parse_config(unknown.model_dump(mode="json"), source="manifest")
    assert [c.providers[0].known_max_tokens for c in (unknown, again)] == [None, None]
    assert resolved({**imported, "max_tokens": 9}).providers[0].known_max_tokens == 9
    assert resolved(HOSTED).providers[0].known_max_tokens == 128


def test_a_manifest_written_before_loads_and_plans_the_same(kept_run: Run) -> None:
    """A run that was begun with an earlier version is resumed, reported and compared by this one."""
    manifest, config = kept_run.manifest, kept_run.config
    assert build_plan(config, manifest.suite, skipped=manifest.skipped).digest == manifest.plan_digest
    cpu, served, hosted, replayed, foreign = config.providers
    assert (cpu.repeats, served.repeats, served.timeouts.total_s) == (1, 2, 3600)
    assert (hosted.temperature, hosted.seed, hosted.concurrency, hosted.breaker.failures) == (None, 3, 4, 2)
    assert (hosted.timeouts.total_s, replayed.timeouts.first_byte_s) == (9, 20)
    assert (cpu.model, served.model, replayed.model, foreign.claimed_model) == ("w", "w", "replayed", "gpt")
    assert (foreign.temperature, foreign.known_max_tokens) == (None, None)


def test_a_manifest_written_now_comes_to_the_same(kept_run: Run, tmp_path: Path) -> None:
    """Resolving what is resolved changes nothing, whatever today's defaults are."""
    config = kept_run.config
    again = replace(kept_run.manifest, config=json.loads(json.dumps(config.model_dump(mode="json"))))
    assert Run(tmp_path, again).config == config


def test_a_price_is_of_a_million_tokens() -> None:
    """A million tokens of prompts at $0.50 and half a million of answers at $1.50 are $1.25."""
    price = Price(input_per_mtok=0.5, output_per_mtok=1.5)
    assert price.cost(1_000_000, 500_000) == 1.25
    assert price.cost(0, 0) == 0
    assert price.cost(3, 0) == pytest.approx(1.5e-6)
