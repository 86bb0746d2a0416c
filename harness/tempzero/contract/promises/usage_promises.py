"""An endpoint in, whether what it counts can be what it read and wrote, out."""

from __future__ import annotations

from tempzero.contract.asked_host import AskedHost
from tempzero.contract.case import CaseJudgement, ContractCase, judge_fail, judge_open, judge_pass
from tempzero.contract.promises.asked_texts import COUNT_FAR_PROMPT, COUNT_PROMPT, WEEKDAYS_PROMPT, find_numbers
from tempzero.contract.promises.long_texts import counts_its_prompts
from tempzero.contract.wire_answer import RawAnswer
from tempzero.types.recorded import Flag

_OTHER_COUNT: Flag = "limit_counted_otherwise"
_NOT_HELD: Flag = "max_tokens_not_held"
_TOKENS = 96
# Hosts count a token or two that frame an answer, or leave them out.
_FRAMING = 2


async def _judge_usage_given(host: AskedHost) -> CaseJudgement:
    answers = [await host.get(prompt, tokens=_TOKENS) for prompt in (COUNT_PROMPT, WEEKDAYS_PROMPT)]
    if not any(answer.usage for answer in answers):
        return judge_fail("whole answers come without usage")
    for answer in answers:
        if answer.prompt_tokens is None or answer.output_tokens is None:
            return judge_fail("usage lacks prompt_tokens or completion_tokens")
    return judge_pass("usage counts prompt and completion")


async def _judge_sum(host: AskedHost) -> CaseJudgement:
    answers = [await host.get(prompt, tokens=_TOKENS) for prompt in (COUNT_PROMPT, WEEKDAYS_PROMPT)]
    wrong = []
    for answer in answers:
        said = answer.exchange.outcome.completion
        if said is None or None in (said.prompt_tokens, said.completion_tokens, said.total_tokens):
            return judge_open("usage lacks one of its three numbers")
        parts = (said.prompt_tokens or 0) + (said.completion_tokens or 0)
        if (said.total_tokens or 0) < parts:
            wrong.append(f"{said.total_tokens} in total, {said.prompt_tokens} and {said.completion_tokens} in parts")
        cached = said.cached_tokens or 0
        if cached > (said.prompt_tokens or 0):
            wrong.append(f"{cached} cached tokens of {said.prompt_tokens}")
    if len(wrong) >= len(answers):
        return judge_fail(f"its counts do not add up: {wrong[0]}")
    return judge_pass("its counts add up")


async def _judge_completion(host: AskedHost) -> CaseJudgement:
    """A number that spaces part from others is a token at least; an answer that its limit cut has no more than that."""
    whole = await host.get(COUNT_PROMPT, tokens=_TOKENS)
    limit = host.smallest
    cut = await host.get(COUNT_FAR_PROMPT, tokens=limit, exact=True)
    too_few = []
    for answer in (whole, cut):
        words = len(find_numbers(answer.text)) + len(answer.reasoning.split()) // 2
        if answer.output_tokens is not None and answer.output_tokens + _FRAMING < words:
            too_few.append(f"{answer.output_tokens} tokens for a text of {words} numbers and words")
    if len(too_few) == 2:
        return judge_fail(f"it counts too few: {too_few[0]}")
    if _NOT_HELD in cut.flags and cut.finish == "length" and len(find_numbers(cut.text)) <= limit:
        return judge_fail(
            f"it counts {cut.output_tokens} tokens of an answer that its limit of {limit} cut, with "
            f"{len(find_numbers(cut.text))} numbers in it"
        )
    if whole.output_tokens is None:
        return judge_open("it does not count")
    if _OTHER_COUNT in cut.flags:
        return judge_open(f"it counts {cut.output_tokens} tokens under a limit of {limit}")
    return judge_pass(f"{whole.output_tokens} tokens for {len(find_numbers(whole.text))} numbers")


async def _judge_prompt(host: AskedHost) -> CaseJudgement:
    grows = await counts_its_prompts(host)
    if grows is None:
        return judge_open("it does not count prompts")
    return (
        judge_pass("prompt_tokens grow with the prompt")
        if grows
        else judge_fail("prompt_tokens do not grow with the prompt: 200 words more add next to nothing")
    )


async def _judge_repeatable(host: AskedHost) -> CaseJudgement:
    counts = [
        (await host.get(prompt, tokens=_TOKENS, nth=nth)).prompt_tokens
        for prompt in (COUNT_PROMPT, WEEKDAYS_PROMPT)
        for nth in (0, 1)
    ]
    if None in counts:
        return judge_open("it does not count prompts")
    if counts[0] != counts[1] and counts[2] != counts[3]:
        words = f"of the same request it counts {counts[0]} and {counts[1]} prompt_tokens: the prompt was changed"
        return judge_fail(words) if host.provider.pinned else judge_open(f"{words}, or its router chose another host")
    return judge_pass("the same request has the same prompt_tokens")


async def _judge_usage_streamed(host: AskedHost) -> CaseJudgement:
    differing = []
    for prompt in (COUNT_PROMPT, WEEKDAYS_PROMPT):
        whole = await host.get(prompt, tokens=_TOKENS)
        streamed = await host.get(prompt, tokens=_TOKENS, stream=True)
        differing.append(_find_other_count(streamed, whole))
    if all(differing):
        return judge_fail(f"{differing[0]}, of the same prompt and text")
    return judge_pass("streams count as whole answers do")


def _find_other_count(streamed: RawAnswer, whole: RawAnswer) -> str | None:
    pairs = [(streamed.prompt_tokens, whole.prompt_tokens, "prompt_tokens")]
    if streamed.text == whole.text and streamed.reasoning == whole.reasoning:
        pairs.append((streamed.output_tokens, whole.output_tokens, "completion_tokens"))
    for one, other, name in pairs:
        if one is not None and other is not None and abs(one - other) > _FRAMING:
            return f"it counts {one} {name} streamed and {other} whole"
    return None


USAGE_CASES = (
    ContractCase(
        id="usage.given", family="usage", promise="A whole answer counts its tokens.", judge=_judge_usage_given
    ),
    ContractCase(
        id="usage.adds_up",
        family="usage",
        promise="The total is no less than its parts, and no more is cached than read.",
        judge=_judge_sum,
    ),
    ContractCase(
        id="usage.completion",
        family="usage",
        promise="completion_tokens can be the tokens of the text.",
        judge=_judge_completion,
    ),
    ContractCase(id="usage.prompt", family="usage", promise="prompt_tokens grow with the prompt.", judge=_judge_prompt),
    ContractCase(
        id="usage.prompt_again",
        family="usage",
        promise="The same request has the same prompt_tokens.",
        judge=_judge_repeatable,
    ),
    ContractCase(
        id="usage.streamed",
        family="usage",
        promise="A stream counts as a whole answer does.",
        judge=_judge_usage_streamed,
    ),
)
