"""An endpoint in, whether reasoning is switched, measured and shown as it was asked for, out."""

from __future__ import annotations

from collections.abc import Sequence

from tempzero.check import find_reasoning_switch
from tempzero.config.reasoning import Effort
from tempzero.contract.asked_host import AskedHost
from tempzero.contract.case import CaseJudgement, ContractCase, judge_fail, judge_open, judge_pass, judge_skip
from tempzero.contract.wire_answer import RawAnswer

_PUZZLES = (
    "How many of the numbers from 1 to 60 are divisible by 3 or by 5? Answer with the number.",
    "A snail climbs 3 m a day and slips 2 m a night. On which day is it out of a well of 10 m? Answer with the number.",
)
_TOKENS = 64
_FEWEST_WORDS = 12
_NO_THOUGHT = "it was not seen to reason"
_OFF = "reasoning is switched off in its entry"


def _has_thought(answer: RawAnswer) -> bool:
    said = answer.exchange.outcome.completion
    return said is not None and bool((said.reasoning_text or "").strip() or said.reasoning_tokens)


def _counts_more(answer: RawAnswer) -> bool:
    """Whether far more tokens are counted than the text can have: reasoning that is hidden and not told."""
    return (answer.output_tokens or 0) > 4 * len(answer.text.split()) + 32


async def _judge_on(host: AskedHost) -> CaseJudgement:
    if _find_switch(host) != "on":
        return judge_skip("its entry does not switch reasoning on")
    answers = [await host.get(puzzle, tokens=_TOKENS) for puzzle in _PUZZLES]
    if any(_has_thought(answer) for answer in answers):
        return judge_pass("it reasons")
    if any(_counts_more(answer) or answer.output_tokens is None for answer in answers):
        return judge_open("no reasoning is shown, and there may be some")
    return judge_fail(
        f"reasoning is switched on in its entry and dropped: {len(answers)} puzzles got answers without any, "
        "shown or counted"
    )


async def _judge_off(host: AskedHost) -> CaseJudgement:
    if _find_switch(host) != "off":
        return judge_skip("its entry does not switch reasoning off")
    answers = [await host.get(puzzle, tokens=_TOKENS) for puzzle in _PUZZLES]
    thinking = [answer for answer in answers if _has_thought(answer)]
    if len(thinking) == len(answers):
        return judge_fail(f"{_OFF}, and yet it reasons")
    return judge_pass("it does not reason") if not thinking else judge_open("it reasons once of two times")


def _find_switch(host: AskedHost) -> str | None:
    return find_reasoning_switch(host.provider.fields)


async def _judge_thinking_streamed(host: AskedHost) -> CaseJudgement:
    if not host.thinks:
        return judge_skip(_NO_THOUGHT)
    whole = [await host.get(puzzle, tokens=_TOKENS) for puzzle in _PUZZLES]
    streamed = [await host.get(puzzle, tokens=_TOKENS, stream=True) for puzzle in _PUZZLES]
    shown = [[bool(answer.reasoning.strip()) for answer in answers] for answers in (whole, streamed)]
    if all(shown[0]) and not any(shown[1]):
        return judge_fail("whole answers show their reasoning, and streams drop it")
    if all(shown[1]) and not any(shown[0]):
        return judge_fail("streams show their reasoning, and whole answers drop it")
    if not any(shown[0]):
        return judge_skip("it does not show its reasoning")
    return judge_pass("reasoning is shown whole and streamed")


async def _judge_with_format(host: AskedHost) -> CaseJudgement:
    if not host.thinks:
        return judge_skip(_NO_THOUGHT)
    plain = [await host.get(puzzle, tokens=_TOKENS) for puzzle in _PUZZLES]
    if not all(map(_has_thought, plain)):
        return judge_open("it does not reason about every puzzle")
    stop = [await host.get(puzzle, tokens=_TOKENS, fields={"stop": ["QQQQ"]}) for puzzle in _PUZZLES]
    if not any(map(_has_thought, stop)) and not any(map(_counts_more, stop)):
        return judge_fail("it reasons, and not where a stop string is sent")
    return judge_pass("it reasons with further fields too")


