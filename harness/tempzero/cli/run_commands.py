"""run, check, report, score: a configuration or a run folder in, a report and a verdict out."""

from __future__ import annotations

import contextlib
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tempzero.cli.exit_codes import EXIT_CODES
from tempzero.cli.options import (
    ConfigFile,
    FullTables,
    JsonSummary,
    MaxMinutes,
    NoCheck,
    OnCluster,
    PromptLimit,
    PromptNames,
    Providers,
    Repeats,
    RunCode,
    RunFolder,
    SuiteSize,
    Tags,
    find_named_prompts,
    find_typed_place,
    load_setting,
    split_names,
)
from tempzero.errors import UsageError
from tempzero.types.scored import BatchForm
from tempzero.types.vocabulary import WORST_FIRST, VerdictOutcome

if TYPE_CHECKING:
    from tempzero.check import SettingCheck
    from tempzero.config import Setting
    from tempzero.records import Run


def run(
    config: ConfigFile = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            parser=find_typed_place, metavar="RUN", help="Go on with this run folder: ask only what is missing."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan with calls, tokens and cost; spend nothing.")
    ] = False,
    providers: Providers = "",
    prompts: PromptNames = None,
    suite: SuiteSize = None,
    tags: Tags = "",
    repeats: Repeats = None,
    limit: PromptLimit = None,
    hosted: Annotated[bool, typer.Option("--hosted", help="Ask hosted providers only.")] = False,
    local: Annotated[bool, typer.Option("--local", help="Ask those on this machine only.")] = False,
    no_check: NoCheck = False,
    max_cost: Annotated[
        float | None, typer.Option(min=0, help="Stop before this command has cost so many USD.")
    ] = None,
    max_requests: Annotated[
        int | None, typer.Option(min=1, help="Send at most so many requests, retries included.")
    ] = None,
    max_minutes: MaxMinutes = None,
    run_code: RunCode = False,
    no_fingerprint: Annotated[
        bool, typer.Option("--no-fingerprint", help="Ask no log-probabilities of first tokens besides.")
    ] = False,
    full: FullTables = False,
    json_output: JsonSummary = False,
) -> int:
    """Ask every provider, record every response, compare, report; the exit code is the verdict."""
    import tempzero
    from tempzero.cli.printing import print_lines, print_plan
    from tempzero.cli.progress import make_watcher
    from tempzero.workflow.pipeline import describe_gaps, has_answers, prepare_run

    if hosted and local:
        raise UsageError("--hosted and --local: leave out both to ask everybody")
    where: Literal["hosted", "local"] | None = "hosted" if hosted else "local" if local else None
    if dry_run:
        if resume is not None:
            raise UsageError("--resume goes on with a plan that is made: leave out --dry-run")
        prepared = prepare_run(
            load_setting(config),
            only=split_names(providers),
            prompts=find_named_prompts(prompts),
            suite=suite,
            tags=split_names(tags),
            repeats=repeats,
            limit=limit,
            where=where,
        )
        print_lines(describe_gaps(prepared), to=sys.stderr)
        print_plan(prepared, first_tokens=not no_fingerprint)
        return 0
    done = tempzero.run(
        tempzero.open_run(resume) if resume is not None else load_setting(config),
        providers=split_names(providers),
        prompts=find_named_prompts(prompts),
        suite=suite,
        tags=split_names(tags),
        repeats=repeats,
        limit=limit,
        where=where,
        check=not no_check,
        max_cost_usd=max_cost,
        max_requests=max_requests,
        max_minutes=max_minutes,
        run_code=run_code,
        fingerprint=not no_fingerprint,
        watcher=make_watcher(),
    )
    return _conclude_and_show(done, json_output, full=full, briefly=not has_answers(done), in_ci=True)


