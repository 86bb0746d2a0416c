"""Prompts are chosen by what the reference computes, and the suite says all that is needed to find them again."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tempzero import config, probe, suites
from tempzero.cli import main
from tempzero.engines import open_local_engine
from tempzero.engines.local.weights import obtain_weights_for
from tempzero.errors import UsageError
from tempzero.probe.answer_paths import PromptKind, find_certain_path, find_tie_path
from tempzero.probe.candidates import order_for_reading
from tempzero.types.asked import Message, Prompt
from tiny_gguf import tiny_model

LOCAL = {"weights": f"path:{tiny_model()}", "precision": "as_is", "threads": 1, "batch": 64, "context": 512}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Model files made here stay here."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp()))


def settings(**local: object) -> config.Config:
    entries = [
        {"name": "ref", "local": {**LOCAL, **local}, "claims": {"model": "tiny"}},
        {"name": "far", "base_url": "http://127.0.0.1:9/v1", "model": "m", "claims": {"model": "tiny"}},
    ]
    document = {"version": 1, "run": {"reference": "ref"}, "score": {"forms": ["f16", "q8_0"]}, "providers": entries}
    return config.parse_config(document, source="test")


def search(kind: str, *, number: int = 60, stop_at: int = 0, **rule: Any) -> probe.SearchResult:
    chosen, where = settings(), probe.generate_candidates(probe.build_rule(kind, count=1).kind, number=number, seed=3)

    def progress(done: int, of: int) -> None:
        if done == stop_at:
            raise KeyboardInterrupt

    return probe.search_prompts(
        chosen,
        probe.choose_reference(chosen),
        probe.build_rule(kind, **{"count": 5, **rule}),
        probe.SearchSpace(candidates=where, origin="seed 3"),
        say=lambda _: None,
        progress=progress,
    )


def paths(prompts: Sequence[Prompt], tokens: int) -> list[list[tuple[float, str, str]]]:
    """Margin and both texts, token by token, read in another way: one pass for each token, nothing kept."""
    chosen = settings()
    provider = chosen.provider("ref")
    assert provider.local is not None
    engine = open_local_engine(provider, obtain_weights_for(chosen, provider.local, say=print))
    try:
        found: list[list[tuple[float, str, str]]] = []
        for prompt in prompts:
            ids = engine.prompt_ids(prompt.messages)
            here: list[tuple[float, str, str]] = []
            for _ in range(tokens):
                row = next(iter(engine.logits(ids, len(ids))))[-1]
                second, best = (int(i) for i in np.argsort(row)[-2:])
                first, other = (engine.piece(t).decode("utf-8", "replace") for t in (best, second))
                here.append((float(row[best] - row[second]), first, other))
                ids.append(best)
                if engine.is_end(best):
                    break
            found.append(here)
        return found
    finally:
        asyncio.run(engine.aclose())


def test_border_prompts_are_the_narrowest_that_honest_computations_may_turn() -> None:
    """A prompt that rounding cannot turn is no border prompt, and a wider one must not stand before a narrower."""
    found = search("border", margin=1.5, number=150)
    read = paths(probe.generate_candidates("border", number=150, seed=3), 1)
    showing = [m for ((m, one, other),) in read if "\ufffd" not in one + other and one.strip() and other.strip()]
    narrow = sorted(m for m in showing if m <= 1.5)
    assert len(narrow) > 3
    assert [one.margin for one in found.chosen] == pytest.approx(narrow[:5], abs=1e-4)
    assert len(showing) > len(narrow)
    assert found.limit == 1.5
    measured = search("border")
    assert list(measured.moved) == ["f16"], "q8_0 is no honest form"
    assert 0 < measured.limit == measured.noise < 0.5
    assert all(one.margin <= measured.limit for one in measured.chosen)


def test_robust_prompts_keep_their_margin_to_the_end() -> None:
    """One narrow token would let rounding pass for a difference of models."""
    found = search("robust", margin=0.4, tokens=3, count=60)
    assert found.chosen
    told = [one.margin for one in found.chosen]
    assert told == sorted(told, reverse=True)
    read = [
        [margin for margin, *_ in path] for path in paths(probe.generate_candidates("robust", number=60, seed=3), 3)
    ]
    wide = sorted((min(path) for path in read if min(path) >= 0.4 and len(path) >= 2), reverse=True)
    assert told == pytest.approx(wide, abs=1e-4)


def test_steady_prompts_keep_their_margin_and_begin_in_many_ways() -> None:
    """What is compared token by token must begin alike everywhere, and not in one way: that would be one prompt."""
    found = search("steady", margin=0.3, tokens=2, count=4, number=120)
    read = paths(probe.generate_candidates("steady", number=120, seed=3), 2)
    wide = [[one for _, one, _ in path] for path in read if len(path) == 2 and min(m for m, *_ in path) >= 0.3]
    openings = {tuple(one) for one in wide}
    assert len(wide) > 4
    assert len(openings) > 1
    chosen = [tuple(step.best for step in one.steps) for one in found.chosen]
    assert len(set(chosen)) == min(4, len(openings)), "each way to begin has its turn before one has a second"
    assert all(len(one.steps) == 2 and one.margin >= 0.3 for one in found.chosen)


def test_a_suite_of_probes_is_an_ordinary_suite(tmp_path: Path) -> None:
    """It is loaded like any other, carries its margins, and says with which weights they were found."""
    rules: dict[str, dict[str, Any]] = {"border": {"margin": 1.5}, "robust": {"margin": 0.3, "tokens": 3}}
    for kind, rule in rules.items():
        found = search(kind, **rule)
        text = probe.to_suite_text(found)
        assert text == probe.to_suite_text(search(kind, **rule)), "the same bytes again"
        file = tmp_path / f"{kind}.yaml"
        file.write_text(text, encoding="utf-8")
        loaded = suites.load_suite(file).prompts
        assert [p.messages for p in loaded] == [one.prompt.messages for one in found.chosen]
        assert [p.margin for p in loaded] == [round(one.margin, 4) for one in found.chosen]
        assert {(p.family, p.tags, p.max_tokens) for p in loaded} == {(kind, (kind,), found.rule.tokens)}
        assert found.engine["weights"]["sha256"] in text
        assert "60 of 60 candidates read (seed 3)" in " ".join(text.replace("\n#", "").split())


@pytest.mark.parametrize(
    ("name", "kind", "read"), [("border-64", "border", 800), ("robust", "robust", 24), ("steady-64", "steady", 1600)]
)
def test_the_shipped_probes_are_ready_and_asked_by_name_only(name: str, kind: PromptKind, read: int) -> None:
    """Honest implementations differ on border prompts, so a run that was not asked for them must not hold them."""
    root = Path(__file__).parents[2]
    found = suites.load_suite(root / "prompts" / "probes" / f"{name}.yaml").prompts
    assert found
    assert all(p.margin is not None and p.tags == (kind,) and p.max_tokens is not None for p in found)
    assert not {p.id for p in found} & {p.id for p in suites.load_suite(root / "prompts").prompts}
    drawn = {p.id for p in probe.generate_candidates(kind, number=read, seed=1)}
    assert {p.id for p in found} <= drawn, "anyone can search for them again"


def test_any_text_survives_the_file(tmp_path: Path) -> None:
    """Candidates may be the user's own; a line separator in one must not end a YAML line."""
    strange = 'a "quoted"\u2028line\u0085next\ttab\x7f\ufeff 🦊 # no comment\n- not a list: é'
    found = search("border", margin=1.5)
    first = found.chosen[0]
    turns = tuple(Message(role=r, content=strange) for r in ("system", "user"))
    changed = replace(found, chosen=(replace(first, prompt=replace(first.prompt, messages=turns)),))
    file = tmp_path / "a.yaml"
    file.write_text(probe.to_suite_text(changed), encoding="utf-8")
    assert suites.load_suite(file).prompts[0].messages == turns


