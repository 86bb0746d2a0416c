"""argv in, an exit code out; everything else is in the library, imported only by the verb that needs it.

Exit codes: 0 pass, 1 finding, 2 cannot run, 3 inconclusive, 70 a bug of ours, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tempzero.errors import TempzeroError, UsageError
from tempzero.types.asked import SuiteName

if TYPE_CHECKING:
    from tempzero.check import ProviderCheck
    from tempzero.config import Setting
    from tempzero.pipeline import PreparedRun, Watcher
    from tempzero.types.concluded import Verdict

EXIT_CODES = {"pass": 0, "finding": 1, "inconclusive": 3}
CANNOT_RUN, OUR_BUG, INTERRUPTED = 2, 70, 130

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,  # the plain help starts twice as fast
    pretty_exceptions_enable=False,
    help="Do inference providers that claim to serve the same model give the same answers at temperature zero?",
    epilog="Exit codes: 0 pass, 1 finding, 2 cannot run, 3 inconclusive, 70 a bug in tempzero, 130 interrupted.",
)

suite_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Make, look over and freeze prompts.")
app.add_typer(suite_app, name="suite")

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The providers.yaml to use; else the one in this folder, else the built-in."),
]
PromptNames = Annotated[
    list[str] | None,
    typer.Option("--prompts", metavar="PATH", help="Other prompts: a file, a folder, or builtin; again for more."),
]
RunFolder = Annotated[Path, typer.Argument(help="A run folder, e.g. results/20261123T101500Z-run.")]


def main(argv: list[str] | None = None) -> int:
    """Run the command line; every error a user can put right becomes one line and exit code 2."""
    try:
        return int(app(argv, prog_name="tempzero", standalone_mode=False) or 0)
    except TempzeroError as error:
        print(error, file=sys.stderr)
        return CANNOT_RUN
    except typer.Exit as end:
        return end.exit_code
    except typer.Abort:
        return INTERRUPTED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has left (`| head`); nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INTERRUPTED
    except Exception as error:
        if error.__class__.__module__.startswith(("typer", "click")):
            return _show_usage_error(error)
        import traceback

        traceback.print_exc()
        print("this is a bug in tempzero; what was recorded so far is kept", file=sys.stderr)
        return OUR_BUG


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"tempzero {version('tempzero')}")
        raise typer.Exit


@app.callback()
def _before_any_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="Where to write them.")] = Path()) -> int:
    """Write a commented providers.yaml and a first prompt file to start from."""
    from tempzero.config import starter

    written = starter.write_starter_files(folder)
    print(*written, sep="\n")
    named = "" if folder == Path() else f" --config {written[0]}"
    print(f"`tempzero run{named}` asks two providers on this machine; the file says what to change", file=sys.stderr)
    return 0


@app.command()
def run(
    config: ConfigFile = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run folder: ask only what is missing.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan with calls, tokens and cost; spend nothing.")
    ] = False,
    providers: Annotated[str, typer.Option(help="Only these providers, comma-separated.")] = "",
    prompts: PromptNames = None,
    suite: Annotated[SuiteName | None, typer.Option(help="How much is asked; deep is everything.")] = None,
    tags: Annotated[str, typer.Option(help="Only prompts with one of these tags, comma-separated.")] = "",
    repeats: Annotated[int | None, typer.Option(min=1, help="Repeats for every provider.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many prompts, spread over the suite.")] = None,
    no_check: Annotated[
        bool, typer.Option("--no-check", help="Do not ask hosted providers for one token first.")
    ] = False,
    max_cost: Annotated[
        float | None, typer.Option(min=0, help="Stop before this command has cost so many USD.")
    ] = None,
    max_requests: Annotated[
        int | None, typer.Option(min=1, help="Send at most so many requests, retries included.")
    ] = None,
    max_minutes: Annotated[float | None, typer.Option(min=0.01, help="Stop collecting after so many minutes.")] = None,
    run_code: Annotated[bool, typer.Option("--run-code", help="Judge code answers by running them, enclosed.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print summary.json instead of tables.")] = False,
) -> int:
    """Ask every provider, record every response, compare, report; the exit code is the verdict."""
    from tempzero import pipeline

    watcher = _load_watcher()
    limits = pipeline.Limits(max_cost_usd=max_cost, max_requests=max_requests, max_minutes=max_minutes)
    if resume is not None:
        collected = pipeline.resume_run(resume, environ=os.environ, watcher=watcher, limits=limits, check=not no_check)
    else:
        prepared = pipeline.prepare_run(
            _choose_setting(config),
            only=_split_names(providers),
            prompts=_find_prompts(prompts),
            suite=suite,
            tags=_split_names(tags),
            repeats=repeats,
            limit=limit,
        )
        _print_skipped_providers(prepared)
        print(*prepared.suite.remarks, sep="\n", end="\n" if prepared.suite.remarks else "", file=sys.stderr)
        if dry_run:
            return _print_plan(prepared)
        collected = pipeline.start_run(prepared, watcher=watcher, limits=limits, check=not no_check)
    for ending in collected.endings:
        print(f"stopped: {ending.provider or 'the run'}: {ending.reason}", file=sys.stderr)
    if any(e.provider is None for e in collected.endings):
        print(f"`tempzero run --resume {collected.path}` asks what is missing", file=sys.stderr)
    if collected.interrupted:
        print(f"interrupted; `tempzero run --resume {collected.path}` asks what is missing", file=sys.stderr)
        return INTERRUPTED
    if _has_scoring_enabled(collected.path):
        pipeline.score_run(collected.path, environ=os.environ, watcher=watcher)
    _run_judgements(collected.path, run_code)
    return _write_and_show_report(collected.path, json_output)


@app.command()
def check(
    config: ConfigFile = None,
    providers: Annotated[str, typer.Option(help="Only these providers, comma-separated.")] = "",
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> int:
    """Ask every hosted provider a few tokens: key, model, and which request fields it really honours."""
    import asyncio

    from tempzero import check as checking

    asked, unset = checking.select_hosted(_choose_setting(config), _split_names(providers))
    for provider in unset:
        names = " and ".join(v for v in provider.variables() if not os.environ.get(v))
        print(f"skipped: {provider.name}: environment variable {names} not set", file=sys.stderr)
    rows = asyncio.run(checking.check_providers(asked, environ=os.environ))
    outcome = checking.worst_state(rows) if rows or not unset else "inconclusive"
    if json_output:
        import json

        shown = [{"provider": r.provider, "state": r.state, **r.words, "remarks": r.remarks} for r in rows]
        print(json.dumps({"outcome": outcome, "skipped": [p.name for p in unset], "providers": shown}, indent=2))
    else:
        _print_check_table(rows)
        print(f"check: {outcome} (exit code {EXIT_CODES[outcome]})")
    return EXIT_CODES[outcome]


@app.command()
def probe(
    out: Annotated[Path | None, typer.Argument(help="The suite to write; else prompts/probes/KIND-SEED.yaml.")] = None,
    kind: Annotated[
        str, typer.Option(help="border: first tokens that are near-ties. robust: answers without one.")
    ] = "border",
    config: ConfigFile = None,
    reference: Annotated[str, typer.Option(help="Whose model to search with; else the first local reference.")] = "",
    prompts: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="Search these prompts instead of seeded ones; again for more."),
    ] = None,
    candidates: Annotated[int, typer.Option(min=1, max=100_000, help="Seeded prompts to read.")] = 400,
    count: Annotated[int, typer.Option(min=1, help="Prompts to choose at most.")] = 32,
    seed: Annotated[int, typer.Option(help="Another seed, other candidates.")] = 1,
    tokens: Annotated[
        int | None, typer.Option(min=1, help="How many tokens of an answer count: 1 for border, 16 for robust.")
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(min=0, help="Logits. border: at most (default: what honest forms move); robust: at least (1)."),
    ] = None,
    max_minutes: Annotated[float | None, typer.Option(min=0.01, help="Stop reading after so many minutes.")] = None,
) -> int:
    """Search prompts that react to the slightest change, or to nothing that is only rounding; write them as a suite."""
    from tempzero import probe as probing
    from tempzero import suites
    from tempzero.cli.progress import make_counter
    from tempzero.records.files import write_atomically

    wanted = probing.build_rule(kind, tokens=tokens, count=count, margin=margin)
    chosen = _choose_setting(config)
    path = out or chosen.root / "prompts" / "probes" / f"{kind}-{seed}.yaml"
    if path.suffix not in (".yaml", ".yml"):
        raise UsageError(f"{path}: a suite of probes is written as YAML; let its name end in .yaml")
    if path.exists():
        raise UsageError(f"{path}: exists, and a suite never changes under its name; name another file")
    if not prompts:
        where, origin = probing.generate_candidates(wanted.kind, number=candidates, seed=seed), f"seed {seed}"
    else:
        where, origin = suites.load_suite(_find_prompts(prompts)).prompts, ", ".join(prompts)
    found = probing.search_prompts(
        chosen.config,
        probing.choose_reference(chosen.config, reference),
        wanted,
        probing.SearchSpace(candidates=where, origin=origin, minutes=max_minutes),
        say=lambda line: print(line, file=sys.stderr, flush=True),
        progress=make_counter("read"),
    )
    for line in probing.summarise_search(found):
        print(line)
    if found.chosen:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, probing.to_suite_text(found).encode())
        print(f"suite: {path}")
    if found.stopped == "interrupted":
        return INTERRUPTED
    return EXIT_CODES["inconclusive" if found.stopped or not found.chosen else "pass"]


@app.command()
def report(
    run: RunFolder,
    run_code: Annotated[bool, typer.Option("--run-code", help="Judge code answers by running them, enclosed.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print summary.json instead of tables.")] = False,
) -> int:
    """Analyse a run folder and write its reports again: offline, the same bytes every time."""
    _run_judgements(run, run_code)
    return _write_and_show_report(run, json_output)


@app.command()
def score(
    run: RunFolder,
    json_output: Annotated[bool, typer.Option("--json", help="Print summary.json instead of tables.")] = False,
) -> int:
    """Let the reference read every recorded response, token by token, and report again; goes on where it stopped."""
    from tempzero import pipeline

    if not pipeline.score_run(run, environ=os.environ, watcher=_load_watcher()):
        raise UsageError(f"{run}: no reference took part that can read: one with local:, or an endpoint with reads:")
    return _write_and_show_report(run, json_output)


@app.command()
def claim(
    run: RunFolder,
    finding: Annotated[int | None, typer.Option(min=1, help="Which finding of the report, counted from 1.")] = None,
    rule: Annotated[
        str | None, typer.Option(help="Instead of a finding: nondeterministic, differs-from-all or changed.")
    ] = None,
    provider: Annotated[str | None, typer.Option(help="With --rule: which provider.")] = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="With differs-from-all: from every one of these providers. With changed: since these run folders; "
            "else since its baseline."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write the bundle.")] = None,
) -> int:
    """Write an evidence bundle that proves a finding, for the provider's engineers or any sceptic to check."""
    from tempzero import claims, records
    from tempzero.records.files import write_atomically

    opened = records.open_run(run)
    if (rule is None) != (provider is None) or (rule is not None and finding is not None):
        raise UsageError(
            "name either --finding N, or --rule nondeterministic with --provider NAME, "
            "or --rule differs-from-all with --provider NAME and --against A,B, or --rule changed with --provider NAME"
        )
    before = []
    if rule == "changed" and provider is not None:
        accusation = claims.accuse_by_rule(rule, provider)
        before = [records.open_run(p) for p in _earlier_run_paths(run, provider, against)]
    elif rule is not None and provider is not None:
        accusation = claims.accuse_by_rule(rule, provider, _split_names(against or ""))
    else:
        from tempzero.analysis import analyse

        with _progress_bar() as tell:
            findings = analyse(opened, tell).findings
        accusation = claims.accuse_by_finding(findings, finding)
    bundle = claims.make_bundle(opened, accusation, environ=os.environ, before=before)
    path = out or Path(claims.bundle_file_name(opened, accusation))
    try:
        write_atomically(path, bundle.packed())
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None
    print(f"{path}: {bundle.title}\nroot hash: {bundle.root}")
    return 0


