"""Tallies of answers to prompts with tools or a response format in; what is called, and what form is kept, out.

What counts is what a program behind the API would get: calls that were parsed as such, arguments that are JSON and fit
the schema that was offered, a content that is the JSON it was to be. Nothing is repaired.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tempzero import stats
from tempzero.analysis.book import Book
from tempzero.analysis.pair_figures import Pair
from tempzero.analysis.part_counts import NOT_SAID
from tempzero.analysis.provider_figures import provider_subject
from tempzero.analysis.tallies import Tally
from tempzero.analysis.texts import Texts
from tempzero.answers.chat_messages import canonical_arguments, parse_calls, refuse_constant, refuse_duplicate_keys
from tempzero.answers.message_parts import find_leak
from tempzero.config import join_fields
from tempzero.extractors.json_schema import find_schema_problem, fits_schema
from tempzero.extractors.tool_call import NO_CALL, expected_tool_names
from tempzero.metrics import cell_averages
from tempzero.metrics.agreement import Floats, Ints
from tempzero.types.asked import Prompt
from tempzero.types.vocabulary import PAIR_KINDS, Metric

_WITH_TOOLS = "no prompt that offers tools was answered"
_CALLED = "no answer to a prompt that offers tools calls one"
_WITH_FORMAT = "no prompt that asks for a JSON format was answered"
_EXPECTED = "no prompt with an expected call was answered"
_VERIFIERS = "K2-Vendor-Verifier; MiniMax-Provider-Verifier"

CALLED_SHARE = Metric(
    name="called_share",
    unit="share",
    kinds=("calls",),
    title="Calls a tool",
    definition="Share of the answers to prompts that offer tools in which a tool is called.",
    source="counted",
    one_means="every such answer calls a tool",
    undefined=_WITH_TOOLS,
)
LEFT_IN_TEXT = Metric(
    name="calls_left_in_text",
    unit="share",
    kinds=("calls",),
    title="Marks left in the text",
    definition="Share of the answers to prompts that offer tools in whose text a mark of calls or of the chat template "
    "is left (<tool_call>, [TOOL_CALLS], <|channel|> ...) that the prompt does not hold.",
    source="counted",
    one_means="every such answer leaks marks into its text",
    undefined=_WITH_TOOLS,
)
UNINDEXED = Metric(
    name="calls_unindexed",
    unit="share",
    kinds=("calls",),
    title="Calls without their index",
    definition="Share of the answers that call tools whose streamed pieces came without the index of their call, or "
    "several calls under one, so that clients join them wrongly. Of answers given whole it is 0.",
    source="counted (`tool_index_missing`)",
    one_means="no streamed call can be put together by its index",
    undefined=_CALLED,
)
ARGUMENTS_PARSED = Metric(
    name="arguments_parsed",
    unit="share",
    kinds=("calls",),
    title="Arguments are JSON",
    definition="Share of the answers that call tools in which the arguments of every call are one JSON object.",
    source="counted",
    one_means="all arguments can be read",
    undefined=_CALLED,
)
CALLS_VALID = Metric(
    name="calls_valid",
    unit="share",
    kinds=("calls",),
    title="Calls fit the schema",
    definition="Share of the answers that call tools in which every call names a tool that was offered, with arguments "
    "that its schema allows.",
    source=f"{_VERIFIERS} (schema accuracy)",
    one_means="every call could be carried out",
    undefined=_CALLED,
)
RIGHT_TOOL = Metric(
    name="right_tool",
    unit="share",
    kinds=("calls",),
    title="The right tool",
    definition="Share of the answers to prompts with an expected call that call the expected tools, in their order, or "
    "none where none is right; whatever the arguments.",
    source="prompts with an expected call",
    one_means="the right tool every time",
    undefined=_EXPECTED,
)
RIGHT_CALL = Metric(
    name="right_call",
    unit="share",
    kinds=("calls",),
    title="The right arguments",
    definition="The same with the expected arguments, compared as JSON values.",
    source="prompts with an expected call",
    one_means="the expected call every time",
    undefined=_EXPECTED,
)
JSON_PARSED = Metric(
    name="json_parsed",
    unit="share",
    kinds=("calls",),
    title="Answers in JSON",
    definition="Share of the answers to requests with a JSON response_format whose whole content is JSON, without a "
    "fence or a word around it.",
    source="counted",
    one_means="the format is kept every time",
    undefined=_WITH_FORMAT,
)
JSON_VALID = Metric(
    name="json_valid",
    unit="share",
    kinds=("calls",),
    title="JSON fits the schema",
    definition="Share of the answers to requests with a json_schema whose content is JSON that the schema allows.",
    source="counted",
    one_means="the schema is kept every time",
    undefined="no request with a json_schema was answered",
)
CALL_F1 = Metric(
    name="call_f1",
    unit="share",
    kinds=PAIR_KINDS,
    title="Calls when the other does (F1)",
    definition="F1 of calling any tool at all, the other's calls taken for right: 2 TP / (2 TP + FP + FN) over the "
    "prompts that offer tools; of several repeats their shares. Against an official endpoint as the reference this is "
    "what vendor verifiers print.",
    source=_VERIFIERS,
    one_means="both call tools on the same prompts",
    undefined=_WITH_TOOLS,
)
CALL_METRICS: tuple[Metric, ...] = (
    CALLED_SHARE,
    LEFT_IN_TEXT,
    UNINDEXED,
    ARGUMENTS_PARSED,
    CALLS_VALID,
    RIGHT_TOOL,
    RIGHT_CALL,
    JSON_PARSED,
    JSON_VALID,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class CallReading:
    """What one answer calls: tools by name, and 1, 0, or NaN where nothing can be said."""

    names: tuple[str, ...]
    parsed: float
    valid: float


def enter_call_figures(book: Book, tally: Tally, texts: Texts, prompts: Sequence[Prompt]) -> None:
    """Figures of the prompts that offer tools or ask for a format; nothing where there are none."""
    subject = provider_subject(tally, "calls")
    if any(prompt.tools for prompt in prompts):
        read = {text: read_calls(texts, text, prompts) for text in _list_texts(tally, texts, prompts, _offers_tools)}
        book.add(subject, CALLED_SHARE, _mean_over(tally, {text: float(bool(r.names)) for text, r in read.items()}))
        left = {text: float(_holds_marks(texts, text, prompts)) for text in read}
        book.add(subject, LEFT_IN_TEXT, _mean_over(tally, left))
        calling = {text: r for text, r in read.items() if r.names}
        if calling:
            book.add(subject, UNINDEXED, _mean_over(tally, dict.fromkeys(calling, 1.0), tally.lane.unindexed))
            book.add(subject, ARGUMENTS_PARSED, _mean_over(tally, {text: r.parsed for text, r in calling.items()}))
            book.add(subject, CALLS_VALID, _mean_over(tally, {text: r.valid for text, r in calling.items()}))
        expected = {text: r for text, r in read.items() if _expects_call(prompts[int(texts.prompt[text])])}
        if expected:
            right = {text: float(_names_are_right(r, prompts[int(texts.prompt[text])])) for text, r in expected.items()}
            book.add(subject, RIGHT_TOOL, _mean_over(tally, right))
            book.add(subject, RIGHT_CALL, _mean_over(tally, {text: float(texts.correct[text]) for text in expected}))
    _enter_format_figures(book, tally, texts, prompts)


def enter_call_agreement(book: Book, pair: Pair, texts: Texts, prompts: Sequence[Prompt]) -> None:
    """Whether two call tools on the same prompts; nothing where no prompt offers any."""
    sides = []
    for tally in (pair.left, pair.right):
        read = {text: read_calls(texts, text, prompts) for text in _list_texts(tally, texts, prompts, _offers_tools)}
        sides.append(_mean_over(tally, {text: float(bool(r.names)) for text, r in read.items()}))
    left, right = sides
    known = ~(np.isnan(left) | np.isnan(right))
    if known.any():
        estimate = stats.ratio_over_prompts(2 * left[known] * right[known], left[known] + right[known])
        book.put(pair.subject_of("whole"), CALL_F1, estimate)


def _enter_format_figures(book: Book, tally: Tally, texts: Texts, prompts: Sequence[Prompt]) -> None:
    """Of the requests that ask for JSON, by whichever of provider, prompt and condition said so."""
    over: Mapping[str, Any] = json.loads(tally.lane.asked_fields)
    formats = [_find_format(join_fields(tally.lane.provider.fields, p.body or p.request, over)) for p in prompts]
    if not any(formats):
        return
    subject = provider_subject(tally, "calls")
    asked = _list_texts(tally, texts, prompts, lambda prompt: True)
    parsed, valid = dict[int, float](), dict[int, float]()
    for text in asked:
        wanted = formats[int(texts.prompt[text])]
        if wanted is None:
            continue
        value, is_json = _parse_json(texts.answer_text[text])
        parsed[text] = float(is_json and (isinstance(value, dict) or wanted.schema is not None))
        if wanted.schema is not None:
            valid[text] = float(is_json and fits_schema(value, wanted.schema))
    book.add(subject, JSON_PARSED, _mean_over(tally, parsed))
    if any(wanted is not None and wanted.schema is not None for wanted in formats):
        book.add(subject, JSON_VALID, _mean_over(tally, valid))


@dataclass(frozen=True, kw_only=True, slots=True)
class _WantedFormat:
    """A JSON format; `schema` as JSON, None where any object will do."""

    schema: str | None


def _find_format(fields: Mapping[str, Any]) -> _WantedFormat | None:
    asked = fields.get("response_format")
    if not isinstance(asked, Mapping):
        return None
    if asked.get("type") == "json_object":
        return _WantedFormat(schema=None)
    named = asked.get("json_schema")
    schema = named.get("schema") if asked.get("type") == "json_schema" and isinstance(named, Mapping) else None
    if not isinstance(schema, Mapping) or find_schema_problem(schema) is not None:
        return None
    return _WantedFormat(schema=json.dumps(schema))


def _parse_json(text: str) -> tuple[Any, bool]:
    try:
        return json.loads(text, object_pairs_hook=refuse_duplicate_keys, parse_constant=refuse_constant), True
    except (ValueError, RecursionError):
        return None, False


def _list_texts(tally: Tally, texts: Texts, prompts: Sequence[Prompt], wanted: Callable[[Prompt], bool]) -> list[int]:
    """The distinct whole answers of a provider to such prompts."""
    rows = (tally.lane.answered == 1) & (tally.lane.text != NOT_SAID)
    found = np.unique(tally.lane.text[rows]).tolist()
    return [text for text in found if wanted(prompts[int(texts.prompt[text])])]


def _holds_marks(texts: Texts, text: int, prompts: Sequence[Prompt]) -> bool:
    asked = "\n".join(message.content for message in prompts[int(texts.prompt[text])].messages)
    return find_leak(texts.answer_text[text], asked) is not None


def _offers_tools(prompt: Prompt) -> bool:
    return bool(prompt.tools)


def _expects_call(prompt: Prompt) -> bool:
    return prompt.extractor is not None and prompt.extractor.name == "tool_call" and prompt.expected is not None


def _names_are_right(read: CallReading, prompt: Prompt) -> bool:
    wanted = () if prompt.expected == NO_CALL else expected_tool_names(prompt.expected or "")
    return read.names == wanted


def _mean_over(tally: Tally, values: Mapping[int, float], weight: Ints | None = None) -> Floats:
    """The mean of each prompt's answers that have a value; `weight`, by response, is what each value is taken times."""
    lane = tally.lane
    of_text = np.full(2 + max(int(lane.text.max(initial=0)), *values, 0), np.nan)  # the last stands for no text
    of_text[list(values)] = list(values.values())
    given = np.where(lane.answered == 1, of_text[lane.text], np.nan)
    if weight is not None:
        given = given * weight
    return cell_averages.mean_by_cell(lane.prompt, given, cells=len(tally.emr))


