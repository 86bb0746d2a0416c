"""A run and a reference in, what each trial was asked with out: its messages, and their tokens as it reads them."""

from __future__ import annotations

import functools
import json
from typing import Any

from tempzero.errors import EngineError
from tempzero.reading.references import ReferenceModel
from tempzero.reading.round_messages import read_round_messages
from tempzero.reading.suspects.suspect import AskedPrompt
from tempzero.reading.written_reasoning import find_template_values
from tempzero.records import Run
from tempzero.types.asked import Message, Trial


class AskedPrompts:
    """The prompts of one run, each rendered once."""

    def __init__(self, run: Run, model: ReferenceModel) -> None:
        self._config, self._model = run.config, model
        self._suite = {p.id: p for p in run.manifest.suite.prompts}
        self._rounds = read_round_messages(run)
        self._rendered: dict[tuple[str | Trial, str], list[int]] = {}
        self.places = {p: i for i, p in enumerate(self._suite)}
        """The prompts in the order of the suite."""

    def find_ids(self, trial: Trial) -> list[int]:
        """The tokens of the prompt as it was rendered for that trial: efforts and the like may change them."""
        if self._suite[trial.prompt].tools:
            raise EngineError("the prompt offers tools, which are not rendered here")
        values, messages = self._find_values(trial), self._find_messages(trial)
        key = (trial if trial in self._rounds else trial.prompt, json.dumps(values, sort_keys=True))
        if key not in self._rendered:
            self._rendered[key] = self._model.prompt_ids(messages, template_values=values or None)
        return self._rendered[key]

    def describe_prompt(self, trial: Trial) -> AskedPrompt:
        """The prompt as suspects change it."""
        values = self._find_values(trial)
        return AskedPrompt(
            messages=self._find_messages(trial),
            ids=tuple(self.find_ids(trial)),
            render=functools.partial(self._model.prompt_ids, template_values=values or None),
            is_control=lambda token: not self._model.pieces([token])[0],
        )

    def _find_messages(self, trial: Trial) -> tuple[Message, ...]:
        """What it was asked with: a round of a conversation with the answers that had been given before it."""
        return self._rounds.get(trial) or self._suite[trial.prompt].messages

    def _find_values(self, trial: Trial) -> dict[str, Any]:
        provider = self._config.provider(trial.provider)
        return find_template_values(self._config, provider, trial.condition, self._suite[trial.prompt])
