"""The recorded bytes of a request and its response in, all that is said of the answer out: parts, labels, counts, end.

Part of verify.py: plain Python 3.8, standard library, no type hints, and no code in common with what the run was read
with. Where the two readers disagree no claim is made.
"""

import json
import re
from contextlib import suppress
from itertools import takewhile

WHOLE_OUTCOMES, CUT_OUTCOME, FILTERED_OUTCOME = (
    ("valid: complete", "valid: empty"),
    "censored: length",
    "censored: content_filter",
)
REPLAYED_OUTCOME = "excluded: cached"
LIMIT_FIELD = re.compile(r"max_[a-z_]*tokens|num_predict|n_predict|max_length")
FILTERED_ENDS = ["content_filter", "refusal", "safety", "recitation", "prohibited_content", "guardrails", "sensitive"]
CUT_ENDS = ["length", "max_tokens", "model_length", "max_output_tokens"]
TOOL_ENDS = ["tool_calls", "function_call", "tool_use"]
FINISHED_ENDS = ["stop", "eos", "eos_token", "end_turn", "stop_sequence", "completed"]
KNOWN_ENDS = [*FINISHED_ENDS, *FILTERED_ENDS, *CUT_ENDS, *TOOL_ENDS]
BROKEN_ENDS = [
    "error",
    "abort",
    "aborted",
    "cancelled",
    "canceled",
    "failed",
    "interrupted",
    "timeout",
    "network_error",
    "insufficient_system_resource",
    "malformed_function_call",
]
CACHE_HEADERS = [
    "x-openrouter-cache-status",
    "cf-aig-cache-status",
    "cf-cache-status",
    "x-portkey-cache-status",
    "helicone-cache",
    "x-cache",
]
STREAM_LINE = re.compile(":.*|(data|(?!(?i:data))[A-Za-z][A-Za-z0-9_-]{0,31})(:.*)?|")
CONTENT_FIELDS = {"content", "reasoning_content", "reasoning", "thinking", "reasoning_details", "refusal"}
CONTENT_FIELDS |= {"tool_calls", "function_call"}
REASONING_KINDS = ("thinking", "redacted_thinking", "reasoning", "reasoning_text", "summary_text")
THINK_MARKS = [(f"<{x}>", f"</{x}>") for x in ("think", "thinking", "thought", "reasoning")]
THINK_MARKS += [("[THINK]", "[/THINK]"), ("\u25c1think\u25b7", "\u25c1/think\u25b7")]
PARTS = ("reasoning", "text", "calls", "refusal")  # of an answer, in the order in which they come
RESPONSE_LABELS = {
    "id": "response_id",
    "model": "served_model",
    "provider": "backend",
    "system_fingerprint": "fingerprint",
}
TOKEN_COUNTS = {
    "prompt_tokens": ["prompt_tokens"],
    "completion_tokens": ["completion_tokens"],
    "reasoning_tokens": ["completion_tokens_details.reasoning_tokens", "reasoning_tokens"],
    "cached_tokens": ["prompt_tokens_details.cached_tokens", "prompt_cache_hit_tokens"],
}


def parse_json(text):
    """JSON in which no key is given twice (which of the two would count?) and no number is none."""

    def take_once(pairs):
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a key is given twice in one JSON object")
        return found

    def refuse(name):
        raise ValueError(f"{name} is no number of JSON")

    return json.loads(text, object_pairs_hook=take_once, parse_constant=refuse)


def find_field(value, path):
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def read_response(body, request=b"{}", headers=()):
    """Parts, labels, counts, finish reason and outcome in the bytes of a chat completion, whole or streamed; nothing
    where they are no whole answer.
    """
    try:
        text = re.sub("\r\n?", "\n", body.decode("utf-8-sig"))
        streamed = not text.lstrip().startswith("{")
        events = [text]
        if streamed:  # server-sent events
            lines = text.partition("\ndata: [DONE]")[0].split("\n")
            if not all(STREAM_LINE.fullmatch(line) for line in lines):
                return {}  # a text with a hole in it is no answer
            events = ["\n".join(re.findall("^data: ?(.*)", event, re.M)) for event in text.split("\n\n")]
        said = list(takewhile(lambda event: event != "[DONE]", filter(None, events)))
        chunks, ended = [parse_json(event) for event in said], not streamed or "[DONE]" in events
        if "choices" not in chunks[0] and isinstance(chunks[0].get("text"), str):
            return read_engines_own(chunks[0])
        return read_chunks(chunks, streamed, ended, request, dict(headers))
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return {}


def read_engines_own(value):
    """What a model inside the client left: nothing went over a wire."""
    found = dict.fromkeys(RESPONSE_LABELS.values(), "")
    found.update(text=value["text"], reasoning=value.get("reasoning_text") or "", calls="", refusal="", local=True)
    found.update({name: value.get(name) for name in TOKEN_COUNTS}, finish_reason=value.get("finish_reason") or "")
    shown = "valid: complete" if value["text"] else "valid: empty"
    return dict(found, outcome=CUT_OUTCOME if found["finish_reason"] == "length" else shown)


