"""Rows and a Recipe in, Answers out: one for each response that a foreign table holds, every field in its own type."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from tempzero.answers.message_parts import join_reasoning_list, read_reasoning_fields, split_content_list
from tempzero.errors import ExchangeError
from tempzero.exchange.expressions import (
    Cells,
    Expression,
    FilePlace,
    Getter,
    as_label,
    bind_expression,
    find_star_matches,
    quote_for_shell,
)
from tempzero.exchange.recipe import Recipe
from tempzero.exchange.table_reading import CONTENT_COLUMN, Row, foreign_to_canonical_json, is_sound_text
from tempzero.types.asked import Message

# Words that stand for "nothing" or "all well" in columns of errors, refusals and cache marks.
_NOTHING_WORDS = frozenset(
    (
        *("", "none", "null", "nan", "n/a", "na", "-", "false", "no", "0", "0.0", "[]", "{}"),
        *("ok", "200", "success", "succeeded", "complete", "completed", "finished", "done", "valid"),
    )
)
_LONGEST_DETAIL = 300
# What stands around a row in a JSON document is kept as part of it.
_KEPT_ROW_FIELDS = ("@key", "@list", CONTENT_COLUMN)


# Not frozen: a million of them are made twice, and setting a frozen value's fields takes four times as long.
@dataclass(slots=True, kw_only=True)
class ForeignAnswer:
    """One response as another tool wrote it down; None is what it did not write.

    `cells` is the row it comes from, `match` the item of the row where it holds several.
    """

    file: str
    line: int
    cells: Cells
    match: str | None
    provider: str
    text: str | None = None
    prompt: str | None = None
    id: str | None = None
    condition: str | None = None
    repeat: str | None = None
    expected: str | None = None
    family: str | None = None
    model: str | None = None
    claims: str | None = None
    error: str | None = None
    refusal: str | None = None
    cached: str | None = None
    reasoning: str | None = None
    finish_reason: str | None = None
    served_model: str | None = None
    backend: str | None = None
    fingerprint: str | None = None
    response_id: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    total_tokens: int | None = None
    date: str = ""
    latency_s: float | None = None
    latency_ms: float | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    request: str | None = None

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"


class AnswerReader:
    """Reads the rows of one file."""

    def __init__(self, recipe: Recipe, place: FilePlace) -> None:
        self._place = place
        self._fields: Collection[str] = recipe.fields
        self._text = recipe.fields["text"]
        self._star = self._text if self._text.starred else None
        self._all: list[tuple[str, Getter, Callable[[Any], Any]]] = [
            (name, bind_expression(e, name, place), FIELD_PARSERS.get(name, cell_as_label))
            for name, e in recipe.fields.items()
        ]
        self._get = self._all
        self._where = [(bind_expression(w.expression, "--where", place), w) for w in recipe.where]
        # The question beside the answers is not one more of them.
        self._taken = frozenset(c for e in recipe.fields.values() if not e.starred for c in e.columns)
        self._taken |= frozenset(recipe.ignored)
        self._matches: list[str] = []
        # What a star stands for may be another provider or question, and then no repeat.
        self._told_apart = any("@match" in e.paths for name, e in recipe.fields.items() if name != "repeat")
        self._wants_line = any("@line" in e.paths for e in recipe.fields.values())

    def narrow(self, fields: Collection[str]) -> None:
        """Read no other fields from here on."""
        if fields is not self._fields:
            self._fields = fields
            self._get = [entry for entry in self._all if entry[0] in fields]

    def answers(self, row: Row) -> Iterator[ForeignAnswer]:
        """One answer, or one for each item that the `*` of the text stands for. Raises ExchangeError."""
        cells = {**row.cells, "@line": row.line} if self._wants_line else row.cells
        if not all(where.fits(get(cells)) for get, where in self._where):
            return
        if self._star is None:
            yield self._answer(cells, row.line, None)
            return
        matches = find_star_matches(self._star, cells, taken=self._taken)
        if matches != self._matches and not self._told_apart:
            _require_one_kind(self._star.written, matches, self._place.name)
            self._matches = matches
        for match in matches:
            yield self._answer({**cells, "@match": match}, row.line, match)

    def _answer(self, cells: Cells, line: int, match: str | None) -> ForeignAnswer:
        values: dict[str, Any] = {name: typed(get(cells)) for name, get, typed in self._get}
        if not values["provider"]:
            raise ExchangeError(
                f"{self._place.name}:{line}: no provider; map it, or name one with --map provider:=NAME"
            )
        if isinstance(values["text"], dict | list):
            offer = _offer_readings(self._text.written, values["text"])
            raise ExchangeError(f"{self._place.name}:{line}: {offer}")
        return ForeignAnswer(file=self._place.name, line=line, cells=cells, match=match, **values)


def _require_one_kind(written: str, matches: Sequence[str], file: str) -> None:
    """Beside answer_1 and answer_2 a column answer_time is no third answer."""
    numbered = [match for match in matches if any(sign.isdigit() for sign in match)]
    if "*" not in written.partition("[")[0] or not numbered or len(numbered) == len(matches):
        return
    names = [written.replace("*", match, 1) for match in matches]
    others = [name for name, match in zip(names, matches, strict=True) if match not in numbered]
    ignore = quote_for_shell("ignore=" + "+".join(others))
    raise ExchangeError(
        f"{file}: text={written} takes {', '.join(names[:6])} for repeats of one answer, but {', '.join(others[:4])} "
        f"without a number: leave out what is no answer with --map {ignore}, or give it a number if it is one"
    )


# Names under which an answer often stands inside an object.
_USUAL_TEXT_FIELDS = ("text", "content", "response", "answer", "output", "completion", "generation", "message", "code")


def _offer_readings(written: str, value: Any) -> str:
    """What an object or a list may be meant as, each with the mapping that says so: only its owner knows."""
    if isinstance(value, list):
        each = f"text={written}[*]"
        if value and all(isinstance(item, dict) for item in value):
            each = f"{each}.{_likely_text_field(value[0])}"
        return (
            f"the text is a JSON list of {len(value)}: is it one answer? then --map text={written}[]; or is each item "
            f"an answer of its own, a repeat? then --map {each}"
        )
    head, star, _ = written.partition("[*]")
    together = f", or the whole list as one answer: --map text={head}[]" if star else ""
    fields = ", ".join(list(value)[:12]) + (", ..." if len(value) > 12 else "")
    field = _likely_text_field(value)
    return (
        f"the text is a JSON object with {fields or 'nothing in it'}: say which of them is the answer, e.g. "
        f"--map text={written}.{field}, or take it whole, whatever else it holds: --map text={written}[]{together}"
    )


def _likely_text_field(value: Mapping[str, Any]) -> str:
    named = [name for name in _USUAL_TEXT_FIELDS if name in value]
    texts = [name for name, inner in value.items() if isinstance(inner, str)]
    return (named or texts or list(value) or ["FIELD"])[0]


# --- values ----------------------------------------------------------------------------------


def parse_remark(value: Any) -> str | None:
    """What a column of errors, refusals or marks says; None where it says nothing, or that all is well."""
    if value is None or value is False or value == 0 or value == {} or value == []:
        return None
    text = value if isinstance(value, str) else foreign_to_canonical_json(value)
    if text.strip().casefold() in _NOTHING_WORDS:
        return None
    return " ".join(text.split())[:_LONGEST_DETAIL]


def parse_refusal(value: Any) -> str | None:
    """What a column of refusals says, letter by letter: the words are part of the answer. None as for a remark."""
    if parse_remark(value) is None:
        return None
    return value if isinstance(value, str) else foreign_to_canonical_json(value)


def parse_reasoning(value: Any) -> str | None:
    """Reasoning as a text, also where it is a list of parts; None where there is none."""
    if isinstance(value, list | dict):
        parts = split_content_list([value] if isinstance(value, dict) else value)
        return join_reasoning_list(value) or (parts and parts.reasoning) or foreign_to_canonical_json(value)
    return cell_as_label(value)


def parse_whole_number(value: Any) -> int | None:
    """A whole number that is not negative, else None."""
    found = parse_number(value)
    if found is None or found < 0 or found > 2**53 or found != int(found):
        return None
    return int(found)


def parse_number(value: Any) -> float | None:
    """A finite number, written as one or as text, else None."""
    if value is None or value == "" or isinstance(value, bool):
        return None
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if found - found == 0 else None


_TIMESTAMP = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T_ ](\d\d)[:-](\d\d)(?:[:-](\d\d)(\.\d{1,6})?\d*)?\s*(Z|[+-]\d\d:?\d\d)?)?"
)


def parse_timestamp(value: Any) -> str:
    """A date and time as ISO 8601 where it is written without doubt (year first, or seconds since 1970), else ""."""
    seconds = parse_number(value)
    if seconds is not None:
        return _epoch_to_iso(seconds)
    if isinstance(value, datetime):
        value = value.isoformat()
    return _parse_written_timestamp(value) if isinstance(value, str) else ""


@lru_cache(maxsize=4096)
def _parse_written_timestamp(value: str) -> str:
    found = _TIMESTAMP.fullmatch(value.strip())
    if found is None:
        return ""
    day, hour, minute, second, fraction, zone = found.groups()
    text = (
        f"{day}T{hour or '00'}:{minute or '00'}:{second or '00'}{fraction or ''}{(zone or '').replace('Z', '+00:00')}"
    )
    try:
        return datetime.fromisoformat(text).isoformat()
    except ValueError:
        return ""


def _epoch_to_iso(seconds: float) -> str:
    if seconds > 1e11:  # milliseconds
        seconds /= 1000
    if not 1e9 < seconds < 1e10:
        return ""
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat()


def _cell_as_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else foreign_to_canonical_json(value)


def _cell_as_text_or_nested(value: Any) -> Any:
    return value if isinstance(value, dict | list) else _cell_as_text(value)


def cell_as_label(value: Any) -> str | None:
    """A cell as a name or a part of a key; None of an empty one."""
    return (value if isinstance(value, str) else as_label(value)) or None


FIELD_PARSERS: Mapping[str, Callable[[Any], Any]] = {
    "text": _cell_as_text_or_nested,
    "prompt": _cell_as_text,
    "request": _cell_as_text,
    "error": parse_remark,
    "refusal": parse_refusal,
    "reasoning": parse_reasoning,
    "cached": parse_remark,
    "date": parse_timestamp,
    "prompt_tokens": parse_whole_number,
    "completion_tokens": parse_whole_number,
    "reasoning_tokens": parse_whole_number,
    "total_tokens": parse_whole_number,
    "seed": parse_whole_number,
    "max_tokens": parse_whole_number,
    "latency_s": parse_number,
    "latency_ms": parse_number,
    "temperature": parse_number,
    "top_p": parse_number,
}


# --- prompts ---------------------------------------------------------------------------------

_ROLES: Mapping[str, str] = {"developer": "system", "human": "user", "model": "assistant", "_input": "system"}


@lru_cache(maxsize=256)
def parse_messages(prompt: str | None) -> tuple[Message, ...]:
    """Chat messages where the prompt is a JSON list of them, else the prompt as the user's words."""
    if prompt is None:
        return ()
    if prompt[:1] == "[" and (found := _parse_chat_list(prompt)):
        return found
    return (Message(role="user", content=prompt),)


