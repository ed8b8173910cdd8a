"""The Celery app: named queues, task routes, and connections that outlive a task but not a database restart.

Its time is ours (`lib.clock`): a message expires by one clock, whichever host's sent it and whichever's takes it.
"""

import contextlib
import gc
import os
from datetime import datetime
from typing import Any, Literal

import redis
import structlog
from celery import Celery, bootsteps, signals
from celery.worker.request import Request
from celery.worker.state import revoked as revoked_tasks
from django_structlog.celery.steps import DjangoStructLogInitStep
from kombu import Queue
from kombu.transport import redis as kombu_redis

from lib import clock
from lib.queues import DEFAULT_QUEUE, POLL_QUEUE
from marketmon.intake import Intake

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketmon.settings")

LIVENESS_SECONDS = 2.0
log = structlog.get_logger(__name__)


class TimedCelery(Celery):
    """An app whose now is ours: by it messages are stamped with their end, and schedules are due."""

    def now(self) -> datetime:
        return clock.now().astimezone(self.timezone)


class TimedRequest(Request):
    """A message that expires by our clock: by the host's own, one that is ahead would throw the whole queue away."""

    def maybe_expire(self) -> Literal[True] | None:
        if not self.expires or clock.now() <= self.expires:
            return None
        revoked_tasks.add(self.id)
        return True


class SignOfLife(bootsteps.StartStopStep):
    """A sign that the worker's own loop goes round; what its children do is limited in time and seen in the rows."""

    requires = ("celery.worker.components:Timer",)
    rounds: Any = None

    def start(self, worker: Any) -> None:
        self.rounds = worker.timer.call_repeatedly(LIVENESS_SECONDS, self.note)

    def note(self) -> None:
        from lib import liveness, processes  # once Django is set up

        liveness.note()
        with contextlib.suppress(redis.RedisError):
            processes.say()

    def stop(self, worker: Any) -> None:
        if self.rounds is not None:
            self.rounds.cancel()


app = TimedCelery("marketmon")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.task_queues = (Queue(POLL_QUEUE), Queue(DEFAULT_QUEUE))
app.conf.task_routes = {"collectors.tasks.collect_exchange": {"queue": POLL_QUEUE}}
# Celery closes the database connection after every task; reuse is twice as fast, and the two handlers
# below throw away a connection that a restarted PostgreSQL has dropped (without them every task would fail).
app.conf["CELERY_DB_REUSE_MAX"] = 10**9
app.steps["worker"].add(DjangoStructLogInitStep)
app.steps["worker"].add(SignOfLife)
app.steps["consumer"].add(Intake)
app.Task.Request = "marketmon.celery:TimedRequest"
# By this, kombu judges which messages were taken too long ago and belong to nobody: those of all workers.
kombu_redis.time = clock.unix  # type: ignore[attr-defined]
app.autodiscover_tasks()


@signals.task_prerun.connect
@signals.task_postrun.connect
def drop_dead_connections(**_: Any) -> None:
    from django.db import close_old_connections

    close_old_connections()


@signals.worker_init.connect
def prepare_worker(**_: Any) -> None:
    """Removes what would end a worker at once, and compares clocks before the first task is taken."""
    from lib import process, queues

    with contextlib.suppress(redis.RedisError):
        queues.heal()
    process.begin("worker", forks=True)
    _close_connections()


@signals.worker_process_init.connect
def compare_clocks_in_child(**_: Any) -> None:
    """Compares clocks in the children: what one finds is known to all, and to the parent, which may have no thread."""
    from lib import database_clock

    database_clock.watch()


@signals.beat_init.connect
def begin_beat(**_: Any) -> None:
    from lib import process

    process.begin("beat")


@signals.worker_init.connect
def share_memory_with_children(**_: Any) -> None:
    """Freezes what the parent has imported by now: without it the first collection in a child copies it all."""
    gc.collect()
    gc.freeze()


@signals.worker_init.connect
@signals.beat_init.connect
def refuse_wrong_servers(**_: Any) -> None:
    from marketmon import servers  # once Django is set up

    servers.require()


@signals.setup_logging.connect
def keep_django_logging(**_: Any) -> None:
    """Keeps the logging that settings.LOGGING set up: Celery leaves it alone when somebody listens here."""


def _close_connections() -> None:
    from django.db import connections

    connections.close_all()  # a child may not share its parent's
