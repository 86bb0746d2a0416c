"""Batches of Answers and the Trace of their survey in, the attempts that row-by-row writing gives out: as encoded JSON.

An attempt is put together from parts that are encoded once: the trial and request of a question, the outcome of rows
that say the same beside their text. What differs in each row is its text, the row as it is kept, and a few numbers.
"""

from __future__ import annotations

from binascii import hexlify
from collections.abc import Callable, Hashable, Iterable, Sequence
from hashlib import sha256
from typing import Any, TypeVar

import numpy as np

from tempzero.answers.chat_messages import CALL_MARK
from tempzero.answers.message_parts import holds_think_mark
from tempzero.errors import ExchangeError
from tempzero.exchange.answer_columns import AnswerBatch
from tempzero.exchange.bulk_survey import Trace, find_first_places, measure_texts
from tempzero.exchange.keys import AnswerKey
from tempzero.exchange.outcomes import compose_outcome
from tempzero.exchange.recipe import Recipe
from tempzero.exchange.run_writing import import_response, import_times, make_request_builder
from tempzero.exchange.survey import Survey
from tempzero.metrics.agreement import Ints
from tempzero.records.encoded_parts import encode_part, encode_parts, make_row_encoder
from tempzero.types.asked import Trial

_MOST_REMEMBERED = 50_000
# Stand where a row's own text and numbers go, in parts that are encoded once.
_HERE = "\x1ahere\x1a"
_TEXT_HERE = encode_part(_HERE)
_NUMBER_HERE = 987_654_321_987
# What a request is made of besides the question and its lane, and what the other parts are made of.
_OF_REQUEST = ("model", "temperature", "top_p", "seed", "max_tokens")
_OF_COMPLETION = (
    *("refusal", "reasoning", "finish_reason", "served_model", "backend", "fingerprint", "response_id"),
    *("prompt_tokens", "completion_tokens", "reasoning_tokens", "total_tokens"),
)
_OF_TIMES = ("date", "latency_s", "latency_ms")

Part = TypeVar("Part")


