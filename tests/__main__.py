"""`python -m tests`: all tests, in parts that run side by side, because most of them wait more than they compute.

Each part boots servers of its own. Output comes part by part, the first one as it runs. What failed is run once more,
alone: tests that kill real processes and wait for them depend on how busy the machine is. A test that fails twice
has failed; one that passes then is shown in both runs. Wrong data are never excused (tests/promises.py).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import ExitStack
from typing import IO

WIRE = ("tests/feeds", "tests/sandbox")
PAGES = ("tests/admin", "tests/api", "tests/status", "tests/board")
STREAMS = ("tests/streaming", "tests/rate_limits", "tests/market_data", "tests/native")
PARTS = {
    "rules": ["-m", "not system", *(f"--ignore={folder}" for folder in (*WIRE, *PAGES, *STREAMS))],
    "feeds-and-pages": ["-m", "not system", *WIRE, *PAGES],
    "streams-and-limits": [*STREAMS],
    # In order: two systems at once are too much.
    "running-system": ["-m", "system", "-p", "no:randomly", *(f"--ignore={folder}" for folder in STREAMS)],
}
TESTS_FAILED = 1  # pytest's exit code when tests ran and some failed; every other one is no matter of load


def main() -> int:
    names = list(PARTS)
    with ExitStack() as stack:
        behind = {name: stack.enter_context(tempfile.TemporaryFile()) for name in names[1:]}
        running = {name: start(name, behind.get(name)) for name in names}
        for process in running.values():
            stack.callback(process.terminate)
        codes = {name: finish(name, process, behind.get(name)) for name, process in running.items()}
    for name in [name for name, code in codes.items() if code == TESTS_FAILED]:
        say(f"--- {name}: what failed, once more and alone")
        codes[name] = start(name, None, "--last-failed").wait()
    failed = [name for name, code in codes.items() if code]
    say(f"--- failed: {', '.join(failed)}" if failed else "--- all parts passed")
    return max(codes.values())


def start(name: str, output: IO[bytes] | None, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pytest", "-W", "ignore", "-o", f"cache_dir=.pytest_cache/{name}", *more]
    stderr = subprocess.STDOUT if output else None
    return subprocess.Popen([*command, *PARTS[name]], stdout=output, stderr=stderr)


def finish(name: str, process: subprocess.Popen[bytes], output: IO[bytes] | None) -> int:
    say(f"--- {name}")
    code = process.wait()
    if output:
        output.seek(0)
        sys.stdout.buffer.write(output.read())
        sys.stdout.flush()
    return code


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
