"""The table of flags: a line for each, each shown by a response, and none of weight on what is normal service."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from catalogue import ROWS
from exchanging import row as foreign_row
from exchanging import take_in, views, write_csv
from loopback import chunk_values, completion_value
from replies import CALL, TOOLS, counted, read_stream, read_whole, with_deltas
from tempzero.answers.flag_table import FLAGS, MEANING_BY_FLAG
from tempzero.engines.hosted.clock import LARGEST_SKEW_S, is_clock_skewed
from tempzero.types.recorded import Exchange, Flag, Outcome, Times, WireRequest, WireResponse
from tempzero.types.vocabulary import Severity

# Flags that one response shows and no row of the catalogue of faults has.
SHOWN: dict[Flag, Outcome] = {
    "model_missing": read_whole(completion_value(model=None)),
    "tool_call_missing": read_whole(completion_value("", finish_reason="tool_calls"), **TOOLS),
    "tool_arguments_object": read_whole(
        completion_value(None, message={"tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}), **TOOLS
    ),
    "tool_index_missing": read_stream(
        with_deltas({"tool_calls": [{**CALL, "index": None}]}, finish="tool_calls"), **TOOLS
    ),
    "think_block_open": read_whole(completion_value("<think>hm")),
    "think_block_unopened": read_whole(completion_value("hm</think>yes")),
    "template_leak": read_whole(completion_value("yes<|im_end|>")),
    "parts_unread": read_whole(completion_value(message={"content": [{"type": "image_url"}, {"text": "yes"}]})),
    "limit_without_reasoning": read_whole(completion_value(usage=counted(11, 40, 51, 30)), asked_max_tokens=16),
    "limit_counted_otherwise": read_whole(completion_value(usage=counted(11, 18, 29)), asked_max_tokens=16),
    "reasoning_billed_apart": read_whole(completion_value(usage=counted(11, 2, 51, 38))),
}


def is_in_catalogue(name: Flag) -> bool:
    return any(name in one.flags for one in ROWS) or name == "key_redacted"


def test_every_flag_has_one_line_and_every_line_a_flag() -> None:
    """A flag without words would be seen by nobody, words without a flag never."""
    assert sorted(meaning.name for meaning in FLAGS) == sorted(get_args(Flag))
    for meaning in FLAGS:
        assert meaning.severity in get_args(Severity)
        assert meaning.rule
        assert meaning.words[0].islower(), "it goes on from a provider's name"
        assert not meaning.words.endswith(".")


@pytest.mark.parametrize("name", SHOWN)
def test_a_response_shows_its_flag(name: Flag) -> None:
    """What is odd about an answer is set where it is seen, and costs the answer nothing."""
    outcome = SHOWN[name]
    assert name in outcome.flags
    assert outcome.completion is not None


def test_every_line_is_shown_by_a_response() -> None:
    """Each flag is set in a test: here, in the catalogue of faults, or in the three tests below."""
    elsewhere: set[Flag] = {"clock_skew", "refusal_by_wording", "suspicious_stream"}
    assert [name for name in MEANING_BY_FLAG if name not in {*SHOWN, *elsewhere} and not is_in_catalogue(name)] == []


def test_a_clock_far_off_is_seen_by_its_date() -> None:
    """Two minutes are more than a response takes on its way."""
    request = WireRequest(method="POST", url="u", headers=(), body="", sha256="")
    response = WireResponse(
        status=200,
        headers=(("date", "Wed, 21 Oct 2026 07:28:00 GMT"),),
        body="",
        body_base64=None,
        sha256="",
        size_bytes=0,
        complete=True,
    )
    times = Times(started_at="2026-10-21T07:25:00+00:00", first_byte_s=1.0, end_s=1.0, in_flight=1)
    assert LARGEST_SKEW_S == 120
    assert is_clock_skewed(
        Exchange(request=request, response=response, times=times, outcome=Outcome(status="valid", kind="complete"))
    )


def test_an_imported_refusal_is_seen_by_its_words(tmp_path: Path) -> None:
    """Where no field says so, the words do, and it is told that they did."""
    text = "I'm sorry, but I can't assist with that."
    source = write_csv(tmp_path / "a.csv", [foreign_row(answer=text), foreign_row(question="q1", answer="yes")])
    run = take_in(source, "provider=model,prompt=question,text=answer")
    assert [view.outcome.flags for view in views(run)].count(("refusal_by_wording",)) == 1


def test_flags_of_earlier_versions_are_still_read() -> None:
    """A run folder is never rewritten: what it says of its streams has its line, and weighs nothing."""
    line = b'{"status":"valid","kind":"complete","flags":["suspicious_stream","fingerprint_changed"]}'
    outcome = msgspec.json.decode(line, type=Outcome)
    assert [MEANING_BY_FLAG[name].severity for name in outcome.flags] == ["note", "note"]


# --- normal service --------------------------------------------------------------------------


def moving(chunks: Sequence[dict[str, Any]], **fields: Sequence[Any]) -> list[dict[str, Any]]:
    """The same chunks, each with the next value of the fields."""
    return [{**c, **{name: values[i % len(values)] for name, values in fields.items()}} for i, c in enumerate(chunks)]


SAID: dict[str, Any] = {"role": "assistant"}
HONEST = {
    "created moves (Ollama)": moving(chunk_values("one ", "two"), created=[5, 6]),
    "the role in every delta": with_deltas(*({**SAID, "content": c} for c in ("ha", " ha", " ha")), tokens=3),
    "the role again after a pause": with_deltas({**SAID, "content": "a"}, {"content": "b"}, SAID),
    "usage that counts less than the pieces (Z.ai)": chunk_values(*"abcdefgh"),
    "usage that counts as it goes, and less in the end": [
        {**c, "usage": counted(11, n, 11 + n)}
        for c, n in zip(chunk_values("a", "b", usage=None), (1, 2, 3, 2), strict=True)
    ],
    "usage in x_groq and again at the end": [
        *chunk_values("a", "b", usage=None, x_groq={"id": "r", "usage": counted(11, 2, 13)}),
        chunk_values()[-1],
    ],
    "a first chunk that says nothing (Azure)": [
        {"id": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": []},
        *chunk_values("yes"),
    ],
    "timings beside the choices (llama.cpp)": moving(chunk_values("yes"), timings=[{"predicted_ms": 1.5}]),
    "delta and message in each chunk (Perplexity)": [
        {**c, "choices": [{**choice, "message": {"content": "so far"}} for choice in c["choices"]]}
        for c in chunk_values("one ", "two")
    ],
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_streams_carry_no_flag(name: str) -> None:
    """A flag that one host in seven carries for nothing hides the one that means something."""
    outcome = read_stream(HONEST[name])
    assert (outcome.status, outcome.flags) == ("valid", ())


def test_a_fingerprint_is_never_more_than_noted() -> None:
    """Hosts of many replicas have several, and one gateway a new one in every answer."""
    assert MEANING_BY_FLAG["fingerprint_changed"].severity == "note"


def test_what_breaks_the_contract_is_a_finding() -> None:
    """Another model, a limit not held, a leak: what was asked for and did not come."""
    found = {meaning.name for meaning in FLAGS if meaning.severity == "finding"}
    assert found == {"model_mismatch", "max_tokens_not_held", "template_leak"}
