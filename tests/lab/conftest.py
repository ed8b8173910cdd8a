"""Long tests: drills, kills, fuzz, and other people's servers from Debian. `make lab` runs all of them, and
`make lab ARGS="-m smoke"` what takes two minutes of it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache

import pytest

from tests.gaps.conftest import field_
from tests.status.conftest import clean_valkey, key_of, tiers
from tests.system.conftest import started_system, system

__all__ = ["clean_valkey", "field_", "key_of", "started_system", "system", "tiers"]

Program = Callable[[str, str], str]


@pytest.fixture(scope="session")
def debian() -> Program:
    """Gives the path of a program, installing its package where it is missing; skips where that is not possible."""
    return find_or_install


@cache
def find_or_install(program: str, package: str) -> str:
    path = _found(program)
    if path is None and os.geteuid() != 0:
        pytest.skip(f"only root may install {program}: apt install {package}")
    if path is None:
        _apt("update")
        _apt("install", "-y", "--no-install-recommends", package)
        path = _found(program)
    return path or pytest.skip(f"{package} brought no {program}")


def _found(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")


def _apt(*words: str) -> None:
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(["apt-get", "-q", *words], env=environ, capture_output=True, text=True, timeout=600)
    except (OSError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"apt-get {words[0]}: {error}")
    if done.returncode:
        pytest.skip(f"apt-get {words[0]}: {done.stderr.strip()[-300:]}")
