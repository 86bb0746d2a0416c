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
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import pytest
from evidence import URL, answers, attempt, run_of
from making import make_config

from harness import claims, cli
from harness.analyse import analyse
from harness.claims import Accusation, Bundle, verify_bundle
from harness.errors import BundleError, TempzeroError, UsageError
from harness.store import Run
from harness.types import Analysis, Attempt

SELF = Accusation(rule="nondeterministic", subject="a")
CROSS = Accusation(rule="differs", subject="a", others=("b",))

# One prompt on which `a` varies, two on which it does not; `b` gives other texts throughout.
VARIED = {"p0": ("yes, 1", "yes, 1", "no, 2", "yes, 1"), "p1": ("x",) * 4, "p2": ("y",) * 4}
OTHER = {p: (f"quite another {p}",) * 4 for p in VARIED}


def claim(run: Run, accusation: Accusation = SELF, **environ: str) -> Bundle:
    return claims.make(run, accusation, environ=environ)


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
    assert claims.check(tmp_path / "bundle.zip").endswith(done.stdout.strip())
    assert made.root in claims.check(tmp_path / "away" / "claim")


def test_verify_py_runs_on_old_pythons() -> None:
    """Whoever doubts has whatever Python their machine came with: 3.8 syntax, standard library only."""
    source = Path(verify_bundle.__file__).read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 8))
    names = [n for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom) for n in _modules(node)]
    assert {name.split(".")[0] for name in names} <= set(sys.stdlib_module_names)
    assert not re.search(r"removeprefix|removesuffix|strict=|math\.lcm|itertools\.pairwise", source), "newer than 3.8"


def _modules(node: ast.Import | ast.ImportFrom) -> Iterable[str]:
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]


def test_a_bundle_holds_all_responses_of_all_prompts(bundle: Bundle, run: Run) -> None:
    """Nothing is selected: the repeats that agree and the prompts that do not vary are evidence too."""
    lines = [line for line in run.lines() if json.loads(line)["attempt"]["trial"]["provider"] == "a"]
    assert bundle.files["records.jsonl"].split(b"\n")[:-1] == lines
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
    assert "two requests with the same bytes brought back two different texts" in text
    assert "prompts on which its repeats differ: 1 of 3" in text
    assert "chance that two repeats agree (EMR): 0.833 " in text
    assert "`a` 3 + 1 of 4" in text
    assert "part at character 1: U+0079 against U+006E (of 6 and 5 characters)" in text
    assert bundle.root in text


def test_the_page_shows_where_texts_part(tmp_path: Path) -> None:
    """An engineer sees 60 characters before and after the first difference, and its code points."""
    left, right = "v" * 100 + "A" + "w" * 100, "v" * 100 + "Á\n" + "z" * 100
    text = page(run_of(tmp_path, answers("a", {"p0": (left, right)})))
    assert "part at character 101: U+0041 against U+00C1" in text
    assert f"both begin: {'v' * 60}\n" in text
    assert f"the first:  A{'w' * 59}\n" in text
    assert f"the second: Á⏎{'z' * 58}\n" in text


# --- whatever is changed is noticed --------------------------------------------------------------

Files = dict[str, bytes]


def resealed(files: Files) -> Files:
    """What a forger would do: bring the list of hashes up to date."""
    derived = {"SHA256SUMS", "CLAIM.md", "CLAIM.html", "figures.json"}
    lines = [f"{hashlib.sha256(data).hexdigest()}  {n}\n" for n, data in sorted(files.items()) if n not in derived]
    return {**files, "SHA256SUMS": "".join(lines).encode()}


def changed(files: Files, name: str, old: str, new: str) -> Files:
    assert old.encode() in files[name], f"{name} does not hold {old}"
    return {**files, name: files[name].replace(old.encode(), new.encode(), 1)}


def without(files: Files, name: str) -> Files:
    return {n: data for n, data in files.items() if n != name}


