"""A backup of the test's own database is restored beside it, and proven; what is wrong is found."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from access import keys
from access.models import ApiKey, Tier
from collectors.models import Tick, Watermark, Worker
from exchanges.models import Exchange
from incidents.signs import health
from lib import clock
from marketmon.backup import archive, databases, drill, making, restoring, sealing
from marketmon.backup.restoring import CannotRestore, NotProven
from tests.gaps.conftest import Field, field_

__all__ = ["field_"]
pytestmark = pytest.mark.django_db(transaction=True)
PASSPHRASE = "correct horse battery"


@pytest.fixture
def made(field_: Field, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A backup of two pipelines with rows that no rollup has counted yet, and of an API key."""
    monkeypatch.setattr(sealing, "COST", {"n": 2**4, "r": 8, "p": 1})
    settings.DATABASE_FOLDER, settings.BACKUP_PASSPHRASE = str(tmp_path), PASSPHRASE
    field_.add("kraken", 2)
    start = clock.now().replace(microsecond=0) - timedelta(seconds=60)
    for seconds in (0, 10, 20):
        field_.store("kraken", start + timedelta(seconds=seconds))
    tier, _ = Tier.objects.get_or_create(name="free", defaults={"rank": 1, "max_rows": 1})
    keys.issue("somebody", tier, now=clock.now())
    return making.make(making.Wish(tmp_path / "backups", PASSPHRASE), now=clock.now())


@pytest.fixture
def another() -> Iterator[str]:
    name = f"{databases.name()}_other"
    yield name
    with databases.scratch(name):
        pass


def test_a_backup_is_restored_beside_the_running_system_and_is_the_same(made: Path, another: str, capsys: Any) -> None:
    before = Worker.objects.get(pk="kraken").generation
    hashes = list(ApiKey.objects.values_list("public_id", flat=True))
    ticks = Tick.objects.count()

    call_command("restore", str(made), "--into", another, "--verify")

    assert "proven:" in capsys.readouterr().out
    with databases.chosen(another):
        assert list(ApiKey.objects.values_list("public_id", flat=True)) == hashes
        assert Tick.objects.count() == ticks == 6  # what no rollup has counted came along
        worker = Worker.objects.get(pk="kraken")
        assert worker.generation == before + restoring.GENERATIONS
        assert worker.lease_until is None
    assert Worker.objects.get(pk="kraken").generation == before


def test_a_drill_proves_it_and_leaves_nothing_behind(made: Path, tmp_path: Path, settings: Any) -> None:
    proof = drill.prove(made, passphrase=PASSPHRASE, now=clock.now())

    assert proof.rows > 2
    assert not databases.exists(f"{databases.name()}_drill")
    seen, _ = health.ask_processes()
    assert seen.backups.proven_at is not None
    assert not seen.backups.has_failed
    assert health._backup_alarms(seen.backups, clock.now() + timedelta(days=2)) == []
    assert health._backup_alarms(seen.backups, clock.now() + timedelta(days=4)) != []

    (made / archive.DUMP).write_bytes(b"PGDMP")
    with pytest.raises(archive.BackupDamaged):
        drill.prove(made, passphrase=PASSPHRASE, now=clock.now())
    assert health.ask_processes()[0].backups.has_failed


def test_rows_that_did_not_arrive_are_found(made: Path) -> None:
    manifest = replace(archive.read(made), rows={"exchanges_exchange": 1})
    restoring.prove(manifest)
    Exchange.objects.create(id="luno", name="Luno")

    with pytest.raises(NotProven, match="exchanges_exchange has 2 rows instead of 1"):
        restoring.prove(manifest)


def test_a_database_that_holds_anything_is_refused_and_unchanged(made: Path) -> None:
    Worker.objects.update(lease_until=clock.now() + timedelta(seconds=60))
    Watermark.objects.update_or_create(name="beat", defaults={"reached_at": clock.now()})

    with pytest.raises(CommandError, match=r"is not empty .*1 leases are held and beat runs.*nothing was changed"):
        call_command("restore", str(made))


def test_a_drill_wants_to_see_the_disk_and_room_on_it(
    made: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DATABASE_FOLDER = ""
    with pytest.raises(CannotRestore, match="DATABASE_FOLDER"):
        drill.prove(made, passphrase=PASSPHRASE, now=clock.now())

    settings.DATABASE_FOLDER = str(made)
    monkeypatch.setattr(drill, "ROOM", 10**12)
    with pytest.raises(CannotRestore, match="of room, and a drill wants"):
        drill.prove(made, passphrase=PASSPHRASE, now=clock.now())


def test_a_backup_of_a_newer_release_is_refused(made: Path, another: str) -> None:
    told = json.loads((made / archive.MANIFEST).read_text())
    del told["sha256"]
    (made / archive.MANIFEST).unlink()
    archive.write_manifest(
        made, archive.Manifest(**{**told, "migrations": ["access.9999_tomorrow"], "version": "9.0.0"})
    )

    with pytest.raises(CommandError, match=r"release 9\.0\.0.*access\.9999_tomorrow"):
        call_command("restore", str(made), "--into", another)


def test_one_that_fails_on_the_way_has_no_name(field_: Field, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "program", lambda name: shutil.which("false"))

    with pytest.raises(databases.ProgramFailed, match="pg_dump ended with code 1"):
        making.make(making.Wish(tmp_path, None), now=clock.now())

    assert list(tmp_path.iterdir()) == []
    assert connection.in_atomic_block is False


def test_a_night_makes_one_proves_it_and_keeps_some(made: Path, settings: Any) -> None:
    settings.BACKUP_FOLDER, settings.BACKUPS_KEPT = str(made.parent), 1

    assert drill._one_night(clock.now() + timedelta(seconds=2))

    [kept] = archive.in_folder(made.parent)
    assert kept != made
    assert not made.exists()
    assert health.ask_processes()[0].backups.proven_at is not None


def test_a_night_that_fails_is_tried_again_and_keeps_what_there_is(
    made: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BACKUP_FOLDER = str(made.parent)
    monkeypatch.setattr(databases, "program", lambda name: shutil.which("false"))

    assert not drill._one_night(clock.now() + timedelta(seconds=2))
    assert archive.in_folder(made.parent) == [made]
