"""A made-up Analysis and its Verdict, with everything a report can meet; and the same with hostile strings."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from typing import cast

from tempzero.analysis.registry import METRICS, VOCABULARY
from tempzero.types.asked import Skipped, Trial
from tempzero.types.concluded import (
    Analysis,
    AnswerCount,
    AskedPart,
    AskedPrompt,
    Diagnosis,
    DistinctAnswer,
    Divergence,
    Estimate,
    FailureCount,
    Figure,
    Finding,
    FlagCount,
    FormScale,
    MarginProfile,
    NoiseFloor,
    OutcomeCounts,
    PairCause,
    Partings,
    PromptRow,
    ProviderFacts,
    ProviderVerdict,
    ReadText,
    ReadToken,
    ReferenceReading,
    ServedModel,
    Standing,
    SurvivalCurve,
    Verdict,
)
from tempzero.types.recorded import Flag
from tempzero.types.vocabulary import (
    CauseName,
    KindName,
    Metric,
    MetricName,
    NameStanding,
    PairKind,
    PartName,
    Strength,
)

MODEL = "SmolLM2-135M-Instruct"
REFERENCE = "cpu-f32"
# name -> (own EMR, cross-EMR with the reference)
LOCAL = {
    REFERENCE: (1.0, 1.0),
    "llama-f16": (1.0, 0.9667),
    "llama-f16-batched": (0.8444, 0.8611),
    "llama-q8_0": (1.0, 0.5333),
    "llama-q4_0": (1.0, 0.0667),
    "hosted-example": (0.4111, 0.3222),
}
DOWN = "hosted-down"
OTHER_MODEL = "other-model"
FAMILIES = ("arithmetic", "code", "format", "long-context", "long-generation", "trivia")
CONDITION = "default"
N = 24
FAILURES: tuple[FailureCount, ...] = (
    FailureCount(provider=DOWN, kind="rate_limited", count=60, prompts=24, said="HTTP 429 slow down"),
    FailureCount(provider=DOWN, kind="timeout", count=9, prompts=3, said="no first byte within 60 s"),
    FailureCount(provider=DOWN, kind="auth", count=3, prompts=1, said="HTTP 401 key revoked"),
    FailureCount(provider="hosted-example", kind="length", count=4, prompts=2),
    FailureCount(provider="hosted-example", kind="server", count=2, prompts=2, said="HTTP 502"),
    FailureCount(provider="llama-q4_0", kind="content_filter", count=1, prompts=1),
    FailureCount(provider="llama-q4_0", kind="unpinned", count=1, prompts=1),
)
# No section knows this one by name.
SHINY = Metric(
    name=cast(MetricName, "shiny_new_metric"),
    unit="s",
    kinds=("speed",),
    title="Shiny new metric",
    definition="Something that was not there before.",
    source="made up",
)
UNITS = {metric.name: metric.unit for metric in (*METRICS, SHINY)}
HOSTILE = (
    "</script><script>document.documentElement.dataset.ran=1;alert(1)</script>",
    "]]>",
    "\x1b[31mred\x1b[0m\x1b]8;;http://evil.example\x07link",
    "nul\x00byte",
    "\u202egnp.exe\u2066 right to left",
    "x" * 5000,
    "e\u0301\u0323 👩‍👩‍👧 𝔘𝔫𝔦 ﷽ \u200b\ufeff\u2028 ‮",
    "a | b\n| c | d |\n# heading\n- item [link](javascript:alert(1)) ![i](http://e.example/i.png) `code` **b**",
    "[red]markup[/red] [bold]b[/] [link=http://e.example]l[/link]",
    "=cmd|'/C calc'!A0",
    "<img src=x onerror=document.documentElement.dataset.ran=2> &lt;b&gt; &amp; \"quote\" 'single' {{ 7*7 }} {% raw %}",
    "```\nfence\n~~~\n````` five",
    "https://evil.example www.evil.example \\| \\",
)


def estimate(
    value: float | None, low: float | None, high: float | None, n: int = N, method: str = "Wilson"
) -> Estimate:
    """An Estimate in one line."""
    return Estimate(value=value, low=low, high=high, n=n, method=method)


def near(value: float, width: float = 0.09, n: int = N) -> Estimate:
    """A share with an interval about it, inside [0, 1]."""
    return estimate(value, max(0.0, value - width), min(1.0, value + width), n)


def figure(
    kind: KindName,
    metric: MetricName,
    left: str,
    value: Estimate,
    *,
    right: str | None = None,
    family: str | None = None,
    k: int | None = None,
) -> Figure:
    """A Figure under the one condition."""
    return Figure(
        kind=kind,
        metric=metric,
        left=left,
        right=right,
        condition=CONDITION,
        family=family,
        k=k,
        estimate=value,
        unit=UNITS[metric],
    )


def trial(provider: str, prompt: str = "arithmetic-01", repeat: int = 0) -> Trial:
    """A Trial under the one condition."""
    return Trial(provider=provider, prompt=prompt, condition=CONDITION, repeat=repeat)


def _repeat(name: str, emr: float) -> list[Figure]:
    spread = 0.0 if emr == 1 else 0.125
    return [
        figure("repeat", "emr", name, near(emr, 0.12), k=3),
        figure("repeat", "tarr", name, near(emr, 0.12), k=2),
        figure("repeat", "tarr", name, near(max(0.0, emr - 0.05 * (emr < 1)), 0.13), k=3),
        figure("repeat", "tara", name, estimate(None, None, None, 0), k=3)
        if name == "llama-f16"
        else figure("repeat", "tara", name, near(min(1.0, emr + 0.1), 0.1, 16), k=3),
        figure("repeat", "unique_outputs", name, estimate(3 - 2 * emr, 1.0, 3.1 - 2 * emr, N, "t"), k=3),
        figure("repeat", "modal_share", name, near(emr)),
        *([figure("repeat", "bit_identical_share", name, near(1.0, 0.1))] if name == REFERENCE else []),
        figure("repeat", "ned", name, near((1 - emr) / 2, 0.05)),
        figure("repeat", "accuracy_spread", name, near(spread, 0.07, 16)),
        *(figure("repeat", "emr", name, near(emr, 0.3, 4), family=family, k=3) for family in FAMILIES),
    ]


def _between(kind: KindName, left: str, right: str, same: float, floor: float) -> list[Figure]:
    return [
        figure(kind, "cross_emr", left, near(same, 0.13), right=right),
        figure(kind, "excess_divergence", left, estimate(1 - floor - same, -0.02, 1 - same, N, "t"), right=right),
        figure(kind, "noise_floor", left, near(floor, 0.06), right=right),
        figure(kind, "minimum_detectable_excess", left, estimate(0.0712, None, None, N, "test at .05"), right=right),
        figure(kind, "cross_ned", left, near((1 - same) / 2, 0.1), right=right),
        figure(kind, "answer_agreement", left, near(min(1.0, same + 0.2), 0.2, 16), right=right),
        figure(kind, "flips", left, estimate(0.0625, 0.011, 0.2833, 16), right=right),
        figure(kind, "finish_reason_agreement", left, near(1.0), right=right),
        figure(kind, "length_difference_chars", left, estimate(-12.4, -30.2, 5.5, N, "t"), right=right),
        figure(kind, "prompt_tokens_agreement", left, near(1.0 if left != "hosted-example" else 0.0), right=right),
    ]


def _alone(name: str, index: int) -> list[Figure]:
    priced = name == "hosted-example"
    return [
        figure("coverage", "coverage", name, near(0.97, 0.05)),
        figure("coverage", "censored_share", name, near(0.02, 0.02)),
        figure("coverage", "missing_share", name, near(0.01, 0.01)),
        figure("repetition", "seq_rep_4", name, near(0.12 + 0.01 * index, 0.05)),
        figure("repetition", "rep_128", name, near(0.41, 0.05)),
        figure("repetition", "loop_share", name, near(0.04 * index, 0.04)),
        figure("answers", "accuracy", name, near(0.62, 0.2, 16)),
        figure("answers", "unparsed_share", name, near(0.05, 0.05, 16)),
        figure("answers", "verbosity_chars", name, estimate(231.75, 180.1, 290.0, N, "t")),
        figure("identity", "served_models", name, estimate(1, None, None, 72, "count")),
        figure("identity", "fingerprints", name, estimate(1 + priced, None, None, 72, "count")),
        figure("identity", "backends", name, estimate(0, None, None, 0, "count")),
        figure("speed", "latency_s", name, estimate(1.2345, 1.1, 1.4, N, "t")),
        figure("speed", "first_byte_s", name, estimate(None, None, None, 0, "t")),
        figure("speed", "completion_tokens_per_s", name, estimate(48.7, 44.0, 51.2, N, "t")),
        figure("speed", SHINY.name, name, estimate(0.5, 0.4, 0.6, N, "t")),
        figure("cost", "calls", name, estimate(72, None, None, 72, "count")),
        figure("cost", "attempts", name, estimate(75, None, None, 72, "count")),
        figure("cost", "prompt_tokens", name, estimate(12345, None, None, 72, "count")),
        figure("cost", "completion_tokens", name, estimate(6789, None, None, 72, "count")),
        *([figure("cost", "cost_usd", name, estimate(0.004321, None, None, N, "sum"))] if priced else []),
    ]


_OF_TEXTS = ("cross_emr", "excess_divergence", "noise_floor", "minimum_detectable_excess", "cross_ned")


def _figures() -> list[Figure]:
    figures: list[Figure] = []
    names = [n for n in LOCAL if n != REFERENCE]
    for index, (name, (emr, same)) in enumerate(LOCAL.items()):
        figures += _repeat(name, emr) + _alone(name, index)
        if name != REFERENCE:
            figures += _between("reference", name, REFERENCE, same, (1 - emr) / 2)
            figures.append(figure("repetition", "loop_share_excess", name, near(0.05 * index, 0.05), right=REFERENCE))
            figures += [
                figure("reference", "cross_emr", name, near(same, 0.3, 4), right=REFERENCE, family=family)
                for family in FAMILIES
            ]
    for i, left in enumerate(names):
        for right in names[i + 1 :]:
            floor = (2 - LOCAL[left][0] - LOCAL[right][0]) / 2
            figures += _between("cross", left, right, LOCAL[left][1] * LOCAL[right][1], floor)
            figures.append(figure("answers", "mismatch_rate", left, near(0.25, 0.15, 16), right=right))
    # hosted-example thinks, and shows it; llama-q4_0 does not.
    of_parts: tuple[tuple[PartName, float], ...] = (("reasoning", 0.2), ("text", 0.9))
    for part, emr in of_parts:
        figures += [
            replace(one, part=part)
            for one in (
                figure("repeat", "emr", "hosted-example", near(emr, 0.12)),
                figure("repeat", "ned", "hosted-example", near(1 - emr, 0.12)),
                figure("repetition", "loop_share", "hosted-example", near(0.04, 0.04)),
                figure("answers", "verbosity_chars", "hosted-example", estimate(100.0, 90.0, 110.0, N, "t")),
                figure("cross", "cross_emr", "hosted-example", near(emr / 2, 0.1), right="llama-f16"),
            )
        ]
    figures = [
        replace(f, part="spoken")
        if {f.left, f.right} == {"hosted-example", "llama-q4_0"} and f.metric in _OF_TEXTS
        else f
        for f in figures
    ]
    figures.append(figure("coverage", "coverage", DOWN, estimate(0.0, 0.0, 0.1424)))
    figures.append(figure("repeat", "emr", DOWN, estimate(None, None, None, 0)))
    figures.append(figure("reference", "cross_emr", DOWN, estimate(None, None, None, 0), right=REFERENCE))
    figures.append(figure("repeat", "emr", OTHER_MODEL, estimate(1.0, None, None, 1)))
    figures.append(figure("coverage", "coverage", OTHER_MODEL, estimate(1.0, 0.8576, 1.0)))
    return figures


def _facts(name: str) -> ProviderFacts:
    return ProviderFacts(
        name=name,
        model="smollm2-135m" if name != OTHER_MODEL else "other-1b",
        claimed_model=MODEL if name != OTHER_MODEL else "Other-1B",
        claimed_precision={"llama-q4_0": "q4_0", "llama-q8_0": "q8_0", REFERENCE: "f32"}.get(name),
        is_reference=name == REFERENCE,
        engine="llama_cpp" if name == REFERENCE else "openai_chat",
        concurrency=8 if name == "llama-f16-batched" else 1,
        repeats=3,
        temperature=None if name == "hosted-example" else 0.0,
        pinned=name != "hosted-example",
    )


def _curves() -> list[SurvivalCurve]:
    curves = []
    for name, (emr, same) in LOCAL.items():
        sides: tuple[tuple[PairKind, str | None, float], ...] = (("repeat", None, emr), ("cross", REFERENCE, same))
        for kind, right, end in sides:
            if right == name:
                continue
            positions = tuple(range(0, 640, 20))
            shares = tuple(end + (1 - end) * 0.86 ** (p / 20) * (p < 600) for p in positions)
            curves.append(
                SurvivalCurve(
                    kind=kind,
                    left=name,
                    right=right,
                    condition=CONDITION,
                    positions=positions if end < 1 else (640,),
                    shares=shares if end < 1 else (1.0,),
                    pairs=72,
                )
            )
    return curves


def _divergences() -> list[Divergence]:
    shared = "To find the number of apples, add what Ada has to what Ben has. Ada has 17 and Ben has 25 apples, " * 3
    left = shared + "so together they have 42 apples. Answer: 42"
    right = shared + "which makes forty-two in total.\n\nTherefore the answer is 42. Answer: 42"
    at = next(i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b)
    found = []
    for a, b, repeat in (
        ("llama-f16-batched", "llama-f16-batched", 2),
        ("hosted-example", "hosted-example", 1),
        ("llama-q8_0", REFERENCE, 0),
        ("llama-q4_0", REFERENCE, 0),
        ("llama-q4_0", "llama-q8_0", 0),
    ):
        found.append(
            Divergence(
                prompt="arithmetic-01",
                left=trial(a),
                right=trial(b, repeat=repeat),
                left_text=left,
                right_text=right,
                at_char=at,
            )
        )
    cut = "Paris is the capital of France."
    found.append(
        Divergence(
            prompt="trivia-02",
            left=trial("llama-q4_0", "trivia-02"),
            right=trial(REFERENCE, "trivia-02"),
            left_text=cut,
            right_text=cut + " It lies on the Seine." + " And so on." * 200,
            at_char=len(cut),
        )
    )
    return found


def _standing(text: str, margin: float, rank: int) -> Standing:
    return Standing(text=text, margin=margin, rank=rank)


def _read(divergence_trial: Trial, text: str) -> ReadText:
    """A text word by word, every ninth of which the reference would not have said."""
    words = re.findall(r"[^ ]+ ?", text)
    return ReadText(
        reference=REFERENCE,
        trial=divergence_trial,
        tokens=tuple(
            ReadToken(
                text=w,
                margin=0.07 * i if i % 9 == 8 else 0.0,
                rank=1 + (i % 9 == 8),
                instead="so" if i % 9 == 8 else None,
            )
            for i, w in enumerate(words)
        ),
    )


def _diagnosis(
    provider: str, cause: CauseName, strength: Strength, message: str, size: Estimate | None = None
) -> Diagnosis:
    return Diagnosis(
        reference=REFERENCE,
        provider=provider,
        condition=CONDITION,
        cause=cause,
        strength=strength,
        message=message,
        estimate=size,
        evidence=(trial(provider),),
    )


def reading() -> ReferenceReading:
    """What the reference read: a faithful, a coarser, a sampled and an undecided provider."""
    scale = estimate(0.004, 0.003, 0.005)
    at = (0.001, 0.01, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
    shares = {"llama-f16": 0.002, "llama-q8_0": 0.03, "llama-q4_0": 0.2, "hosted-example": 0.11}
    texts = {t: text for d in _divergences() for t, text in ((d.left, d.left_text), (d.right, d.right_text))}
    return ReferenceReading(
        floors=(
            NoiseFloor(
                reference=REFERENCE,
                basis="profile",
                source="a made-up host in 16 bits",
                epsilon=0.0123,
                tokens=4096,
                scale=scale,
                forms=(FormScale(form="f16", honest=True, tokens=4096, match=0.999, scale=scale),),
                own_tokens=2000,
                own_misses=1,
                own_unexplained=0,
            ),
        ),
        profiles=tuple(
            MarginProfile(
                reference=REFERENCE,
                who=who,
                condition=CONDITION if kind == "provider" else None,
                kind=kind,  # type: ignore[arg-type]
                tokens=2000,
                at=at,
                shares=tuple(share * 0.6**i for i in range(len(at))),
            )
            for kind, who, share in (
                *(("provider", who, share) for who, share in shares.items()),
                ("honest", "f16", 0.001),
                ("coarser", "q4_0", 0.21),
                ("honest", "threads", 0.0),
            )
        ),
        diagnoses=(
            _diagnosis("llama-f16", "faithful", "shown", "2 tokens are missed, and rounding explains them", scale),
            _diagnosis("llama-q4_0", "coarser", "shown", "as much rounding as in q4_0", estimate(1.4, 1.2, 1.7)),
            _diagnosis("hosted-example", "sampled", "likely", "repeats differ", estimate(0.51, 0.44, 0.6)),
            _diagnosis("hosted-example", "cut_short", "shown", "5 responses end where they would hardly have"),
            _diagnosis("llama-q8_0", "unknown", "undecided", "the misses fit both"),
        ),
        pairs=tuple(
            PairCause(
                reference=REFERENCE,
                left=d.left,
                right=d.right,
                verdict="near-tie" if index == 0 else "unexplained",
                at_token=5,
                gap=0.01,
                left_token=_standing("so", 0.0, 1),
                right_token=_standing("which", 0.01 + index, 2),
            )
            if index != 1
            else PairCause(reference=REFERENCE, left=d.left, right=d.right, verdict="unread", reason="it was not read")
            for index, d in enumerate(_divergences())
        ),
        partings=(
            Partings(
                reference=REFERENCE,
                kind="reference",
                left="llama-q4_0",
                right=REFERENCE,
                condition=CONDITION,
                near_tie=1,
                unexplained=19,
                unread=0,
            ),
        ),
        texts=tuple(_read(t, text) for t, text in texts.items()),
    )


def _scored(name: str, match: float) -> list[Figure]:
    return [
        figure("scored", "token_match_rate", name, near(match, 0.02), right=REFERENCE),
        figure("scored", "token_match_rate", name, near(match, 0.1, 4), right=REFERENCE, family=FAMILIES[0]),
        figure("scored", "token_match_rate_tokens_1_4", name, near(match, 0.05), right=REFERENCE),
        figure("scored", "token_difr", name, estimate(0.08, 0.06, 0.1, N, "t"), right=REFERENCE),
        figure("scored", "margin_p99", name, estimate(1.08, 0.6, 2.1, N, "t"), right=REFERENCE),
    ]


def _prompt_rows() -> list[PromptRow]:
    rows = []
    for f, family in enumerate(FAMILIES):
        for number in range(1, 5):
            prompt = f"{family}-{number:02d}"
            for name, (emr, same) in LOCAL.items():
                agrees = (f + number) % 4 != 0
                rows.append(
                    PromptRow(
                        prompt=prompt,
                        family=family,
                        provider=name,
                        condition=CONDITION,
                        planned=3,
                        valid=3 if name != "hosted-example" or agrees else 1,
                        censored=0,
                        missing=0 if name != "hosted-example" or agrees else 2,
                        distinct=1 if agrees or emr == 1 else 2,
                        modal_share=1.0 if agrees or emr == 1 else 2 / 3,
                        emr=None if name == "hosted-example" and not agrees else 1.0 if agrees or emr == 1 else 1 / 3,
                        match_reference=None if name == REFERENCE else 1.0 if same > 0.9 else float(agrees),
                        expected="42" if family == "arithmetic" else None,
                        answers=((("42", 2), (None, 1)) if family == "arithmetic" else ()),
                        modal_text=f"Text of {prompt}.",
                        mean_chars=180.0 + 10 * number,
                    )
                )
    return rows


def _asked() -> tuple[AskedPrompt, ...]:
    return tuple(
        AskedPrompt(
            prompt=f"{family}-{number:02d}",
            family=family,
            expected="42" if family == "arithmetic" else None,
            parts=(
                AskedPart(role="system", text="Answer briefly."),
                AskedPart(role="user", text=f"What is question {number} of {family}?"),
            ),
            answers=2,
        )
        for family in FAMILIES
        for number in range(1, 5)
    )


def _answers() -> tuple[DistinctAnswer, ...]:
    """The first prompt's texts are those of a divergence, which were read; the others have two, one with reasoning."""
    first, found = _divergences()[0], []
    for asked in _asked():
        texts = (f"Text of {asked.prompt}. " + "It goes on and on. " * 60, f"Another text of {asked.prompt}.")
        if asked.prompt == first.prompt:
            texts = (first.left_text, first.right_text)
        for text, given in zip(texts, (("llama-f16-batched", REFERENCE), ("hosted-example",)), strict=True):
            found.append(
                DistinctAnswer(
                    prompt=asked.prompt,
                    reasoning="Let me think." if given == ("hosted-example",) else "",
                    text=text,
                    calls="",
                    refusal="",
                    cut=len(text) > 1000,
                    parsed="42" if asked.expected else None,
                    correct=True if asked.expected else None,
                    given=tuple(AnswerCount(provider=p, condition=CONDITION, count=3) for p in given),
                    trial=trial(given[0], asked.prompt),
                )
            )
    return tuple(found)


