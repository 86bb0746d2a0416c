"""Five imitated hosts of one small model on 127.0.0.1: a question in, an answer that was really given to it out.

    python3 imitated_hosts.py                   # north, south, east, west and swift answer until Ctrl-C
    python3 imitated_hosts.py --coarse south    # the same, but south serves coarser weights from now on

What they say is in imitated_answers.json: the answers that SmolLM2-135M-Instruct gave to the 15 prompts of the suite
`quick` in 16 bits ("fine"), in four bits ("coarse"), and where eight requests were decoded together ("wavering").
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

MODEL = "smollm2-135m"
TOKENS_A_SECOND = {"north": 900, "south": 1800, "east": 600, "west": 1200, "swift": 3600}
COARSE, WAVERING = {"west"}, {"swift"}
ANSWERS = json.loads(Path(__file__).with_name("imitated_answers.json").read_text(encoding="utf-8"))
ASKED: Counter[tuple[str, str]] = Counter()


def choose_answer(host: str, question: str) -> dict[str, Any]:
    """What this host says: as it was recorded, or to any other question one sentence."""
    for known in ANSWERS:
        if known["asked"] in question:
            ASKED[host, question] += 1
            fine = known["coarse" if host in COARSE else "fine"]
            wavering = known.get("wavering", [fine]) if host in WAVERING else [fine]
            return {**wavering[ASKED[host, question] % len(wavering)], "prompt_tokens": known["prompt_tokens"]}
    words = " ".join(map(str, range(1, 31))) if "Count from 1" in question else "Yes, and the ships lie in the harbour."
    return {"text": words, "finish_reason": "stop", "completion_tokens": len(words.split()), "prompt_tokens": 40}


def limit_answer(answer: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    """The answer under the limits that the request sets: a stop string, and so many tokens."""
    stop = request.get("stop") or []
    for end in [stop] if isinstance(stop, str) else stop:
        answer["text"] = answer["text"].partition(end)[0]
    most = request.get("max_tokens") or request.get("max_completion_tokens") or answer["completion_tokens"]
    if answer["completion_tokens"] > most:
        words = answer["text"].split(" ")[:most]
        answer |= {"text": " ".join(words), "finish_reason": "length", "completion_tokens": most}
    return answer


class Host(BaseHTTPRequestHandler):
    """All five, told apart by the first part of the path: /north/v1/chat/completions."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # the head and the body of a reply go out at once

    def do_GET(self) -> None:
        """The list of models, for whoever looks the name up."""
        self.reply(200, "application/json", json.dumps({"object": "list", "data": [{"id": MODEL, "object": "model"}]}))

    def do_POST(self) -> None:
        """An answer, whole or as a stream; 400 to fields that these hosts do not know."""
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        host = self.path.split("/")[1]
        unknown = {"tools", "response_format", "logprobs", "n", "reasoning_effort"} & request.keys()
        if unknown or host not in TOKENS_A_SECOND:
            error = {"error": {"message": f"{host}: not supported: {', '.join(sorted(unknown))}", "code": 400}}
            return self.reply(400, "application/json", json.dumps(error))
        answer = limit_answer(choose_answer(host, request["messages"][-1]["content"]), request)
        time.sleep(answer["completion_tokens"] / TOKENS_A_SECOND[host])
        head = {"id": f"chatcmpl-{uuid4().hex}", "created": int(time.time()), "model": MODEL}
        counts = {name: answer[name] for name in ("prompt_tokens", "completion_tokens")}
        usage = {"usage": {**counts, "total_tokens": sum(counts.values())}}
        said = {"role": "assistant", "content": answer["text"]}
        if not request.get("stream"):
            choice = {"index": 0, "message": said, "finish_reason": answer["finish_reason"]}
            whole = {**head, "object": "chat.completion", "choices": [choice], **usage}
            return self.reply(200, "application/json", json.dumps(whole))
        head["object"] = "chat.completion.chunk"
        ending = {"index": 0, "delta": {}, "finish_reason": answer["finish_reason"]}
        chunks = [{**head, "choices": [{"index": 0, "delta": said, "finish_reason": None}]}]
        chunks += [{**head, "choices": [ending]}, {**head, "choices": [], **usage}]
        self.reply(200, "text/event-stream", "".join(f"data: {json.dumps(c)}\n\n" for c in chunks) + "data: [DONE]\n\n")

    def reply(self, status: int, kind: str, text: str) -> None:
        """Send it."""
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: the terminal is tempzero's."""


def play_hosts() -> None:
    """Answer until somebody ends it."""
    parser = argparse.ArgumentParser(description="Five imitated hosts of one small model on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--coarse", action="append", default=[], choices=TOKENS_A_SECOND, help="who serves 4 bits")
    options = parser.parse_args()
    COARSE.update(options.coarse)
    with ThreadingHTTPServer(("127.0.0.1", options.port), Host) as server:
        print(f"{', '.join(TOKENS_A_SECOND)} answer on http://127.0.0.1:{options.port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    play_hosts()
