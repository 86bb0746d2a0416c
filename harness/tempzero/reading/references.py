"""An engine or an endpoint in, what reads responses with it out: `ReferenceModel`, all that scoring needs of either."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tempzero.errors import EngineError
from tempzero.metrics import decoding
from tempzero.reading.top_rows import BookedModel, RowBook, TopRows
from tempzero.reading.written_reasoning import END_THINK, THINK, WrittenForm
from tempzero.types.asked import Message

# Of the tokens that an endpoint shows so many of a place are kept: those that rounding could choose are fewer.
_VISIBLE_KEPT = 8
KnownRows = dict[tuple[tuple[int, ...], tuple[int, ...], bool], TopRows]
_THINK_TAGS = re.compile(f"({re.escape(THINK)}|{re.escape(END_THINK)})")


class ReferenceModel(Protocol):
    """What scoring needs of a reference. EngineError: these tokens, or this rendering, cannot be read."""

    @property
    def exact(self) -> bool:
        """Whether whole distributions are seen."""

    @property
    def until_difference(self) -> bool:
        """Whether a response is read only up to where it differs from the reference's own answer."""

    @property
    def written(self) -> WrittenForm | None:
        """What stands around reasoning, where that is known; None: it is found out by reading."""

    @property
    def vocabulary(self) -> int:
        """How many tokens there are; 0 where that is not told."""

    @property
    def end_ids(self) -> tuple[int, ...]:
        """The tokens that end the model's turn."""

    def describe(self) -> Mapping[str, Any]:
        """What the reading engine says of itself."""

    def prompt_ids(
        self,
        messages: Sequence[Message],
        *,
        chat_template: str | None = None,
        template_values: Mapping[str, Any] | None = None,
    ) -> list[int]:
        """The tokens that stand before the answer to these messages, rendered with what the request gave a template."""

    def tokenize(self, text: str) -> list[int]:
        """The tokens of a response's text; think tags that are tokens of their own are those."""

    def pieces(self, token_ids: Sequence[int]) -> list[bytes]:
        """The bytes that each token adds to a text."""

    def read(self, prompt: Sequence[int], ids: Sequence[int], *, ended: bool) -> decoding.TokenStandings:
        """How each token stands behind the prompt; with `ended` the one that ends the turn as well."""


class ModelForm(Protocol):
    """Another form of a reference's model, with the same vocabulary."""

    def logits(self, token_ids: Sequence[int], start: int) -> Iterator[NDArray[np.float32]]: ...


class LogitsModel(ModelForm, Protocol):
    """A model in this process: see `engines.in_process.InProcessEngine`."""

    def describe(self) -> Mapping[str, Any]: ...
    def prompt_ids(
        self,
        messages: Sequence[Message],
        *,
        chat_template: str | None = None,
        template_values: Mapping[str, Any] | None = None,
    ) -> list[int]: ...
    def tokenize(self, text: str, *, special: bool) -> list[int]: ...
    def piece(self, token_id: int) -> bytes: ...
    @property
    def end_ids(self) -> tuple[int, ...]: ...
    @property
    def vocabulary(self) -> int: ...


class LogitsReference:
    """Reads with the whole distributions of a model in this process."""

    exact, until_difference, written = True, False, None

    def __init__(self, engine: LogitsModel, book: RowBook | None = None) -> None:
        self.engine = engine
        self._booked = BookedModel(engine, book or RowBook(None, engine.describe()))
        self.find_rows, self.find_known_rows = self._booked.find_rows, self._booked.find_known_rows
        self.describe, self.prompt_ids = engine.describe, engine.prompt_ids
        self.vocabulary, self.end_ids = engine.vocabulary, engine.end_ids

    def tokenize(self, text: str) -> list[int]:
        parts = _THINK_TAGS.split(text)
        if len(parts) == 1 or not self._tags_are_tokens:
            return self.engine.tokenize(text, special=False)
        return [t for part in parts if part for t in self._tokenize_part(part)]

    def _tokenize_part(self, part: str) -> list[int]:
        if not _THINK_TAGS.fullmatch(part):
            return self.engine.tokenize(part, special=False)
        return self.engine.tokenize(part, special=True)[len(self.engine.tokenize("", special=True)) :]

    @functools.cached_property
    def _tags_are_tokens(self) -> bool:
        return all(len(self._tokenize_part(tag)) == 1 for tag in (THINK, END_THINK))

    def pieces(self, token_ids: Sequence[int]) -> list[bytes]:
        if not all(0 <= t < self.vocabulary for t in token_ids):
            raise EngineError("ids outside this vocabulary")
        return [self.engine.piece(t) for t in token_ids]

    def read(self, prompt: Sequence[int], ids: Sequence[int], *, ended: bool) -> decoding.TokenStandings:
        rows = self._booked.watch_rows(list_logit_rows(self.engine, (*prompt, *ids), len(prompt)), prompt, ids)
        return decoding.read_logit_rows(rows, ids, prompt, end_ids=self.end_ids if ended else ())

    @property
    def read_tokens(self) -> int:
        """How many tokens were computed for suspects."""
        return self._booked.read_tokens