def read_chunks(chunks, streamed, ended, request, headers):
    found, asked = dict.fromkeys(RESPONSE_LABELS.values(), ""), parse_json(request)
    said, told, finish, usage, filters, whole = [], {}, "", {}, {}, {}
    for chunk in chunks:
        error = chunk.get("error") or chunk.get("errors") or chunk.get("success") is False
        if error or chunk.get("object") == "error":
            return {}
        for name, label in RESPONSE_LABELS.items():  # the first that says something counts, be it no text
            if chunk.get(name) not in (None, "", 0) and name not in told:
                told[name] = chunk[name]
                found[label] = spell_label(chunk[name]) if isinstance(chunk[name], str) else ""
        choices = chunk.get("choices") or ()
        taken = [c for c in choices if not c.get("index")] or ([] if streamed else list(choices[:1]))
        for choice in taken[:1]:
            if choice.get("error"):
                return {}
            said.append(choice.get("delta") or choice.get("message") or {})
            finish = choice.get("finish_reason") or finish
            filters = choice.get("content_filter_results") or filters
            whole["usage"] = take_object(choice.get("usage")) or whole.get("usage")
        usage = take_object(chunk.get("usage")) or usage
        whole["x_groq"] = dict(whole.get("x_groq") or {}, **take_object(chunk.get("x_groq")))
    if not isinstance(finish, str) or finish.lower() in BROKEN_ENDS:
        return {}
    usage = usage or whole.get("usage") or take_object(take_object(whole["x_groq"]).get("usage"))
    if not said or not (finish or usage) or not (ended or finish.lower() in KNOWN_ENDS):
        return {}
    unended = finish.lower() not in FILTERED_ENDS + CUT_ENDS + TOOL_ENDS
    if not streamed and unended and not CONTENT_FIELDS & set(said[0]):
        return {}
    for name, paths in TOKEN_COUNTS.items():
        counts = (find_field(usage, path) for path in paths)
        found[name] = next((n for n in counts if type(n) is int and 0 <= n < 2**53), None)
    total = usage.get("total_tokens")
    output = count_output(found, total if type(total) is int and 0 <= total < 2**53 else None)
    cut = is_cut(found, output, find_limit_asked(asked), finish.lower())
    open_end = cut or finish.lower() in FILTERED_ENDS
    calls = "\n".join(tool_call_lines(said, streamed))
    found.update(read_texts(said, request.decode(), open_end, streamed), calls=calls, finish_reason=spell_label(finish))
    if any("\0" in found[part] or re.search("[\ud800-\udfff]", found[part]) for part in PARTS):
        return {}
    return dict(found, outcome=judge_end(found, output, cut, said, filters, headers), ended=ended)


def take_object(value):
    return value if isinstance(value, dict) else {}


def spell_label(text):
    return text.encode("utf-8", "backslashreplace").decode()[:500]


def count_output(found, total):
    """All that was generated, reasoning that is counted apart included."""
    counted, thought, asked = found["completion_tokens"], found["reasoning_tokens"] or 0, found["prompt_tokens"]
    if total is None or asked is None:
        return counted + thought if counted is not None and thought > counted else counted
    return max(total - asked, counted or 0)


def find_limit_asked(asked):
    limits = [v for k, v in asked.items() if LIMIT_FIELD.fullmatch(k) and type(v) is int]
    return limits[0] if limits else None


def is_cut(found, output, limit, finish):
    """Did it end because its tokens were used up, whatever the finish reason says?"""
    if finish in CUT_ENDS or limit is None or output is None:
        return finish in CUT_ENDS
    counted = output if found["completion_tokens"] is None else found["completion_tokens"]
    within = 0 if output > counted else min(found["reasoning_tokens"] or 0, counted)
    return limit in (output, counted, counted - within) or (not finish and output >= limit)


def judge_end(found, output, cut, said, filters, headers):
    """Whole, cut, withheld by a filter, or given by a cache: as the harness names it."""
    shown = bool(found["text"] or found["calls"])
    nothing_counted = found["prompt_tokens"] == 0 and output == 0
    hits = any("hit" in str(headers.get(name, "")).lower() for name in CACHE_HEADERS)
    age = str(headers.get("age", "")).strip()
    aged = age.isascii() and age.isdecimal() and age.strip("0")
    if hits or "x-litellm-semantic-similarity" in headers or aged:
        return REPLAYED_OUTCOME
    if (shown or found["reasoning"]) and nothing_counted:
        return REPLAYED_OUTCOME
    filtered = any(isinstance(x, dict) and x.get("filtered") is True for x in filters.values())
    if found["finish_reason"].lower() in FILTERED_ENDS or found["refusal"] or (filtered and not shown):
        return FILTERED_OUTCOME
    if cut:
        return CUT_OUTCOME
    return "valid: complete" if shown else "valid: empty"


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
    return {"text": text, "reasoning": reasoning if reasoning.strip() else "", "refusal": refusal}


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


def find_texts(value, depth=0):
    """Every text in a row of another tool's table, also within JSON that stands in it as a text."""
    if isinstance(value, (dict, list)):
        yield canonical_json(value)
        for inner in value.values() if isinstance(value, dict) else value:
            yield from find_texts(inner, depth)
    elif isinstance(value, str):
        yield value
        if depth < 4 and value.lstrip()[:1] in ("{", "["):
            with suppress(RecursionError, ValueError):
                yield from find_texts(json.loads(value), depth + 1)
    else:
        yield json.dumps(value)
