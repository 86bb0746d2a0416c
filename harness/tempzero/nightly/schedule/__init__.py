"""The wish for a scheduler in, a unit ready to install out: a GitHub workflow, systemd units, or a crontab line.

Every unit runs `tempzero nightly`, which may be killed and called again; each carries notes on its scheduler's traps.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tempzero.config import Config, Setting
from tempzero.config.shipped import find_clone
from tempzero.config.store_address import StoreScheme, find_store_address, list_store_variables
from tempzero.errors import UsageError

SCHEDULERS = ("github", "systemd", "cron")
_TIME_OF_DAY = re.compile(r"^([01]\d|2[0-3]):([0-5]\d)$")
_PLAIN_PATH = re.compile(r"^[A-Za-z0-9_./+-]*$")
# What the store of results takes its keys from; a schedule hands over those that it has.
_STORE_KEYS: Mapping[StoreScheme, tuple[str, ...]] = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_REGION", "AWS_SECRET_ACCESS_KEY"),
    "gs": ("GOOGLE_SERVICE_ACCOUNT_KEY",),
    "az": ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCOUNT_NAME"),
    "file": (),
}
_BUILT_IN = """
# - No configuration is named, for there is no providers.yaml here: the built-in one is used, and one that is written
#   here later (`tempzero init`) instead of it from then on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduledJob:
    """Where the job runs and when: `at` is HH:MM in UTC; `secrets` are names of variables, never values."""

    folder: Path
    """Where the commands are called."""
    config: Path | None
    """None: there is no file, and `tempzero` called in this folder takes its built-in configuration."""
    results: Path | None
    """None: they lie in an object store, and nothing of them has to be kept here."""
    at: str
    secrets: Sequence[str]
    run_name: str = "run"
    """What the folders of its runs are called, behind their time."""
    python: str = sys.executable
    clone: bool = True
    """Whether the folder is a clone of tempzero, which a workflow then installs; else it installs the package."""

    @property
    def option(self) -> str:
        """What names the configuration on a command line."""
        return f" --config {self.config}" if self.config is not None else ""


def find_place(target: str, setting: Setting, at: str) -> ScheduledJob:
    """The place of a unit: a workflow names paths as they are within its repository, the others as on this machine."""
    whole: Callable[[Path], Path] = Path if target == "github" else Path.resolve
    store = find_store_address(setting.results)
    keys = () if store is None else (*_STORE_KEYS[store.scheme], *list_store_variables(store.scheme))
    return ScheduledJob(
        folder=whole(setting.root),
        config=whole(setting.file) if setting.file is not None else None,
        results=whole(setting.results) if store is None else None,
        at=at,
        secrets=tuple(sorted({*secret_names(setting.config), *keys})),
        run_name=setting.config.run.name,
        clone=Path.cwd() == find_clone(),
    )


def secret_names(config: Config) -> tuple[str, ...]:
    """The variables that the enabled providers and the notifications need."""
    names = [v for p in config.providers if p.enabled for v in p.variables()]
    names += [hook.url_env for hook in config.notify.webhooks]
    return tuple(sorted({*names, *config.notify.apprise_env}))


def build_unit(target: str, place: ScheduledJob) -> Mapping[str, str]:
    """The files of a unit by name. Raises UsageError for a target, time or path that cannot be put into one."""
    if not _TIME_OF_DAY.match(place.at):
        raise UsageError(f'--at: "{place.at}" is no time; write HH:MM in UTC, e.g. 03:17')
    for path in map(str, (place.folder, place.config or "", place.python, place.results or "")):
        if not _PLAIN_PATH.match(path):
            raise UsageError(
                f'"{path}": a unit file cannot hold this path safely; use one of letters, digits and /._+-'
            )
    if target == "github":
        return {".github/workflows/nightly.yml": _github_workflow(place)}
    if target == "systemd":
        return {"tempzero-nightly.service": _systemd_service(place), "tempzero-nightly.timer": _systemd_timer(place)}
    if target == "cron":
        return {"crontab": _crontab_text(place)}
    raise UsageError(f'schedule: "{target}" is none of {", ".join(SCHEDULERS)}')


def _github_workflow(place: ScheduledJob) -> str:
    hour, minute = place.at.split(":")
    given = "".join(f"          {name}: ${{{{ secrets.{name} }}}}\n" for name in place.secrets)
    environment = f"        env:\n{given}" if given else ""
    kept = place.results is not None
    for_store, set_run, run = ("", "set", "the newest run") if kept else (environment, "set URL", "that run")
    if place.clone:
        install = f"          cache: pip\n      - run: python -m pip install -e {'.' if kept else '.[store]'}"
    else:
        install = (
            f"      - run: python -m pip install {'tempzero' if kept else 'tempzero[store]'}=={version('tempzero')}"
        )
    return f"""\
# Nightly drift watch. Traps:
# - `schedule` runs on the default branch only, in UTC, and late when GitHub is busy: never at full hours.
# - In a public repository GitHub switches a workflow off after 60 days without activity, and a disabled file takes all
#   of its triggers along: that is why this is a file of its own. `gh workflow enable nightly.yml` turns it on again.
{_github_traps(place)}
# - Secrets are empty in forks: providers without their key are skipped, and the job says so.
# - Each runner is another machine: latency steps mean little here.{_note(place)}
name: nightly
on:
  schedule:
    - cron: "{int(minute)} {int(hour)} * * *"
  workflow_dispatch:
    inputs:
      baseline:
        description: "Empty: ask now. `{set_run}`: make {run} the baseline. `accept NAME`: acknowledge its change."
        default: ""
permissions:
  contents: read
concurrency:
  group: tempzero-nightly
  cancel-in-progress: false
jobs:
  nightly:
    runs-on: ubuntu-latest
    timeout-minutes: 60
    steps:
      - uses: actions/checkout@v5
        with:
          persist-credentials: false
      - uses: actions/setup-python@v6
        with:
          python-version: "3.11"
{install}
{_github_cache(place)}      - name: baseline
        if: inputs.baseline != ''
        env:
          BASELINE: ${{{{ inputs.baseline }}}}
{"" if kept else given}        run: |
{_github_newest_run(place)}          tempzero baseline $BASELINE{place.option}
      - name: nightly
        if: inputs.baseline == ''
        run: tempzero nightly{place.option}
{environment}      - name: history page
        if: always()
        run: tempzero history{place.option}
{for_store}{_github_artifact(place)}"""


