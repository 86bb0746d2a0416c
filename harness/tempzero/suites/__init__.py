"""Prompt files and folders (YAML, JSONL, CSV) in, a Suite with its digest out; what is wrong is said by line."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

from tempzero.answers.chat_messages import is_plain_message, wire_message
from tempzero.canonical_json import to_canonical_json, to_spaced_canonical_json
from tempzero.config import PASTED_KEY, find_field_problems, find_key_places, join_fields
from tempzero.errors import SuiteError
from tempzero.extractors import EXTRACTORS, Extractor
from tempzero.suites.content_parts import Content, parse_content_parts
from tempzero.suites.conversation_rounds import expand_rounds
from tempzero.suites.declarations import expand_declaration, generate_jsonl
from tempzero.suites.freezing import SuiteLock, read_suite_lock, refuse_changed_suites, renew_lock, write_suite_lock
from tempzero.suites.lint import WrittenPrompt, find_changing_answers, find_duplicates, find_near_duplicates
from tempzero.suites.prompt_files import (
    Declaration,
    Entry,
    Place,
    SuiteProblem,
    describe_value,
    find_prompt_files,
    read_entries,
    require_known_keys,
    suggest_word,
)
from tempzero.suites.tools import check_expected_calls, parse_tool_calls, parse_tool_choice, parse_tools, to_json_value
from tempzero.suites.whole_requests import parse_whole_request
from tempzero.types.asked import ExtractorSpec, Message, Prompt, Role, Round, Suite, SuiteName, ToolCall

__all__ = ["SUITE_NAMES", "digest_prompts", "freeze_suites", "generate_jsonl", "lint_prompts", "load_suite"]

SUITE_NAMES: tuple[SuiteName, ...] = get_args(SuiteName)
_LOCAL: tuple[SuiteName, ...] = ("quick", "standard", "deep")
_CHAINS: tuple[tuple[SuiteName, ...], ...] = (_LOCAL, ("hosted-quick", "hosted"), ("marathon",), ("conversations",))
"""From small to large: in each of these a suite is part of the next."""
_SUITE_FOLDERS: Mapping[SuiteName, str] = {
    "hosted-quick": "hosted",
    "hosted": "hosted",
    "marathon": "marathon",
    "conversations": "conversations",
}
"""Where a folder keeps the prompts of a suite apart, so that nobody else has to read them."""
_ALIKE: Mapping[SuiteName, SuiteName] = {
    "hosted-quick": "quick",
    "hosted": "standard",
    "marathon": "deep",
    "conversations": "deep",
}
"""What is asked of prompts that belong to no such suite, e.g. of somebody's own beside the shipped ones."""

_ROLES: tuple[Role, ...] = get_args(Role)
_MESSAGE_KEYS = ("role", "content", "tool_calls", "tool_call_id", "reasoning_content", "name")
_SPEAKER = re.compile(r"[A-Za-z0-9_-]{1,64}")
# Ids and families become parts of file names and table cells.
_ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:+-]{0,99}")


def load_suite(where: Path | Sequence[Path], name: SuiteName = "deep") -> Suite:
    """The prompts that a suite asks, of files and of all prompt files under folders, by name and then in order.

    Of a folder that keeps them apart (`hosted/`, `marathon/`), those of its subfolder. The suite has its name and
    version where every prompt that is asked comes from one folder. Raises SuiteError with one
    line for each problem: file, line, path, what, and what would be right; and where a folder was frozen
    (`suites.lock`) and the suite that is asked is no longer what it was.
    """
    paths = [where] if isinstance(where, Path) else list(where)
    read = _read_prompts([_find_suite_folder(path, name) for path in paths])
    meant = {path: _find_meant_suite(name, own) for path, own in read.items()}
    kept = {path: _select_suite_prompts(meant[path], [one.prompt for one in own]) for path, own in read.items()}
    locks = {path: read_suite_lock(path) for path in read}
    for path, lock in locks.items():
        if lock is not None:
            now = _build_lock([one.prompt for one in read[path]], lock)
            refuse_changed_suites(path, lock, now, meant[path], {prompt.id for prompt in kept[path]})
    asked = [prompt for own in kept.values() for prompt in own]
    if not asked:
        raise SuiteError(f"no prompt belongs to the suite {name}; say `suite: {name}` with those that do, or ask deep")
    whole = _only_folder(kept)
    lock = locks[whole] if whole is not None else None
    ids = {prompt.id for prompt in asked}
    silent = [path for path, own in kept.items() if not own]
    return Suite(
        prompts=tuple(asked),
        digest=digest_prompts(asked),
        name=meant[whole] if whole is not None else None,
        version=_find_version(lock, meant[whole]) if whole is not None else None,
        remarks=(
            *(_nothing_asked(path, len(read[path]), name) for path in silent),
            *find_changing_answers([one for own in read.values() for one in own if one.prompt.id in ids]),
        ),
    )


