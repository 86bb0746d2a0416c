"""The base of every model of the configuration, and the types that many of its keys have."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@:+-]{0,99}$")]
Positive = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]
OneOrMore = str | Annotated[tuple[str, ...], Field(min_length=1)]


class StrictModel(BaseModel):
    """Unknown keys and wrong types are refused; values never change after parsing.

    The text under a key is its description in the JSON schema; a test refuses a key without one. Where a key's type is
    a model it must not be that model's own first text: pydantic leaves a repetition out.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


def list_names(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """One or more names as a file may write them; none where there is nothing."""
    return (value,) if isinstance(value, str) else value or ()
