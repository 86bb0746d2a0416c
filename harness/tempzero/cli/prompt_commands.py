"""probe, suite generate, suite lint, suite freeze: prompts found, made, looked over, frozen."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tempzero.cli.exit_codes import EXIT_CODES, INTERRUPTED
from tempzero.cli.options import ConfigFile, find_named_prompts, load_setting
from tempzero.errors import UsageError


def probe(
    out: Annotated[Path | None, typer.Argument(help="The suite to write; else prompts/probes/KIND-SEED.yaml.")] = None,
    kind: Annotated[
        str,
        typer.Option(help="border: first tokens are near-ties; robust: answers without; steady: beginnings without."),
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
        int | None, typer.Option(min=1, help="How many tokens of an answer count: border 1, robust 16, steady 7.")
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(min=0, help="Logits. border: at most (else what honest forms move); others: at least (1 or .7)."),
    ] = None,
    max_minutes: Annotated[float | None, typer.Option(min=0.01, help="Stop reading after so many minutes.")] = None,
) -> int:
    """Search prompts that react to the slightest change, or to nothing that is only rounding; write them as a suite."""
    from tempzero.cli.printing import print_lines
    from tempzero.cli.progress import make_counter
    from tempzero.probe import (
        SearchSpace,
        build_rule,
        choose_reference,
        generate_candidates,
        save_suite,
        search_prompts,
        suite_path,
        summarise_search,
    )
    from tempzero.suites import load_suite

    wanted, setting = build_rule(kind, tokens=tokens, count=count, margin=margin), load_setting(config)
    path = suite_path(out or setting.root / "prompts" / "probes" / f"{kind}-{seed}.yaml")
    if not prompts:
        where, origin = generate_candidates(wanted.kind, number=candidates, seed=seed), f"seed {seed}"
    else:
        where, origin = load_suite(find_named_prompts(prompts)).prompts, ", ".join(prompts)
    found = search_prompts(
        setting.config,
        choose_reference(setting.config, reference),
        wanted,
        SearchSpace(candidates=where, origin=origin, minutes=max_minutes),
        say=lambda line: print(line, file=sys.stderr, flush=True),
        progress=make_counter("read"),
    )
    print_lines(summarise_search(found))
    if found.chosen:
        save_suite(found, path)
        print(f"suite: {path}")
    if found.stopped == "interrupted":
        return INTERRUPTED
    return EXIT_CODES["inconclusive" if found.stopped or not found.chosen else "pass"]


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
    from tempzero.suites import generate_jsonl, load_suite

    text = generate_jsonl(generator, seed=seed, count=count, settings=settings or ())
    if out is None:
        print(text, end="")
        return 0
    try:
        out.write_bytes(text.encode())
    except OSError as error:
        raise UsageError(f"{out}: cannot be written: {error.strerror}") from None
    print(f"{out}: {count} prompts, digest {load_suite(out).digest}")
    return 0


def suite_lint(
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="A prompt file, a folder of them, or builtin.")
    ] = "prompts",
) -> int:
    """Say what makes a right answer change with day, place or reader, and which prompts ask nearly the same."""
    from tempzero.cli.printing import print_lines
    from tempzero.suites import lint_prompts

    remarks = lint_prompts(find_named_prompts([path]))
    print_lines(remarks)
    return EXIT_CODES["finding"] if remarks else 0


def suite_freeze(folder: Annotated[Path, typer.Argument(help="A folder of prompt files.")] = Path("prompts")) -> int:
    """Write suites.lock: from now on a suite that has changed is refused until it is frozen as the next version."""
    from tempzero.suites import freeze_suites

    for name, frozen in freeze_suites(folder).suites.items():
        print(f"{name}: version {frozen.version}, {frozen.prompts} prompts, digest {frozen.digest}")
    return 0