def _find_suite_folder(path: Path, name: SuiteName) -> Path:
    inside = path / _SUITE_FOLDERS.get(name, "")
    return inside if inside.is_dir() else path


def _find_meant_suite(name: SuiteName, written: Sequence[WrittenPrompt]) -> SuiteName:
    """The suite itself, or where nothing here belongs to one of its kind, the one that asks as much."""
    return name if any(one.prompt.suite in _find_chain(name) for one in written) else _ALIKE.get(name, name)


def _find_chain(name: SuiteName) -> tuple[SuiteName, ...]:
    return next(chain for chain in _CHAINS if name in chain)


def _find_version(lock: SuiteLock | None, name: SuiteName) -> int | None:
    frozen = lock.suites.get(name) if lock else None
    return frozen.version if frozen else None


def _only_folder(kept: Mapping[Path, Sequence[Prompt]]) -> Path | None:
    """The folder that all prompts are from; what others add makes a suite of nobody's name."""
    asked = [path for path, own in kept.items() if own]
    return asked[0] if len(asked) == 1 and asked[0].is_dir() else None


def _nothing_asked(path: Path, prompts: int, name: SuiteName) -> str:
    many = f"none of its {prompts} prompts belongs" if prompts > 1 else "its prompt does not belong"
    return f"{path}: {many} to the suite {name}, so nothing of it is asked; say `suite: {name}` with those to be asked"


def lint_prompts(where: Path | Sequence[Path]) -> tuple[str, ...]:
    """What makes a right answer change, and what is asked nearly twice: one line each. Raises SuiteError."""
    return _collect_remarks([one for own in _read_prompts(where).values() for one in own])


def _collect_remarks(written: Sequence[WrittenPrompt]) -> tuple[str, ...]:
    return (*find_changing_answers(written), *find_near_duplicates(written))


def freeze_suites(folder: Path) -> SuiteLock:
    """Write down what the suites of a folder are: from now on `load` refuses to take anything else for them.

    A suite that has changed since it was frozen gets the next version. Raises SuiteError, also for what `lint` says.
    """
    if not folder.is_dir():
        raise SuiteError(f"{folder}: not a folder; a suite is frozen with all its files")
    written = _read_prompts(folder)[folder]
    said = _collect_remarks(written)
    if said:
        raise SuiteError("\n".join((*said, f"{folder}: not frozen; put right what is said above")))
    lock = _build_lock([one.prompt for one in written], read_suite_lock(folder))
    write_suite_lock(folder, lock)
    return lock


def _build_lock(prompts: Sequence[Prompt], old: SuiteLock | None) -> SuiteLock:
    own = [chain for chain in _CHAINS if any(prompt.suite in chain for prompt in prompts)]
    kept = {name: _select_suite_prompts(name, prompts) for chain in own for name in chain}
    return renew_lock(
        old,
        {name: (digest_prompts(own), len(own)) for name, own in kept.items() if own},
        {prompt.id: digest_prompts([prompt])[:16] for prompt in prompts},
    )


