"""Published figures come out of other people's records, through import and the ordinary analysis.

The data are not part of this project: breckbaldwin/llm-stability (Apache-2.0; Atil et al. 2408.04667) and
lchen001/LLMDrift (Apache-2.0; Chen et al. 2307.09009). The folder is named by TEMPZERO_RECORDED, or stands beside
the checkout.
"""

from __future__ import annotations

import math
import os
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from tempzero import exchange, records
from tempzero.analysis import analyse
from tempzero.records import Run
from tempzero.reports import write_reports
from tempzero.types.concluded import Analysis
from tempzero.verdict.gate import judge

BESIDE = Path(__file__).parents[2].parent / "shared" / "recorded"
RECORDED = Path(os.environ.get("TEMPZERO_RECORDED", BESIDE))

PRIME = (
    "provider=model,id=id,prompt=query,text=answer,expected=ref_answer,family=dataset,temperature=temperature,"
    "max_tokens=max_tokens,latency_s=latency,completion_tokens=answer_token"
)
# The two readings behind the published figures: the last "yes" or "no" of the text, and the last of the form
# that the prompt asked for.
LOOSE = r"(?is)\b(yes|no)\b(?!.*\b(?:yes|no)\b)"
STRICT = r"(?s)\[(Yes|No)\](?!.*\[(?:Yes|No)\])"


def imported(tmp: Path, name: str, **options: object) -> Run:
    source = RECORDED / name
    if not source.exists():
        pytest.skip(f"no recorded responses at {source}; set TEMPZERO_RECORDED to their folder")
    recipe = exchange.recipe_from_options(**options)  # type: ignore[arg-type]
    return records.open_run(exchange.import_records(source, results=tmp, recipe=recipe))


@pytest.fixture(scope="module")
def stability(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Ten runs of two tasks; without --only the fine-tuned models of the archive come along."""
    tmp = tmp_path_factory.mktemp("stability")
    return imported(tmp, "llm-stability/fine_tuned.tgz", only=["runs/gpt-35-turbo-*"])


@pytest.fixture(scope="module")
def analysed(stability: Run) -> Analysis:
    return analyse(stability)


@pytest.mark.parametrize(
    ("task", "k", "published"),
    [
        ("logical_deduction", 10, 0.796),
        ("navigate", 10, 0.868),
        ("logical_deduction", 2, 0.930),
        ("logical_deduction", 5, 0.856),
    ],
)
def test_agreement_at_temperature_zero(analysed: Analysis, task: str, k: int, published: float) -> None:
    """TARr@k is a figure of the ordinary analysis, for each task."""
    figures = [f for f in analysed.figures if (f.metric, f.left, f.k) == ("tarr", "gpt-35-turbo", k)]
    found = {f.condition: f.estimate.value for f in figures if f.family is None}
    assert found[f"{task} shots=few"] == pytest.approx(published, abs=0.0005)


def test_agreement_of_five(stability: Run) -> None:
    """TARr@5, counted here by its definition over the imported records, and not by the analysis."""
    texts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for view in stability.views():
        if view.trial.condition.startswith("logical_deduction"):
            assert view.outcome.completion is not None
            texts[view.trial.prompt][view.outcome.completion.text] += 1
    shares = [sum(math.comb(m, 5) for m in counts.values()) / math.comb(10, 5) for counts in texts.values()]
    assert len(shares) == 250
    assert sum(shares) / 250 == pytest.approx(0.856, abs=0.0005)


def test_the_censored_archive_is_known_as_such(tmp_path: Path) -> None:
    """Prompts there were no longer asked after their first divergence: naive TARr is 1.0, and false."""
    run = imported(tmp_path, "llm-stability/newsletter_1_3.tgz")
    noted = [n for n in run.manifest.notes if n.startswith("sampling: censored")]
    stopped = ("gemini_15_pro", "gemini_25_pro", "gpt-35_OAI", "gpt-4o_OAI", "llama3-70b", "llama3-8b", "mixtral-8x7b")
    assert [n.split(": ")[2].split(" in ")[0] for n in noted] == list(stopped)
    assert "90 of 100 prompts have fewer than 21 repeats" in noted[4]
    assert "100 of 100 after 1, 38 of 100 after 3" in noted[4]
    assert any("5 files (resource forks" in n for n in run.manifest.notes)
    analysis = analyse(run)
    write_reports(analysis, judge(analysis, run.config.gates), tmp_path)
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "Same text again, college_mathematics: – (refused: sampling stopped at the first divergence)" in page
    assert "- the agreement of its repeats is refused: sampling stopped at the first divergence;" in page
    survivors = next(line for line in page.splitlines() if line.startswith("| llama3-70b") and "38, n=100" in line)
    assert survivors.split(" | ")[1:4] == ["100, n=100", "53, n=100", "38, n=100"]


@pytest.mark.parametrize(
    ("pattern", "published"),
    [
        (LOOSE, {"gpt-3.5-turbo-0301": 0.500, "gpt-3.5-turbo-0613": 0.761, "gpt-4-0314": 0.840, "gpt-4-0613": 0.511}),
        (STRICT, {"gpt-3.5-turbo-0301": 0.518, "gpt-3.5-turbo-0613": 0.680, "gpt-4-0613": 0.502}),
    ],
    ids=["the last yes or no", "the form that was asked for"],
)
def test_accuracy_depends_on_the_reading(tmp_path: Path, pattern: str, published: dict[str, float]) -> None:
    """The same texts give other accuracies by another extractor: the extractor is part of the measurement."""
    options = {"maps": [PRIME], "extractor": "regex", "arguments": [f"pattern={pattern}"]}
    analysis = analyse(imported(tmp_path, "llm-drift/PRIME_FULL_EVAL.csv", **options))
    figures = [f for f in analysis.figures if f.family is None and f.right is None]
    accuracy = {f.left.removeprefix("openaichat-"): f.estimate.value for f in figures if f.metric == "accuracy"}
    assert {model: accuracy[model] for model in published} == pytest.approx(published, abs=0.0005)
    chars = {f.left.removeprefix("openaichat-"): f.estimate.value for f in figures if f.metric == "verbosity_chars"}
    assert chars["gpt-4-0314"] == pytest.approx(638, abs=0.5)
    assert chars["gpt-4-0613"] == pytest.approx(3.9, abs=0.05)
