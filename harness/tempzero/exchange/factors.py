"""Answers that share a key in, what tells them apart and so belongs into the key out: columns, and parts of file names.

Without it answers asked in different ways, or about different things, would count as repeats of one another.
"""

from __future__ import annotations

import fnmatch
import re
from array import array
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from tempzero.exchange.ending_words import is_unfinished
from tempzero.exchange.expressions import Cells, Expression, as_label, quote_for_shell
from tempzero.exchange.nested_cells import flatten_cells, flatten_settings
from tempzero.exchange.path_parts import WORDS, PathPart, find_path_parts
from tempzero.exchange.recipe import Recipe
from tempzero.metrics.agreement import Ints

# Enough keys and rows to see a pattern; the work for a million rows stays small.
_WATCHED_KEYS = 2000
_WATCHED_ROWS = 200_000
_MOST_VALUES = 50
_MOST_SHOWN = 4
_ABSENT = -1

# A column of such a name says how the question was asked.
_PARAMETER = re.compile(
    r"(temp|temperature|top_?[pk]|top_p_k|min_?p|max_?(new_|completion_|output_)?(tokens|length)|model|"
    r"model_?(name|id|config|version)|system(_?prompt)?|quant\w*|precision|dtype|(prompt_?)?template|"
    r"prompt_?(type|version|variant)|n?_?shots?|num_fewshot|config|settings?|condition|variant|experiment|endpoint|"
    r"vendor|provider|engine|deployment|language|(reasoning_?)?effort|thinking|do_sample|num_beams|batch_?size|"
    r"(repetition|repeat|frequency|presence)_?penalty|(decoding|sampling|decode)(_?(method|strategy|mode|type|params))?|"
    r"sampler|strategy|method|mode|arm|treatment|greedy|json_?mode|response_?format|tool_?choice|chat_?template|num_?ctx|"
    r"context_?(length|size|window)|stop_?(sequences|words)|system_?(instruction|message)s?|persona)",
    re.IGNORECASE,
)
# A column of such a name holds what the question was about.
_INPUT = re.compile(
    r"(inputs?|context|passage|document|doc|article|abstract|paragraph|snippet|premise|hypothesis|instructions?|"
    r"question|query|problem|prompt|messages|conversation|dialogue?|history|schema|review|transcript|story|"
    r"user_?(input|message|prompt|query)|(input|source|task|user)_?(text|message|data|code)|item|example|task|"
    r"(image|img|picture|photo|figure|audio|video|clip|media|attachment)s?)"
    r"(_?(texts?|hash|id|name|no|num|number|content|sha256|md5|body|title|ur[li]|path|files?|base64|b64))?",
    re.IGNORECASE,
)
# A column of such a name counts repetitions.
_REPETITION = re.compile(
    r"(run|runs|repeat|repetition|rep|trial|epoch|iter|iteration|attempt|try|round|sample|draw|seed|pass|idx|index|n|i|k|#)"
    r"(_?(id|idx|index|no|num|nr|number))?",
    re.IGNORECASE,
)
# A column of such a name says what came out, or when: it may fall into equal groups by chance.
_OUTCOME = re.compile(
    r"(ms|millis|.*(tokens?|time|latency|seconds?|duration|elapsed|date|cost|price|score|grade|correct|passed?|success|"
    r"status|valid|length|len|count|logprobs?|prob|output|response|answer|completion|result|prediction|parsed|extracted|reason|error|label|"
    r"finish|created|cached?|usage|_ms|_s|_at|ts|id|uid|uuid|hash))(_\w+)?",
    re.IGNORECASE,
)


# A column of such a name tells calls apart, where its values are long enough to do so.
_IDENTITY = re.compile(
    r"(.*_)?(id|uid|uuid|guid|latency|duration|elapsed|seconds|time|timestamp|created|date|started|finished|ms)"
    r"(_(s|ms|sec|secs|seconds|at|time))?",
    re.IGNORECASE,
)
_LONG_ENOUGH = re.compile(r"(?=.*[0-9])[^\s]{8,}|.*[0-9][.,][0-9]{3,}.*")


