#!/usr/bin/env python3
"""Checks the evidence bundle beside it: prints that it holds, or one line saying what does not. Nothing to install.

1. Files: SHA256SUMS has a hash of each (`sha256sum -c` does the same); its own hash, the root, stands for all of them.
2. Answers: a line of answers.jsonl is one request with its response, which lie in files. What is compared (reasoning,
   text, calls of tools, refusal; the provider's labels) is read again from the response's bytes.
3. Figures are computed anew from the answers, and must support what is claimed. A is the side accused.
4. Page: claim.json has its outline, words without a digit and {names} of figures; {A: name} is a field of A's answers.
   Filled in, that must be CLAIM.md, and CLAIM.html must read the same. What is "attested" is the author's word.

Functions that this kind of claim does not call are left out of this file. Nothing here can know that this is what the
provider sent: it can look up the response ids and dates in its logs.
"""

import hashlib
import html
import json
import random
import re
import sys
from collections import Counter
from itertools import combinations, takewhile, zip_longest
from math import ceil, floor, fsum, sqrt
from pathlib import Path

from tempzero.answers.cut_answers import settle_cut_answers

BUNDLE_FORMAT = 4
WHOLE_OUTCOMES = ("valid: complete", "valid: empty")
LIMIT_OUTCOME, FILTER_OUTCOME = "censored: length", "censored: content_filter"
FILTERS = ("content_filter", "refusal", "safety", "recitation", "prohibited_content", "guardrails", "sensitive")
LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens")
REASONING_KINDS = ("thinking", "redacted_thinking", "reasoning", "reasoning_text", "summary_text")
THINK_MARKS = [(f"<{x}>", f"</{x}>") for x in ("think", "thinking", "thought")]
THINK_MARKS += [("[THINK]", "[/THINK]"), ("\u25c1think\u25b7", "\u25c1/think\u25b7")]
PARTS = ("reasoning", "text", "calls", "refusal")  # of an answer, in the order in which they come
RESPONSE_LABELS = {
    "id": "response_id",
    "model": "served_model",
    "provider": "backend",
    "system_fingerprint": "fingerprint",
}
HIDDEN_CHARACTERS = re.compile(  # what hides from the eye or acts on a page
    "[\0-\x1f\x7f-\xa0`\xad\u061c\u115f\u1160\u180b-\u180f\u200b-\u200f\u2028-\u202f\u205f-\u206f\u3164\ud800-\udfff"
    "\ufeff\uffa0\ufff0-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


class BrokenBundle(Exception):
    """The bundle does not hold; the message says what and where."""


def verify(files):
    """Check all of it; gives one line to print. Raises Broken."""
    try:
        check_hashes(files)
        claim = json.loads(files["claim.json"])
        if claim["format"] != BUNDLE_FORMAT:
            raise BrokenBundle(f"of format {claim['format']}, this checks {BUNDLE_FORMAT}: run the verify.py in it")
        answers = read_answers(files)
        page = fill_outline(claim["page"], compute_figures(claim, answers, files))
        check_page(page, files)
    except (AttributeError, LookupError, NameError, StopIteration, TypeError, ValueError) as problem:
        raise BrokenBundle(f"not a whole bundle: {type(problem).__name__}: {problem}") from None
    return f"holds: {page.partition(chr(10))[0][2:]} ({len(answers)} answers; root {sha256(files['SHA256SUMS'])})"


# --- 1. files, 2. answers ---------------------------------------------------------------------------------------------


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def check_hashes(files):
    listed = {line[66:]: line[:64] for line in files["SHA256SUMS"].decode().splitlines()}
    for name in sorted(listed.keys() | files.keys() - {"SHA256SUMS"}):
        if name not in files or name not in listed:
            raise BrokenBundle(f"{name} is missing" if name in listed else f"{name} is not listed in SHA256SUMS")
        if sha256(files[name]) != listed[name]:
            raise BrokenBundle(f"{name} was changed: it does not have the hash that SHA256SUMS lists")


def read_answers(files):
    answers = [json.loads(line) for line in files["answers.jsonl"].split(b"\n")[:-1]]
    for a in answers:
        for part in ("request", "response"):
            if a[part] and sha256(files.get(a[part], b"")) != a[f"{part}_sha256"]:
                raise BrokenBundle(f"{a[part]} is missing, or is not the {part} of answer {a['number']}")
        on_the_wire = a["response"] and a["method"] != "IMPORT"  # of an import it is what another tool's file says
        a["asked"] = json.loads(files[a["request"]])
        a["cut"] = a["outcome"] == LIMIT_OUTCOME or (a["outcome"] == FILTER_OUTCOME and not a["refusal"])
        open_end = a["outcome"] == LIMIT_OUTCOME or (a["finish_reason"] or "").lower() in FILTERS
        said = read_response(files[a["response"]], files[a["request"]], open_end) if on_the_wire else {}
        for name, value in said.items():
            if (a[name] or "") != value and has_output(a):
                raise BrokenBundle(f"answer {a['number']}: its {name} is not the one in {a['response']}")
        a["reread"] = bool(said)
        a["spoken"] = "\n".join(filter(None, (a["text"], a["calls"], a["refusal"] and "\x1e<refusal>" + a["refusal"])))
        ended = "" if a["cut"] and not a["spoken"] else "\x1e</reasoning>"  # else it was cut within its reasoning
        a["whole"] = "\x1e<reasoning>" + a["reasoning"] + ended + a["spoken"] if a["reasoning"] else a["spoken"]
        if a["cut"]:  # half a character is none
            a["whole"], a["spoken"] = a["whole"].rstrip("\ufffd"), (a["spoken"] or "").rstrip("\ufffd")
    return answers


def has_output(a):
    """Does it count: whole (an empty answer is one, and a refusal in words of its own), or cut after some output?"""
    if a["cut"]:
        return any((a[part] or "").rstrip("\ufffd") for part in PARTS)
    return a["outcome"] in WHOLE_OUTCOMES or (a["outcome"].startswith("censored") and bool(a["refusal"]))


def read_response(body, request=b"{}", cut=False):
    """Parts and labels in the bytes of a chat completion, whole or streamed; nothing where they are no such thing.

    `cut`: the answer was cut, be it within its reasoning.
    """
    try:
        text = re.sub("\r\n?", "\n", body.decode("utf-8-sig"))
        events, streamed = [text], not text.lstrip().startswith("{")
        if streamed:  # server-sent events
            events = ["\n".join(re.findall("^data: ?(.*)", event, re.M)) for event in text.split("\n\n")]
        chunks = [json.loads(event) for event in takewhile(lambda e: e != "[DONE]", filter(None, events))]
        if "choices" not in chunks[0]:  # written by an engine inside the client
            return {"text": chunks[0]["text"], "reasoning": chunks[0].get("reasoning_text") or ""}
        labels, said = dict.fromkeys(RESPONSE_LABELS.values(), ""), []
        for chunk in chunks:
            for name in RESPONSE_LABELS.keys() & chunk.keys():
                given = chunk[name] if isinstance(chunk[name], str) else ""
                labels[RESPONSE_LABELS[name]] = (
                    labels[RESPONSE_LABELS[name]] or given.encode("utf-8", "backslashreplace").decode()[:500]
                )
            said += [c.get("delta") or c.get("message") or {} for c in chunk.get("choices") or () if not c.get("index")]
        calls = "\n".join(tool_call_lines(said, streamed)) if b"_call" in body else ""
        return dict(labels, **read_texts(said, request.decode(), cut, streamed), calls=calls) if said else {}
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return {}


def read_texts(said, asked, cut, streamed):
    """Text, reasoning and refusal: in fields, in parts of a content that is a list, or reasoning between marks."""
    contents = ([{"text": x["content"]}] if isinstance(x.get("content"), str) else x.get("content") for x in said)
    parts = [(y.get("type", "text"), y) for content in contents for y in content or ()]
    details = [y for x in said for y in x.get("reasoning_details") or ()]
    if all(type(y.get("index")) is int for y in details):
        details.sort(key=lambda y: y["index"])
    text = "".join(y["text"] for kind, y in parts if kind in ("text", "output_text"))
    refusal = join_texts(said, "refusal") or "".join(y["refusal"] for kind, y in parts if kind == "refusal")
    found = [join_texts(said, name) for name in ("reasoning_content", "reasoning", "thinking")]
    found.append("".join(x for y in details for x in [y.get("text") or y.get("summary")] if isinstance(x, str)))
    # Parts of a stream's content go before details, those of a whole answer after them.
    found.insert(3 if streamed else 4, "".join(read_thought(y) for kind, y in parts if kind in REASONING_KINDS))
    reasoning = next(filter(None, found), "")
    for opening, closing in () if reasoning else THINK_MARKS:
        opened, ends = text.lstrip().startswith(opening), text.count(closing)
        if opened or (ends == 1 and opening not in text and closing not in asked):
            if ends or cut:
                reasoning, _, text = (text.partition(opening)[2] if opened else text).partition(closing)
            break
    return {"text": text, "reasoning": reasoning, "refusal": refusal}


def read_thought(part):
    """The words of a part that holds reasoning: a text, or a list of parts with texts."""
    names = ("thinking", "reasoning", "text", "summary", "content")
    given = next((part[name] for name in names if isinstance(part.get(name), (str, list))), "")
    inner = [given] if isinstance(given, str) else [x.get("text") if isinstance(x, dict) else x for x in given]
    return "".join(x for x in inner if isinstance(x, str))


def join_texts(said, name):
    return "".join(x[name] for x in said if isinstance(x.get(name), str))


def tool_call_lines(said, streamed):
    """A line for each tool call: name and arguments, without its random id. A stream brings them in pieces: to the call
    of their index, unless another id (or, without an index and an id, a name) says that another call begins."""
    calls, current = [], {}
    newer = [call for part in said for call in part.get("tool_calls") or ()]
    older = [{"index": 0, "function": x["function_call"]} for x in said if isinstance(x.get("function_call"), dict)]
    for call in newer or older:
        given, name, at = call.get("function") or {}, (call.get("function") or {}).get("name"), call.get("index")
        if not streamed or (at is None and not calls):
            at = len(calls)
        elif at is None:
            last, at = current[calls[-1][0]], calls[-1][0]
            at += bool(last["id"] != call["id"] if call.get("id") else name)
        open_one = current.get(at)
        if open_one is None or (call.get("id") and open_one["id"] not in (None, call["id"])):
            current[at] = open_one = {"id": None, "name": None, "arguments": "", "odd": False}
            calls.append((at, open_one))
        open_one["id"], open_one["name"] = open_one["id"] or call.get("id"), open_one["name"] or name
        more = "" if given.get("arguments") is None else given["arguments"]
        open_one["odd"] = open_one["odd"] or not isinstance(more, (str, dict))  # what is no call of anything
        open_one["arguments"] += more if isinstance(more, str) else json.dumps(more)
    understood = [one for one in calls if one[1]["name"] and isinstance(one[1]["name"], str) and not one[1]["odd"]]
    return ["\x1e" + call_line(call) for _, call in sorted(understood, key=lambda one: one[0])]


def call_line(call):
    """One spelling for arguments that say the same: keys sorted, 5.0 as 5. What is no JSON object stays a text."""

    def number(digits):
        value = float(digits)
        return int(value) if value.is_integer() and abs(value) < 2**53 else value

    def once(pairs):
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a key is given twice")
        return dict(pairs)

    try:
        value = json.loads(call["arguments"].strip() or "{}", parse_float=number, object_pairs_hook=once)
        arguments = canonical_json(value if isinstance(value, dict) else call["arguments"])
    except ValueError:
        arguments = canonical_json(call["arguments"])
    return f'{{"name":{canonical_json(call["name"])},"arguments":{arguments}}}'


def canonical_json(value, escaped=False):
    text = json.dumps(value, ensure_ascii=escaped, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return canonical_json(value, True) if re.search("[\ud800-\udfff]", text) else text  # no file can hold half a pair


def first_usable_answers(answers):
    """A trial counts once, by its first usable answer: a retry is no repeat."""
    trials = {}
    for a in answers:
        trial = (a["run"], a["prompt"], a["repeat"])
        if trial not in trials or not trials[trial]["outcome"].startswith(("valid", "censored")):
            trials[trial] = a
    return list(trials.values())


# --- 3. figures and verdict -------------------------------------------------------------------------------------------


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
    asked = next((a["asked"][name] for name in LIMITS if a["asked"].get(name)), None)
    return (a["completion_tokens"] or asked) if a["outcome"] == LIMIT_OUTCOME else None


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
    tables = [([[x == y for x in pool] for y in pool], n, list(range(len(pool)))) for pool, n in pools]
    tables = [table for table in tables if not all(map(all, table[0]))]  # where all are alike the excess is 0
    draw, sums = random.Random(0), []
    for _ in range(1000):  # first as it was, then with the answers to each prompt dealt to both sides at random
        sums.append(fsum(excess_divergence(*table) for table in tables))
        for _, _, order in tables:
            draw.shuffle(order)
    found = {"never": format_share([m == 0 for m in matches]), "match": format_share(matches)}
    found["excess"] = f"{sums[0] / max(1, len(pools)):.3f} over {len(pools)} prompts"
    return dict(found, p=f"{sum(s >= sums[0] - 1e-9 for s in sums) / len(sums):.3f}")


def excess_divergence(same, n, order):
    """Half of both sides' own agreement, minus that between them: 0 where they differ only as each from itself."""
    left, right = order[:n], order[n:]
    ours, theirs, cross = (
        sum(sum(map(same[i].__getitem__, other)) for i in one)
        for one, other in ((left, left), (right, right), (left, right))
    )
    n, m = len(left), len(right)
    return ((ours - n) / (n * (n - 1)) + (theirs - m) / (m * (m - 1))) / 2 - cross / (n * m)


def describe_example(a, b, sides):
    """Where two answers part, and how often each different one came for their prompt."""
    what = what_is_shown(sides[a["side"]], sides[b["side"]])
    part = next(name for name in PARTS[what == "spoken" :] if (a[name] or "") != (b[name] or ""))
    texts = {"first": a[part] or "", "second": b[part] or ""}
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


def compute_figures(claim, answers, files):
    """Every figure of the page by its name, as it is printed. Raises Broken where they do not support the claim."""
    found, sides = {f"attested.{name}": as_code(text, 300) for name, text in claim["attested"].items()}, {}
    for side, provider in sorted(claim["sides"].items()):
        trials, sides[side] = first_usable_answers(a for a in answers if a["side"] == side), {}
        for a in trials:
            if has_output(a):
                sides[side].setdefault(a["prompt"], []).append(a)
        parts = {f"{side}.": measure_side(sides[side], claim["routers"])}
        ended = f"{len(trials)} trials, {tally_values(a['outcome'] for a in trials)}"
        shown = [bool(a["reasoning"]) for given in sides[side].values() for a in given]
        parts[f"{side}."].update(name=as_code(provider), outcomes=ended, shown=f"{sum(shown)} of {len(shown)}")
        if side != "A":
            parts[f"A{side}."] = compare_sides(sides["A"], sides[side])
        found.update({part + name: text for part in parts for name, text in parts[part].items()})
    every = {a["number"]: a for by_prompt in sides.values() for given in by_prompt.values() for a in given}
    if not every.keys() >= set(claim["example"]):
        raise BrokenBundle("not proven: an answer of the example is not among those that count")
    a, b = (every[number] for number in claim["example"])
    check_verdict(claim, a, b, sides, found)
    example = describe_example(a, b, sides)
    if claim["epsilon"] is not None:
        read = {x["number"]: x for x in map(json.loads, files["readings.jsonl"].splitlines())}
        example.update(attribute_difference(read[a["number"]], read[b["number"]], claim["epsilon"]))
    if claim["rule"] == "deviates_token_by_token":
        forms = map(json.loads, files["forms.jsonl"].splitlines())
        example.update(measure_token_difr(sides["A"], read, forms, claim))
    found.update({f"example.{name}": text for name, text in example.items()})
    for which, path in re.findall(r"{(\w+): ([^{}]+)}", "\n".join(claim["page"])):
        chosen = [every[int(which)]] if which.isdigit() else [x for g in sides[which].values() for x in g]
        found[f"{which}: {path}"] = tally_values(find_field(x, path) for x in chosen)
    return found


def check_verdict(claim, a, b, sides, found):
    """Do the figures support what is claimed?"""
    rule, now = claim["rule"], sides["A"]
    for x in (x for by_prompt in sides.values() for given in by_prompt.values() for x in given):
        temperature = x["asked"].get("temperature")
        if type(temperature) not in (int, float) or temperature != 0:
            raise BrokenBundle(f"not proven: answer {x['number']} does not show that temperature 0 was asked for")
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
        times = [sorted(x["asked_at"] for given in s.values() for x in given) for s in (other, now)]
        if rule == "changed" and not "" < times[0][0] <= times[0][-1] < times[1][0]:
            raise BrokenBundle("not proven: the answers of before are not all older than those of now")
        if float(found[f"A{side}.p"]) > 0.05 and rule != "deviates_token_by_token":
            raise BrokenBundle(f"not proven: A and {side} differ no more than each does from itself")


# --- 4. page: nothing is computed below, it is only spelled -----------------------------------------------------------


def find_field(value, path):
    for step in path.split("."):
        value = (value or {}).get(step)
    return value


def mean(values):
    values = list(values)
    return fsum(values) / len(values)


def format_share(values):
    """The mean of values from 0 to 1 with Wilson's 95 % interval: right for yes and no, too wide for values between."""
    n = len(values)
    if n == 0:
        return "not measured"
    p, w = mean(values), 1.959964**2 / n
    middle, half = (p + w / 2) / (1 + w), sqrt(p * (1 - p) * w + w * w / 4) / (1 + w)
    low, high = floor((middle - half) * 1000 + 1e-6) / 1000, ceil((middle + half) * 1000 - 1e-6) / 1000
    p = p if p in (0, 1) else min(max(p, 0.001), 0.999)  # never rounded to a certainty
    counted = f"{sum(values)} of {n}, " if all(isinstance(v, bool) for v in values) else ""
    return f"{counted}{p:.3f} [{max(0, low):.3f}, {min(1, high):.3f}] over {n} prompts"


def escape_hidden(text):
    """Text from outside on one line."""
    return HIDDEN_CHARACTERS.sub(lambda m: f"⟨U+{ord(m.group()):04X}⟩", text.replace("\n", "⏎"))


def as_code(value, limit=100):
    text = escape_hidden(value if isinstance(value, str) else json.dumps(value, sort_keys=True))
    return f"`{text[:limit]}{'…' if len(text) > limit else ''}`"


def tally_values(values):
    """The distinct values and how often each came, numbers and dates in order; of more than four, first and last."""
    counts = Counter("not given" if v is None else as_code(v) for v in values)
    order = sorted(counts, key=lambda v: (len(v), v)) if all(re.match(r"`\d", v) for v in counts) else list(counts)
    if len(order) > 4:
        return f"{order[0]} to {order[-1]} ({len(order)} different)"
    return ", ".join(v if len(order) == 1 else f"{v} ({counts[v]})" for v in order) or "none"


def fill_outline(outline, found):
    """The outline with its figures. It may hold no digit of its own, and may leave no figure out."""
    text = "\n".join(outline) + "\n"
    for line in outline:
        if re.search(r"\d", re.sub("{[^{}]*}", "", line)):
            raise BrokenBundle(f"claim.json: the outline states a figure of its own: {line}")
    for name in found:
        if "{" + name + "}" not in text:
            raise BrokenBundle(f"claim.json: the outline leaves out {name}: {found[name]}")
    return re.sub("{([^{}]*)}", lambda m: found[m.group(1)], text)


def check_page(page, files):
    shown = html.unescape(re.sub("<[^>]*>", "", files["CLAIM.html"].decode().partition("</style>")[2]))
    for name, text, right in (
        ("CLAIM.md", files["CLAIM.md"].decode(), page),
        ("CLAIM.html", shown.strip(), re.sub("^(##? |- |    )|`", "", page, flags=re.M).strip()),
    ):
        for says, gives in zip_longest(text.split("\n"), right.split("\n")):
            if says != gives:
                raise BrokenBundle(f"{name} says: {says} | the answers give: {gives}")


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else __file__ + "/..").resolve()
    try:
        print(verify({p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}))
    except BrokenBundle as broken:
        sys.exit(f"FAILED: {broken}")
