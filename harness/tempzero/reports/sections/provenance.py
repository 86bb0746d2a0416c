"""What the run recorded of itself in, the section that lets another person find and repeat it out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tempzero.reports.document import ON_PAPER, Facts, Section
from tempzero.reports.lookup import View


def build_provenance_section(view: View) -> Section:
    """Where these figures come from."""
    a = view.analysis
    pairs = (
        ("Run", a.run_id),
        ("Begun", a.created_at),
        ("Prompts", f"{a.prompts:,}"),
        ("Records", f"{a.records:,}"),
        ("Suite digest", a.suite_digest),
        ("Plan digest", a.plan_digest),
        *((f"Version of {name}", version) for name, version in sorted(a.versions.items())),
        *_host_facts(a.host),
    )
    return Section(
        anchor="provenance",
        title="Where these figures come from",
        lead="This report is computed from the run folder alone: the same folder gives the same bytes.",
        blocks=(Facts(pairs=pairs),),
        media=ON_PAPER,
    )


def _host_facts(host: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (f"Host, {name}", value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str))
        for name, value in sorted(host.items())
    ]
