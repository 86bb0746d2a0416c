"""Forged bundles, made as well as somebody who has this package can make them: none of them holds.

A forger brings every hash up to date, renames what is named by its hash, numbers the answers anew, and lets our own
code write the page again. What holds all the same must be another statement, and a true one of what the files hold.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from evidence import answers, attempt, run_of
from tempzero import claims
from tempzero.claims import Accusation, bundle_figures, byte_reading, page_wording, verify_bundle
from tempzero.claims.checker_source import read_checker
from tempzero.records import Run

Files = dict[str, bytes]
Answer = dict[str, Any]

# `a` varies on one prompt; `b` agrees with itself, and with `a` on none but the last prompts.
A_SAYS = {"p0": ("yes, 1", "yes, 1", "no, 2", "yes, 1"), "p1": ("x",) * 4, "p2": ("y",) * 4, "p3": ("z",) * 4}
B_SAYS = {"p0": ("other",) * 4, "p1": ("another",) * 4, "p2": ("third",) * 4, "p3": ("z",) * 4}


IMPORTED = {"method": "IMPORT", "url": "imported:table", "status": 0, "headers": {}, "in_flight": 0}


class Forger:
    """A bundle taken apart: change it, and have it put together again with everything brought up to date."""

    def __init__(self, files: Files) -> None:
        self.files = dict(files)
        self.claim: dict[str, Any] = json.loads(files["claim.json"])
        self.answers: list[Answer] = [json.loads(line) for line in files["answers.jsonl"].splitlines()]
        self.bodies = [files[a["response"]] if a["response"] else None for a in self.answers]
        self.requests = [files[a["request"]] for a in self.answers]

    def body(self, number: int, old: str, new: str) -> None:
        """Another response."""
        body = self.bodies[number]
        assert body is not None
        assert old.encode() in body
        self.bodies[number] = body.replace(old.encode(), new.encode())

    def say(self, number: int, old: str, new: str) -> None:
        """Another text, in the response and in what is said of it."""
        self.body(number, json.dumps(old), json.dumps(new))
        self.answers[number]["text"] = new

    def request(self, numbers: range, old: str, new: str) -> None:
        """Another request."""
        for number in numbers:
            assert old.encode() in self.requests[number]
            self.requests[number] = self.requests[number].replace(old.encode(), new.encode(), 1)

    def drop(self, number: int) -> None:
        """Nobody will miss it."""
        del self.answers[number], self.bodies[number], self.requests[number]

    def clone(self, number: int, **changed: Any) -> None:
        """One answer more of the same."""
        self.answers.insert(number + 1, {**self.answers[number], **changed})
        self.bodies.insert(number + 1, self.bodies[number])
        self.requests.insert(number + 1, self.requests[number])

    def swap(self, first: int, second: int) -> None:
        """Two answers change places."""
        columns: list[list[Any]] = [self.answers, self.bodies, self.requests]
        for column in columns:
            column[first], column[second] = column[second], column[first]

    def gather(self) -> Files:
        """Numbers, names and hashes brought up to date; no page yet."""
        kept = {n: d for n, d in self.files.items() if not n.startswith(("requests/", "responses/"))}
        for number, (a, body, request) in enumerate(zip(self.answers, self.bodies, self.requests, strict=True)):
            old = self.claim["example"]
            self.claim["example"] = [f"was {number}" if a["number"] == e else e for e in old]
            a["number"], a["request_sha256"] = number, hashlib.sha256(request).hexdigest()
            a["request"] = f"requests/{a['request_sha256'][:16]}.json"
            kept[a["request"]] = request
            if body is not None:
                a["response"], a["response_sha256"] = f"responses/{number:06}.body", hashlib.sha256(body).hexdigest()
                kept[a["response"]] = body
            line = page_wording.write_curl_line(a, self.claim["keys"].get(a["side"]))
            kept.setdefault(f"{a['request'][:-5]}.{a['side']}.curl.txt", line.encode())
        self.claim["example"] = [int(e[4:]) if isinstance(e, str) else e for e in self.claim["example"]]
        kept["answers.jsonl"] = "".join(json.dumps(a) + "\n" for a in self.answers).encode()
        return kept

    def sealed(self) -> Files:
        """All of it; the page as our own code would write it, if it writes one."""
        files = self.gather()
        try:
            read = verify_bundle.read_answers(files, self.claim)
            outline = page_wording.write_outline(page_wording.describe_subject(self.claim, read))
            figures = bundle_figures.compute_figures(self.claim, read, files, outline)
            self.claim["how"] = {name: page_wording.explain_figure(name) for name in sorted(figures)}
            page = page_wording.fill_outline(outline, figures)
            files["CLAIM.md"], files["CLAIM.html"] = page.encode(), page_wording.to_html(page).encode()
        except (bundle_figures.BrokenBundle, LookupError, TypeError, ValueError, AttributeError):
            pass  # then the old page has to do
        files["claim.json"] = json.dumps(self.claim).encode()
        return reseal(files)


def reseal(files: Files) -> Files:
    listed = {name: data for name, data in files.items() if name != "SHA256SUMS"}
    return {**listed, "SHA256SUMS": verify_bundle.build_checksums(listed)}


def relabel(outcome: str, *numbers: int, **more: Any) -> Callable[[Forger], None]:
    def forge(f: Forger) -> None:
        for number in numbers:
            f.answers[number].update(outcome=outcome, **more)

    return forge


def set_field(name: str, value: Any, *numbers: int) -> Callable[[Forger], None]:
    def forge(f: Forger) -> None:
        for number in numbers or range(len(f.answers)):
            f.answers[number][name] = value

    return forge


def set_claim(**changed: Any) -> Callable[[Forger], None]:
    return lambda f: f.claim.update(changed)


def edit_request(old: str, new: str) -> Callable[[Forger], None]:
    """Of every answer of A."""
    return lambda f: f.request(range(16), old, new)


def forge_all(*forgeries: Callable[[Forger], object]) -> Callable[[Forger], None]:
    def forge(f: Forger) -> None:
        for one in forgeries:
            one(f)

    return forge


def drop_all(*numbers: int) -> Callable[[Forger], None]:
    def forge(f: Forger) -> None:
        for number in numbers:
            f.drop(number)

    return forge


def imported(f: Forger) -> None:
    for a in f.answers:
        a.update(IMPORTED)
    f.answers[1]["text"] = "what the accuser likes"


def own_engine(f: Forger) -> None:
    """A body that a model inside the client would have left."""
    for number, a in enumerate(f.answers[:16]):
        a.update(method="LOCAL", url="local:llama_cpp", status=0, headers={})
        f.bodies[number] = json.dumps({"text": a["text"], "finish_reason": "stop", "completion_tokens": 5}).encode()


def plan_less(f: Forger) -> None:
    f.claim["planned"]["B"][0][1] = 3
    for number in (31, 27, 23, 19):
        f.drop(number)
    f.claim["planned"]["B"][0][2] = [*f.claim["planned"]["B"][0][2], "p9"]


def as_of_before(f: Forger) -> None:
    f.claim.update(rule="changed")
    f.claim["sides"] = {"A": "a", "B": "a"}


def cloned_with_another_id(f: Forger) -> None:
    f.clone(2, repeat=4)
    f.body(3, "chatcmpl-a-0-2-1", "chatcmpl-a-0-9-1")
    f.answers[3]["response_id"] = "chatcmpl-a-0-9-1"


def replace_repeat(f: Forger) -> None:
    """The dissenting answer once more, in the place of another."""
    f.answers[1], f.bodies[1] = {**f.answers[2], "repeat": 1, "seq": f.answers[1]["seq"]}, f.bodies[2]


# What is done, and what is said to it. Numbers 0 to 15 are answers of `a`, 16 to 31 those of `b`.
FORGERIES: dict[str, tuple[Callable[[Forger], object], str]] = {
    # outcomes
    "an agreeing answer called missing": (relabel("missing: server", 19), "is left out as"),
    "an agreeing answer called a replay": (relabel("excluded: cached", 19), "no earlier one has its id"),
    "an agreeing answer called another backend's": (relabel("missing: unpinned", 19), "no other one answered"),
    "an answer called filtered": (relabel("censored: content_filter", 19), "is not what"),
    "an answer called cut": (relabel("censored: length", 16, 17, 18, 19), "is not what"),
    "an answer called empty": (relabel("valid: empty", 19), "is not what"),
    "an answer called by no name there is": (relabel("valid: perfect", 19), "is not what"),
    "an answer called broken off": (relabel("missing: interrupted", 19, complete=False), "is left out as"),
    "an answer called an error of the server": (relabel("missing: server", 19, status=500), "is left out as"),
    # texts and labels
    "a chosen text": (set_field("text", "chosen", 3), "its text is not the one"),
    "chosen reasoning": (set_field("reasoning", "chosen", 3), "its reasoning is not the one"),
    "a chosen call": (set_field("calls", "\x1e{}", 3), "its calls is not the one"),
    "a chosen refusal": (set_field("refusal", "no", 3), "its refusal is not the one"),
    "another model": (set_field("served_model", "m-q4", 3), "its served_model is not the one"),
    "another backend": (set_field("backend", "X", 3), "its backend is not the one"),
    "another id": (set_field("response_id", "x", 3), "its response_id is not the one"),
    "another finish": (set_field("finish_reason", "length", 3), "its finish_reason is not the one"),
    "other tokens": (set_field("completion_tokens", 50, 3), "its completion_tokens is not the one"),
    "cached tokens": (set_field("cached_tokens", 9, 3), "its cached_tokens is not the one"),
    "no cached tokens, said of a body that counts some": (
        lambda f: f.body(3, '"completion_tokens": 5', '"completion_tokens": 5, "prompt_cache_hit_tokens": 12'),
        "its cached_tokens is not the one",
    ),
    "a cache's header taken away": (
        lambda f: (f.answers[3]["headers"].update({"x-cache": "HIT"})),
        "is not what",
    ),
    "a refused request that counts": (set_field("status", 403, 3), "is no answer"),
    "a body that nobody can read": (lambda f: f.body(3, '"usage"', '"usage'), "could be read again"),
    "a body with a key twice": (
        lambda f: f.body(3, '"content": "yes, 1"', '"content": "yes, 1", "content": "yes, 1"'),
        "could be read again",
    ),
    "a body without its end": (lambda f: f.body(3, "}", ""), "could be read again"),
    "a line with a key twice": (
        lambda f: f.answers[3].update({"text": "yes, 1"}) or f.files.update({"twice": b""}),
        "does not belong in a bundle",
    ),
    # answers dropped, added, cloned, reordered
    "an agreeing answer dropped": (lambda f: f.drop(19), "planned trials"),
    "a prompt dropped": (drop_all(31, 30, 29, 28), "planned trials"),
    "a repeat dropped, and the plan bent": (plan_less, "planned trials"),
    "an answer added": (lambda f: f.clone(2, repeat=4, seq=99, record_sha256="0" * 64), "do not stand in the order"),
    "an answer cloned in its place": (lambda f: f.clone(2), "one place in the run's records"),
    "an answer cloned under another id": (cloned_with_another_id, "one place in the run's records"),
    "an answer cloned as a repeat that was not planned": (
        lambda f: f.clone(2, repeat=4, seq=2.5, record_sha256="0" * 64),
        "no such trial was planned",
    ),
    "an answer in the place of another": (replace_repeat, "one place in the run's records"),
    "an answer in the place of another, with another hash": (
        forge_all(replace_repeat, set_field("record_sha256", "0" * 64, 1)),
        "are one response, counted twice",
    ),
    "an answer taken for a retry": (set_field("attempt", 2, 3), "an attempt at prompt"),
    "two answers swapped": (lambda f: f.swap(0, 2), "do not stand in the order"),
    "an answer of another prompt": (set_field("prompt", "p1", 3), "planned trials have no record"),
    "an answer given to the other side": (set_field("side", "A", 16), "an attempt at prompt"),
    "an answer of a side that there is not": (set_field("side", "C", 16), "is not answer 16 of a side"),
    "an answer of another run": (set_field("run", "another", 16), "not a whole bundle"),
    # times and load
    "another order in time": (
        lambda f: [f.answers[n].update(asked_at=f"2026-01-02T03:{59 - n:02}:00.000+00:00") for n in range(16)],
        "contradict the order",
    ),
    "less load than the times show": (set_field("end_s", 3000.0), "contradict the load"),
    "more load than the times show": (set_field("in_flight", 30), "contradict the load"),
    "another day": (
        lambda f: [a.update(asked_at=a["asked_at"].replace("2026", "2025")) for a in f.answers],
        "more than a day",
    ),
    # requests
    "a warm request": (edit_request('"temperature": 0', '"temperature": 1'), "does not show that temperature 0"),
    "temperature twice": (edit_request('"temperature": 0', '"temperature": 1, "temperature": 0'), "not a whole bundle"),
    "temperature under another roof": (
        edit_request('"seed": 7', '"seed": 7, "options": {"temperature": 1.0}'),
        "sets `options.temperature` as well",
    ),
    "temperature in a list under another roof": (
        edit_request('"seed": 7', '"seed": 7, "extra": [{"generation_config": {"Temperature": 0.7}}]'),
        "as well",
    ),
    "a penalty on one side": (edit_request('"seed": 7', '"seed": 7, "frequency_penalty": 2'), "penalties, stops"),
    "another question on one side": (
        lambda f: f.request(range(4), "question p0", "question p0?"),
        "were not asked the same",
    ),
    "a request that nobody sent": (lambda f: f.files.update({"request/0.json": b"{}"}), "does not belong"),
    # words and figures
    "a word of the page": (lambda f: f.claim["attested"].update(judge="guilty"), "no place for the figure"),
    "a provider's name": (lambda f: f.claim["sides"].update(B="a"), "compared with itself"),
    "a side more": (lambda f: f.claim["sides"].update(C="c"), "not as many as such a claim has"),
    "a side less": (lambda f: f.claim.update(sides={"A": "a"}), "not as many as such a claim has"),
    "another rule": (set_claim(rule="deviates_token_by_token"), "is missing or does not belong there"),
    "a change since before, of one night": (as_of_before, "not all older"),
    "a field of the accuser's": (set_claim(proven=True), "is missing or does not belong there"),
    "a reading that nobody made": (lambda f: f.claim["attested"].update(epsilon="0.1"), "attested.epsilon"),
    "a reader that read nothing": (lambda f: f.claim["attested"].update(reader="cpu"), "attested.reader"),
    "an example that does not differ": (set_claim(example=[12, 28]), "do not differ"),
    "an example of two prompts": (set_claim(example=[2, 20]), "do not differ"),
    "an example of one side": (set_claim(example=[0, 2]), "the example is not of the two sides"),
    "a plan without end": (lambda f: f.claim["planned"]["B"][0].__setitem__(1, 10**12), "planned trials"),
    "a size that is no number": (set_claim(epsilon=float("nan")), "not a whole bundle"),
    # downgrades
    "records of another tool": (imported, "is not the one in"),
    "records of another tool on one side": (
        lambda f: [a.update(IMPORTED) for a in f.answers[:9]],
        "stand among those from the wire",
    ),
    "an engine inside the client": (own_engine, "its response_id is not the one"),
    "a wire without an address": (set_field("url", "file:///etc/passwd"), "sent by"),
    # foreign files
    "a library of the accuser's": (lambda f: f.files.update({"hashlib.py": b"print('holds')"}), "does not belong"),
    "a path that leaves the folder": (lambda f: f.files.update({"../x": b""}), "does not belong"),
    "a second page": (lambda f: f.files.update({"README.md": b"# Proven"}), "does not belong"),
    "a manifest of another run": (lambda f: f.files.update({"manifest.json": b"{}"}), "does not belong"),
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_of(tmp_path_factory.mktemp("run"), [*answers("a", A_SAYS), *answers("b", B_SAYS)])


@pytest.fixture(scope="module")
def genuine(run: Run) -> Files:
    accusation = Accusation(rule="differs", subject="a", others=("b",))
    return dict(claims.make_bundle(run, accusation, environ={}).files)


def test_what_is_only_taken_apart_and_put_together_again_holds(genuine: Files) -> None:
    """Else the forgeries below would fail for the forger's mistakes and not for their own."""
    again = Forger(genuine).sealed()
    assert {n for n in genuine if genuine[n] != again[n]} <= {"answers.jsonl", "claim.json", "SHA256SUMS"}
    assert verify_bundle.verify(again, read_checker()).startswith("holds: ")


