"""Notices in, messages delivered out: each to each channel once; what fails is recorded and tried again next time."""

from __future__ import annotations

import hashlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tempzero.config import Notify, Webhook
from tempzero.nightly.history import Notice
from tempzero.nightly.notify.messages import build_payload, choose_form, message_text
from tempzero.records.files import write_atomically

TIMEOUT_S = 10.0
_PAUSES_S = (0.5, 2.0)
_LONGEST_ANSWER = 200
_LONGEST_WAIT_S = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class DeliveryFailure:
    """Why a message did not arrive; never with the URL, which is a secret."""

    reason: str
    final: bool = False
    wait_s: float = 0.0


def deliver_notices(
    settings: Notify, due: Sequence[Notice], delivered: Path, *, environ: Mapping[str, str]
) -> tuple[str, ...]:
    """Send what has not been sent; give a line for each channel that failed. Never raises for a channel's failure.

    `delivered` holds a file for each message and channel: what became of it. A kill between sending and writing it
    sends the message twice, with the same id; never not at all.
    """
    problems: list[str] = []
    for channel, send in _list_channels(settings, environ):
        for notice in due:
            record = delivered / f"{_delivery_file_stem(notice.id, channel)}.json"
            before = _read_delivery(record)
            if before.get("delivered"):
                continue
            failed = send(notice)
            _write_delivery(record, notice, channel, failed, int(before.get("tries", 0)) + 1)
            if failed is not None:
                problems.append(f"{channel}: {notice.id} not delivered: {failed.reason}; it is tried again next time")
    return tuple(problems)


def _list_channels(settings: Notify, environ: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    for hook in settings.webhooks:
        url = environ.get(hook.url_env, "").strip()
        yield f"webhook {hook.url_env}", (lambda notice, hook=hook, url=url: _send_webhook(hook, url, notice))
    for variable in settings.apprise_env:
        url = environ.get(variable, "").strip()
        yield f"apprise {variable}", (lambda notice, url=url, name=variable: _send_apprise(name, url, notice))


def _send_webhook(hook: Webhook, url: str, notice: Notice) -> DeliveryFailure | None:
    if not url.startswith(("http://", "https://")):
        return DeliveryFailure(reason=f"environment variable {hook.url_env} is not set to a URL")
    body = json.dumps(build_payload(notice, choose_form(url, hook.form))).encode()
    failed: DeliveryFailure | None = None
    for pause_s in (0.0, *_PAUSES_S):
        time.sleep(max(pause_s, failed.wait_s if failed is not None else 0.0))
        failed = _post_once(url, body)
        if failed is None or failed.final:
            break
    return failed


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A webhook that moves is not followed: the body would go where nobody has configured it to."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _post_once(url: str, body: bytes) -> DeliveryFailure | None:
    headers = {"Content-Type": "application/json", "User-Agent": "tempzero"}
    try:
        request = urllib.request.Request(url, body, headers, method="POST")
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT_S) as answer:
            answer.read(_LONGEST_ANSWER)
            return None
    except urllib.error.HTTPError as error:
        with error:
            final = error.code not in (408, 425, 429) and error.code < 500
            return DeliveryFailure(
                reason=f"HTTP {error.code}", final=final, wait_s=_requested_wait_s(error.headers["Retry-After"])
            )
    except urllib.error.URLError as error:
        return DeliveryFailure(reason=f"no connection ({type(error.reason).__name__})")
    except (OSError, ValueError) as error:
        return DeliveryFailure(reason=f"no answer ({type(error).__name__})")


def _requested_wait_s(header: str | None) -> float:
    """Slack takes one message a second, Discord some more; both say how long to wait, in seconds."""
    try:
        return min(max(0.0, float(header or 0)), _LONGEST_WAIT_S)
    except ValueError:
        return 0.0


def _send_apprise(variable: str, url: str, notice: Notice) -> DeliveryFailure | None:
    if not url:
        return DeliveryFailure(reason=f"environment variable {variable} is not set")
    try:
        import apprise  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return DeliveryFailure(reason="Apprise is not installed; pip install 'tempzero[apprise]'")
    sender = apprise.Apprise()
    if not sender.add(url):
        return DeliveryFailure(reason=f"the value of {variable} is no URL that Apprise knows")
    told = sender.notify(title=notice.title, body=message_text(notice), body_format=apprise.NotifyFormat.TEXT)
    return None if told else DeliveryFailure(reason="Apprise could not deliver it")


def _delivery_file_stem(notice: str, channel: str) -> str:
    return f"{notice}.{hashlib.sha256(channel.encode()).hexdigest()[:8]}".replace("/", "_")


def _read_delivery(record: Path) -> dict[str, Any]:
    try:
        found = json.loads(record.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write_delivery(record: Path, notice: Notice, channel: str, failed: DeliveryFailure | None, tries: int) -> None:
    record.parent.mkdir(parents=True, exist_ok=True)
    said = {"id": notice.id, "channel": channel, "tries": tries, "delivered": failed is None}
    if failed is not None:
        said["reason"] = failed.reason
    write_atomically(record, (json.dumps(said, sort_keys=True) + "\n").encode())
