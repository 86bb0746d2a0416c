"""Do inference providers that claim to serve the same model give the same answers at temperature zero?

The library behind the command `tempzero`, in eight names; each is loaded when it is first used.

load_config   a providers.yaml -> a Setting
run           a Setting -> a Run: every provider asked, everything recorded; this costs time, and money where it costs
open_run      a run folder -> a Run, with DataFrames: .responses, .prompts, .pairs, .tokens, .figure("cross_emr")
analyse       a Run -> an Analysis: figures, findings, curves, examples
judge         an Analysis and thresholds -> a Verdict
report        an Analysis and a Verdict -> report.html, report.md, summary.json, tables
claim         a Run and a finding -> an evidence bundle
verify        a run folder or a bundle -> whether it holds

Whatever a user can put right is raised as a `tempzero.errors.TempzeroError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tempzero.analysis import analyse
    from tempzero.door import claim, load_config, open_run, report, run, verify
    from tempzero.verdict.gate import judge

    __version__: str

__all__ = [
    "__version__",
    "analyse",
    "claim",
    "judge",
    "load_config",
    "open_run",
    "report",
    "run",
    "verify",
]

if not TYPE_CHECKING:  # a type checker that saw this would take any name for one of ours
    _HOMES = {
        "analyse": "tempzero.analysis",
        "judge": "tempzero.verdict.gate",
    }

    def __getattr__(name):
        from importlib import import_module, metadata

        if name not in __all__:
            raise AttributeError(f"module 'tempzero' has no attribute '{name}'")
        if name == "__version__":
            found = metadata.version("tempzero")
        else:
            found = getattr(import_module(_HOMES.get(name, "tempzero.door")), name)
        globals()[name] = found
        return found

    def __dir__():
        return sorted({*globals(), *__all__})
