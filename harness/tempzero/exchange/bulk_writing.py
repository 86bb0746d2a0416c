"""Encoded rows and the Trace of their survey in, the attempts that row-by-row writing gives out: as parts of JSON.

An attempt is put together from parts that are encoded once: the trial and request of a question, the outcome of rows
that say the same beside their text. What differs in each row is its text, the row as it is kept, and a few numbers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tempzero.errors import ExchangeError
from tempzero.exchange.answer_columns import ColumnFile
from tempzero.exchange.bulk_survey import Trace
from tempzero.exchange.keys import AnswerKey
from tempzero.exchange.outcomes import compose_outcome
from tempzero.exchange.row_encoding import OUTCOME_FIELDS, REQUEST_FIELDS, EncodedRows, EncodingJob, NumberedCells
from tempzero.exchange.run_writing import import_times, make_request_builder
from tempzero.exchange.survey import Survey
from tempzero.metrics.agreement import Ints
from tempzero.records.encoded_parts import encode_part
from tempzero.types.asked import Trial

_MOST_REMEMBERED = 50_000
# Stand where a row's own text and numbers go, in parts that are encoded once.
_HERE = "\x1ahere\x1a"
_TEXT_HERE = encode_part(_HERE)
_NUMBER_HERE = 987_654_321_987
ATTEMPT_FORM = b'{"trial":%b%d},"number":%d,"block":%d,"exchange":{"request":%b,"response":%b,%b%b%b}}'
"""An attempt: trial and repeat, number, block, request, response, and the outcome's frame around its text."""


class AttemptEncoder:
    """Encodes the attempts of rows, in the order of the source."""

    def __init__(self, survey: Survey, trace: Trace, job: EncodingJob) -> None:
        self._trace, self._row, self._job = trace, 0, job
        self._ranks, self._blocks = _place_rows(survey, trace)
        self._retried, self._earlier = survey.retried, dict[int, int]()
        self._missing = [ending.status == "missing" for ending in trace.found_endings]
        self._file: ColumnFile | None = None
        self._number_of_file = -1
        self._build_request = make_request_builder(job.recipe)
        self._requests: dict[tuple[int, int], bytes] = {}
        self._settings, self._outcomes = list[Any](), list[Any]()
        self._heads, self._frames = _Parts(self._make_head), _Parts(self._make_frame)
        self._trial = _split_trial()

    def encode_attempts(self, encoded: EncodedRows) -> Iterator[tuple[Any, ...]]:
        """The parts of an attempt for each row. Raises ExchangeError where the source has changed since its survey."""
        file = self._open(encoded)
        place = slice(self._row, self._row + len(encoded))
        self._row = place.stop
        lengths = np.frombuffer(encoded.lengths, dtype=np.int32)
        if not np.array_equal(self._trace.lengths[place], lengths):
            raise ExchangeError(f"{file.name}: was changed while it was imported; import it again")
        _renew(self._settings, encoded.settings, self._heads, self._requests)
        _renew(self._outcomes, encoded.outcomes, self._frames)
        keys = self._trace.rows[place]
        lanes, questions = keys[:, 0].tolist(), keys[:, 1].tolist()
        asked = map(self._heads.__getitem__, zip(lanes, questions, encoded.settings.numbers, strict=True))
        heads, requests = zip(*asked, strict=True)
        endings = self._trace.endings[place].tolist()
        frames = list(
            map(self._frames.__getitem__, zip(endings, (lengths > 0).tolist(), encoded.outcomes.numbers, strict=True))
        )
        texts = encoded.texts.split(b"\n")[:-1]
        for at in self._find_outcomes_apart(encoded, frames):
            text = json.loads(texts[at])
            cells = self._outcomes[encoded.outcomes.numbers[at]]
            frames[at] = self._compose(endings[at], text, cells, self._trace.questions[questions[at]].text), b""
        openings, closings = zip(*frames, strict=True)
        if not all(closings):  # an outcome that holds no text
            texts = [text if closing else b"" for text, closing in zip(texts, closings, strict=True)]
        return zip(
            heads,
            self._ranks[place].tolist(),
            self._numbers_of(keys),
            self._blocks[place].tolist(),
            requests,
            encoded.responses.split(b"\n")[:-1],
            openings,
            texts,
            closings,
            strict=True,
        )

    def _open(self, encoded: EncodedRows) -> ColumnFile:
        if self._file is None or encoded.file != self._number_of_file:
            self._file, self._number_of_file = self._job.open_file(encoded.file), encoded.file
        return self._file

    def _make_head(self, lane_number: int, question_number: int, settings: int) -> tuple[bytes, bytes]:
        """The opening of a row's trial up to its repeat, and its request."""
        assert self._file is not None, "opened for the rows"
        start, before_prompt, before_condition, end = self._trial
        encode = encode_part
        lane, question = self._trace.lanes[lane_number], self._trace.questions[question_number]
        parts = (start, encode(lane.who.name), before_prompt, encode(question.id), before_condition)
        request = self._requests.get((question_number, settings))
        if request is None:  # equal ones of several providers are encoded once
            answer = self._file.read_answer(REQUEST_FIELDS, self._settings[settings])
            request = encode(self._build_request(answer, AnswerKey(lane, question, 0)))
            if len(self._requests) >= _MOST_REMEMBERED:
                self._requests.clear()
            self._requests[question_number, settings] = request
        return b"".join((*parts, encode(lane.condition), end)), request

    def _numbers_of(self, keys: Ints) -> list[int]:
        """The number of each attempt: above 1 where an earlier row of its trial gave no output."""
        found = [1] * len(keys)
        if self._retried:
            for at, (lane, question, repeat, _) in enumerate(keys.tolist()):
                packed = ((lane << 32 | question) << 32) | repeat
                if packed in self._retried:
                    found[at] = self._earlier[packed] = self._earlier.get(packed, 0) + 1
        return found

    def _make_frame(self, ending: int, has_text: bool, outcome: int) -> tuple[bytes, bytes]:
        """Times and outcome up to the text, and the rest; no rest where there is no text."""
        cells = self._outcomes[outcome]
        if not has_text or self._missing[ending]:
            return self._compose(ending, None, cells, None), b""
        opening, _, closing = self._compose(ending, _HERE, cells, None).partition(_TEXT_HERE)
        return opening, closing

    def _compose(self, ending: int, text: str | None, cells: Any, prompt: str | None) -> bytes:
        assert self._file is not None, "opened for the rows"
        answer = self._file.read_answer(OUTCOME_FIELDS, cells)
        answer.text, answer.prompt = text, prompt
        times, outcome = import_times(answer), compose_outcome(self._trace.found_endings[ending], answer)
        return b'"times":%b,"outcome":%b' % (encode_part(times), encode_part(outcome))

    def _find_outcomes_apart(self, encoded: EncodedRows, frames: Sequence[tuple[bytes, bytes]]) -> set[int]:
        """The rows whose outcome is no frame around their text: it holds reasoning or calls, or the frame its marks."""
        return {*encoded.apart, *(at for at, (_, closing) in enumerate(frames) if _TEXT_HERE[1:-1] in closing)}


