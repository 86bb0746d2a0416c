"""What was read of texts and what first tokens say in, diagnoses out: a form that is shown goes before sizes.

The reading of texts knows how much is rounded; the direction of log-probabilities, which form of the weights rounds so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tempzero.analysis.precision_reading import PrecisionEvidence
from tempzero.precision.fingerprint_wording import COARSE_KINDS, describe_host_state, find_finest_excluded
from tempzero.precision.hosts import HostFingerprint
from tempzero.precision.packs import DirectionPack
from tempzero.types.concluded import Diagnosis, ReferenceReading
from tempzero.types.scored import SuspectReading
from tempzero.types.vocabulary import CauseName

# Causes that say how much is rounded, or that nothing explains it.
_CAUSES_OF_SIZE: tuple[CauseName, ...] = ("faithful", "coarser", "not_faithful", "unknown")
_ROUNDING_CAUSES: tuple[CauseName, ...] = ("faithful", "coarser")
# Those that rest on size unless they are shown otherwise.
_UNLESS_SHOWN: tuple[CauseName, ...] = ("sampled", "other_model")


def outrank_sizes(
    reading: ReferenceReading, suspects: Sequence[SuspectReading], evidence: PrecisionEvidence, alpha: float
) -> ReferenceReading:
    """The reading with forms that first tokens show in the place of causes that rest on size.

    Where that very form was read as a suspect and does not explain the texts, their open cause stays beside it.
    """
    if evidence.report is None:
        return reading
    found: list[Diagnosis] = []
    for one in reading.diagnoses:
        host = evidence.find_coarse(one.provider, alpha)
        if host is None:
            found.append(_add_excluded(one, evidence))
        elif one.cause not in _CAUSES_OF_SIZE and (one.cause not in _UNLESS_SHOWN or one.strength == "shown"):
            found.append(one)
        else:
            found.append(_show_form(one, host, evidence.report.pack))
            tried = {s.suspect for s in suspects if s.provider == one.provider and s.kind == "weights"}
            if one.cause == "not_faithful" and _was_tried(host, tried):
                found.append(one)
    return replace(reading, diagnoses=tuple(found))


def _show_form(one: Diagnosis, host: HostFingerprint, pack: DirectionPack) -> Diagnosis:
    explained = 0.0 if host.naming is None else host.naming.explained
    words = (
        f"{describe_host_state(host, pack)}, by the direction of its log-probabilities on "
        f"{host.displacement.prompts} first tokens ({explained:.0%} of their displacement)"
    )
    size = one.estimate if one.cause in _ROUNDING_CAUSES else None
    message = f"{words}; its texts: {one.message}"
    return replace(one, cause="coarser", strength="shown", message=message, estimate=size, forms=_list_forms(host))


def _add_excluded(one: Diagnosis, evidence: PrecisionEvidence) -> Diagnosis:
    """What first tokens rule out of an honest host."""
    host = next((h for h in evidence.hosts if h.provider == one.provider), None)
    finest = find_finest_excluded(host) if host is not None else None
    if finest is None or one.cause != "faithful":
        return one
    words = f"{finest.title} and every form that moves further are ruled out by its first tokens"
    return replace(one, message=f"{one.message}; {words}")


def _was_tried(host: HostFingerprint, tried: set[str]) -> bool:
    return any(name == form or name.startswith(f"{form}-") for name in _list_forms(host) for form in tried)


def _list_forms(host: HostFingerprint) -> tuple[str, ...]:
    named = () if host.naming is None else host.naming.named
    return tuple(d.name for one in named for d in one.alternatives if d.kind in COARSE_KINDS)