# Columns that say how an answer ended, by the field that they belong to, and what they say where it is no whole one.
EndingField = Literal["finish_reason", "cached"]
_ENDINGS: Mapping[EndingField, tuple[re.Pattern[str], Callable[[Any], bool]]] = {
    "finish_reason": (re.compile(r"(finish|stop|done)_?reason", re.IGNORECASE), is_unfinished),
    "cached": (
        re.compile(r"(is_?|from_?)?cached?(_?hit)?|cache_?(status|hit)", re.IGNORECASE),
        lambda value: str(value).strip().casefold() in ("true", "yes", "1", "hit", "cached"),
    ),
}


@dataclass(slots=True)
class _Watched:
    """One column's values, numbered as they came, by watched row."""

    codes: array[int] = field(default_factory=lambda: array("i"))
    numbers: dict[Hashable, int] = field(default_factory=dict)
    part: PathPart | None = None

    def put(self, row: int, value: Hashable) -> None:
        while len(self.codes) < row:  # rows before this one had no such column
            self.codes.append(_ABSENT)
        if len(self.codes) == row:
            self.codes.append(self.numbers.setdefault(value, len(self.numbers)))


@dataclass(frozen=True, slots=True)
class _Suspect:
    """A column that varies within a key, by why it must not: a setting, an input, a crossed or blocked factor."""

    column: str
    why: str


