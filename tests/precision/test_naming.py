"""A form is named where it is there, and only there: hosts made by numbers, so that the truth is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numeric_hosts import LONG_PACK, NOISE, PACK, PROMPTS, TOKENS, answer, make_exchange, serve
from numpy.typing import NDArray
from tempzero.answers.first_tokens import FirstToken, TokenLogprob, read_first_token
from tempzero.precision.declared import judge_claim
from tempzero.precision.displacement_change import weigh_displacement_change
from tempzero.precision.fingerprint_wording import (
    decide_outcome,
    describe_host,
    describe_pairs,
    list_camps,
    to_fingerprint_json,
)
from tempzero.precision.hosts import FingerprintReport, HostFingerprint, conclude_host
from tempzero.precision.logit_grid import find_logit_grid
from tempzero.precision.naming import Naming, name_forms
from tempzero.precision.packs import Direction, HonestRounding, PackPlace
from tempzero.precision.prompt_rows import PromptRows, count_shuffles_as_good
from tempzero.precision.shared_displacement import compare_displacements
from tempzero.precision.shipped_packs import choose_pack

Given = dict[str, list[tuple[FirstToken, ...]]]


def fingerprint(given: Given, declared: str | None = None) -> HostFingerprint:
    return conclude_host(PACK, "host", declared, given)


def names(naming: Naming | None) -> list[str]:
    return [] if naming is None else [one.direction.name for one in naming.named]


@pytest.mark.parametrize("form", ["q8_0", "fp8-channel", "fp8-tensor", "int4", "cache"])
@pytest.mark.parametrize(("prompts", "best"), [(8, 20), (24, 20), (24, 5)])
def test_a_host_is_named_after_the_form_that_it_serves(form: str, prompts: int, best: int) -> None:
    """A few short requests tell which of several forms of about one size it is."""
    host = fingerprint(answer(serve(form), prompts=prompts, best=best))
    assert (host.state, names(host.naming)) == ("named", [form])


def test_a_form_is_shown_however_many_hosts_share_the_chance_of_a_false_name() -> None:
    """The budget is divided by the hosts of a run: by a fixed number of shuffles none of forty could be accused."""
    naming = conclude_host(PACK, "host", "bf16", answer(serve("int4"), prompts=24), hosts=40).naming
    assert naming is not None
    assert names(naming) == ["int4"]
    assert 40 * naming.named[0].p <= 0.005


def conclude_long(given: NDArray[np.float64], **asked: Any) -> HostFingerprint:
    return conclude_host(LONG_PACK, "host", None, answer(given, **asked))


def test_more_tokens_of_an_answer_tell_what_the_first_alone_does_not() -> None:
    """Eight requests for one token leave q8_0 open by three log-probabilities; eight for four tokens name it."""
    given = serve("q8_0", pack=LONG_PACK, noise=0.08)
    long = conclude_long(given, prompts=8, best=3)
    assert (long.state, names(long.naming)) == ("named", ["q8_0"])
    first = {prompt: [told[:1]] for prompt, (told,) in answer(given, prompts=8, best=3).items()}
    assert names(conclude_host(LONG_PACK, "host", None, first).naming) == []


def test_what_comes_after_another_token_than_the_references_is_not_compared() -> None:
    """Behind another beginning every log-probability is another: that is no displacement of the weights."""
    given = serve("fp8-channel", pack=LONG_PACK)
    given.reshape(PROMPTS, -1, TOKENS)[:, 2:] = serve(strange=3.0, pack=LONG_PACK).reshape(PROMPTS, -1, TOKENS)[:, 2:]
    host = conclude_long(given, goes_on=[" t0", " t1", " t0", " t0"])
    assert (host.displacement.places, host.displacement.prompts) == (2 * PROMPTS, PROMPTS)
    assert (host.state, names(host.naming)) == ("named", ["fp8-channel"])


def test_a_host_that_writes_tokens_without_their_blanks_is_held_against_none_that_is_another() -> None:
    """Two tokens that differ by a blank become one text: whichever of the two it is, nobody is moved by that."""
    texts = tuple(f"{' ' * (t % 2)}t{t // 2}".encode() for t in range(TOKENS))
    pack = replace(PACK, prompts=tuple(replace(p, places=(replace(p.places[0], tokens=texts),)) for p in PACK.prompts))
    given = serve(noise=0.01)
    for kept, known in ((lambda text: text, 20), (bytes.strip, 4)):
        told = {
            p.id: [
                (
                    FirstToken(
                        candidates=tuple(
                            TokenLogprob(token=kept(texts[t]), token_id=None, logprob=float(row[t]))
                            for t in np.argsort(-row)[:20]
                        ),
                        floored=0,
                        decimals=None,
                    ),
                )
            ]
            for p, row in zip(pack.prompts, given, strict=True)
        }
        host = conclude_host(pack, "host", None, told)
        assert host.displacement.known <= known * PROMPTS
        assert host.naming is None or host.naming.size < 0.02


def test_a_text_that_may_be_a_token_with_a_part_of_a_character_is_nobodys() -> None:
    """Who writes texts alone leaves that part out: " " is a blank then or another token, and nobody is moved by it."""
    parted = (b" ", b" \xe2\x89", *(b"t%d" % t for t in range(2, TOKENS)))
    for texts, known in ((parted, TOKENS - 2), ((b" ", *parted[2:], b"last"), TOKENS)):
        pack = replace(
            PACK, prompts=tuple(replace(p, places=(replace(p.places[0], tokens=texts),)) for p in PACK.prompts)
        )
        told = {}
        for p, row in zip(pack.prompts, serve(noise=0.01), strict=True):
            given = [
                TokenLogprob(token=text.decode(errors="ignore").encode(), token_id=None, logprob=float(value))
                for text, value in zip(texts, row, strict=True)
            ]
            told[p.id] = [(FirstToken(candidates=tuple(given), floored=0, decimals=None),)]
        host = conclude_host(pack, "host", None, told)
        assert host.displacement.known == known * PROMPTS
        assert host.naming is not None
        assert host.naming.size < 0.02


def test_a_host_that_does_not_say_how_it_goes_on_is_read_by_its_first_token() -> None:
    """Nothing is taken for granted: without the tokens that it chose nobody knows what the next ones follow."""
    told = {
        prompt: [tuple(replace(one, chosen=None) for one in given)]
        for prompt, (given,) in answer(serve("int4", pack=LONG_PACK)).items()
    }
    host = conclude_host(LONG_PACK, "host", None, told)
    assert (host.displacement.places, names(host.naming)) == (PROMPTS, ["int4"])


def test_places_of_one_answer_that_say_the_same_are_one() -> None:
    """Chance is asked by prompt: a displacement said eight times over is shown no better than said once."""
    rng = np.random.default_rng(8)
    host, form = rng.normal(size=(2, 7, 20))
    host = host + 0.35 * form
    once = PromptRows(prompts=np.arange(7), places=np.zeros(7, int))
    often = PromptRows(prompts=np.repeat(np.arange(7), 8), places=np.tile(np.arange(8), 7))
    seen = float((host * form).sum() / np.sqrt((host**2).sum() * (form**2).sum()))
    alone = count_shuffles_as_good(once, host, [form], seen, 1)
    assert 0.001 < alone < 0.2
    repeated = (np.repeat(one, 8, axis=0) for one in (host, form))
    again, moved = repeated
    assert count_shuffles_as_good(often, again, [moved], seen, 1) == alone


@pytest.mark.parametrize(
    "lengths", [(4, 1, 4, 2, 3, 4, 1, 4, 2, 4), (8, 1, 1, 1, 1, 1, 1, 1), (8, 8, *[1] * 14), (8, 8, 8, *[1] * 6)]
)
def test_strangers_get_small_chances_as_often_as_they_say(lengths: tuple[int, ...]) -> None:
    """A p value below .05 comes in one of twenty honest cases, also where prompts have answers of different lengths."""
    small, every = 0, np.repeat(np.arange(len(lengths)), lengths)
    whole = PromptRows(prompts=every, places=np.concatenate([np.arange(n) for n in lengths]))
    common = whole.find_common(np.zeros((len(every), 1)))
    rows, prompts = whole.pick(common), every[common]
    for seed in range(300):
        rng = np.random.default_rng(seed)
        # What the places of one answer share makes them anything but independent.
        host, form = (
            3 * rng.normal(size=(len(lengths), 1, 6))[prompts, 0] + rng.normal(size=(len(prompts), 6)) for _ in range(2)
        )
        seen = float((host * form).sum() / np.sqrt((host**2).sum() * (form**2).sum()))
        small += count_shuffles_as_good(rows, host, [form], seen, 1) <= 0.05
    assert small <= 25  # 15 are expected; 26 come in 1 of 200 times


@pytest.mark.parametrize("best", [20, 5, 2])
def test_an_honest_host_is_hardly_ever_named(best: int) -> None:
    """The worst fault is a host accused that only rounds: one in two hundred by the budget, none in these."""
    named = [
        fingerprint(answer(serve(noise=size, seed=seed), best=best, prompts=n)).state
        for seed in range(25)
        for n, size in ((8, 0.05), (24, 0.05))
    ]
    assert set(named) <= {"as 16-bit", "no answer"}


def test_a_form_that_the_pack_does_not_know_is_none_of_them() -> None:
    """Something that is moved by more than rounding, and in no known way, is said to be just that."""
    host = fingerprint(answer(serve(strange=0.3)))
    assert (host.state, names(host.naming)) == ("unknown form", [])
    assert any("none of the 6 forms explains" in line for line in describe_host(host, PACK))


def test_an_honest_host_gets_a_bound_and_what_is_ruled_out() -> None:
    """ "Nothing found" says how much could have been there."""
    host = fingerprint(answer(serve()))
    assert host.state == "as 16-bit"
    assert host.naming is not None
    assert {d.name for d in host.naming.excluded} >= {"q8_0", "fp8-channel", "fp8-tensor", "int4", "cache"}
    assert NOISE * 0.9 < host.naming.size < host.naming.size_bound < NOISE * 1.2


def test_an_honest_host_is_told_how_coarse_it_is_not() -> None:
    """ "Nothing found" is an equivalence statement: from which form on coarser weights are ruled out."""
    lines = list(describe_host(fingerprint(answer(serve())), PACK))
    assert any("not quantised as coarsely as q8_0: every form that moves as far or further" in line for line in lines)


def test_a_host_that_is_moved_by_no_form_of_the_pack_is_not_called_fine() -> None:
    """It may be coarser than any of them: that none of them is there says nothing of it."""
    host = fingerprint(answer(serve(strange=0.3)))
    assert host.state == "unknown form"
    assert not any("not quantised" in line for line in describe_host(host, PACK))


def test_hosts_are_sorted_into_camps_by_their_weights_without_any_form() -> None:
    """Three that serve one rounding that nobody knows are one camp; an honest one beside them is in none."""
    rng = np.random.default_rng(7)
    odd = rng.normal(size=(PROMPTS, TOKENS)) * 0.2
    given = {f"odd-{n}": serve(seed=n) + odd for n in range(3)} | {f"honest-{n}": serve(seed=9 + n) for n in range(2)}
    hosts = tuple(conclude_host(PACK, name, None, answer(told)) for name, told in given.items())
    pairs = compare_displacements(PACK, {h.provider: h.displacement for h in hosts})
    assert list_camps(FingerprintReport(pack=PACK, hosts=hosts, pairs=pairs)) == [("odd-0", "odd-1", "odd-2")]


@pytest.mark.parametrize(
    ("forms", "last"),
    [
        (("q8_0", "int4"), "host-0 and host-1 are not shown to be moved alike"),
        (("q8_0", "int4", "fp8-tensor"), "no two hosts are shown to be moved alike"),
        (("q8_0", "q8_0", "int4"), "none of the other 2 pairs is shown to be moved alike"),
        (("q8_0", "q8_0"), "host-0 and host-1 are moved alike"),
    ],
)
def test_what_is_not_shown_of_pairs_of_hosts_is_one_plain_sentence(forms: Sequence[str], last: str) -> None:
    """Whoever compares two hosts reads of these two, and nothing of "1 of 1 pairs"."""
    given = {f"host-{n}": serve(form, seed=n) for n, form in enumerate(forms)}
    hosts = tuple(conclude_host(PACK, name, None, answer(told)) for name, told in given.items())
    pairs = compare_displacements(PACK, {h.provider: h.displacement for h in hosts})
    lines = list(describe_pairs(FingerprintReport(pack=PACK, hosts=hosts, pairs=pairs)))
    assert lines[-1].startswith(last)


def test_hosts_of_which_one_is_moved_much_further_are_not_alike() -> None:
    """Four bits and eight may round the same way in part: a common direction is not the same weights."""
    moved = next(d.by for d in PACK.directions if d.name == "fp8-channel")
    given = {"once": serve("fp8-channel", seed=1), "more": serve("fp8-channel", seed=2) + 2 * moved}
    hosts = [conclude_host(PACK, name, None, answer(told)) for name, told in given.items()]
    (pair,) = compare_displacements(PACK, {h.provider: h.displacement for h in hosts})
    assert pair.correlation > 0.8
    assert not pair.alike


def test_two_changes_at_once_are_both_named() -> None:
    """Weights in one form and a cache in another are two facts."""
    assert sorted(names(fingerprint(answer(serve("fp8-channel", "cache"))).naming)) == ["cache", "fp8-channel"]


def test_forms_that_the_data_cannot_part_are_undecided() -> None:
    """Two directions that are all but one must not be decided by chance."""
    twin = next(d for d in PACK.directions if d.name == "fp8-channel")
    rng = np.random.default_rng(3)
    near = replace(twin, name="near", title="near", by=twin.by + rng.normal(size=twin.by.shape) * 0.01)
    pack = replace(PACK, directions=(*PACK.directions, near))
    host = conclude_host(pack, "host", None, answer(serve("fp8-channel"), prompts=8))
    assert host.state == "undecided"
    assert host.naming is not None
    assert {host.naming.named[0].direction.name, *(d.name for d in host.naming.named[0].rivals)} == {
        "near",
        "fp8-channel",
    }


def test_a_direction_that_is_known_roughly_is_not_refuted_by_what_is_not_known_of_it() -> None:
    """A mean of a few passes that scatter is off by chance; that alone must not make its host another's."""
    rough = make_rough_twin()
    for direction, expected in ((rough, "undecided"), (replace(rough, unsure=0.0), "named")):
        noisy = HonestRounding(rms=0.12, source="numbers")
        pack = replace(PACK, rounding=noisy, directions=(*PACK.directions, direction))
        assert conclude_host(pack, "host", None, answer(serve("fp8-channel", noise=0.12))).state == expected


