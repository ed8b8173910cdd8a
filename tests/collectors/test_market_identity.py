"""A market is what has the exchange's id, whatever it is called: renamed, listed anew, and told apart."""

from __future__ import annotations

import importlib
from types import SimpleNamespace

import pytest
from django.db import IntegrityError, connection, transaction

from collectors import lease
from collectors.models import Pipeline
from collectors.polling import market_list
from collectors.rules import market_identity
from collectors.rules.market_identity import KnownMarket
from collectors.streaming.blocking_calls import of_same_markets
from exchanges.models import Market
from feeds.base import Capabilities, Listing, Poll
from tests.world import permit, quote

ABLE = Capabilities("Kraken", {}, (), 1000.0)


def listed(symbol: str, venue_id: str, kind: str = "spot") -> Listing:
    base, _, rest = symbol.partition("/")
    return Listing(symbol, base, rest.partition(":")[0], kind, venue_id, True)


def known(number: int, symbol: str, venue_id: str, kind: str = "spot", *, is_active: bool = True) -> KnownMarket:
    return KnownMarket(number, symbol, kind, venue_id, is_active)


@pytest.mark.parametrize(
    ("stored", "now", "names"),
    [
        ([known(1, "A/USD", "a")], [listed("A/USD", "a")], {}),
        ([known(1, "A/USD", "a")], [listed("B/USD", "a")], {1: "B/USD"}),
        ([known(1, "A/USD", "a"), known(2, "B/USD", "b")], [listed("B/USD", "a"), listed("A/USD", "b")],
         {1: "B/USD", 2: "A/USD"}),
        ([known(1, "A/USD", "a")], [listed("A/USD", "a2")], {1: "A/USD#a"}),
        ([known(1, "A/USD", "a"), known(2, "A/USD#b", "b")], [listed("A/USD", "b")], {2: "A/USD", 1: "A/USD#a"}),
        ([known(1, "A/USD", "a", "swap")], [listed("A/USD", "a")], {1: "A/USD#a"}),
        ([known(1, "A/USD", "a"), known(2, "A/USD#a", "c")], [listed("A/USD", "a2"), listed("A/USD#a", "c")],
         {1: "A/USD#1"}),
        ([known(1, "A/USD", "a", is_active=False)], [listed("B/USD", "b")], {}),
    ],
    ids=["as before", "renamed", "two change names", "another market takes the name", "and gets it from a third",
         "another kind", "a name that is taken", "gone, and nobody wants its name"],
)  # fmt: skip
def test_known_markets_follow_their_ids(stored, now, names):
    assert market_identity.renames(stored, now) == names


def test_an_id_that_comes_twice_is_two_markets():
    found = market_identity.told_apart([listed("A/USD", "a"), listed("B/USD", "a"), listed("A/USD:USD", "a", "swap")])

    assert [(each.symbol, each.venue_id) for each in found] == [
        ("A/USD", "a"), ("B/USD", "a#B/USD"), ("A/USD:USD", "a")]  # fmt: skip


def test_ids_that_are_all_spelled_otherwise_are_the_same_markets():
    stored = [known(number, f"C{number}/USD", f"C{number}USD") for number in range(20)]
    now = [listed(row.symbol, row.venue_id.lower()) for row in stored]

    assert market_identity.respelled(stored, now) == {row.id: row.venue_id.lower() for row in stored}
    assert market_identity.respelled(stored, [*now[:9], *(listed(r.symbol, r.venue_id) for r in stored[9:])]) == {}
    assert market_identity.respelled(stored[:5], now[:5]) == {}


def register(world, *listings: Listing) -> None:
    held = permit("kraken")
    market_list.register(held, list(listings), ABLE, digest="x", now=world.now, accepts_short=True)
    lease.release(held)


def names() -> dict[int, tuple[str, str, bool]]:
    return {m.pk: (m.symbol, m.venue_id, m.active) for m in Market.objects.all()}


def test_a_renamed_market_keeps_its_number_and_history(world):
    one, two, three = (market.pk for market in world.markets)

    register(world, listed("NEW/USD", "BTCUSD"), listed("ETH/USD", "ETHUSD"), listed("SOL/USD", "SOLUSD"))

    assert names()[one] == ("NEW/USD", "BTCUSD", True)
    assert names().keys() == {one, two, three}


def test_another_market_of_a_known_name_has_a_number_and_a_history_of_its_own(world):
    one = world.markets[0].pk

    register(world, listed("BTC/USD", "XBTUSD"), listed("ETH/USD", "ETHUSD"), listed("SOL/USD", "SOLUSD"))

    assert names()[one] == ("BTC/USD#BTCUSD", "BTCUSD", False)
    new = Market.objects.get(symbol="BTC/USD")
    assert (new.pk == one, new.active) == (False, True)
    assert Pipeline.objects.filter(pk=new.pk).exists()


def test_two_markets_may_change_their_names(world):
    one, two, _ = (market.pk for market in world.markets)

    register(world, listed("ETH/USD", "BTCUSD"), listed("BTC/USD", "ETHUSD"), listed("SOL/USD", "SOLUSD"))

    assert [names()[number][0] for number in (one, two)] == ["ETH/USD", "BTC/USD"]


