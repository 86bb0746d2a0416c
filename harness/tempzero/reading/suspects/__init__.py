"""What may have been changed between what was asked and what was answered, each with how to tell: the list of suspects.

A suspect says why it is worth trying in the first line of its file. Adding one: a file here and its line below.
"""

from __future__ import annotations

from tempzero.reading.suspects.bans import suggest_bans, suggest_repeat_bans
from tempzero.reading.suspects.context_cut import CONTEXT_CUT
from tempzero.reading.suspects.edited_text import EDITED_TEXT
from tempzero.reading.suspects.hidden_instructions import HIDDEN_INSTRUCTIONS
from tempzero.reading.suspects.penalties import suggest_penalties
from tempzero.reading.suspects.start_token import START_TOKEN
from tempzero.reading.suspects.suspect import RequestSuspect, SuggestRules
from tempzero.reading.suspects.system_dropped import SYSTEM_DROPPED
from tempzero.reading.suspects.templates import TEMPLATES
from tempzero.reading.suspects.turns import TURNS

REQUEST_SUSPECTS: tuple[RequestSuspect, ...] = (
    *SYSTEM_DROPPED,
    *TURNS,
    *EDITED_TEXT,
    *START_TOKEN,
    *TEMPLATES,
    *HIDDEN_INSTRUCTIONS,
    *CONTEXT_CUT,
)
"""Another prompt than the one that was sent."""

SAMPLER_RULES: tuple[SuggestRules, ...] = (
    suggest_penalties,
    suggest_bans,
    suggest_repeat_bans,
)
"""Another choice from the same logits."""
