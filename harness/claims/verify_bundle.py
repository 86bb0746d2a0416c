#!/usr/bin/env python3
"""An unpacked evidence bundle in, "holds" or one line saying what does not out. Standard library only, offline.

1. Files: SHA256SUMS lists each file of evidence with its hash (`sha256sum -c` does the same); its own hash is the root.
2. Records: a line of records.jsonl is one request with its response. Their bytes have the hashes recorded with them,
   equal the copies in requests/ and responses/, and, read again, give the texts that are compared here. A line names
   the hash of the line before it, so neighbours hold each other.
3. Figures and verdict: computed anew from the records, and equal to those in figures.json. A is the side accused.
4. Page: claim.json has its outline: words without a digit, and {names} of figures. Filled in, that must be CLAIM.md,
   and as HTML CLAIM.html. Figures under "attested" are the author's word.
Nothing here can know that the records are what the provider sent: it can look up the response ids and dates.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import random
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

PERMUTATIONS, ALPHA, Z = 999, 0.05, 1.959964
OUTCOME, COMPLETION = "attempt.exchange.outcome", "attempt.exchange.outcome.completion"
HIDDEN = re.compile(
    "[\0-\x1f\x7f-\xa0`\xad\u061c\u115f\u1160\u180b-\u180f\u200b-\u200f\u2028-\u202f\u205f-\u206f\u3164\ud800-\udfff"
    "\ufeff\uffa0\ufff0-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
HEAD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Claim</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>body{max-width:50rem;margin:2rem auto;padding:0 1rem;font:1rem/1.5 sans-serif}h2{border-top:1px solid #ccc}
li{margin-left:1rem}pre,code{font-size:.85em;background:#eee;overflow-wrap:anywhere;white-space:pre-wrap}pre{margin:0}</style>
"""


class Broken(Exception):
    """The bundle does not hold; the message says what and where."""


class Answer(NamedTuple):
    """A response that counts: a whole text, or one cut at its token limit, which is compared up to the cut."""

    text: str
    cut: bool
    identity: tuple[str | None, ...]  # hash of the request, served model, and unless a router: backend, fingerprint
    record: Any


# --- 1. files, 2. records ---------------------------------------------------------------------------------------------


def check_files(files: dict[str, bytes]) -> str:
    """Hold every file against SHA256SUMS; gives the root hash."""
    expected = {line[66:]: line[:64] for line in files["SHA256SUMS"].decode().splitlines()}
    for name in sorted(expected.keys() | files.keys() - {"SHA256SUMS", "CLAIM.md", "CLAIM.html", "figures.json"}):
        if name not in files or name not in expected:
            raise Broken(f"{name} is missing" if name in expected else f"{name} is not listed in SHA256SUMS")
        if sha256(files[name]) != expected[name]:
            raise Broken(f"{name} was changed: it does not have the hash that SHA256SUMS lists")
    return sha256(files["SHA256SUMS"])


def check_records(files: dict[str, bytes]) -> list[Any]:
    """The records, each held against its own bytes, their copies, and the line before."""
    records: list[Any] = []
    copies, before = set(), b""
    for line in files["records.jsonl"].split(b"\n")[:-1]:
        record = json.loads(line)
        where, exchange = f"records.jsonl, record {record['seq']}", record["attempt"]["exchange"]
        step = record["seq"] - records[-1]["seq"] if records else 2
        if step < 1 or (step == 1 and record["previous"] != sha256(before)):
            raise Broken(f"{where}: the hash chain breaks; this line or the one before was changed or moved")
        names = {"request": "requests/{sha256:.16}.json", "response": f"responses/{record['seq']:06}.body"}
        for part, name in names.items():
            if exchange[part] is not None:
                name, body = name.format(**exchange[part]), body_of(exchange[part])
                if sha256(body) != exchange[part]["sha256"] or files.get(name) != body:
                    raise Broken(f"{name} is missing, or is not the {part} that was recorded: {where}")
                copies.add(name)
        recorded = find(record, COMPLETION) or {}
        for label, value in reread(record).items():
            if recorded.get(label, value) != value:
                raise Broken(f"{where}: its {label} is not the one in its response")
        records.append(record)
        before = line
    for name in sorted(n for n in files if n.endswith((".json", ".body")) and "/" in n and n not in copies):
        raise Broken(f"{name} belongs to no record")
    return records


