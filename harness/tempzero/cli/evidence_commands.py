"""claim, verify, seal, compare: what a run proves, whether that holds, who vouches, what changed between two runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from tempzero.cli.exit_codes import EXIT_CODES
from tempzero.cli.options import RunFolder, find_typed_place, split_names
from tempzero.errors import UnknownBundleError


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
    issue: Annotated[
        bool, typer.Option("--issue", help="Print a text for an issue tracker: at most 15 lines, 1,500 characters.")
    ] = False,
) -> int:
    """Write an evidence bundle that proves a finding, for the provider's engineers or any sceptic to check."""
    import tempzero
    from tempzero.cli.progress import progress_bar

    with progress_bar() as tell:
        bundle = tempzero.claim(
            tempzero.open_run(run),
            finding=finding,
            rule=rule,
            provider=provider,
            against=split_names(against),
            environ=os.environ,
            tell=tell,
        )
    file = bundle.save(out)
    if issue:
        from tempzero.claims import write_issue_text

        print(f"written: {file}", file=sys.stderr)
        print("\n".join(write_issue_text(bundle)))
    else:
        print(f"{file}: {bundle.title}\nroot hash: {bundle.root}")
    return 0


def verify(
    path: Annotated[
        Path,
        typer.Argument(
            parser=find_typed_place, metavar="PATH", help="A run folder, or an evidence bundle (zip or unpacked)."
        ),
    ],
    run: Annotated[
        list[Path] | None,
        typer.Option(
            parser=find_typed_place,
            metavar="RUN",
            help="Of a bundle: make it anew from this run folder (again for more) and compare.",
        ),
    ] = None,
    signers: Annotated[Path | None, typer.Option(help="Allowed signers, as ssh-keygen has them.")] = None,
    authority: Annotated[Path | None, typer.Option(help="Certificates of a time-stamp authority (PEM).")] = None,
) -> int:
    """Check a run folder with its reports and seals, or everything that an evidence bundle claims; offline."""
    import tempzero

    try:
        print(tempzero.verify(path, runs=run or (), signers=signers, authority=authority).sentence)
    except UnknownBundleError as unknown:
        print(unknown, file=sys.stderr)
        return EXIT_CODES["inconclusive"]
    return 0


def seal(
    run: RunFolder,
    key: Annotated[Path | None, typer.Option(help="Sign with this SSH key.")] = None,
    timestamp: Annotated[
        bool, typer.Option("--timestamp", help="Write a request for a time-stamp authority (RFC 3161).")
    ] = False,
) -> int:
    """Have the root of a run's records vouched for by others: signed, time-stamped. Best before anything is claimed."""
    from tempzero import records

    opened = records.open_run(run)
    opened.verify_files()
    print(f"root of the records: {opened.root()} ({run / 'run.sha256'})")
    if key is not None:
        print(f"signed: {records.sign_root(run, key)}")
    if timestamp:
        request = records.request_time_stamp(run)
        print(
            f"request: {request}; send it to an authority of your choice, and what comes back is the seal:\n"
            f"curl -H 'Content-Type: application/timestamp-query' --data-binary @{request} "
            f"-o {run / 'run.sha256.tsr'} https://AUTHORITY"
        )
    return 0


def compare(
    left: Annotated[Path, typer.Argument(parser=find_typed_place, metavar="LEFT", help="The earlier run folder.")],
    right: Annotated[Path, typer.Argument(parser=find_typed_place, metavar="RIGHT", help="The later run folder.")],
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON instead of Markdown.")] = False,
) -> int:
    """What changed between two runs, tested prompt by prompt; what cannot be compared is named."""
    import tempzero
    from tempzero.compare import compare_runs, comparison_to_json, comparison_to_markdown

    comparison = compare_runs(tempzero.open_run(left), tempzero.open_run(right))
    print(comparison_to_json(comparison) if json_output else comparison_to_markdown(comparison), end="")
    return EXIT_CODES[comparison.outcome]
