"""An endpoint in, whether response_format is held where it is taken, out."""

from __future__ import annotations

import json
from typing import Any

from tempzero.contract.asked_host import AskedHost
from tempzero.contract.case import CaseJudgement, ContractCase, judge_fail, judge_open, judge_pass
from tempzero.contract.promises.asked_texts import quote_text
from tempzero.contract.wire_answer import RawAnswer
from tempzero.extractors.json_schema import fits_schema

_TOKENS = 160
# Without JSON mode nobody answers this with an object; with it nobody can do otherwise.
_MODE_PROMPT = (
    'Say good morning in one plain sentence, without quotes. Only if you must answer in JSON, use {"text": ...}.'
)
# What the schema asks for is nothing that the question would bring about.
_SCHEMA_PROMPT = "Describe the sky this evening in one plain sentence. Only if you must, answer in JSON."
_SCHEMA = {
    "type": "object",
    "properties": {"mood": {"type": "string", "enum": ["azure-17", "umber-23"]}, "lines": {"type": "integer"}},
    "required": ["mood", "lines"],
    "additionalProperties": False,
}
_MODE = {"response_format": {"type": "json_object"}}
_BY_SCHEMA = {
    "response_format": {"type": "json_schema", "json_schema": {"name": "sky", "strict": True, "schema": _SCHEMA}}
}


async def _judge_mode(host: AskedHost) -> CaseJudgement:
    return _judge_object(await host.get(_MODE_PROMPT, tokens=_TOKENS, fields=_MODE), "response_format json_object")


async def _judge_streamed_mode(host: AskedHost) -> CaseJudgement:
    answer = await host.get(_MODE_PROMPT, tokens=_TOKENS, fields=_MODE, stream=True)
    return _judge_object(answer, "streamed, response_format json_object")


def _judge_object(answer: RawAnswer, what: str) -> CaseJudgement:
    text = answer.text.strip()
    if not text or (answer.is_cut and text.startswith("{")):
        return judge_open("no whole answer was seen")
    if isinstance(_parse_whole_json(text), dict):
        return judge_pass(f"{what} gives a JSON object")
    if text.startswith("```"):
        return judge_fail(f"{what} was taken, and the object stands in a fence: {quote_text(text)}")
    return judge_fail(f"{what} was taken, and no JSON object came: {quote_text(text)}")


async def _judge_schema(host: AskedHost) -> CaseJudgement:
    answer = await host.get(_SCHEMA_PROMPT, tokens=_TOKENS, fields=_BY_SCHEMA)
    text = answer.text.strip()
    if not text or (answer.is_cut and text.startswith("{")):
        return judge_open("no whole answer was seen")
    value = _parse_whole_json(text)
    if value is None:
        return judge_fail(f"a strict json_schema was taken, and no JSON came: {quote_text(text)}")
    if not fits_schema(value, json.dumps(_SCHEMA)):
        return judge_fail(f"a strict json_schema was taken, and the answer does not fit it: {quote_text(text)}")
    return judge_pass("a strict json_schema is held")


def _parse_whole_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


FORMAT_CASES = (
    ContractCase(
        id="formats.json_object",
        family="formats",
        promise="response_format json_object gives a JSON object and nothing around it, or is refused.",
        judge=_judge_mode,
    ),
    ContractCase(
        id="formats.streamed",
        family="formats",
        promise="response_format holds for streams too.",
        judge=_judge_streamed_mode,
    ),
    ContractCase(
        id="formats.json_schema",
        family="formats",
        promise="A strict json_schema gives an answer that fits it, or is refused.",
        judge=_judge_schema,
    ),
)
