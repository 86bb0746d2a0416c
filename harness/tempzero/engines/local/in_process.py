"""A causal model in this process in, an Engine out: greedy answers, and the logits that scoring reads."""

from __future__ import annotations

import asyncio
import codecs
import datetime
import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tempzero.answers.chat_messages import wire_message, wire_tools
from tempzero.canonical_json import to_canonical_json
from tempzero.config import Provider, merge_fields
from tempzero.engines.local.chat_template import ChatTemplate, resolve_template_source
from tempzero.errors import EngineError
from tempzero.types.asked import Message, Question
from tempzero.types.recorded import Completion, Exchange, FaultKind, Outcome, Times, WireRequest, WireResponse

if TYPE_CHECKING:
    from tempzero.engines.local.weights import LocalWeights

_WARM_UP_TOKENS = 4
_TEMPLATE_VALUES = "chat_template_kwargs"
_THINK, _END_THINK = "<think>", "</think>"


class Model(Protocol):
    """What an engine needs of a model. It holds one sequence; calls come from one thread at a time.

    `context` is the most tokens it can hold, `vocabulary` the number of token ids. EngineError means
    that it cannot compute.
    """

    context: int
    vocabulary: int

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Token ids of a text; `special` reads control tokens written in it and adds the tokenizer's own."""

    def piece(self, token_id: int) -> bytes:
        """The bytes a token adds to a text: none for control tokens, maybe part of a character.

        U+FFFD for an id that is no token of this vocabulary.
        """

    @property
    def end_ids(self) -> tuple[int, ...]:
        """The tokens that end the model's turn."""

    def forget(self) -> None:
        """Empty the key-value cache."""

    def advance(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
        """Append tokens to the sequence; the logits after the last of them."""

    def logits_after(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
        """The logits after these tokens, as `forget` and `advance` would give them; `advance` goes on from there."""

    def logits(self, token_ids: Sequence[int], start: int) -> Iterator[NDArray[np.float32]]:
        """Blocks of rows; row i of all of them is the distribution over the token at position start + i."""

    def describe(self) -> Mapping[str, Any]:
        """Package, versions and settings, as JSON values."""

    def close(self) -> None:
        """Give the memory back."""


@dataclass(frozen=True, kw_only=True)
class _Generation:
    token_ids: tuple[int, ...]
    finish_reason: str
    logits_sha256: str
    first_token_s: float


class _ModelGone(Exception):
    """The model failed and could not be loaded again."""


class _UnsupportedQuestion(Exception):
    """The question asks for something that this engine does not offer."""


class _AnswerWithdrawn(Exception):
    """The question was withdrawn while it was being answered."""


class InProcessEngine:
    """Answers greedily, one question at a time, each from an empty cache.

    The event loop stays free: the model works in one thread of its own. The scoring methods
    (`tokenize` to `logits`) are synchronous and must not be called while an `ask` is under way.
    """

    def __init__(
        self,
        model: Model,
        template: ChatTemplate,
        provider: Provider,
        weights: LocalWeights,
        *,
        reload: Callable[[], Model] | None = None,
    ) -> None:
        """Take ownership of the model and warm it up. Raises EngineError for sampling that is not greedy.

        `reload` loads the model anew, should it fail: once, for one that fails again is broken.
        """
        if provider.temperature:
            raise EngineError(
                f"{provider.name}: temperature is {provider.temperature}, but a model run in this process "
                "only decodes greedily; set temperature: 0, or serve: it instead"
            )
        self._model, self._template, self._provider, self._weights = model, template, provider, weights
        self._reload = reload
        self._gone = ""  # why there is no model any more
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"engine-{provider.name}")
        self._closing = threading.Event()
        self._warm_up()

    def describe(self) -> Mapping[str, Any]:
        """What the manifest keeps: versions, settings, weights and template, as JSON values."""
        weights = self._weights
        return {
            "engine": self._provider.engine,
            **self._model.describe(),
            "decoding": "greedy",
            "context": self._model.context,
            "prompt_cache": False,
            "chat_template_sha256": hashlib.sha256(self._template.source.encode()).hexdigest(),
            "weights": {
                "sha256": weights.sha256,
                "precision": weights.precision,
                "source": weights.source,
                "licence": weights.licence,
                "size_bytes": weights.size_bytes,
            },
        }

    async def ask(self, question: Question) -> Exchange:
        """Answer one question. Cancelling stops the computation at the next token."""
        stop = threading.Event()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._worker, self._answer, question, stop)
        except asyncio.CancelledError:
            stop.set()
            raise

    async def aclose(self) -> None:
        """Stop what is under way and free the model. Safe to call twice."""
        if not self._closing.is_set():
            self._closing.set()
            self._worker.submit(self._model.close)
            await asyncio.to_thread(self._worker.shutdown)

    # --- for scoring ------------------------------------------------------------------------

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Token ids of a text. A prompt is read with `special`, a response without."""
        return self._model.tokenize(text, special=special)

    def render(self, messages: Sequence[Message], template_values: Mapping[str, Any] | None = None) -> str:
        """The prompt text of these messages."""
        return self._template.render(messages, template_values)

    def prompt_ids(
        self,
        messages: Sequence[Message],
        *,
        chat_template: str | None = None,
        template_values: Mapping[str, Any] | None = None,
    ) -> list[int]:
        """The token ids the model is given for these messages, or would be given behind another template.

        `template_values` are what a request gives the template (`chat_template_kwargs`). Raises EngineError where a
        template is not usable or refuses the messages.
        """
        template = self._template
        if chat_template is not None:
            template = template.with_source(resolve_template_source(chat_template, None))
        return self._model.tokenize(template.render(messages, template_values), special=True)

    def piece(self, token_id: int) -> bytes:
        """The bytes a token adds to a response: none for control tokens, U+FFFD for an unknown id."""
        return self._model.piece(token_id)

    @property
    def end_ids(self) -> tuple[int, ...]:
        """The tokens that end the model's turn."""
        return self._model.end_ids

    @property
    def vocabulary(self) -> int:
        """How many tokens there are; ids from here on are none."""
        return self._model.vocabulary

    def is_end(self, token_id: int) -> bool:
        """Whether this token ends the model's turn."""
        return token_id in self._model.end_ids

    def logits(self, token_ids: Sequence[int], start: int) -> Iterator[NDArray[np.float32]]:
        """The model's distributions over the tokens from position `start` (1 or more) on, in one pass.

        Yields blocks of rows; row i of all of them together is over `token_ids[start + i]`, and one
        more row over what follows the last token. The rows depend on nothing but the arguments: a
        prefix read before, such as the prompt shared by several responses, is not computed again,
        and gives the same bits. Raises EngineError for ids that do not fit.
        """
        return self._model.logits(token_ids, start)

    def greedy_logits(self, prompt: Sequence[int]) -> Iterator[NDArray[np.float32]]:
        """The distributions over the tokens of the greedy answer, one after another, the very ones `ask` chooses from.

        A token is computed when its row is asked for; there is no end. A beginning that the last path shared is
        not computed again. Raises EngineError where the context is full.
        """
        row = self._model.logits_after(prompt)
        while True:
            yield row
            row = self._model.advance([int(row.argmax())])

    # --- in the worker thread -----------------------------------------------------------------

    def _warm_up(self) -> None:
        ids = self._model.tokenize("warm up", special=True)
        self._generate(ids, _WARM_UP_TOKENS, threading.Event())
        self._model.forget()

    def _answer(self, question: Question, stop: threading.Event) -> Exchange:
        started_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        begin = time.monotonic()
        first_byte_s = None
        try:
            if self._gone:
                raise _ModelGone(self._gone)
            if question.tools or any(m.tool_calls or m.role == "tool" for m in question.messages):
                raise _UnsupportedQuestion("tools: this engine renders no tools and reads no calls")
            fields = merge_fields({}, self._provider.fields, question.request)
            values = fields.pop(_TEMPLATE_VALUES, {})
            if question.body is not None:
                raise _UnsupportedQuestion("a whole request body: this engine reads only what prompts say")
            if fields:
                raise _UnsupportedQuestion(f"{', '.join(sorted(fields))}: this engine has no such field")
            prompt_text = self.render(question.messages, values)
            prompt = self._model.tokenize(prompt_text, special=True)
            outcome = self._refusal(question, prompt)
            if outcome is None:
                outcome, first_byte_s = self._generate_or_reload(
                    prompt, prompt_text, question.sampling.max_tokens, stop
                )
        except _ModelGone as problem:
            outcome = _missing_outcome("reference", str(problem))
        except _UnsupportedQuestion as problem:
            outcome = _missing_outcome("unsupported_param", str(problem))
        except EngineError as problem:
            outcome = _missing_outcome("server", str(problem))
        except _AnswerWithdrawn:
            outcome = _missing_outcome("not_attempted", "withdrawn before the answer was complete")
        times = Times(
            started_at=started_at, first_byte_s=first_byte_s, end_s=round(time.monotonic() - begin, 6), in_flight=1
        )
        return Exchange(
            request=self._request(question), response=build_local_response(outcome), times=times, outcome=outcome
        )

    def _generate_or_reload(
        self, prompt: Sequence[int], prompt_text: str, max_tokens: int, stop: threading.Event
    ) -> tuple[Outcome, float | None]:
        """The outcome and when its first token was there. A model that cannot compute is loaded anew, once."""
        try:
            generation = self._generate(prompt, max_tokens, stop)
        except EngineError as problem:
            return self._reload_model(problem), None
        return self._outcome(generation, len(prompt), prompt_text), generation.first_token_s

    def _reload_model(self, problem: EngineError) -> Outcome:
        reload, self._reload = self._reload, None
        if reload is None:
            return _missing_outcome("reference", str(problem))
        self._model.close()  # first: there may not be memory for two
        try:
            self._model = reload()
        except EngineError as worse:
            self._gone = f"{problem}; it cannot be loaded again: {worse}"
            return _missing_outcome("reference", self._gone)
        return replace(_missing_outcome("reference", f"{problem}; it was loaded anew"), retry="once")

    def _refusal(self, question: Question, prompt: Sequence[int]) -> Outcome | None:
        if question.sampling.temperature:
            return _missing_outcome(
                "unsupported_param", f"temperature {question.sampling.temperature}: only greedy is offered"
            )
        if not prompt:
            return _missing_outcome("empty_prompt", "the rendered prompt holds no token")
        if len(prompt) >= self._model.context:
            return _missing_outcome("prompt_too_long", f"{len(prompt)} tokens; the context holds {self._model.context}")
        return None

    def _generate(self, prompt: Sequence[int], max_tokens: int, stop: threading.Event) -> _Generation:
        begin = time.monotonic()
        first_token_s = 0.0
        digest = hashlib.sha256()
        tokens: list[int] = []
        self._model.forget()
        row = self._model.advance(prompt)
        while True:
            token = int(row.argmax())
            if not np.isfinite(row[token]):
                raise EngineError("the model computes no numbers (NaN or infinite logits)")
            digest.update(row.tobytes())
            first_token_s = first_token_s or round(time.monotonic() - begin, 6)
            tokens.append(token)
            ended = self.is_end(token)
            if ended or len(tokens) >= max_tokens or len(prompt) + len(tokens) >= self._model.context:
                break
            if stop.is_set() or self._closing.is_set():
                raise _AnswerWithdrawn
            row = self._model.advance([token])
        return _Generation(
            token_ids=tuple(tokens),
            finish_reason="stop" if ended else "length",
            logits_sha256=digest.hexdigest(),
            first_token_s=first_token_s,
        )

    def _outcome(self, generation: _Generation, prompt_tokens: int, prompt_text: str) -> Outcome:
        written = [t for t in generation.token_ids if not self.is_end(t)]
        whole = _decode_utf8(b"".join(map(self._model.piece, written)))
        reasoning, text = _split_reasoning(whole, opened=prompt_text.rstrip().endswith(_THINK))
        completion = Completion(
            text=text,
            reasoning_text=reasoning,
            finish_reason=generation.finish_reason,
            served_model=self._provider.model,
            fingerprint=f"{self._provider.engine}-{self._weights.precision}-{self._weights.sha256[:12]}",
            prompt_tokens=prompt_tokens,
            completion_tokens=len(generation.token_ids),
            cached_tokens=0,
            token_ids=generation.token_ids,
            logits_sha256=generation.logits_sha256,
        )
        if generation.finish_reason == "length":
            return Outcome(status="censored", kind="length", completion=completion)
        return Outcome(status="valid", kind="complete" if text else "empty", completion=completion)

    def _request(self, question: Question) -> WireRequest:
        sampling = question.sampling
        fields = {
            "model": self._provider.model,
            "messages": [wire_message(m) for m in question.messages],
            **wire_tools(question.tools, question.tool_choice),
            "temperature": sampling.temperature,
            "max_tokens": sampling.max_tokens,
            **merge_fields({}, self._provider.fields, question.request),
        }
        body = to_canonical_json({name: value for name, value in fields.items() if value is not None})
        return WireRequest(
            method="LOCAL", url=f"local:{self._provider.engine}", headers=(), body=body, sha256=hash_text(body)
        )


