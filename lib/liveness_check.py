"""A container's health check: says whether its process gives signs of life, and ends one that has given none for long.

Nobody restarts a container that is only unhealthy; one whose process has ended is started again. Standard library only,
and started without Django: it must answer in a second on a busy machine.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

UNHEALTHY_SECONDS = 30.0
DEAD_SECONDS = 60.0  # a process ends itself after 45, if it still can
SECOND_LOOK_SECONDS = 3.0  # after the machine slept, or its clock was set, the next sign comes within a second


def main() -> int:
    """Returns the exit code: 0 for healthy."""
    file = Path(os.environ["LIVENESS_FILE"])
    seen = file.stat().st_mtime
    silent_seconds = abs(time.time() - seen)
    if silent_seconds > DEAD_SECONDS:
        time.sleep(SECOND_LOOK_SECONDS)
        if file.stat().st_mtime == seen:
            end(file)
    return int(silent_seconds > UNHEALTHY_SECONDS)


def end(file: Path) -> None:
    """Kills the processes that should touch the file."""
    for pid in _processes_of(file):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _processes_of(file: Path) -> Iterator[int]:
    """Yields all processes that were given the file, but for the container's first, and this one."""
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        with contextlib.suppress(OSError):
            given = f"LIVENESS_FILE={file}".encode() in (folder / "environ").read_bytes().split(b"\0")
            if given and pid not in (1, os.getpid()):
                yield pid


if __name__ == "__main__":
    sys.exit(main())
