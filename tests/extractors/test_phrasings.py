"""Labelled phrasings in, every extractor's precision and recall on them out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from tempzero.extractors import EXTRACTORS, extract_answer, is_expected_answer
from tempzero.types.asked import ExtractorSpec

LOWEST_RECALL = 0.95


class Phrasing(NamedTuple):
    """One labelled response text; `answer` None where nothing may be read from it."""

    spec: ExtractorSpec
    text: str
    answer: str | None


def phrasings() -> Iterator[Phrasing]:
    """The phrasings of phrasings.yaml, in its order."""
    groups = yaml.safe_load(Path(__file__).with_name("phrasings.yaml").read_text(encoding="utf-8"))
    for group in groups:
        args = {k: v if isinstance(v, str) else json.dumps(v) for k, v in group.get("args", {}).items()}
        spec = ExtractorSpec(name=group["extractor"], args=args)
        for text, answer in group["phrasings"]:
            yield Phrasing(spec, text, answer)


ALL = list(phrasings())


def test_there_are_enough_phrasings_of_every_extractor() -> None:
    """Precision on a handful of easy texts would say nothing."""
    assert len(ALL) >= 300
    assert {phrasing.spec.name for phrasing in ALL} == set(EXTRACTORS)
    assert sum(phrasing.answer is None for phrasing in ALL) >= 100


@pytest.mark.parametrize("name", sorted(EXTRACTORS))
def test_what_is_extracted_is_what_the_text_says(name: str) -> None:
    """A wrong answer is worse than none: precision on these phrasings is 1."""
    read = [(p.text, extract_answer(p.spec, p.text), p.answer) for p in ALL if p.spec.name == name]
    assert not [(text, found, answer) for text, found, answer in read if found not in (None, answer)]


@pytest.mark.parametrize("name", sorted(EXTRACTORS))
def test_stated_answers_are_found(
    name: str, record_property: Callable[[str, object], None], written_at_the_end: Callable[[str], None]
) -> None:
    """An extractor that always says None would be precise too: recall has a floor, and is printed."""
    stated = [p for p in ALL if p.spec.name == name and p.answer is not None]
    missed = [p.text for p in stated if extract_answer(p.spec, p.text) is None]
    recall = 1 - len(missed) / len(stated)
    record_property(f"recall_{name}", recall)
    shown = [f"{name}: recall {recall:.3f} of {len(stated)} stated answers", *missed]
    written_at_the_end("\n  missed: ".join(shown))
    assert recall >= LOWEST_RECALL


def test_an_extracted_answer_matches_its_label() -> None:
    """Extraction and comparison agree on what an answer looks like."""
    assert all(is_expected_answer(p.spec, p.answer, p.answer) for p in ALL if p.answer is not None)
