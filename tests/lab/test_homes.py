"""Two homes beside each other: a copied one takes nothing from its original, and a backup makes a second one whole."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from lib.home import PROJECT_DIR, read_env_file
from tests.embedded import test_up
from tests.embedded.test_up import System

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]
PASSPHRASE = "correct horse battery"


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(test_up, "UP_WITHIN_SECONDS", 300.0)
    with tempfile.TemporaryDirectory(prefix="marketmon-homes-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture
def system(folder: Path) -> Iterator[Callable[[Path], System]]:
    """Makes systems that end with the test, however it ends."""
    made: list[System] = []

    def make(home: Path) -> System:
        home.parent.mkdir(mode=0o711, exist_ok=True)
        made.append(System(home))
        return made[-1]

    yield make
    for each in made:
        if each.process is not None and each.process.poll() is None:
            stop(each)


def manage(of: System, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {**of.environ, "BACKUP_PASSPHRASE": PASSPHRASE}
    command = [sys.executable, "manage.py", *words]
    return subprocess.run(command, cwd=PROJECT_DIR, env=environ, capture_output=True, text=True, timeout=300)


def stop(of: System) -> None:
    assert of.process is not None
    of.process.terminate()
    of.process.wait(60)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's data is elsewhere than its home")
def test_a_copied_home_is_refused_while_its_original_goes_on(folder: Path, system: Callable[[Path], System]) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    first = system(closed / "home")
    first.up()
    data = Path((first.home / "data-location").read_text().strip())
    try:
        shutil.copytree(first.home, closed / "copy", ignore=shutil.ignore_patterns("*.sock"))
        second = system(closed / "copy")
        refused = manage(second, "up")

        assert refused.returncode == 1
        assert f"{second.home} is a copy of {first.home}" in refused.stderr
        assert first.is_ready()
        exits = [line for line in (first.home / "logs/supervisor.log").read_text().splitlines() if "exited" in line]
        assert [line for line in exits if "prepare" not in line] == []
    finally:
        stop(first)
        shutil.rmtree(data)


def test_a_backup_makes_another_home_the_same(folder: Path, system: Callable[[Path], System]) -> None:
    first, second = system(folder / "a" / "home"), system(folder / "b" / "home")
    first.up()
    first_keys = read_env_file(first.home / "demo_keys.env") or read_env_file(first.home / "secrets.env")
    assert manage(first, "exchange", "add", "luno").returncode in (0, 1)  # there is no internet here
    made = manage(first, "backup", "--to", str(folder / "backups"))
    assert made.returncode == 0, made.stderr
    stop(first)
    [backup] = (folder / "backups").glob("marketmon-*")

    restored = manage(second, "restore", str(backup), "--verify")
    assert restored.returncode == 0, restored.stderr
    assert "proven:" in restored.stdout
    second.up()
    try:
        keys = read_env_file(second.home / "secrets.env")
        assert keys["ADMIN_API_KEY"] == read_env_file(first.home / "secrets.env")["ADMIN_API_KEY"]
        answer = requests.get(
            f"http://127.0.0.1:{second.port}/api/v1/gaps/export?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z",
            headers={"X-Admin-Key": keys["ADMIN_API_KEY"]}, timeout=20,
        )  # fmt: skip
        assert answer.status_code == 200
        assert first_keys
        assert manage(second, "verify").returncode in (0, 2)
    finally:
        stop(second)


def test_a_damaged_backup_is_found_before_anything_is_made(folder: Path, system: Callable[[Path], System]) -> None:
    first, second = system(folder / "a" / "home"), system(folder / "b" / "home")
    made = manage(first, "backup", "--to", str(folder / "backups"))  # of a home that was never started
    assert made.returncode != 0
    first.up()
    stop(first)
    assert manage(first, "backup", "--to", str(folder / "backups")).returncode == 0  # of a stopped one
    [backup] = (folder / "backups").glob("marketmon-*")
    dump = bytearray((backup / "database.dump").read_bytes())
    dump[len(dump) // 2] ^= 1
    (backup / "database.dump").write_bytes(dump)

    refused = manage(second, "restore", str(backup))

    assert refused.returncode == 1
    assert "its length or its SHA-256 differs" in refused.stderr
    assert not second.home.exists()
