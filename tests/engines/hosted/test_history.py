"""What only a comparison with an endpoint's earlier answers shows."""

from __future__ import annotations

from typing import Any

from tempzero.engines.hosted.endpoint_history import EndpointHistory
from tempzero.types.recorded import Completion, Outcome


def judged(history: EndpointHistory, request: str = "r", end_s: float = 1.0, **fields: Any) -> Outcome:
    said = Completion(**{"text": "yes", "completion_tokens": 100, **fields})
    return history.judge(
        Outcome(status="valid", kind="complete", flags=("no_done",), completion=said),
        request_sha256=request,
        end_s=end_s,
    )


def test_an_id_comes_once_for_each_request() -> None:
    """The same id for the same request is the same answer; what was replayed is still shown, and asked again once."""
    history = EndpointHistory(pinned=True)
    assert judged(history, response_id="1").status == "valid"
    assert judged(history, response_id="2").status == "valid"
    again = judged(history, response_id="1")
    assert (again.status, again.kind, again.retry, again.flags) == ("excluded", "cached", "once", ("no_done",))
    assert again.completion is not None


def test_ids_that_are_not_unique_accuse_nobody() -> None:
    """Some servers draw them from a small hat, or always send the same."""
    history = EndpointHistory(pinned=True)
    judged(history, "a", response_id="1")
    assert judged(history, "b", response_id="1").flags == ("no_done", "response_id_reused")
    assert judged(history, "a", response_id="1").status == "valid"


def test_an_answer_without_an_id_is_no_replay() -> None:
    """None is not an id: two silences never agree."""
    history = EndpointHistory(pinned=True)
    assert [judged(history, response_id=None).status for _ in range(3)] == ["valid"] * 3


def test_no_model_writes_that_fast() -> None:
    """Tokens a second beyond any hardware, network included; a short answer says nothing of speed."""
    history = EndpointHistory(pinned=True)
    assert judged(history, end_s=0.001).kind == "cached"
    assert judged(history, end_s=0.001, completion_tokens=10).kind == "complete"
    assert judged(history, end_s=0.1).kind == "complete"


def test_a_sudden_repetition_at_many_times_the_usual_speed_is_a_replay() -> None:
    """The same text for the same request, far faster than this endpoint ever was; a new text may be fast."""
    history = EndpointHistory(pinned=True)
    for n in range(8):
        assert judged(history, str(n), end_s=2.0).status == "valid"
    assert judged(history, "0", end_s=0.05).kind == "cached"
    assert judged(history, "0", end_s=0.05, text="no").kind == "complete"
    assert judged(history, "0", end_s=1.0).kind == "complete"


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
    assert EndpointHistory(pinned=True).judge(failed, request_sha256="r", end_s=0.0) == failed