@pytest.mark.parametrize("name", FORGERIES)
def test_no_forgery_holds(name: str, genuine: Files) -> None:
    """Whoever is accused is accused by bytes, and whoever accuses cannot choose what they say."""
    forge, expected = FORGERIES[name]
    forger = Forger(genuine)
    forge(forger)
    with pytest.raises(bundle_figures.BrokenBundle, match=re.escape(expected)) as broken:
        verify_bundle.verify(forger.sealed(), read_checker())
    assert "\n" not in str(broken.value)


def test_forty_forgeries_are_tried() -> None:
    """The list may change, not shrink."""
    assert len(FORGERIES) >= 60


def test_any_other_word_of_the_page_is_noticed(genuine: Files) -> None:
    """Each line of both pages, in turn, with a word put in, taken out, or doubled; the hashes brought up to date."""
    for page in ("CLAIM.md", "CLAIM.html"):
        lines = genuine[page].decode().split("\n")
        for at, line in enumerate(lines):
            for other in ([line + " certainly"], [], [line, line]):
                forged = "\n".join([*lines[:at], *other, *lines[at + 1 :]])
                if forged == genuine[page].decode():
                    continue  # one of two empty lines
                with pytest.raises(bundle_figures.BrokenBundle, match=rf"{page} says"):
                    verify_bundle.check_page(genuine["CLAIM.md"].decode(), {**genuine, page: forged.encode()})


