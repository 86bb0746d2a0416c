"""A direction pack comes from anybody: what it says is what was sealed, or one clear line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numeric_hosts import PACK
from tempzero.errors import PackError, UsageError
from tempzero.precision.forms import FORMS
from tempzero.precision.packs import DirectionPack, load_pack, save_pack
from tempzero.precision.shipped_packs import choose_pack


def test_a_pack_is_the_same_bytes_and_says_what_was_measured(tmp_path: Path) -> None:
    """Two people who make it can compare one hash; what rounding to 16 bits costs is far below what is measured."""
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    save_pack(PACK, first)
    save_pack(load_pack(first), second)
    again = load_pack(second)
    assert first.read_bytes() == second.read_bytes()
    assert (again.model, again.prompts, again.rounding) == (PACK.model, PACK.prompts, PACK.rounding)
    for before, after in zip(PACK.directions, again.directions, strict=True):
        assert (before.name, before.kind, before.claims) == (after.name, after.kind, after.claims)
        assert np.abs(before.by - after.by).max() < 6e-4 * np.abs(before.by).max()


def damage(path: Path, change: dict[str, Any], *, seal_anew: bool) -> None:
    body = json.loads(path.read_text())
    body.update(change)
    if seal_anew:
        import hashlib

        from tempzero.canonical_json import to_canonical_json

        body.pop("sha256")
        body["sha256"] = hashlib.sha256(to_canonical_json(body).encode()).hexdigest()
    path.write_text(json.dumps(body))


DIRECTION = {"name": "a", "title": "a", "kind": "8-bit", "claims": [], "by": {}}


@pytest.mark.parametrize(
    ("change", "seal_anew", "said"),
    [
        ({"model": "another"}, False, "seal does not fit"),
        ({"format": "x"}, True, "not a direction pack"),
        ({"version": 2}, True, "reads version 4"),
        ({"prompts": []}, True, "damaged"),
        ({"prompts": "x"}, True, "damaged"),
        ({"logprobs": {"unit": "1e-4", "bits": 16, "numbers": "AAAA"}}, True, "damaged"),
        ({"logprobs": {"unit": "1e-4", "bits": 13, "numbers": ""}}, True, "12 or 16 bits"),
        ({"logprobs": {"unit": "nan", "bits": 16, "numbers": ""}}, True, "damaged"),
        ({"tokens": {}}, True, "each with its text"),
        ({"tokens": {"01": "a"}}, True, "is no token id"),
        ({"tokens": {"\uff11": "a"}}, True, "is no token id"),
        ({"model": "a\u001b[2J"}, True, "damaged"),
        ({"rounding": {"rms": -1.0, "source": "x"}}, True, "damaged"),
        ({"directions": [{"name": "a", "title": "a", "kind": "9-bit", "claims": [], "by": {}}]}, True, "damaged"),
        ({"directions": [{**DIRECTION, "unsure": -1.0}]}, True, "is no size in nats"),
        ({"directions": [{**DIRECTION, "unsure": 0.1, "passes": 0}]}, True, "is no number of passes"),
    ],
)
def test_a_pack_that_is_not_what_it_was_says_so(
    tmp_path: Path, change: dict[str, Any], seal_anew: bool, said: str
) -> None:
    """A hostile pack could make any host anything: it is refused with one line, and never crashes."""
    path = tmp_path / "pack.json"
    save_pack(PACK, path)
    damage(path, change, seal_anew=seal_anew)
    with pytest.raises(PackError, match=said):
        load_pack(path)


def test_a_pack_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    """Two prompts of one name are one prompt's evidence twice; what the reference goes on with is its likeliest."""
    path = tmp_path / "pack.json"
    turned = replace(PACK, logprobs=PACK.logprobs[:, ::-1])
    twice = replace(PACK, prompts=(*PACK.prompts[:-1], replace(PACK.prompts[-1], id=PACK.prompts[0].id)))
    for pack, said in ((turned, "is the likeliest"), (twice, "the same id")):
        save_pack(pack, path)
        with pytest.raises(PackError, match=said):
            load_pack(path)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"format": "tempzero direction pack"}'])
def test_what_is_no_pack_says_so(tmp_path: Path, text: str) -> None:
    """A wrong file is a mistake of the user's, told with its name."""
    path = tmp_path / "pack.json"
    path.write_text(text)
    with pytest.raises(PackError, match=r"pack\.json"):
        load_pack(path)


# The model's rows are too short for K types but in one matrix of a layer: the first two are q5_1 and q8_0 nearly all.
# AWQ and GPTQ go by texts, and calibrated on others lie elsewhere; no engine was seen that keeps FP8 keys like this.
# The others lie near a form that hosts do serve, and take more names than they give, or were not measured.
NOT_SHIPPED = {
    *("q5_k_m", "q6_k"),
    *("awq-int4-group128", "gptq-int4-group128"),
    *("cache-fp8-e4m3", "cache-fp8-e5m2"),
    *("int8-channel-embeddings", "int8-channel-inner", "fp8-e4m3-block128-a8"),
}


def shipped() -> DirectionPack:
    return choose_pack(None, ["SmolLM2-135M-Instruct"])


def test_the_shipped_pack_is_of_the_shipped_model_and_small() -> None:
    """An audit of the shipped endpoints needs no weights, and the package stays small."""
    pack = shipped()
    path = next((Path(__file__).parents[2] / "harness/tempzero/precision/shipped").glob("*.json"))
    assert path.stat().st_size < 2_000_000
    assert pack.model == "SmolLM2-135M-Instruct"
    own = [form for form in FORMS if form.name not in NOT_SHIPPED]
    assert [(d.name, d.title) for d in pack.directions] == [(form.name, form.title) for form in own]
    assert pack.rounding is not None


def test_a_model_without_a_pack_says_how_to_come_by_one() -> None:
    """The way on stands in the message."""
    with pytest.raises(UsageError, match="--make-pack"):
        choose_pack(None, ["nobody"])
