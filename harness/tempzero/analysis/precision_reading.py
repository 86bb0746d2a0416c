"""A Run in, what first tokens say of its providers' weights out, and who serves coarser ones than declared.

Only where the run asked the prompts of a direction pack that is shipped for one of its models.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tempzero.precision.fingerprint_wording import describe_host_state
from tempzero.precision.hosts import HostFingerprint, conclude_fingerprint
from tempzero.precision.naming import LEAST_PROMPTS
from tempzero.precision.packs import DirectionPack
from tempzero.precision.shipped_packs import find_shipped_pack
from tempzero.records import Run
from tempzero.types.asked import Trial
from tempzero.types.concluded import Finding, PrecisionReading
from tempzero.types.vocabulary import Rule

PRECISION_CONTRADICTED = Rule(
    name="precision_contradicted",
    words="Serves coarser weights than it declares",
    shown_by="direction: its log-probabilities of first tokens are moved along one form of the weights and no other "
    "(prompts shuffled, error .005; strength above one half, interval by prompt)",
)
_MOST_EVIDENCE = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class PrecisionEvidence:
    """The hosts that gave log-probabilities, held against a pack; nobody where no prompt of it was asked."""

    pack: DirectionPack | None
    hosts: tuple[HostFingerprint, ...]

    def list_readings(self) -> tuple[PrecisionReading, ...]:
        """What is said of each."""
        return tuple(_build_reading(host, self.pack) for host in self.hosts if self.pack is not None)


def read_precision(run: Run) -> PrecisionEvidence:
    """Hold what the run recorded against the pack of its model. Raises RunFolderError, PackError."""
    pack = find_shipped_pack(sorted({p.claimed_model for p in run.config.providers}))
    if pack is None or len(_shared_prompts(run, pack)) < LEAST_PROMPTS:
        return PrecisionEvidence(pack=None, hosts=())
    hosts = conclude_fingerprint(run, pack).hosts
    return PrecisionEvidence(pack=pack, hosts=tuple(host for host in hosts if host.displacement.given))


def find_contradicted_claims(run: Run, evidence: PrecisionEvidence, alpha: float) -> Iterator[Finding]:
    """Who serves coarser weights than declared; `alpha` is shared by all hosts that were read."""
    for host in evidence.hosts:
        p = max((one.p for one in host.naming.named), default=1.0) if host.naming is not None else 1.0
        if host.standing.coarser and p * len(evidence.hosts) <= alpha and evidence.pack is not None:
            yield Finding(
                rule=PRECISION_CONTRADICTED.name,
                subject=host.provider,
                other=None,
                message=f"{host.provider}: {host.standing.words}, by {host.displacement.prompts} first tokens",
                estimate=None,
                p_value=min(1.0, p * len(evidence.hosts)),
                evidence=tuple(_list_trials(run, evidence.pack, host.provider))[:_MOST_EVIDENCE],
            )


def _shared_prompts(run: Run, pack: DirectionPack) -> list[str]:
    return [p.id for p in pack.prompts if p.id in {own.id for own in run.manifest.suite.prompts}]


def _build_reading(host: HostFingerprint, pack: DirectionPack) -> PrecisionReading:
    naming = host.naming
    named = naming.named if naming is not None else ()
    return PrecisionReading(
        provider=host.provider,
        declared=host.declared,
        state=host.state,
        sentence=describe_host_state(host, pack),
        forms=tuple(d.name for one in named for d in (one.direction, *one.rivals)),
        standing=host.standing.standing,
        because=host.standing.words,
        prompts=host.displacement.prompts,
        candidates=host.displacement.most_candidates,
        size=naming.size if naming is not None else None,
        size_bound=naming.size_bound if naming is not None else None,
    )


def _list_trials(run: Run, pack: DirectionPack, provider: str) -> Iterator[Trial]:
    shared = set(_shared_prompts(run, pack))
    for view in run.views():
        if view.trial.provider == provider and view.trial.prompt in shared and view.outcome.completion is not None:
            yield view.trial
