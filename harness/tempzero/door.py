"""What `import tempzero` offers besides analyse and judge; each loads what it needs when called."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tempzero.errors import UsageError

if TYPE_CHECKING:
    from tempzero.analysis.opened_run import OpenedRun
    from tempzero.claims import Bundle
    from tempzero.collect.watcher import Watcher
    from tempzero.config import Setting
    from tempzero.records import Run
    from tempzero.types.asked import SuiteName
    from tempzero.types.concluded import Analysis, Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """What was checked and held: a run folder's hash chain, or everything that an evidence bundle claims."""

    path: Path
    kind: Literal["run", "bundle"]
    sentence: str


def load_config(
    path: Path | str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Setting:
    """Read a configuration: the file at `path`, else ./providers.yaml, else the one that is built in.

    Paths in it start from its folder, the built-in one's from this folder. Keys are looked up in `environ`, else in
    the variables of this process. `say` hears that the built-in one was taken; `file` of the result is None then.
    Raises ConfigError with a line for each mistake: file, line, key, and what would be right.

    >>> setting = tempzero.load_config("providers.yaml")
    >>> [provider.name for provider in setting.config.providers]
    ['a', 'b']
    """
    from tempzero.config.shipped import choose_setting

    return choose_setting(None if path is None else Path(path), os.environ if environ is None else environ, say=say)


def run(
    setting: Setting | Run,
    /,
    *,
    providers: Sequence[str] = (),
    prompts: Sequence[Path | str] = (),
    suite: SuiteName | None = None,
    tags: Sequence[str] = (),
    repeats: int | None = None,
    limit: int | None = None,
    where: Literal["hosted", "local"] | None = None,
    check: bool = True,
    max_cost_usd: float | None = None,
    max_requests: int | None = None,
    max_minutes: float | None = None,
    run_code: bool = False,
    fingerprint: bool = True,
    watcher: Watcher | None = None,
) -> OpenedRun:
    """Ask every provider, record every response, let references read them where the configuration says so.

    A Run in place of a Setting goes on with that run: what it has not had answered is asked, as it was planned then.

    Each argument goes before what the configuration says: only these `providers`; other files or folders of
    `prompts`; how large a `suite`; only prompts with one of these `tags`; `repeats` of every provider; a `limit` to
    the number of prompts; `where`: hosted providers only, or local ones, those on this machine. With `check` every
    hosted provider is asked for one token first, and who would refuse every request is not asked. `max_cost_usd`,
    `max_requests` (retries included) and `max_minutes` end the asking early. `run_code` judges code answers by running
    them in bubblewrap. Without `fingerprint` no log-probabilities of first tokens are asked for besides, whatever
    `run.fingerprint` says. `watcher` hears what goes on.

    A provider that fails is no error but missing data, as its rows say. Raises SuiteError, UsageError, EngineError,
    WeightsError and RunFolderError; KeyboardInterrupt after Ctrl-C, when all that came has been kept.

    >>> done = tempzero.run(tempzero.load_config("providers.yaml"), repeats=2)
    >>> len(done.responses)
    12
    """
    from tempzero import records
    from tempzero.analysis.opened_run import OpenedRun
    from tempzero.collect.watcher import Watcher
    from tempzero.config.store_address import describe_place
    from tempzero.records import Run
    from tempzero.records.store import require_store
    from tempzero.workflow import pipeline

    watcher = watcher or Watcher()
    limits = pipeline.Limits(max_cost_usd=max_cost_usd, max_requests=max_requests, max_minutes=max_minutes)
    if isinstance(setting, Run):
        if any((providers, prompts, suite, tags, repeats, limit, where)):
            raise UsageError(f"{setting.path}: a run goes on as it was planned; leave out what narrows it down")
        environ: Mapping[str, str] = os.environ
        collected = pipeline.resume_run(setting.path, environ=environ, watcher=watcher, limits=limits, check=check)
    else:
        environ = setting.environ
        require_store(setting.results)
        prepared = pipeline.prepare_run(
            setting,
            only=providers,
            prompts=[Path(one) for one in prompts],
            suite=suite,
            tags=tags,
            repeats=repeats,
            limit=limit,
            where=where,
        )
        collected = pipeline.start_run(prepared, watcher=watcher, limits=limits, check=check, first_tokens=fingerprint)
    opened = OpenedRun(records.open_run(collected.path))
    nobody_answered = not pipeline.has_answers(opened) and all(e.provider for e in collected.endings)
    for line in pipeline.explain_silence(opened) if nobody_answered else pipeline.describe_endings(collected):
        watcher.say(line)
    if collected.interrupted:
        how = f"interrupted; `tempzero run --resume {describe_place(collected.path)}` asks what is missing"
        watcher.say(how)
        raise KeyboardInterrupt(how)
    if nobody_answered:
        return opened
    place = describe_place(collected.path)
    watcher.say(f"root of the records: {opened.root()} (`tempzero seal {place}` has it vouched for)")
    pipeline.complete_run(collected.path, environ=environ, watcher=watcher, run_code=run_code)
    return OpenedRun(records.open_run(collected.path))


def open_run(path: Path | str) -> OpenedRun:
    """Open a run folder for reading, or the run at a URL (fetched first). Raises RunFolderError where it is none, or of
    another format, and StoreError.

    What it holds is in DataFrames: `responses`, `prompts`, `pairs`, `tokens`, and `figure(NAME)`; `help(type(run))`
    says what every column means.

    >>> recorded = tempzero.open_run("results/20260102T030405Z-example")
    >>> recorded.manifest.run_id
    '20260102T030405Z-example'
    """
    from tempzero import records
    from tempzero.analysis.opened_run import OpenedRun
    from tempzero.config.store_address import find_place
    from tempzero.records.store import fetch_run

    place = find_place(str(path))
    fetch_run(place)
    return OpenedRun(records.open_run(place))


def report(analysis: Analysis, verdict: Verdict, folder: Path | str) -> tuple[Path, ...]:
    """Write report.html, report.md, summary.json and tables/*.csv into a folder, usually the run's own; give the paths.
    A folder that belongs to a store has them put there.

    The same analysis and verdict give the same bytes. Raises UsageError where the folder cannot be written.

    >>> recorded = tempzero.open_run("results/20260102T030405Z-example")
    >>> analysis = tempzero.analyse(recorded)
    >>> written = tempzero.report(analysis, tempzero.judge(analysis, recorded.config.gates), recorded.path)
    >>> [path.name for path in written[:3]]
    ['report.html', 'report.md', 'summary.json']
    """
    from tempzero.config.store_address import find_place
    from tempzero.records.store import put_folder
    from tempzero.workflow.conclusion import save_reports

    place = find_place(str(folder))
    written = save_reports(analysis, verdict, place)
    put_folder(place)
    return written


def claim(
    run: Run,
    *,
    finding: int | None = None,
    rule: str | None = None,
    provider: str | None = None,
    against: Sequence[str | Path] = (),
    environ: Mapping[str, str] | None = None,
    tell: Callable[[str, float], None] = lambda phase, share: None,
) -> Bundle:
    """Make an evidence bundle that anyone can check: of one finding, or of a rule about one provider.

    `finding` is its number in the report, from 1; with nothing named it is the only one that can be claimed. Rules are
    nondeterministic, differs-from-all (`against` names the other providers) and changed (`against` names earlier run
    folders; else the provider's baseline is taken). No value that `environ` holds for a key gets into it. `tell`
    hears how far the analysis has come.

    Raises UsageError where these do not go together or the records do not support the claim, and RunFolderError.

    >>> recorded = tempzero.open_run("results/20260102T030405Z-example")
    >>> bundle = tempzero.claim(recorded, rule="nondeterministic", provider="b")
    >>> bundle.save("claim.zip")
    PosixPath('claim.zip')
    """
    from tempzero.nightly.claim_request import claim_from_run

    return claim_from_run(
        run,
        finding=finding,
        rule=rule,
        provider=provider,
        against=against,
        environ=os.environ if environ is None else environ,
        tell=tell,
    )


def verify(
    path: Path | str,
    *,
    runs: Sequence[Path | str] = (),
    signers: Path | str | None = None,
    authority: Path | str | None = None,
) -> Verification:
    """Check a run folder (chain, files, reports, seals), or everything that an evidence bundle claims; offline.

    With `runs`, the folders that a bundle was made of, the bundle is made anew from them and has to come out the same:
    nothing was left out or inserted. `signers` (a file of allowed signers of ssh-keygen) and `authority` (certificates
    of a time-stamp authority) say whom to believe.
    Returns only where all of it holds; else raises RunFolderError or BundleError, which say what does not, and
    UnknownBundleError for a bundle of a kind or version not known here.

    >>> tempzero.verify("results/20260102T030405Z-example").kind
    'run'
    """
    from tempzero import records
    from tempzero.config.store_address import describe_place, find_place
    from tempzero.records.store import fetch_run

    path = find_place(str(path))
    fetch_run(path)
    if (path / records.MANIFEST).is_file() or not path.exists():
        if runs:
            raise UsageError(f"{path}: is a run folder; --run names the folder that a bundle was made of")
        opened = records.open_run(path)
        seals = records.describe_seals(
            path, signers=Path(signers) if signers else None, authority=Path(authority) if authority else None
        )
        head = opened.verify_files()
        lines = [f"{describe_place(path)}: the chain holds; last record {head}; root {opened.root() or 'none'}", *seals]
        return Verification(path=path, kind="run", sentence="\n".join(lines))

    from tempzero.claims import check_bundle

    sentence = check_bundle(path)
    if runs:
        from tempzero.nightly.claim_request import compare_with_runs

        sentence = f"{sentence}; {compare_with_runs(path, [open_run(one) for one in runs])}"
    return Verification(path=path, kind="bundle", sentence=sentence)
