"""import, export: records of other tools <-> run folders."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tempzero.cli.options import RunFolder

# What is not counted in rows while an import is under way.
_IMPORT_UNITS = {"unpacking": "MB", "receiving": "MB"}


def import_run(
    source: Annotated[
        Path,
        typer.Argument(
            help="A CSV, JSONL, JSON, Parquet or Inspect .eval file, a pipe, or a folder, zip or tar of them."
        ),
    ],
    map_: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            help="What stands where: provider=model,prompt=question,text=answer; field:=constant, rows=a list's path, "
            "ignore=a column that is no way of asking. The README's chapter on records of other tools has all forms.",
        ),
    ] = None,
    mapping: Annotated[Path | None, typer.Option(help="The same and more in a YAML file.")] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="A built-in format; told apart where unmistakable.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Only files that fit this glob, whatever their ending: 'runs/*.log_*'.")
    ] = None,
    where: Annotated[list[str] | None, typer.Option(help="Only rows with column=value (or !=); globs work.")] = None,
    inputs: Annotated[Path | None, typer.Option(help="The requests' file, for --format openai-batch.")] = None,
    extractor: Annotated[str | None, typer.Option(help="Reads the answer out of each text.")] = None,
    extractor_arg: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for the extractor.")] = None,
    reference: Annotated[str | None, typer.Option(help="The provider that the others are compared with.")] = None,
    as_is: Annotated[bool, typer.Option("--as-is", help="Take error-like and refusing texts for answers.")] = False,
    results: Annotated[str, typer.Option(help="Where the run folder goes: a folder, or a URL.")] = "results",
    name: Annotated[str | None, typer.Option(help="The run's name; else that of the file.")] = None,
) -> int:
    """Take records of another tool in as a run folder; whatever would yield a false figure is refused."""
    from rich.console import Console

    from tempzero.cli.printing import print_lines
    from tempzero.config.store_address import describe_place, find_place
    from tempzero.exchange import import_records, recipe_from_options
    from tempzero.records.store import put_folder, require_store

    recipe = recipe_from_options(
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
    place = find_place(results)
    require_store(place)
    notes: list[str] = []
    with Console(stderr=True).status("opening") as status:  # on a terminal only
        path = import_records(
            source,
            results=place,
            recipe=recipe,
            inputs=inputs,
            name=name,
            say=notes.append,
            progress=lambda phase, amount: status.update(f"{phase}: {amount} {_IMPORT_UNITS.get(phase, 'rows')}"),
        )
    print_lines(notes, to=sys.stderr)
    put_folder(path)
    print(describe_place(path))
    return 0


def export(
    run: RunFolder,
    to: Annotated[Path, typer.Argument(help="The file to write; a folder for lm-eval and vendor-verifier.")],
    form: Annotated[str | None, typer.Option("--format", help="csv, jsonl, parquet, lm-eval, openai-batch ...")] = None,
) -> int:
    """Write a run's records as a tidy table, or in another tool's format."""
    import tempzero
    from tempzero.exchange import export_run

    for path in export_run(tempzero.open_run(run), to, form=form or to.suffix.lstrip(".")):
        print(path)
    return 0
