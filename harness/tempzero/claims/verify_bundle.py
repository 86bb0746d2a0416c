"""The files of a bundle in, one line that it holds out, or one that says what does not.

Part of verify.py: plain Python 3.8, standard library, no type hints.
"""

import hashlib
import re
import sys
from bisect import bisect_left, bisect_right
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import zip_longest
from pathlib import Path

from tempzero.claims.bundle_figures import (
    BrokenBundle,
    as_code,
    compute_figures,
    escape_hidden,
    first_usable_answers,
    has_output,
    list_further_fields,
)
from tempzero.claims.byte_reading import (
    CUT_OUTCOME,
    FILTERED_OUTCOME,
    PARTS,
    REPLAYED_OUTCOME,
    TOKEN_COUNTS,
    find_texts,
    parse_json,
    read_response,
)
from tempzero.claims.page_wording import (
    CLAIMABLE_RULES,
    describe_subject,
    explain_figure,
    fill_outline,
    to_html,
    write_curl_line,
    write_outline,
)

BUNDLE_FORMAT = 5
CLAIM_KEYS = ["format", "rule", "routers", "condition", "sides", "example", "attested", "planned"]
CLAIM_KEYS += ["keys", "runs", "epsilon", "how"]
SLACK_S = 0.5  # by so much clocks and queues of the client may blur what overlapped
LARGEST_DISORDER_S = 2.0
LARGEST_CLOCK_GAP_S = 86400.0
CREATED_RESOLUTION_S = 2.0
LARGEST_BUNDLE = 4 << 30


class UnknownBundle(Exception):
    """What this program has no words for: it says neither that the bundle holds nor that it does not."""


def verify(files, checker):
    """Check all of it; gives one line to print. Raises BrokenBundle and UnknownBundle. `checker`: our own bytes."""
    try:
        check_hashes(files)
        claim = parse_json(files["claim.json"])
        check_claim(claim)
        answers = read_answers(files, claim)
        check_names(files, claim, answers)
        check_answers(claim, answers)
        page = write_page(claim, answers, files)
        check_page(page, files)
    except (
        AssertionError,
        AttributeError,
        LookupError,
        NameError,
        OverflowError,
        RecursionError,
        StopIteration,
        TypeError,
        ValueError,
    ) as problem:
        raise BrokenBundle(make_printable(f"not a whole bundle: {type(problem).__name__}: {problem}")) from None
    except BrokenBundle as problem:
        raise BrokenBundle(make_printable(str(problem))) from None
    if files["verify.py"] != checker:
        raise UnknownBundle(
            f"its verify.py is another one (hash {sha256(files['verify.py'])}); this one has {sha256(checker)}. "
            f"{name_maker(claim)}; use that version"
        )
    return f"holds: {page.partition(chr(10))[0][2:]} ({len(answers)} answers; root {sha256(files['SHA256SUMS'])})"


def make_printable(message):
    """Whatever a bundle holds is foreign text."""
    return "`".join(escape_hidden(part) for part in message.split("`"))[:600]


def name_maker(claim):
    """Which version says that it made the bundle."""
    said = str((claim.get("attested") or {}).get("tempzero") or "").split(" ")[0]
    plain = re.fullmatch(r"\d[\w.+-]{0,30}", said)
    return f"It says that tempzero {said} made it" if plain else "It does not say which version made it"


# --- files ------------------------------------------------------------------------------------------------------------


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def check_hashes(files):
    listed = {line[66:]: line[:64] for line in files["SHA256SUMS"].decode().splitlines()}
    for name in sorted(listed.keys() | files.keys() - {"SHA256SUMS"}):
        if name not in files or name not in listed:
            raise BrokenBundle(f"{name} is missing" if name in listed else f"{name} is not listed in SHA256SUMS")
        if sha256(files[name]) != listed[name]:
            raise BrokenBundle(f"{name} was changed: it does not have the hash that SHA256SUMS lists")
    if files["SHA256SUMS"] != build_checksums(files):
        raise BrokenBundle("SHA256SUMS lists more than the files, or in another form")


def build_checksums(files):
    """SHA256SUMS over these files, in the form that `sha256sum -c` reads."""
    named = sorted((name, data) for name, data in files.items() if name != "SHA256SUMS")
    return "".join(f"{sha256(data)}  {name}\n" for name, data in named).encode()


