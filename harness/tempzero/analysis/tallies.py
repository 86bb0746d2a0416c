"""A Lane and the texts in, everything that is counted for each prompt of one provider out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from tempzero.analysis.observations import Lane
from tempzero.analysis.part_counts import CENSORED, NOT_SAID, VALID
from tempzero.analysis.texts import ComparedTexts, PartTexts, Texts
from tempzero.metrics import answers, cell_averages, stopped_sampling
from tempzero.metrics.agreement import (
    UNPARSED,
    Counts,
    Floats,
    Ints,
    choose_leading_k,
    count_outputs,
    emr,
    mark_group_starts,
    rename_outputs,
)
from tempzero.metrics.cuts import settle_cuts
from tempzero.metrics.stopped_sampling import StoppedSampling
from tempzero.types.asked import Prompt, Trial
from tempzero.types.concluded import LEADING_SHARE
from tempzero.types.vocabulary import MetricName, PartName


@dataclass(frozen=True, kw_only=True, slots=True)
class CountedTexts:
    """Texts of one provider under one condition, counted: its whole answers, or one part of them.

    Comparable texts are whole ones and ones cut at the token limit: `text` has their numbers for each row of the lane.
    `raw` counts them as they are, `own` after cut ones were settled among this provider's responses (see
    `metrics.cuts`), and `output` gives that for each row; `whole` counts whole texts only.
    """

    text: Ints
    output: Ints
    raw: Counts
    own: Counts
    whole: Counts
    emr: Floats
    chars: Floats
    metrics: Mapping[MetricName, Floats]


@dataclass(frozen=True, kw_only=True, slots=True)
class PartTally(CountedTexts):
    """One part of the answers. `used`: the prompts to which any answer has this part; elsewhere nothing is compared."""

    used: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally(CountedTexts):
    """One provider under one condition, counted. Arrays have one value for each prompt unless said.

    `answer` counts parsed answers of prompts with an extractor, `told` the same with texts in place of those that could
    not be read, `spelled` answers to offered tools with calls letter by
    letter. `parts` holds the parts that any answer of the run has; it is empty where all answers are nothing but text.
    """

    lane: Lane
    answer: Counts
    told: Counts
    spelled: Counts
    finish: Counts
    prompt_tokens: Counts
    # 1 for each answer that shows a reasoning, 0 for each that shows none.
    shown: Counts
    shown_share: Floats
    # Means over the answers that report them.
    completion_tokens: Floats
    reasoning_tokens: Floats
    unparsed: Floats
    correct: Floats
    correct_rows: tuple[Ints, Floats]
    parts: Mapping[PartName, PartTally]
    # Not None where sampling stopped at the first divergence: agreement of such repeats would be false.
    stopped: StoppedSampling | None
    # The first row of each prompt in the lane, and one more for the end.
    starts: Ints

    @property
    def name(self) -> str:
        return self.lane.provider.name

    def own_parts(self) -> dict[PartName, PartTally]:
        """The parts that this provider's answers have; none where all of them are nothing but text."""
        found: dict[PartName, PartTally] = {n: p for n, p in self.parts.items() if n != "spoken" and p.used.any()}
        return found if set(found) - {"text"} else {}

    @property
    def shows_reasoning(self) -> bool:
        """Whether any of its answers comes with a reasoning."""
        return "reasoning" in self.parts and bool(self.parts["reasoning"].used.any())

    @property
    def k(self) -> int:
        """Repeats that figures over all repeats are defined for: the planned number, at least two."""
        return max(2, planned_repeats(self.lane))

    @property
    def leading_k(self) -> int:
        """The largest number of repeats that LEADING_SHARE of the prompts asked, or to be asked, have."""
        asked = np.bincount(self.lane.prompt, minlength=self.lane.planned.size) > 0
        if self.lane.provider.imported is None:
            asked |= self.lane.planned
        return choose_leading_k(self.own, int(np.count_nonzero(asked)), LEADING_SHARE)

    def trial(self, row: int, prompts: Sequence[Prompt]) -> Trial:
        """The primary key of a row of the lane."""
        return Trial(
            provider=self.name,
            prompt=prompts[int(self.lane.prompt[row])].id,
            condition=self.lane.condition,
            repeat=int(self.lane.repeat[row]),
        )

    def by_part(self, part: PartName) -> CountedTexts:
        """The whole answers, or one part of them."""
        return self if part == "whole" else self.parts[part]

    def first_row(self, prompt: int, text: int, part: PartName = "whole") -> int:
        """The earliest repeat of a prompt that gave exactly this text."""
        start, end = self.starts[prompt], self.starts[prompt + 1]
        return int(start + np.flatnonzero(self.by_part(part).text[start:end] == text)[0])


