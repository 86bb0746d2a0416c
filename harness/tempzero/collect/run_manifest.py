"""A planned run and its engines in, what its folder will say of itself out: the manifest, with versions and host."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from tempzero import records
from tempzero.canonical_json import to_ascii_canonical_json
from tempzero.collect.session import PreparedRun
from tempzero.config.shipped import find_clone
from tempzero.engines import Engine
from tempzero.engines.local.serve import RunningServer
from tempzero.types.recorded import Manifest

_VERSIONED_PACKAGES = ("tempzero", "openai", "httpx2", "numpy", "pandas", "scipy", "xllamacpp", "gguf", "jinja2")


def build_run_manifest(
    prepared: PreparedRun, engines: Mapping[str, Engine], served: Mapping[str, RunningServer], notes: tuple[str, ...]
) -> Manifest:
    """The manifest of a run that begins now."""
    now = datetime.now(UTC)
    described: dict[str, dict[str, Any]] = {name: dict(engine.describe()) for name, engine in engines.items()}
    for name, server in served.items():
        described[name]["server"] = dict(server.description)
    return Manifest(
        format=records.RUN_FORMAT,
        run_id=f"{now:%Y%m%dT%H%M%SZ}-{prepared.config.run.name}",
        created_at=now.isoformat(timespec="seconds"),
        config=prepared.config.model_dump(mode="json"),
        suite=prepared.suite,
        plan_digest=prepared.plan.digest,
        plan_seed=prepared.plan.seed,
        skipped=prepared.plan.skipped,
        versions={**_installed_versions(), "configuration": _hash_configuration(prepared)},
        host=_describe_host(),
        engines=described,
        notes=(*prepared.suite.remarks, *notes),
    )


def _hash_configuration(prepared: PreparedRun) -> str:
    """Of what was asked for, however its file is written: the same settings have the same hash."""
    settings = to_ascii_canonical_json(prepared.config.model_dump(mode="json"))
    return hashlib.sha256(settings.encode()).hexdigest()


@cache
def _installed_versions() -> Mapping[str, str]:
    """Found once: what a process has loaded stays what it was, whatever is installed or committed meanwhile."""
    versions = {"python": platform.python_version()}
    for name in _VERSIONED_PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    # An installed package may lie inside a repository of its user's, whose commit says nothing about it.
    clone, git = find_clone(), shutil.which("git")
    if git is not None and clone is not None and (clone / ".git").exists():
        commit = _ask_git(git, clone, "rev-parse", "HEAD")
        if commit:
            # What a user changes in a clone, providers.yaml say, is no other harness.
            changed = _ask_git(git, clone, "status", "--porcelain", "--", "harness", "pyproject.toml")
            versions["git"] = f"{commit}-dirty" if changed else commit
    return versions


def _ask_git(git: str, clone: Path, *arguments: str) -> str:
    # Without its optional locks: a run that is killed must not leave the clone locked.
    asked = [git, "--no-optional-locks", "-C", str(clone), *arguments]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _describe_host() -> dict[str, Any]:
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    return {"system": platform.platform(), "cpu": model, "cores": os.cpu_count()}
