"""The recipe for a metric, followed to the letter in a copy of the package: its figures, its legend, its tables."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tempzero
from making import make_attempt, make_config, make_run, make_suite, make_trial

# A measure of single texts: one file ...
CAPITALS = '''"""One text in, how much of it is capitals out."""

from __future__ import annotations

from tempzero.types.vocabulary import Metric


def capital_share(text: str) -> float | None:
    """Capitals / letters; None without letters."""
    letters = [c for c in text if c.isalpha()]
    return sum(c.isupper() for c in letters) / len(letters) if letters else None


CAPITAL_SHARE = Metric(
    name="capital_share",
    unit="share",
    kinds=("repetition",),
    title="Capitals",
    definition="Share of the letters that are capitals.",
    source="counted",
    one_means="every letter is a capital",
)
'''
# ... and one of a provider's counts.
SINGLETONS = '''"""Counts in, how many outputs came only once out."""

from __future__ import annotations

import numpy as np

from tempzero.metrics.agreement import Counts, Floats, sum_by_index
from tempzero.types.vocabulary import Metric


def count_singletons(counts: Counts) -> Floats:
    """Outputs that came once; NaN for an empty cell."""
    once = sum_by_index(counts.cell, (counts.count == 1).astype(np.float64), counts.cells)
    return np.where(np.bincount(counts.cell, minlength=counts.cells) > 0, once, np.nan)


SINGLETON_OUTPUTS = Metric(
    name="singleton_outputs",
    unit="count",
    kinds=("repeat",),
    title="Texts that came once",
    definition="Number of texts that only one repeat gave.",
    source="counted",
)
'''
# File -> what stands there, and the same with the recipe's line.
LINES = (
    ("types/vocabulary.py", "MetricName = Literal[\n", '    "capital_share",\n    "capital_share_excess",\n'),
    ("types/vocabulary.py", "MetricName = Literal[\n", '    "singleton_outputs",\n'),
    ("metrics/__init__.py", "from tempzero.types.vocabulary import", None),
    (
        "metrics/__init__.py",
        "TEXT_METRICS = (\n",
        "    TextMetric(read=capital_share, metric=CAPITAL_SHARE, "
        'excess=name_excess("capital_share_excess", CAPITAL_SHARE)),\n',
    ),
    ("analysis/registry.py", "METRICS: tuple[Metric, ...] = (\n", "    singletons.SINGLETON_OUTPUTS,\n"),
    (
        "analysis/provider_figures.py",
        '    subject, k = provider_subject(tally, "repeat"), tally.k\n',
        "    counted = singletons.count_singletons(tally.own)\n"
        "    book.add(subject, singletons.SINGLETON_OUTPUTS, counted, estimate=stats.mean_over_prompts)\n",
    ),
)
IMPORTS = {
    "metrics/__init__.py": "from tempzero.metrics.capitals import CAPITAL_SHARE, capital_share\n",
    "analysis/registry.py": "from tempzero.metrics import singletons\n",
    "analysis/provider_figures.py": "from tempzero.metrics import singletons\n",
}


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder, reported by a copy of the package that has the two new metrics."""
    folder = tmp_path_factory.mktemp("recipe")
    package = folder / "tempzero"
    shutil.copytree(Path(tempzero.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "metrics" / "capitals.py").write_text(CAPITALS)
    (package / "metrics" / "singletons.py").write_text(SINGLETONS)
    for name, after, line in LINES:
        text = (package / name).read_text()
        assert text.count(after) == 1, f"{name}: the recipe's place is gone"
        if line is not None:
            (package / name).write_text(text.replace(after, after + line))
    for name, line in IMPORTS.items():
        text = (package / name).read_text()
        first = "from __future__ import annotations\n"
        (package / name).write_text(text.replace(first, first + line, 1))
    texts = {"a": ("ABcd", "ABcd", "abcd"), "b": ("ABCD", "ABCD", "ABCD")}
    attempts = [
        make_attempt(make_trial(provider, f"p{prompt}", repeat), text)
        for provider, own in texts.items()
        for prompt in range(3)
        for repeat, text in enumerate(own)
    ]
    run = make_run(folder / "run", make_config(repeats=3), make_suite(), attempts)
    subprocess.run(
        [sys.executable, "-m", "tempzero", "report", str(run)],
        env={**os.environ, "PYTHONPATH": str(folder)},
        check=False,
        capture_output=True,
    )
    return run


def values(run: Path, metric: str) -> dict[str, Any]:
    figures = json.loads((run / "summary.json").read_text())["figures"]
    return {f["left"]: (f["value"], f["unit"]) for f in figures if f["metric"] == metric and f["family"] is None}


def test_its_figures_are_in_the_summary(reported: Path) -> None:
    """With a value for each provider and the unit of the noun; a measure of texts brings its excess with it."""
    assert values(reported, "capital_share") == {"a": (pytest.approx(1 / 3), "share"), "b": (1.0, "share")}
    assert values(reported, "capital_share_excess")["a"] == (pytest.approx(-2 / 3), "share")
    assert values(reported, "singleton_outputs") == {"a": (1.0, "count"), "b": (0.0, "count")}


def test_its_figures_are_in_the_table_of_their_kind(reported: Path) -> None:
    """For whoever reads the CSV."""
    for kind, metric in (("repetition", "capital_share"), ("repeat", "singleton_outputs")):
        with (reported / "tables" / f"{kind}.csv").open(newline="") as file:
            assert {row["left"] for row in csv.DictReader(file) if row["metric"] == metric} == {"a", "b"}


def test_the_report_shows_and_explains_it(reported: Path) -> None:
    """Under its title, with its definition and source in the legend, though no section knows it."""
    report = (reported / "report.md").read_text()
    assert "- **Capitals** (`capital_share`): Share of the letters that are capitals. Source: counted" in report
    assert "- **Texts that came once** (`singleton_outputs`): Number of texts that only one repeat gave." in report
    assert "| b |  | Capitals | 1.00 [" in report
