"""A process beside the gateway's that runs the application, for all requests that nobody else shall have to wait for.

Python threads share one lock: whoever computes, or calls a library that keeps the lock, holds up all others of its
process. So the probes are answered by the process that the server runs in, and what may be dear by this one. It is
forked before the server begins, shares the loaded program's memory, and is handed requests as WSGI's environ.

A keeper between the two forks it again when it has ended, and ends it when it stands still. Both end with the gateway.
"""

from __future__ import annotations

import ctypes
import gc
import io
import marshal
import mmap
import os
import signal
import socket
import stat
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, NoReturn

import structlog

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

ANSWER_SECONDS = 120.0  # more than any time limit of a view, of a statement and of who is asked outside
STILL_SECONDS = 45.0  # as lib.liveness: a loop goes round in a second
LOOK_SECONDS = 0.5
AGAIN_SECONDS = 0.5
LENGTH = struct.Struct("=Q")
STANDARD_FILES = 3
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG

log: Any = structlog.get_logger(__name__)


class WholeAnswer(NamedTuple):
    """An answer of the application, with its status and headers as the server wants them."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class NoAnswer(Exception):
    """The end of a request whose process has ended, or did not answer in time; what it did is not known."""


class AnsweringProcess:
    """The other process, as the gateway sees it."""

    def __init__(self, application: Application, *, threads: int) -> None:
        """Forks. To be called while this process has one thread, and before it serves anybody."""
        gc.collect()
        gc.freeze()  # what is loaded lives as long as the process: neither walks through it again, and both share it
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if not os.fork():
            self._requests.close()
            _keep(theirs, application, threads)
        theirs.close()

    def answer(self, environ: Environ, body: bytes) -> WholeAnswer:
        """Returns the application's answer. Raises NoAnswer."""
        ours, theirs = socket.socketpair()
        with ours:
            ours.settimeout(ANSWER_SECONDS)
            with theirs:
                self._hand_over(theirs)
            try:
                _send(ours, (environ, body))
                return WholeAnswer(*_received(ours))
            except (OSError, EOFError) as error:
                raise NoAnswer(str(error)) from error

    def _hand_over(self, connection: socket.socket) -> None:
        try:
            socket.send_fds(self._requests, [b"\0"], [connection.fileno()])
        except OSError as error:  # the keeper has gone, too: whoever started this process starts all three anew
            log.critical("process_ended", reason=f"nobody answers any more: {error}")
            os.kill(os.getpid(), signal.SIGKILL)

    def close(self) -> None:
        """Ends the other process."""
        self._requests.close()


# --- the keeper -----------------------------------------------------------------------------------------------------


def _keep(requests: socket.socket, application: Application, threads: int) -> NoReturn:
    """Runs the process that answers, again and again until the gateway has ended."""
    try:
        _leave_the_server(requests)
        life = mmap.mmap(-1, mmap.PAGESIZE)
        while True:
            _note(life)
            child = os.fork()
            if not child:
                _serve(requests, application, threads, life)
            if not (code := _watched(child, life)):
                os._exit(0)
            log.critical("answering_process_ended", code=code)
            time.sleep(AGAIN_SECONDS)
    finally:
        os._exit(1)


def _leave_the_server(requests: socket.socket) -> None:
    """Lets go of what is the server's: its signals, and its sockets, which others could not open while we hold them.

    They are replaced and not closed: their numbers belong to objects that would close whatever had them next.
    """
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to the whole group; the gateway's end is ours
        signal.signal(number, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDWR)
    for file in range(STANDARD_FILES, nothing):
        if file != requests.fileno() and _is_socket(file):
            os.dup2(nothing, file)


def _is_socket(file: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(file).st_mode)
    except OSError:
        return False


def _watched(child: int, life: mmap.mmap) -> int:
    """Waits until the process has ended, and ends one that stands still. Returns its exit code."""
    while True:
        looked_at = time.monotonic()
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(LOOK_SECONDS)
        if time.monotonic() - looked_at > STILL_SECONDS / 9:  # we stood still ourselves, and it may have as well
            _note(life)
        elif time.monotonic() - struct.unpack_from("=d", life)[0] > STILL_SECONDS:
            os.kill(child, signal.SIGKILL)


def _note(life: mmap.mmap) -> None:
    struct.pack_into("=d", life, 0, time.monotonic())


# --- the process that answers ---------------------------------------------------------------------------------------


def _serve(requests: socket.socket, application: Application, threads: int, life: mmap.mmap) -> NoReturn:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    for number in range(threads):
        threading.Thread(target=_work, args=(requests, application), name=f"answer_{number}", daemon=True).start()
    while True:
        _note(life)
        time.sleep(LOOK_SECONDS)


def _work(requests: socket.socket, application: Application) -> None:
    while True:
        _, files, *_ = socket.recv_fds(requests, 1, 1)
        if not files:  # the gateway has closed its end
            os._exit(0)
        with socket.socket(fileno=files[0]) as gateway:
            try:
                environ, body = _received(gateway)
                _send(gateway, tuple(whole(application, environ, body)))
            except (OSError, EOFError):
                pass  # the gateway has given up
            except Exception:
                log.exception("request_not_answered")  # its connection is closed, which the gateway sees


def whole(application: Application, environ: Environ, body: bytes) -> WholeAnswer:
    """Returns what the application answers, all of it."""
    started: tuple[int, list[tuple[str, str]]] = (500, [])

    def start_response(status: str, headers: list[tuple[str, str]], *_: object) -> None:
        nonlocal started
        started = int(status[:3]), headers

    environ |= {"wsgi.input": io.BytesIO(body), "wsgi.errors": sys.stderr}
    response = application(environ, start_response)
    try:
        return WholeAnswer(*started, b"".join(response))
    finally:
        close = getattr(response, "close", None)
        if close is not None:
            close()


# --- between the two ------------------------------------------------------------------------------------------------


def _send(connection: socket.socket, values: Any) -> None:
    packed = marshal.dumps(values)
    connection.sendall(LENGTH.pack(len(packed)))
    connection.sendall(packed)


def _received(connection: socket.socket) -> Any:
    """Returns what the other side has sent. Raises EOFError when it went before."""
    with connection.makefile("rb") as stream:
        length = stream.read(LENGTH.size)
        if len(length) < LENGTH.size:
            raise EOFError("the other side has ended")
        # A pair of sockets has no name: nobody but the two processes has ever held it.
        return marshal.loads(stream.read(LENGTH.unpack(length)[0]))  # noqa: S302
