"""Tokens that are to be read in, lines for an offline batch out; and the files that came of it in, the answer to each.

A line is one request in the form of OpenAI's Batch, and a result names it by its `custom_id`: a hash over the model's
name and the tokens, so that a result is right for these tokens wherever it comes from. Result files are hostile.
"""

from __future__ import annotations

import codecs
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tempzero.canonical_json import to_canonical_json
from tempzero.engines.hosted.fault_catalogue import outcome_of_inband_error, to_printable_line
from tempzero.engines.hosted.told_tokens import MalformedAnswer, first_choice
from tempzero.errors import EngineError, UsageError
from tempzero.types.scored import BatchForm

_URLS: Mapping[BatchForm, str] = {"chat": "/v1/chat/completions", "completions": "/v1/completions"}
_LONGEST_LINE = 1 << 28
# What a server answers that will not read these tokens, however often it is asked; anything else may pass.
_REFUSALS = (400, 413, 422)
_KINDS_TOLD = 20

Answer = TypeVar("Answer")


def name_reading(model: str, token_ids: Sequence[int]) -> str:
    """The `custom_id` of one reading."""
    return hashlib.sha256(to_canonical_json([model, list(token_ids)]).encode()).hexdigest()[:32]


def build_batch_line(model: str, token_ids: Sequence[int], fields: Mapping[str, Any], form: BatchForm) -> bytes:
    """One request; `fields` is what makes the server tell log-probabilities, the prompt apart."""
    if form == "completions":
        prompt: dict[str, Any] = {"prompt": list(token_ids)}
    else:  # the message stands in for a text: the server takes the tokens as they are
        message = {"role": "user", "content": "(the tokens are given)"}
        prompt = {"messages": [message], "kv_transfer_params": {"prompt_token_ids": list(token_ids)}}
    body = {"model": model, **prompt, **fields, "return_token_ids": True}
    line = {"custom_id": name_reading(model, token_ids), "method": "POST", "url": _URLS[form], "body": body}
    return to_canonical_json(line).encode() + b"\n"


class _LineName(msgspec.Struct):
    custom_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _LinePlace:
    path: Path
    number: int
    offset: int
    size: int

    def load(self) -> bytes:
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


class BatchResults:
    """Result files, each line found by its `custom_id`; only that is held in memory."""

    def __init__(self, paths: Iterable[Path]) -> None:
        """Raises UsageError for a file that cannot be read."""
        self._places: dict[str, list[_LinePlace]] = {}
        self._asked: set[str] = set()
        self._problems: dict[tuple[Path, str], set[int]] = {}
        for path in paths:
            if path.exists() and not path.is_file() and not path.is_dir():
                raise UsageError(
                    f"{path}: is a pipe or a device, which can be read once only; write it into a file first"
                )
            try:
                self._index_file(path)
            except OSError as error:
                raise UsageError(f"{path}: cannot be read: {error.strerror}") from None

    def describe_problems(self) -> list[str]:
        """A line for each kind of line in each file that is no result, or not one of this run's."""
        kinds = {key: set(numbers) for key, numbers in self._problems.items()}
        for name, places in self._places.items():
            for place in places if name not in self._asked else ():
                kinds.setdefault((place.path, "no answer to what this run asks"), set()).add(place.number)
        told = [
            f"{path}: {len(numbers)} line{'s' if len(numbers) > 1 else ''}: {what}; the first is line {min(numbers)}"
            for (path, what), numbers in kinds.items()
        ]
        further = len(told) - _KINDS_TOLD
        return told if further <= 0 else [*told[:_KINDS_TOLD], f"{further} further kinds of lines cannot be used"]

    def find_answer(
        self, model: str, token_ids: Sequence[int], read: Callable[[Mapping[str, Any]], Answer]
    ) -> Answer | None:
        """What `read` makes of the server's answer to these tokens, in the form of a completion; None without one.

        The first line about them that can be used counts. One of which `read` raises MalformedAnswer, or that tells of
        something else or of a failure that may pass, is none, and is described. Raises EngineError where the server
        refused these tokens, and nowhere read them.
        """
        name = name_reading(model, token_ids)
        self._asked.add(name)
        refusal: EngineError | None = None
        places = self._places.get(name, [])
        for at, place in enumerate(places, start=1):
            try:
                found = read(_read_result(json.loads(place.load()), token_ids))
            except EngineError as problem:
                refusal = refusal or problem
            except (ValueError, RecursionError):
                self._note_problem(place, "no JSON object (cut off?)")
            except MalformedAnswer as problem:
                self._note_problem(place, f"cannot be used: {problem}")
            else:
                for other in places[at:]:
                    self._note_problem(other, "what was answered before (the first answer counts)")
                return found
        if refusal is not None:
            raise refusal
        return None

    def _index_file(self, path: Path) -> None:
        decoder = msgspec.json.Decoder(_LineName)
        with path.open("rb") as file:
            number = offset = 0
            while line := file.readline(_LONGEST_LINE):
                number += 1
                size, begun = len(line), offset
                while not line.endswith(b"\n") and (more := file.readline(_LONGEST_LINE)):
                    size, line = size + len(more), more
                offset += size
                if not line.strip() and size == len(line):
                    continue
                self._enter_line(decoder, line, _LinePlace(path=path, number=number, offset=begun, size=size))

    def _enter_line(self, decoder: msgspec.json.Decoder[_LineName], line: bytes, place: _LinePlace) -> None:
        if place.size > _LONGEST_LINE:
            self._note_problem(place, f"longer than {_LONGEST_LINE:,} bytes")
            return
        try:
            name = decoder.decode(line.removeprefix(codecs.BOM_UTF8)).custom_id
        except msgspec.ValidationError:
            self._note_problem(place, "no custom_id")
            return
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._note_problem(place, "no JSON object (cut off?)")
            return
        self._places.setdefault(name, []).append(place)

    def _note_problem(self, place: _LinePlace, what: str) -> None:
        self._problems.setdefault((place.path, what), set()).add(place.number)


def _read_result(line: Any, token_ids: Sequence[int]) -> Mapping[str, Any]:
    response = line.get("response")
    response = response if isinstance(response, dict) else {}
    body = response.get("body")
    body = body if isinstance(body, dict) else {}
    status = response.get("status_code", 200)
    failed = line.get("error") or body.get("error") or (body if status != 200 else None)
    if failed:
        said = f"the batch answers with an error: {_describe_error(failed)}"
        raise EngineError(said) if status in _REFUSALS else MalformedAnswer(said)
    choice = first_choice(body)
    given = body.get("prompt_token_ids", choice.get("prompt_token_ids"))
    if given is None:
        raise MalformedAnswer("which tokens were read is not told (return_token_ids)")
    if given != list(token_ids):
        raise MalformedAnswer("other tokens were read than those that were given (a server that takes none in a chat)")
    told = body.get("prompt_logprobs", choice.get("prompt_logprobs"))
    return {"model": body.get("model"), "choices": [{"prompt_logprobs": told}]}


def _describe_error(failed: Any) -> str:
    if isinstance(failed, dict) and not isinstance(failed.get("message"), str):
        failed = failed.get("error", failed)
    return to_printable_line(outcome_of_inband_error(failed, {}).detail)
