"""Figures published for recorded responses of real providers come out of the same responses.

The data are not part of this project: breckbaldwin/llm-stability (Apache-2.0), ten runs of 250 prompts at
temperature 0 (Atil et al. 2408.04667). The folder is named by TEMPZERO_RECORDED, or stands beside the checkout.
"""

from __future__ import annotations

import csv
import functools
import io
import os
import tarfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from tempzero.metrics import agreement

BESIDE = Path(__file__).parents[2].parent / "shared" / "recorded"
ARCHIVE = Path(os.environ.get("TEMPZERO_RECORDED", BESIDE)) / "llm-stability" / "fine_tuned.tgz"


@functools.cache
def recorded(run: str) -> agreement.Counts:
    """The responses of one task's ten runs, counted by prompt."""
    if not ARCHIVE.exists():
        pytest.skip(f"no recorded responses at {ARCHIVE}; set TEMPZERO_RECORDED to their folder")
    responses = defaultdict(list)
    with tarfile.open(ARCHIVE) as archive:
        for member in archive:
            path = Path(member.name)
            # macOS leaves ._*.csv files beside the real ones.
            if path.suffix != ".csv" or path.name.startswith("._") or not path.parent.name.startswith(run):
                continue
            file = archive.extractfile(member)
            assert file is not None
            for row in csv.DictReader(io.TextIOWrapper(file, encoding="utf-8")):
                responses[row["rubric_id"]].append(row["response"])
    numbers: dict[str, int] = {}
    cell = [j for j, texts in enumerate(responses.values()) for _ in texts]
    output = [numbers.setdefault(t, len(numbers)) for texts in responses.values() for t in texts]
    assert len(responses) == 250
    return agreement.count_outputs(np.array(cell), np.array(output), cells=len(responses))


@pytest.mark.parametrize(
    ("run", "k", "published"),
    [
        ("gpt-35-turbo-0.0-logical_deduction-few-2024", 10, 0.796),
        ("gpt-35-turbo-0.0-logical_deduction-few-2024", 5, 0.856),
        ("gpt-35-turbo-0.0-logical_deduction-few-2024", 2, 0.930),
        ("gpt-35-turbo-0.0-navigate-few-2024", 10, 0.868),
    ],
)
def test_published_agreement_comes_out(run: str, k: int, published: float) -> None:
    """The same texts give the same TARr@k as in the paper, or the definition is another one."""
    assert float(agreement.total_agreement_rate(recorded(run), k).mean()) == pytest.approx(published, abs=0.0005)
