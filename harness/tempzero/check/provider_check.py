"""A provider in, a word for each thing that was looked at, and remarks with remedies, out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tempzero.answers.answer_parts import split_answer, to_spoken_text, to_whole_text
from tempzero.answers.flag_table import MEANING_BY_FLAG
from tempzero.check.check_request import SMALLEST_LIMIT, Probe, ask_probe
from tempzero.check.field_probes import (
    COUNT_PROMPT,
    PROBED_FIELDS,
    FieldProbe,
    find_reasoning_switch,
    probe_effort,
    read_refusal_word,
    shows_reasoning,
)
from tempzero.check.model_list import look_up_model
from tempzero.check.refusals import REFUSED_FIELD, FieldChange, explain_no_answer, find_field_change
from tempzero.check.top_logprobs import find_top_logprobs
from tempzero.config import Provider, Setting, refuse_unknown_providers
from tempzero.engines.event_loop import run_coroutine
from tempzero.engines.hosted.fault_catalogue import to_printable_line
from tempzero.errors import EngineError
from tempzero.types.recorded import Completion, Exchange, Flag, Outcome
from tempzero.types.vocabulary import VerdictOutcome

CHECK_COLUMNS = (
    "key",
    "endpoint",
    "model",
    "temperature 0",
    "seed",
    "max_tokens",
    "stream",
    "reasoning",
    *(probe.column for probe in PROBED_FIELDS),
    "effort",
    "top_logprobs",
    "prompt_tokens",
    "cache",
    "upstream",
    "served model",
    "fingerprint",
)
_YES_PROMPT = "Reply with the single word yes."
# Whoever samples gives another text here almost surely; whoever takes the likeliest token does not.
_OPEN_PROMPT = "Invent a name for a harbour town, and describe the town in one sentence."
_RANDOM_PROMPT = "Write twelve random English words."
_OPEN_TOKENS = 32
_MOST_CHANGES = 6
_JSON_FOR_STREAM: Flag = "json_for_stream"
_NOT_HELD: Flag = "max_tokens_not_held"
# Said by a remark of their own, with what was measured.
_FLAGS_SAID_OTHERWISE: frozenset[Flag] = frozenset(
    {"model_mismatch", "limit_spent_on_reasoning", "max_tokens_not_held"}
)


@dataclass(kw_only=True, slots=True)
class ProviderCheck:
    """What was found out about one provider: a word for each of COLUMNS that applies, and remarks with remedies."""

    provider: str
    claimed_model: str
    state: VerdictOutcome = "pass"
    words: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def remark(self, state: VerdictOutcome, text: str) -> None:
        """Say it, once; a finding weighs more than what could not be found out, and that more than a pass."""
        if text not in self.remarks:
            self.remarks.append(text)
        if self.state != "finding" and state != "pass":
            self.state = state


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


async def check_providers(providers: Sequence[Provider], *, environ: Mapping[str, str]) -> tuple[ProviderCheck, ...]:
    """Look at every hosted provider, side by side. Raises nothing for what a provider does."""
    rows = await asyncio.gather(
        *[_ProviderChecker(p, environ).check_all() for p in providers if p.base_url is not None]
    )
    _compare_prompt_tokens(rows)
    return tuple(rows)


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


class _ProviderChecker:
    """One provider, looked at from all sides."""

    def __init__(self, provider: Provider, environ: Mapping[str, str]) -> None:
        self._provider, self._environ = provider, environ
        self._row = ProviderCheck(provider=provider.name, claimed_model=provider.claimed_model)
        self._answers: list[Completion] = []
        self._flags: dict[Flag, None] = {}
        self._refused: set[str] = set()  # fields of the configuration
        self._smallest_limit = SMALLEST_LIMIT
        self._cached = False
        self._thinks = False

    async def check_all(self) -> ProviderCheck:
        """Everything, one request after the other: a check must not be what brings a rate limit about."""
        words, provider = self._row.words, self._provider
        words["key"] = "set" if provider.api_key_env else "none"
        try:
            words["model"] = await asyncio.to_thread(look_up_model, provider, self._environ)
            first = await self._ask_first()
        except EngineError as problem:
            self._row.remark("inconclusive", str(problem))
            return self._row
        if first is None:
            return self._row
        words["endpoint"] = "answers"
        if words["model"] == "not listed":
            self._row.remark("pass", f'"{provider.model}" is not in the endpoint\'s list of models, and yet it answers')
        if await self._check_reasoning(first):
            whole = await self._check_temperature()
            await self._check_stream(whole)
            await self._check_seed()
            await self._check_max_tokens()
            await self._check_own_limit()
            for probe in PROBED_FIELDS:
                await self._check_field(probe)
            await self._check_top_logprobs()
            await self._check_effort()
        self._note_who_answered(first)
        self._note_flags()
        return self._row

    # --- asking ------------------------------------------------------------------------------

    async def _ask_first(self) -> Completion | None:
        """The first answer, in the way that the endpoint takes requests; what a run may not change itself is told."""
        changes: list[FieldChange] = []
        limit = min(self._smallest_limit, self._provider.max_tokens)  # a run may ask for no more
        while True:
            exchange = await self._exchange(Probe(what="answer", prompt=_YES_PROMPT, max_tokens=limit))
            said = exchange.outcome
            if said.completion is not None:
                break
            change = find_field_change(self._provider, said, limit)
            if change is None or len(changes) == _MOST_CHANGES:
                self._row.words["endpoint"] = said.kind
                self._row.remark("inconclusive", f"does not answer: {explain_no_answer(self._provider, exchange)}")
                return None
            changes.append(change)
            self._provider, limit = change.provider, change.at_least or limit
        self._smallest_limit = max(limit, self._smallest_limit)
        for change in changes:
            if change.at_least is None:
                self._refused.add(change.field)
            if change.permitted:
                how = "may_rename" if change.renames else "max_tokens" if change.at_least else "may_drop"
                self._row.remark("pass", f"{change.words}; a run heeds that, as {how} allows")
            else:
                self._row.remark("inconclusive", f"{change.words}; asked so it answers: write {change.permission}")
        if said.kind == "content_filter":
            self._row.words["endpoint"] = said.kind
            self._row.remark("inconclusive", f"a filter withheld its answer to a harmless request: {said.detail}")
            return None
        return said.completion

    async def _exchange(self, probe: Probe) -> Exchange:
        exchange = await ask_probe(self._provider, probe, self._environ)
        said = exchange.outcome
        self._cached = self._cached or said.status == "excluded"
        if said.completion is not None:
            self._answers.append(said.completion)
            self._flags |= dict.fromkeys(said.flags)
        return exchange

    async def _ask(self, probe: Probe) -> Outcome:
        return (await self._exchange(probe)).outcome

    def _limit(self, tokens: int) -> int:
        """A limit for so many tokens of text: no host refuses it, and one that thinks first has room to."""
        return max(tokens, self._smallest_limit, self._provider.max_tokens if self._thinks else 0)

    # --- what a run sends --------------------------------------------------------------------

    async def _check_reasoning(self, first: Completion) -> bool:
        """Whether it thinks, and as it was told to; False where a run's limit would be spent on that alone."""
        row, switch = self._row, find_reasoning_switch(self._provider.fields)
        answer: Completion | None = first
        if shows_reasoning(first) or not to_spoken_text(split_answer(first)):
            limit = self._limit(self._provider.max_tokens)
            answer = (await self._ask(Probe(what="reasoning", prompt=_YES_PROMPT, max_tokens=limit))).completion
        self._thinks = shows_reasoning(first) or (answer is not None and shows_reasoning(answer))
        if self._thinks:
            row.words["reasoning"] = (
                "not switched off" if switch == "off" else "shown" if self._is_shown() else "hidden"
            )
        else:
            row.words["reasoning"] = "off" if switch == "off" else "none seen"
        if self._thinks and switch == "off":
            row.remark("finding", "reasoning is switched off in its entry, and yet it thinks")
        elif not self._thinks and switch == "on":
            row.remark("pass", "reasoning is switched on in its entry, and none was seen")
        if answer is not None and self._thinks and not to_spoken_text(split_answer(answer)):
            spent = f"{self._limit(self._provider.max_tokens)} tokens"
            row.remark("inconclusive", f"the limit was spent on reasoning ({spent}): raise max_tokens")
            return False
        return True

    def _is_shown(self) -> bool:
        return any(answer.reasoning_text for answer in self._answers)

    async def _check_temperature(self) -> Completion | None:
        """The answer that came twice; None where none did."""
        row, asked = self._row, self._provider.temperature
        if asked != 0:
            sent = (
                "refused"
                if "temperature" in self._refused
                else "not sent"
                if asked is None
                else f"asked with {asked:g}"
            )
            row.words["temperature 0"] = sent
            return None
        answers = []
        for what in ("temperature", "temperature again"):
            said = await self._ask(Probe(what=what, prompt=_OPEN_PROMPT, max_tokens=self._limit(_OPEN_TOKENS)))
            if said.completion is None:
                row.words["temperature 0"] = said.kind
                return None
            answers.append(said.completion)
        same = _compared_text(answers[0]) == _compared_text(answers[1])
        row.words["temperature 0"] = "same twice" if same else "differs"
        if not same:
            row.remark("finding", "the same request at once again gave another answer, at temperature 0")
        return answers[0] if same else None

    async def _check_stream(self, usual: Completion | None) -> None:
        """Whether a request that is streamed gives the same answer as one that is not (`usual` is as a run asks); a
        difference counts if it comes again."""
        words = self._row.words
        streamed = not self._provider.stream
        for what in ("stream", "stream again"):
            probe = Probe(what=what, prompt=_OPEN_PROMPT, max_tokens=self._limit(_OPEN_TOKENS), stream=streamed)
            said = await self._ask(probe)
            other = said.completion
            if other is None:
                words["stream"] = read_refusal_word(said)
                return
            if usual is None or _JSON_FOR_STREAM in self._flags:
                words["stream"] = "ignored" if _JSON_FOR_STREAM in self._flags else "cannot tell"
                return
            if _compared_text(other) == _compared_text(usual):
                words["stream"] = "as whole" if what == "stream" else "differs once"
                return
            pair = (other, usual) if streamed else (usual, other)
        words["stream"] = "differs"
        self._row.remark("finding", _describe_stream_difference(*pair))

    async def _check_seed(self) -> None:
        row = self._row
        if self._provider.seed is None:
            row.words["seed"] = "refused" if "seed" in self._refused else "not sent"
            return
        if self._provider.temperature is None:
            row.words["seed"] = "cannot tell"
            return
        texts = []
        for what, seed in (("seed", 11), ("seed again", 11), ("other seed", 12)):
            sampling = {"temperature": 1.0, "seed": seed}
            probe = Probe(what=what, prompt=_RANDOM_PROMPT, max_tokens=self._limit(SMALLEST_LIMIT), sampling=sampling)
            said = await self._ask(probe)
            if said.completion is None:
                row.words["seed"] = read_refusal_word(said)
                return
            texts.append(_compared_text(said.completion))
        same, other = texts[0] == texts[1], texts[0] == texts[2]
        row.words["seed"] = "honoured" if same and not other else "ignored" if not same else "cannot tell"
        if not same:
            row.remark("finding", "one seed gave two answers at temperature 1: the seed has no effect you can rely on")

    async def _check_max_tokens(self) -> None:
        row, limit = self._row, self._smallest_limit
        said = await self._ask(Probe(what="max_tokens", prompt=COUNT_PROMPT, max_tokens=limit))
        answer = said.completion
        if answer is None:
            row.words["max_tokens"] = said.kind
            row.remark("inconclusive", f"a limit of {limit} tokens: {said.kind}: {said.detail}")
            return
        few = _NOT_HELD not in said.flags
        row.words["max_tokens"] = "ignored" if not few else "honoured" if said.kind == "length" else "cannot tell"
        if not few:
            tokens = answer.completion_tokens
            got = f"{len(answer.text.split())} words" if tokens is None else f"{tokens} tokens"
            got = f"{got}, finish_reason {answer.finish_reason}"
            row.remark(
                "finding", f"a limit of {limit} tokens gave {to_printable_line(got)}; see parameter_names.max_tokens"
            )

    async def _check_own_limit(self) -> None:
        """Whether it takes the limit that a run asks for: some refuse one that is beyond the model's."""
        if self._thinks or self._provider.max_tokens <= self._smallest_limit:
            return  # then it has been asked with that limit
        exchange = await self._exchange(
            Probe(what="own limit", prompt=_YES_PROMPT, max_tokens=self._provider.max_tokens)
        )
        if exchange.outcome.completion is None and exchange.outcome.kind in REFUSED_FIELD:
            self._row.words["max_tokens"] = "refused"
            self._row.remark("inconclusive", explain_no_answer(self._provider, exchange))

    # --- what a run sends only where it is told to -------------------------------------------

    async def _check_field(self, probe: FieldProbe) -> None:
        flags_before = dict(self._flags)
        exchange = await self._exchange(probe.make(self._limit(probe.tokens)))
        if "n" in probe.fields:
            self._flags = flags_before  # several choices are what was asked for
        word = probe.read(exchange)
        self._row.words[probe.column] = word
        if word == "ignored" and probe.ignored is not None:
            counts = probe.always_counts or probe.is_sent(self._provider.fields)
            self._row.remark("finding" if counts else "pass", probe.ignored)

    async def _check_top_logprobs(self) -> None:
        """How many it gives of a first token, rounded to what, and whose: what `tempzero fingerprint` works with."""
        if self._row.words.get("logprobs") != "given":
            self._row.words["top_logprobs"] = "none"
            return
        limits = (self._limit(SMALLEST_LIMIT),)
        found = await find_top_logprobs(self._provider, _OPEN_PROMPT, self._environ, limits=limits)
        self._row.words["top_logprobs"] = found.word

    async def _check_effort(self) -> None:
        """Whether reasoning_effort does anything; asked only of who thinks."""
        if not self._thinks:
            self._row.words["effort"] = "not asked"
            return
        self._row.words["effort"] = await probe_effort(self._ask, self._limit(SMALLEST_LIMIT))
        if self._row.words["effort"] == "ignored":
            self._row.remark("pass", "reasoning_effort low and high gave the same reasoning")

    # --- who answered ------------------------------------------------------------------------

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
            row.remark("finding", f"{len(backends)} upstreams answered ({', '.join(backends)}); pin one in request")
        elif not self._provider.pinned:
            row.remark("pass", "it is not pinned: its router may choose another upstream for each request")
        served = sorted({to_printable_line(a.served_model) for a in self._answers if a.served_model})
        words["served model"] = ", ".join(served) or "not said"
        if "model_mismatch" in self._flags:
            asked = self._provider.model
            row.remark("finding", f'asked for "{asked}", answered as {words["served model"]}; see accepts_models')
        elif len(served) > 1:
            row.remark("finding", f"{len(served)} models answered: {', '.join(served)}")
        prints = {a.fingerprint for a in self._answers if a.fingerprint}
        words["fingerprint"] = (
            to_printable_line(next(iter(prints), "not said")) if len(prints) < 2 else f"{len(prints)} of them"
        )

    def _note_flags(self) -> None:
        """What reading saw in the answers of this check, by the one table of flags."""
        for flag in self._flags:
            meaning = MEANING_BY_FLAG[flag]
            if meaning.severity != "note" and flag not in _FLAGS_SAID_OTHERWISE:
                self._row.remark("finding" if meaning.severity == "finding" else "pass", f"it {meaning.words}")


def _describe_stream_difference(streamed: Completion, whole: Completion) -> str:
    shown = [bool(answer.reasoning_text) for answer in (streamed, whole)]
    if shown[0] != shown[1] and to_spoken_text(split_answer(streamed)) == to_spoken_text(split_answer(whole)):
        does = ("shows its reasoning", "does not") if shown[0] else ("shows no reasoning", "does")
        return f"streamed, it {does[0]}, and whole it {does[1]}; the rest is the same"
    return "streamed, it gave another answer than whole, twice each, at temperature 0"


def _compared_text(answer: Completion) -> str:
    return to_whole_text(split_answer(answer))


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