def check_claim(claim):
    if claim["format"] != BUNDLE_FORMAT or type(claim["format"]) is not int:
        number = claim["format"] if type(claim["format"]) is int else "that is no number"
        raise UnknownBundle(
            f"format {number}, which this program does not read (it reads {BUNDLE_FORMAT}). "
            f"{name_maker(claim)}; use that version"
        )
    if claim["rule"] not in CLAIMABLE_RULES:
        raise UnknownBundle(f"a kind of claim that this program does not know. {name_maker(claim)}; use that version")
    keys = set(CLAIM_KEYS) | ({"clip"} if claim["rule"] == "deviates_token_by_token" else set())
    if set(claim) != keys:
        raise BrokenBundle(f"claim.json: {', '.join(sorted(set(claim) ^ keys))}: is missing or does not belong there")
    letters = "".join(sorted(claim["sides"]))
    least, most = (1, 1) if claim["rule"] == "changed" else CLAIMABLE_RULES[claim["rule"]]
    if not least <= len(letters) - 1 <= most or letters != "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(letters)]:
        raise BrokenBundle("claim.json: sides: not as many as such a claim has")
    names = list(claim["sides"].values())
    if len(set(names)) != (1 if claim["rule"] == "changed" else len(names)):
        raise BrokenBundle("claim.json: sides: one provider is compared with itself")
    if claim["planned"].keys() != claim["sides"].keys() or claim["keys"].keys() != claim["sides"].keys():
        raise BrokenBundle("claim.json: planned, keys: not of the same sides")
    for name, text in (("epsilon", claim["epsilon"]), ("clip", claim.get("clip"))):
        if text is not None and not (type(text) in (int, float) and 0 < text < 1e9):
            raise BrokenBundle(f"claim.json: {name} is no size that a logit can have")
        if claim["attested"].get(name) != (None if text is None else f"{text:.3g}"):
            raise BrokenBundle(f"claim.json: attested.{name} is not the one that was calculated with")
    if (claim["epsilon"] is None) != ("reader" not in claim["attested"]):
        raise BrokenBundle("claim.json: attested.reader: a reading without a reader, or a reader without one")


def check_names(files, claim, answers):
    """A closed set: what does not follow from the answers does not belong here."""
    names = {"SHA256SUMS", "claim.json", "answers.jsonl", "CLAIM.md", "CLAIM.html", "verify.py"}
    if claim["epsilon"] is not None:
        names.add("readings.jsonl")
    if claim["rule"] == "deviates_token_by_token":
        names.add("forms.jsonl")
    lines = {}
    for side, key in claim["keys"].items():
        if key is not None and not re.fullmatch("[A-Z][A-Z0-9_]{1,63}", key):
            raise BrokenBundle(f"claim.json: keys: {side}: no name of a variable")
    for a in answers:
        curl = f"requests/{a['request_sha256'][:16]}.{a['side']}.curl.txt"
        lines.setdefault(curl, write_curl_line(a, claim["keys"][a["side"]]))
        names |= {a["request"], curl, a["response"] or a["request"]}
    for name in sorted(lines):
        if name in files and files[name].decode() != lines[name]:
            raise BrokenBundle(f"{name} is not the line that sends this request")
    for name in sorted(names ^ set(files)):
        raise BrokenBundle(f"{name} is missing" if name in names else f"{name} does not belong in a bundle")


# --- answers ----------------------------------------------------------------------------------------------------------


