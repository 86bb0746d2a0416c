"""A provider entry in, an engine out: something that answers one question at a time.

Adding one: a module here, and a line in `open_engine`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tempzero.config import Local, Provider
from tempzero.errors import EngineError
from tempzero.types.asked import Question
from tempzero.types.recorded import Exchange

if TYPE_CHECKING:
    from tempzero.engines.hosted.batch_files import BatchResults
    from tempzero.engines.hosted.handed_reader import HandedReader
    from tempzero.engines.hosted.prompt_logprobs import EndpointReader
    from tempzero.engines.local.in_process import InProcessEngine, Model
    from tempzero.engines.local.tokenizer_file import TokenizerFile
    from tempzero.engines.local.weights import LocalWeights


class Engine(Protocol):
    """Asks one provider. Retries, files and metrics are not its business."""

    def describe(self) -> Mapping[str, Any]:
        """What this engine says of itself for the manifest: JSON values, no secrets."""
        ...

    async def ask(self, question: Question) -> Exchange:
        """Ask once. A provider's failure is an Exchange whose outcome is missing, never an exception."""
        ...

    async def aclose(self) -> None:
        """Give back connections, threads and memory."""
        ...


def open_engine(
    provider: Provider,
    *,
    environ: Mapping[str, str],
    weights: LocalWeights | None = None,
    base_url: str | None = None,
) -> Engine:
    """Start the engine of a provider entry; `base_url` is where a `serve:` entry is listening.

    Raises EngineError when it cannot start, RunFolderError or PackError when what it answers from is damaged.
    """
    # Imported when needed: a run against hosted providers loads no inference library, and the other way round.
    if provider.replay is not None:
        from tempzero.engines.replay import open_replay_engine

        return open_replay_engine(provider)
    if provider.pack is not None:
        from tempzero.engines.packed import open_pack_engine

        return open_pack_engine(provider)
    if provider.local is None:
        from tempzero.engines.hosted.openai_chat import open_chat_engine

        return open_chat_engine(provider, environ=environ, served_at=base_url)
    if weights is None:
        raise EngineError(f"{provider.name}: a local engine needs a model file")
    return open_local_engine(provider, weights)


def open_local_engine(provider: Provider, weights: LocalWeights) -> InProcessEngine:
    """The engine of a `local:` entry: it answers, and gives the logits that scoring reads. Raises EngineError."""
    if provider.engine == "transformers":
        from tempzero.engines.local.transformers import open_transformers_engine

        return open_transformers_engine(provider, weights)
    from tempzero.engines.local.llama_cpp import open_llama_engine

    return open_llama_engine(provider, weights)


def open_reader(
    provider: Provider, *, environ: Mapping[str, str], texts: dict[tuple[int, ...], str] | None = None
) -> EndpointReader:
    """The reader of a `base_url:` provider with `reads:`, tried once. Raises EngineError.

    Readers of one model may share `texts`, in which they keep what tokens are in letters.
    """
    from tempzero.engines.hosted import prompt_logprobs

    tokenizer = None if provider.tokenizer is None else open_tokenizer(provider.tokenizer)
    return prompt_logprobs.open_endpoint_reader(provider, environ=environ, texts=texts, tokenizer=tokenizer)


def open_batch_results(paths: Iterable[Path]) -> BatchResults:
    """The result files of offline batches. Raises UsageError for one that cannot be read."""
    from tempzero.engines.hosted.batch_files import BatchResults

    return BatchResults(paths)


def open_handed_reader(provider: Provider, results: BatchResults) -> HandedReader:
    """What reads the results of an offline batch as that provider's endpoint would. Raises EngineError."""
    from tempzero.engines.hosted import handed_reader

    tokenizer = None if provider.tokenizer is None else open_tokenizer(provider.tokenizer)
    return handed_reader.open_handed_reader(provider, tokenizer, results)


@functools.lru_cache(maxsize=8)
def open_tokenizer(folder: str) -> TokenizerFile:
    """The tokenizer in a model's folder, opened once. Raises EngineError."""
    from tempzero.engines.local.tokenizer_file import open_tokenizer_file

    return open_tokenizer_file(Path(folder))


def open_model(settings: Local, weights: LocalWeights) -> Model:
    """A bare model with these settings, for reading only; `close` it. Raises EngineError."""
    if settings.engine == "transformers":
        from tempzero.engines.local.transformers import TransformersModel

        return TransformersModel(weights, settings)
    from tempzero.engines.local.llama_cpp import LlamaModel

    return LlamaModel(str(weights.path), settings)


def apply_form(local: Local, form: str) -> tuple[Local, bool]:
    """The settings of another form of a reference, and whether it is a faithful way to compute the same weights.

    `form` is a name as in `config.Score.forms`. Raises EngineError where the engine has no such form.
    """
    name, _, value = form.partition("=")
    if local.engine != "llama_cpp" and name not in ("threads", "batch"):
        raise EngineError(f"only llama_cpp has this form, not {local.engine}")
    if name in ("threads", "batch"):
        return local.model_copy(update={name: int(value)}), True
    if name == "flash_attention":
        return local.model_copy(update={"flash_attention": True}), True
    if name == "cache":
        honest = value in ("f16", "bf16")
        # llama.cpp keeps coarse values only with flash attention.
        kept = {"cache_type_k": value, "cache_type_v": value, "flash_attention": not honest}
        return local.model_copy(update=kept), honest
    if name == "position_base":
        return local.model_copy(update={"position_base": int(value)}), False
    if name == "weights":
        return local.model_copy(update={"weights": value, "precision": "as_is"}), False
    # Who serves coarser weights keeps keys and values in 16 bits: float32 ones turn as many near-ties as rounding does.
    kept = {} if name == "f32" else {"cache_type_k": "f16", "cache_type_v": "f16"}
    return local.model_copy(update={"precision": name, **kept}), name in ("f16", "bf16")
