"""Every hostile answer becomes a typed error, a rejected row, or a value passed on unchanged for quality to judge.

Never an invented number, never an untyped exception, never later than the deadline.
"""

from __future__ import annotations

import asyncio
import gzip
import math
import resource
import socket
import struct
import time
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import orjson
import pytest

from feeds.base import BadReply, Denied, FeedError, Poll, Throttled, Unreachable, Unsupported

from .bodies import COINS, KRAKEN_TICKERS, NOW_MS, binance_ticker, kraken_ticker
from .conftest import OpenFeed
from .venue import Answer, Venue

GOOD_ROWS = [binance_ticker(coin) for coin in COINS[1:]]
TICKERS = "/api/v3/ticker/24hr"
SYMBOLS = tuple(f"{coin}/USDT" for coin in COINS)
HTML = b"<!DOCTYPE html><html><body>Just a moment...</body></html>"


def poll(warm: OpenFeed, *, exchange_id: str = "binance", deadline_seconds: float = 5.0) -> Poll:
    symbols = SYMBOLS if exchange_id == "binance" else ("BTC/USD", "ETH/USD")
    return warm(exchange_id).fetch_quotes(symbols, deadline_seconds=deadline_seconds)


# -- answers that are no data -------------------------------------------------------------------------------------

WHOLE_ANSWERS: dict[str, tuple[Answer, type[FeedError]]] = {
    "a page of HTML with status 200": (Answer(HTML), BadReply),
    "HTML with JSON's content type and white space before it": (Answer(b"\n\n  " + HTML), BadReply),
    "a JSON body cut in the middle": (Answer(b'[{"symbol":"BTCUSDT","lastPr'), BadReply),
    "an empty body": (Answer(b""), BadReply),
    "white space only": (Answer(b" \r\n "), BadReply),
    "null": (Answer(b"null"), BadReply),
    "an empty object": (Answer({}), BadReply),
    "an empty list": (Answer([]), BadReply),
    "a list of nulls is rejected rows only": (Answer({"rows": [None]}), BadReply),
    "a bare string": (Answer(b'"ok"'), BadReply),
    "a bare number": (Answer(b"65000"), BadReply),
    "true": (Answer(b"true"), BadReply),
    "plain text": (Answer(b"OK"), BadReply),
    "a NaN token, which is no JSON": (Answer(b'[{"symbol":"BTCUSDT","lastPrice":NaN}]'), BadReply),
    "an Infinity token": (Answer(b'[{"symbol":"BTCUSDT","lastPrice":-Infinity}]'), BadReply),
    "100,000 nested lists": (Answer(b"[" * 100_000 + b"]" * 100_000), BadReply),
    "bytes that are no text": (Answer(bytes(range(128, 256)) * 20), BadReply),
    "only other markets": (Answer([{"symbol": "DELISTEDUSDT", "lastPrice": "1"}]), BadReply),
    "status 204 without a body": (Answer(b"", status=204), BadReply),
    "status 400 with HTML": (Answer(HTML, status=400), BadReply),
    "status 400 with an unknown code": (Answer({"code": -9999, "msg": "?"}, status=400), BadReply),
    "status 404": (Answer({"error": "no such path"}, status=404), BadReply),
    "status 401": (Answer({"code": -2015, "msg": "Invalid API-key"}, status=401), Denied),
    "status 403 with a firewall's page": (Answer(HTML, status=403), Unreachable),
    "status 403 with the region's page": (
        Answer(b"<html>The distribution is configured to block access from your country.</html>", status=403),
        Denied,
    ),
    "status 403 with a page about the rate": (
        Answer(b"<html>access too frequent. Please try again in 5 minutes</html>", status=403),
        Throttled,
    ),
    "status 403 with JSON": (Answer({"message": "Forbidden"}, status=403), Denied),
    "status 451 in this region": (Answer({"code": 0, "msg": "restricted location"}, status=451), Denied),
    "status 407": (Answer(b"", status=407), Denied),
    "status 418 after too many calls": (Answer({"code": -1003, "msg": "banned"}, status=418), Throttled),
    "status 429": (Answer({"code": -1003, "msg": "Too many requests"}, status=429), Throttled),
    "status 429 with HTML": (Answer(HTML, status=429), Throttled),
    "status 408": (Answer(b"", status=408), Unreachable),
    "status 500": (Answer({"msg": "internal"}, status=500), Unreachable),
    "status 502 with HTML": (Answer(HTML, status=502), Unreachable),
    "status 503 in maintenance": (Answer({"msg": "System is under maintenance."}, status=503), Unreachable),
    "status 504": (Answer(HTML, status=504), Unreachable),
    "status 520": (Answer(HTML, status=520), Unreachable),
    "status 524, which ccxt does not know": (Answer(b"error code: 524", status=524), Unreachable),
    "status 529": (Answer({}, status=529), Unreachable),
    "status 599": (Answer(b"", status=599), Unreachable),
    "a redirect to itself for ever": (Answer(b"", status=302, headers={"Location": "24hr"}), BadReply),
    "a redirect to a file": (Answer(b"", status=302, headers={"Location": "file:///etc/passwd"}), BadReply),
    "a redirect into our own network": (Answer(b"", status=307, headers={"Location": "http://127.0.0.1:1/"}), BadReply),
    "a redirect to another host": (Answer(b"", status=301, headers={"Location": "https://example.test/x"}), BadReply),
    "a redirect to nowhere": (Answer(b"", status=302), BadReply),
    "a body that is not gzip": (Answer(b"not gzip", headers={"Content-Encoding": "gzip"}), Unreachable),
    "a gzip body cut short": (
        Answer(gzip.compress(orjson.dumps(GOOD_ROWS))[:-100], headers={"Content-Encoding": "gzip"}),
        BadReply,
    ),
}


