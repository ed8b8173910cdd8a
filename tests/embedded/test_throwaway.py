"""The servers that this very test run uses."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from lib.home import PROJECT_DIR
from tests.embedded.processes import is_gone

PROGRAM = """
import os, sys, tempfile
from pathlib import Path
from tests.servers import throwaway_servers
folder = Path(tempfile.mkdtemp(prefix="marketmon-embedded-")); folder.chmod(0o711)
with throwaway_servers(folder, {"DATABASE_URL", "REDIS_URL"}) as urls:
    pids = [path.parent.name for path in Path("/proc").glob("[0-9]*/cmdline") if str(folder) in path.read_text()]
    print(folder, *pids, flush=True)
    sys.stdin.read()
"""


def start() -> tuple[subprocess.Popen[str], Path, list[int]]:
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=PROJECT_DIR, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout
    folder, *pids = child.stdout.readline().split()
    return child, Path(folder), [int(pid) for pid in pids]


def test_they_leave_nothing() -> None:
    child, folder, pids = start()
    child.communicate(timeout=20)
    assert len(pids) >= 2
    assert all(is_gone(pid) for pid in pids)
    shutil.rmtree(folder)


def test_they_die_with_a_test_run_that_is_killed() -> None:
    child, folder, pids = start()
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    deadline = time.monotonic() + 10
    while not all(is_gone(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    shutil.rmtree(folder)
