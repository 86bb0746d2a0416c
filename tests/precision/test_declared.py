"""What a declared precision means, held against what was read of the answers: the one rule behind every verdict."""

from __future__ import annotations

import pytest
from tempzero.precision.declared import ReadForms, group_declared, judge_read_forms, read_declaration
from tempzero.types.vocabulary import ClaimState


def read(
    *, served: str = "", explaining: str = "", alike: str = "", refuted: str = "", within: bool = True
) -> ReadForms:
    """Each a list of forms, parted by blanks."""
    found = [names.split() for names in (served, explaining, alike, refuted)]
    own = {"coarser:own-fp8": "fp8", "coarser:own": "our own quant", "coarser:other": "半精度"}
    return ReadForms(served=found[0], explaining=found[1], alike=found[2], refuted=found[3], within=within, own=own)


@pytest.mark.parametrize(
    ("declared", "seen", "standing", "coarser"),
    [
        (None, read(served="q4_0", within=False), "untested", False),
        ("q8_0", read(served="q8_0"), "confirmed", False),
        ("Q8", read(served="q8_0"), "confirmed", False),
        ("q8_0", read(served="q4_0", within=False), "contradicted", True),
        ("bf16", read(served="q8_0"), "contradicted", True),
        ("q4_0", read(served="q8_0"), "contradicted", False),
        ("fp8", read(served="q8_0"), "contradicted", False),
        ("mixed", read(served="q4_0", within=False), "untested", False),
        ("q4_0", read(explaining="q4_0", refuted="q8_0", within=False), "confirmed", False),
        ("q4_0", read(refuted="q4_0"), "contradicted", False),
        ("Q4_K_M", read(refuted="q4_0 q8_0", within=False), "untested", False),
        ("fp8", read(within=False), "untested", False),
        ("q8_0", read(alike="q8_0"), "untested", False),
        ("bf16", read(refuted="q8_0 q4_0"), "confirmed", False),
        ("bf16", read(alike="q8_0", refuted="q4_0"), "untested", False),
        ("bf16", read(refuted="q4_0 cache=q8_0"), "untested", False),
        ("bf16", read(refuted="coarser:own q4_0"), "untested", False),
        ("bf16", read(refuted="coarser:own-fp8"), "confirmed", False),
        ("f16", read(), "untested", False),
        ("f16", read(refuted="q8_0", within=False), "untested", False),
        ("q8_0", read(served="cache=q4_0"), "contradicted", True),
        ("q8_0, KV cache q4_0", read(served="cache=q4_0"), "untested", False),
        ("FP8", read(served="coarser:own-fp8"), "confirmed", False),
        ("fp8", read(explaining="coarser:own-fp8", within=False), "confirmed", False),
        ("bf16", read(served="coarser:own-fp8"), "contradicted", True),
        ("int4", read(served="coarser:own-fp8"), "contradicted", False),
        ("our own quant", read(served="coarser:own"), "confirmed", False),
        ("bf16", read(served="coarser:own"), "contradicted", True),
        ("fp8", read(served="coarser:own"), "untested", False),
        ("bf16", read(alike="coarser:own-fp8", refuted="q8_0"), "untested", False),
        ("fp8", read(refuted="coarser:own-fp8"), "untested", False),
        ("bf16, kv_cache_dtype=fp8", read(served="cache=q8_0"), "untested", False),
        ("fp8-e4m3", read(served="coarser:own-fp8"), "confirmed", False),
        ("fp8 weights, bf16 activations", read(refuted="q8_0 q4_0"), "untested", False),
        ("fp8 weights, bf16 activations", read(served="q4_0"), "contradicted", True),
        ("int3, fp16 activations", read(served="q4_0", within=False), "untested", False),
        ("Q3_K_M (fp16 activations)", read(refuted="q8_0 q4_0"), "untested", False),
        ("FP16 weights", read(served="q4_0"), "contradicted", True),
        ("fp16-weights", read(served="q4_0"), "contradicted", True),
        ("量化", read(served="coarser:other"), "untested", False),
    ],
)
def test_a_declaration_is_confirmed_contradicted_or_untested(
    declared: str | None, seen: ReadForms, standing: ClaimState, coarser: bool
) -> None:
    """Served as declared is confirmed, coarser is contradicted and accuses; finer does not; the rest is untested."""
    found = judge_read_forms(declared, seen)
    assert (found.standing, found.coarser) == (standing, coarser), found.words


def test_only_coarser_declarations_make_room_for_more_rounding() -> None:
    """An honest 16-bit host's rounding is the measure of whoever declares 16 bits, and of whoever declares nothing."""
    assert read_declaration("bf16").room == read_declaration("float32").room == 0
    assert 0 < read_declaration("fp8").room < read_declaration("q4_0").room
    assert read_declaration("a secret format").room == read_declaration("int4").room


def test_peers_are_those_who_declare_about_as_many_bits() -> None:
    """Texts of four bits differ from those of sixteen by rights."""
    assert group_declared(None) == group_declared("bf16") == group_declared("FP16") == ""
    assert group_declared("fp8") == group_declared("int8") != group_declared("int4")


def test_sixteen_bits_beside_a_form_that_nobody_knows_are_not_its_weights() -> None:
    """Who says that its weights have three bits and its activations sixteen is not held to sixteen."""
    assert read_declaration("int3, fp16 activations").room == read_declaration("a secret format").room
    assert group_declared("int3, fp16 activations") != group_declared("fp16")
    assert group_declared("fp8, bf16 activations") == group_declared("fp8-e4m3") == group_declared("fp8")
    assert group_declared("bf16, 24 GB") == group_declared("bf16-weights") == ""
