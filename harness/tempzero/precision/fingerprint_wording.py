"""A fingerprint's conclusions in, plain sentences and one JSON text out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from tempzero.canonical_json import to_spaced_canonical_json
from tempzero.precision.displacement import centre_rows, root_mean_square
from tempzero.precision.forms import FormKind
from tempzero.precision.hosts import FingerprintReport, HostFingerprint
from tempzero.precision.naming import LEAST_STRENGTH, NamedForm, Naming
from tempzero.precision.packs import Direction, DirectionPack
from tempzero.precision.shared_displacement import SharedDisplacement
from tempzero.stats import find_camps
from tempzero.types.vocabulary import VerdictOutcome

FINGERPRINT = "fingerprint.json"
"""What a run folder's conclusions are called."""
_MOST_LISTED = 6
COARSE_KINDS: frozenset[FormKind] = frozenset({"8-bit", "5-bit", "4-bit"})
"""Forms of weights that are coarser than 16 bits."""


def decide_outcome(report: FingerprintReport) -> VerdictOutcome:
    """finding: somebody serves coarser weights than declared. inconclusive: nothing was found out of somebody."""
    if any(host.standing.coarser for host in report.hosts):
        return "finding"
    return "inconclusive" if not report.hosts or any(h.state == "no answer" for h in report.hosts) else "pass"


def describe_host(host: HostFingerprint, pack: DirectionPack) -> Iterator[str]:
    """What is said of one host: what it is first, then by how much, then what it declared."""
    yield f"{host.provider}: {describe_host_state(host, pack)}"
    told = host.displacement
    decimals = "" if told.decimals is None else f", rounded to {told.decimals} decimals"
    floored = f", {told.floored} of them stand for none" if told.floored else ""
    whole = ", which add up to one (the host normalises them anew)" if told.renormalised else ""
    tokens = "their first tokens" if told.places == told.prompts else f"{told.places} tokens of their answers"
    counted = (
        f"{told.prompts} of {len(pack.prompts)} prompts, {tokens}, "
        f"{told.most_candidates} log-probabilities each at most"
    )
    yield f"  from {counted}{decimals}{floored}{whole}"
    if host.naming is not None:
        yield from (f"  {line}" for line in _naming_lines(host.naming, pack))
    finest = find_finest_excluded(host)
    if finest is not None:
        yield f"  not quantised as coarsely as {finest.title}: every form that moves as far or further is ruled out"
    if host.grid.format is not None:
        what = "float32, or scaled" if host.grid.format == "float32" else host.grid.format
        yield f"  its engine's logits are {what} ({host.grid.fitting} of {host.grid.prompts} prompts); not its weights"
    standing = host.standing
    yield f"  declared precision {standing.standing}: {standing.words}"


def describe_pairs(report: FingerprintReport) -> Iterator[str]:
    """Hosts beside each other: those that are moved alike, and which or how many are not."""
    yield from (_pair_sentence(pair) for pair in report.pairs if pair.alike)
    for camp in list_camps(report):
        if len(camp) > 2:
            yield f"one camp, moved alike each with each: {', '.join(camp)}"
    apart = [pair for pair in report.pairs if not pair.alike]
    if len(apart) == 1:
        yield f"{apart[0].first} and {apart[0].second} are not shown to be moved alike"
    elif apart:
        hosts = "no two hosts are" if len(apart) == len(report.pairs) else f"none of the other {len(apart)} pairs is"
        yield f"{hosts} shown to be moved alike"


def list_camps(report: FingerprintReport) -> list[tuple[str, ...]]:
    """Hosts of which each is moved like each other, two or more; no form is needed to say so."""
    names = sorted({name for pair in report.pairs for name in (pair.first, pair.second)})
    place = {name: at for at, name in enumerate(names)}
    apart, alike = ~np.eye(len(names), dtype=bool), np.eye(len(names))
    for pair in report.pairs:
        one, other = place[pair.first], place[pair.second]
        apart[one, other] = apart[other, one] = not pair.alike
        alike[one, other] = alike[other, one] = pair.correlation
    return [tuple(names[i] for i in camp) for camp in find_camps(apart, alike) if len(camp) > 1]


