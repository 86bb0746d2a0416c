"""A folder as a user of the library has one: a providers.yaml, prompts, and a recorded run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from evidence import answers
from loopback import Loopback, after, completion
from making import make_config, make_run, make_suite

EXAMPLE = "results/20260102T030405Z-example"


@contextmanager
def make_workplace(folder: Path) -> Iterator[Path]:
    """Two providers answer over HTTP as long as this lasts; in the recorded run b differs from a, and from itself."""
    with Loopback(lambda call: after(0.005, completion(f"answer to {call.prompt}"))) as server:
        providers = [{"name": name, "base_url": server.base_url, "model": "m", "max_tokens": 64} for name in "ab"]
        prompts = [{"id": f"p{i}", "prompt": f"question p{i}"} for i in range(3)]
        (folder / "prompts.yaml").write_text(yaml.safe_dump({"family": "t", "suite": "quick", "prompts": prompts}))
        settings = {
            "version": 1,
            "run": {"prompts": "prompts.yaml"},
            "defaults": {"repeats": 2},
            "providers": providers,
        }
        (folder / "providers.yaml").write_text(yaml.safe_dump(settings))
        told = {f"p{i}": [f"text {i}"] * 3 for i in range(3)}
        attempts = [
            *answers("a", told),
            *answers("b", told | {"p1": ["other"] * 3, "p2": ["text 2", "text 2", "other"]}),
        ]
        make_run(folder / "results", make_config(repeats=3), make_suite(3), attempts, Path(EXAMPLE).name)
        yield folder