def read_answers(files, claim):
    """A line of answers.jsonl is one request with its response, which lie in files; what they say is read again."""
    answers = [parse_json(line) for line in files["answers.jsonl"].split(b"\n")[:-1]]
    methods = {"LOCAL": "local:", "IMPORT": "imported:", "POST": "http"}
    for number, a in enumerate(answers):
        if a["number"] != number or type(number) is not int or a["side"] not in claim["sides"]:
            raise BrokenBundle(f"answers.jsonl: line {number + 1} is not answer {number} of a side")
        if a["request"] != f"requests/{a['request_sha256'][:16]}.json":
            raise BrokenBundle(f"answer {number}: its request is not where it should be")
        if a["response"] not in (None, f"responses/{number:06}.body"):
            raise BrokenBundle(f"answer {number}: its response is not where it should be")
        for part in ("request", "response"):
            if a[part] and sha256(files.get(a[part], b"")) != a[f"{part}_sha256"]:
                raise BrokenBundle(f"{a[part]} is missing, or is not the {part} of answer {number}")
        if not a["url"].startswith(methods.get(a["method"], "\0")):
            raise BrokenBundle(f"answer {number}: sent by {as_code(a['method'])} to {as_code(a['url'])}")
        a["asked"] = parse_json(files[a["request"]])
        a["further"] = list_further_fields(a["asked"])
        a["cut"] = a["outcome"] == CUT_OUTCOME or (a["outcome"] == FILTERED_OUTCOME and not a["refusal"])
        a["created"], a["reread"] = None, False
        check_against_bytes(a, files)
        a["compared"] = said = trim_blanks({part: a[part] or "" for part in PARTS}, a["cut"])
        a["spoken"] = join_spoken(said)
        ended = "" if a["cut"] and not a["spoken"] else "\x1e</reasoning>"  # else it was cut within its reasoning
        a["whole"] = "\x1e<reasoning>" + said["reasoning"] + ended + a["spoken"] if said["reasoning"] else a["spoken"]
        if a["cut"]:  # half a character is none
            a["whole"], a["spoken"] = a["whole"].rstrip("\ufffd"), a["spoken"].rstrip("\ufffd")
    if len({a["method"] == "IMPORT" for a in answers}) > 1:
        raise BrokenBundle("answers of another tool's files stand among those from the wire")
    return answers


def join_spoken(parts):
    """All of an answer but its reasoning, as one text."""
    return "\n".join(
        filter(None, (parts["text"], parts["calls"], parts["refusal"] and "\x1e<refusal>" + parts["refusal"]))
    )


def trim_blanks(parts, cut):
    """The parts without the blanks beside reasoning, which some hosts take away where they cut it out."""
    if not parts["reasoning"]:
        return parts
    within = cut and not join_spoken(parts)  # it was cut in its reasoning, whose end is then no mark's
    reasoning = parts["reasoning"].lstrip() if within else parts["reasoning"].strip()
    return dict(parts, reasoning=reasoning, text=parts["text"].lstrip())


def check_against_bytes(a, files):
    """Is what stands in the line what the bytes say?"""
    number, body = a["number"], files[a["response"]] if a["response"] else None
    said = {} if body is None else read_response(body, files[a["request"]], a["headers"])
    answered = a["outcome"].startswith(("valid", "censored"))
    if a["method"] == "IMPORT":
        check_imported(a, body, said, answered)
        return
    if bool(said.get("local")) != (a["method"] == "LOCAL") and said:
        said = {}
    if answered and not said:
        raise BrokenBundle(f"answer {number} counts, but {a['response']} is no whole answer that could be read again")
    if not said:
        if any(a[name] is not None for name in PARTS) and has_output(a):
            raise BrokenBundle(f"answer {number} has words that no response holds")
        return
    outcome = said["outcome"]
    a["reread"] = True
    if answered and (a["status"] or 0) // 100 != (0 if a["method"] == "LOCAL" else 2):
        raise BrokenBundle(f"answer {number}: HTTP {as_code(a['status'])} is no answer")
    if answered or a["outcome"] == REPLAYED_OUTCOME:
        for name in (*PARTS, "response_id", "served_model", "backend", "fingerprint", "finish_reason"):
            if (a[name] or "") != said[name]:
                raise BrokenBundle(f"answer {number}: its {name} is not the one in {a['response']}")
        for name in TOKEN_COUNTS:
            if a[name] != said[name] or isinstance(a[name], bool):
                raise BrokenBundle(f"answer {number}: its {name} is not the one in {a['response']}")
    if answered and outcome != a["outcome"]:
        raise BrokenBundle(f"answer {number}: {as_code(a['outcome'])} is not what {a['response']} shows, {outcome}")
    broke_off = a["complete"] is False and not said.get("ended", True)
    told = {REPLAYED_OUTCOME: "replays", "missing: unpinned": "switches"}.get(a["outcome"])
    a["told"] = None if answered or outcome == REPLAYED_OUTCOME or broke_off else told or "nothing"
    if a["told"] == "nothing":
        raise BrokenBundle(f"answer {number} is left out as {as_code(a['outcome'])}, but {a['response']} is an answer")
    created = re.search(rb'"(?<!\\")created"\s*:\s*([0-9]{10,15})\b', body[:2048])
    spans = re.findall(rb'"(?<!\\")((?:total|queue|completion|prompt)_time|\w+_ms)"\s*:\s*([0-9.eE+-]+)', body[-2048:])
    a["created"] = (created and created[1], tuple(sorted(spans))) if created or spans else None


