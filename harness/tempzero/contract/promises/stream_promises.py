"""An endpoint in, whether its streams are whole, well-formed and the same answer as without them, out."""

from __future__ import annotations

from collections.abc import Sequence

from tempzero.contract.asked_host import AskedHost
from tempzero.contract.case import CaseJudgement, ContractCase, judge_fail, judge_pass, judge_skip
from tempzero.contract.promises.asked_texts import ALPHABET_PROMPT, COUNT_PROMPT, WEEKDAYS_PROMPT, quote_text
from tempzero.contract.wire_answer import RawAnswer
from tempzero.types.recorded import Flag

_PROMPTS = (COUNT_PROMPT, ALPHABET_PROMPT, WEEKDAYS_PROMPT)
_TOKENS = 96
_AFTER_END: tuple[Flag, ...] = ("output_after_finish", "events_after_done", "finish_reason_changed")


async def _get_streams(host: AskedHost) -> list[RawAnswer]:
    return [await host.get(prompt, tokens=_TOKENS, stream=True) for prompt in _PROMPTS[:2]]


async def _judge_honoured(host: AskedHost) -> CaseJudgement:
    streams = await _get_streams(host)
    if not any(answer.is_stream for answer in streams):
        return judge_fail("stream: true was taken, and a whole answer came")
    return judge_pass("it streams")


async def _judge_same_text(host: AskedHost) -> CaseJudgement:
    """A difference counts where it comes both times, on most questions, and answers of one way agree."""
    differing = []
    for prompt in _PROMPTS:
        whole = [(await host.get(prompt, tokens=_TOKENS, nth=nth)).text for nth in (0, 1)]
        streamed = [(await host.get(prompt, tokens=_TOKENS, nth=nth, stream=True)).text for nth in (0, 1)]
        if whole[0] == whole[1] and whole[0] not in streamed:
            differing.append((whole[0], streamed[0]))
    if len(differing) < 2:
        return judge_pass(f"streamed as whole on {len(_PROMPTS) - len(differing)} of {len(_PROMPTS)} questions")
    return judge_fail(f"{_describe_difference(differing)}, on {len(differing)} of {len(_PROMPTS)} questions, twice")


def _describe_difference(pairs: Sequence[tuple[str, str]]) -> str:
    whole, streamed = pairs[0]
    shown = f"{quote_text(streamed, 40)} and not {quote_text(whole, 40)}"
    if all(_adds_repeated_piece(*pair) for pair in pairs):
        return f"streams repeat pieces of the text: {shown}"
    if all(_is_subsequence(streamed, whole) for whole, streamed in pairs):
        return f"streams lack pieces of the text: {shown}"
    return f"streams hold another text: {shown}"


def _adds_repeated_piece(whole: str, streamed: str) -> bool:
    return len(streamed) > len(whole) and _is_subsequence(whole, streamed)


def _is_subsequence(short: str, long: str) -> bool:
    rest = iter(long)
    return all(character in rest for character in short)


async def _judge_done(host: AskedHost) -> CaseJudgement:
    streams = [answer for answer in await _get_streams(host) if answer.is_stream]
    if not streams:
        return judge_skip("it does not stream")
    if not any(answer.has_done for answer in streams):
        return judge_fail("its streams end without data: [DONE]")
    return judge_pass("streams end with data: [DONE]")


async def _judge_role(host: AskedHost) -> CaseJudgement:
    streams = [answer for answer in await _get_streams(host) if answer.is_stream]
    if not streams:
        return judge_skip("it does not stream")
    if not any(_names_role(answer) for answer in streams):
        return judge_fail("no delta of its streams names the role assistant")
    return judge_pass("a delta names the role assistant")


def _names_role(answer: RawAnswer) -> bool:
    deltas = [choice.get("delta") or choice.get("message") for choice in answer.choices.get(0, ())]
    return any(isinstance(delta, dict) and delta.get("role") == "assistant" for delta in deltas)


async def _judge_finish(host: AskedHost) -> CaseJudgement:
    streams = [answer for answer in await _get_streams(host) if answer.is_stream]
    if not streams:
        return judge_skip("it does not stream")
    if not any(answer.finish for answer in streams):
        return judge_fail("its streams end without a finish_reason")
    pairs = []
    for prompt, answer in zip(_PROMPTS, streams, strict=False):
        whole = await host.get(prompt, tokens=_TOKENS)
        if whole.text == answer.text and whole.finish != answer.finish:
            pairs.append((answer.finish, whole.finish))
    if len(pairs) == len(streams):
        return judge_fail(f'of the same text it says "{pairs[0][0]}" streamed and "{pairs[0][1]}" whole')
    late = [flag for answer in streams for flag in answer.flags if flag in _AFTER_END]
    if len(late) >= len(streams):
        return judge_fail("its streams go on after their finish_reason or [DONE]")
    return judge_pass("streams say why they end")


async def _judge_usage(host: AskedHost) -> CaseJudgement:
    streams = [answer for answer in await _get_streams(host) if answer.is_stream]
    if not streams:
        return judge_skip("it does not stream")
    if not any(answer.usage for answer in streams):
        return judge_fail("stream_options include_usage was taken, and no chunk holds usage")
    return judge_pass("streams hold usage where it is asked for")


STREAM_CASES = (
    ContractCase(
        id="stream.honoured",
        family="stream",
        promise="stream: true gives a stream of events.",
        judge=_judge_honoured,
    ),
    ContractCase(
        id="stream.same_text",
        family="stream",
        promise="A streamed answer has the text of a whole one.",
        judge=_judge_same_text,
    ),
    ContractCase(id="stream.done", family="stream", promise="A stream ends with data: [DONE].", judge=_judge_done),
    ContractCase(
        id="stream.role", family="stream", promise="A stream's first delta names the role.", judge=_judge_role
    ),
    ContractCase(
        id="stream.finish_reason",
        family="stream",
        promise="A stream says why it ended, once, and as a whole answer does.",
        judge=_judge_finish,
    ),
    ContractCase(
        id="stream.usage",
        family="stream",
        promise="A stream with include_usage counts its tokens.",
        judge=_judge_usage,
    ),
)
