"""`python -m tests`: all tests, in two halves side by side.

One half computes, the other (marked `system`) mostly waits for real processes; together they take little longer than
the slower. Each half boots servers of its own.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile

HALVES = ("not system", "system")


def main() -> int:
    with tempfile.TemporaryFile() as later:
        waiting = subprocess.Popen(command(HALVES[1]), stdout=later, stderr=subprocess.STDOUT)
        try:
            computed = subprocess.run(command(HALVES[0]), check=False).returncode
            sys.stdout.write("waiting for the tests of the running system ...\n")
            sys.stdout.flush()
            waited = waiting.wait()
        finally:
            waiting.terminate()
            waiting.wait()
        later.seek(0)
        sys.stdout.buffer.write(later.read())
        sys.stdout.flush()
    return computed or waited


def command(half: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "-m", half, "-p", "no:cacheprovider", "--no-header", "-W", "ignore"]


if __name__ == "__main__":
    sys.exit(main())
