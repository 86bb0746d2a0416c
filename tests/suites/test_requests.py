"""What a prompt may say of its request: fields, parts of messages, whole bodies; one line for what cannot be sent."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from tempzero import suites
from tempzero.answers.chat_messages import wire_message
from tempzero.errors import SuiteError
from tempzero.types.asked import Prompt

PNG = b"\x89PNG\r\n\x1a\n" + b"rest"
KEY = "sk-" + "a" * 30


def loaded(folder: Path, text: str, name: str = "t.yaml") -> tuple[Prompt, ...]:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return suites.load_suite(path).prompts


def complaint(folder: Path, text: str, name: str = "t.yaml") -> str:
    with pytest.raises(SuiteError) as caught:
        loaded(folder, text, name)
    return str(caught.value).replace(f"{folder}/", "")


def test_a_prompt_s_fields_are_laid_over_those_of_its_file(tmp_path: Path) -> None:
    """A family shares a response format; one prompt of it may need another, without writing the rest again."""
    text = """
family: t
request: {response_format: {type: json_object}, verbosity: low}
prompts:
  - {id: a, prompt: one}
  - {id: b, prompt: two, request: {verbosity: null, response_format: {strict: true}}}
"""
    a, b = loaded(tmp_path, text)
    assert a.request == {"response_format": {"type": "json_object"}, "verbosity": "low"}
    assert b.request == {"response_format": {"type": "json_object", "strict": True}, "verbosity": None}


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ("{model: x}", "t.yaml:4: prompts[0].request.model: this field is the provider's own"),
        ("{stop: [.nan]}", "prompts[0].request.stop[0]"),
        (f"{{metadata: {{key: {KEY}}}}}", "request.metadata.key: this looks like a key"),
        ("high", "request: expected a mapping such as {reasoning_effort: low}; found text"),
    ],
)
def test_fields_that_cannot_be_sent_are_told_with_file_and_line(tmp_path: Path, request_: str, said: str) -> None:
    """The mistake is the author's, so it is said before anything is asked, and a key is never echoed."""
    text = f"family: t\nprompts:\n  - {{id: a, prompt: one,\n     request: {request_}}}\n"
    found = complaint(tmp_path, text)
    assert said in found
    assert KEY not in found


def test_prompts_that_differ_in_their_request_are_two_questions(tmp_path: Path) -> None:
    """One question with and without JSON mode is a pair worth asking, and both have digests of their own."""
    plain, mode = "{id: a, prompt: one}", "{id: b, prompt: one, request: {seed: 1}}"
    found = loaded(tmp_path, f"family: t\nprompts: [{plain}, {mode}]")
    bare = [Prompt(id="x", family="t", messages=p.messages, request=p.request) for p in found]
    assert suites.digest_prompts(bare[:1]) != suites.digest_prompts(bare[1:])
    assert "asks the same" in complaint(tmp_path, f"family: t\nprompts: [{plain}, {{id: b, prompt: one}}]")


def test_content_parts_roles_and_names_arrive_as_the_api_spells_them(tmp_path: Path) -> None:
    """What goes on the wire is what the author wrote; a picture from a file travels whole in the prompt."""
    (tmp_path / "dot.png").write_bytes(PNG)
    text = """
family: t
prompts:
  - id: a
    messages:
      - {role: developer, content: Be brief., name: boss}
      - {role: user, content: "Why?"}
      - {role: assistant, content: Because., reasoning_content: Hm.}
      - role: user
        content:
          - {type: text, text: "What is this?"}
          - {type: image, file: dot.png, detail: low}
          - {type: image, url: "https://example.com/a.png"}
          - {type: image_url, image_url: {url: "https://example.com/b.png"}}
"""
    (prompt,) = loaded(tmp_path, text)
    sent = [wire_message(message) for message in prompt.messages]
    inside = "data:image/png;base64," + base64.b64encode(PNG).decode()
    assert sent[0] == {"role": "developer", "content": "Be brief.", "name": "boss"}
    assert sent[2] == {"role": "assistant", "content": "Because.", "reasoning_content": "Hm."}
    assert sent[3]["content"] == [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": inside, "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/b.png"}},
    ]
    assert prompt.messages[3].content == "What is this?"


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("{type: image, file: none.png}", "none.png: cannot be read"),
        ("{type: image, file: t.yaml}", "is no PNG, JPEG, GIF or WebP picture"),
        ("{type: image}", "expected one of file and url"),
        ("{type: image, url: 'file:///etc/passwd'}", "expected an address"),
        ("{type: audio}", "expected {type: text, text: ...}"),
        ("{type: text}", "content[0].text: expected text; found nothing"),
    ],
)
def test_a_part_that_cannot_be_sent_is_told(tmp_path: Path, part: str, said: str) -> None:
    """Each wrong part says what would be right, with its place."""
    text = f"family: t\nprompts:\n  - id: a\n    messages:\n      - {{role: user, content: [{part}]}}\n"
    assert said in complaint(tmp_path, text)


