"""What the contract suite says of hosts that break one promise, and of hosts that break none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from contract_faults import FAULTS, Planted
from contract_host import DIALECTS, ContractHost, Dialect, Fault
from loopback import Answer, Loopback, error
from tempzero.config import Setting
from tempzero.contract import CASES, MOST_REQUESTS, ProviderContract, check_contract, find_families

# Cases that say FAIL of nothing: what they look at hangs on the model, or is told and not promised.
NEVER_BROKEN = {"tools.auto", "errors.message"}


def look_at(folder: Path, answer: Answer, families: Sequence[str] = (), **entry: Any) -> ProviderContract:
    """What one endpoint makes of the promises of these families."""
    with Loopback(answer) as server:
        provider = {"name": "p", "base_url": server.base_url, "model": "m", "concurrency": 4, **entry}
        (folder / "providers.yaml").write_text(yaml.safe_dump({"version": 1, "providers": [provider]}))
        setting = Setting.load(folder / "providers.yaml", {})
        (found,) = check_contract(setting, families=find_families(families)).providers
    return found


def list_broken(found: ProviderContract) -> dict[str, str]:
    return {result.id: result.words for result in found.results if result.state == "FAIL"}


@pytest.mark.parametrize("planted", FAULTS, ids=lambda planted: planted.name)
def test_a_broken_promise_is_named_by_its_case(planted: Planted, tmp_path: Path) -> None:
    """Whoever reads the sentence knows what to repair; a fault under another name sends them elsewhere."""
    host = ContractHost(planted.dialect, planted.fault)
    found = look_at(tmp_path, host, planted.families, **planted.entry)
    broken = list_broken(found)
    assert planted.case in broken, found.results
    assert planted.words in broken[planted.case]
    assert broken.keys() <= {planted.case, *planted.also}, broken
    assert found.outcome == "finding"
    assert found.requests <= MOST_REQUESTS


def test_every_case_can_say_that_a_promise_is_broken() -> None:
    """A case that nothing breaks would pass everybody."""
    seen = {case for planted in FAULTS for case in (planted.case, *planted.also)}
    assert len({planted.name for planted in FAULTS}) == len(FAULTS) >= 40
    assert {case.id for case in CASES} - seen == NEVER_BROKEN
    assert all(case.id.startswith(f"{case.family}.") for case in CASES)


def test_the_manual_lists_every_case() -> None:
    """Whoever is accused looks up what was promised."""
    docs = Path(__file__).parent.parent.parent / "docs"
    rows = re.findall(r"^\| `([a-z_0-9.]+)` \| (.*) \|$", (docs / "contract.md").read_text(), re.MULTILINE)
    assert rows == [(case.id, case.promise) for case in CASES]
    assert f"{len(CASES)} cases" in (docs / "commands.md").read_text()


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_an_honest_host_is_not_accused(dialect: Dialect, tmp_path: Path) -> None:
    """Other spellings, refusals, near-ties, passing faults and a weak model are no broken promise."""
    found = look_at(tmp_path, ContractHost(dialect, seed=7), **dialect.entry)
    assert not list_broken(found)
    assert found.outcome == "pass"
    assert found.requests <= MOST_REQUESTS
    assert not [result for result in found.results if not result.words]


def test_a_weak_model_is_not_taken_for_a_broken_host(tmp_path: Path) -> None:
    """That it calls no tool and repeats no line is the model's; the words say so."""
    weak = next(dialect for dialect in DIALECTS if not dialect.capable)
    found = look_at(tmp_path, ContractHost(weak, seed=3), ["tools", "shape"])
    states = {result.id: result.state for result in found.results}
    assert states["tools.auto"] == "INCONCLUSIVE"
    assert states["shape.characters"] == "INCONCLUSIVE"
    assert states["tools.named"] == "PASS"


def test_what_is_refused_is_skipped_with_the_refusal(tmp_path: Path) -> None:
    """An endpoint that says that it cannot is honest; one that takes a field and ignores it is not."""
    found = look_at(tmp_path, ContractHost(Dialect(name="d", refuses=("n", "logprobs"))), ["n", "logprobs"])
    assert {result.state for result in found.results} == {"SKIP"}
    assert all("is not supported" in result.words for result in found.results)


def test_what_was_seen_once_is_not_said(tmp_path: Path) -> None:
    """One stream without its end is a torn connection; the same again is a promise broken."""
    streams: list[int] = []

    def chunks(asked: dict[str, Any], sent: list[dict[str, Any]]) -> list[dict[str, Any]]:
        streams.append(1)
        if len(streams) > 2:
            return sent
        return [chunk for chunk in sent if "usage" not in chunk]

    found = look_at(tmp_path, ContractHost(fault=Fault(chunks=chunks)), ["stream"], concurrency=1)
    (usage,) = [result for result in found.results if result.id == "stream.usage"]
    assert (usage.state, usage.words.split(":")[0]) == ("INCONCLUSIVE", "seen once, and not when asked again")


def test_an_endpoint_that_does_not_answer_is_told_and_not_judged(tmp_path: Path) -> None:
    """Nothing is known of it: that is no pass and no finding."""
    found = look_at(tmp_path, lambda call: error(401, "bad key", code="invalid_api_key"))
    assert (found.outcome, found.results) == ("inconclusive", ())
    assert found.silence is not None
    assert "auth" in found.silence


def test_an_endpoint_that_dies_is_not_asked_on(tmp_path: Path) -> None:
    """Eighty cases would otherwise each wait for a deadline; what was not asked is open."""
    host, asked = ContractHost(), list[int]()

    def answer(call: Any) -> Any:
        asked.append(1)
        return host(call) if len(asked) < 12 else error(503, "down", headers={"retry-after": "0"})

    found = look_at(tmp_path, answer)
    assert found.outcome == "inconclusive"
    assert not list_broken(found)
    assert found.requests < 60


def test_no_more_than_so_many_requests_are_sent(tmp_path: Path) -> None:
    """Somebody pays for them."""
    with Loopback(ContractHost()) as server:
        provider = {"name": "p", "base_url": server.base_url, "model": "m"}
        (tmp_path / "providers.yaml").write_text(yaml.safe_dump({"version": 1, "providers": [provider]}))
        report = check_contract(Setting.load(tmp_path / "providers.yaml", {}), most_requests=20)
        assert len([call for call in server.calls if call.method == "POST"]) == 20
    assert report.outcome == "inconclusive"
    assert any("20 requests had been sent" in result.words for result in report.providers[0].results)
