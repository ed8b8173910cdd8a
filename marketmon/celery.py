"""The Celery app: named queues, task routes, and connections that outlive a task but not a database restart."""

import gc
import os
from typing import Any

from celery import Celery, bootsteps, signals
from django_structlog.celery.steps import DjangoStructLogInitStep
from kombu import Queue

from lib.queues import DEFAULT_QUEUE, POLL_QUEUE

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketmon.settings")

LIVENESS_SECONDS = 5.0


class SignOfLife(bootsteps.StartStopStep):
    """A sign that the worker's own loop goes round; what its children do is limited in time and seen in the rows."""

    requires = ("celery.worker.components:Timer",)
    rounds: Any = None

    def start(self, worker: Any) -> None:
        from lib import liveness  # once Django is set up

        self.rounds = worker.timer.call_repeatedly(LIVENESS_SECONDS, liveness.note)

    def stop(self, worker: Any) -> None:
        if self.rounds is not None:
            self.rounds.cancel()


app = Celery("marketmon")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.task_queues = (Queue(POLL_QUEUE), Queue(DEFAULT_QUEUE))
app.conf.task_routes = {"collectors.tasks.collect_exchange": {"queue": POLL_QUEUE}}
# Celery closes the database connection after every task; reuse is twice as fast, and the two handlers
# below throw away a connection that a restarted PostgreSQL has dropped (without them every task would fail).
app.conf["CELERY_DB_REUSE_MAX"] = 10**9
app.steps["worker"].add(DjangoStructLogInitStep)
app.steps["worker"].add(SignOfLife)
app.autodiscover_tasks()


@signals.task_prerun.connect
@signals.task_postrun.connect
def drop_dead_connections(**_: Any) -> None:
    from django.db import close_old_connections

    close_old_connections()


@signals.worker_init.connect
def share_memory_with_children(**_: Any) -> None:
    """Freezes what the parent has imported by now: without it the first collection in a child copies it all."""
    gc.collect()
    gc.freeze()


@signals.setup_logging.connect
def keep_django_logging(**_: Any) -> None:
    """Keeps the logging that settings.LOGGING set up: Celery leaves it alone when somebody listens here."""
