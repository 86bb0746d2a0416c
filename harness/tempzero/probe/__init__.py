"""A reference in this process and candidate prompts in, those with telling margins out, as a suite.

looking      a model and a candidate -> the path it answers by, with its margins
candidates   a seed -> candidate prompts
writing      what was found -> the text of a suite file

Border prompts: first tokens that are a near-tie (Chauvin et al. 2602.11083). Robust prompts: paths without one. Steady
prompts: plain questions whose answers begin without one, in as many ways as can be had.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast, get_args

from tempzero.config import Config, Local, Provider, refuse_unknown_providers
from tempzero.engines import apply_form, open_local_engine, open_model
from tempzero.engines.local import weights
from tempzero.engines.local.in_process import InProcessEngine
from tempzero.errors import EngineError, UsageError, WeightsError
from tempzero.probe.answer_paths import (
    AnswerPath,
    PromptKind,
    SearchEngine,
    find_certain_path,
    find_tie_path,
    largest_margin_change,
)
from tempzero.probe.candidates import generate_candidates, order_for_reading
from tempzero.probe.suite_text import to_suite_text
from tempzero.reading import scorer
from tempzero.records.files import write_atomically
from tempzero.types.asked import Prompt

__all__ = [
    "PromptKind",
    "SearchResult",
    "SearchRule",
    "SearchSpace",
    "build_rule",
    "choose_reference",
    "generate_candidates",
    "save_suite",
    "search_prompts",
    "suite_path",
    "summarise_search",
    "to_suite_text",
]

# Chunks of so many tokens: what candidates share is kept by whole chunks, so smaller ones share more.
_CHUNK_TOKENS = 16
# What honest forms move is measured on so many of the best candidates.
_SAMPLED_CANDIDATES = 24
# Before the cost is told in seconds, so many candidates are read.
_TIMED_CANDIDATES = 8

# By kind: how many tokens of an answer count, and the margin. Seven that are certain let eight be compared.
_USUAL: Mapping[PromptKind, tuple[int, float | None]] = {"border": (1, None), "robust": (16, 1.0), "steady": (7, 0.7)}
# Steady prompts whose answers begin with the same so many tokens are taken for alike.
_OPENING_TOKENS = 3

Say = Callable[[str], None]
SearchProgress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchRule:
    """What is looked for. `margin` in logits: border at most (None: what honest computations move), else at least."""

    kind: PromptKind
    tokens: int
    count: int
    margin: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchSpace:
    """Where: the candidates, in what order they came, and how long it may take."""

    candidates: Sequence[Prompt]
    origin: str
    """What a reader of the suite is told of them: the seed, or the file."""
    minutes: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchResult:
    """The prompts that were chosen, by margin, and all that a reader must know to find them again."""

    rule: SearchRule
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
    chosen: tuple[AnswerPath, ...]
    pieces: Mapping[int, str]
    """The texts of the tokens at the deciding steps."""

    @property
    def noise(self) -> float:
        """Twice epsilon: the most that an honest computation moved a margin."""
        return max(self.moved.values(), default=0.0)


def build_rule(kind: str, *, count: int, tokens: int | None = None, margin: float | None = None) -> SearchRule:
    """A rule with what is usual for its kind: the first token; 16 with a margin of 1; 7 with .7. Raises UsageError."""
    if kind not in get_args(PromptKind):
        raise UsageError(f"--kind {kind}: say {' or '.join(get_args(PromptKind))}")
    usual_tokens, usual_margin = _USUAL[cast(PromptKind, kind)]
    return SearchRule(
        kind=cast(PromptKind, kind),
        count=count,
        tokens=tokens or usual_tokens,
        margin=usual_margin if margin is None else margin,
    )


def suite_path(path: Path) -> Path:
    """The path, if a suite can be written there. Raises UsageError."""
    if path.suffix not in (".yaml", ".yml"):
        raise UsageError(f"{path}: a suite of probes is written as YAML; let its name end in .yaml")
    if path.exists():
        raise UsageError(f"{path}: exists, and a suite never changes under its name; name another file")
    return path


def save_suite(found: SearchResult, path: Path) -> None:
    """Write what was found as a prompt file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, to_suite_text(found).encode())


