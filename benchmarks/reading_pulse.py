"""The pulse's share of reading, alone: bodies rendered once a second: `python -m benchmarks.reading_pulse`."""

# ruff: noqa: E402  (Django must be set up before its models are imported)

from __future__ import annotations

import os
import time

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketmon.settings")
django.setup()

from collectors.status import published
from lib import clock

if __name__ == "__main__":
    while True:
        started = time.monotonic()
        published.publish(clock.now())
        time.sleep(max(0.0, 1.0 - (time.monotonic() - started)))
