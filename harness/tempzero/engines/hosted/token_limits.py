"""An answer's token counts, its limit and finish reason in; whether it was cut, and whether the limit held, out.

Hosts do not all count as their model does: some add what starts or ends an answer, routers count by a tokenizer of
their own. A count a little above the limit may be such a one, and shows no limit that was not held.
"""

from __future__ import annotations

from dataclasses import dataclass

from tempzero.engines.hosted.finish_reasons import CUT_REASONS
from tempzero.types.recorded import Completion, Flag

# Other tokenizers count up to so much more of the same text; and so many tokens frame an answer.
_OTHER_COUNT_SHARE = 0.25
_FRAMING_TOKENS = 2
# Few tokens of any model hold more than a word; none of a text is made of such only.
_MOST_WORDS_A_TOKEN = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class LimitReading:
    """`cut`: the answer ended because its tokens were used up, whatever the finish reason says."""

    cut: bool
    flags: tuple[Flag, ...] = ()


def read_limit(counted: Completion, *, limit: int | None, finish: str) -> LimitReading:
    """How the counts stand to the limit; `finish` is in lower case, "" where none was given.

    An answer whose count is the limit itself is cut, be it that of all tokens or that of the text alone, for hosts
    differ on what a limit counts. One with more than that was not stopped by the limit, unless it names no other end.
    """
    said = finish in CUT_REASONS
    whole = counted.output_tokens
    if limit is None or whole is None:
        return LimitReading(cut=said)
    completion = whole if counted.completion_tokens is None else counted.completion_tokens
    within = 0 if whole > completion else min(counted.reasoning_tokens or 0, completion)
    text = completion - within
    cut = said or limit in (whole, completion, text) or (not finish and whole >= limit)
    flags: list[Flag] = []
    if cut and not said:
        flags.append("limit_unsaid")
    if text > limit + max(_FRAMING_TOKENS, int(limit * _OTHER_COUNT_SHARE)):
        flags.append("max_tokens_not_held")
    elif text > limit:
        flags.append("limit_counted_otherwise")
    elif whole > limit:
        flags.append("limit_without_reasoning")
    return LimitReading(cut=cut, flags=tuple(flags))


def has_too_many_words(text: str, limit: int) -> bool:
    """Whether a text has more words than tokenizers fit into its limit: for answers that nobody counted."""
    return len(text) > _MOST_WORDS_A_TOKEN * limit and len(text.split()) > _MOST_WORDS_A_TOKEN * limit
