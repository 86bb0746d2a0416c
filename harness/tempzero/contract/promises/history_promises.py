"""An endpoint in, whether every message of a conversation is read, out: as far as its own counts tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tempzero.contract.asked_host import AskedHost
from tempzero.contract.case import CaseJudgement, ContractCase, judge_fail, judge_open, judge_pass, judge_skip
from tempzero.contract.promises.asked_texts import YES_PROMPT
from tempzero.contract.promises.long_texts import counts_its_prompts, write_filler
from tempzero.contract.promises.offered_tools import OFFERED_TOOLS
from tempzero.types.asked import Message, Role, ToolCall

_WORDS = 60
_TURNS, _TURN_WORDS = 24, 30
_LAST_TURNS = 4
_LONG_WORDS = 2_500
_LONG_CONTEXT = 12_000


async def _judge_history_counted(
    host: AskedHost, short: Sequence[Message], long: Sequence[Message], *, words: int, what: str, **asked: Any
) -> CaseJudgement:
    """Whether the longer conversation adds the tokens that its further words have: half of them at least."""
    grows = await counts_its_prompts(host)
    if not grows:
        return judge_open("its prompt_tokens do not say how much it reads")
    less = (await host.get(short, **asked)).prompt_tokens
    more = (await host.get(long, **asked)).prompt_tokens
    if less is None or more is None:
        return judge_open("it does not count prompts")
    if more - less < words // 2:
        return judge_fail(f"{what} of {words} words adds {more - less} prompt_tokens: it is not read, or not whole")
    return judge_pass(f"{what} of {words} words adds {more - less} prompt_tokens")


async def _judge_system(host: AskedHost) -> CaseJudgement:
    return await _judge_leading(host, "system")


async def _judge_developer(host: AskedHost) -> CaseJudgement:
    return await _judge_leading(host, "developer")


async def _judge_leading(host: AskedHost, role: Role) -> CaseJudgement:
    asked = Message(role="user", content=YES_PROMPT)
    leading = Message(role=role, content=write_filler(_WORDS))
    return await _judge_history_counted(host, (asked,), (leading, asked), words=_WORDS, what=f"a {role} message")


async def _judge_turns(host: AskedHost) -> CaseJudgement:
    turns = _write_turns(_TURNS, _TURN_WORDS)
    asked = Message(role="user", content=YES_PROMPT)
    words = (_TURNS - _LAST_TURNS) * _TURN_WORDS
    return await _judge_history_counted(
        host,
        (*turns[-_LAST_TURNS:], asked),
        (*turns, asked),
        words=words,
        what=f"a history of {_TURNS} messages, all but the last 4",
    )


async def _judge_long(host: AskedHost) -> CaseJudgement:
    context = host.provider.context_tokens
    if context is not None and context < _LONG_CONTEXT:
        return judge_skip(f"its context is {context} tokens")
    asked = Message(role="user", content=YES_PROMPT)
    turns = _write_turns(_LONG_WORDS // 100, 100)
    return await _judge_history_counted(host, (asked,), (*turns, asked), words=_LONG_WORDS, what="a history")


def _write_turns(count: int, words: int) -> list[Message]:
    roles: tuple[Role, ...] = ("user", "assistant")
    return [Message(role=roles[n % 2], content=write_filler(words, 7 * n)) for n in range(count)]


async def _judge_assistant(host: AskedHost) -> CaseJudgement:
    first, asked = Message(role="user", content="Tell me of a village."), Message(role="user", content=YES_PROMPT)
    short, long = (Message(role="assistant", content=text) for text in ("Yes.", write_filler(_WORDS)))
    return await _judge_history_counted(
        host, (first, short, asked), (first, long, asked), words=_WORDS, what="an assistant's message"
    )


async def _judge_tool_result(host: AskedHost) -> CaseJudgement:
    first = Message(role="user", content="What is the weather in Oslo?")
    called = ToolCall(name="get_weather", arguments='{"city": "Oslo"}', id="call_oslo1")
    calling = Message(role="assistant", content="", tool_calls=(called,))
    short, long = (
        Message(role="tool", content=text, tool_call_id="call_oslo1") for text in ("Rain.", write_filler(_WORDS))
    )
    return await _judge_history_counted(
        host,
        (first, calling, short),
        (first, calling, long),
        words=_WORDS,
        what="a tool's result",
        tools=OFFERED_TOOLS,
    )


HISTORY_CASES = (
    ContractCase(id="history.system", family="history", promise="A system message is read.", judge=_judge_system),
    ContractCase(
        id="history.developer",
        family="history",
        promise="A developer message is read, or refused.",
        judge=_judge_developer,
    ),
    ContractCase(
        id="history.turns",
        family="history",
        promise="The first messages of a conversation are read.",
        judge=_judge_turns,
    ),
    ContractCase(
        id="history.long",
        family="history",
        promise="A long conversation is read whole, or refused.",
        judge=_judge_long,
    ),
    ContractCase(
        id="history.assistant",
        family="history",
        promise="The assistant's own messages are read.",
        judge=_judge_assistant,
    ),
    ContractCase(
        id="history.tool_result",
        family="history",
        promise="The result of a tool is read.",
        judge=_judge_tool_result,
    ),
)