def body_of(recorded: Any) -> bytes:
    """The bytes of a recorded request or response."""
    return recorded["body"].encode() if recorded["body"] is not None else base64.b64decode(recorded["body_base64"])


def reread(record: Any) -> dict[str, Any]:
    """Text and labels as the response bytes give them; nothing where their form is not known here."""
    try:
        value = json.loads(find(record, "attempt.exchange.response.body").lstrip("\ufeff"))
        if "choices" not in value:  # an engine inside the client writes what it said in this form
            return {name: value[name] for name in ("text", "finish_reason")}
        choice = next((c for c in value["choices"] if c.get("index") == 0), value["choices"][0])
        text = choice["message"].get("content") or ""
        text = text if isinstance(text, str) else "".join(part["text"] for part in text if "text" in part)
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return {}
    if find(record, f"{COMPLETION}.reasoning_text") is not None and re.match(r"\s*<think>", text):
        text = text.partition("</think>")[2]
    said = {"served_model": value.get("model"), "backend": value.get("provider"), "response_id": value.get("id")}
    said.update(fingerprint=value.get("system_fingerprint"), finish_reason=choice.get("finish_reason"))
    names = {k: v.encode("utf-8", "backslashreplace").decode()[:500] for k, v in said.items() if isinstance(v, str)}
    return {"text": text, **dict.fromkeys(said), **names}


def sort_out(records: list[Any], router: bool = False) -> tuple[dict[str, list[Answer]], Counter[str]]:
    """The answers by prompt, and how often others ended how. The backends of a router are taken as one.

    A trial counts once, by its first answer: a retry is no repeat. Replayed, filtered and empty ones do not count.
    """
    trials: dict[str, Any] = {}
    for record in records:
        trial = json.dumps(record["attempt"]["trial"], sort_keys=True)
        if trial not in trials or find(trials[trial], f"{OUTCOME}.status") not in ("valid", "censored"):
            trials[trial] = record
    answers: dict[str, list[Answer]] = {}
    left_out: Counter[str] = Counter()
    for record in trials.values():
        outcome, completion = find(record, OUTCOME), find(record, COMPLETION)
        ended = f"{outcome['status']}: {outcome['kind']}"
        if ended in ("valid: complete", "censored: length") and completion["text"]:
            cut = ended == "censored: length"
            text = completion["text"].rstrip("\ufffd" if cut else "")  # half a character at the cut
            labels = [completion[n] for n in ("served_model", "backend", "fingerprint")][: 1 if router else 3]
            identity = (find(record, "attempt.exchange.request.sha256"), *labels)
            answers.setdefault(find(record, "attempt.trial.prompt"), []).append(Answer(text, cut, identity, record))
        else:
            left_out[ended + (" (with a text)" if reread(record).get("text") else "")] += 1
    return answers, left_out


# --- 3. figures and verdict -------------------------------------------------------------------------------------------


def parting(a: Answer, b: Answer) -> int | None:
    """The first character at which two answers differ; None where they do not, as far as a cut one goes."""
    shorter = min(len(a.text), len(b.text))
    at = next((i for i in range(shorter) if a.text[i] != b.text[i]), shorter)
    return None if a.text == b.text or any(x.cut and len(x.text) == at for x in (a, b)) else at


def outputs(answers: list[Answer]) -> list[Any]:
    """What each answer counts as. One that was cut: as the commonest longer one it begins (in dubio pro reo)."""
    total = Counter((a.text, not a.cut) for a in answers)
    counts_as: dict[Any, Any] = {}
    for cut in sorted((key for key in total if not key[1]), reverse=True):
        longer = {counts_as.get(k, k) for k in total if k != cut and k[0].startswith(cut[0])}
        if longer:
            counts_as[cut] = min(longer, key=lambda k: (-total[k], k))
            total[counts_as[cut]] += total[cut]
    return [counts_as.get((a.text, not a.cut), (a.text, not a.cut)) for a in answers]


