"""A finish reason in, what it says of the answer out: that it was cut, filtered, failed or came to its end."""

from __future__ import annotations

CUT_REASONS = frozenset({"length", "max_tokens", "model_length", "max_output_tokens", "max_new_tokens"})
FILTER_REASONS = frozenset(
    {"content_filter", "refusal", "safety", "recitation", "prohibited_content", "guardrails", "blocklist", "spii"}
)
FAILURE_REASONS = frozenset({"error", "failed", "cancelled", "timeout"})
ENDED_REASONS = frozenset({"stop", "eos", "eos_token", "end_turn", "stop_sequence", "completed", "tool_calls"})


def is_unfinished(reason: object) -> bool:
    """Whether an answer with this finish reason is no whole one."""
    return str(reason).strip().casefold() in CUT_REASONS | FILTER_REASONS | FAILURE_REASONS