def test_a_form_that_scatters_is_found_where_its_weights_alone_leave_too_much() -> None:
    """W8A8 lies near its weights, which may fit as well by chance: what its scatter explains is nothing unknown."""
    pack = replace(PACK, directions=(*PACK.directions, make_rough_twin()))
    host = conclude_host(pack, "host", None, answer(serve("fp8-channel", noise=0.12)))
    assert host.naming is not None
    assert names(host.naming) == ["rough"]
    assert host.state in {"named", "undecided"}


def test_a_host_that_does_not_scatter_serves_no_form_that_does() -> None:
    """W8A8 beside its weights alone: whoever lies nearer to these than rounded activations let anybody is told."""
    pack = replace(PACK, directions=(*PACK.directions, make_rough_twin()))
    for prompts, best in ((24, 20), (24, 5), (8, 20)):
        host = conclude_host(pack, "host", None, answer(serve("fp8-channel"), prompts=prompts, best=best))
        assert (host.state, names(host.naming)) == ("named", ["fp8-channel"])


def test_what_a_form_scatters_by_is_no_sign_of_something_else() -> None:
    """Rounded activations leave more than 16-bit rounding beside their direction: of them that is to be expected."""
    told = answer(serve("fp8-channel", noise=0.42))
    rest = tuple(d for d in PACK.directions if d.name != "fp8-channel")
    (form,) = (d for d in PACK.directions if d.name == "fp8-channel")
    for unsure, expected in ((0.1, ["fp8-channel"]), (0.0, [])):
        pack = replace(PACK, directions=(*rest, replace(form, unsure=unsure, passes=16)))
        host = conclude_host(pack, "host", None, told)
        assert names(host.naming) == expected
        assert any("what the form itself scatters by included" in line for line in describe_host(host, pack)) == (
            unsure > 0
        )