def swapped(files: Files) -> Files:
    first, second = "responses/000000.body", "responses/000002.body"
    return {**files, first: files[second], second: files[first]}


def lines_changed(files: Files, change: Callable[[list[bytes]], list[bytes]]) -> Files:
    lines = change(files["records.jsonl"].split(b"\n")[:-1])
    return {**files, "records.jsonl": b"".join(line + b"\n" for line in lines)}


def page_changed(files: Files, change: Callable[[list[str]], list[str]]) -> Files:
    value = json.loads(files["claim.json"])
    return {**files, "claim.json": json.dumps({**value, "page": change(value["page"])}).encode()}


def request_name(files: Files) -> str:
    return next(name for name in sorted(files) if name.startswith("requests/") and name.endswith(".json"))


TAMPERED: dict[str, tuple[Callable[[Files], Files], str]] = {
    "a byte of a response": (
        lambda f: changed(f, "responses/000002.body", "no, 2", "no, 3"),
        "responses/000002.body was changed",
    ),
    "a byte of a response, resealed": (
        lambda f: resealed(changed(f, "responses/000002.body", "no, 2", "no, 3")),
        "responses/000002.body is missing, or is not the response that was recorded",
    ),
    "a byte of a response in its record and its copy, resealed": (
        lambda f: resealed(
            lines_changed(
                changed(f, "responses/000011.body", '"y"', '"z"'),
                lambda x: [*x[:-1], x[-1].replace(b'\\"y\\"', b'\\"z\\"').replace(b'"text":"y"', b'"text":"z"')],
            )
        ),
        "is not the response that was recorded",
    ),
    "a response removed": (lambda f: without(f, "responses/000001.body"), "responses/000001.body is missing"),
    "a response removed, resealed": (
        lambda f: resealed(without(f, "responses/000001.body")),
        "responses/000001.body is missing",
    ),
    "a response and its record removed, resealed": (
        lambda f: resealed(lines_changed(without(f, "responses/000011.body"), lambda lines: lines[:11])),
        "the records give",
    ),
    "a record removed in the middle, resealed": (
        lambda f: resealed(lines_changed(without(f, "responses/000005.body"), lambda x: x[:5] + x[6:])),
        "the records give",
    ),
    "two responses swapped": (swapped, "responses/000000.body was changed"),
    "two responses swapped, resealed": (lambda f: resealed(swapped(f)), "is not the response that was recorded"),
    "two records swapped, resealed": (
        lambda f: resealed(lines_changed(f, lambda x: [x[1], x[0], *x[2:]])),
        "the hash chain breaks",
    ),
    "a recorded text, resealed": (
        lambda f: resealed(changed(f, "records.jsonl", '"text":"no, 2"', '"text":"yes, 1"')),
        "record 2: its text is not the one in its response",
    ),
    "a label in a record, resealed": (
        lambda f: resealed(changed(f, "records.jsonl", '"fingerprint":"fp_1"', '"fingerprint":"fp_2"')),
        "its fingerprint is not the one in its response",
    ),
    "an answer declared missing, resealed": (
        lambda f: resealed(
            changed(f, "records.jsonl", '"status":"valid","kind":"complete"', '"status":"missing","kind":"x"')
        ),
        "the hash chain breaks",
    ),
    "the last answer declared missing, resealed": (
        lambda f: resealed(lines_changed(f, lambda x: [*x[:-1], x[-1].replace(b'"valid"', b'"missing"')])),
        "the records give",
    ),
    "a request": (
        lambda f: changed(f, request_name(f), '"temperature": 0', '"temperature": 1'),
        "was changed",
    ),
    "a request, resealed": (
        lambda f: resealed(changed(f, request_name(f), '"temperature": 0', '"temperature": 1')),
        "is not the request that was recorded",
    ),
    "a figure in CLAIM.md": (lambda f: changed(f, "CLAIM.md", "1 of 3", "3 of 3"), "CLAIM.md, line "),
    "a figure in CLAIM.html": (lambda f: changed(f, "CLAIM.html", "1 of 3", "3 of 3"), "CLAIM.html, line "),
    "a word in CLAIM.md": (lambda f: changed(f, "CLAIM.md", "two different texts", "nonsense"), "CLAIM.md, line "),
    "a line added to CLAIM.html": (
        lambda f: {**f, "CLAIM.html": f["CLAIM.html"] + b"<p>9 of 10</p>\n"},
        "CLAIM.html, line ",
    ),
    "a figure in figures.json": (lambda f: changed(f, "figures.json", "1 of 3", "3 of 3"), "figures.json, A.split"),
    "a figure made up in the outline, resealed": (
        lambda f: resealed(page_changed(f, lambda lines: [*lines, "- It differs in 9 of 10 cases."])),
        "the outline states a figure of its own",
    ),
    "an unwelcome figure left out, resealed": (
        lambda f: resealed(page_changed(f, lambda lines: [line for line in lines if "{A.emr}" not in line])),
        "the outline leaves out A.",
    ),
    "a file that does not belong": (lambda f: {**f, "extra.txt": b"x"}, "extra.txt is not listed"),
    "a response that belongs to no record, resealed": (
        lambda f: resealed({**f, "responses/000999.body": b"x"}),
        "responses/000999.body belongs to no record",
    ),
    "a file missing": (lambda f: without(f, "claim.json"), "claim.json is missing"),
    "no list of hashes": (lambda f: without(f, "SHA256SUMS"), "not a whole bundle"),
    "rubbish instead of records, resealed": (
        lambda f: resealed({**f, "records.jsonl": b"rubbish\n"}),
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
    with pytest.raises(verify_bundle.Broken, match=re.escape(expected)) as broken:
        verify_bundle.verify(tampered)
    assert "\n" not in str(broken.value)
    path = tmp_path / "tampered.zip"
    path.write_bytes(replace(bundle, files=tampered).packed())
    with pytest.raises(BundleError, match=re.escape(expected)):
        claims.check(path)


def test_verify_py_exits_1_with_one_line(bundle: Bundle, tmp_path: Path) -> None:
    """A script can rely on the exit code, a reader on the line."""
    for name, data in changed(dict(bundle.files), "CLAIM.md", "1 of 3", "3 of 3").items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-I", str(tmp_path / "verify.py")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("FAILED: CLAIM.md, line ")
    assert done.stderr.count("\n") == 1


def test_tempzero_also_knows_its_words(bundle: Bundle, tmp_path: Path) -> None:
    """Prose without digits passes verify.py when all is resealed; `tempzero verify` compares it with its own."""
    files = page_changed(
        dict(bundle.files), lambda lines: [line.replace("rests on one pair", "is certain") for line in lines]
    )
    value, records = json.loads(files["claim.json"]), [json.loads(x) for x in files["records.jsonl"].splitlines()]
    files = resealed(files)
    found = verify_bundle.figures(value, records, hashlib.sha256(files["SHA256SUMS"]).hexdigest())
    text = verify_bundle.fill(value["page"], found)
    stated = {name: {**entry, "value": found[name]} for name, entry in json.loads(files["figures.json"]).items()}
    files |= {"CLAIM.md": text.encode(), "CLAIM.html": verify_bundle.to_html(text).encode()}
    files["figures.json"] = json.dumps(stated).encode()
    assert verify_bundle.verify(files).startswith("holds")
    path = tmp_path / "forged.zip"
    path.write_bytes(replace(bundle, files=files).packed())
    with pytest.raises(BundleError, match="words of the page"):
        claims.check(path)


def test_a_second_file_of_one_name_is_noticed(bundle: Bundle, tmp_path: Path) -> None:
    """Tools disagree on which of two entries of one name they unpack, so none may be there."""
    path = tmp_path / "double.zip"
    path.write_bytes(bundle.packed())
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as packed:
        packed.writestr("claim/CLAIM.md", "another claim")
    with pytest.raises(BundleError, match=r"two files are called CLAIM\.md"):
        claims.check(path)


def test_a_file_that_is_no_bundle_is_refused_in_one_line(tmp_path: Path) -> None:
    """Any file may be handed over; none of them makes a traceback."""
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04 rubbish")
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "x.zip", tmp_path / "empty", tmp_path / "none.zip"):
        with pytest.raises(BundleError, match="FAILED"):
            claims.check(path)


# --- no false claim ------------------------------------------------------------------------------


def test_cached_replays_are_neither_repeats_nor_differences(tmp_path: Path) -> None:
    """An answer that a response cache gave was not computed for this request, whatever it says."""
    given = [attempt("a", "p0", 0, "one"), attempt("a", "p0", 1, "two", kind="cached")]
    assert "no prompt has two answers" in refusal(run_of(tmp_path, given))


def test_cached_replays_are_counted_apart_on_the_page(tmp_path: Path) -> None:
    """Replays would make a provider look more consistent than it is: they are in the bundle, not in the figures."""
    given = [attempt("a", "p0", r, t) for r, t in enumerate(("one", "two"))]
    text = page(run_of(tmp_path, [*given, attempt("a", "p0", 2, "two", kind="cached")]))
    assert "`a` 1 + 1 of 2" in text
    assert "Trials left out: 1 `excluded: cached (with a text)`" in text


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
    missing = replace(exchange, outcome=replace(exchange.outcome, status="missing", kind="interrupted"))
    given = [replace(failed, exchange=missing), attempt("a", "p0", 0, "one", number=2), attempt("a", "p0", 1, "two")]
    text = page(run_of(tmp_path, given))
    assert "`a`: 3 requests for 2 trials" in text
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
    assert "2 texts that count, of them cut at the token limit: 1" in text
    assert "part at character 5" in text


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
    with pytest.raises(verify_bundle.Broken, match="not of one request, model, backend and fingerprint"):
        verify_bundle.verify(resealed(files))


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
    assert "the first in record `1` and the second in record `2`" in text
    assert "labels agree on the two answers" in text


@pytest.mark.parametrize("label", ["fingerprint", "model"])
def test_a_changed_identity_is_not_nondeterminism(label: str, tmp_path: Path) -> None:
    """Another fingerprint or model is another system: its answers may differ without any contradiction."""
    given = [attempt("a", "p0", r, text, **{label: text}) for r, text in enumerate(("one", "two"))]
    assert "a change of what answers, not nondeterminism of it" in refusal(run_of(tmp_path, given))


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
    assert '"seed": 7' in text
    assert "That a field sent was honoured, a seed for instance: the records show that it was sent." in text
    assert "honour" not in text.replace("That a field sent was honoured", "")


@pytest.mark.parametrize("sent", [None, 0.7, True, "0"])
def test_nothing_is_claimed_unless_temperature_zero_was_asked_for(sent: Any, tmp_path: Path) -> None:
    """Above zero different answers are what was asked for."""
    given = answers("a", {"p0": ("one", "two")}, fields={"temperature": sent})
    assert "does not show that temperature 0 was asked for" in refusal(run_of(tmp_path, given))


@pytest.mark.parametrize(("kind", "text"), [("content_filter", "I cannot "), ("empty", ""), ("length", "")])
def test_refusals_only_are_nothing_to_claim(kind: str, text: str, tmp_path: Path) -> None:
    """50 refusals agree perfectly; that is not consistency, and two different ones are no contradiction."""
    given = [attempt("a", "p0", r, text and f"{text}{r}", kind=kind) for r in range(50)]
    said = refusal(run_of(tmp_path, given))
    assert "gave no text that counts (50 " in said
    assert "neither difference nor agreement" in said


def test_agreement_is_never_called_determinism(tmp_path: Path) -> None:
    """What was not seen may still happen: the bound for n prompts is said."""
    said = refusal(run_of(tmp_path, answers("a", {"p0": ("one",) * 4, "p1": ("two",) * 4})))
    assert "does not prove determinism: up to 78% of such prompts may still diverge" in said


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
    request = replace(made.exchange.request, method="IMPORT")
    return replace(made, exchange=replace(made.exchange, request=request))


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
        Accusation(rule="low_coverage", subject="a"),
        Accusation(rule="differs", subject="a"),
        Accusation(rule="nondeterministic", subject="b"),
    ],
)
def test_what_makes_no_sense_is_refused(accusation: Accusation, tmp_path: Path) -> None:
    """A clear line instead of an empty bundle."""
    refusal(run_of(tmp_path, answers("a", VARIED)), accusation)


