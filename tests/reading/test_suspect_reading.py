"""Responses read under suspects: the true one explains every token, the others are refuted early and cheaply."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from making import chain_file, make_attempt, make_run
from tempzero import config, records
from tempzero.config import Config
from tempzero.engines import open_local_engine
from tempzero.engines.local import weights
from tempzero.engines.local.in_process import InProcessEngine
from tempzero.reading import run_reading
from tempzero.reading.rounding_floor import find_rounding_floor
from tempzero.reading.suspect_reading import MIN_MISSES, GivenAnswer, ProviderAnswers, SuspectReader, Tokens
from tempzero.reading.suspects import REQUEST_SUSPECTS, SAMPLER_RULES
from tempzero.reading.suspects.penalties import apply_penalty, count_before
from tempzero.reading.suspects.suspect import AskedPrompt, ChosenTokens
from tempzero.reading.top_rows import BookedModel, RowBook, SteppedModel, TopRows
from tempzero.types.asked import Message, Prompt, Suite, Trial
from tempzero.types.recorded import Attempt, Completion
from tempzero.types.scored import SuspectReading
from tempzero.workflow.pipeline import Watcher
from tiny_gguf import tiny_model

QUIET = Watcher(say=lambda _: None, begin=lambda *_: None, attempt=lambda _: None, read=lambda *_: None)
SUITE = Suite(
    prompts=tuple(
        Prompt(
            id=f"p{i}",
            family="test",
            messages=(
                Message(role="system", content=f"Rule {i}"),
                Message(role="user", content=f"  Say   SOMETHING of {i}\n\n\nand more "),
            ),
        )
        for i in range(4)
    ),
    digest="0" * 64,
)
TOKENS = 20
Row = np.ndarray[tuple[int], np.dtype[np.float32]]
Rows = np.ndarray[tuple[int, int], np.dtype[np.float32]]
Choose = Callable[[Row, list[int], list[int]], int]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Model files and books made here stay here."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp()))


def settings(**score: object) -> Config:
    local = {"weights": f"path:{tiny_model()}", "precision": "as_is", "threads": 1, "batch": 64, "context": 512}
    host = {"name": "b", "base_url": "http://127.0.0.1:9/v1", "model": "m", "claims": {"model": "tiny"}}
    return config.parse_config(
        {
            "version": 1,
            "defaults": {"repeats": 1},
            "providers": [{"name": "ref", "local": local, "claims": {"model": "tiny"}}, host],
            "run": {"reference": "ref"},
            "score": {"forms": [], **score},
        },
        source="test",
    )


def opened(chosen: Config) -> InProcessEngine:
    provider = chosen.provider("ref")
    assert provider.local is not None
    source = config.Weights(source=provider.local.weights)
    return open_local_engine(provider, weights.obtain_weights(source, precision="as_is", say=lambda _: None))


def greedy(row: Row, prompt: list[int], written: list[int]) -> int:
    return int(row.argmax())


def answered(
    engine: InProcessEngine, choose: Choose = greedy, edit: Callable[[tuple[Message, ...]], Sequence[Message]] = tuple
) -> Iterator[Attempt]:
    """What a host gives that chooses so, or is given such messages; with its own token ids."""
    for prompt in SUITE.prompts:
        ids = engine.prompt_ids(list(edit(prompt.messages)))
        written: list[int] = []
        while len(written) < TOKENS:
            path = [*ids, *written]
            row = next(iter(next(iter(engine.logits(path, len(path))))))
            token = choose(row, ids, written)
            if token in engine.end_ids:
                break
            written.append(token)
        text = codecs.getincrementaldecoder("utf-8")("replace").decode(b"".join(map(engine.piece, written)))
        completion = Completion(text=text, finish_reason="length", token_ids=tuple(written))
        trial = Trial(provider="b", prompt=prompt.id, condition="default", repeat=0)
        made = make_attempt(trial, text)
        outcome = replace(made.exchange.outcome, completion=completion)
        yield replace(made, exchange=replace(made.exchange, outcome=outcome))


def read(folder: Path, chosen: Config, attempts: Sequence[Attempt]) -> dict[str, SuspectReading]:
    path = make_run(folder, chosen, SUITE, attempts)
    run_reading.score_run(path, environ={}, watcher=QUIET)
    return {s.suspect: s for s in records.open_run(path).reading().suspects}


def misses(line: SuspectReading) -> int:
    return sum(len(a.missed) for a in line.answers)


def test_another_prompt_explains_every_token_it_was_answered_from(tmp_path: Path) -> None:
    """The system message did not reach the model: read without it no token is missed; turns are nothing to tell."""
    chosen = settings()
    attempts = list(answered(opened(chosen), edit=lambda messages: messages[1:]))
    found = read(tmp_path, chosen, attempts)
    assert misses(found["unchanged"]) > 0
    true = found["no-system-message"]
    assert (misses(true), true.refuted, true.touched) == (0, False, ("p0", "p1", "p2", "p3"))
    assert found["last-turn-only"].touched == ()


def test_a_rule_of_the_sampler_explains_every_token_it_chose(tmp_path: Path) -> None:
    """Read from rows that were read already: a presence penalty costs no token more."""
    chosen, engine = settings(), opened(settings())

    def penalised(row: Row, prompt: list[int], written: list[int]) -> int:
        changed = row.copy()
        changed[list({*written})] -= 0.5
        return int(changed.argmax())

    found = read(tmp_path, chosen, list(answered(engine, penalised)))
    assert misses(found["unchanged"]) > 0
    true = found["presence-0.5-answer"]
    assert (misses(true), true.refuted, true.read_tokens) == (0, False, 0)
    assert misses(found["presence-0.5-prompt and answer"]) > 0, "the window is told as well"


def test_a_token_that_is_never_chosen_is_named_by_its_text(tmp_path: Path) -> None:
    """Its number alone would say nothing to whoever reads the report."""
    chosen, engine = settings(), opened(settings())
    written: list[int] = []
    for one in answered(engine):
        assert one.exchange.outcome.completion is not None
        written += one.exchange.outcome.completion.token_ids or ()
    banned = max(set(written), key=written.count)

    def choose(row: Row, prompt: list[int], written: list[int]) -> int:
        return next(int(t) for t in np.argsort(-row) if t != banned)

    true = read(tmp_path, chosen, list(answered(engine, choose)))[f"ban-{banned}"]
    assert (misses(true), true.refuted) == (0, False)
    assert repr(engine.piece(banned).decode("utf-8", "replace")) in true.words


def test_what_the_reference_says_itself_is_read_by_coarser_forms_only(tmp_path: Path) -> None:
    """A host that agrees token for token is told from a form by what that would have missed; nothing else is tried."""
    chosen = settings(forms=["cache=q4_0"])
    found = read(tmp_path, chosen, list(answered(opened(chosen))))
    assert list(found) == ["unchanged", "cache=q4_0"]
    assert misses(found["unchanged"]) == 0
    assert misses(found["cache=q4_0"]) > 0


def test_where_no_token_is_beyond_rounding_no_loud_suspect_is_read(tmp_path: Path) -> None:
    """An added instruction says other things: looking for one in what rounding explains costs minutes for nothing."""
    allowed = find_rounding_floor("tiny").clear_margin

    def round_coarsely(row: Row, prompt: list[int], written: list[int]) -> int:
        best, second = (int(i) for i in np.argsort(row)[::-1][:2])
        return second if row[best] - row[second] < 0.9 * allowed else best

    chosen = settings()
    found = read(tmp_path, chosen, list(answered(opened(chosen), round_coarsely)))
    assert misses(found["unchanged"]) >= MIN_MISSES
    loud = {s.name for s in REQUEST_SUSPECTS if s.loud}
    assert {s.name for s in REQUEST_SUSPECTS} - loud <= set(found)
    assert not loud & set(found)


def test_another_form_is_a_suspect(tmp_path: Path) -> None:
    """Positions computed with another base, or a coarse cache: the form that was served misses nothing."""
    chosen = settings(forms=["position_base=100", "cache=q4_0"])
    changed = chosen.provider("ref").local
    assert changed is not None
    host = chosen.provider("ref").model_copy(update={"local": changed.model_copy(update={"position_base": 100})})
    source = config.Weights(source=changed.weights)
    engine = open_local_engine(host, weights.obtain_weights(source, precision="as_is", say=lambda _: None))
    found = read(tmp_path, chosen, list(answered(engine)))
    assert misses(found["unchanged"]) > 0
    assert (misses(found["position_base=100"]), found["position_base=100"].kind) == (0, "positions")
    assert misses(found["cache=q4_0"]) > 0


def test_a_night_that_brings_known_texts_computes_nothing_new(tmp_path: Path) -> None:
    """Rows outlast the run: the same responses under the same suspects are read from the book."""
    chosen = settings()
    attempts = list(answered(opened(chosen), edit=lambda messages: messages[1:]))
    first = read(tmp_path / "one", chosen, attempts)
    second = read(tmp_path / "two", chosen, attempts)
    assert sum(s.read_tokens for s in second.values()) == 0
    assert {n: s.answers for n, s in first.items()} == {n: s.answers for n, s in second.items()}


def test_rows_that_are_known_refute_another_text_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a prompt makes the model say was seen with the first text: the next one is held against it beforehand."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    chosen, engine = settings(), opened(settings())
    first = read(tmp_path / "one", chosen, list(answered(engine, edit=lambda messages: messages[1:])))
    second = read(tmp_path / "two", chosen, list(answered(engine, lambda row, prompt, written: int(row.argmin()))))
    known = {name for name, s in first.items() if s.kind == "request" and s.touched}
    assert len(known) > 20
    assert {second[name].refuted for name in known} == {True}
    spent = [sum(found[name].read_tokens for name in known) for found in (first, second)]
    assert spent[1] < spent[0] / 20


def test_providers_are_read_behind_the_same_prompt_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The prompt is most of what is computed: another provider's texts cost their own tokens and nothing else."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    chosen, engine = settings(), opened(settings())
    other = chosen.provider("b").model_copy(update={"name": "c"})
    chosen = chosen.model_copy(update={"providers": (*chosen.providers, other)})
    mine = list(answered(engine, lambda row, prompt, written: int(row.argmin())))
    theirs = list(answered(engine, lambda row, prompt, written: int(np.argsort(row)[1])))
    theirs = [replace(a, trial=replace(a.trial, provider="c")) for a in theirs]
    path = make_run(tmp_path, chosen, SUITE, [*mine, *theirs])
    run_reading.score_run(path, environ={}, watcher=QUIET)
    spent = {"b": 0, "c": 0}
    for line in records.open_run(path).reading().suspects:
        spent[line.provider] += line.read_tokens if line.kind == "request" else 0
    assert 0 < spent["c"] < spent["b"] / 2


def test_scoring_again_reads_no_suspect_again(tmp_path: Path) -> None:
    """What stands in the scores stands; responses that come later are read with all suspects anew."""
    chosen = settings()
    path = make_run(tmp_path, chosen, SUITE, list(answered(opened(chosen), edit=lambda messages: messages[1:])))
    run_reading.score_run(path, environ={}, watcher=QUIET)
    before = chain_file(path, "scores").read_bytes()
    run_reading.score_run(path, environ={}, watcher=QUIET)
    assert chain_file(path, "scores").read_bytes() == before


def test_a_variant_of_ones_own_is_a_suspect_as_well(tmp_path: Path) -> None:
    """`score.variants` adds to the list; one that renders the same prompt changes nothing and says so."""
    chosen = settings(variants=[{"name": "mine", "system": "Speak."}, {"name": "same"}])
    speak = Message(role="system", content="Speak.")
    found = read(tmp_path, chosen, list(answered(opened(chosen), edit=lambda messages: (speak, *messages[1:]))))
    assert misses(found["mine"]) == 0
    assert found["same"].touched == ()


def test_every_suspect_says_why_and_has_a_name_of_its_own() -> None:
    """A report names suspects; two of one name would be one."""
    names = [s.name for s in REQUEST_SUSPECTS]
    assert len(names) == len(set(names))
    assert all(s.words and s.family for s in REQUEST_SUSPECTS)
    assert SAMPLER_RULES


def test_every_request_suspect_changes_some_prompt() -> None:
    """One that never changes anything would only look like a suspect."""

    def render(messages: Sequence[Message], *, chat_template: str | None = None) -> list[int]:
        text = f"{chat_template}|" + "|".join(f"{m.role}>{m.content}" for m in messages)
        return [1, *(ord(letter) for letter in text), 2, 3]

    system = Message(role="system", content="Be <b>kind</b>.")
    turns = (
        Message(role="user", content="  \u201cHi\u201d  \uff21nd\n\n\n<i>Caf\u00e9</i> "),
        Message(role="assistant", content="Yes"),
        Message(role="user", content="and now?"),
        Message(role="assistant", content="No"),
        Message(role="user", content="long " * 1000),
    )

    def ask(messages: tuple[Message, ...]) -> AskedPrompt:
        ids = tuple(render(messages))
        return AskedPrompt(messages=messages, ids=ids, render=render, is_control=lambda token: token < 4)

    asked = [ask((system, *turns)), ask(turns)]
    for suspect in REQUEST_SUSPECTS:
        assert any(tuple(suspect.change(one)) != one.ids for one in asked), suspect.name


def test_penalties_are_those_of_the_engines() -> None:
    """By hand: windows with and without the prompt; presence once, frequency each time, repetition by sign."""
    rows = np.array([[2.0, -1.0, 0.5]], np.float32)
    one = ChosenTokens(
        prompt=(7, 7),
        tokens=(8,),
        ended=False,
        end_ids=(),
        ids=np.array([[7, 8, 9]], np.int32),
        logits=rows,
        piece=bytes([0]).__mul__,
    )
    assert count_before(one, "prompt and answer").tolist() == [[2, 0, 0]]
    assert count_before(one, "answer").tolist() == [[0, 0, 0]]
    often = np.array([[2, 1, 0]], np.int32)
    assert apply_penalty(rows, often, "frequency", 0.5).tolist() == [[1.0, -1.5, 0.5]]
    assert apply_penalty(rows, often, "presence", 0.5).tolist() == [[1.5, -1.5, 0.5]]
    assert apply_penalty(rows, often, "repetition", 2.0).tolist() == [[1.0, -2.0, 0.5]]


class Counting:
    """Gives rows that say what stands before them, and counts what it computes."""

    def __init__(self) -> None:
        self.rows = 0

    def logits(self, token_ids: Sequence[int], start: int) -> Iterator[Rows]:
        for place in range(start, len(token_ids) + 1):
            self.rows += 1
            yield np.eye(50, dtype=np.float32)[[token_ids[place - 1] + 1]]


def test_a_book_computes_only_what_stands_nowhere_in_it(tmp_path: Path) -> None:
    """A place is all that stands before it. What goes on is read from its prompt on, which the model still holds."""
    model = Counting()
    booked = BookedModel(model, RowBook(tmp_path, {"model": "counting"}))
    booked.find_rows([1, 2], [3, 4, 5], ended=False)
    assert model.rows == 3
    rows = booked.find_rows([1, 2], [3, 4, 9], ended=False)
    assert rows.ids[:, 0].tolist() == [3, 4, 5]
    assert model.rows == 3, "the row over the last token stands behind the same tokens"
    assert booked.read_tokens == 4
    booked.find_rows([1, 2], [3, 4, 9, 8], ended=False)
    assert (model.rows, booked.read_tokens) == (7, 8), "the prompt is not read again"
    booked.find_rows([2, 1], [3, 4, 5], ended=False)
    assert (model.rows, booked.read_tokens) == (10, 12)


class Stepping(Counting):
    """Notes what it is given at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[list[int]] = []

    def describe(self) -> dict[str, str]:
        return {"engine": "stepping"}

    def logits_after(self, token_ids: Sequence[int]) -> Row:
        self.given.append(list(token_ids))
        row: Row = np.eye(50, dtype=np.float32)[token_ids[-1] + 1]
        return row

    advance = logits_after


