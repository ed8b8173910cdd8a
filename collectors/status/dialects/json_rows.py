"""Renders many rows of one shape as JSON bytes: what never changes is made once, the rest for each distinct value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Generic, TypeVar

import orjson

from collectors.rules.snapshot import RowNames
from lib.clock import FUTURE_SECONDS, seconds_z

Key = TypeVar("Key")
KEPT_LISTS = 512  # a few for each document and one for each source


class Tails(dict[Key, bytes], Generic[Key]):
    """The changing ends of rows. A poll stores all its rows in one second, so few of them are distinct."""

    def __init__(self, render: Callable[[Key], bytes]) -> None:
        super().__init__()
        self._render = render

    def __missing__(self, key: Key) -> bytes:
        self[key] = tail = self._render(key)
        return tail


def heads(names: RowNames, fields: tuple[str, ...]) -> Sequence[bytes]:
    """Returns `{"source":"binance_spot","symbol":"BTC"` of each row; keeps those of lists that last."""
    return _kept(names, fields) if names.lasts else _made(names, fields)


def _made(names: RowNames, fields: tuple[str, ...]) -> tuple[bytes, ...]:
    template = b"{" + b",".join(orjson.dumps(field) + b":%b" for field in fields)
    return tuple(template % tuple(map(_text, name)) for name in names.names)


_text = lru_cache(maxsize=20_000)(orjson.dumps)  # sources and symbols come again and again
_kept = lru_cache(maxsize=KEPT_LISTS)(_made)


def whole_second(moment: datetime) -> int:
    """Returns Unix time in seconds, cut as `clock.seconds_z` cuts it."""
    return int(moment.timestamp() // 1)


def stamp(second: int) -> str:
    return seconds_z(datetime.fromtimestamp(second, UTC))


def age_seconds(second: int, now_second: int) -> int | None:
    """Returns the age in whole seconds: 0 for a row that was stored just after the clock was read, and None for one in
    the future, of which nobody can say how old it is."""
    age = now_second - second
    return None if age < -FUTURE_SECONDS else max(0, age)
