"""What no busy machine excuses: `python -m tests` repeats a failed test, but not one that found stored data wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

import pytest

from tests.sandbox_client import PROJECT

NEVER_EXCUSED = 17  # exit code of a run in which a promise was broken; pytest itself uses 0 to 5

_broken = pytest.StashKey[bool]()


class BrokenPromise(AssertionError):
    """Stored data contradict themselves or the world, for which slowness is no reason."""


def verify(environ: Mapping[str, str]) -> None:
    """`manage.py verify` on the system that the environment names. Raises BrokenPromise with what it says."""
    done = subprocess.run(
        [sys.executable, "manage.py", "verify", "--hours", "1"],
        cwd=PROJECT, env=environ, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    if done.returncode:
        raise BrokenPromise(done.stdout + done.stderr)


def must(is_kept: bool, promise: str) -> None:
    if not is_kept:
        raise BrokenPromise(promise)


def note(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    if call.excinfo is not None and call.excinfo.errisinstance(BrokenPromise):
        item.session.stash[_broken] = True


def exit_code(session: pytest.Session, code: int) -> int:
    return NEVER_EXCUSED if session.stash.get(_broken, False) else code