def test_a_damaged_run_makes_no_bundle(tmp_path: Path) -> None:
    """Evidence begins with a whole chain."""
    opened = run_of(tmp_path, answers("a", VARIED))
    records = opened.path / "records.jsonl"
    records.write_bytes(records.read_bytes().replace(b"no, 2", b"no, 3"))
    with pytest.raises(TempzeroError, match=r"records\.jsonl"):
        claim(opened)


# --- differs from every one of several -----------------------------------------------------------

ALL = Accusation(rule="differs_from_all", subject="a", others=("b", "c"))
THIRD = {p: (f"yet another {p}",) * 4 for p in VARIED}


def against_two(folder: Path, c: dict[str, tuple[str, ...]]) -> Run:
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
    assert verify_bundle.verify(dict(made.files)).startswith("holds")


def test_one_that_it_equals_is_enough_against_a_claim_of_all(tmp_path: Path) -> None:
    """Nothing is claimed against a provider that answers as one of its possible references does."""
    said = refusal(against_two(tmp_path, VARIED), ALL)
    assert "A and C differ no more than each does from itself" in said


def test_a_claim_of_all_cannot_be_stretched(tmp_path: Path) -> None:
    """A bundle that compares with fewer than its page says does not hold, resealed or not."""
    files = dict(claim(against_two(tmp_path, THIRD), ALL).files)
    value = json.loads(files["claim.json"])
    value["sides"].pop("C")
    with pytest.raises(verify_bundle.Broken):
        verify_bundle.verify(resealed({**files, "claim.json": json.dumps(value).encode()}))


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
    given = [attempt("a", "p0", r, end + text, **labels) for r, end in enumerate(("one ", "two "))]
    calm = [attempt("a", "p0", r, end, headers=[("x-cache", "MISS")]) for r, end in enumerate(("one", "two"))]
    made, plain = claim(run_of(tmp_path / "hostile", given)), claim(run_of(tmp_path / "calm", calm))
    assert verify_bundle.verify(dict(made.files)).startswith("holds")
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
    rendered: str = pytest.importorskip("markdown_it").MarkdownIt("commonmark").render(markdown)
    return re.findall(r"<[^>]*>", rendered)


