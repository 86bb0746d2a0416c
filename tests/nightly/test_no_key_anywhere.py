"""A host that gives the key back, and all that is written after it: no byte of it in any file, message or page."""

from __future__ import annotations

import base64
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from loopback import Call, Loopback, Reply, completion, value
from tempzero.cli import main

KEY = "sk-Own0123456789abcdefghij"
PROMPTS = [f"q{i}" for i in range(10)]


def _says_it(call: Call, text: str) -> Reply:
    """The key in the text, in the reasoning, as the label and in the served model's name."""
    return completion(
        f"{text} {call.prompt}, your key is {KEY}",
        model=call.model,
        system_fingerprint=f"fp-{KEY}",
        message={"content": f"{text} {call.prompt}, your key is {KEY}", "reasoning_content": f"the key is {KEY}"},
    )


def _workplace(folder: Path, base_url: str) -> Path:
    (folder / "prompts").mkdir()
    prompts = [{"id": name, "prompt": name} for name in PROMPTS]
    (folder / "prompts" / "test.yaml").write_text(yaml.safe_dump({"family": "test", "prompts": prompts}))
    entry = {"base_url": base_url, "api_key_env": "OWN_KEY", "claims": {"model": "x"}, "attempts": 1}
    providers = [{"name": name, "model": name, **entry} for name in ("steady", "other")]
    notify = {"webhooks": [{"url_env": "HOOK"}], "junit": "out/junit.xml", "prometheus": "out/night.prom"}
    settings = {"version": 1, "defaults": {"repeats": 3}, "providers": providers, "notify": notify}
    file = folder / "providers.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


def test_a_key_that_comes_back_is_in_nothing_that_is_written_or_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Messages, pages, exports, bundles and reports are made of the records, where the key no longer stands."""
    posted: list[bytes] = []

    def hook(call: Call) -> Reply:
        posted.append(str(call.json).encode())
        return value({})

    with Loopback(lambda call: _says_it(call, "answer")) as server, Loopback(hook) as hooks:
        monkeypatch.setenv("OWN_KEY", KEY)
        monkeypatch.setenv("HOOK", f"{hooks.base_url}/hook")
        file = _workplace(tmp_path, server.base_url)
        options = ["--config", str(file)]
        assert main(["nightly", *options, "--night", "2026-01-01"]) == 3
        (run,) = (tmp_path / "results").glob("*-2026-01-01")
        assert main(["baseline", "set", str(run), *options]) == 0
        server.answer = lambda call: _says_it(call, "otherwise" if call.model == "steady" else "answer")
        assert main(["nightly", *options, "--night", "2026-01-02"]) == 1
    assert posted, "the change was told"
    assert main(["history", *options]) == 0
    (changed,) = (tmp_path / "results").glob("*-2026-01-02")
    for name in ("jsonl", "csv", "lm-eval", "openai-batch"):
        assert main(["export", str(changed), str(tmp_path / f"export-{name}"), "--format", name]) == 0
    claim = ["claim", str(changed), "--rule", "changed", "--provider", "steady", "--against", str(run)]
    assert main([*claim, "--out", str(tmp_path / "claim.zip")]) == 0
    shown = capfd.readouterr()
    written = _read_everything(tmp_path)
    assert len(written) > 20
    assert any(name.startswith("claim.zip!") for name in written)
    forms = _spell(KEY)
    for name, content in {**written, "screen": (shown.out + shown.err).encode(), "webhook": b"".join(posted)}.items():
        assert not [form for form in forms if form in content], name


def _spell(key: str) -> list[bytes]:
    """The key as it is, and as files hold it that pack or escape what they are given."""
    plain = key.encode()
    return [plain, plain.hex().encode(), *(base64.b64encode(b"\0" * n + plain)[4:-4] for n in range(3))]


def _read_everything(folder: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        found[str(path.relative_to(folder))] = path.read_bytes()
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as bundle:
                found.update({f"{path.name}!{name}": bundle.read(name) for name in bundle.namelist()})
    return found


def test_the_search_would_find_one(tmp_path: Path) -> None:
    """A search that finds nothing anywhere proves nothing."""
    values: dict[str, Any] = {"plain": KEY.encode(), "packed": base64.b64encode(b"xx" + KEY.encode())}
    for name, content in values.items():
        (tmp_path / name).write_bytes(b"before " + content + b" after")
    forms = _spell(KEY)
    assert all(any(form in content for form in forms) for content in _read_everything(tmp_path).values())