def test_a_form_reads_an_answer_a_token_at_a_time_as_it_was_written(tmp_path: Path) -> None:
    """Coarser weights round a pass over many tokens otherwise: read so, q8_0 missed 9 of 271 tokens that it wrote."""
    model = Stepping()
    booked = BookedModel(SteppedModel(model), RowBook(tmp_path, {"model": "stepping"}))
    rows = booked.find_rows([1, 2], [3, 4], ended=True)
    assert model.given == [[1, 2], [3], [4]]
    assert rows.ids[:, 0].tolist() == [3, 4, 5]
    model.given.clear()
    booked.find_rows([1, 2], [3, 4, 5], ended=True)
    assert model.given == [[5]], "it goes on where it stands"
    booked.find_rows([2], [7], ended=True)
    model.given.clear()
    booked.find_rows([1, 2], [3, 4, 5, 6], ended=True)
    assert model.given == [[1, 2], [3], [4], [5], [6]], "what was written stands in no prompt"
    model.given.clear()
    booked.find_rows([1, 2], [3, 4, 5], ended=True)
    assert model.given == []


class Spelling:
    """Says what follows the last token: "ab" or "a" a "c", "b" an "a", "c" or "d" a "b" or an "ab"."""

    pieces = (b"a", b"b", b"ab", b"c", b"d")
    best = ((1, 2), (3, 4), (3, 4), (2, 0), (0, 1))
    read_tokens = 0

    def tokenize(self, text: str) -> list[int]:
        return [self.pieces.index(part.encode()) for part in re.findall("ab|.", text)]

    def find_rows(self, prompt: Sequence[int], ids: Sequence[int], *, ended: bool) -> TopRows:
        last = [(*prompt, *ids)[len(prompt) - 1 + i] for i in range(len(ids) + ended)]
        return TopRows(
            ids=np.array([self.best[t] for t in last], np.int32), logits=np.array([[9.0, 4.0]] * len(last), np.float32)
        )

    def find_known_rows(self, prompt: Sequence[int], ids: Sequence[int]) -> TopRows:
        return self.find_rows(prompt, (), ended=False)


