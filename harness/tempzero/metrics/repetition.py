"""One text in, how much it repeats itself out. Tokens here are words: what whitespace separates.

Words need no tokenizer, which an unknown provider would not name; they are the same for everyone.
Each value means something only beside the reference's (or the peers') on the same prompt, since
some prompts ask for repetition.
"""

from __future__ import annotations

import zlib

from tempzero.types.vocabulary import Metric

# A loop is a tail that repeats one unit at least LOOP_REPEATS times over at least LOOP_CHARS characters.
# Four times: refrains and emphasis say a thing three times. 200 characters: rulers and table borders are
# at most about 120 wide, and 200 is some 50 tokens, well within the shortest answers that get cut.
LOOP_REPEATS = 4
LOOP_CHARS = 200

# The last characters of a looping text occur LOOP_REPEATS times: cheap to look for. The distances between
# the last few such places are tried as periods before the exact search, which is slower.
_TAIL_CHARS = 16
_LIKELY_PERIODS = 8

REP_WINDOW = 128

# Compression is compared at one length, since longer texts compress better. DEFLATE level 6.
COMPRESSION_BYTES = 512
_COMPRESSION_LEVEL = 6

_TOO_SHORT = "no response is long enough"


def seq_rep_4(text: str) -> float | None:
    """seq-rep-4: 1 − unique 4-grams / 4-grams of words (Welleck et al. 1908.04319). None below 4 words."""
    words = text.split()
    total = len(words) - 3
    if total < 1:
        return None
    unique = len(set(zip(words, words[1:], words[2:], words[3:], strict=False)))
    return 1 - unique / total


SEQ_REP_4 = Metric(
    name="seq_rep_4",
    unit="share",
    kinds=("repetition",),
    title="Repeated 4-grams (seq-rep-4)",
    definition="1 − distinct 4-grams / 4-grams of a response.",
    source="Welleck et al., arXiv:1908.04319",
    one_means="no 4-gram is new (never quite reached)",
    undefined=_TOO_SHORT,
)


def rep_128(text: str) -> float | None:
    """rep/128: share of words that occur among the 128 words before them (Welleck et al.). None without words."""
    words = text.split()
    if len(words) <= REP_WINDOW + 1:  # all that are before a word are among the last 128
        return (len(words) - len(set(words))) / len(words) if words else None
    last: dict[str, int] = {}
    repeated = 0
    for place, word in enumerate(words):
        repeated += place - last.get(word, -REP_WINDOW - 1) <= REP_WINDOW
        last[word] = place
    return repeated / len(words)


REP_128 = Metric(
    name="rep_128",
    unit="share",
    kinds=("repetition",),
    title="Repeated tokens (rep/128)",
    definition="Share of tokens that already occur among the 128 before them.",
    source="Welleck et al., arXiv:1908.04319",
    one_means="every token occurs among the 128 before it (never quite reached)",
    undefined=_TOO_SHORT,
)


def loop_share(text: str) -> float | None:
    """1.0 if the text ends in a loop, else 0.0: over responses, the share that loop. None for an empty text."""
    return float(loop_period(text) is not None) if text else None


LOOP_SHARE = Metric(
    name="loop_share",
    unit="share",
    kinds=("repetition",),
    title="Ends in a loop",
    definition="Share of responses whose tail repeats one piece of text again and again.",
    source="declared period, repeats and length",
    one_means="every response ends in a loop",
    undefined="no valid or cut response",
)


def loop_period(text: str) -> int | None:
    """Length of the unit that the text's tail repeats, in characters; None where it is no loop.

    The tail counts as a loop from LOOP_REPEATS units and LOOP_CHARS characters on. Exact; the cost
    is linear in the length, and next to nothing for a text whose end does not occur before.
    """
    end = text[-_TAIL_CHARS:]
    if len(text) < LOOP_CHARS or text.count(end) < LOOP_REPEATS:
        return None
    before = len(text) - 1
    for _ in range(_LIKELY_PERIODS):
        at = text.rfind(end, 0, before)
        period = len(text) - _TAIL_CHARS - at
        tail = _least_loop_chars(period)
        if at < 0 or tail > len(text):
            return None
        if text[-tail:-period] == text[period - tail :]:
            return period
        before = at + _TAIL_CHARS - 1
    return _find_period(text)


def compression_ratio(text: str) -> float | None:
    """Bytes / compressed bytes of the first 512 bytes: 1.0 is incompressible. None for a shorter text."""
    data = text.encode(errors="surrogatepass")[:COMPRESSION_BYTES]
    if len(data) < COMPRESSION_BYTES:
        return None
    return len(data) / len(zlib.compress(data, _COMPRESSION_LEVEL))


COMPRESSION_RATIO = Metric(
    name="compression_ratio",
    unit="ratio",
    kinds=("repetition",),
    title="Compressibility",
    definition="Length of the first 512 bytes divided by their compressed length; repetitive texts compress well.",
    source="DEFLATE",
    undefined=_TOO_SHORT,
)


def _least_loop_chars(period: int) -> int:
    """How long a tail of this period must be to count as a loop."""
    return max(LOOP_REPEATS * period, LOOP_CHARS)


def _find_period(text: str) -> int | None:
    """The Z function of the reversed text gives the periodic tail of every period (Gusfield 1997, 1.4)."""
    back = text[::-1]
    size = len(back)
    z = [0] * size
    left = right = 0
    for i in range(1, size):
        match = min(right - i, z[i - left]) if i < right else 0
        while i + match < size and back[match] == back[i + match]:
            match += 1
        z[i] = match
        if i + match > right:
            left, right = i, i + match
        if match + i >= _least_loop_chars(i):
            return i
    return None
