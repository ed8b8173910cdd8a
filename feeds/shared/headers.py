"""What an answer's headers say of its age: how long a cache has held it, and what time the server has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

NO_HEADERS: Final[Mapping[str, str]] = {}


def cache_age(headers: Mapping[str, str]) -> float | None:
    """Seconds for which a cache has held the answer; None where no header says so."""
    try:
        seconds = float(_value(headers, "age"))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def date_of(headers: Mapping[str, str]) -> float | None:
    """The server's clock when it answered, in Unix seconds to the second; None where it does not say."""
    text = _value(headers, "date")
    if not text:
        return None
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _value(headers: Mapping[str, str], name: str) -> str:
    """Without regard to case, also where the mapping has one."""
    if not headers:
        return ""
    found = headers.get(name) or headers.get(name.title())
    return found or next((value for key, value in headers.items() if key.lower() == name), "")
