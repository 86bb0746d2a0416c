"""An endpoint that keeps every promise of the API, in ten dialects with honest variation, and the ways to break one.

The model behind it is a function of the request: it counts, spells, repeats, draws by its seed, calls tools, keeps to
formats, and reasons by its effort. What a dialect does not know it refuses. Noise parts answers as rounding does.
"""

from __future__ import annotations

import dataclasses
import json
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from loopback import ANY_ID, Call, Reply, Step, error, stream, value

Asked = dict[str, Any]
Body = dict[str, Any]
Thinking = Literal["reasoning_content", "reasoning", "parts", "tags", "hidden"]

_WORDS = (
    *("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heath", "inlet"),
    *("jetty", "knoll", "larch", "mason", "north", "olive", "pearl", "quartz"),
)
_DAYS = ["Monday,", "Tuesday,", "Wednesday,", "Thursday,", "Friday,", "Saturday,", "Sunday"]


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How one host spells what all hosts mean. `refuses`: fields that get status 400."""

    name: str
    refuses: tuple[str, ...] = ()
    refused_roles: tuple[str, ...] = ()
    thinking: Thinking | None = None
    always_thinks: bool = False
    framing: int = 0
    """Tokens that it counts of every answer besides those of the text."""
    usage_in: Literal["top", "x_groq", "choice"] = "top"
    comments: bool = False
    role_in_each: bool = False
    opening_chunk: bool = False
    any_model: bool = False
    fingerprints: int = 1
    served_as: str | None = None
    bare_errors: bool = False
    logged_end: bool = False
    old_logprobs: bool = False
    named_finish: str = "tool_calls"
    capable: bool = True
    """False: a weak model that calls no tool of its own accord, counts badly and repeats nothing."""
    entry: Mapping[str, Any] = field(default_factory=dict)


DIALECTS = (
    Dialect(name="plain", named_finish="stop"),
    Dialect(name="vllm", logged_end=True, refused_roles=("developer",), named_finish="stop"),
    Dialect(
        name="groq",
        refuses=("logprobs", "n", "repetition_penalty"),
        usage_in="x_groq",
        fingerprints=4,
        role_in_each=True,
    ),
    Dialect(
        name="router", comments=True, thinking="reasoning", served_as="m-2026-08-06", refuses=("parallel_tool_calls",)
    ),
    Dialect(
        name="deepseek",
        thinking="reasoning_content",
        always_thinks=True,
        comments=True,
        refuses=("n", "tool_choice", "max_completion_tokens", "repetition_penalty"),
    ),
    Dialect(name="azure", opening_chunk=True, refuses=("repetition_penalty",), fingerprints=2, framing=1),
    Dialect(
        name="mistral",
        thinking="parts",
        always_thinks=True,
        refuses=("n", "logprobs", "max_completion_tokens", "repetition_penalty"),
        refused_roles=("developer",),
        entry={"parameter_names": {"seed": "random_seed"}},
    ),
    Dialect(
        name="cerebras",
        refuses=("frequency_penalty", "presence_penalty", "repetition_penalty", "parallel_tool_calls"),
        thinking="tags",
        always_thinks=True,
    ),
    Dialect(name="llama.cpp", any_model=True, capable=False, bare_errors=True, refuses=("n",)),
    Dialect(
        name="moonshot",
        usage_in="choice",
        thinking="hidden",
        always_thinks=True,
        refuses=("logprobs", "top_p", "temperature"),
        old_logprobs=True,
        entry={"temperature": None, "top_p": None},
    ),
)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One promise broken: in what the model is given (`ask`), in the answer (`body`), or in its stream (`chunks`)."""

    ask: Callable[[Asked], Asked] | None = None
    body: Callable[[Asked, Body], Body] | None = None
    chunks: Callable[[Asked, list[Body]], list[Body]] | None = None
    done: bool = True
    reply: Callable[[ContractHost, Asked], Reply | None] | None = None
    """What comes in place of an answer, or of a refusal; None: what would come anyway."""


@dataclass
class Said:
    """One choice as the model made it; `tokens` are its words."""

    tokens: list[str]
    thoughts: list[str]
    calls: list[tuple[str, str]]
    finish: str
    glue: str = " "

    @property
    def text(self) -> str:
        return self.glue.join(self.tokens)


