"""Nothing in, the nouns of suspects out: what may have been changed, and how to tell what the model would then say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tempzero.types.asked import Message
from tempzero.types.scored import SuspectKind

Logits = NDArray[np.float32]


class RenderIds(Protocol):
    def __call__(self, messages: Sequence[Message], *, chat_template: str | None = None) -> list[int]:
        """The tokens that stand before the answer. Raises EngineError where they cannot be rendered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AskedPrompt:
    """A prompt as it was asked: `ids` are the tokens that the reference was given for it."""

    messages: tuple[Message, ...]
    ids: tuple[int, ...]
    render: RenderIds
    is_control: Callable[[int], bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestSuspect:
    """Another prompt than the one that was sent: `change` gives its tokens, the same ones where nothing changes.

    `words` go on from "what explains it:". Suspects of one `family` differ in size, or in what cannot matter.
    A `loud` one says other things than were asked: it would leave tokens beyond rounding, and is read only where there
    are some.
    """

    name: str
    family: str
    words: str
    change: Callable[[AskedPrompt], Sequence[int]]
    loud: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ChosenTokens:
    """A response as the unchanged reference reads it: its best tokens at each place, and what stands before.

    A row for each token, the one that ends the turn included where `ended`. `tokens` are the response's own; `piece`
    gives the bytes of one.
    """

    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    ended: bool
    end_ids: tuple[int, ...]
    ids: NDArray[np.int32]
    logits: Logits
    piece: Callable[[int], bytes]


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplerSuspect:
    """Another choice from the same logits: `change` gives them as the rule leaves them, for one response."""

    name: str
    family: str
    words: str
    change: Callable[[ChosenTokens], Logits]


SuggestRules = Callable[[Sequence[ChosenTokens]], Sequence[SamplerSuspect]]
"""All responses of a provider in, the rules that are worth trying on them out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FormSuspect:
    """Another form of the reference's model: `kind` weights or positions."""

    name: str
    family: str
    words: str
    kind: SuspectKind
