"""Resolves which venue a request is meant for, however the client was pointed at us."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from sandbox.exchange import CLONE

ENCODED_SCHEME = re.compile(r"https?%3a", re.IGNORECASE)
SCHEME = re.compile(r"(?:https?|wss?)://", re.IGNORECASE)


@dataclass(frozen=True)
class Target:
    """A target: `host` without port, `path` decoded, `query` as it came; `clone` is the name a clone is asked by."""

    clone: str | None
    host: str
    path: str
    query: str


def resolve(raw: str, host_header: str) -> Target:
    """Resolves `raw`, the request line's target.

    In this order: `http://host/…` (a proxy's), `/https://host/…` also percent-encoded, `/?url=https://host/…`,
    `/host/…` (rebased), and the Host header. A clone's name comes before.
    """
    if SCHEME.match(raw):
        return _split(None, raw)
    clone, rest = _without_clone(raw.lstrip("/"))
    if rest.startswith("?url="):
        rest = rest.removeprefix("?url=")
    if ENCODED_SCHEME.match(rest):
        rest = unquote(rest)
    if SCHEME.match(rest):
        return _split(clone, rest)
    if "." in rest.partition("?")[0].partition("/")[0]:
        return _split(clone, f"http://{rest}")
    return _split(clone, f"http://{host_header}/{rest}")


def _without_clone(rest: str) -> tuple[str | None, str]:
    first, _, others = rest.partition("/")
    return (first, others) if CLONE.fullmatch(first) else (None, rest)


def _split(clone: str | None, url: str) -> Target:
    parts = urlsplit(url)
    return Target(clone, parts.netloc.partition(":")[0].lower(), unquote(parts.path) or "/", parts.query)
