"""A reference and a suite in, a recorded run of its answers and the pack made from that out."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tempzero.answers.first_tokens import AnswerToken, read_answer_tokens
from tempzero.check import MOST_LOGPROBS, find_top_logprobs
from tempzero.collect.session import PreparedRun
from tempzero.collect.watcher import Watcher
from tempzero.config import Provider, Setting
from tempzero.engines import open_local_engine
from tempzero.engines.event_loop import run_coroutine
from tempzero.engines.local.in_process import InProcessEngine
from tempzero.engines.local.weights import obtain_weights_for
from tempzero.errors import UsageError
from tempzero.packs.reference_pack import LEAST_LOGPROB, PackAnswer, ReferencePack, hash_messages, hash_question
from tempzero.plan import build_plan
from tempzero.reading.written_reasoning import find_template_values, list_written_forms
from tempzero.records import Run
from tempzero.types.asked import Prompt
from tempzero.types.recorded import ANSWERED, Completion, Exchange
from tempzero.workflow.pipeline import prepare_run, start_run

RUN_NAME = "pack"
# What engines write for the token that ends a turn, in lists of log-probabilities.
_END_TEXTS = frozenset(
    text.encode()
    for text in (
        *("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "<end_of_turn>", "<eos>", "</s>", "[EOS]"),
        *("<|return|>", "<|call|>", "<|end|>", "<|eom_id|>", "<|eos|>", "<｜end▁of▁sentence｜>", "[e~[", "<|user|>"),
    )
)
# Of the very numbers that were chosen from, ties apart, the likeliest is the greedy choice: so far below, it was drawn.
_GREEDY_SLACK = 0.5
_END, _CONTROL = "end", "control"
_Token = bytes | str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """One place of an answer: the token chosen, and the best ones. `end` and `control` are tokens without text."""

    chosen: _Token
    logprob: float
    best: tuple[tuple[_Token, float], ...]


@dataclass(slots=True)
class _TokenTable:
    """Tokens numbered in the order in which they are met."""

    numbers: dict[_Token, int] = field(default_factory=dict)

    def number(self, token: _Token) -> int:
        return self.numbers.setdefault(token, len(self.numbers))

    def list_bytes(self) -> tuple[bytes, ...]:
        return tuple(token if isinstance(token, bytes) else b"" for token in self.numbers)


def record_reference(
    setting: Setting, provider: Provider, *, prompts: Sequence[Path], suite: Any = None, watcher: Watcher
) -> Path:
    """Ask the reference every prompt once, an endpoint for log-probabilities as well; the run folder.

    Raises UsageError where an endpoint gives none, EngineError, WeightsError, SuiteError, RunFolderError.
    """
    entry = provider.model_copy(update={"repeats": 1, "enabled": True, "stream": False})
    if provider.base_url is not None or provider.serve is not None:
        entry = entry.model_copy(update={"request": {**provider.request, **_ask_for_logprobs(setting, provider)}})
    elif provider.local is None:
        raise UsageError(f"{provider.name}: a pack is made by a model in this process, or by an endpoint")
    config = setting.config.model_copy(
        update={
            "providers": tuple(entry if p.name == provider.name else p for p in setting.config.providers),
            "conditions": (),
            "run": setting.config.run.model_copy(update={"name": RUN_NAME, "reference": None, "sessions": 1}),
            "score": setting.config.score.model_copy(update={"enabled": False}),
        }
    )
    prepared = prepare_run(replace(setting, config=config), only=[provider.name], prompts=prompts, suite=suite)
    return start_run(_leave_tools_out(prepared), watcher=watcher, check=False).path


def _leave_tools_out(prepared: PreparedRun) -> PreparedRun:
    """Prompts with tools, whole bodies, or answers before them are read by no pack: they are not paid for."""
    kept = tuple(p for p in prepared.suite.prompts if not p.tools and p.body is None and p.round is None)
    if not kept:
        raise UsageError(
            "every prompt offers tools, brings a whole body or is a round of a conversation: a pack has no such"
        )
    suite = replace(prepared.suite, prompts=kept)
    return replace(prepared, suite=suite, plan=build_plan(prepared.config, suite, skipped=prepared.plan.skipped))


def _ask_for_logprobs(setting: Setting, provider: Provider) -> dict[str, Any]:
    asked = MOST_LOGPROBS
    if provider.base_url is not None:
        way = run_coroutine(find_top_logprobs(provider, "Name a colour.", setting.environ))
        if way.given < 2:
            raise UsageError(f"{provider.name}: a pack needs log-probabilities, and it gives none: {way.word}")
        if way.whose == "sampled":
            raise UsageError(
                f"{provider.name}: at temperature 0 its log-probabilities are those after sampling, which leave one "
                "token; a pack needs the model's own"
            )
        asked = way.asked
    return {"logprobs": True, "top_logprobs": asked}


def build_reference_pack(
    run: Run, provider: Provider, *, setting: Setting, say: Callable[[str], None]
) -> ReferencePack:
    """What a provider answered in a run, with what else it might have said, as a pack.

    Of an endpoint the recorded log-probabilities are taken; a model in this process reads its own answers again.
    Raises UsageError where the run holds nothing of it that can be used, EngineError and WeightsError.
    """
    prompts = {p.id: p for p in run.manifest.suite.prompts}
    answered = _pick_answers(run, provider.name)
    if not answered:
        raise UsageError(f"{run.path}: {provider.name} answered nothing that a pack could hold")
    table, answers, left_out = _TokenTable(), [], {}
    written: set[tuple[str, str]] = set()
    with _open_source(setting, provider, say) as source:
        for name, exchange in answered.items():
            found = _read_places(source, run, provider, prompts[name], exchange)
            if isinstance(found, str):
                left_out[name] = found
                continue
            places, around = found
            written |= {around} if around is not None else set()
            values = find_template_values(run.config, provider, "default", prompts[name])
            answers.append(_build_answer(prompts[name], exchange.outcome.completion, places, table, values))
    if not answers:
        reasons = "; ".join(sorted(set(left_out.values())))
        raise UsageError(f"{run.path}: {provider.name} answered nothing that a pack could hold: {reasons}")
    if len(written) > 1:
        raise UsageError(f"{provider.name}: its reasoning stands in its answers in several ways; a pack holds one")
    return ReferencePack(
        model=provider.claimed_model,
        made_by=provider.name,
        made_with=_describe_maker(run, provider),
        made_at=min(e.times.started_at for e in answered.values()),
        suite_sha256=run.manifest.suite.digest,
        run_root=run.root() or "",
        tokens=table.list_bytes(),
        ends=frozenset({table.numbers[_END]} if _END in table.numbers else ()),
        written=next(iter(written), None),
        answers=tuple(answers),
        left_out=left_out,
    )


def _pick_answers(run: Run, provider: str) -> dict[str, Exchange]:
    """The first answer to each prompt that came to a text."""
    found: dict[str, Exchange] = {}
    for record in run.records():
        attempt = record.attempt
        usable = attempt.exchange.outcome.completion is not None and attempt.trial.provider == provider
        if usable and attempt.exchange.outcome.status in ANSWERED:
            found.setdefault(attempt.trial.prompt, attempt.exchange)
    return found


def _describe_maker(run: Run, provider: Provider) -> dict[str, Any]:
    """What the engine said of itself, and where an endpoint was asked; nothing else of its entry."""
    told = dict(run.manifest.engines.get(provider.name, {}))
    where = {} if provider.base_url is None else {"base_url": provider.base_url}
    return {**{key: value for key, value in told.items() if key != "pid"}, **where}


@contextmanager
def _open_source(setting: Setting, provider: Provider, say: Callable[[str], None]) -> Iterator[InProcessEngine | None]:
    """The model in this process; None of an endpoint, whose answers say all themselves."""
    if provider.local is None:
        yield None
        return
    engine = open_local_engine(provider, obtain_weights_for(setting.config, provider.local, say=say))
    try:
        yield engine
    finally:
        run_coroutine(engine.aclose())


def _read_places(
    source: InProcessEngine | None, run: Run, provider: Provider, prompt: Prompt, exchange: Exchange
) -> tuple[list[_Place], tuple[str, str] | None] | str:
    """The places of one answer, and what stands around its reasoning; or why it cannot be used."""
    completion = exchange.outcome.completion
    assert completion is not None, "answers are picked for having one"
    if source is not None:
        values = find_template_values(run.config, provider, "default", prompt)
        places = list(_read_local(source, prompt, completion, values))
    else:
        places = [_take_reported(token) for token in read_answer_tokens(exchange)]
    if not places:
        return "its answer came without log-probabilities"
    if any(len(place.best) < 2 for place in places):
        return "at some tokens fewer than two are listed"
    if any(place.best[0][1] - place.logprob > _GREEDY_SLACK for place in places):
        return "it was not decoded greedily: a token was chosen that lies well below the likeliest"
    written = b"".join(p.chosen for p in places if isinstance(p.chosen, bytes))
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(written)
    if completion.reasoning_text is None:
        return (places, None) if completion.text in (text, text + _BROKEN_CHARACTER) else _NOT_ITS_TEXT
    forms = [*list_written_forms(""), *list_written_forms("<think>"), *list_written_forms("<think>\n")]
    for form in forms:
        if form.join(completion.reasoning_text, completion.text) == text:
            return places, (form.before, form.behind)
    return _NOT_ITS_TEXT


_BROKEN_CHARACTER = "\N{REPLACEMENT CHARACTER}"
_NOT_ITS_TEXT = "its tokens, put together, are not its text"


def _read_local(
    engine: InProcessEngine, prompt: Prompt, completion: Completion, values: Mapping[str, Any]
) -> Iterable[_Place]:
    before = engine.prompt_ids(prompt.messages, template_values=values or None)
    ids = completion.token_ids or ()
    rows = (row for block in engine.logits((*before, *ids), len(before)) for row in block)
    for token, row in zip(ids, rows, strict=False):
        yield _take_row(engine, token, row)


def _take_row(engine: InProcessEngine, token: int, row: NDArray[np.float32]) -> _Place:
    wide = row.astype(np.float64)
    wide -= np.logaddexp.reduce(wide)
    best = np.argpartition(wide, -MOST_LOGPROBS)[-MOST_LOGPROBS:]
    best = best[np.argsort(-wide[best], kind="stable")]
    listed = [(_name_local_token(engine, int(t)), float(wide[t])) for t in best]
    return _Place(chosen=_name_local_token(engine, token), logprob=float(wide[token]), best=_keep_likeliest(listed))


def _name_local_token(engine: InProcessEngine, token: int) -> _Token:
    return _END if engine.is_end(token) else engine.piece(token) or _CONTROL


def _take_reported(token: AnswerToken) -> _Place:
    listed = [(_name_reported_token(c.token), c.logprob) for c in token.candidates]
    return _Place(
        chosen=_name_reported_token(token.chosen.token), logprob=token.chosen.logprob, best=_keep_likeliest(listed)
    )


def _name_reported_token(token: bytes) -> _Token:
    return _END if token in _END_TEXTS else token or _CONTROL


def _keep_likeliest(listed: Iterable[tuple[_Token, float]]) -> tuple[tuple[_Token, float], ...]:
    """Each token once, with the higher of its numbers: two ids may add the same bytes."""
    kept: dict[_Token, float] = {}
    for token, logprob in listed:
        kept[token] = max(logprob, kept.get(token, LEAST_LOGPROB))
    return tuple(sorted(kept.items(), key=lambda item: -item[1]))


def _build_answer(
    prompt: Prompt,
    completion: Completion | None,
    places: Sequence[_Place],
    table: _TokenTable,
    values: Mapping[str, Any],
) -> PackAnswer:
    assert completion is not None, "answers are picked for having one"
    listed = min(len(p.best) for p in places)
    return PackAnswer(
        prompt=prompt.id,
        asked_sha256=hash_question(prompt.messages, prompt.tools, prompt.tool_choice, prompt.request),
        messages_sha256=hash_messages(prompt.messages),
        template_values=values,
        prompt_tokens=completion.prompt_tokens,
        text=completion.text,
        reasoning_text=completion.reasoning_text,
        finish_reason="length" if completion.finish_reason == "length" else "stop",
        path=np.array([table.number(p.chosen) for p in places], np.int32),
        logprob=np.minimum([p.logprob for p in places], 0.0),
        best=np.array([[table.number(t) for t, _ in p.best[:listed]] for p in places], np.int32),
        best_logprobs=np.minimum([[v for _, v in p.best[:listed]] for p in places], 0.0),
    )