def planned_repeats(lane: Lane) -> int:
    """The repeats planned of each prompt; of imported records the most that any prompt has."""
    if lane.provider.imported is not None:
        return int(lane.repeat.max(initial=0)) + 1
    return lane.provider.repeats


def tally_lane(lane: Lane, texts: Texts, prompts: Sequence[Prompt]) -> Tally:
    """Count one lane. `lane.text` holds the numbers of `texts`."""
    cells = len(prompts)
    usable = lane.status <= CENSORED
    asks = np.array([p.extractor is not None for p in prompts], dtype=bool)
    parses = (lane.answered == 1) & asks[lane.prompt]
    comparable = lane.text != NOT_SAID
    answer = np.full(lane.text.size, UNPARSED, dtype=np.int64)
    answer[comparable] = texts.answer[lane.text[comparable]]
    told = answer.copy()
    told[comparable] = texts.told[lane.text[comparable]]
    correct_rows = _grade_rows(lane, texts, prompts)
    counted = _count_texts(lane, lane.text, texts, cells)
    shows = _find_shown_reasoning(lane, texts)
    return Tally(
        lane=lane,
        **counted,
        answer=_count_rows(lane, answer, parses, cells),
        told=_count_rows(lane, told, parses, cells),
        spelled=_count_rows(lane, lane.spelled, lane.spelled != NOT_SAID, cells),
        finish=_count_rows(lane, lane.finish, usable & (lane.finish != NOT_SAID), cells),
        prompt_tokens=_count_rows(lane, lane.prompt_tokens, usable & (lane.prompt_tokens != NOT_SAID), cells),
        shown=_count_rows(lane, shows, comparable, cells),
        shown_share=cell_averages.mean_by_cell(
            lane.prompt[comparable], shows[comparable].astype(np.float64), cells=cells
        ),
        completion_tokens=_average_tokens(lane, lane.completion_tokens, usable, cells),
        reasoning_tokens=_average_tokens(lane, lane.reasoning_tokens, usable, cells),
        unparsed=cell_averages.mean_by_cell(
            lane.prompt[parses], (answer[parses] == UNPARSED).astype(np.float64), cells=cells
        ),
        correct=answers.accuracy(*correct_rows, cells=cells),
        correct_rows=correct_rows,
        parts={name: _tally_part(lane, name, part, cells) for name, part in texts.parts.items()},
        stopped=None
        if lane.provider.imported is None
        else _detect_stopped_sampling(lane, counted["output"], answer, cells),
        starts=np.searchsorted(lane.prompt, np.arange(cells + 1)),
    )


def _detect_stopped_sampling(lane: Lane, output: Ints, answer: Ints, cells: int) -> StoppedSampling | None:
    """By the texts, or else by the answers that the extractor reads from them."""
    by_text = stopped_sampling.detect_stopped_sampling(lane.prompt, lane.repeat, output, cells=cells)
    return by_text or stopped_sampling.detect_stopped_by_answer(lane.prompt, lane.repeat, answer, cells=cells)


class _Counted(TypedDict):
    """The fields of CountedTexts."""

    text: Ints
    output: Ints
    raw: Counts
    own: Counts
    whole: Counts
    emr: Floats
    chars: Floats
    metrics: Mapping[MetricName, Floats]