def _select_suite_prompts(name: SuiteName, prompts: Iterable[Prompt]) -> list[Prompt]:
    if name == _LOCAL[-1]:
        return list(prompts)
    chain = _find_chain(name)
    return [prompt for prompt in prompts if prompt.suite in chain[: chain.index(name) + 1]]


def _read_prompts(where: Path | Sequence[Path]) -> dict[Path, list[WrittenPrompt]]:
    """Every prompt under each path with its place. Raises SuiteError."""
    files = _files([where] if isinstance(where, Path) else where)
    problems: list[str] = []
    read: dict[Path, list[WrittenPrompt]] = {path: [] for path in files}
    places: dict[str, Place] = {}
    for path, own in files.items():
        for entry in _iterate_entries(own, problems):
            try:
                prompts = _parse_prompts(entry)
                for prompt in prompts:
                    _refuse_duplicate_id(prompt.id, entry.place, places)
            except SuiteProblem as problem:
                problems.append(str(problem))
            else:
                read[path] += [WrittenPrompt(prompt=prompt, entry=entry) for prompt in prompts]
    problems += find_duplicates([one for own in read.values() for one in own])
    problems = problems or [
        f"{path}: holds no prompt; write at least one, e.g. {{id: sum, family: maths, prompt: ...}}"
        for path, own in read.items()
        if not own
    ]
    if problems:
        raise SuiteError("\n".join(dict.fromkeys("\n".join(problems).splitlines())))
    return read


def _files(paths: Iterable[Path]) -> dict[Path, list[Path]]:
    """The prompt files of each path. Raises SuiteError, also for a file that two paths name: which part is it of?"""
    files: dict[Path, list[Path]] = {}
    named_by: dict[Path, Path] = {}
    for path in paths:
        for file in find_prompt_files(path):
            first = named_by.setdefault(file.resolve(), path)
            if first is not path:
                raise SuiteError(f"{file}: is asked twice, through {first} and through {path}; name one of them")
            files.setdefault(path, []).append(file)
    return files


def digest_prompts(prompts: Iterable[Prompt]) -> str:
    """SHA-256 over the exact messages and parameters of these prompts, in whatever order they come.

    Tags, margins, templates, and which suites ask it, do not count. The version of a prompt's extractor does: it
    decides what an answer is.
    """
    values = [_prompt_identity(prompt) for prompt in sorted(prompts, key=lambda prompt: prompt.id)]
    return hashlib.sha256(to_canonical_json(values).encode()).hexdigest()


def _prompt_identity(prompt: Prompt) -> dict[str, Any]:
    spec = prompt.extractor
    # As texts: the order of a tool's keys is part of what the model sees, and sorting must not hide it.
    offered = {"tools": json.dumps(prompt.tools), "tool_choice": json.dumps(prompt.tool_choice)} if prompt.tools else {}
    # Likewise: in a JSON schema the order of properties is part of what is asked for.
    added = {name: json.dumps(value) for name in ("request", "body") if (value := getattr(prompt, name))}
    return {
        **offered,
        **added,
        "id": prompt.id,
        "messages": [_message_identity(message) for message in prompt.messages],
        "family": prompt.family,
        "extractor": spec and [spec.name, EXTRACTORS[spec.name].version, dict(spec.args)],
        "expected": prompt.expected,
        "max_tokens": prompt.max_tokens,
        **({} if prompt.round is None else {"round": _round_identity(prompt.round)}),
    }


def _round_identity(place: Round) -> list[Any]:
    return [place.conversation, place.number, [asdict(turn) for turn in place.turns], dict(place.results)]


def _message_identity(message: Message) -> list[Any]:
    plain = [message.role, message.content]
    return plain if is_plain_message(message) else [*plain, to_spaced_canonical_json(wire_message(message))]


# --- one prompt ------------------------------------------------------------------------------


def _iterate_entries(files: Iterable[Path], problems: list[str]) -> Iterable[Entry]:
    for file in files:
        try:
            for entry in read_entries(file):
                if isinstance(entry, SuiteProblem):
                    problems.append(str(entry))
                elif isinstance(entry, Declaration):
                    yield from _expand_or_report(entry, problems)
                else:
                    yield entry
        except SuiteProblem as problem:
            problems.append(str(problem))