@pytest.mark.parametrize(("answer", "expected"), WHOLE_ANSWERS.values(), ids=WHOLE_ANSWERS.keys())
def test_an_answer_that_is_no_data_is_a_typed_error(
    answer: Answer, expected: type[FeedError], venue: Venue, warm: OpenFeed
) -> None:
    venue.answers[TICKERS] = answer

    with pytest.raises(FeedError) as caught:
        poll(warm)

    assert type(caught.value) is expected, repr(caught.value)
    assert len(venue.requests) <= 12  # no retry on our side; a redirect loop is followed ten times


def test_the_status_and_the_start_of_the_body_are_kept(venue: Venue, warm: OpenFeed) -> None:
    venue.answers[TICKERS] = Answer(HTML * 100, status=502)

    with pytest.raises(Unreachable) as caught:
        poll(warm)

    assert caught.value.status == 502
    assert caught.value.excerpt.startswith("<!DOCTYPE html>")
    assert len(caught.value.excerpt) == 500


KRAKEN_ERRORS: dict[str, tuple[str, type[FeedError]]] = {
    "unavailable": ("EService:Unavailable", Unreachable),
    "busy": ("EService:Busy", Unreachable),
    "internal error": ("EGeneral:Internal error", Unreachable),
    "maintenance": ("EService:Market in cancel_only mode", Unreachable),
    "rate limit": ("EAPI:Rate limit exceeded", Throttled),
    "too many requests": ("EGeneral:Too many requests", Throttled),
    "lockout": ("EGeneral:Temporary lockout", Throttled),
    "wrong key": ("EAPI:Invalid key", Denied),
    "unknown pair": ("EQuery:Invalid asset pair", Unsupported),
    "an error nobody knows": ("EWhat:Ever", BadReply),
}


@pytest.mark.parametrize(("word", "expected"), KRAKEN_ERRORS.values(), ids=KRAKEN_ERRORS.keys())
def test_an_error_in_a_body_of_status_200_is_typed(
    word: str, expected: type[FeedError], venue: Venue, warm: OpenFeed
) -> None:
    venue.answers["/public/Ticker"] = Answer({"error": [word], "result": {}})

    with pytest.raises(FeedError) as caught:
        poll(warm, exchange_id="kraken")

    assert type(caught.value) is expected


