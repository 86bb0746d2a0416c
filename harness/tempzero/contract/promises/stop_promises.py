"""An endpoint in, whether stop strings end an answer and are left out of it, out."""

from __future__ import annotations

from tempzero.contract.asked_host import AskedHost
from tempzero.contract.case import CaseJudgement, ContractCase, judge_fail, judge_open, judge_pass
from tempzero.contract.promises.asked_texts import COUNT_PROMPT, quote_text
from tempzero.contract.wire_answer import RawAnswer

_TOKENS = 96


async def _ask_with_stop(host: AskedHost, *stops: str, stream: bool = False) -> RawAnswer:
    return await host.get(COUNT_PROMPT, tokens=_TOKENS, stream=stream, fields={"stop": list(stops)})


async def _judge_stop(host: AskedHost) -> CaseJudgement:
    return _judge_end(await _ask_with_stop(host, "7"), 7, "a stop string")


async def _judge_second_stop(host: AskedHost) -> CaseJudgement:
    return _judge_end(await _ask_with_stop(host, "Elephant", "12"), 12, "the second of two stop strings")


async def _judge_streamed_stop(host: AskedHost) -> CaseJudgement:
    return _judge_end(await _ask_with_stop(host, "7", stream=True), 7, "streamed, a stop string")


def _judge_end(answer: RawAnswer, stop: int, what: str) -> CaseJudgement:
    text = answer.text
    before, found, after = text.partition(str(stop))
    if found and after.strip():
        return judge_fail(f'{what} ("{stop}") had no effect: it wrote {quote_text(text)}')
    if found:
        return judge_pass(f"{what} ended the answer")
    if before.rstrip().endswith(str(stop - 1)):
        return judge_pass(f"{what} ended the answer")
    return judge_open(f"the model did not count: it wrote {quote_text(text)}")


async def _judge_left_out(host: AskedHost) -> CaseJudgement:
    kept = []
    for stream in (False, True):
        answer = await _ask_with_stop(host, "7", stream=stream)
        if "7" in answer.text and not answer.text.partition("7")[2].strip():
            kept.append("streamed" if stream else "whole")
    if kept:
        return judge_fail(f"the stop string is left at the end of the text ({' and '.join(kept)})")
    return judge_pass("the text ends before the stop string")


async def _judge_stop_reason(host: AskedHost) -> CaseJudgement:
    answer = await _ask_with_stop(host, "7")
    if not answer.text.rstrip().endswith(("6", "7")):
        return judge_open("no answer was seen that a stop string ended")
    if answer.finish.lower() in ("stop", "stop_sequence", "eos", "end_turn"):
        return judge_pass(f"ended by a stop string it says {answer.finish}")
    said = f'"{answer.finish}"' if answer.finish else "no finish_reason"
    return judge_fail(f"ended by a stop string it says {said}, and not stop")


STOP_CASES = (
    ContractCase(
        id="stop.ends", family="stop", promise="A stop string ends the answer, or is refused.", judge=_judge_stop
    ),
    ContractCase(
        id="stop.each_of_several",
        family="stop",
        promise="Each of several stop strings ends the answer.",
        judge=_judge_second_stop,
    ),
    ContractCase(
        id="stop.streamed",
        family="stop",
        promise="A stop string ends a streamed answer too.",
        judge=_judge_streamed_stop,
    ),
    ContractCase(
        id="stop.left_out",
        family="stop",
        promise="The stop string itself is not in the text.",
        judge=_judge_left_out,
    ),
    ContractCase(
        id="stop.finish_reason",
        family="stop",
        promise="An answer that a stop string ended says finish_reason stop.",
        judge=_judge_stop_reason,
    ),
)
