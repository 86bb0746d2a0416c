"""llama.cpp's own types, embeddings rounded by its rule, and 16-bit weights as every engine holds them."""

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
)