def _requests(made: Bundle) -> set[str]:
    return {name for name in made.files if name.startswith("requests/")}


def test_file_names_come_from_numbers_and_hashes(tmp_path: Path) -> None:
    """A prompt's id is somebody's text; no path is made of it."""
    given = [attempt("a", "../../p0", r, text) for r, text in enumerate(("one", "two"))]
    for name in claim(run_of(tmp_path, given)).files:
        assert re.fullmatch(
            r"(CLAIM\.md|CLAIM\.html|SHA256SUMS|claim\.json|figures\.json|records\.jsonl|verify\.py"
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
        "headers": [("x-title", "it's $HOME; rm -rf /")],
        "sha256": "ab" * 32,
    }
    line = claims.bundle.curl(request, "EXAMPLE_KEY")
    assert '"${ACCOUNT_ID}"' in line
    words = shlex.split(line)
    assert "https://api.example.com/${ACCOUNT_ID}/$(touch /tmp/x)/`id`/v1" in words
    assert "Authorization: Bearer $EXAMPLE_KEY" in words
    script = line.replace("curl", "printf '%s\\n'", 1)
    shown = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, check=True, env={"EXAMPLE_KEY": "k", "ACCOUNT_ID": "acc"}
    ).stdout
    assert "https://api.example.com/acc/$(touch /tmp/x)/`id`/v1" in shown
    assert "x-title: it's $HOME; rm -rf /" in shown


