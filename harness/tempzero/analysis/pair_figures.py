"""The tallies of two providers of one model in, figures and tests of how they differ out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from tempzero import stats
from tempzero.analysis.book import Book, Subject, bounded_mean, share_of_prompts
from tempzero.analysis.part_counts import NOT_SAID
from tempzero.analysis.provider_figures import UP_TO_THE_CUT, describe_ned
from tempzero.analysis.tallies import CountedTexts, Tally, planned_repeats
from tempzero.analysis.texts import ComparedTexts, Texts
from tempzero.config import RunSection
from tempzero.metrics import TEXT_METRICS, agreement, answers, divergence
from tempzero.metrics.agreement import Counts, Floats, Ints, count_outputs, relabel_counts, rename_outputs
from tempzero.metrics.cuts import settle_cuts
from tempzero.precision.declared import group_declared
from tempzero.types.concluded import Estimate
from tempzero.types.vocabulary import COMPARED_KINDS, PAIR_KINDS, PARTS, ComparedKind, Metric, MetricName, PartName

MOST_LISTED = 40
"""So many peers of one model have figures for each pair; of more, every pair is tested and camps are told."""
# With 999 permutations a p-value beyond this is certain enough to be none that a correction leaves small.
_PLAINLY_LARGE = 0.2
# Ways to permute sessions that are tried for each of very many pairs.
_MOST_SESSION_PERMUTATIONS = 19_999
MINIMUM_DETECTABLE_EXCESS = Metric(
    name="minimum_detectable_excess",
    unit="share",
    kinds=COMPARED_KINDS,
    title="Smallest excess to be seen",
    definition="The excess divergence that the test would find four times in five with this many prompts and "
    "repeats. A smaller one may be there and not be found.",
    source="power of the permutation test at 5 %",
    one_means="only two that have no text in common would be told apart",
    exact=True,
    undefined="too few prompts and repeats to find any",
)
CROSS_EMR_AS_WRITTEN = Metric(
    name="cross_emr_as_written",
    unit="share",
    kinds=PAIR_KINDS,
    title="Same calls, letter by letter",
    definition="As cross-EMR, of prompts that offer tools, the arguments of calls compared as they were written: "
    "order of keys and spaces count, which they do not elsewhere.",
    source="counted",
    one_means="any response of the one is that of the other letter by letter, calls included",
    undefined="no prompt that offers tools was answered by both",
)
ANSWER_AGREEMENT = Metric(
    name="answer_agreement",
    unit="share",
    kinds=PAIR_KINDS,
    title="Same answer",
    definition="The chance that one response of each has the same answer, as its extractor reads it. Where no answer "
    "can be read two responses are the same only if their texts are.",
    source="Atil et al., arXiv:2408.04667, between two providers",
    one_means="any two responses have the same answer",
    undefined="no prompt with a readable answer was answered by both",
)
FINISH_REASON_AGREEMENT = Metric(
    name="finish_reason_agreement",
    unit="share",
    kinds=PAIR_KINDS,
    title="Same finish reason",
    definition="The chance that responses of the two end for the same stated reason.",
    source="field finish_reason of the response",
    one_means="any two responses end for the same reason",
    undefined=agreement.NOT_BOTH,
)
LENGTH_DIFFERENCE_CHARS = Metric(
    name="length_difference_chars",
    unit="chars",
    kinds=PAIR_KINDS,
    title="Length difference, characters",
    definition="Mean length of the first provider's responses minus that of the second, in characters.",
    source="counted",
    undefined=agreement.NOT_BOTH,
)
PROMPT_TOKENS_AGREEMENT = Metric(
    name="prompt_tokens_agreement",
    unit="share",
    kinds=PAIR_KINDS,
    title="Same prompt_tokens",
    definition="Share of prompts for which both report the same number of prompt tokens. Unequal counts for the same "
    "messages and weights mean another template, tokenizer or a hidden system prompt.",
    source="field usage.prompt_tokens of the response",
    one_means="both count the same tokens on every prompt",
    undefined="prompt_tokens is not reported by both",
)
COMPLETION_TOKENS_DIFFERENCE = Metric(
    name="completion_tokens_difference",
    unit="tokens",
    kinds=PAIR_KINDS,
    title="Completion tokens, difference",
    definition="Mean completion tokens that the first provider counts for an answer, minus those of the second. Much "
    "more for an equally long text means tokens that are not shown.",
    source="field usage.completion_tokens of the response",
    undefined="completion tokens are not reported by both",
)
REASONING_TOKENS_DIFFERENCE = Metric(
    name="reasoning_tokens_difference",
    unit="tokens",
    kinds=PAIR_KINDS,
    title="Reasoning tokens, difference",
    definition="Mean reasoning tokens that the first provider counts for an answer, minus those of the second.",
    source="field usage.completion_tokens_details.reasoning_tokens of the response",
    undefined="reasoning tokens are not reported by both",
)
REASONING_SHOWN_AGREEMENT = Metric(
    name="reasoning_shown_agreement",
    unit="share",
    kinds=PAIR_KINDS,
    title="Same show of reasoning",
    definition="The chance that of one answer of each, both show a reasoning or neither does.",
    source="counted",
    one_means="any two answers both show a reasoning, or neither does",
    undefined=agreement.NOT_BOTH,
    absent="nobody shows a reasoning",
)
MISMATCH_RATE = Metric(
    name="mismatch_rate",
    unit="share",
    kinds=("answers",),
    title="Other answers, excess",
    definition="How much more often the answers of the two differ than each one's own repeats differ.",
    source="prompts with an extractor",
    one_means="each repeats its answers and never gives the other's",
    undefined="no prompt with an extractor was answered by both",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Two providers that claim the same model, under one condition, or (kind conditions) one under two.

    `right` is the reference or, of conditions, the one with the least load. `decided`: a reference stands beside these
    two peers and says who strays, or they declare weights of other precisions, which give other texts by rights, so
    that they are not tested against each other. `listed`: it has figures of its own;
    pairs of very many peers have none and are only tested, for camps.
    """

    kind: ComparedKind
    left: Tally
    right: Tally
    decided: bool = False
    listed: bool = True

    @property
    def basis(self) -> PartName:
        """What is compared: whole answers. Where only one provider ever shows its reasoning, what both show.

        A provider that shows its reasoning under one of its conditions only does not answer alike under both.
        """
        if self.kind == "conditions" or self.left.shows_reasoning == self.right.shows_reasoning:
            return "whole"
        return "spoken"

    @property
    def parts(self) -> list[PartName]:
        """The parts that are compared one by one; none where all that is compared is text."""
        used = {**self.left.own_parts(), **self.right.own_parts()}
        found = [name for name in PARTS if name in used and not (name == "reasoning" and self.basis == "spoken")]
        return found if set(found) - {"text"} else []

    @property
    def subject(self) -> Subject:
        """Whom the pair's figures speak of."""
        return self.subject_of(self.basis)

    def subject_of(self, part: PartName) -> Subject:
        """Whom figures of one part speak of, or (whole) those that compare no texts."""
        right = self.right.lane.condition if self.kind == "conditions" else self.right.name
        condition = self.left.lane.condition
        return Subject(kind=self.kind, left=self.left.name, right=right, condition=condition, part=part)


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """A pair compared, with what findings are made of.

    `left` and `right` count its texts, cut ones settled among both. `excess` and `match` have one
    value for each prompt; `test` says whether the excess could be chance. `parts` are its parts, one by one.
    """

    pair: Pair
    left: Counts
    right: Counts
    match: Floats
    excess: Floats
    estimate: Estimate
    test: stats.TestResult
    parts: Mapping[PartName, PartComparison]