class Factors:
    """Watches what no field uses, within the first keys that are seen."""

    def __init__(self, recipe: Recipe, *, numbered: bool) -> None:
        of_key = [e for name, e in recipe.fields.items() if name != "repeat"]
        self._recipe = recipe
        self._used = frozenset(c for e in of_key for c in e.taken) | frozenset(recipe.ignored)
        counting = recipe.fields["repeat"].taken if "repeat" in recipe.fields else frozenset()
        self._by_name = any(c.startswith("@") for c in counting)
        # Whoever counts repeats by a setting has one answer of each, and no repeat at all.
        self._counts_repeats = frozenset(c for c in counting if _is_setting(c))
        self._used |= counting - self._counts_repeats
        # Of a table with a column for each answer, the other answers are no way of asking.
        self._beside = [path for path in self._used if "*" in path and "[" not in path]
        self._numbered = numbered
        self._keys: dict[Hashable, int] = {}
        self._key_of_row = array("i")
        self._columns: dict[str, _Watched] = {}
        self._dropped: set[str] = set()
        self._settings: set[str] = set()
        self._identities: dict[str, dict[Hashable, tuple[int, int]]] = {}
        self._no_identity: set[str] = set()

    def see(self, key: Hashable, cells: Cells, file: str, settings: Cells | None = None) -> None:
        """Note the single values of one answer's row, and the parts of its file's path.

        `settings` are those of its request, by the column that holds it: all of them are ways of asking.
        """
        number = self._keys.get(key)
        if number is None:
            if len(self._keys) >= _WATCHED_KEYS:
                return
            number = self._keys[key] = len(self._keys)
        row = len(self._key_of_row)
        if row >= _WATCHED_ROWS:
            return
        self._key_of_row.append(number)
        values = list(flatten_cells(cells, self._used))
        for column, value in values:
            if column not in self._dropped:
                self._put(column, row, value)
        if "@match" not in cells:  # of a row that holds several answers they share it
            self._note_identities(number, values)
        for column, value in flatten_settings(settings or {}, self._used, self._recipe.fields):
            self._settings.add(column)
            self._columns.setdefault(column, _Watched()).put(row, value)
        for name, part in find_path_parts(file).items():
            watched = self._columns.setdefault(f"@path:{name}", _Watched(part=part))
            watched.put(row, part.value)

    def _note_identities(self, key: int, values: Sequence[tuple[str, Any]]) -> None:
        """Note what the columns that tell calls apart say, and drop one that says the same of two calls."""
        row = hash((key, *(repr(value) for _, value in values)))
        for column, value in values:
            if column in self._no_identity:
                continue
            if not _IDENTITY.fullmatch(_last_name(column)) or not _LONG_ENOUGH.fullmatch(str(value)):
                self._no_identity.add(column)
                continue
            known = self._identities.setdefault(column, {})
            first, count = known.get(value, (row, 0))
            if first == row:
                known[value] = (row, count + 1)
            else:
                self._no_identity.add(column)

    def duplicates(self) -> Iterator[str]:
        """A line where rows stand there twice: with an identifier that else tells calls apart within a key."""
        for column, known in self._identities.items():
            again = sum(count - 1 for _, count in known.values())
            if again and column not in self._no_identity and len(known) > len(self._keys):
                yield (
                    f'{again} rows stand there twice, with one "{column}", which else tells calls apart: a duplicate '
                    "would count as a repeat that agrees perfectly. Leave the copies out, or say that it tells nothing "
                    f"apart: --map {quote_for_shell(f'ignore={column}')}"
                )
                return

    def endings(self, name: EndingField) -> Iterator[str]:
        """A line for a column that nobody mapped as this field and that says of answers that they are no whole ones."""
        spelled, is_telling = _ENDINGS[name]
        for column, watched in self._columns.items():
            if name in self._recipe.fields or watched.part is not None or not spelled.fullmatch(_last_name(column)):
                continue
            found = [value for value in watched.numbers if is_telling(value)]
            if found:
                yield (
                    f'the column "{column}" says of answers: {_show_words(found)}; as it stands they count as whole '
                    f"answers. Say so with --map {quote_for_shell(f'{name}={column}')} (or --map "
                    f"{quote_for_shell(f'ignore={column}')})"
                )
                return

    def watches(self, key: Hashable) -> bool:
        """Whether rows of this key are still looked at."""
        return (key in self._keys or len(self._keys) < _WATCHED_KEYS) and len(self._key_of_row) < _WATCHED_ROWS

    def watched_columns(self, header: Sequence[str]) -> tuple[str, ...]:
        """Those of a table's columns whose cells are looked at."""
        return tuple(column for column in header if column not in self._used)

    def _put(self, column: str, row: int, value: Any) -> None:
        watched = self._columns.get(column)
        if watched is None:
            if any(fnmatch.fnmatchcase(column, p) for p in self._beside):
                self._dropped.add(column)
                return
            watched = self._columns[column] = _Watched()
        watched.put(row, value)
        if len(watched.numbers) > _MOST_VALUES and not _is_telling(column):
            self._dropped.add(column)
            del self._columns[column]

    # --- what mixes ways of asking ------------------------------------------------------------

    def problems(self) -> Iterator[str]:
        """One line for each cause: a column that mixes ways of asking under one key, and those that go with it."""
        suspects = list(self._suspects())
        while suspects:
            first = suspects.pop(0)
            parts = self._parts_of_rows(first.column)
            same = [s for s in suspects if self._parts_of_rows(s.column) == parts]
            suspects = [s for s in suspects if s not in same]
            yield self._line(first, [s.column for s in same])

    def _parts_of_rows(self, column: str) -> list[int]:
        """The watched rows, parted by this column's values: two columns that part them alike are one cause."""
        codes, numbers = self._columns[column].codes, dict[int, int]()
        all_codes = [*codes, *[_ABSENT] * (len(self._key_of_row) - len(codes))]
        return [numbers.setdefault(code, len(numbers)) for code in all_codes]

    def _suspects(self) -> Iterator[_Suspect]:
        """Settings first, then inputs, then what was crossed with the questions: what is surest leads its group."""
        key = np.frombuffer(self._key_of_row, dtype=np.int32).astype(np.int64)
        found: list[_Suspect] = []
        for column, watched in self._columns.items():
            why = self._why(column, watched, key)
            if why:
                found.append(_Suspect(column, why))
        order = ("setting", "input", "factor")
        yield from sorted(found, key=lambda s: (order.index(s.why), s.column.startswith("@path:")))

    def _why(self, column: str, watched: _Watched, key: Ints) -> str:
        codes = np.full(key.size, _ABSENT, dtype=np.int64)
        codes[: len(watched.codes)] = np.frombuffer(watched.codes, dtype=np.int32)
        if not _varies_within(key, codes):
            return ""
        part, name = watched.part, _last_name(column)
        if part is not None:
            return self._why_of_part(part, watched)
        if column in self._counts_repeats or column in self._settings:
            return "setting"
        if _PARAMETER.fullmatch(name):
            return "setting"
        if _INPUT.fullmatch(name):
            return "input"
        if not self._numbered or _REPETITION.fullmatch(name):
            return ""
        nested = re.search(r"[.\]]", column) is not None
        if nested and _OUTCOME.fullmatch(name):
            return ""
        if (codes == _ABSENT).any():
            return ""
        if _is_crossed(key, codes) or (not _OUTCOME.fullmatch(name) and _falls_into_blocks(key, codes)):
            return "factor"
        return ""

    def _why_of_part(self, part: PathPart, watched: _Watched) -> str:
        """Parts of file names: settings always; words and other names where no name was said to count repeats."""
        if part.setting and (part.explicit or len(part.name) > 1 or self._numbered):
            return "setting"
        if not self._numbered or self._by_name:
            return ""
        if part.counting:
            return "" if _counts_up(watched.numbers) else "factor"
        if part.name == WORDS or not _REPETITION.fullmatch(part.name):
            return "factor"
        return ""

    # --- in words -----------------------------------------------------------------------------

    def _line(self, suspect: _Suspect, same: Sequence[str]) -> str:
        watched = self._columns[suspect.column]
        values = list(watched.numbers)
        lacking = len(watched.codes) < len(self._key_of_row) or _ABSENT in watched.codes
        none = f", and none in other {'rows' if watched.part is None else 'names'}" if lacking else ""
        if watched.part is None:
            what, source = f'column "{suspect.column}" has {_show_values(values)}{none}', suspect.column
        else:
            part = watched.part
            named = "" if part.name == WORDS else f' in "{part.name}"'
            what = f"the names of the files differ{named}: {_show_values(values)}{none}"
            source = part.found_by
        others = ", ".join(f'"{_column_in_words(c)}"' for c in same[:5])
        beside = f" (and with it {others})" if same else ""
        condition = self._recipe.fields.get("condition")
        split = _join_expression(condition, source)
        ways = [f"put it into the key: --map {quote_for_shell(f'condition={split}')}"]
        if suspect.why == "input":
            question = self._recipe.fields.get("id") or self._recipe.fields.get("prompt")
            ways = [f"put it into the question: --map {quote_for_shell(f'id={_join_expression(question, source)}')}"]
        elif suspect.why == "setting":
            ways.append(f"or take one of them: --where {quote_for_shell(f'{source}={as_label(values[0])}')}")
        elif watched.part is not None:
            ways.append("or say that each file is a repeat: --map repeat=@path")
        if watched.part is None:
            ways.append(f"or, where it is no other way of asking, --map ignore={suspect.column}")
        kind = "several questions" if suspect.why == "input" else "several conditions"
        return f"{kind} under one key: {what} for one question of one provider{beside}; {', '.join(ways)}"

    def repetitions(self) -> list[str]:
        """Columns that look like the number of the repeat, where none was mapped."""
        if not self._numbered:
            return []
        key = np.frombuffer(self._key_of_row, dtype=np.int32).astype(np.int64)
        found = []
        for column, watched in self._columns.items():
            if watched.part is None and _REPETITION.fullmatch(_last_name(column)):
                codes = np.full(key.size, _ABSENT, dtype=np.int64)
                codes[: len(watched.codes)] = np.frombuffer(watched.codes, dtype=np.int32)
                if _is_crossed(key, codes):
                    found.append(column)
        return found


