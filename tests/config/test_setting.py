"""A configuration, its folder and its environment travel together."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from tempzero.config import Setting
from tempzero.errors import ConfigError

SECRET = "sk-or-v1-0123456789abcdef"


def written(folder: Path) -> Path:
    """A providers.yaml in a folder."""
    file = folder / "providers.yaml"
    file.write_text(
        "version: 1\nrun: {results: out/runs}\n"
        "providers: [{name: a, base_url: 'https://example.com/v1', model: m, api_key_env: SOME_KEY}]\n"
    )
    return file


def test_paths_start_from_the_folder_of_the_file(tmp_path: Path) -> None:
    """A command finds the same prompts and results wherever it is called."""
    file = written(tmp_path)
    setting = Setting.load(file, {"SOME_KEY": SECRET})
    assert (setting.file, setting.root) == (file, tmp_path)
    assert setting.results == tmp_path / "out" / "runs"
    assert setting.config.providers[0].name == "a"
    assert setting.environ["SOME_KEY"] == SECRET


def test_a_setting_that_is_shown_shows_no_secret(tmp_path: Path) -> None:
    """A traceback, a log line or a notebook cell prints values; keys must not be among them."""
    setting = Setting.load(written(tmp_path), {"SOME_KEY": SECRET})
    assert "SOME_KEY" in repr(setting)  # the name that the configuration gives may be seen
    assert SECRET not in f"{setting!r} {setting}"


def test_a_setting_never_changes(tmp_path: Path) -> None:
    """What a run was planned with is what it is asked with."""
    setting = Setting.load(written(tmp_path), {})
    with pytest.raises(dataclasses.FrozenInstanceError):
        setting.root = Path()  # type: ignore[misc]


def test_a_file_that_is_missing_is_said(tmp_path: Path) -> None:
    """The first command of a newcomer is called in the wrong folder; the message says what to do."""
    with pytest.raises(ConfigError, match=r"providers\.yaml: no such file; `tempzero init` writes a first one"):
        Setting.load(tmp_path / "providers.yaml", {})
