"""A GGUF file in, the CPU reference out: llama.cpp in this process, set up so that its logits repeat bit for bit."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tempzero.config import Local, Provider
from tempzero.engines.local.chat_template import ChatTemplate, resolve_template_source
from tempzero.engines.local.chunked_model import SCORED_ROWS, ChunkedModel
from tempzero.engines.local.in_process import InProcessEngine
from tempzero.engines.local.llama_library import CACHE_TYPES, PACKAGE, VERSION, Library, open_library
from tempzero.errors import EngineError

if TYPE_CHECKING:
    from tempzero.engines.local.weights import LocalWeights


def open_llama_engine(provider: Provider, weights: LocalWeights) -> InProcessEngine:
    """The reference engine of a `local:` provider, loaded and warmed up.

    Raises EngineError where the package, the model file, its chat template or the sampling is not usable.
    """
    assert provider.local is not None, "the configuration chose this engine by `local:`"
    load = functools.partial(LlamaModel, str(weights.path), provider.local)
    model = load()
    try:
        template = model.chat_template(provider.local.chat_template)
        return InProcessEngine(model, template, provider, weights, reload=load)
    except EngineError:
        model.close()
        raise


class LlamaModel(ChunkedModel):
    """One model with one sequence. Not for several threads at a time.

    No repacked weights, no device but the CPU, and chunks cut at fixed places. With float32 weights, keys
    and values and no flash attention (the settings' defaults) every repeat then computes the same bits.
    """

    def __init__(self, path: str, settings: Local) -> None:
        """Load a model file. Raises EngineError where llama.cpp cannot."""
        self._library: Library = open_library()
        self._ffi, self._c = self._library.ffi, self._library.c
        self._settings = settings
        self._model = self._context = self._ffi.NULL
        self._batch: Any = None
        self._library.errors.clear()
        try:
            self._load(path)
            self.context = min(settings.context, int(self._c.llama_model_n_ctx_train(self._model)))
            super().__init__(batch=min(settings.batch, self.context))
            self._start(path)
        except EngineError:
            self.close()
            raise
        self._vocab = self._c.llama_model_get_vocab(self._model)
        self.vocabulary = int(self._c.llama_vocab_n_tokens(self._vocab))

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Token ids, as the server's /tokenize gives them; `special` is for prompts."""
        data = text.encode()
        room = len(data) + 8
        ids = self._ffi.new("int32_t[]", room)
        count = self._c.llama_tokenize(self._vocab, data, len(data), ids, room, special, special)
        if count < 0:
            raise EngineError(f"a text of {len(data)} bytes cannot be tokenized")
        return list(ids[0:count])

    def piece(self, token_id: int) -> bytes:
        """The bytes of a token; nothing for control tokens, U+FFFD for an id outside the vocabulary."""
        if not 0 <= token_id < self.vocabulary:
            return "\ufffd".encode()
        return self._piece(token_id, special=False)

    @functools.cached_property
    def end_ids(self) -> tuple[int, ...]:
        """Every token that the vocabulary marks as an end of generation."""
        return tuple(t for t in range(self.vocabulary) if self._c.llama_vocab_is_eog(self._vocab, t))

    def chat_template(self, configured: str | None) -> ChatTemplate:
        """The configured chat template, or the file's own, with this vocabulary's begin and end."""
        own = self._c.llama_model_chat_template(self._model, self._ffi.NULL)
        bos, eos = self._c.llama_vocab_bos(self._vocab), self._c.llama_vocab_eos(self._vocab)
        return ChatTemplate(
            resolve_template_source(configured, self._library.text(own)),
            bos_token=self._piece(bos, special=True).decode("utf-8", "replace") if bos >= 0 else "",
            eos_token=self._piece(eos, special=True).decode("utf-8", "replace") if eos >= 0 else "",
            adds_bos=bool(self._c.llama_vocab_get_add_bos(self._vocab)),
            adds_eos=bool(self._c.llama_vocab_get_add_eos(self._vocab)),
        )

    def describe(self) -> Mapping[str, Any]:
        """Package, build and settings, as JSON values."""
        text = self._ffi.new("char[]", 256)
        self._c.llama_model_desc(self._model, text, 256)
        return {
            "package": f"{PACKAGE} {VERSION}",
            "system": (self._library.text(self._c.llama_print_system_info()) or "").strip(" |"),
            "architecture": self._library.text(text),
            "parameters": int(self._c.llama_model_n_params(self._model)),
            "threads": self._settings.threads,
            "batch": self._batch_size,
            "flash_attention": self._settings.flash_attention,
            "cache_type_k": self._settings.cache_type_k,
            "cache_type_v": self._settings.cache_type_v,
            **({} if self._settings.position_base is None else {"position_base": self._settings.position_base}),
        }

    def close(self) -> None:
        """Free the context and the weights. Safe to call twice."""
        if self._batch is not None:
            self._c.llama_batch_free(self._batch)
            self._batch = None
        if self._context:
            self._c.llama_free(self._context)
            self._context = self._ffi.NULL
        if self._model:
            self._c.llama_model_free(self._model)
            self._model = self._ffi.NULL

    # --- inside -------------------------------------------------------------------------------

    def _load(self, path: str) -> None:
        params = self._c.llama_model_default_params()
        no_devices = self._ffi.new("void *[1]")  # an empty, NULL-terminated list: the CPU only
        params.devices = no_devices
        params.n_gpu_layers = 0
        params.use_extra_bufts = False
        self._model = self._c.llama_model_load_from_file(path.encode(), params)
        if not self._model:
            raise EngineError(f"{path}: llama.cpp cannot load this model: {self._last_error()}")
        if self._c.llama_model_has_encoder(self._model) or not self._c.llama_model_has_decoder(self._model):
            raise EngineError(f"{path}: not a decoder-only language model, so it cannot answer chat messages")

    def _start(self, path: str) -> None:
        params = self._c.llama_context_default_params()
        params.n_ctx = self.context
        params.n_batch = params.n_ubatch = self._batch_size
        params.n_outputs_max = min(SCORED_ROWS, self._batch_size)
        params.n_threads = params.n_threads_batch = self._settings.threads
        params.flash_attn_type = int(self._settings.flash_attention)
        params.type_k = CACHE_TYPES[self._settings.cache_type_k]
        params.type_v = CACHE_TYPES[self._settings.cache_type_v]
        if self._settings.position_base is not None:
            params.rope_freq_base = float(self._settings.position_base)
        params.offload_kqv = params.op_offload = False
        self._context = self._c.llama_init_from_model(self._model, params)
        if not self._context:
            raise EngineError(f"{path}: llama.cpp cannot make a context for it: {self._last_error()}")
        wanted = (self._batch_size, self._settings.threads, self._settings.threads)
        got = (self._c.llama_n_ubatch, self._c.llama_n_threads, self._c.llama_n_threads_batch)
        if tuple(int(read(self._context)) for read in got) != wanted:
            raise EngineError(f"{PACKAGE} {VERSION} took other batch or thread settings than it was given: {wanted}")
        self._batch = self._c.llama_batch_init(self._batch_size, 0, 1)

    def _shorten(self, tokens: int) -> bool:
        memory = self._c.llama_get_memory(self._context)
        if tokens:
            return bool(self._c.llama_memory_seq_rm(memory, 0, tokens, -1))
        self._c.llama_memory_clear(memory, True)
        return True

    def _compute(self, chunk: tuple[int, ...], position: int, *, rows: int) -> NDArray[np.float32]:
        batch = self._batch
        batch.n_tokens = len(chunk)
        for index, token in enumerate(chunk):
            batch.token[index] = token
            batch.pos[index] = position + index
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = 0
            batch.logits[index] = index >= len(chunk) - rows
        self._library.errors.clear()
        status = self._c.llama_decode(self._context, batch)
        if status:
            raise EngineError(f"llama.cpp could not decode {len(chunk)} tokens (status {status}): {self._last_error()}")
        if not rows:
            return np.empty((0, self.vocabulary), np.float32)
        data = self._ffi.buffer(self._c.llama_get_logits(self._context), rows * self.vocabulary * 4)
        return np.frombuffer(memoryview(data), np.float32).reshape(rows, self.vocabulary).copy()

    def _piece(self, token_id: int, *, special: bool) -> bytes:
        room = 256
        while True:
            text = self._ffi.new("char[]", room)
            size = self._c.llama_token_to_piece(self._vocab, token_id, text, room, 0, special)
            if size >= 0:
                return bytes(self._ffi.buffer(text, size))
            room = -size

    def _last_error(self) -> str:
        return self._library.errors[-1] if self._library.errors else "it gives no reason"
