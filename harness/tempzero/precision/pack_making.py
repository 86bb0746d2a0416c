"""A local reference and prompts in, a direction pack out: what each form of its weights does to the first token."""

from __future__ import annotations

import asyncio
import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
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
from tempzero.precision.packs import Direction, DirectionPack, PackPrompt
from tempzero.types.asked import Message, Prompt

Say = Callable[[str], None]
PACK_TOKENS = 64
"""Tokens of each prompt that a pack knows: the reference's likeliest. A host's own likeliest are nearly all of them."""


_SAME_COMPUTATION = 0.01  # nats, rms: two ways to compute in float32 lie far closer
_SCATTERED_PASSES, _NOISE_SEED = 16, 21
"""Rounded activations and keys scatter with whatever else rounds: the direction is the mean of so many passes."""
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
    sample: Sequence[Prompt] = (),
    say: Say,
) -> DirectionPack:
    """Read the prompts by the reference and by each form of it; the answers' first tokens make the pack.

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
        asked = [(p, tuple(engine.prompt_ids(p.messages))) for p in prompts]
        exact, normalisers = _read_logprobs(engine, [ids for _, ids in asked])
        chosen = np.argsort(-exact, axis=1, kind="stable")[:, :PACK_TOKENS]
        described = engine.describe()
        rendered = {form.name: _render_changed(engine, form, prompts) for form in forms}
        texts = [tuple(engine.prompt_ids(p.messages)) for p in sample]
        kept = tuple(_keep_prompt(engine, p, row) for (p, _), row in zip(asked, chosen, strict=True))
    base = np.take_along_axis(exact, chosen, axis=1)
    directions = []
    layered = _LayeredReading(file.path, [ids for _, ids in asked], texts, exact)
    for number, form in enumerate(forms, start=1):
        try:
            if form.needs_layers:
                passes = layered.read_form(form)
            else:
                passes = _read_form(local, file, form, rendered[form.name] or [ids for _, ids in asked])
        except EngineError as problem:
            say(f"left out: {form.name}: {problem}")
            continue
        direction = build_direction(form, np.take_along_axis(passes, chosen[None], axis=2) - base)
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


def _keep_prompt(engine: InProcessEngine, prompt: Prompt, chosen: NDArray[np.int64]) -> PackPrompt:
    ids = tuple(int(token) for token in chosen)
    return PackPrompt(
        id=prompt.id, messages=prompt.messages, token_ids=ids, tokens=tuple(engine.piece(token) for token in ids)
    )


@contextmanager
def _open_reference(provider: Provider, file: LocalWeights) -> Iterator[InProcessEngine]:
    engine = open_local_engine(provider, file)
    try:
        yield engine
    finally:
        asyncio.run(engine.aclose())


def _read_logprobs(
    reader: InProcessEngine | Model, prompts: Sequence[Sequence[int]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Over the first token of each answer, and what was taken off the logits of each prompt."""
    rows, normalisers = [], []
    for ids in prompts:
        (row,) = (block[-1] for block in reader.logits(ids, len(ids)))
        wide = row.astype(np.float64)
        normalisers.append(np.logaddexp.reduce(wide))
        rows.append(wide - normalisers[-1])
    return np.array(rows), np.array(normalisers)


def _render_changed(engine: InProcessEngine, form: Form, prompts: Sequence[Prompt]) -> list[tuple[int, ...]] | None:
    """The prompts as a host reads them that puts a system message in; None where the form leaves them alone."""
    if form.system is None:
        return None
    added = Message(role="system", content=form.system)
    return [
        tuple(engine.prompt_ids(p.messages if p.messages[0].role == "system" else (added, *p.messages)))
        for p in prompts
    ]


# --- a form whose every step is changed ------------------------------------------------------


class _LayeredReading:
    """The prompts by the model computed layer by layer, once that is seen to compute what the reference does."""

    def __init__(
        self,
        path: Path,
        prompts: Sequence[Sequence[int]],
        sample: Sequence[Sequence[int]],
        exact: NDArray[np.float64],
    ) -> None:
        self._path, self._prompts, self._sample, self._exact = path, prompts, sample, exact

    def read_form(self, form: Form) -> NDArray[np.float64]:
        """Log-probabilities of each pass, a row a prompt. Raises EngineError where this model is not computed so."""
        model = self._model
        if form.calibrate is not None and not self._sample:
            raise EngineError("no prompts are given to calibrate it on")
        sample = self._sample if form.calibrate is not None else ()
        scatters = form.inputs is not None or form.kept is not None
        times, inputs = (_SCATTERED_PASSES, _round_twice(form.inputs)) if scatters else (1, None)
        change = PassChange(matrices=build_site_change(form, self._path), inputs=inputs, kept=form.kept)
        read = _to_logprobs(model.read_logits(self._prompts, change, sample=sample, times=times))
        return read.reshape(times, len(self._prompts), -1)

    @functools.cached_property
    def _model(self) -> LayeredModel:
        model = LayeredModel(self._path)
        away = _to_logprobs(model.read_logits(self._prompts)) - self._exact
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
        bits = np.ascontiguousarray(rows, np.float32).view(np.uint32)
        raised = (bits + draw.integers(0, 2**16, bits.shape, dtype=np.uint32)) & np.uint32(0xFFFF0000)
        rows = raised.view(np.float32)
        return rows if rounding is None else rounding(rows)

    return change


def _to_logprobs(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = logits.astype(np.float64)
    normed: NDArray[np.float64] = wide - np.logaddexp.reduce(wide, axis=1)[:, None]
    return normed


# --- a form's weights --------------------------------------------------------------------------


def _read_form(local: Local, file: LocalWeights, form: Form, prompts: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """Log-probabilities of each pass; computed in float32 as the reference is, but where a form says so."""
    settings = local.model_copy(update={"precision": "as_is"})
    if form.cache is not None:  # llama.cpp keeps coarse values only with flash attention
        kept = {"cache_type_k": form.cache, "cache_type_v": form.cache, "flash_attention": True}
        settings = settings.model_copy(update=kept)
    with tempfile.TemporaryDirectory(dir=default_cache_folder(), prefix="form-") as folder:
        path = file.path
        if form.rounds_activations and form.gguf_type is not None:
            path = Path(folder) / "model.gguf"
            requantise_file(file.path, path, form.gguf_type)
        elif form.round is not None or form.gguf_type is not None or form.k_mix is not None or form.metadata:
            path = Path(folder) / "model.gguf"
            rewrite_file(file.path, path, build_change(form, file.path), metadata=_name_metadata(form, file.path))
        passes = []
        for way in _WAYS_TO_ATTEND if form.rounds_activations else ({},):
            model = open_model(settings.model_copy(update=dict(way)), replace(file, path=path))
            try:
                passes.append(_read_logprobs(model, prompts)[0])
            finally:
                model.close()
    return np.array(passes)


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
