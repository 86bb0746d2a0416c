"""The library: eight names, loaded when they are used, typed, with examples that run."""

from __future__ import annotations

import asyncio
import doctest
import inspect
import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pytest
import tempzero
from door_workplace import EXAMPLE
from making import chain_file, make_attempt, make_config, make_run, make_suite, make_trial
from tempzero.analysis.opened_run import OpenedRun
from tempzero.cli import main
from tempzero.collect.watcher import Watcher
from tempzero.config import Setting
from tempzero.errors import RunFolderError, TempzeroError, UsageError
from tempzero.types.concluded import Estimate
from user_types import ONE_AT_A_TIME, check_user_types

PACKAGE = Path(tempzero.__file__).parent
NAMES = [
    "__version__",
    "analyse",
    "claim",
    "judge",
    "load_config",
    "open_run",
    "report",
    "run",
    "verify",
]


# --- the names -----------------------------------------------------------------------------------


def test_exactly_these_names_are_exported() -> None:
    """What users build on grows and shrinks on purpose only."""
    assert tempzero.__all__ == NAMES
    assert set(NAMES) <= set(dir(tempzero))
    assert all(getattr(tempzero, name) for name in NAMES)
    with pytest.raises(AttributeError, match="has no attribute 'analyze'"):
        tempzero.analyze  # type: ignore[attr-defined]  # noqa: B018


def test_no_name_is_that_of_a_module() -> None:
    """Importing a module of that name would put it in place of the function."""
    modules = {path.stem for path in PACKAGE.iterdir()}
    assert not modules & set(NAMES)


def test_names_stay_functions_when_modules_are_loaded() -> None:
    """A submodule imported before or after a name is used changes nothing."""
    code = "import tempzero.reports, tempzero; tempzero.report\n"
    code += "import tempzero.workflow.pipeline, tempzero.analysis.opened_run\n"
    code += f"assert all(callable(getattr(tempzero, n)) for n in {NAMES[1:]})"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_loads_nothing_heavy() -> None:
    """A script that only wants the version does not wait for pandas."""
    code = "import sys, tempzero; tempzero.__version__; dir(tempzero); print(*sys.modules, sep='\\n')"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    roots = {name.split(".")[0] for name in loaded}
    assert not roots & {"pandas", "numpy", "scipy", "openai", "httpx2", "typer", "rich", "pydantic", "msgspec", "yaml"}


def test_the_command_line_loads_the_library_only_as_it_needs_it() -> None:
    """`--help` starts at once, and a history of nights starts no engine."""
    code = "import sys; from tempzero.cli import main; main(['--help']); print(*sys.modules, sep='\\n')"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {name.split(".")[0] for name in loaded} & {"pandas", "numpy", "scipy", "pydantic", "msgspec", "rich"}
    code = "import sys, tempzero.nightly.history; print(*sys.modules, sep='\\n')"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not any(name.startswith(("tempzero.engines", "tempzero.workflow.pipeline")) for name in loaded)


