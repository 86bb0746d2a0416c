"""All nights in, a folder of static pages out that opens without a server, and the same as Markdown and JSON.

series   nights -> what is drawn: values with intervals, floors, events, a calendar with missing nights
drawing  series -> geometry of charts; the templates make SVG of it
pages    the files: index.html, a page a provider, a page a night, history.md, history.json
"""

from __future__ import annotations

from tempzero.nightly.trend.pages import history_to_json, history_to_markdown, write_history_pages

__all__ = ["history_to_json", "history_to_markdown", "write_history_pages"]
