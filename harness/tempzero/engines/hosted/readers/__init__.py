"""How a server tells log-probabilities of given tokens in, a reader of it out: one file for each kind of server.

vllm          /v1/completions with `prompt_logprobs`: whole texts, ranks over all tokens
sglang        /generate with `return_logprob`: any part of a text
echo          /v1/completions with `echo` and `logprobs`: whole texts, told by their letters
llama_server  llama.cpp's own server, /completion with `n_probs`: a token a request

Adding one: a file here with a class that has all of `PromptReader`, its line in `PROMPT_READERS`, and its name in
`reads` of `config.provider_models`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

from tempzero.config import Provider
from tempzero.engines.hosted.endpoint_wire import EndpointWire
from tempzero.engines.hosted.readers.echo import EchoReader
from tempzero.engines.hosted.readers.llama_server import LlamaServerReader
from tempzero.engines.hosted.readers.sglang import SglangReader
from tempzero.engines.hosted.readers.vllm import VllmReader
from tempzero.engines.hosted.token_texts import TokenizerSource
from tempzero.engines.hosted.told_tokens import TokenStanding


class PromptReader(Protocol):
    """Reads through one kind of server. EngineError and Malformed: it does not tell of these tokens.

    `visible` is how many of the likeliest tokens it shows, `ranks` whether it tells a token's rank among all of them.
    `tells`: of one request it tells of the `whole` text up to an end, of any `part`, or of one `token`. A reader of
    whole texts that can read a `token` by itself does so where a text is too long for the server.
    """

    @property
    def path(self) -> str: ...
    @property
    def visible(self) -> int: ...
    @property
    def ranks(self) -> bool: ...
    @property
    def tells(self) -> Literal["whole", "part", "token"]: ...
    @property
    def reads_single_tokens(self) -> bool: ...
    @property
    def tokenizer(self) -> TokenizerSource: ...

    def describe(self) -> Mapping[str, Any]:
        """What is particular to it, as JSON values."""

    def read_tokens(self, token_ids: Sequence[int], start: int, end: int) -> list[TokenStanding]:
        """How the tokens from `start` to before `end` stand, each behind all that stand before it."""

    def read_token(self, token_ids: Sequence[int], at: int) -> TokenStanding:
        """How the token at that place stands, by a request that tells of nothing else."""


OpenPromptReader = Callable[[Provider, EndpointWire, TokenizerSource | None], PromptReader]

PROMPT_READERS: Mapping[str, OpenPromptReader] = {
    "vllm": VllmReader,
    "sglang": SglangReader,
    "echo": EchoReader,
    "llama_server": LlamaServerReader,
}
