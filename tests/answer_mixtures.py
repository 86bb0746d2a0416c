"""Attempts of every kind that a run can hold, drawn by a seed: for what must come out the same by two paths."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from evidence import attempt
from making import NOW, make_attempt, make_config, make_manifest, make_suite, make_trial
from tempzero import records
from tempzero.records import Run
from tempzero.types.asked import ToolCall
from tempzero.types.recorded import Attempt, Completion, FaultKind, Flag

NASTY = (
    "",
    " ",
    "yes",
    "YES",
    "yes\n",
    'a "quoted" \\ back\\slash, comma\tand tab\r\n',
    "null",
    "NULL",
    "nan",
    "-1",
    "\x00nul\x00",
    "\x1b[31mred\x1b[0m",
    "\u202eright to left\u202c",
    "\u2028line\u2029paragraph",
    "e\u0301 and \u00e9",
    "\U0001f469\u200d\U0001f680",
    "'; DROP TABLE facts; --",
    "long " * 3000,
)
PROVIDERS, PROMPTS = ("a", "b", "c"), 6
FAULTS: tuple[FaultKind, ...] = ("server", "timeout", "rate_limited")
FLAGS: tuple[Flag, ...] = ("usage_missing", "model_alias", "tool_index_missing", "no_done")


def mix_attempts(
    providers: Sequence[str], prompts: int, repeats: int, *, seed: int = 1, faulty: float = 0.15
) -> Iterator[Attempt]:
    """In the order of a run; some fail, and of these some come again much later, as a resumed run asks them."""
    dice = random.Random(seed)
    later: list[Attempt] = []
    for repeat in range(repeats):
        for prompt in range(prompts):
            for provider in providers:
                one = _draw_answer(dice, provider, f"p{prompt}", repeat)
                if dice.random() < faulty:
                    said = dice.choice(["", "503: overloaded", "connection reset"])
                    failed = make_attempt(one.trial, None, kind=dice.choice(FAULTS))
                    exchange = failed.exchange
                    yield replace(failed, exchange=replace(exchange, outcome=replace(exchange.outcome, detail=said)))
                    if dice.random() < 0.7:
                        later.append(replace(one, number=2))
                else:
                    yield one
    yield from later


def _draw_answer(dice: random.Random, provider: str, prompt: str, repeat: int) -> Attempt:
    kind = dice.choices(("complete", "length", "content_filter", "cached"), (12, 3, 1, 1))[0]
    made = attempt(
        provider,
        prompt,
        repeat,
        dice.choice(NASTY),
        reasoning=dice.choice([None, None, "thinking", "", "thinking twice"]),
        refusal=dice.choice([None, None, None, None, "I cannot"]),
        tokens=dice.choice([3, 5, 64, 2**40]),
        kind=kind,
        model=dice.choice(["m", "m", "m-2026", None]),
        backend=dice.choice([None, "b1"]),
        fingerprint=dice.choice(["fp_1", "fp_2", None]),
        fields=dice.choice([None, None, {"max_tokens": 32}]),
    )
    outcome = made.exchange.outcome
    completion = outcome.completion
    assert completion is not None, "every kind has one"
    outcome = replace(
        outcome,
        completion=_change_answer(dice, completion),
        flags=tuple(dice.sample(FLAGS, k=dice.choice([0, 0, 1, 2]))),
    )
    times = replace(made.exchange.times, first_byte_s=dice.choice([None, dice.random()]), end_s=dice.random())
    trial = make_trial(provider, prompt, repeat)
    return replace(made, trial=trial, exchange=replace(made.exchange, outcome=outcome, times=times))


def _change_answer(dice: random.Random, completion: Completion) -> Completion:
    calls = (ToolCall(name="weather", arguments=dice.choice(['{"city": "Oslo"}', '{"city":"Oslo"}', "{"]), id="c1"),)
    return replace(
        completion,
        tool_calls=dice.choice([(), (), calls]),
        completion_tokens=dice.choice([completion.completion_tokens, None]),
        logits_sha256=dice.choice([None, "a" * 64, "b" * 64]),
    )


def make_mixed_run(folder: Path, *, part_bytes: int, seed: int = 1) -> Run:
    """A finished run of such attempts, in parts of about that size."""
    settings, suite = make_config(PROVIDERS, repeats=4), make_suite(PROMPTS)
    path = records.create_run(folder, make_manifest(settings, suite))
    with records.open_run_writer(path, now=NOW, part_bytes=part_bytes) as writer:
        for attempt in mix_attempts(PROVIDERS, PROMPTS, 4, seed=seed):
            writer.append(attempt)
        records.finish_session(path, writer, now=NOW)
    return records.open_run(path)
