"""Keeps which markets an exchange has: registered when listed, deactivated when they are gone, never deleted."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final, NamedTuple

import redis
from django.db import connection, transaction

from collectors.gaps import ledger
from collectors.history import currencies
from collectors.history.currencies import TRADED
from collectors.lease import Permit, UnknownRows
from collectors.models import Worker
from collectors.polling import market_names
from collectors.rules import market_identity
from collectors.rules.market_state import listed_state
from exchanges import catalogue, market_filter
from exchanges.market_filter import Candidate
from exchanges.models import Exchange, Market, MarketState
from exchanges.sources import source_label
from feeds.base import BadReply, Capabilities, Identities, Listing
from lib import clock, valkey

LEAST_SHARE_OF_KNOWN = 0.5  # a list half as long as the last one is at first a broken answer, not a mass delisting
ACCEPTED_AT = 3  # times in a row that the same short list has come: it is the truth
REFRESH_SECONDS = 3600.0  # lists change a few times a day, and are the largest answers that exchanges give
TRY_AGAIN_SECONDS = 300
EXTRA_LIST_SHARE = 0.9  # of the usual time: a list that follows sooner was asked for out of turn


class KnownMarkets(NamedTuple):
    """An exchange's markets by symbol, of one version of its list. `collected` ones are stored; `dormant` ones are only
    looked at, as their return is to be noticed. `halted` are the numbers of the collected ones that are not traded.
    Symbols are those of the list that `named` is of: rows are read by it, and it may call a market otherwise than the
    newest list does."""

    version: int
    collected: Mapping[str, int]
    dormant: Mapping[str, int]
    halted: frozenset[int]
    kinds: Mapping[int, str]
    named: Identities | None = None


_known: Final[dict[str, KnownMarkets]] = {}


class ValkeyMarketCache:
    """The feeds' parsed market lists, shared by all processes; without Valkey each process downloads its own."""

    def load(self, key: str) -> bytes | None:
        try:
            held = valkey.client().get(f"marketmon:markets:{key}")
        except redis.RedisError:
            return None
        return held if isinstance(held, bytes) else None

    def store(self, key: str, value: bytes, *, ttl_seconds: int) -> None:
        try:
            valkey.client().set(f"marketmon:markets:{key}", value, ex=ttl_seconds)
        except redis.RedisError:
            return


def may_try_again(exchange_id: str) -> bool:
    """Says whether this poll may: one in five minutes of all processes, none without Valkey: an old list costs none."""
    try:
        return bool(valkey.client().set(f"marketmon:markets-tried:{exchange_id}", 1, nx=True, ex=TRY_AGAIN_SECONDS))
    except redis.RedisError:
        return False


def unknown_rows(permit: Permit, seen: int, version: int, *, now: datetime) -> UnknownRows:
    """Returns what is to be remembered of rows that no listed market has. Those that are there just after a list are
    accepted: it does not have them. A list that came sooner than usual, because of such rows, takes none back, so that
    rows that come and go do not make us ask again and again."""
    if version == permit.unknown.version:
        return UnknownRows(seen, permit.unknown.accepted, version)
    before = permit.markets_loaded_at
    if version == permit.markets_version or before is None:  # it came by itself
        return UnknownRows(seen, seen, version)
    is_extra = now - before < timedelta(seconds=EXTRA_LIST_SHARE * REFRESH_SECONDS)
    return UnknownRows(seen, max(seen, permit.unknown.accepted) if is_extra else seen, version)


def note_unknown(exchange_id: str, generation: int, seen: int, now: datetime) -> bool:
    """Notes such rows of a poll beside a stream; says whether they are more than the list was known to lack."""
    values: dict[str, Any] = {"exchange": exchange_id, "generation": generation, "seen": seen,
              "lately": now - timedelta(seconds=TRY_AGAIN_SECONDS)}  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(NOTE_UNKNOWN, values)
        row = cursor.fetchone()
    return row is not None and bool(row[0])


def pipelines_of(exchange_id: str, version: int) -> Mapping[str, int]:
    """Returns symbol to pipeline number of all collected markets, read once per version and process."""
    return markets_of(exchange_id, version).collected


