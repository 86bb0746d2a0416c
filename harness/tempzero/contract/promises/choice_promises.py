"""An endpoint in, whether n gives so many choices of their own, out."""

from __future__ import annotations

from tempzero.contract.asked_host import AskedHost
from tempzero.contract.case import CaseJudgement, ContractCase, judge_fail, judge_open, judge_pass, judge_skip
from tempzero.contract.promises.asked_texts import OPEN_PROMPTS, OPEN_TOKENS, YES_PROMPT, quote_text

_TWO = {"n": 2}
_FEWEST_WORDS = 6


async def _judge_count(host: AskedHost) -> CaseJudgement:
    answer = await host.get(YES_PROMPT, fields=_TWO)
    if answer.choice_count == 1:
        return judge_fail("n: 2 was taken, and gave one choice")
    if answer.choice_count != 2:
        return judge_fail(f"n: 2 gave {answer.choice_count} choices")
    return judge_pass("n: 2 gave two choices")


async def _judge_indices(host: AskedHost) -> CaseJudgement:
    answer = await host.get(YES_PROMPT, fields=_TWO)
    if answer.choice_count < 2:
        return judge_skip("n gives one choice")
    if list(answer.choices) != [0, 1]:
        return judge_fail(f"its two choices carry the indices {', '.join(map(str, answer.choices))}")
    return judge_pass("the choices carry the indices 0 and 1")


async def _judge_drawn(host: AskedHost) -> CaseJudgement:
    if host.provider.temperature is None:
        return judge_skip("no temperature is sent to it")
    answer = await host.get(OPEN_PROMPTS[0], tokens=OPEN_TOKENS, temperature=1, fields=_TWO)
    texts = answer.choice_texts()
    if len(texts) < 2:
        return judge_skip("n gives one choice")
    if len(texts[0].split()) < _FEWEST_WORDS:
        return judge_open("too short an answer to tell")
    alone = [(await host.get(OPEN_PROMPTS[0], tokens=OPEN_TOKENS, temperature=1, nth=nth)).text for nth in range(3)]
    if len(set(alone)) == 1:
        return judge_open("single answers at temperature 1 do not differ either: see sampling.temperature_1")
    if texts[0] == texts[1]:
        return judge_fail(f"two choices at temperature 1 are copies of one another: {quote_text(texts[0])}")
    return judge_pass("two choices at temperature 1 differ")


async def _judge_choice_streamed(host: AskedHost) -> CaseJudgement:
    whole = await host.get(YES_PROMPT, fields=_TWO)
    if whole.choice_count < 2:
        return judge_skip("n gives one choice")
    answer = await host.get(YES_PROMPT, fields=_TWO, stream=True)
    if list(answer.choices) != [0, 1]:
        return judge_fail(f"n: 2 streamed gave the indices {', '.join(map(str, answer.choices))}, whole two choices")
    return judge_pass("n: 2 streamed gave both choices")


CHOICE_CASES = (
    ContractCase(id="n.count", family="n", promise="n: 2 gives two choices, or is refused.", judge=_judge_count),
    ContractCase(id="n.indices", family="n", promise="Choices carry indices from 0 on.", judge=_judge_indices),
    ContractCase(id="n.drawn_apart", family="n", promise="Choices are drawn each for itself.", judge=_judge_drawn),
    ContractCase(id="n.streamed", family="n", promise="n holds for streams too.", judge=_judge_choice_streamed),
)
