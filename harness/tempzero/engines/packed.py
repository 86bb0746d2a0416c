"""A reference pack in, its answers out, as if the reference were asked now: no model, no network, no cost."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tempzero.answers.chat_messages import wire_message
from tempzero.canonical_json import to_canonical_json
from tempzero.config import Provider
from tempzero.engines.hosted.fault_catalogue import missing_outcome
from tempzero.engines.local.in_process import build_local_response, hash_text
from tempzero.errors import EngineError
from tempzero.packs.reference_pack import PackAnswer, ReferencePack, describe_pack, hash_question, load_reference_pack
from tempzero.types.asked import Question
from tempzero.types.recorded import Completion, Exchange, Outcome, Times, WireRequest


class PackEngine:
    """Answers each prompt with what the pack holds for the very same question.

    Every repeat gets the same answer: it was given once. Anything the pack was not asked is `not_recorded`.
    """

    def __init__(self, pack: ReferencePack) -> None:
        self._pack, self._seal = pack, pack.seal
        self._answers = {a.asked_sha256: a for a in pack.answers}

    def describe(self) -> Mapping[str, Any]:
        """Whose answers these really are."""
        return {"engine": "packed", **describe_pack(self._pack, self._seal), "trials": len(self._answers)}

    async def ask(self, question: Question) -> Exchange:
        """The pack's answer, cut where the question asks for fewer tokens. It settles the trial: no retry."""
        asked = hash_question(question.messages, question.tools, question.tool_choice, question.request)
        answer = None if question.body is not None else self._answers.get(asked)
        if answer is None:
            outcome = missing_outcome("not_recorded", "the pack holds no answer to this question")
        else:
            outcome = self._build_outcome(answer, question.sampling.max_tokens)
        body = to_canonical_json({"messages": [wire_message(m) for m in question.messages], "asked_sha256": asked})
        request = WireRequest(method="LOCAL", url="local:packed", headers=(), body=body, sha256=hash_text(body))
        times = Times(started_at=datetime.now(UTC).isoformat(), first_byte_s=None, end_s=0.0, in_flight=1)
        return Exchange(request=request, response=build_local_response(outcome), times=times, outcome=outcome)

    async def aclose(self) -> None:
        """Nothing is held open."""

    def _build_outcome(self, answer: PackAnswer, limit: int) -> Outcome:
        cut = answer.finish_reason == "length" or answer.path.size > limit
        text, reasoning = answer.text, answer.reasoning_text
        if answer.path.size > limit:
            if reasoning is not None:
                detail = f"the pack's answer has {answer.path.size} tokens with its reasoning, and {limit} are allowed"
                return missing_outcome("not_recorded", detail)
            kept = b"".join(self._pack.tokens[t] for t in answer.path[:limit].tolist())
            text = codecs.getincrementaldecoder("utf-8")("replace").decode(kept)
        completion = Completion(
            text=text,
            reasoning_text=reasoning,
            finish_reason="length" if cut else "stop",
            served_model=self._pack.model,
            fingerprint=f"pack-{self._seal[:12]}",
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=min(answer.path.size, limit),
        )
        if cut:
            return Outcome(status="censored", kind="length", completion=completion)
        return Outcome(status="valid", kind="complete" if text else "empty", completion=completion)


def open_pack_engine(provider: Provider) -> PackEngine:
    """The engine of a `pack:` provider. Raises PackError, or EngineError where no pack is named."""
    if provider.pack is None:
        raise EngineError(f"{provider.name}: names no pack")
    return PackEngine(load_reference_pack(Path(provider.pack)))