@app.command()
def verify(path: Annotated[Path, typer.Argument(help="A run folder, or an evidence bundle (zip or unpacked).")]) -> int:
    """Check a run folder's hash chain, or everything that an evidence bundle claims; offline."""
    from tempzero import records

    if (path / records.MANIFEST).is_file() or not path.exists():
        head = records.open_run(path).verify()
        print(f"{path}: the chain holds; last record {head}")
    else:
        from tempzero import claims

        print(claims.check_bundle(path))
    return 0


@app.command()
def compare(
    left: Annotated[Path, typer.Argument(help="The earlier run folder.")],
    right: Annotated[Path, typer.Argument(help="The later run folder.")],
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON instead of Markdown.")] = False,
) -> int:
    """What changed between two runs, tested prompt by prompt; what cannot be compared is named."""
    from tempzero import compare as comparing
    from tempzero import records

    comparison = comparing.compare_runs(records.open_run(left), records.open_run(right))
    print(
        comparing.comparison_to_json(comparison) if json_output else comparing.comparison_to_markdown(comparison),
        end="",
    )
    return EXIT_CODES[comparison.outcome]


@app.command()
def baseline(
    action: Annotated[str, typer.Argument(help="set, show or clear.")],
    runs: Annotated[
        list[Path] | None, typer.Argument(help="With set: the run folder, or several to be pooled.")
    ] = None,
    config: ConfigFile = None,
    providers: Annotated[str, typer.Option(help="Only these providers, comma-separated.")] = "",
) -> int:
    """Say what every night is held against: the runs of an ordinary day, chosen by you."""
    from datetime import UTC, datetime

    from tempzero import records
    from tempzero.nightly import baseline as baselines
    from tempzero.nightly import history

    if action not in ("set", "show", "clear") or (action == "set") != bool(runs):
        raise UsageError("baseline: say `set RUN [RUN ...]`, `show`, or `clear`")
    results = _choose_setting(config).results
    if action == "set":
        now = datetime.now(UTC).isoformat(timespec="seconds")
        for made in baselines.make_baselines(
            [records.open_run(r) for r in runs or ()], only=_split_names(providers), now=now
        ):
            history.write_baseline(results, made)
            print(baselines.describe_baseline(made))
    elif action == "show":
        found = history.read_baselines(results)
        print(*map(baselines.describe_baseline, found), sep="\n")
        return 0 if found else EXIT_CODES["inconclusive"]
    else:
        print(*(f"cleared: {name}" for name in baselines.clear_baselines(results, _split_names(providers))), sep="\n")
    return 0


