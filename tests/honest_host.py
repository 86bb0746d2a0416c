"""An endpoint that does as it is told, and the same with one thing changed: for tests of what a check sees."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from loopback import Call, Reply, chunk_values, completion_value, stream, value

Change = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]
"""The request and the answer an honest host gives in, the answer it gives instead out."""


def honest(call: Call) -> Reply:
    """It counts, stops, cuts, draws by its seed, calls the tool it must, writes JSON, answers n times, and streams."""
    return HonestHost()(call)


class HonestHost:
    """`change` makes of an honest answer another one; `reasoning` are tokens that it thinks before it answers."""

    def __init__(
        self, change: Change | None = None, *, reasoning: int | Callable[[Mapping[str, Any]], int] = 0
    ) -> None:
        self._change = change
        self._reasoning = reasoning if callable(reasoning) else lambda asked: reasoning

    def __call__(self, call: Call) -> Reply:
        if call.method == "GET":
            return value({"data": [{"id": "m"}, {"id": "other"}]})
        asked = call.json
        body = self._answer(call.prompt, asked)
        if self._change is not None:
            body = self._change(asked, body)
        if not asked.get("stream"):
            return value(body)
        return stream(*stream_chunks(body))

    def _answer(self, prompt: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        words = _words(prompt, asked)
        if "stop" in asked and "7" in words:
            words = words[: words.index("7")]
        limit = asked.get("max_completion_tokens", asked.get("max_tokens"))
        thought = min(self._reasoning(asked), limit)
        cut = len(words) > limit - thought
        words = words[: limit - thought]
        message: dict[str, Any] = {"content": " ".join(words)}
        if thought:
            message["reasoning_content"] = " ".join(["hm"] * thought)
        if "tools" in asked:
            arguments = json.dumps({"city": "Oslo"})
            call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": arguments}}
            message = {"content": None, "tool_calls": [call]}
            cut = False
        choice = {"message": {"role": "assistant", **message}, "finish_reason": "length" if cut else "stop"}
        if asked.get("logprobs"):
            listed = [{"token": f"t{n}", "logprob": -0.5 - n} for n in range(asked.get("top_logprobs", 0))]
            choice["logprobs"] = {"content": [{"token": "yes", "logprob": -0.5, "top_logprobs": listed}]}
        tokens = thought + len(words)
        usage: dict[str, Any] = {"prompt_tokens": 9, "completion_tokens": tokens, "total_tokens": 9 + tokens}
        if thought:
            usage["completion_tokens_details"] = {"reasoning_tokens": thought}
        choices = [{"index": number, **choice} for number in range(asked.get("n", 1))]
        return completion_value(choices=choices, usage=usage, system_fingerprint="fp1")


def stream_chunks(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A whole answer in the chunks of a stream: reasoning, then text in two pieces, then calls, then the end."""
    choice = body["choices"][0]
    head = {name: given for name, given in body.items() if name not in ("choices", "usage", "object")}
    chunks = chunk_values(finish_reason=choice["finish_reason"], usage=body["usage"], **head)
    deltas = [
        {**head, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        for delta in _deltas(choice.get("message", {}))
    ]
    return [chunks[0], *deltas, *chunks[1:]]


def _deltas(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name in sorted(message.keys() - {"role", "content", "tool_calls"}):
        yield {name: message[name]}
    content = message.get("content")
    if isinstance(content, str):
        yield from ({"content": text} for text in (content[:3], content[3:]))
    elif content:
        yield {"content": content}
    for index, call in enumerate(message.get("tool_calls") or ()):
        yield {"tool_calls": [{"index": index, **call}]}


def _words(prompt: str, asked: Mapping[str, Any]) -> list[str]:
    if "Count" in prompt:
        return [str(n) for n in range(1, 31)]
    if "random" in prompt:
        return [f"word{asked.get('seed')}", "more"]
    if "response_format" in asked:
        return ['{"text":', '"good', 'morning"}']
    if "harbour" in prompt:
        return ["Saltholm", "lies", "by", "the", "sea."]
    return ["yes"]
