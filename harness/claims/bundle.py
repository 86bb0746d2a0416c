"""A Run and what is claimed of it in, an evidence bundle out, or a UsageError that says why there is none."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import re
import shlex
import string
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.claims import verify_bundle as verifying
from harness.claims import wording
from harness.claims.accusing import Accusation
from harness.claims.verify_bundle import Answer
from harness.config import Provider
from harness.errors import UsageError
from harness.stats import rule_of_three
from harness.store import Run

FORMAT = 2
FOLDER = "claim"  # what a bundle unpacks to
DERIVED = ("CLAIM.html", "CLAIM.md", "figures.json")

Answers = dict[str, list[Answer]]  # by prompt, in the order of the records

_SIDES = string.ascii_uppercase
_SHORTEST_SECRET = 8
# What stands for the HTTP method in records that another tool collected.
_IMPORTED = "IMPORT"


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """A finished bundle: its files by name, the hash that stands for all of them, and the claim in a line."""

    files: Mapping[str, bytes]
    root: str
    title: str

    def packed(self) -> bytes:
        """The zip. Stored and not compressed, dated 1980: the same files give the same bytes on every machine."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as packed:
            for name, data in sorted(self.files.items()):
                entry = zipfile.ZipInfo(f"{FOLDER}/{name}", (1980, 1, 1, 0, 0, 0))
                entry.create_system, entry.external_attr = 3, 0o644 << 16
                packed.writestr(entry, data)
        return buffer.getvalue()


def make(run: Run, accusation: Accusation, *, environ: Mapping[str, str]) -> Bundle:
    """Prove an accusation from a run's records. `environ` holds the keys that must not get into the bundle.

    Raises UsageError where the records do not support the claim, RunFolderError where they are damaged.
    """
    head = run.verify()
    _check_accusation(run, accusation)
    providers = {s: _provider(run, name) for s, name in zip(_SIDES, _names(accusation), strict=False)}
    reasons = []
    for condition, lines in _lines_by_condition(run, accusation).items():
        try:
            bundle = _Case(run, accusation, providers, condition, lines).bundle(head)
        except _NotProven as reason:
            reasons.append(f"{condition}: {reason}" if condition != "default" else str(reason))
            continue
        _refuse_secrets(bundle, providers.values(), environ)
        return bundle
    raise UsageError(f"{run.path}: not claimed: " + "; ".join(reasons or [f'no record of "{accusation.subject}"']))


def file_name(run: Run, accusation: Accusation) -> str:
    """What a bundle is called unless somebody says otherwise."""
    words = ("claim", run.manifest.run_id, accusation.rule, *_names(accusation))
    return "-".join(re.sub(r"[^A-Za-z0-9._-]", "_", word) for word in words) + ".zip"


class _NotProven(Exception):
    """The records of one condition do not support the claim; the message says why."""


