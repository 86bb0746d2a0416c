"""argv in, an exit code out; everything else is in the library, imported only by the command that needs it.

run_commands       run, check, report, score
prompt_commands    probe, suite generate, suite lint, suite freeze
evidence_commands  claim, verify, seal, compare
night_commands     baseline, nightly, history, prune, schedule
fingerprint_commands  fingerprint
pack_commands      pack make, pack show
exchange_commands  import, export
index_command      index
facts_command      facts
setup_commands     init, schema
stored_runs        runs in an object store: fetched before a command, put after it
options            what several commands take; printing, progress, streams, exit_codes: what they show, how they end
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Annotated

import typer

from tempzero.cli.evidence_commands import claim, compare, seal, verify
from tempzero.cli.exchange_commands import export, import_run
from tempzero.cli.exit_codes import CANNOT_RUN, EXIT_CODES, INTERRUPTED, OUR_BUG
from tempzero.cli.facts_command import facts
from tempzero.cli.fingerprint_commands import fingerprint
from tempzero.cli.index_command import index
from tempzero.cli.night_commands import baseline, history, nightly, prune, schedule
from tempzero.cli.pack_commands import pack_make, pack_show
from tempzero.cli.prompt_commands import probe, suite_freeze, suite_generate, suite_lint
from tempzero.cli.run_commands import check, report, run, score
from tempzero.cli.setup_commands import init, schema
from tempzero.cli.stored_runs import keep_stored_runs
from tempzero.cli.streams import guard_streams
from tempzero.errors import StoreError, TempzeroError

__all__ = ["CANNOT_RUN", "EXIT_CODES", "INTERRUPTED", "OUR_BUG", "app", "main", "run_process", "suite_app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,  # the plain help starts twice as fast
    pretty_exceptions_enable=False,
    help="Do inference providers that claim to serve the same model give the same answers at temperature zero?",
    epilog="Exit codes: 0 pass, 1 finding, 2 cannot run, 3 inconclusive, 70 a bug in tempzero, 130 interrupted.",
)
# In the order of the help; a new command has its place here and its row in the README.
_COMMANDS: tuple[Callable[..., int], ...] = (
    *(init, run, check, probe, report, index, facts, score, fingerprint, claim, verify, seal, compare),
    *(baseline, nightly, history, prune, schedule, schema),
)
for command in _COMMANDS:
    app.command()(keep_stored_runs(command))
app.command("import")(keep_stored_runs(import_run))
app.command()(keep_stored_runs(export))

suite_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Make, look over and freeze prompts.")
suite_app.command("generate")(suite_generate)
suite_app.command("lint")(suite_lint)
suite_app.command("freeze")(suite_freeze)
app.add_typer(suite_app, name="suite")

pack_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Reference packs: judge without a model.")
pack_app.command("make")(keep_stored_runs(pack_make))
pack_app.command("show")(keep_stored_runs(pack_show))
app.add_typer(pack_app, name="pack")


def _show_version(wanted: bool) -> None:
    if wanted:
        import tempzero

        print(f"tempzero {tempzero.__version__}")
        raise typer.Exit


@app.callback()
def _before_any_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main(argv: list[str] | None = None) -> int:
    """Run the command line; every error a user can put right becomes one line and exit code 2.

    Variables of a `.env` file in this folder count as if they were set, unless they are.
    """
    with guard_streams() as (out, err):
        code = _run_command(argv)
        out.flush()
        if out.failure is None or out.failure.errno == errno.EPIPE:
            return code  # a reader that has left (`| head`) had what it wanted, and the run its end
        print(f"standard output could not be written: {out.failure.strerror}", file=err)
        return CANNOT_RUN


def run_process() -> int:
    """What the command is as a process of its own: a Ctrl-C that comes while one is answered changes nothing."""
    try:
        code = main()
    except KeyboardInterrupt:
        code = INTERRUPTED
    if code == INTERRUPTED:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return code


def _run_command(argv: list[str] | None) -> int:
    try:
        _load_env_file()
        return int(_build_command()(argv, prog_name="tempzero", standalone_mode=False) or 0)
    except StoreError as error:  # says itself what is here and what is there
        print(error, file=sys.stderr)
        return CANNOT_RUN
    except TempzeroError as error:
        print(_name_places(str(error)), file=sys.stderr)
        return CANNOT_RUN
    except typer.Exit as end:
        return end.exit_code
    except typer.Abort:
        return INTERRUPTED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BaseException as error:
        if error.__class__.__module__.startswith(("typer", "click")):
            return _show_usage_error(error)
        # A library written in Rust that breaks is no Exception; left alone it would end with the code of a finding.
        if not isinstance(error, Exception) and error.__class__.__module__ != "pyo3_runtime":
            raise
        import traceback

        traceback.print_exc()
        print("this is a bug in tempzero; what was recorded so far is kept", file=sys.stderr)
        return OUR_BUG


def _name_places(message: str) -> str:
    """With the URL that was typed, not the folder that stands for it."""
    from tempzero.config.store_address import name_stored_places

    return name_stored_places(message)


@cache
def _build_command() -> Callable[..., int | None]:
    """Once for each process: whoever calls `main` again need not wait for it."""
    return typer.main.get_command(app)


def _load_env_file() -> None:
    if not os.path.lexists(".env"):
        return
    from tempzero.config.env_file import ENV_FILE, read_env_file

    for name, value in read_env_file(Path(ENV_FILE)).items():
        os.environ.setdefault(name, value)


def _show_usage_error(error: BaseException) -> int:
    """typer's own complaints (an unknown option, a missing argument), in its words."""
    show: Callable[[], None] | None = getattr(error, "show", None)
    if show is None:
        print(error, file=sys.stderr)
    else:
        show()
    return CANNOT_RUN