def test_no_key_gets_into_a_bundle(tmp_path: Path) -> None:
    """The name of the key's variable is all that leaves this machine."""
    key = "sk-test-0123456789abcdef"
    opened = run_of(tmp_path, answers("a", VARIED), api_key_env="EXAMPLE_KEY")
    made = claims.make(opened, SELF, environ={"EXAMPLE_KEY": key})
    assert not any(key.encode() in data for data in made.files.values())
    curls = [data.decode() for name, data in made.files.items() if name.endswith(".curl.txt")]
    assert all('"Authorization: Bearer $EXAMPLE_KEY"' in line for line in curls)


def test_records_that_hold_a_key_are_not_bundled(tmp_path: Path) -> None:
    """Should a key have got into a record after all, it stays where it is."""
    key = "sk-test-0123456789abcdef"
    given = answers("a", {"p0": ("one " + key, "two")})
    with pytest.raises(UsageError, match="would hold the value of EXAMPLE_KEY") as refused:
        claims.make(run_of(tmp_path, given, api_key_env="EXAMPLE_KEY"), SELF, environ={"EXAMPLE_KEY": key})
    assert key not in str(refused.value)


# --- the figures are those of the analysis, and of an independent calculation ----------------------


def noisy(seed: int, prompts: int = 6) -> list[Attempt]:
    """Two providers that vary, with cut texts, two fingerprints and prompts that only one of them answered."""
    dice, given = random.Random(seed), []
    for provider in "ab":
        for i, r in ((i, r) for i in range(prompts) for r in range(4)):
            text = dice.choice(("one two three", "one two four", "one six", "seven"))
            cut = dice.random() < 0.3
            how: dict[str, Any] = {"kind": "length" if cut else "complete"}
            how["fingerprint"] = "fp_2" if provider == "b" and dice.random() < 0.3 else "fp_1"
            given.append(attempt(provider, f"p{i}", r, text[: dice.randint(1, len(text))] if cut else text, **how))
    return given


