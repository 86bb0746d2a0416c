"""Log-probabilities of first tokens asked beside a run's own prompts, and by `check --deep`: hosts made by numbers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tempzero
import yaml
from loopback import Call, Loopback, Reply, completion, error
from numeric_hosts import PACK, PROMPTS, serve
from tempzero.cli import main
from tempzero.errors import RunFolderError
from tempzero.precision.packs import save_pack
from tempzero.records import DIRECTION_PACK, FIRST_TOKENS, open_run

BY_TEXT = {prompt.messages[-1].content: number for number, prompt in enumerate(PACK.prompts)}
# Whose weights are in which form, and what each declares.
HOSTS: dict[str, tuple[tuple[str, ...], str | None]] = {
    "kept": (("fp8-channel",), "fp8"),
    "broken": (("int4",), "bf16"),
    "plain": ((), "bf16"),
}
PACK_IDS = [prompt.id for prompt in PACK.prompts]
OWN = 3  # prompts of the run's own


class Hosts:
    """One server for all hosts, a folder with a configuration that names a pack, and what was asked."""

    def __init__(self, folder: Path, server: Loopback) -> None:
        self.folder, self.server = folder, server
        self.given = {name: serve(*forms, seed=n) for n, (name, (forms, _)) in enumerate(HOSTS.items())}
        self.mute: set[str] = set()
        server.answer = self.answer
        save_pack(PACK, folder / "pack.json")
        (folder / "prompts").mkdir()
        prompts = [{"id": f"q{i}", "prompt": f"q{i}"} for i in range(OWN)]
        (folder / "prompts" / "own.yaml").write_text(yaml.safe_dump({"family": "own", "prompts": prompts}))

    def configure(self, *names: str, **run: Any) -> None:
        entries = [
            {
                "name": name,
                "base_url": self.server.base_url,
                "model": name,
                "attempts": 1,
                "price": {"input_per_mtok": 1, "output_per_mtok": 1},
                "claims": {"model": PACK.model, "precision": HOSTS[name][1]},
            }
            for name in names
        ]
        settings = {
            "version": 1,
            "run": {"direction_pack": "pack.json", "fingerprint": PROMPTS, **run},
            "gates": {"min_prompts": 2},
            "defaults": {"repeats": 2},
            "providers": entries,
        }
        (self.folder / "providers.yaml").write_text(yaml.safe_dump(settings))

    def answer(self, call: Call) -> Reply:
        if call.method == "GET":  # the list of models
            return error(404)
        if "top_logprobs" not in call.json:
            return completion("as always", model=call.model)
        if call.model in self.mute:
            return error(400, "logprobs are not supported")
        given = self.given[call.model][BY_TEXT.get(call.prompt, 0)]
        best = np.argsort(-given)[: call.json["top_logprobs"]]
        listed = [{"token": f" t{t}", "logprob": float(given[t])} for t in best]
        return completion(
            "x", model=call.model, choice={"logprobs": {"content": [{"token": " t0", "top_logprobs": listed}]}}
        )

    def count(self, name: str) -> int:
        return sum(call.model == name and "top_logprobs" in call.json for call in self.server.calls)

    def only_run(self) -> Path:
        (run,) = (self.folder / "results").iterdir()
        return run


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    """A workplace with three hosts."""
    monkeypatch.chdir(tmp_path)
    with Loopback(lambda _: error(500)) as server:
        yield Hosts(tmp_path, server)


def read_summary(run: Path) -> dict[str, dict[str, Any]]:
    return {one["provider"]: one for one in json.loads((run / "summary.json").read_text())["precision"]}


def test_a_run_names_the_weights_by_itself(hosts: Hosts, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody has to know of a second command: who serves coarser weights than declared is found by the first."""
    hosts.configure("kept", "broken", "plain")
    assert main(["run", "--no-check"]) == 1
    run, said = hosts.only_run(), capsys.readouterr()
    assert f"{PROMPTS} short requests each to kept, broken, plain" in said.err
    found = {name: (one["forms"], one["standing"]) for name, one in read_summary(run).items()}
    assert found == {
        "kept": (["fp8-channel"], "confirmed"),
        "broken": (["int4"], "contradicted"),
        "plain": ([], "confirmed"),
    }
    assert "contradicted (broken); confirmed (kept, plain)" in " ".join(said.out.split())
    page = (run / "report.md").read_text()
    assert "By its first tokens it serves fp8-channel, as it declares" in page.replace("\\", "")
    opened = tempzero.open_run(run)
    accused = [f.subject for f in tempzero.analyse(opened).findings if f.rule == "precision_contradicted"]
    assert accused == ["broken"]
    # They are no part of what the run compares, and all of what it holds.
    assert {view.trial.prompt for view in opened.views()} == {f"q{i}" for i in range(OWN)}
    assert {view.trial.prompt for view in open_run(run / FIRST_TOKENS).views()} == set(PACK_IDS)
    assert f"{FIRST_TOKENS}/run.sha256" in (run / "run.sha256").read_text()
    assert main(["fingerprint", str(run), "--json"]) == 1
    assert main(["verify", str(run)]) == 0


