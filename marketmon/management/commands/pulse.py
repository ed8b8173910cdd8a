"""`manage.py pulse`: the process that notices silence, and draws what all readers will ask for."""

from typing import Any

from django.core.management.base import BaseCommand

from lib import process
from marketmon import pulse, servers


class Command(BaseCommand):
    help = "Once a second: opens gaps, notices silent workers, renders status and board. Any number may run."

    def handle(self, *args: Any, **options: Any) -> None:
        process.begin("pulse")
        servers.require()
        pulse.run_forever()
