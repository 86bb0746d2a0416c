"""Questions on a connection in, a reply for each out: whether expressions are equal. A program of its own."""

from __future__ import annotations

import json
import logging
import resource
import sys
from multiprocessing.connection import Connection
from typing import Any

_MEMORY_BYTES = 2 * 1024 * 1024 * 1024
_LONGEST = 1_000


def answer_questions(connection: Connection) -> None:
    """Answer until the other side has gone."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    logging.disable(logging.CRITICAL)
    from math_verify import parse, verify  # type: ignore[import-untyped,import-not-found,unused-ignore]

    def parse_expression(text: str) -> Any:
        """None where nothing is understood. Written without a fence, it is given one."""
        if len(text) > _LONGEST:
            return None
        # Its own time limits work by signals and threads; this process is killed from outside instead.
        return parse(f"\\boxed{{{text}}}", parsing_timeout=None) or None

    connection.send_bytes(b"ready")
    while True:
        try:
            question = json.loads(connection.recv_bytes())
        except EOFError:
            return
        try:
            answer = parse_expression(question["answer"])
            if answer is None:
                reply: dict[str, Any] = {"problem": "not understood as mathematics"}
            else:
                others = [parse_expression(other) for other in question["others"]]
                same = [other is not None and verify(other, answer, timeout_seconds=None) for other in others]
                reply = {"equal": [bool(one) for one in same]}
        except (Exception, RecursionError) as problem:
            reply = {"problem": f"not understood as mathematics ({type(problem).__name__})"}
        connection.send_bytes(json.dumps(reply).encode())


if __name__ == "__main__":
    answer_questions(Connection(int(sys.argv[1])))
