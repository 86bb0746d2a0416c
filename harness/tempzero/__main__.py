"""`python -m tempzero` is the command `tempzero`."""

from tempzero.cli import main

raise SystemExit(main())
