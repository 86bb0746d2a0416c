"""prompts/ (YAML, JSONL, CSV; a file or a folder) in, a Suite with its digest out; what is wrong is said by line."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

from tempzero.chat import wire_message
from tempzero.errors import SuiteError
from tempzero.extractors import EXTRACTORS, Extractor
from tempzero.suites.declared import expanded, generate
from tempzero.suites.files import (
    Declared,
    Entry,
    Place,
    SuiteProblem,
    kind,
    known_only,
    likely,
    prompt_files,
    read_entries,
)
from tempzero.suites.freezing import Lock, read_lock, refuse_changed, renewed, write_lock
from tempzero.suites.lint import Written, asked_twice, nearly_twice, remarks
from tempzero.suites.tools import check_expected_calls, json_value, tool_calls, tool_choice, tools
from tempzero.types.asked import ExtractorSpec, Message, Prompt, Suite, SuiteName, ToolCall

__all__ = ["NAMES", "digest", "freeze", "generate", "lint", "load"]

NAMES: tuple[SuiteName, ...] = get_args(SuiteName)
"""From small to large: each is part of the next, and the last is everything."""

_ROLES = ("system", "user", "assistant", "tool")
# Ids and families become parts of file names and table cells.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:+-]{0,99}")


def load(path: Path, name: SuiteName = "deep") -> Suite:
    """The prompts that a suite asks, of one file or of all prompt files under a folder, by name and then in order.

    Raises SuiteError with one line for each problem: file, line, path, what, and what would be right; and where
    the folder was frozen (`suites.lock`) and a suite is no longer what it was.
    """
    written = _read(path)
    prompts = [one.prompt for one in written]
    frozen = read_lock(path)
    if frozen is not None:
        refuse_changed(path, frozen, _lock(prompts, frozen))
    kept = _asked_by(name, prompts)
    if not kept:
        raise SuiteError(f"no prompt belongs to the suite {name}; say `suite: {name}` with those that do, or ask deep")
    asked = {prompt.id for prompt in kept}
    return Suite(
        prompts=tuple(kept),
        digest=digest(kept),
        name=name if path.is_dir() else None,
        version=frozen.suites[name].version if frozen else None,
        remarks=remarks([one for one in written if one.prompt.id in asked]),
    )


def lint(path: Path) -> tuple[str, ...]:
    """What makes a right answer change, and what is asked nearly twice: one line each. Raises SuiteError."""
    return _said_of(_read(path))


def _said_of(written: Sequence[Written]) -> tuple[str, ...]:
    return (*remarks(written), *nearly_twice(written))


def freeze(folder: Path) -> Lock:
    """Write down what the suites of a folder are: from now on `load` refuses to take anything else for them.

    A suite that has changed since it was frozen gets the next version. Raises SuiteError, also for what `lint` says.
    """
    if not folder.is_dir():
        raise SuiteError(f"{folder}: not a folder; a suite is frozen with all its files")
    written = _read(folder)
    said = _said_of(written)
    if said:
        raise SuiteError("\n".join((*said, f"{folder}: not frozen; put right what is said above")))
    lock = _lock([one.prompt for one in written], read_lock(folder))
    write_lock(folder, lock)
    return lock


def _lock(prompts: Sequence[Prompt], old: Lock | None) -> Lock:
    kept = {name: _asked_by(name, prompts) for name in NAMES}
    return renewed(
        old,
        {name: (digest(own), len(own)) for name, own in kept.items() if own},
        {prompt.id: digest([prompt])[:16] for prompt in prompts},
    )


def _asked_by(name: SuiteName, prompts: Iterable[Prompt]) -> list[Prompt]:
    asked = NAMES[: NAMES.index(name) + 1]
    return [prompt for prompt in prompts if prompt.suite in asked]


def _read(path: Path) -> list[Written]:
    """Every prompt under the path with its place. Raises SuiteError."""
    problems: list[str] = []
    written: list[Written] = []
    places: dict[str, Place] = {}
    for entry in _entries(path, problems):
        try:
            prompt = _prompt(entry)
            _refuse_duplicate(prompt.id, entry.place, places)
        except SuiteProblem as problem:
            problems.append(str(problem))
        else:
            written.append(Written(prompt=prompt, entry=entry))
    problems += asked_twice(written)
    if problems:
        raise SuiteError("\n".join(dict.fromkeys("\n".join(problems).splitlines())))
    if not written:
        raise SuiteError(f"{path}: holds no prompt; write at least one, e.g. {{id: sum, family: maths, prompt: ...}}")
    return written


def digest(prompts: Iterable[Prompt]) -> str:
    """SHA-256 over the exact messages and parameters of these prompts, in whatever order they come.

    Tags, margins, and which suites ask it, do not count. The version of a prompt's extractor does: it decides what an
    answer is.
    """
    values = [_identity(prompt) for prompt in sorted(prompts, key=lambda prompt: prompt.id)]
    canonical = json.dumps(values, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()


def _identity(prompt: Prompt) -> dict[str, Any]:
    spec = prompt.extractor
    # As texts: the order of a tool's keys is part of what the model sees, and sorting must not hide it.
    offered = {"tools": json.dumps(prompt.tools), "tool_choice": json.dumps(prompt.tool_choice)} if prompt.tools else {}
    return {
        **offered,
        "id": prompt.id,
        "messages": [_message_identity(message) for message in prompt.messages],
        "family": prompt.family,
        "extractor": spec and [spec.name, EXTRACTORS[spec.name].version, dict(spec.args)],
        "expected": prompt.expected,
        "max_tokens": prompt.max_tokens,
    }


def _message_identity(message: Message) -> list[Any]:
    plain = [message.role, message.content]
    called = message.tool_calls or message.tool_call_id is not None
    return [*plain, json.dumps(wire_message(message), sort_keys=True)] if called else plain


# --- one prompt ------------------------------------------------------------------------------


def _entries(path: Path, problems: list[str]) -> Iterable[Entry]:
    for file in prompt_files(path):
        try:
            for entry in read_entries(file):
                if isinstance(entry, SuiteProblem):
                    problems.append(str(entry))
                elif isinstance(entry, Declared):
                    yield from _expanded(entry, problems)
                else:
                    yield entry
        except SuiteProblem as problem:
            problems.append(str(problem))


def _expanded(declared: Declared, problems: list[str]) -> Iterable[Entry]:
    try:
        yield from expanded(declared)
    except SuiteProblem as problem:
        problems.append(str(problem))


def _prompt(entry: Entry) -> Prompt:
    """The entry as a prompt. Raises SuiteProblem with all that is wrong with it."""
    parsers: Mapping[str, Callable[[Entry], Any]] = {
        "id": lambda e: _name(e, "id"),
        "messages": _messages,
        "family": lambda e: _name(e, "family"),
        "extractor": _extractor,
        "max_tokens": _max_tokens,
        "tags": _tags,
        "suite": _suite,
        "tools": lambda e: tools(e.get("tools"), e.place_of("tools")),
        "tool_choice": lambda e: tool_choice(e.get("tool_choice"), e.get("tools"), e.place_of("tool_choice")),
        "margin": _margin,
    }
    values: dict[str, Any] = {}
    problems: list[str] = []
    for field, parse in parsers.items():
        try:
            values[field] = parse(entry)
            if field == "extractor":
                values["expected"] = _expected(entry, values["extractor"])
        except SuiteProblem as problem:
            problems.append(str(problem))
    if problems:
        raise SuiteProblem("\n".join(problems))
    prompt = Prompt(**values)
    check_expected_calls(prompt, entry.place)
    return prompt


def _refuse_duplicate(name: str, place: Place, places: dict[str, Place]) -> None:
    first = places.setdefault(name, place)
    if first is not place:
        place.key("id").refuse(f'"{name}" is taken by {first.key("id").where()}; ids must differ over all files')


def _name(entry: Entry, key: str) -> str:
    place = entry.place_of(key)
    if entry.get(key) is None:
        place.refuse("this key is needed" + (", here or once in the file's head" if key == "family" else ""))
    name = _text(entry.get(key), place)
    if not _NAME.fullmatch(name):
        place.refuse(f'"{name[:40]}" is no name; use letters, digits and . _ @ : + -, at most 100, e.g. sum-apples')
    return name


def _text(value: Any, place: Place) -> str:
    if not isinstance(value, str):
        place.refuse(f"expected text; found {kind(value)}" + ("" if value is None else " (put it in quotes)"))
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        place.refuse("holds half of a surrogate pair, which no request can carry; write the whole character")
    return value


# --- messages --------------------------------------------------------------------------------


def _messages(entry: Entry) -> tuple[Message, ...]:
    if "messages" in entry.own:
        for key in ("prompt", "system"):
            if key in entry.own:
                entry.place_of(key).refuse("cannot stand beside messages; put it there as a message")
        return _listed_messages(entry.own["messages"], entry.place_of("messages"))
    if "prompt" not in entry.own:
        entry.place_of("prompt").refuse("this key is needed (or messages: for several turns)")
    messages = [_message("user", entry.own["prompt"], entry.place_of("prompt"))]
    if "system" in entry.own:
        place = entry.place_of("system")
        if entry.own["system"] is None:
            place.refuse('found nothing; write "" for an empty system message, or leave the key out: they differ')
        messages.insert(0, _message("system", entry.own["system"], place))
    return tuple(messages)


def _listed_messages(value: Any, place: Place) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        found = "an empty list" if value == [] else kind(value)
        place.refuse(f"expected a list of messages; found {found}")
    messages: list[Message] = []
    for index, item in enumerate(value):
        at = place.key(index)
        fields = known_only(item, ("role", "content", "tool_calls", "tool_call_id"), at)
        calls = tool_calls(fields.get("tool_calls"), at.key("tool_calls"))
        for key in ("role", "content"):
            if key not in fields and not (key == "content" and calls):
                at.key(key).refuse("this key is needed")
        message = _message(fields["role"], fields.get("content", ""), at.key("content"), at.key("role"))
        messages.append(_with_calls(message, calls, fields.get("tool_call_id"), messages, at))
    if messages[-1].role not in ("user", "tool"):
        place.refuse(
            "the last message must be the user's or a tool's; some providers continue another one, some answer it"
        )
    return tuple(messages)


def _with_calls(
    message: Message, calls: tuple[ToolCall, ...], answers: Any, before: Sequence[Message], at: Place
) -> Message:
    """The message with what it calls, or with the call it answers: one of the assistant's message before it."""
    if calls and message.role != "assistant":
        at.key("tool_calls").refuse("only an assistant's message calls tools")
    if message.role != "tool":
        if answers is not None:
            at.key("tool_call_id").refuse("only a tool's message answers a call")
        return replace(message, tool_calls=calls)
    called = [m for m in before if m.role == "assistant"][-1:]
    ids = [call.id for m in called for call in m.tool_calls]
    if answers not in ids or before[-1].role not in ("assistant", "tool"):
        known = f"; that message calls {', '.join(map(str, ids))}" if ids else ""
        at.key("tool_call_id").refuse(f"must be the id of a call of the assistant's message before it{known}")
    return replace(message, tool_call_id=answers)