def test_weights_that_would_need_something_else_beside_them_are_named_in_the_second_place() -> None:
    """What rounded activations explain, weights alone do with an unknown part: that is likely less, and is told."""
    rough, served = make_rough_twin(), serve("fp8-channel", noise=0.0)
    pack, told, lost = replace(PACK, directions=(*PACK.directions, rough)), 0, 0
    for seed in range(8):
        noise = np.random.default_rng(seed).normal(size=served.shape) * 0.13
        host = conclude_host(pack, "host", None, answer(PACK.logprobs + rough.by + noise, prompts=10))
        assert (host.state, names(host.naming)) == ("named", ["rough"])
        told += any("(or else fp8-channel, and something besides)" in line for line in describe_host(host, pack))
        other = conclude_host(pack, "host", None, answer(served + noise, prompts=10)).naming
        assert other is not None
        (one,) = other.named
        lost += "fp8-channel" not in {one.direction.name, *(d.name for d in (*one.rivals, *one.fuller))}
    assert told
    assert lost <= 1  # one in a hundred is promised


def test_nobody_is_accused_by_a_form_where_what_it_declares_would_do_with_something_besides() -> None:
    """The second place is a place: weights as declared with a cache of the engine's own are none that are coarser."""
    rough = replace(make_rough_twin(), kind="4-bit", claims=("int4",))
    pack, second = replace(PACK, directions=(*PACK.directions, rough)), 0
    for seed in range(12):
        noise = np.random.default_rng(seed).normal(size=rough.by.shape) * 0.13
        host = conclude_host(pack, "host", "fp8", answer(PACK.logprobs + rough.by + noise, prompts=10))
        assert host.naming is not None
        if any(one.fuller for one in host.naming.named):
            second += 1
            assert (host.standing.standing, host.standing.coarser) == ("untested", False)
    assert second


