"""The reference reads recorded responses: what it says of them, what it shares, and what it refuses."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from making import chain_bytes, chain_file, make_attempt, make_run, make_suite
from tempzero import config, records
from tempzero.config import Config
from tempzero.engines import open_local_engine
from tempzero.engines.hosted.readers.vllm import read_vllm_answer
from tempzero.engines.hosted.told_tokens import TokenStanding
from tempzero.engines.local import weights
from tempzero.engines.local.in_process import InProcessEngine
from tempzero.errors import RunFolderError, UsageError
from tempzero.metrics import decoding
from tempzero.reading.references import EndpointReference, LogitsReference
from tempzero.reading.scorer import Scorer
from tempzero.reading.suspect_reading import SuspectReader, Tokens
from tempzero.records.layout import SCORES_SEAL
from tempzero.types.asked import Question, Sampling, Suite, Trial
from tempzero.types.recorded import Attempt, Completion, Exchange
from tempzero.types.scored import Reading, ScoredResponse, ScoreLine
from tempzero.workflow import pipeline
from tempzero.workflow.pipeline import Watcher
from tiny_gguf import tiny_model

SUITE = make_suite(2)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Model files made here stay here."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp()))


QUIET = Watcher(say=lambda _: None, begin=lambda *_: None, attempt=lambda _: None, read=lambda *_: None)


def settings(**score: object) -> Config:
    """A tiny model as the reference, and an endpoint that claims to serve it."""
    local = {"weights": f"path:{tiny_model()}", "precision": "as_is", "threads": 1, "batch": 64, "context": 512}
    return config.parse_config(
        {
            "version": 1,
            "defaults": {"repeats": 2},
            "providers": [
                {"name": "ref", "local": local, "claims": {"model": "tiny"}},
                {"name": "b", "base_url": "http://127.0.0.1:9/v1", "model": "m", "claims": {"model": "tiny"}},
                {"name": "other", "base_url": "http://127.0.0.1:9/v1", "model": "n", "claims": {"model": "another"}},
            ],
            "run": {"reference": "ref"},
            "score": {"forms": [], "variants": [], **score},
        },
        source="test",
    )


def opened(chosen: Config) -> InProcessEngine:
    provider = chosen.provider("ref")
    assert provider.local is not None
    source = config.Weights(source=provider.local.weights)
    return open_local_engine(provider, weights.obtain_weights(source, precision="as_is", say=lambda _: None))


def own_answers(chosen: Config, suite: Suite = SUITE, max_tokens: int = 12) -> list[Attempt]:
    """What the reference itself generates for each prompt."""

    async def ask() -> list[Attempt]:
        engine, found = opened(chosen), []
        for prompt in suite.prompts:
            trial = Trial(provider="ref", prompt=prompt.id, condition="default", repeat=0)
            sampling = Sampling(temperature=0, top_p=1, seed=7, max_tokens=max_tokens)
            exchange = await engine.ask(Question(trial=trial, messages=prompt.messages, sampling=sampling))
            found.append(Attempt(trial=trial, number=1, block=0, exchange=exchange))
        await engine.aclose()
        return found

    return asyncio.run(ask())


def said(provider: str, prompt: str, completion: Completion, repeat: int = 0, status: str = "valid") -> Attempt:
    trial = Trial(provider=provider, prompt=prompt, condition="default", repeat=repeat)
    attempt = make_attempt(trial, completion.text)
    outcome = replace(attempt.exchange.outcome, status=status, completion=completion)  # type: ignore[arg-type]
    exchange: Exchange = replace(attempt.exchange, outcome=outcome)
    return replace(attempt, exchange=exchange)


def scored(folder: Path, attempts: list[Attempt], chosen: Config) -> tuple[Path, Reading]:
    path = make_run(folder, chosen, SUITE, attempts)
    assert pipeline.score_run(path, environ={}, watcher=QUIET) == ("ref",)
    return path, records.open_run(path).reading()


def of(reading: Reading, provider: str, prompt: str = "p0", repeat: int = 0) -> ScoredResponse:
    wanted = Trial(provider=provider, prompt=prompt, condition="default", repeat=repeat)
    return next(s for s in reading.scored if s.trial == wanted)


def test_the_references_own_responses_are_its_own_choice_at_every_token(tmp_path: Path) -> None:
    """Generation and teacher-forced reading are the same computation, or nothing else could be trusted."""
    _, reading = scored(tmp_path, own_answers(settings()), settings())
    for one in reading.scored:
        assert one.scores is not None
        assert one.tokens_from == "provider"
        assert set(one.scores.margin) == {0.0}
        assert set(one.scores.rank) == {1}
        assert one.scores.instead == ()


def test_a_providers_text_is_read_as_an_engine_would_read_it(tmp_path: Path) -> None:
    """Every figure of a line equals one computed from the engine's logits directly."""
    chosen, text = settings(), "the other thing, then"
    _, reading = scored(tmp_path, [said("b", "p0", Completion(text=text, finish_reason="length"))], chosen)
    engine = opened(chosen)
    prompt, ids = engine.prompt_ids(SUITE.prompts[0].messages), engine.tokenize(text, special=False)
    rows = np.concatenate(list(engine.logits([*prompt, *ids], len(prompt))))[: len(ids)]
    asyncio.run(engine.aclose())
    one = of(reading, "b")
    assert one.scores is not None
    assert one.prompt_tokens == len(prompt)
    assert one.tokens_from == "text"
    assert one.round_trip
    assert not one.ended
    assert one.scores.token_ids == tuple(ids)
    assert one.scores.margin == pytest.approx(rows.max(axis=1) - rows[np.arange(len(ids)), ids], abs=2e-6)
    assert one.scores.argmax == tuple(rows.argmax(axis=1).tolist())
    assert one.scores.ends[-1] == len(text)
    assert len(one.scores.instead) == sum(a != t for a, t in zip(one.scores.argmax, ids, strict=True))
    expected = decoding.read_logit_rows(rows, ids, prompt).sums
    assert one.sums is not None
    assert expected is not None
    assert one.sums.sampled == pytest.approx(expected.sampled, abs=1e-3)