@app.command()
def nightly(
    config: ConfigFile = None,
    night: Annotated[str, typer.Option(help="The night's name; else today's date (UTC).")] = "",
    providers: Annotated[str, typer.Option(help="Only these providers, comma-separated.")] = "",
    prompts: PromptNames = None,
    suite: Annotated[SuiteName | None, typer.Option(help="How much is asked; deep is everything.")] = None,
    tags: Annotated[str, typer.Option(help="Only prompts with one of these tags, comma-separated.")] = "",
    repeats: Annotated[int | None, typer.Option(min=1, help="Repeats for every provider.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many prompts, spread over the suite.")] = None,
    deep: Annotated[
        bool | None, typer.Option("--deep/--no-deep", help="A deep night, or none; else it is deep when due.")
    ] = None,
    no_check: Annotated[
        bool, typer.Option("--no-check", help="Do not ask hosted providers for one token first.")
    ] = False,
    max_cost: Annotated[float | None, typer.Option(min=0, help="Stop before this night has cost so many USD.")] = None,
    max_requests: Annotated[
        int | None, typer.Option(min=1, help="Send at most so many requests in this night, retries included.")
    ] = None,
    max_minutes: Annotated[float | None, typer.Option(min=0.01, help="Stop collecting after so many minutes.")] = None,
) -> int:
    """The scheduler's one command: check, run, compare with the baselines, decide, tell; calling again finishes it."""
    from datetime import UTC, datetime

    from tempzero import nightly as job
    from tempzero import pipeline

    asked = job.NightOptions(
        only=_split_names(providers),
        prompts=_find_prompts(prompts),
        suite=suite,
        tags=_split_names(tags),
        repeats=repeats,
        limit=limit,
        deep=deep,
        check=not no_check,
        limits=pipeline.Limits(max_cost_usd=max_cost, max_requests=max_requests, max_minutes=max_minutes),
    )
    ended = job.run_night(
        _choose_setting(config),
        night or datetime.now(UTC).date().isoformat(),
        asked=asked,
        watcher=_load_watcher(),
    )
    print(*(f"stopped: {s}" for s in ended.stopped), sep="\n", end="\n" if ended.stopped else "", file=sys.stderr)
    print(*ended.sentences, *(f"told: {n.title}" for n in ended.told), sep="\n")
    print(*ended.undelivered, sep="\n", end="\n" if ended.undelivered else "", file=sys.stderr)
    return INTERRUPTED if ended.outcome == "interrupted" else EXIT_CODES[ended.outcome]