def _findings() -> list[Finding]:
    return [
        Finding(
            rule="nondeterministic",
            subject="hosted-example",
            other=None,
            message="hosted-example gave different texts to identical requests: same text again in 0.41 "
            "[0.29, 0.53], n=24; 2 distinct texts for arithmetic-01.",
            estimate=near(0.4111, 0.12),
            p_value=None,
            evidence=tuple(trial("hosted-example", f"arithmetic-{i:02d}", i % 3) for i in range(1, 20)),
        ),
        Finding(
            rule="nondeterministic",
            subject="llama-f16-batched",
            other=None,
            message="llama-f16-batched gave different texts to identical requests under 8 requests in flight.",
            estimate=near(0.8444, 0.12),
            p_value=None,
            evidence=(trial("llama-f16-batched"), trial("llama-f16-batched", repeat=2)),
        ),
        Finding(
            rule="deviates_from_reference",
            subject="llama-q4_0",
            other=REFERENCE,
            message="llama-q4_0 differs from the reference beyond both sides' own noise: excess divergence 0.93.",
            estimate=near(0.9333, 0.09),
            p_value=0.004,
            evidence=(trial("llama-q4_0"), trial(REFERENCE)),
        ),
        Finding(
            rule="prompt_tokens_differ",
            subject="hosted-example",
            other=REFERENCE,
            message="hosted-example counts other prompt tokens than the reference for the same messages.",
            estimate=None,
            p_value=None,
            evidence=(trial("hosted-example"), trial(REFERENCE)),
        ),
    ]


