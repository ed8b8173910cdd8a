"""Runs children in one thread: passes their output on, restarts what dies, stops all in order."""

from __future__ import annotations

import contextlib
import selectors
import signal
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from embedded.child import Child, Spec, StopSequence
from embedded.output import LogFile, SupervisorLog, Terminal
from embedded.process import reason_of

TURN_SECONDS = 0.5
ONE_WISH_SECONDS = 0.3
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ProcessGroup:
    """The children and the loop that looks after them; `turn()` is one round, and everything that waits turns."""

    def __init__(self, logs: Path, terminal: Terminal) -> None:
        self.terminal = terminal
        self.stop_requests = 0
        self.children: dict[str, Child] = {}
        self._stop_requested_at = float("-inf")
        self._former_handlers: dict[signal.Signals, Any] = {}
        self._logs = logs
        self._journal = SupervisorLog(LogFile(logs / "supervisor.log"))
        self._selector = selectors.DefaultSelector()
        self._wake_receiver, self._wake_sender = socket.socketpair()

    def __enter__(self) -> Self:
        for end in (self._wake_receiver, self._wake_sender):
            end.setblocking(False)
        self._selector.register(self._wake_receiver, selectors.EVENT_READ)
        signal.set_wakeup_fd(self._wake_sender.fileno(), warn_on_full_buffer=False)
        handlers: dict[signal.Signals, Callable[..., None]] = dict.fromkeys(STOP_SIGNALS, self._request_stop)
        if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # nohup
            del handlers[signal.SIGHUP]
        handlers[signal.SIGCHLD] = lambda *_: None  # only to wake the loop
        self._former_handlers = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(*([name] for name in reversed(self.children)))
        signal.set_wakeup_fd(-1)
        for number, handler in self._former_handlers.items():
            signal.signal(number, handler)
        self._journal.close()

    def _request_stop(self, *_: object) -> None:
        """Counts a request to stop. make and timeout signal us and our group: two at once are one request."""
        if time.monotonic() - self._stop_requested_at > ONE_WISH_SECONDS:
            self.stop_requests += 1
            self._stop_requested_at = time.monotonic()

    def start(self, spec: Spec, on_line: Callable[[str], None] | None = None) -> Child:
        log = LogFile(self._logs / f"{spec.name}.log")
        child = Child(spec, log, on_line or partial(self._show_line, spec))
        self.children[spec.name] = child
        self._spawn(child)
        return child

    def _show_line(self, spec: Spec, line: str) -> None:
        self.terminal.child_line(spec.name, line, expected=spec.expected_complaints)

    def turn(self, seconds: float = TURN_SECONDS) -> None:
        for key, _ in self._selector.select(self._patience(seconds)):
            if isinstance(key.data, Child):
                if not key.data.pump():
                    self._selector.unregister(key.fileobj)
            else:
                with contextlib.suppress(BlockingIOError):
                    self._wake_receiver.recv(1000)
        for child in list(self.children.values()):
            self._look_after(child)

    def turn_until(self, condition: Callable[[], bool], *, seconds: float, every: float = 0.02) -> bool:
        """Turns until the condition holds; returns False when time ran out or somebody wants to stop."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() >= deadline or self.stop_requests:
                return False
            self.turn(every)
        return True

    def finish(self, child: Child) -> int | None:
        """Waits for a child that runs once; returns its exit code, or None when we are asked to stop meanwhile."""
        while child.returncode is None and not self.stop_requests:
            self.turn()
        return child.returncode

    def forget(self, name: str) -> None:
        self.children.pop(name).log.close()

    def stop(self, *stages: Sequence[str]) -> None:
        """Stops the children stage by stage; a second request takes the short way."""
        self.terminal.muted = True
        for child in self.children.values():
            child.restart_at = None
        asked = self.stop_requests
        for names in stages:
            stage = [self.children[name] for name in names if name in self.children]
            self._stop_stage(stage, asked)
            for child in stage:
                self.forget(child.name)

    def _stop_stage(self, stage: Sequence[Child], asked: int) -> None:
        farewells = [StopSequence(child, child.spec.stop, time.monotonic()) for child in stage]
        in_hurry = False
        while any(child.popen for child in stage):
            if not in_hurry and self.stop_requests > max(asked, 1):
                in_hurry = True
                farewells = [StopSequence(child, child.spec.hurry, time.monotonic()) for child in stage]
            for farewell in farewells:
                farewell.press(time.monotonic())
            self.turn(0.05)

    def _spawn(self, child: Child) -> None:
        try:
            descriptor = child.start()
        except OSError as error:
            pause = child.plan_restart() if child.spec.restarts else None
            child.returncode = 127
            self._tell(child, f"could not be started ({error})", code=127, pid=None, pause=pause)
            return
        self._selector.register(descriptor, selectors.EVENT_READ, child)
        self._journal.record("child_started", child=child.name, pid=child.pid, starts=child.starts)

    def _look_after(self, child: Child) -> None:
        if child.popen:
            self._collect(child)
            self._end_hung(child)
        elif child.restart_at is not None and time.monotonic() >= child.restart_at and not self.stop_requests:
            self._spawn(child)

    def _end_hung(self, child: Child) -> None:
        """Kills what gives no sign of life, so that it is started again."""
        if self.stop_requests or not child.has_lost_its_life():
            return
        self._journal.record("child_hung", child=child.name, pid=child.pid)
        self.terminal.complain(f"{child.name:>8} | gives no sign of life; it is ended and started again")
        child.kill()

    def _collect(self, child: Child) -> None:
        if child.popen is None or child.popen.poll() is None:
            return
        pid = child.pid
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(child.popen.stdout or -1)
        returncode = child.reap()
        if returncode is None:
            return
        wanted = self.terminal.muted or self.stop_requests > 0
        pause = child.plan_restart() if child.spec.restarts and not wanted else None
        reason = f"{reason_of(returncode)}: {child.explanation}" if child.explanation else reason_of(returncode)
        self._tell(child, reason, code=returncode, pid=pid, pause=pause)

    def _tell(self, child: Child, reason: str, *, code: int, pid: int | None, pause: float | None) -> None:
        self._journal.record(
            "child_exited", child=child.name, pid=pid, code=code, reason=reason, restart_in_seconds=pause
        )
        if pause is not None:
            self.terminal.complain(
                f"{child.name:>8} | {reason}; starting it again in {pause:g} s (logs/{child.name}.log)"
            )

    def _patience(self, seconds: float) -> float:
        planned = [child.restart_at for child in self.children.values() if child.restart_at is not None]
        return max(0.0, min([seconds, *(at - time.monotonic() for at in planned)]))
