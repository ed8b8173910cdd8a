"""A process that is kept alive: its description, and its life from start to restart."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from embedded import process
from embedded.account import Account
from embedded.output import LogFile

PAUSE_FIRST_SECONDS = 0.5
PAUSE_MAX_SECONDS = 30.0
HEALTHY_SECONDS = 30.0
NO_SIGN_SECONDS = 50.0  # a process ends itself after 45, if it still can
READ_BYTES = 65_536
READS_MAX = 4  # a turn: a child that never stops printing must not keep the others waiting

StopStep = tuple[signal.Signals, float]

# What systems say, and what it means for who reads the terminal.
EXPLANATIONS: Mapping[str, str] = {"No space left on device": "the disk is full"}


@dataclass(frozen=True, slots=True)
class Spec:
    """A process to run, and how it wants to be stopped: signals, each with the seconds it is given."""

    name: str
    command: Sequence[str]
    environ: Mapping[str, str]
    cwd: Path
    stop: tuple[StopStep, ...] = ((signal.SIGTERM, 5.0),)
    hurry: tuple[StopStep, ...] = ()  # for the second Ctrl-C
    account: Account | None = None
    death_signal: signal.Signals = signal.SIGTERM
    before_start: Callable[[], object] | None = None
    pause_max_seconds: float = PAUSE_MAX_SECONDS
    restarts: bool = True
    expected_complaints: tuple[str, ...] = ()
    sign_of_life: Path | None = None  # touched again and again by a process that works


def next_pause(last_pause: float, *, ran_seconds: float, pause_max: float) -> float:
    """Returns the pause before a restart: half a second, doubled by every exit that follows a short life."""
    if ran_seconds >= HEALTHY_SECONDS or not last_pause:
        return PAUSE_FIRST_SECONDS
    return min(last_pause * 2, pause_max)


@dataclass(slots=True)
class Child:
    spec: Spec
    log: LogFile
    on_line: Callable[[str], None]
    popen: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0  # monotonic, like restart_at
    restart_at: float | None = None
    pause_seconds: float = 0.0
    starts: int = 0
    returncode: int | None = None
    explanation: str = ""  # of what it complained about since it was started
    _sign: float = 0.0  # the file's time when it was looked at last, and when it was seen to change
    _sign_at: float = 0.0
    _tail: bytearray = field(default_factory=bytearray)

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def pid(self) -> int | None:
        return self.popen.pid if self.popen else None

    def start(self) -> int:
        """Spawns the child; returns the descriptor of its output, which the caller watches."""
        if self.spec.before_start:
            self.spec.before_start()
        spec = self.spec
        self.popen = process.spawn(
            spec.command, environ=spec.environ, cwd=spec.cwd, account=spec.account, death_signal=spec.death_signal
        )
        self.started_at, self.restart_at, self.returncode = time.monotonic(), None, None
        self.explanation = ""
        self._sign, self._sign_at = self._read_sign(), 0.0
        self.starts += 1
        descriptor = self._output()
        os.set_blocking(descriptor, False)
        return descriptor

    def pump(self) -> bool:
        """Passes on what the child printed, or some of it; returns False at the end of its output."""
        for _ in range(READS_MAX):
            try:
                data = os.read(self._output(), READ_BYTES)
            except BlockingIOError:
                return True
            if not data:
                return False
            self._tail += data
            self._pass_lines_on()
        return True

    def reap(self) -> int | None:
        """Returns the child's exit code if it is gone, and kills whatever it had started; None while it runs."""
        if self.popen is None or (returncode := self.popen.poll()) is None:
            return None
        process.kill_group(self.popen.pid, signal.SIGKILL)
        self.pump()
        if self._tail:
            self._emit(bytes(self._tail))
            self._tail.clear()
        if self.popen.stdout:
            self.popen.stdout.close()
        self.popen, self.returncode = None, returncode
        return returncode

    def plan_restart(self) -> float:
        ran_seconds = time.monotonic() - self.started_at
        self.pause_seconds = next_pause(
            self.pause_seconds, ran_seconds=ran_seconds, pause_max=self.spec.pause_max_seconds
        )
        self.restart_at = time.monotonic() + self.pause_seconds
        return self.pause_seconds

    def has_lost_its_life(self) -> bool:
        """Says whether a process that gave signs of life gives none any more: it is stopped, or held in its own code.

        The time of the file is only compared with itself, so that no clock and no sleep of the machine counts.
        """
        if self.popen is None or self.spec.sign_of_life is None:
            return False
        sign, now = self._read_sign(), time.monotonic()
        if sign != self._sign:
            self._sign, self._sign_at = sign, now
        return bool(self._sign_at) and now - self._sign_at > NO_SIGN_SECONDS

    def _read_sign(self) -> float:
        try:
            return self.spec.sign_of_life.stat().st_mtime if self.spec.sign_of_life else 0.0
        except OSError:
            return 0.0

    def send(self, number: signal.Signals) -> None:
        if self.popen:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                self.popen.send_signal(number)

    def kill(self) -> None:
        if self.popen:
            process.kill_group(self.popen.pid, signal.SIGKILL)

    def _output(self) -> int:
        if self.popen is None or self.popen.stdout is None:
            raise RuntimeError(f"{self.name} has not been started")
        return self.popen.stdout.fileno()

    def _pass_lines_on(self) -> None:
        while (end := self._tail.find(b"\n")) >= 0 or len(self._tail) > READ_BYTES:
            end = end if end >= 0 else len(self._tail) - 1
            self._emit(bytes(self._tail[: end + 1]))
            del self._tail[: end + 1]

    def _emit(self, line: bytes) -> None:
        self.log.write(line if line.endswith(b"\n") else line + b"\n")
        text = line.decode(errors="replace").rstrip()
        for phrase, meaning in EXPLANATIONS.items():
            if phrase in text:
                self.explanation = meaning
        self.on_line(text)


@dataclass(slots=True)
class StopSequence:
    """The stopping of one child: each signal once, at its time; after the last, SIGKILL for its group."""

    child: Child
    steps: Sequence[StopStep]
    began_at: float
    sent: int = -1

    def press(self, now: float) -> None:
        due = self._due(now - self.began_at)
        if due == self.sent:
            return
        self.sent = due
        if due < len(self.steps):
            self.child.send(self.steps[due][0])
        else:
            self.child.kill()

    def _due(self, waited_seconds: float) -> int:
        for index, (_, grace_seconds) in enumerate(self.steps):
            if waited_seconds < grace_seconds:
                return index
            waited_seconds -= grace_seconds
        return len(self.steps)