def test_a_response_that_ended_by_itself_is_judged_on_its_end_too(tmp_path: Path) -> None:
    """An answer cut short where the reference would have gone on shows at its last token."""
    _, reading = scored(tmp_path, [said("b", "p0", Completion(text="th", finish_reason="stop"))], settings())
    one = of(reading, "b")
    assert one.ended
    assert one.scores is not None
    assert len(one.scores.token_ids) == 2
    assert one.scores.ends == (2, 2)
    assert one.scores.margin[-1] > 0


def test_the_same_answer_is_read_once(tmp_path: Path) -> None:
    """Repeats cost nothing, and still every response has its line."""
    same = Completion(text="the same", finish_reason="stop")
    attempts = [said("b", "p0", same), said("b", "p0", same, repeat=1), said("b", "p1", same)]
    _, reading = scored(tmp_path, attempts, settings())
    assert of(reading, "b", repeat=1).same_as == of(reading, "b").trial
    assert of(reading, "b", repeat=1).scores is None
    assert of(reading, "b", "p1").same_as is None, "another prompt is another context"


def test_token_ids_of_another_vocabulary_are_not_believed(tmp_path: Path) -> None:
    """Ids that do not spell the recorded text, or exist nowhere, are replaced by reading the text."""
    wrong = Completion(text="then", finish_reason="length", token_ids=(1_000_000, 3))
    lying = Completion(text="then", finish_reason="length", token_ids=(5, 6, 7))
    _, reading = scored(tmp_path, [said("b", "p0", wrong), said("b", "p1", lying)], settings())
    assert {s.tokens_from for s in reading.scored} == {"text"}


def test_only_claims_to_the_same_model_are_read(tmp_path: Path) -> None:
    """A reference says nothing about an endpoint that never claimed its weights."""
    answer = Completion(text="then", finish_reason="stop")
    _, reading = scored(tmp_path, [said("b", "p0", answer), said("other", "p0", answer)], settings())
    assert {s.trial.provider for s in reading.scored} == {"b"}


def test_what_cannot_be_read_is_said_so(tmp_path: Path) -> None:
    """An answer whose generated form is unknown, or that does not fit, is listed with its reason, never guessed at."""
    apart = Completion(text="then", reasoning_text="because", finish_reason="stop")
    long = Completion(text="then " * 900, finish_reason="stop")
    _, reading = scored(tmp_path, [said("b", "p0", apart), said("b", "p1", long)], settings())
    assert not reading.scored
    reasons = {u.trial.prompt: u.reason for u in reading.unread}
    assert "would not write it in any known way" in reasons["p0"]
    assert "fit into the context" in reasons["p1"]


