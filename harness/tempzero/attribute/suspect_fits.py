"""How a provider's tokens stand under each suspect in, which suspects explain them, and which of them wins, out.

A suspect is *live* where every token is its best one up to honest rounding: the margins and the share of misses that
an honest 16-bit host has. Two live ones are compared head to head: of the tokens that only one of them explains, as
many would fall to either by chance, if both explained them equally well (sign test). A cause is named where one
suspect beats the unchanged reference and every other live one; what differs in size only is one family.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from scipy import special

from tempzero.attribute.reader_tables import ResponseLane
from tempzero.reading.rounding_floor import RoundingFloor
from tempzero.types.asked import Trial
from tempzero.types.scored import SuspectAnswer, SuspectReading

# A suspect misses at most so many times the honest share; where tokens are few, as many as a host that rounds twice as
# much as the floor shows with no less than this chance.
MISSES_ALLOWED, USUAL_MISSES, CHANCE_OF_MISSES = 3.0, 2.0, 0.001
# Of an honest host's tokens one in a thousand may pass the clear margin, one of any number, and none twice of it.
RARE_TOKENS = 1000
# Chance at which a suspect beats the unchanged reference, over all families of its kind: where that one explains the
# tokens up to rounding, and where on two or more prompts it does not.
BEATS_LIVE, BEATS_REFUTED = 0.01, 0.05
# Chance at which it beats another live suspect.
BEATS_RIVAL = 0.01
# A ban is chosen after the tokens were seen: it must explain so many that no rounding does.
CLEAR_BY_BAN = 3
ODD_PROMPTS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """One suspect: its answers to all that was asked, the unchanged ones where it changes nothing."""

    line: SuspectReading
    answers: Mapping[Trial, SuspectAnswer]
    live: bool

    @property
    def misses(self) -> int:
        return sum(len(a.missed) for a in self.answers.values())

    @property
    def tokens(self) -> int:
        return sum(a.tokens for a in self.answers.values())

    @property
    def total_margin(self) -> float:
        return sum(sum(a.margin) for a in self.answers.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Duel:
    """Tokens that only one of two suspects explains."""

    wins: int
    losses: int

    @property
    def chance(self) -> float:
        """How likely as many wins are where both explain the tokens equally well."""
        tried = self.wins + self.losses
        return float(special.bdtrc(self.wins - 1, tried, 0.5)) if self.wins else 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SuspectFits:
    """One provider under all suspects. `odd` are the responses that the unchanged reference does not explain."""

    plain: Fit
    others: tuple[Fit, ...]
    floor: RoundingFloor
    odd: tuple[Trial, ...]

    @property
    def odd_prompts(self) -> int:
        return len({t.prompt for t in self.odd})

    @property
    def tried(self) -> tuple[str, ...]:
        """Families that change something of what was asked."""
        return tuple(dict.fromkeys(f.line.family for f in self.others if f.line.touched))

    @property
    def untold(self) -> tuple[str, ...]:
        """Families that change nothing of what was asked: this suite cannot tell them."""
        return tuple(dict.fromkeys(f.line.family for f in self.others if f.line.family not in self.tried))


@dataclass(frozen=True, kw_only=True, slots=True)
class Naming:
    """`winners` explain everything (of a `share`: the odd responses) better than the unchanged reference.

    One family of winners: the cause is shown. Several: one of them. None: none of the suspects.
    """

    winners: tuple[Fit, ...]
    duel: Duel | None
    next_best: Fit | None
    share: bool = False

    @property
    def shown(self) -> bool:
        return len({f.line.family for f in self.winners}) == 1


def build_suspect_fits(
    reference: str, lane: ResponseLane, lines: Iterable[SuspectReading], floor: RoundingFloor
) -> SuspectFits | None:
    """None where the responses were not read under suspects. Of two readings of one suspect the last counts."""
    mine = {
        x.suspect: x
        for x in lines
        if (x.reference, x.provider, x.condition) == (reference, lane.provider, lane.condition)
    }
    unchanged = mine.pop("unchanged", None)
    trials = set(lane.trials)
    if unchanged is None or not any(a.trial in trials for a in unchanged.answers):
        return None
    base = {a.trial: a for a in unchanged.answers if a.trial in trials}
    plain = Fit(line=unchanged, answers=base, live=_is_within(base.values(), floor))
    return SuspectFits(
        plain=plain,
        others=tuple(_build_fit(x, base, floor) for x in mine.values()),
        floor=floor,
        odd=tuple(t for t, a in base.items() if not _is_answer_within(a, floor)),
    )


def _build_fit(line: SuspectReading, base: Mapping[Trial, SuspectAnswer], floor: RoundingFloor) -> Fit:
    read = {a.trial: a for a in line.answers if a.trial in base}
    for trial, answer in base.items():
        if trial.prompt not in line.touched:
            read[trial] = answer
    whole = len(read) == len(base) and all(a.whole for a in read.values())
    return Fit(line=line, answers=read, live=whole and bool(line.touched) and _is_within(read.values(), floor))


def _is_within(answers: Iterable[SuspectAnswer], floor: RoundingFloor) -> bool:
    """Whether misses and margins are those of an honest host."""
    found = list(answers)
    tokens = sum(a.tokens for a in found)
    margins = [m for a in found for m in a.margin]
    clear = sum(m > floor.clear_margin for m in margins)
    return (
        _is_count_honest(len(margins), floor.missed_share * tokens)
        and clear <= 1 + tokens // RARE_TOKENS
        and max(margins, default=0.0) <= 2 * floor.clear_margin
    )


def _is_count_honest(missed: int, expected: float) -> bool:
    """Whether an honest host misses so many, where the floor's share would be `expected`: chance is much of few."""
    by_chance = special.pdtrc(missed - 1, USUAL_MISSES * expected) if missed else 1.0
    return bool(missed <= MISSES_ALLOWED * expected or by_chance >= CHANCE_OF_MISSES)