@app.command()
def history(
    config: ConfigFile = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON instead of Markdown.")] = False,
) -> int:
    """Write the pages of all nights (they open without a server), and print their summary."""
    from tempzero.nightly import history as nights
    from tempzero.nightly import trend

    results = _choose_setting(config).results
    found = nights.read_nights(results)
    runs = {p.name for p in results.iterdir()} if results.is_dir() else set()
    index = trend.write_history_pages(found, results / "history" / "page", present=runs)
    print(trend.history_to_json(found) if json_output else trend.history_to_markdown(found), end="")
    print(f"page: {index}", file=sys.stderr)
    return 0


@app.command()
def prune(
    config: ConfigFile = None,
    older_than_days: Annotated[int | None, typer.Option(min=0, help="Take runs begun longer ago than this.")] = None,
    keep: Annotated[int | None, typer.Option(min=0, help="Take all but this many of the newest runs.")] = None,
    compress: Annotated[bool, typer.Option("--compress", help="Compress what is taken, instead of removing.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; do nothing.")] = False,
) -> int:
    """Make room: remove or compress old runs; baselines, findings and their evidence are never removed."""
    from datetime import UTC, datetime

    from tempzero.nightly import prune as pruning

    results = _choose_setting(config).results
    chosen = pruning.choose_runs(
        results, now=datetime.now(UTC), older_than_days=older_than_days, keep=keep, compress=compress
    )
    for taken in chosen:
        print(f"{'would be ' if dry_run and taken.what != 'kept' else ''}{taken.what}: {taken.run}: {taken.why}")
    if not dry_run:
        print(f"{pruning.prune_runs(results, chosen):,} bytes saved")
    return 0


