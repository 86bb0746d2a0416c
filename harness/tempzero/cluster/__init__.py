"""Work that can be done anywhere in, the same work done on other machines out: by Ray, of the extra of that name.

What is sent is a pure function of what it is given, so that a call can be made again where a machine went away.
Ray is imported where a cluster is asked for, and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tempzero.errors import UsageError

if TYPE_CHECKING:
    from tempzero.cluster.ray_cluster import RayCluster


def open_cluster(address: str) -> RayCluster:
    """`ray` (the cluster that RAY_ADDRESS names, else one of this machine alone) or `ray://HOST:PORT`.

    Raises UsageError for anything else, without the extra, and where nobody answers.
    """
    if address != "ray" and not address.startswith("ray://"):
        raise UsageError(f"--on {address}: write ray, or ray://HOST:10001 for a cluster that runs elsewhere")
    try:
        from tempzero.cluster.ray_cluster import RayCluster
    except ImportError:
        raise UsageError(f"--on {address} needs the extra of that name: pip install 'tempzero[ray]'") from None
    return RayCluster(address)
