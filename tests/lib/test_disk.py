"""What is low on a small disk is not what is low on a large one, and what cannot be seen is no good news."""

from __future__ import annotations

from typing import Any

import pytest

from lib.disk import DiskSpace, database_disk

GB = 1024**3


@pytest.mark.parametrize(
    ("free", "total", "is_low", "is_nearly_full"),
    [
        (100, 200, False, False),
        (9, 200, True, False),
        (11, 200, False, False),
        (1.9, 20, True, False),
        (2.1, 20, False, False),
        (0.4, 20, True, True),
        (21, 10_000, False, False),
        (19, 10_000, True, False),
        (0, 0.2, True, True),
    ],
)
def test_low_is_a_twentieth_within_bounds(free: float, total: float, is_low: bool, is_nearly_full: bool) -> None:
    space = DiskSpace(int(free * GB), int(total * GB))

    assert (space.is_low, space.is_nearly_full) == (is_low, is_nearly_full)


def test_it_is_said_in_round_figures() -> None:
    assert DiskSpace(int(1.26 * GB), 220 * GB).words == "1.2 GB of 220.0 GB are free"
    assert DiskSpace(350 * 1024**2, 20 * GB).words == "300 MB of 20.0 GB are free"


def test_a_disk_that_cannot_be_seen_is_unknown(settings: Any, tmp_path: Any) -> None:
    settings.DATABASE_FOLDER = ""
    assert database_disk() is None
    settings.DATABASE_FOLDER = str(tmp_path / "absent")
    assert database_disk() is None
    settings.DATABASE_FOLDER = str(tmp_path)
    found = database_disk()
    assert found is not None
    assert 0 < found.free_bytes < found.total_bytes
