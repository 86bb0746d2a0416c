"""fingerprint: hosts asked for log-probabilities of first tokens, and the form of their weights named."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tempzero.cli.exit_codes import EXIT_CODES
from tempzero.cli.options import (
    ConfigFile,
    Providers,
    find_named_prompts,
    find_typed_place,
    load_setting,
    require_place,
    split_names,
)
from tempzero.errors import PackError, UsageError
from tempzero.types.vocabulary import VerdictOutcome

if TYPE_CHECKING:
    from tempzero.config import Setting
    from tempzero.precision.hosts import FingerprintReport
    from tempzero.precision.packs import DirectionPack
    from tempzero.types.asked import Prompt

_LONGEST_CALIBRATION_PROMPT = 1_200  # characters

NO_FORMS = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class DeepCheck:
    """What `check --deep` found of weights, and where the requests are; else why nothing could be asked."""

    reason: str = ""
    run: Path | None = None
    report: FingerprintReport | None = None


def fingerprint(
    run: Annotated[
        Path | None,
        typer.Argument(
            parser=find_typed_place, metavar="RUN", help="A run of this command, to conclude from again; else ask."
        ),
    ] = None,
    config: ConfigFile = None,
    providers: Providers = "",
    pack: Annotated[Path | None, typer.Option(help="A direction pack; else the shipped one of the model.")] = None,
    prompts: Annotated[int | None, typer.Option(min=1, help="Ask at most so many of the pack's prompts.")] = None,
    make_pack: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Make a pack with the local reference, and ask nobody.")
    ] = None,
    reference: Annotated[str, typer.Option(help="Whose model to make it with; else the first local reference.")] = "",
    suite: Annotated[
        list[str] | None, typer.Option(metavar="PATH", help="Prompts of a pack to make; else builtin/probes/steady-64.")
    ] = None,
    forms: Annotated[
        str, typer.Option(help="Only these forms in a pack to make, comma-separated; none: only who is moved alike.")
    ] = "",
    tokens: Annotated[
        int | None, typer.Option(min=1, max=64, help="First tokens of each answer in a pack to make (8).")
    ] = None,
    honest: Annotated[
        str, typer.Option(help="This provider is known to be honest: write how far it is moved into the pack.")
    ] = "",
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON instead of sentences.")] = False,
) -> int:
    """Name the form of the weights that hosts serve (FP8, INT4, q8_0 ...) by a few short requests."""
    if make_pack is not None:
        return _make_and_save_pack(make_pack, config, reference, suite, forms, tokens)
    from tempzero.precision.hosts import conclude_fingerprint
    from tempzero.records import open_run

    run, known = _ask_hosts(config, providers, pack, prompts) if run is None else _open_hosts(run, pack)

    concluded = conclude_fingerprint(open_run(run), known)
    if honest:
        _write_honest_size(concluded, honest, pack)
    return _show_fingerprint(concluded, run, json_output)


def _ask_hosts(
    config: Path | None, providers: str, pack: Path | None, prompts: int | None
) -> tuple[Path, DirectionPack]:
    from tempzero.config import refuse_unknown_providers
    from tempzero.precision.asking import choose_configured_pack
    from tempzero.precision.shipped_packs import choose_pack

    setting, only = load_setting(config), split_names(providers)
    refuse_unknown_providers(setting.config, only)
    models = [p.claimed_model for p in setting.config.providers if (p.name in only if only else p.enabled)]
    known = (choose_configured_pack(setting, models) if pack is None else None) or choose_pack(pack, models)
    return _record_fingerprint(setting, known, only, prompts), known


def _record_fingerprint(setting: Setting, pack: DirectionPack, only: Sequence[str], prompts: int | None) -> Path:
    """Ask, and keep the pack with what came. Raises UsageError where nobody is left to ask."""
    from tempzero.cli.printing import print_lines
    from tempzero.cli.progress import make_watcher
    from tempzero.precision.asking import plan_fingerprint
    from tempzero.precision.packs import save_pack
    from tempzero.records import DIRECTION_PACK, write_root
    from tempzero.workflow.pipeline import start_run

    planned = plan_fingerprint(setting, pack, only=only, prompts=prompts)
    print_lines(planned.list_gaps(), to=sys.stderr)
    collected = start_run(planned.prepared, watcher=make_watcher(), check=False, flights=planned.flights)
    save_pack(pack, collected.path / DIRECTION_PACK)
    write_root(collected.path)
    return collected.path


def deepen_check(setting: Setting, providers: Sequence[str]) -> DeepCheck:
    """Name the form of the weights of hosts that were checked; `reason` says why nobody's is."""
    from tempzero.config.run_models import FIRST_TOKENS_ASKED
    from tempzero.precision.asking import choose_configured_pack
    from tempzero.precision.hosts import conclude_fingerprint
    from tempzero.records import open_run

    models = [setting.config.provider(name).claimed_model for name in providers]
    pack = choose_configured_pack(setting, models) if models else None
    if pack is None:
        return DeepCheck(reason=f"no direction pack for {' or '.join(sorted(set(models))) or 'nobody'}")
    try:
        run = _record_fingerprint(setting, pack, providers, setting.config.run.fingerprint or FIRST_TOKENS_ASKED)
    except UsageError as problem:
        return DeepCheck(reason=str(problem))
    return DeepCheck(run=run, report=conclude_fingerprint(open_run(run), pack))


