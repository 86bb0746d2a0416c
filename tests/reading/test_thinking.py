"""Answers of models that think: hosts give reasoning and text apart, and the reference reads what was written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from making import make_attempt, make_run, make_suite
from tempzero import config, records
from tempzero.analysis import analyse
from tempzero.config import Config
from tempzero.engines.hosted.readers.vllm import read_vllm_answer
from tempzero.engines.hosted.told_tokens import TokenStanding
from tempzero.reading.references import EndpointReference, LogitsReference
from tempzero.reading.scorer import Scorer
from tempzero.reading.written_reasoning import find_template_values, list_written_forms
from tempzero.reports import write_reports
from tempzero.types.asked import Prompt, Trial
from tempzero.types.recorded import Attempt, Completion
from tempzero.types.scored import Reading
from tempzero.verdict.gate import judge

SUITE = make_suite(3)
ALPHABET = [chr(code) for code in (10, *range(32, 127))]
END = len(ALPHABET) + 2
TAGS = {"<think>": len(ALPHABET), "</think>": len(ALPHABET) + 1}


class Thinker:
    """A model of single characters that wants to say one text; the think tags are tokens of their own, or letters."""

    def __init__(self, wants: str, *, prompt_end: str = "", tags_are_tokens: bool = True) -> None:
        self._tags = TAGS if tags_are_tokens else {}
        self._prompt_end = prompt_end
        self.end_ids, self.vocabulary = (END,), END + 1
        self._wants = [*self.tokenize(wants, special=True), END]
        self.asked: list[object] = []

    def describe(self) -> dict[str, str]:
        return {"architecture": "thinker F32"}

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        found, at = [], 0
        while at < len(text):
            tag = next((t for t in self._tags if text.startswith(t, at)), None) if special else None
            found.append(self._tags[tag] if tag else ALPHABET.index(text[at]))
            at += len(tag) if tag else 1
        return found

    def prompt_ids(
        self, messages: object, *, chat_template: str | None = None, template_values: object = None
    ) -> list[int]:
        self.asked.append(template_values)
        return [ALPHABET.index("Q"), *self.tokenize(self._prompt_end, special=True)]

    def piece(self, token_id: int) -> bytes:
        tag = next((t for t, number in TAGS.items() if number == token_id), None)
        return (tag or "".join(ALPHABET[token_id : token_id + 1])).encode()

    def logits(self, token_ids: Sequence[int], start: int) -> Iterator[np.ndarray]:
        rows = np.zeros((len(token_ids) - start + 1, END + 1), np.float32)
        for row in range(len(rows)):
            rows[row, self._wants[min(row, len(self._wants) - 1)]] = 9.0
        yield rows


class ThinkingServer:
    """The same model behind an endpoint that shows of each place the two likeliest tokens."""

    def __init__(self, model: Thinker) -> None:
        self._model = model
        self.end_ids, self.describe = model.end_ids, model.describe

    def tokenize(self, text: str) -> list[int]:
        return self._model.tokenize(text, special=True)

    def prompt_ids(self, messages: object, *, template_values: object = None) -> list[int]:
        return self._model.prompt_ids(messages)

    def pieces(self, token_ids: Sequence[int]) -> list[bytes]:
        return [self._model.piece(t) for t in token_ids]

    def read(self, token_ids: Sequence[int], start: int) -> list[TokenStanding]:
        (rows,) = self._model.logits(token_ids[:-1], start)
        told: list[dict[str, object] | None] = [None] * start
        for token, row in zip(token_ids[start:], rows, strict=True):
            sure = row.astype(float) - np.log(np.exp(row.astype(float)).sum())
            shown = {int(t): {"logprob": float(sure[t]), "rank": 1} for t in {*np.argsort(-sure)[:2], token}}
            shown[token]["rank"] = 1 + int((sure > sure[token]).sum())
            told.append({str(t): entry for t, entry in shown.items()})
        return read_vllm_answer({"choices": [{"prompt_logprobs": told}]}, token_ids, start)


def settings(**fields: object) -> Config:
    local = {"weights": "path:none", "precision": "as_is"}
    hosted = {"name": "b", "base_url": "http://127.0.0.1:9/v1", "model": "m", "claims": {"model": "t"}, **fields}
    return config.parse_config(
        {
            "version": 1,
            "providers": [{"name": "ref", "local": local, "claims": {"model": "t"}}, hosted],
            "run": {"reference": "ref"},
        },
        source="test",
    )


def said(prompt: str, reasoning: str | None, text: str, finish: str = "stop") -> Attempt:
    attempt = make_attempt(Trial(provider="b", prompt=prompt, condition="default", repeat=0), text or "x")
    completion = Completion(text=text, reasoning_text=reasoning, finish_reason=finish)
    outcome = replace(attempt.exchange.outcome, completion=completion)
    return replace(attempt, exchange=replace(attempt.exchange, outcome=outcome))


def read(
    folder: Path,
    model: Thinker,
    answers: list[Attempt],
    chosen: Config | None = None,
    through: Callable[[Thinker], LogitsReference | EndpointReference] = LogitsReference,
) -> tuple[Path, Reading]:
    path = make_run(folder, chosen or settings(), SUITE, answers)
    run = records.open_run(path)
    with records.open_score_writer(path) as writer:
        scorer = Scorer(run, "ref", through(model), writer.append)
        scorer.read_responses(lambda done, of: None)
    return path, records.open_run(path).reading()


WRITTEN = [
    ("", "<think>\nhm, well\n</think>\n\nyes"),
    ("", "<think>hm, well</think>yes"),
    ("<think>\n", "hm, well\n</think>\n\nyes"),
    ("<think>", "\nhm, well</think>\n\nyes"),
]


@pytest.mark.parametrize(("prompt_end", "wants"), WRITTEN)
@pytest.mark.parametrize("tokens", [True, False])
@pytest.mark.parametrize(
    "through", [LogitsReference, lambda model: EndpointReference(ThinkingServer(model))], ids=["here", "server"]
)
def test_reasoning_is_read_as_the_model_wrote_it(
    tmp_path: Path,
    prompt_end: str,
    wants: str,
    tokens: bool,
    through: Callable[[Thinker], LogitsReference | EndpointReference],
) -> None:
    """Blanks that a host took away beside the tags are no misses of the model: every token is its own choice."""
    model = Thinker(wants, prompt_end=prompt_end, tags_are_tokens=tokens)
    _, reading = read(tmp_path, model, [said("p0", "hm, well", "yes")], through=through)
    (scored,) = reading.scored
    assert scored.scores is not None
    assert set(scored.scores.margin) == {0.0}
    assert (len(scored.scores.token_ids), scored.ended) == (len(model.tokenize(wants, special=True)) + 1, True)


def test_a_difference_within_the_reasoning_is_seen(tmp_path: Path) -> None:
    """What the reference would not have thought stands out at its token, and at no other."""
    model = Thinker(WRITTEN[0][1])
    _, reading = read(tmp_path, model, [said("p0", "hm, well", "yes"), said("p1", "hm, wall", "yes")])
    other = next(one for one in reading.scored if one.trial.prompt == "p1")
    assert other.scores is not None
    assert [margin > 0 for margin in other.scores.margin].count(True) == 1


def test_an_answer_cut_within_its_reasoning_is_read_up_to_the_cut(tmp_path: Path) -> None:
    """Its limit was spent on thinking: what it wrote until then is as good as any text."""
    model = Thinker(WRITTEN[0][1])
    _, reading = read(tmp_path, model, [said("p0", "hm, w", "", "length")])
    (scored,) = reading.scored
    assert scored.scores is not None
    assert set(scored.scores.margin) == {0.0}


def test_reasoning_that_the_model_writes_in_no_known_way_is_not_read(tmp_path: Path) -> None:
    """A channel format read as think tags would accuse an honest host of tokens that nobody wrote."""
    model = Thinker("[analysis]hm, well[final]yes")
    path, reading = read(tmp_path, model, [said(f"p{n}", "hm, well", "yes") for n in range(3)])
    assert not reading.scored
    assert {one.reason for one in reading.unread} == {
        "its reasoning was given apart, and the reference would not write it in any known way"
    }
    (count,) = analyse(records.open_run(path)).read_counts
    assert (count.provider, count.read, count.responses) == ("b", 0, 3)
    assert [number for _, number in count.reasons] == [3]


def test_what_was_read_of_whom_is_counted(tmp_path: Path) -> None:
    """Read 2 of 3, and why not the third: nothing is silently missing from what a reference says."""
    answers = [said("p0", "hm, well", "yes"), said("p1", "hm, well", "yes"), said("p2", None, "", "length")]
    path, _ = read(tmp_path, Thinker(WRITTEN[0][1]), answers)
    analysis = analyse(records.open_run(path))
    (count,) = analysis.read_counts
    assert (count.read, count.responses, count.reasons) == (2, 3, (("it holds no token", 1),))
    write_reports(analysis, judge(analysis, settings().gates), tmp_path)
    assert "| ref | b | 2 of 3 | it holds no token (1) |" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize(
    ("fields", "values"),
    [
        ({}, {}),
        ({"reasoning": {"effort": "low"}}, {"enable_thinking": True, "reasoning_effort": "low"}),
        ({"reasoning": {"effort": "none"}}, {"enable_thinking": False, "reasoning_effort": "none"}),
        ({"request": {"chat_template_kwargs": {"enable_thinking": False}}}, {"enable_thinking": False}),
    ],
)
def test_the_prompt_is_rendered_with_what_was_asked(tmp_path: Path, fields: dict[str, object], values: object) -> None:
    """An effort, or thinking switched off, stands in the prompt that the model reads: the reference reads the same."""
    chosen = settings(**fields)
    prompt = Prompt(id="p", family="f", messages=())
    assert find_template_values(chosen, chosen.provider("b"), "default", prompt) == values
    model = Thinker("yes")
    read(tmp_path, model, [said("p0", None, "yes")], chosen)
    assert model.asked == [values or None]


def test_the_commonest_way_is_tried_first() -> None:
    """Where an answer was cut before its tag nothing else can tell."""
    assert list_written_forms("assistant\n")[0].join("r", "t") == "<think>\nr\n</think>\n\nt"
    assert list_written_forms("<think>\n")[0].join("r", "t") == "r\n</think>\n\nt"
