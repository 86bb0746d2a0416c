"""What is claimed in, the page out: its outline (plain words and {names} of figures), filled in, and as HTML.

Part of verify.py: plain Python 3.8, standard library, no type hints. `{A.emr}` is a figure of the accused side,
`{AB.p}` of it and another one, `{A: path}` lists what stands there in the answers of A that count, `{12: path}` in
answer 12. What docs/methods.md allows to be said is decided here.
"""

import html
import re
import shlex
from types import SimpleNamespace

from tempzero.claims.bundle_figures import BrokenBundle, find_example, group_sides, what_is_shown

# Rule -> how few and how many others a claim names besides the accused.
CLAIMABLE_RULES = {
    "nondeterministic": (0, 0),
    "differs": (1, 1),
    "deviates_from_reference": (1, 1),
    "deviates_token_by_token": (1, 1),
    "differs_from_all": (2, 25),
    "changed": (0, 0),
}


# Rules whose p-value stands beside each of the others, and rules that hold somebody against the reference.
_OWN_P_VALUE = ("differs_from_all", "deviates_token_by_token")
OF_ONE_SESSION = ("differs", "deviates_from_reference", "differs_from_all")
_AGAINST_REFERENCE = ("deviates_from_reference", "deviates_token_by_token")


def describe_subject(claim, answers):
    """What the words depend on.

    `routers` are the sides whose one address may answer from several backends. `labels` says whether the provider's own
    labels agree on the two answers of the example, whose second is of the side `shown`. `imported`: another tool
    collected the records. `responses` are those to the example's prompt, by side; `unreasoned` the sides that A is
    compared with by all but the reasoning, which only one of the two shows; `cache_headers` what responses carried;
    `attested` what can be said that is not computed.
    """
    sides = group_sides(claim, answers)
    first, second = find_example(claim, sides)
    counted = [a for by_prompt in sides.values() for given in by_prompt.values() for a in given]
    return SimpleNamespace(
        rule=claim["rule"],
        routers=claim["routers"],
        sides=sorted(sides),
        others=sorted(sides)[1:],
        labels=compare_labels(first, second),
        imported=first["method"] == "IMPORT",
        example=(first["number"], second["number"]),
        shown=second["side"],
        responses={side: [a["number"] for a in sides[side].get(first["prompt"], ())] for side in sides},
        unreasoned=[s for s in sides if what_is_shown(sides["A"], sides[s]) == "spoken"],
        cache_headers=sorted({name for a in counted for name in a["headers"] if is_cache_header(name)}),
        attested=sorted(claim["attested"]),
    )


def compare_labels(a, b):
    """What the labels of two answers say of who made them."""
    if a["backend"] != b["backend"]:
        return "differ"
    if a["fingerprint"] != b["fingerprint"]:
        return "fingerprints"
    return "silent" if a["backend"] is None and a["fingerprint"] is None else "agree"


def is_cache_header(name):
    """Only plain names: they become part of the page's words."""
    return bool(re.fullmatch("[a-z-]+", name)) and ("cache" in name or name == "age")


def write_outline(subject):
    """The page, line by line."""
    blocks = (
        _claim_block(subject),
        _requests_block(subject),
        _answers_block(subject),
        _frequency_block(subject),
        _strength_block(subject),
        _causes_block(subject),
        _not_shown_block(subject),
        _providers_block(subject),
        _responses_block(subject),
        _check_again_block(),
    )
    return [line for block in blocks for line in (*block, "")][:-1]