def _message(role: Any, content: Any, place: Place, role_place: Place | None = None) -> Message:
    if role not in _ROLES:
        (role_place or place).refuse(f"expected one of {', '.join(_ROLES)}; found {role!r:.40}")
    text = _text(content, place)
    # An empty system message is a prompt of its own kind; an empty question is a slip.
    if role == "user" and not text.strip():
        place.refuse("is empty; write what is asked")
    return Message(role=role, content=text)


# --- answers ---------------------------------------------------------------------------------


def _extractor(entry: Entry) -> ExtractorSpec | None:
    value, place = entry.get("extractor"), entry.place_of("extractor")
    if value is None:
        return None
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, dict) or "name" not in value:
        place.refuse("expected a name, or a mapping such as {name: json_field, field: city}")
    name = _text(value["name"], place)
    if name not in EXTRACTORS:
        place.refuse(f'unknown extractor "{name[:40]}"; {likely(name, EXTRACTORS)}')
    extractor = EXTRACTORS[name]
    parameters = (*extractor.parameters, *extractor.optional)
    known_only(value, ("name", *parameters), place)
    args = {key: _argument(extractor, key, value[key], place.key(key)) for key in parameters if key in value}
    _check_arguments(extractor, args, place)
    return ExtractorSpec(name=name, args=args)


