"""Proves that a backup can be restored: into a scratch database, which is compared and judged, and then dropped."""

from __future__ import annotations

import json
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from django.conf import settings
from django.db import connection

from collectors.models import Watermark
from collectors.status import backups
from lib import clock, liveness
from lib.disk import database_disk, in_words
from marketmon.backup import archive, databases, making, restoring, sealing
from marketmon.backup.archive import Manifest
from marketmon.backup.restoring import CannotRestore, Proof

ROOM = 2  # times what the restored database takes: it stands beside the real one, and its journal beside both
HOUR = 3  # of the night, UTC
AGAIN_SECONDS = 3600.0
LOOK_SECONDS = 5.0

log = structlog.get_logger(__name__)


def prove(folder: Path, *, passphrase: str | None, now: datetime) -> Proof:
    """Restores a backup into a scratch database and remembers that it could be done. Raises BackupDamaged,
    WrongPassphrase, CannotRestore, ProgramFailed, NotProven."""
    try:
        proof = _prove(folder, passphrase, now)
    except Exception:
        remember(backups.FAILED, now)
        raise
    remember(backups.PROVEN, now)
    return proof


def remember(cursor: str, now: datetime) -> None:
    Watermark.objects.update_or_create(name=cursor, defaults={"reached_at": now})


def _prove(folder: Path, passphrase: str | None, now: datetime) -> Proof:
    manifest = archive.read(folder)
    if archive.KEYS in manifest.files and passphrase is not None:
        sealing.unseal(json.loads((folder / archive.KEYS).read_text(encoding="utf-8")), passphrase)
    require_room(manifest)
    with databases.scratch(f"{databases.name()}_drill"):
        restoring.restore(folder, manifest, now=now)
        return restoring.prove(manifest)


def require_room(manifest: Manifest) -> None:
    disk, wanted = database_disk(), ROOM * manifest.database_bytes
    if disk is None:
        raise CannotRestore(
            "how much room the database's disk has cannot be seen from here, so nothing is restored beside it: set "
            "DATABASE_FOLDER to a folder on that disk"
        )
    if disk.free_bytes < wanted:
        raise CannotRestore(
            f"the database's disk has {in_words(disk.free_bytes)} of room, and a drill wants {in_words(wanted)}"
        )


# --- every night ------------------------------------------------------------------------------------------------


def run_nightly(stopping: threading.Event) -> None:
    """Makes a backup each night, proves it, and drops the oldest; an hour after a failure it is tried again."""
    threading.Thread(target=_show_life, args=(stopping,), name="life", daemon=True).start()
    is_done = True
    while not stopping.is_set():
        now = clock.now()
        if not is_done or now >= due_at(_newest(), now):
            is_done = _one_night(now)
            stopping.wait(0 if is_done else AGAIN_SECONDS)
        stopping.wait(LOOK_SECONDS)


def due_at(newest: datetime | None, now: datetime) -> datetime:
    """Returns when the next backup is due: at once without one, else in the night after the newest."""
    if newest is None:
        return now
    night = newest.replace(hour=HOUR, minute=0, second=0, microsecond=0)
    return night if night > newest else night + timedelta(days=1)


def _newest() -> datetime | None:
    kept = archive.in_folder(Path(settings.BACKUP_FOLDER))
    if not kept:
        return None
    found = archive.NAME.fullmatch(kept[-1].name)
    return datetime.strptime(found[1], "%Y%m%dT%H%M%S%z") if found else None


def _one_night(now: datetime) -> bool:
    started = time.monotonic()
    folder = Path(settings.BACKUP_FOLDER)
    passphrase = settings.BACKUP_PASSPHRASE or None
    try:
        made = making.make(making.Wish(folder, passphrase), now=now)
        log.info("backup_made", path=str(made), seconds=round(time.monotonic() - started, 1))
        forget_old(folder)
        proof = prove(made, passphrase=passphrase, now=clock.now())
        log.info("restore_proven", tables=proof.tables, rows=proof.rows, unjudged=list(proof.unjudged))
    except Exception as error:  # whatever it was: the next hour may be better, and the board says how old the proof is
        log.exception("backup_failed", error=str(error))
        return False
    finally:
        connection.close()
    return True


def forget_old(folder: Path) -> None:
    for path in archive.in_folder(folder)[: -settings.BACKUPS_KEPT]:
        archive.remove(path)
        log.info("backup_dropped", path=str(path))


def _show_life(stopping: threading.Event) -> None:
    """Shows that the process lives, which a long pg_dump would hide."""
    while not stopping.is_set():
        liveness.note()
        stopping.wait(LOOK_SECONDS)
