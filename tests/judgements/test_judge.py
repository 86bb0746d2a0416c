"""A run with code and tool answers in, judged once and reported; without judging, nothing is called wrong."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from bubblewrap import needs_bubblewrap
from making import chain_file, make_attempt, make_config, make_run, make_trial
from tempzero import judgements, records
from tempzero.analysis import analyse
from tempzero.cli import main
from tempzero.errors import RunFolderError
from tempzero.judgements import maths
from tempzero.reports import write_reports
from tempzero.types.asked import ExtractorSpec, Message, Prompt, Suite, ToolCall
from tempzero.types.concluded import Analysis
from tempzero.types.recorded import Attempt, Completion, Outcome
from tempzero.verdict import gate

RIGHT = "```python\ndef double(x):\n    return 2 * x\n```"
WRONG = "```python\ndef double(x):\n    return x ** 2 + 0\n```"
ASKED = (Message(role="user", content="q"),)
CODE = ExtractorSpec(
    name="code", args={"function": "double", "cases": '[{"in": [2], "out": 4}, {"in": [3], "out": 6}]'}
)
TOOLS = ({"type": "function", "function": {"name": "look"}},)


def suite(*prompts: Prompt) -> Suite:
    return Suite(prompts=prompts, digest="d")


def code_run(folder: Path) -> Path:
    """Provider a is right on both prompts, b wrong on one and without code on the other."""
    prompts = [Prompt(id=f"p{i}", messages=ASKED, family="code", extractor=CODE, expected="passes") for i in range(2)]
    said = {("a", "p0"): RIGHT, ("a", "p1"): RIGHT, ("b", "p0"): WRONG, ("b", "p1"): "Multiply by two."}
    attempts = [make_attempt(make_trial(p, q, r), text) for (p, q), text in said.items() for r in range(2)]
    return make_run(folder, make_config(), suite(*prompts), attempts)


def accuracy(analysis: Analysis) -> dict[str, float | None]:
    return {
        f.left: f.estimate.value
        for f in analysis.figures
        if f.metric == "accuracy" and f.family is None and f.right is None
    }


def rows(analysis: Analysis) -> dict[str, tuple[int, int, int]]:
    return {r.provider: (r.answers, r.unparsed, r.waiting) for r in analysis.unread_answers}


def test_records_are_not_read_where_nothing_is_tried_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a large run that takes as long as to count them, and every report would."""
    monkeypatch.setattr(maths, "is_math_verify_installed", lambda: False)
    path = code_run(tmp_path)
    file = chain_file(path)
    file.write_bytes(file.read_bytes().replace(b'{"seq":', b'{"seq":"', 1))
    assert judgements.judge(path, run_code=False, say=print) == 0
    with pytest.raises(RunFolderError, match="damaged line"):
        judgements.judge(path, run_code=True, say=print)


def test_code_that_was_not_run_is_not_judged(tmp_path: Path) -> None:
    """Running is off by default; then there is no accuracy, and the report says what would give one."""
    path = code_run(tmp_path)
    assert judgements.judge(path, run_code=False, say=print) == 0
    analysis = analyse(records.open_run(path))
    assert set(accuracy(analysis).values()) <= {None}
    assert rows(analysis) == {"a": (4, 0, 4), "b": (4, 0, 4)}
    assert any("not judged" in note and "--run-code" in note for note in analysis.notes)
    assert not (path / records.JUDGEMENTS).exists()


