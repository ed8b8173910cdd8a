"""One warm client per process: permission, deadlines, threads, forks, files, proxies, secrets."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from feeds import close_feeds, open_feed
from feeds.base import BadReply, Denied, FeedSpec, Superseded, Unreachable, Unsupported
from feeds.ccxt.feed import build_client

from .bodies import COINS, LUNO_MARKETS, NOW_MS
from .conftest import MarketsInMemory, OpenFeed
from .test_hostile_answers import hang
from .venue import Answer, Request, Venue, unused_port

BTC = ["BTC/USDT"]


def test_equal_specs_share_one_client_and_a_changed_spec_gets_its_own(venue: Venue) -> None:
    first = open_feed(FeedSpec("binance", base_url=venue.base_url))

    assert open_feed(FeedSpec("binance", base_url=venue.base_url)) is first
    assert open_feed(FeedSpec("binance", base_url=venue.base_url, credentials={"apiKey": "k"})) is not first


def test_no_request_leaves_once_permission_is_gone(venue: Venue, warm: OpenFeed) -> None:
    with pytest.raises(Superseded):
        warm("binance").fetch_quotes(BTC, deadline_seconds=5, may_call=lambda: False)

    assert venue.requests == []


def test_permission_is_asked_before_every_single_request(venue: Venue, warm: OpenFeed) -> None:
    answers = iter([True, False])

    with pytest.raises(Superseded):
        warm("hyperliquid").fetch_quotes(
            ["BTC/USDC:USDC", "PURR/USDC"], deadline_seconds=5, may_call=lambda: next(answers)
        )

    assert len(venue.requests) == 1


def test_permission_is_asked_in_the_callers_thread(warm: OpenFeed) -> None:
    threads = []

    def may_call() -> bool:
        threads.append(threading.current_thread())
        with pytest.raises(RuntimeError):  # no event loop here: Django's connections may be used
            asyncio.get_running_loop()
        return True

    warm("binance").fetch_quotes(BTC, deadline_seconds=5, may_call=may_call)

    assert threads == [threading.current_thread()]


def test_an_error_of_the_caller_comes_back_to_the_caller(warm: OpenFeed, venue: Venue) -> None:
    def may_call() -> bool:
        raise ConnectionError("our database is away")

    with pytest.raises(ConnectionError, match="our database"):
        warm("binance").fetch_quotes(BTC, deadline_seconds=5, may_call=may_call)

    assert venue.requests == []
    assert warm("binance").fetch_quotes(BTC, deadline_seconds=5).quotes


def test_the_deadline_covers_the_wait_for_the_rate_limit(warm: OpenFeed) -> None:
    feed = warm("binanceusdm")
    feed._client._free_at = time.monotonic() + 60  # type: ignore[attr-defined]
    began = time.monotonic()

    with pytest.raises(Unreachable):
        feed.fetch_quotes(["BTC/USDT:USDT"], deadline_seconds=0.5)

    assert time.monotonic() - began < 1.5


def test_a_call_after_a_pause_does_not_wait_for_the_one_before(warm: OpenFeed) -> None:
    """binanceusdm's bulk call costs 2 s of rate limit; ccxt's own limiter would make the next one pay them."""
    feed = warm("binanceusdm")
    feed.fetch_quotes(["BTC/USDT:USDT"], deadline_seconds=5)
    feed._client._free_at -= 10  # type: ignore[attr-defined]  # ten seconds later
    began = time.monotonic()

    feed.fetch_quotes(["BTC/USDT:USDT"], deadline_seconds=5)

    assert time.monotonic() - began < 0.5


def test_calls_at_once_are_spaced_by_the_rate_limit(warm: OpenFeed, venue: Venue) -> None:
    feed = warm("binance")
    feed._client.rateLimit = 20  # type: ignore[attr-defined]  # cost 16: 0.32 s a call
    began = time.monotonic()

    for _ in range(5):
        feed.fetch_quotes(BTC, deadline_seconds=5)

    assert 0.7 < time.monotonic() - began < 2


def test_several_threads_may_call_at_once(venue: Venue, warm: OpenFeed) -> None:
    feeds = [warm("binance"), warm("coinbase"), warm("luno")]
    symbols = ["BTC/USDT", "BTC/USD", "BTC/ZAR"]

    with ThreadPoolExecutor(6) as pool:
        polls = list(pool.map(lambda n: feeds[n % 3].fetch_quotes([symbols[n % 3]], deadline_seconds=9), range(12)))

    assert [poll.quotes[0].symbol for poll in polls] == symbols * 4


def test_a_silent_venue_does_not_hold_up_another(venue: Venue, warm: OpenFeed) -> None:
    venue.answers["/api/v3/ticker/24hr"] = Answer(play=hang)
    silent, lively = warm("binance"), warm("luno")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(silent.fetch_quotes, BTC, deadline_seconds=1.0)
        began = time.monotonic()

        assert lively.fetch_quotes(["BTC/ZAR"], deadline_seconds=5).quotes

        assert time.monotonic() - began < 0.8
        assert isinstance(waiting.exception(), Unreachable)


def test_a_forked_child_opens_its_own_client_and_leaves_the_parents_alone(venue: Venue, warm: OpenFeed) -> None:
    assert warm("binance").fetch_quotes(BTC, deadline_seconds=5).quotes
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if warm("binance").fetch_quotes(BTC, deadline_seconds=5).quotes else 1
            close_feeds()
        finally:
            os._exit(code)

    assert os.waitpid(pid, 0)[1] == 0
    assert warm("binance").fetch_quotes(BTC, deadline_seconds=5).quotes


def test_a_hundred_polls_open_no_further_file(venue: Venue, warm: OpenFeed) -> None:
    feed = warm("luno")
    feed._client.rateLimit = 1  # type: ignore[attr-defined]
    for _ in range(5):
        feed.fetch_quotes(["BTC/ZAR"], deadline_seconds=5)
    before = _open_files()

    for turn in range(100):
        if turn % 10 == 0:  # broken answers must not leak either
            venue.answers["/api/1/tickers"] = Answer(b"<html>", status=502)
            with pytest.raises(Unreachable):
                feed.fetch_quotes(["BTC/ZAR"], deadline_seconds=5)
            venue.answers["/api/1/tickers"] = LUNO
        feed.fetch_quotes(["BTC/ZAR"], deadline_seconds=5)

    assert _open_files() <= before + 1


LUNO = Answer({"tickers": [{"pair": "XBTZAR", "timestamp": NOW_MS, "last_trade": "1"}]})


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_received_at_is_our_clock_when_the_answer_had_arrived(warm: OpenFeed) -> None:
    before = time.time()
    quotes = warm("binance").fetch_quotes([f"{coin}/USDT" for coin in COINS], deadline_seconds=5).quotes

    assert len({quote.received_at for quote in quotes}) == 1
    assert before <= quotes[0].received_at <= time.time()


# -- the other calls -------------------------------------------------------------------------------------------------


def test_ping_takes_the_time_as_proof(venue: Venue, warm: OpenFeed) -> None:
    venue.answers["/api/v3/time"] = Answer({"serverTime": NOW_MS})

    warm("binance").ping(deadline_seconds=5)

    assert venue.paths() == ["/api.binance.com/api/v3/time"]


def test_ping_without_a_time_is_a_bad_reply(venue: Venue, warm: OpenFeed) -> None:
    venue.answers["/api/v3/time"] = Answer({})

    with pytest.raises(BadReply):
        warm("binance").ping(deadline_seconds=5)


def test_ping_asks_for_a_ticker_where_there_is_neither_time_nor_status(venue: Venue, warm: OpenFeed) -> None:
    warm("luno").ping(deadline_seconds=5)

    assert venue.paths() == ["/api.luno.com/api/1/tickers"]


def test_candles_leave_out_bars_that_cannot_be_judged(venue: Venue, warm: OpenFeed) -> None:
    rows: list[list[Any]] = [
        [NOW_MS - 60_000, "64990.0", "65010.0", "64980.0", "65000.0", "12.5"],
        [NOW_MS, "NaN", "65010.0", "64980.0", "65000.0", "12.5"],
        [NOW_MS + 60_000, None, "65010.0", "64980.0", "65000.0", "12.5"],
    ]
    venue.answers["/api/v3/klines"] = Answer(rows)

    candles = warm("binance").fetch_candles("BTC/USDT", timeframe="1m", since=None, limit=3, deadline_seconds=5)

    assert [(bar.opened_at, bar.close, bar.base_volume) for bar in candles] == [(NOW_MS / 1000 - 60, 65000.0, 12.5)]


def test_trades_keep_the_venues_id_and_time(venue: Venue, warm: OpenFeed) -> None:
    venue.answers["/api/v3/aggTrades"] = Answer(
        [{"a": 26129, "p": "65000.00", "q": "0.010", "f": 1, "l": 1, "T": NOW_MS, "m": True, "M": True}]
    )

    trades = warm("binance").fetch_trades("BTC/USDT", since=None, limit=1, deadline_seconds=5)

    assert trades[0] == ("26129", NOW_MS / 1000, 65000.0, 0.01, "sell")


def test_an_order_book_comes_best_first(venue: Venue, warm: OpenFeed) -> None:
    book = {"lastUpdateId": 1, "bids": [["64999", "1"], ["65000", "2"]], "asks": [["65002", "1"], ["65001", "3"]]}
    venue.answers["/api/v3/depth"] = Answer(book)

    found = warm("binance").fetch_order_book("BTC/USDT", depth=5, deadline_seconds=5)

    assert found.bids == ((65000.0, 2.0), (64999.0, 1.0))
    assert found.asks == ((65001.0, 3.0), (65002.0, 1.0))
    assert found.received_at > 0


def test_an_empty_object_is_no_order_book(venue: Venue, warm: OpenFeed) -> None:
    venue.answers["/api/v3/depth"] = Answer({})

    with pytest.raises(BadReply):
        warm("binance").fetch_order_book("BTC/USDT", depth=5, deadline_seconds=5)


def test_a_market_the_venue_does_not_know_is_unsupported(warm: OpenFeed) -> None:
    with pytest.raises(Unsupported):
        warm("binance").fetch_order_book("NOPE/USDT", depth=5, deadline_seconds=5)


def test_a_balance_without_a_key_needs_a_human(warm: OpenFeed, venue: Venue) -> None:
    with pytest.raises(Denied):
        warm("binance").fetch_balance(deadline_seconds=5)

    assert venue.requests == []


def test_keys_stay_out_of_messages(venue: Venue, market_lists: MarketsInMemory) -> None:
    spec = FeedSpec("binance", base_url=venue.base_url, credentials={"apiKey": "AKEY12345", "secret": "SECRET12345"})
    venue.answers["/account"] = Answer({"code": -9, "msg": "AKEY12345 is wrong", "apiKey": "AKEY12345"}, status=400)

    with pytest.raises(BadReply) as caught:
        open_feed(spec, market_cache=market_lists).fetch_balance(deadline_seconds=5)

    said = str(caught.value) + caught.value.excerpt
    assert "is wrong" in said
    assert "12345" not in said
    assert "signature=***" in said or "signature" not in said


def test_what_the_venue_can_do_is_known_without_asking_it(venue: Venue, warm: OpenFeed) -> None:
    found = warm("kraken").capabilities

    assert (found.name, found.rate_limit_ms, found.timeframes[0]) == ("Kraken", 1000.0, "1m")
    assert found.has["fetchTickers"] is True
    assert venue.requests == []


# -- the way out -----------------------------------------------------------------------------------------------------


def test_nothing_goes_direct_when_there_is_a_proxy(venue: Venue) -> None:
    proxy = f"http://127.0.0.1:{unused_port()}"
    client = build_client(FeedSpec("kraken", proxy=proxy))
    assert (client.httpsProxy, client.wsProxy) == (proxy, proxy)

    feed = open_feed(FeedSpec("luno", base_url=venue.base_url, proxy=proxy))
    with pytest.raises(Unreachable):
        feed.load_markets(deadline_seconds=5)

    assert venue.requests == []


def test_requests_go_through_the_proxy(venue: Venue, market_lists: MarketsInMemory) -> None:
    def answer(request: Request) -> Answer:
        assert request.target.startswith("http://")  # what a proxy sees
        return LUNO

    venue.answers["/api/1/tickers"] = answer
    spec = FeedSpec("luno", base_url=venue.base_url, proxy=venue.base_url)

    assert open_feed(spec, market_cache=market_lists).fetch_quotes(["BTC/ZAR"], deadline_seconds=5).quotes


def _certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    ca_file, key_file = folder / "ca.pem", folder / "key.pem"
    ca_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return ca_file, key_file


def test_a_certificate_nobody_vouches_for_needs_a_human_and_a_ca_file_helps(tmp_path: Path) -> None:
    ca_file, key_file = _certificate(tmp_path)
    secure = Venue(certificate=(ca_file, key_file))
    secure.answers["/api/1/tickers"] = Answer({"tickers": [{"pair": "XBTZAR", "last_trade": "7"}]})
    secure.answers["/exchange/1/markets"] = Answer(LUNO_MARKETS)
    secure.start()
    try:
        with pytest.raises(Denied):
            open_feed(FeedSpec("luno", base_url=secure.base_url)).load_markets(deadline_seconds=5)
        trusted = open_feed(FeedSpec("luno", base_url=secure.base_url, ca_file=str(ca_file)))

        assert trusted.fetch_quotes(["BTC/ZAR"], deadline_seconds=5).quotes[0].last == 7.0
    finally:
        close_feeds()
        secure.stop()
