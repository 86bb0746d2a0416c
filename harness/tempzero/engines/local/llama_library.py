"""Nothing in, llama.cpp's C functions out: found in the installed wheel, declared here, and checked before use."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import os
from dataclasses import dataclass
from typing import Any

import cffi

from tempzero.errors import EngineError

PACKAGE = "xllamacpp"
VERSION = "2026.10.11549"  # llama.cpp b11549; the layouts below are those of this build and of no other
SPIN_COUNT = "5000"
# ggml's numbers of the types that keys and values can be kept in.
CACHE_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "bf16": 30}

# Enumerations are ints in C and are written so. Only what is called is declared, in the header's field order.
_DECLARATIONS = """
struct llama_model_params {
    void ** devices;
    const void * tensor_buft_overrides;
    int32_t n_gpu_layers;
    int split_mode;
    int load_mode;
    int lazy_mode;
    int32_t main_gpu;
    const float * tensor_split;
    void * progress_callback;
    void * progress_callback_user_data;
    const void * kv_overrides;
    bool vocab_only, check_tensors, use_extra_bufts, no_host, no_alloc, load_mtp;
};
struct llama_context_params {
    uint32_t n_ctx, n_batch, n_ubatch, n_seq_max, n_rs_seq, n_outputs_max, n_outputs_max_per_seq;
    int32_t n_threads, n_threads_batch;
    int ctx_type, rope_scaling_type, pooling_type, attention_type, flash_attn_type;
    float rope_freq_base, rope_freq_scale;
    float yarn_ext_factor, yarn_attn_factor, yarn_beta_fast, yarn_beta_slow;
    uint32_t yarn_orig_ctx;
    float defrag_thold;
    void * cb_eval;
    void * cb_eval_user_data;
    int type_k, type_v;
    size_t moe_cache_size;
    void * abort_callback;
    void * abort_callback_data;
    bool embeddings, offload_kqv, no_perf, op_offload, swa_full, kv_unified;
    void * samplers;
    size_t n_samplers;
    void * ctx_other;
};
struct llama_batch {
    int32_t n_tokens;
    int32_t * token;
    float * embd;
    int32_t * pos;
    int32_t * n_seq_id;
    int32_t ** seq_id;
    int8_t * logits;
};
void llama_log_set(void (*callback)(int, const char *, void *), void * user_data);
void llama_backend_init(void);
const char * llama_print_system_info(void);
struct llama_model_params llama_model_default_params(void);
struct llama_context_params llama_context_default_params(void);
void * llama_model_load_from_file(const char * path, struct llama_model_params params);
void llama_model_free(void * model);
void * llama_init_from_model(void * model, struct llama_context_params params);
void llama_free(void * context);
uint32_t llama_n_ctx(const void * context);
uint32_t llama_n_batch(const void * context);
uint32_t llama_n_ubatch(const void * context);
int32_t llama_n_threads(void * context);
int32_t llama_n_threads_batch(void * context);
const void * llama_model_get_vocab(const void * model);
const char * llama_model_chat_template(const void * model, const char * name);
int32_t llama_model_n_ctx_train(const void * model);
int32_t llama_model_desc(const void * model, char * text, size_t size);
uint64_t llama_model_n_params(const void * model);
bool llama_model_has_encoder(const void * model);
bool llama_model_has_decoder(const void * model);
void * llama_get_memory(const void * context);
void llama_memory_clear(void * memory, bool data);
bool llama_memory_seq_rm(void * memory, int32_t sequence, int32_t from, int32_t to);
struct llama_batch llama_batch_init(int32_t tokens, int32_t embedding, int32_t sequences);
void llama_batch_free(struct llama_batch batch);
int32_t llama_decode(void * context, struct llama_batch batch);
float * llama_get_logits(void * context);
int32_t llama_vocab_n_tokens(const void * vocab);
bool llama_vocab_is_eog(const void * vocab, int32_t token);
int32_t llama_vocab_bos(const void * vocab);
int32_t llama_vocab_eos(const void * vocab);
bool llama_vocab_get_add_bos(const void * vocab);
bool llama_vocab_get_add_eos(const void * vocab);
int32_t llama_tokenize(const void * vocab, const char * text, int32_t size,
                       int32_t * tokens, int32_t room, bool add_special, bool parse_special);
