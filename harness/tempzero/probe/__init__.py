"""A reference in this process and candidate prompts in, those with telling margins out, as a suite.

looking      a model and a candidate -> the path it answers by, with its margins
candidates   a seed -> candidate prompts
writing      what was found -> the text of a suite file

Border prompts: first tokens that are a near-tie (Chauvin et al. 2602.11083). Robust prompts: paths without one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast, get_args

from tempzero.config import Config, Local, Provider, refuse_unknown
from tempzero.engines import in_form, open_local, open_model
from tempzero.engines.local import weights
from tempzero.engines.local.in_process import InProcessEngine
from tempzero.errors import EngineError, UsageError, WeightsError
from tempzero.probe.candidates import in_reading_order, seeded
from tempzero.probe.looking import Engine, Kind, Looked, look_for_certainty, look_for_tie, moved
from tempzero.probe.writing import suite_text
from tempzero.reading import score
from tempzero.types.asked import Prompt

__all__ = ["Found", "Kind", "Rule", "Where", "reference", "rule", "search", "seeded", "suite_text", "summary"]

# Chunks of so many tokens: what candidates share is kept by whole chunks, so smaller ones share more.
_CHUNK = 16
# What honest forms move is measured on so many of the best candidates.
_SAMPLED = 24
# Before the cost is told in seconds, so many candidates are read.
_TIMED = 8

Say = Callable[[str], None]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """What is looked for. `margin` in logits: border at most (None: what honest computations move), robust at least."""

    kind: Kind
    tokens: int
    count: int
    margin: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Where:
    """Where: the candidates, in what order they came, and how long it may take."""

    candidates: Sequence[Prompt]
    origin: str
    """What a reader of the suite is told of them: the seed, or the file."""
    minutes: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The prompts that were chosen, by margin, and all that a reader must know to find them again."""

    rule: Rule
    origin: str
    reference: str
    engine: Mapping[str, Any]
    read: int
    candidates: int
    stopped: str | None
    """Why not all were read: `time`, `interrupted`, or None."""
    limit: float
    moved: Mapping[str, float]
    """Form of the reference -> by how much it moves the margins, in logits."""
    chosen: tuple[Looked, ...]
    pieces: Mapping[int, str]
    """The texts of the tokens at the deciding steps."""

    @property
    def noise(self) -> float:
        """Twice epsilon: the most that an honest computation moved a margin."""
        return max(self.moved.values(), default=0.0)


def rule(kind: str, *, count: int, tokens: int | None = None, margin: float | None = None) -> Rule:
    """A rule with what is usual for its kind: the first token; 16 tokens with a margin of 1. Raises UsageError."""
    if kind not in get_args(Kind):
        raise UsageError(f"--kind {kind}: say {' or '.join(get_args(Kind))}")
    usual_tokens, usual_margin = (1, None) if kind == "border" else (16, 1.0)
    return Rule(
        kind=cast(Kind, kind),
        count=count,
        tokens=tokens or usual_tokens,
        margin=usual_margin if margin is None else margin,
    )


def reference(config: Config, name: str = "") -> Provider:
    """The provider of this name, or else the first reference that runs in this process. Raises UsageError."""
    if name:
        refuse_unknown(config, [name])
        return config.provider(name)
    named = [config.provider(n) for n in config.run.references]
    local = [p for p in named if p.enabled and p.local is not None]
    if not local:
        raise UsageError(
            "a search needs whole distributions, which only a model in this process gives, and no reference is one; "
            "give a provider `local:`, or name one that has it as --reference"
        )
    return local[0]


def search(config: Config, provider: Provider, rule: Rule, where: Where, *, say: Say, progress: Progress) -> Found:
    """Read the candidates, measure how far honest forms move their margins, and choose by the rule.

    Raises UsageError for a reference that cannot, or must not, be searched with; EngineError and WeightsError.
    """
    local = _local(provider)
    file = weights.obtain_for(config, local, say=say)
    chunked = provider.model_copy(update={"local": local.model_copy(update={"batch": _CHUNK})})
    with _opened(chunked, file) as engine:
        score.check_exact(provider.name, local, engine.describe())
        pool, read, stopped = _read(engine, rule, where, say, progress)
    pool = sorted(pool, key=lambda one: (_order(rule, one), one.prompt.id))[: 2 * rule.count]
    with _opened(provider, file) as engine:
        described = engine.describe()
        pool = [again for one in pool if (again := _look(engine, rule, one.prompt, one.ids)) is not None]
        pieces = {t: engine.piece(t).decode("utf-8", "replace") for one in pool for t in _tokens(one)}
    found = Found(
        rule=rule,
        origin=where.origin,
        reference=provider.name,
        engine=described,
        read=read,
        candidates=len(where.candidates),
        stopped=stopped,
        limit=0.0,
        moved=_moved(config, local, pool, say) if pool else {},
        chosen=(),
        pieces=pieces,
    )
    if pool and not found.moved:
        raise UsageError(f"{provider.name}: no honest form of it could be read; name one under score.forms, e.g. f16")
    limit = _limit(rule, found.noise)
    kept = [one for one in pool if (one.margin <= limit) == (rule.kind == "border")]
    kept.sort(key=lambda one: (_order(rule, one), one.prompt.id))
    return replace(found, limit=limit, chosen=tuple(kept[: rule.count]))


