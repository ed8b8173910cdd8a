"""Books and trades by websocket: a real stream process, a sandbox that talks five times a second, and requests."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.db import connection

from collectors.market_data import collect, streamed
from collectors.models import Worker
from collectors.models.market_data import DepthRun, DepthSeries, OrderBookSnapshot, PublicTrade, TradeHole
from exchanges.models import Exchange
from feeds.base import OrderBook, Superseded
from lib import clock
from sandbox.exchange import Exchanges
from sandbox.view import View
from tests.sandbox_client import Sandbox, running_sandbox
from tests.streaming.conftest import Site, at, open_site

pytestmark = [pytest.mark.system, pytest.mark.django_db, pytest.mark.timeout(90)]

SYMBOL = {
    "binance": "BTC/USDT",
    "coinbase": "BTC/USD",
    "kraken": "BTC/USD",
    "hyperliquid": "BTC/USDC:USDC",
    "valr": "BTC/ZAR",
}
IDS = {"binance": "BTCUSDT", "coinbase": "BTC-USD", "kraken": "XXBTZUSD", "hyperliquid": "BTC", "valr": "BTCZAR"}
COUNTED = ("binance", "coinbase", "kraken")
ASKED = (*COUNTED, "valr")  # hyperliquid's requests all have the same path
REST_PATHS = {
    "binance": "/api/v3/",
    "coinbase": "/brokerage/market/",
    "kraken": "/0/public/",
    "valr": "/v1/public/",
}
BESIDES_TICKERS = "depth|[tT]rade|TRADE|level2|book|ORDERBOOK|l2Book"
PATIENCE = {"STREAM_SILENCE_SECONDS": "2.5"}  # a book of the sandbox changes once a second
LEVELS = 5
BESIDE_BINANCES_TICKERS = r"stream\.binance\.com/ws/1"


@pytest.fixture(scope="module")
def talker() -> Iterator[Sandbox]:
    with running_sandbox("--markets", "30", "--stream-seconds", "0.2") as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def streams(talker: Sandbox, django_db_setup: None, django_db_blocker: Any, tmp_path_factory: Any) -> Iterator[Site]:
    with django_db_blocker.unblock(), open_site(talker, tmp_path_factory.mktemp("depth")) as site:
        site.add(*SYMBOL)
        for exchange_id, symbol in SYMBOL.items():
            want(exchange_id, symbol)
        site.start(**PATIENCE)
        site.wait_for_streams(*SYMBOL, seconds=30)
        yield site
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        site.stop_all()
        cursor.execute("TRUNCATE collectors_orderbook, collectors_trade, exchanges_exchange CASCADE")


@pytest.fixture(scope="module")
def calm(streams: Site, django_db_blocker: Any) -> tuple[float, float]:
    """From when to when nothing went wrong, and every stream brought three books and three trades."""
    with django_db_blocker.unblock():
        streams.sandbox.heal()
        streams.wait_for_streams(*SYMBOL, seconds=30)
        began = time.time() + 1.0  # the first book may have come before
        side_by_side(SYMBOL, lambda exchange_id: wait_for_both(streams, exchange_id, since=began, count=3))
    return began, time.time()


@pytest.fixture
def site(streams: Site, db: None) -> Site:
    """Every exchange's tickers are streamed, and nothing is wrong."""
    streams.sandbox.heal()
    streams.wait_for_streams(*SYMBOL, seconds=30)
    return streams


def side_by_side(exchange_ids: Iterable[str], check: Callable[[str], object]) -> None:
    """Each exchange in a thread, with a connection, of its own. The first failure is the test's."""

    def run(exchange_id: str) -> None:
        try:
            check(exchange_id)
        finally:
            connection.close()

    with ThreadPoolExecutor(len(SYMBOL)) as pool:
        for ended in [pool.submit(run, exchange_id) for exchange_id in exchange_ids]:
            ended.result()


def committed(work: Callable[[], object]) -> None:
    """Over a connection of its own: a test's is never committed."""

    def do() -> None:
        try:
            work()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(do).result()


def want(exchange_id: str, *symbols: str) -> None:
    committed(lambda: _want(exchange_id, *symbols))


def _want(exchange_id: str, *symbols: str) -> None:
    markets = {"markets": list(symbols), "seconds": 1}
    Exchange.objects.filter(pk=exchange_id).update(depth={"books": {**markets, "levels": LEVELS}, "trades": markets})