def test_another_body_is_another_statement(genuine: Files) -> None:
    """Who writes every byte anew says something else, which the ids and a seal can be held against: it is not stopped
    here, and its page says what its bytes say."""
    forger = Forger(genuine)
    forger.say(23, "another", "x")
    files = forger.sealed()
    assert verify_bundle.verify(files, read_checker()).startswith("holds: ")
    assert files["CLAIM.md"] != genuine["CLAIM.md"]
    assert b"`b` 3 + 1 of 4" in files["CLAIM.md"]


def test_all_that_a_request_sets_stands_on_the_page(tmp_path: Path) -> None:
    """A field that steers the answers, deep inside another one, is seen by whoever reads the claim."""
    fields = {"options": {"top_k": 40}, "provider": {"order": ["X"]}, "stream": False}
    given = answers("a", {"p0": ("one", "two")}, fields=fields)
    made = claims.make_bundle(run_of(tmp_path, given), Accusation(rule="nondeterministic", subject="a"), environ={})
    said = '`options.top_k=40, provider.order.0="X", stream=false`'
    assert f"Whatever else these requests set, nested fields included: {said}." in made.files["CLAIM.md"].decode()


def test_a_constant_id_is_no_second_count(tmp_path: Path) -> None:
    """Local bridges give one id in every answer; with other times, or without any, that is just a constant."""
    made = []
    for one in answers("a", {"p0": ("one", "two", "two")}):
        exchange = one.exchange
        assert exchange.response is not None
        assert exchange.outcome.completion is not None
        made.append(rename(one, "constant"))
    bundle = claims.make_bundle(run_of(tmp_path, made), Accusation(rule="nondeterministic", subject="a"), environ={})
    assert verify_bundle.verify(dict(bundle.files), read_checker()).startswith("holds")


