"""Phrasings that no extractor was written with in, precision and recall on them out."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import yaml
from tempzero.extractors import EXTRACTORS, extract_answer, is_expected_answer
from tempzero.types.asked import ExtractorSpec

README = Path(__file__).parents[2] / "prompts" / "README.md"
FIGURES = re.compile(
    r"on (\d+) phrasings.*?precision (\.\d+) \(.*? of (\d+) answers.*?recall (\.\d+) \((\d+) of (\d+)", re.DOTALL
)
LOWEST_PRECISION = 0.99
LOWEST_RECALL = 0.9


def outcomes() -> list[tuple[str, str, str | None, str | None]]:
    """Extractor, text, label and what was read (the label where it is the same answer), of all of held_out.yaml."""
    groups = yaml.safe_load(Path(__file__).with_name("held_out.yaml").read_text(encoding="utf-8"))
    found = []
    for group in groups:
        args = {k: v if isinstance(v, str) else json.dumps(v) for k, v in group.get("args", {}).items()}
        spec = ExtractorSpec(name=group["extractor"], args=args)
        for text, label in group["phrasings"]:
            read = extract_answer(spec, text)
            same = label is not None and is_expected_answer(spec, read, label)
            found.append((spec.name, text, label, label if same else read))
    return found


def test_precision_and_recall_hold_on_phrasings_that_nothing_was_tuned_on(
    written_at_the_end: Callable[[str], None],
) -> None:
    """A wrong answer extracted is worse than none; both figures are printed and stand in prompts/README.md."""
    found = outcomes()
    read = [f for f in found if f[3] is not None]
    stated = [f for f in found if f[2] is not None]
    wrong = [f for f in read if f[2] != f[3]]
    missed = [f for f in stated if f[3] is None]
    precision, recall = 1 - len(wrong) / len(read), 1 - len(missed) / len(stated)
    written_at_the_end(
        f"held out: {len(found)} phrasings, precision {precision:.4f} of {len(read)}, "
        f"recall {recall:.4f} of {len(stated)}; missed by extractor: {dict(Counter(f[0] for f in missed))}"
    )
    for name, text, label, got in (*wrong, *missed):
        written_at_the_end(f"  {name}: {text!r}: {label!r}, read {got!r}")
    assert len(found) >= 300
    assert {f[0] for f in found} == set(EXTRACTORS) - {"math"}  # whose answers are judged, not read
    assert precision >= LOWEST_PRECISION
    assert recall >= LOWEST_RECALL
    (told,) = FIGURES.findall(README.read_text(encoding="utf-8"))
    assert told == (
        str(len(found)),
        f"{precision:.3f}".lstrip("0"),
        str(len(read)),
        f"{recall:.3f}".lstrip("0"),
        str(len(stated) - len(missed)),
        str(len(stated)),
    )