class LogprobsEndpoint(Protocol):
    """An endpoint that tells log-probabilities: see `engines.prompt_logprobs.EndpointReader`."""

    def describe(self) -> Mapping[str, Any]: ...
    def prompt_ids(
        self, messages: Sequence[Message], *, template_values: Mapping[str, Any] | None = None
    ) -> list[int]: ...
    def tokenize(self, text: str) -> list[int]: ...
    def pieces(self, token_ids: Sequence[int]) -> list[bytes]: ...
    def read(self, token_ids: Sequence[int], start: int) -> Sequence[decoding.ReportedToken]: ...
    @property
    def end_ids(self) -> tuple[int, ...]: ...


class EndpointReference:
    """Reads through an endpoint's `prompt_logprobs`: margins, ranks and gaps, but no whole distributions."""

    exact, until_difference, written, vocabulary = False, False, None, 0

    def __init__(self, endpoint: LogprobsEndpoint, known: KnownRows | None = None) -> None:
        """`known`: what was read, which readers of one model share, so that it is not read again under suspects."""
        self._endpoint = endpoint
        self.describe, self.tokenize, self.pieces = endpoint.describe, endpoint.tokenize, endpoint.pieces
        self.end_ids = endpoint.end_ids
        self.read_tokens = 0
        self._known: KnownRows = {} if known is None else known

    def prompt_ids(
        self,
        messages: Sequence[Message],
        *,
        chat_template: str | None = None,
        template_values: Mapping[str, Any] | None = None,
    ) -> list[int]:
        if chat_template is not None:
            raise EngineError("an endpoint renders with its own chat template only")
        return self._endpoint.prompt_ids(messages, template_values=template_values)

    def read(self, prompt: Sequence[int], ids: Sequence[int], *, ended: bool) -> decoding.TokenStandings:
        """Where several tokens may have ended the turn the first of them is taken."""
        told = self.ask_tokens(prompt, ids, ended=ended)
        self._known[tuple(prompt), tuple(ids), ended] = list_visible_rows(told)
        return decoding.read_reported_tokens(told, prompt)

    def ask_tokens(self, prompt: Sequence[int], ids: Sequence[int], *, ended: bool) -> Sequence[decoding.ReportedToken]:
        """What the endpoint tells of them, now, whatever was read before."""
        response = (*ids, *self.end_ids[:1]) if ended else tuple(ids)
        return self._endpoint.read([*prompt, *response], len(prompt))

    def find_rows(self, prompt: Sequence[int], ids: Sequence[int], *, ended: bool) -> TopRows:
        """Of each place the tokens that the endpoint shows, and the response's own."""
        key = (tuple(prompt), tuple(ids), ended)
        if key not in self._known:
            self.read_tokens += len(prompt) + len(ids)
            self.read(prompt, ids, ended=ended)
        return self._known[key]

    def find_known_rows(self, prompt: Sequence[int], ids: Sequence[int]) -> TopRows:
        """None: what was read is known as a whole only."""
        return TopRows(ids=np.empty((0, 2), np.int32), logits=np.empty((0, 2), np.float32))


def list_logit_rows(model: ModelForm, token_ids: Sequence[int], start: int) -> Iterator[NDArray[np.float32]]:
    return chain.from_iterable(model.logits(token_ids, start))


def list_visible_rows(told: Sequence[decoding.ReportedToken]) -> TopRows:
    """The likeliest that are shown, the best first at 0, and the response's own token wherever it stands.

    Places that show fewer are filled up with no token, infinitely unlikely.
    """
    places = [[*dict([*t.rivals[:_VISIBLE_KEPT], (t.token_id, t.logprob)]).items()] for t in told]
    width = max((len(place) for place in places), default=2)
    ids, logits = np.full((len(places), width), -1, np.int32), np.full((len(places), width), -np.inf, np.float32)
    for at, (place, token) in enumerate(zip(places, told, strict=True)):
        place.sort(key=lambda one: -one[1])
        ids[at, : len(place)] = [one for one, _ in place]
        # From the best one: differences of log-probabilities are those of logits, and are small there.
        logits[at, : len(place)] = [logprob - token.logprob - token.margin for _, logprob in place]
    return TopRows(ids=ids, logits=logits)
