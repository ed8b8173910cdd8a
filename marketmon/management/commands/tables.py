"""`manage.py tables`: writes the file from which a new database gets its tables at once."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from marketmon import prepared_tables


class Command(BaseCommand):
    help = "Write all tables, as the migrations make them, into the file from which a new database gets them at once."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--write", default=str(prepared_tables.FILE), help="the file to write")

    def handle(self, *_: Any, write: str, **__: Any) -> None:
        prepared_tables.write(Path(write))
        self.stdout.write(f"written: {write}")