def test_only_an_assistant_thinks(tmp_path: Path) -> None:
    """Reasoning in a user's message would go to the wire as a field that no API knows."""
    text = "family: t\nprompts: [{id: a, messages: [{role: user, content: hi, reasoning_content: hm}]}]"
    assert "only an assistant's message has thoughts of its own" in complaint(tmp_path, text)


VERIFIER: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Weather in Oslo?", "refusal": None}],
    "tools": [{"type": "function", "function": {"name": "get", "parameters": {}, "x-own": 1}}],
    "temperature": 0.6,
    "max_tokens": 4000,
    "stream": False,
    "stop": None,
}


def lines(*values: Any) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


def test_whole_requests_keep_their_bodies_and_ids(tmp_path: Path) -> None:
    """A vendor's set is asked as it is, or its published figures would be those of another set."""
    batch = {"custom_id": "r-7", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "k", **VERIFIER}}
    first, second, third = loaded(tmp_path, lines(VERIFIER, {"id": "x.1", **VERIFIER}, batch), "samples.jsonl")
    assert [p.id for p in (first, second, third)] == ["samples-1", "x.1", "r-7"]
    assert first.body == second.body == third.body == VERIFIER
    assert list(first.body or {}) == list(VERIFIER)
    assert (first.family, first.max_tokens, first.tools) == ("samples", 4000, tuple(VERIFIER["tools"]))
    assert first.messages[0].content == "Weather in Oslo?"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"messages": []}, "samples.jsonl:1: messages: expected a list of messages"),
        ({"messages": [{"role": "bot", "content": "x"}]}, "messages[0].role: expected one of system"),
        ({**VERIFIER, "n": 4}, "n: one answer a request"),
        ({**VERIFIER, "max_tokens": "many"}, "max_tokens: expected a whole number from 1 on; found many"),
        ({**VERIFIER, "user": KEY}, "user: this looks like a key"),
        ({"custom_id": "a", "url": "/v1/embeddings", "body": {"input": "x"}}, "only requests to ...chat/completions"),
        ({"id": "a b", **VERIFIER}, '"a b" is no name'),
    ],
)
def test_a_whole_request_that_cannot_be_asked_is_told(tmp_path: Path, line: Any, said: str) -> None:
    """Before anything is spent, with the line it stands in."""
    found = complaint(tmp_path, lines(line), "samples.jsonl")
    assert said.replace("...chat", ".../chat") in found
    assert KEY not in found


def test_the_same_request_may_come_twice_in_a_set_of_others(tmp_path: Path) -> None:
    """Published sets do so; which lines count is their authors' business."""
    assert len(loaded(tmp_path, lines(VERIFIER, VERIFIER), "samples.jsonl")) == 2


def test_lines_of_vendor_verifiers_are_sent_as_their_scripts_send_them(tmp_path: Path) -> None:
    """Their files hold a role and fields of their own; whoever sends these is refused, or asks something else."""
    lines = [
        {
            "messages": [{"role": "_input", "content": "Be brief."}, {"role": "user", "content": "q"}],
            "max_tokens": 64000,
        },
        {
            "messages": [
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": "a", "reasoning_detail": [{"text": "one"}, {"text": "two"}]},
                {"role": "assistant", "content": "b", "reasoning": "three"},
                {"role": "user", "content": "r"},
            ],
            "check_type": ["tool_calls"],
            "expected_tool_call": True,
        },
        {"messages": [{"role": "assistant", "content": "a", "reasoning": "x"}, {"role": "user", "content": "q"}]},
    ]
    kimi, minimax, plain = loaded(tmp_path, "".join(json.dumps(line) + "\n" for line in lines), "samples.jsonl")
    assert [p.id for p in (kimi, minimax, plain)] == ["samples-1", "samples-2", "samples-3"]
    assert kimi.body == {
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "q"}],
        "max_tokens": 64000,
    }
    assert minimax.body == {
        "messages": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "a", "reasoning_content": "one\ntwo"},
            {"role": "assistant", "content": "b", "reasoning_content": "three"},
            {"role": "user", "content": "r"},
        ]
    }
    assert plain.body == lines[2]
