"""A provider's tokens and the reference's coarser forms in, which of the forms it cannot be told from out.

Head to head: of the tokens that only the unchanged reference or only the form explains, as many would fall to either
if both explained them equally well (sign test). A form that read the provider's own tokens is compared on these. Where
the provider missed none, its tokens are the reference's, and what the form missed of the reference's own tokens it
would have missed of these. Only where neither was read does the size of the rounding decide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tempzero.attribute.noise import JoinedForm
from tempzero.attribute.reader_tables import ReaderTable, ResponseLane
from tempzero.attribute.suspect_fits import BEATS_LIVE, BEATS_REFUTED, Duel, SuspectFits, compare_suspects
from tempzero.types.concluded import Estimate

TOLD_APART = 0.05
# So many tokens in a row that fall to the unchanged reference are less likely than that; to the form, than .01.
_FEWEST_WINS, _FEWEST_WINS_OF_FORM = 5, 7


@dataclass(frozen=True, kw_only=True, slots=True)
class AlikeForm:
    """A form that explains the tokens as well. `more_tokens`: how many in all would tell; None where that is open.

    `better`: it explains them better than the unchanged reference does.
    """

    name: str
    more_tokens: int | None
    better: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class FormStandings:
    """Coarser forms by name: which explain every token better than float32 does, and which do not, or surely worse."""

    explaining: tuple[str, ...] = ()
    refuted: tuple[str, ...] = ()


def sort_forms(fits: SuspectFits | None) -> FormStandings:
    """None of those that cannot be told from float32."""
    explaining, refuted = [], []
    for fit in () if fits is None else fits.others:
        if fits is None or fit.line.kind != "weights" or not fit.line.touched:
            continue
        if not fit.live or compare_suspects(fits.plain, fit).chance <= TOLD_APART:
            refuted.append(fit.line.suspect)
        elif compare_suspects(fit, fits.plain).chance <= (BEATS_LIVE if fits.plain.live else BEATS_REFUTED):
            explaining.append(fit.line.suspect)
    return FormStandings(explaining=tuple(explaining), refuted=tuple(refuted))


def find_alike_forms(
    table: ReaderTable,
    lane: ResponseLane,
    known: Sequence[JoinedForm],
    fits: SuspectFits | None,
    scale: Estimate | None,
) -> tuple[AlikeForm, ...]:
    """Coarser forms that explain the tokens hardly worse than the unchanged reference, or would if they were read."""
    read = {f.line.suspect: f for f in (() if fits is None else fits.others) if f.line.kind == "weights"}
    found = []
    for name, fit in read.items():
        if fits is not None and fit.live:
            found += _judge_duel(name, compare_suspects(fits.plain, fit), fits.plain.tokens)
    for form in known:
        if form.honest or form.name in read or not form.change.size:
            continue
        shared = _share_tokens(table, lane, form)
        if shared is not None:
            found += _judge_duel(form.name, *shared)
        elif scale is not None and scale.high is not None and np.sqrt(np.square(form.change).mean()) <= scale.high:
            found.append(AlikeForm(name=form.name, more_tokens=None))
    return tuple(found)


def describe_alike_forms(forms: Sequence[AlikeForm]) -> str:
    """Empty where it can be told from all of them.

    >>> describe_alike_forms([AlikeForm(name="q8_0", more_tokens=1234)])
    '; cannot be told from q8_0 (about 1,300 tokens would tell)'
    """
    better = ", ".join(f.name for f in forms if f.better)
    names = ", ".join(
        f.name if f.more_tokens is None else f"{f.name} (about {round_up_tokens(f.more_tokens)} tokens would tell)"
        for f in forms
        if not f.better
    )
    words = f"; which tokens it turned speaks for {better}" if better else ""
    return words + (f"; cannot be told from {names}" if names else "")


def round_up_tokens(tokens: int) -> str:
    """Two digits: it is a guess."""
    unit = max(1, 10 ** (len(str(tokens)) - 2))
    return f"{math.ceil(tokens / unit) * unit:,}"


def _judge_duel(name: str, duel: Duel, tokens: int) -> list[AlikeForm]:
    if duel.chance <= TOLD_APART:
        return []
    if Duel(wins=duel.losses, losses=duel.wins).chance <= BEATS_LIVE:
        return [AlikeForm(name=name, more_tokens=None, better=True)]
    return [AlikeForm(name=name, more_tokens=_count_tokens_to_tell(duel, tokens))]


def _count_tokens_to_tell(duel: Duel, tokens: int) -> int | None:
    """If more tokens fall to the two as these did, for the one that is ahead; None where neither is."""
    ahead = abs(duel.wins - duel.losses)
    if not ahead:
        return None
    fewest, normal = (_FEWEST_WINS, 1.645) if duel.wins > duel.losses else (_FEWEST_WINS_OF_FORM, 2.326)
    # The normal share is a little small for few tokens: never fewer than were read.
    return math.ceil(tokens * max(1.2, normal**2 * (duel.wins + duel.losses) / ahead**2, fewest / ahead))


def _share_tokens(table: ReaderTable, lane: ResponseLane, form: JoinedForm) -> tuple[Duel, int] | None:
    """What a form missed of the reference's own tokens that the provider wrote as well, and how many these are.

    None where the provider missed any token: then its own are to be read.
    """
    if table.tokens.sum_by_sequence(table.tokens.missed)[lane.sequence].any():
        return None
    tokens = missed = 0
    for prompt in np.unique(form.prompt).tolist():
        length = int(table.tokens.length[lane.sequence[lane.prompt == prompt]].max(initial=0))
        margin = form.margin[form.prompt == prompt][:length]
        tokens += margin.size
        missed += int((margin > 0).sum())
    return Duel(wins=missed, losses=0), tokens