def test_hosts_of_the_same_weights_stand_in_one_camp_without_any_form(
    hosts: Hosts, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whose weights are the same can be said by a pack that holds nothing but the reference."""
    hosts.given |= {"plain": serve("fp8-channel", seed=7)}
    hosts.configure("kept", "plain", "broken")
    save_pack(replace(PACK, directions=()), hosts.folder / "pack.json")
    main(["run", "--no-check"])
    run = hosts.only_run()
    assert json.loads((run / "summary.json").read_text())["moved_alike"] == [["kept", "plain"]]
    assert "whatever the form: kept, plain" in (run / "report.md").read_text().replace("\\", "")
    capsys.readouterr()
    main(["fingerprint", str(run)])
    assert "kept and plain are moved alike" in capsys.readouterr().out


def test_what_was_asked_beside_is_evidence_like_all_else(hosts: Hosts) -> None:
    """A changed log-probability, or another pack, is found when the run is verified."""
    hosts.configure("plain")
    main(["run", "--no-check"])
    run = hosts.only_run()
    (run / FIRST_TOKENS / DIRECTION_PACK).write_bytes((run / FIRST_TOKENS / DIRECTION_PACK).read_bytes() + b" ")
    with pytest.raises(RunFolderError, match=DIRECTION_PACK):
        tempzero.verify(run)


@pytest.mark.parametrize(("run", "arguments"), [({"fingerprint": 0}, []), ({}, ["--no-fingerprint"])])
def test_who_wants_none_is_asked_none(hosts: Hosts, run: dict[str, int], arguments: list[str]) -> None:
    """A setting for always, an option for once."""
    hosts.configure("plain", **run)
    main(["run", "--no-check", *arguments])
    assert hosts.count("plain") == 0
    assert not (hosts.only_run() / FIRST_TOKENS).exists()


def test_who_gives_none_is_asked_a_few_times_and_told(hosts: Hosts, capsys: pytest.CaptureFixture[str]) -> None:
    """The looks count and are recorded; the run itself is as ever, and its precision untested."""
    hosts.mute = {"plain"}
    hosts.configure("plain")
    assert main(["run", "--no-check"]) in (0, 3)
    assert hosts.count("plain") <= 4
    run, said = hosts.only_run(), capsys.readouterr().err
    assert "plain: no log-probabilities: " in said
    assert open_run(run).preflights() == hosts.count("plain")
    assert not (run / FIRST_TOKENS).exists()


def test_a_plan_counts_them_and_their_cost(hosts: Hosts, capsys: pytest.CaptureFixture[str]) -> None:
    """Before a cent is spent it is said how many requests there are besides."""
    hosts.configure("kept", "plain", fingerprint=8)
    assert main(["run", "--dry-run"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Besides, 16 short requests at most" in said
    assert "$0.0" in said.partition("Besides")[2]
    assert hosts.server.calls == []
    main(["run", "--dry-run", "--no-fingerprint"])
    assert "Besides" not in capsys.readouterr().out


def test_a_run_that_was_stopped_before_them_goes_on_with_them(hosts: Hosts) -> None:
    """Limits are of the whole command; nothing is asked twice."""
    hosts.configure("plain")
    main(["run", "--no-check", "--max-requests", str(1 + 2 * OWN + 5)])
    run = hosts.only_run()
    assert hosts.count("plain") == 1 + 5
    main(["run", "--resume", str(run), "--no-check"])
    assert hosts.count("plain") == 1 + PROMPTS
    assert read_summary(run)["plain"]["standing"] == "confirmed"
    assert main(["verify", str(run)]) == 0


def test_a_run_that_was_killed_before_their_pack_was_written_is_still_a_run(hosts: Hosts) -> None:
    """The folder is made before the pack: what was asked of the run's own prompts is lost by that to nobody."""
    hosts.configure("plain")
    main(["run", "--no-check", "--max-requests", str(1 + 2 * OWN)])
    run = hosts.only_run()
    manifest = json.loads((run / FIRST_TOKENS / "manifest.json").read_text())
    (run / FIRST_TOKENS / "manifest.json").write_text(json.dumps({**manifest, "sessions": []}))
    (run / FIRST_TOKENS / DIRECTION_PACK).unlink()
    main(["run", "--resume", str(run), "--no-check"])
    assert main(["report", str(run)]) == 0
    assert main(["verify", str(run)]) == 0
    assert json.loads((run / "summary.json").read_text())["precision"] == []


def test_the_same_folder_gives_the_same_bytes_whatever_pack_there_is_later(hosts: Hosts) -> None:
    """The pack lies with the answers: a report is made again without the file that it was chosen from."""
    hosts.configure("kept", "broken")
    main(["run", "--no-check"])
    run = hosts.only_run()
    before = (run / "summary.json").read_bytes(), (run / "report.html").read_bytes()
    (hosts.folder / "pack.json").unlink()
    main(["report", str(run)])
    assert ((run / "summary.json").read_bytes(), (run / "report.html").read_bytes()) == before


def test_the_screen_tells_what_is_served_where_nothing_is_declared(
    hosts: Hosts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """ "Untested" would be said of weights that were named."""
    monkeypatch.setitem(HOSTS, "broken", (("int4",), None))
    hosts.configure("broken")
    main(["run", "--no-check"])
    assert "declared precision, by first tokens: none, broken serves int4" in " ".join(capsys.readouterr().out.split())


def test_a_deep_check_names_them_as_well(hosts: Hosts, capsys: pytest.CaptureFixture[str]) -> None:
    """`check` says how many log-probabilities there are; with `--deep` also what they say."""
    hosts.configure("broken", "plain")
    assert main(["check", "--deep", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert {row["provider"]: row["top_logprobs"] for row in said["providers"]} == {"broken": "20", "plain": "20"}
    standings = {host["provider"]: host["standing"] for host in said["fingerprint"]["hosts"]}
    assert standings == {"broken": "contradicted", "plain": "confirmed"}
    shutil.rmtree(hosts.folder / "results")  # two runs of one second would have one name
    assert main(["check", "--deep", "--providers", "plain"]) in (0, 3)
    assert "declared precision confirmed" in capsys.readouterr().out


def test_a_deep_check_of_whoever_wants_none_beside_runs_asks_no_more_than_others(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pack may have hundreds of prompts: none for runs does not mean all of them for a check."""
    monkeypatch.setattr("tempzero.config.run_models.FIRST_TOKENS_ASKED", 8)
    hosts.configure("plain", fingerprint=0)
    main(["check", "--deep"])
    assert 8 < hosts.count("plain") <= 8 + 4


def test_a_deep_check_of_a_model_without_a_pack_passes_nobody(hosts: Hosts, capsys: pytest.CaptureFixture[str]) -> None:
    """What was not measured is not a pass."""
    hosts.configure("plain", direction_pack=None)
    assert main(["check", "--deep"]) == 3
    assert "no direction pack for tiny" in capsys.readouterr().err


@pytest.mark.parametrize("decimals", [2, 3, 4])
def test_rounded_and_floored_log_probabilities_are_told_and_still_name(
    hosts: Hosts, decimals: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Some hosts round what they give, and write -100 where they have no value."""

    def answer(call: Call) -> Reply:
        number = BY_TEXT.get(call.prompt, 0)
        given = hosts.given["kept"][number]
        best = np.argsort(-given)[:20]
        told = [round(float(given[t]), decimals) if rank < 5 else -100.0 for rank, t in enumerate(best)]
        listed = [{"token": f" t{t}", "logprob": value} for t, value in zip(best, told, strict=True)]
        return completion("x", choice={"logprobs": {"content": [{"token": " t0", "top_logprobs": listed}]}})

    hosts.server.answer = answer
    hosts.configure("kept")
    assert main(["fingerprint"]) == 0
    said = capsys.readouterr().out
    assert f"5 log-probabilities each at most, rounded to {decimals} decimals, {15 * PROMPTS} of them stand for" in said
    assert "kept: serves fp8-channel" in said
    assert "declared precision confirmed" in said
