"""What is opened, what is left out, and what an archive may not do."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from tempzero.errors import ExchangeError
from tempzero.exchange import sources

CSV = b"model,question,answer\na,q,yes\n"


def names(path: Path, *only: str) -> list[str]:
    with sources.open_source(path, only=only) as source:
        return [file.name for file in source.files]


def make_tar(path: Path, members: dict[str, bytes], link: str | None = None) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        if link is not None:
            info = tarfile.TarInfo("link.csv")
            info.type, info.linkname = tarfile.SYMTYPE, link
            archive.addfile(info)
    return path


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


MEMBERS = {
    "runs/x-10.csv": CSV,
    "runs/x-2.csv": CSV,
    "runs/._x-2.csv": b"\x00\x05\x16\x07Mac OS X",
    "__MACOSX/runs/x-2.csv": b"\x00",
    "README.md": b"# read me",
    "inner.zip": b"PK",
}


@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_an_archive_gives_its_tables_in_natural_order(tmp_path: Path, make: object) -> None:
    """run-2 comes before run-10, and what macOS and others put beside is named as left out."""
    path = make(tmp_path / ("a.tgz" if make is make_tar else "a.zip"), MEMBERS)  # type: ignore[operator]
    with sources.open_source(path) as source:
        assert [f.name for f in source.files] == ["runs/x-2.csv", "runs/x-10.csv"]
        assert source.files[0].path.read_bytes() == CSV
        assert "left out: 2 files (resource forks that macOS puts beside the real files)" in source.notices
        assert "left out: 1 files (archives within)" in source.notices
        assert "left out: README.md (not a table)" in source.notices


@pytest.mark.parametrize("name", ["../../evil.csv", "/etc/evil.csv", "a/../../evil.csv", "..\\evil.csv", "C:/evil.csv"])
@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_a_name_that_leads_outside_is_refused(tmp_path: Path, make: object, name: str) -> None:
    """Whoever packs such an archive is not to be trusted with the rest of it."""
    path = make(tmp_path / ("a.tgz" if make is make_tar else "a.zip"), {"ok.csv": CSV, name: CSV})  # type: ignore[operator]
    with pytest.raises(ExchangeError, match="outside the archive"):
        names(path)


def test_links_in_an_archive_are_not_followed(tmp_path: Path) -> None:
    """A link could read any file of this machine into the records."""
    secret = tmp_path / "secret.csv"
    secret.write_bytes(CSV)
    assert names(make_tar(tmp_path / "a.tgz", {"ok.csv": CSV}, link=str(secret))) == ["ok.csv"]


def test_links_out_of_a_folder_are_not_followed(tmp_path: Path) -> None:
    """An unpacked archive is as hostile as a packed one."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "ok.csv").write_bytes(CSV)
    (tmp_path / "secret.csv").write_bytes(CSV)
    (folder / "link.csv").symlink_to(tmp_path / "secret.csv")
    assert names(folder) == ["ok.csv"]


def test_a_decompression_bomb_stops_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small archive must not fill the disk."""
    monkeypatch.setattr(sources, "_FREE_BYTES", 1 << 20)
    path = make_zip(tmp_path / "bomb.zip", {"bomb.csv": b"0" * (30 << 20)})
    assert path.stat().st_size < 100_000
    with pytest.raises(ExchangeError, match=r"decompression bomb.*unpack it yourself"):
        names(path)


def test_a_damaged_archive_is_one_line(tmp_path: Path) -> None:
    """Half a download is no traceback."""
    whole = make_tar(tmp_path / "a.tgz", {"x.csv": CSV * 1000}).read_bytes()
    (tmp_path / "half.tgz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ExchangeError, match="damaged archive"):
        names(tmp_path / "half.tgz")


def test_globs_choose_files(tmp_path: Path) -> None:
    """A folder often holds more than one experiment."""
    path = make_tar(tmp_path / "a.tgz", {"one/x.csv": CSV, "two/x.csv": CSV, "two/sum.json": b"{}"})
    assert names(path, "two/*.csv") == ["two/x.csv"]
    with pytest.raises(ExchangeError, match=r"no file fits --only three/\*; there are"):
        names(path, "three/*")


def test_a_gzipped_table_is_a_table(tmp_path: Path) -> None:
    """Large record files are often kept compressed, alone or in a folder."""
    with gzip.open(tmp_path / "x.csv.gz", "wb") as file:
        file.write(CSV)
    assert names(tmp_path / "x.csv.gz") == ["x.csv"]
    assert names(tmp_path) == ["x.csv"]


def test_a_lone_file_is_known_by_its_content(tmp_path: Path) -> None:
    """A name without a known ending is no obstacle."""
    for data, kind in ((CSV, "csv"), (b'{"a": 1}\n{"a": 2}\n', "jsonl"), (b'[{"a": 1}]', "json"), (b"a\tb\n", "tsv")):
        (tmp_path / "records.txt").write_bytes(data)
        with sources.open_source(tmp_path / "records.txt") as source:
            assert source.files[0].kind == kind


def test_the_digest_is_of_names_and_bytes(tmp_path: Path) -> None:
    """What was imported can be recognised again, packed or unpacked, and a changed byte shows."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "x.csv").write_bytes(CSV)
    (folder / "y.csv").write_bytes(CSV + b"b,q,no\n")
    packed = make_tar(tmp_path / "a.tgz", {"x.csv": CSV, "y.csv": CSV + b"b,q,no\n"})
    with sources.open_source(folder) as one, sources.open_source(packed) as two:
        assert one.sha256 == two.sha256
    (folder / "y.csv").write_bytes(CSV + b"b,q,No\n")
    with sources.open_source(folder) as other, sources.open_source(packed) as two:
        assert other.sha256 != two.sha256


def test_nothing_to_import_says_what_was_there(tmp_path: Path) -> None:
    """A wrong path is seen at once."""
    with pytest.raises(ExchangeError, match="no such file or folder"):
        names(tmp_path / "nowhere")
    (tmp_path / "README.md").write_text("hello")
    with pytest.raises(ExchangeError, match=r"holds no file that can be imported \(\.csv"):
        names(tmp_path)