def test_a_rule_is_read_in_the_tokens_that_it_writes() -> None:
    """Behind "c" no "ab" may come twice, so it writes "a" and "b": the text is cut into a token it may not choose."""
    model = Spelling()
    tokens = Tokens(tokenize=model.tokenize, pieces=lambda ids: [model.pieces[t] for t in ids], end_ids=())
    reader = SuspectReader(reference="ref", tokens=tokens, source=model, exact=True, clear_margin=0.5)

    def answer(name: str, prompt: tuple[int, ...], text: str) -> GivenAnswer:
        asked = AskedPrompt(messages=(), ids=prompt, render=lambda messages, **_: [], is_control=lambda _: False)
        trial = Trial(provider="b", prompt=name, condition="default", repeat=0)
        return GivenAnswer(trial=trial, asked=asked, ids=tuple(model.tokenize(text)), ended=False, fixed=False)

    answers = (answer("p0", (3, 2, 3), "ab"), answer("p1", (1, 3, 1), "d"))
    given = ProviderAnswers(provider="b", condition="default", answers=answers, varied=False)
    assert misses(reader.read_unchanged(given)) == 1
    found = {line.suspect: line for line in reader.read_rules(given)}
    true = found["no-repeat-2-all"]
    assert (misses(true), true.refuted, len(true.answers)) == (0, False, 2)
    assert found["no-repeat-3-all"].refuted
    assert found["presence-2-prompt and answer"].refuted


def test_a_book_that_is_no_book_is_done_without(tmp_path: Path) -> None:
    """Whatever lies in the cache: the reading goes on, only dearer."""
    for model in ("one", "two"):
        RowBook(tmp_path, {"model": model}).close()
    for file in tmp_path.glob("*.sqlite"):
        file.write_bytes(b"not a database" * 100)
    booked = BookedModel(Counting(), RowBook(tmp_path, {"model": "one"}))
    assert booked.find_rows([1], [2], ended=False).ids.shape[0] == 1
