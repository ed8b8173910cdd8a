"""The second listener, INTERNAL_PORT: what programs inside the network ask of us, without a token.

It is part of the web process, on an address that no proxy leads to. Only the probes and the metrics webhook's routes
are there; what came in here says so in its environ, where no header of a caller's can be.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import re
import socket
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from django.conf import settings
from django.http.request import split_domain_port, validate_host
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server

from web.answering_process import AnsweringProcess, Application, Environ
from web.gateway import Gateway, GatewayRefusal, environ_of, own_path, refuse

MARK = "marketmon.internal"
PATHS = re.compile(r"/(health|live|ready|metrics|regime|grids)(/|$)")
HEADER_MILLISECONDS = 10_000
STOP_SECONDS = 2.0  # of the four that the web is given
NOT_HERE = GatewayRefusal(404, "INTERNAL_PORT serves /health, /live, /ready, /metrics, /regime and /grids.")


class InternalPortTaken(RuntimeError):
    """INTERNAL_PORT cannot be listened on; the web does not start without what it was told to serve."""


def is_internal(meta: Mapping[str, Any]) -> bool:
    return MARK in meta


def is_name_inside(meta: Mapping[str, Any]) -> bool:
    """Says whether a caller asked for a name that only the inside knows: an address, a name without a dot, or one of
    ALLOWED_HOSTS. Any page could let a name of its own lead here, and read on in a visitor's browser."""
    host, _ = split_domain_port(meta.get("HTTP_HOST", ""))
    return ("." not in host and ":" not in host) or _is_address(host) or validate_host(host, settings.ALLOWED_HOSTS)


def _is_address(host: str) -> bool:
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


class InternalGateway(Gateway):
    """A gateway to the same application for the routes of the inside."""

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        if not PATHS.match(own_path(scope.path)):
            return refuse(protocol, scope, NOT_HERE)
        return await super().__rsgi__(scope, protocol)

    def _environ(self, scope: Any) -> Environ:
        return {**environ_of(scope), MARK: True}


class PublicGateway(Gateway):
    """The gateway of the web, which opens the second listener beside its own where there shall be one."""

    def __init__(self, application: Application) -> None:
        super().__init__(application)
        self._inside = InternalGateway(application)
        self._server: Server | None = None
        self._serving: asyncio.Task[None] | None = None

    def answer_beside(self, process: AnsweringProcess) -> None:
        super().answer_beside(process)
        self._inside.answer_beside(process)

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__rsgi_init__(loop)
        if settings.INTERNAL_PORT:
            _require_free(settings.INTERNAL_ADDRESS, settings.INTERNAL_PORT)
            logging.getLogger("_granian").addFilter(_is_news)
            self._server = self._second_server()
            self._serving = loop.create_task(self._server.serve())

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Ends the second server, too: its threads would keep the process."""
        if self._server is not None and self._serving is not None:
            self._server.stop()  # type: ignore[no-untyped-call]
            with contextlib.suppress(TimeoutError):
                loop.run_until_complete(asyncio.wait_for(self._serving, STOP_SECONDS))
        super().__rsgi_del__(loop)

    def _second_server(self) -> Server:
        return Server(
            self._inside,
            address=settings.INTERNAL_ADDRESS,
            port=settings.INTERNAL_PORT,
            interface=Interfaces.RSGI,
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(header_read_timeout=HEADER_MILLISECONDS),
            websockets=False,
            log_level=LogLevels.warning,
        )


def _is_news(record: logging.LogRecord) -> bool:
    """Leaves out that a server which is embedded is an experiment: tests/lab/test_internal_port.py has tried it."""
    return "experimental" not in record.getMessage()


def _require_free(address: str, port: int) -> None:
    """Raises InternalPortTaken: granian would only log it, in the middle of a start."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # with other workers of ours, as granian does
        try:
            probe.bind((address, port))
        except OSError as error:
            reason = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
            raise InternalPortTaken(f"INTERNAL_PORT={port} on {address} {reason}") from None
