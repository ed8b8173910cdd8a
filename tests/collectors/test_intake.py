"""A worker leaves room for polls, and takes no task by a wrong clock; a message ends by one clock, whoever takes it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from celery.worker.request import Request
from celery.worker.state import revoked

from lib import clock
from marketmon.celery import TimedRequest, app
from marketmon.intake import Intake, wanted_queues

FAR = clock.ClockState(3600.0, True, False, False)
NEAR = clock.ClockState(0.0, False, False, False)


class FakeConsumer(SimpleNamespace):
    """Notes what it is told, as Celery's consumer would carry it out."""

    def __init__(self) -> None:
        super().__init__(
            told=[],
            timer=SimpleNamespace(call_repeatedly=lambda *_: None),
            app=SimpleNamespace(amqp=SimpleNamespace(queues=SimpleNamespace(consume_from={"poll", "default"}))),
            controller=SimpleNamespace(concurrency=4),
        )

    def add_task_queue(self, queue: str) -> None:
        self.told.append(("takes", queue))

    def cancel_task_queue(self, queue: str) -> None:
        self.told.append(("leaves", queue))


class Job:
    """A request of a worker, as far as the intake reads it."""

    def __init__(self) -> None:
        self.delivery_info = {"routing_key": "default"}


@pytest.fixture
def the_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[clock.ClockState], None]:
    return lambda state: monkeypatch.setattr(clock, "state", lambda: state)


def test_it_leaves_all_queues_until_its_clock_is_right(the_clock: Callable[[clock.ClockState], None]) -> None:
    consumer = FakeConsumer()
    guard = Intake(consumer)
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

    Intake(consumer).start(consumer)

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


@pytest.mark.parametrize(
    ("own", "jobs", "children", "taken"),
    [
        (["poll", "default"], 1, 4, ["poll", "default"]),
        (["poll", "default"], 2, 4, ["poll"]),
        (["poll", "default"], 1, 3, ["poll"]),
        (["poll", "default"], 9, 1, ["poll", "default"]),  # one child cannot be shared
        (["default"], 9, 4, ["default"]),  # a worker for jobs has no polls to leave room for
        (["poll"], 0, 4, ["poll"]),
    ],
)
def test_half_of_the_children_are_left_to_polls(own: list[str], jobs: int, children: int, taken: list[str]) -> None:
    assert wanted_queues(own, jobs=jobs, children=children, is_far_off=False) == taken
    assert wanted_queues(own, jobs=jobs, children=children, is_far_off=True) == []


def test_a_job_too_many_is_left_where_it_is_before_it_is_asked_for(the_clock: Callable[..., None]) -> None:
    consumer = FakeConsumer()
    the_clock(NEAR)
    intake = Intake(consumer)
    intake.start(consumer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("celery.worker.state.reserved_requests", {Job()})
        intake.look(consumer)
        assert consumer.told == []
        intake.look(consumer, [Job()])
        assert consumer.told == [("leaves", "default")]
    intake.look(consumer)

    assert consumer.told == [("leaves", "default"), ("takes", "default")]