def _local(provider: Provider) -> Local:
    if provider.local is None:
        raise UsageError(
            f"{provider.name}: a search needs whole distributions, which only a model in this process gives; "
            "name a provider with `local:` as --reference"
        )
    return provider.local


@contextmanager
def _opened(provider: Provider, file: weights.LocalWeights) -> Iterator[InProcessEngine]:
    engine = open_local(provider, file)
    try:
        yield engine
    finally:
        asyncio.run(engine.aclose())


# --- reading ---------------------------------------------------------------------------------


def _read(
    engine: InProcessEngine, rule: Rule, where: Where, say: Say, progress: Progress
) -> tuple[list[Looked], int, str | None]:
    """All candidates that could be chosen, how many were read, and why no more were."""
    ordered = in_reading_order(where.candidates)
    rendered = [tuple(engine.prompt_ids(p.messages)) for p in ordered]
    room = engine.describe()["context"] - rule.tokens
    waiting = [(p, ids) for p, ids in zip(ordered, rendered, strict=True) if len(ids) < room]
    computed = _computed([ids for _, ids in waiting])
    say(
        f"{len(waiting):,} candidates, {sum(map(len, rendered)):,} prompt tokens, {computed:,} of them to be computed "
        f"(beginnings are shared), {'1 token' if rule.tokens == 1 else f'at most {rule.tokens} tokens'} of each answer"
    )
    pool: list[Looked] = []
    began, read = time.monotonic(), 0
    try:
        for prompt, ids in waiting:
            if where.minutes is not None and time.monotonic() - began > 60 * where.minutes:
                return pool, read, "time"
            looked = _look(engine, rule, prompt, ids)
            pool += [looked] if looked is not None else []
            read += 1
            if read == _TIMED:
                each = (time.monotonic() - began) / _TIMED
                left = each * (len(waiting) - read)
                say(f"about {left:.0f} s to go, by the first {_TIMED}; Ctrl-C keeps what was found")
            progress(read, len(waiting))
    except KeyboardInterrupt:
        return pool, read, "interrupted"
    return pool, read, None


def _look(engine: Engine, rule: Rule, prompt: Prompt, ids: Sequence[int]) -> Looked | None:
    if rule.kind == "border":
        return look_for_tie(engine, prompt, ids, rule.tokens)
    return look_for_certainty(engine, prompt, ids, rule.tokens, rule.margin or 0.0)


def _computed(prompts: Sequence[tuple[int, ...]]) -> int:
    """Tokens that are left to compute when each prompt keeps the whole chunks it shares with the one before."""
    total, held = 0, tuple[int, ...]()
    for ids in prompts:
        shared = 0
        while shared + _CHUNK < len(ids) and held[shared : shared + _CHUNK] == ids[shared : shared + _CHUNK]:
            shared += _CHUNK
        total, held = total + len(ids) - shared, ids
    return total


# --- choosing --------------------------------------------------------------------------------


def _moved(config: Config, local: Local, pool: Sequence[Looked], say: Say) -> dict[str, float]:
    """How far each honest form of the reference moves the margins of these candidates."""
    found = {}
    for form in config.score.forms:
        try:
            changed, honest = in_form(local, form)
            if not honest:
                continue
            model = open_model(changed, weights.obtain_for(config, changed, say=say))
        except (EngineError, WeightsError) as problem:
            say(f"not read by the form {form}: {problem}")
            continue
        try:
            found[form] = max(moved(model, one) for one in pool[:_SAMPLED])
        finally:
            model.close()
    return found


def _limit(rule: Rule, noise: float) -> float:
    """Border: at most what honest forms move, unless told otherwise. Robust: what was asked for, and above that."""
    if rule.kind == "border":
        return noise if rule.margin is None else rule.margin
    return max(rule.margin or 0.0, noise)


def _order(rule: Rule, looked: Looked) -> float:
    return looked.margin if rule.kind == "border" else -looked.margin


def _tokens(looked: Looked) -> tuple[int, int]:
    step = looked.steps[looked.at]
    return step.best, step.second


def summary(found: Found) -> Iterator[str]:
    """What came of it, line by line."""
    forms = ", ".join(f"{name} {by:.4f}" for name, by in found.moved.items())
    if forms:
        yield f"honest forms move the margins of these candidates by at most, in logits: {forms}"
    side = "at most" if found.rule.kind == "border" else "at least"
    span = f": {found.chosen[0].margin:.4f} to {found.chosen[-1].margin:.4f}" if found.chosen else ""
    number = f"{len(found.chosen)} {found.rule.kind} prompts of {found.read:,} candidates read"
    yield f"{number}, margin {side} {found.limit:.4f}{span}"
    if found.stopped is not None:
        why = "--max-minutes were over" if found.stopped == "time" else "interrupted"
        yield f"{why}: {found.candidates - found.read:,} candidates were not read"
    if len(found.chosen) < found.rule.count:
        yield f"{found.rule.count} were asked for; more --candidates, or another --margin, yield more"
