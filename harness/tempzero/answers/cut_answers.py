"""Which answers a cut one begins in, which longer one it counts as out: the one rule of analysis and of claims.

A cut answer is evidence up to the cut: where it begins another one, no divergence was seen between the two; where it
does not, they diverged before the cut. Two that were cut after the same number of tokens are as long as they could be:
where they differ they have diverged, also where one begins the other (" I" and " It", one token each). "Begins" is no
equivalence ("ab" cut begins both "abc" and "abd"), so counting needs a rule:

    a cut answer counts as the commonest longer answer that it is the beginning of (the same text, whole, included),
    among those that are compared, unless that one counts for another answer that was cut after the same number of
    tokens as it was.

So two answers that visibly differ never count as one, a cut one counts as different only where those that it could
have become differ, and answers can be counted instead of compared in pairs. A whole text that is the beginning of
another did end there: that is divergence.

Nothing is imported here: the function stands, letter by letter, in the verify.py of every evidence bundle, and runs
wherever that does; so its types are in quotes.
"""


def settle_cut_answers(
    amounts: "dict[int, int]", longer: "dict[int, list[int]]", limits: "dict[int, int]"
) -> "dict[int, int]":
    """Which answers count as which other ones; those that are missing count as themselves.

    Answers are numbers in the order of their texts, a cut one before the same text whole: `amounts` says how often each
    came, `longer` which others a cut one begins, `limits` after how many tokens one was cut, where one number is known.
    """
    total = dict(amounts)
    counts_as: dict[int, int] = {}
    cut_after = {text: {limits[text]} if text in limits else set() for text in total}
    for text in sorted((text for text in total if text in longer), reverse=True):  # the longest first
        found = {counts_as.get(other, other) for other in longer[text] if other in total}
        possible = [other for other in found if not cut_after[text] & cut_after[other]]
        if possible:
            chosen = min(possible, key=lambda other: (-total[other], other))
            counts_as[text] = chosen
            total[chosen] += total[text]
            cut_after[chosen] |= cut_after[text]
    return counts_as
