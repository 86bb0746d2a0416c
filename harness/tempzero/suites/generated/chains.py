"""A seed and a place in, a long chain of dependent steps with one checkable answer out: hard by its length and sizes.

Three kinds, each with distractors that look like steps: a program to run by hand, accounts that pay each other, and
people round a table. How hard they are for a model could not be measured here; what makes them hard is in the
settings: more steps, larger numbers, more that does not matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

from tempzero.suites.generated.generator import GeneratedPrompt, Generator, Settings, WholeNumber
from tempzero.suites.generated.seeded_draw import Draw
from tempzero.suites.generated.words import NAMES

_ASKED = 'Work it out step by step, then write a last line that starts with "Answer:" and holds {what} only.'
_VARIABLES = ("a", "b", "c", "d", "e", "f")
_SEATED = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class _Chain:
    """`numeric`: the answer is a whole number, else a name."""

    text: str
    answer: str
    numeric: bool = True


def _make_chain(seed: int, index: int, settings: Settings) -> GeneratedPrompt:
    steps = int(settings["steps"])
    chain = _CHAINS[index % len(_CHAINS)](Draw("chains", 1, steps, seed, index), steps)
    asked = _ASKED.format(what="the number" if chain.numeric else "the name")
    return GeneratedPrompt(
        stem=f"chain-{steps}",
        prompt=f"{chain.text}\n\n{asked}",
        extractor={"name": "number" if chain.numeric else "answer_line"},
        expected=chain.answer,
    )


def _trace_program(draw: Draw, steps: int) -> _Chain:
    """Assignments that read each other; two of the six variables are never read again for the result."""
    names = list(_VARIABLES)
    values = {name: draw.between(11, 99) for name in names}
    lines = [f"{name} = {value}" for name, value in values.items()]
    live = draw.sample(names, 4)
    for step in range(steps):
        into = live[step % len(live)]
        first, second = draw.sample(live, 2)
        kind = ("add", "multiply", "loop", "branch")[step % 4]
        if kind == "add":
            factor = draw.between(3, 19)
            values[into] = values[first] + factor * values[second]
            lines.append(f"{into} = {first} + {factor} * {second}")
        elif kind == "multiply":
            modulus = draw.between(1_009, 9_973)
            values[into] = values[first] * values[second] % modulus
            lines.append(f"{into} = ({first} * {second}) % {modulus}")
        elif kind == "loop":
            turns, change = draw.between(3, 7), draw.between(11, 37)
            for turn in range(turns):
                values[into] = values[into] + turn * change
            lines += [f"for i in range({turns}):", f"    {into} = {into} + i * {change}"]
        else:
            change = draw.between(101, 499)
            values[into] += change if values[first] % 2 == 0 else -change
            lines += [f"if {first} % 2 == 0:", f"    {into} = {into} + {change}"]
            lines += ["else:", f"    {into} = {into} - {change}"]
        if step % 3 == 2:
            aside = draw.pick([name for name in names if name not in live])
            lines.append(f"{aside} = {draw.pick(names)} - {draw.between(2, 99)}")
    last = live[(steps - 1) % len(live)]
    program = "\n".join(lines)
    text = f"What does this Python program print?\n\n```python\n{program}\nprint({last})\n```"
    return _Chain(text=text, answer=str(values[last]))


def _pay_accounts(draw: Draw, steps: int) -> _Chain:
    """Payments between accounts in cents, some of them announced and taken back; one balance is asked for."""
    people = draw.sample(NAMES, 5)
    held = {name: draw.between(100_000, 999_999) for name in people}
    told = [f"{name} has {_format_cents(cents)}." for name, cents in held.items()]
    for step in range(steps):
        giver, taker = draw.sample(people, 2)
        cents = draw.between(1_001, 49_999)
        kind = ("pay", "share", "pay", "cancel", "fee")[step % 5]
        if kind == "pay":
            held[giver] -= cents
            held[taker] += cents
            told.append(f"{giver} pays {taker} {_format_cents(cents)}.")
        elif kind == "share":
            others = [name for name in people if name != giver]
            held[giver] -= cents * len(others)
            for name in others:
                held[name] += cents
            told.append(f"{giver} gives each of the other four {_format_cents(cents)}.")
        elif kind == "cancel":
            told.append(f"{giver} means to pay {taker} {_format_cents(cents)}, and then does not.")
        else:
            fee = draw.between(101, 999)
            held[taker] -= fee
            told.append(f"{taker} loses {_format_cents(fee)} to a fee.")
    whose = draw.pick(people)
    question = f"How many cents does {whose} have in the end? (1 crown is 100 cents; a balance may fall below zero.)"
    return _Chain(text=f"{' '.join(told)}\n\n{question}", answer=str(held[whose]))


def _format_cents(cents: int) -> str:
    crowns, rest = divmod(cents, 100)
    return f"{crowns} crowns and {rest} cents" if rest else f"{crowns} crowns"


def _seat_round_table(draw: Draw, steps: int) -> _Chain:
    """Six people round a table, as few hints as leave one order, told among people who are not there."""
    while True:
        people = draw.sample(NAMES, _SEATED + 2)
        absent, seated = people[:2], people[2:]
        hints = _list_table_hints(draw, seated)
        orders = [(seated[0], *rest) for rest in permutations(seated[1:])]
        chosen: list[str] = []
        for hint in hints:
            left = [order for order in orders if hint.holds(order)]
            if len(left) < len(orders):
                orders, chosen = left, [*chosen, hint.text]
            if len(orders) == 1:
                break
        if len(orders) == 1:
            break
    aside = [f"{absent[n % 2]} would have liked to sit beside {draw.pick(seated)}." for n in range(min(steps, 8) // 2)]
    told = draw.shuffle([*chosen, *aside])
    start, gap = draw.below(_SEATED), 2 + draw.below(_SEATED - 3)
    whose, answer = orders[0][start], orders[0][(start + gap) % _SEATED]
    text = (
        f"Six people sit round a table: {', '.join(sorted(seated))}. {absent[0]} and {absent[1]} stayed at home. "
        f"{' '.join(told)}\n\nStart at {whose} and count to the left, {whose}'s left neighbour being 1: who is {gap}?"
    )
    return _Chain(text=text, answer=answer, numeric=False)


_Order = tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Hint:
    """How two of them sit: `beside` no, `opposite`, or `left`: the second is the first one's left neighbour."""

    kind: Literal["not beside", "opposite", "left"]
    a: str
    b: str

    @property
    def text(self) -> str:
        if self.kind == "left":
            return f"{self.b} is the left neighbour of {self.a}."
        return f"{self.a} {'sits opposite' if self.kind == 'opposite' else 'does not sit beside'} {self.b}."

    def holds(self, order: _Order) -> bool:
        if self.kind == "left":
            return order[(order.index(self.a) + 1) % _SEATED] == self.b
        apart = _distance(order, self.a, self.b)
        return apart == _SEATED // 2 if self.kind == "opposite" else apart != 1


