"""Files for their owner alone, complete or absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lib import private_file


def test_only_the_owner_may_read_it_whatever_the_umask(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        private_file.write(tmp_path / "keys.env", "A=1\n")
    finally:
        os.umask(umask)

    assert (tmp_path / "keys.env").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "keys.env").read_text() == "A=1\n"


def test_what_somebody_else_wrote_first_stays(tmp_path: Path) -> None:
    path = tmp_path / "keys.env"
    assert private_file.write(path, "first", overwrite=False)

    assert not private_file.write(path, "second", overwrite=False)
    assert path.read_text() == "first"


def test_a_write_that_fails_leaves_the_old_file_and_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys.env"
    private_file.write(path, "old")

    def full(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        private_file.write(path, "new")

    assert [each.name for each in tmp_path.iterdir()] == ["keys.env"]
    assert path.read_text() == "old"
