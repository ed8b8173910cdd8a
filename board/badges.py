"""Badges for other people's pages: one SVG with the state and the age of an exchange or of a pair."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import DatabaseError, InterfaceError
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from django.utils.html import escape

from board import public
from board.status_page import public_only
from collectors.history import names, quality
from collectors.models import Pipeline
from collectors.status.dialects import pairs
from collectors.status.workers import CollectorAbsent, old_answers
from exchanges import symbols
from exchanges.models import Market
from lib import clock
from web.admin import ago

MAX_AGE_SECONDS = 10
HELD_SECONDS = 3.0
MOST_HELD = 2000
MOST_CHARACTERS = 60
GREEN, AMBER, RED, GREY = "#157f3c", "#a35a00", "#b3261e", "#5f6673"
COLOURS = {
    public.OPERATIONAL: GREEN, public.DEGRADED: AMBER, public.DOWN: RED, public.PAUSED: GREY,
    "fresh": GREEN, "stale": AMBER, "unavailable": RED,
}  # fmt: skip

# Advance widths in hundredths of the size, of Verdana, whose look-alikes are nearly everywhere. `textLength` makes
# other fonts keep to them.
WIDTHS: Final = {
    character: width
    for width, characters in {
        27: "'", 28: "ijl", 29: "IJ", 32: " ,.·", 34: "/:;\\|", 35: "f", 36: "-", 39: "()[]t", 40: "!", 41: "r",
        46: '"', 50: "*_`", 52: "s", 53: "?z", 55: "cL", 57: "F", 58: "k", 59: "vxy", 60: "P", 61: "TYao", 62: "e",
        64: "$0123456789ESbdghnpqu{}", 66: "K", 68: "ABVXZ", 69: "R", 70: "C", 74: "U", 75: "N", 76: "H", 77: "DG",
        78: "&", 79: "OQ", 82: "w", 84: "#+<=>^~", 86: "M", 95: "%", 98: "m", 99: "W",
    }.items()
    for character in characters
}  # fmt: skip
WIDEST = 100
SIZE = 11
PADDING = 6

SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{label}: {value}">'
    "<title>{label}: {value}</title>"
    '<clipPath id="r"><rect width="{width}" height="20" rx="3"/></clipPath>'
    '<g clip-path="url(#r)"><rect width="{left}" height="20" fill="#3d4450"/>'
    '<rect x="{left}" width="{right}" height="20" fill="{colour}"/></g>'
    '<g fill="#fff" font-family="Verdana,Geneva,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">'
    '<text x="{label_x}" y="14" textLength="{label_width}">{label}</text>'
    '<text x="{value_x}" y="14" textLength="{value_width}">{value}</text></g></svg>'
)


@dataclass(frozen=True, slots=True)
class Badge:
    """The words of one badge; `is_known` is false for a name that nobody collects."""

    label: str
    value: str
    colour: str
    is_known: bool = True


def text_width(text: str) -> int:
    """Returns the width in pixels, never less than the text takes."""
    return -(-sum(WIDTHS.get(character, WIDEST) for character in text) * SIZE // 100)


def render(badge: Badge) -> bytes:
    label, value = _cut(badge.label), _cut(badge.value)
    label_width, value_width = text_width(label), text_width(value)
    left, right = label_width + 2 * PADDING, value_width + 2 * PADDING
    return SVG.format(
        width=left + right,
        left=left,
        right=right,
        colour=badge.colour,
        label=escape(label),
        value=escape(value),
        label_x=left / 2,
        value_x=left + right / 2,
        label_width=label_width,
        value_width=value_width,
    ).encode()


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"


# --- what they say ------------------------------------------------------------------------------------------------


def of_exchange(exchange_id: str, now: datetime) -> Badge:
    """Returns an exchange's badge. Raises CollectorAbsent, DatabaseError."""
    found = public.current().find(exchange_id)
    if found is None:
        return Badge(exchange_id, "unknown", GREY, is_known=False)
    return Badge(exchange_id, _with_age(found.state, found.stored_at, now), COLOURS[found.state])


def of_pair(pair: str, now: datetime) -> Badge:
    """Returns a pair's badge, in any spelling of the pair: its newest row on all collected exchanges, by the pairs'
    status's ages. One query, and three more where the exact spelling finds nothing."""
    base, _, quote = pair.rpartition("-")
    name, found = f"{base}/{quote}" if base else pair, _newest(Q(market__base=base, market__quote=quote))
    if not found["count"] and (spelled := names.current().pair(pair)):
        first = Market.objects.get(pk=spelled[1][0])
        name, found = f"{first.base}/{first.quote}", _newest(Q(pk__in=spelled[1]))
    if not found["count"]:
        return Badge(name, "unknown", GREY, is_known=False)
    newest_at = found["newest_at"]
    state = pairs.status(int((now - newest_at).total_seconds()) if newest_at else None)
    return Badge(name, _with_age(state, newest_at, now), COLOURS[state])


