"""The filled page in, the same as HTML out: one file that loads and runs nothing."""

from __future__ import annotations

import html
import re

_HEAD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Claim</title>
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>:root{color-scheme:light dark}body{max-width:50rem;margin:2rem auto;padding:0 1rem;font:1rem/1.5 sans-serif}
h2{border-top:1px solid #8886;padding-top:.6rem}li{margin-left:1rem;overflow-wrap:anywhere}
pre,code{font-size:.85em;background:#8882;overflow-wrap:anywhere;white-space:pre-wrap}
pre{margin:0;padding:0 .4rem}</style>
"""
_TAG_BY_MARKER = (("# ", "h1"), ("## ", "h2"), ("- ", "li"), ("    ", "pre"), ("(?=[^<])", "p"))


def to_html(markdown: str) -> str:
    """Escaped text in a few kinds of lines."""
    body = html.escape(markdown)
    for marker, tag in _TAG_BY_MARKER:
        body = re.sub(f"^{marker}(.+)$", rf"<{tag}>\1</{tag}>", body, flags=re.MULTILINE)
    return _HEAD + re.sub(r"`([^`\n]*)`", r"<code>\1</code>", body)