def test_one_id_for_two_kinds_is_two_markets_and_for_one_kind_one(world):
    register(world, *(listed(f"{base}/USD", f"{base}USD") for base in ("BTC", "ETH", "SOL")),
             listed("BTC/USD:USD", "BTCUSD", "swap"))  # fmt: skip

    assert Market.objects.filter(venue_id="BTCUSD").count() == 2
    row = Market.objects.get(symbol="BTC/USD")
    with pytest.raises(IntegrityError, match="market_once_by_id"), transaction.atomic():
        Market.objects.create(
            exchange=row.exchange, symbol="X/USD", base="X", quote="USD", kind="spot", venue_id="BTCUSD", source="x",
            listed_at=row.listed_at,
        )  # fmt: skip


# --- what stood in the table before -----------------------------------------------------------------------------------


@pytest.fixture
def before(db):
    """The table as it was: one id may stand in several rows."""
    from datetime import timedelta

    from collectors.history import partitions
    from lib import clock
    from tests.world import add_exchange, add_market

    partitions.ensure(clock.now())
    begun = clock.now() - timedelta(days=1)
    exchange = add_exchange("kraken", since=begun)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE exchanges_market DROP CONSTRAINT market_once_by_id")
    return lambda base, **more: add_market(exchange, base, since=begun, **more)


def migrate() -> None:
    module = importlib.import_module("exchanges.migrations.0018_market_identity")
    module.tell_apart(None, SimpleNamespace(connection=connection))


def test_names_of_before_keep_their_numbers_and_get_an_id_of_their_own(before):
    former, now = before("OLD", venue_id="same", active=False), before("NEW", venue_id="same")

    migrate()

    assert Market.objects.get(pk=now.pk).venue_id == "same"
    assert Market.objects.get(pk=former.pk).venue_id == f"same#{former.pk}"


def test_two_active_markets_of_one_id_stop_it_with_a_list(before):
    before("A", venue_id="same")
    before("B", venue_id="same")

    with pytest.raises(Exception, match=r"kraken spot same: A/USD \(\d+\), B/USD \(\d+\)"):
        migrate()

    assert set(Market.objects.values_list("venue_id", flat=True)) == {"same"}


def test_only_where_markets_could_be_mistaken_are_rows_of_before_unproven(before, client):
    from lib import clock
    from tests.world import add_exchange, add_market

    gate = add_exchange("gate", since=clock.now())
    doubtful, sure = add_market(gate, "BOX", since=clock.now()), before("BTC")

    migrate()

    doubtful.refresh_from_db()
    sure.refresh_from_db()
    assert sure.identity_since is None
    assert doubtful.identity_since is not None
    told = {row["id"]: row["identity_unproven_before"] for row in client.get("/api/v1/pipelines/").json()["results"]}
    assert (told[sure.pk], told[doubtful.pk] is not None) == (None, True)
    history = client.get(f"/api/v1/pipelines/{doubtful.pk}/history/").json()
    assert history["identity_unproven_before"] is not None


# --- rows read by a list that is not the newest -----------------------------------------------------------------------


def test_the_list_in_hand_names_markets_by_their_ids():
    identities = {"A/USD": ("spot", "b"), "A/USD#a": ("spot", "a"), "B/USD": ("spot", "b"), "A/USD:USD": ("swap", "a")}

    assert market_identity.names_in_hand(identities) == {
        ("spot", "b"): "A/USD", ("spot", "a"): "A/USD#a", ("spot", "b#B/USD"): "B/USD", ("swap", "a"): "A/USD:USD",
    }  # fmt: skip


def test_rows_go_by_the_symbols_of_the_list_that_they_were_read_by(world):
    """The newest list calls `b` otherwise, and lists `a`, which has the name that `b` had."""
    register(world, listed("B/USD", "b"), listed("A/USD", "b2"))
    before = {"B/USD": ("spot", "b"), "A/USD": ("spot", "b2")}
    register(world, listed("A/USD", "b"), listed("B/USD", "a"), listed("C/USD", "b2"))
    of_id = dict(Market.objects.filter(active=True).values_list("venue_id", "id"))

    by_old = market_list.markets_of("kraken", 7, before)
    assert by_old.collected == {"B/USD": of_id["b"], "A/USD": of_id["b2"]}
    assert market_list.markets_of("kraken", 7) is by_old
    by_new = market_list.markets_of("kraken", 8)
    assert by_new.collected == {"A/USD": of_id["b"], "B/USD": of_id["a"], "C/USD": of_id["b2"]}


def test_a_comparison_poll_by_another_list_tells_nothing_of_moved_names():
    quotes = tuple(quote(name) for name in ("A/USD", "B/USD", "C/USD"))
    poll = Poll(quotes, 3, identities={"A/USD": ("spot", "a"), "B/USD": ("spot", "b"), "C/USD": ("spot", "c")})
    mine = {"A/USD": ("spot", "a"), "B/USD": ("spot", "c"), "D/USD": ("spot", "d")}

    assert [each.symbol for each in of_same_markets(poll, mine).quotes] == ["A/USD"]
    assert of_same_markets(poll, poll.identities) is poll
    assert of_same_markets(poll, {}) is poll
