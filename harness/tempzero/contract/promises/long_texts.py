"""Words to fill prompts with, and whether an endpoint's prompt_tokens say how much it reads."""

from __future__ import annotations

from tempzero.contract.asked_host import AskedHost

_THINGS = ("ferry", "ladder", "garden", "kettle", "violin", "harbour", "lantern", "orchard", "saddle", "window")
_DEEDS = ("stood beside", "was older than", "belonged to", "could be seen from", "was painted like")
_ENDING = "Reply with the single word yes."
_FILLED_WORDS = 200


def write_filler(words: int, start: int = 0) -> str:
    """Plain sentences of so many words, or a few more: other ones for another start."""
    sentences: list[str] = []
    number = start
    while sum(len(sentence.split()) for sentence in sentences) < words:
        one, other = _THINGS[number % 10], _THINGS[(number * 3 + 4) % 10]
        sentences.append(f"The {one} {_DEEDS[number % 5]} the {other}.")
        number += 1
    return " ".join(sentences)


async def counts_its_prompts(host: AskedHost) -> bool | None:
    """Whether prompt_tokens grow with a prompt; None where there are none."""
    short = (await host.get(_ENDING)).prompt_tokens
    long = (await host.get(f"{write_filler(_FILLED_WORDS)} {_ENDING}")).prompt_tokens
    if short is None or long is None:
        return None
    return long - short >= _FILLED_WORDS // 2
