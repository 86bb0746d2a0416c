"""What a provider declares and what its fingerprint names in, confirmed, contradicted or untested out."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tempzero.precision.forms import FormKind
from tempzero.precision.naming import Naming
from tempzero.precision.packs import Direction, DirectionPack
from tempzero.types.vocabulary import ClaimState

# Words for what no form stands for: the full width of 16 bits or more.
_WIDE = {"bf16", "bfloat16", "f16", "fp16", "float16", "f32", "fp32", "float32", "16bit"}
_COARSENESS: dict[FormKind, int] = {"16-bit": 0, "8-bit": 1, "5-bit": 2, "4-bit": 3}


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimStanding:
    """How a declared precision stands, why in words, and whether what is served is coarser than declared."""

    standing: ClaimState
    words: str
    coarser: bool = False


def judge_claim(
    declared: str | None, pack: DirectionPack, naming: Naming | None, *, trusted: bool, moved: bool
) -> ClaimStanding:
    """`trusted`: there is a conclusion. `moved`: something fixed was found that is no form of the pack."""
    if declared is None:
        return _untested("it declares no precision")
    wanted = _read_words(declared)
    wide = bool(wanted & _WIDE)
    meant = [d for d in pack.directions if wanted & {_flatten(c) for c in (d.name, *d.claims)}]
    if not wide and not meant:
        return _untested(f'the pack has no form that "{declared}" could mean')
    if naming is None or not trusted:
        return _untested("the fingerprint came to no conclusion")
    if moved:
        return _untested("what moves it is none of the pack's forms")
    found = [d for one in naming.named for d in (one.direction, *one.rivals) if d.kind in _COARSENESS]
    if not found:
        return _judge_unmoved(declared, naming, meant, wide)
    if all(d in meant or (wide and d.kind == "16-bit") for d in found):
        return ClaimStanding(standing="confirmed", words=f"{declared}, as declared")
    if any(d in meant for d in found):
        return _untested(f'"{declared}" is one of several forms that cannot be parted here')
    served = min(_COARSENESS[d.kind] for d in found)
    promised = max([_COARSENESS[d.kind] for d in meant if d.kind in _COARSENESS], default=0)
    return ClaimStanding(
        standing="contradicted",
        words=f'it declares "{declared}" and serves {" or ".join(d.title for d in found)}',
        coarser=served > promised,
    )


def _judge_unmoved(declared: str, naming: Naming, meant: list[Direction], wide: bool) -> ClaimStanding:
    """Nothing coarse was named."""
    if any(d in naming.untestable for d in meant):
        return _untested(f'"{declared}" changes nothing in these weights')
    if wide:
        coarse = [d for d in naming.excluded if _COARSENESS.get(d.kind)]
        left = [d for d in naming.possible if _COARSENESS.get(d.kind)]
        if left:
            return _untested(f"{left[0].title} could not be ruled out")
        return ClaimStanding(
            standing="confirmed", words=f"{declared}, as declared: none of {len(coarse)} coarser forms"
        )
    if meant and all(d in naming.excluded for d in meant):
        return ClaimStanding(standing="contradicted", words=f'it declares "{declared}" and is not that')
    return _untested(f'"{declared}" could neither be found nor ruled out')


def _untested(words: str) -> ClaimStanding:
    return ClaimStanding(standing="untested", words=words)


def _read_words(declared: str) -> set[str]:
    """The declaration's words, each without what parts it: "FP8 (e4m3)" -> fp8, e4m3, fp8e4m3."""
    words = [w for w in re.split(r"[^a-z0-9_.-]+", declared.lower()) if w]
    flat = [_flatten(w) for w in words]
    return {*flat, "".join(flat)}


def _flatten(word: str) -> str:
    return re.sub(r"[^a-z0-9]", "", word.lower())