def books(
    exchange_id: str, *, since: float = 0.0, until: float = math.inf, symbol: str = ""
) -> list[OrderBookSnapshot]:
    found = OrderBookSnapshot.objects.filter(pipeline__market__exchange_id=exchange_id)
    rows = found.filter(pipeline__market__symbol=symbol or SYMBOL[exchange_id]).order_by("received_at")
    return [row for row in rows if since < row.received_at.timestamp() < until]


def trades(exchange_id: str, *, since: float = 0.0, until: float = math.inf, symbol: str = "") -> list[PublicTrade]:
    found = PublicTrade.objects.filter(pipeline__market__exchange_id=exchange_id)
    rows = found.filter(pipeline__market__symbol=symbol or SYMBOL[exchange_id]).order_by("traded_at")
    return [row for row in rows if since < row.received_at.timestamp() < until]


def wait_for_both(
    site: Site, exchange_id: str, *, since: float, symbol: str = "", count: int = 1, seconds: float = 60
) -> None:
    site.wait_until(
        lambda: (
            len(books(exchange_id, since=since, symbol=symbol)) >= count
            and len(trades(exchange_id, since=since, symbol=symbol)) >= count
        ),
        seconds=seconds,
        what=f"{count} books and trades of {exchange_id} {symbol}",
    )


def count_of(trade: PublicTrade) -> int:
    """The second in which the sandbox let it happen, which is the end of every venue's id."""
    return int(trade.trade_id.rsplit("-", 1)[-1])


def holes(exchange_id: str, *, since: float = 0.0) -> list[TradeHole]:
    found = TradeHole.objects.filter(pipeline__market__exchange_id=exchange_id)
    return [hole for hole in found if hole.detected_at.timestamp() > since]


def ask_by_rest(exchange_id: str, *, is_forced: bool = False) -> None:
    """What beat's task does."""
    if is_forced:
        committed(lambda: DepthSeries.objects.filter(exchange_id=exchange_id).update(next_at=clock.now()))
    committed(lambda: collect.collect(exchange_id, clock=clock.now, seconds=5))


def asked(site: Site, exchange_id: str, *, since: float) -> list[str]:
    found = site.sandbox.requests_of(exchange_id, since=since)
    words = ("depth", "Depth", "aggTrades", "Trades", "product_book", "/ticker", "/orderbook", "/trades")
    return [
        each["path"]
        for each in found
        if each["method"] == "GET" and REST_PATHS[exchange_id] in each["path"] and each["path"].endswith(words)
    ]


def truth(exchange_id: str, second: int) -> tuple[View, Any]:
    exchange = next(each for each in Exchanges(30).all() if each.id == exchange_id)
    view = View(exchange_id, exchange.markets, second, second, second)
    return view, exchange.markets[IDS[exchange_id]]


def shown(exchange_id: str, second: int) -> tuple[list[float], ...]:
    view, market = truth(exchange_id, second)
    book = view.book(market, LEVELS)
    sides = (book.bids, book.asks)
    return tuple([float(level[part]) for level in side] for side in sides for part in (0, 1))


def test_stored_books_are_what_the_exchange_showed_in_some_second_just_before(
    calm: tuple[float, float], site: Site
) -> None:
    for exchange_id in SYMBOL:
        stored = books(exchange_id, since=calm[0], until=calm[1])
        assert len(stored) >= 3
        for row in stored:
            levels = (row.bid_prices, row.bid_amounts, row.ask_prices, row.ask_amounts)
            received = int(row.received_at.timestamp())
            seconds = [row.sequence] if exchange_id in ("binance", "valr") else [received, received - 1]
            assert levels in [shown(exchange_id, second) for second in seconds], exchange_id


def test_stored_trades_are_what_happened_at_their_seconds(calm: tuple[float, float], site: Site) -> None:
    for exchange_id in SYMBOL:
        stored = trades(exchange_id, since=calm[0], until=calm[1])
        assert len(stored) >= 3
        for row in stored:
            second = int(row.traded_at.timestamp())
            view, market = truth(exchange_id, second)
            [happened] = view.trades(market, 1)
            assert count_of(row) == second, exchange_id
            assert (row.price, row.amount) == (float(happened.price), float(happened.amount))
            assert row.side == ("buy" if happened.is_buy else "sell")
            assert row.number == (second if exchange_id in COUNTED else None)


def test_a_batch_of_trades_follows_the_one_before(calm: tuple[float, float], site: Site) -> None:
    for exchange_id in SYMBOL:
        counts = [count_of(row) for row in trades(exchange_id, since=calm[0], until=calm[1])]
        assert counts == list(range(counts[0], counts[-1] + 1)), exchange_id