def _parse_chat_list(prompt: str) -> tuple[Message, ...]:
    try:
        value = json.loads(prompt)
    except (ValueError, RecursionError):
        return ()
    found = [_parse_chat_message(item) for item in value] if isinstance(value, list) else [None]
    return tuple(m for m in found if m is not None) if all(found) else ()


def _parse_chat_message(item: Any) -> Message | None:
    if not isinstance(item, dict) or not isinstance(item.get("role"), str):
        return None
    role = _ROLES.get(item["role"], item["role"])
    content = plain_content(item.get("content"))
    if (
        content is None
        or not is_sound_text(content)
        or role not in ("system", "user", "assistant")
        or item.get("tool_calls")
    ):
        return None
    return Message(role=role, content=content)  # type: ignore[arg-type]


def answer_content(content: Any) -> str | None:
    """The text of an answer's content; its reasoning and its refusal are other parts of the answer."""
    parts = split_content_list(content)
    return plain_content(content) if parts is None else parts.text


def find_reasoning(message: Mapping[str, Any]) -> str | None:
    """The reasoning of an answer: a field, a list of details, or parts of the content."""
    found, parts = read_reasoning_fields(message), split_content_list(message.get("content"))
    return found[1] if found else parts.reasoning or None if parts else None


def find_refusal(message: Mapping[str, Any]) -> Any:
    """What is said of a refusal, in a field or as parts of the content."""
    parts = split_content_list(message.get("content"))
    return message.get("refusal") or (parts.refusal or None if parts else None)


