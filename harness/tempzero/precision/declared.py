"""What a provider declares of its precision and what was found in, confirmed, contradicted or untested out.

The one place for that rule, whatever found it: log-probabilities of first tokens (`judge_claim`) or a reference's
reading of the answers (`judge_read_forms`). Served as declared is confirmed and no fault, however coarse; coarser than
declared is contradicted; what could neither be found nor ruled out is untested.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from tempzero.precision.forms import FORMS, Form, FormKind
from tempzero.precision.naming import Naming
from tempzero.precision.packs import Direction, DirectionPack
from tempzero.types.vocabulary import ClaimState

# Words for what no form stands for: the full width of 16 bits or more.
_WIDE = {"bf16", "bfloat16", "f16", "fp16", "float16", "f32", "fp32", "float32", "16bit", "32bit", "w16a16"}
# What speaks of a number of bits, be the form known or not.
_BITS = re.compile(r"(u?int|fp|float|mxfp|nvfp|nf|i?q|w)\d|\d+bit")
_ENDPOINT, _CACHE = "coarser:", "cache="
_CACHE_WORDS = re.compile(r"kv|.*cache")
_COARSENESS: dict[FormKind, int] = {"16-bit": 0, "8-bit": 1, "5-bit": 2, "4-bit": 3}
# By how many times what an honest 16-bit host is moved by the coarsest forms of these bits move a small model.
FORM_ROOMS: tuple[float, ...] = (0.0, 9.0, 12.0, 20.0)


_F = TypeVar("_F", bound="NamedForm")


class NamedForm(Protocol):
    """What the rule needs of a form, be it one of the package's or a pack's direction."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def kind(self) -> FormKind: ...
    @property
    def claims(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimStanding:
    """How a declared precision stands, why in words, and whether what is served is coarser than declared."""

    standing: ClaimState
    words: str
    coarser: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Declaration:
    """A declared precision, read. `names` are the forms that it could mean, by the names that `score.forms` has.

    `room` is how many times an honest host's rounding such forms may add to it: 0 where none coarser than 16 bits is
    declared.
    """

    names: frozenset[str]
    room: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadForms:
    """What a reference read of a provider's answers, by the names of forms in `score.forms`.

    `served`: one of them is shown to be served. `explaining`: each explains every token, and better than float32 does.
    `alike`: cannot be told from float32. `refuted`: do not explain the tokens, or surely worse. `within`: what was seen
    is no more than an honest 16-bit host's rounding. `own`: what endpoints declare that read as forms (`coarser:NAME`).
    """

    served: Collection[str]
    explaining: Collection[str]
    alike: Collection[str]
    refuted: Collection[str]
    within: bool
    own: Mapping[str, str]

    def name_weights(self, names: Iterable[str]) -> dict[str, list[Form]]:
        """What each of these names stands for: forms of weights; none where what an endpoint declares is not known."""
        weights = [f for f in FORMS if f.kind in _COARSENESS]
        return {
            name: _find_meant(self.own.get(name, ""), weights)
            if name.startswith(_ENDPOINT)
            else [f for f in weights if f.name == name]
            for name in names
        }

    def list_eight_bits(self, names: Iterable[str]) -> list[str]:
        """Those of these names that stand for weights of about 8 bits; an endpoint does where it declares them."""
        known = {f.name for f in FORMS if f.kind == "8-bit"}
        return [name for name in names if name in known or group_declared(self.own.get(name)) == "8-bit"]


def read_declaration(declared: str) -> Declaration:
    """What a declared precision could mean. Words that nobody knows might mean any form.

    >>> read_declaration("Q4_0").names == {"q4_0"}, read_declaration("bf16").room, read_declaration("mixed").room
    (True, 0.0, 20.0)
    """
    grade, meant = _grade_declared(declared), _find_meant(declared, FORMS)
    room = FORM_ROOMS[-1 if grade is None else grade]
    return Declaration(names=frozenset(f.gguf_type or f.name for f in meant), room=room)


def group_declared(declared: str | None) -> str:
    """Whose texts may be held against each other: "" of 16 bits or none declared, else about how many bits are.

    >>> group_declared("bf16"), group_declared("fp8"), group_declared("Q4_K_M"), group_declared("turbo")
    ('', '8-bit', '4-bit', 'turbo')
    """
    if declared is None:
        return ""
    grade = _grade_declared(declared)
    return next((kind if grade else "" for kind, coarseness in _COARSENESS.items() if coarseness == grade), declared)


def judge_read_forms(declared: str | None, read: ReadForms) -> ClaimStanding:
    """What was read of the answers' tokens, held against the declaration."""
    if declared is None:
        return _untested("it declares no precision")
    meant, names = _find_meant(declared, FORMS), read_declaration(declared).names
    if read.served:
        return _judge_served(declared, meant, read)
    own = [name for name in read.explaining if _say_alike(declared, read.own.get(name))]
    shown = {f.gguf_type or f.name for forms in read.name_weights(read.explaining).values() for f in forms}
    if own or names & shown:
        return ClaimStanding(standing="confirmed", words=f"{declared}, as declared")
    grade = _grade_declared(declared)
    if grade == 0:
        return _judge_wide(declared, read)
    if grade is None:
        return _untested(f'no form is known that "{declared}" could mean')
    if names <= set(read.refuted):
        return ClaimStanding(standing="contradicted", words=f'it declares "{declared}" and is not that')
    return _untested(f'"{declared}" could neither be found nor ruled out')


def _judge_served(declared: str, meant: Sequence[Form], read: ReadForms) -> ClaimStanding:
    """A form is shown to be served: of the weights, of the cache only, or an endpoint's of which it is not known."""
    caches = [name for name in read.served if name.startswith(_CACHE)]
    if len(caches) == len(read.served):
        return _judge_cache(declared, caches)
    named = read.name_weights(name for name in read.served if name not in caches)
    if any(_say_alike(declared, read.own.get(name)) for name in named):
        return ClaimStanding(standing="confirmed", words=f"{declared}, as declared")
    if all(named.values()):
        found = [f for forms in named.values() for f in forms]
        return _judge_found(declared, found, meant, _grade_declared(declared))
    words = f'it declares "{declared}" and serves weights as coarse as those of {" or ".join(named)}'
    if read_declaration(declared).room:
        return _untested(words)
    return ClaimStanding(standing="contradicted", words=words, coarser=True)


def judge_claim(
    declared: str | None, pack: DirectionPack, naming: Naming | None, *, trusted: bool, moved: bool
) -> ClaimStanding:
    """`trusted`: there is a conclusion. `moved`: something fixed was found that is no form of the pack."""
    if declared is None:
        return _untested("it declares no precision")
    grade, meant = _grade_declared(declared, pack.directions), _find_meant(declared, pack.directions)
    if grade != 0 and not meant:
        return _untested(f'the pack has no form that "{declared}" could mean')
    if naming is None or not trusted:
        return _untested("the fingerprint came to no conclusion")
    if moved:
        return _untested("what moves it is none of the pack's forms")
    found = [d for one in naming.named for d in one.alternatives if d.kind in _COARSENESS]
    return _judge_found(declared, found, meant, grade) if found else _judge_unmoved(declared, naming, meant, grade)


def _judge_found(
    declared: str, found: Sequence[NamedForm], meant: Sequence[NamedForm], grade: int | None
) -> ClaimStanding:
    """One of `found` is served."""
    names = {form.name for form in meant}
    if all(form.name in names or (grade == 0 and form.kind == "16-bit") for form in found):
        return ClaimStanding(standing="confirmed", words=f"{declared}, as declared")
    if any(form.name in names for form in found):
        return _untested(f'"{declared}" is one of several forms that cannot be parted here')
    if grade is None:
        return _untested(f'no form is known that "{declared}" could mean')
    return ClaimStanding(
        standing="contradicted",
        words=f'it declares "{declared}" and serves {" or ".join(form.title for form in found)}',
        coarser=min(_COARSENESS[form.kind] for form in found) > grade,
    )


def _judge_wide(declared: str, read: ReadForms) -> ClaimStanding:
    """16 bits or more are declared, and nothing coarser explains the answers better; 8 bits would be hardest to see."""
    left, out = (
        [n for n, f in read.name_weights(names).items() if f or n in read.own] for names in (read.alike, read.refuted)
    )
    if not read.within:
        return _untested("what it computes is open")
    if left or not out:
        return _untested(f"{left[0]} could not be ruled out" if left else "no coarser form read its answers")
    if not read.list_eight_bits(out):
        return _untested(f"told from {', '.join(out)}, but no 8-bit form of the weights read its answers")
    return ClaimStanding(standing="confirmed", words=f"{declared}, as declared: told from {', '.join(out)}")


def _judge_cache(declared: str, served: Collection[str]) -> ClaimStanding:
    """Only the cache is coarser: a fault where the declaration does not speak of it."""
    if any(_CACHE_WORDS.match(word) for word in _list_words(declared)):
        return _untested(f'what "{declared}" says of the cache is not read here')
    kept = " or ".join(name.removeprefix("cache=") for name in served)
    words = f'it declares "{declared}" and keeps keys and values as {kept}'
    return ClaimStanding(standing="contradicted", words=words, coarser=True)


def _judge_unmoved(declared: str, naming: Naming, meant: Sequence[Direction], grade: int | None) -> ClaimStanding:
    """Nothing coarse was named."""
    if any(d in naming.untestable for d in meant):
        return _untested(f'"{declared}" changes nothing in these weights')
    if grade == 0:
        kept = [one.direction for one in naming.named if one.direction.kind == "cache"]
        if kept:
            return _untested(f'it declares "{declared}", and has {kept[0].title}')
        coarse = [d for d in naming.excluded if _COARSENESS.get(d.kind)]
        left = [d for d in naming.possible if _COARSENESS.get(d.kind)]
        if left:
            return _untested(f"{left[0].title} could not be ruled out")
        return ClaimStanding(
            standing="confirmed", words=f"{declared}, as declared: none of {len(coarse)} coarser forms"
        )
    if grade is not None and meant and all(d in naming.excluded for d in meant):
        return ClaimStanding(standing="contradicted", words=f'it declares "{declared}" and is not that')
    return _untested(f'"{declared}" could neither be found nor ruled out')


def _untested(words: str) -> ClaimStanding:
    return ClaimStanding(standing="untested", words=words)


def _say_alike(declared: str, other: str | None) -> bool:
    return other is not None and bool(_read_words(declared)) and _read_words(declared) == _read_words(other)


def _grade_declared(declared: str, known: Sequence[NamedForm] = ()) -> int | None:
    """How coarse the weights are that it speaks of, as in `_COARSENESS`; None where a form that nobody knows is meant.

    What is said of 16 bits beside fewer is of something else than weights: "int4, fp16 activations".
    """
    words, forms = _list_words(declared), (*FORMS, *known)
    names = {name for form in forms for name in _list_names(form)}
    if any(_BITS.match(word) and word not in names | _WIDE for word in words):
        return None
    meant = [_COARSENESS[form.kind] for form in _find_meant(declared, forms) if form.kind in _COARSENESS]
    return max(meant, default=0 if _WIDE & set(words) else None)


def _find_meant(declared: str, known: Sequence[_F]) -> list[_F]:
    """The forms that the declaration's words could mean."""
    wanted = _read_words(declared)
    return [form for form in known if wanted & _list_names(form)]


def _list_names(form: NamedForm) -> set[str]:
    return {_flatten(name.lower()) for name in (form.name, *form.claims)}


def _read_words(declared: str) -> set[str]:
    """The declaration's words, each without what parts it: "FP8 (e4m3)" -> fp8, e4m3, fp8e4m3."""
    flat = [_flatten(word) for word in _split_words(declared)]
    return {*_list_words(declared), *flat, "".join(flat)} - {""}


def _list_words(declared: str) -> list[str]:
    """One after another; what is known by its parts only, in these: "fp8-e4m3" -> fp8, e4m3, but "q8_0" -> q80."""
    found = []
    for word in _split_words(declared):
        parts = [_flatten(part) for part in re.split("[-_]", word)]
        found += parts if _flatten(word) not in _KNOWN and _KNOWN & set(parts) else [_flatten(word)]
    return found


def _split_words(declared: str) -> list[str]:
    return [word for word in re.split(r"[^a-z0-9_.-]+", declared.lower()) if word]


def _flatten(word: str) -> str:
    return re.sub(r"[^a-z0-9]", "", word)


_KNOWN = frozenset(_WIDE).union(*map(_list_names, FORMS))
