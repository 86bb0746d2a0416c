"""tempzero as a library: what version it is. Everything else is in the rooms, imported one by one."""

from __future__ import annotations

__version__: str


def __getattr__(name: str) -> str:
    """The version of the installed package, looked up when it is asked for: the look-up would slow every start down."""
    if name == "__version__":
        import importlib.metadata

        return importlib.metadata.version(__name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
