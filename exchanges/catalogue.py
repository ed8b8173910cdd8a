"""The bodies of `config` and `supported`, and their two cache keys that any Redis client may read.

Every change drops the keys after its commit. A cached body is served only while the database still says what it said
when the body was made, so that a change which could not reach Valkey does not live on there.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import orjson
import redis
import structlog
from django.db import DatabaseError, InterfaceError, transaction

from exchanges.models import Exchange, Market, is_exchange_id
from feeds import known_exchange_ids
from lib import clock, valkey
from lib.clock import seconds_z
from lib.published import SharedRendering

log = structlog.get_logger(__name__)

CONFIG_KEY, CONFIG_SECONDS = "exchange:config", 3600
SUPPORTED_KEY, SUPPORTED_SECONDS = "exchange:supported", 1800
# Beside each body: what it was made of. And one key that every drop changes, which a slow writer notices.
MADE_OF = "marketmon:made-of:"
DROPPED = "marketmon:catalogue-dropped"

Body = Mapping[str, Any]


class Rendered(NamedTuple):
    """A body as JSON, and whether it may go into the cache."""

    content: bytes
    is_worth_keeping: bool


def config() -> bytes:
    """Returns JSON of every non-blacklisted exchange."""
    return _cached(CONFIG_KEY, CONFIG_SECONDS, _config)


def supported() -> bytes:
    """Returns JSON of the collected ids. An empty list is never cached: at start-up it would stay for 30 minutes."""
    return _cached(SUPPORTED_KEY, SUPPORTED_SECONDS, _supported)


def drop_on_commit() -> None:
    transaction.on_commit(drop, robust=True)


def drop() -> None:
    try:
        with valkey.client().pipeline() as pipe:
            pipe.incr(DROPPED)
            pipe.delete(CONFIG_KEY, SUPPORTED_KEY, MADE_OF + CONFIG_KEY, MADE_OF + SUPPORTED_KEY)
            pipe.execute()
    except redis.RedisError as error:
        log.warning("catalogue_not_dropped", error=str(error))


def active_ids() -> list[str]:
    return list(Exchange.objects.collected().order_by("id").values_list("id", flat=True))


def blacklisted_ids() -> list[str]:
    return list(Exchange.objects.filter(blacklisted=True).order_by("id").values_list("id", flat=True))


def available_ids() -> list[str]:
    """Returns what could be added: every id that a feed speaks and a path can carry."""
    return sorted(name for name in known_exchange_ids() if is_exchange_id(name))


def render_supported() -> Body:
    ids = active_ids()
    return {"exchanges": ids, "count": len(ids)}


def render_config(now: datetime) -> Body:
    pairs = defaultdict(list)
    collected = Market.objects.collected().order_by("exchange_id", "symbol")
    for exchange_id, symbol in collected.values_list("exchange_id", "symbol"):
        pairs[exchange_id].append(symbol)
    shown = Exchange.objects.known().filter(blacklisted=False).select_related("worker").order_by("id")
    return {
        "exchanges": [_entry(exchange, pairs[exchange.id]) for exchange in shown],
        "config": {"blacklistedExchanges": blacklisted_ids()},
        "activeExchanges": active_ids(),
        "availableExchanges": available_ids(),
        "timestamp": seconds_z(now),
    }


def _entry(exchange: Exchange, pairs: list[str]) -> Body:
    return {
        "id": exchange.id,
        "name": exchange.name or exchange.id,
        "has": exchange.capabilities,
        "timeframes": exchange.timeframes,
        "active_pairs": pairs,
        "status": exchange.worker.status if exchange.is_collected else "stopped",
        "blacklisted": False,
    }


def _rendered_config() -> Rendered:
    return Rendered(orjson.dumps(render_config(clock.now())), True)


def _rendered_supported() -> Rendered:
    body = render_supported()
    return Rendered(orjson.dumps(body), body["count"] > 0)


_config, _supported = SharedRendering(_rendered_config), SharedRendering(_rendered_supported)


def _cached(key: str, seconds: int, rendering: SharedRendering[Rendered]) -> bytes:
    """Returns the cached body while it is true; else makes and stores it, unless something was dropped meanwhile."""
    try:
        with valkey.client().pipeline() as pipe:
            pipe.watch(DROPPED)  # type: ignore[no-untyped-call]
            held, made_of = pipe.mget(key, MADE_OF + key)
            wanted = _fingerprint_or_none() if held else _fingerprint()
            if held and (wanted is None or made_of == wanted):
                return held if isinstance(held, bytes) else held.encode()
            body = rendering.get()  # begun after the question what it is to be made of
            pipe.multi()
            if body.is_worth_keeping:
                pipe.set(key, body.content, ex=seconds)
                pipe.set(MADE_OF + key, wanted or b"", ex=seconds)
            else:
                pipe.delete(key, MADE_OF + key)
            _store(pipe)
            return body.content
    except redis.RedisError:
        return rendering.get().content


def _store(pipe: Any) -> None:
    try:
        pipe.execute()
    except redis.WatchError:
        return  # somebody changed something while we read; the next reader makes it anew


def _fingerprint_or_none() -> bytes | None:
    """Returns the fingerprint; None when the database cannot be asked: then what is cached is the best there is."""
    try:
        return _fingerprint()
    except (DatabaseError, InterfaceError):
        return None


def _fingerprint() -> bytes:
    """Returns a hash over everything that a body shows; market lists by the number that each change of them raises."""
    rows = Exchange.objects.order_by("id").values_list(
        "id", "name", "enabled", "blacklisted", "removed_at", "worker__status", "worker__markets_version"
    )
    return hashlib.sha256(repr(list(rows)).encode()).hexdigest().encode()