def _expand_or_report(declared: Declaration, problems: list[str]) -> Iterable[Entry]:
    try:
        yield from expand_declaration(declared)
    except SuiteProblem as problem:
        problems.append(str(problem))


def _parse_prompts(entry: Entry) -> tuple[Prompt, ...]:
    """The entry as a prompt, or one for each round. Raises SuiteProblem with all that is wrong with it."""
    if entry.whole_request:
        prompt = parse_whole_request(entry)
        _require_name(prompt.id, entry.place)
        return (prompt,)
    parsers: Mapping[str, Callable[[Entry], Any]] = {
        "id": lambda e: _parse_name(e, "id"),
        "messages": _parse_messages,
        "family": lambda e: _parse_name(e, "family"),
        "extractor": _parse_extractor,
        "max_tokens": _parse_max_tokens,
        "tags": _parse_tags,
        "suite": _parse_suite_name,
        "tools": lambda e: parse_tools(e.get("tools"), e.place_of("tools")),
        "tool_choice": lambda e: parse_tool_choice(e.get("tool_choice"), e.get("tools"), e.place_of("tool_choice")),
        "margin": _parse_margin,
        "request": _parse_request,
        "cluster": _parse_cluster,
    }
    values: dict[str, Any] = {}
    problems: list[str] = []
    for field, parse in parsers.items():
        try:
            values[field] = parse(entry)
            if field == "extractor":
                values["expected"] = _parse_expected(entry, values["extractor"])
        except SuiteProblem as problem:
            problems.append(str(problem))
    if problems:
        raise SuiteProblem("\n".join(problems))
    prompt = Prompt(**values)
    check_expected_calls(prompt, entry.place)
    return expand_rounds(prompt, entry)


def _parse_cluster(entry: Entry) -> str | None:
    """The group of look-alikes that a prompt belongs to: its variants', else its template's."""
    for key in ("variants", "template"):
        if entry.get(key) is not None:
            return _parse_text(entry.get(key), entry.place_of(key))
    return None


def _refuse_duplicate_id(name: str, place: Place, places: dict[str, Place]) -> None:
    first = places.setdefault(name, place)
    if first is not place:
        place.inside("id").refuse(
            f'"{name}" is taken by {first.inside("id").location()}; ids must differ over all files'
        )


def _parse_name(entry: Entry, key: str) -> str:
    place = entry.place_of(key)
    if entry.get(key) is None:
        place.refuse("this key is needed" + (", here or once in the file's head" if key == "family" else ""))
    return _require_name(_parse_text(entry.get(key), place), place)


def _require_name(name: str, place: Place) -> str:
    if not _ID_PATTERN.fullmatch(name):
        place.refuse(f'"{name[:40]}" is no name; use letters, digits and . _ @ : + -, at most 100, e.g. sum-apples')
    return name


def _parse_text(value: Any, place: Place) -> str:
    if not isinstance(value, str):
        place.refuse(f"expected text; found {describe_value(value)}" + ("" if value is None else " (put it in quotes)"))
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        place.refuse("holds half of a surrogate pair, which no request can carry; write the whole character")
    return value


# --- messages --------------------------------------------------------------------------------


def _parse_messages(entry: Entry) -> tuple[Message, ...]:
    if "messages" in entry.own:
        for key in ("prompt", "system"):
            if key in entry.own:
                entry.place_of(key).refuse("cannot stand beside messages; put it there as a message")
        return _parse_message_list(entry.own["messages"], entry.place_of("messages"))
    if "prompt" not in entry.own:
        entry.place_of("prompt").refuse("this key is needed (or messages: for several turns)")
    messages = [_check_message("user", entry.own["prompt"], entry.place_of("prompt"))]
    if "system" in entry.own:
        place = entry.place_of("system")
        if entry.own["system"] is None:
            place.refuse('found nothing; write "" for an empty system message, or leave the key out: they differ')
        messages.insert(0, _check_message("system", entry.own["system"], place))
    return tuple(messages)


