"""The page to look at a model, as files that any server can hand out; it needs nothing from elsewhere."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import NamedTuple

__all__ = ["Asset", "page_asset"]

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_PARTS = ("page.css", "page.js", "calls.js", "filters.js", "items.js", "pieces.js", "icon.svg")
_PATHS = {"/": "index.html", **{f"/page/{name}": name for name in _PARTS}}
# Pictures come from wherever the table of items says; everything else from this server.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' http: https: data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Asset(NamedTuple):
    """A file of the page: its bytes and all headers that its answer has, ``content-length`` apart."""

    body: bytes
    headers: dict[str, str]


@cache
def page_asset(path: str) -> Asset | None:
    """The file of the page at a path such as ``/`` or ``/page/page.css``; None for every other path."""
    if path not in _PATHS:
        return None
    name = _PATHS[path]
    body = files("cofactor.serve").joinpath("static", name).read_bytes()
    headers = {
        "content-type": _TYPES[name.rsplit(".", 1)[1]],
        "content-security-policy": _POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-cache",
        "etag": f'"{hashlib.sha256(body).hexdigest()[:32]}"',
    }
    return Asset(body, headers)
