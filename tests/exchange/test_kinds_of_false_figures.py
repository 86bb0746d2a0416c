"""Eleven ways in which a table once gave a false figure or no way on, three more inputs of each, and what is right."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from exchanging import emr, ready, refused, row, take_in, write_csv, write_jsonl

Row = dict[str, Any]
MAP = "provider=model,prompt=question,text=answer"
THIRD = pytest.approx(1 / 3)  # of four answers two are alike, and the other two


@dataclass(frozen=True, kw_only=True)
class Case:
    """`says`: what the refusal names, from which `then` takes the ready line; `value`: the EMR that is right."""

    write: Callable[[Path], Path]
    maps: Sequence[str] = (MAP,)
    options: dict[str, Any] = field(default_factory=dict)
    says: str | None = None
    then: str | None = "--map"
    value: Any = 1.0
    condition: str = "default"
    notes: str | None = None
    never: str | None = None


def answers(*given: Any, questions: int = 6, **more: Any) -> list[Row]:
    return [row(question=f"q{q}", answer=one, **more) for q in range(questions) for one in given]


def two_ways(add: Callable[[int], Row]) -> list[Row]:
    """Asked in one way the answers are alike, in the other they are not."""
    alike = [row(question=f"q{q}", answer="same", **add(0)) for q in range(6) for _ in range(3)]
    return alike + [row(question=f"q{q}", answer=f"x{q}{r}", **add(1)) for q in range(6) for r in range(3)]


def jsonl(rows: Sequence[Any], name: str = "x.jsonl") -> Callable[[Path], Path]:
    return lambda folder: write_jsonl(folder / name, rows)


def csv(rows: Sequence[Row], name: str = "x.csv") -> Callable[[Path], Path]:
    return lambda folder: write_csv(folder / name, rows)


def document(value: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "x.json").write_text(json.dumps(value))
        return folder / "x.json"

    return write


def files(**written: Any) -> Callable[[Path], Path]:
    """A folder with these files; a name may hold a folder, `__` stands for a dot and `___` for a slash."""

    def write(folder: Path) -> Path:
        for name, content in written.items():
            path = folder / "in" / name.replace("___", "/").replace("__", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return folder / "in"

    return write


def lines(rows: Sequence[Any]) -> bytes:
    return "".join(json.dumps(one) + "\n" for one in rows).encode()


def texts_by_repeat(counts: Sequence[int], answer: Callable[[int, int], str]) -> list[Row]:
    return [row(question=f"q{q}", answer=answer(q, r)) for q, count in enumerate(counts) for r in range(count)]


CUT = "finish_reason=fin,completion_tokens=n"
LONG = "Yes, the answer to it"
RUNS = [{"said": {"code": "x = 1", "ms": ms}} for ms in (3, 4, 5)]
HALF = answers("same", "same", model="m")

CASES: dict[str, Case] = {
    # a text of blanks is an answer
    "space_token: a line break": Case(write=jsonl(answers("\n", "\n", "x", "x")), value=THIRD),
    "space_token: blank cells of a CSV": Case(write=csv(answers(" ", " ", "x", "x")), value=THIRD),
    "space_token: a wide blank and a narrow one": Case(write=jsonl(answers("\u3000", "\u3000", " ", " ")), value=THIRD),
    # cut after the same number of tokens, and different
    "one_token_prefix: a longer text of as many tokens": Case(
        write=jsonl(answers("Yes", "Yes", LONG, LONG, fin="length", n=8)), maps=(MAP, CUT), value=THIRD
    ),
    "one_token_prefix: only the limit is known": Case(
        write=csv(answers("a", "a", "ab", "ab", fin="max_tokens", limit=4)),
        maps=(MAP, "finish_reason=fin,max_tokens=limit"),
        value=THIRD,
    ),
    "one_token_prefix: counted in an object": Case(
        write=jsonl(answers("I", "I", "It", "It", fin="length", usage={"completion_tokens": 1})),
        maps=(MAP, "finish_reason=fin"),
        says="completion_tokens=usage.completion_tokens",
        value=THIRD,
    ),
    # settings inside of cells
    "nested_params: three levels down": Case(
        write=jsonl(two_ways(lambda t: {"a": {"decoding": {"sampling": {"top_k": 1 + t}}}})),
        says='column "a.decoding.sampling.top_k" has 2 values (1, 2)',
        condition="1",
    ),
    "nested_params: JSON in a cell of a CSV": Case(
        write=csv(two_ways(lambda t: {"kwargs": json.dumps({"temperature": t / 2, "n": 1})})),
        says='column "kwargs.temperature" has 2 values (0.0, 0.5)',
        condition="0",
    ),
    "nested_params: pairs of name and value": Case(
        write=jsonl(two_ways(lambda t: {"params": [{"name": "temperature", "value": t}]})),
        says='column "params[0].value" has 2 values (0, 1)',
        condition="0",
    ),
    # a second input
    "other_input: a context": Case(
        write=csv([row(answer=f"a{c}", question="Sum up.", context=f"text {c}") for c in range(6) for _ in range(3)]),
        says='column "context" has 6 values',
    ),
    "other_input: inside an object": Case(
        write=jsonl(
            [row(answer=f"a{c}", question="Sum up.", inputs={"document": f"text {c}"}) for c in range(6) for _ in "abc"]
        ),
        says='column "inputs.document" has 6 values',
    ),
    "other_input: a picture": Case(
        write=jsonl(
            [row(answer=f"a{c}", question="What?", image_url=f"https://x/{c}.png") for c in range(6) for _ in "abc"]
        ),
        says='column "image_url" has 6 values',
    ),
    # settings in names
    "files_differ: in the folders": Case(
        write=files(
            temp=lines([]), **{f"temp={t}___run__jsonl": lines(two_ways(lambda _: {})[18 * t :][:18]) for t in (0, 1)}
        ),
        says='the names of the files differ in "temp": 2 values (0, 1)',
        condition="0",
    ),
    "files_differ: glued to a letter": Case(
        write=files(**{f"run_t{t}__jsonl": lines(two_ways(lambda _: {})[18 * t :][:18]) for t in (0, 1)}),
        says='the names of the files differ in "t": 2 values (0, 1)',
        condition="0",
    ),
    "files_differ: in two decimals": Case(
        write=files(**{f"m_top_p-0__{9 - t}__jsonl": lines(two_ways(lambda _: {})[18 * t :][:18]) for t in (0, 1)}),
        says='the names of the files differ in "top_p": 2 values (0.8, 0.9)',
        condition="0.9",
    ),
    # a list that is one answer
    "list_is_one_answer: numbers": Case(
        write=jsonl(answers([1, 2], [1, 2], [1, 2])), says="is it one answer? then --map text=answer[]"
    ),
    "list_is_one_answer: in a cell of a CSV": Case(write=csv(answers(*[json.dumps(["a", "b", "c"])] * 3))),
    "list_is_one_answer: lists of lists": Case(
        write=jsonl(answers([[1], [2]], [[1], [2]], [[2], [1]])),
        says="is it one answer? then --map text=answer[]",
        value=THIRD,
    ),
    # an object in the place of a text
    "object_as_text: an object": Case(
        write=jsonl([row(question=f"q{q}", answer={"code": "x", "ms": ms}) for q in range(6) for ms in (1, 2, 3)]),
        says="text=answer.code",
        then=None,
        maps=("provider=model,prompt=question,text=answer",),
    ),
    "object_as_text: objects within objects": Case(
        write=jsonl([row(question=f"q{q}", runs=RUNS) for q in range(6)]),
        maps=("provider=model,prompt=question,text=runs[*].said",),
        says="text=runs[*].said.code",
    ),
    "object_as_text: in a cell of a CSV": Case(
        write=csv([row(question=f"q{q}", runs=json.dumps([r["said"] for r in RUNS])) for q in range(6)]),
        maps=("provider=model,prompt=question,text=runs[*]",),
        says="text=runs[*].code",
    ),
    # stopped at the first divergence, or not
    "censored_wrongly: all but one were asked on": Case(
        write=jsonl(texts_by_repeat([2, *[5] * 9], lambda q, r: f"{q} {r > 0}")),
        value=pytest.approx((0 + 9 * 0.6) / 10),
        never="stopped",
    ),
    "censored_wrongly: one was asked on": Case(
        write=csv(texts_by_repeat([3, 2, 4, 2, 5, 5, 5, 5], lambda q, r: f"{q} {q < 4 and r > 0}")),
        value=pytest.approx((1 / 3 + 0 + 0.5 + 0 + 4) / 8),
        never="none was asked again",
    ),
    "censored_wrongly: none was asked on": Case(
        write=jsonl(texts_by_repeat([2, 3, 4, 2, *[8] * 8], lambda q, r: f"{q} {q < 4 and r == [1, 2, 3, 1][q]}")),
        notes="none was asked again after its first divergence",
        value=None,
    ),
    # endings that say nothing
    "odd_endings: lines of JSON": Case(
        write=files(a__out=lines(HALF), b__out=lines(answers("same", "other", model="m"))),
        options={"only": ["*.out"]},
        value=pytest.approx(0.5),
    ),
    "odd_endings: commas": Case(
        write=files(a__dat=b"model,question,answer\n" + b"".join(b"m,q%d,x\n" % (n // 2) for n in range(12))),
        options={"only": ["*.dat"]},
    ),
    "odd_endings: a log that was rotated": Case(
        write=files(run__jsonl__1=lines(HALF), notes__txt=b"not a table"), options={"only": ["run.jsonl.*"]}
    ),
    # files beside the tables
    "folder_index: what the folder holds": Case(
        write=files(a__jsonl=lines(HALF), manifest__json=b'{"files": {"a.jsonl": 12}}'), notes="left out: manifest.json"
    ),
    "folder_index: a schema beside packed lines": Case(
        write=files(a__jsonl__gz=gzip.compress(lines(HALF)), schema__json=b'{"type": "object"}'),
        notes="left out: schema.json",
    ),
    "folder_index: named without its packing": Case(
        write=files(a__jsonl__gz=gzip.compress(lines(HALF)), b__json=b"{}"), options={"only": ["*.jsonl"]}
    ),
    # what stands around the rows
    "header_beside_rows: one level up": Case(
        write=document({"host": {"name": "h"}, "items": [{"q": f"q{n // 2}", "a": "x"} for n in range(8)]}),
        maps=("rows=items,provider=host.name,prompt=q,text=a",),
    ),
    "header_beside_rows: two levels up": Case(
        write=document({"data": {"meta": {"m": "h"}, "rows": [{"q": f"q{n // 2}", "a": "x"} for n in range(8)]}}),
        maps=("rows=data.rows,provider=data.meta.m,prompt=q,text=a",),
    ),
    "header_beside_rows: on every line": Case(
        write=jsonl([{"run": {"model": "h"}, "tasks": [{"q": f"q{n}", "a": "x"} for n in range(4)]}] * 2),
        maps=("rows=tasks,provider=run.model,prompt=q,text=a",),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_table_gives_its_right_figure_or_a_ready_way_to_it(name: str, tmp_path: Path) -> None:
    """What a careful person would get out of it by hand."""
    case = CASES[name]
    source = case.write(tmp_path)
    maps = list(case.maps)
    if case.says is not None:
        line = refused(source, *maps, **case.options)
        assert case.says in line
        assert "\n" not in line
        maps.append(ready(line, case.then) if case.then else case.says)
    notes: list[str] = []
    run = take_in(source, *maps, notes=notes, **case.options)
    assert emr(run, case.condition) == case.value
    assert case.notes is None or any(case.notes in note for note in notes)
    assert case.never is None or not any(case.never in note for note in notes)


def test_every_kind_has_three_inputs() -> None:
    """They are counted where it is said how many there are."""
    kinds = [name.partition(":")[0] for name in CASES]
    assert {kinds.count(kind) for kind in kinds} == {3}
    assert len(set(kinds)) == 11