def _open_hosts(run: Path, pack: Path | None) -> tuple[Path, DirectionPack]:
    """The first tokens of a run, be they its own or asked beside it, and the pack that lies with them or is named."""
    from tempzero.precision.packs import load_pack
    from tempzero.precision.shipped_packs import choose_pack
    from tempzero.records import DIRECTION_PACK, open_run

    opened = open_run(run)
    opened = opened.first_tokens() or opened
    kept = opened.path / DIRECTION_PACK
    if pack is None and kept.is_file():
        return opened.path, load_pack(kept)
    return opened.path, choose_pack(pack, [p.claimed_model for p in opened.config.providers])


def _make_and_save_pack(
    path: Path, config: Path | None, reference: str, suite: list[str] | None, forms: str, tokens: int | None
) -> int:
    import time

    from tempzero.precision.forms import FORMS
    from tempzero.precision.pack_making import ANSWER_TOKENS, make_pack
    from tempzero.precision.packs import save_pack
    from tempzero.probe import choose_reference
    from tempzero.suites import load_suite

    require_place(path)
    wanted = split_names(forms)
    unknown = [name for name in wanted if name not in {f.name for f in FORMS} and wanted != [NO_FORMS]]
    if unknown:
        raise UsageError(
            f"--forms: there is no form {unknown[0]}; there are {NO_FORMS}, {', '.join(f.name for f in FORMS)}"
        )
    setting, began = load_setting(config), time.monotonic()
    asked = load_suite(find_named_prompts(suite or ["builtin/probes/steady-64"])).prompts
    made = make_pack(
        setting.config,
        choose_reference(setting.config, reference),
        asked,
        [f for f in FORMS if not wanted or f.name in wanted],
        tokens=tokens or ANSWER_TOKENS,
        sample=_pick_calibration_prompts(),
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    save_pack(made, path)
    took = time.monotonic() - began
    print(
        f"{path}: {len(made.directions)} forms of {made.model} on {len(made.prompts)} prompts, "
        f"{len(made.places)} tokens of their answers, "
        f"{path.stat().st_size:,} bytes, sha256 {made.seal[:12]}..., made in {took:.0f} s"
    )
    return EXIT_CODES["pass"]


def _pick_calibration_prompts() -> list[Prompt]:
    """The shipped prompts of one turn that are not long: what AWQ and GPTQ choose their numbers by."""
    from tempzero.suites import load_suite

    every = load_suite(find_named_prompts(["builtin"]), "standard").prompts
    plain = [p for p in every if len(p.messages) == 1 and not p.tools and p.body is None]
    return [p for p in plain if len(p.messages[0].content) < _LONGEST_CALIBRATION_PROMPT]


def _write_honest_size(report: FingerprintReport, provider: str, path: Path | None) -> None:
    from tempzero.precision.packs import HonestRounding, save_pack

    if path is None:
        raise UsageError("--honest changes a pack: name its file with --pack")
    found = next((h.naming for h in report.hosts if h.provider == provider), None)
    if found is None:
        raise PackError(f"{path}: {provider} gave too little to say how far it is moved")
    rounding = HonestRounding(rms=found.size, source=f"{provider}, {found.prompts} prompts")
    save_pack(replace(report.pack, rounding=rounding), path)
    print(f"{path}: honest hosts are moved by {found.size:.3f} nats (rms), as {provider} was", file=sys.stderr)


def _show_fingerprint(report: FingerprintReport, run: Path, json_output: bool) -> int:
    from tempzero.records.store import put_folder

    outcome, text = conclude_outcome(report, run)
    put_folder(run)
    if json_output:
        print(text, end="")
        return EXIT_CODES[outcome]
    print_hosts(report)
    print(f"fingerprint: {outcome} (exit code {EXIT_CODES[outcome]}); {run / 'fingerprint.json'}")
    return EXIT_CODES[outcome]


def conclude_outcome(report: FingerprintReport, run: Path) -> tuple[VerdictOutcome, str]:
    """What it comes to, and all of it as JSON, which is written into the run's folder."""
    from tempzero.precision.fingerprint_wording import FINGERPRINT, decide_outcome, to_fingerprint_json
    from tempzero.records.files import write_atomically

    text = to_fingerprint_json(report)
    write_atomically(run / FINGERPRINT, text.encode())
    return decide_outcome(report), text


def print_hosts(report: FingerprintReport) -> None:
    """A paragraph for each host, and who is moved alike."""
    from tempzero.cli.printing import print_lines
    from tempzero.precision.fingerprint_wording import describe_host, describe_pairs

    for host in report.hosts:
        print_lines(describe_host(host, report.pack))
    print_lines(describe_pairs(report))
