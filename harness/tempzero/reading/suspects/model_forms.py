"""The same model in another form: coarser weights or cache, other weights altogether, another base of its positions."""

from __future__ import annotations

from tempzero.reading.suspects.suspect import FormSuspect


def describe_form(form: str) -> FormSuspect:
    """A name as in `score.forms` in, the suspect that it is out."""
    name, _, value = form.partition("=")
    if name == "position_base":
        words = f"positions are computed with the base {value} (RoPE), not the model's own"
        return FormSuspect(name=form, family="position base", words=words, kind="positions")
    if name == "weights":
        return FormSuspect(name=form, family=form, words=f"the weights are those of {value}", kind="weights")
    if name == "cache":
        return FormSuspect(name=form, family=form, words=f"keys and values are kept as {value}", kind="weights")
    return FormSuspect(name=form, family=form, words=f"the weights are rounded to {form}", kind="weights")


def describe_coarser_endpoint(endpoint: str, precision: str | None) -> FormSuspect:
    """A provider that reads with coarser weights in, the suspect that these are out."""
    words = f"the weights are as coarse as those of {endpoint}" + (f" ({precision})" if precision else "")
    name = f"coarser:{endpoint}"
    return FormSuspect(name=name, family=name, words=words, kind="weights")
