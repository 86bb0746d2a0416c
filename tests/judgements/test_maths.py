"""Mathematical answers in, which of them are equal out; a hostile one costs its time limit and nothing else."""

from __future__ import annotations

import time

import pytest
from tempzero.judgements import maths

pytestmark = pytest.mark.skipif(not maths.is_math_verify_installed(), reason="needs the extra math")


def test_equal_answers_are_equal_however_they_are_typeset() -> None:
    """One value has many spellings; another value is another answer."""
    with maths.Comparer() as comparer:
        assert comparer.compare("\\frac{1}{2}", ["0.5", "1/2", "\\frac{2}{4}", "2"]).equal == (True, True, True, False)
        assert comparer.compare("x^2 + 1", ["1 + x^2", "x^2"]).equal == (True, False)
        assert comparer.compare("3\\sqrt{2}", ["\\sqrt{18}"]).equal == (True,)


def test_what_does_not_end_is_given_up_and_the_next_question_is_answered() -> None:
    """One response must not stop the judging of a run."""
    with maths.Comparer(question_s=4.0) as comparer:
        comparer.compare("1", ["1"])
        started = time.monotonic()
        assert comparer.compare("9^{9^{9^{9^9}}}", ["1"]).problem == "not compared within 4 s"
        assert time.monotonic() - started < 60
    with maths.Comparer() as comparer:
        assert comparer.compare("2", ["2"]).equal == (True,)
