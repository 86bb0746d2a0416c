"""A folder of float32 weights in, a direction pack and what 16-bit hosts give of first tokens out, on fresh prompts.

    python tests/benchmarks/precision_hosts.py FOLDER OUT [--perturb 5] [--ordinary 32] [--steady 16] NAME ...

FOLDER holds the weights as transformers saves them. OUT gets `pack.json` (all forms of tempzero that are weights alone,
in float32 arithmetic) and `hosts.jsonl`: each NAME in bfloat16, as GPU engines compute, from weights that went through
a form and were written back, or through a scheme that no pack knows (`UNKNOWN`). A form that needs a calibration gets
one on texts that the project's own has not (`NAME:b`: on others still).

Some of the prompts are shipped ordinary ones, however their answers begin, some are steady prompts of a new search, and
none are those of the shipped pack. `--pack` takes the prompts of a pack instead,
and makes only its hosts. `--perturb` moves every weight by up to half a step of the 4-bit grid that the shipped weights
lie on, so that they are float32 weights like any. What is done is skipped when called again.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import importlib
import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from tempzero.config.shipped import find_prompts
from tempzero.precision.forms import FORMS, Form
from tempzero.precision.forms.form import Matrix, Rounding
from tempzero.precision.forms.scaling import (
    FloatFormat,
    Sharing,
    round_to_scaled_floats,
    round_to_scaled_steps,
    split_groups,
)
from tempzero.precision.packs import (
    Direction,
    DirectionPack,
    HonestRounding,
    PackPlace,
    PackPrompt,
    load_pack,
    save_pack,
)
from tempzero.probe.candidates import generate_candidates
from tempzero.suites import load_suite
from tempzero.types.asked import Prompt

CANDIDATES, BATCH = 32, 16
TOKENS, STEADY, NEAR_TIE = 8, 0.7, 0.05
_EMBEDDING = "model.embed_tokens.weight"
Change = Callable[[str, Matrix], Matrix]
Activations = Mapping[str, Matrix]


def main() -> None:
    """Choose prompts, make the pack, then one host after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--perturb", type=int)
    parser.add_argument("--ordinary", type=int, default=32)
    parser.add_argument("--steady", type=int, default=16)
    parser.add_argument("--forms", default="", help="only these in the pack, comma-separated")
    parser.add_argument("--seed", type=int, default=9)
    parser.add_argument("--pack", type=Path)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(asked.folder, asked.perturb)
    pack = make_fresh_pack(bench, asked) if asked.pack is None else load_pack(asked.pack)
    hosts = asked.out / "hosts.jsonl"
    done = {json.loads(line)["host"] for line in hosts.open()} if hosts.exists() else set()
    begun = [bench.begin_known(p) for p in pack.prompts]
    for name in asked.names:
        if name not in done:
            began = time.monotonic()
            logprobs = bench.read(begun, make_scheme(name), dtype="bfloat16", alone=name == "honest-alone")
            write_host(pack, logprobs, name, hosts)
            print(f"host {name}: {time.monotonic() - began:.1f} s", flush=True)


# --- the model -----------------------------------------------------------------------------------