def _pair_sentence(pair: SharedDisplacement) -> str:
    return (
        f"{pair.first} and {pair.second} are moved alike "
        f"(correlation {pair.correlation:.2f} over {pair.prompts} prompts, "
        f"{_chance(pair.p)}; apart by {pair.apart:.3f} nats rms, at most {pair.apart_bound:.3f})"
    )


def to_fingerprint_json(report: FingerprintReport) -> str:
    """Everything, the same bytes for the same run and pack."""
    value = {
        "pack": {"model": report.pack.model, "sha256": report.pack.seal, "forms": len(report.pack.directions)},
        "hosts": [_host_json(host) for host in report.hosts],
        "camps": [list(camp) for camp in list_camps(report)],
        "pairs": [
            {name: _rounded(getattr(pair, name)) for name in SharedDisplacement.__dataclass_fields__}
            for pair in report.pairs
        ],
    }
    return to_spaced_canonical_json(value) + "\n"


def describe_host_state(host: HostFingerprint, pack: DirectionPack) -> str:
    """What it is, in half a sentence."""
    naming = host.naming
    if host.state == "no answer" or naming is None:
        return f"no answer: {host.reason}"
    if host.state == "named":
        return "serves " + " and ".join(_first_choice(one) for one in naming.named)
    if host.state == "undecided":
        return "undecided between " + "; and between ".join(_alternatives(one) for one in naming.named)
    if host.state == "unknown form":
        parts = [d.name for d in naming.possible if d.kind != "16-bit"]
        beside = f" ({' or '.join(parts[:_MOST_LISTED])} may be part of it)" if parts else ""
        return (
            f"none of the {len(pack.directions)} forms explains that it is moved by more than 16-bit rounding{beside}"
        )
    hidden = list_hidden_forms(host)
    names = ", ".join(d.name for d in hidden[:_MOST_LISTED]) + (" and others" if len(hidden) > _MOST_LISTED else "")
    beside = f"; {names} cannot be told from rounding by so few requests" if hidden else ""
    return f"moved no more than an honest 16-bit host: none of {len(naming.excluded)} forms{beside}"


def list_hidden_forms(host: HostFingerprint) -> list[Direction]:
    """Coarser weights that the rounding of a host that seems honest may hide, at this number of requests."""
    return [d for d in host.naming.possible if d.kind in COARSE_KINDS] if host.naming is not None else []


def _first_choice(one: NamedForm) -> str:
    others = " or ".join(d.title for d in one.fuller)
    return one.direction.title + (f" (or else {others}, and something besides)" if others else "")


def _alternatives(one: NamedForm) -> str:
    titles = [d.title for d in (one.direction, *one.rivals)]
    more = f" or {len(titles) - _MOST_LISTED} others" if len(titles) > _MOST_LISTED else ""
    return " or ".join(titles[:_MOST_LISTED]) + more