def read_calls(texts: Texts, text: int, prompts: Sequence[Prompt]) -> CallReading:
    """What an answer calls, and whether a program could carry it out."""
    calls = parse_calls(texts.answer_text[text])
    if not calls:
        return CallReading(names=(), parsed=np.nan, valid=np.nan)
    offered = {
        tool["function"]["name"]: tool["function"].get("parameters", {})
        for tool in prompts[int(texts.prompt[text])].tools
        if isinstance(tool.get("function"), Mapping) and isinstance(tool["function"].get("name"), str)
    }
    arguments = [canonical_arguments(call.arguments) for call in calls]
    pairs = list(zip(calls, arguments, strict=True))
    known = [_judge_arguments(offered.get(call.name), given) for call, given in pairs]
    return CallReading(
        names=tuple(call.name for call in calls),
        parsed=float(None not in arguments),
        valid=0.0 if 0.0 in known else float(np.mean(known)),
    )


def _judge_arguments(schema: Any, arguments: str | None) -> float:
    """1 where they fit, 0 where not or where no such tool was offered, NaN where the offered schema is none."""
    if schema is None or arguments is None:
        return 0.0
    if not isinstance(schema, Mapping) or find_schema_problem(schema) is not None:
        return float("nan")
    return float(fits_schema(json.loads(arguments), json.dumps(schema)))