def test_what_was_found_before_an_interrupt_is_kept() -> None:
    """A search takes minutes, and Ctrl-C means enough."""
    found = search("border", margin=1.5, stop_at=40)
    assert (found.stopped, found.read, found.candidates) == ("interrupted", 40, 60)
    assert found.chosen
    assert any("20 candidates were not read" in line for line in probe.summarise_search(found))


def test_the_same_seed_gives_the_same_candidates_everywhere() -> None:
    """Nobody could check a search whose candidates depend on the machine or on the version of Python."""
    digests = {}
    for kind in ("border", "robust"):
        found = probe.generate_candidates(kind, number=300, seed=1)
        assert len({p.messages for p in found}) == len({p.id for p in found}) == 300
        said = "\n".join(m.content for p in found for m in p.messages)
        digests[kind] = hashlib.sha256(said.encode()).hexdigest()[:16]
        assert found[:200] == probe.generate_candidates(kind, number=200, seed=1)
        assert not {p.id for p in found} & {p.id for p in probe.generate_candidates(kind, number=50, seed=2)}
    assert digests == {"border": "bc9189844bf0a1ea", "robust": "47514fca19446a74"}


def test_candidates_that_share_a_beginning_are_read_together() -> None:
    """What they share is then computed once; but a search cut short must still have seen all kinds."""
    candidates = probe.generate_candidates("border", number=300, seed=1)
    ordered = order_for_reading(candidates)
    assert {p.id for p in ordered[:128]} == {p.id for p in candidates[:128]}
    texts = [p.messages[0].content for p in ordered]
    assert texts[:128] == sorted(texts[:128])
    assert sorted(texts) == sorted(p.messages[0].content for p in candidates)