RETRY_AFTER: dict[str, tuple[Callable[[], str | None], float | None]] = {
    "seconds": (lambda: "7", 7.0),
    "a fraction": (lambda: "0.5", 0.5),
    "a date in 30 s": (lambda: format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True), 30.0),
    "a date gone by": (lambda: "Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    "nothing": (lambda: None, None),
    "words": (lambda: "soon", None),
    "minus one": (lambda: "-1", 0.0),
    "infinity": (lambda: "inf", None),
    "five minutes from the epoch": (lambda: str(int(time.time()) + 300), 300.0),
}


@pytest.mark.parametrize("status", [429, 418])
@pytest.mark.parametrize(("header", "expected"), RETRY_AFTER.values(), ids=RETRY_AFTER.keys())
def test_retry_after_is_understood(
    header: Callable[[], str | None], expected: float | None, status: int, venue: Venue, warm: OpenFeed
) -> None:
    text = header()
    venue.answers[TICKERS] = Answer({"code": -1003}, status=status, headers={"Retry-After": text} if text else {})

    with pytest.raises(Throttled) as caught:
        poll(warm)

    assert caught.value.retry_after_seconds == (expected if expected is None else pytest.approx(expected, abs=2))
    assert caught.value.banned is (status == 418)


# -- one bad row among good ones ------------------------------------------------------------------------------------

REJECTED_PRICES: dict[str, Any] = {
    "a word": "abc",
    "a comma for thousands": "65,000.5",
    "an underscore, which Python would read": "65_000",
    "Arabic digits, which Python would read": "٦٥٠٠٠",
    "a list": [],
    "an object": {},
    "true": True,
    "5,000 digits": None,  # filled in below: as a JSON number
}


@pytest.mark.parametrize(
    "price", [p for p in REJECTED_PRICES.values() if p is not None], ids=list(REJECTED_PRICES)[:-1]
)
def test_a_price_that_is_no_number_rejects_its_row_alone(price: Any, venue: Venue, warm: OpenFeed) -> None:
    venue.answers[TICKERS] = Answer([binance_ticker(lastPrice=price), *GOOD_ROWS])

    answer = poll(warm)

    assert [quote.symbol for quote in answer.quotes] == list(SYMBOLS[1:])
    assert [row.symbol for row in answer.rejected] == ["BTC/USDT"]
    assert "number" in answer.rejected[0].reason or "float" in answer.rejected[0].reason
    assert answer.answered_count == 5


PASSED_ON: dict[str, tuple[Any, float | None]] = {
    "NaN in a string": ("NaN", math.nan),
    "Infinity in a string": ("Infinity", math.inf),
    "beyond any double": ("1e400", math.inf),
    "zero": ("0", 0.0),
    "zero with decimals": ("0.00000000", 0.0),
    "zero as a number": (0, 0.0),
    "negative": ("-5", -5.0),
    "tiny": ("1e-20", 1e-20),
    "empty": ("", None),
    "null": (None, None),
    "missing": (..., None),
}


@pytest.mark.parametrize(("sent", "expected"), PASSED_ON.values(), ids=PASSED_ON.keys())
def test_an_odd_last_price_is_passed_on_and_nothing_takes_its_place(
    sent: Any, expected: float | None, venue: Venue, warm: OpenFeed
) -> None:
    """ccxt would make one up from openPrice and priceChange, which this row has."""
    venue.answers[TICKERS] = Answer([binance_ticker(lastPrice=sent), *GOOD_ROWS])

    quotes = {quote.symbol: quote for quote in poll(warm).quotes}

    last = quotes["BTC/USDT"].last
    assert last == expected or (last is not None and math.isnan(last) and expected is not None and math.isnan(expected))
    assert len(quotes) == 5


