"""A local reference and prompts in, a direction pack out: what each form of its weights does to the first tokens."""

from __future__ import annotations

import asyncio
import functools
import itertools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tempzero.config import Config, Local, Provider
from tempzero.engines import open_local_engine, open_model
from tempzero.engines.local.in_process import InProcessEngine, Model
from tempzero.engines.local.layered_model import LayeredModel, PassChange
from tempzero.engines.local.weights import LocalWeights, default_cache_folder, obtain_weights_for
from tempzero.engines.local.weights.k_quants import round_to_k_mix
from tempzero.engines.local.weights.requantise import (
    count_layers,
    find_layer,
    read_architecture,
    requantise_file,
    rewrite_file,
    round_to_gguf_type,
)
from tempzero.errors import EngineError, UsageError
from tempzero.precision.displacement import centre_rows, root_mean_square
from tempzero.precision.forms import Form
from tempzero.precision.forms.form import Matrix, Rounding
from tempzero.precision.packs import Direction, DirectionPack, PackPlace, PackPrompt
from tempzero.types.asked import Message, Prompt

Say = Callable[[str], None]
PACK_TOKENS = 32
"""Tokens of each place that a pack knows: the reference's likeliest. Nearly all of a host's own 20 are among them."""
ANSWER_TOKENS = 8
"""Places of each answer, up to its end."""


_NEAR_TIE = 0.05  # logits: less parts two kernels of float32 or two orders of a sum
_SAME_COMPUTATION = 0.01  # nats, rms: two ways to compute in float32 lie far closer
_SCATTERED_PASSES, _NOISE_SEED = 16, 21
"""Rounded activations and keys scatter with whatever else rounds: the direction is the mean of so many passes."""
_BITS_OF_F16, _BITS_OF_BF16 = 13, 16
"""So many of a float32's last bits are lost in these."""
_WAYS_TO_ATTEND: tuple[Mapping[str, str | bool], ...] = (
    *({"cache_type_k": k, "cache_type_v": v} for k in ("f32", "f16") for v in ("f32", "f16")),
    {"flash_attention": True},
)
"""And where llama.cpp rounds them, of a pass in each of these: whoever serves such a model attends in one of them."""


def make_pack(
    config: Config,
    provider: Provider,
    prompts: Sequence[Prompt],
    forms: Sequence[Form],
    *,
    tokens: int = ANSWER_TOKENS,
    sample: Sequence[Prompt] = (),
    say: Say,
) -> DirectionPack:
    """Read the prompts by the reference and by each form of it; so many first tokens of its answers make the pack.

    One form after another, one matrix at a time: memory for the model once, disk for it once more. `sample` is what
    forms are calibrated on that need it. Raises UsageError for a provider without `local:`, EngineError, WeightsError.
    """
    local = provider.local
    if local is None or not local.exact:
        raise UsageError(
            f"{provider.name}: directions are measured from a float32 model in this process; "
            "name a provider with `local:` and precision: f32 as --reference"
        )
    file = obtain_weights_for(config, local.model_copy(update={"precision": "f32"}), say=say)
    with _open_reference(provider, file) as engine:
        begun = [_begin_answer(engine, engine.prompt_ids(p.messages), tokens) for p in prompts]
        exact, normalisers = _read_logprobs(engine, begun)
        chosen = np.argsort(-exact, axis=1, kind="stable")[:, :PACK_TOKENS]
        described = engine.describe()
        rendered = {form.name: _render_changed(engine, form, prompts, begun) for form in forms}
        texts = [tuple(engine.prompt_ids(p.messages)) for p in sample]
        kept = _keep_prompts(engine, prompts, begun, chosen)
    base = np.take_along_axis(exact, chosen, axis=1)
    directions = []
    layered = _LayeredReading(file.path, begun, texts, exact)
    for number, form in enumerate(forms, start=1):
        try:
            if form.needs_layers:
                passes = layered.read_form(form, chosen)
            else:
                passes = _read_form(local, file, form, rendered[form.name] or begun, chosen)
        except EngineError as problem:
            say(f"left out: {form.name}: {problem}")
            continue
        direction = build_direction(form, passes - base)
        directions.append(direction)
        size = root_mean_square(centre_rows(direction.by))
        say(f"{number} of {len(forms)}: {form.name} moves these log-probabilities by {size:.3f} (rms)")
    return DirectionPack(
        model=provider.claimed_model,
        weights_sha256=file.sha256,
        chat_template_sha256=described["chat_template_sha256"],
        made_with=described["package"],
        prompts=kept,
        logprobs=base,
        normalisers=normalisers,
        directions=tuple(directions),
    )


