from __future__ import annotations

import time

import requests

from tests.sandbox_client import Sandbox

TIME = "/api.kraken.com/0/public/Time"


def ask(sandbox: Sandbox) -> requests.Response:
    return requests.get(sandbox.url + TIME, timeout=5)


def test_a_venue_that_counts_refuses_what_is_above_its_limit(sandbox: Sandbox) -> None:
    sandbox.limit("kraken", 3, seconds=30)

    answers = [ask(sandbox) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[3].headers["Retry-After"] == "30.0"
    counted = sandbox.counted("kraken")
    assert (counted["most"], counted["counted"], counted["refused"]) == (4, 4, 1)


def test_its_window_slides(sandbox: Sandbox) -> None:
    sandbox.limit("kraken", 2, seconds=0.3)
    ask(sandbox)
    ask(sandbox)
    time.sleep(0.31)

    assert ask(sandbox).status_code == 200


def test_a_ban_outlasts_the_window(sandbox: Sandbox) -> None:
    sandbox.limit("kraken", 1, seconds=0.2, ban_seconds=30)
    while ask(sandbox).status_code == 200:
        pass  # two within a window are soon made
    time.sleep(0.21)

    assert ask(sandbox).status_code == 429


def test_others_are_not_limited_and_a_healed_venue_neither(sandbox: Sandbox) -> None:
    sandbox.limit("luno", 1, seconds=30)
    assert [ask(sandbox).status_code for _ in range(3)] == [200] * 3
    sandbox.limit("kraken", 1, seconds=30)
    sandbox.heal()

    assert [ask(sandbox).status_code for _ in range(3)] == [200] * 3


def test_nonsense_is_refused(sandbox: Sandbox) -> None:
    for order in ({}, {"exchange": "kraken", "requests": 0}, {"exchange": "kraken", "requests": 1, "seconds": -1}):
        assert requests.post(f"{sandbox.url}/_sandbox/limits", json=order, timeout=5).status_code == 400
