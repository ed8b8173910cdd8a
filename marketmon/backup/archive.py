"""The form of a backup: a folder of files, and a manifest that names each with its length and SHA-256.

It is written under another name and renamed when it is whole, so that what has the name is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FORMAT = 1
MANIFEST, DUMP, TAIL, KEYS = "manifest.json", "database.dump", "ticks.copy", "keys.json"
NAME = re.compile(r"marketmon-(\d{8}T\d{6}Z)")
READ_BYTES = 1024 * 1024


class BackupDamaged(Exception):
    """A backup that is not what was written: nothing is restored of it."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says of itself.

    `rows` are the numbers of rows in tables, exact; `tail_rows` those of ticks that no rollup has counted yet;
    `database_bytes` is what the restored database will take, about.
    """

    made_at: str
    version: str
    postgres: str
    with_history: bool
    database_bytes: int
    rows: dict[str, int]
    tail_rows: int
    migrations: list[str]
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def moment(self) -> datetime:
        return datetime.fromisoformat(self.made_at)


def name_at(moment: datetime) -> str:
    return f"marketmon-{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def in_folder(folder: Path) -> list[Path]:
    """Returns the backups in a folder, the oldest first."""
    return sorted(path for path in folder.iterdir() if NAME.fullmatch(path.name)) if folder.is_dir() else []


def write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def describe(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": _digest_of(path)}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    told = asdict(manifest)
    write_private(folder / MANIFEST, json.dumps({**told, "sha256": _digest(told)}, indent=1))


def publish(draft: Path, path: Path) -> None:
    """Gives a complete backup its name, once all of it is on the disk."""
    for file in draft.iterdir():
        _sync(file)
    _sync(draft)
    draft.rename(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(folder: Path) -> Manifest:
    """Returns the manifest of a backup, all of whose files are what was written. Raises BackupDamaged."""
    manifest = _manifest(folder)
    for name, written in manifest.files.items():
        found = folder / name
        if not found.is_file():
            raise BackupDamaged(f"{found} is missing")
        if describe(found) != written:
            raise BackupDamaged(f"{found} is not what was written: its length or its SHA-256 differs")
    return manifest


def _manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        digest = told.pop("sha256")
        is_whole = digest == _digest(told)
        manifest = Manifest(**told)
    except FileNotFoundError:
        raise BackupDamaged(f"{folder} is no backup, or a part of one: it has no {MANIFEST}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BackupDamaged(f"{path} cannot be read") from None
    if not is_whole:
        raise BackupDamaged(f"{path} is not what was written")
    if manifest.format != FORMAT:
        raise BackupDamaged(f"{folder} has format {manifest.format}, which this release does not read")
    return manifest


def _digest(told: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _digest_of(path: Path) -> str:
    found = hashlib.sha256()
    for part in _parts(path):
        found.update(part)
    return found.hexdigest()


def _parts(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while part := file.read(READ_BYTES):
            yield part


def remove(folder: Path) -> None:
    """Removes a backup, its manifest first: what is left of an interrupted removal is no backup."""
    (folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
