"""The echo behind a gateway that lets a process beside it answer; for a real server in a process of its own."""

from __future__ import annotations

import asyncio
import ctypes
import os
from typing import Any

from tests.api.echo import echo
from web.answering_process import AnsweringProcess
from web.gateway import Gateway

HELD_SECONDS = 10


def application_beside(environ: dict[str, Any], start_response: Any) -> Any:
    """Echoes, says who answers, and at /hold keeps Python's lock as a library may that computes."""
    if environ["PATH_INFO"] == "/hold":
        ctypes.PyDLL(None).sleep(HELD_SECONDS)
    environ["answered_by"] = str(os.getpid())
    return echo(environ, start_response)


class Beside(Gateway):
    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.answer_beside(AnsweringProcess(application_beside, threads=4))
        super().__rsgi_init__(loop)


application = Beside(application_beside)