def check(
    config: ConfigFile = None,
    providers: Providers = "",
    contract: Annotated[
        bool, typer.Option("--contract", help="Hold it to the promises of the API, case by case: up to 200 requests.")
    ] = False,
    families: Annotated[
        str, typer.Option(help="With --contract: only these families of cases, comma-separated, e.g. tools,stop.")
    ] = "",
    deep: Annotated[
        bool, typer.Option("--deep", help="Name the form of the weights as well, by a few short requests (recorded).")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="With --contract: write JSON, JUnit XML, Markdown and every exchange there.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> int:
    """Ask every hosted provider a few tokens: key, model, and which request fields it really honours."""
    import json

    from tempzero.check import check_setting
    from tempzero.cli.check_table import print_check_table
    from tempzero.cli.ci_report import show_check_in_ci

    if contract and deep:
        raise UsageError("--contract and --deep: one after the other")
    if contract:
        return _check_contract(config, split_names(providers), split_names(families), out, json_output=json_output)
    if families or out is not None:
        raise UsageError("--families and --out go with --contract")
    setting = load_setting(config)
    checked = check_setting(setting, only=split_names(providers))
    for provider, why in checked.skipped:
        print(f"skipped: {provider}: {why}", file=sys.stderr)
    if json_output:
        rows = [{"provider": r.provider, "state": r.state, **r.words, "remarks": r.remarks} for r in checked.rows]
        skipped = [provider for provider, _ in checked.skipped]
        value = {"outcome": checked.state, "skipped": skipped, "providers": rows}
    else:
        print_check_table(checked.rows)
        value = None
    state = _check_weights(setting, checked, value) if deep else checked.state
    if value is not None:
        print(json.dumps({**value, "outcome": state}, indent=2))
    else:
        print(f"check: {state} (exit code {EXIT_CODES[state]})")
        show_check_in_ci(checked)
    return EXIT_CODES[state]


def _check_weights(setting: Setting, checked: SettingCheck, value: dict[str, Any] | None) -> VerdictOutcome:
    """The deep look, told or put into `value`; the worse of its outcome and the check's."""
    import json

    from tempzero.cli.fingerprint_commands import conclude_outcome, deepen_check, print_hosts

    found = deepen_check(setting, [row.provider for row in checked.rows])
    if found.report is None or found.run is None:
        print(f"the form of the weights: {found.reason}", file=sys.stderr)
        return "inconclusive" if checked.state == "pass" else checked.state
    outcome, text = conclude_outcome(found.report, found.run)
    if value is None:
        print_hosts(found.report)
        print(f"recorded: {found.run}")
    else:
        value["fingerprint"] = json.loads(text)
    return next(o for o in WORST_FIRST if o in (outcome, checked.state))


def _check_contract(
    config: Path | None, only: list[str], families: list[str], out: Path | None, *, json_output: bool
) -> int:
    """The long look: every promise of the API, and what was made of it."""
    import json

    from tempzero.cli.contract_table import print_contract
    from tempzero.contract import check_contract, find_families, to_contract_value, write_contract

    report = check_contract(load_setting(config), only=only, families=find_families(families))
    for provider, why in report.skipped:
        print(f"skipped: {provider}: {why}", file=sys.stderr)
    if json_output:
        print(json.dumps(to_contract_value(report), indent=2))
    else:
        print_contract(report)
        print(f"contract: {report.outcome} (exit code {EXIT_CODES[report.outcome]})")
    if out is not None:
        paths = write_contract(report, out)
        print(f"written: {', '.join(map(str, paths))}", file=sys.stderr)
    return EXIT_CODES[report.outcome]


def report(
    run: RunFolder,
    run_code: RunCode = False,
    by_facts: Annotated[
        bool, typer.Option("--facts", help="Count from the facts that `tempzero facts` made, not from the records.")
    ] = False,
    on: OnCluster = "",
    full: FullTables = False,
    json_output: JsonSummary = False,
) -> int:
    """Analyse a run folder and write its reports again: offline, the same bytes every time."""
    import tempzero
    from tempzero.judgements import judge

    if on and by_facts:
        raise UsageError("--on counts records and --facts counts none: leave one of them out")
    judge(run, run_code=run_code, say=lambda line: print(line, file=sys.stderr))
    return _conclude_and_show(tempzero.open_run(run), json_output, full=full, by_facts=by_facts, on=on)


def score(
    run: RunFolder,
    plan: Annotated[
        Path | None, typer.Option(help="Read nothing: write what is to be read as requests for an offline batch.")
    ] = None,
    plan_form: Annotated[
        BatchForm | None,
        typer.Option(help="The form of --plan's requests: chat for `vllm run-batch` (the default), else completions."),
    ] = None,
    results: Annotated[
        list[Path] | None,
        typer.Option("--from", metavar="FILE", help="Take what an offline batch read; again for more."),
    ] = None,
    shard: Annotated[
        str, typer.Option(metavar="I/N", help="Read (or plan) one part of N; each copy of the run reads another.")
    ] = "",
    merge: Annotated[
        list[Path] | None,
        typer.Option(parser=find_typed_place, metavar="COPY", help="Take what a copy of the run read; again for more."),
    ] = None,
    on: OnCluster = "",
    full: FullTables = False,
    json_output: JsonSummary = False,
) -> int:
    """Let the reference read every recorded response, token by token, and report again; goes on where it stopped."""
    import tempzero
    from tempzero.cli.progress import make_watcher
    from tempzero.cluster import open_cluster
    from tempzero.reading import hand_over, shards
    from tempzero.reading.run_reading import score_run

    part = shards.parse_shard(shard) if shard else None
    watcher = make_watcher()
    if on and (merge or plan or results):
        raise UsageError("--on is for reading: leave out --plan, --from and --merge")
    if merge and (plan or results or shard):
        raise UsageError("--merge takes what copies have read: leave out --plan, --from and --shard")
    if results and shard and plan is None:
        raise UsageError("--from takes all results at once: leave out --shard, which is for --plan and for reading")
    if plan_form is not None and plan is None:
        raise UsageError("--plan-form says how --plan FILE writes its requests: without --plan nothing is written")
    if plan is not None:
        form: BatchForm = plan_form or "chat"
        made = hand_over.plan_readings(run, plan, results=results or (), shard=part, form=form, say=watcher.say)
        for one in made:
            print(f"{plan}: {one.requests:,} requests of {one.tokens:,} tokens for {one.reference} ({one.model})")
        return 0
    if merge:
        shards.merge_shards(run, merge, say=watcher.say)
    elif results:
        hand_over.take_readings(run, results, watcher=watcher)
    else:
        with contextlib.ExitStack() as opened:
            cluster = opened.enter_context(contextlib.closing(open_cluster(on))) if on else None
            read = score_run(run, environ=os.environ, watcher=watcher, shard=part, cluster=cluster)
        if not read:
            raise UsageError(
                f"{run}: no reference took part that can read: one with local:, or an endpoint with reads:"
            )
    return _conclude_and_show(tempzero.open_run(run), json_output, full=full)


def _conclude_and_show(
    run: Run,
    json_output: bool,
    *,
    full: bool,
    briefly: bool = False,
    in_ci: bool = False,
    by_facts: bool = False,
    on: str = "",
) -> int:
    """Write the reports and show them; briefly: nobody answered, which has been told, so there is nothing to show."""
    from rich.console import Console

    from tempzero.cli.ci_report import show_run_in_ci
    from tempzero.cli.next_command import suggest_next_command
    from tempzero.cli.progress import progress_bar
    from tempzero.records.store import put_folder
    from tempzero.reports import show_report
    from tempzero.workflow.conclusion import conclude_run

    count = None
    if by_facts:
        from tempzero.analysis.run_facts import count_by_facts

        count = partial(count_by_facts, run)
    with contextlib.ExitStack() as opened:
        if on:
            from tempzero.cluster import open_cluster
            from tempzero.cluster.part_counting import count_on_cluster

            count = partial(count_on_cluster, opened.enter_context(contextlib.closing(open_cluster(on))), run)
        concluded = conclude_run(run, tell=opened.enter_context(progress_bar()), count=count)
    if json_output:
        print((run.path / "summary.json").read_text(encoding="utf-8"), end="")
    elif briefly:
        outcome = concluded.verdict.outcome
        print(f"verdict: {outcome} (exit code {EXIT_CODES[outcome]}); report: {run.path / 'report.html'}")
    else:
        show_report(
            concluded.analysis,
            concluded.verdict,
            Console(),
            pages=[p for p in concluded.files if p.suffix == ".html"],
            exit_code=EXIT_CODES[concluded.verdict.outcome],
            next_command=suggest_next_command(concluded.analysis, concluded.verdict, run.path),
            full=full,
        )
    if in_ci and not json_output:
        show_run_in_ci(concluded.verdict, run.path)
    put_folder(run.path)
    return EXIT_CODES[concluded.verdict.outcome]