def _parse_message_list(value: Any, place: Place) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        found = "an empty list" if value == [] else describe_value(value)
        place.refuse(f"expected a list of messages; found {found}")
    messages: list[Message] = []
    for index, item in enumerate(value):
        at = place.inside(index)
        fields = require_known_keys(item, _MESSAGE_KEYS, at)
        calls = parse_tool_calls(fields.get("tool_calls"), at.inside("tool_calls"))
        for key in ("role", "content"):
            if key not in fields and not (key == "content" and calls):
                at.inside(key).refuse("this key is needed")
        message = _check_message(fields["role"], fields.get("content", ""), at.inside("content"), at.inside("role"))
        message = replace(message, name=_parse_speaker(fields, at), reasoning_content=_parse_thoughts(fields, at))
        messages.append(_attach_calls(message, calls, fields.get("tool_call_id"), messages, at))
    if messages[-1].role not in ("user", "tool"):
        place.refuse(
            "the last message must be the user's or a tool's; some providers continue another one, some answer it"
        )
    return tuple(messages)


def _attach_calls(
    message: Message, calls: tuple[ToolCall, ...], answers: Any, before: Sequence[Message], at: Place
) -> Message:
    """The message with what it calls, or with the call it answers: one of the assistant's message before it."""
    if calls and message.role != "assistant":
        at.inside("tool_calls").refuse("only an assistant's message calls tools")
    if message.role != "tool":
        if answers is not None:
            at.inside("tool_call_id").refuse("only a tool's message answers a call")
        return replace(message, tool_calls=calls)
    called = [m for m in before if m.role == "assistant"][-1:]
    ids = [call.id for m in called for call in m.tool_calls]
    if answers not in ids or before[-1].role not in ("assistant", "tool"):
        known = f"; that message calls {', '.join(map(str, ids))}" if ids else ""
        at.inside("tool_call_id").refuse(f"must be the id of a call of the assistant's message before it{known}")
    return replace(message, tool_call_id=answers)


def _check_message(role: Any, content: Any, place: Place, role_place: Place | None = None) -> Message:
    if role not in _ROLES:
        (role_place or place).refuse(f"expected one of {', '.join(_ROLES)}; found {role!r:.40}")
    shown = (
        parse_content_parts(content, place) if isinstance(content, list) else Content(text=_parse_text(content, place))
    )
    for part in shown.parts:
        _parse_text(part.get("text", ""), place)
    # An empty system message is a prompt of its own kind; an empty question is a slip.
    if role == "user" and not shown.text.strip() and all(part["type"] == "text" for part in shown.parts):
        place.refuse("is empty; write what is asked")
    return Message(role=role, content=shown.text, parts=shown.parts)


def _parse_speaker(fields: Mapping[str, Any], place: Place) -> str | None:
    name = fields.get("name")
    if name is not None and not (isinstance(name, str) and _SPEAKER.fullmatch(name)):
        place.inside("name").refuse("expected letters, digits, _ and -, at most 64")
    return name


def _parse_thoughts(fields: Mapping[str, Any], place: Place) -> str | None:
    thoughts, at = fields.get("reasoning_content"), place.inside("reasoning_content")
    if thoughts is not None and fields.get("role") != "assistant":
        at.refuse("only an assistant's message has thoughts of its own")
    return None if thoughts is None else _parse_text(thoughts, at)


def _parse_request(entry: Entry) -> dict[str, Any]:
    """Fields of the request's body: those of the file's head, over them the prompt's own."""
    written = [(entry.head_place, entry.head.get("request")), (entry.place, entry.own.get("request"))]
    fields: dict[str, Any] = {}
    for place, value in ((place.inside("request"), value) for place, value in written if value is not None):
        if not isinstance(value, dict):
            place.refuse(f"expected a mapping such as {{reasoning_effort: low}}; found {describe_value(value)}")
        own = to_json_value(value, place)
        problems = [*find_field_problems(own), *((at, PASTED_KEY) for at in find_key_places(own))]
        if problems:
            raise SuiteProblem("\n".join(place.inside(*at).remark(what) for at, what in problems))
        fields = join_fields(fields, own)
    return fields