class ContractHost:
    """Answers calls of `loopback.Loopback`. `seed` rules its noise, tool ids and piece sizes; None: no noise."""

    def __init__(self, dialect: Dialect = DIALECTS[0], fault: Fault | None = None, *, seed: int | None = None) -> None:
        self.dialect, self.fault, self.noisy = dialect, fault or Fault(), seed is not None
        self.rng = random.Random(seed or 0)
        self.store: dict[str, Any] = {}

    def __call__(self, call: Call) -> Reply:
        if call.method == "GET":
            return value({"data": [{"id": "m"}]})
        asked: Asked = call.json
        refusal = self.refuse(asked)
        own = self.fault.reply(self, asked) if self.fault.reply is not None else None
        if own is not None:
            return own
        if refusal is not None:
            return refusal
        if self.noisy and self.rng.random() < 0.01:
            return error(self.rng.choice((429, 503)), "busy", headers={"retry-after": "0"})
        return self.reply_to(asked)

    def reply_to(self, asked: Asked) -> Reply:
        """An answer in this dialect, with the fault in it."""
        body = self.make_body(self.fault.ask(dict(asked)) if self.fault.ask is not None else asked)
        if self.fault.body is not None:
            body = self.fault.body(asked, body)
        if not asked.get("stream"):
            return value(self._place_usage(body))
        chunks = list(self._make_chunks(body))
        if self.fault.chunks is not None:
            chunks = self.fault.chunks(asked, chunks)
        steps: list[Step | Body] = [b": PROCESSING\n\n", b"\n"] if self.dialect.comments else []
        return stream(*steps, *chunks, done=self.fault.done)

    # --- refusing ---------------------------------------------------------------------------

    def refuse(self, asked: Asked) -> Reply | None:
        messages = asked.get("messages")
        if not isinstance(messages, list):
            return self._error(400, "messages must be a list")
        if asked.get("model") != "m" and not self.dialect.any_model:
            return error(404, f"The model `{asked.get('model')}` does not exist", code="model_not_found")
        for name in ("max_tokens", "max_completion_tokens"):
            if name in asked and type(asked[name]) is not int:
                return self._error(400, f"{name} must be an integer")
        for name in self.dialect.refuses:
            if name in asked:
                return self._error(400, f"Unsupported parameter: '{name}' is not supported")
        for role in self.dialect.refused_roles:
            if any(message.get("role") == role for message in messages):
                return self._error(400, f"Unexpected role '{role}'")
        if "reasoning_effort" in asked and self.dialect.thinking is None:
            return self._error(400, "Unsupported parameter: 'reasoning_effort' is not supported")
        return None

    def _error(self, status: int, words: str) -> Reply:
        return value({"detail": words}, status=status) if self.dialect.bare_errors else error(status, words)

    # --- the model --------------------------------------------------------------------------

    def make_body(self, asked: Asked) -> Body:
        """The whole answer, in the shape of the API."""
        said = [self._think_and_say(asked, number) for number in range(asked.get("n", 1))]
        dialect, rng = self.dialect, self.rng
        choices = []
        for index, one in enumerate(said):
            message: Body = {"role": "assistant", "content": one.text if one.tokens else None}
            self._place_thoughts(message, one)
            if one.calls:
                message["tool_calls"] = [
                    {
                        "id": f"call_{rng.getrandbits(48):012x}",
                        "type": "function",
                        "function": {"name": name, "arguments": arguments},
                    }
                    for name, arguments in one.calls
                ]
            choice: Body = {"index": index, "message": message, "finish_reason": one.finish}
            if asked.get("logprobs"):
                choice["logprobs"] = self._log_tokens(one, asked.get("top_logprobs", 0))
            choices.append(choice)
        prompt = sum(4 + _count_words(message) for message in asked["messages"])
        prompt += _count_words(asked.get("tools", ""))
        output = sum(len(s.tokens) + len(s.thoughts) + 8 * len(s.calls) for s in said) + dialect.framing
        usage: Body = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}
        if self.noisy:
            usage["prompt_tokens_details"] = {"cached_tokens": rng.choice((0, prompt // 2))}
        if dialect.thinking is not None:
            usage["completion_tokens_details"] = {"reasoning_tokens": sum(len(s.thoughts) for s in said)}
        return {
            "id": ANY_ID,
            "object": "chat.completion",
            "created": int(time.time()),
            "model": asked["model"] if dialect.any_model else dialect.served_as or "m",
            "system_fingerprint": f"fp{rng.randrange(dialect.fingerprints)}",
            "choices": choices,
            "usage": usage,
        }

    def _think_and_say(self, asked: Asked, number: int) -> Said:
        messages = asked["messages"]
        prompt = next((str(m.get("content")) for m in reversed(messages) if m.get("role") == "user"), "")
        words, glue = self._plan(prompt, asked, number)
        calls = self._call_tools(prompt, asked) if messages[-1].get("role") != "tool" else []
        if asked.get("response_format"):
            words = self._write_json(asked["response_format"])
        thoughts = self._think(prompt, asked)
        if calls:
            named = isinstance(asked.get("tool_choice"), dict)
            return Said([], thoughts, calls, self.dialect.named_finish if named else "tool_calls")
        text, finish = glue.join(words), "stop"
        found = [text.find(stop) for stop in asked.get("stop", ()) if stop in text]
        if found:
            words = text[: min(found)].split(glue)
            words = words[:-1] if words and not words[-1] else words
        limit = int(asked.get("max_completion_tokens") or asked.get("max_tokens") or 4096) - self.dialect.framing
        if len(thoughts) + len(words) > limit:
            finish, thoughts = "length", thoughts[:limit]
            words = words[: limit - len(thoughts)]
        return Said(words, thoughts, [], finish, glue)

    def _plan(self, prompt: str, asked: Asked, number: int) -> tuple[list[str], str]:
        """The words that the model would say, were there no end to it."""
        if "Count from" in prompt:
            return self._vary([str(n) for n in range(1, int(prompt.split(",")[0].split()[-1]) + 1)], 0.05), " "
        if "alphabet" in prompt:
            return self._vary([chr(65 + n) for n in range(26)], 0.05), " "
        if "seven days" in prompt:
            return self._vary(_DAYS, 0.05), " "
        if "word apple" in prompt:
            penalised = asked.get("frequency_penalty") or asked.get("repetition_penalty", 1) != 1
            return (["apple"] * 3 + [*_WORDS] * 12 if penalised or not self.dialect.capable else ["apple"] * 200), " "
        if "Repeat this" in prompt and self.dialect.capable:
            return prompt.partition(": ")[2].split(" "), " "
        if "divisible" in prompt or "snail" in prompt:
            return ["28"], " "
        if "single word yes" in prompt:
            return ["yes"], " "
        return self._draw(prompt, asked, number), " "

    def _draw(self, prompt: str, asked: Asked, number: int) -> list[str]:
        """Words of its choice: those of the prompt alone unless it samples, and then by its seed."""
        greedy = not asked.get("temperature", 1) or asked.get("top_p", 1) < 0.01
        seed = asked.get("seed", asked.get("random_seed"))
        drawn: Any = 0 if greedy else (seed if seed is not None else self.rng.random(), number)
        own = random.Random(f"{prompt} {drawn}")
        return self._vary([own.choice(_WORDS) + str(own.randrange(100)) for _ in range(12)], 0.3)

    def _vary(self, words: list[str], rate: float) -> list[str]:
        """Now and then a near-tie falls the other way, somewhere, and everything behind it with it."""
        if not self.noisy or self.rng.random() >= rate:
            return words
        at = self.rng.randrange(len(words))
        return [*words[:at], *("otherwise" for _ in words[at:])]

    def _call_tools(self, prompt: str, asked: Asked) -> list[tuple[str, str]]:
        tools, choice = asked.get("tools"), asked.get("tool_choice", "auto")
        if not tools or choice == "none":
            return []
        names = [tool["function"]["name"] for tool in tools]
        if isinstance(choice, dict):
            return [(choice["function"]["name"], '{"city": "Oslo"}')]
        if choice == "required":
            return [(names[0], '{"city": "Oslo"}')]
        if "weather" not in prompt or not self.dialect.capable:
            return (
                [(names[0], '{"city": Oslo')] if self.noisy and self.rng.random() < 0.2 and "weather" in prompt else []
            )
        cities = ["Oslo", "Rome"] if "Rome" in prompt and asked.get("parallel_tool_calls", True) else ["Oslo"]
        return [(names[0], json.dumps({"city": city})) for city in cities]

    def _write_json(self, wanted: Mapping[str, Any]) -> list[str]:
        if wanted.get("type") == "json_schema":
            return ['{"mood":', '"azure-17",', '"lines":', "2}"]
        return ['{"text":', '"Good', 'morning"}']

    def _think(self, prompt: str, asked: Asked) -> list[str]:
        if self.dialect.thinking is None or asked.get("reasoning_effort") == "none":
            return []
        puzzle = "divisible" in prompt or "snail" in prompt
        if not puzzle and not self.dialect.always_thinks:
            return []
        count = {"low": 13, "high": 40}.get(asked.get("reasoning_effort", ""), 16) if puzzle else 5
        return self._vary([f"step{n}" for n in range(count)], 0.3)

    def _place_thoughts(self, message: Body, said: Said) -> None:
        if not said.thoughts:
            return
        text, way = " ".join(said.thoughts), self.dialect.thinking
        if way in ("reasoning_content", "reasoning"):
            message[way] = text
        elif way == "parts":
            parts: list[Body] = [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]
            message["content"] = [*parts, {"type": "text", "text": said.text}] if said.tokens else parts
        elif way == "tags":
            message["content"] = f"<think>{text}</think>{said.text}"

    def _log_tokens(self, said: Said, top: int) -> Body:
        tokens = [word if n == 0 else f" {word}" for n, word in enumerate(said.tokens)]
        tokens = [*tokens, "<|im_end|>"] if self.dialect.logged_end and said.finish == "stop" else tokens
        listed = [
            {
                "token": token,
                "logprob": -0.05,
                "bytes": list(token.encode()),
                "top_logprobs": [{"token": token if n == 0 else f"t{n}", "logprob": -0.05 - 4 * n} for n in range(top)],
            }
            for token in tokens
        ]
        return {"content": listed}

    # --- the wire ---------------------------------------------------------------------------

    def _place_usage(self, body: Body) -> Body:
        if self.dialect.usage_in == "top" or "usage" not in body:
            return body
        usage, rest = body["usage"], {name: given for name, given in body.items() if name != "usage"}
        if self.dialect.usage_in == "x_groq":
            return {**rest, "x_groq": {"id": "req", "usage": usage}}
        first, *others = rest["choices"]
        return {**rest, "choices": [{**first, "usage": usage}, *others]}

    def _make_chunks(self, body: Body) -> Iterator[Body]:
        head: Body = {name: body[name] for name in ("id", "created", "model", "system_fingerprint") if name in body}
        head["object"] = "chat.completion.chunk"
        if self.dialect.opening_chunk:
            yield {**head, "choices": [], "prompt_filter_results": []}
        for choice in body["choices"]:
            index = choice["index"]
            for number, delta in enumerate(self._make_deltas(choice["message"])):
                role = {"role": "assistant"} if number == 0 or self.dialect.role_in_each else {}
                given: Body = {"index": index, "delta": {**role, **delta}, "finish_reason": None}
                if number == 0 and choice.get("logprobs"):
                    given["logprobs"] = choice["logprobs"]
                yield {**head, "choices": [given]}
            yield {**head, "choices": [{"index": index, "delta": {}, "finish_reason": choice["finish_reason"]}]}
        if "usage" not in body:
            return
        if self.dialect.usage_in == "choice":
            last = {
                "index": 0,
                "delta": {},
                "finish_reason": body["choices"][0]["finish_reason"],
                "usage": body["usage"],
            }
            yield {**head, "choices": [last]}
        elif self.dialect.usage_in == "x_groq":
            yield {**head, "choices": [], "x_groq": {"usage": body["usage"]}}
        else:
            yield {**head, "choices": [], "usage": body["usage"]}

    def _make_deltas(self, message: Body) -> Iterator[Body]:
        yield {"content": ""}
        for name in ("reasoning_content", "reasoning"):
            if name in message:
                yield {name: message[name]}
        content = message.get("content")
        if isinstance(content, list):
            yield from ({"content": [part]} for part in content)
        elif content:
            step = self.rng.randrange(4, 12)
            yield from ({"content": content[at : at + step]} for at in range(0, len(content), step))
        for index, call in enumerate(message.get("tool_calls") or ()):
            given = call["function"]["arguments"]
            opened = {**call, "function": {**call["function"], "arguments": ""}}
            yield {"tool_calls": [{"index": index, **opened}]}
            half = len(given) // 2
            for piece in (given[:half], given[half:]) if isinstance(given, str) else (given,):
                yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _count_words(given: Any) -> int:
    return len(re.findall(r"\w+", given if isinstance(given, str) else json.dumps(given)))


def change_choices(body: Body, change: Callable[[Body], Body]) -> Body:
    """The same answer with each choice changed."""
    return {**body, "choices": [change(choice) for choice in body["choices"]]}


def change_messages(body: Body, change: Callable[[Body], Body]) -> Body:
    """The same answer with each message changed."""
    return change_choices(body, lambda choice: {**choice, "message": change(dict(choice["message"]))})


def change_deltas(chunks: list[Body], change: Callable[[Body], Body | None]) -> list[Body]:
    """The same stream with each delta changed; None leaves its chunk out."""
    changed = []
    for chunk in chunks:
        if not chunk.get("choices"):
            changed.append(chunk)
            continue
        (choice,) = chunk["choices"]
        delta = change(dict(choice.get("delta", {})))
        if delta is not None:
            changed.append({**chunk, "choices": [{**choice, "delta": delta}]})
    return changed


def with_thinking(thinking: Thinking, **more: Any) -> Dialect:
    """The plain dialect of a model that reasons."""
    return dataclasses.replace(DIALECTS[0], thinking=thinking, always_thinks=True, **more)