def _list_table_hints(draw: Draw, seated: list[str]) -> list[_Hint]:
    """True statements about this order, in a drawn order, weak ones first: more of them have to be joined."""
    true = tuple(seated)
    pairs = draw.shuffle([(a, b) for a in seated for b in seated if a < b])
    apart = [(a, b, _distance(true, a, b)) for a, b in pairs]
    neighbours = [(true[place], true[(place + 1) % _SEATED]) for place in draw.shuffle(range(_SEATED))]
    return [
        *(_Hint(kind="not beside", a=a, b=b) for a, b, distance in apart if 1 < distance < _SEATED // 2),
        *(_Hint(kind="opposite", a=a, b=b) for a, b, distance in apart if distance == _SEATED // 2),
        *(_Hint(kind="left", a=a, b=b) for a, b in neighbours),
    ]


def _distance(order: _Order, a: str, b: str) -> int:
    apart = abs(order.index(a) - order.index(b))
    return min(apart, _SEATED - apart)


_CHAINS: tuple[Callable[[Draw, int], _Chain], ...] = (_trace_program, _pay_accounts, _seat_round_table)

CHAINS = Generator(
    name="chains",
    version=1,
    make=_make_chain,
    parameters={"steps": WholeNumber(low=4, high=60, default=12)},
)
