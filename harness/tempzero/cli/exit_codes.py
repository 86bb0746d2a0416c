"""How a command ends, as schedulers see it; the README has the table."""

from __future__ import annotations

EXIT_CODES = {"pass": 0, "finding": 1, "inconclusive": 3}
CANNOT_RUN, OUR_BUG, INTERRUPTED = 2, 70, 130
