"""Output of the children: all of it into bounded files, and onto the terminal only what somebody should act on."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

FILE_MAX_BYTES = 5_000_000
OLD_FILES = 3
LINE_MAX_CHARACTERS = 400
NOTICES_MAX = 3  # per child and window: a dead database makes every process complain about the same
NOTICE_WINDOW_SECONDS = 10.0
LOUD_LEVELS = {"warning", "error", "critical", "exception"}
LOUD_TEXT = re.compile(r"\b(WARNING|ERROR|CRITICAL|FATAL|PANIC)\b|^[\w.]*(Error|Exception)\b")
QUIET_FIELDS = {"event", "level", "timestamp", "logger", "exception", "message"}


class LogFile:
    """A file that is appended to; a full one becomes `.1`, and `.3` is the oldest that is kept."""

    def __init__(self, path: Path, max_bytes: int = FILE_MAX_BYTES) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._open()

    def write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # a full disk must not stop whoever restarts the others
            if self._file.closed:  # by a rotation that could not be finished
                self._open()
            elif self._file.tell() + len(data) > self._max_bytes:
                self._rotate()
            self._file.write(data)
            self._file.flush()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()

    def _open(self) -> None:
        self._file = self.path.open("ab")
        self.path.chmod(0o600)

    def _rotate(self) -> None:
        self._file.close()
        for number in range(OLD_FILES, 0, -1):
            source = self.path if number == 1 else self._old(number - 1)
            if source.exists():
                source.replace(self._old(number))
        self._open()

    def _old(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")


def notice(line: str) -> str | None:
    """Returns the line as the terminal should show it, or None when it is for the file alone."""
    fields = _fields_of(line)
    if fields is None:
        return line[:LINE_MAX_CHARACTERS] if LOUD_TEXT.search(line) else None
    level = str(fields.get("level", "")).lower()
    if level not in LOUD_LEVELS:
        return None
    text = str(fields.get("event") or fields.get("message") or "")
    details = " ".join(f"{name}={value}" for name, value in fields.items() if name not in QUIET_FIELDS)
    return f"{level}: {text} {details}".strip()[:LINE_MAX_CHARACTERS]


def _fields_of(line: str) -> Mapping[str, object] | None:
    if line.startswith("{"):
        with contextlib.suppress(ValueError):
            found = json.loads(line)
            return found if isinstance(found, dict) else None
    return None


class Terminal:
    """Progress on stdout, complaints on stderr; a terminal that went away stops nothing."""

    def __init__(self, *, verbose: bool = False, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self._started = time.monotonic()
        self._verbose = verbose
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._windows: dict[str, tuple[float, int]] = {}
        self.muted = False

    @property
    def elapsed_seconds(self) -> float:
        return time.monotonic() - self._started

    def progress(self, text: str) -> None:
        self.show(f"{self.elapsed_seconds:6.1f} s  {text}")

    def show(self, text: str) -> None:
        _print(self._out, text)

    def complain(self, text: str) -> None:
        _print(self._err, text)

    def child_line(self, name: str, line: str, *, expected: Sequence[str] = ()) -> None:
        """Shows a child's line; `expected` are complaints of foreign programs that nobody needs to act on here."""
        if self._verbose:
            _print(self._err, f"{name:>8} | {line}")
        elif not self.muted and (text := notice(line)) and not any(phrase in line for phrase in expected):
            self._notice(name, text)

    def _notice(self, name: str, text: str) -> None:
        opened_at, count = self._windows.get(name, (0.0, 0))
        if self.elapsed_seconds - opened_at > NOTICE_WINDOW_SECONDS:
            opened_at, count = self.elapsed_seconds, 0
        self._windows[name] = (opened_at, count + 1)
        if count < NOTICES_MAX:
            _print(self._err, f"{name:>8} | {text}")
        elif count == NOTICES_MAX:
            _print(self._err, f"{name:>8} | ... more in logs/{name}.log")


def _print(stream: TextIO, text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        stream.write(f"{text}\n")
        stream.flush()


class SupervisorLog:
    """The supervisor's own log: one JSON object a line."""

    def __init__(self, file: LogFile) -> None:
        self._file = file

    def record(self, event: str, **fields: object) -> None:
        line = {"timestamp": datetime.now(UTC).isoformat(), "event": event, **fields}
        self._file.write(json.dumps(line).encode() + b"\n")

    def close(self) -> None:
        self._file.close()