class _Parts(dict[Any, tuple[bytes, bytes]]):
    """Parts of attempts by what they are made from, each made once while it is remembered."""

    def __init__(self, make: Callable[..., tuple[bytes, bytes]]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: tuple[Any, ...]) -> tuple[bytes, bytes]:
        if len(self) >= _MOST_REMEMBERED:
            self.clear()
        found = self[key] = self._make(*key)
        return found


def _renew(known: list[Any], numbered: NumberedCells, *made: dict[Any, Any]) -> None:
    """Add cells to those that are known; where numbers start afresh, forget them and what was made from them."""
    if numbered.afresh:
        known.clear()
        for parts in made:
            parts.clear()
    known += numbered.new


def _place_rows(survey: Survey, trace: Trace) -> tuple[Ints, Ints]:
    """The repeat and the block of each row, as `import_attempts` numbers them."""
    lanes, rows = trace.lanes.values(), trace.rows
    most = max((lane.most_repeats for lane in lanes), default=1)
    ranks, blocks = np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows), dtype=np.int64)
    for lane in lanes:
        own = rows[:, 0] == lane.number
        ranks[own] = np.array(lane.ranks(), dtype=np.int64)[rows[own, 2]]
        blocks[own] = lane.condition_number * most
    return ranks, (blocks + ranks) * len(survey.keys.questions) + rows[:, 1]


def _split_trial() -> tuple[bytes, bytes, bytes, bytes]:
    """A trial around its provider, prompt and condition, up to its repeat."""
    names = ["\x1aprovider\x1a", "\x1aprompt\x1a", "\x1acondition\x1a"]
    trial = Trial(provider=names[0], prompt=names[1], condition=names[2], repeat=_NUMBER_HERE)
    rest, parts = encode_part(trial).partition(b"%d" % _NUMBER_HERE)[0], []
    for name in names:
        before, _, rest = rest.partition(encode_part(name))
        parts.append(before)
    return parts[0], parts[1], parts[2], rest
