"""A Run and what is claimed of it in, an evidence bundle out, or a UsageError that says why there is none."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import re
import string
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tempzero.claims import bundle_figures, bundle_readings, page_wording, verify_bundle
from tempzero.claims.accusing import Accusation
from tempzero.claims.bundle_answers import ClaimSide, ConditionAnswers, gather_answers
from tempzero.claims.checker_source import read_checker
from tempzero.config import Provider
from tempzero.errors import UsageError
from tempzero.plan import fits_context
from tempzero.records import Run
from tempzero.records.files import write_atomically
from tempzero.stats import rule_of_three

BUNDLE_FOLDER = "claim"  # what a bundle unpacks to

ByPrompt = dict[str, list[Any]]  # the answers of one side that count, in the order of the records

_SHORTEST_SECRET = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """A finished bundle: its files by name, the hash that stands for all of them, and the claim in a line.

    `file_name` is what its zip is called unless somebody says otherwise.
    """

    files: Mapping[str, bytes]
    root: str
    title: str
    file_name: str

    def save(self, path: Path | str | None = None) -> Path:
        """Write the zip to `path`, else into this folder under its name; give the path. Raises UsageError."""
        file = Path(path or self.file_name)
        try:
            write_atomically(file, self.packed())
        except OSError as error:
            raise UsageError(f"{file}: cannot be written: {error.strerror}") from None
        return file

    def packed(self) -> bytes:
        """The zip. Stored and not compressed, dated 1980: the same files give the same bytes on every machine."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as packed:
            for name, data in sorted(self.files.items()):
                entry = zipfile.ZipInfo(f"{BUNDLE_FOLDER}/{name}", (1980, 1, 1, 0, 0, 0))
                entry.create_system, entry.external_attr = 3, 0o644 << 16
                packed.writestr(entry, data)
        return buffer.getvalue()


def make_bundle(run: Run, accusation: Accusation, *, environ: Mapping[str, str], before: Sequence[Run] = ()) -> Bundle:
    """Prove an accusation from a run's records. `environ` holds the keys that must not get into the bundle.

    `before` are the earlier runs that a claim of a change is held against; no other claim takes any.
    Raises UsageError where the records do not support the claim, RunFolderError where they are damaged.
    """
    heads = {one.manifest.run_id: one.verify() for one in (run, *before)}
    _check_accusation(run, accusation, before)
    sides = _list_sides(run, accusation, before)
    reasons = []
    for condition, answers in gather_answers(sides, accusation.condition).items():
        try:
            bundle = _Case(run, accusation, sides, condition, answers).bundle(heads)
        except (_NotProven, bundle_figures.BrokenBundle) as reason:
            reasons.append(f"{condition}: {reason}" if condition != "default" else str(reason))
            continue
        _refuse_secrets(bundle, (_find_provider_entry(r, s.provider) for s in sides for r in s.runs), environ)
        return bundle
    raise UsageError(f"{run.path}: not claimed: " + "; ".join(reasons or [f'no record of "{accusation.subject}"']))


def _name_bundle_file(run: Run, accusation: Accusation) -> str:
    """What a bundle is called unless somebody says otherwise."""
    words = ("claim", run.manifest.run_id, accusation.rule, accusation.subject, *accusation.others)
    return "-".join(re.sub(r"[^A-Za-z0-9._-]", "_", word) for word in words) + ".zip"


class _NotProven(Exception):
    """The records of one condition do not support the claim; the message says why."""


