"""What only a comparison with an endpoint's earlier answers shows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tempzero.engines.hosted.endpoint_history import EndpointHistory, find_told_times
from tempzero.types.recorded import Completion, Outcome

AT = 1_793_954_700  # a second of 2026, as `created` tells it


def judged(
    history: EndpointHistory,
    request: str = "r",
    end_s: float = 1.0,
    body: bytes = b"",
    now_s: float = 100.0,
    **fields: Any,
) -> Outcome:
    said = Completion(**{"text": "yes", "completion_tokens": 100, **fields})
    answer = Outcome(status="valid", kind="complete", flags=("no_done",), completion=said)
    return history.judge(answer, request_sha256=request, end_s=end_s, body=body, now_s=now_s)


def made(created: int, **usage: float) -> bytes:
    """A response's own times, as they stand in its body."""
    return json.dumps({"id": "1", "created": created, "usage": usage}).encode()


def test_an_id_with_its_times_of_before_is_a_replay() -> None:
    """Made in the second of an answer that had come long before it was asked; it is still shown, and asked again."""
    history = EndpointHistory(pinned=True)
    assert judged(history, response_id="1", body=made(AT), now_s=100).status == "valid"
    assert judged(history, response_id="2", body=made(AT + 5), now_s=105).status == "valid"
    again = judged(history, response_id="1", body=made(AT), now_s=110)
    assert (again.status, again.kind, again.retry, again.flags) == ("excluded", "cached", "once", ("no_done",))
    assert again.completion is not None


def test_an_id_with_the_same_measured_times_is_a_replay() -> None:
    """No two computations take as long to the last digit, however soon they follow one another."""
    history = EndpointHistory(pinned=True)
    judged(history, response_id="1", body=made(AT, queue_time=0.01234))
    assert judged(history, response_id="1", body=made(AT, queue_time=0.01234)).kind == "cached"
    assert judged(history, response_id="1", body=made(AT, queue_time=0.01289)).kind == "complete"


@pytest.mark.parametrize(
    ("body", "later"), [(b"", b""), (made(1), made(1)), (made(AT), made(AT)), (made(AT, queue_time=0.0),) * 2]
)
def test_an_id_of_before_without_such_times_is_only_suspected(body: bytes, later: bytes) -> None:
    """Told, counted as it came, and asked once more: a local bridge has one id for all, and answers within a second."""
    history = EndpointHistory(pinned=True)
    judged(history, response_id="1", body=body, now_s=100)
    again = judged(history, response_id="1", body=later, now_s=101)
    assert (again.status, again.retry, again.flags) == ("valid", "once", ("no_done", "suspected_cache"))


@pytest.mark.parametrize("other", [{"body": made(AT + 3)}, {"body": made(AT), "completion_tokens": 99}])
def test_one_id_with_different_times_or_tokens_is_a_constant(other: dict[str, Any]) -> None:
    """Nothing is suspected of it from then on."""
    history = EndpointHistory(pinned=True)
    judged(history, response_id="1", body=made(AT))
    for _ in range(2):
        again = judged(history, response_id="1", now_s=110, **other)
        assert (again.status, again.retry, again.flags) == ("valid", "never", ("no_done", "response_id_reused"))
    assert judged(history, response_id="1", body=made(AT), now_s=120).kind == "complete"


def test_ids_that_are_not_unique_accuse_nobody() -> None:
    """Some servers draw them from a small hat, or always send the same."""
    history = EndpointHistory(pinned=True)
    judged(history, "a", response_id="1", body=made(AT))
    assert judged(history, "b", response_id="1", body=made(AT)).flags == ("no_done", "response_id_reused")
    assert judged(history, "a", response_id="1", body=made(AT), now_s=110).status == "valid"


def test_times_are_read_where_a_response_tells_them() -> None:
    """What a model writes of times is within a text, and there its quotes are escaped."""
    text = json.dumps({"content": 'say "created": 1793954700, "queue_time": 0.0123'}).encode()
    assert find_told_times(text).created is None
    assert find_told_times(text).spans == ()
    long = b'{"id":"1","created": %d,"choices":"%s","usage":{"total_time": 0.5123}}' % (AT, b"x" * 9000)
    assert find_told_times(long).created == AT
    assert find_told_times(long).spans == ((b"total_time", b"0.5123"),)


def test_an_answer_without_an_id_is_no_replay() -> None:
    """None is not an id: two silences never agree."""
    history = EndpointHistory(pinned=True)
    assert [judged(history, response_id=None).status for _ in range(3)] == ["valid"] * 3


def suspected(outcome: Outcome) -> bool:
    assert outcome.status == "valid"
    return "suspected_cache" in outcome.flags and outcome.retry == "once"


def test_no_model_writes_that_fast() -> None:
    """Tokens a second beyond any hardware are a suspicion, no proof; a short answer says nothing of speed."""
    history = EndpointHistory(pinned=True)
    assert suspected(judged(history, end_s=0.001))
    assert not suspected(judged(history, end_s=0.001, completion_tokens=10))
    assert not suspected(judged(history, end_s=0.1))


def test_a_sudden_repetition_at_many_times_the_usual_speed_is_suspected() -> None:
    """The same answer for the same request, far faster than this endpoint ever was; a new one may be fast."""
    history = EndpointHistory(pinned=True)
    for n in range(8):
        assert judged(history, str(n), end_s=2.0).status == "valid"
    assert suspected(judged(history, "0", end_s=0.05))
    assert not suspected(judged(history, "0", end_s=0.05, text="no"))
    assert not suspected(judged(history, "0", end_s=0.05, reasoning_text="hm"))
    assert not suspected(judged(history, "0", end_s=1.0))


def test_an_endpoint_that_is_always_suspicious_is_not_asked_everything_twice() -> None:
    """A small model on a fast machine: the flag stays, the second question does not."""
    history = EndpointHistory(pinned=True)
    asked = [judged(history, str(n), end_s=0.001) for n in range(20)]
    assert all("suspected_cache" in one.flags for one in asked)
    assert sum(one.retry == "once" for one in asked) == 8


def test_another_upstream_of_a_pinned_provider_is_not_this_provider() -> None:
    """Its text must not stand under the pinned one's name; the message says what to do."""
    history = EndpointHistory(pinned=True)
    judged(history, backend="A")
    other = judged(history, backend="B")
    assert (other.status, other.kind, other.completion) == ("missing", "unpinned", None)
    assert "pinned: false" in other.detail
    assert judged(history, backend=None).status == "valid"
    assert judged(history, backend="A").status == "valid"


def test_changes_are_flagged_where_they_happen() -> None:
    """A fingerprint speaks of one model; a prompt's count of one request."""
    history = EndpointHistory(pinned=False)
    judged(history, fingerprint="f", served_model="m", prompt_tokens=3)
    assert judged(history, fingerprint="f", served_model="m", prompt_tokens=3).flags == ("no_done",)
    assert judged(history, fingerprint="g", served_model="n", prompt_tokens=3).flags == ("no_done",)
    assert judged(history, "s", fingerprint="g", served_model="m").flags == ("no_done", "fingerprint_changed")
    assert judged(history, prompt_tokens=4).flags == ("no_done", "prompt_mismatch")


def test_what_is_missing_has_no_history() -> None:
    """A failure is neither a repeat nor a replay."""
    failed = Outcome(status="missing", kind="server", retry="yes")
    history = EndpointHistory(pinned=True)
    assert history.judge(failed, request_sha256="r", end_s=0.0, body=b"", now_s=0.0) == failed