def test_a_trade_that_stream_and_requests_both_bring_is_stored_once(site: Site) -> None:
    side_by_side(ASKED, lambda exchange_id: check_requests_beside_the_stream(site, exchange_id))


def check_requests_beside_the_stream(site: Site, exchange_id: str) -> None:
    wait_for_both(site, exchange_id, since=time.time())
    began, rounds = time.time(), 2 if exchange_id in COUNTED else 1  # VALR allows five requests at once
    for _ in range(rounds):
        ask_by_rest(exchange_id, is_forced=True)

    assert len(asked(site, exchange_id, since=began)) >= rounds
    site.wait_until(lambda: len(trades(exchange_id, since=began)) >= 3, seconds=8, what="trades after it")
    stored = [row.trade_id for row in trades(exchange_id)]
    assert len(stored) == len(set(stored))
    for _ in range(3):
        ask_by_rest(exchange_id)  # fills what was missed between the two
    still_open = [hole for hole in holes(exchange_id) if hole.state == "open"]
    missing = {
        second
        for hole in still_open
        for second in range(int(hole.started_at.timestamp()) + 1, int(hole.ended_at.timestamp()))
    }
    counts = {count_of(row) for row in trades(exchange_id)}
    assert set(range(int(began), max(counts))) <= counts | missing


def test_requests_leave_to_the_stream_what_it_delivers(site: Site) -> None:
    def watch(exchange_id: str) -> None:
        wait_for_both(site, exchange_id, since=time.time())
        ask_by_rest(exchange_id)  # holes that are still open
        committed(TradeHole.objects.filter(pipeline__market__exchange_id=exchange_id).delete)

        def is_left_to_the_stream() -> bool:
            """Says whether nothing was asked for while two books came, for longer than a stream's row may be late."""
            began = time.time()
            while time.time() - began < 1.5 or len(books(exchange_id, since=began)) < 2:
                ask_by_rest(exchange_id)
                if asked(site, exchange_id, since=began) or time.time() - began > 6:
                    return False
            return True

        site.wait_until(is_left_to_the_stream, seconds=20, what=f"{exchange_id} is left to its stream")

    side_by_side(ASKED, watch)


def test_a_silent_stream_is_replaced_by_requests_and_comes_back(site: Site) -> None:
    side_by_side(ASKED, lambda exchange_id: check_a_silence(site, exchange_id))


def check_a_silence(site: Site, exchange_id: str) -> None:
    wait_for_both(site, exchange_id, since=time.time())
    began = time.time()
    fault = site.sandbox.fault(exchange_id, "ws_silence", params={"channels": BESIDES_TICKERS})

    def kinds(*, since: float, **wanted: Any) -> set[str]:
        runs = DepthRun.objects.filter(exchange=exchange_id, rows_stored__gt=0, **wanted)
        return {run.kind for run in runs if run.started_at.timestamp() > since}

    def is_asked() -> bool:
        ask_by_rest(exchange_id)
        return kinds(since=began, requests__gt=0) == {"books", "trades"}

    site.wait_until(is_asked, seconds=12, what=f"rows of {exchange_id} by requests")
    assert site.switches(exchange_id, since=began) == []  # tickers went on

    site.lift([fault])
    healed = time.time()
    site.wait_until(
        lambda: kinds(since=healed, requests=0) == {"books", "trades"},
        seconds=15,
        what=f"rows of {exchange_id} by the stream",
    )


def test_a_connection_of_books_that_ends_is_made_anew_without_the_tickers(site: Site) -> None:
    wait_for_both(site, "binance", since=time.time())
    began = time.time()
    site.sandbox.fault("binance", "ws_close", path=BESIDE_BINANCES_TICKERS, count=1)

    site.wait_until(lambda: len(site.connections("binance", since=began)) >= 1, seconds=8, what="another connection")

    assert [each["path"] for each in site.connections("binance", since=began)] == ["/ws/1"]
    wait_for_both(site, "binance", since=time.time())
    assert site.switches("binance", since=began) == []


def test_a_shared_connection_that_ends_brings_back_both(site: Site) -> None:
    def end(exchange_id: str) -> None:
        wait_for_both(site, exchange_id, since=time.time())
        began = time.time()
        site.sandbox.fault(exchange_id, "ws_close", count=1)

        site.wait_until(lambda: len(site.switches(exchange_id, since=began)) == 2, seconds=15, what="off and on")

        wait_for_both(site, exchange_id, since=time.time())
        assert [transport for transport, _ in site.switches(exchange_id, since=began)] == ["poll", "stream"]

    side_by_side(["coinbase", "kraken", "valr"], end)