def markets_of(exchange_id: str, version: int, named: Identities | None = None) -> KnownMarkets:
    """Returns the markets that polls go by, read once per version and process, or for another list in hand. With
    `named`, the identities of that list, symbols are its own; without, any will do."""
    held = _known.get(exchange_id)
    if held is None or held.version != version or (named and held.named is not named):
        held = _known[exchange_id] = _read(exchange_id, version, named or None)
    return held


def _read(exchange_id: str, version: int, named: Identities | None) -> KnownMarkets:
    columns = ("symbol", "id", "dormant", "state", "kind", "venue_id")
    rows = list(Market.objects.looked_at().filter(exchange_id=exchange_id).values_list(*columns))
    halted = frozenset(pk for _, pk, dormant, state, *_ in rows if state == MarketState.HALTED and not dormant)
    kinds = {pk: sys.intern(kind) for _, pk, _, _, kind, _ in rows}
    names = market_identity.names_in_hand(named) if named else {}
    found = [
        (names.get((kind, venue_id)) if named else symbol, pk, dormant)
        for symbol, pk, dormant, _, kind, venue_id in rows
    ]
    collected = {symbol: pk for symbol, pk, dormant in found if symbol is not None and not dormant}
    dormant_ones = {symbol: pk for symbol, pk, dormant in found if symbol is not None and dormant}
    return KnownMarkets(version, collected, dormant_ones, halted, kinds, named)


def last_known(exchange_id: str) -> KnownMarkets | None:
    """Returns the markets that this process has read last, of whatever version."""
    return _known.get(exchange_id)


def register(
    permit: Permit,
    listings: Sequence[Listing],
    capabilities: Capabilities,
    *,
    digest: str,
    now: datetime,
    accepts_short: bool = False,
) -> int:
    """Stores the venue's market list, which all processes go by from now on, and gives the new version.

    Raises BadReply when the list cannot be whole. A short one is taken where it has come `ACCEPTED_AT` times in a row,
    where none was loaded since the exchange was added, and where an operator says so.
    """
    exchange = permit.exchange
    _refuse_broken(exchange.id, listings, accepts_short=accepts_short or permit.markets_loaded_at is None)
    with transaction.atomic():
        _lock(exchange.id)
        with _settled(exchange.id, now):
            listings = market_identity.told_apart(listings)
            market_names.follow(exchange.id, listings)
            _upsert(exchange.id, listings, now)
            _deactivate_missing(exchange.id, listings, now)
            _add_pipelines(exchange, now)
            Exchange.objects.filter(pk=exchange.id).update(
                name=capabilities.name,
                capabilities=dict(capabilities.has),
                timeframes=list(capabilities.timeframes),
                rate_limit_ms=capabilities.rate_limit_ms,
                markets_digest=digest,
            )
            _apply_filter(exchange.id)
        catalogue.drop_on_commit()
        version = _bump_version(exchange.id, now)
    exchange.markets_digest = digest
    return version


def _refuse_broken(exchange_id: str, listings: Sequence[Listing], *, accepts_short: bool) -> None:
    known_count = Market.objects.filter(exchange_id=exchange_id, active=True).count()
    listed = sorted(listing.symbol for listing in listings if listing.is_genuine)
    if listed and (accepts_short or len(listed) >= known_count * LEAST_SHARE_OF_KNOWN):
        return
    words = f"{exchange_id} listed {len(listed)} markets, {known_count} are known; kept the old list"
    if not listed:
        raise BadReply(words)
    times = _times_refused(exchange_id, sha256("\n".join(listed).encode()).hexdigest()[:16])
    if times < ACCEPTED_AT:
        raise BadReply(f"{words}: came {times} of {ACCEPTED_AT} times (or: manage.py exchange accept-list)")


def _times_refused(exchange_id: str, name: str) -> int:
    """Returns how often this list has come in a row, now included."""
    with connection.cursor() as cursor:
        cursor.execute(REFUSE, {"exchange": exchange_id, "name": name})
        return int(cursor.fetchone()[0])