FIGURE_METHODS = {
    "attested": "stated by the run's manifest, report or reading; not computed from the answers",
    "name": "the provider's name in the run",
    "planned": "prompts times repeats of the run's plan, every one of which has its records here",
    "outcomes": "how many trials there are and how they ended, each by its first usable answer",
    "shown": "how many of the answers that count show their reasoning",
    "split": "prompts with a pair of repeats that differ in any part; repeats have one request, served model and "
    "backend (of a router: one request and served model)",
    "emr": "mean over prompts of the share of pairs of repeats with the same answer (exact-match rate)",
    "counts": "how often each different answer came for the example's prompt",
    "part": "the first part (reasoning, text, calls of tools, refusal) in which the two answers of the example differ; "
    "blanks beside reasoning are left out of every comparison",
    "at": "length of what that part of both begins with, plus one",
    "before": "the characters before the first difference",
    "after": "the characters from the first difference on",
    "length": "number of characters of that part",
    "sign": "code point at the first difference",
    "gap": "distance of the reference's two best logits at the first different token, from readings.jsonl",
    "margin": "the reference's best logit minus that of the side's own token there",
    "parting": "a near-tie where the two tokens are the reference's two best, at most twice epsilon apart",
    "difr": "mean over prompts of the mean margin of A's tokens under the reference, clipped (Token-DiFR); bootstrap "
    "over prompts",
    "trusted": "the same of the honest form of the reference whose upper limit is largest",
    "never": "prompts on which no answer of one side equals an answer of the other",
    "match": "mean over prompts of the chance that an answer of one side equals one of the other (cross-EMR)",
    "excess": "mean over prompts of half of both EMR, minus cross-EMR",
    "p": "share of random exchanges of answers between the sides, within each prompt, with as large an excess",
}


def explain_figure(name):
    """How a figure is recomputed from the bundle."""
    which, colon, path = name.partition(": ")
    if colon:
        return f"{path} of " + (f"answer {which}" if which.isdigit() else f"the answers of {which} that count")
    return FIGURE_METHODS["attested" if name.startswith("attested.") else name.rpartition(".")[2]]


def _claim_block(subject):
    who = "The router {A.name}" if "A" in subject.routers else "{A.name}"
    whom = ", ".join(f"{'the router ' if s in subject.routers else ''}{{{s}.name}}" for s in subject.others)
    if subject.rule == "nondeterministic":
        title = f"# {who} gives different answers to one request at temperature zero"
        same = "that the imported files state alike" if subject.imported else "with the same bytes"
        proof = (
            f"Proven by existence: two requests {same} brought back two different answers. "
            "One such pair is enough, and it is in this bundle with everything that was recorded of it."
        )
    elif subject.rule == "differs_from_all":
        title = f"# {who} gives other answers than every one of {whom} at temperature zero"
        proof = (
            "Proven by a test against each of them: it differs from every one by more than the two differ from "
            "themselves. The claim is as strong as the weakest of these tests, so it needs no correction for their "
            "number. If it answered like one of them, so large a difference from that one would come about by chance "
            f"in this share of cases: p = {_figure_against_each(subject, 'p')}."
        )
    elif subject.rule == "deviates_token_by_token":
        title = f"# {who} deviates from the reference {whom} token by token at temperature zero"
        proof = (
            "Proven by reading: the reference read every answer in its own context. The logits it gives the chosen "
            "tokens lie farther below its best ones than those of any honest form of the reference itself; the "
            "intervals over prompts do not overlap: {example.difr} against {example.trusted}, in logits a token."
        )
    elif subject.rule == "changed":
        title = f"# {who} gives other answers at temperature zero than it did before"
        proof = (
            "Proven by a test: to requests with the same bytes it gave other answers now (A) than before (B), by more "
            "than it differs from itself within either. If nothing had changed, so large a difference would come about "
            "by chance in this share of cases: p = {AB.p}."
        )
    else:
        deviates = subject.rule == "deviates_from_reference"
        verb = "gives other texts than the reference" if deviates else "gives other answers than"
        title = f"# {who} {verb} {whom} at temperature zero"
        proof = (
            "Proven by a test: the two differ by more than each differs from itself. If both answered alike, "
            "so large a difference would come about by chance in this share of cases: p = {AB.p}."
        )
    if subject.rule in OF_ONE_SESSION and "sessions" in subject.attested:
        proof += (
            " Each side was asked in {attested.sessions} session, which a router may have kept on one machine: then it "
            "is these machines that differ."
        )
    return [title, "", proof, *_limit_lines(subject)]


