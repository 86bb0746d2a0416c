"""Nights of what others recorded: somebody's logs are read back by date, by the rule of every other night."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import pytest
from tempzero.cli import main
from tempzero.nightly import history

CHANGED_FROM = 16


def write_logs(folder: Path, days: int = 22) -> Path:
    """A file a day of one provider; from the 17th day on three of its twelve answers are others, for good."""
    folder.mkdir()
    for i in range(days):
        day = (date(2026, 1, 1) + timedelta(days=i)).isoformat()
        rows = [
            {
                "model": "acme",
                "q": f"question {q}?",
                "a": f"answer {q}" + (" and more" if (i >= CHANGED_FROM and q < 3) or (i + q + r) % 17 == 0 else ""),
                "run": r,
                "at": f"{day}T03:0{r}:00Z",
            }
            for q in range(12)
            for r in range(3)
        ]
        (folder / f"{day}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def configure(folder: Path) -> Path:
    file = folder / "providers.yaml"
    file.write_text(
        "version: 1\nproviders: [{name: acme, base_url: 'http://127.0.0.1:9/v1', model: acme, claims: {model: acme}}]\n"
    )
    return file


@pytest.mark.parametrize("dated", ["date=at", "date=@stem,ignore=at"])
def test_the_night_of_a_change_is_found_in_somebodys_logs_and_nothing_before(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], dated: str
) -> None:
    """ "Would you have told me?" is answered before anybody installs a scheduler."""
    file = configure(tmp_path)
    asked = ["nightly", "--config", str(file), "--map", f"provider=model,prompt=q,text=a,{dated}"]
    assert main([*asked, "--from", str(write_logs(tmp_path / "logs"))]) == 1
    shown = capfd.readouterr().out
    assert "baseline: acme: 108 answers" in shown
    assert "19 nights made" in shown
    told = [line for line in shown.splitlines() if line.startswith("would have been told")]
    assert told == [
        "would have been told on 2026-01-17: acme changed since the night of 2026-01-17 (last as before: 2026-01-16)"
    ]
    nights = history.read_nights(tmp_path / "results")
    states = [e.decision.state for n in nights for e in n.entries]
    assert states[:13] == ["ok"] * 13
    assert set(states[13:]) == {"changed"}
    (run,) = (tmp_path / "results").glob("*Z-*")
    assert main(["history", "import", str(run), "--config", str(file)]) == 0
    shown = capfd.readouterr().out
    assert "0 nights made, 22 on file already" in shown
    assert "| acme | changed | 2026-01-17 |" in shown
    assert (tmp_path / "results" / "history" / "page" / "night-2026-01-17.html").is_file()


def test_records_without_a_date_make_no_nights(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Nights in the order of a file's lines would be made up."""
    file = configure(tmp_path)
    logs = write_logs(tmp_path / "logs", days=3)
    asked = ["nightly", "--config", str(file), "--map", "provider=model,prompt=q,text=a,ignore=at"]
    assert main([*asked, "--from", str(logs / "2026-01-01.jsonl")]) == 2
    assert "no record says when it was asked" in capfd.readouterr().err
    assert main(["history", "export", "--config", str(file)]) == 2
