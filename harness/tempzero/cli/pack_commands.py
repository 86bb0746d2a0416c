"""pack make, pack show: a reference's answers with what else it might have said, in a file that needs no model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tempzero.cli.exit_codes import EXIT_CODES
from tempzero.cli.options import (
    ConfigFile,
    PromptNames,
    SuiteSize,
    find_named_prompts,
    find_typed_place,
    load_setting,
    require_place,
)


def pack_make(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The pack to write, e.g. my-model.pack.json.")],
    config: ConfigFile = None,
    reference: Annotated[str, typer.Option(help="Whose answers: a provider; else the first reference.")] = "",
    prompts: PromptNames = None,
    suite: SuiteSize = None,
    run: Annotated[
        Path | None,
        typer.Option(
            "--from", parser=find_typed_place, metavar="RUN", help="Take the answers of this run; ask nobody."
        ),
    ] = None,
) -> int:
    """Record a reference's answers to a suite and write them, with their log-probabilities, into a pack."""
    import sys
    import time

    from tempzero.cli.progress import make_watcher
    from tempzero.errors import UsageError
    from tempzero.packs.making import build_reference_pack, record_reference
    from tempzero.packs.reference_pack import save_reference_pack
    from tempzero.records import open_run

    require_place(file)
    setting, began = load_setting(config), time.monotonic()
    known = open_run(run).config if run is not None else setting.config
    name = reference or next(iter(known.run.references), "")
    if name not in {p.name for p in known.providers}:
        said = f'there is no provider "{name}"' if name else "no reference is named"
        raise UsageError(f"--reference: {said}; there are {', '.join(sorted(p.name for p in known.providers))}")
    watcher = make_watcher()
    if run is None:
        run = record_reference(
            setting, known.provider(name), prompts=find_named_prompts(prompts or []), suite=suite, watcher=watcher
        )
    recorded = open_run(run)
    pack = build_reference_pack(recorded, recorded.config.provider(name), setting=setting, say=watcher.say)
    save_reference_pack(pack, file)
    for prompt, reason in pack.left_out.items():
        print(f"left out: {prompt}: {reason}", file=sys.stderr)
    print(
        f"{file}: {len(pack.answers)} answers of {pack.model} by {pack.made_by}, {pack.places:,} tokens, "
        f"{file.stat().st_size:,} bytes, sha256 {pack.seal[:12]}..., "
        f"made in {time.monotonic() - began:.0f} s from {run}"
    )
    return EXIT_CODES["pass"]


def pack_show(file: Annotated[Path, typer.Argument(metavar="FILE", help="A reference pack.")]) -> int:
    """Say who made a pack, of what and with what; and what it cannot see. Its seal is checked."""
    import json

    from tempzero.cli.printing import print_lines
    from tempzero.packs.reference_pack import load_reference_pack

    pack = load_reference_pack(file)
    ended = sum(a.finish_reason == "stop" for a in pack.answers)
    print_lines(
        [
            f"model: {pack.model}",
            f"made by: {pack.made_by}, {pack.made_at}",
            f"made with: {json.dumps(dict(pack.made_with), sort_keys=True)}",
            f"answers: {len(pack.answers)} ({ended} to their end), {pack.places:,} tokens; "
            f"left out: {len(pack.left_out)}",
            f"recorded in a run with the root: {pack.run_root or 'unknown'}",
            f"sha256 of its content: {pack.seal}",
            "An answer is judged up to the first token in which it differs from the pack's. What comes behind it, and",
            "which cause it has, only a reference that computes can say.",
        ]
    )
    return EXIT_CODES["pass"]
