"""A provider in, whether its model is in the endpoint's own list out."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from tempzero.check.check_request import DEADLINE_S
from tempzero.config import Provider, expand_all_variables, expand_variables

_LARGEST_LIST_BYTES = 8 * 1024 * 1024


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect could carry the key elsewhere."""

    def redirect_request(self, *_: Any) -> None:
        return None


def look_up_model(provider: Provider, environ: Mapping[str, str]) -> str:
    """Is the model in the endpoint's own list?"""
    url = expand_variables(provider.base_url or "", environ) + "/models"
    headers = expand_all_variables(provider.extra_headers, environ)
    request = urllib.request.Request(url, headers={**headers, "accept": "application/json"})
    key = environ.get(provider.api_key_env or "", "").strip()
    if key:
        request.add_unredirected_header("authorization", f"Bearer {key}")
    handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
    if url.startswith("http:"):
        handlers.append(urllib.request.ProxyHandler({}))  # plain http goes direct, as the requests of a run do
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=DEADLINE_S) as response:
            listed = _parse_model_ids(json.loads(response.read(_LARGEST_LIST_BYTES)))
    except urllib.error.HTTPError as error:
        return f"no list (HTTP {error.code})"
    except (OSError, ValueError, RecursionError, http.client.HTTPException):
        return "no list"
    if not listed:
        return "no list"
    return "listed" if provider.model in listed else "not listed"


def _parse_model_ids(value: Any) -> set[str]:
    models = value.get("data", value.get("models")) if isinstance(value, dict) else value
    if not isinstance(models, list):
        return set()
    return {m["id"] for m in models if isinstance(m, dict) and isinstance(m.get("id"), str)}
