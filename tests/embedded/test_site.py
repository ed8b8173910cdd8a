"""Who runs the embedded servers, and where their files are."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from embedded import account, site
from embedded.account import Placement, decide
from embedded.programs import Programs, copied, find_postgres, find_valkey

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has a choice to make")


@pytest.mark.parametrize(
    ("is_root", "programs_open", "home_open", "expected"),
    [
        (False, False, False, Placement(drops_root=False, copies_programs=False, moves_data=False)),
        (False, True, True, Placement(drops_root=False, copies_programs=False, moves_data=False)),
        (True, True, True, Placement(drops_root=True, copies_programs=False, moves_data=False)),
        (True, False, True, Placement(drops_root=True, copies_programs=True, moves_data=False)),
        (True, True, False, Placement(drops_root=True, copies_programs=False, moves_data=True)),
        (True, False, False, Placement(drops_root=True, copies_programs=True, moves_data=True)),
    ],
)
def test_root_is_dropped_and_nothing_else_changes_without_need(
    is_root: bool, programs_open: bool, home_open: bool, expected: Placement
) -> None:
    assert decide(is_root=is_root, programs_open=programs_open, home_open=home_open) == expected


def test_sockets_lie_beside_the_data_while_the_path_is_short(tmp_path: Path) -> None:
    assert site.socket_folder(Path("/srv/marketmon")) == Path("/srv/marketmon/run")


@pytest.mark.parametrize("folder", ["/" + "x" * 100, "/home/jo/my project", "/home/jo/50%/é"])
def test_sockets_move_when_the_path_is_long_or_would_need_quoting(folder: str) -> None:
    moved = site.socket_folder(Path(folder), temporary=Path("/tmp"))
    assert moved.parent == Path("/tmp")
    assert moved != site.socket_folder(Path(f"{folder}2"), temporary=Path("/tmp"))


def test_longest_path_that_stays_is_one_the_kernel_takes() -> None:
    folder = Path("/" + "x" * 81)
    assert site.socket_folder(folder) == folder / "run"
    assert len(str(folder / "run" / site.LONGEST_SOCKET)) == site.SOCKET_PATH_MAX_BYTES
    assert site.socket_folder(Path(f"{folder}x"), temporary=Path("/tmp")).parent == Path("/tmp")


def test_a_path_with_one_closed_folder_is_not_open() -> None:
    tree = Path("/tmp", f"marketmon-open-{os.getpid()}", "a", "b")
    tree.mkdir(parents=True)
    try:
        for folder in (tree, tree.parent, tree.parent.parent):
            folder.chmod(0o711)
        assert account.open_to_others(tree)
        tree.parent.chmod(0o700)
        assert not account.open_to_others(tree)
    finally:
        shutil.rmtree(tree.parent.parent)


@as_root
def test_a_folder_made_by_a_stranger_is_refused(tmp_path: Path) -> None:
    squatted = tmp_path / "sockets"
    squatted.mkdir()
    os.chown(squatted, 12345, 12345)
    with pytest.raises(PermissionError, match="somebody else"):
        account.private_folder(squatted, account.nobody())


@as_root
def test_a_home_of_another_user_is_refused_with_the_way_out(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    with pytest.raises(PermissionError, match="MARKETMON_HOME"):
        site.make_home(tmp_path)


@as_root
def test_root_in_a_closed_folder_gets_copies_elsewhere_and_opens_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    closed, elsewhere = tmp_path / "closed", tmp_path / "elsewhere"
    closed.mkdir(mode=0o700)
    home = site.make_home(closed / "home")
    settled = site.settle(home, elsewhere=elsewhere)
    assert settled.folder.parent == elsewhere
    assert settled.account == account.nobody()
    assert closed.stat().st_mode & 0o777 == 0o700
    assert site.settle(home, elsewhere=elsewhere).folder == settled.folder, "the home remembers where its data is"

    other = site.settle(site.make_home(closed / "other"), elsewhere=elsewhere)
    assert other.folder != settled.folder


@as_root
def test_a_home_that_was_closed_after_use_is_refused_and_not_begun_anew_elsewhere(tmp_path: Path) -> None:
    closed, elsewhere = tmp_path / "closed", tmp_path / "elsewhere"
    closed.mkdir(mode=0o700)
    home = site.make_home(closed / "home")
    (home / "postgres").mkdir()
    with pytest.raises(PermissionError, match=rf"chmod o\+x .*{closed}\b"):
        site.settle(home, elsewhere=elsewhere)
    assert not elsewhere.exists()


def test_copied_programs_keep_the_layout_their_libraries_need(tmp_path: Path) -> None:
    for found in (find_postgres(), find_valkey()):
        copy = copied(found, tmp_path)
        assert copy.binary.is_relative_to(tmp_path)
        assert copy.binary.stat().st_mode & 0o005 == 0o005
        assert os.popen(f"{copy.binary} --version").read(), "the copy runs"
        assert copied(found, tmp_path) == copy, "a second start copies nothing"


def test_programs_of_the_system_are_not_copied(tmp_path: Path) -> None:
    installed = Programs(Path("/usr/bin/valkey-server"), root=None)
    assert copied(installed, tmp_path) is installed