class _Case:
    """The records of the accused, and of whom it is compared with, under one condition."""

    def __init__(
        self, run: Run, accusation: Accusation, providers: Mapping[str, Provider], condition: str, lines: list[bytes]
    ) -> None:
        self._run, self._accusation, self._providers = run, accusation, providers
        self._condition, self._lines = condition, lines
        self._records = [json.loads(line) for line in lines]
        self._sides: dict[str, Answers] = {}
        for side, provider in providers.items():
            own = [r for r in self._records if r["attempt"]["trial"]["provider"] == provider.name]
            self._sides[side], left_out = verifying.sort_out(own)
            _check_answers(provider, self._sides[side], left_out)

    def bundle(self, head: str) -> Bundle:
        """All files. Raises _NotProven."""
        files = {
            "records.jsonl": b"".join(line + b"\n" for line in self._lines),
            "verify.py": Path(verifying.__file__).read_bytes(),
            **self._copies(),
        }
        claim = self._claim(head)
        claim["page"] = outline(claim, self._records)
        files["claim.json"] = (json.dumps(claim, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()
        listing = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items()))
        files["SHA256SUMS"] = listing.encode()
        root = hashlib.sha256(files["SHA256SUMS"]).hexdigest()
        try:
            found = verifying.figures(claim, self._records, root)
        except verifying.Broken as reason:
            raise _NotProven(str(reason)) from None
        page = verifying.fill(claim["page"], found)
        files["CLAIM.md"], files["CLAIM.html"] = page.encode(), verifying.to_html(page).encode()
        stated = {name: {"value": value, "how": wording.how(name)} for name, value in sorted(found.items())}
        files["figures.json"] = (json.dumps(stated, indent=1, ensure_ascii=False) + "\n").encode()
        return Bundle(files=files, root=root, title=page.partition("\n")[0][2:])

    def _claim(self, head: str) -> dict[str, Any]:
        sides = self._sides
        routers = [side for side, provider in self._providers.items() if _is_router(provider, sides[side])]
        others = [answers for side, answers in sides.items() if side != "A"]
        example = _cross_example(sides["A"], others) if others else _self_example(sides["A"], bool(routers))
        return {
            "format": FORMAT,
            "wording": wording.WORDING,
            "rule": self._accusation.rule,
            "routers": routers,
            "condition": self._condition,
            "sides": {side: provider.name for side, provider in self._providers.items()},
            "example": [answer.record["seq"] for answer in example],
            "attested": self._attested(head),
            "run": self._circumstances(),
        }

    def _attested(self, head: str) -> dict[str, str]:
        """What stands on the page and cannot be computed from the bundle's records."""
        manifest = self._run.manifest
        host, versions = manifest.host, manifest.versions
        stated = {
            "run": manifest.run_id,
            "head": head,
            "records": str(sum(1 for _ in self._run.lines())),
            "tempzero": " ".join(versions[name] for name in ("tempzero", "git") if name in versions) or "not recorded",
            "python": str(versions.get("python", "not recorded")),
            "system": str(host.get("system", "a system that is not recorded")),
            "cpu": str(host.get("cpu", "a processor that is not recorded")),
        }
        for side, provider in self._providers.items():
            stated[f"planned_{side}"] = str(len(manifest.suite.prompts) * (provider.repeats or 0))
            claims = provider.claims
            words = (provider.claimed_model, claims.precision or "precision not declared", claims.source)
            stated[f"declared_{side}"] = ", ".join(word for word in words if word)
        if self._accusation.p_value is not None:
            stated["report_p"] = f"{self._accusation.p_value:.2g}"
        return stated

    def _circumstances(self) -> dict[str, Any]:
        """What the run says of itself, for whoever wants to repeat it; not on the page."""
        manifest = self._run.manifest
        return {
            "created_at": manifest.created_at,
            "plan_digest": manifest.plan_digest,
            "plan_seed": manifest.plan_seed,
            "suite_digest": manifest.suite.digest,
            "versions": dict(manifest.versions),
            "host": dict(manifest.host),
            "engines": {p.name: manifest.engines.get(p.name, {}) for p in self._providers.values()},
            "sessions": [{"started_at": s.started_at, "ended_at": s.ended_at} for s in manifest.sessions],
        }

    def _copies(self) -> dict[str, bytes]:
        """Requests and responses as files of their own, and a curl line for each request of each side."""
        sides = {provider.name: (side, provider.api_key_env) for side, provider in self._providers.items()}
        files: dict[str, bytes] = {}
        for record in self._records:
            exchange = record["attempt"]["exchange"]
            request = f"requests/{exchange['request']['sha256'][:16]}"
            side, key = sides[record["attempt"]["trial"]["provider"]]
            files[f"{request}.json"] = exchange["request"]["body"].encode()
            files[f"{request}.{side}.curl.txt"] = curl(exchange["request"], key).encode()
            if exchange["response"] is not None:
                files[f"responses/{record['seq']:06}.body"] = verifying.body_of(exchange["response"])
        return files


