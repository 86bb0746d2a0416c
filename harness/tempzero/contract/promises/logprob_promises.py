"""An endpoint in, whether the log-probabilities it gives are there, of this text, and probabilities at all, out."""

from __future__ import annotations

import math

from tempzero.contract.asked_host import AskedHost
from tempzero.contract.case import CaseJudgement, ContractCase, judge_fail, judge_open, judge_pass, judge_skip
from tempzero.contract.promises.asked_texts import COUNT_PROMPT, WEEKDAYS_PROMPT, quote_text
from tempzero.contract.wire_answer import RawAnswer

_TOP = 3
_FIELDS = {"logprobs": True, "top_logprobs": _TOP}
_TOKENS = 64
# Numbers are rounded, and probabilities of tokens that round alike may pass 1 together by a little.
_SLACK = 0.05
_FLOOR = -90.0


async def _get_logged(host: AskedHost) -> list[RawAnswer]:
    return [await host.get(prompt, tokens=_TOKENS, fields=_FIELDS) for prompt in (COUNT_PROMPT, WEEKDAYS_PROMPT)]


async def _judge_logprob_given(host: AskedHost) -> CaseJudgement:
    if not any(answer.logged for answer in await _get_logged(host)):
        return judge_fail("logprobs: true was taken, and none came")
    return judge_pass("logprobs come")


async def _judge_logprob_streamed(host: AskedHost) -> CaseJudgement:
    if not any(answer.logged for answer in await _get_logged(host)):
        return judge_skip("it gives none")
    streamed = [
        await host.get(prompt, tokens=_TOKENS, fields=_FIELDS, stream=True)
        for prompt in (COUNT_PROMPT, WEEKDAYS_PROMPT)
    ]
    if not any(answer.logged for answer in streamed):
        return judge_fail("logprobs come with whole answers, and streamed none came")
    return judge_pass("logprobs come with streams too")


async def _judge_text(host: AskedHost) -> CaseJudgement:
    """Tokens may spell more than the text (what was thought, a mark of the end), and never less."""
    other = []
    for answer in await _get_logged(host):
        spelled = "".join(token.token for token in answer.logged or ())
        if not spelled:
            return judge_skip("it gives none")
        plain = "".join(spelled.replace("\u2581", " ").replace("\u0120", " ").split())
        if "".join(answer.text.split()) not in plain:
            other.append((spelled, answer.text))
    if len(other) == 2:
        spelled, text = other[0]
        if all(not any(c.isalnum() for c in one[0]) or one[0].startswith("token_id:") for one in other):
            return judge_open("its tokens are not told by their text")
        return judge_fail(f"the tokens of its logprobs spell {quote_text(spelled)}, the text is {quote_text(text)}")
    return judge_pass("its tokens spell the text")


async def _judge_values(host: AskedHost) -> CaseJudgement:
    wrong: list[str] = []
    for answer in await _get_logged(host):
        tokens = answer.logged or ()
        if not tokens:
            return judge_skip("it gives none")
        positive = next((token for token in tokens if token.logprob > _SLACK), None)
        sums = [sum(math.exp(min(value, 1.0)) for _, value in token.top) for token in tokens]
        if positive is not None:
            wrong.append(f"one is {positive.logprob:.3g}, above 0")
        elif max(sums, default=0) > 1 + _SLACK:
            wrong.append(f"the likeliest tokens have the probability {max(sums):.3g} together")
        elif _is_unlike_its_list(answer):
            wrong.append("the token that was taken has another value there than in its own list")
    if len(wrong) == 2:
        return judge_fail(f"its logprobs are no log-probabilities: {wrong[0]}")
    return judge_pass("its logprobs can be log-probabilities")


def _is_unlike_its_list(answer: RawAnswer) -> bool:
    pairs = [
        (token.logprob, dict(token.top)[token.token]) for token in answer.logged or () if token.token in dict(token.top)
    ]
    return bool(pairs) and all(abs(one - other) > 0.5 and min(one, other) > _FLOOR for one, other in pairs)


async def _judge_likeliest(host: AskedHost) -> CaseJudgement:
    if host.provider.temperature is None:
        return judge_skip("no temperature is sent to it")
    passed_over, seen = 0, 0
    for answer in await _get_logged(host):
        for token in answer.logged or ():
            best = max((value for _, value in token.top), default=None)
            if best is not None and token.logprob > _FLOOR:
                seen += 1
                passed_over += best - token.logprob > 1
    if not seen:
        return judge_skip("it lists no likeliest tokens")
    if passed_over >= max(3, seen // 10):
        return judge_fail(
            f"at temperature 0 {passed_over} of {seen} tokens were not the likeliest by its own logprobs, by far"
        )
    return judge_pass(f"{seen - passed_over} of {seen} tokens were the likeliest or near it")


async def _judge_top(host: AskedHost) -> CaseJudgement:
    answers = await _get_logged(host)
    tokens = [token for answer in answers for token in answer.logged or ()]
    if not tokens:
        return judge_skip("it gives none")
    counts = {len(token.top) for token in tokens}
    if counts == {0}:
        return judge_fail(f"top_logprobs: {_TOP} was taken, and none is listed")
    if max(counts) < _TOP:
        return judge_fail(f"top_logprobs: {_TOP} was taken, and at most {max(counts)} are listed")
    if min(counts) > _TOP + 1:
        return judge_open(f"top_logprobs: {_TOP} lists {min(counts)}")
    return judge_pass(f"top_logprobs: {_TOP} lists {max(counts)}")


LOGPROB_CASES = (
    ContractCase(
        id="logprobs.given",
        family="logprobs",
        promise="logprobs: true gives them, or is refused.",
        judge=_judge_logprob_given,
    ),
    ContractCase(
        id="logprobs.streamed",
        family="logprobs",
        promise="logprobs come with streams too.",
        judge=_judge_logprob_streamed,
    ),
    ContractCase(
        id="logprobs.spell_text",
        family="logprobs",
        promise="The tokens of logprobs spell the text.",
        judge=_judge_text,
    ),
    ContractCase(
        id="logprobs.values",
        family="logprobs",
        promise="logprobs are log-probabilities: none above 0, and together no more than 1.",
        judge=_judge_values,
    ),
    ContractCase(
        id="logprobs.likeliest",
        family="logprobs",
        promise="At temperature 0 the token that is taken is the likeliest by the endpoint's own logprobs.",
        judge=_judge_likeliest,
    ),
    ContractCase(
        id="logprobs.top",
        family="logprobs",
        promise="top_logprobs lists as many as were asked for, or is refused.",
        judge=_judge_top,
    ),
)
