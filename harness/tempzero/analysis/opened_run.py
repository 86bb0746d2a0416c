"""A Run in, the same with its DataFrames out: what `tempzero.open_run` gives to a notebook."""

from __future__ import annotations

from functools import cached_property

import pandas as pd

from tempzero.analysis import analyse
from tempzero.analysis.frames import list_figure, list_pairs, list_prompts, list_responses, list_tokens
from tempzero.records import Run
from tempzero.types.concluded import Analysis


class OpenedRun(Run):
    """A run folder opened for reading: its records, and DataFrames, each made once, when it is first looked at.

    Whole numbers are nullable (`Int64`); what was not said is missing (`isna`). Damaged records raise RunFolderError.
    """

    def __init__(self, run: Run) -> None:
        super().__init__(run.path, run.manifest, run.genesis)

    @cached_property
    def responses(self) -> pd.DataFrame:
        """Every trial that was asked, one row each: its first usable attempt, else its last.

        Rows come by condition, provider, prompt and repeat. The columns:

        - provider, prompt, condition, repeat: the trial; repeat counts from 0
        - model: the model that was asked for, as the provider calls it
        - family: the prompt's family
        - attempts: how often the trial was tried, retries included
        - status: valid (a whole text), censored (a text that was cut), excluded (a replayed answer) or missing
        - kind, detail: the status finer (complete, empty, length, timeout, ...), and in words
        - flags: what is odd about a usable answer, a tuple of names
        - answer: what is compared, all parts as one text: two are equal exactly where all their parts are
        - text, reasoning, calls, refusal: the parts; a line for each tool call, and missing where a part is not shown
        - finish_reason, served_model, backend, fingerprint: as the response says
        - prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens: as the response counts them
        - started_at: when the request was sent, UTC by the asking machine's clock, ISO 8601
        - first_byte_s, latency_s: seconds from sending to the first byte, and to the end of the response
        - in_flight: requests under way at this provider when this one was sent, itself included

        >>> frame = tempzero.open_run("results/20260102T030405Z-example").responses
        >>> frame.groupby(["provider", "prompt"]).text.nunique().to_dict()
        {('a', 'p0'): 1, ('a', 'p1'): 1, ('a', 'p2'): 1, ('b', 'p0'): 1, ('b', 'p1'): 1, ('b', 'p2'): 2}
        """
        return list_responses(self)

    @cached_property
    def prompts(self) -> pd.DataFrame:
        """Every prompt of the run's suite, one row each. The columns:

        - prompt, family: its id, and the family it belongs to
        - text: what is asked, all of its messages, a blank line between them
        - expected, extractor: the right answer where there is one, and what reads it out of a response
        - max_tokens: the prompt's own limit; missing where the provider's holds
        - answered: how many answers to it there are, of all providers, conditions and repeats
        - distinct_answers: how many different ones
        - most_common: how often the commonest of them came

        >>> frame = tempzero.open_run("results/20260102T030405Z-example").prompts
        >>> frame[["prompt", "answered", "distinct_answers", "most_common"]].values.tolist()
        [['p0', 6, 1, 6], ['p1', 6, 2, 3], ['p2', 6, 2, 5]]
        """
        return list_prompts(self, self.responses)

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """Every two providers of one model that were compared, and each provider with itself, one row each.

        The run is analysed first, which takes seconds to a minute for a large one. All shares are between 0 and 1, with
        95 % intervals over prompts; NaN is not known. The columns:

        - left, right: the two providers; the same name twice where a provider is compared with itself
        - condition: under which condition of the run
        - kind: repeat (a provider with itself), cross (two peers) or reference (right is the reference)
        - emr: chance that an answer of left and one of right to the same prompt are the same in all compared
          parts; of a provider with itself, that two of its repeats are. 1 means always
        - emr_low, emr_high, emr_n: its interval, and the number of prompts that it rests on
        - excess_divergence: how much more the two differ from each other than each from itself, the mean of their own
          EMR minus emr. 0 means no difference beyond their own noise; NaN for a provider with itself
        - excess_low, excess_high, excess_n: its interval and its number of prompts
        - noise_floor: the divergence that the two show by their own noise alone
        - part: what is compared: whole answers, or (spoken) all but the reasoning, where only one of the two shows it

        >>> frame = tempzero.open_run("results/20260102T030405Z-example").pairs
        >>> frame[["left", "right", "emr", "excess_divergence", "emr_n"]]
          left right       emr  excess_divergence  emr_n
        0    a     a  1.000000                NaN      3
        1    b     b  0.777778                NaN      3
        2    a     b  0.555556           0.333333      3
        """
        return list_pairs(self.analysis)

    @cached_property
    def tokens(self) -> pd.DataFrame:
        """Every token of every response that a reference has read, one row each; empty where nothing was read.

        The columns:

        - provider, prompt, condition, repeat: the trial whose response it stands in
        - reference: who has read it
        - position: its place in the response, from 0
        - token: its text; empty for the end of the turn
        - agrees: whether it is the reference's own choice in this place
        - instead: what the reference would have said, where it is something else
        - margin: the reference's largest logit minus this token's; 0 where they agree
        - gap: its largest logit minus its second largest: small where a coin was tossed
        - logprob, rank: the token's log-probability under the reference, and its rank, from 1
        - seen: whether the reference's choice already stood in prompt or response
        - token_id, choice_id: both tokens by the reference's own numbers

        >>> frame = tempzero.open_run("results/20260102T030405Z-example").tokens
        >>> len(frame), frame.columns[0]
        (0, 'provider')
        """
        return list_tokens(self, self.responses)

    @cached_property
    def analysis(self) -> Analysis:
        """Everything that the report says, as values.

        >>> [finding.rule for finding in tempzero.open_run("results/20260102T030405Z-example").analysis.findings]
        ['nondeterministic']
        """
        return analyse(self)

    def figure(self, metric: str) -> pd.DataFrame:
        """One figure of the report for everybody it exists for, by its name in the legend. The columns:

        - metric, unit: the name, and what its values are
        - kind, left, right: of whom it speaks: one provider (repeat, ...), two (cross), one and the reference
        - condition, family, part: of which condition, which family of prompts (missing: all), which part of answers
        - k: the number of repeats that it is defined for, where it is
        - value, low, high, n, method: the value, its 95 % interval, its number of prompts, how the interval was made

        Raises UsageError for a name that is none.

        >>> frame = tempzero.open_run("results/20260102T030405Z-example").figure("cross_emr")
        >>> frame[frame.family.isna()][["left", "right", "value", "n"]].round(2).values.tolist()
        [['a', 'b', 0.56, 3]]
        """
        return list_figure(self.analysis, metric)
