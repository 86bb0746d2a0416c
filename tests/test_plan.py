"""The plan: matched blocks, spread repeats, one seed one order, an honest upper bound of the cost."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from making import make_config, make_setting, make_suite
from tempzero import config, plan
from tempzero.errors import UsageError
from tempzero.types.asked import Message, Prompt, Suite


def test_every_trial_is_planned_exactly_once() -> None:
    """No repeat is lost or asked twice."""
    built = plan.build_plan(make_config(("a", "b", "c"), repeats=4), make_suite(5))
    counts = Counter(t.trial for t in built.trials)
    assert len(counts) == 3 * 5 * 4
    assert set(counts.values()) == {1}


def test_a_block_asks_every_provider_the_same_prompt_once() -> None:
    """Providers are compared at about the same time, so that the hour does not look like a provider."""
    built = plan.build_plan(make_config(("a", "b", "c"), repeats=2), make_suite(4))
    blocks = {b: [t.trial for t in built.trials if t.block == b] for b in {t.block for t in built.trials}}
    assert len(blocks) == 8
    for trials in blocks.values():
        assert {t.provider for t in trials} == {"a", "b", "c"}
        assert len({(t.prompt, t.repeat) for t in trials}) == 1


def test_repeats_of_a_prompt_are_spread_over_the_run() -> None:
    """Two repeats never follow each other: each round of prompts is finished before the next begins."""
    built = plan.build_plan(make_config(("a",), repeats=3), make_suite(4))
    assert [t.trial.repeat for t in built.trials] == [0] * 4 + [1] * 4 + [2] * 4


def test_the_seed_alone_decides_the_order() -> None:
    """A plan can be laid out again from the manifest, and another seed gives another order."""
    settings, suite = make_config(repeats=3), make_suite(6)
    other = settings.model_copy(update={"run": settings.run.model_copy(update={"seed": 2})})
    assert plan.build_plan(settings, suite) == plan.build_plan(settings, suite)
    assert plan.build_plan(settings, suite).trials != plan.build_plan(other, suite).trials
    assert plan.build_plan(settings, suite).digest != plan.build_plan(other, suite).digest


def test_the_digest_covers_what_is_sent() -> None:
    """Two runs with one digest have asked the same things with the same sampling."""
    suite = make_suite()
    digests = {
        plan.build_plan(make_config(**extra), suite).digest
        for extra in ({}, {"temperature": None}, {"seed": 8}, {"request": {"x": 1}}, {"max_tokens": 9})
    }
    assert len(digests) == 5


def test_a_provider_without_its_key_is_skipped_with_the_reason() -> None:
    """A missing key never silently shrinks a comparison."""
    settings = make_config(("a", "b"), api_key_env="SOME_KEY")
    chosen, skipped = plan.choose_providers(make_setting(settings))
    assert chosen == ()
    assert [s.reason for s in skipped] == ["environment variable SOME_KEY not set"] * 2
    assert len(plan.choose_providers(make_setting(settings, {"SOME_KEY": "x"}))[0]) == 2


def test_a_pack_that_judges_takes_part_with_whoever_is_asked() -> None:
    """It is no server: hosts that are asked without it would be judged by each other, an honest one as the odd one."""
    entries = [
        {"name": "host", "base_url": "http://127.0.0.1:9/v1", "model": "m"},
        {"name": "own", "serve": {"weights": "w"}},
        *({"name": n, "pack": f"{n}.json", "model": "m"} for n in ("judge", "honest", "unused")),
        {"name": "off", "pack": "off.json", "model": "m", "enabled": False},
    ]
    value = {
        "version": 1,
        "run": {"reference": ["judge", "off"]},
        "score": {"forms": ["endpoint:honest"]},
        "providers": entries,
    }
    setting = make_setting(config.parse_config(value, source="test"), {})
    for asked in ({"only": ["host"]}, {"where": "hosted"}):
        chosen, skipped = plan.choose_providers(setting, **asked)
        assert [p.name for p in chosen] == ["host", "judge", "honest"]
        assert {s.provider for s in skipped} == {"own", "unused", "off"}


def mixed_setting(environ: dict[str, str]) -> config.Setting:
    """A hosted provider with a key, one without any, one of its own on this machine, and a demonstration."""
    entries = [
        {"name": "hosted", "base_url": "http://127.0.0.1:9/v1", "model": "m", "api_key_env": "SOME_KEY"},
        {"name": "open", "base_url": "http://127.0.0.1:9/v1", "model": "m"},
        {"name": "own", "serve": {"weights": "w"}},
        {"name": "shown", "serve": {"weights": "w"}, "demo": True},
    ]
    return make_setting(config.parse_config({"version": 1, "providers": entries}, source="test"), environ)


@pytest.mark.parametrize(
    ("key", "asked", "expected"),
    [
        ({}, {}, ["open", "own", "shown"]),
        ({"SOME_KEY": "x"}, {}, ["hosted", "open", "own"]),
        ({"SOME_KEY": "x"}, {"where": "local"}, ["own", "shown"]),
        ({"SOME_KEY": "x"}, {"where": "hosted"}, ["hosted", "open"]),
        ({}, {"where": "hosted"}, ["open"]),
        ({"SOME_KEY": "x"}, {"only": ["shown", "hosted"]}, ["hosted", "shown"]),
    ],
)
def test_a_demonstration_does_not_join_in_where_a_key_is_set(
    key: dict[str, str], asked: dict[str, Any], expected: list[str]
) -> None:
    """With four keys set a plain run asked 280 questions, most of them of a 135M model on this machine."""
    chosen, skipped = plan.choose_providers(mixed_setting(key), **asked)
    assert [p.name for p in chosen] == expected
    assert len(chosen) + len(skipped) == 4
    if key and not asked:
        assert [s.reason for s in skipped] == [plan.DEMO]


def test_an_unknown_provider_on_the_command_line_is_refused() -> None:
    """A typing error must not become a run without that provider."""
    with pytest.raises(UsageError, match='no provider is called "c"; known: a, b'):
        plan.choose_providers(make_setting(make_config()), ["c"])


def test_the_cost_is_an_upper_bound_from_the_given_prices() -> None:
    """3 prompts x 2 repeats x 100 tokens at $2 a million, plus the prompts at $1."""
    settings = make_config(("a",), repeats=2, max_tokens=100, price={"input_per_mtok": 1.0, "output_per_mtok": 2.0})
    (estimate,) = plan.build_plan(settings, make_suite(3)).estimates
    assert estimate.calls == 6
    assert estimate.completion_tokens == 600
    assert estimate.cost_usd == pytest.approx((600 * 2 + estimate.prompt_tokens) / 1e6)


def test_providers_may_have_repeats_of_their_own() -> None:
    """The reference can be asked twice while others are asked often."""
    entry = {"base_url": "http://x/v1", "model": "m"}
    settings = config.parse_config(
        {"version": 1, "providers": [{"name": "a", "repeats": 1, **entry}, {"name": "b", "repeats": 3, **entry}]},
        source="t",
    )
    counts = Counter(t.trial.provider for t in plan.build_plan(settings, make_suite(2)).trials)
    assert counts == {"a": 2, "b": 6}


CONDITIONS = [
    {"name": "serial", "repeats": 3},
    {"name": "burst", "concurrency": 16, "providers": ["a"]},
    {"name": "warm", "cache": "warm"},
]


def test_every_provider_is_asked_under_every_condition_that_names_it() -> None:
    """A block asks one prompt under all conditions, so that the hour does not look like the load."""
    value = make_config(("a", "b"), repeats=2).model_dump(mode="json") | {"conditions": CONDITIONS}
    built = plan.build_plan(config.parse_config(value, source="t"), make_suite(4))
    counts = Counter((t.trial.provider, t.trial.condition) for t in built.trials)
    assert counts == {
        ("a", "serial"): 12,
        ("b", "serial"): 12,
        ("a", "burst"): 8,
        ("a", "warm"): 8,
        ("b", "warm"): 8,
    }
    assert {e.provider: e.calls for e in built.estimates} == {"a": 28, "b": 20}
    assert all(len({t.trial.prompt for t in built.trials if t.block == b}) == 1 for b in range(12))


def test_repeats_follow_one_another_where_the_cache_is_to_be_warm() -> None:
    """What a warm prefix cache does shows only while the prompt is still in it."""
    value = make_config(("a",), repeats=3).model_dump(mode="json") | {"conditions": [CONDITIONS[2]]}
    built = plan.build_plan(config.parse_config(value, source="t"), make_suite(4))
    assert [t.trial.repeat for t in built.trials] == [0, 1, 2] * 4


def test_conditions_change_the_digest() -> None:
    """Two runs of one digest were asked under the same load."""
    suite, plain = make_suite(), make_config().model_dump(mode="json")
    digests = {
        plan.build_plan(config.parse_config(plain | {"conditions": conditions}, source="t"), suite).digest
        for conditions in ([], [{"name": "x"}], [{"name": "x", "concurrency": 2}], [{"name": "x", "stream": True}])
    }
    assert len(digests) == 4


def _long(name: str, words: int) -> Prompt:
    return Prompt(
        id=name, messages=(Message(role="user", content="word " * words),), family=f"family {name}", max_tokens=50
    )


def test_what_a_context_cannot_hold_is_left_out_and_said() -> None:
    """A prompt that is surely too long is no gap in the data: it is not asked, and the plan names it."""
    prompts = (_long("short", 100), _long("long", 1_000))
    suite = Suite(prompts=prompts, digest="d")
    for context, asked in ((None, 2), (1_050, 2), (1_049, 1), (149, 0)):
        built = plan.build_plan(make_config(("a",), repeats=3, context=context), suite)
        assert len(built.trials) == 3 * asked
        assert built.estimates[0].calls == 3 * asked
        assert [len(one.prompts) for one in built.left_out] == ([2 - asked] if asked < 2 else [])
    (left_out,) = plan.build_plan(make_config(("a",), context=1_000), suite).left_out
    assert (left_out.provider, left_out.context, left_out.prompts) == ("a", 1_000, ("long",))


def test_a_family_costs_what_its_prompts_cost() -> None:
    """Whoever looks for a cheaper suite sees where the tokens go; the families add up to the whole."""
    suite = Suite(prompts=(_long("one", 100), _long("two", 200), _long("three", 300)), digest="d")
    priced = make_config(("a", "b"), repeats=2, price={"input_per_mtok": 1.0, "output_per_mtok": 2.0})
    built = plan.build_plan(priced, suite)
    assert [family.family for family in built.families] == ["family one", "family three", "family two"]
    assert [(f.prompts, f.calls, f.completion_tokens) for f in built.families] == [(1, 4, 200)] * 3
    for figure in ("calls", "prompt_tokens", "completion_tokens"):
        assert sum(getattr(f, figure) for f in built.families) == sum(getattr(e, figure) for e in built.estimates)
    family, provider = (sum(one.cost_usd or 0 for one in of) for of in (built.families, built.estimates))
    assert family == pytest.approx(provider)
    unpriced = plan.build_plan(make_config(("a",)), suite)
    assert {f.cost_usd for f in unpriced.families} == {None}
