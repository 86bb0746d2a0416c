"""The `content` of a message as written in, its parts as they go on the wire and what is text in them out."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from tempzero.suites.prompt_files import Place, describe_value, require_known_keys

LARGEST_IMAGE_BYTES = 5_000_000
_FORMS = "{type: text, text: ...}, {type: image, file: ...} or {type: image, url: https://...}"
_MEDIA_TYPES = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg", b"GIF87a": "gif", b"GIF89a": "gif"}
_IMAGE_URL = re.compile(r"https?://\S+|data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/]+={0,2}")
_DETAILS = ("auto", "low", "high")


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """`text` is what is text in it, a line for each part; `parts` stand in its place on the wire."""

    text: str
    parts: tuple[Mapping[str, Any], ...] = ()


def parse_content_parts(items: list[Any], place: Place) -> Content:
    """A content that is a list of parts. Raises SuiteProblem."""
    if not items:
        place.refuse(f"expected text, or a list of parts such as {_FORMS}; found an empty list")
    parts = tuple(_parse_part(item, place.inside(index)) for index, item in enumerate(items))
    return Content(text="\n".join(part["text"] for part in parts if part["type"] == "text"), parts=parts)


def _parse_part(item: Any, place: Place) -> Mapping[str, Any]:
    kind = item.get("type") if isinstance(item, dict) else None
    if kind == "text":
        fields = require_known_keys(item, ("type", "text"), place)
        return {"type": "text", "text": _require_text(fields.get("text"), place.inside("text"))}
    if kind == "image_url":
        fields = require_known_keys(item, ("type", "image_url"), place)
        at = place.inside("image_url")
        shown = require_known_keys(fields.get("image_url"), ("url", "detail"), at)
        return _build_image_part(_require_url(shown.get("url"), at.inside("url")), shown.get("detail"), at)
    if kind == "image":
        fields = require_known_keys(item, ("type", "file", "url", "detail"), place)
        if ("file" in fields) == ("url" in fields):
            place.refuse("expected one of file and url")
        url = (
            _read_image(fields["file"], place.inside("file"))
            if "file" in fields
            else _require_url(fields["url"], place.inside("url"))
        )
        return _build_image_part(url, fields.get("detail"), place)
    place.refuse(f"expected {_FORMS}; found {describe_value(item) if kind is None else f'type {kind!r:.40}'}")


def _build_image_part(url: str, detail: Any, place: Place) -> Mapping[str, Any]:
    if detail is None:
        return {"type": "image_url", "image_url": {"url": url}}
    if detail not in _DETAILS:
        place.inside("detail").refuse(f"expected one of {', '.join(_DETAILS)}; found {detail!r:.40}")
    return {"type": "image_url", "image_url": {"url": url, "detail": detail}}


def _read_image(name: Any, place: Place) -> str:
    """A picture beside the prompt file, as the address that holds it whole: what is asked depends on no other file."""
    path = place.file.parent / _require_text(name, place)
    try:
        data = path.read_bytes()
    except OSError as problem:
        place.refuse(f"{path}: cannot be read: {problem.strerror}")
    if len(data) > LARGEST_IMAGE_BYTES:
        place.refuse(f"{path}: {len(data):,} bytes; at most {LARGEST_IMAGE_BYTES:,} go into a request")
    webp = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    kind = "webp" if webp else next((kind for start, kind in _MEDIA_TYPES.items() if data.startswith(start)), None)
    if kind is None:
        place.refuse(f"{path}: is no PNG, JPEG, GIF or WebP picture")
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _require_url(value: Any, place: Place) -> str:
    if not isinstance(value, str) or not _IMAGE_URL.fullmatch(value):
        _refuse_url(value, place)
    return value


def _refuse_url(value: Any, place: Place) -> NoReturn:
    found = f"{value!r:.40}" if isinstance(value, str) else describe_value(value)
    place.refuse(f"expected an address (https://...) or data:image/png;base64,...; found {found}")


def _require_text(value: Any, place: Place) -> str:
    if not isinstance(value, str) or not value:
        place.refuse(f"expected text; found {describe_value(value)}")
    return value
