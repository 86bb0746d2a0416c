"""Notices and a decided night in, messages delivered and files for other tools out; no secret in any of them.

messages    a Notice -> the words and payloads of Slack, Discord, and plain JSON
delivering  payloads -> webhooks and Apprise: retried, recorded, told once
files       a night -> JUnit XML, Prometheus textfile
ci          a night -> GitHub's job summary and annotations, under their size limits
"""

from __future__ import annotations

from tempzero.nightly.notify.ci import show_in_ci
from tempzero.nightly.notify.delivering import deliver
from tempzero.nightly.notify.files import begun, write_files

__all__ = ["begun", "deliver", "show_in_ci", "write_files"]
