"""A View in, what the report does not claim out."""

from __future__ import annotations

from tempzero.reports.document import ON_PAPER, Bullets, Section
from tempzero.reports.lookup import View

_ITEMS = (
    "It does not compare all that is recorded. Answers are compared by all their parts (reasoning, text, tool calls, "
    "refusal); response ids, headers, times of creation and log-probabilities that a host sends are kept only.",
    "It does not say that a provider will always give the same text. Where no divergence was seen, that is a bound for "
    "these prompts, this many repeats and this load.",
    "It does not say which provider is right. The reference is a yardstick under known settings; a different text can "
    "be just as good.",
    "It does not say why two texts differ. Another precision, batch, kernel, template or model can all do it.",
    "It does not say how a model does on other prompts, in other languages, or at other lengths.",
    "It does not say how a provider is on another day. It is one window of time, from one place.",
    "It does not rank speed. Times depend on load, distance and hour.",
    "What could not be measured is not a pass, and too little data is called inconclusive.",
)


def build_limits_section(view: View) -> Section:
    """The limits of the report."""
    items = list(_ITEMS)
    if view.analysis.reading is None:
        items.append(
            "It names no cause: no reference read the responses token by token. `tempzero score` has that done."
        )
    if not view.analysis.precision:
        items.append(
            "It does not say in which form the weights are held: `tempzero fingerprint` does, of hosts that give "
            "log-probabilities."
        )
    return Section(
        anchor="limits",
        title="What this report does not claim",
        lead="",
        blocks=(Bullets(items=tuple(items)),),
        media=ON_PAPER,
    )
