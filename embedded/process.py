"""One child process: started so that it cannot outlive us, its output kept, its exits explained."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from embedded.account import Account

PR_SET_PDEATHSIG = 1
SUPERVISOR = {"-m", "embedded"}  # what its command line has
LINUX = sys.platform == "linux"
# Loaded here: between fork and exec nothing may be imported.
_prctl = ctypes.CDLL(None, use_errno=True).prctl if LINUX else None


def spawn(
    command: Sequence[str | Path],
    *,
    environ: Mapping[str, str] | None = None,
    cwd: Path | str = "/",
    account: Account | None = None,
    death_signal: signal.Signals = signal.SIGTERM,
    output: int | IO[bytes] = subprocess.PIPE,
) -> subprocess.Popen[bytes]:
    """Starts a process in its own session: Ctrl-C reaches it through us, in order; all it prints goes one way.

    Call it from the main thread: the death signal follows the thread that forked.
    """
    return subprocess.Popen(
        [str(part) for part in command],
        env=None if environ is None else dict(environ),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=_die_with_parent(death_signal),  # runs after the change of user, which would clear it
        **_identity(account),
    )


def run(command: Sequence[str | Path], *, account: Account | None = None, stdin: str = "") -> None:
    """Runs a short step of ours that must succeed; its output is shown only when it does not."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd="/",
        input=stdin.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=_die_with_parent(signal.SIGKILL),
        check=False,
        **_identity(account),
    )
    if done.returncode:
        output = done.stdout.decode(errors="replace").strip()
        raise RuntimeError(f"{Path(command[0]).name} {reason_of(done.returncode)}:\n{output}")


def _identity(account: Account | None) -> dict[str, Any]:
    return {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}


def _die_with_parent(death_signal: signal.Signals) -> Callable[[], None]:
    parent = os.getpid()

    def in_child() -> None:
        if _prctl is not None:
            _prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
            if os.getppid() != parent:  # it died in between
                os._exit(1)

    return in_child


def reason_of(returncode: int) -> str:
    if returncode >= 0:
        return f"exited with code {returncode}"
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-returncode).name}"
    return f"was killed by signal {-returncode}"


def kill_group(pid: int, number: signal.Signals) -> None:
    """Signals a child's session: the child leads it, so its pid names everything it left behind, too."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def end(pid: int, signals: Sequence[signal.Signals], *, patience_seconds: float) -> bool:
    """Stops a process that is not our child, each signal being given its time; False when it outlives them all."""
    for number in signals:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        if _wait_until_gone(pid, patience_seconds):
            return True
    return False


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _wait_until_gone(pid: int, patience_seconds: float) -> bool:
    deadline = time.monotonic() + patience_seconds
    while time.monotonic() < deadline:
        if not is_alive(pid):
            return True
        time.sleep(0.05)
    return False


def works_in(pid: int, folder: Path) -> bool:
    """Says whether the process works in the folder; true under its new name too, unlike what the command line says."""
    with contextlib.suppress(OSError):
        return os.path.samefile(f"/proc/{pid}/cwd", folder)
    return False


def arguments(pid: int) -> list[str]:
    """Returns the command line; empty when there is no such process (or no /proc)."""
    try:
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).rstrip("\0").split("\0")
    except OSError:
        return []


def other_supervisor_of(pid: int) -> int | None:
    """Returns the supervisor that looks after this process, if one does and it is not us."""
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
        parent = int(next(line for line in lines if line.startswith("PPid:")).split()[1])
        if parent != os.getpid() and set(arguments(parent)) >= SUPERVISOR:
            return parent
    return None
