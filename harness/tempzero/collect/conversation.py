"""A round's prompt and the answers to the rounds before it in, the messages that it is asked with out.

The model's own answers go back to it, so that each provider, condition and repeat has a history of its own; what the
user and the tools say is scripted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from tempzero.config import Provider
from tempzero.engines.hosted.answer_returning import build_returned_message
from tempzero.types.asked import Message, Prompt, Round, Trial
from tempzero.types.recorded import Exchange

# As a tool's result where the script has none: what a model makes of a tool that fails is part of the conversation.
_NO_RESULT = '{"error": "no such tool"}'


def name_rounds(prompts: Iterable[Prompt]) -> dict[str, tuple[str, ...]]:
    """For each prompt that is a round of a conversation, the prompts of the rounds before it, in order."""
    found: dict[str, dict[int, str]] = {}
    rounds = [(prompt, prompt.round) for prompt in prompts if prompt.round is not None]
    for prompt, place in rounds:
        found.setdefault(place.conversation, {})[place.number] = prompt.id
    return {
        prompt.id: tuple(found[place.conversation][number] for number in range(1, place.number))
        for prompt, place in rounds
    }


def find_earlier_trials(trial: Trial, rounds: Mapping[str, tuple[str, ...]]) -> tuple[Trial, ...]:
    """The trials whose answers this one gives back: those of the rounds before it; none of a prompt by itself."""
    return tuple(replace(trial, prompt=name) for name in rounds.get(trial.prompt, ()))


def build_round_messages(prompt: Prompt, answers: Sequence[Exchange], provider: Provider) -> tuple[Message, ...]:
    """What a round is asked with, `answers` being those to the rounds before it, in order."""
    place = prompt.round
    if place is None or not place.turns:
        return prompt.messages
    opening = len(prompt.messages) - len(place.turns)
    messages = list(prompt.messages[:opening])
    among_calls = _find_answers_among_calls(place, answers)
    calls = 0
    for number, (exchange, turn) in enumerate(zip(answers, place.turns, strict=True)):
        kept = provider.reasoning.returned
        with_reasoning = kept == "always" or (kept == "with_calls" and among_calls[number])
        said = build_returned_message(exchange, with_reasoning=with_reasoning, calls_before=calls)
        calls += len(said.tool_calls)
        messages.append(said)
        for call in said.tool_calls:
            result = place.results.get(call.name, _NO_RESULT)
            messages.append(Message(role="tool", content=result, tool_call_id=call.id))
        if not (turn.only_without_calls and said.tool_calls):
            messages.append(prompt.messages[opening + number])
    return tuple(messages)


def _find_answers_among_calls(place: Round, answers: Sequence[Exchange]) -> list[bool]:
    """For each answer whether a tool was called in the user's turn that it belongs to, up to now."""
    found: list[bool] = []
    begin = 0
    for number, (exchange, turn) in enumerate(zip(answers, place.turns, strict=True)):
        said = exchange.outcome.completion
        calls = said is not None and bool(said.tool_calls)
        found.append(calls or any(found[begin:]))
        found[begin:] = [found[-1]] * (len(found) - begin)
        if not (calls and turn.only_without_calls):
            begin = number + 1
    return found
