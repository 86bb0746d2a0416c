"""What was observed and tallied in, how many answers each extractor could not read of each provider out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tempzero import stats
from tempzero.analysis.observations import Observations
from tempzero.analysis.part_counts import NOT_SAID
from tempzero.analysis.tallies import Tally
from tempzero.analysis.texts import Texts
from tempzero.extractors import EXTRACTORS
from tempzero.metrics.agreement import UNPARSED
from tempzero.types.concluded import UnreadAnswers


def count_unread_answers(seen: Observations, texts: Texts, tallies: Sequence[Tally]) -> Iterator[UnreadAnswers]:
    """A row for each extractor that was asked for and each provider that answered, by extractor."""
    asked = np.array([p.extractor.name if p.extractor else "" for p in seen.asked], dtype=object)
    waits = np.zeros(len(asked), dtype=bool)
    waits[list(seen.judged.waiting)] = True
    for name in sorted(set(asked.tolist()) - {""}):
        of_name = np.asarray(asked == name)
        for tally in tallies:
            lane = tally.lane
            rows = (lane.answered == 1) & of_name[lane.prompt]
            if not rows.any():
                continue
            waiting = rows & waits[lane.prompt]
            text = lane.text[rows & ~waiting]
            read = texts.answer[text[text != NOT_SAID]] != UNPARSED
            values = tally.unparsed[of_name & ~waits]
            yield UnreadAnswers(
                extractor=name,
                version=EXTRACTORS[name].version,
                provider=tally.name,
                condition=lane.condition,
                answers=int(rows.sum()),
                unparsed=int(text.size - read.sum()),
                waiting=int(waiting.sum()),
                share=stats.share_over_prompts(values[~np.isnan(values)]),
            )


def note_unjudged_answers(seen: Observations) -> Iterator[str]:
    """A line for each extractor whose answers wait: how many, and how to have them judged."""
    for name in sorted(
        {p.extractor.name for i, p in enumerate(seen.asked) if i in seen.judged.waiting and p.extractor}
    ):
        of_name = [i for i, p in enumerate(seen.asked) if p.extractor and p.extractor.name == name]
        texts = sum(seen.judged.waiting.get(i, 0) for i in of_name)
        prompts = sum(i in seen.judged.waiting for i in of_name)
        yield (
            f"{texts} different {name} answers to {prompts} prompts are not judged, so no accuracy or answer agreement "
            f"counts these prompts; {EXTRACTORS[name].judged}"
        )