@app.command()
def schedule(
    target: Annotated[str, typer.Argument(help="github, systemd or cron.")],
    config: ConfigFile = None,
    at: Annotated[
        str, typer.Option(help="When, HH:MM in UTC; not at a full hour, when everybody's jobs start.")
    ] = "03:17",
) -> int:
    """Print a unit that runs `tempzero nightly`, with notes on its scheduler's traps."""
    from tempzero.nightly import schedule as scheduling

    files = scheduling.build_unit(target, scheduling.find_place(target, _choose_setting(config), at))
    for name, text in files.items():
        print(f"# --- {name}\n{text}" if len(files) > 1 else text, end="")
    return 0


@suite_app.command("generate")
def suite_generate(
    generator: Annotated[str, typer.Argument(help="Which kind of prompts; an unknown name lists them.")],
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes, on every machine.")] = 1,
    count: Annotated[int, typer.Option(min=1, help="How many prompts.")] = 20,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE, e.g. steps=3, tokens=8192, max_tokens=32.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A .jsonl file; else they are printed.")] = None,
) -> int:
    """Write fresh prompts that nobody can have tuned to, as a prompt file (JSONL)."""
    from tempzero import suites

    text = suites.generate_jsonl(generator, seed=seed, count=count, settings=settings or ())
    if out is None:
        print(text, end="")
        return 0
    try:
        out.write_bytes(text.encode())
    except OSError as error:
        raise UsageError(f"{out}: cannot be written: {error.strerror}") from None
    print(f"{out}: {count} prompts, digest {suites.load_suite(out).digest}")
    return 0