def test_python_m_is_the_command(tmp_path: Path) -> None:
    """Where the script's folder is not on the path, the interpreter still finds it, under its own name."""
    command = [sys.executable, "-m", "tempzero"]
    done = subprocess.run([*command, "--help"], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("Usage: tempzero [OPTIONS] COMMAND")
    assert subprocess.run([*command, "verify", str(tmp_path)], capture_output=True, check=False).returncode == 2


# --- types and examples --------------------------------------------------------------------------


USER_SCRIPT = """
from pathlib import Path
from typing import assert_type

import pandas as pd
import tempzero
from tempzero.config import Setting
from tempzero.analysis.opened_run import OpenedRun
from tempzero.types.concluded import Analysis, Verdict

setting = tempzero.load_config("providers.yaml")
assert_type(setting, Setting)
run = tempzero.run(setting, suite="quick")
assert_type(run, OpenedRun)
analysis = tempzero.analyse(run)
assert_type(analysis, Analysis)
verdict = tempzero.judge(analysis, run.config.gates)
assert_type(verdict, Verdict)
assert_type(tempzero.report(analysis, verdict, run.path), tuple[Path, ...])
assert_type(tempzero.open_run("results/x"), OpenedRun)
assert_type(run.responses, pd.DataFrame)
assert_type(run.figure("cross_emr"), pd.DataFrame)
assert_type(tempzero.claim(run, finding=1).root, str)
assert_type(tempzero.verify("claim.zip").sentence, str)
assert_type(tempzero.__version__, str)
tempzero.analyze(run)  # type: ignore[attr-defined]
tempzero.run(setting, suite="quik")  # type: ignore[arg-type]
tempzero.run(setting, repeat=3)  # type: ignore[call-arg]
if verdict.outcome == "passed":  # type: ignore[comparison-overlap]
    pass
"""


@ONE_AT_A_TIME
def test_a_user_s_script_sees_types(tmp_path: Path) -> None:
    """Under `mypy --strict` results have their types, and a misspelt name, suite, argument or outcome is an error."""
    script = tmp_path / "script.py"
    script.write_text(USER_SCRIPT)
    assert check_user_types(script) == []  # the errors that are meant are named beside their lines


@pytest.mark.parametrize("name", NAMES[1:])
def test_every_name_has_an_example_that_runs(name: str, workplace: Path) -> None:
    """What `help()` shows is what happens."""
    (example,) = doctest.DocTestFinder(recurse=False).find(getattr(tempzero, name), name, globs={"tempzero": tempzero})
    assert example.examples, "no example"
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    assert runner.run(example, out=said.append).failed == 0, "".join(said)


FRAMES = ("responses", "prompts", "pairs", "tokens", "analysis", "figure")


@pytest.mark.parametrize("name", FRAMES)
def test_every_frame_has_an_example_that_runs(name: str, workplace: Path) -> None:
    """The same for what an opened run offers."""
    member = inspect.getattr_static(OpenedRun, name)
    finder = doctest.DocTestFinder(recurse=False)
    (example,) = finder.find(getattr(member, "func", member), name, globs={"tempzero": tempzero})
    assert example.examples, "no example"
    said: list[str] = []
    assert doctest.DocTestRunner().run(example, out=said.append).failed == 0, "".join(said)


def test_every_column_is_explained(workplace: Path) -> None:
    """A column is in the docstring, with the unit in its name, and what stands there is a column."""
    run = tempzero.open_run(EXAMPLE)
    frames = {name: getattr(run, name) for name in FRAMES[:4]} | {"figure": run.figure("emr")}
    for name, frame in frames.items():
        text = inspect.getdoc(inspect.getattr_static(OpenedRun, name)) or ""
        listed = [line.split(":")[0] for line in text.splitlines() if line.startswith("- ")]
        columns = ", ".join(one.removeprefix("- ") for one in listed).split(", ")
        assert sorted(columns) == sorted(frame.columns), name


# --- DataFrames ----------------------------------------------------------------------------------

RESPONSES = (
    *("provider", "model", "prompt", "family", "condition", "repeat", "attempts", "status", "kind", "detail", "flags"),
    *("answer", "text", "reasoning", "calls", "refusal", "finish_reason", "served_model", "backend", "fingerprint"),
    *("prompt_tokens", "completion_tokens", "reasoning_tokens", "cached_tokens"),
    *("started_at", "first_byte_s", "latency_s", "in_flight"),
)


def test_a_run_is_a_row_for_each_trial(workplace: Path) -> None:
    """Numbers are numbers, texts are texts, and what was not said is missing."""
    frame = tempzero.open_run(EXAMPLE).responses
    assert tuple(frame.columns) == RESPONSES
    assert len(frame) == 18
    first = frame.iloc[0]
    assert (first.provider, first.prompt, first["repeat"], first.attempts) == ("a", "p0", 0, 1)
    assert (first.status, first.text, first.finish_reason) == ("valid", "text 0", "stop")
    assert (first.prompt_tokens, first.completion_tokens, first.latency_s) == (12, 5, 0.2)
    assert frame.reasoning_tokens.isna().all()
    assert str(frame.prompt_tokens.dtype) == "Int64"


def test_a_trial_counts_by_its_first_usable_attempt_and_else_by_its_last(tmp_path: Path) -> None:
    """The rule of the analysis: retries make no rows, and a failure is no text."""
    attempts = [
        make_attempt(make_trial(repeat=0), None, kind="server"),
        make_attempt(make_trial(repeat=0), "yes", number=2),
        make_attempt(make_trial(repeat=1), None, kind="server"),
        make_attempt(make_trial(repeat=1), None, number=2, kind="timeout"),
    ]
    frame = tempzero.open_run(make_run(tmp_path, make_config(), make_suite(), attempts)).responses
    assert frame[["repeat", "attempts", "kind"]].values.tolist() == [[0, 2, "complete"], [1, 2, "timeout"]]
    assert (frame.text[0], pd.isna(frame.text[1])) == ("yes", True)


def test_a_run_without_records_is_an_empty_frame(tmp_path: Path) -> None:
    """A run that was stopped at once opens like any other."""
    run = tempzero.open_run(make_run(tmp_path, make_config(), make_suite(), []))
    frame = run.responses
    assert tuple(frame.columns) == RESPONSES
    assert frame.empty
    assert run.pairs.emr.isna().all()
    assert run.prompts.answered.sum() == 0
    assert run.tokens.empty


def test_pairs_are_the_figures_of_the_analysis(workplace: Path) -> None:
    """The same numbers as in the report."""
    run = tempzero.open_run(EXAMPLE)
    analysis, frame = tempzero.analyse(run), run.pairs
    (between,) = frame[frame.kind == "cross"].to_dict("records")
    figures: dict[str, Estimate] = {
        f.metric: f.estimate for f in analysis.figures if f.kind == "cross" and f.family is None
    }
    for name, metric in (("emr", "cross_emr"), ("excess", "excess_divergence")):
        value = "excess_divergence" if name == "excess" else name
        estimate = figures[metric]
        assert (between[value], between[f"{name}_low"], between[f"{name}_high"], between[f"{name}_n"]) == (
            estimate.value,
            estimate.low,
            estimate.high,
            estimate.n,
        )
    assert between["noise_floor"] == figures["noise_floor"].value
    itself = frame[frame.left == frame.right]
    assert list(itself.kind) == ["repeat", "repeat"]
    assert itself.excess_divergence.isna().all()


def test_a_figure_is_every_value_of_one_metric(workplace: Path) -> None:
    """By the name in the legend; a name that is nearly one is put right, not answered with an empty frame."""
    run = tempzero.open_run(EXAMPLE)
    expected = [f.estimate.value for f in run.analysis.figures if f.metric == "emr"]
    assert run.figure("emr").value.tolist() == expected
    assert {"a", "b"} == set(run.figure("emr").left)
    with pytest.raises(UsageError, match="did you mean 'cross_emr'"):
        run.figure("cross-emr")


def test_prompts_say_where_answers_differ(workplace: Path) -> None:
    """The one to look at first is the one with the most different answers."""
    prompts = tempzero.open_run(EXAMPLE).prompts.set_index("prompt")
    assert prompts.distinct_answers.to_dict() == {"p0": 1, "p1": 2, "p2": 2}
    assert prompts.answered.tolist() == [6, 6, 6]
    assert prompts.text["p0"] == "question 0"


# --- a run ---------------------------------------------------------------------------------------


def test_a_run_works_where_a_loop_runs_already(workplace: Path) -> None:
    """In a notebook: asyncio's own door would refuse, and signals come to another thread."""

    async def cell() -> int:
        return len(tempzero.run(tempzero.load_config()).responses)

    assert asyncio.run(cell()) == 12


def test_a_run_in_a_thread_of_its_own_works(workplace: Path) -> None:
    """A service that runs it in the background; signals stay with the main thread."""
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(len(tempzero.run(tempzero.load_config()).responses)))
    thread.start()
    thread.join()
    assert found == [12]


