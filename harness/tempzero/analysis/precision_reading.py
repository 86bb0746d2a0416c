"""A Run in, what first tokens say of its providers' weights out, and who serves coarser ones than declared.

Only where the run asked for log-probabilities on the prompts of a direction pack: beside its own prompts, in a run
inside its folder that has the pack as well; or as its own prompts, of a model whose pack is shipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tempzero.precision.fingerprint_wording import (
    COARSE_KINDS,
    describe_host_state,
    find_finest_excluded,
    list_camps,
)
from tempzero.precision.hosts import FingerprintReport, HostFingerprint, conclude_fingerprint
from tempzero.precision.naming import LEAST_PROMPTS
from tempzero.precision.packs import Direction, DirectionPack, load_pack
from tempzero.precision.shipped_packs import find_shipped_pack
from tempzero.records import DIRECTION_PACK, FIRST_TOKENS, Run
from tempzero.types.asked import Trial
from tempzero.types.concluded import Finding, PrecisionReading
from tempzero.types.vocabulary import FingerprintState, Rule

PRECISION_CONTRADICTED = Rule(
    name="precision_contradicted",
    words="Serves coarser weights than it declares",
    shown_by="direction: its log-probabilities of first tokens are moved along one form of the weights and no other "
    "(prompts shuffled, error .005; strength above one half, interval by prompt)",
)
_MOST_EVIDENCE = 8
_NAMING_STATES: tuple[FingerprintState, ...] = ("named", "undecided")


@dataclass(frozen=True, kw_only=True, slots=True)
class PrecisionEvidence:
    """The hosts that gave log-probabilities, held against a pack; nobody where no prompt of it was asked.

    `beside`: they were asked for in a run inside the run's folder.
    """

    report: FingerprintReport | None
    beside: bool

    @property
    def hosts(self) -> tuple[HostFingerprint, ...]:
        """Those that gave any."""
        return () if self.report is None else tuple(h for h in self.report.hosts if h.displacement.given)

    def list_readings(self) -> tuple[PrecisionReading, ...]:
        """What is said of each."""
        return () if self.report is None else tuple(_build_reading(host, self.report.pack) for host in self.hosts)

    def list_camps(self) -> tuple[tuple[str, ...], ...]:
        """Two or more hosts of which each is moved like each other: no form is needed to say so."""
        return () if self.report is None else tuple(list_camps(self.report))

    def find_coarse(self, provider: str, alpha: float) -> HostFingerprint | None:
        """The host where its weights are shown to be coarser than 16 bits, `alpha` being shared by all that were read.

        Which of several coarse forms it is may be open then.
        """
        host = next((h for h in self.hosts if h.provider == provider), None)
        if host is None or _chance_of_name(host) * len(self.hosts) > alpha:
            return None
        return host if host.state in _NAMING_STATES and _is_coarse(host) else None

    def excludes_eight_bits(self, provider: str) -> bool:
        """Whether an 8-bit form of the weights, and every form that moves further, is ruled out of it."""
        finest = [find_finest_excluded(host) for host in self.hosts if host.provider == provider]
        return any(form is not None and form.kind == "8-bit" for form in finest)


def read_precision(run: Run) -> PrecisionEvidence:
    """Hold what the run recorded against a pack. Raises RunFolderError, PackError."""
    within = run.first_tokens()
    if within is not None:
        pack = load_pack(within.path / DIRECTION_PACK)
        return PrecisionEvidence(report=conclude_fingerprint(within, pack), beside=True)
    shipped = find_shipped_pack(sorted({p.claimed_model for p in run.config.providers}))
    if shipped is None or len(_shared_prompts(run, shipped)) < LEAST_PROMPTS:
        return PrecisionEvidence(report=None, beside=False)
    return PrecisionEvidence(report=conclude_fingerprint(run, shipped), beside=False)


def find_contradicted_claims(run: Run, evidence: PrecisionEvidence, alpha: float) -> Iterator[Finding]:
    """Who serves coarser weights than declared; `alpha` is shared by all hosts that were read."""
    for host in evidence.hosts:
        p = _chance_of_name(host) * len(evidence.hosts)
        if host.standing.coarser and p <= alpha and evidence.report is not None:
            place = f" ({FIRST_TOKENS}/ in the run's folder)" if evidence.beside else ""
            trials = () if evidence.beside else _list_trials(run, evidence.report.pack, host.provider)
            yield Finding(
                rule=PRECISION_CONTRADICTED.name,
                subject=host.provider,
                other=None,
                message=f"{host.provider}: {host.standing.words}, by how {host.displacement.prompts} answers begin"
                f"{place}",
                estimate=None,
                p_value=min(1.0, p),
                evidence=tuple(trials)[:_MOST_EVIDENCE],
            )


def _chance_of_name(host: HostFingerprint) -> float:
    named = host.naming.named if host.naming is not None else ()
    return max((one.p for one in named), default=1.0)


def _list_named(host: HostFingerprint) -> list[tuple[Direction, ...]]:
    """For each form that is there, all that it may be."""
    return [one.alternatives for one in (host.naming.named if host.naming is not None else ())]


def _is_coarse(host: HostFingerprint) -> bool:
    return any(all(d.kind in COARSE_KINDS for d in forms) for forms in _list_named(host))


def _shared_prompts(run: Run, pack: DirectionPack) -> list[str]:
    return [p.id for p in pack.prompts if p.id in {own.id for own in run.manifest.suite.prompts}]


def _build_reading(host: HostFingerprint, pack: DirectionPack) -> PrecisionReading:
    naming = host.naming
    return PrecisionReading(
        provider=host.provider,
        declared=host.declared,
        state=host.state,
        sentence=describe_host_state(host, pack),
        forms=tuple(d.name for forms in _list_named(host) for d in forms),
        coarse=_is_coarse(host),
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