@suite_app.command("lint")
def suite_lint(
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="A prompt file, a folder of them, or builtin.")
    ] = "prompts",
) -> int:
    """Say what makes a right answer change with day, place or reader, and which prompts ask nearly the same."""
    from tempzero import suites

    said = suites.lint_prompts(_find_prompts([path]))
    print(*said, sep="\n", end="\n" if said else "")
    return EXIT_CODES["finding"] if said else 0


@suite_app.command("freeze")
def suite_freeze(folder: Annotated[Path, typer.Argument(help="A folder of prompt files.")] = Path("prompts")) -> int:
    """Write suites.lock: from now on a suite that has changed is refused until it is frozen as the next version."""
    from tempzero import suites

    for name, frozen in suites.freeze_suites(folder).suites.items():
        print(f"{name}: version {frozen.version}, {frozen.prompts} prompts, digest {frozen.digest}")
    return 0


@app.command()
def schema() -> int:
    """Print the JSON schema of providers.yaml, for editors."""
    from tempzero.config import build_config_schema

    print(build_config_schema(), end="")
    return 0


def _run_judgements(path: Path, run_code: bool) -> None:
    """Try out what cannot be judged by reading; what was tried out before is not tried again."""
    from tempzero import judgements

    judgements.judge(path, run_code=run_code, say=lambda line: print(line, file=sys.stderr))


def _write_and_show_report(path: Path, json_output: bool) -> int:
    from rich.console import Console

    from tempzero import records
    from tempzero import reports as reports
    from tempzero.analysis import analyse
    from tempzero.verdict import gate

    opened = records.open_run(path)
    with _progress_bar() as tell:
        analysis = analyse(opened, tell)
    verdict = gate.judge(analysis, opened.config.gates)
    try:
        written = reports.write_reports(analysis, verdict, path)
    except OSError as error:
        raise UsageError(
            f"{path}: the report cannot be written there: {error.strerror}; copy the folder first"
        ) from None
    if json_output:
        print((path / "summary.json").read_text(encoding="utf-8"), end="")
    else:
        reports.show_report(analysis, verdict, Console())
        _print_verdict(verdict, written)
    return EXIT_CODES[verdict.outcome]


@contextmanager
def _progress_bar() -> Iterator[Callable[[str, float], None]]:
    """A bar on a terminal for what takes more than seconds on large runs; elsewhere nothing."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda phase, share: bar.update(task, description=phase, completed=share)


def _has_scoring_enabled(path: Path) -> bool:
    """Whether the run's configuration wants its references to read the responses."""
    from tempzero import records

    return records.open_run(path).config.score.enabled


