"""The root of a run and its seals: whatever is changed afterwards is noticed, by us and by public tools alone."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import tempzero
from evidence import answers
from making import NOW, chain_file, make_config, make_run, make_suite
from tempzero import cli
from tempzero.errors import BundleError, RunFolderError, TempzeroError, UsageError
from tempzero.records import compress_run, open_run, open_run_writer, request_time_stamp, sign_root
from tempzero.workflow.conclusion import conclude_run

SAID = {"p0": ("yes", "no"), "p1": ("x", "x"), "p2": ("y", "y")}
NEEDS_TOOLS = pytest.mark.skipif(
    not (shutil.which("ssh-keygen") and shutil.which("openssl")), reason="needs ssh-keygen and openssl"
)


@pytest.fixture(scope="module")
def concluded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    given = [*answers("a", SAID), *answers("b", SAID)]
    path = make_run(folder, make_config(), make_suite(3), given)
    conclude_run(open_run(path))
    return path


@pytest.fixture
def run(concluded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(concluded, tmp_path / "run"))


def call(*arguments: str | Path, cwd: Path | None = None, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([str(a) for a in arguments], cwd=cwd, input=stdin, capture_output=True, check=False)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("ssh") / "key"
    assert call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file).returncode == 0
    return file


AUTHORITY = """
[ts]
serial = serial
crypto_device = builtin
signer_cert = tsa.pem
certs = tsa.pem
signer_key = tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A time-stamp authority of our own, as a folder."""
    folder = tmp_path_factory.mktemp("tsa")
    (folder / "tsa.cnf").write_text(AUTHORITY)
    (folder / "serial").write_text("01\n")
    made = call(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=tsa"),
        *("-addext", "extendedKeyUsage=critical,timeStamping", "-keyout", "tsa.key", "-out", "tsa.pem"),
        cwd=folder,
    )
    assert made.returncode == 0, made.stderr
    return folder


def stamp(run: Path, authority: Path) -> None:
    request = request_time_stamp(run)
    reply = ("-queryfile", request, "-config", "tsa.cnf", "-section", "ts", "-out", run / "run.sha256.tsr")
    done = call("openssl", "ts", "-reply", *reply, cwd=authority)
    assert done.returncode == 0, done.stderr


def flip(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at % len(data)] ^= 1
    file.write_bytes(bytes(data))


@NEEDS_TOOLS
def test_a_sealed_run_says_who_vouches_since_when_and_what_nobody_can(run: Path, key: Path, authority: Path) -> None:
    """A seal is worth what it proves: who, when, and that no seal reaches the provider."""
    assert "no seal: nobody outside vouches" in tempzero.verify(run).sentence
    sign_root(run, key)
    stamp(run, authority)
    said = tempzero.verify(run).sentence
    assert "signed by the ED25519 key SHA256:" in said
    assert "time stamp of " in said
    assert "its authority" not in said
    assert "the authority's own signature was not checked" in said
    assert "no seal shows that a provider sent these answers" in said
    signers = run.parent / "signers"
    signers.write_text(f"me@example.com {key.with_suffix('.pub').read_text()}")
    said = tempzero.verify(run, signers=signers, authority=authority / "tsa.pem").sentence
    assert "signed by me@example.com (SHA256:" in said
    assert f"vouched for by {authority / 'tsa.pem'}" in said


@NEEDS_TOOLS
def test_whom_nobody_knows_vouches_for_nothing(run: Path, key: Path, tmp_path: Path) -> None:
    """A signature by a stranger's key is found where signers are named."""
    sign_root(run, key)
    assert call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other").returncode == 0
    signers = tmp_path / "signers"
    signers.write_text(f"me@example.com {(tmp_path / 'other.pub').read_text()}")
    with pytest.raises(RunFolderError, match=r"nobody in .* signed"):
        tempzero.verify(run, signers=signers)


