"""Says whether there is an archive here. Needs no pyarrow, unlike all of the archive that touches files."""

from __future__ import annotations

from importlib.util import find_spec

from django.conf import settings


def is_on() -> bool:
    """Says whether rows are archived here: where a place is named, and pyarrow is installed."""
    return settings.ARCHIVE_URL != "off" and find_spec("pyarrow") is not None
