"""The board's parts as HTML, each with a hash of its content; a part whose values are the same is not rendered again.

Fragments are the same for everybody: buttons are hidden from users who may not act, and the server refuses them.
"""

from __future__ import annotations

import base64
import hashlib
import threading
from dataclasses import dataclass
from typing import Any

import orjson
from django.template.loader import get_template

from board import links, sparkline
from board.tiles import Board, Tile

HASH_BYTES = 6  # 8 characters; a browser compares it with its own last one of the same name only
HASH_CHARACTERS = 8
TILE = "tile:"
ABOVE = ("verdict", "incidents", "moments", "health")
BELOW = ("gaps", "timeline")


@dataclass(frozen=True, slots=True)
class Fragment:
    hash: str
    html: str


@dataclass(slots=True)
class _Rendered:
    """The newest rendering of one part, and the value that it shows."""

    value: Any
    fragment: Fragment


_memory: dict[str, _Rendered] = {}
_lock = threading.Lock()


def render(board: Board) -> dict[str, Fragment]:
    """Returns all parts by name, in the order of the page."""
    values = _values(board)
    with _lock:
        for gone in _memory.keys() - values.keys():
            del _memory[gone]
        return {name: _fragment(name, value) for name, value in values.items()}


def render_anew(board: Board) -> dict[str, Fragment]:
    """Returns all parts, without remembering anything."""
    return {name: draw(name, value) for name, value in _values(board).items()}


def _values(board: Board) -> dict[str, Any]:
    return {
        "verdict": board.verdict,
        "incidents": board.incidents,
        "moments": dict(board.newest),
        "health": board.health,
        **{f"{TILE}{tile.exchange}": tile for tile in board.tiles},
        "gaps": board.gaps,
        "timeline": board.events,
    }


def _fragment(name: str, value: Any) -> Fragment:
    known = _memory.get(name)
    if known is not None and known.value == value:
        return known.fragment
    fragment = draw(name, value)
    _memory[name] = _Rendered(value, fragment)
    return fragment


def draw(name: str, value: Any) -> Fragment:
    """Returns one part, rendered anew."""
    html = _html(name, value)
    return Fragment(hash_of(name, html), html)


def _html(name: str, value: Any) -> str:
    if name == "moments":
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    kind = "tile" if isinstance(value, Tile) else name
    return get_template(f"board/live/{kind}.html").render(_context(kind, value)).strip()


def _context(kind: str, value: Any) -> dict[str, Any]:
    if kind != "tile":
        return {kind: value}
    percent = round(100 * value.fresh / value.markets) if value.markets else None
    return {
        "tile": value,
        "is_off": value.condition.state == "off",
        "fresh_percent": min(percent, 99) if percent and value.fresh < value.markets else percent,
        "path": sparkline.sparkline(value.rows),
        "spark_words": sparkline.spark_words(value.rows),
        "look_url": links.look(value.exchange, value.condition.look),
    }


def hash_of(name: str, html: str) -> str:
    digest = hashlib.blake2b(f"{name}\n{html}".encode(), digest_size=HASH_BYTES).digest()
    return base64.urlsafe_b64encode(digest).decode()
