"""A real llama.cpp engine in, a server out that tells log-probabilities of given tokens as vLLM, SGLang or an echo do.

`with reading(engine) as server: ... server.base_url ...`. Everything it tells is computed by the engine;
only the form of requests and answers is another server's. With `only_v1` it hides what stands beside /v1.
`most_told` tokens are all that it tells of in one request, as a server does that is short of memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from loopback import Call, Loopback, Reply, error, value
from numpy.typing import NDArray
from tempzero.engines.local.in_process import InProcessEngine
from tempzero.types.asked import Message
from tiny_gguf import list_printable_bytes

MODEL = "tiny"
_CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>")


# How a host that echoes writes tokens: parts of characters spelled out, nothing for these and control tokens, or as the
# vocabulary writes them. "joined" is what vLLM does: the token that ends a character shows all of it.
Letters = Literal["bytes", "nothing", "pieces", "joined"]


class _Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.reply = error(status, message, type="BadRequestError", code=status)


class ReadingServer:
    """Answers one call at a time from the engine."""

    def __init__(
        self,
        engine: InProcessEngine,
        *,
        only_v1: bool = False,
        always_begins: bool = False,
        most_told: int = 512,
        letters: Letters = "bytes",
        takes_ids: bool = True,
        begins_texts: bool = False,
    ) -> None:
        self._engine, self._most_told, self._letters = engine, most_told, letters
        self._takes_ids, self._begins_texts = takes_ids, begins_texts
        self._only_v1, self._always_begins = only_v1, always_begins
        spelled = {engine.tokenize(name, special=True)[-1]: name for name in _CONTROL}
        self._control = {t: name for t, name in spelled.items() if not engine.piece(t)}
        self._vocabulary = next(iter(engine.logits([0], 1))).shape[1]
        self._drops_first_space = engine.piece(engine.tokenize("a", special=False)[0]).startswith(b" ")

    def answer(self, call: Call) -> Reply:
        """What such a server answers."""
        asked = call.json
        if asked.get("model") not in (None, MODEL):
            return error(404, f"The model `{asked['model']}` does not exist.", type="NotFoundError", code=404)
        paths = {
            "/v1/completions": self._completion,
            "/v1/chat/completions": self._chat,
            "/generate": self._generate,
            "/tokenize": self._tokenize,
            "/detokenize": self._detokenize,
        }
        if call.target not in paths or (self._only_v1 and not call.target.startswith("/v1/")):
            return value({"detail": "Not Found"}, status=404)
        try:
            return value(paths[call.target](asked))
        except _Refused as refusal:
            return refusal.reply

    # --- as vLLM ------------------------------------------------------------------------------

    def _completion(self, asked: dict[str, Any]) -> dict[str, Any]:
        ids = self._ids_of(asked["prompt"], special=asked.get("add_special_tokens", True))
        choice: dict[str, Any] = {"index": 0, "text": "", "finish_reason": "length"}
        if asked.get("echo"):
            choice["text"] = self._text(ids)
            if asked.get("logprobs"):
                begins = self._begins_texts and isinstance(asked["prompt"], str)
                choice["logprobs"] = self._echo(asked, [0, *ids] if begins else ids)
        if asked.get("allowed_token_ids"):
            choice["logprobs"] = self._forced(asked, ids)
        if asked.get("return_token_ids"):
            choice["prompt_token_ids"] = ids
        if asked.get("prompt_logprobs") is not None:
            self._require_room(len(ids))
            rows = self._logprobs(ids, 1)
            pairs = zip(ids[1:], rows, strict=False)
            told = [self._vllm_entry(row, token, asked["prompt_logprobs"]) for token, row in pairs]
            choice["prompt_logprobs"] = [None, *told]
            choice["text"] = self._text([int(rows[-1].argmax())])
        return {"id": "cmpl-1", "object": "text_completion", "model": MODEL, "choices": [choice]}

    def _vllm_entry(self, row: NDArray[np.float32], token: int, count: int) -> dict[str, Any]:
        top = [int(t) for t in np.argsort(-row, kind="stable")[:count]]
        ranked = {token: int((row >= row[token]).sum())} | {t: place for place, t in enumerate(top, start=1)}
        return {
            str(t): {"logprob": float(row[t]), "rank": rank, "decoded_token": self._text([t])}
            for t, rank in ranked.items()
        }

    def _chat(self, asked: dict[str, Any]) -> dict[str, Any]:
        given = asked.get("kv_transfer_params", {}).get("prompt_token_ids")
        ids = self._engine.prompt_ids(_messages(asked)) if given is None else self._ids_of(given)
        choice = {"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "length"}
        shown: dict[str, Any] = {"prompt_token_ids": ids} if asked.get("return_token_ids") else {}
        if asked.get("prompt_logprobs") is not None:
            pairs = zip(ids[1:], self._logprobs(ids, 1), strict=False)
            shown["prompt_logprobs"] = [
                None,
                *[self._vllm_entry(row, token, asked["prompt_logprobs"]) for token, row in pairs],
            ]
        return {"id": "chat-1", "object": "chat.completion", "model": MODEL, "choices": [choice], **shown}

    def _forced(self, asked: dict[str, Any], ids: list[int]) -> dict[str, Any]:
        (token,) = asked["allowed_token_ids"]
        assert asked["max_tokens"] == 1
        assert asked["return_tokens_as_token_ids"]
        (row,) = self._logprobs(ids, len(ids))
        top = {f"token_id:{t}": float(row[t]) for t in np.argsort(-row, kind="stable")[: asked["logprobs"]]}
        own = f"token_id:{token}"
        return {
            "tokens": [own],
            "token_logprobs": [float(row[token])],
            "top_logprobs": [{own: float(row[token]), **top}],
        }

    # --- as a host that echoes ----------------------------------------------------------------

    def _echo(self, asked: dict[str, Any], ids: list[int]) -> dict[str, Any]:
        if not self._takes_ids and not isinstance(asked["prompt"], str):
            raise _Refused(422, "prompt: Input should be a valid string")
        count, rows = min(5, asked["logprobs"]), self._logprobs(ids, 1)
        said = [*ids, int(rows[-1].argmax())]
        tops: list[Any] = [None]
        texts = [self._write(said[0])]
        for at, row in enumerate(rows, start=1):
            texts.append(self._write(said[at], said[:at]))
            shown = {self._write(int(t), said[:at]): float(row[t]) for t in np.argsort(-row, kind="stable")[:count]}
            tops.append(shown | {texts[-1]: float(row[said[at]])})
        own = [None, *(float(row[t]) for t, row in zip(said[1:], rows, strict=True))]
        return {"tokens": texts, "token_logprobs": own, "top_logprobs": tops}

    def _write(self, token: int, before: Sequence[int] = ()) -> str:
        if token in self._control:
            return "" if self._letters == "nothing" else self._control[token]
        piece = self._engine.piece(token)
        if self._letters == "pieces":
            return "".join(list_printable_bytes()[byte] for byte in piece)
        try:
            text = piece.decode()
        except UnicodeDecodeError:
            if self._letters == "joined":
                return self._join(piece, before)
            return "" if self._letters == "nothing" else "bytes:" + "".join(f"\\x{byte:02x}" for byte in piece)
        return text

    def _join(self, piece: bytes, before: Sequence[int]) -> str:
        """The whole character that the token makes of up to three tokens before it."""
        for count in (1, 2, 3):
            joined = b"".join(self._engine.piece(t) for t in before[-count:]) + piece
            try:
                return joined.decode()
            except UnicodeDecodeError:
                continue
        return "\ufffd"

    # --- as SGLang ----------------------------------------------------------------------------

    def _generate(self, asked: dict[str, Any]) -> dict[str, Any]:
        ids, start, count = self._ids_of(asked["input_ids"]), asked["logprob_start_len"], asked["top_logprobs_num"]
        assert asked["return_logprob"]
        self._require_room(len(ids) - start)
        own: list[Any] = [[None, ids[start], self._text([ids[start]])]]
        top: list[Any] = [None]
        for token, row in zip(ids[start + 1 :], self._logprobs(ids, start + 1), strict=False):
            own.append([float(row[token]), token if token < self._vocabulary - 1 else 0, self._text([token])])
            best = np.argsort(-row, kind="stable")[:count]
            top.append([[float(row[t]), int(t), self._text([int(t)])] for t in best])
        meta = {"prompt_tokens": len(ids), "input_token_logprobs": own, "input_top_logprobs": top}
        return {"text": "", "meta_info": meta}

    # --- both ---------------------------------------------------------------------------------

    def _tokenize(self, asked: dict[str, Any]) -> dict[str, Any]:
        if "messages" in asked:
            ids = self._engine.prompt_ids(_messages(asked))
        else:
            ids = self._ids_of(asked["prompt"], special=self._always_begins or asked.get("add_special_tokens", True))
        return {"tokens": ids, "count": len(ids), "max_model_len": 512}

    def _detokenize(self, asked: dict[str, Any]) -> dict[str, Any]:
        text = self._text(asked["tokens"])
        return {"text": text} if self._always_begins else {"prompt": text}

    def _text(self, ids: list[int]) -> str:
        pieces = (self._control[t].encode() if t in self._control else self._engine.piece(t) for t in ids)
        text = b"".join(pieces).decode(errors="replace")
        return text.removeprefix(" ") if self._drops_first_space else text

    def _ids_of(self, prompt: str | list[int], *, special: bool = False) -> list[int]:
        ids = self._engine.tokenize(prompt, special=special) if isinstance(prompt, str) else prompt
        foreign = [t for t in ids if t >= self._vocabulary]
        if foreign:
            raise _Refused(400, f"Token id {max(foreign)} is out of vocabulary")
        if len(ids) > 511:
            raise _Refused(400, f"This model's maximum context length is 512 tokens, your request has {len(ids)}")
        return ids

    def _require_room(self, told: int) -> None:
        if told > self._most_told:
            raise _Refused(500, f"out of memory: {told} rows of logits")

    def _logprobs(self, ids: list[int], start: int) -> NDArray[np.float32]:
        rows = np.concatenate(list(self._engine.logits(ids, start)))
        below = rows - rows.max(axis=1, keepdims=True)
        logprobs: NDArray[np.float32] = below - np.log(np.exp(below).sum(axis=1, keepdims=True))
        return logprobs


def reading(engine: InProcessEngine, **how: Any) -> Loopback:
    """Such a server, to be entered. `always_begins`: it puts a begin token on every text, as new SGLang does."""
    return Loopback(ReadingServer(engine, **how).answer)


def _messages(asked: dict[str, Any]) -> list[Message]:
    return [Message(role=m["role"], content=m["content"]) for m in asked["messages"]]