class AttemptEncoder:
    """Encodes the attempts of batches, in the order of the source."""

    def __init__(self, survey: Survey, trace: Trace, recipe: Recipe) -> None:
        self._trace, self._row = trace, 0
        self._ranks, self._blocks = _place_rows(survey, trace)
        self._retried, self._earlier = survey.retried, dict[int, int]()
        self._request = make_request_builder(recipe)
        self._heads: dict[Hashable, tuple[bytes, bytes]] = {}
        self._requests: dict[Hashable, bytes] = {}
        self._trial = _split_trial()
        self._outcomes: dict[Hashable, tuple[bytes, bytes]] = {}
        start, before, after, end = _split_response()
        self._before_body, self._behind_size = b'"exchange":{"request":%b,"response":' + start, end
        self._attempt = b'{"trial":%b%d},"number":%d,"block":%d,%b"%b"' + before + b"%b" + after + b"%d%b%b%b}}"
        self._row_encoders: dict[tuple[str, ...], Callable[[Iterable[Sequence[str]]], bytes]] = {}

    def encode_batch(self, batch: AnswerBatch) -> list[bytes]:
        """One attempt for each row. Raises ExchangeError where the source has changed since it was surveyed."""
        rows = slice(self._row, self._row + batch.size)
        self._row = rows.stop
        self._require_same_texts(batch, rows)
        keys = self._trace.rows[rows]
        lanes, questions = keys[:, 0].tolist(), keys[:, 1].tolist()
        heads, requests = self._heads_of(batch, lanes, questions)
        lines = self._encode_rows_of(batch)
        bodies = lines.split(b"\n")[:-1]
        # A row that is JSON needs no other escapes than these to stand in a JSON text.
        quoted = lines.replace(b"\\", b"\\\\").replace(b'"', b'\\"').split(b"\n")[:-1]
        parts = zip(
            heads,
            self._ranks[rows].tolist(),
            self._numbers_of(keys),
            self._blocks[rows].tolist(),
            requests,
            quoted,
            [hexlify(sha256(body).digest()) for body in bodies],
            map(len, bodies),
            *self._outcomes_of(batch, questions, self._trace.endings[rows].tolist()),
            strict=True,
        )
        return list(map(self._attempt.__mod__, parts))

    def _encode_rows_of(self, batch: AnswerBatch) -> bytes:
        """The rows as they are kept, a line each."""
        encode = self._row_encoders.get(batch.names)
        if encode is None:
            encode = self._row_encoders[batch.names] = make_row_encoder(batch.names)
        return encode(batch.cells)

    def _require_same_texts(self, batch: AnswerBatch, rows: slice) -> None:
        if not np.array_equal(self._trace.lengths[rows], measure_texts(batch.of("text"))):
            raise ExchangeError(f"{batch.file}: was changed while it was imported; import it again")

    def _heads_of(
        self, batch: AnswerBatch, lanes: Sequence[int], questions: Sequence[int]
    ) -> tuple[list[bytes], list[bytes]]:
        """The opening of each row's trial up to its repeat, and its request up to the response's body."""
        start, before_prompt, before_condition, end = self._trial
        encode, settings = encode_part, batch.raw(_OF_REQUEST)

        def make(at: int) -> tuple[bytes, bytes]:
            lane, question = self._trace.lanes[lanes[at]], self._trace.questions[questions[at]]
            parts = (start, encode(lane.who.name), before_prompt, encode(question.id), before_condition)
            request = self._requests.get((question.number, settings[at]))
            if request is None:  # equal ones of several providers are encoded once
                answer = batch.answer(at, ("provider", *_OF_REQUEST))
                request = self._before_body % encode(self._request(answer, AnswerKey(lane, question, 0)))
                self._requests[question.number, settings[at]] = request
            return b"".join((*parts, encode(lane.condition), end)), request

        if len(self._requests) > _MOST_REMEMBERED:
            self._requests.clear()
        found = _look_up(self._heads, list(zip(lanes, questions, settings, strict=True)), make)
        return [head for head, _ in found], [request for _, request in found]

    def _numbers_of(self, keys: Ints) -> list[int]:
        """The number of each attempt: above 1 where an earlier row of its trial gave no output."""
        found = [1] * len(keys)
        if self._retried:
            for at, (lane, question, repeat, _) in enumerate(keys.tolist()):
                packed = ((lane << 32 | question) << 32) | repeat
                if packed in self._retried:
                    found[at] = self._earlier[packed] = self._earlier.get(packed, 0) + 1
        return found

    def _outcomes_of(
        self, batch: AnswerBatch, questions: Sequence[int], endings: Sequence[int]
    ) -> tuple[list[bytes], list[bytes], list[bytes]]:
        """What stands behind each row's size: times and outcome up to its text, the text, and the rest."""
        texts = batch.of("text")

        def compose(at: int, text: str | None) -> bytes:
            answer = batch.answer(at, ("provider", *_OF_COMPLETION, *_OF_TIMES))
            answer.text, answer.prompt = text, self._trace.questions[questions[at]].text
            times, outcome = import_times(answer), compose_outcome(self._trace.found_endings[endings[at]], answer)
            return b'%b,"times":%b,"outcome":%b' % (self._behind_size, encode_part(times), encode_part(outcome))

        def make(at: int) -> tuple[bytes, bytes]:
            if not texts[at] or self._trace.found_endings[endings[at]].status == "missing":
                return compose(at, texts[at]), b""
            opening, _, closing = compose(at, _HERE).partition(_TEXT_HERE)
            return opening, closing

        raw = batch.raw((*_OF_COMPLETION, *_OF_TIMES))
        halves = _look_up(self._outcomes, list(zip(endings, map(bool, texts), raw, strict=True)), make)
        for at in self._find_outcomes_apart(texts, halves):
            halves[at] = compose(at, texts[at]), b""
        if not all(closing for _, closing in halves):  # an outcome that holds no text
            texts = [text if closing else "" for text, (_, closing) in zip(texts, halves, strict=True)]
            encoded = [text if closing else b"" for text, (_, closing) in zip(encode_parts(texts), halves, strict=True)]
        else:
            encoded = encode_parts(texts)
        return [opening for opening, _ in halves], encoded, [closing for _, closing in halves]

    def _find_outcomes_apart(self, texts: Sequence[str | None], halves: Sequence[tuple[bytes, bytes]]) -> list[int]:
        """The rows whose outcome is no frame around their text: it holds reasoning or calls, or the frame its marks."""
        apart = [at for at, (_, closing) in enumerate(halves) if _TEXT_HERE[1:-1] in closing]
        together = "\n".join(text or "" for text in texts)
        if CALL_MARK in together or holds_think_mark(together):
            apart += [at for at, text in enumerate(texts) if text and (CALL_MARK in text or holds_think_mark(text))]
        return apart


def _look_up(known: dict[Hashable, Part], keys: Sequence[Any], make: Callable[[int], Part]) -> list[Part]:
    """A part for each key; what is not known yet is made from the first row that has the key."""
    new = find_first_places(keys, known)
    if len(known) + len(new) > _MOST_REMEMBERED:
        known.clear()
        new = find_first_places(keys, known)
    for key, at in new.items():
        known[key] = make(at)
    return list(map(known.__getitem__, keys))


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


def _split_response() -> tuple[bytes, bytes, bytes, bytes]:
    """A response around its body, the body's hash and its size."""
    whole = encode_part(import_response(_HERE))
    start, _, rest = whole.partition(_TEXT_HERE)
    before, _, rest = rest.partition(sha256(_HERE.encode()).hexdigest().encode())
    size = b":%d," % len(_HERE)
    after, _, end = rest.partition(size)
    return start, before, after + b":", b"," + end