def _outcomes() -> tuple[OutcomeCounts, ...]:
    ended = dict.fromkeys(LOCAL, (72, 0)) | {DOWN: (0, 0), OTHER_MODEL: (3, 0), "hosted-example": (72, 22)}
    return tuple(
        OutcomeCounts(
            provider=name,
            condition=CONDITION,
            planned=72,
            answered=answered,
            cut_at_limit=cut,
            cut_otherwise=0,
            spent_on_reasoning=0,
            empty=0,
            excluded=0,
        )
        for name, (answered, cut) in ended.items()
    )


def _served() -> tuple[ServedModel, ...]:
    named: tuple[tuple[str, str | None, NameStanding | None, int], ...] = (
        ("hosted-example", "other-8b", "other", 70),
        ("hosted-example", None, None, 2),
        ("llama-q4_0", "smollm2-135m-2024-10-31", "alias", 72),
    )
    return tuple(
        ServedModel(
            provider=name,
            condition=CONDITION,
            asked="smollm2-135m",
            served_model=served,
            standing=standing,
            backend=None,
            answers=answers,
            fingerprints=2,
        )
        for name, served, standing, answers in named
    )


def _flags() -> tuple[FlagCount, ...]:
    counted: tuple[tuple[Flag, int], ...] = (("no_done", 72), ("model_mismatch", 70), ("limit_unsaid", 3))
    return tuple(
        FlagCount(
            provider="hosted-example",
            condition=CONDITION,
            flag=flag,
            count=count,
            attempts=75,
            trials=(trial("hosted-example"),),
        )
        for flag, count in counted
    )