def build_direction(form: Form, passes: NDArray[np.float64]) -> Direction:
    """What the form does, of displacements in one pass or several: their mean, and how far that may be off."""
    by, times = passes.mean(axis=0), len(passes)
    scatter = np.stack([centre_rows(one - by) for one in passes])
    unsure = float(np.sqrt((scatter**2).sum() / max(times - 1, 1) / scatter[0].size / times))
    return Direction(
        name=form.name,
        title=form.title,
        kind=form.kind,
        claims=form.claims,
        by=by,
        unsure=round(unsure, 6),
        passes=times,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _BegunAnswer:
    """The tokens of a prompt, and those that the reference answers with but for the last that is read."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]

    @property
    def ids(self) -> tuple[int, ...]:
        return self.prompt + self.answer

    @property
    def places(self) -> int:
        """So many tokens are looked at: that after the prompt, and after each of the answer."""
        return 1 + len(self.answer)


def _begin_answer(engine: InProcessEngine, prompt: Sequence[int], tokens: int) -> _BegunAnswer:
    """The reference's own greedy one, up to its end or to a near-tie, behind which hosts go on in two ways."""
    answer: list[int] = []
    for row in itertools.islice(engine.greedy_logits(prompt), tokens - 1):
        best, second = int(row.argmax()), float(np.partition(row, -2)[-2])
        if engine.is_end(best) or row[best] - second < _NEAR_TIE:
            break
        answer.append(best)
    return _BegunAnswer(prompt=tuple(prompt), answer=tuple(answer))


def _keep_prompts(
    engine: InProcessEngine, prompts: Sequence[Prompt], begun: Sequence[_BegunAnswer], chosen: NDArray[np.int64]
) -> tuple[PackPrompt, ...]:
    rows = iter(chosen)
    kept = []
    for prompt, one in zip(prompts, begun, strict=True):
        known = [tuple(int(token) for token in next(rows)) for _ in range(one.places)]
        places = (PackPlace(token_ids=ids, tokens=tuple(engine.piece(token) for token in ids)) for ids in known)
        kept.append(PackPrompt(id=prompt.id, messages=prompt.messages, places=tuple(places)))
    return tuple(kept)


@contextmanager
def _open_reference(provider: Provider, file: LocalWeights) -> Iterator[InProcessEngine]:
    engine = open_local_engine(provider, file)
    try:
        yield engine
    finally:
        asyncio.run(engine.aclose())


def _read_logprobs(
    reader: InProcessEngine | Model, begun: Sequence[_BegunAnswer]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Over the token at each place of each answer, and what was taken off the logits of each place."""
    blocks = [block for one in begun for block in reader.logits(one.ids, len(one.prompt))]
    wide = np.concatenate(blocks).astype(np.float64)
    normalisers = np.logaddexp.reduce(wide, axis=1)
    return wide - normalisers[:, None], normalisers


def _render_changed(
    engine: InProcessEngine, form: Form, prompts: Sequence[Prompt], begun: Sequence[_BegunAnswer]
) -> list[_BegunAnswer] | None:
    """The prompts as a host reads them that puts a system message in; None where the form leaves them alone."""
    if form.system is None:
        return None
    added = Message(role="system", content=form.system)
    changed = (p.messages if p.messages[0].role == "system" else (added, *p.messages) for p in prompts)
    return [
        _BegunAnswer(prompt=tuple(engine.prompt_ids(messages)), answer=one.answer)
        for messages, one in zip(changed, begun, strict=True)
    ]


# --- a form whose every step is changed ------------------------------------------------------


class _LayeredReading:
    """The prompts by the model computed layer by layer, once that is seen to compute what the reference does."""

    def __init__(
        self,
        path: Path,
        begun: Sequence[_BegunAnswer],
        sample: Sequence[Sequence[int]],
        exact: NDArray[np.float64],
    ) -> None:
        self._path, self._sample, self._exact = path, sample, exact
        self._prompts, self._places = [one.ids for one in begun], [one.places for one in begun]

    def read_form(self, form: Form, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log-probabilities of these tokens in each pass. Raises EngineError where the model is not computed so."""
        model = self._model
        if form.calibrate is not None and not self._sample:
            raise EngineError("no prompts are given to calibrate it on")
        sample = self._sample if form.calibrate is not None else ()
        scatters = form.inputs is not None or form.kept is not None
        times, inputs = (_SCATTERED_PASSES, _round_twice(form.inputs)) if scatters else (1, None)
        change = PassChange(matrices=build_site_change(form, self._path), inputs=inputs, kept=form.kept)
        read = model.read_logits(self._prompts, change, sample=sample, times=times, ends=self._places)
        return np.array([_take_logprobs(one, chosen) for one in np.split(read, times)])

    @functools.cached_property
    def _model(self) -> LayeredModel:
        model = LayeredModel(self._path)
        away = _to_logprobs(model.read_logits(self._prompts, ends=self._places)) - self._exact
        likely = np.abs(away[self._exact > np.log(1e-6)])
        if np.sqrt(np.mean(likely**2)) > _SAME_COMPUTATION:
            raise EngineError("layer by layer this model gives other numbers than the reference")
        return model


def build_site_change(form: Form, path: Path) -> Callable[[Mapping[str, Matrix], Matrix], Mapping[str, Matrix]] | None:
    """What the form does to the matrices that read the same numbers; None where it changes no weights."""
    if form.calibrate is not None:
        calibrate = form.calibrate
        return lambda site, inputs: calibrate(site, inputs) if find_layer(min(site)) is not None else site
    change = build_change(form, path)
    return None if change is None else lambda site, _: {name: change(name, matrix) for name, matrix in site.items()}


def _round_twice(rounding: Rounding | None) -> Rounding:
    """To 16 bits, up or down by chance, as much as engines differ there; then as the form has it, if it does."""
    draw = np.random.default_rng(_NOISE_SEED)

    def change(rows: Matrix) -> Matrix:
        rows = _round_by_chance(rows, draw, _BITS_OF_BF16)
        return rows if rounding is None else rounding(rows)

    return change


def _round_by_chance(rows: Matrix, draw: np.random.Generator, lost: int) -> Matrix:
    """Without so many of their last bits, up or down as often as they lie near to either."""
    bits = np.ascontiguousarray(rows, np.float32).view(np.uint32)
    raised = bits + draw.integers(0, 2**lost, bits.shape, dtype=np.uint32)
    return (raised & np.uint32(2**32 - 2**lost)).view(np.float32)


def _take_logprobs(logits: NDArray[np.float32], chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of these tokens alone: a whole vocabulary for every place of every pass is more than many machines hold."""
    return np.take_along_axis(_to_logprobs(logits), chosen, axis=1)


def _to_logprobs(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = logits.astype(np.float64)
    normed: NDArray[np.float64] = wide - np.logaddexp.reduce(wide, axis=1)[:, None]
    return normed


# --- a form's weights --------------------------------------------------------------------------


def _read_form(
    local: Local, file: LocalWeights, form: Form, begun: Sequence[_BegunAnswer], chosen: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Log-probabilities of these tokens in each pass; computed in float32 as the reference is unless a form says so."""
    settings = local.model_copy(update={"precision": "as_is"})
    if form.cache is not None:  # llama.cpp keeps coarse values only with flash attention
        kept = {"cache_type_k": form.cache, "cache_type_v": form.cache, "flash_attention": True}
        settings = settings.model_copy(update=kept)
    with tempfile.TemporaryDirectory(dir=default_cache_folder(), prefix="form-") as folder:
        path = file.path
        if form.cache is not None:
            return _read_cache_form(settings, file, Path(folder) / "model.gguf", begun, chosen)
        if form.rounds_activations and form.gguf_type is not None:
            path = Path(folder) / "model.gguf"
            requantise_file(file.path, path, form.gguf_type)
        elif form.round is not None or form.gguf_type is not None or form.k_mix is not None or form.metadata:
            path = Path(folder) / "model.gguf"
            rewrite_file(file.path, path, build_change(form, file.path), metadata=_name_metadata(form, file.path))
        passes = []
        for way in _WAYS_TO_ATTEND if form.rounds_activations else ({},):
            attending = settings.model_copy(update=dict(way))
            passes.append(_read_pass(attending, replace(file, path=path), begun, chosen))
    return np.array(passes)


def _read_pass(
    settings: Local, file: LocalWeights, begun: Sequence[_BegunAnswer], chosen: NDArray[np.int64]
) -> NDArray[np.float64]:
    model = open_model(settings, file)
    try:
        return np.take_along_axis(_read_logprobs(model, begun)[0], chosen, axis=1)
    finally:
        model.close()


def _read_cache_form(
    settings: Local, file: LocalWeights, path: Path, begun: Sequence[_BegunAnswer], chosen: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Which way a key is rounded depends on its last bits: each pass has weights in 16 bits, rounded by chance."""
    passes = []
    for number in range(_SCATTERED_PASSES):
        draw = np.random.default_rng([_NOISE_SEED, number])
        rewrite_file(file.path, path, functools.partial(_jitter_matrix, draw))
        passes.append(_read_pass(settings, replace(file, path=path), begun, chosen))
    return np.array(passes)


def _jitter_matrix(draw: np.random.Generator, _: str, matrix: Matrix) -> Matrix:
    return _round_by_chance(matrix, draw, _BITS_OF_F16)


def _name_metadata(form: Form, path: Path) -> Mapping[str, float]:
    return {key.format(arch=read_architecture(path)): value for key, value in form.metadata.items()}


def build_change(form: Form, path: Path) -> Callable[[str, Matrix], Matrix] | None:
    """What the form does to each matrix of this model file, by its name; None where it changes no weights."""
    if form.gguf_type is not None:
        kind = form.gguf_type
        return lambda name, matrix: round_to_gguf_type(name, matrix, kind)
    if form.k_mix is not None:
        mix, layers = form.k_mix, count_layers(path)
        return lambda name, matrix: round_to_k_mix(name, matrix, mix, layers)
    if form.round is None:
        return None
    rounding, last = form.round, count_layers(path) - 1

    def change(name: str, matrix: Matrix) -> Matrix:
        layer = find_layer(name)
        if layer is None:
            if form.embeddings == "q8_0":
                return round_to_gguf_type(name, matrix, "q8_0")
            return rounding(matrix) if form.embeddings == "rounded" else matrix
        return matrix if form.layers == "without first and last" and layer in (0, last) else rounding(matrix)

    return change
