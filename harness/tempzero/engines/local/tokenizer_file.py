"""A folder with a model's tokenizer in, tokens of prompts and texts out, as the servers of that model make them."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tempzero.engines.hosted.readers.echo import TokenSpelling
from tempzero.engines.local.chat_template import ChatTemplate
from tempzero.errors import EngineError
from tempzero.types.asked import Message

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_VOCABULARY, _SETTINGS, _TEMPLATE = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"
_ID_LIMIT = 1 << 32  # what the library can be asked for


class TokenizerFile:
    """See `engines.hosted.token_texts.TokenizerSource` and `engines.hosted.readers.echo.Vocabulary`."""

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate, sha256: str) -> None:
        self._tokenizer, self._template, self._sha256 = tokenizer, template, sha256
        self._added = {id_: added.special for id_, added in tokenizer.get_added_tokens_decoder().items()}

    def describe(self) -> str:
        """Which file it is."""
        return f"{_VOCABULARY} {self._sha256[:16]}"

    def prompt_ids(self, messages: Sequence[Message], *, template_values: Mapping[str, Any] | None = None) -> list[int]:
        return self.tokenize(self._template.render(messages, template_values))

    def tokenize(self, text: str) -> list[int]:
        try:
            return list(self._tokenizer.encode(text, add_special_tokens=False).ids)
        except UnicodeEncodeError:
            raise EngineError("a text with half a surrogate pair has no tokens") from None

    def detokenize(self, token_ids: Sequence[int]) -> str:
        unknown = [t for t in token_ids if not 0 <= t < _ID_LIMIT or self._tokenizer.id_to_token(t) is None]
        if unknown:
            raise EngineError(f"token id {unknown[0]} is not in this vocabulary")
        return str(self._tokenizer.decode(list(token_ids), skip_special_tokens=False))

    @property
    def size(self) -> int:
        """How many tokens there are, added ones among them."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    @functools.cached_property
    def begin_id(self) -> int | None:
        """The token that it puts before a text by itself."""
        own, plain = (self._tokenizer.encode("a", add_special_tokens=it).ids for it in (True, False))
        return int(own[0]) if own[:1] != plain[:1] else None

    def spell_token(self, token_id: int) -> TokenSpelling:
        """One token in letters: none where the vocabulary has a hole at that id."""
        piece = self._tokenizer.id_to_token(token_id)
        if piece is None:
            return TokenSpelling(behind="", alone="", piece="", control=True)
        before = str(self._tokenizer.decode([self._anchor], skip_special_tokens=False))
        both = str(self._tokenizer.decode([self._anchor, token_id], skip_special_tokens=False))
        return TokenSpelling(
            behind=both.removeprefix(before),
            alone=str(self._tokenizer.decode([token_id], skip_special_tokens=False)),
            piece=str(piece),
            control=self._added.get(token_id, False),
        )

    @functools.cached_property
    def _anchor(self) -> int:
        """A plain token to put before others: some tokenizers drop a space that begins a text."""
        return int(self._tokenizer.encode("a", add_special_tokens=False).ids[-1])


def open_tokenizer_file(folder: Path) -> TokenizerFile:
    """The tokenizer of a model's folder as Hugging Face lays it out. Raises EngineError where it cannot be used."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise EngineError("tokenizer: needs the extra of that name: pip install 'tempzero[tokenizer]'") from None
    data = _read_bytes(folder / _VOCABULARY)
    try:
        tokenizer = Tokenizer.from_buffer(data)
    except Exception as problem:  # the library raises bare Exceptions, whatever is wrong with the file
        raise EngineError(f"{folder / _VOCABULARY}: is no tokenizer: {problem}") from None
    settings = _read_settings(folder / _SETTINGS)
    beside = folder / _TEMPLATE
    source = _read_bytes(beside).decode(errors="replace") if beside.exists() else _find_template(settings)
    if source is None:
        raise EngineError(f"{folder}: holds no chat template, neither {_TEMPLATE} nor chat_template in {_SETTINGS}")
    begin, end = (_find_token(settings, name) for name in ("bos_token", "eos_token"))
    template = ChatTemplate(source, bos_token=begin, eos_token=end)
    return TokenizerFile(tokenizer, template, hashlib.sha256(data).hexdigest())


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EngineError(f"{path}: cannot be read: {error.strerror}") from None


def _read_settings(path: Path) -> Mapping[str, Any]:
    if not path.exists():
        return {}
    try:
        found = json.loads(_read_bytes(path))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise EngineError(f"{path}: is no JSON object")
    return found


def _find_template(settings: Mapping[str, Any]) -> str | None:
    """The template, or of several that have names the default one."""
    given = settings.get("chat_template")
    if isinstance(given, list):
        named = {one.get("name"): one.get("template") for one in given if isinstance(one, dict)}
        given = named.get("default")
    return given if isinstance(given, str) else None


def _find_token(settings: Mapping[str, Any], name: str) -> str:
    given = settings.get(name)
    if isinstance(given, dict):
        given = given.get("content")
    return given if isinstance(given, str) else ""