def name_differing_cells(first: Cells, second: Cells, files: tuple[str, str], used: Collection[str]) -> list[str]:
    """The paths at which two rows that share a key differ, settings and parts of file names first."""
    rows = [dict(flatten_cells(cells, ())) for cells in (first, second)]
    names = [{n: p.value for n, p in find_path_parts(file).items()} for file in files]
    parts = [find_path_parts(files[1])[n].found_by for n in names[1] if names[0].get(n) != names[1].get(n)]
    differing = [c for c in {**rows[0], **rows[1]} if rows[0].get(c) != rows[1].get(c)]
    inside = {c for c in differing if c in used or any(c.startswith((f"{u}.", f"{u}[")) for u in used)}
    telling = [c for c in differing if c not in inside]
    return [
        *sorted(telling, key=lambda c: not _PARAMETER.fullmatch(_last_name(c))),
        *parts,
        *(c for c in differing if c in inside),
    ]


def _counts_up(values: Collection[Hashable]) -> bool:
    """Whether whole numbers follow one another, but for a gap: 64 and 128 number nothing."""
    numbers = sorted(int(str(value)) for value in values)
    return numbers[-1] - numbers[0] <= len(numbers)


def _is_setting(column: str) -> bool:
    name = _last_name(column)
    return bool(_PARAMETER.fullmatch(name)) and not _REPETITION.fullmatch(name)