@cache
def analysis() -> Analysis:
    """An Analysis with agreement, divergence, an outage, a skipped provider and a lonely model."""
    return Analysis(
        run_id="20261123T101500Z-first",
        created_at="2026-11-23T10:15:00+00:00",
        suite_digest="5f" * 32,
        plan_digest="a1" * 32,
        versions={"python": "3.11.2", "tempzero": "0.1.0", "git": "0123abc"},
        host={"system": "Linux", "cpu": "Example CPU", "cores": 2},
        providers=tuple(_facts(name) for name in (*LOCAL, DOWN, OTHER_MODEL)),
        references=(REFERENCE,),
        skipped=(Skipped(provider="hosted-keyless", reason="EXAMPLE_API_KEY is not set"),),
        prompts=N,
        records=523,
        figures=(*_figures(), *(f for name in LOCAL if name != DOWN for f in _scored(name, LOCAL[name][1]))),
        failures=FAILURES,
        findings=tuple(_findings()),
        curves=tuple(_curves()),
        divergences=tuple(_divergences()),
        prompt_rows=tuple(_prompt_rows()),
        notes=(
            "this run was cut short: 3 trials were never asked",
            *(
                f"{name}: no divergence in 3 repeats of 24 prompts, with up to 1 in flight; the rate of prompts that "
                "diverge is below 11.7% (95 %)"
                for name in (REFERENCE, "llama-q8_0", "llama-q4_0")
            ),
            f"{REFERENCE}: 48 of 48 repeats of 24 prompts have the same logits and token ids, bit for bit, as the "
            "prompt's first",
            "hosted-example: 4 responses were cut at their token limit; they are compared up to the cut",
        ),
        vocabulary=replace(VOCABULARY, metrics=(*METRICS, SHINY)),
        reading=reading(),
        outcomes=_outcomes(),
        served=_served(),
        flags=_flags(),
        asked=_asked(),
        answers=_answers(),
    )


