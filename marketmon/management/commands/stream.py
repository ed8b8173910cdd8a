"""`manage.py stream`: the process that listens to exchanges over websockets."""

from typing import Any

from django.core.management.base import BaseCommand

from collectors.streaming.process import run_forever
from lib import process
from marketmon import servers


class Command(BaseCommand):
    help = "Listens to exchanges whose transport is stream or auto. Any number may run: leases share the exchanges."

    def handle(self, *args: Any, **options: Any) -> None:
        servers.require()
        process.begin("stream")
        run_forever()
