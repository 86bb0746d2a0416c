"""Token ids in, how they stand under the model of a host that echoes prompts out: /v1/completions, `echo`, `logprobs`.

Such a host tells tokens by their letters and not by ids, so the model's tokenizer must be at hand. Letters are what
each host makes of a token: with the space before it or without, as the vocabulary writes it, nothing for control tokens
and parts of characters. Whichever of these explains every token of an answer is taken; where none does the host cuts
the text otherwise, and nothing is read from it. Where several tokens have the letters that a host shows as likely, the
first of them stands for it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

from tempzero.config import Provider
from tempzero.engines.hosted.endpoint_wire import EndpointWire, RefusedRequest
from tempzero.engines.hosted.token_texts import TokenizerSource
from tempzero.engines.hosted.told_tokens import (
    MalformedAnswer,
    RivalToken,
    TokenStanding,
    as_storable_text,
    build_standing,
    first_choice,
    require_list,
    require_logprob,
)
from tempzero.errors import EngineError

# Hosts cap it at five, and refuse or ignore more.
_VISIBLE = 5
_PARTIAL = "\ufffd"
_MARKS = ("bytes:", "<0x")  # how a part of a character is spelled
_SAME = 1e-6
# Two likely tokens and the one that stands there: somewhere in a text the three are different ones.
_FEWEST_SHOWN = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenSpelling:
    """What a token is in letters: `behind` other tokens, `alone`, and the vocabulary's own `piece`."""

    behind: str
    alone: str
    piece: str
    control: bool


class Vocabulary(TokenizerSource, Protocol):
    """A tokenizer that is at hand: see `engines.local.tokenizer_file.TokenizerFile`."""

    @property
    def size(self) -> int:
        """How many tokens there are."""

    @property
    def begin_id(self) -> int | None:
        """The token that it puts before a text by itself."""

    def spell_token(self, token_id: int) -> TokenSpelling:
        """One token in letters."""


Spell = Callable[[TokenSpelling], str]
# In the order in which they are tried: who shows the spaces tells the most.
_WAYS: tuple[Spell, ...] = (lambda s: s.behind, lambda s: s.alone, lambda s: s.piece)


class EchoReader:
    """See `readers.PromptReader`."""

    visible, ranks, reads_single_tokens = _VISIBLE, False, False
    tells: Literal["whole"] = "whole"

    def __init__(self, provider: Provider, wire: EndpointWire, tokenizer: TokenizerSource | None) -> None:
        """Raises EngineError without a tokenizer."""
        if tokenizer is None:
            raise EngineError(
                f"{provider.name}: `reads: echo` needs `tokenizer:`, the folder with the model's tokenizer"
            )
        self.path, self._wire = f"{wire.api}/completions", wire
        self.tokenizer: TokenizerSource = tokenizer
        self._letters = _Letters(cast(Vocabulary, tokenizer))
        self._sends: Literal["ids", "text"] | None = None  # None: it is found out by the first request
        self._begins = False

    def describe(self) -> Mapping[str, Any]:
        return {"prompts_as": self._sends, "begin_token": "put on by the host" if self._begins else "sent"}

    def read_tokens(self, token_ids: Sequence[int], start: int, end: int) -> list[TokenStanding]:
        ids = token_ids[:end]
        told = self._ask(ids)
        if self._puts_begin_token_on(told, ids):
            self._begins = True
            told = self._ask(ids)
        return self._letters.read_standings(told, ids, start)

    def read_token(self, token_ids: Sequence[int], at: int) -> TokenStanding:
        return self.read_tokens(token_ids, at, at + 1)[0]

    def _puts_begin_token_on(self, told: _ToldTokens, ids: Sequence[int]) -> bool:
        """Whether the begin token, which was sent in letters, is there twice."""
        if self._sends != "text" or self._begins or ids[0] != self._letters.begin_id:
            return False
        return self._letters.find_way(told, ids, 0) is None and self._letters.find_way(told, ids, 1) is not None

    def _ask(self, ids: Sequence[int]) -> _ToldTokens:
        """As ids where the host takes them, else as a text."""
        if self._sends is None:
            try:
                found = self._send(list(ids))
            except RefusedRequest:
                found = self._send(self._spell_prompt(ids))
                self._sends = "text"
            else:
                self._sends = "ids"
            return found
        return self._send(list(ids) if self._sends == "ids" else self._spell_prompt(ids))

    def _send(self, prompt: list[int] | str) -> _ToldTokens:
        fields = {"prompt": prompt, "max_tokens": 1, "echo": True, "logprobs": _VISIBLE, "temperature": 1, "top_p": 1}
        return _parse_echo(self._wire.require_answer(self.path, fields))

    def _spell_prompt(self, ids: Sequence[int]) -> str:
        text = self.tokenizer.detokenize(ids)
        if self.tokenizer.tokenize(text) != list(ids):
            raise MalformedAnswer(
                "this host takes texts and no token ids, and as a text these tokens are cut otherwise"
            )
        return text.removeprefix(self.tokenizer.detokenize(ids[:1])) if self._begins else text