def test_scoring_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Lines that a kill left are kept, a torn one is done again, and a second call adds nothing."""
    path, whole = scored(tmp_path, own_answers(settings()), settings())
    file = chain_file(path, "scores")
    lines = file.read_bytes().splitlines(keepends=True)
    (path / "scores.seal.json").unlink()  # a killed scorer has sealed nothing
    file.write_bytes(b"".join(lines[:2]) + lines[2][:40])
    pipeline.score_run(path, environ={}, watcher=QUIET)
    assert chain_bytes(path, "scores") == b"".join(lines)
    pipeline.score_run(path, environ={}, watcher=QUIET)
    assert records.open_run(path).reading() == whole


def test_scores_are_chained_to_each_other_and_to_the_records(tmp_path: Path) -> None:
    """A changed, removed or foreign line of the scores is found."""
    path, _ = scored(tmp_path, own_answers(settings()), settings())
    file = chain_file(path, "scores")
    before = file.read_bytes()
    records.open_run(path).verify()
    edits: list[Callable[[bytes], bytes]] = [
        lambda b: b.replace(b'"rank":[1', b'"rank":[2', 1),
        lambda b: b"".join(b.splitlines(keepends=True)[:1] + b.splitlines(keepends=True)[2:]),
    ]
    for edit in edits:
        file.write_bytes(edit(before))
        assert file.read_bytes() != before
        with pytest.raises(RunFolderError, match=r"scores/part-00001\.jsonl:\d+: the hash chain breaks"):
            records.open_run(path).verify()
    file.write_bytes(b"".join(before.splitlines(keepends=True)[:-1]))
    with pytest.raises(RunFolderError, match="scoring left 3 lines"):
        records.open_run(path).verify()
    other, _ = scored(tmp_path / "other", own_answers(settings(), max_tokens=3), settings())
    file.write_bytes(chain_file(other, "scores").read_bytes())
    with pytest.raises(RunFolderError, match="scoring left 3 lines"):
        records.open_run(path).verify()
    shutil.copy(other / SCORES_SEAL, path)
    with pytest.raises(RunFolderError, match=r"no line of the records has the hash"):
        records.open_run(path).verify()


def test_forms_of_the_reference_give_its_noise_and_its_coarser_profiles(tmp_path: Path) -> None:
    """Other threads and batches move logits by rounding only; a coarse cache moves choices."""
    forms = ["threads=2", "batch=16", "cache=q4_0"]
    chosen = settings(forms=forms)
    _, reading = scored(tmp_path, own_answers(chosen, max_tokens=40), chosen)
    found = {f.form: f for f in reading.forms if f.trial.prompt == "p0"}
    assert [found[f].honest for f in forms] == [True, True, False]
    honest = max(max(found[f].gap_change) for f in forms[:2])
    assert honest < 1e-4
    assert max(found["cache=q4_0"].gap_change) > 10 * honest
    assert len({len(f.margin) for f in found.values()}) == 1


def test_a_quantised_reference_must_not_judge(tmp_path: Path) -> None:
    """It would miss its own tokens; the remedy stands in the line."""
    coarse = settings().model_dump(mode="json")
    coarse["providers"][0]["local"]["precision"] = "q8_0"
    chosen = config.parse_config(coarse, source="test")
    path = make_run(tmp_path, chosen, SUITE, [said("b", "p0", Completion(text="then", finish_reason="stop"))])
    with pytest.raises(UsageError, match="precision: f32"):
        pipeline.score_run(path, environ={}, watcher=QUIET)


class Spelling:
    """A model of five tokens that wants to say "a", then "b", though its tokenizer cuts "ab" into one token."""

    end_ids, vocabulary = (4,), 5
    pieces: tuple[bytes, ...] = (b"a", b"b", b"ab", b"c", b"")

    def describe(self) -> dict[str, str]:
        return {"architecture": "spelling F32"}

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        return [{"a": 0, "b": 1, "ab": 2, "c": 3}[part] for part in re.findall("ab|a|b|c", text)]

    def prompt_ids(
        self, messages: object, *, chat_template: str | None = None, template_values: object = None
    ) -> list[int]:
        return [3]

    def piece(self, token_id: int) -> bytes:
        return self.pieces[token_id]

    def logits(self, token_ids: Sequence[int], start: int) -> Iterator[np.ndarray]:
        likes = {3: 0, 0: 1, 1: 4, 2: 4}  # after "c" an "a", after "a" a "b", then the end
        yield np.array([np.eye(5, dtype=np.float32)[likes[t]] * 8 for t in token_ids[start - 1 :]], np.float32)


def test_a_text_is_cut_into_tokens_the_way_the_reference_finds_likelier(tmp_path: Path) -> None:
    """An honest provider is not accused because its text can be spelled with other tokens."""
    chosen = settings()
    answers = [said("b", "p0", Completion(text="ab", finish_reason="stop"))]
    answers += [said("b", "p1", Completion(text="ac", finish_reason="length"))]
    path = make_run(tmp_path, chosen, SUITE, answers)
    lines: list[ScoreLine] = []
    Scorer(records.open_run(path), "ref", LogitsReference(Spelling()), lines.append).read_responses(lambda *_: None)
    honest, other = (line.scored for line in lines if line.scored is not None)
    assert honest.scores is not None
    assert other.scores is not None
    assert honest.scores.token_ids == (0, 1, 4)
    assert set(honest.scores.margin) == {0.0}
    assert honest.settled == 1
    assert honest.round_trip
    assert other.settled == 0
    assert other.scores.margin == (0.0, 8.0), "where no other cut explains the text, the miss stands"


class TornBetween(Spelling):
    """Finds "c" as good as the "a" that it could go on with, and "c" comes first."""

    def logits(self, token_ids: Sequence[int], start: int) -> Iterator[np.ndarray]:
        (rows,) = super().logits(token_ids, start)
        rows[0, 3] = rows[0, 0] + 0.01
        yield rows


class TornServer:
    """The same model as a vLLM server shows it: of each place the two likeliest tokens."""

    def __init__(self) -> None:
        self._model = TornBetween()
        self.end_ids, self.describe = self._model.end_ids, self._model.describe

    def tokenize(self, text: str) -> list[int]:
        return self._model.tokenize(text, special=False)

    def prompt_ids(self, messages: object, *, template_values: object = None) -> list[int]:
        return self._model.prompt_ids(messages)

    def pieces(self, token_ids: Sequence[int]) -> list[bytes]:
        return [self._model.piece(t) for t in token_ids]

    def read(self, token_ids: Sequence[int], start: int) -> list[TokenStanding]:
        (rows,) = self._model.logits(token_ids[:-1], start)
        told = []
        for token, row in zip(token_ids[start:], rows, strict=True):
            sure = row.astype(float) - np.log(np.exp(row.astype(float)).sum())
            shown = {int(t): {"logprob": float(sure[t]), "decoded_token": ""} for t in {*np.argsort(-sure)[:2], token}}
            shown[token]["rank"] = 1 + int((sure > sure[token]).sum())
            told.append({str(t): said for t, said in shown.items()})
        answer = {"choices": [{"prompt_logprobs": [None] * start + told}]}
        return read_vllm_answer(answer, token_ids, start)


@pytest.mark.parametrize(
    "reference",
    [lambda: LogitsReference(TornBetween()), lambda: EndpointReference(TornServer())],
    ids=["here", "server"],
)
def test_a_text_is_cut_the_way_of_a_choice_that_rounding_turned(
    tmp_path: Path, reference: Callable[[], LogitsReference | EndpointReference]
) -> None:
    """An honest provider's near-tie is one near-tie, and not a clear miss of a token that it did not write."""
    chosen = settings()
    path = make_run(tmp_path, chosen, SUITE, [said("b", "p0", Completion(text="ab", finish_reason="stop"))])
    lines: list[ScoreLine] = []
    model = reference()
    scorer = Scorer(records.open_run(path), "ref", model, lines.append)
    scorer.read_responses(lambda *_: None)
    (honest,) = (line.scored for line in lines if line.scored is not None)
    assert honest.scores is not None
    assert honest.scores.token_ids == (0, 1, 4)
    assert honest.scores.margin == pytest.approx((0.01, 0.0, 0.0), abs=1e-4)
    assert honest.settled == 1
    tokens = Tokens(tokenize=model.tokenize, pieces=model.pieces, end_ids=model.end_ids)
    suspects = SuspectReader(reference="ref", tokens=tokens, source=model, exact=model.exact, clear_margin=1.25)
    (given,) = scorer.collect_answers()
    (unchanged,) = suspects.read_unchanged(given).answers
    assert unchanged.margin == (0.01,), "and so it is for the yardstick that suspects are held against"