def check_imported(a, body, said, answered):
    """Of an import the line is another tool's row: what is said of it must at least stand there."""
    if a["status"] or a["headers"] or a["in_flight"]:
        raise BrokenBundle(f"answer {a['number']} is an imported one, but has what only the wire gives")
    if not answered:
        return
    if said and not said.get("local"):
        for part in ("reasoning", "text"):
            if (a[part] or "") != said[part]:
                raise BrokenBundle(f"answer {a['number']}: its {part} is not the one in {a['response']}")
    texts = ["".join(text.split()) for text in find_texts(parse_json(body or b"null"))]
    for part in ("reasoning", "text", "refusal"):
        wanted = "".join((a[part] or "").split())
        if wanted and not any(wanted in text for text in texts):
            raise BrokenBundle(f"answer {a['number']}: its {part} does not stand in {a['response']}")


# --- whether they belong together -------------------------------------------------------------------------------------


def check_answers(claim, answers):
    """Nothing dropped, added, cloned or put into another order, as far as it shows."""
    places = [(a["side"], a["run"], a["seq"]) for a in answers]
    if len(set(places)) < len(places) or len({a["record_sha256"] for a in answers}) < len(answers):
        raise BrokenBundle("two answers have one place in the run's records")
    runs = [one["run"] for one in claim["runs"]]
    order = [(side, runs.index(run), seq) for side, run, seq in places]
    if order != sorted(order):
        raise BrokenBundle("the answers do not stand in the order of the records")
    for side in sorted(claim["sides"]):
        mine = [a for a in answers if a["side"] == side]
        check_plan(side, claim["planned"][side], mine)
        counted = [a for a in first_usable_answers(mine) if has_output(a)]
        if mine and mine[0]["method"] == "POST":
            check_ids(side, mine, counted)
            for run in dict.fromkeys(a["run"] for a in mine):
                check_times([a for a in mine if a["run"] == run])
        if len({a["backend"] for a in counted} - {None}) > 1 and side not in claim["routers"]:
            raise BrokenBundle(f"not proven: the answers of {side} name several backends, so it is a router")


def check_plan(side, planned, mine):
    """Every planned trial has its records, and no other has any; attempts of one are numbered without a gap."""
    size = sum(repeats * len(prompts) for _, repeats, prompts in planned)
    if size > (10**7 if mine and mine[0]["method"] == "IMPORT" else len(mine)) or any(r < 1 for _, r, _ in planned):
        raise BrokenBundle(
            f"{side}: {len(mine)} records of {size} planned trials; `tempzero run --resume` asks the rest"
        )
    trials = {(run, prompt, r) for run, repeats, prompts in planned for prompt in prompts for r in range(repeats)}
    attempts = {}
    for a in mine:
        attempts.setdefault((a["run"], a["prompt"], a["repeat"]), []).append(a["attempt"])
    stray, lacking = sorted(attempts.keys() - trials), sorted(trials - attempts.keys())
    for trial in stray:
        raise BrokenBundle(f"{side}: no such trial was planned: prompt {as_code(trial[1])}, repeat {as_code(trial[2])}")
    if lacking and mine and mine[0]["method"] != "IMPORT":
        raise BrokenBundle(
            f"{side}: {len(lacking)} of {len(trials)} planned trials have no record, first prompt "
            f"{as_code(lacking[0][1])}, repeat {lacking[0][2]}; `tempzero run --resume` asks what is missing"
        )
    for trial, numbers in attempts.items():
        if numbers != list(range(1, len(numbers) + 1)):
            raise BrokenBundle(f"{side}: an attempt at prompt {as_code(trial[1])}, repeat {trial[2]} is missing")


