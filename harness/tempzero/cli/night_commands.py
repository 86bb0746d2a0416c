"""baseline, nightly, history, prune, schedule: the same questions every night, and what has changed since."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tempzero.cli.exit_codes import CANNOT_RUN, EXIT_CODES, INTERRUPTED
from tempzero.cli.options import (
    ConfigFile,
    MaxMinutes,
    NoCheck,
    PromptLimit,
    PromptNames,
    Providers,
    Repeats,
    SuiteSize,
    Tags,
    find_named_prompts,
    find_typed_place,
    load_setting,
    split_names,
)
from tempzero.errors import UsageError

if TYPE_CHECKING:
    from tempzero.config import Setting

_BASELINE_USAGE = (
    "baseline: say `set RUN [RUN ...]`, `show`, `clear`, `accept PROVIDER [--since NIGHT]`, "
    "or `grow PROVIDER [--since NIGHT]`"
)


def baseline(
    action: Annotated[str, typer.Argument(help="set, show, clear, accept or grow.")],
    named: Annotated[
        list[str] | None,
        typer.Argument(help="With set: the run folder, or several to be pooled. With accept or grow: the provider."),
    ] = None,
    config: ConfigFile = None,
    providers: Providers = "",
    since: Annotated[
        str, typer.Option(help="With accept: the first night to accept, else that of the change. With grow: to add.")
    ] = "",
) -> int:
    """Say what every night is held against: runs of an ordinary day, chosen by you; or acknowledge a change."""
    import tempzero
    from tempzero.nightly.baseline import (
        accept_change,
        clear_baselines,
        describe_baseline,
        grow_baseline,
        set_baselines,
    )
    from tempzero.nightly.history import check_night_label, read_baselines
    from tempzero.nightly.locking import keep_nights

    of_provider = action in ("accept", "grow")
    if action not in ("set", "show", "clear", "accept", "grow") or (of_provider or action == "set") != bool(named):
        raise UsageError(_BASELINE_USAGE)
    if since and not of_provider:
        raise UsageError("--since: goes with `baseline accept` and `baseline grow` only")
    setting, only = load_setting(config), split_names(providers)
    results = setting.results
    with keep_nights(results):
        if action == "clear":
            for name in clear_baselines(results, only):
                print(f"cleared: {name}")
            return 0
        if of_provider:
            change = accept_change if action == "accept" else grow_baseline
            first, gates = check_night_label(since) if since else "", setting.config.gates
            found = tuple(b for name in named or () for b in change(results, name, since=first, gates=gates))
        elif action == "set":
            found = set_baselines(results, [tempzero.open_run(path) for path in named or ()], only=only)
        else:
            found = read_baselines(results)
    for one in found:
        print(describe_baseline(one))
    return 0 if found else EXIT_CODES["inconclusive"]


FromRecords = Annotated[
    list[Path] | None,
    typer.Option(
        "--from",
        parser=find_typed_place,
        metavar="RUN",
        help="Ask nothing: make the nights of a run folder, or of records to be imported.",
    ),
]
MapOfRecords = Annotated[
    list[str] | None, typer.Option("--map", help="What stands where in records, as `import` says.")
]
FormatOfRecords = Annotated[str | None, typer.Option("--format", help="The records' format, as `import` says.")]
BaselineNights = Annotated[
    int, typer.Option(min=1, help="Of records: days that become the baseline of a provider that has none.")
]


def _read_nights_back(
    setting: Setting,
    sources: Sequence[Path],
    maps: Sequence[str] | None,
    form: str | None,
    only: Sequence[str],
    baseline_nights: int,
) -> int:
    """Nights of what was recorded before; the exit code says whether there would have been an alarm."""
    from tempzero.cli.printing import print_lines
    from tempzero.exchange import import_records, recipe_from_options
    from tempzero.nightly.locking import put_nights
    from tempzero.nightly.past_records import make_past_nights, open_runs
    from tempzero.records.store import fetch_run

    for source in sources:
        fetch_run(source)

    def say(line: str) -> None:
        print_lines((line,), to=sys.stderr)

    def import_file(path: Path) -> Path:
        return import_records(
            path, results=setting.results, recipe=recipe_from_options(maps=maps or (), form=form), say=say
        )

    runs = open_runs(sources, import_file)
    found = make_past_nights(setting, runs, only=only, baseline_nights=baseline_nights)
    put_nights(setting.results)
    print_lines(f"baseline: {words}" for words in found.baselines)
    nights = f"{len(found.made)} nights made" + (f", {len(found.known)} on file already" if found.known else "")
    print_lines((nights, *(f"would have been told on {n.night}: {n.title}" for n in found.told)))
    if not found.told:
        print_lines(("nothing would have been told",))
    decisions = [e.decision for n in found.made for e in n.entries]
    if any(d.alarms for d in decisions):
        return EXIT_CODES["finding"]
    return 0 if any(d.tested for d in decisions) or found.known else EXIT_CODES["inconclusive"]


def nightly(
    config: ConfigFile = None,
    night: Annotated[str, typer.Option(help="The night's name; else today's date (UTC).")] = "",
    providers: Providers = "",
    prompts: PromptNames = None,
    suite: SuiteSize = None,
    tags: Tags = "",
    repeats: Repeats = None,
    limit: PromptLimit = None,
    deep: Annotated[
        bool | None, typer.Option("--deep/--no-deep", help="A deep night, or none; else it is deep when due.")
    ] = None,
    no_check: NoCheck = False,
    max_cost: Annotated[float | None, typer.Option(min=0, help="Stop before this night has cost so many USD.")] = None,
    max_requests: Annotated[
        int | None, typer.Option(min=1, help="Send at most so many requests in this night, retries included.")
    ] = None,
    max_minutes: MaxMinutes = None,
    from_: FromRecords = None,
    map_: MapOfRecords = None,
    form: FormatOfRecords = None,
    baseline_nights: BaselineNights = 3,
) -> int:
    """The scheduler's one command: check, run, compare with the baselines, decide, tell; calling again finishes it."""
    if from_:
        return _read_nights_back(load_setting(config), from_, map_, form, split_names(providers), baseline_nights)
    from tempzero.cli.printing import print_lines
    from tempzero.cli.progress import make_watcher
    from tempzero.collect import Limits
    from tempzero.nightly.job import NightOptions, run_night

    asked = NightOptions(
        only=split_names(providers),
        prompts=find_named_prompts(prompts),
        suite=suite,
        tags=split_names(tags),
        repeats=repeats,
        limit=limit,
        deep=deep,
        check=not no_check,
        limits=Limits(max_cost_usd=max_cost, max_requests=max_requests, max_minutes=max_minutes),
    )
    ended = run_night(load_setting(config), night, asked=asked, watcher=make_watcher())
    print_lines((f"stopped: {reason}" for reason in ended.stopped), to=sys.stderr)
    print_lines((*ended.sentences, *(f"told: {notice.title}" for notice in ended.told)))
    print_lines((*ended.undelivered, *([ended.not_put] if ended.not_put else [])), to=sys.stderr)
    if ended.not_put:
        return CANNOT_RUN
    return INTERRUPTED if ended.outcome == "interrupted" else EXIT_CODES[ended.outcome]


