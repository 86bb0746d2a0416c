"""A Run and what somebody wants proven of it in, the bundle out: a finding by its number, or a rule and a provider.

A door of its own: who claims a finding needs the analysis, and who claims a change needs the baselines.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tempzero.analysis import analyse
from tempzero.claims import Accusation, Bundle, accuse_by_finding, accuse_by_rule, make_bundle, read_bundle_files
from tempzero.config.store_address import find_place
from tempzero.errors import BundleError, UsageError
from tempzero.nightly.history import choose_baseline, question_key, read_baselines
from tempzero.nightly.history.nights import BASELINES
from tempzero.records import Run, open_run
from tempzero.records.store import fetch_folder

_OPTIONS = (
    "name either --finding N, or --rule nondeterministic with --provider NAME, "
    "or --rule differs-from-all with --provider NAME and --against A,B, or --rule changed with --provider NAME"
)


def claim_from_run(
    run: Run,
    *,
    finding: int | None = None,
    rule: str | None = None,
    provider: str | None = None,
    against: Sequence[str | Path] = (),
    environ: Mapping[str, str],
    tell: Callable[[str, float], None] = lambda phase, share: None,
) -> Bundle:
    """Prove a finding of the report (counted from 1; none named: the only one), or a rule of one provider.

    `against` are the other providers of `differs-from-all`, or the earlier run folders of `changed`; without any of
    those the provider's baseline is taken. Raises UsageError where these do not go together, or the records do not
    support the claim, and RunFolderError where records are damaged.
    """
    if (rule is None) != (provider is None) or (rule is not None and finding is not None) or (against and not rule):
        raise UsageError(_OPTIONS)
    before: list[Run] = []
    if rule is None or provider is None:
        accusation: Accusation = accuse_by_finding(analyse(run, tell).findings, finding)
    elif rule == "changed":
        accusation = accuse_by_rule(rule, provider)
        earlier = [find_place(str(one)) for one in against] or find_baseline_runs(run, provider)
        for path in earlier:
            fetch_folder(path)
        before = [open_run(path) for path in earlier]
    else:
        accusation = accuse_by_rule(rule, provider, [str(one) for one in against])
    return make_bundle(run, accusation, environ=environ, before=before)


def find_baseline_runs(run: Run, provider: str) -> tuple[Path, ...]:
    """The run folders that a provider's baseline was made of, beside this run. Raises UsageError where it has none."""
    results, suite = run.path.parent, run.manifest.suite
    asked = {question_key(prompt) for prompt in suite.prompts}
    fetch_folder(results / BASELINES)
    baseline = choose_baseline(read_baselines(results), provider, suite.digest, asked)
    if baseline is None:
        raise UsageError(
            f"{run.path}: {provider} has no baseline in {results}; set one, or name earlier run folders with --against"
        )
    return tuple(results / side.run for side in baseline.sides)


def compare_with_runs(path: Path, runs: Sequence[Run]) -> str:
    """Make a bundle anew from the runs that it names and hold it against that. Raises BundleError and UsageError."""
    files = read_bundle_files(path)
    claimed = json.loads(files["claim.json"])
    given = {run.manifest.run_id: run for run in runs}
    named = [one["run"] for one in claimed["runs"]]
    lacking = [name for name in named if name not in given]
    if lacking:
        raise UsageError(f"{path}: was made of {', '.join(named)}; name each with --run")
    run, *before = (given[name] for name in named)
    subject, *others = (claimed["sides"][letter] for letter in sorted(claimed["sides"]))
    if before or claimed["rule"] == "changed":
        accusation = accuse_by_rule("changed", subject)
    elif claimed["rule"] in ("nondeterministic", "differs_from_all") and "report_p" not in claimed["attested"]:
        accusation = accuse_by_rule(claimed["rule"], subject, others)
    else:
        found = analyse(run).findings
        fits = [(f.rule, f.subject, f.other) for f in found]
        wanted = (claimed["rule"], subject, others[0] if others else None)
        if wanted not in fits:
            raise BundleError(f"{path}: FAILED: the run has no such finding")
        accusation = accuse_by_finding(found, fits.index(wanted) + 1)
    made = make_bundle(run, replace(accusation, condition=claimed["condition"]), environ={}, before=before)
    for name in sorted(made.files.keys() | files.keys()):
        if made.files.get(name) != files.get(name):
            raise BundleError(f"{path}: FAILED: {name} is not what the run gives: something was left out or inserted")
    return "made anew from the run it comes out the same: nothing was left out or inserted"