def _is_telling(column: str) -> bool:
    name = _last_name(column)
    return bool(_PARAMETER.fullmatch(name) or _INPUT.fullmatch(name))


def _last_name(column: str) -> str:
    """The name of a value inside objects, in one spelling: `max_tokens` of `params.maxTokens`."""
    name = re.split(r"[.\]/:]", column)[-1] or column
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[-\s]+", "_", name)


def _column_in_words(column: str) -> str:
    return f"{column.removeprefix('@path:')} of the file names" if column.startswith("@path:") else column


def _join_expression(known: Expression | None, source: str) -> str:
    """What is mapped already, and this; a pattern or a constant cannot be joined to."""
    if known is None or known.pattern is not None or known.constant is not None or "~" in source:
        return source
    return f"{known.written}+{source}"


def _show_words(values: Sequence[Hashable]) -> str:
    shown = sorted(str(value)[:40] for value in values)
    return f"{', '.join(shown[:_MOST_SHOWN])}{', ...' if len(shown) > _MOST_SHOWN else ''}"


def _show_values(values: Sequence[Hashable]) -> str:
    shown = ", ".join(v[:40] for v in sorted(map(str, values))[:_MOST_SHOWN])
    return (
        f"{len(values)} value{'' if len(values) == 1 else 's'} ({shown}{', ...' if len(values) > _MOST_SHOWN else ''})"
    )


# --- patterns --------------------------------------------------------------------------------


def _counts_by_key(key: Ints, codes: Ints) -> Mapping[int, dict[int, int]]:
    pairs, number = np.unique(np.stack([key, codes], axis=1), axis=0, return_counts=True)
    found: dict[int, dict[int, int]] = {}
    for (of_key, code), count in zip(pairs.tolist(), number.tolist(), strict=True):
        found.setdefault(of_key, {})[code] = count
    return found


def _varies_within(key: Ints, codes: Ints) -> bool:
    """Whether any key has two values."""
    order = np.lexsort((codes, key))
    same_key = key[order][1:] == key[order][:-1]
    return bool((same_key & (codes[order][1:] != codes[order][:-1])).any())


def _is_crossed(key: Ints, codes: Ints) -> bool:
    """Whether every key has the same values equally often: a factor that was crossed with the questions."""
    several = [counts for counts in _counts_by_key(key, codes).values() if sum(counts.values()) > 1]
    if len(several) < 2 or len(several[0]) < 2:
        return False
    return len(set(several[0].values())) == 1 and all(counts == several[0] for counts in several)


def _falls_into_blocks(key: Ints, codes: Ints) -> bool:
    """Whether in every key each value occurs equally often, and more than once: each had its own repeats."""
    several = [counts for counts in _counts_by_key(key, codes).values() if sum(counts.values()) > 1]
    if not several or max(len(counts) for counts in several) < 3:
        return False
    return all(len(set(counts.values())) == 1 and min(counts.values()) > 1 for counts in several)