@dataclass(frozen=True, kw_only=True, slots=True)
class PartComparison:
    """One part of a pair's answers: counted, cut texts settled among both, and the share that match, by prompt."""

    left: Counts
    right: Counts
    match: Floats


def pair_tallies(tallies: Sequence[Tally], references: Sequence[str]) -> list[Pair]:
    """Every pair within a claimed model and condition, in the order given; a reference stands on the right."""
    pairs: list[Pair] = []
    kept = sorted((t for t in tallies if t.stopped is None), key=lambda t: t.name in references)
    referenced = {_group_key(t) for t in kept if t.name in references}
    sizes = Counter(_group_key(t) for t in kept if t.name not in references)
    for one, other in combinations(kept, 2):
        if _group_key(one) != _group_key(other):
            continue
        if other.name in references:
            pairs.append(Pair(kind="reference", left=one, right=other))
        else:
            decided = _group_key(one) in referenced or _group_precision(one) != _group_precision(other)
            listed = sizes[_group_key(one)] <= MOST_LISTED
            if listed or not decided:
                pairs.append(Pair(kind="cross", left=one, right=other, decided=decided, listed=listed))
    return pairs


def _group_key(tally: Tally) -> tuple[str, str]:
    return tally.lane.provider.claimed_model, tally.lane.condition