def make_rough_twin() -> Direction:
    """Of FP8: sixteen passes that scatter by .12 nats give it within .03."""
    twin = next(d for d in PACK.directions if d.name == "fp8-channel")
    off = np.random.default_rng(3).normal(size=twin.by.shape) * 0.03
    return replace(twin, name="rough", title="rough", by=twin.by + off, unsure=0.03, passes=16)


@pytest.mark.parametrize("decimals", [4, 3, 2])
def test_rounded_and_floored_numbers_are_read_for_what_they_are(decimals: int) -> None:
    """Hosts round, and write -9999 where they have nothing: neither is a displacement."""
    host = fingerprint(answer(serve("fp8-channel"), decimals=decimals, floor=3))
    assert (names(host.naming), host.displacement.decimals, host.displacement.floored) == (
        ["fp8-channel"],
        decimals,
        72,
    )


def test_what_all_prompts_have_in_common_names_no_form() -> None:
    """A form that moves every prompt alike is shown no more by a host that is moved so than by chance."""
    common = np.where(np.arange(TOKENS) % 2, 0.3, -0.3)[None, :].repeat(PROMPTS, axis=0)
    alike = replace(PACK.directions[2], name="alike", title="alike", by=common)
    pack = replace(PACK, directions=(*PACK.directions, alike))
    host = conclude_host(pack, "host", None, answer(serve() + common, best=TOKENS))
    assert names(host.naming) == []