QUALITY_DAYS = 30


def of_quality(exchange_id: str, symbol: str, now: datetime) -> Badge:
    """Returns a badge with the share of a market's minutes that are there, of 30 days; symbols in any spelling."""
    unknown = Badge(symbol, "unknown", GREY, is_known=False)
    try:
        market = symbols.find(exchange_id, symbol)
    except symbols.AmbiguousSymbol:
        return unknown
    if market is None:
        return unknown
    days = quality.calendar(market.id, first=now.date() - timedelta(days=QUALITY_DAYS - 1), last=now.date(), now=now)
    expected, stored = sum(day[1] for day in days), sum(day[2] for day in days)
    label = f"{market.symbol} on {exchange_id}"
    if not expected:
        return Badge(label, "no data yet", GREY)
    share = stored / expected
    colour = GREEN if share >= 0.999 else AMBER if share >= 0.99 else RED
    return Badge(label, f"{int(share * 10_000) / 100:g} % of {QUALITY_DAYS} days", colour)


def _newest(wanted: Q) -> dict[str, Any]:
    """Returns how many sources there are, and the newest time that readers are told of one that is traded."""
    old = "market__exchange__worker__old_answers"
    columns = ("market__kind", "market__halted_at", "received_at", "frozen", "changed_at", old)
    found = list(Pipeline.objects.live().filter(wanted).values_list(*columns))
    moments = [
        _told_at(received_at, changed_at if frozen else None, kind, told)
        for kind, halted_at, received_at, frozen, changed_at, told in found
        if received_at is not None and halted_at is None
    ]
    return {"count": len(found), "newest_at": max(moments, default=None)}


def _told_at(received_at: datetime, changed_at: datetime | None, kind: str, old: Any) -> datetime:
    made_at = next((answer.made_at for answer in old_answers(old) if answer.kind == kind), None)
    return min(moment for moment in (received_at, changed_at, made_at) if moment is not None)


def _with_age(state: str, stored_at: datetime | None, now: datetime) -> str:
    return f"{state} · {ago(min(stored_at, now), now)}" if stored_at else f"{state} · no data yet"


# --- the views ----------------------------------------------------------------------------------------------------


@public_only
def exchange(request: HttpRequest, exchange_id: str) -> HttpResponseBase:
    return _answer(request, f"exchange {exchange_id}", lambda now: of_exchange(exchange_id, now))


@public_only
def pair(request: HttpRequest, name: str) -> HttpResponseBase:
    return _answer(request, f"pair {name}", lambda now: of_pair(name, now))


@public_only
def market_quality(request: HttpRequest, exchange_id: str, name: str) -> HttpResponseBase:
    return _answer(request, f"quality {exchange_id} {name}", lambda now: of_quality(exchange_id, name, now))


_held: OrderedDict[str, tuple[float, Badge]] = OrderedDict()
_lock = threading.Lock()


def _answer(request: HttpRequest, key: str, make: Callable[[datetime], Badge]) -> HttpResponseBase:
    try:
        badge = _find(key) or _keep(key, make(clock.now()))
    except (CollectorAbsent, DatabaseError, InterfaceError):
        badge = Badge("marketmon", "no answer", GREY)
    content = render(badge)
    response = HttpResponse(content, status=200 if badge.is_known else 404, content_type="image/svg+xml")
    response.headers["Cache-Control"] = f"public, max-age={MAX_AGE_SECONDS}"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    response.headers["Access-Control-Allow-Origin"] = "*"  # for pages that read or draw it, not only show it
    response.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'none'; sandbox"
    if not badge.is_known:
        return response
    etag = f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'
    response.headers["ETag"] = etag
    return get_conditional_response(request, etag=etag, response=response) or response


def _find(key: str) -> Badge | None:
    held = _held.get(key)
    return held[1] if held is not None and time.monotonic() - held[0] < HELD_SECONDS else None


def _keep(key: str, badge: Badge) -> Badge:
    """Keeps a badge; names are anybody's, so the oldest are dropped."""
    with _lock:
        _held[key] = (time.monotonic(), badge)
        _held.move_to_end(key)
        while len(_held) > MOST_HELD:
            _held.popitem(last=False)
    return badge


def forget() -> None:
    _held.clear()
