"""baseline, nightly, history, prune, schedule: the same questions every night, and what has changed since."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tempzero.cli.exit_codes import EXIT_CODES, INTERRUPTED
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
    load_setting,
    split_names,
)
from tempzero.errors import UsageError

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

    of_provider = action in ("accept", "grow")
    if action not in ("set", "show", "clear", "accept", "grow") or (of_provider or action == "set") != bool(named):
        raise UsageError(_BASELINE_USAGE)
    if since and not of_provider:
        raise UsageError("--since: goes with `baseline accept` and `baseline grow` only")
    setting, only = load_setting(config), split_names(providers)
    results = setting.results
    if action == "clear":
        for name in clear_baselines(results, only):
            print(f"cleared: {name}")
        return 0
    if of_provider:
        change = accept_change if action == "accept" else grow_baseline
        first = check_night_label(since) if since else ""
        found = tuple(b for name in named or () for b in change(results, name, since=first, gates=setting.config.gates))
    elif action == "set":
        runs = [tempzero.open_run(Path(path)) for path in named or ()]
        found = set_baselines(results, runs, only=only)
    else:
        found = read_baselines(results)
    for one in found:
        print(describe_baseline(one))
    return 0 if found else EXIT_CODES["inconclusive"]


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
) -> int:
    """The scheduler's one command: check, run, compare with the baselines, decide, tell; calling again finishes it."""
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
    print_lines(ended.undelivered, to=sys.stderr)
    return INTERRUPTED if ended.outcome == "interrupted" else EXIT_CODES[ended.outcome]


def history(
    config: ConfigFile = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON instead of Markdown.")] = False,
) -> int:
    """Write the pages of all nights (they open without a server), and print their summary."""
    from tempzero.nightly.history import read_nights
    from tempzero.nightly.trend import history_to_json, history_to_markdown, write_history_pages

    results = load_setting(config).results
    nights = read_nights(results)
    runs = {p.name for p in results.iterdir()} if results.is_dir() else set()
    index = write_history_pages(nights, results / "history" / "page", present=runs)
    print(history_to_json(nights) if json_output else history_to_markdown(nights), end="")
    print(f"page: {index}", file=sys.stderr)
    return 0


def prune(
    config: ConfigFile = None,
    older_than_days: Annotated[int | None, typer.Option(min=0, help="Take runs begun longer ago than this.")] = None,
    keep: Annotated[int | None, typer.Option(min=0, help="Take all but this many of the newest runs.")] = None,
    compress: Annotated[bool, typer.Option("--compress", help="Compress what is taken, instead of removing.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; do nothing.")] = False,
) -> int:
    """Make room: remove or compress old runs; baselines, findings and their evidence are never removed."""
    from datetime import UTC, datetime

    from tempzero.nightly.prune import choose_runs, prune_runs

    results = load_setting(config).results
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
