"""Runs say which transport brought their rows, those of the release before included."""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.db import connection

from collectors.models import Run
from lib import clock
from tests.api.conftest import make_exchange

marking = import_module("collectors.migrations.0013_transport_of_stored_runs")

pytestmark = pytest.mark.django_db

BY_THE_RELEASE_BEFORE = """
INSERT INTO collectors_run (exchange_id, started_at, duration_ms, outcome, rows_answered, rows_stored,
                            rows_quarantined, quarantine, error, excerpt, correlation_id)
VALUES ('kraken', now(), 5, 'stored', 1, 1, 0, '[]', '', '', 'c1')
"""


def test_runs_that_were_a_streams_by_the_old_mark_are_found_in_any_batch(monkeypatch: pytest.MonkeyPatch):
    now = clock.now()
    make_exchange("kraken", now)
    ids = ["websocket", "stream", "c0ffee", "", "websocket"]
    Run.objects.bulk_create(
        Run(
            exchange_id="kraken",
            started_at=now - timedelta(seconds=number),
            duration_ms=5,
            outcome="stored",
            correlation_id=each,
        )
        for number, each in enumerate(ids)
    )
    monkeypatch.setattr(marking, "BATCH", 2)

    for _ in range(2):
        with connection.schema_editor() as editor:
            marking.mark(apps, editor)

        marked = Run.objects.order_by("id").values_list("transport", flat=True)
        assert list(marked) == ["stream", "poll", "poll", "poll", "stream"]


def test_an_empty_table_has_nothing_to_mark():
    with connection.schema_editor() as editor:
        marking.mark(apps, editor)

    assert not Run.objects.exists()


def test_the_release_before_which_names_no_transport_can_still_write():
    make_exchange("kraken", clock.now())
    with connection.cursor() as cursor:
        cursor.execute(BY_THE_RELEASE_BEFORE)

    assert Run.objects.get().transport == "poll"
