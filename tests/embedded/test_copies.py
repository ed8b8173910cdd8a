"""Two homes never share a database: a copied home is refused, and no server is ended whose supervisor lives."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from embedded import ballast, postgres, process, site
from embedded.child import Child, Spec
from embedded.lock import HomeLock, RefusedError
from embedded.output import LogFile, Terminal
from embedded.process_group import ProcessGroup
from embedded.settings import Settings
from embedded.supervisor import Supervisor

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root's data is elsewhere")
SERVER = "import sys, time; print('up', flush=True); time.sleep(60)"


@pytest.fixture
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, Path]:
    """A used home in a closed folder, a copy of it, and where its data is."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    closed, elsewhere = tmp_path / "closed", tmp_path / "elsewhere"
    closed.mkdir(mode=0o700)
    home = site.make_home(closed / "home")
    site.settle(home, elsewhere=elsewhere)
    copy = closed / "copy"
    shutil.copytree(home, copy)
    return home, copy, elsewhere


@as_root
def test_a_copied_home_is_refused_and_told_its_original(homes: tuple[Path, Path, Path]) -> None:
    home, copy, elsewhere = homes

    with pytest.raises(RefusedError, match=rf"{copy} is a copy of {home}.*rm {copy}/data-location"):
        site.settle(copy, elsewhere=elsewhere)

    (copy / site.POINTER).unlink()
    assert site.settle(copy, elsewhere=elsewhere).folder != site.settle(home, elsewhere=elsewhere).folder


@as_root
def test_a_renamed_home_and_one_whose_original_is_gone_keep_their_data(homes: tuple[Path, Path, Path]) -> None:
    home, copy, elsewhere = homes
    before = site.settle(home, elsewhere=elsewhere).folder

    renamed = home.rename(home.with_name("renamed"))
    assert site.settle(renamed, elsewhere=elsewhere).folder == before
    shutil.rmtree(renamed)
    assert site.settle(copy, elsewhere=elsewhere).folder == before


@as_root
def test_data_that_is_elsewhere_has_a_lock_of_its_own(homes: tuple[Path, Path, Path]) -> None:
    home, _, elsewhere = homes
    place = site.settle(home, elsewhere=elsewhere)
    supervisor = Supervisor(Settings(home, 8000, None, 1, {}, {}), Terminal())
    supervisor._lock_data(place)

    with pytest.raises(RefusedError, match="already running"):
        HomeLock(place.folder).acquire("http://127.0.0.1:8001")


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[int]:
    """A server that works in a data folder, under a supervisor that lives."""
    (tmp_path / "postgres").mkdir()
    code = (
        "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', sys.argv[3]], cwd=sys.argv[4]); "
        "print(child.pid, flush=True); child.wait()"
    )
    command = [sys.executable, "-c", code, "-m", "embedded", SERVER, str(tmp_path / "postgres")]
    supervisor = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert supervisor.stdout
    pid = int(supervisor.stdout.readline())
    yield pid
    os.kill(pid, signal.SIGKILL)
    supervisor.wait(10)


def test_a_server_whose_supervisor_lives_is_not_ended(tmp_path: Path, supervised: int) -> None:
    place = site.Site(tmp_path, tmp_path, None, None, None)
    (tmp_path / "postgres" / "postmaster.pid").write_text(f"{supervised}\n")

    with pytest.raises(RefusedError, match=rf"already runs in {tmp_path}/postgres \(pid {supervised}\)"):
        postgres.Postgres(place, Path("/nonexistent"), {}).clear_the_way()

    assert process.is_alive(supervised)


def test_a_server_of_a_longer_path_is_a_stranger(tmp_path: Path) -> None:
    """A copy's folder whose path was a part of the original's ended the original's server."""
    place = site.Site(tmp_path, tmp_path, None, None, None)
    (tmp_path / "postgres").mkdir()
    other = subprocess.Popen([sys.executable, "-c", SERVER, "-D", f"/other{tmp_path}/postgres"], cwd="/")
    try:
        (tmp_path / "postgres" / "postmaster.pid").write_text(f"{other.pid}\n")
        postgres.Postgres(place, Path("/nonexistent"), {}).clear_the_way()
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


# --- a full disk ----------------------------------------------------------------------------------------------------


def test_a_ballast_is_kept_while_there_is_room_and_given_up_when_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ballast, "BYTES", 1024**2)
    ballast.keep(tmp_path)
    kept = tmp_path / ballast.FILE
    assert kept.stat().st_blocks * 512 >= 1024**2

    assert not ballast.give_up(tmp_path)
    monkeypatch.setattr(ballast, "FULL_BYTES", 10**18)
    assert ballast.give_up(tmp_path)
    assert not kept.exists()

    monkeypatch.setattr(ballast, "LEAST_FREE_BYTES", 10**18)
    ballast.keep(tmp_path)
    assert not kept.exists()


def test_a_child_that_ends_on_a_full_disk_is_told_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = "import sys; sys.exit('FATAL: could not write lock file: No space left on device')"
    spec = Spec(name="postgres", command=[sys.executable, "-c", code], environ=os.environ, cwd=Path("/"))
    with ProcessGroup(tmp_path, Terminal()) as group:
        child = group.start(spec)
        assert group.turn_until(lambda: child.popen is None, seconds=10)

    assert "postgres | exited with code 1: the disk is full; starting it again" in capsys.readouterr().err


def test_a_later_start_is_not_explained_by_an_earlier_one(tmp_path: Path) -> None:
    child = Child(Spec("x", [sys.executable, "-c", ""], os.environ, Path("/")), LogFile(tmp_path / "x.log"), print)
    child.explanation = "the disk is full"

    child.start()

    assert child.explanation == ""
    assert child.popen is not None
    child.popen.wait()
    child.reap()