def choose_reference(config: Config, name: str = "") -> Provider:
    """The provider of this name, or else the first reference that runs in this process. Raises UsageError."""
    if name:
        refuse_unknown_providers(config, [name])
        return config.provider(name)
    named = [config.provider(n) for n in config.run.references]
    local = [p for p in named if p.enabled and p.local is not None]
    if not local:
        raise UsageError(
            "a search needs whole distributions, which only a model in this process gives, and no reference is one; "
            "give a provider `local:`, or name one that has it as --reference"
        )
    return local[0]


def search_prompts(
    config: Config, provider: Provider, rule: SearchRule, where: SearchSpace, *, say: Say, progress: SearchProgress
) -> SearchResult:
    """Read the candidates, measure how far honest forms move their margins, and choose by the rule.

    Raises UsageError for a reference that cannot, or must not, be searched with; EngineError and WeightsError.
    """
    local = _require_local(provider)
    file = weights.obtain_weights_for(config, local, say=say)
    chunked = provider.model_copy(update={"local": local.model_copy(update={"batch": _CHUNK_TOKENS})})
    with _open_search_engine(chunked, file) as engine:
        scorer.require_exact_reference(provider.name, local, engine.describe())
        pool, read, stopped = _read_candidates(engine, rule, where, say, progress)
    pool = _order_by_rule(rule, pool)[: 2 * rule.count]
    with _open_search_engine(provider, file) as engine:
        described = engine.describe()
        pool = [again for one in pool if (again := _examine_candidate(engine, rule, one.prompt, one.ids)) is not None]
        pieces = {t: engine.piece(t).decode("utf-8", "replace") for one in pool for t in _deciding_tokens(one)}
    found = SearchResult(
        rule=rule,
        origin=where.origin,
        reference=provider.name,
        engine=described,
        read=read,
        candidates=len(where.candidates),
        stopped=stopped,
        limit=0.0,
        moved=_measure_margin_changes(config, local, pool, say) if pool else {},
        chosen=(),
        pieces=pieces,
    )
    if pool and not found.moved:
        raise UsageError(f"{provider.name}: no honest form of it could be read; name one under score.forms, e.g. f16")
    limit = _margin_limit(rule, found.noise)
    kept = _order_by_rule(rule, [one for one in pool if (one.margin <= limit) == (rule.kind == "border")])
    return replace(found, limit=limit, chosen=tuple(sorted(kept[: rule.count], key=_margin_order(rule))))


def _require_local(provider: Provider) -> Local:
    if provider.local is None:
        raise UsageError(
            f"{provider.name}: a search needs whole distributions, which only a model in this process gives; "
            "name a provider with `local:` as --reference"
        )
    return provider.local


@contextmanager
def _open_search_engine(provider: Provider, file: weights.LocalWeights) -> Iterator[InProcessEngine]:
    engine = open_local_engine(provider, file)
    try:
        yield engine
    finally:
        asyncio.run(engine.aclose())


# --- reading ---------------------------------------------------------------------------------


