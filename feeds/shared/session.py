"""The HTTP side: one connection pool per client that bounds bodies, stays on its host and keeps no cookies."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from functools import cache
from typing import Any

import aiohttp
import certifi
from aiohttp.client_middlewares import ClientHandlerType, ClientMiddlewareType

from feeds.base import BadReply
from feeds.network_guard import local_socket, name_the_host, public_socket

BODY_BYTES = 32 * 1024 * 1024  # decompressed; the largest real list (binance exchangeInfo) is about 14 MB
CONNECTIONS = 8  # a poll has one to four requests under way
REDIRECTS = frozenset({301, 302, 303, 307, 308})


def open_session(
    ca_file: str,
    *before: ClientMiddlewareType,
    public_only: bool = False,
    connections: int = CONNECTIONS,
) -> aiohttp.ClientSession:
    """Returns a session; call it inside the loop. With `public_only` it makes no connection into a private network."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            ssl=tls(ca_file),
            limit=connections,
            happy_eyeballs_delay=0,
            socket_factory=public_socket if public_only else local_socket,
        ),
        response_class=BoundedResponse,
        middlewares=(*before, stay_on_host, name_the_host),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


@cache
def tls(ca_file: str) -> ssl.SSLContext:
    """Returns a shared TLS context: reading the bundle takes 15 ms and 1 MB."""
    return ssl.create_default_context(cafile=ca_file or certifi.where())


class BoundedResponse(aiohttp.ClientResponse):
    """A response that gives up on a body larger than BODY_BYTES after decompression, and reads text as UTF-8."""

    async def read(self) -> bytes:
        if self._body is None:
            self._body = await self._read_bounded()
        return await super().read()

    def get_encoding(self) -> str:
        return "utf-8"

    async def _read_bounded(self) -> bytes:
        body = bytearray()
        try:
            async for chunk in self.content.iter_any():
                body += chunk
                if len(body) > BODY_BYTES:
                    raise BadReply(f"body larger than {BODY_BYTES} bytes", status=self.status)
        except BaseException:  # also when the call is cancelled: nobody reads the rest of the body
            self.close()
            raise
        return bytes(body)


async def stay_on_host(request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
    """Refuses a redirect to another host or scheme or into our own network; an exchange may move a path."""
    response = await handler(request)
    if response.status in REDIRECTS:
        _refuse_foreign(request, response.headers, response)
    return response


def _refuse_foreign(request: aiohttp.ClientRequest, headers: Mapping[str, str], response: Any) -> None:
    location = headers.get("Location", "")
    try:
        target = request.url.join(type(request.url)(location)).origin()
    except ValueError:
        target = None
    if target != request.url.origin():
        status = response.status
        response.close()
        raise BadReply(f"redirected from {request.url.host} to {location[:100]!r}; not followed", status=status)
