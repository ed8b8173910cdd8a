"""`manage.py settings`: every setting with its value in effect; `--page` writes the tables of docs/settings.md."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from marketmon import settings_page, settings_table

PAGE = Path(__file__).resolve().parents[3] / "docs" / "settings.md"


class Command(BaseCommand):
    help = "Show every setting with its value in effect; secrets are not shown."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--page", action="store_true", help="write the tables of docs/settings.md instead")

    def handle(self, *_: Any, page: bool, **__: Any) -> None:
        if page:
            PAGE.write_text(settings_page.rewritten(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
            return
        values = settings_table.read()
        for setting in settings_table.TABLE:
            value = values[setting.name]
            is_default = value == setting.default
            shown = settings_page.default_in_words(setting) if is_default else settings_page.in_words(value)
            hidden = setting.is_secret and not is_default
            self.stdout.write(f"{setting.name}: {'(set, not shown)' if hidden else shown.replace('`', '')}")
