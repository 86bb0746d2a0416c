"""A line of settings on standard input in, a llama.cpp server that answers out, and one line of JSON: where, what.

A program of its own (`python -P inside_server.py`) that loads nothing of the package: whoever starts an endpoint does
not wait for that again. It ends when its standard input closes.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import sys
import threading
from collections.abc import Mapping
from typing import Any

_ENUM_NAMES = {"cache_type_k": "ggml_type", "cache_type_v": "ggml_type", "flash_attn_type": "llama_flash_attn_type"}


def _serve_until_stdin_closes() -> None:
    """Read one line of settings, serve, announce the address, and end with whoever holds the other end of stdin."""
    line = sys.stdin.buffer.readline()
    if not line:
        return
    settings = json.loads(line)
    # llama.cpp writes to the C streams; what it prints there must not be taken for the announcement.
    announcing = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    try:
        engine = importlib.import_module("xllamacpp")
        server = engine.Server(_server_parameters(engine, settings))
    except (ImportError, RuntimeError) as problem:
        sys.exit(f"xllamacpp: {problem}")
    announced = {
        "address": server.listening_address,
        "package": f"xllamacpp {importlib.metadata.version('xllamacpp')}",
        "system": engine.get_system_info().strip(" |"),
    }
    print(json.dumps(announced), file=announcing, flush=True)
    threading.Event().wait()


def _end_with_stdin() -> None:
    while os.read(0, 4096):  # unbuffered: no lock is held when the interpreter ends on an error
        pass
    os._exit(0)  # without ceremony: requests under way have no reader any more


def _server_parameters(engine: Any, settings: Mapping[str, Any]) -> Any:
    params = engine.CommonParams()
    for name in ("n_parallel", "n_ctx", "n_ubatch", "cache_prompt", "chat_template"):
        setattr(params, name, settings[name])
    for name, enum in _ENUM_NAMES.items():
        prefix = "GGML_TYPE_" if enum == "ggml_type" else "LLAMA_FLASH_ATTN_TYPE_"
        setattr(params, name, getattr(getattr(engine, enum), prefix + settings[name]))
    for name, value in settings["sampling"].items():
        setattr(params.sampling, name, value)
    params.model.path = settings["model"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings["threads"]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_gpu_layers = 0
    params.no_op_offload = params.no_kv_offload = True
    params.fit_params = False  # it would shrink the context to the free memory, silently
    params.model_alias = {settings["alias"]}
    params.verbosity = 2  # warnings and errors; more would fill the disk over many thousand requests
    params.cors_origins = ""  # no web page has business here
    params.ui = False
    params.offline = True
    # As the reference renders templates; left alone, the server guesses from the template whether to say it.
    params.default_template_kwargs = {"enable_thinking": "true"}
    if not settings["cache_prompt"]:
        params.cache_ram_mib = 0
        params.cache_idle_slots = False
        params.slot_prompt_similarity = 0.0
    return params


if __name__ == "__main__":
    _serve_until_stdin_closes()
