"""A worker whose host's clock is far off takes no task; a message ends by one clock, whoever takes it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from celery.worker.request import Request
from celery.worker.state import revoked

from lib import clock
from marketmon.celery import ClockGuard, TimedRequest, app

FAR = clock.ClockState(3600.0, True, False, False)
NEAR = clock.ClockState(0.0, False, False, False)


class FakeConsumer(SimpleNamespace):
    """Notes what it is told, as Celery's consumer would carry it out."""

    def __init__(self) -> None:
        super().__init__(told=[], timer=SimpleNamespace(call_repeatedly=lambda *_: None))

    def add_task_queue(self, queue: str) -> None:
        self.told.append(("takes", queue))

    def cancel_task_queue(self, queue: str) -> None:
        self.told.append(("leaves", queue))


@pytest.fixture
def the_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[clock.ClockState], None]:
    return lambda state: monkeypatch.setattr(clock, "state", lambda: state)


def test_it_leaves_all_queues_until_its_clock_is_right(the_clock: Callable[[clock.ClockState], None]) -> None:
    consumer = FakeConsumer()
    guard = ClockGuard(consumer)
    the_clock(NEAR)
    guard.start(consumer)
    assert consumer.told == []

    the_clock(FAR)
    guard.look(consumer)
    guard.look(consumer)
    the_clock(NEAR)
    guard.look(consumer)

    assert consumer.told == [("leaves", "poll"), ("leaves", "default"), ("takes", "poll"), ("takes", "default")]


def test_one_that_starts_so_takes_nothing(the_clock: Callable[[clock.ClockState], None]) -> None:
    consumer = FakeConsumer()
    the_clock(FAR)

    ClockGuard(consumer).start(consumer)

    assert {told for told, _ in consumer.told} == {"leaves"}


@pytest.mark.parametrize(("seconds", "is_over"), [(5, None), (-5, True)], ids=["in time", "over"])
def test_a_message_is_over_by_our_clock(monkeypatch: pytest.MonkeyPatch, seconds: float, is_over: Any) -> None:
    right = clock.now()
    monkeypatch.setattr(clock, "now", lambda: right)
    message = TimedRequest.__new__(TimedRequest)
    monkeypatch.setattr(Request, "expires", right + timedelta(seconds=seconds))
    monkeypatch.setattr(Request, "id", "a-message")

    assert message.maybe_expire() is is_over
    assert ("a-message" in revoked) is bool(is_over)
    revoked.discard("a-message")


def test_messages_and_schedules_are_stamped_by_our_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = clock.now() + timedelta(hours=1)
    monkeypatch.setattr(clock, "now", lambda: ahead)

    assert app.now() == ahead
    assert app.Task.Request == "marketmon.celery:TimedRequest"