def test_another_setting_is_obeyed_and_the_tickers_stay(site: Site) -> None:
    def change(exchange_id: str) -> None:
        other = SYMBOL[exchange_id].replace("BTC", "ETH")
        wait_for_both(site, exchange_id, since=time.time())
        began = time.time()
        try:
            want(exchange_id, other)
            wait_for_both(site, exchange_id, since=began, symbol=other)
            changed = time.time() + 0.5
            site.wait_until(
                lambda: len(books(exchange_id, since=changed, symbol=other)) > 1, seconds=8, what="two more"
            )
            assert books(exchange_id, since=changed) == []
            assert trades(exchange_id, since=changed) == []
            assert site.switches(exchange_id, since=began) == []
            assert site.connections(exchange_id, since=began) == []
        finally:
            want(exchange_id, SYMBOL[exchange_id])

    side_by_side(ASKED, change)


@pytest.mark.parametrize(
    ("kind", "params"),
    [("ws_silence", {"channels": "^book@"}), ("override", {"field": "checksum", "value": 1})],
    ids=["a change is not told", "a checksum is wrong"],
)
def test_a_book_that_is_not_what_its_checksum_says_begins_anew(site: Site, kind: str, params: dict[str, Any]) -> None:
    wait_for_both(site, "kraken", since=time.time())
    began = time.time()
    site.sandbox.fault("kraken", kind, path="ws.kraken", params=params, for_seconds=1.2)

    def asked_for() -> list[str]:
        sent = [each for each in site.sandbox.requests_of("kraken", since=began) if each["method"] == "SEND"]
        messages = [orjson.loads(each["query"]) for each in sent]
        return [each["method"] for each in messages if each.get("params", {}).get("channel") == "book"]

    site.wait_until(lambda: len(asked_for()) >= 2, seconds=8, what="another beginning of the book")
    assert asked_for()[:2] == ["unsubscribe", "subscribe"]
    anew = time.time()
    site.wait_until(lambda: len(books("kraken", since=anew)) >= 1, seconds=8, what="a book after it")
    for row in books("kraken", since=anew):
        levels = (row.bid_prices, row.bid_amounts, row.ask_prices, row.ask_amounts)
        received = int(row.received_at.timestamp())
        assert levels in [shown("kraken", second) for second in (received, received - 1)]
    assert site.switches("kraken", since=began) == []
    assert site.connections("kraken", since=began) == []


def test_the_largest_are_streamed_where_the_stream_tells_no_volumes(site: Site) -> None:
    def choose(exchange_id: str) -> None:
        top = {"top": 2, "seconds": 1}
        try:
            began = time.time()
            committed(lambda: Exchange.objects.filter(pk=exchange_id).update(depth={"books": top, "trades": top}))
            for rows in (OrderBookSnapshot, PublicTrade):
                new = rows.objects.filter(pipeline__market__exchange_id=exchange_id, received_at__gt=at(began + 1))
                site.wait_until(
                    lambda new=new: new.values("pipeline_id").distinct().count() == 2,
                    seconds=12,
                    what=f"{rows.__name__} of two markets of {exchange_id}",
                )
            requests = DepthRun.objects.filter(exchange=exchange_id, requests__gt=0, started_at__gt=at(began))
            assert not requests.exists()  # nobody but the stream was asked
        finally:
            want(exchange_id, SYMBOL[exchange_id])

    side_by_side(["coinbase", "hyperliquid"], choose)


def test_nothing_is_stored_under_a_generation_that_has_passed(site: Site) -> None:
    generation = Worker.objects.get(pk="binance").generation
    plan = streamed.plan("binance", generation - 1, now=clock.now())
    assert plan is not None
    book = OrderBook(((99.0, 1.0),), ((101.0, 1.0),), None, time.time())

    with pytest.raises(Superseded):
        streamed.save_books(plan, {"BTC/USDT": book}, now=clock.now())


def test_a_crossed_book_is_put_aside_with_the_reason(site: Site) -> None:
    began = time.time()
    site.sandbox.fault(
        "kraken", "override", path="ws.kraken", params={"symbol": "BTC/USD", "field": "bid", "value": "999999"}
    )

    runs = DepthRun.objects.filter(exchange="kraken", kind="books", rows_quarantined__gt=0)
    site.wait_until(
        lambda: any(run.started_at.timestamp() > began for run in runs.all()), seconds=10, what="a book put aside"
    )

    assert "crossed" in runs.latest("started_at").quarantine[0]["reason"]


def test_logs_hold_no_traceback(site: Site) -> None:
    for path in Path(site.logs).glob("*.log"):
        assert "depth_failed" not in path.read_text()
