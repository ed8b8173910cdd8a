"""Passes an exchange's requests, answers and frames on, and writes them down: a server of its own on this machine.

A client whose `base_url` is the recorder's reaches the exchange through it. No code on the way of a poll knows of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from itertools import count
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from feeds.base import FeedError, FeedSpec
from feeds.recordings import Recording
from feeds.shared.session import BODY_BYTES, open_session

CONNECTIONS = 64
# Of one connection only, or made anew by who passes the message on.
NOT_PASSED_ON = frozenset(
    [
        "connection",
        "content-encoding",
        "content-length",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "set-cookie",
        "sec-websocket-accept",
        "sec-websocket-extensions",
        "sec-websocket-key",
        "sec-websocket-protocol",
        "sec-websocket-version",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "accept-encoding",
        "cookie",
    ]
)


class Recorder:
    """A recorder of one exchange. Lives in one event loop; `start` returns the `base_url` to use instead."""

    def __init__(self, spec: FeedSpec, recording: Recording) -> None:
        self._spec = spec
        self._recording = recording
        self._numbers = count(1)
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Listens on a free port of the loopback interface."""
        self._session = open_session(self._spec.ca_file, public_only=self._spec.public_only, connections=CONNECTIONS)
        application = web.Application(client_max_size=BODY_BYTES)
        application.router.add_route("*", "/{place:.*}", self._pass_on)
        self._runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        place = request.raw_path.lstrip("/")
        if "upgrade" in request.headers.get("Connection", "").lower():
            return await self._pass_frames(request, place)
        return await self._pass_answer(request, place)

    def _address(self, place: str, scheme: str) -> URL:
        base = self._spec.base_url.rstrip("/")
        if not base:
            return URL(f"{scheme}://{place}", encoded=True)
        return URL(f"{base.replace('http', 'ws', 1) if scheme == 'wss' else base}/{place}", encoded=True)

    async def _pass_answer(self, request: web.Request, place: str) -> web.Response:
        assert self._session is not None
        sent, shown = await request.read(), f"https://{place}"
        try:
            async with self._session.request(
                request.method, self._address(place, "https"), data=sent or None, headers=_passed(request.headers),
                proxy=self._spec.proxy or None, allow_redirects=False,
            ) as response:  # fmt: skip
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError, FeedError) as error:
            # Nothing came: the client must see that, too, and not an answer of ours.
            self._recording.answer(
                request.method, shown, sent.decode(errors="replace"), status=0, headers={},
                body=f"{type(error).__name__}: {error}",
            )  # fmt: skip
            if request.transport is not None:
                request.transport.abort()
            raise web.HTTPBadGateway from error
        self._recording.answer(
            request.method, shown, sent.decode(errors="replace"), status=response.status, headers=response.headers,
            body=body.decode(errors="replace"),
        )  # fmt: skip
        return web.Response(status=response.status, body=body, headers=_passed(response.headers))

    async def _pass_frames(self, request: web.Request, place: str) -> web.StreamResponse:
        assert self._session is not None
        number = next(self._numbers)
        protocols = [each.strip() for each in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if each]
        try:
            theirs = await self._session.ws_connect(
                self._address(place, "wss"), headers=_passed(request.headers), protocols=protocols,
                proxy=self._spec.proxy or None, max_msg_size=BODY_BYTES, autoping=False,
            )  # fmt: skip
        except aiohttp.WSServerHandshakeError as refusal:
            self._recording.answer(
                "GET", f"wss://{place}", "", status=refusal.status, headers=refusal.headers or {}, body=refusal.message
            )
            return web.Response(status=refusal.status)
        ours = web.WebSocketResponse(autoping=False, max_msg_size=BODY_BYTES, protocols=protocols)
        await ours.prepare(request)
        self._recording.opened(number, f"wss://{place}")
        try:
            await self._both_ways(ours, theirs, number)
        finally:
            self._recording.closed(number)
            await theirs.close()
        return ours

    async def _both_ways(self, ours: web.WebSocketResponse, theirs: Any, number: int) -> None:
        ways = [
            asyncio.ensure_future(self._carry(ours, theirs, "sent", number)),
            asyncio.ensure_future(self._carry(theirs, ours, "got", number)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            await ours.close()

    async def _carry(self, source: Any, target: Any, kind: str, number: int) -> None:
        """Carries frames one way until the connection ends; pings and pongs are passed on and not recorded."""
        async for message in source:
            if message.type is aiohttp.WSMsgType.PING:
                await target.ping(message.data)
            elif message.type is aiohttp.WSMsgType.PONG:
                await target.pong(message.data)
            elif message.type is aiohttp.WSMsgType.TEXT:
                self._recording.frame(kind, number, message.data)
                await target.send_str(message.data)
            elif message.type is aiohttp.WSMsgType.BINARY:
                self._recording.frame(kind, number, message.data)
                await target.send_bytes(message.data)


def _passed(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in NOT_PASSED_ON}