def check_ids(side, mine, counted):
    """One response may not count twice. An id that all answers share is a constant, and so is one with other times."""
    constant = len({a["response_id"] for a in counted}) == 1
    seen, earlier = {}, {}
    for a in mine:
        if a.get("told") == "replays" and (a["request_sha256"], a["response_id"]) not in earlier:
            raise BrokenBundle(f"answer {a['number']} is left out as a replay, but no earlier one has its id")
        if a.get("told") == "switches" and not any(x["backend"] not in (None, a["backend"]) for x in mine):
            raise BrokenBundle(f"answer {a['number']} is left out for its backend, but no other one answered")
        if a["response_id"]:
            earlier[a["request_sha256"], a["response_id"]] = a
    for a in counted:
        if not a["response_id"]:
            continue
        for b in seen.setdefault((a["request_sha256"], a["response_id"]), []):
            same_times = a["created"] == b["created"] if a["created"] and b["created"] else not constant
            apart = abs(find_time(a) - find_time(b)) >= CREATED_RESOLUTION_S or not a["created"]
            if (same_times and apart) or (a["response_sha256"] == b["response_sha256"] and a["created"]):
                raise BrokenBundle(f"{side}: answers {b['number']} and {a['number']} are one response, counted twice")
        seen[a["request_sha256"], a["response_id"]].append(a)


def find_time(a):
    return datetime.fromisoformat(a["asked_at"]).astimezone(UTC).timestamp()


def check_times(mine):
    """Do order and load, as they are stated, agree with the times? Records are written as their answers end."""
    begins = sorted(find_time(a) for a in mine)
    ends = sorted(find_time(a) + (a["end_s"] or 0) for a in mine)
    most, latest, late, more, less = max(a["in_flight"] for a in mine), 0.0, 0, 0, 0
    for a in mine:
        begin = find_time(a)
        end = begin + (a["end_s"] or 0)
        late += end < latest - LARGEST_DISORDER_S
        latest = max(latest, end)
        surely = bisect_left(begins, begin - SLACK_S) - bisect_right(ends, begin + SLACK_S)
        possibly = bisect_right(begins, begin + SLACK_S) - bisect_left(ends, begin - SLACK_S)
        more += surely + 1 > a["in_flight"]
        less += a["in_flight"] > possibly
        said = parse_date(a["headers"].get("date"))
        if said is not None and abs(said - begin) > LARGEST_CLOCK_GAP_S + (a["end_s"] or 0):
            raise BrokenBundle(f"answer {a['number']}: the server's date is more than a day from when it was asked")
    if late >= max(1, most):
        raise BrokenBundle("the times of the answers contradict the order in which they stand")
    # What connects is in flight and not yet sent: once for each connection.
    if more > max(most, len(mine) // 10) or less > max(2, len(mine) // 4):
        raise BrokenBundle(f"the times of the answers contradict the load that is stated (in flight: {most} at most)")


def parse_date(text):
    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except (TypeError, ValueError):
        return None


# --- page -------------------------------------------------------------------------------------------------------------


def write_page(claim, answers, files):
    """The page that follows from the answers; raises BrokenBundle where they do not prove what is claimed."""
    outline = write_outline(describe_subject(claim, answers))
    figures = compute_figures(claim, answers, files, outline)
    if claim["how"] != {name: explain_figure(name) for name in sorted(figures)}:
        raise BrokenBundle("claim.json: it is not how its figures are computed")
    return fill_outline(outline, figures)


def check_page(page, files):
    for name, right in (("CLAIM.md", page), ("CLAIM.html", to_html(page))):
        says = files[name].decode()
        if says != right:
            pairs = zip_longest(says.split("\n"), right.split("\n"), fillvalue="nothing more")
            said, gives = next((x, y) for x, y in pairs if x != y)
            raise BrokenBundle(f"{name} says: {said[:200]} | the answers give: {gives[:200]}")


def read_folder(folder):
    """The files by their names; no link is followed."""
    files, size = {}, 0
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise BrokenBundle(f"{make_printable(path.name)} is a link, not a file")
        if path.is_file():
            size += path.stat().st_size
            if size > LARGEST_BUNDLE:
                raise BrokenBundle(f"more than {LARGEST_BUNDLE} bytes")
            files[path.relative_to(folder).as_posix()] = path.read_bytes()
    return files


if __name__ == "__main__":
    here = Path(__file__).resolve()
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else here.parent).resolve()
    try:
        print(verify(read_folder(folder), here.read_bytes()))
    except BrokenBundle as broken:
        sys.exit(f"FAILED: {broken}")
    except UnknownBundle as unknown:
        print(f"NOT CHECKED: {unknown}", file=sys.stderr)
        sys.exit(3)