def pairs(groups: Any) -> int:
    """How many ordered pairs have both members in one group."""
    return sum(n * (n - 1) for n in Counter(groups).values())


def self_match(answers: list[Answer]) -> float | None:
    """EMR of a prompt: the share of pairs of repeats, under one identity, with the same text. None without a pair."""
    possible = pairs(a.identity for a in answers)
    alike = (pairs(outputs([a for a in answers if a.identity == i])) for i in {a.identity for a in answers})
    return sum(alike) / possible if possible else None


def cross_match(left: list[Any], right: list[Any]) -> float:
    """Cross-EMR of a prompt: the chance that an answer of one side equals one of the other."""
    return sum(left.count(x) * right.count(x) for x in set(left)) / (len(left) * len(right))


def excess(left: list[Any], right: list[Any]) -> float:
    """Half of both own EMR, minus the cross-EMR: 0 on average where the sides differ no more than each from itself."""
    own = sum(pairs(side) / (len(side) * (len(side) - 1)) for side in (left, right))
    return own / 2 - cross_match(left, right)


def permutation_p(tables: list[tuple[list[Any], int]]) -> float:
    """How often the excess is as large when the answers to each prompt are dealt to the two sides at random."""
    tables = [([pool.index(text) for text in pool], n) for pool, n in tables if len(set(pool)) > 1]
    draw, sums = random.Random(0), []
    for _ in range(PERMUTATIONS + 1):
        sums.append(math.fsum(excess(pool[:n], pool[n:]) for pool, n in tables))
        for pool, _ in tables:
            draw.shuffle(pool)
    return sum(s >= sums[0] - 1e-9 for s in sums) / len(sums)


def of_side(records: list[Any], answers: dict[str, list[Answer]], left_out: Counter[str]) -> dict[str, str]:
    """Figures of one provider."""
    counted = [a for given in answers.values() for a in given]
    bodies = [json.loads(find(a.record, "attempt.exchange.request.body")) for a in counted]
    matches = [m for m in map(self_match, answers.values()) if m is not None]
    return {
        "name": code(find(records[0], "attempt.trial.provider")),
        "requests": str(len(records)),
        "when": listed(find(r, "attempt.exchange.times.started_at") for r in records),
        "fields": listed({k: v for k, v in body.items() if k not in ("model", "messages")} for body in bodies),
        "trials": str(len(counted) + sum(left_out.values())),
        "prompts": str(len(answers)),
        "counted": str(len(counted)),
        "cut": str(sum(a.cut for a in counted)),
        "left_out": ", ".join(f"{n} {code(reason)}" for reason, n in sorted(left_out.items())) or "none",
        "one_request": out_of([len({a.identity[0] for a in given}) == 1 for given in answers.values()]),
        "reread": out_of([bool(reread(a.record)) for a in counted]),
        "split": out_of([m < 1 for m in matches]),
        "split_share": share([m < 1 for m in matches]),
        "emr": share(matches),
    }


def of_pair(left: dict[str, list[Answer]], right: dict[str, list[Answer]]) -> dict[str, str]:
    """Figures of two providers on the prompts that both answered."""
    tables = [(outputs(left[prompt] + right[prompt]), len(left[prompt])) for prompt in left if prompt in right]
    matches = [cross_match(pool[:n], pool[n:]) for pool, n in tables]
    repeated = [(pool, n) for pool, n in tables if min(n, len(pool) - n) >= 2]
    divergence = math.fsum(excess(pool[:n], pool[n:]) for pool, n in repeated) / max(1, len(repeated))
    never = [m == 0 for m in matches]
    found = {"never": out_of(never), "never_share": share(never), "match": share(matches)}
    return {**found, "excess": f"{divergence:.3f} over {len(repeated)} prompts", "p": f"{permutation_p(repeated):.3f}"}


