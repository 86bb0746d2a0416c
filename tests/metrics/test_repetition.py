"""Repetition of single texts: values by hand, true loops found, ordinary texts left alone."""

from __future__ import annotations

import random
import time

import pytest
from tempzero.metrics import TEXT_METRICS
from tempzero.metrics.repetition import LOOP_CHARS, compression_ratio, loop_period, loop_share, rep_128, seq_rep_4

LIST = "\n".join(f"{i}. Check the {part} and write down what you see." for i, part in enumerate("abcdefghij", 1))
TABLE = "| city | people | area |\n|---|---|---|\n" + "\n".join(
    f"| city {i} | {i * 1000} | {i * 3} km² |" for i in range(1, 15)
)
CODE = "\n".join(
    [
        "def transpose(rows: list[list[int]]) -> list[list[int]]:",
        "    result = []",
        "    for i in range(len(rows[0])):",
        "        column = []",
        "        for row in rows:",
        "            column.append(row[i])",
        "        result.append(column)",
        "    return result",
        "",
        "assert transpose([[0, 0, 0], [0, 0, 0], [0, 0, 0]]) == [[0, 0, 0], [0, 0, 0], [0, 0, 0]]",
        "if __name__ == '__main__':",
        "    print(transpose([[1, 2], [3, 4]]))",
    ]
)
NESTED = (
    "\n".join("    " * i + "{" for i in range(12)) + "\n" + "\n".join("    " * i + "}" for i in reversed(range(12)))
)
MATRIX = "[\n" + ",\n".join("  [0, 0, 0, 0, 0, 0, 0, 0]" for _ in range(12)) + "\n]"
PROSE = (
    "It was late when the train came in, and nobody had thought of the luggage. The porter, who had been asleep, said "
    "that it would be no trouble at all; then he went away and did not come back. We waited. We waited until the "
    "lamps were put out, one after the other, and the last of them went out with a small sound like a sigh. Then we "
    "walked, and as we walked we talked, and as we talked the night went by."
)
POEM = "\n".join(
    [
        "Row on, row on, the tide is low,",
        "The wind is in the west, oh,",
        "Row on, row on, and let her go,",
        "And we shall have our rest, oh.",
        "",
        "Rest, oh, rest, oh, rest, oh!",
        "The wind is in the west, oh,",
        "Rest, oh, rest, oh, rest, oh!",
        "And we shall have our rest, oh.",
    ]
)
REFRAIN = PROSE + "\n" + "And so we sing the same old song, we sing it all the night long.\n" * 3
RULER = "Summary\n" + "=" * 100 + "\nAll is well.\n" + "-" * 120
BORDER = TABLE + "\n+" + "-----+" * 18
JSON = '{"items": [' + ", ".join(f'{{"id": {i}, "ok": true, "tags": []}}' for i in range(20)) + "]}"
DIGITS = ", ".join(str(i) for i in range(1, 120))
LAUGHTER = "That is funny! " + "ha " * 30

ORDINARY = {
    "list": LIST,
    "table": TABLE,
    "code": CODE,
    "nested": NESTED,
    "matrix": MATRIX,
    "prose": PROSE,
    "poem": POEM,
    "refrain": REFRAIN,
    "ruler": RULER,
    "border": BORDER,
    "json": JSON,
    "digits": DIGITS,
    "laughter": LAUGHTER,
    "fence": f"```\n{CODE}\n```",
    "empty": "",
    "spaces in code": CODE.replace("    ", " " * 16),
}