class TornEarlier(Spelling):
    """Would rather begin with "a" than with "ab", by little; behind "ab" it goes on as it never does behind "b"."""

    def __init__(self, after_b: int, after_ab: int) -> None:
        self._after = {1: after_b, 2: after_ab}

    def logits(self, token_ids: Sequence[int], start: int) -> Iterator[np.ndarray]:
        likes = {3: 0, 0: 1, 4: 4, **self._after}
        rows = np.array([np.eye(5, dtype=np.float32)[likes[t]] * 8 for t in token_ids[start - 1 :]], np.float32)
        rows[np.array(token_ids[start - 1 :]) == 3, 2] = 8 - 0.3
        yield rows


@pytest.mark.parametrize(
    ("text", "reason", "after_b", "after_ab", "tokens"),
    [("abca", "length", 3, 4, (0, 1, 3, 0)), ("ab", "stop", 4, 3, (0, 1, 4))],
    ids=["within the text", "at its end"],
)
def test_a_clear_miss_that_an_earlier_cut_explains_is_none(
    tmp_path: Path, text: str, reason: str, after_b: int, after_ab: int, tokens: tuple[int, ...]
) -> None:
    """A token of another length shows where the text goes on, not where it stands: no honest provider missed there."""
    path = make_run(tmp_path, settings(), SUITE, [said("b", "p0", Completion(text=text, finish_reason=reason))])
    lines: list[ScoreLine] = []
    model = LogitsReference(TornEarlier(after_b, after_ab))
    scorer = Scorer(records.open_run(path), "ref", model, lines.append)
    scorer.read_responses(lambda *_: None)
    (honest,) = (line.scored for line in lines if line.scored is not None)
    assert honest.scores is not None
    assert honest.scores.token_ids == tokens
    assert set(honest.scores.margin) == {0.0}
    own = Tokens(tokenize=model.tokenize, pieces=model.pieces, end_ids=model.end_ids)
    (given,) = scorer.collect_answers()
    suspects = SuspectReader(reference="ref", tokens=own, source=model, exact=model.exact, clear_margin=1.25)
    (unchanged,) = suspects.read_unchanged(given).answers
    assert not any(unchanged.margin), "and so it is for the yardstick that suspects are held against"