def plain_content(content: Any) -> str | None:
    """A message's content: text, or the text of its parts; None where a part is something else."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    parts = [
        p.get("text") if isinstance(p, dict) and p.get("type", "text") in ("text", "output_text") else None
        for p in content
    ]
    return "".join(p for p in parts if p is not None) if all(isinstance(p, str) for p in parts) else None


# --- what is kept of a row -------------------------------------------------------------------


def make_row_serializer(recipe: Recipe) -> Callable[[ForeignAnswer], str]:
    """How an answer's row is kept: canonical JSON of its cells but those that stand in the request already.

    Of several items that one row holds, each answer keeps its own.
    """
    left_out = find_columns_of_request(recipe)
    if recipe.fields["text"].starred:
        return lambda answer: foreign_to_canonical_json(_drop_sibling_items(answer, recipe.fields, left_out))
    return lambda answer: foreign_to_canonical_json(
        {k: v for k, v in answer.cells.items() if is_kept_column(k, left_out)}
    )


def is_kept_column(name: str, left_out: Collection[str]) -> bool:
    """Whether a cell is kept with its answer: not what stands in the request, nor what the reading put there."""
    return name not in left_out and (name[:1] != "@" or name in _KEPT_ROW_FIELDS)


def find_columns_of_request(recipe: Recipe) -> frozenset[str]:
    """The columns that stand in the request, and are not kept in the row once more."""
    return _whole_columns(recipe.fields.get("prompt")) | _whole_columns(recipe.fields.get("request"))


def _whole_columns(source: Expression | None) -> frozenset[str]:
    paths: Sequence[str] = source.paths if source is not None and source.pattern is None else ()
    return frozenset(p for p in paths if not re.search(r"[.\[*]", p))


def _drop_sibling_items(
    answer: ForeignAnswer, fields: Mapping[str, Expression], left_out: frozenset[str]
) -> dict[str, Any]:
    """The row without its siblings: the list that `*` went through holds one item, other columns that fit are gone."""
    cells = {k: v for k, v in answer.cells.items() if is_kept_column(k, left_out)}
    for path in (p for e in fields.values() if e.starred for p in e.paths if "*" in p):
        head, inside, _ = path.partition("[*]")
        if inside and head in cells and isinstance(cells[head], list):
            cells[head] = [cells[head][int(answer.match or 0)]] if len(cells[head]) > 1 else cells[head]
        elif not inside:
            pattern = re.compile(re.escape(path).replace(r"\*", ".*"))
            own = path.replace("*", answer.match or "", 1)
            cells = {k: v for k, v in cells.items() if k == own or not pattern.fullmatch(k)}
    cells["@match"] = answer.match
    return cells
