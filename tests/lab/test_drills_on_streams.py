"""A drill on an exchange that is listened to, by a real stream process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from board.models import Drill, DrillState
from marketmon import pulse
from tests.streaming.conftest import SILENCE_SECONDS, Site, listener, site, talkative_sandbox

__all__ = ["listener", "site", "talkative_sandbox"]

pytestmark = [pytest.mark.system, pytest.mark.timeout(90)]


@pytest.fixture
def listening(site: Site, settings: Any) -> Iterator[Site]:
    settings.STREAM_SILENCE_SECONDS = SILENCE_SECONDS
    site.add("binance", intervals={"binance": 2.0})  # two of them, which make a gap, are longer than the silence
    site.wait_for_streams("binance")
    is_over = threading.Event()

    def beat() -> None:
        while not is_over.wait(0.3):
            pulse.tick()
        connection.close()

    thread = threading.Thread(target=beat)
    thread.start()
    yield site
    is_over.set()
    thread.join()


def test_a_silent_stream_is_detected_shown_and_healed(listening: Site):
    call_command("drill", "silent-stream", "binance", "BTC/USDT", seconds=5.0, stdout=StringIO())

    drill = Drill.objects.get()
    assert drill.state == DrillState.PASSED, drill.verdict
    assert "no ticker for" in drill.detected_by
    # Degraded from the stream's last cycle, which failed, to the first poll; then polled.
    assert drill.shown_by.removeprefix("the board's tile: ") in ("degraded", "by poll")
    assert listening.delivering() == {"binance"}


def test_what_a_stream_hides_is_not_broken(listening: Site):
    with pytest.raises(CommandError, match="binance is listened to, and would not notice html"):
        call_command("drill", "html", "binance", stdout=StringIO())
