"""An endpoint in, whether temperature, seed, top_p and penalties do what they are for, out."""

from __future__ import annotations

from typing import Any

from tempzero.contract.asked_host import AskedHost, NotAnswered
from tempzero.contract.case import CaseJudgement, ContractCase, judge_fail, judge_open, judge_pass, judge_skip
from tempzero.contract.promises.asked_texts import (
    OPEN_PROMPTS,
    OPEN_TOKENS,
    REPEAT_PROMPT,
    count_commonest_word,
    quote_text,
    starts_otherwise,
)

_NOT_SENT = "no temperature is sent to it"
_FEWEST_WORDS = 6
_DRAWS = 4
_REPEAT_TOKENS = 60
# So often does one word come where nothing holds a model back, in that many tokens.
_FEWEST_REPEATS = 25
_NEUTRAL: dict[str, Any] = {"frequency_penalty": 0, "presence_penalty": 0, "repetition_penalty": 1}


async def _list_early_partings(host: AskedHost, **asked: Any) -> list[bool]:
    """For each open question, whether two answers to it part within their first words, under two seeds."""
    parted = []
    seeds = _list_seeds(host)
    for prompt in OPEN_PROMPTS:
        texts = [
            (await host.get(prompt, tokens=OPEN_TOKENS, nth=nth, seed=seed, **asked)).text
            for nth, seed in enumerate(seeds)
        ]
        parted.append(starts_otherwise(*texts))
    return parted


async def _judge_zero(host: AskedHost) -> CaseJudgement:
    if host.provider.temperature is None:
        return judge_skip(_NOT_SENT)
    parted = await _list_early_partings(host)
    words = f"at temperature 0 two answers parted within their first words on {sum(parted)} of {len(parted)} questions"
    if all(parted):
        return judge_fail(f"{words}: it samples")
    return judge_pass(words) if sum(parted) <= 1 else judge_open(f"{words}; a run tells more")


async def _judge_one(host: AskedHost) -> CaseJudgement:
    if host.provider.temperature is None:
        return judge_skip(_NOT_SENT)
    drawn = [
        [(await host.get(prompt, tokens=OPEN_TOKENS, temperature=1, nth=nth)).text for nth in range(_DRAWS)]
        for prompt in OPEN_PROMPTS[:2]
    ]
    if min(len(texts[0].split()) for texts in drawn) < _FEWEST_WORDS:
        return judge_open("too short an answer to tell")
    greedy = await _list_greedy_texts(host)
    again = [sum(text in known for text in texts) for texts, known in zip(drawn, greedy, strict=True)]
    words = f"{sum(again)} of {2 * _DRAWS} answers at temperature 1 were those of temperature 0, word for word"
    if all(again) and sum(again) >= _DRAWS:
        return judge_fail(f"{words}: the temperature has no effect")
    if all(len(set(texts)) == 1 for texts in drawn):
        return judge_open(f"{words}, and yet they do not differ: see identity.computed_anew")
    return judge_pass(words)


async def _list_greedy_texts(host: AskedHost) -> list[list[str]]:
    """The answers of temperature 0 to the first two open questions, under each of two seeds."""
    seeds = _list_seeds(host)
    return [
        [(await host.get(p, tokens=OPEN_TOKENS, nth=n, seed=seed)).text for n, seed in enumerate(seeds)]
        for p in OPEN_PROMPTS[:2]
    ]


def _list_seeds(host: AskedHost) -> tuple[int | None, int | None]:
    """Two, where a seed is sent at all: under one a hidden temperature would not show."""
    return (None, None) if host.provider.seed is None else (11, 12)


async def _judge_seed(host: AskedHost) -> CaseJudgement:
    if host.provider.temperature is None:
        return judge_skip(_NOT_SENT)
    if host.provider.seed is None:
        return judge_skip("no seed is sent to it")
    pairs = []
    for prompt, seed in zip(OPEN_PROMPTS[:3], (11, 22, 33), strict=True):
        asked: dict[str, Any] = {"tokens": OPEN_TOKENS, "temperature": 1, "seed": seed}
        pairs.append([(await host.get(prompt, nth=nth, **asked)).text for nth in (0, 1)])
    parted = [starts_otherwise(*pair) for pair in pairs]
    if all(parted):
        return judge_fail(f"one seed gave two beginnings on {len(parted)} of {len(parted)} questions: no effect")
    asked = {"tokens": OPEN_TOKENS, "temperature": 1, "seed": 44}
    if (await host.get(OPEN_PROMPTS[0], **asked)).text == pairs[0][0]:
        return judge_open("another seed gave the same answer")
    return judge_pass("one seed gives one beginning, another another")