@contextmanager
def changing(exchange_id: str, *, now: datetime) -> Iterator[None]:
    """Opens a transaction in which an operator changes which markets are collected, and then tells all processes.

    Markets no longer collected have no gap, and those collected again have none for the time between.
    """
    with transaction.atomic():
        _lock(exchange_id)
        with _settled(exchange_id, now):
            yield
            _apply_filter(exchange_id)
        catalogue.drop_on_commit()
        with connection.cursor() as cursor:
            cursor.execute(BUMP, {"exchange": exchange_id, "loaded_at": None})


def _lock(exchange_id: str) -> None:
    """Locks both rows, as two processes that registered at once would deadlock in the upsert. The order is that of
    operators' verbs, and "no key" lets a poll, which has the worker's row, refer to the exchange's in its run."""
    Exchange.objects.select_for_update(no_key=True).get(pk=exchange_id)
    Worker.objects.select_for_update(no_key=True).get(pk=exchange_id)


def note_traded(exchange_id: str, market_ids: Sequence[int], *, now: datetime) -> None:
    """Ends the halts of markets of which rows of real trading have come, and tells all processes. Twice is harmless."""
    with transaction.atomic():
        _lock(exchange_id)
        with _settled(exchange_id, now):
            Market.objects.filter(pk__in=market_ids, halted_at__lt=now).update(halted_at=None, halt="", dormant=False)
            _apply_filter(exchange_id)
        with connection.cursor() as cursor:
            cursor.execute(BUMP, {"exchange": exchange_id, "loaded_at": None})


def follow_volumes(now: datetime) -> None:
    """Applies "the N largest" anew where it would choose others by now. Twice is harmless."""
    for exchange in Exchange.objects.collected().filter(market_filter__top__isnull=False):
        if any(_misfits(exchange)):
            with changing(exchange.id, now=now):
                pass


def _apply_filter(exchange_id: str) -> None:
    included, excluded = _misfits(Exchange.objects.get(pk=exchange_id))
    Market.objects.filter(pk__in=included).update(excluded=False)
    Market.objects.filter(pk__in=excluded).update(excluded=True)


def _misfits(exchange: Exchange) -> tuple[list[int], list[int]]:
    """Returns the markets that the filter now lets through and did not, and those that it no longer does."""
    wanted = market_filter.parse(exchange.market_filter)
    listed = Market.objects.filter(exchange=exchange, active=True, blacklisted=False).values_list(
        "id", "symbol", "quote", "excluded", TRADED, "pipeline__received_at"
    )
    rows = list(listed)
    values = currencies.values(clock.now()) if wanted.top is not None else {}
    selected = wanted.selected(
        Candidate(symbol, quote, None if received_at is None else (volume or 0.0) * values.get(quote, 1.0),
                  quote in values)
        for _, symbol, quote, _, volume, received_at in rows
    )  # fmt: skip
    included = [pk for pk, symbol, _, excluded, _, _ in rows if excluded and symbol in selected]
    return included, [pk for pk, symbol, _, excluded, _, _ in rows if not excluded and symbol not in selected]


@contextmanager
def _settled(exchange_id: str, now: datetime) -> Iterator[None]:
    states = _collected_states(exchange_id)
    yield
    states_after = _collected_states(exchange_id)
    before, after = states.keys(), states_after.keys()
    ledger.open_silent_of_markets(sorted(before - after), now)  # what was silent before was not planned
    ledger.end_of_markets(before - after, now)
    _resume(after - before, now)
    halted = {pk for pk in before & after if states_after[pk] == MarketState.HALTED != states[pk]}
    ledger.judge_anew(halted)
    ledger.end_of_halts({pk for pk in before & after if states[pk] == MarketState.HALTED != states_after[pk]}, now)


def _collected_states(exchange_id: str) -> dict[int, str]:
    return dict(Market.objects.collected().filter(exchange_id=exchange_id).values_list("id", "state"))


def _resume(market_ids: Iterable[int], now: datetime) -> None:
    wanted = sorted(market_ids)
    if wanted:
        with connection.cursor() as cursor:
            cursor.execute(RESUME, {"markets": wanted, "now": now})


