"""`make run` from a fresh clone, by every suitable Python of this machine; and what is said where there is none."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.home import PROJECT_DIR
from tests.sandbox_client import free_port

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]
SUITABLE = ("3.11", "3.12", "3.13")
PLACES = ("~/.pyenv/versions/{}*/bin/python", "~/.local/share/uv/python/cpython-{}*/bin/python3", "/usr/bin/python{}")
UP_WITHIN_SECONDS = 600.0


def found() -> list[str]:
    """One interpreter of each suitable version that runs here."""
    interpreters = []
    for version in SUITABLE:
        for place in PLACES:
            start, _, rest = place.format(version).partition("/")
            paths = sorted(Path(start).expanduser().glob(rest)) if start == "~" else [Path(place.format(version))]
            if paths and paths[-1].exists():
                interpreters.append(str(paths[-1]))
                break
    return interpreters


@pytest.fixture
def clone() -> Iterator[Path]:
    """The tracked files in a folder of their own, which everybody may walk into."""
    with tempfile.TemporaryDirectory(prefix="marketmon-clone-") as folder:
        Path(folder).chmod(0o711)
        names = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT_DIR, capture_output=True, check=True).stdout
        pack = ["tar", "--null", "-T", "-", "-cf", "-"]
        packed = subprocess.run(pack, cwd=PROJECT_DIR, input=names, capture_output=True, check=True)
        subprocess.run(["tar", "-xf", "-"], cwd=folder, input=packed.stdout, check=True)
        yield Path(folder)


def environ(clone: Path, **more: str) -> dict[str, str]:
    ours = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "ADMIN_API_KEY", "DJANGO_SETTINGS_MODULE", "MAKEFLAGS")
    kept = {name: text for name, text in os.environ.items() if name not in ours}
    home = {"MARKETMON_HOME": str(clone / "home"), "PORT": str(free_port()), "SANDBOX": "off"}
    return {**kept, **home, "WORKER_CONCURRENCY": "1", **more}


@pytest.mark.parametrize("interpreter", found())
def test_make_run_starts_by_every_python_that_is_here(clone: Path, interpreter: str) -> None:
    screen = clone / "screen"
    with screen.open("wb") as file:
        running = subprocess.Popen(
            ["make", "run"], cwd=clone, env=environ(clone, PYTHON3=interpreter), stdout=file, stderr=file,
            start_new_session=True,
        )  # fmt: skip
    try:
        give_up_at = time.monotonic() + UP_WITHIN_SECONDS
        while "marketmon is running" not in screen.read_text():
            assert running.poll() is None, screen.read_text()
            assert time.monotonic() < give_up_at, screen.read_text()
            time.sleep(0.5)
    finally:
        os.killpg(running.pid, signal.SIGTERM)
        running.wait(60)

    assert "does not exist" not in screen.read_text()
    assert "Traceback" not in screen.read_text()
    version = subprocess.run([clone / ".venv/bin/python", "-V"], capture_output=True, text=True, check=True).stdout
    assert version == subprocess.run([interpreter, "-V"], capture_output=True, text=True, check=True).stdout


def test_one_that_does_not_suit_is_named_and_nothing_is_made(clone: Path) -> None:
    old = next(iter(sorted(Path("~/.pyenv/versions").expanduser().glob("3.10*/bin/python"))), None)
    if old is None:
        pytest.skip("no Python 3.10 here")

    done = subprocess.run(
        ["make", "run"], cwd=clone, env=environ(clone, PYTHON3=str(old)), capture_output=True, text=True
    )

    assert done.returncode != 0
    assert "marketmon needs Python 3.11, 3.12 or 3.13, and Python 3.10" in done.stderr
    assert not (clone / ".venv").exists()
