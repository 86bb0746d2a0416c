"""A reference pack in, something that reads responses as a reference does out: up to where they part from its own.

A pack knows what its reference would have said behind its own answer only. So a response is followed along that answer
byte by byte. At the first token that it does not share, the pack's list says how likely the response's own one was;
what comes behind it stands in another context, of which the pack knows nothing.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tempzero.errors import EngineError
from tempzero.metrics import decoding
from tempzero.packs.reference_pack import PackAnswer, ReferencePack, hash_messages
from tempzero.reading.written_reasoning import WrittenForm
from tempzero.types.asked import Message

# Numbers that stand for a byte of a text, for a token of the pack, for one that it does not list, and for a prompt: no
# vocabulary has ids so high, so a provider's own token ids are never taken for them.
_BYTE, _PROMPT, _TOKEN = 1 << 40, 1 << 41, 1 << 42
_UNLISTED = _TOKEN - 1
_END = _TOKEN - 2
_BROKEN_CHARACTER = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _PackToken:
    """How one token stands in the pack: see `types.scored.TokenScores`."""

    token_id: int
    top1_id: int
    logprob: float
    rank: int
    margin: float
    gap: float

    @property
    def rivals(self) -> tuple[tuple[int, float], ...]:
        """Its own path alone: other cuts of a text are looked for before it is read."""
        return ((self.top1_id, 0.0),)


class PackReference:
    """Reads with what a pack has written down; see `reading.references.ReferenceModel`."""

    exact, until_difference, vocabulary = False, True, 0

    def __init__(self, pack: ReferencePack, described: Mapping[str, Any]) -> None:
        self._pack, self._described = pack, described
        self._numbers = {a.messages_sha256: i for i, a in enumerate(pack.answers)}
        self.end_ids = (_END,)
        self.written = None if pack.written is None else WrittenForm(before=pack.written[0], behind=pack.written[1])

    def describe(self) -> Mapping[str, Any]:
        return self._described

    def prompt_ids(
        self,
        messages: Sequence[Message],
        *,
        chat_template: str | None = None,
        template_values: Mapping[str, Any] | None = None,
    ) -> list[int]:
        """As many as the prompt has tokens, each of which says which prompt it is. EngineError: the pack has not it."""
        number = self._numbers.get(hash_messages(messages))
        if number is None or chat_template is not None:
            raise EngineError("the pack holds no answer to this prompt")
        answer = self._pack.answers[number]
        if dict(template_values or {}) != dict(answer.template_values):
            raise EngineError("the pack was made with other values for the chat template (an effort, thinking)")
        return [_PROMPT + number] * max(1, answer.prompt_tokens or 1)

    def tokenize(self, text: str) -> list[int]:
        """Its bytes: into which tokens they fall is known once they are followed along an answer."""
        return [_BYTE + byte for byte in text.encode("utf-8", "surrogatepass")]

    def pieces(self, token_ids: Sequence[int]) -> list[bytes]:
        return [self._find_piece(token) for token in token_ids]

    def read(self, prompt: Sequence[int], ids: Sequence[int], *, ended: bool) -> decoding.TokenStandings:
        """The tokens that it shares with the pack's answer, and the first that it does not."""
        text = b"".join(self.pieces(ids)).decode("utf-8", "surrogatepass")
        if not ended:  # a character that was cut within its bytes comes as a sign of its own
            text = text.removesuffix(_BROKEN_CHARACTER)
        found = self._follow(self._pack.answers[prompt[0] - _PROMPT], text, ended=ended)
        if not found:
            raise EngineError("nothing of it can be held against the pack's answer")
        return decoding.read_reported_tokens(found, ())

    def _find_piece(self, token: int) -> bytes:
        if token in (_END, _UNLISTED) or _PROMPT <= token < _PROMPT + len(self._pack.answers):
            return b""
        if _BYTE <= token < _BYTE + 256:
            return bytes([token - _BYTE])
        if _TOKEN <= token < _TOKEN + len(self._pack.tokens):
            return self._pack.tokens[token - _TOKEN]
        raise EngineError("ids outside this pack")

    def _follow(self, answer: PackAnswer, text: str, *, ended: bool) -> list[_PackToken]:
        text, path = self._skip_trimmed_blanks(answer, text, ended=ended)
        at, begun = 0, b""  # characters that agree, and the bytes of one that is not whole yet
        shared: list[_PackToken] = []
        before: list[tuple[int, str, bytes]] = []
        for place, own in path:
            rest = text[at:]
            if own in self._pack.ends:
                if not rest and not ended:  # cut just here
                    return shared
                if not rest:
                    return [*shared, self._stand(answer, place, own)]
            else:
                said, left = _decode_bytes(begun + self._pack.tokens[own])
                if _begins_with(rest, said, left):
                    before.append((place, rest, begun))
                    at, begun = at + len(said), left
                    shared.append(self._stand(answer, place, own))
                    continue
                if not ended and said.startswith(rest):  # cut within this token, or before it
                    return shared
            if not rest and not self._pack.ends:  # whether it might have ended here the pack cannot tell
                return shared
            parted = self._stand(answer, place, self._find_other(answer, place, rest, begun))
            return self._look_back(answer, shared, parted, before)
        return shared

    def _skip_trimmed_blanks(self, answer: PackAnswer, text: str, *, ended: bool) -> tuple[str, list[tuple[int, int]]]:
        """The text and the places of the path, without blanks at either end that the one has and the other has not.

        Hosts trim what a model writes. What stands in a token together with letters is put back before the text.
        """
        path = list(enumerate(answer.path.tolist()))
        if text and not text[0].isspace():
            while path and self._is_blank(path[0][1]):
                del path[0]
            first = self._pack.tokens[path[0][1]].decode("utf-8", "replace") if path else ""
            text = first[: len(first) - len(first.lstrip())] + text
        if ended and path and path[-1][1] in self._pack.ends and not text[-1:].isspace():
            while len(path) > 1 and self._is_blank(path[-2][1]):
                del path[-2]
        return text, path

    def _is_blank(self, token: int) -> bool:
        piece = self._pack.tokens[token]
        return bool(piece) and piece.isspace()

    def _look_back(
        self,
        answer: PackAnswer,
        shared: Sequence[_PackToken],
        parted: _PackToken,
        before: Sequence[tuple[int, str, bytes]],
    ) -> list[_PackToken]:
        """The parting, or a likelier one before it: the same letters in other tokens are another context already.

        Two line breaks are one token or two; which of them a response was written in its text does not say.
        """
        found = [*shared, parted]
        for number, (place, rest, begun) in enumerate(before):
            other = self._find_other(answer, place, rest, begun)
            if other is not None:
                earlier = self._stand(answer, place, other)
                if earlier.margin < found[-1].margin:
                    found = [*shared[:number], earlier]
        return found

    def _find_other(self, answer: PackAnswer, place: int, rest: str, begun: bytes) -> int | None:
        """The likeliest listed token with which the response may have gone on instead; None where none is listed."""
        own = int(answer.path[place])
        order = (-answer.best_logprobs[place]).argsort(kind="stable")
        for token in answer.best[place][order].tolist():
            piece = self._pack.tokens[token]
            if token == own:
                continue
            ends = token in self._pack.ends and not rest
            if ends or (token not in self._pack.ends and piece and _begins_with(rest, *_decode_bytes(begun + piece))):
                return int(token)
        return None

    def _stand(self, answer: PackAnswer, place: int, token: int | None) -> _PackToken:
        """Against the pack's own choice, which counts as its best wherever it stands in the list."""
        own, top = int(answer.path[place]), float(answer.logprob[place])
        listed, below = answer.best[place], answer.best_logprobs[place]
        others = below[listed != own]
        gap = max(0.0, top - float(others.max()))
        if token == own:
            return _PackToken(
                token_id=self._number(own), top1_id=self._number(own), logprob=top, rank=1, margin=0.0, gap=gap
            )
        # Of one that is not listed this much is known: it lies no higher than the last that is.
        logprob = float(others.min()) if token is None else float(below[listed == token].max())
        return _PackToken(
            token_id=_UNLISTED if token is None else self._number(token),
            top1_id=self._number(own),
            logprob=min(logprob, top),
            rank=2 + int((others > logprob).sum()) if token is not None else 2 + others.size,
            margin=max(0.0, top - logprob),
            gap=gap,
        )

    def _number(self, token: int) -> int:
        return _END if token in self._pack.ends else _TOKEN + token


def _decode_bytes(data: bytes) -> tuple[str, bytes]:
    """Their text as engines give it, bytes that are none replaced, and those of a character that is not whole yet."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    return decoder.decode(data), decoder.getstate()[0]


def _begins_with(rest: str, said: str, left: bytes) -> bool:
    """Whether a text begins so, and goes on with a character of these bytes, or with the sign for a broken one."""
    after = rest[len(said) : len(said) + 1]
    if not rest.startswith(said):
        return False
    return not left or after == _BROKEN_CHARACTER or after.encode("utf-8", "surrogatepass").startswith(left)