def _upsert(exchange_id: str, listings: Sequence[Listing], now: datetime) -> None:
    kinds = {listing.kind for listing in listings}
    known = Market.objects.filter(exchange_id=exchange_id)
    halted_at = dict(known.filter(halted_at__isnull=False).values_list("symbol", "halted_at"))
    traded = set(known.filter(dormant=False).values_list("symbol", flat=True))
    markets = [
        Market(
            exchange_id=exchange_id,
            symbol=listing.symbol,
            base=listing.base,
            quote=listing.quote,
            kind=listing.kind,
            venue_id=listing.venue_id,
            source=source_label(exchange_id, listing.kind, kinds),
            taker_fee=listing.taker_fee,
            listed_at=now,
            **listed_state(
                listing, halted_at=halted_at.get(listing.symbol), has_been_traded=listing.symbol in traded, now=now
            )._asdict(),
        )
        for listing in listings
    ]
    Market.objects.bulk_create(
        markets,
        update_conflicts=True,
        unique_fields=["exchange", "kind", "venue_id"],
        update_fields=["base", "quote", "active", "taker_fee", "delisted_at", "halted_at", "halt", "dormant"],
        batch_size=2000,
    )


def _deactivate_missing(exchange_id: str, listings: Sequence[Listing], now: datetime) -> None:
    listed = {listing.symbol for listing in listings}
    known = Market.objects.filter(exchange_id=exchange_id, active=True)
    missing = [pk for pk, symbol in known.values_list("id", "symbol") if symbol not in listed]
    Market.objects.filter(pk__in=missing).update(active=False, delisted_at=now)
    ledger.end_of_delisted(exchange_id, now)


def _add_pipelines(exchange: Exchange, now: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO collectors_pipeline (market_id, expected_seconds, gaps_24h, gap_open, resumed_at) "
            "SELECT id, %s, 0, false, %s FROM exchanges_market WHERE exchange_id = %s ON CONFLICT DO NOTHING",
            [exchange.poll_interval_seconds, now, exchange.id],
        )


def _bump_version(exchange_id: str, now: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute(BUMP, {"exchange": exchange_id, "loaded_at": now})
        return int(cursor.fetchone()[0])


# A version is only ever compared for equality. It is a moment and no counter: one that began anew with a database
# restored or an exchange made again would match what a process remembers of the old one.
BUMP = """
UPDATE collectors_worker SET
    markets_version = ((extract(epoch FROM clock_timestamp()) * 1000)::bigint %% 2147483647)::int,
    markets_loaded_at = COALESCE(%(loaded_at)s, markets_loaded_at),
    symbols_tracked = (SELECT count(*) FROM exchanges_market
                       WHERE exchange_id = %(exchange)s AND is_collected AND halted_at IS NULL),
    refused_list = CASE WHEN %(loaded_at)s IS NULL THEN refused_list ELSE '' END,
    refused_count = CASE WHEN %(loaded_at)s IS NULL THEN refused_count ELSE 0 END
WHERE exchange_id = %(exchange)s
RETURNING markets_version
"""

# A list that has just come out of turn takes none back of what is accepted.
NOTE_UNKNOWN = """
UPDATE collectors_worker SET
    unknown_rows = %(seen)s, unknown_version = markets_version,
    accepted_unknown = CASE
        WHEN unknown_version = markets_version THEN accepted_unknown
        WHEN markets_loaded_at > %(lately)s THEN greatest(%(seen)s, accepted_unknown)
        ELSE %(seen)s END
WHERE exchange_id = %(exchange)s AND generation = %(generation)s
RETURNING unknown_rows > accepted_unknown
"""

REFUSE = """
UPDATE collectors_worker SET refused_list = %(name)s,
    refused_count = CASE WHEN refused_list = %(name)s THEN least(refused_count + 1, 1000) ELSE 1 END
WHERE exchange_id = %(exchange)s
RETURNING refused_count
"""

RESUME = """
UPDATE collectors_pipeline AS p SET resumed_at = %(now)s
FROM (SELECT market_id FROM collectors_pipeline WHERE market_id = ANY(%(markets)s)
      ORDER BY market_id FOR UPDATE) AS resumed
WHERE p.market_id = resumed.market_id
"""
