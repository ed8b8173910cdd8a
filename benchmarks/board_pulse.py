"""The pulse's share of the board, alone: drawn once a second: `python -m benchmarks.board_pulse`."""

# ruff: noqa: E402  (Django must be set up before its models are imported)

from __future__ import annotations

import os
import time

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketmon.settings")
django.setup()

from board import live
from lib import clock

if __name__ == "__main__":
    while True:
        started = time.monotonic()
        live.publish(clock.now())
        time.sleep(max(0.0, 1.0 - (time.monotonic() - started)))