# --- answers ---------------------------------------------------------------------------------


def _parse_extractor(entry: Entry) -> ExtractorSpec | None:
    value, place = entry.get("extractor"), entry.place_of("extractor")
    if value is None:
        return None
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, dict) or "name" not in value:
        place.refuse("expected a name, or a mapping such as {name: json_field, field: city}")
    name = _parse_text(value["name"], place)
    if name not in EXTRACTORS:
        place.refuse(f'unknown extractor "{name[:40]}"; {suggest_word(name, EXTRACTORS)}')
    extractor = EXTRACTORS[name]
    parameters = (*extractor.parameters, *extractor.optional)
    require_known_keys(value, ("name", *parameters), place)
    args = {key: _parse_argument(extractor, key, value[key], place.inside(key)) for key in parameters if key in value}
    _check_extractor_args(extractor, args, place)
    return ExtractorSpec(name=name, args=args)


def _parse_argument(extractor: Extractor, key: str, value: Any, place: Place) -> str:
    """An argument as text; lists and mappings as JSON, with the keys in the order they are written in."""
    wanted = (extractor.structured or {}).get(key)
    if wanted is None:
        return _parse_text(value, place)
    if not isinstance(value, wanted):
        place.refuse(f"expected {describe_value(wanted())}; found {describe_value(value)}")
    return json.dumps(to_json_value(value, place), ensure_ascii=False)


def _check_extractor_args(extractor: Extractor, args: Mapping[str, str], place: Place) -> None:
    for key in extractor.parameters:
        if key not in args:
            example = ", ".join(f"{parameter}: ..." for parameter in extractor.parameters)
            place.refuse(f"{extractor.name} needs {key}; write {{name: {extractor.name}, {example}}}")
    try:
        extractor.check(args)
    except ValueError as problem:
        place.refuse(str(problem))


def _parse_expected(entry: Entry, spec: ExtractorSpec | None) -> str | None:
    value, place = entry.get("expected"), entry.place_of("expected")
    if value is None:
        return None
    expected = _parse_text(value, place)
    if spec is None:
        place.refuse(f"needs an extractor that reads the answer; known: {', '.join(EXTRACTORS)}")
    if not EXTRACTORS[spec.name].can_state(expected, spec.args):
        place.refuse(
            f'extractor {spec.name} could never read "{expected[:40]}" from a response; '
            "write it as it is read, e.g. Paris, 42, B or yes"
        )
    return expected


def _parse_max_tokens(entry: Entry) -> int | None:
    value = entry.get("max_tokens")
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        entry.place_of("max_tokens").refuse(
            f"expected a whole number from 1 on; found {describe_value(value)}: {value!s:.40}"
        )
    return value


def _parse_tags(entry: Entry) -> tuple[str, ...]:
    value, place = entry.get("tags"), entry.place_of("tags")
    if value is None:
        return ()
    if not isinstance(value, list):
        place.refuse(f"expected a list such as [smoke, long]; found {describe_value(value)}")
    return tuple(_parse_text(tag, place.inside(index)) for index, tag in enumerate(value))


def _parse_suite_name(entry: Entry) -> SuiteName:
    value, named = entry.get("suite"), {name: name for name in SUITE_NAMES}
    if value is None:
        return _LOCAL[-1]
    if not isinstance(value, str) or value not in named:
        entry.place_of("suite").refuse(f"expected one of {', '.join(SUITE_NAMES)}; found {value!r:.40}")
    return named[value]


def _parse_margin(entry: Entry) -> float | None:
    value = entry.get("margin")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not 0 <= value < math.inf:
        entry.place_of("margin").refuse(
            f"expected a number of logits from 0 on; found {describe_value(value)}: {value!s:.40}"
        )
    return float(value)