@dataclass(frozen=True, kw_only=True, slots=True)
class _ToldTokens:
    texts: tuple[str, ...]
    logprobs: tuple[Any, ...]
    tops: tuple[Any, ...]


def _parse_echo(value: Mapping[str, Any]) -> _ToldTokens:
    told = first_choice(value).get("logprobs")
    told = told if isinstance(told, dict) else {}
    texts, logprobs, tops = (
        require_list(told.get(name), f"logprobs.{name}") for name in ("tokens", "token_logprobs", "top_logprobs")
    )
    if not len(texts) == len(logprobs) == len(tops) or not all(isinstance(text, str) for text in texts):
        raise MalformedAnswer("logprobs holds tokens, token_logprobs and top_logprobs of different lengths")
    return _ToldTokens(texts=tuple(texts), logprobs=tuple(logprobs), tops=tuple(tops))


class _Letters:
    """A vocabulary in the ways in which hosts write it."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary, self.begin_id = vocabulary, vocabulary.begin_id
        self._spelled: dict[int, TokenSpelling] = {}
        self._tokens: dict[Spell, dict[str, list[int]]] = {}

    def find_way(self, told: _ToldTokens, ids: Sequence[int], first: int) -> Spell | None:
        """The way of writing in which the answer tells of these tokens, from its `first` on, and one more at most."""
        texts = told.texts[first : first + len(ids)]
        if len(texts) < len(ids) or len(told.texts) > first + len(ids) + 1:
            return None
        pairs = [(text, self._spell(token)) for text, token in zip(texts, ids, strict=True)]
        return next((way for way in _WAYS if all(_is_written(text, spelled, way) for text, spelled in pairs)), None)

    def read_standings(self, told: _ToldTokens, ids: Sequence[int], start: int) -> list[TokenStanding]:
        """Of the tokens from `start` on. Raises Malformed where the answer tells of others."""
        way = self.find_way(told, ids, 0)
        if way is None:
            raise MalformedAnswer(
                f"its {len(told.texts)} tokens are not the {len(ids)} that the tokenizer makes of the text (is it the "
                "model's own tokenizer, and does the host echo all of the prompt?)"
            )
        if max((len(top) for top in told.tops if isinstance(top, dict)), default=_FEWEST_SHOWN) < _FEWEST_SHOWN:
            raise MalformedAnswer("fewer than the two most likely tokens are told; let the host show more logprobs")
        return [
            self._read_place(ids[at - 1], ids[at], require_logprob(told.logprobs[at]), told.tops[at], way)
            for at in range(start, len(ids))
        ]

    def _read_place(self, before: int, token: int, logprob: float, top: Any, way: Spell) -> TokenStanding:
        if not isinstance(top, dict):
            raise MalformedAnswer("no logprobs.top_logprobs came back for a token of the prompt")
        own, broken = self._spell(token), _PARTIAL in self._spell(before).behind
        rivals = {token: RivalToken(logprob, as_storable_text(way(own)))}
        for text, value in top.items():
            shown = require_logprob(value)
            if _is_written(text, own, way) and abs(shown - logprob) <= _SAME:
                continue
            rival = self._find_token(text, way, rivals, unspelled=broken or _is_unspelled(text))
            if rival is not None:
                rivals[rival] = RivalToken(shown, as_storable_text(text))
        above = sum(rival.logprob > logprob for rival in rivals.values())
        return build_standing(token, logprob, rivals, above + 1)

    def _find_token(self, text: str, way: Spell, taken: Container[int], *, unspelled: bool) -> int | None:
        """The first token that is written so and not `taken`; None where there is no other.

        `unspelled`: it may be part of a character, which a host shows in a way of its own, or as the whole character
        that it makes of what stands before.
        """
        tokens = self._list_tokens(way)
        for found in (tokens.get(text, []), tokens[_PARTIAL] if unspelled else []):
            others = [one for one in found if one not in taken]
            if others:
                return others[0]
        if text in tokens or unspelled:
            return None
        raise MalformedAnswer(f"it shows a token {as_storable_text(text)[:40]!r} that the tokenizer does not have")

    def _list_tokens(self, way: Spell) -> Mapping[str, list[int]]:
        """All tokens by their letters; those that hosts write in ways of their own stand together."""
        if way not in self._tokens:
            tokens: dict[str, list[int]] = {_PARTIAL: []}
            for token in range(self._vocabulary.size):
                spelled = self._spell(token)
                tokens.setdefault(way(spelled), []).append(token)
                if spelled.control or _PARTIAL in spelled.behind:
                    tokens[_PARTIAL].append(token)
            self._tokens[way] = tokens
        return self._tokens[way]

    def _spell(self, token: int) -> TokenSpelling:
        if token not in self._spelled:
            self._spelled[token] = self._vocabulary.spell_token(token)
        return self._spelled[token]


def _is_written(text: str, spelled: TokenSpelling, way: Spell) -> bool:
    """Whether a host writes that token so: a part of a character is anything, a control token may be nothing."""
    return text == way(spelled) or _PARTIAL in spelled.behind or (spelled.control and not text)


def _is_unspelled(text: str) -> bool:
    return not text or _PARTIAL in text or text.startswith(_MARKS)
