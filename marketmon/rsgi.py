"""The entry point that granian serves: Django's WSGI application behind our gateway, and INTERNAL_PORT beside it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from django.db import connection

from lib import process, starting
from marketmon import servers
from marketmon.wsgi import application as wsgi
from web import silent_connections
from web.internal import PublicGateway


class WebProcess(PublicGateway):
    """The gateway of a process that says that it lives: from when granian serves it, not from its import."""

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        with ThreadPoolExecutor(1) as once:  # Django refuses its database to a thread with a running loop
            once.submit(_begin).result()
        super().__rsgi_init__(loop)


def _begin() -> None:
    starting.wait()
    servers.require()
    process.begin("web")
    silent_connections.watch()
    connection.close()


application = WebProcess(wsgi)