@pytest.mark.parametrize("seed", range(8))
def test_the_figures_are_those_of_the_report(seed: int, tmp_path: Path) -> None:
    """Two computations, one of them plain Python without numpy: a claim and its report never disagree."""
    opened = run_of(tmp_path, noisy(seed), prompts=6)
    records = [json.loads(line) for line in opened.lines()]
    sides = {s: verify_bundle.sort_out([r for r in records if r["attempt"]["trial"]["provider"] == s]) for s in "ab"}
    analysis = analyse(opened)
    for s in "ab":
        matches = [m for m in map(verify_bundle.self_match, sides[s][0].values()) if m is not None]
        assert sum(matches) / len(matches) == pytest.approx(figure(analysis, "repeat", "emr", s))
    found = verify_bundle.of_pair(sides["a"][0], sides["b"][0])
    assert float(found["match"].split()[0]) == pytest.approx(figure(analysis, "cross", "cross_emr", "a"), abs=6e-4)


def figure(analysis: Analysis, kind: str, metric: str, left: str) -> float:
    value = next(
        f.estimate.value for f in analysis.figures if (f.kind, f.metric, f.left, f.family) == (kind, metric, left, None)
    )
    assert value is not None
    return value


def test_the_permutation_test_agrees_with_all_permutations() -> None:
    """The p-value of the bundle against the exact one, by enumeration of every way to deal the answers."""
    tables = [(["x", "x", "y", "z", "z", "z"], 3), (["u", "v", "v", "v"], 2)]
    observed = sum(verify_bundle.excess(pool[:n], pool[n:]) for pool, n in tables)
    sums = [sum(parts) for parts in _product([_dealt(pool, n) for pool, n in tables])]
    exact = sum(s >= observed - 1e-9 for s in sums) / len(sums)
    assert verify_bundle.permutation_p(tables) == pytest.approx(exact, abs=0.05)
    assert verify_bundle.permutation_p([(["x"] * 2 + ["y"] * 2, 2)] * 9) == pytest.approx(1 / 1000, abs=2e-3)
    assert verify_bundle.permutation_p([(["x"] * 4, 2)]) == 1