class Scripted:
    """Answers with given rows over the tokens "", "a", "ab", "b", " ", half a character, and an end."""

    pieces = (b"", b"a", b"ab", b"b", b" ", b"\xc3", b"")
    end = 6

    def __init__(self, *rows: dict[int, float]) -> None:
        self._rows = rows

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        return [0]

    def greedy_logits(self, prompt: Sequence[int]) -> Iterator[NDArray[np.float32]]:
        for chosen in self._rows:
            row = np.full(len(self.pieces), -9, np.float32)
            row[list(chosen)] = list(chosen.values())
            yield row

    def piece(self, token_id: int) -> bytes:
        return self.pieces[token_id]

    def is_end(self, token_id: int) -> bool:
        return token_id == self.end


PROMPT = Prompt(id="p", family="f", messages=(Message(role="user", content="x"),))


@pytest.mark.parametrize(
    ("best", "second", "shows"),
    [(1, 3, True), (1, 2, False), (2, 1, False), (1, 4, False), (1, 5, False), (1, 6, False), (2, 3, True)],
)
def test_a_tie_that_no_text_would_show_is_no_border(best: int, second: int, shows: bool) -> None:
    """A response cut after "a" counts as the beginning of "ab"; blanks, ends and half characters do not show at all."""
    looked = find_tie_path(Scripted({best: 1.0, second: 0.5}), PROMPT, [0], 1)
    assert (looked is not None) == shows
    if looked:
        assert (looked.margin, looked.steps[0].best, looked.steps[0].second) == (0.5, best, second)


def test_the_narrowest_of_several_tokens_decides() -> None:
    """With --tokens, a border prompt has a tie among its first few tokens; what follows the end is no token."""
    rows = ({1: 3.0, 3: 1.0}, {3: 2.0, 1: 1.75}, {6: 2.0, 1: 1.0}, {1: 1.0, 3: 1.0})
    looked = find_tie_path(Scripted(*rows), PROMPT, [0], 4)
    assert looked is not None
    assert (looked.margin, looked.at, len(looked.steps)) == (0.25, 1, 3)


@pytest.mark.parametrize(
    ("rows", "robust"),
    [
        (({1: 3.0, 3: 1.0},) * 4, True),
        (({1: 3.0, 3: 1.0},) * 3 + ({1: 3.0, 3: 2.5},), False),
        (({1: 3.0, 3: 1.0}, {6: 3.0, 1: 1.0}), True),
        (({6: 3.0, 1: 1.0},), False),
        (({1: 3.0, 3: 1.0}, {6: 3.0, 1: 2.5}), False),
    ],
)
def test_a_robust_path_is_long_enough_and_sure_of_its_end(rows: tuple[dict[int, float], ...], robust: bool) -> None:
    """Where a text ends is decided by a token like any other; a path of one token would prove little."""
    assert (find_certain_path(Scripted(*rows), PROMPT, [0], 4, 1.0, fewest=2) is not None) == robust


def test_who_cannot_be_searched_with_is_told_so(tmp_path: Path) -> None:
    """An endpoint gives no whole distributions, and a coarse copy would find its own ties, not the model's."""
    chosen = settings()
    where = probe.SearchSpace(candidates=probe.generate_candidates("border", number=2, seed=1), origin="")
    for provider, said in (
        (chosen.provider("far"), "far: a search needs whole distributions"),
        (settings(cache_type_k="f16").provider("ref"), "ref computes in less than 32 bits"),
    ):
        with pytest.raises(UsageError, match=said):
            probe.search_prompts(
                chosen, provider, probe.build_rule("border", count=1), where, say=print, progress=lambda *_: None
            )
    with pytest.raises(UsageError, match="--kind bordr: say border or robust"):
        probe.build_rule("bordr", count=1)


def test_the_command_writes_a_suite_and_never_over_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its cost is told before, its outcome after; a limit that was reached is inconclusive."""
    file = tmp_path / "providers.yaml"
    file.write_text(
        f"version: 1\nrun: {{reference: ref}}\nscore: {{forms: [f16]}}\nproviders:\n"
        f"  - {{name: ref, local: {{weights: 'path:{tiny_model()}', precision: as_is, threads: 1, context: 512}}}}\n"
    )
    asked = ["probe", "-c", str(file), "--candidates", "20", "--count", "3", "--margin", "2"]
    assert main(asked) == 0
    told = capsys.readouterr()
    assert "20 candidates, " in told.err
    assert "3 border prompts of 20 candidates read, margin at most 2.0000" in told.out
    assert len(suites.load_suite(tmp_path / "prompts" / "probes" / "border-1.yaml").prompts) == 3
    assert main(asked) == 2
    assert "exists, and a suite never changes under its name" in capsys.readouterr().err
    assert main([*asked, "--max-minutes", "0.01", "--candidates", "400", str(tmp_path / "short.yaml")]) in (0, 3)
    assert main([*asked[:-1], "0", str(tmp_path / "none.yaml")]) == 3
    assert not (tmp_path / "none.yaml").exists()
    own = tmp_path / "own.yaml"
    own.write_text("family: own\nprompts:\n  - {id: mine, prompt: Say something.}\n")
    assert main([*asked, "--margin", "9", "--prompts", str(own), str(tmp_path / "mine.yaml")]) in (0, 3)
