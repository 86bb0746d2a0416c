"""A model folder and a direction pack in, what 16-bit hosts of it give of first tokens out, one JSON line a prompt.

    python tests/benchmarks/precision_hosts.py FOLDER PACK OUT.jsonl honest q8_0 fp8-e4m3-channel int6-group64 ...

FOLDER holds the float32 weights as transformers saves them. Each host computes in bfloat16, as GPU engines do, from
weights that went through a form of tempzero or through one that it does not know (`UNKNOWN` below); `+a8` and `+a-fp8`
behind a name round what goes into each matrix as well (W8A8). Needs the extra `transformers`.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from tempzero.precision.forms import FORMS
from tempzero.precision.forms.form import Matrix
from tempzero.precision.forms.scaling import FloatFormat, find_peaks, round_to_float, round_to_steps, split_groups
from tempzero.precision.packs import DirectionPack, load_pack

CANDIDATES, BATCH = 64, 16
_EMBEDDING = "model.embed_tokens.weight"
_E3M2 = FloatFormat(mantissa_bits=2, smallest_exponent=-2, largest=28.0)


def round_in_groups(matrix: Matrix, size: int, steps: float, lowest: int, highest: int) -> Matrix:
    """Integers of any width."""
    groups, restore = split_groups(matrix, size)
    scale: Matrix = (find_peaks(groups, axis=-1) / steps).astype(np.float32)
    return restore(round_to_steps(groups, scale, lowest, highest))


def round_by_row_to_e3m2(matrix: Matrix) -> Matrix:
    """Six-bit floats, one scale for each row."""
    scale: Matrix = (find_peaks(matrix, axis=1) / 28).astype(np.float32)
    return round_to_float(matrix / scale, _E3M2) * scale


def round_rotated(matrix: Matrix) -> Matrix:
    """INT8 by row of the matrix times a random rotation, as QuaRot and its like do."""
    width = matrix.shape[1]
    turned, _ = np.linalg.qr(np.random.default_rng(width).normal(size=(width, width)))
    rows: Matrix = (matrix @ turned).astype(np.float32)
    scale: Matrix = (find_peaks(rows, axis=1) / 127).astype(np.float32)
    back: Matrix = (round_to_steps(rows, scale, -127, 127) @ turned.T).astype(np.float32)
    return back


UNKNOWN: dict[str, Callable[[Matrix], Matrix]] = {
    "int6-group64": lambda m: round_in_groups(m, 64, 31, -31, 31),
    "int4-group96": lambda m: round_in_groups(m, 96, 7.5, -8, 7),
    "int3-group64": lambda m: round_in_groups(m, 64, 3.5, -4, 3),
    "fp6-e3m2-channel": round_by_row_to_e3m2,
    "int8-rotated": round_rotated,
}


def main() -> None:
    """Make one host after another."""
    folder, pack, out = Path(sys.argv[1]), load_pack(Path(sys.argv[2])), Path(sys.argv[3])
    torch, transformers = importlib.import_module("torch"), importlib.import_module("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    prompts = [
        tokenizer.apply_chat_template(
            [{"role": m.role, "content": m.content} for m in p.messages], add_generation_prompt=True, return_dict=True
        )["input_ids"]
        for p in pack.prompts
    ]
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for name in sys.argv[4:]:
        form, _, activations = name.partition("+a")
        change = find_rounding(form)
        model = model.float()
        model.load_state_dict(
            {
                key: torch.from_numpy(np.ascontiguousarray(change(key, tensor.numpy())))
                if key.endswith("proj.weight") or key == _EMBEDDING
                else tensor
                for key, tensor in weights.items()
            }
        )
        hooks = list(round_activations(torch, model, activations))
        write_host(torch, model.to(torch.bfloat16), pack, prompts, name, out)
        for hook in hooks:
            hook.remove()


def find_rounding(form: str) -> Callable[[str, Matrix], Matrix]:
    """What happens to a matrix of this name; names are those of transformers."""
    known = next((f for f in FORMS if f.name == form), None)
    rounding = known.round if known is not None else UNKNOWN.get(form)
    kind = known.gguf_type if known is not None else None

    def change(key: str, matrix: Matrix) -> Matrix:
        if kind is not None:
            stored = gguf.GGMLQuantizationType["Q8_0" if key == _EMBEDDING and kind[0] == "q" else kind.upper()]
            back: Matrix = gguf.quants.dequantize(gguf.quants.quantize(matrix, stored), stored)
            return back.reshape(matrix.shape)
        return matrix if rounding is None or key == _EMBEDDING else rounding(matrix)

    return change


def round_activations(torch: Any, model: Any, how: str) -> Iterator[Any]:
    """Hooks that round what goes into each matrix, one scale for each token: `8` to INT8, `-fp8` to e4m3."""
    if not how:
        return

    def change(_: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        wide = given[0].float()
        scale = wide.abs().amax(-1, keepdim=True).clamp_min(1e-9) / (127 if how == "8" else 448)
        steps = wide / scale
        rounded = torch.round(steps) if how == "8" else steps.to(torch.float8_e4m3fn).float()
        return ((rounded * scale).to(given[0].dtype), *given[1:])

    for name, module in model.named_modules():
        if name.endswith("_proj"):
            yield module.register_forward_pre_hook(change)


def write_host(torch: Any, model: Any, pack: DirectionPack, prompts: list[list[int]], name: str, out: Path) -> None:
    """Read the prompts, a few at a time, and append what the host would give."""
    with torch.no_grad(), out.open("a") as file:
        for start in range(0, len(prompts), BATCH):
            batch = prompts[start : start + BATCH]
            width = max(map(len, batch))
            ids = torch.tensor([p + [0] * (width - len(p)) for p in batch])
            mask = torch.tensor([[1] * len(p) + [0] * (width - len(p)) for p in batch])
            hidden = model.model(ids, attention_mask=mask).last_hidden_state
            last = torch.stack([hidden[row, len(p) - 1] for row, p in enumerate(batch)])
            values, tokens = torch.log_softmax(model.lm_head(last).double(), -1).topk(CANDIDATES)
            for row, prompt in enumerate(pack.prompts[start : start + BATCH]):
                pairs = list(zip(tokens[row].tolist(), values[row].tolist(), strict=True))
                file.write(json.dumps({"host": name, "prompt": prompt.id, "candidates": pairs}) + "\n")
    print(name, flush=True)


if __name__ == "__main__":
    main()