def _limit_lines(subject):
    """What must be read together with the claim."""
    limits = []
    for side in subject.routers:
        limits += [
            "",
            f"{{{side}.name}} may send each request to another backend. The claim is about this address as a customer "
            "sees it, not about any one backend behind it.",
        ]
    if subject.imported:
        limits += [
            "",
            "Another tool collected these records. Requests and responses are what its files state, not bytes seen on "
            "the wire; retries, replays and cut texts could be told apart only as far as the files tell.",
        ]
    return limits


def _each_side(subject, words):
    """The words once for each side, whose letter stands for $: `a` 4 of 6, `b` 0 of 6."""
    return ", ".join(f"{_side_name(subject, side)} {words}".replace("$", side) for side in subject.sides)


def _figure_against_each(subject, figure):
    """A figure of the accused and each other side."""
    if len(subject.others) == 1:
        return f"{{A{subject.others[0]}.{figure}}}"
    return ", ".join(f"{{A{s}.{figure}}} ({{{s}.name}})" for s in subject.others)


def _requests_block(subject):
    lines = ["## What was asked", ""]
    for side in subject.sides:
        lines += [
            f"- {_side_name(subject, side)}: {{{side}.outcomes}}, {_plan_words(subject, side)}. Complete "
            "answers (an empty one, and a refusal in words of its own) and answers cut at the token "
            f"limit count, and nothing else does. Of those that count, reasoning stands in {{{side}.shown}}; "
            "blanks beside it are not compared.",
            f"- Sent to {{{side}: url}}, for model {{{side}: asked.model}}, with temperature "
            f"{{{side}: asked.temperature}}, top_p {{{side}: asked.top_p}}, seed {{{side}: asked.seed}}, max_tokens "
            f"{{{side}: asked.max_tokens}}; the exact bytes are in `requests/`.",
            f"- Whatever else these requests set, nested fields included: {{{side}: further}}.",
            f"- Sent at {{{side}: asked_at}} by the client's clock (UTC); the server's own dates are "
            f"{{{side}: headers.date}}.",
        ]
    example = subject.example[0]
    return [*lines, f"- Prompt of the example below: {{{example}: prompt}}, messages {{{example}: asked.messages}}."]


def _plan_words(subject, side):
    """Of other tools' records nobody knows what was planned."""
    if subject.imported:
        return f"{{{side}.planned}} of them in the imported files"
    return f"which are all {{{side}.planned}} planned (prompts times repeats)"


def _side_name(subject, side):
    """The side's name; of a change both sides have the same one."""
    when = {"A": " now", "B": " before"}.get(side, "") if subject.rule == "changed" else ""
    return f"{{{side}.name}}{when}"


def _answers_block(subject):
    first, second = (f"answer {{{number}: number}}" for number in subject.example)
    if subject.others:
        first, second = f"{first} ({_side_name(subject, 'A')})", f"{second} ({_side_name(subject, subject.shown)})"
    lines = [
        "## What came back",
        "",
        "- On the example's prompt, how often each different answer came: "
        f"{_each_side(subject, '{example.$.counts}')}.",
        f"- Two of them, the first in {first} and the second in {second}, part in their {{example.part}}, at character "
        "{example.at}: {example.first.sign} against {example.second.sign} (of {example.first.length} and "
        "{example.second.length} characters).",
    ]
    if "epsilon" in subject.attested:
        lines += [
            "- There the reference {attested.reader}, which read both answers token by token, has its two best tokens "
            "{example.gap} logits apart. The first answer's token stands {example.first.margin} below its best, the "
            "second's {example.second.margin}. An honest computation changes a logit by up to {attested.epsilon}, so "
            "this parting is {example.parting}" + " (a near-tie is one that rounding alone may turn).",
        ]
    return [
        *lines,
        "",
        "Around that place:",
        "",
        "    both begin: {example.before}",
        "    the first:  {example.first.after}",
        "    the second: {example.second.after}",
    ]