def _group_precision(tally: Tally) -> str:
    return group_declared(tally.lane.provider.claims.precision)


def pair_conditions(tallies: Sequence[Tally]) -> list[Pair]:
    """Each provider's conditions, each paired with the one under the least load, which stands on the right."""
    of_provider: dict[str, list[Tally]] = {}
    for tally in tallies:
        if tally.stopped is None:
            of_provider.setdefault(tally.name, []).append(tally)
    pairs = []
    for name in sorted(of_provider):
        light = min(of_provider[name], key=lambda t: (t.lane.provider.concurrency, t.lane.condition))
        pairs += [Pair(kind="conditions", left=t, right=light) for t in of_provider[name] if t is not light]
    return pairs


def compare_pairs(
    book: Book, pairs: Sequence[Pair], texts: Texts, alpha: float, run: RunSection | None = None
) -> list[Comparison]:
    """Enter the figures of all pairs and test each that nobody decides; the tests are still to be corrected.

    Of a `run` in several sessions whole sessions are permuted; without one, or of one session, its repeats are.
    """
    drawn = permutations_needed(sum(not p.decided for p in pairs), alpha)
    known: dict[tuple[PartName, bytes, bytes], Comparison] = {}
    compared = [
        _compare_pair(book, pair, texts, drawn, run) if pair.listed else _test_pair(pair, texts, drawn, run, known)
        for pair in pairs
    ]
    _enter_cross_ned(book, [c for c in compared if c.pair.listed], texts)
    return compared


def permutations_needed(tests: int, alpha: float) -> int:
    """How many to draw: after Holm's correction the smallest attainable p-value must stay well below alpha."""
    return max(999, math.ceil(4 * tests / alpha) - 1) if tests and alpha else 999


def _compare_pair(book: Book, pair: Pair, texts: Texts, drawn: int, run: RunSection | None) -> Comparison:
    subject, basis = pair.subject, pair.basis
    left, right = _settle_pair(pair, texts, basis)
    match = agreement.cross_match_rate(left, right)
    excess = agreement.excess_divergence(left, right)
    book.add(subject, agreement.CROSS_EMR, match, note=UP_TO_THE_CUT)
    complete = agreement.cross_match_rate(pair.left.by_part(basis).whole, pair.right.by_part(basis).whole)
    book.add(subject, agreement.CROSS_EMR_COMPLETE, complete, note="whole texts only")
    estimate = book.add(
        subject, agreement.EXCESS_DIVERGENCE, excess, estimate=stats.divergence_over_prompts, note=UP_TO_THE_CUT
    )
    floor = np.where(np.isnan(match), np.nan, agreement.noise_floor(left, right))
    book.add(subject, agreement.NOISE_FLOOR, floor, note=UP_TO_THE_CUT)
    tables = agreement.build_count_tables(left, right)
    smallest = stats.minimum_detectable_divergence(tables)
    detectable = Estimate(value=smallest, low=None, high=None, n=len(tables), method="test at .05, power .8")
    book.put(subject, MINIMUM_DETECTABLE_EXCESS, detectable)
    parts = {name: _compare_part(book, pair, texts, name) for name in pair.parts}
    if pair.kind != "conditions":
        _enter_other_figures(book, pair)
        _enter_reasoning_figures(book, pair)
    if run is not None and run.sessions > 1 and not pair.decided:
        sides = _count_sessions(pair, texts, basis, run)
        test = stats.session_permutation(agreement.build_session_tables(*sides), permutations=drawn)
    else:
        test = stats.one_hot_permutation(
            [] if pair.decided else tables, permutations=drawn, settled_above=_PLAINLY_LARGE
        )
    return Comparison(
        pair=pair, left=left, right=right, match=match, excess=excess, estimate=estimate, test=test, parts=parts
    )