def verdict() -> Verdict:
    """The verdict that belongs to `analysis`."""
    found = [
        ProviderVerdict(
            provider=name,
            outcome="finding",
            reasons=tuple(f.message for f in _findings() if f.subject == name),
        )
        for name in ("hosted-example", "llama-f16-batched", "llama-q4_0")
    ]
    doubtful = [
        ProviderVerdict(
            provider=DOWN,
            outcome="inconclusive",
            reasons=("only 0% of the planned trials were answered; 80% are needed",),
        ),
        ProviderVerdict(
            provider=OTHER_MODEL,
            outcome="inconclusive",
            reasons=("too few prompts with repeats: 1; 5 are needed",),
        ),
    ]
    passed = [
        ProviderVerdict(
            provider=name,
            outcome="pass",
            reasons=("agrees with itself: 1.000 [0.862, 1.000], n=24",),
        )
        for name in (REFERENCE, "llama-f16", "llama-q8_0")
    ]
    return Verdict(outcome="finding", providers=(*passed, *doubtful, *found))


@cache
def hostile_analysis() -> Analysis:
    """The same, with a hostile string in every place that text from outside can reach."""
    base = analysis()
    evil = " ".join(HOSTILE[:5]) + HOSTILE[7]
    names = {"hosted-example": HOSTILE[0], "llama-q4_0": HOSTILE[7], "llama-q8_0": HOSTILE[8]}

    def swap(name: str | None) -> str | None:
        return None if name is None else names.get(name, name)

    def evil_trial(t: Trial) -> Trial:
        return replace(t, provider=swap(t.provider) or "", prompt=HOSTILE[0] + t.prompt)

    return replace(
        base,
        run_id=HOSTILE[0],
        versions={**base.versions, HOSTILE[10]: HOSTILE[7]},
        host={"cpu": evil, HOSTILE[0]: [HOSTILE[1], {"x": HOSTILE[0]}]},
        providers=tuple(
            replace(p, name=swap(p.name) or "", model=HOSTILE[10], claimed_precision=evil) for p in base.providers
        ),
        skipped=tuple(Skipped(provider=HOSTILE[8], reason=text) for text in HOSTILE),
        figures=tuple(replace(f, left=swap(f.left) or "", right=swap(f.right)) for f in base.figures),
        failures=(
            *base.failures,
            FailureCount(provider=HOSTILE[7], kind="server", count=3, prompts=1, said=HOSTILE[2]),
            FailureCount(provider=HOSTILE[2], kind="quota", count=1, prompts=1, said=HOSTILE[7]),
        ),
        findings=tuple(
            Finding(
                rule="differs",
                subject=HOSTILE[0],
                other=text,
                message=f"message {i}: {text}",
                estimate=None,
                p_value=None,
                evidence=(trial(text, text), trial(HOSTILE[0])),
            )
            for i, text in enumerate(HOSTILE)
        ),
        curves=tuple(replace(c, left=swap(c.left) or "") for c in base.curves),
        divergences=tuple(
            Divergence(
                prompt=text,
                left=evil_trial(trial("llama-q4_0")),
                right=evil_trial(trial(REFERENCE)),
                left_text=f"same start {text}",
                right_text=f"same start, then {HOSTILE[0]} {text}",
                at_char=10,
            )
            for text in HOSTILE
        ),
        prompt_rows=tuple(
            replace(
                row,
                prompt=HOSTILE[i % len(HOSTILE)],
                family=HOSTILE[7] if i % 2 else HOSTILE[9],
                provider=swap(row.provider) or "",
                expected=HOSTILE[i % len(HOSTILE)],
                answers=((HOSTILE[9], 2), (HOSTILE[0], 1), (None, 1)),
                modal_text=HOSTILE[i % len(HOSTILE)],
            )
            for i, row in enumerate(base.prompt_rows)
        ),
        notes=HOSTILE,
        asked=tuple(
            replace(
                one,
                prompt=HOSTILE[i % len(HOSTILE)],
                family=HOSTILE[7] if i % 2 else HOSTILE[9],
                expected=HOSTILE[i % len(HOSTILE)],
                parts=tuple(AskedPart(role=text, text=text) for text in HOSTILE),
            )
            for i, one in enumerate(base.asked[: len(HOSTILE)])
        ),
        answers=tuple(
            replace(
                one,
                prompt=HOSTILE[i % len(HOSTILE)],
                reasoning=HOSTILE[(i + 1) % len(HOSTILE)],
                text=f"same start {text}",
                calls=text,
                refusal=text,
                parsed=text,
                given=tuple(replace(n, provider=swap(n.provider) or "") for n in one.given),
            )
            for text in HOSTILE
            for i, one in enumerate(base.answers[: len(HOSTILE)])
        ),
        outcomes=tuple(replace(o, provider=swap(o.provider) or "") for o in base.outcomes),
        served=tuple(
            replace(s, provider=swap(s.provider) or "", asked=text, served_model=text, backend=text)
            for s, text in zip(base.served * len(HOSTILE), HOSTILE, strict=False)
        ),
        flags=tuple(replace(f, provider=text, trials=(trial(text, text),)) for f in base.flags for text in HOSTILE),
        reading=_hostile_reading(),
    )