def test_what_a_token_is_moved_by_wherever_it_stands_names_no_form_alone() -> None:
    """Prompts alike begin with the same few tokens: what these have in common two strangers may share by chance."""
    rng = np.random.default_rng(11)
    ids = np.array([np.roll(np.arange(TOKENS), n) for n in range(PROMPTS)])
    shared = (rng.normal(size=TOKENS) * 0.3)[ids]
    own = [shared + rng.normal(size=ids.shape) * 0.12 for _ in range(2)]
    prompts = [
        replace(p, places=(PackPlace(token_ids=tuple(map(int, row)), tokens=tuple(b" t%d" % token for token in row)),))
        for p, row in zip(PACK.prompts, ids, strict=True)
    ]
    like = replace(PACK.directions[2], name="like", title="like", by=own[0])
    pack = replace(PACK, prompts=tuple(prompts), directions=(*PACK.directions, like))
    for moved, expected in ((own[1], ("unknown form", [])), (own[0], ("named", ["like"]))):
        told = {
            p.id: [
                (
                    FirstToken(
                        candidates=tuple(
                            TokenLogprob(token=b" t%d" % token, token_id=int(token), logprob=float(value))
                            for value, token in sorted(zip(given, row, strict=True), reverse=True)[:20]
                        ),
                        floored=0,
                        decimals=None,
                    ),
                )
            ]
            for p, row, given in zip(prompts, ids, serve() + moved, strict=True)
        }
        host = conclude_host(pack, "host", None, told)
        assert host.naming is not None
        assert host.naming.correlations["like"] > 0.7
        assert (host.state, names(host.naming)) == expected