def _test_pair(
    pair: Pair,
    texts: Texts,
    drawn: int,
    run: RunSection | None,
    known: dict[tuple[PartName, bytes, bytes], Comparison],
) -> Comparison:
    """A pair without figures. Who answers exactly as another did is compared once: of very many peers most do.

    Of a run in several sessions those that differ repeat by repeat must differ by whole sessions, too: the larger of
    both p-values is one.
    """
    basis = pair.basis
    by_session = run is not None and run.sessions > 1
    one, other = (_fingerprint_answers(tally, basis, by_session=by_session) for tally in (pair.left, pair.right))
    if (basis, one, other) not in known:
        left, right = _settle_pair(pair, texts, basis)
        excess = agreement.excess_divergence(left, right)
        tables = agreement.build_count_tables(left, right)
        test = stats.sequential_permutation(tables, permutations=drawn)
        if run is not None and by_session and test.p_value <= _PLAINLY_LARGE:
            sides = _count_sessions(pair, texts, basis, run)
            most = min(drawn, _MOST_SESSION_PERMUTATIONS)
            whole = stats.session_permutation(agreement.build_session_tables(*sides), permutations=most)
            test = max(test, whole, key=lambda tested: tested.p_value)
        known[basis, one, other] = Comparison(
            pair=pair,
            left=left,
            right=right,
            match=agreement.cross_match_rate(left, right),
            excess=excess,
            estimate=stats.divergence_over_prompts(excess[~np.isnan(excess)]),
            test=test,
            parts={},
        )
    return replace(known[basis, one, other], pair=pair)


def _fingerprint_answers(tally: Tally, part: PartName, *, by_session: bool) -> bytes:
    """Equal for those that gave the same texts to the same prompts as often (or, by session, in the same repeats)."""
    counted, lane = tally.by_part(part), tally.lane
    counts = (counted.raw.cell, counted.raw.segment, counted.raw.output, counted.raw.count)
    rows = (lane.prompt, lane.repeat, counted.text, np.array([planned_repeats(lane)])) if by_session else ()
    return b"".join(np.ascontiguousarray(array, dtype=np.int64).tobytes() for array in (*counts, *rows))


def _settle_pair(pair: Pair, texts: Texts, part: PartName) -> tuple[Counts, Counts]:
    """Both sides counted, cut texts settled among both."""
    sides = (pair.left.by_part(part).raw, pair.right.by_part(part).raw)
    compared = texts.by_part(part)
    settled = settle_cuts(sides, compared.longer, compared.limit)
    return relabel_counts(sides[0], settled), relabel_counts(sides[1], settled)


def _count_sessions(pair: Pair, texts: Texts, part: PartName, run: RunSection) -> tuple[Counts, Counts]:
    """Both sides counted session by session, cut texts settled among both."""
    sides = [tally.by_part(part) for tally in (pair.left, pair.right)]
    settled = settle_cuts([s.raw for s in sides], texts.by_part(part).longer, texts.by_part(part).limit)
    counted = []
    for tally, side in zip((pair.left, pair.right), sides, strict=True):
        rows = np.flatnonzero(side.text != NOT_SAID)
        prompt, repeats = tally.lane.prompt[rows], planned_repeats(tally.lane)
        session = np.array([run.session_of(r, repeats) for r in tally.lane.repeat[rows].tolist()], dtype=np.int64)
        output = rename_outputs(prompt, side.text[rows], settled)
        counted.append(count_outputs(prompt, output, cells=side.raw.cells, segment=session))
    return counted[0], counted[1]