def _decode_utf8(data: bytes) -> str:
    """The text of all bytes; a character cut off at the end is left out, as servers do, not shown broken."""
    return codecs.getincrementaldecoder("utf-8")("replace").decode(data)


def _split_reasoning(text: str, *, opened: bool) -> tuple[str | None, str]:
    """Reasoning and answer, where a model writes its reasoning between think tags; `opened`: the prompt began it."""
    if not opened and not text.lstrip().startswith(_THINK):
        return None, text
    reasoning, _, answer = text.lstrip().removeprefix(_THINK).partition(_END_THINK)
    return reasoning.strip(), answer.lstrip()


def _missing_outcome(kind: FaultKind, detail: str) -> Outcome:
    return Outcome(status="missing", kind=kind, detail=detail)


def build_local_response(outcome: Outcome) -> WireResponse:
    """The outcome in one canonical JSON text: what stands for a body where nothing went over a wire."""
    completion = outcome.completion
    fields: dict[str, Any]
    if completion is None:
        fields = {"error": {"code": outcome.kind, "message": outcome.detail}}
    else:
        names = ("text", "finish_reason", "prompt_tokens", "completion_tokens", "token_ids", "logits_sha256")
        fields = {name: getattr(completion, name) for name in names}
        if completion.reasoning_text is not None:
            fields["reasoning_text"] = completion.reasoning_text
    body = to_canonical_json(fields)
    size = len(body.encode())
    return WireResponse(
        status=0, headers=(), body=body, body_base64=None, sha256=hash_text(body), size_bytes=size, complete=True
    )


def hash_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
