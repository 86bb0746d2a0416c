"""A seed in, a random model file of a few hundred kilobytes out: real architecture, real tokenizer, no knowledge."""

from __future__ import annotations

import atexit
import functools
import json
import tempfile
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

CONTEXT = 512
WIDTH, LAYERS, HEADS, KV_HEADS, FEED_FORWARD = 64, 2, 2, 1, 128
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
END = 2
TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "{{ '<|im_start|>system\\nYou are tiny.<|im_end|>\\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_PAIRS = ("th", "he", "in", "er", "an", "re", "on", "at", "en", "nd", "st", "or", "te", "es", "is")


@functools.cache
def tiny_model(
    arch: str = "llama",
    *,
    vocabulary: str = "bytes",
    seed: int = 3,
    template: str | None = TEMPLATE,
    end_gain: float = 1.0,
) -> Path:
    """The path of such a model, written once per test session.

    `arch`: llama or qwen2; `vocabulary`: bytes (byte-level BPE) or pieces (SentencePiece);
    `end_gain` multiplies the end token's logit, so that answers come to an end by themselves.
    """
    path = Path(_folder().name) / f"tiny-{arch}-{vocabulary}-{seed}-{template is not None}-{end_gain}.gguf"
    writer = gguf.GGUFWriter(path, arch)
    words = _write_bytes_vocabulary(writer) if vocabulary == "bytes" else _write_pieces_vocabulary(writer)
    _write_shape(writer, words)
    if template is not None:
        writer.add_chat_template(template)
    tensors = _tensors(arch, words, np.random.default_rng(seed))
    tensors["output.weight"][END] *= end_gain
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory(prefix="tempzero-tiny-")
    atexit.register(folder.cleanup)
    return folder


def _write_shape(writer: gguf.GGUFWriter, words: int) -> None:
    writer.add_name("tiny")
    writer.add_license("apache-2.0")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(words)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)


def write_tokenizer_folder(folder: Path) -> Path:
    """The tokenizer of the vocabulary `bytes` as Hugging Face lays one out, with the template."""
    tokens, merges = _list_bytes_vocabulary()
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    content = {
        "version": "1.0",
        "added_tokens": [{"id": n, "content": name, **added} for n, name in enumerate(SPECIAL)],
        "pre_tokenizer": level,
        "decoder": level,
        "model": {"type": "BPE", "vocab": {name: n for n, name in enumerate(tokens)}, "merges": merges},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(content))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": SPECIAL[END], "chat_template": TEMPLATE}))
    return folder


def _list_bytes_vocabulary() -> tuple[list[str], list[str]]:
    """Byte-level BPE: every byte is a word (in its printable stand-in), and a few pairs are merged."""
    tokens = [*SPECIAL, *list_printable_bytes(), *_PAIRS, *(f"Ġ{pair}" for pair in _PAIRS)]
    return tokens, [f"{pair[0]} {pair[1]}" for pair in _PAIRS] + [f"Ġ {pair}" for pair in _PAIRS]


def _write_bytes_vocabulary(writer: gguf.GGUFWriter) -> int:
    tokens, merges = _list_bytes_vocabulary()
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([control] * len(SPECIAL) + [normal] * (len(tokens) - len(SPECIAL)))
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(END)
    writer.add_add_bos_token(False)
    return len(tokens)


def _write_pieces_vocabulary(writer: gguf.GGUFWriter) -> int:
    """SentencePiece: a begin token put on by the tokenizer, a mark for spaces, and every byte as a fallback."""
    special = ("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")
    pieces = [f"<0x{n:02X}>" for n in range(256)]
    words = ["▁", *(f"▁{pair}" for pair in _PAIRS), *_PAIRS, *"abcdefghijklmnopqrstuvwxyz"]
    types = [gguf.TokenType.UNKNOWN] + [gguf.TokenType.CONTROL] * 4
    types += [gguf.TokenType.BYTE] * 256 + [gguf.TokenType.NORMAL] * len(words)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([*special, *pieces, *words])
    writer.add_token_scores([0.0] * (5 + 256) + [-float(n) for n in range(len(words))])
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_eot_token_id(4)
    writer.add_add_bos_token(True)
    return len(types)


@functools.cache
def list_printable_bytes() -> list[str]:
    """The 256 characters by which byte-level BPE writes the 256 bytes."""
    shown = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [n for n in range(256) if n not in shown]
    return [chr(n) if n in shown else chr(256 + hidden.index(n)) for n in range(256)]


def _tensors(arch: str, words: int, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    head = WIDTH // HEADS

    def matrix(rows: int, columns: int, gain: float = 1.0) -> NDArray[np.float32]:
        values: NDArray[np.float32] = rng.standard_normal((rows, columns), np.float32)
        return values * np.float32(gain / np.sqrt(columns))

    tensors = {"token_embd.weight": matrix(words, WIDTH, 8.0), "output.weight": matrix(words, WIDTH, 3.0)}
    tensors["output_norm.weight"] = np.ones(WIDTH, np.float32)
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        for norm in ("attn_norm", "ffn_norm"):
            tensors[f"{block}{norm}.weight"] = (1 + 0.1 * rng.standard_normal(WIDTH)).astype(np.float32)
        for name, rows in (("attn_q", WIDTH), ("attn_k", KV_HEADS * head), ("attn_v", KV_HEADS * head)):
            tensors[f"{block}{name}.weight"] = matrix(rows, WIDTH, 2.0)
            if arch == "qwen2":
                tensors[f"{block}{name}.bias"] = rng.standard_normal(rows).astype(np.float32)
        tensors[f"{block}attn_output.weight"] = matrix(WIDTH, WIDTH, 2.0)
        tensors[f"{block}ffn_gate.weight"] = matrix(FEED_FORWARD, WIDTH, 2.0)
        tensors[f"{block}ffn_up.weight"] = matrix(FEED_FORWARD, WIDTH, 2.0)
        tensors[f"{block}ffn_down.weight"] = matrix(WIDTH, FEED_FORWARD, 2.0)
    return tensors
