"""Providers in, what each made of every promise of the API out: a few requests a case, 200 a provider at most."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tempzero.check import (
    explain_no_answer,
    find_field_change,
    find_reasoning_switch,
    select_hosted,
    shows_reasoning,
)
from tempzero.config import Provider, Setting
from tempzero.contract.asked_host import SMALL_LIMIT, AskedHost, NotAnswered, RequestLedger, open_host
from tempzero.contract.case import CaseJudgement, ContractCase, Family, State, judge_open, judge_skip
from tempzero.contract.promises import CASES
from tempzero.contract.wire_answer import RawAnswer
from tempzero.engines import Engine, open_engine
from tempzero.engines.event_loop import run_coroutine
from tempzero.engines.hosted.fault_catalogue import to_printable_line
from tempzero.errors import EngineError
from tempzero.types.recorded import Exchange
from tempzero.types.vocabulary import VerdictOutcome

MOST_REQUESTS = 200
"""So many requests does a provider get, those asked again included."""
_HELLO_PROMPT = "Reply with the single word yes."
_PUZZLE_PROMPT = "How many of the numbers from 1 to 20 are divisible by 3? Answer with the number."
_PUZZLE_TOKENS = 64
_MOST_CHANGES = 6
_LEAST_ROOM = 1024
_DEADLINE_S = 120.0


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseResult:
    """What one endpoint made of one promise. `unanswered`: it was not asked to the end."""

    id: str
    family: Family
    promise: str
    state: State
    words: str
    unanswered: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderContract:
    """All promises of one endpoint, and every exchange behind them. `notes` say how it is asked otherwise than usual;
    `silence` why it was not asked at all."""

    provider: str
    model: str
    results: tuple[CaseResult, ...] = ()
    notes: tuple[str, ...] = ()
    silence: str | None = None
    requests: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    exchanges: tuple[Exchange, ...] = ()

    @property
    def outcome(self) -> VerdictOutcome:
        """finding: a promise is broken. inconclusive: it was not asked to the end, or too little could be told."""
        counts = self.count_states()
        if counts["FAIL"]:
            return "finding"
        unknown = self.silence is not None or any(result.unanswered for result in self.results)
        return "inconclusive" if unknown or counts["INCONCLUSIVE"] > counts["PASS"] else "pass"

    def count_states(self) -> Counter[State]:
        """How many cases ended in each way."""
        return Counter(result.state for result in self.results)


@dataclass(frozen=True, kw_only=True, slots=True)
class ContractReport:
    """Every provider that was asked, and who was not and why."""

    providers: tuple[ProviderContract, ...]
    skipped: tuple[tuple[str, str], ...] = ()

    @property
    def outcome(self) -> VerdictOutcome:
        """The worst of theirs; nobody asked is not a pass."""
        outcomes = {provider.outcome for provider in self.providers}
        if "finding" in outcomes:
            return "finding"
        return "inconclusive" if "inconclusive" in outcomes or not outcomes else "pass"


def check_contract(
    setting: Setting, *, only: Sequence[str] = (), families: Sequence[Family] = (), most_requests: int = MOST_REQUESTS
) -> ContractReport:
    """Hold the hosted providers of a configuration to the API's promises (`only` these providers, `families` of cases).

    Raises UsageError for an unknown name.
    """
    asked, unset = select_hosted(setting, only)
    cases = [case for case in CASES if not families or case.family in families]
    missing = {p.name: " and ".join(v for v in p.variables() if not setting.environ.get(v)) for p in unset}
    return ContractReport(
        providers=run_coroutine(_hold_providers(asked, cases, setting.environ, most_requests)),
        skipped=tuple((name, f"environment variable {variables} not set") for name, variables in missing.items()),
    )


async def _hold_providers(
    providers: Iterable[Provider], cases: Sequence[ContractCase], environ: Mapping[str, str], most: int
) -> tuple[ProviderContract, ...]:
    return tuple(await asyncio.gather(*[_hold_provider(p, cases, environ, most) for p in providers]))


async def _hold_provider(
    provider: Provider, cases: Sequence[ContractCase], environ: Mapping[str, str], most: int
) -> ProviderContract:
    ledger = RequestLedger(most=most)
    engine: Engine | None = None
    try:
        greeting = await _greet_host(_shorten_deadlines(provider), ledger, environ)
        engine = greeting.engine
        silence, host = greeting.silence, greeting.host
        results = await _judge_cases(host, cases) if host is not None else ()
        notes = greeting.notes
    except EngineError as problem:
        silence, results, notes = str(problem), (), ()
    finally:
        if engine is not None:
            await engine.aclose()
    said = [a.exchange.outcome.completion for a in ledger.answers]
    return ProviderContract(
        provider=provider.name,
        model=provider.model,
        results=results,
        notes=tuple(map(to_printable_line, notes)),
        silence=None if silence is None else to_printable_line(silence),
        requests=ledger.sent,
        prompt_tokens=sum(c.prompt_tokens or 0 for c in said if c is not None),
        output_tokens=sum(c.output_tokens or 0 for c in said if c is not None),
        exchanges=tuple(answer.exchange for answer in ledger.answers),
    )


def _shorten_deadlines(provider: Provider) -> Provider:
    timeouts = provider.timeouts
    short = {name: min(getattr(timeouts, name), _DEADLINE_S) for name in type(timeouts).model_fields}
    return provider.model_copy(update={"timeouts": timeouts.model_copy(update=short)})


# --- who is asked, and how ------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class _Greeting:
    """How an endpoint takes requests; no `host`: it does not answer, `silence` says why."""

    engine: Engine
    host: AskedHost | None = None
    silence: str | None = None
    notes: tuple[str, ...] = ()


async def _greet_host(provider: Provider, ledger: RequestLedger, environ: Mapping[str, str]) -> _Greeting:
    """Ask until it answers, without what it refuses; then look whether it reasons."""
    notes: list[str] = []
    limit = SMALL_LIMIT
    while True:
        engine = open_engine(provider, environ=environ)
        host = replace(open_host(provider, engine, most=0), ledger=ledger, smallest=limit)
        try:
            answer = await host.ask(_HELLO_PROMPT, tokens=limit, exact=True, nth=len(notes))
        except NotAnswered as end:
            return _Greeting(engine=engine, silence=end.words)
        change = find_field_change(provider, answer.exchange.outcome, limit)
        if answer.is_answer or change is None or len(notes) == _MOST_CHANGES:
            break
        await engine.aclose()
        notes.append(change.words)
        provider, limit = change.provider, change.at_least or limit
    if not answer.is_answer:
        why = explain_no_answer(provider, answer.exchange)
        return _Greeting(engine=engine, silence=why, notes=tuple(notes))
    return _Greeting(engine=engine, host=await _give_room(host, answer), notes=tuple(notes))


async def _give_room(host: AskedHost, first: RawAnswer) -> AskedHost:
    """With room for its reasoning, where it reasons or is told to."""
    room = max(host.provider.reasoning.allowance, host.provider.max_tokens, _LEAST_ROOM)
    answers = [first]
    if not _was_seen_to_reason(first):
        try:
            answers.append(await host.ask(_PUZZLE_PROMPT, tokens=_PUZZLE_TOKENS))
        except NotAnswered:
            return host
    thinks = any(map(_was_seen_to_reason, answers))
    switched_on = find_reasoning_switch(host.provider.fields) == "on"
    return replace(host, thinks=thinks, room=room) if thinks or switched_on else host


def _was_seen_to_reason(answer: RawAnswer) -> bool:
    said = answer.exchange.outcome.completion
    return said is not None and (shows_reasoning(said) or (answer.is_cut and not answer.text.strip()))


# --- the cases ------------------------------------------------------------------------------


async def _judge_cases(host: AskedHost, cases: Sequence[ContractCase]) -> tuple[CaseResult, ...]:
    """Side by side those that ask, and after them those that look at all that came."""
    asking = [case for case in cases if not case.reads_all]
    results = list(await asyncio.gather(*[_judge_case(host, case) for case in asking]))
    results += [await _judge_case(host, case) for case in cases if case.reads_all]
    by_id = {result.id: result for result in results}
    return tuple(by_id[case.id] for case in cases)


async def _judge_case(host: AskedHost, case: ContractCase) -> CaseResult:
    """A promise is called broken where that was seen twice, the second time with every request asked anew."""
    try:
        judged = await case.judge(host)
    except NotAnswered as gap:
        words = gap.words
        judged = judge_skip(words) if gap.refused else judge_open(words)
        return _make_result(case, judged, unanswered=not gap.refused)
    if judged.state != "FAIL" or case.reads_all:
        return _make_result(case, judged)
    try:
        again = await case.judge(host.ask_again())
    except NotAnswered as gap:
        return _make_result(case, judge_open(f"seen once: {judged.words}; then {gap.words}"), unanswered=True)
    if again.state == "FAIL":
        return _make_result(case, judged)
    return _make_result(case, judge_open(f"seen once, and not when asked again: {judged.words}"))


def _make_result(case: ContractCase, judged: CaseJudgement, *, unanswered: bool = False) -> CaseResult:
    return CaseResult(
        id=case.id,
        family=case.family,
        promise=case.promise,
        state=judged.state,
        words=to_printable_line(judged.words),
        unanswered=unanswered,
    )
