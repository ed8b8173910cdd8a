from __future__ import annotations

from itertools import pairwise

import pytest

from sandbox import prices, questions
from sandbox.venues import VENUES

NOON = 1_795_000_000


def test_every_machine_computes_the_same_prices() -> None:
    computed = {
        (exchange, symbol): prices.wire_price(exchange, symbol, NOON)
        for exchange, symbol in [
            ("binance", "BTC/USDT"),
            ("kraken", "BTC/EUR"),
            ("luno", "BTC/ZAR"),
            ("hyperliquid", "ETH/USDC:USDC"),
            ("clone-17", "SIM3/USDT"),
        ]
    }
    assert list(computed.values()) == ["59838.1", "55928.4", "1083020", "3669.4", "0.0120019"]


@pytest.mark.parametrize("venue", VENUES)
def test_the_wire_holds_the_price_exactly_and_between_bid_and_ask(venue: str) -> None:
    symbols = [symbol for symbol, _ in zip(VENUES[venue].symbols(), range(400), strict=False)]
    for symbol in symbols:
        last = prices.price(venue, symbol, NOON)
        bid, ask = prices.sides(venue, symbol, NOON)
        assert 0 < bid < last < ask
        assert float(prices.wire_price(venue, symbol, NOON)) == last
        assert ask / bid < 1.01 or (questions.is_question(symbol) and ask - bid < 0.021)  # a cent either side


def test_prices_move_smoothly_and_keep_moving() -> None:
    walk = [prices.price("binance", "BTC/USDT", NOON + second) for second in range(3600)]
    steps = [abs(after / before - 1) for before, after in pairwise(walk)]
    assert max(steps) < 0.0005
    assert sum(step == 0 for step in steps) < len(steps) * 0.02
    assert max(walk) / min(walk) > 1.002


def test_exchanges_differ_by_a_few_basis_points() -> None:
    seen = {prices.price(exchange, "ETH/USD", NOON) for exchange in ("kraken", "coinbase", "binance", "clone-1")}
    assert len(seen) == 4
    assert max(seen) / min(seen) < 1.003


def test_a_closed_candle_agrees_with_prices_and_never_changes() -> None:
    start, end = NOON - NOON % 60, NOON - NOON % 60 + 60
    closed = prices.candle("kraken", "BTC/USD", start, period=60, now=end)
    assert closed == prices.candle("kraken", "BTC/USD", start, period=60, now=end + 5000)
    assert closed.open == prices.price("kraken", "BTC/USD", start)
    assert closed.close == prices.price("kraken", "BTC/USD", end)
    assert closed.low <= min(closed.open, closed.close) <= max(closed.open, closed.close) <= closed.high


def test_a_running_candle_closes_at_the_price_of_now() -> None:
    start = NOON - NOON % 3600
    running = prices.candle("kraken", "BTC/USD", start, period=3600, now=start + 100)
    assert running.close == prices.price("kraken", "BTC/USD", start + 100)
