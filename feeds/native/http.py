"""One exchange's HTTP: asks permission before each request, keeps its pace, and refuses answers that are no data."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp

from feeds import errors
from feeds.base import BadReply, FeedError, FeedSpec
from feeds.loop import current_call
from feeds.shared.addresses import rebase
from feeds.shared.session import open_session
from lib import clock

REQUEST_SECONDS = 10.0  # one request's share of a longer deadline
BLANKS = " \t\r\n\ufeff"  # a byte order mark before JSON is none of its content
HEADERS = {"Accept": "application/json", "User-Agent": "marketmon"}

Headers = Mapping[str, str]
# What a venue says about an answer: the error that it is, or None for what its status alone decides.
Explain = Callable[[int, Headers, Any], FeedError | None]


class Pace:
    """A pause after each call on average; some calls may follow at once after a time of silence."""

    def __init__(self, pause_seconds: float, *, burst_calls: int) -> None:
        self._pause = pause_seconds
        self._burst_seconds = pause_seconds * (burst_calls - 1)
        self._free_at = 0.0

    async def wait(self) -> None:
        now = time.monotonic()
        begin = max(self._free_at, now - self._burst_seconds)
        self._free_at = begin + self._pause
        if begin <= now:
            return
        try:
            await asyncio.sleep(begin - now)
        except asyncio.CancelledError:
            self._free_at -= self._pause
            raise


class Http:
    def __init__(self, spec: FeedSpec, pace: Pace, explain: Explain) -> None:
        self._spec = spec
        self._pace = pace
        self._explain = explain
        self._session: aiohttp.ClientSession | None = None

    async def get(self, url: str, parameters: Mapping[str, Any] | None = None) -> Any:
        given = {name: str(value) for name, value in (parameters or {}).items() if value is not None}
        return await self._ask("GET", url, params=given)

    async def post(self, url: str, content: Any) -> Any:
        return await self._ask("POST", url, json=content)

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _ask(self, method: str, url: str, **request: Any) -> Any:
        await self._pace.wait()
        call = current_call.get()
        if call is not None:
            await call.ask_permission()
        status, headers, body = await self._send(method, url, request)
        if call is not None:
            call.note_answer(status, body, at=clock.unix(), headers=headers)
        return self._content(url, status, headers, body)

    async def _send(self, method: str, url: str, request: Mapping[str, Any]) -> tuple[int, Headers, str]:
        if self._session is None:
            self._session = open_session(self._spec.ca_file, public_only=self._spec.public_only)
        address = rebase(url, self._spec.base_url.rstrip("/")) if self._spec.base_url else url
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        proxy = self._spec.proxy or None
        async with self._session.request(
            method, address, timeout=timeout, proxy=proxy, headers=HEADERS, **request
        ) as response:
            return response.status, response.headers, (await response.text(errors="replace")).strip(BLANKS)

    def _content(self, url: str, status: int, headers: Headers, body: str) -> Any:
        content, fault = _decoded(body)
        explained = self._explain(status, headers, content)
        if explained is not None:
            explained.status, explained.excerpt = status, errors.redact(body[:500])
            raise explained
        if status >= 300:
            raise errors.from_status(status, reason="", url=url, body=body, headers=headers, now=clock.unix())
        if fault:
            raise BadReply(f"{self._spec.exchange_id} answered {status} with {fault}", status=status, excerpt=body)
        return content


def _decoded(body: str) -> tuple[Any, str]:
    """Returns the content, or why there is none. NaN is let through: it may be one row's fault."""
    if not body or body == "null":
        return None, "an empty body"
    if body[0] == "<":
        return None, "HTML instead of JSON"
    try:
        return json.loads(body), ""
    except (ValueError, RecursionError) as error:
        return None, f"broken JSON: {error}"[:200]