def _earlier_run_paths(run: Path, provider: str, against: str | None) -> list[Path]:
    """The run folders named, else those that the provider's baseline was made of."""
    from tempzero import records
    from tempzero.nightly import history

    if against is not None:
        return [Path(name) for name in _split_names(against)]
    known = [b for b in history.read_baselines(run.parent) if b.provider == provider]
    if not known:
        raise UsageError(
            f"{run}: {provider} has no baseline in {run.parent}; set one, or name earlier run folders with --against"
        )
    suite = records.open_run(run).manifest.suite.digest
    nearest = next((b for b in known if b.suite_digest == suite), known[-1])
    return [run.parent / side.run for side in nearest.sides]


def _choose_setting(named: Path | None) -> Setting:
    from tempzero.config.shipped import choose_setting

    return choose_setting(named, os.environ, say=lambda line: print(line, file=sys.stderr))


def _find_prompts(names: Sequence[str] | None) -> tuple[Path, ...]:
    """What was named on the command line, seen from where that was typed; nothing where nothing was."""
    from tempzero.config.shipped import find_prompts

    return find_prompts(names or (), Path())


def _split_names(listed: str) -> list[str]:
    return [name.strip() for name in listed.split(",") if name.strip()]


def _print_verdict(verdict: Verdict, written: tuple[Path, ...]) -> None:
    pages = [p for p in written if p.suffix in (".html", ".md")]
    print(f"\nverdict: {verdict.outcome} (exit code {EXIT_CODES[verdict.outcome]})")
    for page in pages:
        print(f"report:  {page}")


def _print_skipped_providers(prepared: PreparedRun) -> None:
    """What was left out by circumstance; what the command line itself left out needs no telling."""
    from tempzero.plan import NOT_CHOSEN

    for skipped in prepared.plan.skipped:
        if skipped.reason != NOT_CHOSEN:
            print(f"skipped: {skipped.provider}: {skipped.reason}", file=sys.stderr)
    for one in prepared.plan.left_out:
        more = f" and {len(one.prompts) - 1} more" if len(one.prompts) > 1 else ""
        print(
            f"left out: {one.provider}: {one.prompts[0]}{more}: longer than its context of {one.context} tokens",
            file=sys.stderr,
        )


def _print_plan(prepared: PreparedRun) -> int:
    from rich.console import Console
    from rich.table import Table

    suite, columns = prepared.suite, ("calls", "prompt tokens ≤", "completion tokens ≤", "cost ≤")
    named = f" of suite {suite.name}" if suite.name else ""
    named += f", version {suite.version}" if suite.version else ""
    table = Table("provider", title=f"Plan: {len(suite.prompts)} prompts{named}; nothing sent", title_justify="left")
    families = Table(title="By family, over all providers", title_justify="left")
    families.add_column("family", no_wrap=True)
    families.add_column("prompts", justify="right")
    for heading in columns:
        table.add_column(heading, justify="right")
        families.add_column(heading, justify="right")
    for f in prepared.plan.families:
        figures = (f.prompts, f.calls, f.prompt_tokens, f.completion_tokens)
        families.add_row(f.family, *map(str, figures), _format_cost(f.cost_usd))
    estimates = prepared.plan.estimates
    for e in estimates:
        table.add_row(e.provider, *map(str, (e.calls, e.prompt_tokens, e.completion_tokens)), _format_cost(e.cost_usd))
    totals = [sum(v) for v in zip(*((e.calls, e.prompt_tokens, e.completion_tokens) for e in estimates), strict=True)]
    priced = [e.cost_usd for e in estimates if e.cost_usd is not None]
    table.add_section()
    table.add_row("all, before retries", *map(str, totals), _format_cost(sum(priced) if priced else None))
    console = Console()
    console.print(table)
    console.print(families)
    return 0