@NEEDS_TOOLS
@pytest.mark.parametrize("name", ["manifest.json", "records/part-00001.jsonl", "run.sha256"])
def test_any_byte_that_is_changed_after_the_seal_is_noticed_twice(
    name: str, run: Path, key: Path, authority: Path
) -> None:
    """By `verify`, and by sha256sum, ssh-keygen and openssl alone."""
    sign_root(run, key)
    stamp(run, authority)
    root = run / "run.sha256"
    checks: tuple[Callable[[], int], ...] = (
        lambda: call("sha256sum", "--strict", "-c", "run.sha256", cwd=run).returncode,
        lambda: (
            call(
                *("ssh-keygen", "-Y", "check-novalidate", "-n", "tempzero", "-s", run / "run.sha256.sig"),
                stdin=root.read_bytes(),
            ).returncode
        ),
        lambda: (
            call(
                *("openssl", "ts", "-verify", "-data", root, "-in", run / "run.sha256.tsr"),
                *("-CAfile", authority / "tsa.pem"),
            ).returncode
        ),
    )
    assert [check() for check in checks] == [0, 0, 0]
    size = (run / name).stat().st_size
    for at in sorted({0, 1, size // 3, size // 2, size - 2, size - 1}):
        before = (run / name).read_bytes()
        flip(run / name, at)
        assert any(check() != 0 for check in checks), (name, at)
        with pytest.raises(TempzeroError):
            tempzero.verify(run)
        (run / name).write_bytes(before)
    tempzero.verify(run)


def test_what_is_sealed_is_not_added_to(run: Path, key: Path) -> None:
    """Going on would leave a seal that fits nothing."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("needs ssh-keygen")
    sign_root(run, key)
    with pytest.raises(RunFolderError, match="is sealed"), open_run_writer(run, now=NOW):
        pass
    with pytest.raises(UsageError, match="is there already"):
        sign_root(run, key)


def test_another_manifest_is_noticed_without_any_list(run: Path) -> None:
    """The chain begins with the manifest: another configuration, suite, version or host is another run."""
    (run / "run.sha256").unlink()
    (run / "report.sha256").unlink()
    tempzero.verify(run)
    manifest = run / "manifest.json"
    for old, new in ((b'"m"', b'"n"'), (b"question 0", b"question 9"), (b'"cpu": "test"', b'"cpu": "best"')):
        before = manifest.read_bytes()
        assert old in before
        manifest.write_bytes(before.replace(old, new, 1))
        with pytest.raises(RunFolderError, match="the hash chain breaks"):
            tempzero.verify(run)
        manifest.write_bytes(before)


@pytest.mark.parametrize("name", ["report.html", "report.md", "summary.json"])
def test_a_replaced_report_is_noticed(name: str, run: Path) -> None:
    """A report says by its list of hashes what it was made of, and what it was."""
    (run / name).write_bytes((run / name).read_bytes().replace(b"a", b"b", 1))
    with pytest.raises(RunFolderError, match=rf"{name}: is not what report\.sha256 has"):
        tempzero.verify(run)
    conclude_run(open_run(run))
    tempzero.verify(run)


def test_packed_records_have_the_same_root(run: Path) -> None:
    """What `prune` packs away is still what was sealed."""
    root = open_run(run).root()
    compress_run(run)
    assert f"root {root}" in tempzero.verify(run).sentence
    packed = chain_file(run)
    packed.write_bytes(gzip.compress(gzip.decompress(packed.read_bytes()).replace(b"yes", b"yep"), mtime=0))
    with pytest.raises(RunFolderError):
        tempzero.verify(run)


def test_a_bundle_is_held_against_its_run(run: Path, tmp_path: Path) -> None:
    """Made anew from the run it comes out the same, or something was left out or inserted."""
    made = tempzero.claim(open_run(run), rule="nondeterministic", provider="a", environ={})
    file = made.save(tmp_path / "claim.zip")
    assert "nothing was left out or inserted" in tempzero.verify(file, runs=[run]).sentence
    other = make_run(
        tmp_path / "other",
        make_config(),
        make_suite(3),
        [*answers("a", SAID | {"p2": ("y", "z")}), *answers("b", SAID)],
    )
    with pytest.raises(BundleError, match="is not what the run gives"):
        tempzero.verify(file, runs=[other])
    with pytest.raises(UsageError, match="is a run folder"):
        tempzero.verify(run, runs=[run])


@NEEDS_TOOLS
def test_seal_on_the_command_line(run: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The root, the signature, and the line that fetches a time stamp."""
    assert cli.main(["seal", str(run), "--key", str(key), "--timestamp"]) == 0
    shown = capsys.readouterr().out
    assert f"root of the records: {open_run(run).root()}" in shown
    assert "curl -H 'Content-Type: application/timestamp-query'" in shown
    assert cli.main(["verify", str(run)]) == 0
    assert "signed by the ED25519 key" in capsys.readouterr().out
    assert cli.main(["seal", str(run), "--key", "/nowhere"]) == 2
