"""A tokenizer that is not in this process in, what tokens are in letters and letters in tokens out, bytes included."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tempzero.errors import EngineError
from tempzero.types.asked import Message

_PARTIAL_CHARACTER = "\ufffd"  # what a part of a character is shown as
_CONTROL_TOKEN = re.compile(r"[<\[].+[>\]]", re.DOTALL)


class TokenizerSource(Protocol):
    """Who knows the vocabulary: a server, or a file. EngineError: it does not say."""

    def describe(self) -> str:
        """What it is: one file and another do not make the same tokens."""

    def prompt_ids(self, messages: Sequence[Message], *, template_values: Mapping[str, Any] | None = None) -> list[int]:
        """The token ids that the model's chat template makes of these messages, given these values."""

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text; control tokens spelled out in it are read as such."""

    def detokenize(self, token_ids: Sequence[int]) -> str:
        """The text of these tokens, control tokens spelled out."""


class TokenTexts:
    """What a tokenizer says, and what follows from it; `texts` is what is known of tokens in letters already."""

    def __init__(self, source: TokenizerSource, texts: dict[tuple[int, ...], str]) -> None:
        self._source, self._texts = source, texts

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a response's text, without a begin token. Control tokens spelled out in it are read as such."""
        return self._source.tokenize(text)[self._begin_tokens :]

    def pieces(self, token_ids: Sequence[int]) -> list[bytes]:
        """The bytes each token adds to a text: none for the end of the turn.

        A character made of several tokens counts to the last of them; one left incomplete is left out.
        Raises EngineError for ids that the server does not know.
        """
        pieces: list[bytes] = []
        pending: tuple[int, ...] = ()
        shown = 0
        for token in token_ids:
            if token in self.end_ids:
                pieces.append(b"")
                continue
            pending = (*pending, token)
            text = self._text_behind_anchor(pending)
            whole = text.rstrip(_PARTIAL_CHARACTER)
            pieces.append(whole[shown:].encode())
            pending, shown = ((), 0) if whole == text else (pending, len(whole))
        return pieces

    @functools.cached_property
    def end_ids(self) -> tuple[int, ...]:
        """The token that ends the model's turn, as the chat template writes it; empty where it writes none.

        Two conversations that differ in one answer have the same tokens behind it; the end comes first.
        """
        one, other = (self._source.prompt_ids(build_sample_conversation(answer)) for answer in ("yes", "no"))
        behind: list[int] = []
        for mine, theirs in zip(reversed(one), reversed(other), strict=False):
            if mine != theirs:
                break
            behind.insert(0, mine)
        for token in behind:
            text = self._text_behind_anchor((token,)).strip()
            if text:
                return (token,) if _CONTROL_TOKEN.fullmatch(text) else ()
        return ()

    @functools.cached_property
    def _begin_tokens(self) -> int:
        """How many tokens the server puts before a text although it is asked not to."""
        ids = self._source.tokenize("a")
        shown = self._text(tuple(ids)).lstrip(" ")  # a space that the vocabulary begins words with is no token too many
        return 1 if shown != "a" and self._text(tuple(ids[1:])) == "a" else 0

    @functools.cached_property
    def _anchor(self) -> int:
        """A plain token to put before others: some tokenizers drop a space that begins a text."""
        ids = self._source.tokenize("a")
        if not ids:
            raise EngineError('the tokenizer makes no tokens of the text "a"')
        return ids[-1]

    def _text_behind_anchor(self, token_ids: tuple[int, ...]) -> str:
        """The text of these tokens, behind others."""
        return self._text((self._anchor, *token_ids)).removeprefix(self._text((self._anchor,)))

    def _text(self, token_ids: tuple[int, ...]) -> str:
        if token_ids not in self._texts:
            self._texts[token_ids] = self._source.detokenize(token_ids) if token_ids else ""
        return self._texts[token_ids]


def build_sample_conversation(answer: str) -> list[Message]:
    """Two turns of a user with this answer between them."""
    return [
        Message(role="user", content="Is it?"),
        Message(role="assistant", content=answer),
        Message(role="user", content="Why?"),
    ]
