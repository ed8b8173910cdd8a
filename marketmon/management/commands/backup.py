"""`manage.py backup`: a backup of the running system, or of a stopped home; every night with `--nightly`."""

from __future__ import annotations

import getpass
import signal
import sys
import threading
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from embedded.lock import RefusedError
from lib import clock
from lib.disk import in_words
from marketmon.backup import archive, drill, making, place, sealing
from marketmon.backup.databases import ProgramFailed
from marketmon.backup.making import CannotBackUp


class Command(BaseCommand):
    help = (
        "Write a backup: the database but for raw rows, and the keys, sealed by a passphrase (BACKUP_PASSPHRASE, or "
        "asked for). Nothing has to be stopped, and nothing else installed."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--to", default="", help="folder for it (default BACKUP_FOLDER)")
        parser.add_argument("--with-history", action="store_true", help="with ticks, order books and trades")
        parser.add_argument("--without-keys", action="store_true", help="keep SECRET_KEY and the others elsewhere")
        parser.add_argument("--nightly", action="store_true", help="stay, make one each night, prove it, keep some")

    def handle(self, *_: Any, to: str, with_history: bool, without_keys: bool, nightly: bool, **__: Any) -> None:
        if nightly:
            _stay()
            return
        passphrase = None if without_keys else new_passphrase()
        wish = making.Wish(Path(to or settings.BACKUP_FOLDER).expanduser().absolute(), passphrase, with_history)
        try:
            with place.database():
                path = making.make(wish, now=clock.now())
        except (CannotBackUp, ProgramFailed, RefusedError, OSError) as error:
            raise CommandError(str(error)) from error
        manifest = archive.read(path)
        size = sum(file["bytes"] for file in manifest.files.values())
        rows = sum(manifest.rows.values())
        self.stdout.write(f"{path}: {in_words(size)}, {len(manifest.rows)} tables with {rows} rows counted")
        if without_keys:
            self.stdout.write("without keys: API keys and credentials die with SECRET_KEY, CREDENTIALS_KEY and peppers")


def _stay() -> None:
    if not settings.BACKUP_PASSPHRASE:
        raise CommandError("BACKUP_PASSPHRASE is not set: nobody is there at night to be asked for it")
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    drill.run_nightly(stopping)


def new_passphrase() -> str:
    """Returns BACKUP_PASSPHRASE, or what a person types twice. Raises CommandError."""
    passphrase: str = settings.BACKUP_PASSPHRASE or _typed("Passphrase for the keys: ")
    if len(passphrase) < sealing.LEAST_CHARACTERS:
        raise CommandError(f"a passphrase has at least {sealing.LEAST_CHARACTERS} characters: it guards every key")
    if not settings.BACKUP_PASSPHRASE and _typed("Again: ") != passphrase:
        raise CommandError("the two are not the same")
    return passphrase


def known_passphrase() -> str:
    """Returns BACKUP_PASSPHRASE, or what a person types. Raises CommandError."""
    return settings.BACKUP_PASSPHRASE or _typed("Passphrase of the keys: ")


def _typed(prompt: str) -> str:
    if not sys.stdin.isatty():
        raise CommandError(
            "BACKUP_PASSPHRASE is not set, and there is nobody to ask; or leave the keys: --without-keys"
        )
    return getpass.getpass(prompt)
