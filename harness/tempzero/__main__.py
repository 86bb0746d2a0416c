"""`python -m tempzero` is the command `tempzero`."""

from tempzero.cli import run_process

raise SystemExit(run_process())
