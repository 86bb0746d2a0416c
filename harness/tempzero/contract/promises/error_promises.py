"""An endpoint in, whether requests that cannot be carried out are refused as errors, out."""

from __future__ import annotations

from typing import Any

from tempzero.contract.asked_host import AskedHost
from tempzero.contract.case import CaseJudgement, ContractCase, judge_fail, judge_open, judge_pass
from tempzero.contract.promises.asked_texts import YES_PROMPT, quote_text
from tempzero.contract.wire_answer import RawAnswer

_NO_SUCH_MODEL = "no-such-model-of-anybody"
_BAD_MESSAGES: dict[str, Any] = {"messages": "hello"}


async def _judge_status(host: AskedHost) -> CaseJudgement:
    return _judge_refusal(await host.ask(YES_PROMPT, fields=_BAD_MESSAGES, any_status=True), "")


async def _judge_error_streamed(host: AskedHost) -> CaseJudgement:
    return _judge_refusal(await host.ask(YES_PROMPT, fields=_BAD_MESSAGES, stream=True, any_status=True), "streamed, ")


def _judge_refusal(answer: RawAnswer, how: str) -> CaseJudgement:
    """Where messages are no list: that is wrong for whoever asks, at any time."""
    asked = f"{how}a request whose messages are no list"
    if answer.status == 200:
        got = "an answer" if answer.is_answer else "an error in its body"
        return judge_fail(f"{asked} got status 200 with {got}")
    if 400 <= answer.status < 500:
        return judge_pass(f"{asked} got status {answer.status}")
    if answer.status >= 500:
        return judge_fail(f"{asked} got status {answer.status}, which says that the same may do later")
    return judge_open(f"{asked} got no status ({answer.kind})")


async def _judge_body(host: AskedHost) -> CaseJudgement:
    answer = await host.ask(YES_PROMPT, fields=_BAD_MESSAGES, any_status=True)
    error = next((body.get("error") for body in answer.bodies), None)
    if isinstance(error, dict) and isinstance(error.get("message"), str) and error["message"]:
        return judge_pass("an error has a message")
    if answer.is_answer:
        return judge_open("no error was seen")
    return judge_open("an error has no error.message that is a text")


async def _judge_type(host: AskedHost) -> CaseJudgement:
    name = host.provider.parameter_names.max_tokens
    answer = await host.ask(YES_PROMPT, fields={name: "many"}, any_status=True)
    if answer.is_answer:
        return judge_open(f'{name}: "many" was taken')
    if answer.status == 200:
        return judge_fail(f'{name}: "many" got status 200 with an error in its body')
    return judge_pass(f'{name}: "many" got status {answer.status}')


async def _judge_model(host: AskedHost) -> CaseJudgement:
    answer = await host.ask(YES_PROMPT, fields={"model": _NO_SUCH_MODEL}, any_status=True)
    if not answer.is_answer:
        if answer.status == 200:
            return judge_fail("a model that there is not got status 200 with an error in its body")
        return judge_pass(f"a model that there is not got status {answer.status}")
    said = answer.exchange.outcome.completion
    served = (said.served_model if said is not None else None) or "no name"
    if served == _NO_SUCH_MODEL:
        return judge_open("it answers to any name, so the name in its answers proves nothing")
    return judge_open(f"a model that there is not was answered for by {quote_text(served)}")


ERROR_CASES = (
    ContractCase(
        id="errors.status",
        family="errors",
        promise="A request that is wrong in itself gets a status from 400 to 499.",
        judge=_judge_status,
    ),
    ContractCase(
        id="errors.streamed",
        family="errors",
        promise="The same where a stream was asked for.",
        judge=_judge_error_streamed,
    ),
    ContractCase(id="errors.message", family="errors", promise="An error says what is wrong.", judge=_judge_body),
    ContractCase(
        id="errors.type",
        family="errors",
        promise="A limit that is no number is refused.",
        judge=_judge_type,
    ),
    ContractCase(
        id="errors.unknown_model",
        family="errors",
        promise="A model that there is not is refused.",
        judge=_judge_model,
    ),
)
