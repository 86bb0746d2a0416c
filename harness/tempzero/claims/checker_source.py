"""The modules of the checker in, the one file `verify.py` of every bundle out: whole, and the same for all."""

from __future__ import annotations

import functools
import hashlib
import re
from pathlib import Path

_PACKAGE = Path(__file__).parent.parent
_PARTS = (
    "answers/cut_answers.py",
    "claims/byte_reading.py",
    "claims/bundle_figures.py",
    "claims/page_wording.py",
    "claims/verify_bundle.py",
)
_OWN_IMPORT = re.compile(r"^from tempzero\.[\w.]+ import (?:\([^)]*\)|[^\n]*)\n", re.MULTILINE)
_HEAD = '''#!/usr/bin/env python3
"""Checks the evidence bundle beside it: prints that it holds, or one line saying what does not. Nothing to install.

Run it as `python3 -I verify.py`, or `python3 -I verify.py FOLDER` from elsewhere. Exit codes: 0 the bundle holds, 1 it
does not, 3 it is of a kind or version that this file does not know, which says neither.

1. Files: SHA256SUMS has a hash of each (`sha256sum -c` does the same); its own hash, the root, stands for all of them.
   No other file may be there.
2. Answers: a line of answers.jsonl is one request with its response, which lie in files. What is compared (reasoning,
   text, calls of tools, refusal), the provider's labels, token counts, finish reason and how it ended are read again
   from the response's bytes. Trials, attempts, ids, times and load must fit together and be all that was planned.
3. Figures are computed anew from the answers, and must support what is claimed. A is the side accused.
4. Page: CLAIM.md and CLAIM.html are written anew, word by word, and must come out the same. What is "attested" is the
   author's word.

Nothing here can know that this is what the provider sent: it can look up the response ids and dates in its logs. A seal
(a signature, a time stamp) can show who vouches for the records and when they were there already.
"""

import sys

if __name__ == "__main__" and not sys.flags.isolated:  # nothing that lies beside this file may pose as a library
    del sys.path[0]
    sys.path[:] = [p for p in sys.path if p.rstrip("/") not in ("", ".", __file__.rpartition("/")[0])]

'''


@functools.cache
def read_checker() -> bytes:
    """The bytes of verify.py."""
    sources = [(_PACKAGE / name).read_text(encoding="utf-8") for name in _PARTS]
    parts = [f"\n# {'=' * 118}\n{_OWN_IMPORT.sub('', source)}" for source in sources]
    return (_HEAD + "\n".join(parts)).encode()


def hash_checker() -> str:
    """Its hash, as it is published."""
    return hashlib.sha256(read_checker()).hexdigest()