def of_example(a: Answer, b: Answer, sides: dict[str, dict[str, list[Answer]]]) -> dict[str, str]:
    """Figures of two answers that differ, and of what each side gave for that prompt."""
    prompt, at = find(a.record, "attempt.trial.prompt"), parting(a, b)
    if at is None:
        raise Broken("the two answers of the example do not differ")
    found = {"prompt": code(prompt), "at": str(at + 1), "before": visible(a.text[max(0, at - 60) : at])}
    for name, x in (("first", a), ("second", b)):
        sign = f"U+{ord(x.text[at]):04X}" if at < len(x.text) else "the end"
        rest = {"length": str(len(x.text)), "sign": sign, "after": visible(x.text[at : at + 60])}
        found.update({f"{name}.{k}": v for k, v in rest.items()})
    for side, answers in sides.items():
        counts = sorted(Counter(outputs(answers.get(prompt, []))).values(), reverse=True)
        found[f"{side}.counts"] = (" + ".join(map(str, counts)) or "none") + f" of {sum(counts)}"
    return found


def figures(claim: Any, records: list[Any], root: str) -> dict[str, str]:
    """Every figure by its name, as it is printed. Raises Broken where they do not support the claim."""
    found = {"root": root, **{f"attested.{name}": code(text, 300) for name, text in claim["attested"].items()}}
    sides: dict[str, dict[str, list[Answer]]] = {}
    for side, provider in claim["sides"].items():
        own = [record for record in records if find(record, "attempt.trial.provider") == provider]
        sides[side], left_out = sort_out(own, side in claim["routers"])
        found.update({f"{side}.{name}": text for name, text in of_side(own, sides[side], left_out).items()})
        if side != "A":
            found.update({f"A{side}.{name}": text for name, text in of_pair(sides["A"], sides[side]).items()})
    every = {x.record["seq"]: x for answers in sides.values() for given in answers.values() for x in given}
    a, b = (every[seq] for seq in claim["example"])
    found.update({f"example.{name}": text for name, text in of_example(a, b, sides).items()})
    check_verdict(claim["rule"], every, (a, b), sides, found)
    # {A: path} is what stands there in the answers of a side that count; {12: path} in record 12 alone.
    for which, path in re.findall(r"{(\w+): ([^{}]+)}", "\n".join(claim["page"])):
        chosen = [every[int(which)]] if which.isdigit() else [x for given in sides[which].values() for x in given]
        found[f"{which}: {path}"] = listed(find(x.record, path) for x in chosen)
    return found


def check_verdict(rule: str, every: dict[int, Answer], example: Any, sides: dict[str, Any], found: Any) -> None:
    """Do the figures support what is claimed?"""
    for seq, x in every.items():
        if find(x.record, "attempt.exchange.request.body.temperature") != 0:
            raise Broken(f"not proven: record {seq} does not show that temperature 0 was asked for")
    if rule == "nondeterministic" and example[0].identity != example[1].identity:
        raise Broken("not proven: the two answers are not of one request, model, backend and fingerprint")
    for side in sorted(sides.keys() - {"A"}):  # of several it must differ from each one, so the largest p decides
        for prompt in (p for p in sides["A"] if p in sides[side]):
            asked = [find(sides[s][prompt][0].record, "attempt.exchange.request.body.messages") for s in ("A", side)]
            if asked[0] is None or asked[0] != asked[1]:
                raise Broken(f"not proven: the two sides were not asked the same on prompt {code(prompt)}")
        if float(found[f"A{side}.p"]) > ALPHA:
            raise Broken(f"not proven: A and {side} differ no more than each does from itself")


# --- 4. page ----------------------------------------------------------------------------------------------------------


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def find(value: Any, path: str) -> Any:
    """What stands at a dotted path; looks into JSON kept as text and into lists of (name, value). None: nothing."""
    for step in path.split("."):
        value = json.loads(value) if isinstance(value, str) else value
        value = (dict(value) if isinstance(value, list) else value or {}).get(step)
    return value


def visible(text: str) -> str:
    """Text from outside on one line, without characters that hide from the eye or act on the page."""
    return HIDDEN.sub(lambda m: f"⟨U+{ord(m.group()):04X}⟩", text.replace("\n", "⏎"))


def code(value: Any, limit: int = 100) -> str:
    text = visible(value if isinstance(value, str) else json.dumps(value, sort_keys=True))
    return f"`{text[:limit]}{'…' if len(text) > limit else ''}`"


