"""An endpoint in, whether its whole answers have the shape and the characters that clients rely on, out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tempzero.contract.asked_host import AskedHost
from tempzero.contract.case import CaseJudgement, ContractCase, judge_fail, judge_open, judge_pass
from tempzero.contract.promises.asked_texts import (
    COUNT_PROMPT,
    ECHO_PROMPT,
    ECHO_TEXT,
    YES_PROMPT,
    quote_text,
)
from tempzero.contract.wire_answer import RawAnswer
from tempzero.types.recorded import Flag

_LEAK: Flag = "template_leak"
_SEVERAL: Flag = "several_choices"
_FEWEST_SEEN = 2


async def _judge_message(host: AskedHost) -> CaseJudgement:
    answers = [await host.get(COUNT_PROMPT, tokens=96), await host.get(YES_PROMPT)]
    if any(answer.is_stream for answer in answers):
        return judge_fail("streamed where a whole answer was asked for")
    missing = Counter(word for answer in answers for word in _list_missing(answer))
    always = [word for word, count in missing.items() if count == len(answers)]
    if always:
        return judge_fail(f"its answers have {', '.join(always)}")
    return judge_pass("id, index, role and finish_reason are there")


def _list_missing(answer: RawAnswer) -> Iterator[str]:
    body = answer.bodies[0] if answer.bodies else {}
    choice = answer.choices[0][0] if 0 in answer.choices else {}
    message = choice.get("message")
    if not isinstance(body.get("id"), str) or not body.get("id"):
        yield "no id"
    if choice.get("index") != 0:
        yield "no choice with the index 0"
    if not isinstance(message, dict) or message.get("role") != "assistant":
        yield "no message with the role assistant"
    if not isinstance(choice.get("finish_reason"), str) or not choice.get("finish_reason"):
        yield "no finish_reason"


async def _judge_one_choice(host: AskedHost) -> CaseJudgement:
    answers = [await host.get(COUNT_PROMPT, tokens=96), await host.get(YES_PROMPT)]
    counts = [answer.choice_count for answer in answers]
    if all(count > 1 for count in counts):
        return judge_fail(f"sent {max(counts)} choices where n was not asked for")
    return judge_pass("one choice")


async def _judge_characters(host: AskedHost) -> CaseJudgement:
    whole = (await host.get(ECHO_PROMPT, tokens=64)).text
    streamed = (await host.get(ECHO_PROMPT, tokens=64, stream=True)).text
    for name, text in (("", whole), ("streamed, ", streamed)):
        garbled = _find_garbled(text)
        if garbled is not None:
            return judge_fail(f"{name}it wrote {quote_text(garbled)}: characters were encoded twice")
        if ("&lt;" in text or "&amp;" in text) and "a < b" not in text:
            return judge_fail(f"{name}it wrote {quote_text(text)}: < and & were escaped as for a web page")
    if "\ufffd" in streamed and "\ufffd" not in whole:
        return judge_fail(f"streamed, characters come broken ({quote_text(streamed)}); whole they do not")
    known = [ECHO_TEXT in text for text in (whole, streamed)]
    return judge_pass("came back as it was sent") if all(known) else judge_open("the model did not repeat the line")


def _find_garbled(text: str) -> str | None:
    """A word of the line as it reads where its UTF-8 was taken for a single-byte encoding."""
    for word in ("Zürich", "Kraków", "café"):
        for coding in ("latin-1", "cp1252"):
            twice = word.encode().decode(coding, errors="replace")
            if twice in text:
                return twice
    return None


async def _judge_leaks(host: AskedHost) -> CaseJudgement:
    """Of every answer: a mark that closes turns or channels is the host's to take out."""
    answered = [answer for answer in host.ledger.answers if answer.is_answer]
    leaking = [answer for answer in answered if _LEAK in answer.flags]
    if not answered:
        return judge_open("nothing was answered")
    if not leaking:
        return judge_pass(f"no mark of a chat template in {len(answered)} answers")
    quoted = quote_text(leaking[0].text or leaking[0].reasoning)
    words = f"marks of the chat template stand in {len(leaking)} of {len(answered)} answers, as in {quoted}"
    # A mark of tool calls alone may be a call that the model wrote badly: tools.left_in_text tells.
    of_turns = [answer for answer in leaking if not _is_of_calls(answer.text)]
    return judge_fail(words) if len(of_turns) >= _FEWEST_SEEN else judge_open(words)


def _is_of_calls(text: str) -> bool:
    return any(mark in text for mark in ("tool_call", "TOOL_CALLS", "<function=", "arg_key", "tool_response"))


async def _judge_empty(host: AskedHost) -> CaseJudgement:
    """Of every answer: tokens that were counted and not sent."""
    answered = [answer for answer in host.ledger.answers if answer.is_answer]
    empty = [
        answer
        for answer in answered
        if answer.kind == "empty" and (answer.output_tokens or 0) > 1 and not answer.calls and not host.thinks
    ]
    if not answered:
        return judge_open("nothing was answered")
    if len(empty) > max(_FEWEST_SEEN - 1, len(answered) // 20):
        return judge_fail(f"{len(empty)} of {len(answered)} answers were empty, with tokens counted for each")
    return judge_pass(f"{len(answered) - len(empty)} of {len(answered)} answers hold something")


async def _judge_reasoning_apart(host: AskedHost) -> CaseJudgement:
    """Of every answer: reasoning that stands in its own field and in the text once more."""
    shown = [answer for answer in host.ledger.answers if len(answer.reasoning.split()) >= 4]
    twice = [answer for answer in shown if answer.reasoning.strip() in answer.text]
    if not shown:
        return judge_pass("no reasoning was shown")
    if len(twice) >= _FEWEST_SEEN and 2 * len(twice) > len(shown):
        return judge_fail(f"in {len(twice)} of {len(shown)} answers the reasoning stands in the text as well")
    return judge_pass(f"reasoning stands apart from the text in {len(shown) - len(twice)} of {len(shown)} answers")


SHAPE_CASES = (
    ContractCase(
        id="shape.message",
        family="shape",
        promise="A whole answer has an id, a choice of index 0, a message of the assistant and a finish_reason.",
        judge=_judge_message,
    ),
    ContractCase(
        id="shape.one_choice",
        family="shape",
        promise="Where n is not asked for there is one choice.",
        judge=_judge_one_choice,
    ),
    ContractCase(
        id="shape.characters",
        family="shape",
        promise="Characters beyond ASCII, < and & come as they are, whole and streamed.",
        judge=_judge_characters,
    ),
    ContractCase(
        id="shape.template_marks",
        family="shape",
        promise="No mark of the chat template is left in a text.",
        judge=_judge_leaks,
        reads_all=True,
    ),
    ContractCase(
        id="shape.nothing_lost",
        family="shape",
        promise="An answer whose tokens are counted holds something.",
        judge=_judge_empty,
        reads_all=True,
    ),
    ContractCase(
        id="shape.reasoning_apart",
        family="shape",
        promise="Reasoning that has a field of its own is not in the text as well.",
        judge=_judge_reasoning_apart,
        reads_all=True,
    ),
)
