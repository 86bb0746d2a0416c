"""Lines of JSON on standard input in, a line for each out: whether expressions are equal. A program of its own."""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
from typing import Any

_MEMORY_BYTES = 2 * 1024 * 1024 * 1024
_LONGEST = 1_000


def main() -> int:
    """Answer questions until the input ends."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no reply
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    logging.disable(logging.CRITICAL)
    from math_verify import parse, verify  # type: ignore[import-untyped,import-not-found,unused-ignore]

    def read(text: str) -> Any:
        """None where nothing is understood. Written without a fence, it is given one."""
        if len(text) > _LONGEST:
            return None
        # Its own time limits work by signals and threads; this process is killed from outside instead.
        return parse(f"\\boxed{{{text}}}", parsing_timeout=None) or None

    print(json.dumps({"ready": True}), file=replies, flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        try:
            answer = read(question["answer"])
            if answer is None:
                reply: dict[str, Any] = {"problem": "not understood as mathematics"}
            else:
                others = [read(other) for other in question["others"]]
                same = [other is not None and verify(other, answer, timeout_seconds=None) for other in others]
                reply = {"equal": [bool(one) for one in same]}
        except (Exception, RecursionError) as problem:
            reply = {"problem": f"not understood as mathematics ({type(problem).__name__})"}
        print(json.dumps(reply), file=replies, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
