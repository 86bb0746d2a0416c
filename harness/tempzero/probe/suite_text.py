"""What a search found in, the text of an ordinary suite file out: the same bytes for the same findings."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from tempzero.probe.answer_paths import AnswerPath

if TYPE_CHECKING:
    from tempzero.probe import SearchResult

# What YAML takes for a line's end, or refuses to read.
_UNSAFE = re.compile("[^\t -~\u00a0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_WIDTH = 118


def to_suite_text(found: SearchResult) -> str:
    """YAML that `suites.load` reads; margins are rounded to four decimals, finer than kernels differ by."""
    rule = found.rule
    head = [
        *_header_comment(found),
        f"family: {rule.kind}",
        f"max_tokens: {rule.tokens}",
        f"tags: [{rule.kind}]",
        "prompts:",
    ]
    return "\n".join([*head, *(line for one in found.chosen for line in _prompt_entry_lines(found, one))]) + "\n"


def _header_comment(found: SearchResult) -> list[str]:
    rule, engine = found.rule, found.engine
    weights = engine["weights"]
    forms = ", ".join(f"{name} {moved:.4f}" for name, moved in found.moved.items())
    if rule.kind == "border":
        what = (
            f"The {len(found.chosen)} narrowest of the candidates whose {_describe_first_tokens(rule.tokens)} a "
            "near-tie: its two best "
            f"tokens differ in text and stand at most {found.limit:.4f} logits apart"
        )
        use = "Any change of numerics, weights or batch turns some of them; honest implementations differ on them too."
    elif rule.kind == "steady":
        what = (
            f"{len(found.chosen)} of the candidates whose answer begins with {rule.tokens} tokens that each keep a "
            f"margin of at least {found.limit:.4f} logits, the widest of each way to begin first"
        )
        use = "Hosts that serve the model begin so, too: their log-probabilities can be compared token by token."
    else:
        what = (
            f"The {len(found.chosen)} widest of the candidates whose answer keeps a margin of at least "
            f"{found.limit:.4f} logits over {rule.tokens} tokens (or over at least half of them, to its own end)"
        )
        use = "What parts from the reference here did not do so by rounding."
    read = f"{found.read:,} of {found.candidates:,} candidates read ({found.origin})."
    lines = [
        f"Found by `tempzero probe --kind {rule.kind}`. {what}. {read}",
        f"Honest forms of the reference move these margins by at most, in logits: {forms}.",
        use,
        f"Reference: {engine['package']}, {engine.get('architecture', '')}; weights {weights['source']} as "
        f"{weights['precision']}, sha256 {weights['sha256']}; chat template sha256 {engine['chat_template_sha256']}.",
        "On another model these are ordinary prompts.",
    ]
    return [f"# {part}" for line in lines for part in _wrap_comment(_escape_unsafe(line))]


def _describe_first_tokens(tokens: int) -> str:
    return "first token is" if tokens == 1 else f"first {tokens} tokens hold"


def _prompt_entry_lines(found: SearchResult, looked: AnswerPath) -> list[str]:
    step, prompt = looked.steps[looked.at], looked.prompt
    best, second = (json.dumps(found.pieces[t]) for t in (step.best, step.second))
    lines = [
        f"  - id: {prompt.id}",
        f"    variants: {found.rule.kind}",
        f"    margin: {looked.margin:.4f}  # token {looked.at + 1}: {best} before {second}",
    ]
    if len(prompt.messages) == 1 and prompt.messages[0].role == "user":
        return [*lines, f"    prompt: {_quote_for_yaml(prompt.messages[0].content)}"]
    turns = [f"      - {{role: {m.role}, content: {_quote_for_yaml(m.content)}}}" for m in prompt.messages]
    return [*lines, "    messages:", *turns]


def _quote_for_yaml(text: str) -> str:
    """A JSON string, which YAML reads as it is."""
    return _escape_unsafe(json.dumps(text, ensure_ascii=False))


def _escape_unsafe(text: str) -> str:
    return _UNSAFE.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def _wrap_comment(text: str) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) + 1 > _WIDTH:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return lines