def test_ctrl_c_in_a_notebook_keeps_what_came(workplace: Path) -> None:
    """The waiting thread is interrupted, the one that asks is cancelled, and the run goes on from there."""

    shown: list[object] = []

    def interrupt_once(attempt: object) -> None:
        shown.append(attempt)
        if len(shown) == 1:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    async def cell() -> None:
        tempzero.run(tempzero.load_config(), repeats=20, watcher=Watcher(attempt=interrupt_once))

    notebook = asyncio.new_event_loop()  # one that leaves Ctrl-C to Python, as a notebook's does
    with pytest.raises(KeyboardInterrupt):
        notebook.run_until_complete(cell())
    notebook.close()
    (path,) = (p for p in (workplace / "results").iterdir() if p.name.endswith("-run"))
    stopped = tempzero.open_run(path)
    assert 1 <= len(stopped.responses) < 120
    assert len(tempzero.run(stopped).responses) == 120


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_ends_in_the_exit_code_of_an_interruption(
    times: int, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first ends cleanly and says how to go on; a second is not waited for, and is not read as a finding."""
    shown: list[object] = []
    told: list[str] = []

    def interrupt(attempt: object) -> None:
        shown.append(attempt)
        if len(shown) == 1:
            for _ in range(times):
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    monkeypatch.setattr("tempzero.cli.progress.make_watcher", lambda: Watcher(say=told.append, attempt=interrupt))
    assert main(["run", "--repeats", "20"]) == 130
    assert any("--resume" in line for line in told) == (times == 1)


def test_a_run_goes_on_as_it_was_planned(workplace: Path) -> None:
    """A limit leaves it unfinished and is said; going on asks the rest, and nothing else can be asked for then."""
    told: list[str] = []
    stopped = tempzero.run(tempzero.load_config(), max_requests=5, check=False, watcher=Watcher(say=told.append))
    assert len(stopped.responses) == 5
    assert any("--max-requests 5 was reached" in line for line in told)
    with pytest.raises(UsageError, match="goes on as it was planned"):
        tempzero.run(stopped, repeats=3)
    assert len(tempzero.run(stopped, check=False).responses) == 12


def test_the_command_line_refuses_to_plan_anew_what_goes_on(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--resume` with another plan, or with --dry-run, would ask what nobody expects."""
    assert main(["run", "--resume", EXAMPLE, "--repeats", "3"]) == 2
    assert "goes on as it was planned" in capsys.readouterr().err
    assert main(["run", "--resume", EXAMPLE, "--dry-run"]) == 2
    assert "leave out --dry-run" in capsys.readouterr().err


def test_the_library_and_the_command_say_the_same(workplace: Path) -> None:
    """The order of analysing, judging and reporting is one: the same bytes, and the exit code is the verdict."""
    run = tempzero.open_run(EXAMPLE)
    analysis = tempzero.analyse(run)
    verdict = tempzero.judge(analysis, run.config.gates)
    written = tempzero.report(analysis, verdict, workplace / "elsewhere")
    assert main(["report", EXAMPLE]) == {"pass": 0, "finding": 1, "inconclusive": 3}[verdict.outcome]
    for path in written:
        assert path.read_bytes() == (run.path / path.relative_to(workplace / "elsewhere")).read_bytes()
    assert json.loads((run.path / "summary.json").read_text())["verdict"]["outcome"] == verdict.outcome


def test_a_setting_shows_no_key(workplace: Path) -> None:
    """The environment travels with it; a traceback or a notebook must not print it."""
    setting = tempzero.load_config("providers.yaml", environ={"SOME_API_KEY": "sk-secret"})
    assert isinstance(setting, Setting)
    assert setting.environ["SOME_API_KEY"] == "sk-secret"
    assert "sk-secret" not in repr(setting)


# --- proofs --------------------------------------------------------------------------------------


def test_a_bundle_is_made_saved_and_verified(workplace: Path) -> None:
    """A finding by its number or a rule by name; the zip has a name of its own, and holds."""
    run = tempzero.open_run(EXAMPLE)
    rules = [f.rule for f in tempzero.analyse(run).findings]
    bundle = tempzero.claim(run, finding=rules.index("nondeterministic") + 1)
    assert bundle.root == tempzero.claim(run, rule="nondeterministic", provider="b").root
    path = bundle.save()
    assert path == Path("claim-20260102T030405Z-example-nondeterministic-b.zip")
    held = tempzero.verify(path)
    assert (held.kind, held.path) == ("bundle", path)
    assert bundle.root in held.sentence


@pytest.mark.parametrize(
    "options",
    [
        {"rule": "nondeterministic"},
        {"provider": "b"},
        {"rule": "nondeterministic", "provider": "b", "finding": 1},
        {"finding": 1, "against": ["a"]},
    ],
)
def test_options_of_a_claim_that_do_not_go_together_are_refused(options: dict[str, object], workplace: Path) -> None:
    """Half a claim is not guessed at: the sentence says what goes with what."""
    with pytest.raises(UsageError, match="name either --finding N, or --rule"):
        tempzero.claim(tempzero.open_run(EXAMPLE), **options)  # type: ignore[arg-type]


def test_what_does_not_hold_is_raised(workplace: Path) -> None:
    """There is no result to look into by mistake."""
    records = chain_file(workplace / EXAMPLE)
    records.write_text(records.read_text().replace("text 1", "text 9", 1))
    with pytest.raises(RunFolderError, match=r"records/part-00001\.jsonl:"):
        tempzero.verify(EXAMPLE)
    with pytest.raises(TempzeroError):
        tempzero.verify(workplace / "nowhere")


@pytest.mark.parametrize("first", ["return 130", "raise KeyboardInterrupt"])
def test_a_second_interrupt_does_not_change_how_the_first_one_ended(first: str) -> None:
    """Impatient people press Ctrl-C twice, and what watches the process goes by its exit code."""
    code = f"""if True:
        import os, signal, tempzero.cli
        def main():
            {first}
        tempzero.cli.main = main
        code = tempzero.cli.run_process()
        os.kill(os.getpid(), signal.SIGINT)
        raise SystemExit(code)
    """
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 130
