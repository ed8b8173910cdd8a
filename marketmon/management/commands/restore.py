"""`manage.py restore`: fills an empty database from a backup, and proves it."""

from __future__ import annotations

import json
import secrets
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from embedded.lock import RefusedError
from embedded.supervisor import PREPARED_FILE
from lib import clock, private_file
from lib import home as home_files
from marketmon.backup import archive, databases, drill, place, restoring, sealing
from marketmon.backup.archive import BackupDamaged, Manifest
from marketmon.backup.databases import ProgramFailed
from marketmon.backup.restoring import CannotRestore, NotProven, Proof
from marketmon.backup.sealing import WrongPassphrase
from marketmon.management.commands.backup import known_passphrase

EXPECTED = (BackupDamaged, WrongPassphrase, CannotRestore, NotProven, ProgramFailed, RefusedError, OSError)


class Command(BaseCommand):
    help = (
        "Fill an empty database from a backup. A database that holds anything, or that somebody uses, is refused. A "
        "new MARKETMON_HOME gets its own PostgreSQL and the keys; elsewhere --keys-to writes them into a file."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("backup", type=Path, help="the folder that `manage.py backup` has made")
        parser.add_argument("--into", default="", metavar="NAME", help="another database on the same server, made new")
        parser.add_argument("--verify", action="store_true", help="compare rows and judge every promise afterwards")
        parser.add_argument("--keys-to", type=Path, metavar="FILE", help="write the keys there, as lines for .env")
        parser.add_argument("--without-keys", action="store_true", help="leave the keys sealed")
        parser.add_argument("--drill", action="store_true", help="into a scratch database, which is dropped again")

    def handle(self, *_: Any, **options: Any) -> None:
        try:
            self._restore(**{name: options[name] for name in ("backup", "into", "verify", "keys_to", "drill")},
                          with_keys=not options["without_keys"])  # fmt: skip
        except EXPECTED as error:
            raise CommandError(str(error)) from error

    def _restore(
        self, *, backup: Path, into: str, verify: bool, keys_to: Path | None, drill: bool, with_keys: bool
    ) -> None:
        manifest = archive.read(backup)
        self.stdout.write(f"{backup}: whole, made {manifest.made_at} by release {manifest.version}")
        keys = opened(backup, manifest) if with_keys else {}
        with place.database() as home:
            if drill:
                self._drill(backup)
                return
            if not sealing.keys_in_effect().get("SECRET_KEY"):  # a new home has none yet, and Django wants one
                settings.SECRET_KEY = keys.get("SECRET_KEY") or secrets.token_urlsafe(64)
            with made_new(into) if into else nullcontext():
                restoring.restore(backup, manifest, now=clock.now())
                restoring.begin_anew()
                self.stdout.write(f"restored into {databases.name()}")
                if verify:
                    self._tell(restoring.prove(manifest))
        self._hand_over(keys, keys_to, None if into else home)

    def _drill(self, backup: Path) -> None:
        self._tell(drill.prove(backup, passphrase=settings.BACKUP_PASSPHRASE or None, now=clock.now()))

    def _tell(self, proof: Proof) -> None:
        self.stdout.write(f"proven: {proof.rows} rows of {proof.tables} tables, and every promise that can be judged")
        for line in proof.unjudged:
            self.stdout.write(f"      not judged: {line}")

    def _hand_over(self, keys: Mapping[str, str], keys_to: Path | None, home: Path | None) -> None:
        """Puts the keys where the system will read them, or says which of those in effect are others."""
        lines = "".join(f"{name}={text}\n" for name, text in keys.items())
        if keys and home is not None and keys_to is None:
            keys_to = home / home_files.SECRETS_FILE
            if keys_to.exists():
                keys_to = home / f"restored-{home_files.SECRETS_FILE}"
        if home is not None:
            (home / PREPARED_FILE).touch()  # a restored system is no first run
        if keys and keys_to is not None:
            if not private_file.write(keys_to, lines, overwrite=False):
                raise CommandError(f"{keys_to} is there already: the keys were not written")
            self.stdout.write(f"keys: {keys_to}")
            return
        others = sorted(name for name, text in keys.items() if sealing.keys_in_effect().get(name) != text)
        if others:
            self.stdout.write(f"not those of the backup: {', '.join(others)}. --keys-to FILE writes those out")


def opened(backup: Path, manifest: Manifest) -> dict[str, str]:
    """Returns the keys; none when the backup has none. Raises WrongPassphrase."""
    if archive.KEYS not in manifest.files:
        return {}
    return sealing.unseal(json.loads((backup / archive.KEYS).read_text(encoding="utf-8")), known_passphrase())


@contextmanager
def made_new(name: str) -> Iterator[None]:
    """Makes a database and makes it current until the block ends; it is dropped when the block fails. Raises
    CannotRestore when it is there already."""
    if databases.exists(name):
        raise CannotRestore(f"there is a database {name} already; nothing was changed")
    databases.create(name)
    try:
        with databases.chosen(name):
            yield
    except BaseException:
        databases.drop(name)
        raise
