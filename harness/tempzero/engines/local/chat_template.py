"""Chat messages and a model file's Jinja template in, the prompt text out: the same text the server would render."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tempzero.errors import EngineError
from tempzero.types.asked import Message

_PROBE_TEXT = "c4a1b7"  # a text no template holds by itself, to see whether a message's content comes through


class ChatTemplate:
    """One compiled template with the model's own begin and end tokens.

    `adds_bos` and `adds_eos` tell that the tokenizer puts these tokens on by itself: then a
    template that writes them too must not make them double.
    """

    def __init__(
        self, source: str, *, bos_token: str = "", eos_token: str = "", adds_bos: bool = False, adds_eos: bool = False
    ) -> None:
        """Compile and probe the template. Raises EngineError where it is not usable Jinja."""
        self.source = source
        self._bos, self._eos = bos_token, eos_token
        self._adds_bos, self._adds_eos = adds_bos, adds_eos
        self._template = _compile_template(source)
        self._typed_content = not self._shows(_user_turns(_PROBE_TEXT), typed=False) and self._shows(
            _user_turns(_PROBE_TEXT), typed=True
        )
        self._system_role = self._shows(
            ({"role": "system", "content": _PROBE_TEXT}, *_user_turns("x")), typed=self._typed_content
        )

    def with_source(self, source: str) -> ChatTemplate:
        """Another template with the same model's begin and end tokens. Raises EngineError."""
        return ChatTemplate(
            source, bos_token=self._bos, eos_token=self._eos, adds_bos=self._adds_bos, adds_eos=self._adds_eos
        )

    def render(self, messages: Sequence[Message], values: Mapping[str, Any] | None = None) -> str:
        """The prompt up to where the assistant's answer begins; `values` is what a request gives the template.

        A last message of the assistant is the beginning of that answer, as it is for the server.
        Raises EngineError where the template refuses these messages.
        """
        if any(m.role == "tool" or m.tool_calls for m in messages):
            raise EngineError("messages that call tools or answer calls are not rendered here")
        if any(m.has_more_than_text for m in messages):
            raise EngineError("messages with images are not rendered here")
        turns = [_to_turn(message) for message in messages]
        prefill = turns.pop()["content"] if turns and turns[-1]["role"] == "assistant" else ""
        if not self._system_role:
            turns = _merge_system_turn(turns)
        try:
            text = self._apply(turns, typed=self._typed_content, values=values or {})
        except (TemplateError, TypeError, ValueError, LookupError, ArithmeticError) as problem:
            raise EngineError(f"the chat template refuses these messages: {problem}") from None
        if self._adds_bos and self._bos:
            text = text.removeprefix(self._bos)
        if self._adds_eos and self._eos:
            text = text.removesuffix(self._eos)
        return text + prefill

    def _apply(
        self, turns: Sequence[Mapping[str, str]], *, typed: bool, values: Mapping[str, Any] | None = None
    ) -> str:
        messages = [_with_typed_content(turn) for turn in turns] if typed else [dict(turn) for turn in turns]
        own = {"messages": messages, "add_generation_prompt": True, "bos_token": self._bos, "eos_token": self._eos}
        return self._template.render({"enable_thinking": True, **(values or {}), **own})

    def _shows(self, turns: Sequence[Mapping[str, str]], *, typed: bool) -> bool:
        try:
            return _PROBE_TEXT in self._apply(turns, typed=typed)
        except (TemplateError, TypeError, ValueError, LookupError, ArithmeticError):
            return False


def resolve_template_source(configured: str | None, model_own: str | None) -> str:
    """The template to use: `path:FILE` or Jinja text from the configuration, else the model file's own.

    Raises EngineError where there is none, or the file cannot be read.
    """
    if configured is None:
        if model_own:
            return model_own
        raise EngineError("the model file carries no chat template; set chat_template to a Jinja text or path:FILE")
    if not configured.startswith("path:"):
        return configured
    path = Path(configured.removeprefix("path:"))
    try:
        return path.expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise EngineError(f"chat_template: {path}: cannot be read: {problem}") from None


def _compile_template(source: str) -> Template:
    # Block trimming as the models' own libraries set it; the sandbox, since a model file is somebody else's code.
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_template_json
    environment.globals["raise_exception"] = _raise_template_error
    environment.globals["strftime_now"] = _format_local_time
    try:
        return environment.from_string(source)
    except TemplateError as problem:
        raise EngineError(f"the chat template is not usable Jinja: {problem}") from None


def _user_turns(content: str) -> tuple[Mapping[str, str], ...]:
    return ({"role": "user", "content": content},)


def _to_turn(message: Message) -> dict[str, str]:
    said = {"name": message.name, "reasoning_content": message.reasoning_content}
    given = {key: value for key, value in said.items() if value is not None}
    return {"role": message.role, "content": message.content, **given}


def _with_typed_content(turn: Mapping[str, str]) -> dict[str, Any]:
    return {**turn, "content": [{"type": "text", "text": turn["content"]}]}


def _merge_system_turn(turns: list[dict[str, str]]) -> list[dict[str, str]]:
    """For a template that knows no system role: its text goes in front of the next message's."""
    if not turns or turns[0]["role"] != "system":
        return turns
    system, *rest = turns
    if rest:
        rest[0] = {"role": rest[0]["role"], "content": f"{system['content']}\n{rest[0]['content']}"}
    return rest


def _raise_template_error(message: str) -> None:
    raise TemplateError(message)


def _format_local_time(form: str) -> str:
    return datetime.datetime.now().astimezone().strftime(form)


def _to_template_json(
    value: Any, ensure_ascii: bool = False, indent: int | None = None, sort_keys: bool = False
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, sort_keys=sort_keys)
