"""What references read and trials of answers came to: the lines of scores/ and judged/, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from tempzero.types.asked import Trial


@dataclass(frozen=True, kw_only=True, slots=True)
class Reader:
    """Who read the responses of one claimed model, and the grids its sums are given on.

    `engine` is what the reading engine says of itself. `exact` is False where only the most likely
    tokens were visible (an endpoint's `prompt_logprobs`): there the sums over grids are absent. `until_difference` is
    True of a pack, which knows what follows its own answer only: a response is read up to the first token in which it
    differs from that.
    """

    reference: str
    claimed_model: str
    engine: Mapping[str, Any]
    vocabulary: int
    exact: bool
    temperatures: tuple[float, ...]
    noises: tuple[float, ...]
    until_difference: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenScores:
    """One value for each token of a response, under the reference, in the response's own context.

    A response that ended by itself has the token that ends the turn as its last one. `ends[i]` is
    how many characters of the response's text stand complete after token i. `margin` is the largest
    logit minus this token's (0 where the reference agrees), `gap` largest minus second largest
    logit, `rank` counts from 1, `seen` is 1 where the reference's choice already stood in the
    prompt or response. `instead` are the texts of the reference's choices where they differ from the tokens, in order
    (empty for one that adds no text: the end of the turn).
    """

    token_ids: tuple[int, ...]
    ends: tuple[int, ...]
    argmax: tuple[int, ...]
    margin: tuple[float, ...]
    logprob: tuple[float, ...]
    rank: tuple[int, ...]
    gap: tuple[float, ...]
    seen: tuple[int, ...]
    instead: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodingSums:
    """How likely a response's tokens are under ways of decoding: sums over its tokens, in nats.

    `sampled[i]`: log-likelihood of sampling at `Reader.temperatures[i]`; `rounded[i]`: of greedy decoding from
    logits with Gaussian noise of scale `Reader.noises[i]` (see `metrics.decoding`).
    """

    sampled: tuple[float, ...]
    rounded: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredResponse:
    """A response as the reference reads it (teacher forcing): one line of the scores.

    `record_sha256` is the hash of the line of the records it was read from. `prompt_tokens` is the
    reference's own count. `tokens_from`: the provider's token ids, or the text tokenized again;
    `round_trip` says whether the ids give exactly the text back; `settled` counts the places where a text could be cut
    into tokens in two ways and the way that the reference finds likelier was taken. A response with the same prompt and
    tokens as an earlier one has the same scores: it names that one in `same_as` and leaves `scores` out.
    """

    trial: Trial
    number: int
    record_sha256: str
    reference: str
    prompt_tokens: int
    tokens_from: Literal["provider", "text"]
    round_trip: bool
    settled: int
    ended: bool
    same_as: Trial | None
    scores: TokenScores | None
    sums: DecodingSums | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Unread:
    """A usable response that the reference could not read, and why."""

    trial: Trial
    number: int
    record_sha256: str
    reference: str
    reason: str


RepeatedForm = Literal["again", "batched"]
"""A server that is the reference, reading the same text a second time: alone, or among others."""
REPEATED_FORMS: tuple[RepeatedForm, ...] = get_args(RepeatedForm)


@dataclass(frozen=True, kw_only=True, slots=True)
class FormReading:
    """The same response read by another form of the reference's own model, against the plain reading.

    `honest` forms compute the same weights another way (threads, batch, 16 bits): the noise floor.
    The others are coarser weights or caches: profiles to compare providers with. One value for each
    token: `gap_change` is |gap there - gap here| of the plain reading's two best tokens, `margin` the
    plain reading's margin of the token that the form would choose (0: the same one). `rounded` and
    `sampled` are the sums of `DecodingSums` for the form's choices.
    """

    reference: str
    form: str
    honest: bool
    trial: Trial
    gap_change: tuple[float, ...]
    margin: tuple[float, ...]
    rounded: tuple[float, ...]
    sampled: tuple[float, ...] = ()

    @property
    def repeated(self) -> bool:
        """Whether it is the same computation once more, which says nothing of how 16 bits round."""
        return self.form in REPEATED_FORMS


BatchForm = Literal["chat", "completions"]
"""How a reading is handed over to an offline batch. `chat`: as /v1/chat/completions, which is all that `vllm run-batch`
takes, with the tokens in `kv_transfer_params`. `completions`: as /v1/completions, with the tokens as the prompt."""

SuspectKind = Literal["unchanged", "request", "sampler", "weights", "positions"]
"""What a suspect changes: nothing, the prompt that the model is given, the choice from its logits, the numbers that it
computes with, the base of its positions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SuspectAnswer:
    """One response read under one suspect.

    `missed[i]` is the byte of the text at which the i-th token begins that the suspect would not have chosen (the
    token that ends the turn begins behind the text's last byte), `margin[i]` by how many logits not. `whole` is
    False where reading stopped because the suspect was refuted. `prompt_tokens` are those of the suspect's prompt.
    """

    trial: Trial
    prompt_tokens: int
    tokens: int
    missed: tuple[int, ...]
    margin: tuple[float, ...]
    whole: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class SuspectReading:
    """A provider's distinct responses read under one suspect: would every token be the best one if this were so?

    `touched` are the prompts that the suspect changes; on the others it reads as the unchanged reference does, and
    they are not read again. None touched: it cannot be told by this suite. `family` joins suspects that differ in
    size only. `refuted`: one token says no, so the rest was not read. `read_tokens`: what was computed for it.
    """

    reference: str
    provider: str
    condition: str
    suspect: str
    kind: SuspectKind
    family: str
    words: str
    touched: tuple[str, ...]
    answers: tuple[SuspectAnswer, ...]
    refuted: bool
    read_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreLine:
    """One line of the scores with its place in the hash chain; exactly one of the others is not None."""

    seq: int
    previous: str
    reader: Reader | None = None
    scored: ScoredResponse | None = None
    unread: Unread | None = None
    form: FormReading | None = None
    suspect: SuspectReading | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """All scores that is still about the records: what attribution works on."""

    readers: tuple[Reader, ...] = ()
    scored: tuple[ScoredResponse, ...] = ()
    unread: tuple[Unread, ...] = ()
    forms: tuple[FormReading, ...] = ()
    suspects: tuple[SuspectReading, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """What an answer came to that reading alone could not tell: one line of judged/, with its place in the chain.

    It is about a text (`text_sha256`) as an answer to a prompt; `asked_sha256` is of the prompt's extractor with
    its version and arguments and of the expected answer. `answer` None: it could not be read after all.
    """

    seq: int
    previous: str
    prompt: str
    asked_sha256: str
    text_sha256: str
    answer: str | None
    correct: bool | None
    detail: str
