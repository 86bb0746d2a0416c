"""Work that can be done anywhere in, the same work done on other machines out: by Ray, of the extra of that name.

What is sent is a pure function of what it is given, so that a call can be made again where a machine went away.
Ray is imported where a cluster is asked for, and nowhere else.
"""

from __future__ import annotations

import os
import re
import socket
from typing import TYPE_CHECKING

from tempzero.errors import UsageError

if TYPE_CHECKING:
    from tempzero.cluster.ray_cluster import RayCluster


_CLIENT_PORT = 10001
_ANSWER_S = 10.0


def open_cluster(address: str) -> RayCluster:
    """`ray` (the cluster that RAY_ADDRESS names, else one of this machine alone) or `ray://HOST:PORT`.

    Raises UsageError for anything else, without the extra, and where nobody answers.
    """
    if address != "ray" and not re.fullmatch(r"ray://[^/\s]+", address):
        raise UsageError(f"--on {address}: write ray, or ray://HOST:10001 for a cluster that runs elsewhere")
    _require_answer(address)
    try:
        from tempzero.cluster.ray_cluster import RayCluster
    except ImportError:
        raise UsageError(f"--on {address} needs the extra of that name: pip install 'tempzero[ray]'") from None
    return RayCluster(address)


def _require_answer(address: str) -> None:
    """Ray itself waits half a minute for a client's address, and minutes for RAY_ADDRESS, where nobody is."""
    named = os.environ.get("RAY_ADDRESS", "") if address == "ray" else address
    place = re.fullmatch(
        r"(?:ray://)?(?:\[(?P<v6>[0-9a-fA-F:]+)\]|(?P<host>[^:/\s\[\]]+))(?::(?P<port>[0-9]+))?", named
    )
    if place is None or not (place["port"] or named.startswith("ray://")):
        return  # none, or a word of Ray's own: auto, local
    host, port = place["v6"] or place["host"], int(place["port"] or _CLIENT_PORT)
    try:
        socket.create_connection((host, port), timeout=_ANSWER_S).close()
    except (OSError, OverflowError) as problem:
        said = getattr(problem, "strerror", None) or "no answer in time"
        raise UsageError(f"--on {address}: no cluster answers at {host}:{port}: {said}") from None
