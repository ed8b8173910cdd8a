"""A process that goes round touches its file; without one nothing is written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from celery.utils.timer2 import Timer

from lib import liveness
from marketmon import pulse
from marketmon.celery import SignOfLife


@pytest.fixture
def alive(tmp_path: Path, settings: Any) -> Path:
    settings.LIVENESS_FILE = str(tmp_path / "alive")
    return tmp_path / "alive"


def test_every_sign_is_newer_than_the_last(alive: Path) -> None:
    liveness.note()
    os.utime(alive, (0, 0))

    liveness.note()

    assert alive.stat().st_mtime > 0


def test_a_place_that_cannot_be_written_stops_nobody(settings: Any) -> None:
    settings.LIVENESS_FILE = "/dev/null/alive"

    liveness.note()

    assert not os.path.lexists("/dev/null/alive")


def test_the_pulse_shows_it_with_the_first_beat(alive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class StopNow(Exception):
        pass

    def beat_once() -> None:
        if alive.exists():
            raise StopNow

    monkeypatch.setattr(pulse, "tick", beat_once)
    monkeypatch.setattr(pulse.signal, "signal", lambda *_: None)
    monkeypatch.setattr(pulse.settings, "PULSE_SECONDS", 0.0)

    with pytest.raises(StopNow):
        pulse.run_forever()


def test_the_workers_loop_shows_it(alive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Worker:
        timer = Timer()

    step = SignOfLife(Worker())
    monkeypatch.setattr("marketmon.celery.LIVENESS_SECONDS", 0.01)

    step.start(Worker())
    step.rounds()
    step.stop(Worker())

    assert alive.exists()
