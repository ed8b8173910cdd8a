from __future__ import annotations

import http.client
import signal
import socket
import threading
import time

import pytest

from sandbox import prices
from tests.sandbox.conftest import Running, start

TICKERS = "/api.kraken.com/0/public/Ticker"


def test_it_says_what_it_is(sandbox: Running) -> None:
    assert sandbox.control("health")["status"] == "ok"
    kraken = next(venue for venue in sandbox.control("venues") if venue["id"] == "kraken")
    assert kraken["hosts"] == ["api.kraken.com"]
    assert kraken["market_count"] == len(kraken["symbols"]) + len(kraken["halted"]) == 301


def test_the_log_tells_every_request_in_order(sandbox: Running) -> None:
    before = time.time()
    sandbox.get(f"{TICKERS}?pair=XXBTZUSD")
    sandbox.post("/api.hyperliquid.xyz/info", {"type": "l2Book", "coin": "BTC"})
    sandbox.get("/api.kraken.com/0/public/Nothing")
    entries = sandbox.control(f"requests?since={before}")
    told = [[entry[name] for name in ("exchange", "method", "host", "path", "query", "status")] for entry in entries]
    assert told == [
        ["kraken", "GET", "api.kraken.com", "/0/public/Ticker", "pair=XXBTZUSD", 200],
        ["hyperliquid", "POST", "api.hyperliquid.xyz", "/info", "type=l2Book&coin=BTC", 200],
        ["kraken", "GET", "api.kraken.com", "/0/public/Nothing", "", 404],
    ]
    assert all(before <= entry["at"] <= time.time() for entry in entries)


def test_the_log_is_filtered_limited_and_cleared(sandbox: Running) -> None:
    for path in ("Time", "Ticker", "Time", "SystemStatus"):
        sandbox.get(f"/api.kraken.com/0/public/{path}")
    assert [entry["path"][10:] for entry in sandbox.control("requests?limit=2")] == ["Time", "SystemStatus"]
    assert len(sandbox.log("kraken", "/Time")) == 2
    assert sandbox.log("binance") == []
    connection = http.client.HTTPConnection(*sandbox.address)
    connection.request("DELETE", "/_sandbox/requests")
    assert connection.getresponse().status == 200
    connection.close()
    assert sandbox.control("requests") == []


def test_simultaneous_requests_are_counted(sandbox: Running) -> None:
    sandbox.order("delay", params={"seconds": 0.4})
    clients = [threading.Thread(target=sandbox.get, args=(TICKERS,)) for _ in range(3)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    sandbox.get(TICKERS)
    assert sandbox.control("concurrency") == {"kraken": 3}


def test_the_price_of_a_second_can_be_asked(sandbox: Running) -> None:
    told = sandbox.control("price?exchange=clone-4&symbol=BTC/USDT&second=1795000000")
    assert told["price"] == prices.price("clone-4", "BTC/USDT", 1_795_000_000)
    assert float(told["wire"]) == told["price"]


def test_symbols_appear_halt_and_disappear(sandbox: Running) -> None:
    sandbox.control(
        "markets", {"exchange": "kraken", "list": ["FRESH/USD"], "delist": ["BTC/USD"], "halt": ["ETH/USD"]}
    )
    pairs = sandbox.get("/api.kraken.com/0/public/AssetPairs").content["result"]
    tickers = sandbox.get(TICKERS).content["result"]
    second = sandbox.log("kraken", "Ticker")[-1]["second"]
    assert tickers["FRESHUSD"]["c"][0] == prices.wire_price("kraken", "FRESH/USD", second)
    assert "XXBTZUSD" not in {**pairs, **tickers}
    assert pairs["XETHZUSD"]["status"] != "online"
    assert "XETHZUSD" not in tickers
    sandbox.control("markets", {"exchange": "kraken", "resume": ["ETH/USD"]})
    assert "XETHZUSD" in sandbox.get(TICKERS).content["result"]


def test_a_frozen_price_clock_serves_one_second(sandbox: Running) -> None:
    sandbox.control("clocks", {"exchange": "kraken", "clock": "price", "frozen": True, "offset_seconds": -1000})
    shown = int(sandbox.control("clocks")["kraken"]["price"]["shows"])
    answer = sandbox.get(TICKERS).content["result"]["XXBTZUSD"]["c"][0]
    assert answer == prices.wire_price("kraken", "BTC/USD", shown)
    assert shown == pytest.approx(time.time() - 1000, abs=3)
    venue_time = sandbox.get("/api.kraken.com/0/public/Time").content["result"]["unixtime"]
    assert venue_time == pytest.approx(time.time(), abs=2)


def test_a_reset_makes_everything_as_at_the_start(sandbox: Running) -> None:
    sandbox.order("empty")
    sandbox.control("markets", {"exchange": "*", "delist": ["BTC/USD"]})
    sandbox.control("clocks", {"exchange": "kraken", "frozen": True})
    sandbox.control("reset", {})
    assert "XXBTZUSD" in sandbox.get(TICKERS).content["result"]
    assert sandbox.control("clocks")["kraken"]["price"]["frozen"] is False


def test_unknown_hosts_and_exchanges_are_named(sandbox: Running) -> None:
    reply = sandbox.get("/api.nobody.example/v1/time")
    assert reply.status == 404
    assert "api.nobody.example" in reply.content["error"]
    assert "nobody" in sandbox.post("/_sandbox/clocks", {"exchange": "nobody"}).content["error"]


def test_a_port_in_use_is_named_and_ends_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process, _ = start("--port", str(port))
        _, complaint = process.communicate(timeout=5)
    assert process.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in complaint
    assert "Traceback" not in complaint


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_quickly_even_while_a_request_hangs(number: int) -> None:
    process, line = start("--port", "0", "--markets", "5")
    running = Running(line.split()[3].rstrip(","))
    assert len(running.get(TICKERS).content["result"]) == 5
    running.order("hang")
    with socket.create_connection(running.address) as client:
        client.sendall(f"GET {TICKERS} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        while not running.log("kraken", "Ticker")[-1]["fault"]:
            time.sleep(0.01)
        process.send_signal(number)
        _, complaint = process.communicate(timeout=5)
    assert (process.returncode, complaint) == (0, "")
