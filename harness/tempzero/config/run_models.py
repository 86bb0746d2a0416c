"""How a run asks and what it concludes: `conditions:`, `run:` and `gates:` of providers.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from tempzero.config.reasoning import ReasoningChoice
from tempzero.config.request_fields import RequestFields
from tempzero.config.store_address import is_store_url, parse_store_url
from tempzero.config.strict_model import Name, OneOrMore, Positive, StrictModel, list_names
from tempzero.errors import UsageError
from tempzero.types.asked import SuiteName
from tempzero.types.vocabulary import RuleName


class Condition(StrictModel):
    """How the same prompts are asked. What is not given is the provider's own."""

    name: Name
    """What it is called in records and report, e.g. burst. Letters, digits and `._@:+-`; 100 at most."""
    concurrency: Positive | None = None
    """Requests in flight at most; null: the provider's own."""
    stream: bool | None = None
    """Ask for the answer in pieces (true), or as a whole (false); null: as the provider's own settings say."""
    cache: Literal["cold", "warm"] | None = None
    """`warm`, a warm prefix cache: the repeats of a prompt follow one another. `cold`: they are as far apart as the
    run is long, as without this key. Servers of `serve:` are told besides whether to use their cache."""
    repeats: Positive | None = None
    """How often each prompt is asked; null: the provider's own."""
    request: RequestFields = Field(default={})
    """Fields of the request's JSON body under this condition, laid over those of provider and prompt: mappings key by
    key, null leaves a field out, anything else takes its place. A factor of the comparison, e.g. `{temperature: 1}`."""
    reasoning: ReasoningChoice | None = None
    """How hard the model is asked to think under this condition, sent as each provider's own `reasoning.sends` says;
    null: as the provider's settings say."""
    providers: tuple[str, ...] = ()
    """Who is asked so; empty: everybody."""


DEFAULT_CONDITION = "default"
FIRST_TOKENS_ASKED = 32
"""Of how many prompts runs, nights and `check --deep` ask for log-probabilities where nothing else is said."""


class RunSection(StrictModel):
    """What `tempzero run` does with the providers."""

    name: Name = "run"
    """The end of the run folder's name, after its time. Letters, digits and `._@:+-`; 100 at most."""
    reference: str | tuple[str, ...] | None = None
    """The provider that the others are compared with, or a list with one for each claimed model. `pack:FILE` is a
    reference pack, which needs no entry of its own. null: providers are compared with each other only."""
    prompts: OneOrMore = "prompts"
    """Prompt files or folders of them, relative to this file; `builtin` names the shipped ones, `builtin/trivia` one
    of their files. A list is asked together: `[builtin, mine.yaml]`."""
    suite: SuiteName | None = None
    """How many of them: `quick`, `standard` (which holds quick) or `deep`, all there are; of hosted models, with longer
    answers, `hosted-quick` or `hosted` (which holds it), or very long texts, `marathon`; `conversations` gives
    answers back. null: of the shipped prompts `hosted-quick` where a hosted provider is asked, else `quick`; of others
    `deep`."""
    results: str = "results"
    """The folder that run folders are written into, relative to this file; or a place in an object store, e.g.
    `s3://bucket/prefix` (also `gs://`, `az://`, `file://`). Keys come from the environment, never from here."""
    sessions: Positive = 1
    """In how many sessions the repeats are asked, each with connections of its own, some time after the one before. A
    router may bind a connection to one machine, so that all repeats of one session are its. With two or more, whole
    sessions are what tests exchange, and four or more are needed to tell two peers apart; a provider needs as many
    repeats."""
    session_gap_s: Annotated[float, Field(ge=0)] = 60.0
    """Seconds between the end of a session and the beginning of the next."""
    seed: int = 1
    """Seeds the order of the trials: the same seed, the same order."""
    fingerprint: Annotated[int, Field(ge=0, le=1000)] = FIRST_TOKENS_ASKED
    """Prompts of a direction pack that are asked besides, for their first tokens, of endpoints of its model that give
    log-probabilities: these tell the form of the weights (docs/fingerprint.md). 0: none, as `--no-fingerprint` says."""
    direction_pack: str | None = None
    """The pack's file, relative to this file, for runs, nights, `check --deep` and `fingerprint`; null: the one that is
    shipped for the model, if any."""

    @field_validator("results")
    @classmethod
    def _refuse_odd_urls(cls, results: str) -> str:
        if is_store_url(results):
            try:
                parse_store_url(results)
            except UsageError as error:
                raise ValueError(str(error)) from None
        return results

    def session_of(self, repeat: int, repeats: int) -> int:
        """The session in which a provider that is asked so often gives this repeat; both are counted from 0."""
        return repeat * min(self.sessions, repeats) // repeats if repeat < repeats else 0

    @property
    def references(self) -> tuple[str, ...]:
        """The reference providers' names; empty when there is none."""
        return list_names(self.reference)

    @property
    def prompt_names(self) -> tuple[str, ...]:
        """What `prompts` names, one or more."""
        return list_names(self.prompts)


class Gates(StrictModel):
    """What turns an analysis into an exit code."""

    min_coverage: Annotated[float, Field(ge=0, le=1)] = 0.8
    """Below this share of answered trials, whole or cut, a provider is inconclusive."""
    min_prompts: Positive = 5
    """With fewer prompts behind a figure a provider is inconclusive."""
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Family-wise error rate of the tests behind findings."""
    ignore: tuple[RuleName, ...] = ()
    """Rules of findings that are reported but do not fail the run: `nondeterministic` (its own repeats differ),
    `reference_not_reproducible` (the reference's do), `conditions_differ` (its answers under two conditions),
    `first_answers_differ` (from its later ones), `model_mismatch` (another model answered), `max_tokens_not_held`,
    `template_leak`, `identity_changed` (another served model, or pinned backend, within the run), `reasoning_shown`
    (only one of two thinks), `prompt_tokens_differ`, `deviates_from_reference` (by its texts: a
    note), `deviates_token_by_token` (beyond 16-bit rounding, as the reference reads them), `precision_contradicted`
    (coarser weights than declared, by log-probabilities), `odd_one` (from every peer
    that most are like), `camps` (peers fall into camps), `differs` (from a peer, by its texts), `answers_differ`
    (not equally often right), `repeats_more`, `loops_more`; and the causes that a diagnosis shows:
    `cause_post_processed`, `cause_cut_short`, `cause_mixture`, `cause_penalty`, `cause_other_prompt`,
    `cause_other_model`, `cause_sampled`, `cause_positions`, `cause_coarser` and `cause_not_faithful`."""
    min_emr: Annotated[float, Field(ge=0, le=1)] | None = None
    """A provider whose exact-match rate is certainly below this fails."""
    min_reference_match: Annotated[float, Field(ge=0, le=1)] | None = None
    """A provider whose cross-EMR with the reference is certainly below this fails."""
    max_excess_divergence: Annotated[float, Field(ge=0, le=1)] | None = None
    """A provider whose excess divergence from the reference is certainly above this fails."""
