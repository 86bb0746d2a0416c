"""`python -m harness` is the command `tempzero`."""

from harness.cli import main

raise SystemExit(main())
