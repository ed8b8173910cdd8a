"""Receivers that really listen, HTTP and SMTP, each in a thread of its own; and a notifier that runs against them."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from typing import Any
from unittest.mock import patch

from aiohttp import web
from aiosmtpd.controller import Controller

from incidents.notifier import Notifier


@dataclass(slots=True)
class Received:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class HttpReceiver:
    """What came, and how it is answered: a status, and before that so many seconds."""

    url: str = ""
    status: int = 200
    seconds: float = 0.0
    location: str = ""
    echoes: bool = False  # answers with all that was sent
    got: list[Received] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        self.got.append(Received(request.path, dict(request.headers), await request.read()))
        await asyncio.sleep(self.seconds)
        headers = {"Location": self.location} if self.location else {}
        text = f"{self.got[-1]} {request.url}" if self.echoes else "thanks"
        return web.Response(status=self.status, text=text, headers=headers)


@contextmanager
def http_receiver() -> Iterator[HttpReceiver]:
    receiver, loop, is_up = HttpReceiver(), asyncio.new_event_loop(), threading.Event()

    async def start() -> web.AppRunner:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", receiver.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        return runner

    def serve() -> None:
        runner = loop.run_until_complete(start())
        is_up.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    is_up.wait(5)
    try:
        yield receiver
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)


class Mailbox:
    """An SMTP server's mails."""

    def __init__(self) -> None:
        self.mails: list[Message] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append(message_from_bytes(envelope.content))
        return "250 OK"


@contextmanager
def mail_server() -> Iterator[tuple[str, Mailbox]]:
    box = Mailbox()
    with http_receiver() as free:  # a port that is free; aiosmtpd wants to know it before
        port = int(free.url.split(":")[2].split("/")[0])
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield f"smtp+plain://127.0.0.1:{port}", box
    finally:
        controller.stop()


class AskingThisThread(Executor):
    """Has the database asked by the test's own thread, so that the test's transaction is seen."""

    def __init__(self) -> None:
        self.calls: queue.Queue[tuple[Future[Any], Callable[[], Any]] | None] = queue.Queue()

    def submit(self, function: Callable[..., Any], /, *values: Any, **named: Any) -> Future[Any]:
        done: Future[Any] = Future()
        self.calls.put((done, lambda: function(*values, **named)))
        return done

    def answer(self) -> None:
        """Answers until the notifier is done."""
        while (call := self.calls.get(timeout=30)) is not None:
            done, function = call
            try:
                done.set_result(function())
            except Exception as error:
                done.set_exception(error)


def send_due() -> None:
    """Runs a notifier until nothing is due and nothing is under way."""
    database = AskingThisThread()

    async def send() -> None:
        notifier = Notifier(database)  # type: ignore[arg-type]
        while await notifier.turn():
            pass
        await notifier.finish(5)

    def run() -> None:
        try:
            asyncio.run(send())
        finally:
            database.calls.put(None)

    with patch("incidents.notifier.close_old_connections"):  # it would end the test's transaction
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        database.answer()
        thread.join(5)
