"""`manage.py notify`: the process that tells people and programs."""

from typing import Any

from django.core.management.base import BaseCommand

from incidents import notifier
from lib import process


class Command(BaseCommand):
    help = "Sends messages on incidents to the channels, and the outward heartbeat. Any number may run."

    def handle(self, *args: Any, **options: Any) -> None:
        process.begin("notifier")
        notifier.run_forever()
