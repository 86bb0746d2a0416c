"""Answers that share a key in, the columns out that tell them apart and so belong into the key.

Without them answers asked in different ways would count as repeats of one another.
"""

from __future__ import annotations

import fnmatch
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterator

from tempzero.exchange.expressions import Cells

# Enough keys to see a pattern; the work for a million rows stays small.
_WATCHED_KEYS = 2000
_MOST_VALUES = 50
_MOST_SHOWN = 4

# A column of such a name says how the question was asked.
_PARAMETER = re.compile(
    r"(temp|temperature|top_?[pk]|top_p_k|max_(new_|completion_)?tokens|model|model_?(name|id|config|version)|"
    r"system(_?prompt)?|quant\w*|precision|dtype|(prompt_?)?template|prompt_?(type|version|variant)|n?_?shots?|"
    r"num_fewshot|config|settings?|condition|variant|experiment|endpoint|vendor|language)",
    re.IGNORECASE,
)
# A column of such a name counts repetitions.
_REPETITION = re.compile(
    r"(run|runs|repeat|repetition|rep|trial|epoch|iter|iteration|attempt|try|round|sample|draw|seed|pass|idx|index|n|i|k|#)"
    r"(_?(id|idx|index|no|num|nr|number))?",
    re.IGNORECASE,
)


class Factors:
    """Watches the columns that no field uses, within the first keys that are seen."""

    def __init__(self, used: Collection[str], *, numbered: bool) -> None:
        self._used = used
        # Of a table with a column for each answer, the other answers are no way of asking.
        self._beside = [pattern for pattern in used if "*" in pattern and "[" not in pattern]
        self._numbered = numbered
        self._keys: dict[Hashable, int] = {}
        self._columns: defaultdict[str, dict[tuple[int, Hashable], int]] = defaultdict(dict)
        self._values: defaultdict[str, set[Hashable]] = defaultdict(set)
        self._dropped: set[str] = set()

    def see(self, key: Hashable, cells: Cells) -> None:
        """Note the scalar cells of one answer."""
        number = self._keys.get(key)
        if number is None:
            if len(self._keys) >= _WATCHED_KEYS:
                return
            number = self._keys[key] = len(self._keys)
        for column, value in cells.items():
            if column in self._dropped or column in self._used or column[:1] == "@":
                continue
            if column not in self._columns and any(fnmatch.fnmatchcase(column, p) for p in self._beside):
                self._dropped.add(column)
                continue
            if isinstance(value, dict | list):
                value = repr(value)
            counts = self._columns[column]
            counts[number, value] = counts.get((number, value), 0) + 1
            values = self._values[column]
            values.add(value)
            if len(values) > _MOST_VALUES and not _PARAMETER.fullmatch(column):
                self._dropped.add(column)
                del self._columns[column], self._values[column]

    def problems(self) -> Iterator[str]:
        """One line for each column that mixes ways of asking under one key."""
        for column, counts in self._columns.items():
            groups = self._groups(counts)
            if all(len(group) < 2 for group in groups):
                continue
            crossed = self._numbered and _is_balanced(groups) and not _REPETITION.fullmatch(column)
            if _PARAMETER.fullmatch(column) or crossed:
                yield (
                    f'several conditions under one key: column "{column}" has {self._shown(column)} for one question '
                    f"of one provider; put it into the key (condition={column}, or joined to it with +)"
                )

    def repetitions(self) -> list[str]:
        """Columns that look like the number of the repeat, where none was mapped."""
        if not self._numbered:
            return []
        found = [c for c, counts in self._columns.items() if _is_balanced(self._groups(counts))]
        return [c for c in found if _REPETITION.fullmatch(c)]

    def _groups(self, counts: dict[tuple[int, Hashable], int]) -> list[Counter[Hashable]]:
        groups: defaultdict[int, Counter[Hashable]] = defaultdict(Counter)
        for (number, value), count in counts.items():
            groups[number][value] += count
        return list(groups.values())

    def _shown(self, column: str) -> str:
        values = sorted(map(str, self._values[column]))
        shown = ", ".join(v[:40] for v in values[:_MOST_SHOWN])
        return f"{len(values)} values ({shown}{', ...' if len(values) > _MOST_SHOWN else ''})"


def _is_balanced(groups: list[Counter[Hashable]]) -> bool:
    """Whether every key has the same values equally often: a factor that was crossed with the questions."""
    several = [group for group in groups if group.total() > 1]
    if len(several) < 2 or len(several[0]) < 2:
        return False
    first = several[0]
    return len(set(first.values())) == 1 and all(group == first for group in several)
