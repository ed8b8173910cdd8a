"""What a stream's end is written down as."""

from __future__ import annotations

import pytest

from collectors.streaming.handshake import LeaseLost, StreamFault, Unfit, for_the_record
from feeds.base import Throttled
from feeds.network_guard import PrivateAddress

ENDS: dict[str, tuple[Exception, str]] = {
    "a private address": (PrivateAddress("10.0.0.1", "api.example"), "not_connected"),
    "a silent stream": (StreamFault("no ticker for 6 s"), "unreachable"),
    "tickers that nobody can store": (Unfit("no ticker fit to store"), "bad_reply"),
    "a lost lease": (LeaseLost("this process stood still"), "failed"),
    "an exchange that asks us to wait": (Throttled("429"), "throttled"),
    "an error of ours": (KeyError("BTC/USD"), "failed"),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_streams_end_is_recorded_under_the_word_of_its_cause(name: str):
    error, outcome = ENDS[name]

    record = for_the_record(error)

    assert record.kind == outcome
    assert str(record) == f"websocket: {str(error).strip()}"
