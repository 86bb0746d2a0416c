"""Nights of a real engine behind a real port: a coarser copy under the same name is found, a restart is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tempzero import records
from tempzero.cli import main
from tempzero.nightly import history, trend
from tiny_gguf import tiny_model

TOPICS = ("a river", "the moon", "bread", "a short poem on rain", "trains", "the number nine", "a cat", "winter")


def configure(folder: Path, *, concurrency: int = 1, **serve: Any) -> Path:
    """One endpoint called `ep`, served tonight in the way that `serve` says, and its float32 reference."""
    (folder / "prompts").mkdir(exist_ok=True)
    prompts = [{"id": f"q{i}", "prompt": f"Write about {topic}."} for i, topic in enumerate(TOPICS)]
    (folder / "prompts" / "test.yaml").write_text(yaml.safe_dump({"family": "test", "prompts": prompts}))
    served = {"weights": "small", "precision": "f16", "context": 512, "threads": 1, **serve}
    entry = {"name": "ep", "serve": served, "claims": {"model": "small"}, "concurrency": concurrency}
    reference = {
        "name": "ref",
        "local": {"weights": "small", "precision": "f32", "context": 512, "threads": 1},
        "claims": {"model": "small"},
        "repeats": 1,
    }
    weights = {"source": f"path:{tiny_model()}", "licence": "none, it is random"}
    settings = {
        "version": 1,
        "run": {"name": "night", "reference": "ref"},
        "score": {"forms": []},
        "weights": {"small": weights},
        "defaults": {"repeats": 3, "max_tokens": 8},
        "providers": [entry, reference],
    }
    file = folder / "providers.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


@pytest.mark.engine
def test_a_quantised_copy_under_the_same_name_alarms_that_night_and_nothing_before_does(tmp_path: Path) -> None:
    """Restarts, other ports, threads and loads are not another model; coarser weights are, and before the alarm is
    given the reference reads whether they differ by more than rounding. It reads nothing in quiet nights."""
    nights: list[dict[str, Any]] = [{}, {"threads": 2, "slots": 2, "concurrency": 2}, {"precision": "q4_0"}]
    codes = []
    for index, how in enumerate(nights, start=1):
        file = configure(tmp_path, **how)
        codes.append(main(["nightly", "--config", str(file), "--night", f"2026-01-0{index}"]))
        if index == 1:
            (run,) = (tmp_path / "results").glob("*Z-*")
            assert main(["baseline", "set", str(run), "--config", str(file)]) == 0
    assert codes == [3, 0, 1]
    found = history.read_nights(tmp_path / "results")
    assert [[e.side.provider for e in n.entries] for n in found] == [["ep"]] * 3, "a yardstick is nobody to watch"
    read = {n.night: records.open_run(tmp_path / "results" / n.run).reading().scored for n in found}
    assert [night for night, lines in read.items() if lines] == ["2026-01-03"]
    entry = found[-1].entry("ep")
    assert entry is not None
    assert (
        "differ from the reference by more than rounding (beyond 16-bit rounding: texts differ on 8 of 8 prompts"
        in (entry.decision.reason)
    )
    assert entry.decision.since == "2026-01-03"
    assert "| ep | changed | 2026-01-03 |" in trend.history_to_markdown(found)
    assert main(["verify", str(tmp_path / "results" / "history" / "evidence" / "2026-01-03-ep.zip")]) == 0
