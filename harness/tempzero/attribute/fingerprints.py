"""Where a coarser form and a provider leave the reference's text in, whether they do so at the same tokens out.

A scale of rounding is a size; this is a fingerprint. The form reads the beginning of the reference's own response, so
its first other choice is the first token in which its own greedy text would differ. A provider that serves such a
form leaves that text at the same place with the same token; one that samples does so by chance only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tempzero import stats
from tempzero.attribute.reader_tables import ReaderTable, ResponseLane
from tempzero.types.concluded import Estimate
from tempzero.types.scored import FormReading

# Margins of one token, read twice, differ by no more than this, or by what honest forms differ by.
_SAME_MARGIN = 0.005
# The form is the provider's where surely more than this share of the departures are the same. Other causes reached
# shares of .3 with forms that were not theirs: texts part at the same uncertain places.
SHARE, LIKELY_SHARE, LEAST = 0.5, 0.25, 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Fingerprint:
    """`same` of `departures` prompts are left at the same token, counted where the form or the provider leaves."""

    form: str
    same: int
    departures: int
    share: Estimate

    @property
    def shown(self) -> bool:
        return self._surely_above(SHARE)

    @property
    def likely(self) -> bool:
        """Enough to speak for the form where its scale of rounding is the provider's as well."""
        return self._surely_above(LIKELY_SHARE)

    def _surely_above(self, share: float) -> bool:
        return self.departures >= LEAST and self.share.low is not None and self.share.low > share


def find_fingerprint(
    table: ReaderTable, lane: ResponseLane, readings: Iterable[FormReading], epsilon: float
) -> Fingerprint | None:
    """The coarser form that leaves the reference's text most as the provider does; None where none was read."""
    first = {table.prompts[p]: s for p, s in zip(lane.prompt[::-1].tolist(), lane.sequence[::-1].tolist(), strict=True)}
    near = max(_SAME_MARGIN, 2 * epsilon)
    counts: dict[str, list[bool]] = {}
    for one in readings:
        own, root = first.get(one.trial.prompt), table.found.get(one.trial)
        if one.honest or one.reference != table.reader.reference or own is None or root is None:
            continue
        here, there = _find_departure(table, own, root, len(one.margin)), _first_miss(one.margin)
        if here is not None or there is not None:
            same = here is not None and there is not None and here[0] == there[0] and abs(here[1] - there[1]) <= near
            counts.setdefault(one.form, []).append(same)
    found = [_build_fingerprint(name, same) for name, same in sorted(counts.items())]
    return max(found, key=lambda f: (f.shown, f.share.value or 0.0), default=None)


def _build_fingerprint(name: str, same: list[bool]) -> Fingerprint:
    share = stats.exact_proportion(sum(same), len(same))
    return Fingerprint(form=name, same=sum(same), departures=len(same), share=share)


def _find_departure(table: ReaderTable, sequence: int, root: int, read: int) -> tuple[int, float] | None:
    """The first token, among those the form read, in which a provider's text is not the reference's; and its margin."""
    own, reference = table.roots[sequence].scores, table.roots[root].scores
    assert own is not None, "roots have scores"
    assert reference is not None, "roots have scores"
    for at, (token, other) in enumerate(zip(own.token_ids[:read], reference.token_ids[:read], strict=False)):
        if token != other:
            return at, own.margin[at]
    return None


def _first_miss(margins: tuple[float, ...]) -> tuple[int, float] | None:
    return next(((at, margin) for at, margin in enumerate(margins) if margin > 0), None)
