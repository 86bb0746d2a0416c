"""Every flag that a response may carry in one table: its words, how much it weighs, and what has to be seen for it.

A note is normal service, counted and told. A remark is worth knowing before money is spent: `check` says it too. A
finding breaks what was asked for. What is said of a flag anywhere, in a report or on the screen, stands here and
nowhere else; rooms that conclude nothing find the table in `Analysis.vocabulary`.
"""

from __future__ import annotations

from collections.abc import Mapping

from tempzero.types.recorded import Flag
from tempzero.types.vocabulary import FlagMeaning, Severity


def _mean(name: Flag, severity: Severity, words: str, rule: str) -> FlagMeaning:
    return FlagMeaning(name=name, severity=severity, words=words, rule=rule)


FLAGS: tuple[FlagMeaning, ...] = (
    # Who answered.
    _mean(
        "model_mismatch",
        "finding",
        "answered as another model than the one asked for",
        "the response names a model that is neither the id asked for (without a router's suffix or folders), nor its "
        "dated snapshot, nor in accepts_models",
    ),
    _mean(
        "model_changed_within",
        "remark",
        "named more than one model or upstream within one stream",
        "two chunks of one stream carry different values of model or provider; the first one counts",
    ),
    _mean(
        "model_alias",
        "note",
        "answered under another name that stands for the model asked for",
        "the response names the dated snapshot of the id asked for, its name with a folder or without its date, or "
        "one in accepts_models",
    ),
    _mean("model_missing", "note", "did not say which model answered", "the response has no text in its field model"),
    _mean(
        "backend_switched",
        "note",
        "answered from another upstream than before",
        "the field provider differs from that of the answer before; of a pinned provider such an answer is missing",
    ),
    _mean(
        "upstream_fallback",
        "remark",
        "answered from an upstream that its router fell back to",
        "openrouter_metadata.attempt is 2 or more",
    ),
    _mean(
        "fingerprint_changed",
        "note",
        "sent another system_fingerprint than before, as hosts of many replicas do",
        "system_fingerprint differs from that of the answer, or chunk, before under the same served model",
    ),
    # What was asked for and not held.
    _mean(
        "max_tokens_not_held",
        "finding",
        "wrote more tokens than max_tokens allows",
        "usage.completion_tokens, less any reasoning tokens in it, is above the limit asked for by more than a quarter "
        "and more than 2; of a response without usage, the words of its text are more than twice that limit",
    ),
    _mean(
        "limit_counted_otherwise",
        "note",
        "counted a few tokens more than max_tokens allows, as hosts do that count by other rules",
        "usage.completion_tokens, less any reasoning tokens in it, is above the limit asked for by at most a quarter, "
        "or 2 tokens",
    ),
    _mean(
        "limit_without_reasoning",
        "remark",
        "reasoned beyond max_tokens, which limits the text alone there",
        "the tokens generated are above the limit asked for, those of the text are not, or are not counted apart from "
        "reasoning that is shown",
    ),
    _mean(
        "limit_spent_on_reasoning",
        "remark",
        "spent the whole limit on reasoning: raise max_tokens",
        "cut at the limit with reasoning (shown, or counted) and without text, call or refusal",
    ),
    _mean(
        "limit_unsaid",
        "remark",
        "cut answers at the limit without saying so",
        "usage.completion_tokens has reached the limit asked for and finish_reason does not say length",
    ),
    _mean(
        "several_choices",
        "remark",
        "sent several choices although one was asked for",
        "choices holds more than one; the one of index 0, else the first, counts",
    ),
    _mean(
        "prompt_mismatch",
        "remark",
        "changed the prompt, or counted the same prompt differently",
        "prompt_tokens of the same request bytes differ, or openrouter_metadata.pipeline names what was applied",
    ),
    _mean(
        "json_for_stream",
        "remark",
        "answered whole where a stream was asked for",
        "a JSON body came in answer to stream: true",
    ),
    _mean(
        "stream_for_json",
        "remark",
        "streamed where a whole answer was asked for",
        "an event stream came in answer to a request without stream: true",
    ),
    _mean(
        "unexpected_tool_call",
        "remark",
        "called a tool although none was offered",
        "tool_calls, function_call or such a finish_reason without tools in the request",
    ),
    _mean(
        "tool_call_missing",
        "remark",
        "said that it calls a tool, and named none",
        "a finish_reason of tool calls without a call",
    ),
    # What the answer looks like.
    _mean(
        "template_leak",
        "finding",
        "let marks of the chat template through into the text",
        "a mark such as <|im_end|>, <|channel|>, <tool_call>, [TOOL_CALLS] or <arg_key> stands in the text and not in "
        "the request",
    ),
    _mean(
        "think_block_open",
        "remark",
        "began a block of reasoning in the text and never closed it",
        "the text begins with <think> (or its like), is not cut, and holds no end of it; it stays text",
    ),
    _mean(
        "think_block_unopened",
        "note",
        "closed a block of reasoning in the text that its template had opened",
        "exactly one </think> (or its like) in the text and no beginning of one; what stands before it is reasoning",
    ),
    _mean("content_parts", "note", "sent the answer as a list of parts", "message.content is a list"),
    _mean(
        "parts_unread",
        "remark",
        "sent parts of a kind that is not read",
        "a part of message.content is neither text, reasoning nor refusal",
    ),
    _mean(
        "tool_arguments_object",
        "note",
        "sent the arguments of a call as an object and not as its text",
        "function.arguments is a JSON object",
    ),
    _mean(
        "tool_index_missing",
        "note",
        "streamed calls without their index, or several under one",
        "a piece in delta.tool_calls has no index, or another id than the call of its index; a new id or name begins "
        "another call",
    ),
    _mean(
        "refusal_by_wording",
        "note",
        "declined to answer, by the words of the text",
        "an imported text begins as refusals do; no field said so",
    ),
    # How it ended.
    _mean(
        "finish_reason_missing",
        "remark",
        "did not say why the answer ended",
        "no finish_reason; the body or stream came to its proper end with usage",
    ),
    _mean(
        "finish_reason_unknown",
        "remark",
        "ended answers for a reason that nobody knows",
        "a finish_reason that is not in the list of response_reading",
    ),
    _mean(
        "finish_reason_changed",
        "remark",
        "gave two different reasons for one answer's end",
        "two chunks of one stream carry different finish_reasons; the last one counts",
    ),
    _mean("no_done", "note", "ended streams without [DONE]", "a known finish_reason at a clean end without the mark"),
    _mean(
        "broken_after_done",
        "note",
        "broke the connection after the end of a stream",
        "the connection failed behind [DONE]",
    ),
    _mean("events_after_done", "remark", "went on after the end mark of a stream", "an event behind [DONE]"),
    _mean(
        "output_after_finish",
        "remark",
        "sent more of the answer after saying that it had ended",
        "a delta with output behind a finish_reason; it counts",
    ),
    _mean(
        "piece_sent_twice",
        "note",
        "sent pieces of a stream twice",
        "events equal to the one before account for every piece beyond the tokens counted",
    ),
    _mean(
        "message_for_delta",
        "note",
        "sent a whole message within a stream",
        "a chunk has a message in place of a delta; it counts where no delta came before",
    ),
    _mean(
        "id_changed_within",
        "note",
        "changed the response id within a stream",
        "two chunks of one stream carry different ids; the first one counts",
    ),
    _mean(
        "suspicious_stream",
        "note",
        "sent a stream that an earlier version of tempzero called suspicious",
        "set by earlier versions only, honest streams among them; what it stood for has flags of its own now",
    ),
    # What it is said to have cost.
    _mean("usage_missing", "note", "did not count tokens", "no usage at the top, in the choice or in x_groq"),
    _mean(
        "usage_implausible",
        "remark",
        "counted tokens in a way that cannot be",
        "a count below 0, beyond 2^53 or no whole number; or an answer of no token",
    ),
    _mean(
        "reasoning_billed_apart",
        "note",
        "counts more tokens in total than in prompt and completion: reasoning is billed apart",
        "total_tokens is more than prompt_tokens and completion_tokens together",
    ),
    # Whether it was computed for this request.
    _mean(
        "suspected_cache",
        "remark",
        "sent an answer that may not have been computed for its request",
        "created lies more than ten minutes before the response's own date, or an id or a speed suggests a replay that "
        "nothing proves",
    ),
    _mean(
        "response_id_reused",
        "note",
        "gave one response id to different answers",
        "the id of an earlier answer to another request, or with other times or tokens: this server's ids say nothing",
    ),
    _mean(
        "clock_skew",
        "note",
        "has a clock far from this machine's",
        "the response's date is more than two minutes off this machine's time",
    ),
    # The bytes.
    _mean(
        "key_redacted",
        "remark",
        "sent the API key back; it was cut out of the record",
        "the key, or most of it, stood in the response in some spelling",
    ),
    _mean("bytes_after_end", "remark", "sent bytes behind the end of a response", "surplus bytes on the connection"),
    _mean(
        "encoding_untrue",
        "note",
        "said that plain bytes are compressed",
        "a content-encoding of a body that can be read as it stands",
    ),
    _mean(
        "metadata_encoding",
        "note",
        "sent invalid Unicode beside the answer",
        "half a character in an id, a name or a finish_reason; it is spelled out",
    ),
)

MEANING_BY_FLAG: Mapping[Flag, FlagMeaning] = {meaning.name: meaning for meaning in FLAGS}
"""The same by name."""