def _github_traps(place: ScheduledJob) -> str:
    if place.results is None:
        return """\
# - Results lie in an object store, so that nothing is kept in caches or artefacts. A role that the runner assumes
#   (OpenID Connect) does without the secrets that are named for the store below.
# - The first night finds no baseline and ends with exit code 3. Look at it, then run this workflow by hand with
#   `set URL` in the field "baseline", the URL that the night told; `accept NAME` there acknowledges a change."""
    return """\
# - A cache entry that nobody reads for 7 days is dropped. The artefact lasts longer; keep baselines/ elsewhere too.
# - The first night finds no baseline and ends with exit code 3. Look at it, then run this workflow by hand with `set`
#   in the field "baseline"; `accept NAME` there acknowledges a change."""


def _github_cache(place: ScheduledJob) -> str:
    if place.results is None:
        return ""
    return f"""\
      - uses: actions/cache@v4
        with:
          path: {place.results}
          key: tempzero-history-${{{{ github.run_id }}}}-${{{{ github.run_attempt }}}}
          restore-keys: tempzero-history-
"""


def _github_newest_run(place: ScheduledJob) -> str:
    if place.results is None:
        return ""
    newest = f"$(ls -d {place.results}/*Z-{place.run_name}* | tail -n 1)"
    return f"""\
          if [ "$BASELINE" = set ]; then BASELINE="set {newest}"; fi
"""


def _github_artifact(place: ScheduledJob) -> str:
    if place.results is None:
        return ""
    return f"""\
      - uses: actions/upload-artifact@v4
        if: always()
        with:
          name: tempzero-nightly
          path: {place.results}
          retention-days: 90
"""


def _systemd_service(place: ScheduledJob) -> str:
    folder = place.folder
    return f"""\
# tempzero-nightly.service: put both files into /etc/systemd/system (or ~/.config/systemd/user), then
#   systemctl enable --now tempzero-nightly.timer
# Traps:
# - Keys go into the environment file, mode 0600, one NAME=value a line: {", ".join(place.secrets) or "none needed"}
# - 1 (a finding) and 3 (no data) are results, not failures of the unit: SuccessExitStatus says so. Remove 1 to have
#   `systemctl --failed` and OnFailure= speak up on findings.
# - A user's timer runs only while the user is logged in, unless `loginctl enable-linger` was said.{_note(place)}
[Unit]
Description=tempzero: hold the providers against their baselines
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
WorkingDirectory={folder}
EnvironmentFile=-{folder}/tempzero.env
ExecStart={place.python} -m tempzero nightly{place.option}
ExecStartPost=-{place.python} -m tempzero history{place.option}
SuccessExitStatus=1 3
TimeoutStartSec=2h
Nice=10
NoNewPrivileges=yes
PrivateTmp=yes
"""


def _systemd_timer(place: ScheduledJob) -> str:
    return f"""\
# Traps:
# - Persistent=true makes up for a night that the machine slept through, as soon as it wakes; a night is named by its
#   UTC date, so two starts on one date are one night.
# - RandomizedDelaySec varies the hour, since load at the provider does; nightly.time_blocks keeps hours apart.
[Unit]
Description=tempzero every night

[Timer]
OnCalendar=*-*-* {place.at}:00 UTC
Persistent=true
RandomizedDelaySec=45min

[Install]
WantedBy=timers.target
"""


def _crontab_text(place: ScheduledJob) -> str:
    hour, minute = place.at.split(":")
    folder = place.folder
    environment, logs = folder / "tempzero.env", place.results or folder
    command = (
        f"cd {shlex.quote(str(folder))} && set -a && if [ -f {environment} ]; then . {environment}; fi && set +a && "
        f"{place.python} -m tempzero nightly{place.option} >> {logs}/nightly.log 2>&1"
    )
    return f"""\
# Traps:
# - cron gives a job almost no environment: the line names every path, and reads keys from {environment} (mode 0600).
# - cron's hour is the machine's local time, which may skip or repeat it; a night is named by its UTC date.
# - cron does not make up for nights that the machine slept through; systemd's timer does.
# - A per cent sign ends the command in a crontab; there is none here.{_note(place)}
{int(minute)} {int(hour)} * * * mkdir -p {logs} && {command}
"""


def _note(place: ScheduledJob) -> str:
    return _BUILT_IN if place.config is None else ""
