"""An endpoint in, whether it keeps to limits of tokens and says so, out."""

from __future__ import annotations

from tempzero.contract.asked_host import AskedHost
from tempzero.contract.case import CaseJudgement, ContractCase, judge_fail, judge_open, judge_pass, judge_skip
from tempzero.contract.promises.asked_texts import COUNT_FAR_PROMPT, find_numbers
from tempzero.contract.wire_answer import RawAnswer
from tempzero.types.recorded import Flag

_NOT_HELD: Flag = "max_tokens_not_held"
_OTHER_COUNT: Flag = "limit_counted_otherwise"
_LIMIT_NAMES = ("max_tokens", "max_completion_tokens")


async def _judge_limit(host: AskedHost) -> CaseJudgement:
    limit = host.smallest
    answer = await host.get(COUNT_FAR_PROMPT, tokens=limit, exact=True)
    return _judge_length(answer, limit, host.provider.parameter_names.max_tokens)


async def _judge_other_name(host: AskedHost) -> CaseJudgement:
    own = host.provider.parameter_names.max_tokens
    other = next((name for name in _LIMIT_NAMES if name != own), own)
    limit = host.smallest
    fields = {own: None, other: limit}
    answer = await host.get(COUNT_FAR_PROMPT, tokens=limit, exact=True, fields=fields)
    return _judge_length(answer, limit, other)


def _judge_length(answer: RawAnswer, limit: int, name: str) -> CaseJudgement:
    """No tokenizer puts two numbers that a space parts into one token, so numbers show what counts may hide."""
    found, counted = len(find_numbers(answer.text)), answer.output_tokens
    if limit < found <= limit + 2:
        return judge_fail(f"{name} {limit} gave {found} numbers, of which none is less than a token: one too many")
    if found > limit:
        return judge_fail(f"{name} {limit} was taken and not held: it gave {found} numbers")
    if _NOT_HELD in answer.flags and not answer.is_cut:
        return judge_fail(f"{name} {limit} was taken and not held: it counts {counted} tokens")
    if _NOT_HELD in answer.flags or _OTHER_COUNT in answer.flags:
        logged = len(answer.logged or ())
        if logged > limit:
            return judge_fail(f"{name} {limit} gave {logged} tokens, as its logprobs list them")
        return judge_open(f"it counts {counted} tokens under {name} {limit}: too many, or counted by other rules")
    if not answer.is_cut:
        return judge_open("the answer ended before its limit")
    return judge_pass(f"{name} {limit} was held" + ("" if counted is None else f": {counted} tokens"))


async def _judge_one_token(host: AskedHost) -> CaseJudgement:
    if host.smallest > 16 or host.thinks:
        return judge_skip("it takes no limit of one token, or reasons before it answers")
    answer = await host.get(COUNT_FAR_PROMPT, tokens=1, exact=True)
    found, length = len(find_numbers(answer.text)), len(answer.text.split())
    if found > 1 or length > 1:
        return judge_fail(f"a limit of one token gave {max(found, length)} words")
    return judge_pass("a limit of one token gave one")


async def _judge_limit_reason(host: AskedHost) -> CaseJudgement:
    limit = host.smallest
    answer = await host.get(COUNT_FAR_PROMPT, tokens=limit, exact=True)
    numbers = find_numbers(answer.text)
    unfinished = bool(numbers) and 3 <= numbers[-1] < 300 and numbers == list(range(1, len(numbers) + 1))
    full = (answer.output_tokens or 0) >= limit
    if answer.finish == "length":
        return judge_pass("cut at its limit it says finish_reason length")
    if (unfinished and full) or (full and answer.is_cut and not host.thinks):
        said = f'"{answer.finish}"' if answer.finish else "no finish_reason"
        return judge_fail(f"cut at {limit} tokens it says {said}, and not length")
    return judge_open(f"the answer was not seen to be cut (finish_reason {answer.finish or 'none'})")


LIMIT_CASES = (
    ContractCase(
        id="limits.max_tokens",
        family="limits",
        promise="An answer has no more tokens than its limit.",
        judge=_judge_limit,
    ),
    ContractCase(
        id="limits.other_name",
        family="limits",
        promise="The limit's other name (max_completion_tokens, max_tokens) is held too, or refused.",
        judge=_judge_other_name,
    ),
    ContractCase(
        id="limits.one_token",
        family="limits",
        promise="A limit of one token gives one, or is refused.",
        judge=_judge_one_token,
    ),
    ContractCase(
        id="limits.finish_reason",
        family="limits",
        promise="An answer that its limit cut says finish_reason length.",
        judge=_judge_limit_reason,
    ),
)
