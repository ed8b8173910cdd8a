"""Who starts early waits for what is prepared, and for nothing where nothing is awaited."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from lib import starting


def test_it_waits_until_the_file_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    awaited = tmp_path / "tables"
    monkeypatch.setenv(starting.AWAITED, str(awaited))
    waiting = threading.Thread(target=starting.wait)
    waiting.start()
    waiting.join(0.15)
    assert waiting.is_alive()

    awaited.touch()

    waiting.join(5)
    assert not waiting.is_alive()


def test_in_production_nothing_is_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(starting.AWAITED, raising=False)

    starting.wait()