def _compare_part(book: Book, pair: Pair, texts: Texts, part: PartName) -> PartComparison:
    """One part, on the prompts to which either side has it: there it is empty where a side has none."""
    left, right = _settle_pair(pair, texts, part)
    used = pair.left.parts[part].used | pair.right.parts[part].used
    subject = pair.subject_of(part)
    match = np.where(used, agreement.cross_match_rate(left, right), np.nan)
    book.add(subject, agreement.CROSS_EMR, match, note=UP_TO_THE_CUT)
    excess = np.where(used, agreement.excess_divergence(left, right), np.nan)
    book.add(subject, agreement.EXCESS_DIVERGENCE, excess, estimate=stats.divergence_over_prompts, note=UP_TO_THE_CUT)
    floor = np.where(np.isnan(match), np.nan, agreement.noise_floor(left, right))
    book.add(subject, agreement.NOISE_FLOOR, floor, note=UP_TO_THE_CUT)
    if pair.kind != "conditions":
        longer = np.where(used, pair.left.parts[part].chars - pair.right.parts[part].chars, np.nan)
        book.add(subject, LENGTH_DIFFERENCE_CHARS, longer, estimate=stats.mean_over_prompts)
    return PartComparison(left=left, right=right, match=match)


def _enter_other_figures(book: Book, pair: Pair) -> None:
    """Answers, finish reasons, lengths and prompt_tokens of a pair."""
    left, right, subject = pair.left, pair.right, pair.subject_of("whole")
    book.add(subject, ANSWER_AGREEMENT, agreement.cross_match_rate(left.told, right.told))
    book.add(subject, answers.FLIPS, majority_flips(pair), estimate=share_of_prompts)
    if left.spelled.cell.size and right.spelled.cell.size:
        written = agreement.cross_match_rate(left.spelled, right.spelled)
        book.add(subject, CROSS_EMR_AS_WRITTEN, written, note="tool calls letter by letter")
    book.add(subject, FINISH_REASON_AGREEMENT, agreement.cross_match_rate(left.finish, right.finish))
    book.add(subject, PROMPT_TOKENS_AGREEMENT, agreement.cross_match_rate(left.prompt_tokens, right.prompt_tokens))
    fewer = left.completion_tokens - right.completion_tokens
    book.add(subject, COMPLETION_TOKENS_DIFFERENCE, fewer, estimate=stats.mean_over_prompts)
    longer = left.by_part(pair.basis).chars - right.by_part(pair.basis).chars
    book.add(pair.subject, LENGTH_DIFFERENCE_CHARS, longer, estimate=stats.mean_over_prompts)
    of_answers = Subject(kind="answers", left=subject.left, right=subject.right, condition=subject.condition)
    mismatch = agreement.excess_divergence(left.answer, right.answer)
    note = "above what each side's own repeats differ by"
    book.add(of_answers, MISMATCH_RATE, mismatch, estimate=stats.divergence_over_prompts, note=note)


def _enter_reasoning_figures(book: Book, pair: Pair) -> None:
    """Whether both show a reasoning and count tokens of it; nothing where neither does either."""
    left, right, subject = pair.left, pair.right, pair.subject_of("whole")
    if left.shows_reasoning or right.shows_reasoning:
        book.add(subject, REASONING_SHOWN_AGREEMENT, agreement.cross_match_rate(left.shown, right.shown))
    if (np.nansum(left.reasoning_tokens) + np.nansum(right.reasoning_tokens)) > 0:
        more = left.reasoning_tokens - right.reasoning_tokens
        book.add(subject, REASONING_TOKENS_DIFFERENCE, more, estimate=stats.mean_over_prompts)


