"""A Lane and the texts in, everything that is counted for each prompt of one provider out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tempzero.analysis.observations import CENSORED, NOT_SAID, VALID, Lane
from tempzero.analysis.texts import Texts
from tempzero.metrics import answers, cell_averages, stopped_sampling
from tempzero.metrics.agreement import UNPARSED, Counts, Floats, Ints, count_outputs, emr, rename_outputs
from tempzero.metrics.cuts import settle_cuts
from tempzero.metrics.stopped_sampling import StoppedSampling
from tempzero.types.asked import Prompt, Trial
from tempzero.types.vocabulary import MetricName


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """One provider under one condition, counted. Arrays have one value for each prompt unless said.

    Comparable texts are whole ones and ones cut at the token limit. `raw` counts them as they are,
    `own` after cut ones were settled among this provider's responses (see `metrics.cuts`), and
    `output` gives that for each row of the lane; `whole` counts whole texts only. `answer` counts
    parsed answers of prompts with an extractor, `spelled` answers to offered tools with calls letter by letter.
    """

    lane: Lane
    output: Ints
    raw: Counts
    own: Counts
    whole: Counts
    answer: Counts
    spelled: Counts
    finish: Counts
    prompt_tokens: Counts
    emr: Floats
    unparsed: Floats
    correct: Floats
    correct_rows: tuple[Ints, Floats]
    chars: Floats
    metrics: Mapping[MetricName, Floats]
    # Not None where sampling stopped at the first divergence: agreement of such repeats would be false.
    stopped: StoppedSampling | None
    # The first row of each prompt in the lane, and one more for the end.
    starts: Ints

    @property
    def name(self) -> str:
        return self.lane.provider.name

    @property
    def k(self) -> int:
        """Repeats that figures over all repeats are defined for: the planned number, at least two."""
        return max(2, planned_repeats(self.lane))

    def trial(self, row: int, prompts: Sequence[Prompt]) -> Trial:
        """The primary key of a row of the lane."""
        return Trial(
            provider=self.name,
            prompt=prompts[int(self.lane.prompt[row])].id,
            condition=self.lane.condition,
            repeat=int(self.lane.repeat[row]),
        )

    def first_row(self, prompt: int, text: int) -> int:
        """The earliest repeat of a prompt that gave exactly this text."""
        start, end = self.starts[prompt], self.starts[prompt + 1]
        return int(start + np.flatnonzero(self.lane.text[start:end] == text)[0])


def planned_repeats(lane: Lane) -> int:
    """The repeats planned of each prompt; of imported records the most that any prompt has."""
    if lane.provider.imported is not None:
        return int(lane.repeat.max(initial=0)) + 1
    return lane.provider.repeats


def tally_lane(lane: Lane, texts: Texts, prompts: Sequence[Prompt]) -> Tally:
    """Count one lane. `lane.text` holds the numbers of `texts`."""
    cells = len(prompts)
    comparable = lane.text != NOT_SAID
    raw = _count_rows(lane, lane.text, comparable, cells)
    output = _settle_own_cuts(lane, comparable, texts)
    own = _count_rows(lane, output, comparable, cells)
    whole = comparable & (lane.answered == 1)
    usable = lane.status <= CENSORED
    asks = np.array([p.extractor is not None for p in prompts], dtype=bool)
    parses = (lane.answered == 1) & asks[lane.prompt]
    answer = np.full(lane.text.size, UNPARSED, dtype=np.int64)
    answer[comparable] = texts.answer[lane.text[comparable]]
    correct_rows = _grade_rows(lane, texts, prompts)
    return Tally(
        lane=lane,
        output=output,
        raw=raw,
        own=own,
        whole=_count_rows(lane, lane.text, whole, cells),
        answer=_count_rows(lane, answer, parses, cells),
        spelled=_count_rows(lane, lane.spelled, lane.spelled != NOT_SAID, cells),
        finish=_count_rows(lane, lane.finish, usable & (lane.finish != NOT_SAID), cells),
        prompt_tokens=_count_rows(lane, lane.prompt_tokens, usable & (lane.prompt_tokens != NOT_SAID), cells),
        emr=emr(own),
        unparsed=cell_averages.mean_by_cell(
            lane.prompt[parses], (answer[parses] == UNPARSED).astype(np.float64), cells=cells
        ),
        correct=answers.accuracy(*correct_rows, cells=cells),
        correct_rows=correct_rows,
        chars=_mean_over_responses(lane, texts.length.astype(np.float64), comparable, cells),
        stopped=None
        if lane.provider.imported is None
        else stopped_sampling.detect_stopped_sampling(lane.prompt, lane.repeat, output, cells=cells),
        metrics={name: _mean_over_responses(lane, values, comparable, cells) for name, values in texts.metrics.items()},
        starts=np.searchsorted(lane.prompt, np.arange(cells + 1)),
    )


def _count_rows(lane: Lane, output: Ints, rows: NDArray[np.bool_], cells: int) -> Counts:
    return count_outputs(lane.prompt[rows], output[rows], cells=cells, segment=lane.segment[rows])


def _settle_own_cuts(lane: Lane, rows: NDArray[np.bool_], texts: Texts) -> Ints:
    """Each row's text, or the one it counts as among the repeats of its request under one identity."""
    if not texts.longer or not rows.any():
        return lane.text
    _, unit = np.unique(np.stack([lane.prompt[rows], lane.segment[rows]]), axis=1, return_inverse=True)
    unit = unit.ravel()
    new = settle_cuts([count_outputs(unit, lane.text[rows], cells=1 + int(unit.max()))], texts.longer)
    output = lane.text.copy()
    output[rows] = rename_outputs(unit, lane.text[rows], new)
    return output


def _grade_rows(lane: Lane, texts: Texts, prompts: Sequence[Prompt]) -> tuple[Ints, Floats]:
    """The prompt and the correctness of every answered row whose prompt expects something."""
    expects = np.array([p.extractor is not None and p.expected is not None for p in prompts], dtype=bool)
    rows = (lane.status == VALID) & (lane.answered == 1) & expects[lane.prompt]
    correct = np.zeros(int(rows.sum()))
    text = lane.text[rows]
    correct[text != NOT_SAID] = texts.correct[text[text != NOT_SAID]]
    return lane.prompt[rows], correct


def _mean_over_responses(lane: Lane, of_text: Floats, rows: NDArray[np.bool_], cells: int) -> Floats:
    return cell_averages.mean_by_cell(lane.prompt[rows], of_text[lane.text[rows]], cells=cells)