def _read_candidates(
    engine: InProcessEngine, rule: SearchRule, where: SearchSpace, say: Say, progress: SearchProgress
) -> tuple[list[AnswerPath], int, str | None]:
    """All candidates that could be chosen, how many were read, and why no more were."""
    ordered = order_for_reading(where.candidates)
    rendered = [tuple(engine.prompt_ids(p.messages)) for p in ordered]
    room = engine.describe()["context"] - rule.tokens
    waiting = [(p, ids) for p, ids in zip(ordered, rendered, strict=True) if len(ids) < room]
    computed = _count_computed_tokens([ids for _, ids in waiting])
    say(
        f"{len(waiting):,} candidates, {sum(map(len, rendered)):,} prompt tokens, {computed:,} of them to be computed "
        f"(beginnings are shared), {'1 token' if rule.tokens == 1 else f'at most {rule.tokens} tokens'} of each answer"
    )
    pool: list[AnswerPath] = []
    began, read = time.monotonic(), 0
    try:
        for prompt, ids in waiting:
            if where.minutes is not None and time.monotonic() - began > 60 * where.minutes:
                return pool, read, "time"
            looked = _examine_candidate(engine, rule, prompt, ids)
            pool += [looked] if looked is not None else []
            read += 1
            if read == _TIMED_CANDIDATES:
                each = (time.monotonic() - began) / _TIMED_CANDIDATES
                left = each * (len(waiting) - read)
                say(f"about {left:.0f} s to go, by the first {_TIMED_CANDIDATES}; Ctrl-C keeps what was found")
            progress(read, len(waiting))
    except KeyboardInterrupt:
        return pool, read, "interrupted"
    return pool, read, None


def _examine_candidate(engine: SearchEngine, rule: SearchRule, prompt: Prompt, ids: Sequence[int]) -> AnswerPath | None:
    if rule.kind == "border":
        return find_tie_path(engine, prompt, ids, rule.tokens)
    fewest = rule.tokens if rule.kind == "steady" else (rule.tokens + 1) // 2
    return find_certain_path(engine, prompt, ids, rule.tokens, rule.margin or 0.0, fewest=fewest)


def _count_computed_tokens(prompts: Sequence[tuple[int, ...]]) -> int:
    """Tokens that are left to compute when each prompt keeps the whole chunks it shares with the one before."""
    total, held = 0, tuple[int, ...]()
    for ids in prompts:
        shared = 0
        while (
            shared + _CHUNK_TOKENS < len(ids)
            and held[shared : shared + _CHUNK_TOKENS] == ids[shared : shared + _CHUNK_TOKENS]
        ):
            shared += _CHUNK_TOKENS
        total, held = total + len(ids) - shared, ids
    return total


# --- choosing --------------------------------------------------------------------------------


def _measure_margin_changes(config: Config, local: Local, pool: Sequence[AnswerPath], say: Say) -> dict[str, float]:
    """How far each honest form of the reference moves the margins of these candidates."""
    found = {}
    for form in config.score.forms:
        try:
            changed, honest = apply_form(local, form)
            if not honest:
                continue
            model = open_model(changed, weights.obtain_weights_for(config, changed, say=say))
        except (EngineError, WeightsError) as problem:
            say(f"not read by the form {form}: {problem}")
            continue
        try:
            found[form] = max(largest_margin_change(model, one) for one in pool[:_SAMPLED_CANDIDATES])
        finally:
            model.close()
    return found


def _margin_limit(rule: SearchRule, noise: float) -> float:
    """Border: at most what honest forms move, unless told otherwise. Others: what was asked for, and above that."""
    if rule.kind == "border":
        return noise if rule.margin is None else rule.margin
    return max(rule.margin or 0.0, noise)


def _order_by_rule(rule: SearchRule, pool: Sequence[AnswerPath]) -> list[AnswerPath]:
    """The most telling first. Of steady ones each way to begin an answer has its turn, with its widest margin."""
    ordered = sorted(pool, key=_margin_order(rule))
    if rule.kind != "steady":
        return ordered
    turns: dict[tuple[int, ...], int] = {}
    taken = []
    for one in ordered:
        opening = tuple(step.best for step in one.steps[:_OPENING_TOKENS])
        turns[opening] = turns.get(opening, 0) + 1
        taken.append((turns[opening], one))
    return [one for _, one in sorted(taken, key=lambda both: both[0])]


def _margin_order(rule: SearchRule) -> Callable[[AnswerPath], tuple[float, str]]:
    return lambda looked: (looked.margin if rule.kind == "border" else -looked.margin, looked.prompt.id)


def _deciding_tokens(looked: AnswerPath) -> tuple[int, int]:
    step = looked.steps[looked.at]
    return step.best, step.second


def summarise_search(found: SearchResult) -> Iterator[str]:
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
