"""Every fault over a plain socket: what a client gets to see."""

from __future__ import annotations

import http.client
import socket
import time
from email.utils import parsedate_to_datetime
from typing import Any

import orjson
import pytest

from sandbox.faults import KINDS
from tests.sandbox.conftest import Reply, Running

TICKER = "/api.kraken.com/0/public/Ticker?pair=XXBTZUSD"
ALL = "/api.kraken.com/0/public/Ticker"
BINANCE = "/api.binance.com/api/v3/ticker/24hr"


def row(reply: Reply) -> Any:
    return reply.content["result"]["XXBTZUSD"]


def test_delay_answers_late(sandbox: Running) -> None:
    sandbox.order("delay", params={"seconds": 0.3})
    started_at = time.monotonic()
    assert sandbox.get(TICKER).status == 200
    assert time.monotonic() - started_at >= 0.3


def test_hang_never_answers_and_is_logged_without_status(sandbox: Running) -> None:
    sandbox.order("hang")
    with socket.create_connection(sandbox.address, timeout=0.3) as client:
        client.sendall(f"GET {TICKER} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        with pytest.raises(TimeoutError):
            client.recv(1)
        (entry,) = sandbox.log("kraken")
        assert (entry["status"], entry["fault"]) == (None, "hang")
        assert sandbox.control("concurrency") == {"kraken": 1}


def test_reset_cuts_the_connection(sandbox: Running) -> None:
    sandbox.order("reset")
    with pytest.raises(ConnectionResetError):
        sandbox.get(TICKER)


@pytest.mark.parametrize(
    ("target", "exchange", "body"),
    [
        (TICKER, "kraken", {"error": ["EAPI:Rate limit exceeded"], "result": {}}),
        ("/api.luno.com/api/1/tickers", "luno", {"error_code": "ErrTooManyRequests"}),
        (BINANCE, "binance", {"code": -1003}),
        ("/api.coinbase.com/v2/time", "coinbase", {"error": "rate_limit_exceeded"}),
    ],
)
def test_status_has_the_venues_own_body_and_retry_after(
    sandbox: Running, target: str, exchange: str, body: dict[str, Any]
) -> None:
    sandbox.order("status", exchange, params={"code": 429, "retry_after": 7})
    reply = sandbox.get(target)
    assert (reply.status, reply.headers["Retry-After"]) == (429, "7")
    assert reply.content.items() >= body.items()


def test_retry_after_may_be_a_date_or_absent(sandbox: Running) -> None:
    sandbox.order("status", params={"code": 503, "retry_after": 60, "retry_after_date": True}, count=1)
    wait = parsedate_to_datetime(sandbox.get(TICKER).headers["Retry-After"]).timestamp() - time.time()
    assert 55 < wait < 62
    sandbox.order("status", params={"code": 503})
    assert "Retry-After" not in sandbox.get(TICKER).headers


@pytest.mark.parametrize(
    ("kind", "params", "body"),
    [
        ("empty", {}, b""),
        ("null", {}, b"null"),
        ("json", {}, b"{}"),
        ("json", {"body": "[]"}, b"[]"),
        ("body", {"body": '{"a":NaN}', "headers": {"Content-Type": "text/plain"}}, b'{"a":NaN}'),
        ("body", {"body_base64": "//4AIg==", "status": 203}, b"\xff\xfe\x00\x22"),
        ("status", {"code": 599, "body": "<b>no</b>"}, b"<b>no</b>"),
    ],
)
def test_any_body_can_stand_in(sandbox: Running, kind: str, params: dict[str, Any], body: bytes) -> None:
    sandbox.order(kind, params=params)
    reply = sandbox.get(TICKER)
    assert reply.body == body
    assert reply.status == params.get("code", params.get("status", 200))
    assert reply.headers["Content-Type"] == params.get("headers", {}).get("Content-Type", reply.headers["Content-Type"])


def test_html_with_200(sandbox: Running) -> None:
    sandbox.order("html")
    reply = sandbox.get(TICKER)
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert reply.body.startswith(b"<!DOCTYPE html>")


def test_redirect_goes_where_it_is_told_or_in_a_circle(sandbox: Running) -> None:
    sandbox.order("redirect", params={"location": "http://127.0.0.1:1/"}, count=1)
    assert sandbox.get(TICKER).headers["Location"] == "http://127.0.0.1:1/"
    sandbox.order("redirect", params={"status": 301})
    reply = sandbox.get(TICKER)
    assert (reply.status, reply.headers["Location"]) == (301, TICKER)


def test_truncated_is_whole_for_http_and_broken_as_json(sandbox: Running) -> None:
    sandbox.order("truncated")
    reply = sandbox.get(TICKER)
    assert reply.body.startswith(b'{"error":[]')
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(reply.body)


def test_short_content_length_promises_more_than_it_sends(sandbox: Running) -> None:
    sandbox.order("short_content_length", params={"missing_bytes": 7})
    with pytest.raises(http.client.IncompleteRead) as caught:
        sandbox.get(TICKER)
    assert caught.value.expected == 7


def test_drip_sends_bytes_slowly(sandbox: Running) -> None:
    sandbox.order("drip", params={"bytes_per_second": 600})
    started_at = time.monotonic()
    length = len(sandbox.get(TICKER).body)
    assert time.monotonic() - started_at > length / 600 * 0.8


def test_bad_gzip_says_gzip_and_is_none(sandbox: Running) -> None:
    sandbox.order("bad_gzip")
    reply = sandbox.get(TICKER)
    assert reply.headers["Content-Encoding"] == "gzip"
    assert b"this is not deflate" in reply.body


def test_padding_makes_the_answer_big_and_leaves_it_true(sandbox: Running) -> None:
    sandbox.order("padding")
    reply = sandbox.get(TICKER)
    assert len(reply.body) > 10_000_000
    assert row(reply)["c"]


def test_dropped_symbols_are_missing_from_tickers_only(sandbox: Running) -> None:
    sandbox.order("drop_symbols", params={"symbols": ["BTC/USD"]}, count=2)
    assert "XXBTZUSD" not in sandbox.get(ALL).content["result"]
    assert "XXBTZUSD" in sandbox.get("/api.kraken.com/0/public/AssetPairs").content["result"]


def test_a_dropped_share_is_a_share(sandbox: Running) -> None:
    whole = len(sandbox.get(ALL).content["result"])
    sandbox.order("drop_symbols", params={"share": 0.9})
    assert 0 < len(sandbox.get(ALL).content["result"]) < whole * 0.2


@pytest.mark.parametrize(
    ("params", "wire"),
    [
        ({"value": "NaN"}, b'"c":["NaN",'),
        ({"value": "-5"}, b'"c":["-5",'),
        ({"value": 0}, b'"c":[0,'),
        ({"value": None}, b'"c":[null,'),
        ({"raw": "NaN"}, b'"c":[NaN,'),
        ({"raw": "1e400"}, b'"c":[1e400,'),
        ({"missing": True}, b'"c":["0.01000000"]'),
        ({"field": "o", "value": "Infinity"}, b'"o":"Infinity"'),
        ({"field": "o", "missing": True}, b'"h":'),
    ],
)
def test_a_value_of_one_symbol_is_replaced(sandbox: Running, params: dict[str, Any], wire: bytes) -> None:
    sandbox.order("override", params={"symbol": "BTC/USD", **params})
    body = sandbox.get(TICKER).body
    assert wire in body
    assert params != {"field": "o", "missing": True} or b'"o":' not in body
    assert wire not in sandbox.get("/api.kraken.com/0/public/Ticker?pair=XETHZUSD").body or wire == b'"h":'


def test_a_stamp_is_replaced_by_the_venues_key(sandbox: Running) -> None:
    sandbox.order("override", "binance", params={"symbol": "ETH/USDT", "field": "closeTime", "value": 0})
    stamps = {one["symbol"]: one["closeTime"] for one in sandbox.get(BINANCE).content}
    assert stamps["ETHUSDT"] == 0
    assert stamps["BTCUSDT"] > 0


def test_a_crossed_ticker_has_a_crossed_book(sandbox: Running) -> None:
    sandbox.order("override", params={"symbol": "BTC/USD", "crossed": True})
    ticker = row(sandbox.get(TICKER))
    book = row(sandbox.get("/api.kraken.com/0/public/Depth?pair=XXBTZUSD&count=3"))
    assert float(ticker["b"][0]) > float(ticker["a"][0])
    assert float(book["bids"][0][0]) > float(book["asks"][0][0])


def test_frozen_prices_stand_still_while_stamps_go_on(sandbox: Running) -> None:
    sandbox.order("frozen_prices", "binance")
    first = sandbox.get(f"{BINANCE}?symbol=BTCUSDT").content
    ordered_in = sandbox.log("binance")[-1]["second"]
    while int(time.time()) < ordered_in + 2:
        time.sleep(0.05)
    later = sandbox.get(f"{BINANCE}?symbol=BTCUSDT").content
    assert later["lastPrice"] == first["lastPrice"]
    assert later["closeTime"] > first["closeTime"]
    assert sandbox.log("binance")[-1]["second"] == ordered_in


def test_frozen_and_future_stamps_leave_the_venues_time_alone(sandbox: Running) -> None:
    sandbox.order("future_stamps", "binance", params={"seconds": 3600})
    ahead = sandbox.get(f"{BINANCE}?symbol=BTCUSDT").content["closeTime"] / 1000 - time.time()
    assert ahead == pytest.approx(3600, abs=2)
    assert sandbox.get("/api.binance.com/api/v3/time").content["serverTime"] / 1000 == pytest.approx(time.time(), abs=2)
    sandbox.control("reset", {})
    sandbox.order("frozen_stamps", "binance")
    stamps = {sandbox.get(f"{BINANCE}?symbol=BTCUSDT").content["closeTime"] for _ in range(3)}
    assert len(stamps) == 1


def test_a_fault_applies_where_when_and_as_often_as_it_says(sandbox: Running) -> None:
    sandbox.order("empty", path="/Ticker", count=2)
    statuses = [sandbox.get(target).body == b"" for target in (TICKER, "/api.kraken.com/0/public/Time", ALL, TICKER)]
    assert statuses == [True, False, True, False]
    assert sandbox.get(BINANCE).body != b""
    sandbox.order("empty", path=r"Ticker\?pair=XETH", for_seconds=0.4, after_seconds=0.2)
    ether = TICKER.replace("XXBT", "XETH")
    seen = []
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        seen.append(sandbox.get(ether).body == b"")
        time.sleep(0.02)
    assert (seen[0], seen[-1]) == (False, False)
    assert 0.1 < sum(seen) / len(seen) < 0.8


def test_a_fault_can_meet_one_kind_of_hyperliquids_requests(sandbox: Running) -> None:
    sandbox.order("null", "hyperliquid", path="type=metaAndAssetCtxs")
    answers = {
        kind: sandbox.post("/api.hyperliquid.xyz/info", {"type": kind}).content
        for kind in ("metaAndAssetCtxs", "spotMeta")
    }
    assert answers["metaAndAssetCtxs"] is None
    assert answers["spotMeta"]["tokens"]


def test_faults_add_up_and_are_counted(sandbox: Running) -> None:
    delay = sandbox.order("delay", params={"seconds": 0.05})
    status = sandbox.order("status", params={"code": 502})
    assert sandbox.get(TICKER).status == 502
    assert sandbox.log("kraken")[-1]["fault"] == "delay,status"
    assert {fault["id"]: fault["hits"] for fault in sandbox.control("faults")} == {delay: 1, status: 1}


def test_a_lifted_fault_is_gone(sandbox: Running) -> None:
    first, second = sandbox.order("empty"), sandbox.order("status", params={"code": 502})
    connection = http.client.HTTPConnection(*sandbox.address)
    connection.request("DELETE", f"/_sandbox/faults/{first}")
    assert orjson.loads(connection.getresponse().read()) == {"removed": 1}
    assert [fault["id"] for fault in sandbox.control("faults")] == [second]
    connection.request("DELETE", "/_sandbox/faults")
    assert orjson.loads(connection.getresponse().read()) == {"removed": 1}
    connection.close()
    assert sandbox.get(TICKER).status == 200


@pytest.mark.parametrize(
    "order",
    [
        {"exchange": "kraken", "kind": "magic"},
        {"exchange": "nobody", "kind": "empty"},
        {"exchange": "kraken", "kind": "delay", "params": {"second": 1}},
        {"exchange": "kraken", "kind": "delay", "params": {"seconds": "1"}},
        {"exchange": "kraken", "kind": "empty", "count": -1},
        {"exchange": "kraken", "kind": "empty", "path": 5},
        {"exchange": "kraken", "kind": "empty", "until": 5},
        ["not", "an", "object"],
    ],
)
def test_an_order_that_makes_no_sense_is_refused_with_the_reason(sandbox: Running, order: Any) -> None:
    reply = sandbox.post("/_sandbox/faults", order)
    assert reply.status == 400
    assert reply.content["error"]
    assert sandbox.control("faults") == []


def test_every_kind_can_be_ordered_without_parameters(sandbox: Running) -> None:
    for kind in KINDS:
        sandbox.order(kind, after_seconds=1000)
    assert [fault["kind"] for fault in sandbox.control("faults")] == list(KINDS)
