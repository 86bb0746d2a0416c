"""Notices and a decided night in, messages delivered and files for other tools out; no secret in any of them.

messages    a Notice -> the words and payloads of Slack, Discord, and plain JSON
delivering  payloads -> webhooks and Apprise: retried, recorded, told once
files       a night -> JUnit XML, Prometheus textfile
ci          a night -> GitHub's job summary and annotations, under their size limits
"""

from __future__ import annotations

from tempzero.nightly.notify.ci import list_annotations, show_in_ci
from tempzero.nightly.notify.delivering import deliver_notices
from tempzero.nightly.notify.status_files import mark_night_unfinished, write_status_files

__all__ = ["deliver_notices", "list_annotations", "mark_night_unfinished", "show_in_ci", "write_status_files"]
