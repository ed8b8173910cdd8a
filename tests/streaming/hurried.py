"""`manage.py stream` with some of its constants shorter: `python -m tests.streaming.hurried module.NAME=seconds …`."""

import importlib
import os
import sys

import django
from django.core.management import call_command


def main(changes: list[str]) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketmon.settings")
    django.setup()
    for change in changes:
        place, _, value = change.partition("=")
        module, _, name = place.rpartition(".")
        owner = importlib.import_module(module)
        setattr(owner, name, type(getattr(owner, name))(value))
    call_command("stream")


if __name__ == "__main__":
    main(sys.argv[1:])
