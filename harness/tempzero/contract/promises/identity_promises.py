"""An endpoint in, whether the model asked for answers each request anew, out."""

from __future__ import annotations

from tempzero.contract.asked_host import AskedHost
from tempzero.contract.case import CaseJudgement, ContractCase, judge_fail, judge_open, judge_pass, judge_skip
from tempzero.contract.promises.asked_texts import OPEN_PROMPTS, OPEN_TOKENS, quote_text, starts_otherwise
from tempzero.types.recorded import Flag

_OTHER_MODEL: Flag = "model_mismatch"
_FEWEST_SEEN = 2
_FEWEST_WORDS = 6
_CODES = ("KESTREL-4711", "KESTREL-4712", "KESTREL-4713")


async def _judge_identity_name(host: AskedHost) -> CaseJudgement:
    """Of every answer: who says it made it."""
    answered = [a for a in host.ledger.answers if a.is_answer and '"no-such-model' not in a.exchange.request.body]
    other = [answer for answer in answered if _OTHER_MODEL in answer.flags]
    if not answered:
        return judge_open("nothing was answered")
    if len(other) >= _FEWEST_SEEN:
        said = other[0].exchange.outcome.completion
        served = quote_text((said.served_model if said is not None else None) or "")
        count = f"{len(other)} of {len(answered)} answers"
        return judge_fail(f'{count} came from {served}, and "{host.provider.model}" was asked for')
    named = [
        a for a in answered if a.exchange.outcome.completion is not None and a.exchange.outcome.completion.served_model
    ]
    return judge_pass("answers name the model asked for") if named else judge_open("answers name no model")


async def _judge_anew(host: AskedHost) -> CaseJudgement:
    """What was drawn at temperature 1 does not come three times; of two questions, so that none is to blame."""
    if any(answer.kind == "cached" for answer in host.ledger.answers):
        return judge_fail("a response cache answered: answers came with the id and the times of earlier ones")
    if host.provider.temperature is None:
        return judge_skip("no temperature is sent to it")
    drawn = [
        [await host.get(prompt, tokens=OPEN_TOKENS, temperature=1, nth=nth) for nth in range(3)]
        for prompt in OPEN_PROMPTS[:2]
    ]
    texts = [[answer.text for answer in answers] for answers in drawn]
    if min(len(answers[0].split()) for answers in texts) < _FEWEST_WORDS:
        return judge_open("too short an answer to tell")
    if any(len(set(answers)) > 1 for answers in texts):
        return judge_pass("at temperature 1 each answer was drawn for itself")
    likeliest = (await host.get(OPEN_PROMPTS[0], tokens=OPEN_TOKENS)).text
    if not starts_otherwise(likeliest, texts[0][0]):
        return judge_open("at temperature 1 it gives the answer of temperature 0: see sampling.temperature_1")
    return judge_fail(
        "what it drew at temperature 1 came three times, to both questions, and is not the answer of temperature 0: "
        "it comes from a cache, or one seed draws for everybody"
    )


async def _judge_own(host: AskedHost) -> CaseJudgement:
    """A question that differs in its last letters only."""
    foreign = []
    for place, code in enumerate(_CODES):
        text = (await host.get(f"Repeat this code and write nothing else: {code}", tokens=24)).text
        others = [other for other in _CODES[:place] if other in text]
        if others and code not in text:
            foreign.append((code, others[0]))
    if foreign:
        code, other = foreign[0]
        return judge_fail(f"asked to repeat {code} it wrote {other}: the answer to an earlier question")
    return judge_pass("a question that differs in one letter has an answer of its own")


IDENTITY_CASES = (
    ContractCase(
        id="identity.model",
        family="identity",
        promise="The model asked for answers.",
        judge=_judge_identity_name,
        reads_all=True,
    ),
    ContractCase(
        id="identity.computed_anew",
        family="identity",
        promise="Every answer is computed for its request.",
        judge=_judge_anew,
    ),
    ContractCase(
        id="identity.own_question",
        family="identity",
        promise="A question that differs in one letter is not taken for an earlier one.",
        judge=_judge_own,
    ),
)