class HalfCharacters(Spelling):
    """Wants to say "a", then a token that is "b" and the first half of a character."""

    vocabulary = 6
    pieces: tuple[bytes, ...] = (b"a", b"b", b"ab", b"c", b"", b"b\xc3")

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        return [{"a": 0, "b": 1, "c": 3}[letter] for letter in text if letter in "abc"]

    def logits(self, token_ids: Sequence[int], start: int) -> Iterator[np.ndarray]:
        likes = {3: 0, 0: 5, 1: 4}
        yield np.array([np.eye(6, dtype=np.float32)[likes[t]] * 8 for t in token_ids[start - 1 :]], np.float32)


@pytest.mark.parametrize("text", ["ab", "ab\ufffd"])
def test_an_answer_that_was_cut_within_a_character_accuses_nobody(tmp_path: Path, text: str) -> None:
    """Its last token does not show whole in the text: read as it stands there, an honest host missed it by 2.9."""
    chosen = settings()
    answers = [said("b", "p0", Completion(text=text, finish_reason="length"))]
    answers += [said("b", "p1", Completion(text="ab", finish_reason="stop"))]
    path = make_run(tmp_path, chosen, SUITE, answers)
    lines: list[ScoreLine] = []
    reference = LogitsReference(HalfCharacters())
    Scorer(records.open_run(path), "ref", reference, lines.append).read_responses(lambda *_: None)
    cut, ended = (line.scored for line in lines if line.scored is not None)
    assert cut.scores is not None
    assert ended.scores is not None
    assert (cut.scores.token_ids, cut.scores.margin) == ((0,), (0.0,))
    assert ended.scores.margin == (0.0, 8.0, 0.0), "an answer that ended shows all that it is"