def _frequency_block(subject):
    lines = ["## How often", ""]
    for side in subject.sides:
        lines += [
            f"- {_side_name(subject, side)} against itself: prompts on which its repeats differ: {{{side}.split}}; "
            f"chance that two repeats agree (EMR): {{{side}.emr}}.",
        ]
    for side in subject.others:
        p_value = f", p = {{A{side}.p}}" if subject.rule in _OWN_P_VALUE else ""
        lines += [
            f"- {_side_name(subject, 'A')} against {_side_name(subject, side)}: prompts on which no answer of one "
            "equals any "
            f"of the other: {{A{side}.never}}; chance that an answer of one equals one of the other: "
            f"{{A{side}.match}}.",
            f"- Excess divergence from {_side_name(subject, side)}, by how much the two differ beyond their own noise "
            f"(zero: not at all): {{A{side}.excess}}{p_value}.",
        ]
        if side in subject.unreasoned:
            lines += [
                f"- Only one of {_side_name(subject, 'A')} and {_side_name(subject, side)} ever shows its reasoning; "
                "the two are compared by what both show: text, calls of tools, refusal."
            ]
    if subject.rule == "changed":
        lines += [
            "- Since when: after the last answer of before and before the first of now; see the times above. What lies "
            "between, the bundle does not say."
        ]
    else:
        lines += [
            f"- Since when: at least since {{{subject.example[1]}: asked_at}}, when the second answer of the example "
            "was asked for; of the time before its first request the bundle says nothing."
        ]
    if "report_p" in subject.attested:
        lines += ["- The run's report, corrected for all pairs it tested (Holm), has p = {attested.report_p}."]
    return [
        *lines,
        "",
        "In brackets: the interval that covers the true value nineteen times out of twenty, as the report has it "
        "(Wilson for counts, Jeffreys for chances, beta for excess). The prompt is the unit. Every prompt of the "
        "run is in it, also where nothing differs.",
    ]


def _strength_block(subject):
    lines = ["## How strong this is", ""]
    if subject.rule == "nondeterministic":
        return [
            *lines,
            "- That it happens rests on one pair and needs no statistics. How often it happens is an estimate: "
            "see the interval.",
            f"- One backend or several? {_LABEL_SENTENCES[subject.labels]}",
        ]
    proof = "the reading of all tokens" if subject.rule == "deviates_token_by_token" else "the test over all prompts"
    lines += [
        f"- That the two differ rests on {proof}. The example only shows what it looks like.",
        "- Even with the same weights, precision and template texts can part where two tokens are almost equally "
        "likely; the figures say how often they do, not why.",
        '- Each side may be several backends; what its own labels say of that stands under "Who answered".',
    ]
    if subject.rule == "differs_from_all":
        lines += [
            "- To be another thing than each of these few is all that is claimed. What it is instead, and whether it "
            "equals something that was not among them, stays open.",
            "- Whoever made this bundle named the accused and the others; no p-value is corrected for that choice.",
        ]
    if subject.rule == "changed":
        lines += [
            "- What changed stays open: weights, their precision, software, hardware, a template, or which of several "
            "machines answers.",
            "- The p-value is that of these two sets of answers. Whoever compares every night and shows the most "
            "striking one finds a small value by chance too; `tempzero nightly` adds its nights up and allows for it.",
        ]
    if subject.rule == "deviates_token_by_token":
        lines += [
            "- It rests on what the reference's owner read: `readings.jsonl` and `forms.jsonl` have the margins, which "
            "whoever has the same weights can compute again (`tempzero score`). Margins above {attested.clip} count as "
            "that much.",
            "- An honest form computes the same weights another way: other threads, other batches, half precision.",
        ]
    if subject.rule in _AGAINST_REFERENCE:
        lines += ["- The reference is a yardstick, not the truth: it is one faithful way to run the model it declares."]
    return lines


