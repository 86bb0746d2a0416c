"""Sample files of lm-evaluation-harness, as `--log_samples` writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from exchanging import keys_and_texts, take_in, views, write_jsonl
from tempzero.errors import ExchangeError
from tempzero.records import Run

NAME = "samples_gsm8k_2026-01-02T03-04-05.678901.jsonl"


def sample(doc: int, *responses: str, filtered: str = "strict-match", prompt: str | None = None) -> dict[str, Any]:
    settings = {"until": ["Question:"], "do_sample": False, "temperature": 0.0, "max_gen_toks": 256}
    return {
        "doc_id": doc,
        "doc": {"question": f"q{doc}", "answer": f"#### {doc}"},
        "target": f"#### {doc}",
        "arguments": {"gen_args_0": {"arg_0": prompt or f"Question: q{doc}\nAnswer:", "arg_1": settings}},
        "resps": [list(responses)],
        "filtered_resps": [responses[0]],
        "filter": filtered,
        "metrics": ["exact_match"],
        "doc_hash": "d",
        "prompt_hash": "p",
        "target_hash": "t",
        "exact_match": 1.0,
    }


def imported(tmp_path: Path, rows: list[dict[str, Any]], folder: str = "org__model", name: str = NAME) -> Run:
    write_jsonl(tmp_path / "out" / folder / name, rows)
    return take_in(tmp_path / "out")


def test_repeats_and_names_come_from_where_the_tool_puts_them(tmp_path: Path) -> None:
    """The model is the folder, the task the file's name, the repeats the inner list."""
    run = imported(tmp_path, [sample(0, "a", "b"), sample(1, "c", "d")])
    assert keys_and_texts(run) == {
        ("org__model", "gsm8k:0", "default", 0): "a",
        ("org__model", "gsm8k:0", "default", 1): "b",
        ("org__model", "gsm8k:1", "default", 0): "c",
        ("org__model", "gsm8k:1", "default", 1): "d",
    }
    prompt = run.manifest.suite.prompts[0]
    assert (prompt.family, prompt.expected, prompt.messages[0].content) == ("gsm8k", "#### 0", "Question: q0\nAnswer:")
    provider = run.config.providers[0]
    assert (provider.temperature, provider.max_tokens, provider.claimed_model) == (0.0, 256, "org__model")
    assert views(run)[0].times.started_at == "2026-01-02T03:04:05"


def test_a_document_listed_for_each_filter_is_one(tmp_path: Path) -> None:
    """Two filters read the same responses; counting them twice would double the agreement."""
    rows = [sample(0, "a"), sample(0, "a", filtered="flexible-extract"), sample(1, "b")]
    assert len(views(imported(tmp_path, rows))) == 2


def test_several_evaluations_of_a_model_are_repeats(tmp_path: Path) -> None:
    """Each date is one more pass over the task."""
    write_jsonl(tmp_path / "out" / "m" / "samples_gsm8k_2026-01-01T00-00-00.1.jsonl", [sample(0, "a")])
    write_jsonl(tmp_path / "out" / "m" / "samples_gsm8k_2026-01-02T00-00-00.1.jsonl", [sample(0, "b")])
    write_jsonl(tmp_path / "out" / "n" / "samples_gsm8k_2026-01-02T00-00-00.1.jsonl", [sample(0, "c")])
    (tmp_path / "out" / "m" / "results_2026-01-01T00-00-00.1.json").write_text('{"results": {}, "config": {}}')
    notes: list[str] = []
    run = take_in(tmp_path / "out", notes=notes)
    assert {(k[0], k[3]): t for k, t in keys_and_texts(run).items()} == {("m", 0): "a", ("m", 1): "b", ("n", 0): "c"}
    assert any("1 files that are not in that format" in note for note in notes)


def test_a_lone_file_takes_its_folder_for_the_model(tmp_path: Path) -> None:
    """The file is often named on its own."""
    write_jsonl(tmp_path / "org__model" / NAME, [sample(0, "a")])
    assert views(take_in(tmp_path / "org__model" / NAME))[0].trial.provider == "org__model"


def test_older_files_with_plain_lists_are_read(tmp_path: Path) -> None:
    """Arguments were a list of pairs before they were objects."""
    old = {**sample(0, "a"), "arguments": [["Question: q0", {"temperature": 0.5}]]}
    run = imported(tmp_path, [old], name="samples_gsm8k.jsonl")
    assert run.manifest.suite.prompts[0].messages[0].content == "Question: q0"
    assert run.config.providers[0].temperature == 0.5


def test_likelihood_tasks_have_no_texts(tmp_path: Path) -> None:
    """Scores of given answers are no answers of the model."""
    scored = {
        **sample(0, "a"),
        "arguments": {"gen_args_0": {"arg_0": "q", "arg_1": " A"}, "gen_args_1": {"arg_0": "q", "arg_1": " B"}},
        "resps": [[["-1.2", "False"]], [["-0.2", "True"]]],
    }
    with pytest.raises(ExchangeError, match="scores given answers by their likelihood"):
        imported(tmp_path, [scored])