def test_excess_divergence_by_hand() -> None:
    """Half of 1/3 and 1/3, minus 2/9; and 0 where both sides differ no more than each from itself."""
    assert verify_bundle.excess(["x", "x", "y"], ["x", "z", "z"]) == pytest.approx(1 / 9)
    assert verify_bundle.excess(["x", "x"], ["x", "x"]) == 0


def _dealt(pool: list[str], n: int) -> list[float]:
    places = range(len(pool))
    return [
        verify_bundle.excess([pool[i] for i in left], [pool[i] for i in places if i not in left])
        for left in combinations(places, n)
    ]


def _product(lists: list[list[float]]) -> list[tuple[float, float]]:
    return [(a, b) for a in lists[0] for b in lists[1]]


def test_what_a_cut_text_counts_as_does_not_depend_on_order() -> None:
    """A cut text joins the commonest longer one; which record came first changes nothing."""
    given = [("ab", True), ("abc", False), ("abd", False), ("abd", False)]
    expected = {"ab": "abd", "abc": "abc", "abd": "abd"}
    for order in permutations(given):
        made = [verify_bundle.Answer(text, cut, (), None) for text, cut in order]
        found = verify_bundle.outputs(made)
        assert all(output == (expected[a.text], True) for a, output in zip(made, found, strict=True))


def test_an_interval_never_rounds_to_certainty() -> None:
    """Wilson's interval by its published example, 1 of 10; and an edge that stays an edge."""
    assert verify_bundle.share([1] + [0] * 9) == "0.100 [0.017, 0.405] over 10 prompts"
    assert verify_bundle.share([1.0] * 10) == "1.000 [0.722, 1.000] over 10 prompts"
    assert verify_bundle.share([1.0] * 9999 + [0.9]).startswith("0.999 ")
    assert verify_bundle.share([]) == "not measured"


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
            made = claim(opened, claims.accuse(found, number))
            assert verify_bundle.verify(dict(made.files)).startswith("holds")
    with pytest.raises(UsageError, match="which finding"):
        claims.accuse(found)
    with pytest.raises(UsageError, match="--finding 9 cannot be claimed"):
        claims.accuse(found, 9)


def test_a_deviation_from_the_reference_calls_it_a_yardstick(run: Run) -> None:
    """The reference is not the truth, and a claim that rests on it says so."""
    accusation = Accusation(rule="deviates_from_reference", subject="a", others=("b",), p_value=0.004)
    text = page(run, accusation)
    assert text.startswith("# `a` deviates from the reference `b` at temperature zero")
    assert "a yardstick, not the truth" in text
    assert "corrected for all pairs it tested (Holm), has p = `0.004`" in text


def test_only_figures_have_digits(bundle: Bundle) -> None:
    """Words that state a number of their own could not be recomputed."""
    for line in json.loads(bundle.files["claim.json"])["page"]:
        assert not re.search(r"\d", re.sub(r"{[^{}]*}", "", line))


def test_every_figure_says_how_it_is_computed(bundle: Bundle) -> None:
    """figures.json is the legend: a value and a way to it, for each figure of the page."""
    stated = json.loads(bundle.files["figures.json"])
    assert stated.keys() == set(re.findall(r"{([^{}]*)}", "\n".join(json.loads(bundle.files["claim.json"])["page"])))
    assert all(entry["how"] for entry in stated.values())


def test_the_page_names_endpoint_and_load(bundle: Bundle) -> None:
    """What an engineer asks first: where to, with what, when, at what load, which ids."""
    text = bundle.files["CLAIM.md"].decode()
    for part in (
        URL,
        "`chatcmpl-a-2-1`",
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
