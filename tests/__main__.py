"""`python -m tests`: all tests, in parts that run side by side, because most of them wait more than they compute.

Each part boots servers of its own. Output comes part by part, the first one as it runs.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import ExitStack
from typing import IO

WIRE = ("tests/feeds", "tests/native", "tests/sandbox")
PAGES = ("tests/admin", "tests/api", "tests/documents", "tests/access")
PARTS = {
    "rules, storage and verbs": ["-m", "not system", *(f"--ignore={folder}" for folder in (*WIRE, *PAGES))],
    "feeds, pages and APIs": ["-m", "not system", *WIRE, *PAGES],
    "the running system": ["-m", "system"],
}
COMMAND = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "ignore"]


def main() -> int:
    names = list(PARTS)
    with ExitStack() as stack:
        behind = {name: stack.enter_context(tempfile.TemporaryFile()) for name in names[1:]}
        running = {name: start(name, behind.get(name)) for name in names}
        for process in running.values():
            stack.callback(process.terminate)
        codes = []
        for name, process in running.items():
            say(f"--- {name}")
            codes.append(process.wait())
            if name in behind:
                behind[name].seek(0)
                sys.stdout.buffer.write(behind[name].read())
    say("--- all parts passed" if not any(codes) else "--- failed: see above")
    return max(codes)


def start(name: str, output: IO[bytes] | None) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*COMMAND, *PARTS[name]], stdout=output, stderr=subprocess.STDOUT if output else None)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
