"""A run with log-probabilities says of what weights they are, and accuses who serves coarser ones than declared."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tempzero
from loopback import Call, Loopback, Reply, completion
from tempzero.cli import main
from tempzero.precision.shipped_packs import choose_pack

MODEL = "SmolLM2-135M-Instruct"
PACK = choose_pack(None, [MODEL])
PLACES = {p.messages[-1].content: n for n, p in enumerate(PACK.prompts)}


def serve(form: str | None) -> Callable[[Call], Reply]:
    """A host that computes with weights in this form, and rounds as a 16-bit engine does."""
    moved = next((d.by for d in PACK.directions if d.name == form), np.zeros_like(PACK.logprobs))
    given = PACK.logprobs + moved + np.random.default_rng(5).normal(size=moved.shape) * 0.05

    def answer(call: Call) -> Reply:
        content = []
        for row in np.flatnonzero(PACK.rows.prompts == PLACES[call.prompt])[: call.json["max_tokens"]]:
            tokens = PACK.places[row].tokens
            best = np.argsort(-given[row])[: call.json["top_logprobs"]]
            listed = [
                {"token": tokens[t].decode("utf-8", "replace"), "bytes": list(tokens[t]), "logprob": float(value)}
                for t, value in ((t, round(given[row, t], 4)) for t in best)
            ]
            content.append({"token": listed[0]["token"], "bytes": listed[0]["bytes"], "top_logprobs": listed})
        return completion("x", choice={"logprobs": {"content": content}})

    return answer


@pytest.fixture
def run_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A run with such hosts, each declared as it says."""
    monkeypatch.chdir(tmp_path)

    def make(command: list[str], **hosts: tuple[str | None, str]) -> Path:
        with Loopback(lambda c: serve(hosts[c.model][0])(c)) as server:
            entries = [
                f"  - {{name: {name}, base_url: '{server.base_url}', model: {name}, "
                f"request: {{logprobs: true, top_logprobs: 20}}, claims: {{model: {MODEL}, precision: {declared}}}}}"
                for name, (_, declared) in hosts.items()
            ]
            (tmp_path / "providers.yaml").write_text("version: 1\nproviders:\n" + "\n".join(entries) + "\n")
            main(command)
        (run,) = (tmp_path / "results").iterdir()
        return run

    return make


def test_a_usual_run_names_the_precision_and_judges_what_was_declared(run_of: Callable[..., Path]) -> None:
    """Where the steady prompts are asked with log-probabilities anyway, nothing more is needed to know."""
    command = ["run", "--no-check", "--prompts", "builtin/probes/steady-64", "--limit", "12"]
    run = run_of(command, kept=("fp8-e4m3-channel", "fp8"), broken=("q4_0", "bf16"), plain=(None, "bf16"))
    analysis = tempzero.analyse(tempzero.open_run(run))
    found = {one.provider: (one.forms, one.standing) for one in analysis.precision}
    assert found == {
        "kept": (("fp8-e4m3-channel",), "confirmed"),
        "broken": (("q4_0",), "contradicted"),
        "plain": ((), "confirmed"),
    }
    accused = [f.subject for f in analysis.findings if f.rule == "precision_contradicted"]
    assert accused == ["broken"]
    assert "serves llama.cpp q4_0" in (run / "report.md").read_text()
    assert json.loads((run / "summary.json").read_text())["precision"][0]["provider"] == "broken"


def test_an_audit_needs_the_pack_and_no_weights(
    run_of: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a machine without the model the shipped pack is enough."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nothing here"))
    run_of(["fingerprint", "--prompts", "8"], host=("fp8-e4m3-tensor", "fp8"))
    assert "host: serves FP8 (e4m3), one scale for each matrix" in capsys.readouterr().out
    assert not (tmp_path / "nothing here").exists()


def test_a_run_without_log_probabilities_says_that_nobody_was_asked(workplace: Path) -> None:
    """Silence would read as "nothing was found"."""
    run = tempzero.run(tempzero.load_config())
    analysis = tempzero.analyse(run)
    tempzero.report(analysis, tempzero.judge(analysis, run.config.gates), run.path)
    assert analysis.precision == ()
    assert "`tempzero fingerprint` does" in (run.path / "report.md").read_text().replace("\\", "")