int32_t llama_token_to_piece(const void * vocab, int32_t token, char * text, int32_t room,
                             int32_t lstrip, bool special);
"""


@dataclass(frozen=True, kw_only=True)
class Library:
    """llama.cpp's functions (`c`), the cffi instance they are declared in, and what was logged as an error."""

    ffi: cffi.FFI
    c: Any
    errors: list[str]
    log_callback: Any  # kept alive for as long as C may call it

    def text(self, pointer: Any) -> str | None:
        """The text a `char *` points to, or None where it points nowhere."""
        return _decode_c_text(self.ffi, pointer)


@functools.cache
def open_library() -> Library:
    """Open the library inside the wheel. Raises EngineError where it is missing or is another build."""
    path = _find_wheel_library()
    ffi = cffi.FFI()
    ffi.cdef(_DECLARATIONS)
    try:
        c: Any = ffi.dlopen(path)
        _check_struct_layout(ffi, c)
    except (OSError, AttributeError) as problem:
        raise EngineError(f"{PACKAGE} {VERSION}: its library cannot be used: {problem}; {_install_hint()}") from None
    errors: list[str] = []

    def log(level: int, text: Any, _: Any) -> None:
        if level >= 4:
            errors.append((_decode_c_text(ffi, text) or "").strip())

    callback = ffi.callback("void(int, const char *, void *)", log)
    c.llama_log_set(callback, ffi.NULL)
    c.llama_backend_init()
    return Library(ffi=ffi, c=c, errors=errors, log_callback=callback)


def _find_wheel_library() -> str:
    try:
        installed = importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise EngineError(f"the package {PACKAGE} is not installed; {_install_hint()}") from None
    if installed != VERSION:
        raise EngineError(
            f"{PACKAGE} {installed} is installed, but its C structures are known for {VERSION} only; {_install_hint()}"
        )
    # Read by OpenMP when the library is loaded: spin for microseconds at a barrier, then sleep. Endless spinning
    # stalls everything as soon as another process wants a core; no spinning at all costs a third of the speed.
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    try:
        return str(importlib.import_module(f"{PACKAGE}.{PACKAGE}").__file__)
    except ImportError as problem:
        hint = "; install the system's libgomp (Debian: libgomp1)" if "libgomp" in str(problem) else ""
        raise EngineError(f"{PACKAGE} {VERSION} cannot be loaded: {problem}{hint}") from None


def _check_struct_layout(ffi: cffi.FFI, c: Any) -> None:
    """Defaults of this build that only read right where every field lies where it was declared."""
    model, context = c.llama_model_default_params(), c.llama_context_default_params()
    found = {
        "n_gpu_layers": model.n_gpu_layers,
        "main_gpu": model.main_gpu,
        "use_extra_bufts": model.use_extra_bufts,
        "load_mtp": model.load_mtp,
        "n_ctx": context.n_ctx,
        "n_batch": context.n_batch,
        "n_ubatch": context.n_ubatch,
        "flash_attn_type": context.flash_attn_type,
        "yarn_beta_fast": context.yarn_beta_fast,
        "type_k": context.type_k,
        "type_v": context.type_v,
        "offload_kqv": context.offload_kqv,
        "swa_full": context.swa_full,
        "n_samplers": context.n_samplers,
        "ctx_other": context.ctx_other != ffi.NULL,
    }
    wrong = {name: value for name, value in found.items() if value != _EXPECTED_DEFAULTS[name]}
    if wrong:
        raise EngineError(f"{PACKAGE} {VERSION}: unexpected C structures (read {wrong}); {_install_hint()}")


_EXPECTED_DEFAULTS: dict[str, Any] = {
    "n_gpu_layers": -1,
    "main_gpu": 0,
    "use_extra_bufts": True,
    "load_mtp": False,
    "n_ctx": 512,
    "n_batch": 2048,
    "n_ubatch": 512,
    "flash_attn_type": -1,
    "yarn_beta_fast": -1.0,
    "type_k": 1,
    "type_v": 1,
    "offload_kqv": True,
    "swa_full": True,
    "n_samplers": 0,
    "ctx_other": False,
}


def _decode_c_text(ffi: cffi.FFI, pointer: Any) -> str | None:
    if not pointer:
        return None
    raw = ffi.string(pointer)
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw


def _install_hint() -> str:
    return f"pip install {PACKAGE}=={VERSION}"