def _print_check_table(rows: Sequence[ProviderCheck]) -> None:
    """A column for each provider: there are fewer of them than of what was looked at."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from tempzero.check import CHECK_COLUMNS

    if not rows:
        print("no hosted provider to check: `run` proves what it starts on this machine itself")
        return
    table = Table("", *(row.provider for row in rows), title="Check", title_justify="left")
    for column in CHECK_COLUMNS:
        table.add_row(column, *(Text(row.words.get(column, "")) for row in rows))
    console = Console()
    console.print(table)
    for row in rows:
        for remark in row.remarks:
            console.print(Text(f"{row.provider}: {remark}"), soft_wrap=True)


def _format_cost(cost_usd: float | None) -> str:
    return "no price" if cost_usd is None else f"${cost_usd:.4f}"


def _load_watcher() -> Watcher:
    from tempzero.cli.progress import make_watcher

    return make_watcher()


def _show_usage_error(error: Exception) -> int:
    """typer's own complaints (an unknown option, a missing argument), in its words."""
    show: Callable[[], None] | None = getattr(error, "show", None)
    if show is None:
        print(error, file=sys.stderr)
    else:
        show()
    return CANNOT_RUN


@app.command("import")
def import_(
    source: Annotated[
        Path, typer.Argument(help="A CSV, JSONL, JSON or Parquet file, or a folder, zip or tar of them.")
    ],
    map_: Annotated[
        list[str] | None, typer.Option("--map", help="What stands where: provider=model,prompt=question,text=answer.")
    ] = None,
    mapping: Annotated[Path | None, typer.Option(help="The same and more in a YAML file.")] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="A built-in format; told apart where unmistakable.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only files that fit this glob, e.g. 'runs/*/*.csv'.")] = None,
    where: Annotated[list[str] | None, typer.Option(help="Only rows with column=value (or !=); globs work.")] = None,
    inputs: Annotated[Path | None, typer.Option(help="The requests' file, for --format openai-batch.")] = None,
    extractor: Annotated[str | None, typer.Option(help="Reads the answer out of each text.")] = None,
    extractor_arg: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for the extractor.")] = None,
    reference: Annotated[str | None, typer.Option(help="The provider that the others are compared with.")] = None,
    as_is: Annotated[bool, typer.Option("--as-is", help="Take error-like and refusing texts for answers.")] = False,
    results: Annotated[Path, typer.Option(help="Where the run folder goes.")] = Path("results"),
    name: Annotated[str | None, typer.Option(help="The run's name; else that of the file.")] = None,
) -> int:
    """Take records of another tool in as a run folder; whatever would yield a false figure is refused."""
    from rich.console import Console

    from tempzero import exchange

    recipe = exchange.recipe_from_options(
        maps=map_ or (),
        mapping=mapping,
        form=form,
        only=only or (),
        where=where or (),
        extractor=extractor,
        arguments=extractor_arg or (),
        reference=reference,
        as_is=as_is,
    )
    notes: list[str] = []
    with Console(stderr=True).status("opening") as status:  # on a terminal only
        path = exchange.import_records(
            source,
            results=results,
            recipe=recipe,
            inputs=inputs,
            name=name,
            say=notes.append,
            progress=lambda phase, rows: status.update(f"{phase}: {rows} rows"),
        )
    print(*notes, sep="\n", file=sys.stderr)
    print(path)
    return 0


@app.command()
def export(
    run: RunFolder,
    to: Annotated[Path, typer.Argument(help="The file to write; a folder for lm-eval and vendor-verifier.")],
    form: Annotated[str | None, typer.Option("--format", help="csv, jsonl, parquet, lm-eval, openai-batch ...")] = None,
) -> int:
    """Write a run's records as a tidy table, or in another tool's format."""
    from tempzero import exchange, records

    for path in exchange.export_run(records.open_run(run), to, form=form or to.suffix.lstrip(".")):
        print(path)
    return 0
