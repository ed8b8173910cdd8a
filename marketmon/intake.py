"""Which queues a worker takes tasks from: all of them, polls alone, or none."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import structlog
from celery import bootsteps, signals
from celery.worker import state

from lib import clock
from lib.queues import DEFAULT_QUEUE, POLL_QUEUE, QUEUES

LOOK_SECONDS = 0.5
log = structlog.get_logger(__name__)


def wanted_queues(own: Iterable[str], *, jobs: int, children: int, is_far_off: bool) -> list[str]:
    """Returns those of a worker's own queues that it shall take from now.

    None while its host's clock is far off. Polls alone while half of its children do other work: a poll waits for
    none of it, and filling a hundred exchanges' gaps costs no slot.
    """
    own = list(own)
    if is_far_off:
        return []
    is_shared = POLL_QUEUE in own and children > 1
    return [queue for queue in own if queue != DEFAULT_QUEUE or not is_shared or jobs < children // 2]


class Intake(bootsteps.StartStopStep):
    """A step of the consumer that leaves and takes up queues."""

    requires = ("celery.worker.consumer:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self.own: list[str] = []
        self.taken: list[str] = []
        self.rounds: Any = None
        self._consumer = consumer
        signals.task_received.connect(self.received)

    def start(self, consumer: Any) -> None:
        """Begins with all queues: a connection that is made anew takes from those that were selected."""
        self.own = self.own or [queue for queue in QUEUES if queue in consumer.app.amqp.queues.consume_from]
        selected = consumer.app.amqp.queues.consume_from
        self.taken = [queue for queue in self.own if queue in selected]
        self.look(consumer)
        self.rounds = consumer.timer.call_repeatedly(LOOK_SECONDS, self.look, (consumer,))

    def stop(self, consumer: Any) -> None:
        if self.rounds is not None:
            self.rounds.cancel()

    def received(self, request: Any, **_: Any) -> None:
        """Looks before the next message is asked for: this one is not counted yet."""
        self.look(self._consumer, [request])

    def look(self, consumer: Any, coming: Collection[Any] = ()) -> None:
        is_far_off = clock.state().is_far_off
        jobs = sum(_is_job(request) for request in {*state.reserved_requests, *coming})
        wanted = wanted_queues(self.own, jobs=jobs, children=_children(consumer), is_far_off=is_far_off)
        if bool(wanted) != bool(self.taken):
            log.warning("tasks_are_taken_again" if wanted else "no_task_is_taken", ahead_seconds=clock.ahead_seconds())
        for queue in self.own:
            if queue in wanted and queue not in self.taken:
                consumer.add_task_queue(queue)
            elif queue in self.taken and queue not in wanted:
                consumer.cancel_task_queue(queue)
        self.taken = wanted


def _is_job(request: Any) -> bool:
    return bool(request.delivery_info.get("routing_key") == DEFAULT_QUEUE)


def _children(consumer: Any) -> int:
    return int(getattr(consumer.controller, "concurrency", 1) or 1)
