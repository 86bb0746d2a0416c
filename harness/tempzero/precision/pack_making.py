"""A local reference and prompts in, a direction pack out: what each form of its weights does to the first token."""

from __future__ import annotations

import asyncio
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
from tempzero.precision.forms import Form
from tempzero.precision.forms.form import Matrix
from tempzero.precision.packs import Direction, DirectionPack, PackPrompt
from tempzero.types.asked import Message, Prompt

Say = Callable[[str], None]
PACK_TOKENS = 64
"""Tokens of each prompt that a pack knows: the reference's likeliest. A host's own likeliest are nearly all of them."""


def make_pack(
    config: Config, provider: Provider, prompts: Sequence[Prompt], forms: Sequence[Form], *, say: Say
) -> DirectionPack:
    """Read the prompts by the reference and by each form of it; the answers' first tokens make the pack.

    One form after another, one matrix at a time: memory for the model once, disk for it once more.
    Raises UsageError for a provider without `local:`, EngineError and WeightsError.
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
        kept = tuple(_keep_prompt(engine, p, row) for (p, _), row in zip(asked, chosen, strict=True))
    base = np.take_along_axis(exact, chosen, axis=1)
    directions = []
    for number, form in enumerate(forms, start=1):
        try:
            with _open_form(local, file, form) as model:
                moved, _ = _read_logprobs(model, rendered[form.name] or [ids for _, ids in asked])
        except EngineError as problem:
            say(f"left out: {form.name}: {problem}")
            continue
        displaced = np.take_along_axis(moved, chosen, axis=1) - base
        directions.append(Direction(name=form.name, title=form.title, kind=form.kind, claims=form.claims, by=displaced))
        size = np.sqrt(np.mean((displaced - displaced.mean(axis=1, keepdims=True)) ** 2))
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


# --- a form's weights --------------------------------------------------------------------------


@contextmanager
def _open_form(local: Local, file: LocalWeights, form: Form) -> Iterator[Model]:
    """The reference's model in another form; computed in float32 as the reference is, but where a form says so."""
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
        model = open_model(settings, replace(file, path=path))
        try:
            yield model
        finally:
            model.close()


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
