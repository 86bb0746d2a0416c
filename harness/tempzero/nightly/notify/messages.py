"""A Notice in, its words and the payloads of several services out. Model output in it can act on none of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

from tempzero.nightly.history import Notice
from tempzero.reports.visible import shorten_text, to_one_line

MessageForm = Literal["json", "slack", "discord"]
FORMAT = 1
# Discord refuses more than 2,000 characters; Slack cuts at 40,000 and advises 4,000.
_MOST_CHARS = {"json": 3500, "slack": 3500, "discord": 1900}
_EXCERPT_CHARS = 160


def message_text(notice: Notice) -> str:
    """The message as plain text."""
    lines = [f"tempzero, night of {notice.night}: {notice.title}", *(f"- {d}" for d in notice.details)]
    for t in notice.telling:
        lines.append(f"- prompt {t.prompt}: before: {_short_excerpt(t.before)} | now: {_short_excerpt(t.now)}")
    return "\n".join([*map(to_one_line, lines), f"- run: {notice.run}"])


def build_payload(notice: Notice, form: MessageForm) -> dict[str, Any]:
    """The JSON that is posted."""
    text = shorten_text(message_text(notice), _MOST_CHARS[form])
    if form == "slack":
        # What a model wrote is shown as it is: no markup, no preview of a link in it.
        return {"text": _escape_for_slack(text), "mrkdwn": False, "unfurl_links": False, "unfurl_media": False}
    if form == "discord":
        # Nobody is called by a name that a model wrote; and what it wrote is not made into links or headings.
        return {"content": _escape_for_discord(text)[:2000], "allowed_mentions": {"parse": []}}
    return {
        "format": FORMAT,
        "id": notice.id,
        "night": notice.night,
        "run": notice.run,
        "provider": notice.provider,
        "kind": notice.kind,
        "title": notice.title,
        "text": text,
        "details": list(notice.details),
        "telling": [_telling_prompt_fields(t.prompt, t.excess, t.before, t.now) for t in notice.telling],
    }


def choose_form(url: str, form: str) -> MessageForm:
    """By what the entry says, else by the host."""
    if form in ("json", "slack", "discord"):
        return form  # type: ignore[return-value]
    host = urlsplit(url).hostname or ""
    if host == "hooks.slack.com":
        return "slack"
    return "discord" if host in ("discord.com", "discordapp.com") else "json"


def _telling_prompt_fields(prompt: str, excess: float, before: str, now: str) -> Mapping[str, Any]:
    return {"prompt": prompt, "excess": excess, "before": _short_excerpt(before), "now": _short_excerpt(now)}


def _short_excerpt(text: str) -> str:
    return to_one_line(shorten_text(text, _EXCERPT_CHARS)) if text else "(no text)"


def _escape_for_slack(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _escape_for_discord(text: str) -> str:
    return "".join(f"\\{c}" if c in "\\*_~`|>[]()#" else c for c in text).replace("://", ":\u200b//")
