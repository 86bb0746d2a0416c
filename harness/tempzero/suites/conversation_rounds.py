"""An entry with `rounds:` and the prompt of its first round in, a prompt for each round of the conversation out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tempzero.suites.prompt_files import Entry, Place, SuiteProblem, describe_value, require_known_keys
from tempzero.types.asked import Message, Prompt, Round, ScriptedTurn

_MOST_ROUNDS = 8


def expand_rounds(prompt: Prompt, entry: Entry) -> tuple[Prompt, ...]:
    """The prompt itself where its entry has no `rounds:`; else one for each round, called `ID.1`, `ID.2` and so on.

    What is read of the answer and expected of it is meant of the last round. Raises SuiteProblem.
    """
    if "rounds" not in entry.own:
        if "results" in entry.own:
            entry.place_of("results").refuse("needs rounds: what tools give is said in a conversation")
        return (prompt,)
    turns = _parse_turns(entry.own["rounds"], prompt, entry.place_of("rounds"))
    results = _parse_results(entry.own.get("results"), prompt, entry.place_of("results"))
    rounds = []
    for number in range(1, len(turns) + 2):
        said = tuple(Message(role="user", content=turn.text) for turn in turns[: number - 1])
        place = Round(conversation=prompt.id, number=number, turns=turns[: number - 1], results=results)
        rounds.append(
            replace(
                prompt,
                id=f"{prompt.id}.{number}",
                messages=(*prompt.messages, *said),
                round=place,
                cluster=prompt.cluster or prompt.id,
                extractor=prompt.extractor if number > len(turns) else None,
                expected=prompt.expected if number > len(turns) else None,
            )
        )
    return tuple(rounds)


def _parse_turns(value: Any, prompt: Prompt, place: Place) -> tuple[ScriptedTurn, ...]:
    if not isinstance(value, list) or not 1 <= len(value) < _MOST_ROUNDS:
        found = f"{len(value)} of them" if isinstance(value, list) else describe_value(value)
        place.refuse(
            f"expected what is said after the first round, 1 to {_MOST_ROUNDS - 1} items, each a text of the user or "
            f"{{otherwise: text}} for what the user says where no tool was called; found {found}"
        )
    return tuple(_parse_turn(item, prompt, place.inside(index)) for index, item in enumerate(value))


def _parse_turn(item: Any, prompt: Prompt, place: Place) -> ScriptedTurn:
    text, only = item, False
    if isinstance(item, dict):
        text, only = require_known_keys(item, ("otherwise",), place).get("otherwise"), True
        if not prompt.tools:
            place.refuse("`otherwise` is said where no tool was called; this conversation offers none")
    if not isinstance(text, str) or not text.strip():
        place.refuse(f"expected a text, or {{otherwise: text}}; found {describe_value(text)}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        place.refuse("holds half of a surrogate pair, which no request can carry; write the whole character")
    return ScriptedTurn(text=text, only_without_calls=only)


def _parse_results(value: Any, prompt: Prompt, place: Place) -> Mapping[str, str]:
    if value is None:
        return {}
    offered = [tool["function"]["name"] for tool in prompt.tools]
    if not isinstance(value, dict):
        place.refuse(f"expected what each tool gives, e.g. {{get_weather: '...'}}; found {describe_value(value)}")
    fields = require_known_keys(value, offered, place)
    problems = [
        place.inside(name).remark(f"expected text; found {describe_value(text)} (put it in quotes)")
        for name, text in fields.items()
        if not isinstance(text, str)
    ]
    if problems:
        raise SuiteProblem("\n".join(problems))
    return dict(fields)