def outline(claim: Mapping[str, Any], records: Sequence[Any]) -> list[str]:
    """The page's outline, as it follows from what is claimed and the records."""
    sides = {
        side: verifying.sort_out([r for r in records if r["attempt"]["trial"]["provider"] == name])[0]
        for side, name in claim["sides"].items()
    }
    every = {a.record["seq"]: a for answers in sides.values() for given in answers.values() for a in given}
    first, second = (every[seq] for seq in claim["example"])
    prompt = first.record["attempt"]["trial"]["prompt"]
    subject = wording.Subject(
        rule=claim["rule"],
        routers=claim["routers"],
        labels=_labels(first, second),
        imported=first.record["attempt"]["exchange"]["request"]["method"] == _IMPORTED,
        example=(claim["example"][0], claim["example"][1]),
        shown=next(s for s, n in claim["sides"].items() if n == second.record["attempt"]["trial"]["provider"]),
        responses={side: [a.record["seq"] for a in answers.get(prompt, ())] for side, answers in sides.items()},
        cache_headers=sorted({name for answer in every.values() for name in _cache_headers(answer)}),
        attested=sorted(claim["attested"]),
    )
    return wording.page(subject)


def curl(request: Mapping[str, Any], key_variable: str | None) -> str:
    """The request as a line for a shell. It names the variable that holds the key; no recorded text is run by it."""
    if not request["url"].startswith(("http://", "https://")):
        return f"not sent over a network: {request['url']}\n"
    url = "".join(
        f'"{part}"' if re.fullmatch(r"\$\{\w+\}", part) else shlex.quote(part)
        for part in re.split(r"(\$\{\w+\})", request["url"])
        if part
    )
    headers = "".join(f" -H {shlex.quote(f'{name}: {value}')}" for name, value in request["headers"])
    if key_variable is not None:
        headers += f' -H "Authorization: Bearer ${key_variable}"'
    body = f"requests/{request['sha256'][:16]}.json"
    return f"curl -sS -X {shlex.quote(request['method'])} {url}{headers} --data-binary @{body}\n"


def _names(accusation: Accusation) -> list[str]:
    return [accusation.subject, *accusation.others]


def _provider(run: Run, name: str) -> Provider:
    try:
        provider = run.config.provider(name)
    except KeyError:
        known = ", ".join(sorted(p.name for p in run.config.providers))
        raise UsageError(f'{run.path}: no provider is called "{name}"; known: {known}') from None
    if provider.replay is not None:
        raise UsageError(
            f'{run.path}: "{name}" replays a recorded run; make the claim from that run: {provider.replay.run}'
        )
    return provider


def _check_accusation(run: Run, accusation: Accusation) -> None:
    if accusation.rule not in wording.RULES:
        raise UsageError(
            f'{run.path}: no bundle is made for "{accusation.rule}"; for {", ".join(wording.RULES)} there is'
        )
    least, most = wording.RULES[accusation.rule]
    if not least <= len(accusation.others) <= most or len(set(_names(accusation))) <= len(accusation.others):
        raise UsageError(f"{accusation.rule}: names too many or too few others, or one of them twice")


def _lines_by_condition(run: Run, accusation: Accusation) -> dict[str, list[bytes]]:
    """The lines of the providers concerned, of each condition that the claim may be made for."""
    found: dict[str, list[bytes]] = {}
    for line in run.lines():
        trial = json.loads(line)["attempt"]["trial"]
        if trial["provider"] in _names(accusation) and accusation.condition in (None, trial["condition"]):
            found.setdefault(trial["condition"], []).append(line)
    return dict(sorted(found.items()))


def _check_answers(provider: Provider, answers: Answers, left_out: Mapping[str, int]) -> None:
    """Is there anything to compare, and is it known what was asked? Raises _NotProven."""
    if not answers:
        why = ", ".join(f"{number} {reason}" for reason, number in sorted(left_out.items())) or "no record"
        raise _NotProven(
            f"{provider.name} gave no text that counts ({why}); refused, filtered, empty, replayed or failed answers "
            "show neither difference nor agreement"
        )
    for answer in (a for given in answers.values() for a in given):
        if not _is_object(answer.record["attempt"]["exchange"]["request"]["body"]):
            raise _NotProven(f"{provider.name}: the request of record {answer.record['seq']} is no JSON object")


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _is_router(provider: Provider, answers: Answers) -> bool:
    """One address, several backends: by its own configuration, or by the labels of its answers."""
    backends = {
        a.record["attempt"]["exchange"]["outcome"]["completion"]["backend"] for g in answers.values() for a in g
    }
    return not provider.pinned or len(backends - {None}) > 1