def test_a_price_of_5000_digits_is_infinite_or_refused(venue: Venue, warm: OpenFeed) -> None:
    rows = b'[{"symbol":"BTCUSDT","lastPrice":' + b"9" * 5000 + b'},{"symbol":"ETHUSDT","lastPrice":"3500"}]'
    venue.answers[TICKERS] = Answer(rows)

    try:
        quotes = {quote.symbol: quote.last for quote in poll(warm).quotes}
    except BadReply:
        return

    assert quotes.get("BTC/USDT", math.inf) == math.inf
    assert quotes["ETH/USDT"] == 3500.0


OTHER_FIELDS: dict[str, tuple[dict[str, Any], str, float | None]] = {
    "a bid above the ask": ({"bidPrice": "70000"}, "bid", 70000.0),
    "a bid of NaN": ({"bidPrice": "NaN"}, "bid", math.nan),
    "a negative bid": ({"bidPrice": "-1"}, "bid", -1.0),
    "a bid of 0, which is no bid": ({"bidPrice": "0.00000000"}, "bid", None),
    "a stamp of 0, which is no stamp": ({"closeTime": 0}, "exchange_at", None),
    "a stamp of -1": ({"closeTime": -1}, "exchange_at", -0.001),
    "a stamp in seconds": ({"closeTime": NOW_MS // 1000}, "exchange_at", NOW_MS / 1_000_000),
    "a stamp in microseconds": ({"closeTime": NOW_MS * 1000}, "exchange_at", float(NOW_MS)),
    "a stamp in the year 5138": ({"closeTime": 99_999_999_999_999}, "exchange_at", 99_999_999_999.999),
    "no stamp": ({"closeTime": ...}, "exchange_at", None),
}


@pytest.mark.parametrize(("changes", "name", "expected"), OTHER_FIELDS.values(), ids=OTHER_FIELDS.keys())
def test_other_odd_values_are_passed_on_unchanged(
    changes: dict[str, Any], name: str, expected: float | None, venue: Venue, warm: OpenFeed
) -> None:
    venue.answers[TICKERS] = Answer([binance_ticker(**changes), *GOOD_ROWS])

    value = getattr(poll(warm).quotes[0], name)

    assert value == expected or (value is not None and math.isnan(value))


ODD_ROWS: dict[str, Any] = {
    "null": None,
    "a number": 5,
    "a string": "BTCUSDT",
    "a list": ["BTCUSDT", "65000"],
    "an empty object": {},
    "a symbol that is a list": binance_ticker(symbol=["BTCUSDT"]),
    "a symbol that is null": binance_ticker(symbol=None),
    "a stamp that is a word": binance_ticker(closeTime="yesterday"),
    "a volume that is a word": binance_ticker(volume="lots"),
}


@pytest.mark.parametrize("row", ODD_ROWS.values(), ids=ODD_ROWS.keys())
def test_a_row_of_the_wrong_shape_is_rejected_alone(row: Any, venue: Venue, warm: OpenFeed) -> None:
    venue.answers[TICKERS] = Answer([row, *GOOD_ROWS])

    answer = poll(warm)

    assert len(answer.quotes) == 4
    assert len(answer.rejected) == 1
    assert answer.rejected[0].reason


def test_a_name_of_one_megabyte_reaches_nobody(venue: Venue, warm: OpenFeed) -> None:
    venue.answers[TICKERS] = Answer([binance_ticker(symbol="X" * 1_000_000), *GOOD_ROWS])

    answer = poll(warm)

    assert len(answer.quotes) == 4
    assert all(len(text) <= 200 for row in answer.rejected for text in row)


NEW, OLD = {"closeTime": NOW_MS}, {"closeTime": NOW_MS - 600_000}
TWICE: dict[str, tuple[list[dict[str, Any]], list[float], int]] = {
    "the newer first": ([{"lastPrice": "2"} | NEW, {"lastPrice": "1"} | OLD], [2.0], 1),
    "the newer last": ([{"lastPrice": "1"} | OLD, {"lastPrice": "2"} | NEW], [2.0], 1),
    "of one time": ([{"lastPrice": "1"} | NEW, {"lastPrice": "2"} | NEW], [], 1),
    "of no time": ([{"lastPrice": "1", "closeTime": ...}, {"lastPrice": "2", "closeTime": ...}], [], 1),
    "one of no time": ([{"lastPrice": "1", "closeTime": ...}, {"lastPrice": "2"} | NEW], [], 1),
    "the very same": ([{"lastPrice": "2"} | NEW, {"lastPrice": "2"} | NEW], [2.0], 0),
    "a third that is newer": ([{"lastPrice": "1"} | OLD, {"lastPrice": "3"} | OLD, {"lastPrice": "2"} | NEW], [2.0], 2),
    "a third that is as old": ([{"lastPrice": "1"} | OLD, {"lastPrice": "3"} | OLD, {"lastPrice": "4"} | OLD], [], 2),
}  # fmt: skip


@pytest.mark.parametrize(("rows", "kept", "reported"), TWICE.values(), ids=TWICE.keys())
def test_of_two_rows_of_one_market_the_newer_stamp_wins_and_else_neither(
    rows: list[dict[str, Any]], kept: list[float], reported: int, venue: Venue, warm: OpenFeed
) -> None:
    venue.answers[TICKERS] = Answer([*(binance_ticker(**row) for row in rows), *GOOD_ROWS])

    answer = poll(warm)

    assert [quote.last for quote in answer.quotes if quote.symbol == "BTC/USDT"] == kept
    assert [row.symbol for row in answer.rejected] == ["BTC/USDT"] * reported
    assert len(answer.quotes) == 4 + len(kept)


def test_a_row_that_the_list_does_not_know_is_counted_with_its_id(venue: Venue, warm: OpenFeed) -> None:
    new = [binance_ticker(symbol=f"NEW{number}USDT") for number in range(7)]
    venue.answers[TICKERS] = Answer([*new, *GOOD_ROWS])

    answer = poll(warm)

    assert answer.unknown_count == 7
    assert answer.unknown_ids == ("NEW0USDT", "NEW1USDT", "NEW2USDT", "NEW3USDT", "NEW4USDT")
    assert answer.rejected == ()


def test_a_listed_market_that_nobody_wants_is_not_unknown(venue: Venue, warm: OpenFeed) -> None:
    answer = warm("binance").fetch_quotes(["ETH/USDT"], deadline_seconds=5)

    assert (answer.answered_count, answer.unknown_count) == (len(COINS), 0)


def test_what_a_cache_says_of_the_answers_age_is_handed_on(venue: Venue, warm: OpenFeed) -> None:
    headers = {"Age": "900", "Date": "Wed, 18 Nov 2026 11:06:40 GMT"}
    venue.answers[TICKERS] = Answer(GOOD_ROWS, headers=headers)

    answer = poll(warm)

    assert (answer.cached_seconds, answer.server_time) == (900.0, 1_795_000_000.0)


@pytest.mark.parametrize("headers", [{}, {"Age": "old", "Date": "today"}, {"Age": "-1", "Date": ""}, {"Age": "inf"}])
def test_headers_that_say_nothing_say_nothing(headers: dict[str, str], venue: Venue, warm: OpenFeed) -> None:
    venue.answers[TICKERS] = Answer(GOOD_ROWS, headers=headers)

    answer = poll(warm)

    assert (answer.cached_seconds, answer.server_time) == (None, None)


def test_a_byte_order_mark_before_json_changes_nothing(venue: Venue, warm: OpenFeed) -> None:
    venue.answers[TICKERS] = Answer(b"\xef\xbb\xbf" + orjson.dumps(GOOD_ROWS))

    assert len(poll(warm).quotes) == 4


def test_bytes_that_are_no_utf8_spoil_only_their_own_row(venue: Venue, warm: OpenFeed) -> None:
    venue.answers[TICKERS] = Answer(
        b'[{"symbol":"\xff\xfeUSDT","lastPrice":"1"},{"symbol":"ETHUSDT","lastPrice":"3500"}]'
    )

    assert [quote.symbol for quote in poll(warm).quotes] == ["ETH/USDT"]


def test_a_misleading_charset_changes_nothing(venue: Venue, warm: OpenFeed) -> None:
    venue.answers[TICKERS] = Answer(GOOD_ROWS, headers={"Content-Type": "application/json; charset=utf-7"})

    assert len(poll(warm).quotes) == 4


KRAKEN_ROWS: dict[str, Any] = {
    "a last trade that is a word": kraken_ticker(c="65000"),
    "an empty last trade": kraken_ticker(c=[]),
    "no last trade": {"a": ["1", "1", "1"]},
}


@pytest.mark.parametrize("row", KRAKEN_ROWS.values(), ids=KRAKEN_ROWS.keys())
def test_nested_fields_that_are_missing_stay_missing(row: Any, venue: Venue, warm: OpenFeed) -> None:
    venue.answers["/public/Ticker"] = Answer({"error": [], "result": KRAKEN_TICKERS["result"] | {"XXBTZUSD": row}})  # type: ignore[operator]

    quotes = {quote.symbol: quote for quote in poll(warm, exchange_id="kraken").quotes}

    assert quotes["BTC/USD"].last is None
    assert quotes["ETH/USD"].last == 3500.5


# -- connections that misbehave -------------------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def hang_after_the_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"Content-Length: 100\r\n\r\n")
    await reader.read()


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    while not reader.at_eof() and not writer.is_closing():
        writer.write(b"1\r\n \r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


async def drip_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while not reader.at_eof() and not writer.is_closing():
        writer.write(b"X: y\r\n")
        await writer.drain()
        await asyncio.sleep(0.1)


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"Content-Length: 1000\r\n\r\n[{")
    await writer.drain()
    lingering_off = struct.pack("ii", 1, 0)  # makes the kernel send RST
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingering_off)
    writer.transport.abort()


async def close_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def promise_more_than_comes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"Content-Length: 5000\r\n\r\n[]")
    await writer.drain()


