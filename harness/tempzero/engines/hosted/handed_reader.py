"""Result files of an offline batch in, the standing of each token out, as the endpoint itself would tell it.

What no result tells of is kept as wanted: the next plan's lines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tempzero.config import Provider
from tempzero.engines.hosted.batch_files import BatchResults, build_batch_line, name_reading
from tempzero.engines.hosted.endpoint_wire import find_foreign_model
from tempzero.engines.hosted.readers.vllm import VISIBLE, build_vllm_fields, read_vllm_answer
from tempzero.engines.hosted.token_texts import TokenizerSource, TokenTexts
from tempzero.engines.hosted.told_tokens import MalformedAnswer, TokenStanding
from tempzero.errors import EngineError
from tempzero.types.scored import BatchForm


class HandedReader:
    """Reads as `prompt_logprobs.EndpointReader` does, from files; see `reading.references.LogprobsEndpoint`.

    What is not there is taken to stand first everywhere, so that one pass finds out all that a plan can hold.
    """

    def __init__(self, provider: Provider, tokenizer: TokenizerSource, results: BatchResults) -> None:
        assert provider.reads == "vllm", "the caller has seen `reads: vllm`"
        self._provider, self._tokenizer, self._results = provider, tokenizer, results
        known = TokenTexts(tokenizer, {})
        self._known, self.tokenize, self.pieces, self.prompt_ids = (
            known,
            known.tokenize,
            known.pieces,
            tokenizer.prompt_ids,
        )
        self.wanted: dict[str, tuple[int, ...]] = {}
        """The tokens that are still to be read, by the name of the reading."""
        self.found = 0
        """How often a result told what was asked."""
        self.refusal: str | None = None
        """What the server said of tokens that it would not read."""

    def describe(self) -> Mapping[str, Any]:
        """How the readings came about, as JSON values; who ran the batch, and on what, is not known here."""
        return {
            "engine": "prompt_logprobs",
            "handed_over": True,
            "model": self._provider.model,
            "reads": self._provider.reads,
            "visible_tokens": VISIBLE,
            "ranks": "of all tokens",
            "tokenizer": self._tokenizer.describe(),
        }

    @property
    def end_ids(self) -> tuple[int, ...]:
        """The token that ends the model's turn; empty where the chat template writes none."""
        return self._known.end_ids

    def read(self, token_ids: Sequence[int], start: int) -> list[TokenStanding]:
        """As the results say. Raises EngineError where the server refused these tokens."""
        if start == len(token_ids):
            return []
        model = self._provider.model
        try:
            found = self._results.find_answer(model, token_ids, lambda told: self._read_answer(told, token_ids, start))
        except EngineError as problem:
            self.refusal = str(problem)
            raise
        if found is not None:
            self.found += 1
            return found
        self.wanted[name_reading(model, token_ids)] = tuple(token_ids)
        return [_assume_standing(token) for token in token_ids[start:]]

    def _read_answer(self, told: Mapping[str, Any], token_ids: Sequence[int], start: int) -> list[TokenStanding]:
        foreign = find_foreign_model(self._provider, told.get("model"))
        if foreign is not None:
            raise MalformedAnswer(foreign)
        return read_vllm_answer(told, token_ids, start)

    def list_batch_lines(self, form: BatchForm) -> list[bytes]:
        """The requests for all that is wanted."""
        return [build_batch_line(self._provider.model, ids, build_vllm_fields(), form) for ids in self.wanted.values()]


def open_handed_reader(provider: Provider, tokenizer: TokenizerSource | None, results: BatchResults) -> HandedReader:
    """Raises EngineError for a provider whose readings cannot be handed over."""
    if provider.reads != "vllm":
        raise EngineError(f"{provider.name}: only what `reads: vllm` can be handed over: others have no such batch")
    if tokenizer is None:
        raise EngineError(
            f"{provider.name}: to hand readings over its tokens must be known here: give "
            "`tokenizer:` a folder with the model's tokenizer.json and chat template"
        )
    return HandedReader(provider, tokenizer, results)


def _assume_standing(token: int) -> TokenStanding:
    return TokenStanding(
        token_id=token,
        logprob=0.0,
        rank=1,
        top1_id=token,
        top1_logprob=0.0,
        top1_text="",
        top2_logprob=-1.0,
        rivals=((token, 0.0),),
    )