def majority_flips(pair: Pair) -> Floats:
    """1 for each prompt that one side answers correctly by majority and the other does not."""
    return answers.answer_flips(answers.majority_vote(pair.left.correct), answers.majority_vote(pair.right.correct))


def _enter_cross_ned(book: Book, compared: Sequence[Comparison], texts: Texts) -> None:
    """All pairs at once: many pairs of providers share the same pairs of texts, measured once each."""
    of_part: dict[PartName, list[tuple[Pair, Counts, Counts]]] = {}
    for c in compared:
        of_part.setdefault(c.pair.basis, []).append((c.pair, c.left, c.right))
        for name, part in c.parts.items():
            of_part.setdefault(name, []).append((c.pair, part.left, part.right))
    for name, sides in of_part.items():
        _enter_ned_of_part(book, name, sides, texts.by_part(name))


def _enter_ned_of_part(
    book: Book, part: PartName, sides: Sequence[tuple[Pair, Counts, Counts]], texts: ComparedTexts
) -> None:
    pairs = [divergence.cross_pairs(left, right) for _, left, right in sides]
    keys = np.concatenate([_text_pair_key(p.left, p.right, texts) for p in pairs])
    unique, place = np.unique(keys, return_inverse=True)
    left, right = np.divmod(unique, max(1, len(texts.text)))
    measured = divergence.normalised_distances(*([texts.text[i] for i in side.tolist()] for side in (left, right)))
    ends = np.cumsum([p.cell.size for p in pairs])
    for (pair, *_), p, distance in zip(sides, pairs, np.split(measured[place], ends[:-1]), strict=True):
        values = divergence.mean_distance(p, distance)
        if part in pair.parts:
            values = np.where(pair.left.parts[part].used | pair.right.parts[part].used, values, np.nan)
        book.add(pair.subject_of(part), divergence.CROSS_NED, values, note=describe_ned())


def _text_pair_key(left: Ints, right: Ints, texts: ComparedTexts) -> Ints:
    return np.minimum(left, right) * max(1, len(texts.text)) + np.maximum(left, right)


def enter_repetition_excess(book: Book, tallies: Sequence[Tally], references: Sequence[str]) -> None:
    """How much more a provider repeats itself than the reference, or else than its peers, on the same prompt."""
    for tally in tallies:
        peers = [t for t in tallies if t is not tally and _are_comparable(t, tally)]
        reference = next((t for t in peers if t.name in references), None)
        if not peers or (tally.name in references and reference is None):
            continue
        right = reference.name if reference else None
        others = [reference] if reference else peers
        # What a text that thinks aloud repeats says nothing beside one that does not.
        alike = all(t.shows_reasoning == tally.shows_reasoning for t in others)
        part: PartName = "whole" if alike else "spoken"
        subject = Subject(kind="repetition", left=tally.name, right=right, condition=tally.lane.condition, part=part)
        for one in TEXT_METRICS:
            values = metric_excess(one.metric.name, tally.by_part(part), [t.by_part(part) for t in others])
            estimate = bounded_mean(-1, 1) if one.metric.unit == "share" else stats.mean_over_prompts
            note = "token = word" if reference else "token = word; over the peers' mean"
            book.add(subject, one.excess, values, estimate=estimate, note=note)


def metric_excess(metric: MetricName, tally: CountedTexts, others: Iterable[CountedTexts]) -> Floats:
    """A text metric minus its mean over the others on the same prompt; NaN where either side has none."""
    theirs = np.stack([t.metrics[metric] for t in others])
    known = ~np.isnan(theirs)
    number = known.sum(axis=0)
    mean = np.divide(
        np.where(known, theirs, 0).sum(axis=0), number, out=np.full(number.shape, np.nan), where=number > 0
    )
    return np.asarray(tally.metrics[metric] - mean)


def _are_comparable(one: Tally, other: Tally) -> bool:
    return (
        one.lane.condition == other.lane.condition
        and one.lane.provider.claimed_model == other.lane.provider.claimed_model
    )