def history(
    action: Annotated[
        list[str] | None,
        typer.Argument(help="Nothing; or `import SOURCE ...`: first make nights of earlier runs or of records."),
    ] = None,
    config: ConfigFile = None,
    providers: Providers = "",
    map_: MapOfRecords = None,
    form: FormatOfRecords = None,
    baseline_nights: BaselineNights = 3,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON instead of Markdown.")] = False,
) -> int:
    """Write the pages of all nights (they open without a server), and print their summary."""
    from tempzero.nightly.history import read_nights
    from tempzero.nightly.locking import keep_nights
    from tempzero.nightly.trend import history_to_json, history_to_markdown, write_history_pages
    from tempzero.records.store import fetch_overview

    setting, code = load_setting(config), 0
    if action:
        if action[0] != "import" or len(action) < 2:
            raise UsageError("history: say `history`, or `history import SOURCE [SOURCE ...]`")
        sources = [find_typed_place(path) for path in action[1:]]
        code = _read_nights_back(setting, sources, map_, form, split_names(providers), baseline_nights)
    results = setting.results
    with keep_nights(results):
        fetch_overview(results)
        nights = read_nights(results)
        runs = {p.name for p in results.iterdir()} if results.is_dir() else set()
        index = write_history_pages(nights, results / "history" / "page", present=runs)
    print(history_to_json(nights) if json_output else history_to_markdown(nights), end="")
    print(f"page: {index}", file=sys.stderr)
    return code


def prune(
    config: ConfigFile = None,
    older_than_days: Annotated[int | None, typer.Option(min=0, help="Take runs begun longer ago than this.")] = None,
    keep: Annotated[int | None, typer.Option(min=0, help="Take all but this many of the newest runs.")] = None,
    compress: Annotated[bool, typer.Option("--compress", help="Compress what is taken, instead of removing.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; do nothing.")] = False,
) -> int:
    """Make room: remove or compress old runs; baselines, findings and their evidence are never removed."""
    from datetime import UTC, datetime

    from tempzero.nightly.locking import fetch_nights
    from tempzero.nightly.prune import choose_runs, prune_runs
    from tempzero.records.store import fetch_overview

    results = load_setting(config).results
    fetch_nights(results)
    fetch_overview(results, whole=compress)
    chosen = choose_runs(results, now=datetime.now(UTC), older_than_days=older_than_days, keep=keep, compress=compress)
    for taken in chosen:
        print(f"{'would be ' if dry_run and taken.what != 'kept' else ''}{taken.what}: {taken.run}: {taken.why}")
    if not dry_run:
        print(f"{prune_runs(results, chosen):,} bytes saved")
    return 0


def schedule(
    target: Annotated[str, typer.Argument(help="github, systemd or cron.")],
    config: ConfigFile = None,
    at: Annotated[
        str, typer.Option(help="When, HH:MM in UTC; not at a full hour, when everybody's jobs start.")
    ] = "03:17",
) -> int:
    """Print a unit that runs `tempzero nightly`, with notes on its scheduler's traps."""
    from tempzero.nightly.schedule import build_unit, find_place

    files = build_unit(target, find_place(target, load_setting(config), at))
    for name, text in files.items():
        print(f"# --- {name}\n{text}" if len(files) > 1 else text, end="")
    return 0