async def _judge_thinking_counted(host: AskedHost) -> CaseJudgement:
    if not host.thinks:
        return judge_skip(_NO_THOUGHT)
    answers = [await host.get(puzzle, tokens=_TOKENS) for puzzle in _PUZZLES]
    shown = [answer for answer in answers if len(answer.reasoning.split()) >= 8 and answer.output_tokens is not None]
    if not shown:
        return judge_open("it shows no reasoning, or does not count")
    few = [answer for answer in shown if (answer.output_tokens or 0) < len(answer.reasoning.split()) // 2]
    if len(few) == len(shown):
        words = len(few[0].reasoning.split())
        return judge_fail(f"it counts {few[0].output_tokens} tokens for reasoning of {words} words and an answer")
    return judge_pass("reasoning is counted")


async def _judge_effort(host: AskedHost) -> CaseJudgement:
    """Another effort is another prompt: an answer that is the same to the letter was not given it."""
    if not host.thinks:
        return judge_skip(_NO_THOUGHT)
    low, high = await _ask_with_effort(host, "low"), await _ask_with_effort(host, "high")
    asked = [answer for answers in (*low, *high) for answer in answers]
    counts = [sum(answer.output_tokens or 0 for answers in side for answer in answers) for side in (low, high)]
    words = f"{counts[0]} tokens at effort low, {counts[1]} at high"
    if all(_share_thoughts(*pair) for pair in zip(low, high, strict=True)):
        return judge_fail(f"effort low and high give the same reasoning, word for word, to {len(_PUZZLES)} puzzles")
    if any(answer.output_tokens is None or answer.is_cut for answer in asked):
        return judge_open("it does not count, or its tokens were used up")
    shown = any(answer.reasoning.strip() for answer in asked)
    pairs = zip(low, high, strict=True)
    if not shown and all(len({answer.output_tokens for answer in (*ones, *others)}) == 1 for ones, others in pairs):
        return judge_fail(f"effort low and high take the same number of tokens: {words}")
    return judge_pass(words) if counts[1] > counts[0] else judge_open(words)


async def _ask_with_effort(host: AskedHost, effort: Effort) -> list[list[RawAnswer]]:
    fields = host.provider.effort_fields(effort)
    return [[await host.get(p, tokens=_TOKENS, nth=nth, fields=fields) for nth in (0, 1)] for p in _PUZZLES]


def _share_thoughts(ones: Sequence[RawAnswer], others: Sequence[RawAnswer]) -> bool:
    """Whether an answer of the one effort thought, at some length, what one of the other did."""
    thoughts = {answer.reasoning for answer in others if not answer.is_cut}
    return any(answer.reasoning in thoughts and len(answer.reasoning.split()) >= _FEWEST_WORDS for answer in ones)


THINKING_CASES = (
    ContractCase(
        id="thinking.on",
        family="thinking",
        promise="Reasoning that is switched on takes place.",
        judge=_judge_on,
    ),
    ContractCase(
        id="thinking.off",
        family="thinking",
        promise="Reasoning that is switched off does not.",
        judge=_judge_off,
    ),
    ContractCase(
        id="thinking.streamed",
        family="thinking",
        promise="Reasoning is shown streamed as it is whole.",
        judge=_judge_thinking_streamed,
    ),
    ContractCase(
        id="thinking.with_fields",
        family="thinking",
        promise="Reasoning is not switched off by a field that is not about it.",
        judge=_judge_with_format,
    ),
    ContractCase(
        id="thinking.counted",
        family="thinking",
        promise="Reasoning is counted among the tokens.",
        judge=_judge_thinking_counted,
    ),
    ContractCase(
        id="thinking.effort",
        family="thinking",
        promise="The effort has an effect, or is refused.",
        judge=_judge_effort,
    ),
)
