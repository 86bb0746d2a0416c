"""The finish reasons that servers write, in lower case, by what each says of the answer."""

from __future__ import annotations

FINISHED_REASONS = frozenset({"stop", "eos", "eos_token", "end_turn", "stop_sequence", "completed"})
"""An answer."""
CUT_REASONS = frozenset({"length", "max_tokens", "model_length", "max_output_tokens"})
"""One that was cut at its limit."""
FILTERED_REASONS = frozenset(
    {"content_filter", "refusal", "safety", "recitation", "prohibited_content", "guardrails", "sensitive"}
)
"""One that was withheld, or cut by a filter."""
TOOL_REASONS = frozenset({"tool_calls", "function_call", "tool_use"})
"""A call of a tool."""
BROKEN_OFF_REASONS = frozenset(
    {"error", "abort", "aborted", "cancelled", "canceled", "failed", "interrupted", "timeout", "network_error"}
    | {"insufficient_system_resource", "malformed_function_call"}
)
"""None at all."""
KNOWN_REASONS = FINISHED_REASONS | CUT_REASONS | FILTERED_REASONS | TOOL_REASONS
"""Those that say that the server had come to an end of the answer."""