def _argument(extractor: Extractor, key: str, value: Any, place: Place) -> str:
    """An argument as text; lists and mappings as JSON, with the keys in the order they are written in."""
    wanted = (extractor.structured or {}).get(key)
    if wanted is None:
        return _text(value, place)
    if not isinstance(value, wanted):
        place.refuse(f"expected {kind(wanted())}; found {kind(value)}")
    return json.dumps(json_value(value, place), ensure_ascii=False)


def _check_arguments(extractor: Extractor, args: Mapping[str, str], place: Place) -> None:
    for key in extractor.parameters:
        if key not in args:
            example = ", ".join(f"{parameter}: ..." for parameter in extractor.parameters)
            place.refuse(f"{extractor.name} needs {key}; write {{name: {extractor.name}, {example}}}")
    try:
        extractor.check(args)
    except ValueError as problem:
        place.refuse(str(problem))


def _expected(entry: Entry, spec: ExtractorSpec | None) -> str | None:
    value, place = entry.get("expected"), entry.place_of("expected")
    if value is None:
        return None
    expected = _text(value, place)
    if spec is None:
        place.refuse(f"needs an extractor that reads the answer; known: {', '.join(EXTRACTORS)}")
    if not EXTRACTORS[spec.name].can_state(expected, spec.args):
        place.refuse(
            f'extractor {spec.name} could never read "{expected[:40]}" from a response; '
            "write it as it is read, e.g. Paris, 42, B or yes"
        )
    return expected


def _max_tokens(entry: Entry) -> int | None:
    value = entry.get("max_tokens")
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        entry.place_of("max_tokens").refuse(f"expected a whole number from 1 on; found {kind(value)}: {value!s:.40}")
    return value


def _tags(entry: Entry) -> tuple[str, ...]:
    value, place = entry.get("tags"), entry.place_of("tags")
    if value is None:
        return ()
    if not isinstance(value, list):
        place.refuse(f"expected a list such as [smoke, long]; found {kind(value)}")
    return tuple(_text(tag, place.key(index)) for index, tag in enumerate(value))


def _suite(entry: Entry) -> SuiteName:
    value, named = entry.get("suite"), {name: name for name in NAMES}
    if value is None:
        return NAMES[-1]
    if not isinstance(value, str) or value not in named:
        entry.place_of("suite").refuse(f"expected one of {', '.join(NAMES)}; found {value!r:.40}")
    return named[value]


def _margin(entry: Entry) -> float | None:
    value = entry.get("margin")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not 0 <= value < math.inf:
        entry.place_of("margin").refuse(f"expected a number of logits from 0 on; found {kind(value)}: {value!s:.40}")
    return float(value)
