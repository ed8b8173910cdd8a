"""`manage.py pulse`: the process that notices silence."""

from typing import Any

from django.core.management.base import BaseCommand

from marketmon import pulse


class Command(BaseCommand):
    help = "Sweeps once a second: opens gaps, notices silent workers. Any number may run."

    def handle(self, *args: Any, **options: Any) -> None:
        pulse.run_forever()