@pytest.mark.parametrize("name", ["fp8-e4m3-channel", "q5_0", "q8_0"])
def test_a_night_names_the_form_that_has_come_and_not_one_that_is_like_it(name: str) -> None:
    """Evidence by signs is as large for a cousin, as with the embeddings rounded too: the name is read as the cause."""
    pack, rng = choose_pack(None, ["SmolLM2-135M-Instruct"]), np.random.default_rng(3)
    came = next(d for d in pack.directions if d.name == name)
    before, now = (rng.normal(size=came.by.shape) * 0.066 for _ in range(2))
    found = weigh_displacement_change(pack, [before, now + came.by], [before] * 3)
    assert (found.form, found.evidence > 18_250) == (name, True)


def test_nothing_more_is_found_where_a_form_leaves_no_more_than_rounding() -> None:
    """A form that fits what rounding may have left is no second fact."""
    small = 0.8 * next(d.by for d in PACK.directions if d.name == "q8_0")
    assert names(fingerprint(answer(serve("int4") + small)).naming) == ["int4"]
    assert sorted(names(fingerprint(answer(serve("int4") + 2 * small)).naming)) == ["int4", "q8_0"]


def test_a_form_that_explains_less_than_half_is_not_named_beside_what_is_more_than_rounding() -> None:
    """Formats of one width are somewhat alike: what nobody knows must not go by the name of its nearest."""
    fp8 = next(d.by for d in PACK.directions if d.name == "fp8-channel")
    host = fingerprint(answer(serve(strange=0.3) + fp8))
    assert (host.state, names(host.naming)) == ("unknown form", [])


def test_another_temperature_is_told_and_no_form_is_made_of_it() -> None:
    """A host that divides its logits by 1.25 moves every log-probability, and its weights not at all."""
    host = fingerprint(answer(serve(times=0.8)))
    assert names(host.naming) == []
    assert any("temperature 1.25" in line for line in describe_host(host, PACK))


