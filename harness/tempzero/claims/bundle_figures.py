"""Answers in, every figure of the page and whether they prove the claim out; and how a figure is spelled.

Part of verify.py: plain Python 3.8, standard library, no type hints.
"""

import json
import random
import re
from collections import Counter
from itertools import combinations, zip_longest
from math import ceil, exp, floor, fsum, lgamma, log, log1p, sqrt

from tempzero.answers.cut_answers import settle_cut_answers
from tempzero.claims.byte_reading import CUT_OUTCOME, PARTS, WHOLE_OUTCOMES, find_field, find_limit_asked, parse_json

HIDDEN_CHARACTERS = re.compile(  # what hides from the eye or acts on a page
    "[\0-\x1f\x7f-\xa0`\xad\u061c\u115f\u1160\u180b-\u180f\u200b-\u200f\u2028-\u202f\u205f-\u206f\u3164\ud800-\udfff"
    "\ufeff\uffa0\ufff0-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


SHOWN_FIELDS = ("model", "temperature", "top_p", "seed", "max_tokens")
TEMPERATURES = ("temperature", "temp", "sampling_temperature")
SAMPLING_FIELD = re.compile("temp|top_|min_p|typical|penalt|bias|sampl|mirostat|seed|beam|best_of|^n$|cache")
STEERING_FIELD = re.compile(".*penalty|logit_bias|stop|response_format|tools|tool_choice|grammar|guided_.*|bad_words")


class BrokenBundle(Exception):
    """The bundle does not hold; the message says what and where."""


def has_output(a):
    """Does it count: whole (an empty answer is one, and a refusal in words of its own), or cut after some output?"""
    if a["cut"]:
        return any((a[part] or "").rstrip("\ufffd") for part in PARTS)
    return a["outcome"] in WHOLE_OUTCOMES or (a["outcome"].startswith("censored") and bool(a["refusal"]))


def first_usable_answers(answers):
    """A trial counts once, by its first usable answer: a retry is no repeat."""
    trials = {}
    for a in answers:
        trial = (a["run"], a["prompt"], a["repeat"])
        if trial not in trials or not trials[trial]["outcome"].startswith(("valid", "censored")):
            trials[trial] = a
    return list(trials.values())


def settle_answers(given, what="whole"):
    """What each of these answers to one prompt counts as among them: equal numbers where they show no difference."""
    keys = [(x[what], not x["cut"]) for x in given]
    order, limits = sorted(set(keys)), {}
    for i, x in enumerate(given):
        limits.setdefault(order.index(keys[i]), set()).add(find_limit(x))
    longer = {
        i: [j for j in range(i + 1, len(order)) if order[j][0].startswith(text)]
        for i, (text, is_whole) in enumerate(order)
        if not is_whole
    }
    numbers = [order.index(key) for key in keys]
    known = {i: found.pop() for i, found in limits.items() if len(found) == 1 and None not in found}
    counts_as = settle_cut_answers(Counter(numbers), longer, known)
    return [counts_as.get(number, number) for number in numbers]


def are_same(a, b, what="whole"):
    """Do these two show no difference?"""
    return len(set(settle_answers([a, b], what))) == 1


def find_limit(a):
    """After how many tokens an answer was cut at its limit: as it counts them, else the limit that was asked for."""
    return (a["completion_tokens"] or find_limit_asked(a["asked"])) if a["outcome"] == CUT_OUTCOME else None


def name_source(a, routers):
    """Request, served model and backend (of a router: any). Fingerprints change in normal service."""
    return a["request_sha256"], a["served_model"], a["side"] in routers or a["backend"]


def what_is_shown(left, right):
    """What two sides are compared by: all of an answer, or all but the reasoning where only one of them shows any."""
    shows = [any(x["reasoning"] for given in side.values() for x in given) for side in (left, right)]
    return "whole" if shows[0] == shows[1] else "spoken"


def measure_side(by_prompt, routers):
    """How often repeats differ, and the chance that two agree (EMR)."""
    pairs = []
    for given in by_prompt.values():
        by_source = {}
        for a in given:
            by_source.setdefault(name_source(a, routers), []).append(a)
        pairs.append([pair for group in by_source.values() for pair in combinations(settle_answers(group), 2)])
    matches = [mean(x == y for x, y in group) for group in pairs if group]
    return {"split": format_share([m < 1 for m in matches]), "emr": format_share(matches)}


def compare_sides(left, right):
    """How far two sides differ on the prompts that both answered, and how often chance alone does as much."""
    what = what_is_shown(left, right)
    left, right = ({p: [x for x in of if x[what] or not x["cut"]] for p, of in side.items()} for side in (left, right))
    both = [(left[prompt], right[prompt]) for prompt in left if left[prompt] and right.get(prompt)]
    pools = [(settle_answers(one + other, what), len(one)) for one, other in both]
    matches = [mean(x == y for x in pool[:n] for y in pool[n:]) for pool, n in pools]
    pools = [(pool, n) for pool, n in pools if 1 < n < len(pool) - 1]
    tables = [(list(pool), n) for pool, n in pools if len(set(pool)) > 1]  # where all are alike the excess is 0
    first, draw, sums = [(list(pool), n) for pool, n in tables], random.Random(0), []
    for _ in range(1000):  # first as it was, then with the answers to each prompt dealt to both sides at random
        sums.append(fsum(excess_divergence(*table) for table in tables))
        for pool, _ in tables:
            draw.shuffle(pool)
    found = {"never": format_share([m == 0 for m in matches]), "match": format_share(matches)}
    found["excess"] = format_excess([excess_divergence(*table) for table in first] + [0.0] * (len(pools) - len(first)))
    return dict(found, p=f"{sum(s >= sums[0] - 1e-9 for s in sums) / len(sums):.3f}")


def excess_divergence(pool, n):
    """Half of both sides' own agreement, minus that between them: 0 where they differ only as each from itself."""
    left, right, m = pool[:n], pool[n:], len(pool) - n
    counts = [(left.count(x), right.count(x)) for x in set(pool)]
    ours, theirs, cross = sum(a * a for a, _ in counts), sum(b * b for _, b in counts), sum(a * b for a, b in counts)
    return ((ours - n) / (n * (n - 1)) + (theirs - m) / (m * (m - 1))) / 2 - cross / (n * m)


def describe_example(a, b, sides):
    """Where two answers part, and how often each different one came for their prompt."""
    what = what_is_shown(sides[a["side"]], sides[b["side"]])
    part = next(name for name in PARTS[what == "spoken" :] if a["compared"][name] != b["compared"][name])
    texts = {"first": a["compared"][part], "second": b["compared"][part]}
    at = next((i for i, (x, y) in enumerate(zip_longest(*texts.values())) if x != y), 0)
    found = {"part": part, "at": str(at + 1), "before": escape_hidden(texts["first"][max(0, at - 60) : at])}
    for name, text in texts.items():
        found[f"{name}.after"], found[f"{name}.length"] = escape_hidden(text[at : at + 60]), str(len(text))
        found[f"{name}.sign"] = f"U+{ord(text[at]):04X}" if at < len(text) else "the end"
    for side, by_prompt in sides.items():
        counts = sorted(Counter(x[what] for x in by_prompt.get(a["prompt"], ())).values(), reverse=True)
        found[f"{side}.counts"] = (" + ".join(map(str, counts)) or "none") + f" of {sum(counts)}"
    return found


def attribute_difference(a, b, epsilon):
    """What the reference's logits say at the first token in which two answers differ: a coin tossed, or more?"""
    at = next(i for i, (x, y) in enumerate(zip_longest(a["token_ids"], b["token_ids"])) if x != y)
    near = {a["rank"][at], b["rank"][at]} == {1, 2} and a["gap"][at] <= 2 * epsilon
    numbers = {"first.margin": a["margin"][at], "second.margin": b["margin"][at], "gap": a["gap"][at]}
    return dict({k: f"{abs(v):.3f}" for k, v in numbers.items()}, parting="a near-tie" if near else "unexplained")


def measure_token_difr(by_prompt, read, forms, claim):
    """Token-DiFR: the mean margin of the answers' tokens, by prompt; and that of the reference's own honest forms."""
    margins = {"A": [[m for a in given for m in read[a["number"]]["margin"]] for given in by_prompt.values()]}
    for form in forms:
        margins.setdefault(form["form"], []).append(form["margin"])
    draw, found = random.Random(0), {}
    for name, prompts in margins.items():
        values = [mean(min(m, claim["clip"]) for m in tokens) for tokens in prompts]
        means = sorted(mean(draw.choices(values, k=len(values))) for _ in range(2000))  # bootstrap over prompts
        unseen = 0 if name == "A" else 2 * claim["epsilon"] * (1 - 0.025 ** (1 / len(values)))  # prompts of a form
        found[name] = (mean(values), means[50], means[1949] + unseen, len(values))
    worst = max((name for name in found if name != "A"), key=lambda name: found[name][2])
    if found["A"][1] <= found[worst][2]:
        raise BrokenBundle("not proven: its margins are not larger than those of every honest form of the reference")
    shown = {name: "{:.4f} [{:.4f}, {:.4f}] over {} prompts".format(*of) for name, of in found.items()}
    return {"difr": shown["A"], "trusted": f"{shown[worst]} ({as_code(worst)})"}


def group_sides(claim, answers):
    """The answers that count, by side and prompt."""
    sides = {}
    for side in sorted(claim["sides"]):
        sides[side] = {}
        for a in first_usable_answers(x for x in answers if x["side"] == side):
            if has_output(a):
                sides[side].setdefault(a["prompt"], []).append(a)
    return sides


def find_example(claim, sides):
    every = {a["number"]: a for by_prompt in sides.values() for given in by_prompt.values() for a in given}
    if len(claim["example"]) != 2 or not every.keys() >= set(claim["example"]):
        raise BrokenBundle("not proven: an answer of the example is not among those that count")
    return [every[number] for number in claim["example"]]


def compute_figures(claim, answers, files, outline):
    """Every figure of the page by its name, as it is printed. Raises Broken where they do not support the claim."""
    found, sides = {f"attested.{name}": as_code(text, 300) for name, text in claim["attested"].items()}, {}
    sides = group_sides(claim, answers)
    for side, provider in sorted(claim["sides"].items()):
        trials = first_usable_answers(a for a in answers if a["side"] == side)
        parts = {f"{side}.": measure_side(sides[side], claim["routers"])}
        ended = f"{len(trials)} trials, {tally_values(a['outcome'] for a in trials)}"
        shown = [bool(a["reasoning"]) for given in sides[side].values() for a in given]
        planned = sum(repeats * len(prompts) for _, repeats, prompts in claim["planned"][side])
        parts[f"{side}."].update(name=as_code(provider), outcomes=ended, shown=f"{sum(shown)} of {len(shown)}")
        parts[f"{side}."].update(planned=f"`{planned}`")
        if side != "A":
            parts[f"A{side}."] = compare_sides(sides["A"], sides[side])
        found.update({part + name: text for part in parts for name, text in parts[part].items()})
    a, b = find_example(claim, sides)
    check_verdict(claim, a, b, sides, found)
    example = describe_example(a, b, sides)
    if claim["epsilon"] is not None:
        read = {x["number"]: x for x in map(parse_json, files["readings.jsonl"].splitlines())}
        example.update(attribute_difference(read[a["number"]], read[b["number"]], claim["epsilon"]))
    if claim["rule"] == "deviates_token_by_token":
        forms = map(parse_json, files["forms.jsonl"].splitlines())
        example.update(measure_token_difr(sides["A"], read, forms, claim))
    found.update({f"example.{name}": text for name, text in example.items()})
    every = {a["number"]: a for by_prompt in sides.values() for given in by_prompt.values() for a in given}
    for which, path in re.findall(r"{(\w+): ([^{}]+)}", "\n".join(outline)):
        chosen = [every[int(which)]] if which.isdigit() else [x for g in sides[which].values() for x in g]
        long = 400 if path == "further" else 100
        found[f"{which}: {path}"] = tally_values((find_field(x, path) for x in chosen), long)
    return found


def check_verdict(claim, a, b, sides, found):
    """Do the figures support what is claimed?"""
    rule, now = claim["rule"], sides["A"]
    for x in (x for by_prompt in sides.values() for given in by_prompt.values() for x in given):
        temperature = x["asked"].get("temperature")
        if type(temperature) not in (int, float) or temperature != 0:
            raise BrokenBundle(f"not proven: answer {x['number']} does not show that temperature 0 was asked for")
        for path, value in list_fields(x["asked"]):
            if path.rpartition(".")[2].strip().lower() in TEMPERATURES and value not in (0, None):
                raise BrokenBundle(f"not proven: the request of answer {x['number']} sets {as_code(path)} as well")
    if a["side"] != "A" or (b["side"] == "A") != (rule == "nondeterministic"):
        raise BrokenBundle("not proven: the example is not of the two sides")
    if are_same(a, b, what_is_shown(now, sides[b["side"]])) or a["prompt"] != b["prompt"]:
        raise BrokenBundle("not proven: the two answers of the example do not differ")
    if rule == "nondeterministic" and name_source(a, claim["routers"]) != name_source(b, claim["routers"]):
        raise BrokenBundle("not proven: the two answers are not of one request, model and backend")
    for side, other in list(sides.items())[1:]:  # of several it must differ from each one, so the largest p decides
        for prompt in (p for p in now if p in other):
            same = "request_sha256" if rule == "changed" else "asked.messages"
            if (
                len({json.dumps(find_field(x, same), sort_keys=True) for x in now[prompt] + other[prompt]} | {"null"})
                != 2
            ):
                raise BrokenBundle(f"not proven: the two sides were not asked the same on prompt {as_code(prompt)}")
            if len({what_steers(x["asked"]) for x in now[prompt] + other[prompt]}) > 1:
                raise BrokenBundle(f"not proven: penalties, stops, tools or form differ on prompt {as_code(prompt)}")
        times = [sorted(x["asked_at"] for given in s.values() for x in given) for s in (other, now)]
        if rule == "changed" and not "" < times[0][0] <= times[0][-1] < times[1][0]:
            raise BrokenBundle("not proven: the answers of before are not all older than those of now")
        if float(found[f"A{side}.p"]) > 0.05 and rule != "deviates_token_by_token":
            raise BrokenBundle(f"not proven: A and {side} differ no more than each does from itself")


def list_fields(asked, at=""):
    """The fields of a request by their paths, but for prompts, tools and the form of an answer."""
    for name, value in asked.items() if isinstance(asked, dict) else enumerate(asked):
        path = f"{at}{name}"
        if path.partition(".")[0] in ("messages", "tools", "response_format"):
            continue
        if isinstance(value, (dict, list)) and value:
            yield from list_fields(value, f"{path}.")
        else:
            yield path, value


def list_further_fields(asked):
    """What a request sets besides the fields that the page shows by name; what may steer the sampling comes first."""
    found = [(p, v) for p, v in list_fields(asked) if p not in SHOWN_FIELDS]
    found.sort(key=lambda one: (not SAMPLING_FIELD.search(one[0].lower()), one[0]))
    return ", ".join(f"{path}={json.dumps(value)}" for path, value in found) or None


def what_steers(asked):
    """The fields that change which token is the likeliest; one that changes nothing is none."""
    kept = {k: v for k, v in asked.items() if STEERING_FIELD.fullmatch(k) and v not in (None, 0, [], {}, "")}
    return json.dumps({k: v for k, v in kept.items() if v != 1 or k != "repetition_penalty"}, sort_keys=True)


def mean(values):
    values = list(values)
    return fsum(values) / len(values)


def format_share(values):
    """The mean of values from 0 to 1 with the 95 % interval that the report has: Wilson's for yes and no, Jeffreys' for
    values between, as a beta distribution over the prompts and half an unseen one at each end."""
    n = len(values)
    if n == 0:
        return "not measured"
    p = mean(values)
    if all(isinstance(v, bool) for v in values):
        w = 1.959964**2 / n
        middle, half = (p + w / 2) / (1 + w), sqrt(p * (1 - p) * w + w * w / 4) / (1 + w)
        limits = middle - half, middle + half
    elif n == 1:
        return f"{p:.3f} over 1 prompt"
    elif p in (0, 1):
        reach = -(exp(log(0.05) / n) - 1)
        limits = (1 - reach, 1) if p else (0, reach)
    else:
        weight, centre, squares = weigh_unseen(values, 0.5)
        limits = find_beta_limits(centre, squares / (weight * (weight + 1)))
    p = p if p in (0, 1) else min(max(p, 0.001), 0.999)  # never rounded to a certainty
    counted = f"{sum(values)} of {n}, " if all(isinstance(v, bool) for v in values) else ""
    return f"{counted}{p:.3f} {format_limits(limits, 0, 1)} over {n} prompts"


def format_excess(values):
    """The mean excess divergence of the prompts, each from -1/2 to 1, with the report's interval."""
    n = len(values)
    if n < 2:
        return f"{mean(values):.3f} over 1 prompt" if n else "0.000 over 0 prompts"
    weight, centre, squares = weigh_unseen(values, 0.75)
    variance = squares / (weight * (weight + 1)) * (1 + 1 / n) / 1.5**2
    limits = (1.5 * x - 0.5 for x in find_beta_limits((centre + 0.5) / 1.5, variance))
    return f"{mean(values):.3f} {format_limits(limits, -0.5, 1)} over {n} prompts"


def format_limits(limits, floor_at, ceiling_at):
    low, high = limits
    low, high = floor(low * 1000 + 1e-6) / 1000, ceil(high * 1000 - 1e-6) / 1000
    return f"[{max(floor_at, low):.3f}, {min(ceiling_at, high):.3f}]"


def weigh_unseen(values, unseen):
    """Total weight, mean and squares about it, of the values and so much of an unseen one at 0 and at 1."""
    weight = len(values) + 2 * unseen
    centre = (fsum(values) + unseen) / weight
    return weight, centre, fsum([(v - centre) ** 2 for v in values] + [unseen * centre**2, unseen * (1 - centre) ** 2])


def find_beta_limits(centre, variance):
    """The middle 95 % of the beta distribution with this mean and variance."""
    size = centre * (1 - centre) / variance - 1
    return [find_beta_quantile(p, centre * size, (1 - centre) * size) for p in (0.025, 0.975)]


def find_beta_quantile(p, a, b):
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if beta_share_below(middle, a, b) < p else (low, middle)
    return (low + high) / 2


def beta_share_below(x, a, b):
    """The regularised incomplete beta function, by its continued fraction."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_share_below(1 - x, b, a)
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x)) / a
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or 1e-300)
    fraction = d
    for m in range(1, 400):
        for top in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d, c = 1 / (1 + top * d or 1e-300), 1 + top / c or 1e-300
            fraction *= c * d
        if abs(c * d - 1) < 1e-12:
            break
    return front * fraction


def escape_hidden(text):
    """Text from outside on one line."""
    return HIDDEN_CHARACTERS.sub(lambda m: f"⟨U+{ord(m.group()):04X}⟩", text.replace("\n", "⏎"))


def as_code(value, limit=100):
    text = escape_hidden(value if isinstance(value, str) else json.dumps(value, sort_keys=True))
    return f"`{text[:limit]}{'…' if len(text) > limit else ''}`"


def tally_values(values, limit=100):
    """The distinct values and how often each came, numbers and dates in order; of more than four, first and last."""
    counts = Counter("not given" if v is None else as_code(v, limit) for v in values)
    order = sorted(counts, key=lambda v: (len(v), v)) if all(re.match(r"`\d", v) for v in counts) else list(counts)
    if len(order) > 4:
        return f"{order[0]} to {order[-1]} ({len(order)} different)"
    return ", ".join(v if len(order) == 1 else f"{v} ({counts[v]})" for v in order) or "none"
