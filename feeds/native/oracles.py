"""The Chainlink feeds that are collected: Ethereum's proxies, as the feed directory lists them.

A proxy stays when its aggregator is replaced. At every load of the markets each contract is asked for its name and
decimals, so that a wrong address here shows as an inactive market, never as a wrong price.
"""

from __future__ import annotations

from dataclasses import dataclass

HOUR, DAY = 3600, 86_400


@dataclass(frozen=True, slots=True)
class Oracle:
    """A Chainlink feed: it is written when its price has moved, and at the latest after its heartbeat."""

    symbol: str
    proxy: str
    heartbeat_seconds: int
    decimals: int = 8


ORACLES = (
    Oracle("AAVE/USD", "0x547a514d5e3769680Ce22B2361c10Ea13619e8a9", HOUR),
    Oracle("ADA/USD", "0xAE48c91dF1fE419994FFDa27da09D5aC69c30f55", DAY),
    Oracle("AVAX/USD", "0xFF3EEb22B5E3dE6e705b44749C2559d704923FD7", DAY),
    Oracle("BNB/USD", "0x14e613AC84a31f709eadbdF89C6CC390fDc9540A", DAY),
    Oracle("BTC/USD", "0xF4030086522a5bEEa4988F8cA5B36dbC97BeE88c", HOUR),
    Oracle("COMP/USD", "0xdbd020CAeF83eFd542f4De03e3cF0C28A4428bd5", HOUR),
    Oracle("DOGE/USD", "0x2465CefD3b488BE410b941b1d4b2767088e2A028", DAY),
    Oracle("ETH/USD", "0x5f4eC3Df9cbd43714FE2740f5E3616155c5b8419", HOUR),
    Oracle("EUR/USD", "0xb49f677943BC038e9857d61E7d053CaA2C1734C1", DAY),
    Oracle("GBP/USD", "0x5c0Ab2d9b5a7ed9f470386e82BB36A3613cDd4b5", DAY),
    Oracle("LINK/USD", "0x2c1d072e956AFFC0D435Cb7AC38EF18d24d9127c", HOUR),
    Oracle("MKR/USD", "0xec1D1B3b0443256cc3860e24a46F108e699484Aa", HOUR),
    Oracle("SOL/USD", "0x4ffC43a60e009B551865A93d232E33Fce9f01507", DAY),
    Oracle("UNI/USD", "0x553303d460EE0afB37EdFf9bE42922D8FF63220e", HOUR),
    Oracle("USDC/USD", "0x8fFfFfd4AfB6115b954Bd326cbe7B4BA576818f6", DAY),
    Oracle("USDT/USD", "0x3E7d1eAB13ad0104d2750B8863b489D65364e32D", DAY),
)
