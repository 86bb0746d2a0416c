"""A provider's card: three plain sentences and four numbers, the same that the tables have; and who has no card."""

from __future__ import annotations

from dataclasses import replace

import pytest
from reports import synthetic
from tempzero.reports.document import Paragraph, VerdictItem, Verdicts
from tempzero.reports.lookup import View
from tempzero.reports.provider_sentences import describe_provider
from tempzero.reports.sections import build_sections
from tempzero.reports.sections.verdict import build_verdict_section
from tempzero.types.asked import Skipped
from tempzero.types.concluded import Analysis, Camps, Level, LevelName


def _cards(analysis: Analysis) -> dict[str, VerdictItem]:
    blocks = build_verdict_section(View(analysis, synthetic.verdict())).blocks
    (verdicts,) = [block for block in blocks if isinstance(block, Verdicts)]
    return {item.provider: item for item in verdicts.judged}


def _level(provider: str, name: LevelName, differ: int) -> Level:
    return Level(
        provider=provider,
        condition=synthetic.CONDITION,
        reference=synthetic.REFERENCE,
        name=name,
        message="",
        prompts=24,
        differ=differ,
    )


def test_a_card_has_three_sentences_and_four_numbers() -> None:
    """What a reader looks for first: the same again, the same as the reference, answered, how fast."""
    card = _cards(synthetic.analysis())["hosted-example"]
    assert len(card.sentences) == 3
    assert [name for name, _ in card.figures] == [
        "Same text again",
        "Same text as the reference",
        "Answered",
        "Answer tokens a second",
    ]
    assert card.sentences[2].startswith("It answered 72 of 72, 22 of them cut at the limit, at 48.7 answer tokens")
    assert "for $0.64 a million answer tokens" in card.sentences[2]
    assert [anchor for anchor, _ in card.findings] == ["finding-1", "finding-4"]


@pytest.mark.parametrize(
    ("name", "differ", "said"),
    [
        ("identical", 0, "It gave the text of the reference cpu-f32 on all 24 prompts."),
        ("rounding", 5, "on 5 of 24 prompts, which is no more than 16-bit rounding does."),
        ("beyond", 23, "on 23 of 24 prompts, and its choices are further off than 16-bit rounding explains."),
        ("unread", 24, "on all 24 prompts; nobody has read yet by how much."),
    ],
)
def test_texts_that_differ_are_not_called_more_than_what_was_read(name: LevelName, differ: int, said: str) -> None:
    """Rounding is no accusation, and what nobody read is neither rounding nor more."""
    analysis = replace(synthetic.analysis(), levels=(_level("llama-q8_0", name, differ),))
    assert describe_provider(View(analysis, synthetic.verdict()), "llama-q8_0")[1].endswith(said)


def test_without_a_reference_camps_say_who_stands_where() -> None:
    """Only who differs from all of a majority is the odd one; two camps accuse nobody."""
    camps = Camps(
        claimed_model=synthetic.MODEL,
        condition=synthetic.CONDITION,
        camps=(("llama-f16", "llama-q8_0", "llama-f16-batched"), ("llama-q4_0",)),
        odd=("llama-q4_0",),
        pairs=6,
        alpha=0.05,
    )
    analysis = replace(synthetic.analysis(), camps=(camps,), references=(), levels=())
    view = View(analysis, synthetic.verdict())
    assert describe_provider(view, "llama-q4_0")[1].endswith("the odd one.")
    said = describe_provider(view, "llama-f16")[1]
    assert said == (
        "It cannot be told from llama-q8_0, llama-f16-batched by its texts; it can from the other 1 of its model."
    )
    alone = replace(analysis, camps=(replace(camps, odd=()),))
    said = describe_provider(View(alone, synthetic.verdict()), "llama-q4_0")[1]
    assert said == "It differs from all 3 others of its model, and nothing says who strays."


def test_a_missing_reference_is_explained_by_what_is_the_case() -> None:
    """One that is named but off is said to be off and why; naming one is asked for only where none is."""

    def said(analysis: Analysis) -> str:
        blocks = build_verdict_section(View(analysis, synthetic.verdict())).blocks
        return " ".join(b.text for b in blocks if isinstance(b, Paragraph) and "reference" in b.text)

    base = synthetic.analysis()
    assert "providers.yaml" not in said(base)
    off = replace(
        base,
        references=(),
        absent_references=("cpu-8b",),
        skipped=(Skipped(provider="cpu-8b", reason="transformers is not installed"),),
    )
    assert "(cpu-8b: transformers is not installed)" in said(off)
    assert "providers.yaml" not in said(off)
    assert "No reference is named under run.reference in providers.yaml" in said(replace(base, references=()))
    imported = replace(base, references=(), providers=tuple(replace(p, engine="imported") for p in base.providers))
    assert "These records hold no reference" in said(imported)


def test_sections_without_data_are_not_printed() -> None:
    """A heading over "nothing" is a heading too many."""
    bare = replace(
        synthetic.analysis(), curves=(), divergences=(), reading=None, flags=(), asked=(), answers=(), precision=()
    )
    built = {section.anchor for section in build_sections(View(bare, synthetic.verdict()))}
    full = {section.anchor for section in build_sections(View(synthetic.analysis(), synthetic.verdict()))}
    assert full - built >= {"survival", "divergences", "tokens", "odd", "prompts"}
    assert built >= {"verdict", "self", "coverage", "findings", "legend"}