def _is_answer_within(answer: SuspectAnswer, floor: RoundingFloor) -> bool:
    return answer.whole and max(answer.margin, default=0.0) <= floor.clear_margin


def compare_suspects(one: Fit, other: Fit, trials: Iterable[Trial] | None = None) -> Duel:
    """Head to head, over the responses that both were read on."""
    wins = losses = 0
    for trial in one.answers if trials is None else trials:
        if trial in one.answers and trial in other.answers:
            mine, theirs = set(one.answers[trial].missed), set(other.answers[trial].missed)
            wins += len(theirs - mine)
            losses += len(mine - theirs)
    return Duel(wins=wins, losses=losses)


def name_suspect(fits: SuspectFits, allowed: Sequence[Fit]) -> Naming:
    """What explains all responses better than the unchanged reference does, of the fits that may be a cause."""
    live = sorted((f for f in allowed if f.live), key=_rank_fit)
    better = [f for f in live if _beats_plain(fits, f, allowed)]
    if not better:
        return Naming(winners=(), duel=None, next_best=live[0] if live else None)
    best = better[0]
    return Naming(
        winners=(best, *_unbeaten_rivals(best, live, None)),
        duel=compare_suspects(best, fits.plain),
        next_best=next((f for f in live if f.line.family != best.line.family), None),
    )


def name_share(fits: SuspectFits, allowed: Sequence[Fit]) -> Naming:
    """What explains all responses that the unchanged reference does not, where it explains the others.

    A suspect that explained the others as well would be no cause of a share.
    """
    if fits.odd_prompts < ODD_PROMPTS or len(fits.odd) == len(fits.plain.answers):
        return Naming(winners=(), duel=None, next_best=None, share=True)
    explaining = [f for f in allowed if _explains(f, fits) and not f.live]
    explaining.sort(key=lambda f: _rank_over(f, fits.odd))
    families = _count_families(explaining[0], allowed) if explaining else 1
    better = [f for f in explaining if compare_suspects(f, fits.plain, fits.odd).chance * families <= BEATS_REFUTED]
    if not better:
        return Naming(winners=(), duel=None, next_best=None, share=True)
    best = better[0]
    return Naming(
        winners=(best, *_unbeaten_rivals(best, explaining, fits.odd)),
        duel=compare_suspects(best, fits.plain, fits.odd),
        next_best=next((f for f in explaining if f.line.family != best.line.family), None),
        share=True,
    )


def explains_but_ends(fits: SuspectFits, ends: Sequence[Trial]) -> bool:
    """Whether the unchanged reference explains every token but the last one of these responses."""
    found = []
    for trial, answer in fits.plain.answers.items():
        last = 1 if trial in ends and answer.missed else 0
        kept = len(answer.missed) - last
        found.append(replace(answer, missed=answer.missed[:kept], margin=answer.margin[:kept]))
    return _is_within(found, fits.floor)


def _explains(fit: Fit, fits: SuspectFits) -> bool:
    """Whether it explains every odd response: read on each, and each within rounding."""
    read = [fit.answers[t] for t in fits.odd if t in fit.answers]
    return len(read) == len(fits.odd) and all(a.whole for a in read) and _is_within(read, fits.floor)


def _unbeaten_rivals(best: Fit, live: Sequence[Fit], trials: Sequence[Trial] | None) -> list[Fit]:
    """One of each other family that explains the tokens hardly worse."""
    rivals: dict[str, Fit] = {}
    for other in live:
        if other.line.family != best.line.family and compare_suspects(best, other, trials).chance > BEATS_RIVAL:
            rivals.setdefault(other.line.family, other)
    return list(rivals.values())


def _beats_plain(fits: SuspectFits, fit: Fit, allowed: Sequence[Fit]) -> bool:
    duel = compare_suspects(fit, fits.plain)
    chance = duel.chance * _count_families(fit, allowed)
    refuted = not fits.plain.live and fits.odd_prompts >= ODD_PROMPTS
    if fit.line.family.startswith("ban of "):
        return refuted and _count_clear_wins(fit, fits) >= CLEAR_BY_BAN and duel.chance <= BEATS_REFUTED
    return chance <= (BEATS_REFUTED if refuted else BEATS_LIVE)


def _count_clear_wins(fit: Fit, fits: SuspectFits) -> int:
    """Tokens that it explains and that are off by more than rounding under the unchanged reference."""
    found = 0
    for trial, answer in fits.plain.answers.items():
        mine = set(fit.answers[trial].missed) if trial in fit.answers else set(answer.missed)
        pairs = zip(answer.missed, answer.margin, strict=True)
        found += sum(m > fits.floor.clear_margin and at not in mine for at, m in pairs)
    return found


def _count_families(fit: Fit, allowed: Sequence[Fit]) -> int:
    """How many families of the same kind were tried: each had its chance. What prompt_tokens rule out had none."""
    return len({f.line.family for f in allowed if f.line.kind == fit.line.kind and f.line.touched})


def _rank_fit(fit: Fit) -> tuple[int, float, str]:
    return fit.misses, fit.total_margin, fit.line.suspect


def _rank_over(fit: Fit, trials: Sequence[Trial]) -> tuple[int, float, str]:
    read = [fit.answers[t] for t in trials]
    return sum(len(a.missed) for a in read), sum(sum(a.margin) for a in read), fit.line.suspect
