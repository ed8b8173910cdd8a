"""What every sender shares: an address in its parts, the outcome of one try, and a guarded HTTP request.

HTTP cannot be exactly once. A request whose answer was lost is `unconfirmed`, which is neither good nor failed.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
from django.conf import settings

from feeds.base import FeedError
from feeds.network_guard import PrivateAddress
from feeds.shared.session import open_session
from incidents.messages import AlertMessage
from web.redaction import HIDDEN, clean_text

TIMEOUT = aiohttp.ClientTimeout(total=15, connect=5, sock_connect=5, sock_read=10)  # a claim lasts 30 s
EXCERPT_CHARACTERS = 200
BODY_BYTES = 2000
TELLING_CHARACTERS = 8  # a shorter part of an address opens nothing
REFUSED = frozenset({400, 401, 403, 404, 405, 410, 413, 415, 422})  # to ask again changes nothing

Address = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SendOutcome:
    """What one try came to. `is_final`: no other try can succeed."""

    is_good: bool
    said: str = ""
    status: int | None = None
    elapsed_ms: int | None = None
    is_unconfirmed: bool = False
    is_final: bool = False


Send = Callable[[AlertMessage, Address], Awaitable[SendOutcome]]


async def post(
    url: str,
    *,
    json: Any = None,
    data: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    secrets: tuple[str, ...] = (),
) -> SendOutcome:
    """Posts once, follows no redirect and connects to no address that it may not; secrets are in no outcome."""
    began = time.monotonic()
    try:
        outcome = await _post(url, json=json, data=data, headers=dict(headers or {}))
    except PrivateAddress as error:
        outcome = SendOutcome(is_good=False, said=_refused(error), is_final=True)
    except FeedError as error:  # the session's own: a redirect to another host, a body without end
        outcome = SendOutcome(is_good=False, said=str(error), status=error.status)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
        outcome = SendOutcome(is_good=False, said=f"not connected: {error}")
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        said = f"no answer to what was sent: {type(error).__name__} {error}".strip()
        outcome = SendOutcome(is_good=False, said=said, is_unconfirmed=True)
    elapsed_ms = round((time.monotonic() - began) * 1000)
    return SendOutcome(
        is_good=outcome.is_good,
        said=hide(outcome.said, (url, *_telling_parts(url), *secrets)),
        status=outcome.status,
        elapsed_ms=elapsed_ms,
        is_unconfirmed=outcome.is_unconfirmed,
        is_final=outcome.is_final,
    )


async def _post(url: str, *, json: Any, data: bytes | None, headers: Mapping[str, str]) -> SendOutcome:
    async with (
        open_session("", public_only=not settings.ALLOW_PRIVATE_ALERT_URLS, connections=1) as session,
        session.post(
            url, json=json, data=data, headers={"User-Agent": "marketmon", **headers}, timeout=TIMEOUT,
            allow_redirects=False,
        ) as response,
    ):  # fmt: skip
        body = (await response.content.read(BODY_BYTES)).decode("utf-8", "replace")
        if 300 <= response.status < 400:
            return SendOutcome(is_good=False, said="it redirects, which is not followed", status=response.status)
        is_good = 200 <= response.status < 300
        return SendOutcome(
            is_good=is_good, said=body, status=response.status, is_final=response.status in REFUSED and not is_good
        )


def _refused(error: PrivateAddress) -> str:
    return (
        f"{str(error).partition(', which')[0]}, which is no public address: not connected. "
        "ALLOW_PRIVATE_ALERT_URLS=1 permits private ones."
    )


def _telling_parts(url: str) -> tuple[str, ...]:
    """Returns the parts of an address that may give access: a receiver may answer with the path that it was asked."""
    parts = urlsplit(url)
    asked = f"{parts.path}?{parts.query}" if parts.query else parts.path
    words = [*parts.path.split("/"), *(value for _, value in parse_qsl(parts.query))]
    return (asked.strip("/"), *(word for word in words if len(word) >= TELLING_CHARACTERS))


def hide(text: str, secrets: tuple[str, ...]) -> str:
    """Returns the beginning of a text without any of the secrets."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return clean_text(text[:BODY_BYTES])[:EXCERPT_CHARACTERS]