def _naming_lines(naming: Naming, pack: DirectionPack) -> Iterator[str]:
    for one in naming.named:
        yield (
            f"{one.direction.name}: strength {one.strength:.2f} ({one.low:.2f} to {one.high:.2f}; 1: as the pack's own "
            f"copy), correlation {one.correlation:.2f}, {_chance(one.p)}"
        )
    size = f"moved by {naming.size:.3f} nats (rms; 95 % bound {naming.size_bound:.3f})"
    if naming.named:
        scatter = math.hypot(*(one.scatter for one in naming.named))
        beyond = pack.honest_size is not None and naming.remainder_low > math.hypot(pack.honest_size, scatter)
        like = "more than 16-bit rounding: activations rounded as well, or something else"
        if not beyond:
            like = "like rounding" + (", what the form itself scatters by included" if scatter else "")
        yield f"{size}; {naming.explained:.0%} explained by that; the rest, {naming.remainder:.3f}, is {like}"
        yield f"any format that moves these within {naming.remainder:.3f} of that would go by the same name"
    elif naming.best is not None:
        yield f"{size}; nearest form {naming.best.name}, correlation {naming.best_correlation:.2f}"
        yield f"no fixed displacement beyond {naming.size_bound:.3f}: whatever is fixed is part of that"
    if naming.excluded:
        names = ", ".join(d.name for d in naming.excluded[:_MOST_LISTED])
        more = f" and {len(naming.excluded) - _MOST_LISTED} more" if len(naming.excluded) > _MOST_LISTED else ""
        yield f"ruled out at {LEAST_STRENGTH:g} of their strength or more: {names}{more}"
    if naming.possible:
        yield f"neither found nor ruled out: {', '.join(d.name for d in naming.possible)}"
    if naming.untestable:
        names = ", ".join(d.name for d in naming.untestable)
        yield f"not to be seen in these weights, which are on that grid already: {names}"
    if abs(naming.slope) > naming.slope_half_width and abs(naming.slope) > 0.05:
        yield f"its log-probabilities are those of temperature {1 / (1 + naming.slope):.2f}"


def find_finest_excluded(host: HostFingerprint) -> Direction | None:
    """Of an honest host the form that moves least among those that are ruled out with all that move further.

    None where one is not, and of every other host: what moves it may be coarser than any form of the pack.
    """
    naming = host.naming
    if naming is None or host.state != "as 16-bit":
        return None

    def size(direction: Direction) -> float:
        return root_mean_square(centre_rows(direction.by))

    weights = [d for d in (*naming.excluded, *naming.possible) if d.kind in COARSE_KINDS]
    open_size = max((size(d) for d in naming.possible if d.kind in COARSE_KINDS), default=0.0)
    return min((d for d in weights if size(d) > open_size), key=size, default=None)


def _host_json(host: HostFingerprint) -> dict[str, Any]:
    told, naming, finest = host.displacement, host.naming, find_finest_excluded(host)
    return {
        "provider": host.provider,
        "state": host.state,
        "reason": host.reason,
        "declared": host.declared,
        "standing": host.standing.standing,
        "standing_words": host.standing.words,
        "coarser_than_declared": host.standing.coarser,
        "prompts": told.prompts,
        "tokens": told.places,
        "candidates": told.most_candidates,
        "decimals": told.decimals,
        "floored": told.floored,
        "renormalised": told.renormalised,
        "logits": host.grid.format,
        "not_as_coarse_as": finest.name if finest is not None else None,
        "naming": None if naming is None else _naming_json(naming),
    }


def _naming_json(naming: Naming) -> dict[str, Any]:
    figures = (
        *("prompts", "numbers", "size", "size_bound", "explained"),
        *("remainder", "remainder_low", "slope", "slope_half_width", "best_correlation"),
    )
    return {
        **{name: _rounded(getattr(naming, name)) for name in figures},
        "best": naming.best.name if naming.best is not None else None,
        "named": [
            {
                "form": one.direction.name,
                **{n: _rounded(getattr(one, n)) for n in ("strength", "low", "high", "correlation", "p")},
                "rivals": [d.name for d in one.rivals],
                "fuller": [d.name for d in one.fuller],
            }
            for one in naming.named
        ],
        "excluded": [d.name for d in naming.excluded],
        "possible": [d.name for d in naming.possible],
        "untestable": [d.name for d in naming.untestable],
        "correlations": {name: _rounded(value) for name, value in naming.correlations.items()},
    }


def _rounded(value: Any) -> Any:
    """As far as two machines agree."""
    return round(value, 6) if isinstance(value, float) else value


def _chance(p: float) -> str:
    return f"chance alone: p = {p:.4f}".replace("0.", ".", 1) if p >= 1e-4 else f"chance alone: p = {p:.1g}"
