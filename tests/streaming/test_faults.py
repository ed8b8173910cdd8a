"""Each thing that a websocket can do wrong, on all five venues at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest

from collectors.models import Run
from tests.streaming.conftest import FIVE, INTERVAL_SECONDS, SILENCE_SECONDS, WEBSOCKETS, Site

pytestmark = [pytest.mark.system, pytest.mark.timeout(90)]
SLACK_SECONDS = 2.0  # on a busy machine; the switch itself is a tick and two statements


@pytest.fixture
def listening(site: Site) -> Site:
    site.add(*FIVE)
    site.wait_for_streams(*FIVE)
    return site


BREAKING: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "the venue closes": [("ws_close", {})],
    "the connection is reset": [("ws_reset", {})],
    "silence": [("ws_silence", {})],
    "pings unanswered": [("ws_no_pong", {})],
    "nothing but values that are none": [("override", {"params": {"field": "last", "raw": '"NaN"'}})],
    "subscriptions refused": [("ws_close", {"count": 5}), ("ws_refuse", {})],
    "subscriptions unanswered": [("ws_close", {"count": 5}), ("ws_no_answer", {})],
    "handshake 429": [("ws_close", {"count": 5}), ("status", {"params": {"code": 429, "retry_after": 2}})],
    "handshake 503": [("ws_close", {"count": 5}), ("status", {"params": {"code": 503}})],
    "handshake hangs": [("ws_close", {"count": 5}), ("hang", {})],
}


def test_a_stream_that_fails_is_polled_meanwhile_and_comes_back(listening: Site):
    """One after the other on the same five, which must have recovered wholly from each."""
    for name, faults in BREAKING.items():
        _break_and_heal(listening, name, faults)


def _break_and_heal(site: Site, name: str, faults: Sequence[tuple[str, dict[str, Any]]]) -> None:
    began = time.time()
    for kind, details in faults:
        site.sandbox.fault("*", kind, path=WEBSOCKETS, **details)
    site.wait_until(
        lambda: set(FIVE) <= site.switched_to_polls(began).keys(),
        seconds=SILENCE_SECONDS + SLACK_SECONDS,
        what=f"{name}: all five are polled",
    )
    polled_at = time.time()
    site.wait_until(
        lambda: all(site.rows(exchange, since=polled_at) for exchange in FIVE),
        seconds=2 * INTERVAL_SECONDS + SLACK_SECONDS,
        what=f"{name}: rows of polls",
    )
    site.sandbox.heal()
    site.wait_for_streams(*FIVE)
    for exchange in FIVE:
        assert site.simultaneous_connections(exchange) == 0, name
        assert all(gap.ended_at is not None for gap in site.gaps(exchange)), name


def test_poisoned_frames_cost_nothing_but_themselves(listening: Site):
    site, began = listening, time.time()
    for kind in ("ws_broken", "ws_nan", "ws_unknown_symbol"):
        site.sandbox.fault("*", kind, path=WEBSOCKETS, for_seconds=SILENCE_SECONDS + 0.5)
    site.sandbox.fault("kraken", "ws_burst", path=WEBSOCKETS, count=1, params={"frames": 10_000})

    time.sleep(SILENCE_SECONDS + 0.7)

    assert site.switched_to_polls(began) == {}
    for exchange in FIVE:
        assert site.rows(exchange, since=time.time() - 1.5) > 0
        assert len(site.connections(exchange)) == 1
    overtaken = Run.objects.filter(exchange_id="kraken", excerpt__contains="overtaken").values_list(
        "excerpt", flat=True
    )
    assert max(int(excerpt.split()[0]) for excerpt in overtaken) > 9_000


def test_a_stream_that_contradicts_a_poll_is_not_believed(listening: Site):
    site, began = listening, time.time()
    site.sandbox.fault("kraken", "override", path="ws.kraken", params={"field": "last", "value": "64000.0"})

    site.wait_until(
        lambda: "kraken" in site.switched_to_polls(began), seconds=3 * INTERVAL_SECONDS + SLACK_SECONDS, what="a switch"
    )
    assert site.switched_to_polls(began).keys() == {"kraken"}