SENTENCE = "The quick answer is that the answer depends on the question. "
LOOPS = {
    "word": (PROSE + " and so on" * 40, 10),
    "sentence": (PROSE + SENTENCE * 5, len(SENTENCE)),
    "cut in the unit": (PROSE + (SENTENCE * 6)[:-17], len(SENTENCE)),
    "character": (PROSE + "!" * LOOP_CHARS, 1),
    "newlines": (PROSE + "\n" * LOOP_CHARS, 1),
    "digits": ("1." * 130, 2),
    "paragraph": (PROSE * 4, len(PROSE)),
    "list": (LIST + "\n11. Check the end." + "\n11. Check the end." * 12, 19),
    "unit full of its own end": (("ha " * 60 + "\nNo. ") * 5 + "ha " * 30, len("ha " * 60 + "\nNo. ")),
    "runs within the unit": ("No. " + ("a" * 20 + "b") * 12 + "a" * 18, 21),
    "zeros never closed": ("[\n" + "  [0, 0, 0, 0, 0, 0, 0, 0],\n" * 12, 28),
}


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_texts_are_no_loops(name: str) -> None:
    """Tables, code, lists, rulers, poems and refrains repeat themselves on purpose; flagging them would be false."""
    assert loop_period(ORDINARY[name]) is None


@pytest.mark.parametrize("name", LOOPS)
def test_loops_are_found_with_their_period(name: str) -> None:
    """A model that got stuck is found whatever the unit, also when it was cut within one."""
    text, period = LOOPS[name]
    assert loop_period(text) == period
    assert loop_share(text) == 1


def test_a_loop_that_was_left_is_none() -> None:
    """Only a tail counts: who got out of the loop did not end in it."""
    assert loop_period(SENTENCE * 6 + "But enough of that.") is None


def test_three_times_is_not_yet_a_loop_and_four_times_is() -> None:
    """The thresholds are those declared."""
    unit = PROSE[:100]
    assert loop_period("Once. " + unit * 3) is None
    assert loop_period("Once. " + unit * 4) == 100


def test_the_search_is_exact() -> None:
    """On random texts over two letters it finds what a direct look at every period finds."""
    rng = random.Random(1)
    for _ in range(300):
        unit = "".join(rng.choices("ab", k=rng.randrange(1, 70)))
        text = "".join(rng.choices("ab", k=rng.randrange(50))) + (unit * 300)[: rng.randrange(150, 320)]
        assert (loop_period(text) is not None) == any(
            _tail(text, p) >= max(4 * p, LOOP_CHARS) for p in range(1, len(text) // 4 + 1)
        )


def _tail(text: str, period: int) -> int:
    length = period
    while length < len(text) and text[-length - 1] == text[-length - 1 + period]:
        length += 1
    return length


def test_long_texts_cost_little() -> None:
    """Cost grows with the length, not with its square: a quarter of a million characters take under two seconds."""
    start = time.process_time()
    loop_period("ab" * 120_000 + "x" + "ab" * 70)
    loop_period(PROSE * 600 + "x")
    assert time.process_time() - start < 2


def test_seq_rep_4_counts_repeated_4_grams() -> None:
    """a b c d a b c d has five 4-grams, four of them different."""
    assert seq_rep_4("a b c d a b c d") == pytest.approx(1 - 4 / 5)
    assert seq_rep_4("a b c d") == 0
    assert seq_rep_4("a b c") is None


def test_rep_128_counts_words_seen_in_the_last_128() -> None:
    """The window is 128 words back: one further away does not count."""
    assert rep_128("a b a c") == pytest.approx(1 / 4)
    between = " ".join(f"w{i}" for i in range(127))
    assert rep_128(f"a {between} a") == pytest.approx(1 / 129)
    assert rep_128(f"a {between} w127 a") == 0
    assert rep_128("  ") is None


def test_compression_is_compared_at_one_length() -> None:
    """Longer texts compress better, so only the first 512 bytes count, and a shorter text has no value."""
    ratio = compression_ratio(PROSE * 2)
    assert ratio == compression_ratio(PROSE * 20)
    assert compression_ratio("ab" * 300) > 10 > ratio  # type: ignore[operator]
    assert compression_ratio("x" * 511) is None
    assert compression_ratio("\ud800" * 512) is not None


def test_every_text_metric_takes_any_text() -> None:
    """Model output is hostile input: nothing in it may stop the analysis."""
    for text in ("", " ", "\x00", "\ud800", "\u2028" * 300, "é" * 1000, "🙂 " * 500):
        for metric in TEXT_METRICS:
            value = metric.read(text)
            assert value is None or value >= 0
