"""llama.cpp's own types, embeddings rounded by its rule, and 16-bit weights as every engine holds them.

Where llama.cpp itself computes with them, it rounds what goes into each matrix to 8 bits as well. That is less than the
coarser types move by, and hides only q8_0, which has a form of its own for it.
"""

from __future__ import annotations

from tempzero.precision.forms.form import Form

GGUF_FORMS = (
    Form(name="bf16", title="16-bit weights (bf16)", kind="16-bit", claims=("bf16", "bfloat16"), gguf_type="bf16"),
    Form(name="f16", title="16-bit weights (f16)", kind="16-bit", claims=("f16", "fp16", "float16"), gguf_type="f16"),
    Form(name="q8_0", title="llama.cpp q8_0", kind="8-bit", claims=("q8_0", "q8"), gguf_type="q8_0"),
    Form(name="q5_1", title="llama.cpp q5_1", kind="5-bit", claims=("q5_1", "q5"), gguf_type="q5_1"),
    Form(name="q5_0", title="llama.cpp q5_0", kind="5-bit", claims=("q5_0", "q5"), gguf_type="q5_0"),
    Form(name="q4_1", title="llama.cpp q4_1", kind="4-bit", claims=("q4_1", "q4"), gguf_type="q4_1"),
    Form(name="q4_0", title="llama.cpp q4_0", kind="4-bit", claims=("q4_0", "q4"), gguf_type="q4_0"),
    Form(name="q6_k", title="llama.cpp q6_k", kind="8-bit", claims=("q6_k", "q6"), k_mix="q6_k"),
    Form(name="q5_k_m", title="llama.cpp q5_k_m", kind="5-bit", claims=("q5_k_m", "q5_k", "q5"), k_mix="q5_k_m"),
    Form(name="q4_k_m", title="llama.cpp q4_k_m", kind="4-bit", claims=("q4_k_m", "q4_k", "q4"), k_mix="q4_k_m"),
    Form(
        name="q8_0-llamacpp",
        title="llama.cpp q8_0, computed by llama.cpp, activations in 8 bits",
        kind="8-bit",
        claims=("q8_0", "q8"),
        gguf_type="q8_0",
        rounds_activations=True,
    ),
)