def test_one_candidate_with_all_the_probability_says_nothing() -> None:
    """What is left at temperature 0 is not the model's distribution."""
    given = np.where(np.arange(TOKENS) == 0, -1e-6, -20.0)[None, :].repeat(PROMPTS, axis=0)
    host = fingerprint(answer(given))
    assert host.state == "no answer"
    assert "temperature 0" in host.reason


def test_too_few_prompts_are_no_answer() -> None:
    """Five prompts can be shuffled in too few ways for the error that is promised."""
    assert fingerprint(answer(serve("int4"), prompts=5)).state == "no answer"


def test_the_same_host_gives_the_same_bytes() -> None:
    """A conclusion can be checked by whoever has the run and the pack."""
    reports = [FingerprintReport(pack=PACK, hosts=(fingerprint(answer(serve("q8_0"))),), pairs=()) for _ in range(2)]
    assert to_fingerprint_json(reports[0]) == to_fingerprint_json(reports[1])


@pytest.mark.parametrize(
    ("declared", "served", "standing", "outcome"),
    [
        ("FP8", ("fp8-channel",), "confirmed", "pass"),
        ("fp8", ("int4",), "contradicted", "finding"),
        ("int4", ("fp8-channel",), "contradicted", "pass"),
        ("bf16", ("q8_0",), "contradicted", "finding"),
        ("bf16", (), "confirmed", "pass"),
        ("fp8", (), "contradicted", "pass"),
        ("mixed", ("fp8-channel",), "untested", "pass"),
        (None, ("int4",), "untested", "pass"),
    ],
)
def test_a_declaration_is_confirmed_contradicted_or_untested(
    declared: str | None, served: tuple[str, ...], standing: str, outcome: str
) -> None:
    """A declared FP8 host that serves FP8 is no finding; one that serves coarser weights than it says is."""
    host = fingerprint(answer(serve(*served)), declared)
    assert host.standing.standing == standing, host.standing.words
    assert decide_outcome(FingerprintReport(pack=PACK, hosts=(host,), pairs=())) == outcome


def test_sixteen_bits_with_a_coarser_cache_are_not_served_as_declared() -> None:
    """What is confirmed is read as the whole truth: that nothing coarser was found."""
    standing = fingerprint(answer(serve("cache")), declared="bf16").standing
    assert (standing.standing, standing.coarser) == ("untested", False), standing.words


def test_what_cannot_be_ruled_out_is_not_confirmed() -> None:
    """With few numbers q8_0 may hide in the rounding of an honest host: bf16 is then untested, not confirmed."""
    hidden = 0
    for seed in range(8):
        host = fingerprint(answer(serve(noise=0.15, seed=seed), best=4, prompts=6), "bf16")
        assert host.naming is not None
        if "q8_0" in [d.name for d in host.naming.possible]:
            hidden += 1
            assert host.standing.standing == "untested"
    assert hidden


def test_what_rounding_may_hide_is_named_where_nothing_is_found() -> None:
    """ "As an honest host" of few numbers is no acquittal of q8_0: the sentence says which forms it leaves open."""
    for seed in range(8):
        host = fingerprint(answer(serve(noise=0.05, seed=seed), best=3, prompts=6))
        assert host.naming is not None
        hidden = [d.name for d in host.naming.possible if d.name != "bf16"]
        said = next(iter(describe_host(host, PACK)))
        if host.state == "as 16-bit" and hidden:
            assert f"; {hidden[0]}" in said
            assert "cannot be told from rounding by so few requests" in said
            break
    else:
        pytest.fail("no such host among eight")


def test_nothing_is_judged_of_a_host_that_said_nothing() -> None:
    """Untested is not contradicted."""
    assert judge_claim("fp8", PACK, None, trusted=False, moved=False).standing == "untested"


