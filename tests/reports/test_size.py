"""A report of ten providers, a hundred prompts and five repeats is a page that a mail can carry, and whole."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

from big_runs import make_report


def test_ten_providers_and_a_hundred_prompts_fit_into_three_megabytes(tmp_path: Path) -> None:
    """With every wording and every distinct answer: what an answer shares with the commonest stands there once."""
    made = make_report(tmp_path, 10, 100, 5, 1)
    assert made.page.stat().st_size < 3_000_000
    assert len(made.analysis.asked) == 100
    assert len(made.analysis.answers) == made.distinct > 600
    text = unescape(re.sub("<[^>]+>", "", made.page.read_text(encoding="utf-8")))
    assert all(part.text in text for asked in made.analysis.asked for part in asked.parts)
    commonest = {asked.prompt: "" for asked in made.analysis.asked}
    for answer in made.analysis.answers:
        first = commonest[answer.prompt] = commonest[answer.prompt] or answer.text
        same = next((i for i, (a, b) in enumerate(zip(first, answer.text, strict=False)) if a != b), len(first))
        assert first in text
        assert answer.text[same + 20 :].split(" ")[-1] in text
