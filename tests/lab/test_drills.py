"""Drills that `make test` does not make, on an exchange that is polled."""

from __future__ import annotations

import pytest

from tests.board.test_drills import check_drill, collecting, kraken

__all__ = ["collecting", "kraken"]


@pytest.mark.parametrize("fault", ["html", "nonsense", "missing"])
def test_what_is_broken_is_detected_shown_and_healed(fault: str, collecting: None):
    check_drill(fault)
