"""Providers in, what they really do with a request out: a few tokens each, before anything is spent on a run.

`before_run` is the short form: one request of one token to every hosted provider. `check` asks about ten, and
looks at behaviour, not at acceptance: a field that is taken and ignored is worse than one that is refused.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tempzero.config import Provider, Setting, expand_variables, refuse_unknown_providers
from tempzero.engines import open_engine
from tempzero.engines.hosted.fault_catalogue import PERMANENT_FAULTS, to_printable_line
from tempzero.errors import EngineError
from tempzero.event_loop import run_coroutine
from tempzero.types.asked import Message, Question, Trial
from tempzero.types.recorded import Completion, Exchange, Outcome, OutcomeKind
from tempzero.types.vocabulary import VerdictOutcome

CHECK_COLUMNS = (
    "key",
    "endpoint",
    "model",
    "temperature 0",
    "seed",
    "max_tokens",
    "stop",
    "logprobs",
    "prompt_tokens",
    "cache",
    "upstream",
    "served model",
    "fingerprint",
)
_YES_PROMPT = "Reply with the single word yes."
_COUNT_PROMPT = "Count from 1 to 30, separated by single spaces. Write nothing else."
_RANDOM_PROMPT = "Write twelve random English words."
# A check is a look, not a run: whoever takes longer is said to have taken longer.
_DEADLINE_S = 20.0
_LONGEST_WAIT_S = 5.0
_LARGEST_LIST_BYTES = 8 * 1024 * 1024
_REMEDY = " (name the field in may_drop, or leave it out: temperature: null)"
_REFUSAL_KINDS: tuple[OutcomeKind, ...] = ("unsupported_param", "bad_request")


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckExchange:
    """One exchange of a check and what it was for."""

    provider: str
    what: str
    exchange: Exchange


@dataclass(frozen=True, kw_only=True, slots=True)
class Preflight:
    """The short form's result. `provider` lacks what it refused and `may_drop` lets go (`dropped`);
    `refused` says why asking it would be in vain."""

    provider: Provider
    dropped: tuple[str, ...]
    refused: str | None
    looked: tuple[CheckExchange, ...]


@dataclass(kw_only=True, slots=True)
class ProviderCheck:
    """What was found out about one provider: a word for each of COLUMNS that applies, and remarks with remedies."""

    provider: str
    claimed_model: str
    state: VerdictOutcome = "pass"
    words: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def remark(self, state: VerdictOutcome, text: str) -> None:
        """Say what is wrong; a finding weighs more than what could not be found out."""
        self.remarks.append(text)
        if self.state != "finding":
            self.state = state


async def preflight_providers(providers: Iterable[Provider], *, environ: Mapping[str, str]) -> tuple[Preflight, ...]:
    """Ask every hosted provider for one token: is the key good, does the endpoint answer, is the model there?

    Only what would befall every request counts against a provider; a passing fault is left to the run.
    """
    hosted = [p for p in providers if p.base_url is not None]
    return tuple(await asyncio.gather(*[_preflight_provider(p, environ) for p in hosted]))


async def check_providers(providers: Sequence[Provider], *, environ: Mapping[str, str]) -> tuple[ProviderCheck, ...]:
    """Look at every hosted provider, side by side. Raises nothing for what a provider does."""
    rows = await asyncio.gather(
        *[_ProviderChecker(p, environ).check_all() for p in providers if p.base_url is not None]
    )
    _compare_prompt_tokens(rows)
    return tuple(rows)


@dataclass(frozen=True, kw_only=True, slots=True)
class SettingCheck:
    """The worst state of all providers, a row for each that was asked, and who was not asked and why."""

    state: VerdictOutcome
    rows: tuple[ProviderCheck, ...]
    skipped: tuple[tuple[str, str], ...]


def check_setting(setting: Setting, *, only: Sequence[str] = ()) -> SettingCheck:
    """Check the hosted providers of a configuration (`only` these, by name). Raises UsageError for an unknown name."""
    asked, unset = select_hosted(setting, only)
    rows = run_coroutine(check_providers(asked, environ=setting.environ))
    missing = {p.name: " and ".join(v for v in p.variables() if not setting.environ.get(v)) for p in unset}
    return SettingCheck(
        state=worst_state(rows) if rows or not unset else "inconclusive",
        rows=rows,
        skipped=tuple((name, f"environment variable {variables} not set") for name, variables in missing.items()),
    )


def worst_state(rows: Iterable[ProviderCheck]) -> VerdictOutcome:
    """The worst of theirs; nobody looked at is not a pass."""
    states = {row.state for row in rows}
    return "finding" if "finding" in states else "inconclusive" if "inconclusive" in states or not states else "pass"


def select_hosted(setting: Setting, only: Sequence[str]) -> tuple[list[Provider], list[Provider]]:
    """The hosted providers that can be looked at, and those whose variables are not set.

    `only` are names from the command line; empty means all that are enabled. Raises UsageError for an unknown name.
    """
    refuse_unknown_providers(setting.config, only)
    wanted = [p for p in setting.config.providers if p.base_url and (p.name in only if only else p.enabled)]
    unset = [p for p in wanted if any(not setting.environ.get(v) for v in p.variables())]
    return [p for p in wanted if p not in unset], unset


async def _preflight_provider(provider: Provider, environ: Mapping[str, str]) -> Preflight:
    looked: list[CheckExchange] = []
    dropped: list[str] = []
    while True:
        exchange = await _ask_provider(provider, environ, "answer", _YES_PROMPT, max_tokens=1)
        looked.append(CheckExchange(provider=provider.name, what="answer", exchange=exchange))
        refused_field = _find_refused_field(provider, exchange.outcome)
        if refused_field is None:
            break
        provider = provider.without(refused_field)
        dropped.append(refused_field)
    last = exchange.outcome
    refused = f"{last.kind}: {last.detail}" if last.kind in PERMANENT_FAULTS else None
    # Every request would carry that field. What this one's limit of one token brought about says nothing of them.
    if last.kind == "unsupported_param" and "max_" not in last.detail:
        refused = f"{last.kind}: {last.detail}{_REMEDY}"
    return Preflight(provider=provider, dropped=tuple(dropped), refused=refused, looked=tuple(looked))


def _find_refused_field(provider: Provider, said: Outcome) -> str | None:
    """The field that a refusal speaks of, if it was sent and may be left out."""
    if said.kind not in _REFUSAL_KINDS:
        return None
    for name in provider.may_drop:
        sent = provider.extra_body.get(name) if name in provider.extra_body else getattr(provider, name, None)
        if sent is not None and (provider.parameter_names.seed if name == "seed" else name) in said.detail:
            return name
    return None


async def _ask_provider(
    provider: Provider,
    environ: Mapping[str, str],
    what: str,
    prompt: str,
    *,
    max_tokens: int,
    extra: Mapping[str, Any] | None = None,
    **sampling: Any,
) -> Exchange:
    """One request, and a second one where the first met a passing fault."""
    timeouts = provider.timeouts
    short = {name: min(getattr(timeouts, name), _DEADLINE_S) for name in type(timeouts).model_fields}
    changed = {"timeouts": timeouts.model_copy(update=short), "extra_body": provider.extra_body | dict(extra or {})}
    asked = provider.model_copy(update=changed | sampling)
    question = Question(
        trial=Trial(provider=provider.name, prompt=what, condition="preflight", repeat=0),
        messages=(Message(role="user", content=prompt),),
        sampling=asked.sampling(max_tokens),
    )
    engine = open_engine(asked, environ=environ)
    try:
        exchange = await engine.ask(question)
        said = exchange.outcome
        if said.status == "missing" and said.retry == "yes" and (said.retry_after_s or 0) <= _LONGEST_WAIT_S:
            await asyncio.sleep(said.retry_after_s or 1.0)
            exchange = await engine.ask(question)
        return exchange
    finally:
        await engine.aclose()


class _ProviderChecker:
    """One provider, looked at from all sides."""

    def __init__(self, provider: Provider, environ: Mapping[str, str]) -> None:
        self._provider, self._environ = provider, environ
        self._row = ProviderCheck(provider=provider.name, claimed_model=provider.claimed_model)
        self._answers: list[Completion] = []
        self._cached = False

    async def check_all(self) -> ProviderCheck:
        """Everything, one request after the other: a check must not be what brings a rate limit about."""
        words, provider = self._row.words, self._provider
        words["key"] = "set" if provider.api_key_env else "none"
        try:
            words["model"] = await asyncio.to_thread(_look_up_model, provider, self._environ)
            first = await self._ask("answer", _YES_PROMPT, max_tokens=16)
        except EngineError as problem:
            self._row.remark("inconclusive", str(problem))
            return self._row
        if isinstance(first, Outcome):
            words["endpoint"] = first.kind
            remedy = _REMEDY if first.kind == "unsupported_param" else ""
            self._row.remark("inconclusive", f"does not answer: {first.kind}: {first.detail}{remedy}")
            return self._row
        words["endpoint"] = "answers"
        if words["model"] == "not listed":
            self._row.remarks.append(f'"{provider.model}" is not in the endpoint\'s list of models, and yet it answers')
        await self._check_temperature(first)
        await self._check_seed()
        await self._check_max_tokens()
        await self._check_stop()
        await self._check_logprobs()
        self._note_who_answered(first)
        return self._row

    async def _ask(self, what: str, prompt: str, *, max_tokens: int, **more: Any) -> Completion | Outcome:
        """The completion, or the outcome that came instead."""
        exchange = await _ask_provider(self._provider, self._environ, what, prompt, max_tokens=max_tokens, **more)
        said = exchange.outcome
        self._cached = self._cached or said.status == "excluded"
        if said.completion is None or said.status == "missing":
            return said
        self._answers.append(said.completion)
        return said.completion

    async def _check_temperature(self, first: Completion) -> None:
        if self._provider.temperature is None:
            self._row.words["temperature 0"] = "not sent"
            return
        second = await self._ask("again", _YES_PROMPT, max_tokens=16)
        if isinstance(second, Outcome):
            self._row.words["temperature 0"] = second.kind
            return
        same = (first.text, first.reasoning_text) == (second.text, second.reasoning_text)
        self._row.words["temperature 0"] = "same twice" if same else "differs"
        if not same:
            self._row.remark("finding", "the same request at once again gave another text")

    async def _check_seed(self) -> None:
        if self._provider.seed is None:
            self._row.words["seed"] = "not sent"
            return
        texts = []
        for what, seed in (("seed", 11), ("seed again", 11), ("other seed", 12)):
            answer = await self._ask(what, _RANDOM_PROMPT, max_tokens=16, temperature=1.0, seed=seed)
            if isinstance(answer, Outcome):
                self._row.words["seed"] = "refused" if answer.kind in _REFUSAL_KINDS else answer.kind
                return
            texts.append(answer.text)
        same, other = texts[0] == texts[1], texts[0] == texts[2]
        self._row.words["seed"] = "honoured" if same and not other else "ignored" if not same else "cannot tell"
        if not same:
            self._row.remarks.append("one seed gave two texts at temperature 1: the seed has no effect you can rely on")

    async def _check_max_tokens(self) -> None:
        answer = await self._ask("max_tokens", _COUNT_PROMPT, max_tokens=3)
        if isinstance(answer, Outcome):
            self._row.words["max_tokens"] = answer.kind
            self._row.remark("inconclusive", f"a limit of 3 tokens: {answer.kind}: {answer.detail}")
            return
        few = answer.completion_tokens is None or answer.completion_tokens <= 3
        kept = few and answer.finish_reason == "length"
        self._row.words["max_tokens"] = "honoured" if kept else "ignored"
        if not kept:
            got = f"{answer.completion_tokens} tokens, finish_reason {answer.finish_reason}"
            self._row.remark(
                "finding", f"a limit of 3 tokens gave {to_printable_line(got)}; see parameter_names.max_tokens"
            )

    async def _check_stop(self) -> None:
        answer = await self._ask("stop", _COUNT_PROMPT, max_tokens=40, extra={"stop": ["7"]})
        if isinstance(answer, Outcome):
            self._row.words["stop"] = "refused" if answer.kind in _REFUSAL_KINDS else answer.kind
            return
        word = "ignored" if "7" in answer.text else "honoured" if "6" in answer.text else "cannot tell"
        self._row.words["stop"] = word
        if word == "ignored":
            self._row.remark("finding", "the text went on past a stop string")

    async def _check_logprobs(self) -> None:
        exchange = await _ask_provider(
            self._provider,
            self._environ,
            "logprobs",
            _YES_PROMPT,
            max_tokens=3,
            extra={"logprobs": True, "top_logprobs": 2},
        )
        said = exchange.outcome
        if said.status == "missing":
            self._row.words["logprobs"] = "refused" if said.kind in _REFUSAL_KINDS else said.kind
            return
        self._row.words["logprobs"] = "given" if _has_logprobs(exchange) else "ignored"

    def _note_who_answered(self, first: Completion) -> None:
        words, row = self._row.words, self._row
        words["prompt_tokens"] = "not said" if first.prompt_tokens is None else str(first.prompt_tokens)
        warm = max((a.cached_tokens or 0 for a in self._answers), default=0)
        words["cache"] = "replays" if self._cached else f"prefix, {warm} tokens" if warm else "none seen"
        if self._cached:
            row.remark("finding", "a response cache answered; switch it off (extra_headers), or repeats prove nothing")
        backends = sorted({to_printable_line(a.backend) for a in self._answers if a.backend})
        words["upstream"] = ", ".join(backends) or ("pinned" if self._provider.pinned else "not pinned")
        if len(backends) > 1:
            row.remark("finding", f"{len(backends)} upstreams answered ({', '.join(backends)}); pin one in extra_body")
        elif not self._provider.pinned:
            row.remarks.append("it is not pinned: its router may choose another upstream for each request")
        words["served model"] = to_printable_line(first.served_model or "not said")
        prints = {a.fingerprint for a in self._answers if a.fingerprint}
        words["fingerprint"] = (
            to_printable_line(first.fingerprint or "not said") if len(prints) < 2 else f"{len(prints)} of them"
        )


def _has_logprobs(exchange: Exchange) -> bool:
    try:
        body = json.loads((exchange.response.body if exchange.response else None) or "null")
        return bool(body["choices"][0].get("logprobs"))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return False


def _compare_prompt_tokens(rows: Sequence[ProviderCheck]) -> None:
    """The same messages to what claims to be one model must come to the same number of tokens."""
    by_model: dict[str, dict[str, list[ProviderCheck]]] = {}
    for row in rows:
        if row.words.get("prompt_tokens", "not said") != "not said":
            by_model.setdefault(row.claimed_model, {}).setdefault(row.words["prompt_tokens"], []).append(row)
    for model, counts in by_model.items():
        if len(counts) > 1:
            said = "; ".join(f"{n}: {', '.join(r.provider for r in found)}" for n, found in sorted(counts.items()))
            for row in (r for found in counts.values() for r in found):
                row.remark("finding", f"prompt_tokens of one message differ between providers of {model} ({said})")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect could carry the key elsewhere."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _look_up_model(provider: Provider, environ: Mapping[str, str]) -> str:
    """Is the model in the endpoint's own list?"""
    url = expand_variables(provider.base_url or "", environ) + "/models"
    request = urllib.request.Request(url, headers={**provider.extra_headers, "accept": "application/json"})
    key = environ.get(provider.api_key_env or "", "").strip()
    if key:
        request.add_unredirected_header("authorization", f"Bearer {key}")
    handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
    if url.startswith("http:"):
        handlers.append(urllib.request.ProxyHandler({}))  # plain http goes direct, as the requests of a run do
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=_DEADLINE_S) as response:
            listed = _parse_model_ids(json.loads(response.read(_LARGEST_LIST_BYTES)))
    except urllib.error.HTTPError as error:
        return f"no list (HTTP {error.code})"
    except (OSError, ValueError, RecursionError, http.client.HTTPException):
        return "no list"
    if not listed:
        return "no list"
    return "listed" if provider.model in listed else "not listed"


def _parse_model_ids(value: Any) -> set[str]:
    models = value.get("data", value.get("models")) if isinstance(value, dict) else value
    if not isinstance(models, list):
        return set()
    return {m["id"] for m in models if isinstance(m, dict) and isinstance(m.get("id"), str)}
