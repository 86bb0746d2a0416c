"""Another chat template than the model's own: a host's default, another family's, or none."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tempzero.reading.suspects.suspect import AskedPrompt, RequestSuspect

_TEMPLATES = {
    "no-template": "{% for m in messages %}{{ m.content }}\n{% endfor %}",
    "chatml": "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n",
    "chatml-not-begun": "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}",
    "llama-2": "{% for m in messages %}[INST] {{ m.content }} [/INST]{% endfor %}",
    "llama-3": "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content }}<|eot_id|>"
    "{% endfor %}<|start_header_id|>assistant<|end_header_id|>\n\n",
    "alpaca": "{% for m in messages %}### Instruction:\n{{ m.content }}\n\n{% endfor %}### Response:\n",
    "vicuna": "{% for m in messages %}{% if m.role == 'user' %}USER: {{ m.content }} {% elif m.role == 'assistant' %}"
    "ASSISTANT: {{ m.content }}</s>{% else %}{{ m.content }}\n\n{% endif %}{% endfor %}ASSISTANT:",
    "gemma": "{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else 'user' }}\n"
    "{{ m.content }}<end_of_turn>\n{% endfor %}<start_of_turn>model\n",
    "role-and-colon": "{% for m in messages %}{{ m.role | capitalize }}: {{ m.content }}\n\n{% endfor %}Assistant:",
}


def render_behind(template: str) -> Callable[[AskedPrompt], Sequence[int]]:
    """A template in, how it renders a prompt out."""
    return lambda asked: asked.render(asked.messages, chat_template=template)


def _drop_opening(asked: AskedPrompt) -> Sequence[int]:
    """The template's own turn of the assistant is not begun (`add_generation_prompt` forgotten)."""
    last = max((i for i, t in enumerate(asked.ids) if asked.is_control(t)), default=0)
    return asked.ids[:last] if last > 1 else asked.ids


TEMPLATES = (
    *(
        RequestSuspect(
            name=name,
            family=f"chat template {name}",
            words=f"another chat template renders the messages: {name}",
            change=render_behind(template),
        )
        for name, template in _TEMPLATES.items()
    ),
    RequestSuspect(
        name="answer-not-begun",
        family="answer not begun",
        words="the template's beginning of the answer is left out",
        change=_drop_opening,
    ),
)