def _count_texts(lane: Lane, text: Ints, texts: ComparedTexts, cells: int) -> _Counted:
    """Count a text for each row of the lane, by its number among `texts`; −1: none to compare."""
    comparable = text != NOT_SAID
    output = _settle_own_cuts(lane, text, comparable, texts)
    own = _count_rows(lane, output, comparable, cells)
    whole = comparable.copy()
    whole[comparable] = ~texts.cut[text[comparable]]

    def average(of_text: Floats) -> Floats:
        return cell_averages.mean_by_cell(lane.prompt[comparable], of_text[text[comparable]], cells=cells)

    return _Counted(
        text=text,
        output=output,
        raw=_count_rows(lane, text, comparable, cells),
        own=own,
        whole=_count_rows(lane, text, whole, cells),
        emr=emr(own),
        chars=average(texts.chars.astype(np.float64)),
        metrics={name: average(values) for name, values in texts.metrics.items()},
    )


def _tally_part(lane: Lane, name: PartName, texts: PartTexts, cells: int) -> PartTally:
    text = np.full(lane.text.size, NOT_SAID, dtype=lane.text.dtype)
    answered = lane.text != NOT_SAID
    text[answered] = texts.of_answer[lane.text[answered]]
    used = np.zeros(cells, dtype=bool)
    there = text != NOT_SAID
    there[there] = (texts.length[text[there]] > 0) | (name == "spoken")
    used[lane.prompt[there]] = True
    counted = _count_texts(lane, text, texts, cells)
    counted["emr"] = np.where(used, counted["emr"], np.nan)
    return PartTally(**counted, used=used)


def _find_shown_reasoning(lane: Lane, texts: Texts) -> Ints:
    """1 for each row whose answer shows a reasoning, else 0."""
    shows = np.zeros(lane.text.size, dtype=np.int64)
    if "reasoning" in texts.parts:
        part, answered = texts.parts["reasoning"], lane.text != NOT_SAID
        shows[answered] = part.length[part.of_answer[lane.text[answered]]] > 0
    return shows


def _average_tokens(lane: Lane, tokens: Ints, rows: NDArray[np.bool_], cells: int) -> Floats:
    told = rows & (tokens != NOT_SAID)
    return cell_averages.mean_by_cell(lane.prompt[told], tokens[told].astype(np.float64), cells=cells)


def _count_rows(lane: Lane, output: Ints, rows: NDArray[np.bool_], cells: int) -> Counts:
    return count_outputs(lane.prompt[rows], output[rows], cells=cells, segment=lane.segment[rows])


def _settle_own_cuts(lane: Lane, text: Ints, rows: NDArray[np.bool_], texts: ComparedTexts) -> Ints:
    """Each row's text, or the one it counts as among the repeats of its request under one identity."""
    if not texts.longer or not rows.any():
        return text
    prompt, segment = lane.prompt[rows], lane.segment[rows]
    order = np.lexsort((segment, prompt))
    unit = np.empty(prompt.size, dtype=np.int64)
    unit[order] = np.cumsum(mark_group_starts(prompt[order], segment[order])) - 1
    new = settle_cuts([count_outputs(unit, text[rows], cells=1 + int(unit.max()))], texts.longer, texts.limit)
    output = text.copy()
    output[rows] = rename_outputs(unit, text[rows], new)
    return output


def _grade_rows(lane: Lane, texts: Texts, prompts: Sequence[Prompt]) -> tuple[Ints, Floats]:
    """The prompt and the correctness of every answered row whose prompt expects something."""
    expects = np.array([p.extractor is not None and p.expected is not None for p in prompts], dtype=bool)
    rows = (lane.status == VALID) & (lane.answered == 1) & expects[lane.prompt]
    correct = np.zeros(int(rows.sum()))
    text = lane.text[rows]
    correct[text != NOT_SAID] = texts.correct[text[text != NOT_SAID]]
    return lane.prompt[rows], correct
