"""`python -m tests`: all tests, file by file over a few pytest processes with servers of their own.

Most tests wait more than they compute, so there is one process more than this machine has processors, and at least
three. Files that run the whole system come one after the other, and so do those that listen to streams: two of a kind
at once are too much for a small machine. A test that fails is red; nothing is repeated.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.shares import FILES_FD, NEXT, WORDS_FD

FOLDER = Path(__file__).parent
APART = ("e2e", "lab")  # `make e2e`, `make lab`
STREAMS = ("tests/streaming/", "tests/market_data/test_streamed.py", "tests/rate_limits/test_crowd.py")
LONG = ("tests/status/test_running.py", "tests/gaps/test_timeline.py", "tests/gaps/test_ledger.py", "tests/embedded/")


@dataclass
class Queues:
    """Files that nobody has taken yet. The first two processes have a lane each, in order, and then help the others."""

    lanes: list[deque[str]]
    others: deque[str]

    def next_for(self, number: int) -> str:
        """The empty string when there is nothing left."""
        lane = self.lanes[number] if number < len(self.lanes) else self.others
        queue = lane or self.others
        return queue.popleft() if queue else ""


def queues() -> Queues:
    names = [str(path.relative_to(FOLDER.parent)) for path in sorted(FOLDER.rglob("test_*.py"))]
    names = [name for name in names if name.split("/")[1] not in APART]
    streams = [name for name in names if name.startswith(STREAMS)]
    systems = [name for name in names if name not in streams and "pytest.mark.system" in Path(name).read_text()]
    others = [name for name in names if name not in streams and name not in systems]
    others.sort(key=lambda name: not name.startswith(LONG))  # what takes long begins soon
    return Queues([deque(systems), deque(streams)], deque(others))


@dataclass
class Share:
    """One pytest process, what it runs, and where its output goes."""

    process: subprocess.Popen[bytes]
    output: IO[bytes]
    files: IO[bytes]
    words: IO[bytes]
    running: str = ""
    began: float = 0.0

    def give(self, path: str) -> None:
        if self.running:
            say(f"{time.monotonic() - self.began:6.1f} s  {self.running}")
        self.running, self.began = path, time.monotonic()
        self.files.write(f"{path}\n".encode())
        self.files.flush()


def main(options: list[str]) -> int:
    began, left = time.monotonic(), queues()
    with ExitStack() as stack:
        numbers = range(max(3, (os.cpu_count() or 1) + 1))
        outputs = [stack.enter_context(tempfile.TemporaryFile()) for _ in numbers]
        shares = [start(stack, number, outputs[number], options) for number in numbers]
        hand_out(shares, left)
        codes = [share.process.wait() for share in shares]
        for share, code in zip(shares, codes, strict=True):
            share.output.seek(0)
            sys.stdout.buffer.write(share.output.read())
            if code < 0:
                say(f"--- killed by {signal.Signals(-code).name} in {share.running}")
    say(f"--- {'failed' if any(codes) else 'all passed'} in {time.monotonic() - began:.0f} s")
    return max(codes, key=abs)


def start(stack: ExitStack, number: int, output: IO[bytes], options: list[str]) -> Share:
    files_read, files_write = os.pipe()
    words_read, words_write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-W", "ignore", "-p", "tests.shares",
         "-o", f"cache_dir=.pytest_cache/{number}", *options],
        env={**os.environ, FILES_FD: str(files_read), WORDS_FD: str(words_write)},
        pass_fds=(files_read, words_write), stdout=output, stderr=subprocess.STDOUT,
    )  # fmt: skip
    stack.callback(process.terminate)
    os.close(files_read)
    os.close(words_write)
    files, words = stack.enter_context(os.fdopen(files_write, "wb")), stack.enter_context(os.fdopen(words_read, "rb"))
    return Share(process, output, files, words)


def hand_out(shares: list[Share], left: Queues) -> None:
    """Until each process has ended, or was told that nothing is left."""
    with selectors.DefaultSelector() as selector:
        for number, share in enumerate(shares):
            selector.register(share.words, selectors.EVENT_READ, number)
        while selector.get_map():
            for key, _ in selector.select():
                said = os.read(key.fd, 65_536).decode().splitlines()
                if not said:  # it has ended
                    selector.unregister(key.fileobj)
                for line in said:
                    if line == NEXT:
                        shares[key.data].give(left.next_for(key.data))
                    else:
                        say(line)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
