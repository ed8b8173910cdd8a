"""The board says that the database's disk is nearly full before it is, and how old the last proof of a backup is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.template.loader import render_to_string

from incidents.rules.verdict import Tone
from incidents.signs import health
from lib import clock
from lib.disk import DiskSpace

pytestmark = pytest.mark.django_db
GB = 1024**3


def found(monkeypatch: pytest.MonkeyPatch, disk: DiskSpace | None) -> tuple[Any, list[Any]]:
    monkeypatch.setattr(health, "database_disk", lambda: disk)
    now = clock.now()
    seen, milliseconds = health.ask_processes()
    work: Any = SimpleNamespace(runs_last_minute=1, rows_last_minute=1)
    proof = health.assess(work, seen, milliseconds, exchanges=1, streamed=0, now=now)
    return proof, [alarm for alarm in health.alarms(proof, seen, now) if alarm.cause == "disk"]


@pytest.mark.parametrize(("free", "tone"), [(1.26 * GB, Tone.WARNING), (0.4 * GB, Tone.DANGER)])
def test_a_disk_that_is_nearly_full_is_an_alarm(monkeypatch: pytest.MonkeyPatch, free: float, tone: Tone) -> None:
    proof, alarms = found(monkeypatch, DiskSpace(int(free), 220 * GB))

    [alarm] = alarms
    assert alarm.tone == tone
    assert "of 220.0 GB are free" in str(alarm)
    assert proof.disk.words in render_to_string("board/live/health.html", {"health": proof})


@pytest.mark.parametrize("disk", [None, DiskSpace(100 * GB, 220 * GB)], ids=["cannot be seen", "has room"])
def test_one_with_room_is_none_nor_one_that_cannot_be_seen(
    monkeypatch: pytest.MonkeyPatch, disk: DiskSpace | None
) -> None:
    assert found(monkeypatch, disk)[1] == []


def test_a_proof_that_never_came_is_said_where_backups_are_made(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    page = "board/live/health.html"
    assert "restore proven" not in render_to_string(page, {"health": found(monkeypatch, None)[0]})

    settings.BACKUPS_ARE_EXPECTED = True

    assert "<dt>restore proven</dt><dd>never</dd>" in render_to_string(page, {"health": found(monkeypatch, None)[0]})
