"""Exports give back what they hold, however they end."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from collectors.history import exports


def test_an_export_that_finds_no_thread_makes_room_for_the_next(world, monkeypatch):
    whole = {"start": world.now - timedelta(hours=1), "end": world.now, "now": world.now}
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _no_thread)
        for _ in range(exports.MOST_AT_ONCE + 1):
            with pytest.raises(RuntimeError, match="can't start"):
                exports.stream(exports.KINDS["gaps"], whole)

    assert b"".join(exports.stream(exports.KINDS["gaps"], whole)).startswith(b"id,exchange,symbol")


def _no_thread(self: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
