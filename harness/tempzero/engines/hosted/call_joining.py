"""The pieces of streamed tool calls in, the calls as they would have come whole out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tempzero.engines.hosted.fault_catalogue import UnusableReply, missing_outcome


class CallJoiner:
    """Joins pieces of calls by index: the id and the name come once, the arguments in pieces.

    Servers that give no index send whole calls, or pieces of one after the other: another id, or a name where no id
    is given, begins another call. So does another id under the index of a call that has one. `guessed`: some did so.
    """

    def __init__(self) -> None:
        self.guessed = False
        self._calls: list[tuple[int, dict[str, Any]]] = []
        self._open: dict[int, dict[str, Any]] = {}  # by index: the call that its next piece belongs to

    @property
    def has_calls(self) -> bool:
        """Whether any has come."""
        return bool(self._calls)

    def value(self) -> list[dict[str, Any]]:
        """The calls, by index and then as they came."""
        return [call for _, call in sorted(self._calls, key=lambda one: one[0])]

    def take(self, pieces: Any) -> None:
        """The pieces of one delta. Raises UnusableReply where they cannot be understood."""
        if not isinstance(pieces, list) or not all(isinstance(piece, dict) for piece in pieces):
            raise UnusableReply(missing_outcome("schema", "delta.tool_calls is not a list of objects"))
        for piece in pieces:
            function = piece.get("function") or {}
            if not isinstance(function, dict):
                raise UnusableReply(missing_outcome("schema", "the function of a tool call is not an object"))
            call = self._call_of(piece, function)
            call |= {k: v for k, v in piece.items() if k in ("id", "type") and v and k not in call}
            join_function(call["function"], function)

    def _call_of(self, piece: Mapping[str, Any], function: Mapping[str, Any]) -> dict[str, Any]:
        index = piece.get("index")
        if index is None:
            self.guessed = True
            index = self._calls[-1][0] if self._calls else 0
            if not self._calls or _begins_another(self._open[index], piece, function):
                return self._begin(index + bool(self._calls))
            return self._open[index]
        if type(index) is not int:
            raise UnusableReply(missing_outcome("schema", "the index of a tool call is not a whole number"))
        current = self._open.get(index)
        if current is None:
            return self._begin(index)
        if _ids_differ(current, piece):
            self.guessed = True
            return self._begin(index)
        return current

    def _begin(self, index: int) -> dict[str, Any]:
        call: dict[str, Any] = {"function": {"arguments": None}}
        self._calls.append((index, call))
        self._open[index] = call
        return call


def _begins_another(call: Mapping[str, Any], piece: Mapping[str, Any], function: Mapping[str, Any]) -> bool:
    """Of a piece without an index: has it another id, or a name and no id?"""
    return bool(call.get("id") != piece["id"] if piece.get("id") else function.get("name"))


def _ids_differ(call: Mapping[str, Any], piece: Mapping[str, Any]) -> bool:
    return bool(call.get("id") and piece.get("id") and call["id"] != piece["id"])


def join_function(so_far: dict[str, Any], function: Mapping[str, Any]) -> None:
    """One piece more of a function that is called: its name comes once, its arguments in pieces."""
    if function.get("name") and "name" not in so_far:
        so_far["name"] = function["name"]
    arguments = function.get("arguments")
    if isinstance(arguments, str) and isinstance(so_far.get("arguments"), str | None):
        so_far["arguments"] = (so_far.get("arguments") or "") + arguments
    elif arguments is not None:
        so_far["arguments"] = arguments
