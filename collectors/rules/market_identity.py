"""The rule that says which known market a listed one is: the one of its kind that has its id, whatever it is called."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from feeds.base import Identities, Listing

LONGEST_SYMBOL = 100
LONGEST_ID = 120
SPELLING_SHARE = 0.5  # of the names listed before: if the ids of more are new, ids are spelled otherwise now
LEAST_SPELLED = 10


class KnownMarket(NamedTuple):
    """A market as it is stored."""

    id: int
    symbol: str
    kind: str
    venue_id: str
    is_active: bool = True


def told_apart(listings: Iterable[Listing]) -> list[Listing]:
    """Returns each name once and each id of a kind once; an id that comes again is told apart by its name."""
    found: dict[tuple[str, str], Listing] = {}
    for listing in {listing.symbol: listing for listing in listings}.values():
        if (listing.kind, listing.venue_id) in found:
            listing = replace(listing, venue_id=_apart(listing.venue_id, listing.symbol))
        found.setdefault((listing.kind, listing.venue_id), listing)
    return list(found.values())


def names_in_hand(identities: Identities) -> dict[tuple[str, str], str]:
    """Returns the symbol that a list has for each market, by kind and id as `told_apart` stores them."""
    found: dict[tuple[str, str], str] = {}
    for symbol, (kind, venue_id) in identities.items():
        if (kind, venue_id) in found:
            venue_id = _apart(venue_id, symbol)
        found.setdefault((kind, venue_id), symbol)
    return found


def _apart(venue_id: str, symbol: str) -> str:
    return f"{venue_id}#{symbol}"[:LONGEST_ID]


def respelled(known: Sequence[KnownMarket], listings: Sequence[Listing]) -> dict[int, str]:
    """Returns the new id of each market, where the exchange (or its client) spells ids otherwise than before: most of
    the names that were listed have ids that nobody knows. Single names with a new id are other markets."""
    identities = {(row.kind, row.venue_id) for row in known}
    by_name = {(row.symbol, row.kind): row for row in known if row.is_active}
    listed = {(listing.kind, listing.venue_id) for listing in listings}
    changed = {
        row.id: listing.venue_id
        for listing in listings
        if (listing.kind, listing.venue_id) not in identities
        and (row := by_name.get((listing.symbol, listing.kind))) is not None
        and (row.kind, row.venue_id) not in listed
    }
    return changed if len(changed) >= max(LEAST_SPELLED, SPELLING_SHARE * len(by_name)) else {}


def renames(known: Sequence[KnownMarket], listings: Sequence[Listing]) -> dict[int, str]:
    """Returns the new names of known markets: of listed ones that are called otherwise now, and of those that are no
    longer listed and whose name is another market's by now (NAME#ID)."""
    wanted = {(listing.kind, listing.venue_id): listing.symbol for listing in listings}
    taken = {listing.symbol for listing in listings}
    found = {row.id: symbol for row in known
             if (symbol := wanted.get((row.kind, row.venue_id))) is not None and symbol != row.symbol}  # fmt: skip
    staying = {row.symbol for row in known if row.id not in found} | taken
    for row in known:
        if (row.kind, row.venue_id) not in wanted and row.symbol in taken:
            found[row.id] = _former_name(row, staying)
            staying.add(found[row.id])
    return found


def _former_name(row: KnownMarket, taken: Collection[str]) -> str:
    name = f"{row.symbol}#{row.venue_id}"
    is_free = len(name) <= LONGEST_SYMBOL and name not in taken
    return name if is_free else f"{row.symbol[: LONGEST_SYMBOL - 12]}#{row.id}"
