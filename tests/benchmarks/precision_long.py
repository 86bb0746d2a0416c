"""Shipped long texts in, a prompt file whose questions stand behind 1,000 to 1,500 tokens of context out.

    python tests/benchmarks/precision_long.py FILE.yaml [--contexts 4] [--questions 8] [--seed 1]

For a direction pack of long prompts (`tempzero fingerprint --make-pack PACK --suite FILE.yaml`): whether a cache in
8 bits moves what stands behind a long context in a direction. Questions of one context follow each other, so that an
engine which keeps what it has read reads each context once.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import yaml
from tempzero.config.shipped import find_prompts
from tempzero.probe.candidates import generate_candidates
from tempzero.suites import load_suite

_PARAGRAPHS = 13  # of about 95 tokens each


def main() -> None:
    """Draw paragraphs for each context, and a question for each prompt."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--contexts", type=int, default=4)
    parser.add_argument("--questions", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    texts = [p.messages[0].content for p in load_suite(find_prompts(["builtin"], Path()), "standard").prompts]
    paragraphs = sorted({part for text in texts if len(text) > 1_200 for part in text.split("\n\n") if len(part) > 350})
    draw = np.random.default_rng(asked.seed)
    questions = generate_candidates("border", number=asked.contexts * asked.questions, seed=asked.seed)
    prompts = []
    for context in range(asked.contexts):
        chosen = draw.choice(len(paragraphs), _PARAGRAPHS, replace=False)
        text = "\n\n".join(paragraphs[at] for at in chosen)
        for at in range(asked.questions):
            question = questions[context * asked.questions + at].messages[0].content
            prompts.append({"id": f"long-{context + 1}-{at + 1}", "prompt": f"{text}\n\n{question}"})
    asked.file.write_text(yaml.safe_dump({"family": "long", "max_tokens": 1, "prompts": prompts}, sort_keys=False))


if __name__ == "__main__":
    main()
