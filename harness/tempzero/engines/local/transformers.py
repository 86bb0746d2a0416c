"""A GGUF file in, a float32 reference out: Hugging Face transformers on the CPU, for who would rather trust that.

Optional: needs `pip install tempzero[transformers]`. It reads the same model files as `llama_cpp.py`.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tempzero.config import Local, Provider
from tempzero.engines.local.chat_template import ChatTemplate, resolve_template_source
from tempzero.engines.local.chunked_model import ChunkedModel
from tempzero.engines.local.in_process import InProcessEngine
from tempzero.errors import EngineError

if TYPE_CHECKING:
    from tempzero.engines.local.weights import LocalWeights

_NEEDED_PACKAGES = ("transformers", "torch", "accelerate", "gguf")


def open_transformers_engine(provider: Provider, weights: LocalWeights) -> InProcessEngine:
    """The reference engine of a `local:` provider with `engine: transformers`, loaded and warmed up.

    Raises EngineError where a package is absent, or the model, its template or the sampling is not usable.
    """
    assert provider.local is not None, "the configuration chose this engine by `local:`"
    load = functools.partial(TransformersModel, weights, provider.local)
    model = load()
    return InProcessEngine(model, model.chat_template(provider.local.chat_template), provider, weights, reload=load)


class TransformersModel(ChunkedModel):
    """One model with one sequence: float32, eager attention, deterministic algorithms, fixed threads."""

    def __init__(self, weights: LocalWeights, settings: Local) -> None:
        """Load a model file. Raises EngineError where the packages or transformers cannot."""
        self._torch, self._transformers = _import_packages()
        self._torch.set_num_threads(settings.threads)
        self._torch.use_deterministic_algorithms(True)
        self._threads = settings.threads
        self._transformers.utils.logging.disable_progress_bar()
        folder, file = str(weights.path.parent), weights.path.name
        try:
            self._tokenizer = self._transformers.AutoTokenizer.from_pretrained(folder, gguf_file=file)
            self._model = self._transformers.AutoModelForCausalLM.from_pretrained(
                folder, gguf_file=file, dtype=self._torch.float32, attn_implementation="eager"
            )
        except (OSError, ValueError, KeyError, RuntimeError, ImportError, NotImplementedError) as problem:
            raise EngineError(f"{weights.path}: transformers cannot load this model: {problem}") from None
        self._model.eval()
        self.context = min(settings.context, int(self._model.config.max_position_embeddings))
        self.vocabulary = int(self._model.config.vocab_size)
        super().__init__(batch=min(settings.batch, self.context))
        self._cache = self._transformers.DynamicCache()

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Token ids of a text; `special` reads control tokens in it and adds the tokenizer's own."""
        ids = self._tokenizer.encode(text, add_special_tokens=special, split_special_tokens=not special)
        return [int(token) for token in ids]

    def piece(self, token_id: int) -> bytes:
        """The bytes of a token; nothing for control tokens, U+FFFD for an id outside the vocabulary."""
        if not 0 <= token_id < len(self._tokenizer):
            return "\ufffd".encode()
        if token_id in self._control_ids:
            return b""
        return _token_bytes(self._tokenizer.convert_ids_to_tokens(token_id), self._is_byte_level)

    @functools.cached_property
    def _control_ids(self) -> frozenset[int]:
        added = self._tokenizer.added_tokens_decoder.items()
        return frozenset(self._tokenizer.all_special_ids) | {token for token, entry in added if entry.special}

    @functools.cached_property
    def _is_byte_level(self) -> bool:
        return "ByteLevel" in str(self._tokenizer.backend_tokenizer.decoder)

    @functools.cached_property
    def end_ids(self) -> tuple[int, ...]:
        """The end tokens of the tokenizer and of the model's configuration."""
        configured = self._model.generation_config.eos_token_id
        ends = configured if isinstance(configured, list) else [configured]
        return tuple(sorted({t for t in (*ends, self._tokenizer.eos_token_id) if t is not None}))

    def chat_template(self, configured: str | None) -> ChatTemplate:
        """The configured chat template, or the file's own, with this tokenizer's begin and end."""
        own, added = self._tokenizer.chat_template, self._tokenizer.encode("", add_special_tokens=True)
        return ChatTemplate(
            resolve_template_source(configured, own if isinstance(own, str) else None),
            bos_token=self._tokenizer.bos_token or "",
            eos_token=self._tokenizer.eos_token or "",
            adds_bos=self._tokenizer.bos_token_id in added[:1],
            adds_eos=self._tokenizer.eos_token_id in added[1:],
        )

    def describe(self) -> Mapping[str, Any]:
        """Packages, versions and settings, as JSON values."""
        versions = [f"{name} {importlib.metadata.version(name)}" for name in ("transformers", "torch")]
        return {
            "package": ", ".join(versions),
            "system": str(self._torch.backends.cpu.get_cpu_capability()),
            "architecture": str(self._model.config.model_type),
            "parameters": int(self._model.num_parameters()),
            "threads": self._threads,
            "batch": self._batch_size,
            "attention": "eager",
            "precision": "float32",
        }

    def close(self) -> None:
        """Drop the weights. Safe to call twice."""
        self._model = self._cache = None

    def _shorten(self, tokens: int) -> bool:
        if tokens:
            self._cache.crop(tokens)
        else:
            self._cache = self._transformers.DynamicCache()
        return True

    def _compute(self, chunk: tuple[int, ...], position: int, *, rows: int) -> NDArray[np.float32]:
        with self._torch.inference_mode():
            answer = self._model(
                input_ids=self._torch.tensor([chunk]),
                position_ids=self._torch.arange(position, position + len(chunk))[None],
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=max(rows, 1),
            )
        values: NDArray[np.float32] = answer.logits[0].float().numpy()
        return values[len(values) - rows :].copy()


def _import_packages() -> tuple[Any, Any]:
    try:
        for name in _NEEDED_PACKAGES:
            importlib.import_module(name)
    except ImportError as problem:
        raise EngineError(
            f"engine: transformers needs packages that are not here ({problem}); pip install tempzero[transformers]"
        ) from None
    return importlib.import_module("torch"), importlib.import_module("transformers")


def _token_bytes(token: str, byte_level: bool) -> bytes:
    """What a vocabulary entry stands for: byte-level BPE writes bytes as stand-in letters, others mark only spaces."""
    if byte_level:
        stand_ins = _byte_stand_ins()
        return b"".join(bytes([stand_ins[c]]) if c in stand_ins else c.encode() for c in token)
    if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        return bytes([int(token[3:5], 16)])
    return token.replace("▁", " ").encode()


@functools.cache
def _byte_stand_ins() -> dict[str, int]:
    shown = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [n for n in range(256) if n not in shown]
    return {chr(n): n for n in shown} | {chr(256 + place): n for place, n in enumerate(hidden)}