def test_hosts_of_the_same_weights_are_moved_alike_and_no_form_is_needed() -> None:
    """Two hosts with one unknown rounding form a camp; an honest one stands apart."""
    given = {
        "a": serve(strange=0.3, seed=1),
        "b": serve(strange=0.3, seed=2),
        "c": serve(seed=3),
    }
    hosts = {name: fingerprint(answer(told)).displacement for name, told in given.items()}
    alike = {(pair.first, pair.second): pair.alike for pair in compare_displacements(PACK, hosts)}
    assert alike == {("a", "b"): True, ("a", "c"): False, ("b", "c"): False}


def round_mantissa(values: NDArray[np.float64], bits: int) -> NDArray[np.float64]:
    _, exponents = np.frexp(values)
    steps = np.exp2(exponents - 1.0 - bits)
    rounded: NDArray[np.float64] = np.rint(values / steps) * steps
    return rounded


@pytest.mark.parametrize(("bits", "expected"), [(3, "fp8"), (7, "bf16"), (10, "f16"), (23, "float32")])
def test_the_format_of_the_logits_is_found_through_the_shift(bits: int, expected: str) -> None:
    """It is a label of the engine: the numbers lie on a grid once the one unknown shift of a prompt is found."""
    rng = np.random.default_rng(4)
    logits = round_mantissa(rng.normal(size=(8, 20)) + 18, bits)
    shifts = [float(np.logaddexp.reduce(row)) + 0.3 for row in logits]
    given = [row - shift for row, shift in zip(logits, shifts, strict=True)]
    assert find_logit_grid(given, [shift + 0.2 for shift in shifts], None).format == expected


def test_numbers_too_rounded_or_too_few_have_no_format() -> None:
    """Two decimals lie on any fine grid."""
    rng = np.random.default_rng(4)
    given = [np.round(-np.abs(rng.normal(size=20)) * 3, 2) for _ in range(8)]
    assert find_logit_grid(given, [15.0] * 8, 2).format is None
    assert find_logit_grid([row[:3] for row in given], [15.0] * 8, None).format is None


SHAPES: Sequence[tuple[str, object]] = (
    ("chat", {"content": [{"token": "a", "top_logprobs": [{"token": "a", "logprob": -0.5, "bytes": [97]}]}]}),
    ("older", {"tokens": ["a"], "token_logprobs": [-0.5], "top_logprobs": [{"a": -0.5}]}),
)


@pytest.mark.parametrize(("_name", "shape"), SHAPES, ids=[name for name, _ in SHAPES])
def test_both_shapes_of_log_probabilities_are_read(_name: str, shape: object) -> None:
    """Hosts give the one of the chat route or that of the older completions under the same address."""
    told = read_first_token(make_exchange(shape))
    assert told is not None
    assert told.candidates == (TokenLogprob(token=b"a", token_id=None, logprob=-0.5),)


@pytest.mark.parametrize(
    "odd",
    [
        None,
        7,
        {"content": None},
        {"content": [{"top_logprobs": "x"}]},
        {"content": [{"top_logprobs": [{"token": 7, "logprob": -1}, {"token": "a", "logprob": True}]}]},
        {"content": [{"top_logprobs": [{"token": "a", "logprob": 3.5}, {"token": "b", "logprob": math.nan}]}]},
        {"top_logprobs": [["a", -1]]},
        {"top_logprobs": [{"a": -(10**400), "b": 10**400}]},
    ],
)
def test_what_is_no_log_probability_is_none(odd: object) -> None:
    """Whatever a host writes there, reading it neither fails nor invents a number."""
    assert read_first_token(make_exchange(odd)) is None


def test_few_candidates_without_their_mean_still_tell_a_large_change() -> None:
    """With one or two a prompt there is no mean to take off; as probabilities of the whole they say something."""
    told = fingerprint(answer(serve("int4"), best=2))
    assert told.state in ("named", "undecided")
    naming = name_forms(PACK, told.displacement.by, centred=True)
    assert naming is not None