async def _judge_top_p(host: AskedHost) -> CaseJudgement:
    if host.provider.temperature is None:
        return judge_skip(_NOT_SENT)
    parted = await _list_early_partings(host, temperature=1, fields={"top_p": 0.001})
    words = f"under top_p .001 two answers parted within their first words on {sum(parted)} of {len(parted)} questions"
    if not all(parted):
        return judge_pass(words) if sum(parted) <= 1 else judge_open(words)
    if all(await _list_early_partings(host)):
        return judge_open(f"{words}, as at temperature 0: see sampling.temperature_0")
    return judge_fail(f"{words}: it has no effect")


async def _ask_neutral(host: AskedHost) -> str:
    """The repeating answer with every penalty switched off that it takes."""
    try:
        return (await host.get(REPEAT_PROMPT, tokens=_REPEAT_TOKENS, fields=_NEUTRAL)).text
    except NotAnswered as refusal:
        if not refusal.refused:
            raise
        fewer = {name: value for name, value in _NEUTRAL.items() if name != "repetition_penalty"}
        return (await host.get(REPEAT_PROMPT, tokens=_REPEAT_TOKENS, fields=fewer)).text


async def _judge_default_penalty(host: AskedHost) -> CaseJudgement:
    neutral = await _ask_neutral(host)
    left_out = dict.fromkeys(_NEUTRAL)
    usual = (await host.get(REPEAT_PROMPT, tokens=_REPEAT_TOKENS, fields=left_out)).text
    counts = [count_commonest_word(text) for text in (neutral, usual)]
    words = f"one word {counts[0]} times with penalties switched off, {counts[1]} times where none was sent"
    if counts[0] < _FEWEST_REPEATS:
        return judge_open(f"the model does not repeat itself when asked to ({words})")
    if counts[1] <= counts[0] // 2:
        return judge_fail(f"a penalty is on that nobody asked for: {words}")
    return judge_pass(words)


async def _judge_penalty(host: AskedHost) -> CaseJudgement:
    usual = (await host.get(REPEAT_PROMPT, tokens=_REPEAT_TOKENS)).text
    asked = (await host.get(REPEAT_PROMPT, tokens=_REPEAT_TOKENS, fields={"frequency_penalty": 2})).text
    counts = [count_commonest_word(text) for text in (usual, asked)]
    if counts[0] < _FEWEST_REPEATS:
        return judge_open("the model does not repeat itself when asked to")
    if asked == usual:
        return judge_fail(f"frequency_penalty 2 has no effect: one word {counts[1]} times, {quote_text(asked, 30)}")
    return judge_pass(f"under frequency_penalty 2 the commonest word comes {counts[1]} times, else {counts[0]}")


SAMPLING_CASES = (
    ContractCase(
        id="sampling.temperature_0",
        family="sampling",
        promise="Temperature 0 takes the likeliest token.",
        judge=_judge_zero,
    ),
    ContractCase(
        id="sampling.temperature_1",
        family="sampling",
        promise="Temperature 1 draws.",
        judge=_judge_one,
    ),
    ContractCase(
        id="sampling.seed",
        family="sampling",
        promise="One seed gives one answer, as far as rounding allows, or is refused.",
        judge=_judge_seed,
    ),
    ContractCase(
        id="sampling.top_p",
        family="sampling",
        promise="A very small top_p leaves the likeliest token alone.",
        judge=_judge_top_p,
    ),
    ContractCase(
        id="sampling.penalty_default",
        family="sampling",
        promise="A penalty that is not sent is off.",
        judge=_judge_default_penalty,
    ),
    ContractCase(
        id="sampling.frequency_penalty",
        family="sampling",
        promise="frequency_penalty has an effect, or is refused.",
        judge=_judge_penalty,
    ),
)
