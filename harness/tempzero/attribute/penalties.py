"""How many tokens are the greedy choice with and without a penalty in, the penalty that explains more, if any, out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tempzero.attribute.fits import t_statistic
from tempzero.attribute.reader_tables import Floats, ReaderTable, ResponseLane
from tempzero.types.concluded import Estimate
from tempzero.types.scored import Penalty

_SIGN_DRAWS = 1999
P_VALUE = 0.01
# A penalty must explain this share of the misses.
MIN_EXPLAINED_SHARE = 0.3


@dataclass(frozen=True, kw_only=True, slots=True)
class PenaltyFit:
    """The penalty that fits best, its strengths that fit as well, and what it explains.

    `hits` of `tokens` are its choice, against `plain_hits`; `seen_misses` of `misses` stand where the reference's
    choice was in the context already, as it is at `seen_share` of all tokens.
    """

    penalty: Penalty
    strength: Estimate
    p_value: float
    hits: int
    plain_hits: int
    tokens: int
    misses: int
    seen_misses: int
    seen_share: float

    @property
    def shown(self) -> bool:
        gain = self.hits - self.plain_hits
        return self.p_value <= P_VALUE and gain > 0 and gain >= MIN_EXPLAINED_SHARE * (self.tokens - self.plain_hits)


def fit_penalty(table: ReaderTable, lane: ResponseLane, *, seed: int = 0) -> PenaltyFit | None:
    """The best of the reader's penalties; None where they were not read.

    For each prompt the tokens that only a penalty explains are counted against those that it spoils; the best of
    all penalties is held against the best after each prompt's sign is drawn anew (a sign-flip test of the largest).
    """
    tokens, rows = table.tokens, lane.distinct
    sequence = lane.sequence[rows]
    if not table.reader.penalties or tokens.penalised.shape[1] != len(table.reader.penalties):
        return None
    plain = tokens.sum_by_sequence(~tokens.missed)[sequence]
    _, prompt = np.unique(lane.prompt[rows], return_inverse=True)
    net = np.zeros((int(prompt.max()) + 1, len(table.reader.penalties)))
    np.add.at(net, prompt, tokens.penalised[sequence] - plain[:, None])
    best = int(net.sum(axis=0).argmax())
    length = int(tokens.length[sequence].sum())
    misses = tokens.sum_by_sequence(tokens.missed)[sequence].sum()
    return PenaltyFit(
        penalty=table.reader.penalties[best],
        strength=_estimate_strength(table.reader.penalties, net, best),
        p_value=_sign_flip_p_value(net, seed),
        hits=int(tokens.penalised[sequence, best].sum()),
        plain_hits=int(plain.sum()),
        tokens=length,
        misses=int(misses),
        seen_misses=int(tokens.sum_by_sequence(tokens.missed & tokens.seen)[sequence].sum()),
        seen_share=float(tokens.sum_by_sequence(tokens.seen)[sequence].sum()) / length,
    )


def _estimate_strength(penalties: tuple[Penalty, ...], net: Floats, best: int) -> Estimate:
    """The strengths of the same kind that no prompt-clustered comparison tells from the best."""
    alike = [
        p.strength
        for i, p in enumerate(penalties)
        if p.kind == penalties[best].kind and abs(t_statistic(net[:, best] - net[:, i])) < 2
    ]
    return Estimate(
        value=penalties[best].strength,
        low=min(alike),
        high=max(alike),
        n=len(net),
        method="most tokens explained; the range of strengths that fit as well",
    )


def _sign_flip_p_value(net: Floats, seed: int) -> float:
    scale = np.sqrt(np.square(net).sum(axis=0))
    use = scale > 0
    if not use.any():
        return 1.0
    weighted = net[:, use] / scale[use]
    observed = weighted.sum(axis=0).max()
    signs = np.random.default_rng(seed).choice(np.array([-1.0, 1.0]), size=(_SIGN_DRAWS, len(net)))
    drawn = (signs @ weighted).max(axis=1)
    return (int((drawn >= observed - 1e-12).sum()) + 1) / (_SIGN_DRAWS + 1)
