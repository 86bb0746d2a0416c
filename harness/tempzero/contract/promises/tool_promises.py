"""An endpoint in, whether tools are called as they were chosen, with ids, indices and arguments of use, out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from tempzero.contract.asked_host import AskedHost, NotAnswered
from tempzero.contract.case import CaseJudgement, ContractCase, judge_fail, judge_open, judge_pass
from tempzero.contract.promises.asked_texts import quote_text
from tempzero.contract.promises.offered_tools import (
    NAMED_CHOICE,
    OFFERED_NAMES,
    OFFERED_TOOLS,
    find_argument_problem,
)
from tempzero.contract.wire_answer import CallPiece, RawAnswer
from tempzero.types.recorded import Flag

_WEATHER_PROMPT = "What is the weather in Oslo now? Use a tool to look it up."
_CITIES_PROMPT = "What is the weather now in Oslo, and in Rome? Look both up with tools, in one step."
_PLAIN_PROMPT = "Say hello."
_TOKENS = 160
_AS_OBJECT: Flag = "tool_arguments_object"
_LEAK: Flag = "template_leak"
_FEWEST_SEEN = 2
# An object in a text that may be a call.
_OBJECTS = re.compile(r"\{.*\}", re.DOTALL)


async def _ask_with_tools(host: AskedHost, prompt: str, choice: Any = None, **asked: Any) -> RawAnswer:
    return await host.get(prompt, tokens=_TOKENS, tools=OFFERED_TOOLS, tool_choice=choice, **asked)


async def _ask_strictly(host: AskedHost, **asked: Any) -> RawAnswer:
    """The forced call of a tool that is declared strict, where that is taken."""
    tools = [{**tool, "function": {**tool["function"], "strict": True}} for tool in OFFERED_TOOLS]
    return await host.get(_WEATHER_PROMPT, tokens=_TOKENS, tools=tools, tool_choice=NAMED_CHOICE, **asked)


async def _judge_named(host: AskedHost) -> CaseJudgement:
    answer = await _ask_with_tools(host, _WEATHER_PROMPT, NAMED_CHOICE)
    names = [call.name for call in answer.calls]
    if not names and answer.is_cut:
        return judge_open("its tokens were used up before a call")
    if not names:
        return judge_fail("tool_choice named a tool and was taken, and none was called")
    if set(names) != {"get_time"}:
        return judge_fail(f"tool_choice named get_time, and it called {quote_text(names[0])}")
    return judge_pass("it calls the tool that tool_choice names")


async def _judge_required(host: AskedHost) -> CaseJudgement:
    answer = await _ask_with_tools(host, _PLAIN_PROMPT, "required")
    if answer.calls:
        return judge_pass("tool_choice required gives a call")
    if answer.is_cut:
        return judge_open("its tokens were used up before a call")
    return judge_fail("tool_choice required was taken, and no tool was called")


async def _judge_none(host: AskedHost) -> CaseJudgement:
    answer = await _ask_with_tools(host, _WEATHER_PROMPT, "none")
    if answer.calls:
        return judge_fail(f"tool_choice none was taken, and it called {quote_text(answer.calls[0].name)}")
    usual = await _ask_with_tools(host, _WEATHER_PROMPT)
    if not usual.calls:
        return judge_open("it calls no tool, and none under auto either")
    return judge_pass("tool_choice none gives no call, auto does")


async def _judge_auto(host: AskedHost) -> CaseJudgement:
    answer = await _ask_with_tools(host, _WEATHER_PROMPT)
    if not answer.calls:
        return judge_open("the model called none: it may not be able to, or the host did not parse the call")
    strange = [call.name for call in answer.calls if call.name not in OFFERED_NAMES]
    if strange:
        return judge_open(f"the model called {quote_text(strange[0])}, which was not offered")
    problem = next((p for p in map(find_argument_problem, answer.calls) if p is not None), None)
    if problem is not None:
        return judge_open(f"the arguments that the model wrote {problem}")
    return judge_pass("it calls a tool of its own accord")


async def _judge_tool_arguments(host: AskedHost) -> CaseJudgement:
    answers = [await _ask_strictly(host, nth=nth) for nth in (0, 1)]
    calls = [call for answer in answers for call in answer.calls]
    if not calls or any(answer.is_cut for answer in answers):
        return judge_open("no whole call was seen")
    if all(_AS_OBJECT in answer.flags for answer in answers):
        return judge_fail("the arguments of its calls are a JSON object where the API has a text")
    problems = [find_argument_problem(call) for call in calls]
    if all(problems):
        return judge_fail(
            f"of a strict tool that was forced the arguments {problems[0]}: {quote_text(calls[0].arguments)}"
        )
    return (
        judge_pass("the arguments of a forced call fit its schema")
        if not any(problems)
        else judge_open("the arguments of a forced call fit its schema once of two times")
    )


async def _judge_ids(host: AskedHost) -> CaseJudgement:
    answers = [
        await _ask_with_tools(host, _WEATHER_PROMPT),
        await _ask_with_tools(host, _CITIES_PROMPT),
        await _ask_with_tools(host, _CITIES_PROMPT, stream=True),
    ]
    try:
        answers.append(await _ask_with_tools(host, _WEATHER_PROMPT, NAMED_CHOICE))
    except NotAnswered as refusal:
        if not refusal.refused:
            raise
    calling = [answer for answer in answers if answer.calls]
    if not calling:
        return judge_open("no call was seen")
    without = [answer for answer in calling if any(not call.id for call in answer.calls)]
    if len(without) == len(calling):
        return judge_fail("its calls have no id, and a result could not be given to them")
    shared = [answer for answer in calling if len({call.id for call in answer.calls}) < len(answer.calls)]
    if shared:
        calls = shared[0].calls
        return judge_fail(f"{len(calls)} calls of one answer share the id {quote_text(calls[0].id or '')}")
    return judge_pass("every call has an id of its own")


async def _judge_tool_reason(host: AskedHost) -> CaseJudgement:
    answers = [await _ask_with_tools(host, prompt) for prompt in (_WEATHER_PROMPT, _CITIES_PROMPT)]
    calling = [answer for answer in answers if answer.calls]
    if not calling:
        return judge_open("the model called no tool of its own accord")
    other = [answer.finish for answer in calling if answer.finish not in ("tool_calls", "function_call", "tool_use")]
    if len(other) == len(calling):
        said = f'"{other[0]}"' if other[0] else "no finish_reason"
        return judge_fail(f"it calls tools and says {said}: who waits for tool_calls carries none out")
    return judge_pass("an answer that calls says tool_calls")


async def _judge_parallel(host: AskedHost) -> CaseJudgement:
    off = await _ask_with_tools(host, _CITIES_PROMPT, fields={"parallel_tool_calls": False})
    if len(off.calls) > 1:
        return judge_fail(f"parallel_tool_calls: false was taken, and it made {len(off.calls)} calls at once")
    usual = await _ask_with_tools(host, _CITIES_PROMPT)
    if len(usual.calls) < 2:
        return judge_open("the model makes one call at a time anyway")
    return judge_pass("parallel_tool_calls: false gives one call at most")


async def _judge_index(host: AskedHost) -> CaseJudgement:
    streams = [await _ask_with_tools(host, prompt, stream=True) for prompt in (_CITIES_PROMPT, _WEATHER_PROMPT)]
    seen = [answer.call_pieces for answer in streams if answer.call_pieces]
    if not seen:
        return judge_open("no call was streamed")
    problems = [_find_index_problem(pieces) for pieces in seen]
    problem = next((found for found in problems if found is not None), None)
    return judge_fail(problem) if problem else judge_pass("streamed calls carry their index")


def _find_index_problem(pieces: tuple[CallPiece, ...]) -> str | None:
    if all(piece.index is None for piece in pieces):
        return "pieces of streamed calls have no index"
    ids_of: dict[int | None, set[str]] = {}
    for piece in pieces:
        if piece.id:
            ids_of.setdefault(piece.index, set()).add(piece.id)
    if any(len(ids) > 1 for ids in ids_of.values()):
        return "several streamed calls share one index: clients join them into one"
    return None


async def _judge_tool_streamed(host: AskedHost) -> CaseJudgement:
    whole = [await _ask_strictly(host, nth=nth) for nth in (0, 1)]
    if not all(answer.calls and find_argument_problem(answer.calls[0]) is None for answer in whole):
        return judge_open("no forced call of use was seen whole")
    streamed = [await _ask_strictly(host, stream=True, nth=nth) for nth in (0, 1)]
    if any(answer.is_cut for answer in streamed):
        return judge_open("streamed, its tokens were used up")
    if not any(answer.calls for answer in streamed):
        return judge_fail("a forced call comes whole and is missing in the stream")
    problems = [find_argument_problem(answer.calls[0]) if answer.calls else "are missing" for answer in streamed]
    if all(problems):
        return judge_fail(f"the arguments of a forced call are right whole, and streamed they {problems[0]}")
    if all(answer.calls and answer.calls[0].name != whole[0].calls[0].name for answer in streamed):
        return judge_fail("a forced call names another tool in the stream than whole")
    return judge_pass("a forced call is the same streamed and whole")


async def _judge_left_in_text(host: AskedHost) -> CaseJudgement:
    """A call that stands in the text in the marks of the template, well-formed: the host has not parsed it."""
    answers = [
        await _ask_with_tools(host, prompt, stream=stream)
        for prompt in (_WEATHER_PROMPT, _CITIES_PROMPT)
        for stream in (False, True)
    ]
    marked = [answer for answer in answers if _LEAK in answer.flags]
    left = [answer for answer in marked if _holds_call(answer.text)]
    if len(left) >= _FEWEST_SEEN:
        return judge_fail(
            f"a well-formed call is left in the text of {len(left)} of 4 answers: {quote_text(left[0].text)}"
        )
    if marked:
        return judge_open(f"marks of a call stand in the text, which is none: {quote_text(marked[0].text)}")
    if not any(answer.calls for answer in answers):
        return judge_open("the model called no tool")
    return judge_pass("no call is left in a text")


def _holds_call(text: str) -> bool:
    named = any(name in text for name in OFFERED_NAMES)
    for found in _OBJECTS.findall(text):
        for candidate in (found, *found.splitlines()):
            try:
                value = json.loads(candidate)
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict) and (_names_offered_tool(value) or named):
                return True
    return False


def _names_offered_tool(value: Mapping[str, Any]) -> bool:
    return value.get("name") in OFFERED_NAMES and isinstance(value.get("arguments", value.get("parameters")), dict)


TOOL_CASES = (
    ContractCase(
        id="tools.named",
        family="tools",
        promise="tool_choice with a tool's name calls that tool, or is refused.",
        judge=_judge_named,
    ),
    ContractCase(
        id="tools.required",
        family="tools",
        promise="tool_choice required calls a tool, or is refused.",
        judge=_judge_required,
    ),
    ContractCase(id="tools.none", family="tools", promise="tool_choice none calls no tool.", judge=_judge_none),
    ContractCase(id="tools.auto", family="tools", promise="A tool is called where one is needed.", judge=_judge_auto),
    ContractCase(
        id="tools.arguments",
        family="tools",
        promise="The arguments of a forced call of a strict tool are the text of a JSON object that fits its schema.",
        judge=_judge_tool_arguments,
    ),
    ContractCase(id="tools.ids", family="tools", promise="Every call has an id of its own.", judge=_judge_ids),
    ContractCase(
        id="tools.finish_reason",
        family="tools",
        promise="An answer that calls of its own accord says finish_reason tool_calls.",
        judge=_judge_tool_reason,
    ),
    ContractCase(
        id="tools.parallel_off",
        family="tools",
        promise="parallel_tool_calls: false gives one call at most, or is refused.",
        judge=_judge_parallel,
    ),
    ContractCase(
        id="tools.stream_index",
        family="tools",
        promise="Pieces of streamed calls carry the index of their call.",
        judge=_judge_index,
    ),
    ContractCase(
        id="tools.streamed",
        family="tools",
        promise="A forced call is the same streamed and whole.",
        judge=_judge_tool_streamed,
    ),
    ContractCase(
        id="tools.left_in_text",
        family="tools",
        promise="A call that the model wrote well is parsed, and not left in the text.",
        judge=_judge_left_in_text,
    ),
)