def rename(one: Any, name: str) -> Any:
    """The same answer under another id."""
    from dataclasses import replace

    exchange = one.exchange
    body = exchange.response.body.replace(exchange.outcome.completion.response_id, name)
    digest = hashlib.sha256(body.encode()).hexdigest()
    response = replace(exchange.response, body=body, sha256=digest, size_bytes=len(body))
    completion = replace(exchange.outcome.completion, response_id=name)
    outcome = replace(exchange.outcome, completion=completion)
    return replace(one, exchange=replace(exchange, response=response, outcome=outcome))


def test_every_part_of_a_row_is_found_again() -> None:
    """Of an import what is said must stand in the row, be it in JSON within JSON."""
    row = {"a": "one", "b": json.dumps({"c": ["two", {"d": 3}]}), "e": None, "f": "[broken"}
    found = list(byte_reading.find_texts(row))
    assert {"one", "two", "3", "null", "[broken"} <= set(found)


def test_attempts_count_as_they_did(tmp_path: Path) -> None:
    """A retry of an honest run verifies as ever."""
    from dataclasses import replace

    failed = attempt("a", "p0", 0, "x")
    gone = replace(failed.exchange.outcome, status="missing", kind="server", completion=None)
    failed = replace(failed, exchange=replace(failed.exchange, outcome=gone, response=None))
    given = [failed, attempt("a", "p0", 0, "one", number=2), attempt("a", "p0", 1, "two")]
    made = claims.make_bundle(run_of(tmp_path, given), Accusation(rule="nondeterministic", subject="a"), environ={})
    assert verify_bundle.verify(dict(made.files), read_checker()).startswith("holds")