_LABEL_SENTENCES = {
    "agree": "The provider's own labels agree on the two answers of the example. That is the provider's statement; "
    "whether one machine gave both it does not say.",
    "fingerprints": "The served model and backend agree on the two answers of the example; the fingerprints differ, as "
    "they do on many providers in normal service. Whether one machine gave both the records cannot say.",
    "differ": "The provider's own labels differ between the two answers of the example: by them, several.",
    "silent": "The records cannot say: the two answers of the example name neither a backend nor a fingerprint.",
}


def _causes_block(subject):
    return [
        "## Causes on the client's side, and how they were excluded",
        "",
        "- Another request: repeats are compared within one request only, by the hash of its bytes.",
        "- A faulty reading of the response: parts, labels, token counts, finish reason and outcome of an answer, "
        "whole or streamed, are read again from its bytes by `verify.py` and have to agree; so read again: "
        f"{_each_side(subject, '{$: reread}')}.",
        "- A replay from a response cache: such answers (told by their headers, or by a count of no tokens for a text) "
        "are left out as excluded.",
        *(f"- Header `{n}`: {_each_side(subject, f'{{$: headers.{n}}}')}." for n in subject.cache_headers),
        "- A prefix cache, which computes the answer on another path: cached prompt tokens were "
        f"{_each_side(subject, '{$: cached_tokens}')}.",
        "- A retry: every attempt is in the bundle; a trial counts once, by its first answer; no retry is a repeat.",
        "- A broken or cut answer: what broke off is left out; an answer cut at the token limit is compared up to the "
        "cut, and with another one that was cut after as many tokens as it stands.",
        "- Filtered answers are left out where no refusal in words came with them; they are neither agreement nor "
        "difference.",
        f"- The client: {_client_words(subject)} {{attested.runs}}, tempzero {{attested.tempzero}} on Python "
        "{attested.python}, {attested.system}, {attested.cpu}.",
    ]


def _client_words(subject):
    if subject.imported:
        return "another tool, of which no more is known than its files say; imported as the run"
    return "one process at a time wrote the run"


def _not_shown_block(subject):
    router = ["- That any single backend behind the router is nondeterministic or deviates."]
    return [
        "## What this does not show",
        "",
        "- Why. Batching, hardware, precision, a template or a router can each be the cause.",
        "- That answers are wrong or worse: they differ, their quality was not judged.",
        "- Other prompts, other times, another load than the one stated.",
        "- That a field sent was honoured, a seed for instance: the records show that it was sent.",
        *(router if subject.routers else []),
        "- That the records are genuine: the hashes show that nothing was changed since they were made. "
        "The provider can look up the response ids and dates in its own logs.",
    ]


def _providers_block(subject):
    lines = ["## Who answered, and under what load", ""]
    for side in subject.sides:
        lines += [
            f"- {_side_name(subject, side)} is declared as {{attested.declared_{side}}}; it named as served model "
            f"{{{side}: served_model}}, backend {{{side}: backend}}, fingerprint {{{side}: fingerprint}}.",
            f"- {_side_name(subject, side)} had {{{side}: in_flight}} requests of this client in flight; attempts "
            "needed: "
            f"{{{side}: attempt}}; prompt tokens it counted: {{{side}: prompt_tokens}}.",
        ]
    return lines


def _responses_block(subject):
    lines = ["## The responses to the example's prompt", ""]
    for side in subject.sides:
        lines += [_response_line(subject, side, number) for number in subject.responses[side]]
    return lines


def _response_line(subject, side, number):
    parts = {
        "answer": "number",
        "repeat": "repeat",
        "attempt": "attempt",
        "block": "block",
        "sent": "asked_at",
        "in flight": "in_flight",
        "status": "status",
        "id": "response_id",
        "server date": "headers.date",
        "prompt tokens": "prompt_tokens",
        "completion tokens": "completion_tokens",
        "reasoning tokens": "reasoning_tokens",
        "finish": "finish_reason",
        "request hash": "request_sha256",
        "response hash": "response_sha256",
    }
    return f"- {_side_name(subject, side)}: " + ", ".join(
        f"{word} {{{number}: {path}}}" for word, path in parts.items()
    )


