"""Nothing in, the section for a first-time reader out."""

from __future__ import annotations

from tempzero.reports.document import ON_PAPER, Bullets, Section
from tempzero.reports.lookup import View

_ITEMS = (
    "The question: providers that claim to serve the same model were asked the same prompts at temperature zero, "
    "several times each. Do they give the same text again, and the same text as each other and as the reference?",
    "A figure reads like 0.84 [0.71, 0.92], n=24: the estimate, its 95 % interval, and the number of prompts behind "
    "it. A wide interval asks for more prompts, not for a bolder conclusion.",
    "– means that something was not measured, and the reason stands beside it. It never stands for 0 or 1.",
    "Two providers can differ merely because each differs from itself. So their disagreement always stands beside "
    "the noise floor, which is what their own repeats explain, and the excess divergence is what is left.",
    "The reference is a yardstick, not an authority: the same model run under settings that are known and recorded.",
    "Verdicts: ▲ finding: the data support it. ○ inconclusive: not enough data, or no answers; that is no pass. "
    "✓ pass: nothing was found, within the bounds given.",
)


def build_how_to_read_section(view: View) -> Section:
    """How to read the report."""
    del view
    return Section(
        anchor="how-to-read", title="How to read this", lead="", blocks=(Bullets(items=_ITEMS),), media=ON_PAPER
    )
