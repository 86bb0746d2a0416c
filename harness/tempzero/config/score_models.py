"""How references read the responses, token by token: `score:` of providers.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tempzero.config.strict_model import Name, Positive, StrictModel


class PromptVariant(StrictModel):
    """Another way in which a provider may have rendered the prompts."""

    name: Name
    """What it is called in the report, e.g. empty-system. Letters, digits and `._@:+-`; 100 at most."""
    system: str | None = None
    """A system message in place of the prompt's own; empty is a message too. Null leaves the messages as they are."""
    chat_template: str | None = None
    """A Jinja template, or `path:FILE`, instead of the model file's own."""


_ENDPOINT, _COARSER = "endpoint:", "coarser:"
ReferenceForm = Annotated[
    str,
    Field(
        pattern=r"^((threads|batch|position_base)=[1-9][0-9]*|flash_attention"
        r"|(cache=)?(f16|bf16|q8_0|q5_1|q5_0|q4_1|q4_0)|weights=\S+|endpoint:\S+|coarser:\S+)$"
    ),
]


class ScoreSection(StrictModel):
    """How references read the responses, token by token."""

    enabled: bool = True
    """Whether `run` does it; `tempzero score` always does."""
    forms: tuple[ReferenceForm, ...] = (
        "threads=1",
        "batch=64",
        "f16",
        "bf16",
        "q8_0",
        "q4_0",
        "cache=q8_0",
        "cache=q4_0",
        "position_base=10000",
    )
    """Other forms of the reference that read some of its own responses. `threads=`, `batch=`, `flash_attention`, `f16`
    and `bf16` compute the same weights another way: the noise floor. Coarser precisions of weights and of the cache
    (`cache=`), another base of its positions (`position_base=`) and any model file (`weights=` a name from `weights:`)
    are suspects: each provider's responses are read by them too, a token at a time, as a host writes, and with the keys
    and values of other precisions in 16 bits.
    `endpoint:` and the name of a provider says that this one is honest, for instance a server of your own with the same
    weights in 16 bits: how much it rounds is then what the others may.
    `coarser:` and the name of a provider that `reads:` says that this one has the same model with coarser weights, for
    instance a server of your own in FP8: a suspect through which the responses are read as well. Its
    `claims.precision` says how many bits it has."""
    form_tokens: Positive = 480
    """Response tokens that each form reads."""
    variants: tuple[PromptVariant, ...] = ()
    """Renderings of your own that a provider may have used, read like the suspects that come with tempzero."""
    variant_responses: Annotated[int, Field(ge=0)] = 4
    """Without effect; it stands in run folders that were written before suspects were read."""

    @property
    def honest_endpoints(self) -> tuple[str, ...]:
        """The providers that are named as honest."""
        return tuple(f.removeprefix(_ENDPOINT) for f in self.forms if f.startswith(_ENDPOINT))

    @property
    def coarser_endpoints(self) -> tuple[str, ...]:
        """The providers that read with coarser weights of a reference's model."""
        return tuple(f.removeprefix(_COARSER) for f in self.forms if f.startswith(_COARSER))

    @property
    def own_forms(self) -> tuple[str, ...]:
        """The forms of the reference's own model."""
        return tuple(f for f in self.forms if not f.startswith((_ENDPOINT, _COARSER)))
