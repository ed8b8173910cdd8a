"""A backup is what was written, or it is refused; its keys open by their passphrase alone."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from marketmon.backup import archive, drill, sealing
from marketmon.backup.archive import BackupDamaged, Manifest

MOMENT = datetime(2026, 11, 30, 3, tzinfo=UTC)


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    folder = tmp_path / archive.name_at(MOMENT)
    folder.mkdir()
    (folder / archive.DUMP).write_bytes(b"PGDMP" + bytes(100))
    manifest = Manifest(
        made_at=MOMENT.isoformat(), version="0.1.0", postgres="18.4", with_history=False, database_bytes=1000,
        rows={"exchanges_exchange": 2}, tail_rows=0, migrations=["access.0001_initial"],
        files={archive.DUMP: archive.describe(folder / archive.DUMP)},
    )  # fmt: skip
    archive.write_manifest(folder, manifest)
    return folder


def test_a_whole_backup_is_read_as_it_was_written(backup: Path) -> None:
    manifest = archive.read(backup)

    assert (manifest.moment, manifest.rows) == (MOMENT, {"exchanges_exchange": 2})
    assert archive.in_folder(backup.parent) == [backup]
    assert all(path.stat().st_mode & 0o077 == 0 for path in [backup / archive.MANIFEST])


def _flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: _flip(folder / archive.DUMP, 50),
        lambda folder: (folder / archive.DUMP).write_bytes(b"PGDMP"),
        lambda folder: (folder / archive.DUMP).unlink(),
        lambda folder: (folder / archive.MANIFEST).unlink(),
        lambda folder: (folder / archive.MANIFEST).write_text("{"),
        lambda folder: (folder / archive.MANIFEST).write_text("[]"),
        lambda folder: (folder / archive.MANIFEST).write_text("{}"),
    ],
    ids=["a bit", "cut short", "no dump", "no manifest", "half a manifest", "another document", "an empty one"],
)
def test_a_damaged_backup_is_refused(backup: Path, damage: object) -> None:
    damage(backup)  # type: ignore[operator]

    with pytest.raises(BackupDamaged):
        archive.read(backup)


@pytest.mark.parametrize("name", ["made_at", "rows", "database_bytes", "files"])
def test_a_manifest_that_says_something_else_is_refused(backup: Path, name: str) -> None:
    told = json.loads((backup / archive.MANIFEST).read_text())
    told[name] = MOMENT.replace(day=29).isoformat() if name == "made_at" else {} if name != "database_bytes" else 1
    (backup / archive.MANIFEST).write_text(json.dumps(told))

    with pytest.raises(BackupDamaged):
        archive.read(backup)


def test_keys_open_by_their_passphrase_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "COST", {"n": 2**4, "r": 8, "p": 1})
    keys = {"SECRET_KEY": "s3cret $ # é", "API_KEY_PEPPERS": "1=a,2=b"}

    box = json.loads(json.dumps(sealing.seal(keys, "correct horse battery")))

    assert sealing.unseal(box, "correct horse battery") == keys
    assert "s3cret" not in json.dumps(box)
    with pytest.raises(sealing.WrongPassphrase):
        sealing.unseal(box, "correct horse batterY")


def test_every_key_that_data_depends_on_is_kept_and_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*sealing.NAMES, *sealing.LEFT_OUT):
        monkeypatch.setenv(name, f"value of {name}")

    assert {"SECRET_KEY", "CREDENTIALS_KEY", "API_KEY_PEPPERS", "ADMIN_API_KEY"} <= set(sealing.NAMES)
    assert sealing.keys_in_effect() == {name: f"value of {name}" for name in sealing.NAMES}


@pytest.mark.parametrize(
    ("newest", "due"),
    [
        (None, MOMENT.replace(hour=12)),
        (MOMENT.replace(hour=2), MOMENT),
        (MOMENT, MOMENT.replace(day=1, month=12)),
        (MOMENT.replace(hour=11), MOMENT.replace(day=1, month=12)),
    ],
)
def test_a_backup_is_due_each_night(newest: datetime | None, due: datetime) -> None:
    assert drill.due_at(newest, MOMENT.replace(hour=12)) == due


def test_what_could_not_be_proven_is_tried_again_though_a_backup_was_made(
    tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BACKUP_FOLDER, settings.LIVENESS_FILE = str(tmp_path), ""
    stopping, nights = threading.Event(), []

    def night(now: datetime) -> bool:
        nights.append(now)
        archive.publish(_draft(tmp_path, now), tmp_path / archive.name_at(now))
        if len(nights) == 3:
            stopping.set()
        return len(nights) == 3

    monkeypatch.setattr(drill, "_one_night", night)
    monkeypatch.setattr(drill, "AGAIN_SECONDS", 1.01)  # the names have seconds
    monkeypatch.setattr(drill, "LOOK_SECONDS", 0.01)

    drill.run_nightly(stopping)

    assert len(nights) == 3


def _draft(folder: Path, now: datetime) -> Path:
    draft = folder / f".{archive.name_at(now)}"
    draft.mkdir()
    return draft