def _hostile_reading() -> ReferenceReading:
    """Every name, token and message of the reading is hostile."""
    base = reading()
    trials = [trial(text, HOSTILE[i - 1], repeat=i) for i, text in enumerate(HOSTILE)]
    return replace(
        base,
        floors=tuple(replace(f, reference=HOSTILE[0]) for f in base.floors),
        profiles=tuple(
            replace(p, who=HOSTILE[i % len(HOSTILE)], reference=HOSTILE[0]) for i, p in enumerate(base.profiles)
        ),
        diagnoses=tuple(
            Diagnosis(
                reference=REFERENCE,
                provider=text,
                condition=CONDITION,
                cause="mixture",
                strength="shown",
                message=text,
                estimate=near(0.1),
                evidence=tuple(trials),
            )
            for i, text in enumerate(HOSTILE)
        ),
        pairs=tuple(
            PairCause(
                reference=REFERENCE,
                left=one,
                right=one,
                verdict="unexplained",
                at_token=0,
                gap=1e9,
                left_token=_standing(one.provider, 1e9, 10**9),
                right_token=_standing(HOSTILE[10], 0.0, 1),
                reason=one.provider,
            )
            for one in trials
        ),
        partings=tuple(replace(p, left=HOSTILE[7], right=HOSTILE[0]) for p in base.partings),
        texts=tuple(
            ReadText(
                reference=REFERENCE,
                trial=one,
                tokens=tuple(ReadToken(text=text, margin=1e9, rank=3, instead=text) for text in HOSTILE),
            )
            for one in trials
        ),
    )


def hostile_verdict() -> Verdict:
    """A verdict whose names and reasons are hostile."""
    return Verdict(
        outcome="finding",
        providers=(
            ProviderVerdict(provider=HOSTILE[0], outcome="finding", reasons=HOSTILE),
            ProviderVerdict(provider=HOSTILE[7], outcome="inconclusive", reasons=(HOSTILE[2],)),
            ProviderVerdict(provider=HOSTILE[8], outcome="pass", reasons=(HOSTILE[8],)),
        ),
    )