def listed(values: Any) -> str:
    """The distinct values and how often each came, numbers and dates in order; of more than four, first and last."""
    counts = Counter("not given" if v is None else code(v) for v in values)
    order = sorted(counts, key=lambda v: (len(v), v)) if all(re.match(r"`\d", v) for v in counts) else list(counts)
    if len(order) > 4:
        return f"{order[0]} to {order[-1]} ({len(order)} different)"
    return ", ".join(v if len(order) == 1 else f"{v} ({counts[v]})" for v in order) or "none"


def share(values: list[Any]) -> str:
    """The mean of values from 0 to 1 with Wilson's 95 % interval: right for yes and no, too wide for values between."""
    n = len(values)
    if n == 0:
        return "not measured"
    p, w = math.fsum(values) / n, Z * Z / n
    middle, half = (p + w / 2) / (1 + w), math.sqrt(p * (1 - p) * w + w * w / 4) / (1 + w)
    low, high = (math.floor((middle - half) * 1000 + 1e-6) / 1000, math.ceil((middle + half) * 1000 - 1e-6) / 1000)
    p = p if p in (0, 1) else min(max(p, 0.001), 0.999)  # never rounded to a certainty
    return f"{p:.3f} [{max(0, low):.3f}, {min(1, high):.3f}] over {n} prompts"


def out_of(yes: list[bool]) -> str:
    return f"{sum(yes)} of {len(yes)}"


def fill(outline: list[str], found: dict[str, str]) -> str:
    """The outline with its figures. It may hold no digit of its own, and may leave no figure out."""
    text = "\n".join(outline) + "\n"
    for line in outline:
        if re.search(r"\d", re.sub(r"{[^{}]*}", "", line)):
            raise Broken(f"claim.json: the outline states a figure of its own: {line}")
    for name in found:
        if "{" + name + "}" not in text:
            raise Broken(f"claim.json: the outline leaves out {name}: {found[name]}")
    return re.sub(r"{([^{}]*)}", lambda m: found[m.group(1)], text)


def to_html(markdown: str) -> str:
    """The page as HTML: escaped text in a few kinds of lines."""
    body = html.escape(markdown)
    for marker, tag in (("# ", "h1"), ("## ", "h2"), ("- ", "li"), ("    ", "pre"), ("(?=[^<])", "p")):
        body = re.sub(f"^{marker}(.+)$", rf"<{tag}>\1</{tag}>", body, flags=re.M)
    return HEAD + re.sub(r"`([^`\n]*)`", r"<code>\1</code>", body)


def verify(files: dict[str, bytes]) -> str:
    """Check all of it; gives one line to print. Raises Broken."""
    try:
        root = check_files(files)
        records, claim = check_records(files), json.loads(files["claim.json"])
        found = figures(claim, records, root)
        page = fill(claim["page"], found)
        stated = {name: entry["value"] for name, entry in json.loads(files["figures.json"]).items()}
        for name in sorted(stated.keys() | found.keys()):
            if stated.get(name) != found.get(name):
                raise Broken(f"figures.json, {name}: states {stated.get(name)}, the records give {found.get(name)}")
        for file, right in (("CLAIM.md", page.split("\n")), ("CLAIM.html", to_html(page).split("\n"))):
            lines = files[file].decode().split("\n")
            for at in range(max(len(lines), len(right))):
                says, gives = lines[at : at + 1], right[at : at + 1]
                if says != gives:
                    raise Broken(f"{file}, line {at + 1}: says {says}, the records give {gives}")
    except (AttributeError, LookupError, TypeError, ValueError) as problem:
        raise Broken(f"not a whole bundle: {type(problem).__name__}: {problem}") from None
    return f"holds: {page.partition(chr(10))[0][2:]} ({len(records)} records; root {root})"


def read(folder: str) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


if __name__ == "__main__":
    try:
        print(verify(read(sys.argv[1] if len(sys.argv) > 1 else str(Path(__file__).resolve().parent))))
    except Broken as broken:
        sys.exit(f"FAILED: {broken}")