def _check_again_block():
    return [
        "## Check it, and ask again",
        "",
        "- Run `python3 -I verify.py`: it reads the answers again, recomputes hashes, figures and verdict and writes "
        "this page anew, word by word; nothing is installed and no network used. It is the same file in every bundle: "
        "its hash stands in the documentation of tempzero, and `tempzero verify`, which does the same with its own "
        "copy, prints it.",
        "- `verify.py` prints the root, the hash of the list of hashes, which stands for the whole bundle: whoever has "
        "it from elsewhere knows that this is the same one.",
        "- Each line of `answers.jsonl` names the hash of its line in the run's own records, whose chain ends "
        "in {attested.heads}. With the run's folder `tempzero verify BUNDLE --run RUN` makes the bundle anew: nothing "
        "was inserted or left out if it comes out the same.",
        "- The root of the run's folder, to be held against its seals (signatures, time stamps) where there are any: "
        "{attested.roots}.",
        "- `requests/` has every different request as it was sent, with a curl line beside it; send each several "
        "times, at the load stated above. `responses/` is numbered by answer.",
    ]


def fill_outline(outline, found):
    """The outline with its figures. It may leave none out."""
    text = "\n".join(outline) + "\n"
    for name in found:
        if "{" + name + "}" not in text:
            raise BrokenBundle(f"the page has no place for the figure {name}")
    return re.sub("{([^{}]*)}", lambda m: found[m.group(1)], text)


_PAGE_HEAD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Claim</title>
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>:root{color-scheme:light dark}body{background:Canvas;color:CanvasText}
body{max-width:50rem;margin:2rem auto;padding:0 1rem;font:1rem/1.5 sans-serif}
h2{border-top:1px solid #8886;padding-top:.6rem}li{margin-left:1rem;overflow-wrap:anywhere}
pre,code{font-size:.85em;background:#8882;overflow-wrap:anywhere;white-space:pre-wrap}
pre{margin:0;padding:0 .4rem}ul{list-style:none;margin:0;padding:0}</style>
<main>
"""
_TAG_BY_MARKER = (("# ", "h1"), ("## ", "h2"), ("- ", "li"), ("    ", "pre"), ("(?=[^<])", "p"))


def to_html(markdown):
    """The page as one file that loads and runs nothing: escaped text in a few kinds of lines."""
    body = html.escape(markdown)
    for marker, tag in _TAG_BY_MARKER:
        body = re.sub(f"^{marker}(.+)$", rf"<{tag}>\1</{tag}>", body, flags=re.MULTILINE)
    body = re.sub(r"((?:^<li>.*\n)+)", r"<ul>\n\1</ul>\n", body, flags=re.MULTILINE)
    return _PAGE_HEAD + re.sub(r"`([^`\n]*)`", r"<code>\1</code>", body) + "</main>\n"


def write_curl_line(answer, key_variable):
    """A request as a line for a shell. It names the variable that holds the key; no recorded text is run by it."""
    if not answer["url"].startswith(("http://", "https://")):
        return f"not sent over a network: {answer['url']}\n"
    headers = "".join(f" -H {quote_template(f'{name}: {value}')}" for name, value in answer["request_headers"].items())
    if key_variable is not None:
        headers += f' -H "Authorization: Bearer ${key_variable}"'
    body = f"requests/{answer['request_sha256'][:16]}.json"
    return (
        f"curl -sS -X {shlex.quote(answer['method'])} {quote_template(answer['url'])}{headers} --data-binary @{body}\n"
    )


def quote_template(text):
    """Recorded text for a shell: a variable that stands in it is the reader's to fill, all else is quoted."""
    parts = re.split(r"(\$\{\w+\})", text)
    return "".join(f'"{x}"' if re.fullmatch(r"\$\{\w+\}", x) else shlex.quote(x) for x in parts if x)
