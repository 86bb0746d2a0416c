"""A run folder in, what its answers came to that had to be tried out (code run, mathematics compared) in judged/.

code_trials      code and cases -> how many came out right
sandbox          a job -> what a process cut off from everything else (bubblewrap) wrote about it
inside_sandbox   that process
maths            two expressions -> equal or not, from a process that can be given up on
inside_comparer  that process

Trying out is no analysis: it costs time, and a clock has a say in it. So each text is judged once, the judgement
is kept, and the analysis reads it like any other file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tempzero import records
from tempzero.answers.chat_messages import to_answer_text
from tempzero.extractors import extract_answer, question_sha256
from tempzero.extractors.code import FAILS, PASSES, parse_cases
from tempzero.judgements import maths
from tempzero.judgements.code_trials import try_code
from tempzero.judgements.sandbox import SandboxError, check_sandbox
from tempzero.types.asked import Prompt
from tempzero.types.scored import Judgement

__all__ = ["judge"]

_WALL_S = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class _Waiting:
    """A text that no judgement is about yet, and what its extractor found in it."""

    prompt: Prompt
    asked_sha256: str
    text_sha256: str
    found: str


def judge(path: Path, *, run_code: bool, say: Callable[[str], None]) -> int:
    """Judge what was not judged before; give the number of new judgements.

    Code is run only with `run_code`, and where this machine has a sandbox for it; mathematics are compared where the
    extra `math` is installed. What is left over stays "not judged", and `say` is told why. Raises RunFolderError.
    """
    tried = {"code"} if run_code else set[str]()
    tried |= {"math"} if maths.is_math_verify_installed() else set()
    waiting = list(_list_waiting(records.open_run(path), tried))
    code = [w for w in waiting if _name_extractor(w) == "code"]
    mathematics = [w for w in waiting if _name_extractor(w) == "math"]
    if code:
        try:
            check_sandbox(wall_s=_WALL_S)
        except SandboxError as problem:
            say(_explain_no_judgement(len(code), problem))
            code = []
    if not code and not mathematics:
        return 0
    judged_code = 0
    with ExitStack() as stack:
        writer = stack.enter_context(records.open_judgement_writer(path))
        try:
            for one in code:
                writer.append(_judge_code(one))
                judged_code += 1
        except SandboxError as problem:
            say(_explain_no_judgement(len(code) - judged_code, problem))
        if mathematics:
            known = _collect_known_answers(records.open_run(path))
            comparer = stack.enter_context(maths.Comparer())
            for one in mathematics:
                writer.append(_judge_mathematics(one, comparer, known))
    say(f"judged {judged_code} code answers and {len(mathematics)} mathematical ones")
    return judged_code + len(mathematics)


def _explain_no_judgement(answers: int, problem: SandboxError) -> str:
    return f"{answers} different code answers are not judged: {problem}"


def _list_waiting(run: records.Run, extractors: Collection[str]) -> Iterator[_Waiting]:
    """Each text that one of these extractors reads, once; whole answers only, as the analysis reads no others.

    The records are not read for nothing: of a large run that takes as long as to count them.
    """
    judged = {p.id: p for p in run.manifest.suite.prompts if p.extractor and p.extractor.name in extractors}
    if not judged:
        return
    asked = {id: question_sha256(p.extractor, p.expected) for id, p in judged.items() if p.extractor}
    known = {(j.prompt, j.asked_sha256, j.text_sha256) for j in run.judgements()}
    for view in run.views():
        prompt, outcome = judged.get(view.trial.prompt), view.outcome
        if prompt is None or outcome.completion is None:
            continue
        # A refusal was said to its end, too: what stands beside it counts as one of the answers that are judged.
        if outcome.status != "valid" and not (outcome.status == "censored" and outcome.completion.refusal):
            continue
        text = to_answer_text(outcome.completion)
        key = (prompt.id, asked[prompt.id], hashlib.sha256(text.encode()).hexdigest())
        if key in known or prompt.extractor is None:
            continue
        known.add(key)
        found = extract_answer(prompt.extractor, text)
        if found is not None:
            yield _Waiting(prompt=prompt, asked_sha256=key[1], text_sha256=key[2], found=found)


def _name_extractor(waiting: _Waiting) -> str:
    return waiting.prompt.extractor.name if waiting.prompt.extractor else ""


def _judge_code(one: _Waiting) -> Judgement:
    assert one.prompt.extractor is not None, "only prompts with an extractor wait"
    args = one.prompt.extractor.args
    trial = try_code(one.found, args["function"], parse_cases(args), wall_s=_WALL_S)
    answer = PASSES if trial.passes else FAILS
    correct = None if one.prompt.expected is None else answer == one.prompt.expected
    return _make_judgement(one, answer, correct, trial.detail)


def _collect_known_answers(run: records.Run) -> dict[str, list[str]]:
    """The different answers that each question has had so far, by `asked_sha256`, in the order they were met."""
    known: dict[str, list[str]] = {}
    for judgement in run.judgements():
        answers = known.setdefault(judgement.asked_sha256, [])
        if judgement.answer is not None and judgement.answer not in answers:
            answers.append(judgement.answer)
    return known


def _judge_mathematics(one: _Waiting, comparer: maths.Comparer, known: dict[str, list[str]]) -> Judgement:
    """An answer equal to one met before is that answer; a new one is named as it is typeset."""
    expected, answers = one.prompt.expected, known.setdefault(one.asked_sha256, [])
    compared = comparer.compare(one.found, [*([] if expected is None else [expected]), *answers])
    if compared.problem:
        return _make_judgement(one, None, None if expected is None else False, compared.problem)
    equal_to = list(compared.equal)
    correct = None if expected is None else equal_to.pop(0)
    answer = next((a for a, same in zip(answers, equal_to, strict=True) if same), expected if correct else one.found)
    if answer is not None and answer not in answers:
        answers.append(answer)
    return _make_judgement(one, answer, correct, "")


def _make_judgement(one: _Waiting, answer: str | None, correct: bool | None, detail: str) -> Judgement:
    return Judgement(
        seq=0,
        previous="",
        prompt=one.prompt.id,
        asked_sha256=one.asked_sha256,
        text_sha256=one.text_sha256,
        answer=answer,
        correct=correct,
        detail=detail,
    )