class Scheme:
    """What is done to the weights, to what goes into each matrix, and to the prompts."""

    def __init__(self, name: str, form: Form | None = None, calibration: str = "a") -> None:
        self.name, self.form, self.calibration = name, form, calibration


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A prompt's tokens and those of the reference's answer but the last that is looked at."""

    prompt: list[int]
    answer: list[int] = field(default_factory=list)

    @property
    def ids(self) -> list[int]:
        """All that is read."""
        return [*self.prompt, *self.answer]

    @property
    def places(self) -> int:
        """So many of the last tokens are looked behind."""
        return 1 + len(self.answer)


class Bench:
    """A model whose weights are changed and set back; logits behind the last tokens of each prompt."""

    def __init__(self, folder: Path, perturb: int | None) -> None:
        self.torch = importlib.import_module("torch")
        transformers = importlib.import_module("transformers")
        self.torch.set_num_threads(1)
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.cache = transformers.DynamicCache
        self.ends = [self.tokenizer.eos_token_id]
        self.model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=self.torch.float32).eval()
        draw = np.random.default_rng(perturb)
        self.weights = {
            name: perturb_matrix(tensor.numpy().copy(), draw)
            if perturb is not None and is_matrix(name)
            else tensor.numpy().copy()
            for name, tensor in self.model.state_dict().items()
            if name != "lm_head.weight" or not self.model.config.tie_word_embeddings
        }
        self.theta = float(self.model.config.rope_parameters["rope_theta"])
        self.calibrated: dict[str, Activations] = {}

    def tokenize(self, prompt: PackPrompt | Prompt, system: str | None = None) -> list[int]:
        """As the model's own template has it."""
        messages = [{"role": m.role, "content": m.content} for m in prompt.messages]
        if system is not None and messages[0]["role"] != "system":
            messages = [{"role": "system", "content": system}, *messages]
        return list(
            self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
        )

    def begin_known(self, prompt: PackPrompt, system: str | None = None) -> Begun:
        """As a pack's reference begins to answer it."""
        answer = [place.token_ids[0] for place in prompt.places[:-1]]
        return Begun(prompt=self.tokenize(prompt, system), answer=answer)

    def begin_anew(self, prompts: Sequence[Prompt], tokens: int, margin: float) -> list[Begun]:
        """By the float32 weights, up to an end or to a margin between the best two that is less."""
        begun = [Begun(prompt=self.tokenize(p)) for p in prompts]
        going = [*begun]
        for _ in range(tokens - 1):
            logits = np.sort(rows := self.read([Begun(prompt=one.ids) for one in going], Scheme("honest")), axis=1)
            decided = (logits[:, -1] - logits[:, -2] >= margin) & ~np.isin(rows.argmax(axis=1), self.ends)
            going = [one for one, goes_on in zip(going, decided, strict=True) if goes_on]
            for one, token in zip(going, rows.argmax(axis=1)[decided], strict=True):
                one.answer.append(int(token))
            if not going:
                break
        return begun

    def read(
        self, begun: Sequence[Begun], scheme: Scheme, *, dtype: str = "float32", alone: bool = False
    ) -> NDArray[np.float64]:
        """Logits, a row a place, one prompt after another."""
        with self.serve(scheme, dtype), self.torch.inference_mode():
            return read_last_logits(self, begun, 1 if alone else BATCH)

    @contextmanager
    def serve(self, scheme: Scheme, dtype: str) -> Iterator[None]:
        """The model under a scheme."""
        torch = self.torch
        change = find_change(scheme, self)
        self.model.float()
        self.model.load_state_dict(
            {
                key: torch.from_numpy(np.ascontiguousarray(change(key, array) if is_matrix(key) else array))
                for key, array in self.weights.items()
            },
            strict=False,  # what is tied is there once
        )
        self.model.to(getattr(torch, dtype))
        base = scheme.form.metadata.get("{arch}.rope.freq_base") if scheme.form is not None else None
        rotary = self.model.model.rotary_emb
        width = self.model.config.hidden_size // self.model.config.num_attention_heads
        powers = torch.arange(0, width, 2, dtype=torch.float32) / width
        rotary.inv_freq = 1.0 / (base or self.theta) ** powers
        hooks = list(round_activations(torch, self.model, scheme.form.inputs if scheme.form is not None else None))
        yield
        for hook in hooks:
            hook.remove()

    def calibrate(self, which: str) -> Activations:
        """What goes into each matrix on texts of one kind, by its name: up to 1,500 rows."""
        if which not in self.calibrated:
            texts = {"a": pick_ordinary(64, after=64), "b": generate_candidates("border", number=120, seed=77)}[which]
            seen: dict[str, list[Any]] = {}
            keep = [
                module.register_forward_pre_hook(
                    lambda _, given, key=name: seen.setdefault(key, []).append(given[0].reshape(-1, given[0].shape[-1]))
                )
                for name, module in self.model.named_modules()
                if name.endswith("_proj")
            ]
            with self.serve(Scheme("honest"), "float32"), self.torch.inference_mode():
                for one in texts:
                    self.model(self.torch.tensor([self.tokenize(one)]))
            for hook in keep:
                hook.remove()
            self.calibrated[which] = {
                f"{name}.weight": thin_rows(np.concatenate([r.numpy() for r in rows])) for name, rows in seen.items()
            }
        return self.calibrated[which]