def _self_example(answers: Answers, router: bool) -> tuple[Answer, Answer]:
    """The pair that proves it best: one identity before several, whole texts before cut ones, then the first."""
    best: tuple[Any, Answer, Answer] | None = None
    elsewhere = 0
    for a, b in (pair for given in answers.values() for pair in itertools.combinations(given, 2)):
        if verifying.parting(a, b) is None:
            continue
        # Of a router only the request and the model served must agree: the claim is about the router then.
        if a.identity != b.identity and not (router and a.identity[:2] == b.identity[:2]):
            elsewhere += 1
            continue
        rank = (a.identity != b.identity, a.cut or b.cut, a.record["seq"], b.record["seq"])
        if best is None or rank < best[0]:
            best = (rank, a, b)
    if best is None:
        raise _NotProven(_no_difference(answers, elsewhere))
    return best[1], best[2]


def _no_difference(answers: Answers, elsewhere: int) -> str:
    if elsewhere:
        return (
            "answers to one prompt differ only where the request, the served model, the backend or the fingerprint "
            f"differs too ({elsewhere} pairs): a change of what answers, not nondeterminism of it"
        )
    repeated = sum(len(given) > 1 for given in answers.values())
    if not repeated:
        return "no prompt has two answers that can be compared"
    return (
        f"no two answers to one request differ, as far as none was cut, on {repeated} prompts; that does not prove "
        f"determinism: up to {rule_of_three(repeated):.0%} of such prompts may still diverge (95 %)"
    )


def _cross_example(left: Answers, others: Sequence[Answers]) -> tuple[Answer, Answer]:
    """Each side's commonest text, of the prompt on which both sides are surest of their own."""
    best: tuple[Any, Answer, Answer] | None = None
    for right, prompt in ((right, p) for right in others for p in left if p in right):
        (share_a, a), (share_b, b) = _commonest(left[prompt]), _commonest(right[prompt])
        rank = (-share_a - share_b, a.cut or b.cut, a.record["seq"], b.record["seq"])
        if verifying.parting(a, b) is not None and (best is None or rank < best[0]):
            best = (rank, a, b)
    if best is None:
        raise _NotProven("on no prompt does the commonest text of one side differ from that of the other")
    return best[1], best[2]


def _commonest(given: Sequence[Answer]) -> tuple[float, Answer]:
    texts = [a.text for a in given]
    text = max(texts, key=texts.count)
    return texts.count(text) / len(texts), given[texts.index(text)]


def _labels(a: Answer, b: Answer) -> Literal["agree", "differ", "silent"]:
    ours, theirs = a.identity[2:], b.identity[2:]
    if ours != theirs:
        return "differ"
    return "agree" if any(label is not None for label in ours) else "silent"


def _cache_headers(answer: Answer) -> Iterable[str]:
    """Names only, and only plain ones: they become part of the page's words."""
    response = answer.record["attempt"]["exchange"]["response"]
    names = (name for name, _ in (response or {}).get("headers", ()))
    return (n for n in names if re.fullmatch("[a-z-]+", n) and ("cache" in n or n == "age"))


def _refuse_secrets(bundle: Bundle, providers: Iterable[Provider], environ: Mapping[str, str]) -> None:
    """The engines keep keys out of records; a bundle leaves this machine, so it is looked at once more."""
    for variable in {v for p in providers for v in p.variables()}:
        secret = environ.get(variable, "").strip().encode()
        for name, data in sorted(bundle.files.items()):
            if len(secret) >= _SHORTEST_SECRET and secret in data:
                raise UsageError(
                    f"not claimed: {name} would hold the value of {variable}; the records must not leave this machine"
                )