def test_without_bubblewrap_nothing_is_run_and_the_report_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Asked to run code where nothing can enclose it, the command says how to get what is missing, and goes on."""
    path = code_run(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert main(["report", str(path), "--run-code"]) in (0, 1, 3)
    said = capsys.readouterr().err
    assert "3 different code answers are not judged: running them needs bubblewrap" in said
    assert "`apt-get install bubblewrap`" in said
    assert (path / "report.html").exists()
    assert rows(analyse(records.open_run(path))) == {"a": (4, 0, 4), "b": (4, 0, 4)}
    assert not (path / records.JUDGEMENTS).exists()


def test_where_bubblewrap_is_refused_its_own_line_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a kernel, a container or a policy forbids the sandbox, only bubblewrap knows."""
    path, told = code_run(tmp_path / "run"), list[str]()
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert judgements.judge(path, run_code=True, say=told.append) == 0
    assert told == [
        "3 different code answers are not judged: bubblewrap cannot run a program here: "
        "bwrap: setting up uid map: Permission denied"
    ]
    assert not (path / records.JUDGEMENTS).exists()


@needs_bubblewrap
def test_a_sandbox_that_is_lost_on_the_way_leaves_the_rest_unjudged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was run is kept, what was not is not wrong, and the next time goes on from there."""
    path, told = code_run(tmp_path / "run"), list[str]()
    program, real = tmp_path / "bwrap", shutil.which("bwrap")
    program.write_text(
        f'#!/bin/sh\necho x >> {tmp_path}/calls\n[ "$(wc -l < {tmp_path}/calls)" -lt 3 ] && exec {real} "$@"\nexit 1'
    )
    program.chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        assert judgements.judge(path, run_code=True, say=told.append) == 1
    assert (
        told[0] == "2 different code answers are not judged: bubblewrap cannot run a program here: ended with status 1"
    )
    assert judgements.judge(path, run_code=True, say=told.append) == 2
    records.open_run(path).verify()


@needs_bubblewrap
def test_code_is_run_once_and_what_it_came_to_is_kept(tmp_path: Path) -> None:
    """Each text is judged once; from then on analysis is a pure reading of files."""
    path = code_run(tmp_path)
    assert (
        judgements.judge(path, run_code=True, say=print) == 3
    )  # right twice, as answers to two prompts, and wrong once
    assert judgements.judge(path, run_code=True, say=print) == 0
    run = records.open_run(path)
    run.verify()
    assert [(j.prompt, j.answer, j.correct) for j in run.judgements()] == [
        ("p0", "passes", True),
        ("p1", "passes", True),
        ("p0", "fails", False),
    ]
    analysis = analyse(run)
    assert accuracy(analysis) == {"a": 1.0, "b": 0.0}
    assert rows(analysis) == {"a": (4, 0, 0), "b": (4, 2, 0)}


@needs_bubblewrap
def test_code_beside_a_refusal_or_a_reasoning_is_judged_by_itself(tmp_path: Path) -> None:
    """Reasoning is no answer, and one refused answer with code in it must not leave all others unjudged."""
    prompt = Prompt(id="p0", messages=ASKED, family="code", extractor=CODE, expected="passes")
    right, refused = (make_attempt(make_trial("a", "p0", r), RIGHT) for r in range(2))
    outcomes = [
        Outcome(status="valid", kind="complete", completion=Completion(text=RIGHT, reasoning_text=WRONG)),
        Outcome(status="censored", kind="content_filter", completion=Completion(text=WRONG, refusal="No.")),
    ]
    attempts = [
        replace(made, exchange=replace(made.exchange, outcome=outcome))
        for made, outcome in zip((right, refused), outcomes, strict=True)
    ]
    path = make_run(tmp_path, make_config(["a"]), suite(prompt), attempts)
    judgements.judge(path, run_code=True, say=print)
    analysis = analyse(records.open_run(path))
    assert accuracy(analysis) == {"a": 1.0}
    assert rows(analysis) == {"a": (1, 0, 0)}


@needs_bubblewrap
def test_a_judgement_that_was_edited_breaks_the_chain(tmp_path: Path) -> None:
    """A verdict nobody can vouch for is no evidence."""
    path = code_run(tmp_path)
    judgements.judge(path, run_code=True, say=print)
    file = chain_file(path, "judged")
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0].replace("2 of 2", "1 of 2"), *lines[1:]]) + "\n")
    with pytest.raises(RunFolderError, match="the hash chain breaks here"):
        records.open_run(path).verify()


@needs_bubblewrap
def test_the_report_shows_what_each_extractor_could_not_read(tmp_path: Path) -> None:
    """An extractor that reads one provider worse is no fair judge of it: html, markdown and csv all show it."""
    path = code_run(tmp_path)
    assert main(["report", str(path), "--run-code"]) in (0, 1, 3)
    run = records.open_run(path)
    before = {p.name: p.read_bytes() for p in (*path.glob("report.*"), *(path / "tables").iterdir())}
    analysis = analyse(run)
    write_reports(analysis, gate.judge(analysis, run.config.gates), path)
    assert before == {p.name: p.read_bytes() for p in (*path.glob("report.*"), *(path / "tables").iterdir())}
    assert "code,1,b,default,4,2,0,0.5" in (path / "tables" / "unparsed.csv").read_text()
    for name in ("report.md", "report.html"):
        assert "Unreadable answers by extractor and provider" in (path / name).read_text()


@pytest.mark.skipif(not maths.is_math_verify_installed(), reason="needs the extra math")
def test_mathematical_answers_are_judged_by_value(tmp_path: Path) -> None:
    """One half and its decimal are one answer, right or wrong; so are two spellings of a wrong one."""
    prompts = [
        Prompt(id="p0", messages=ASKED, family="maths", extractor=ExtractorSpec(name="math"), expected="\\frac{1}{2}")
    ]
    said = {"a": ["\\boxed{0.5}", "\\boxed{\\frac{2}{4}}"], "b": ["Answer: $\\frac{3}{4}$", "\\boxed{0.75}"]}
    attempts = [make_attempt(make_trial(p, "p0", r), t) for p, texts in said.items() for r, t in enumerate(texts)]
    path = make_run(tmp_path, make_config(), suite(*prompts), attempts)
    assert judgements.judge(path, run_code=False, say=print) == 4
    run = records.open_run(path)
    assert len({j.answer for j in run.judgements()}) == 2
    assert accuracy(analyse(run)) == {"a": 1.0, "b": 0.0}


def test_calls_are_compared_by_what_they_call(tmp_path: Path) -> None:
    """Order of keys and spaces are the server's; they are told apart, and accuse nobody of another answer."""
    asked = Prompt(
        id="p0", messages=ASKED, family="tools", extractor=ExtractorSpec(name="tool_call"), tools=TOOLS,
        expected='look({"b": 1.0, "a": "x"})',
    )  # fmt: skip
    spelled = {"a": ['{"a": "x", "b": 1}', '{"a": "x", "b": 1}'], "b": ['{"b":1,"a":"x"}', '{"a":"x","b":1.0}']}
    attempts = [_call(p, r, arguments) for p, all in spelled.items() for r, arguments in enumerate(all)]
    path = make_run(tmp_path, make_config(), suite(asked), attempts)
    analysis = analyse(records.open_run(path))
    found = {(f.metric, f.left, f.right): f.estimate.value for f in analysis.figures if f.family is None}
    assert accuracy(analysis) == {"a": 1.0, "b": 1.0}
    assert found["emr", "b", None] == 1.0
    assert found["emr_as_written", "b", None] == 0.0
    assert found["emr_as_written", "a", None] == 1.0
    assert found["cross_emr", "a", "b"] == 1.0
    assert found["cross_emr_as_written", "a", "b"] == 0.0
    assert json.loads((path / "manifest.json").read_text())["suite"]["prompts"][0]["tools"]


def _call(provider: str, repeat: int, arguments: str) -> Attempt:
    attempt = make_attempt(make_trial(provider, "p0", repeat))
    completion = Completion(
        text="", finish_reason="tool_calls", tool_calls=(ToolCall(name="look", arguments=arguments, id=f"c{repeat}"),)
    )
    outcome = Outcome(status="valid", kind="complete", completion=completion)
    return replace(attempt, exchange=replace(attempt.exchange, outcome=outcome))