class _Case:
    """The records of the accused, and of whom it is compared with, under one condition."""

    def __init__(
        self, run: Run, accusation: Accusation, sides: Sequence[ClaimSide], condition: str, answers: ConditionAnswers
    ) -> None:
        self._run, self._accusation, self._sides = run, accusation, sides
        self._condition, self._answers = condition, answers
        files = dict(answers.files)
        files["answers.jsonl"] = "".join(_answer_line(one) + "\n" for one in answers.lines).encode()
        self._files = files
        for one in answers.lines:
            if not _is_json_object(files[one["request"]]):
                raise _NotProven(f"{one['side']}: the request of answer {one['number']} is no JSON object")
        self._read = verify_bundle.read_answers(files, {"sides": {side.letter: side.provider for side in sides}})
        self._counted = {side.letter: _require_counted_answers(side, self._read) for side in sides}

    def bundle(self, heads: Mapping[str, str]) -> Bundle:
        """All files. Raises _NotProven, or Broken."""
        files, claim = self._files, self._claim(heads)
        by_token = self._accusation.rule == "deviates_token_by_token"
        of_a = [one["number"] for given in self._counted["A"].values() for one in given] if by_token else []
        scored = bundle_readings.collect_readings(
            self._answers, claim["example"], of_a, self._accusation.others[0] if by_token else None
        )
        if scored is not None:
            claim["epsilon"], files["readings.jsonl"] = scored.epsilon, scored.lines
            claim["attested"] |= {"epsilon": f"{scored.epsilon:.3g}", "reader": scored.reference}
        elif by_token:
            raise _NotProven(
                "not every answer was read by the reference, or no honest form of it was: `tempzero score` does, where "
                "score.forms names one (f16); what a pack finds rests on the run folder and the pack, without a bundle"
            )
        if scored is not None and by_token:
            claim["clip"], files["forms.jsonl"] = scored.clip, scored.forms
            claim["attested"]["clip"] = f"{scored.clip:.3g}"
        files["verify.py"] = read_checker()
        outline = page_wording.write_outline(page_wording.describe_subject(claim, self._read))
        found = bundle_figures.compute_figures(claim, self._read, files, outline)
        claim["how"] = {name: page_wording.explain_figure(name) for name in sorted(found)}
        files["claim.json"] = (json.dumps(claim, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()
        page = page_wording.fill_outline(outline, found)
        files["CLAIM.md"], files["CLAIM.html"] = page.encode(), page_wording.to_html(page).encode()
        files["SHA256SUMS"] = verify_bundle.build_checksums(files)
        verify_bundle.check_claim(claim)
        verify_bundle.check_names(files, claim, self._read)
        verify_bundle.check_answers(claim, self._read)
        root = hashlib.sha256(files["SHA256SUMS"]).hexdigest()
        name = _name_bundle_file(self._run, self._accusation)
        return Bundle(files=files, root=root, title=page.partition("\n")[0][2:], file_name=name)

    def _claim(self, heads: Mapping[str, str]) -> dict[str, Any]:
        counted = self._counted
        routers = [side.letter for side in self._sides if self._is_router(side)]
        others = [answers for letter, answers in counted.items() if letter != "A"]
        example = _find_cross_example(counted["A"], others) if others else _find_self_example(counted["A"], routers)
        return {
            "format": verify_bundle.BUNDLE_FORMAT,
            "rule": self._accusation.rule,
            "routers": routers,
            "condition": self._condition,
            "sides": {side.letter: side.provider for side in self._sides},
            "example": [one["number"] for one in example],
            "attested": self._attested(heads),
            "planned": {
                side.letter: [self._list_planned(run, side.provider) for run in side.runs] for side in self._sides
            },
            "keys": {side.letter: side.key_variable for side in self._sides},
            "epsilon": None,
            "runs": [_describe_run(r) for r in {id(r): r for s in self._sides for r in s.runs}.values()],
        }

    def _is_router(self, side: ClaimSide) -> bool:
        """One address, several backends: by its own configuration, or by the labels of its answers."""
        backends = {one["backend"] for given in self._counted[side.letter].values() for one in given}
        return not _find_provider_entry(side.runs[0], side.provider).pinned or len(backends - {None}) > 1

    def _list_planned(self, run: Run, provider: str) -> list[Any]:
        """Run, repeats and prompts of the trials that the run's plan has for a provider under the condition."""
        entry = _find_provider_entry(run, provider)
        condition = next((c for c in run.config.asked_under() if c.name == self._condition), None)
        under = entry if condition is None else run.config.under(entry, condition) or entry
        prompts = [prompt.id for prompt in run.manifest.suite.prompts if fits_context(under, prompt)]
        return [run.manifest.run_id, under.repeats, prompts]

    def _attested(self, heads: Mapping[str, str]) -> dict[str, str]:
        """What stands on the page and cannot be computed from the bundle's answers."""
        manifest = self._run.manifest
        host, versions = manifest.host, manifest.versions
        stated = {
            "runs": ", ".join(heads),
            "heads": ", ".join(heads.values()),
            "roots": ", ".join(dict.fromkeys(r.root() or "none" for s in self._sides for r in s.runs)),
            "tempzero": " ".join(versions[name] for name in ("tempzero", "git") if name in versions) or "not recorded",
            "python": str(versions.get("python", "not recorded")),
            "system": str(host.get("system", "a system that is not recorded")),
            "cpu": str(host.get("cpu", "a processor that is not recorded")),
        }
        for side in self._sides:
            entries = [_find_provider_entry(run, side.provider) for run in side.runs]
            claims = entries[0].claims
            words = (entries[0].claimed_model, claims.precision or "precision not declared", claims.source)
            stated[f"declared_{side.letter}"] = ", ".join(word for word in words if word)
        of_texts = self._accusation.rule in page_wording.OF_ONE_SESSION
        if of_texts and all(run.config.run.sessions == 1 for side in self._sides for run in side.runs):
            stated["sessions"] = "one"
        if self._accusation.p_value is not None:
            stated["report_p"] = f"{self._accusation.p_value:.2g}"
        return stated


def _describe_run(run: Run) -> dict[str, Any]:
    """What a run says of itself, for whoever wants to repeat it; not on the page."""
    manifest = run.manifest
    return {
        "run": manifest.run_id,
        "created_at": manifest.created_at,
        "records": sum(1 for _ in run.lines()),
        "plan_digest": manifest.plan_digest,
        "plan_seed": manifest.plan_seed,
        "suite_digest": manifest.suite.digest,
        "versions": dict(manifest.versions),
        "host": dict(manifest.host),
        "engines": {name: dict(said) for name, said in manifest.engines.items()},
        "sessions": [{"started_at": s.started_at, "ended_at": s.ended_at} for s in manifest.sessions],
    }


def _answer_line(one: Mapping[str, Any]) -> str:
    return json.dumps(one, ensure_ascii=False)


def _list_sides(run: Run, accusation: Accusation, before: Sequence[Run]) -> list[ClaimSide]:
    """A is the accused; of a change, B is the same provider in the earlier runs."""
    named = [(accusation.subject, [run]), *((name, [run]) for name in accusation.others)]
    if before:
        named.append((accusation.subject, list(before)))
    return [
        ClaimSide(
            letter=letter, provider=name, runs=runs, key_variable=_require_recorded_provider(runs, name).api_key_env
        )
        for letter, (name, runs) in zip(string.ascii_uppercase, named, strict=False)
    ]


def _require_recorded_provider(runs: Sequence[Run], name: str) -> Provider:
    """The provider's entry, which no run may lack and none may only have replayed."""
    for run in runs:
        provider = _find_provider_entry(run, name)
        if provider.replay is not None:
            raise UsageError(
                f'{run.path}: "{name}" replays a recorded run; make the claim from that run: {provider.replay.run}'
            )
    return _find_provider_entry(runs[0], name)


def _find_provider_entry(run: Run, name: str) -> Provider:
    try:
        return run.config.provider(name)
    except KeyError:
        known = ", ".join(sorted(p.name for p in run.config.providers))
        raise UsageError(f'{run.path}: no provider is called "{name}"; known: {known}') from None


def _check_accusation(run: Run, accusation: Accusation, before: Sequence[Run]) -> None:
    least, most = page_wording.CLAIMABLE_RULES[accusation.rule]
    names = {accusation.subject, *accusation.others}
    if not least <= len(accusation.others) <= most or len(names) <= len(accusation.others):
        raise UsageError(f"{accusation.rule}: names too many or too few others, or one of them twice")
    if (accusation.rule == "changed") != bool(before):
        raise UsageError(f"{accusation.rule}: earlier runs are needed for a claim of a change, and for no other")
    if len({r.manifest.run_id for r in (run, *before)}) <= len(before):
        raise UsageError("changed: one run is named twice, or is its own past")


def _require_counted_answers(side: ClaimSide, answers: Sequence[Any]) -> ByPrompt:
    """Is there anything to compare? Raises _NotProven."""
    trials = bundle_figures.first_usable_answers(a for a in answers if a["side"] == side.letter)
    found = _group_by_prompt(trials)
    if not found:
        ended = Counter(a["outcome"] for a in trials)
        why = ", ".join(f"{number} {reason}" for reason, number in sorted(ended.items())) or "no record"
        raise _NotProven(
            f"{side.provider} gave no answer that counts ({why}); withheld, replayed or failed answers show neither "
            "difference nor agreement"
        )
    return found


def _group_by_prompt(trials: Iterable[Any]) -> ByPrompt:
    found: ByPrompt = {}
    for one in trials:
        if bundle_figures.has_output(one):
            found.setdefault(one["prompt"], []).append(one)
    return found


def _is_json_object(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body), dict)
    except ValueError:
        return False


def _find_self_example(answers: ByPrompt, routers: Sequence[str]) -> tuple[Any, Any]:
    """The pair that proves it best: one identity before several, whole answers before cut ones, then the first."""
    best: tuple[Any, Any, Any] | None = None
    elsewhere = 0
    for a, b in (pair for given in answers.values() for pair in itertools.combinations(given, 2)):
        if bundle_figures.are_same(a, b):
            continue
        # Of a router only the request and the model served must agree: the claim is about the router then.
        if bundle_figures.name_source(a, routers) != bundle_figures.name_source(b, routers):
            elsewhere += 1
            continue
        several = (
            bundle_figures.name_source(a, []) != bundle_figures.name_source(b, []),
            a["fingerprint"] != b["fingerprint"],
        )
        rank = (*several, a["cut"] or b["cut"], a["number"], b["number"])
        if best is None or rank < best[0]:
            best = (rank, a, b)
    if best is None:
        raise _NotProven(_explain_no_difference(answers, elsewhere))
    return best[1], best[2]


def _explain_no_difference(answers: ByPrompt, elsewhere: int) -> str:
    if elsewhere:
        return (
            "answers to one prompt differ only where the request, the served model or the backend differs too "
            f"({elsewhere} pairs): a change of what answers, not nondeterminism of it"
        )
    repeated = sum(len(given) > 1 for given in answers.values())
    if not repeated:
        return "no prompt has two answers that can be compared"
    return (
        f"no two answers to one request differ, as far as none was cut, on {repeated} prompts; that does not prove "
        f"determinism: up to {rule_of_three(repeated):.0%} of such prompts may still diverge (95 %)"
    )


def _find_cross_example(left: ByPrompt, others: Sequence[ByPrompt]) -> tuple[Any, Any]:
    """Each side's commonest answer, of the prompt on which both sides are surest of their own."""
    best: tuple[Any, Any, Any] | None = None
    for right, prompt in ((right, p) for right in others for p in left if p in right):
        what = bundle_figures.what_is_shown(left, right)
        (share_a, a), (share_b, b) = _commonest_answer(left[prompt], what), _commonest_answer(right[prompt], what)
        rank = (-share_a - share_b, a["cut"] or b["cut"], a["number"], b["number"])
        if not bundle_figures.are_same(a, b, what) and (best is None or rank < best[0]):
            best = (rank, a, b)
    if best is None:
        raise _NotProven("on no prompt does the commonest answer of one side differ from that of the other")
    return best[1], best[2]


def _commonest_answer(given: Sequence[Any], what: str) -> tuple[float, Any]:
    texts = [one[what] for one in given]
    text = max(texts, key=texts.count)
    return texts.count(text) / len(texts), given[texts.index(text)]


def _refuse_secrets(bundle: Bundle, providers: Iterable[Provider], environ: Mapping[str, str]) -> None:
    """The engines keep keys out of records; a bundle leaves this machine, so it is looked at once more."""
    for variable in {v for p in providers for v in p.variables()}:
        secret = environ.get(variable, "").strip().encode()
        for name, data in sorted(bundle.files.items()):
            if len(secret) >= _SHORTEST_SECRET and secret in data:
                raise UsageError(
                    f"not claimed: {name} would hold the value of {variable}; the records must not leave this machine"
                )