async def speak_no_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    await writer.drain()


CONNECTIONS = {
    "silence": hang,
    "silence after the headers": hang_after_the_headers,
    "a drip of bytes": drip,
    "a drip of headers": drip_headers,
    "a reset in the middle": reset,
    "closed at once": close_at_once,
    "shorter than promised": promise_more_than_comes,
    "not HTTP at all": speak_no_http,
}


@pytest.mark.parametrize("play", CONNECTIONS.values(), ids=CONNECTIONS.keys())
def test_a_connection_that_misbehaves_is_unreachable_within_the_deadline(
    play: Any, venue: Venue, warm: OpenFeed
) -> None:
    venue.answers[TICKERS] = Answer(play=play)
    began = time.monotonic()

    with pytest.raises(Unreachable):
        poll(warm, deadline_seconds=0.6)

    assert time.monotonic() - began < 1.6


def test_the_feed_works_again_after_a_silence(venue: Venue, warm: OpenFeed) -> None:
    venue.answers[TICKERS] = Answer(play=hang)
    with pytest.raises(Unreachable):
        poll(warm, deadline_seconds=0.3)
    venue.answers[TICKERS] = Answer(GOOD_ROWS)

    assert len(poll(warm).quotes) == 4


def _gzip_bomb(megabytes: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    block = b" " * 1_000_000
    return b"".join(packer.compress(block) for _ in range(megabytes)) + packer.flush()


def test_a_gzip_bomb_is_given_up_before_it_fills_the_memory(venue: Venue, warm: OpenFeed) -> None:
    venue.answers[TICKERS] = Answer(_gzip_bomb(400), headers={"Content-Encoding": "gzip"})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    with pytest.raises(BadReply, match="larger"):
        poll(warm)

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150 * 1024  # kB


def test_an_endless_body_is_given_up(venue: Venue, warm: OpenFeed) -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
            await writer.drain()

    venue.answers[TICKERS] = Answer(play=flood)

    with pytest.raises((BadReply, Unreachable)):
        poll(warm, deadline_seconds=3)
