"""The entry point that granian serves: Django's WSGI application behind our gateway, and INTERNAL_PORT beside it."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor

from django.conf import settings
from django.db import connection
from django.urls import get_resolver

from lib import process, starting
from marketmon import servers
from marketmon.wsgi import application as wsgi
from web import silent_connections
from web.admission import ROOMS
from web.answering_process import AnsweringProcess
from web.internal import PublicGateway

SWITCH_SECONDS = 0.001  # a probe waits for so long for each thread that hands out a status, and not Python's 5 ms


class WebProcess(PublicGateway):
    """The gateway of a process that says that it lives: from when granian serves it, not from its import."""

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._other = _fork()
        self.answer_beside(self._other)
        sys.setswitchinterval(SWITCH_SECONDS)
        with ThreadPoolExecutor(1) as once:  # Django refuses its database to a thread with a running loop
            once.submit(_begin).result()
        super().__rsgi_init__(loop)

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__rsgi_del__(loop)
        self._other.close()


def _fork() -> AnsweringProcess:
    """Returns the process that answers beside this one, with everything loaded that both of them need."""
    _ = get_resolver().url_patterns
    threads = sum(room.threads for room in ROOMS if room.is_beside)
    return AnsweringProcess(wsgi, threads=threads * (2 if settings.INTERNAL_PORT else 1))


def _begin() -> None:
    starting.wait()
    servers.require()
    process.begin("web")
    silent_connections.watch()
    connection.close()


application = WebProcess(wsgi)