def thin_rows(rows: Matrix, most: int = 1_500) -> Matrix:
    """Evenly, so that memory holds all matrices' inputs."""
    return rows[:: max(1, len(rows) // most)][:most].astype(np.float32)


def is_matrix(name: str) -> bool:
    """Whether a quantiser would round it."""
    return name.endswith("proj.weight") or name == _EMBEDDING


def perturb_matrix(matrix: Matrix, draw: np.random.Generator) -> Matrix:
    """By up to half a step of Q4_1: 16 steps over what each 32 weights span."""
    groups, restore = split_groups(matrix, 32)
    step = (groups.max(axis=-1, keepdims=True) - groups.min(axis=-1, keepdims=True)) / 15
    return restore(groups + step * draw.uniform(-0.5, 0.5, groups.shape).astype(np.float32))


def read_last_logits(bench: Bench, begun: Sequence[Begun], batch: int) -> NDArray[np.float64]:
    """What all prompts begin with is computed once. Right padding is masked."""
    torch, model = bench.torch, bench.model
    prompts = [one.ids for one in begun]
    common = min(len(one.prompt) for one in begun) - 1
    while len({tuple(p[:common]) for p in prompts}) > 1:
        common -= 1
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    found: dict[int, NDArray[np.float64]] = {}
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        cache = bench.cache()
        if common:
            model(torch.tensor([list(prompts[rows[0]][:common])] * 1), past_key_values=cache, use_cache=True)
            cache.batch_repeat_interleave(len(rows))
        tails = [prompts[i][common:] for i in rows]
        width = max(map(len, tails))
        ids = torch.tensor([list(t) + [0] * (width - len(t)) for t in tails])
        mask = torch.tensor([[1] * (common + len(t)) + [0] * (width - len(t)) for t in tails])
        hidden = model.model(ids, attention_mask=mask, past_key_values=cache, use_cache=True).last_hidden_state
        for row, i in enumerate(rows):
            last = hidden[row, len(tails[row]) - begun[i].places : len(tails[row])]
            found[i] = model.lm_head(last).double().numpy()
    return np.concatenate([found[i] for i in range(len(prompts))])


def round_activations(torch: Any, model: Any, rounding: Rounding | None) -> Iterator[Any]:
    """Hooks that round what goes into each matrix of a layer."""
    if rounding is None:
        return

    def change(_: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        wide = given[0].float().reshape(-1, given[0].shape[-1])
        rounded = torch.from_numpy(rounding(wide.numpy())).reshape(given[0].shape)
        return (rounded.to(given[0].dtype), *given[1:])

    for name, module in model.named_modules():
        if name.endswith("_proj"):
            yield module.register_forward_pre_hook(change)


# --- schemes -------------------------------------------------------------------------------------


@functools.cache
def draw_rotation(width: int) -> Matrix:
    """A random one, the same for each matrix of this width."""
    turned, _ = np.linalg.qr(np.random.default_rng(width).normal(size=(width, width)).astype(np.float32))
    return turned


def round_rotated(matrix: Matrix) -> Matrix:
    """INT8 by row of the matrix times a random rotation, as QuaRot and its like do."""
    turned = draw_rotation(matrix.shape[1])
    rows: Matrix = (matrix @ turned).astype(np.float32)
    back: Matrix = round_to_scaled_steps(rows, peak=127, lowest=-127, highest=127, sharing="row") @ turned.T
    return back


def in_steps(bits: int, sharing: Sharing) -> Rounding:
    """Integers of any width, symmetric."""
    most = 2 ** (bits - 1) - 1
    return functools.partial(round_to_scaled_steps, peak=most, lowest=-most, highest=most, sharing=sharing)


def in_floats(mantissa_bits: int, smallest_exponent: int, largest: float, sharing: Sharing = "row") -> Rounding:
    """Floats of any width."""
    to = FloatFormat(mantissa_bits=mantissa_bits, smallest_exponent=smallest_exponent, largest=largest)
    return functools.partial(round_to_scaled_floats, to=to, sharing=sharing)


UNKNOWN: dict[str, Rounding] = {
    "int7-channel": in_steps(7, "row"),
    "int6-group64": in_steps(6, 64),
    "int6-channel": in_steps(6, "row"),
    "int5-group64": in_steps(5, 64),
    "int8-group32": in_steps(8, 32),
    "int4-group96": functools.partial(round_to_scaled_steps, peak=7.5, lowest=-8, highest=7, sharing=96),
    "int4-group256": functools.partial(round_to_scaled_steps, peak=7.5, lowest=-8, highest=7, sharing=256),
    "int3-group64": functools.partial(round_to_scaled_steps, peak=3.5, lowest=-4, highest=3, sharing=64),
    "fp6-e3m2-channel": in_floats(2, -2, 28.0),
    "fp6-e2m3-channel": in_floats(3, 0, 7.5),
    "fp8-e3m4-channel": in_floats(4, -2, 15.5),
    "fp8-e4m3-group128": in_floats(3, -6, 448.0, 128),
    "int8-rotated": round_rotated,
}
_BY_NAME = {form.name: form for form in FORMS}


def make_scheme(name: str) -> Scheme:
    """`form`, `form:b` (calibrated on the texts b), `honest`, or a name of `UNKNOWN`."""
    form, _, calibration = name.partition(":")
    return Scheme(name, _BY_NAME.get(form), calibration or "a")


def find_change(scheme: Scheme, bench: Bench) -> Change:
    """What happens to a matrix of this name; names are those of transformers."""
    form, plain = scheme.form, scheme.name.partition(":")[0]
    if form is not None and form.calibrate is not None:
        seen, calibrate = bench.calibrate(scheme.calibration), form.calibrate
        return lambda key, matrix: matrix if key == _EMBEDDING else calibrate({key: matrix}, seen[key])[key]
    if form is None:
        unknown = UNKNOWN.get(plain)
        if unknown is None and not plain.startswith("honest"):
            raise SystemExit(f"no scheme {plain}")
        return lambda key, matrix: matrix if unknown is None or key == _EMBEDDING else unknown(matrix)
    last = max(int(key.split(".")[2]) for key in bench.weights if key.startswith("model.layers."))
    return lambda key, matrix: change_by_form(form, key, matrix, last)


def change_by_form(form: Form, key: str, matrix: Matrix, last: int) -> Matrix:
    """As `precision.pack_making` does with the names of a model file."""
    if form.gguf_type is not None:
        kind = "Q8_0" if key == _EMBEDDING and form.gguf_type[0] == "q" else form.gguf_type.upper()
        return store_as(matrix, gguf.GGMLQuantizationType[kind])
    if form.round is None:
        return matrix
    if key == _EMBEDDING:
        if form.embeddings == "q8_0":
            return store_as(matrix, gguf.GGMLQuantizationType.Q8_0)
        return form.round(matrix) if form.embeddings == "rounded" else matrix
    layer = int(key.split(".")[2])
    return matrix if form.layers == "without first and last" and layer in (0, last) else form.round(matrix)


def store_as(matrix: Matrix, kind: gguf.GGMLQuantizationType) -> Matrix:
    """Through one of llama.cpp's types and back."""
    back: Matrix = gguf.quants.dequantize(gguf.quants.quantize(matrix, kind), kind)
    return back.reshape(matrix.shape)


# --- prompts, pack and hosts ---------------------------------------------------------------------


def pick_ordinary(number: int, after: int = 0) -> list[Prompt]:
    """Shipped prompts of one turn, no tools, in an order that their ids' digest gives."""
    every = load_suite(find_prompts(["builtin"], Path()), "deep").prompts
    short = [
        p
        for p in every
        if len(p.messages) == 1
        and not p.tools
        and p.body is None
        and not p.request
        and len(p.messages[0].content) < 260
    ]
    drawn = sorted(short, key=lambda p: hashlib.sha256(f"held out {p.id}".encode()).digest())
    return drawn[after : after + number]


def pick_steady(bench: Bench, number: int, seed: int) -> list[tuple[Prompt, Begun]]:
    """The first of some candidates that no search of the project has seen whose answers begin certainly enough."""
    every = generate_candidates("steady", number=12 * number, seed=seed)
    begun = bench.begin_anew(every, TOKENS, STEADY)
    return [(p, one) for p, one in zip(every, begun, strict=True) if one.places == TOKENS][:number]


def is_weights_alone(form: Form) -> bool:
    """Or the request: what takes no engine of its own."""
    return form.cache is None and form.k_mix is None and not form.rounds_activations and not form.needs_layers


def make_fresh_pack(bench: Bench, asked: argparse.Namespace) -> DirectionPack:
    """The forms' directions, one after another; each is kept as it is done."""
    out: Path = asked.out
    path = out / "pack.json"
    if path.exists():
        return load_pack(path)
    began = time.monotonic()
    ordinary = pick_ordinary(asked.ordinary)
    chosen = [*zip(ordinary, bench.begin_anew(ordinary, TOKENS, NEAR_TIE), strict=True)]
    chosen += pick_steady(bench, asked.steady, asked.seed)
    prompts, begun = [p for p, _ in chosen], [one for _, one in chosen]
    print(f"{len(prompts)} prompts chosen: {time.monotonic() - began:.1f} s", flush=True)
    logits = bench.read(begun, Scheme("honest"))
    normalisers = np.logaddexp.reduce(logits, axis=1)
    exact = logits - normalisers[:, None]
    known = np.argsort(-exact, axis=1, kind="stable")[:, :CANDIDATES]
    base = np.take_along_axis(exact, known, axis=1)
    directions, wanted = [], asked.forms.split(",") if asked.forms else [*_BY_NAME]
    for form in FORMS:
        if form.name in wanted and is_weights_alone(form):
            asked_so = [
                one if form.system is None else Begun(prompt=bench.tokenize(p, form.system), answer=one.answer)
                for p, one in chosen
            ]
            by = measure_direction(bench, out, Scheme(form.name, form), asked_so, known, base)
            directions.append(Direction(name=form.name, title=form.title, kind=form.kind, claims=form.claims, by=by))
    pack = DirectionPack(
        model="SmolLM2-135M-Instruct",
        weights_sha256="",
        chat_template_sha256="",
        made_with=f"transformers, torch {bench.torch.__version__}",
        prompts=tuple(
            PackPrompt(id=p.id, messages=p.messages, places=tuple(keep_place(row) for row in rows))
            for p, rows in zip(prompts, split_places(begun, known), strict=True)
        ),
        logprobs=base,
        normalisers=normalisers,
        directions=tuple(directions),
    )
    honest = bench.read(begun, Scheme("honest"), dtype="bfloat16")
    away = np.take_along_axis(honest, known, axis=1)[:, :20] - np.take_along_axis(logits, known, axis=1)[:, :20]
    size = float(np.sqrt(np.mean((away - away.mean(axis=1, keepdims=True)) ** 2)))
    pack = DirectionPack(
        **{name: getattr(pack, name) for name in DirectionPack.__dataclass_fields__ if name != "rounding"},
        rounding=HonestRounding(rms=size, source="transformers bf16"),
    )
    save_pack(pack, path)
    print(f"pack: {len(directions)} forms, honest size {size:.4f}", flush=True)
    return pack


def measure_direction(
    bench: Bench,
    out: Path,
    scheme: Scheme,
    begun: Sequence[Begun],
    known: NDArray[np.int64],
    base: NDArray[np.float64],
) -> NDArray[np.float64]:
    """What a scheme does to the log-probabilities of these tokens, in float32 arithmetic."""
    path = out / "forms" / f"{scheme.name}.npy"
    path.parent.mkdir(exist_ok=True)
    if path.exists():
        done: NDArray[np.float64] = np.load(path)
        return done
    began = time.monotonic()
    logits = bench.read(begun, scheme)
    logprobs = logits - np.logaddexp.reduce(logits, axis=1)[:, None]
    by: NDArray[np.float64] = np.take_along_axis(logprobs, known, axis=1) - base
    np.save(path, by)
    size = np.sqrt(np.mean((by - by.mean(axis=1, keepdims=True)) ** 2))
    print(f"form {scheme.name} moves by {size:.3f}: {time.monotonic() - began:.1f} s", flush=True)
    return by


def split_places(begun: Sequence[Begun], rows: NDArray[Any]) -> list[NDArray[Any]]:
    """The rows of each prompt."""
    return np.split(rows, np.cumsum([one.places for one in begun])[:-1])


def keep_place(row: NDArray[np.int64]) -> PackPlace:
    """A token's text is its number: hosts of this script say numbers."""
    return PackPlace(token_ids=tuple(map(int, row)), tokens=tuple(b"%d" % int(token) for token in row))


def write_host(pack: DirectionPack, logits: NDArray[np.float64], name: str, out: Path) -> None:
    """Append what the host would give."""
    logprobs = logits - np.logaddexp.reduce(logits, axis=1)[:, None]
    best = np.argsort(-logprobs, axis=1, kind="stable")[:, :CANDIDATES]
    rows = iter(zip(best, logprobs, strict=True))
    with out.open("a") as file:
        for prompt in pack.prompts:
            told = [
                [(int(token), float(row[token])) for token in tokens]
                for tokens, row in itertools.islice(rows, len(prompt.places))
            ]
            file.write(json.dumps({"host": name, "prompt": prompt.id, "places": told}) + "\n")


if __name__ == "__main__":
    main()
